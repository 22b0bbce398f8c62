//! What must hold for whatever stands in a configuration file, as properties of bytes.

use std::fmt::Write;
use std::path::Path;

use super::document::{self, Content, Node};
use super::{Config, KeySource, Loaded, Refused, load_document};
use crate::names::{CallerName, IntegrationName, IntegrationPattern, SubjectPattern};

/// A name and what panics for bytes that break it.
type Property = (&'static str, fn(&[u8]));

/// By the names of their folders in `fuzz/seeds`.
pub(crate) const PROPERTIES: &[Property] = &[("config-toml", toml), ("config-yaml", yaml), ("names", names)];

fn toml(bytes: &[u8]) {
    configuration("toml", bytes);
}

fn yaml(bytes: &[u8]) {
    configuration("yaml", bytes);
}

/// A file is a configuration or is refused with a reason. What it says, written anew as YAML, is the same tree, and is
/// judged the same but for the places.
fn configuration(ending: &str, bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (Some(parse), Some(parse_yaml)) = (document::syntax(ending), document::syntax("yaml")) else { return };
    let document = match parse(text) {
        Ok(document) => document,
        Err(errors) => {
            assert!(errors.iter().all(|error| !error.message.is_empty()) && !errors.is_empty());
            return;
        }
    };
    let mut again = String::new();
    // Dates and fractions leave no value in the tree, and YAML bounds depth and the length of keys.
    let written = write(&document, 0, &mut again);
    let judged = judge(document);
    if written.is_some() {
        let Ok(read) = parse_yaml(&again) else { unreachable!("not read back: {again}") };
        let mut twice = String::new();
        assert!(write(&read, 0, &mut twice).is_some() && again == twice, "{again}\n{twice}");
        assert_eq!(judged, judge(read));
    }
}

/// The tree in YAML's flow style, every text in quotes.
fn write(node: &Node, depth: usize, to: &mut String) -> Option<()> {
    match &node.content {
        Content::Boolean(flag) => write!(to, "{flag}").ok()?,
        Content::Integer(integer) => write!(to, "{integer}").ok()?,
        Content::Nothing => to.push_str("null"),
        Content::Text(text) => quote(text, to)?,
        Content::Date | Content::Float => return None,
        Content::List(_) | Content::Table(_) if depth > 24 => return None,
        Content::List(items) => {
            to.push('[');
            for item in items {
                write(item, depth + 1, to)?;
                to.push_str(", ");
            }
            to.push(']');
        }
        Content::Table(entries) => {
            to.push('{');
            for entry in entries {
                quote(&entry.key, to).filter(|()| entry.key.len() < 100)?;
                to.push_str(": ");
                write(&entry.value, depth + 1, to)?;
                to.push_str(", ");
            }
            to.push('}');
        }
    }
    Some(())
}

fn quote(text: &str, to: &mut String) -> Option<()> {
    to.push('"');
    for letter in text.chars() {
        match letter {
            ' '..='~' if !matches!(letter, '"' | '\\') => to.push(letter),
            _ => write!(to, "\\U{:08X}", u32::from(letter)).ok()?,
        }
    }
    to.push('"');
    Some(())
}

/// What its author is told, without the places. Nothing comes from the environment, and relative paths lead nowhere.
fn judge(document: Node) -> Vec<String> {
    let report = match load_document(Path::new("/nonexistent/aquila.yaml"), &document, &|_| None) {
        Ok(Loaded { warnings, .. }) => {
            assert!(!warnings.has_errors());
            warnings
        }
        Err(Refused { report, .. }) => {
            assert!(report.has_errors(), "refused without a reason");
            report
        }
    };
    let mistakes = report.iter();
    let mut told: Vec<String> = mistakes.map(|it| format!("{}: {} | {}", it.setting, it.message, it.remedy)).collect();
    assert!(told.iter().all(|it| !it.chars().any(char::is_control)), "{told:?}");
    told.sort_unstable();
    told
}

/// The first line is a name or a pattern, the rest is what it is held against.
fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (pattern, name) = text.split_once('\n').unwrap_or((text, ""));
    assert!(
        pattern.parse::<CallerName>().is_ok_and(|it| it.as_str() == pattern) == pattern.parse::<CallerName>().is_ok()
    );
    if let Ok(integration) = pattern.parse::<IntegrationName>() {
        let own = pattern.parse::<IntegrationPattern>();
        assert!(own.is_ok_and(|own| own.literal() == Some(integration.as_str()) && own.matches(pattern)));
    }
    if let Ok(it) = pattern.parse::<IntegrationPattern>() {
        assert!(it.to_string() == pattern && it.matches(name) == fits(pattern.as_bytes(), name.as_bytes()));
    }
    if let Ok(it) = pattern.parse::<SubjectPattern>() {
        assert!(it.as_str() == pattern && it.matches(name) == fits(pattern.as_bytes(), name.as_bytes()));
        assert!(it.literal().is_none_or(|literal| it.matches(name) == (literal == name)));
    }
}

/// The meaning of a pattern, letter by letter: which beginnings of the text each part of the pattern can stand for.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached.iter_mut().take(1).for_each(|start| *start = true);
    for part in pattern {
        if *part == b'*' {
            let first = reached.iter().position(|&here| here).unwrap_or(usize::MAX);
            reached.iter_mut().skip(first).for_each(|here| *here = true);
        } else {
            let next = reached.iter().zip(text).map(|(&here, letter)| here && letter == part);
            reached = std::iter::once(false).chain(next).collect();
        }
    }
    reached.last() == Some(&true)
}

/// A configuration with the issuer `corp`, whose keys are these, and two callers with rules on its tokens.
pub(crate) fn with_issuer(keys: &[u8]) -> Option<Config> {
    let folder = tempfile::tempdir().ok()?;
    std::fs::write(folder.path().join("keys.json"), keys).ok()?;
    let text = r#"
        server: { public_url: "https://aquila.example" }
        integrations: { elf: { client_key_path: k, username: u, client_id: i, token_url: "https://login.salesforce.com" } }
        issuers: { corp: { issuer: "https://issuer.example", jwks_path: keys.json, algorithms: [EdDSA] } }
        callers:
          shipper: { integrations: [elf], jwt: [{ issuer: corp, sub: shipper }] }
          team: { integrations: [elf], jwt: [{ issuer: corp, sub: "team:*", claims: { level: 3 } }] }
    "#;
    let document = document::syntax("yaml")?(text).ok()?;
    let loaded = load_document(&folder.path().join("aquila.yaml"), &document, &|_| None).ok()?;
    assert!(loaded.config.issuers.iter().all(|issuer| matches!(issuer.keys, KeySource::File { .. })));
    Some(loaded.config)
}
