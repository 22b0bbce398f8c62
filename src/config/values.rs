//! The types of single settings, URLs and times excepted: each says what it takes and, when that is not what it found, how to
//! write it. None of them repeats a text that could be a secret.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use super::LogFormat;
use super::Roots;
use super::document::{Content, Node};
use super::report::{Located, Report};
use super::setting::{Setting, below, entries, item_at, relocated, value_at};
use super::show;
use crate::names::{IntegrationPattern, NAME_RULE};

/// The text at a setting; anything else is told by its kind.
pub(super) fn text<'a>(at: &Located<&'a Node>, example: &str, report: &mut Report) -> Option<&'a str> {
    match &at.value.content {
        Content::Text(text) => Some(text),
        other => {
            let remedy = match other {
                Content::Integer(_) | Content::Float | Content::Boolean(_) | Content::Date => {
                    format!("put it in quotes, like \"{example}\"")
                }
                _ => format!("write text, like \"{example}\""),
            };
            report.error(at, format!("expected text, found {}", other.kind()), remedy);
            None
        }
    }
}

impl Setting for bool {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        match &at.value.content {
            Content::Boolean(flag) => Some(*flag),
            other => {
                let message = format!("expected true or false, found {}", other.kind());
                report.error(at, message, "write true or false, without quotes");
                None
            }
        }
    }

    fn schema() -> Value {
        json!({"type": "boolean"})
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let Content::List(nodes) = &at.value.content else {
            report.error(at, format!("expected a list, found {}", at.value.content.kind()), "put it in [ ]");
            return None;
        };
        let items = nodes.iter().enumerate().filter_map(|(index, node)| T::read(&item_at(at, index, node), report));
        let good: Self = items.collect();
        // The good items stay, so that rules look at them too; a list of mistakes alone is no empty list.
        (nodes.is_empty() || !good.is_empty()).then_some(good)
    }

    fn schema() -> Value {
        json!({"type": "array", "items": T::schema()})
    }
}

impl<T: Setting> Setting for Located<T> {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        T::read(at, report).map(|value| relocated(at, value))
    }

    fn schema() -> Value {
        T::schema()
    }
}

/// A table of sections, each under a name that the operator chose.
#[derive(Debug)]
pub(super) struct Named<N, T> {
    /// Those whose names are good, in the order of the file.
    pub(super) sections: Vec<(N, T)>,
    /// Every name as it was written, also where the name or the section is wrong.
    pub(super) names: Vec<String>,
}

impl<N: FromStr, T: Setting> Setting for Named<N, T> {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let mut named = Self { sections: Vec::new(), names: Vec::new() };
        for entry in entries(at, report)? {
            let name = entry.key.parse::<N>().ok();
            if name.is_none() {
                let at_key = below(at, &entry.key, entry.key_spot);
                report.error(&at_key, "this is not a name", format!("a name has {NAME_RULE}"));
            }
            named.names.push(entry.key.clone());
            named.sections.extend(name.zip(T::read(&value_at(at, entry), report)));
        }
        Some(named)
    }

    fn schema() -> Value {
        json!({
            "type": "object",
            "propertyNames": {"pattern": "^[a-z0-9][a-z0-9-]{0,62}$"},
            "additionalProperties": T::schema(),
        })
    }
}

/// An address with a port.
#[derive(Debug)]
pub(super) struct Listen(pub(super) SocketAddr);

impl Setting for Listen {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let text = text(at, "127.0.0.1:8080", report)?;
        let address = text.parse().ok();
        if address.is_none() {
            let message = format!("{} is not an IP address with a port", show::value(text));
            report.error(at, message, "write both, like \"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::]:8080\"");
        }
        address.map(Self)
    }

    fn schema() -> Value {
        let examples = ["0.0.0.0:8080", "[::]:8080"];
        json!({"type": "string", "description": "An IP address with a port.", "examples": examples})
    }
}

/// Declares a type around text: what it takes, and the schema's pattern for it. The text itself is never repeated.
macro_rules! word {
    (
        $(#[doc = $doc:literal])+
        $Name:ident like $example:literal, $accepts:expr, $expected:literal, $remedy:literal, $schema:tt
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub(super) struct $Name(pub(super) String);

        impl Setting for $Name {
            fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
                let text = text(at, $example, report)?;
                let accepts: fn(&str) -> bool = $accepts;
                if !accepts(text) {
                    report.error(at, concat!("expected ", $expected), $remedy);
                    return None;
                }
                Some(Self(text.to_owned()))
            }

            fn schema() -> Value {
                json!($schema)
            }
        }
    };
}

pub(super) use word;

word! {
    /// A Salesforce username.
    Username like "elastic-log@acme.example",
    |text| !text.trim().is_empty() && text.chars().count() <= 255 && !text.chars().any(char::is_control),
    "a Salesforce username of 1 to 255 characters", "write the username of the integration user",
    {"type": "string", "minLength": 1, "maxLength": 255}
}
word! {
    /// A name of a key in a keystore.
    Alias like "elf_integration",
    |text| !text.is_empty() && text.chars().count() <= 255 && !text.chars().any(char::is_control),
    "a name of 1 to 255 characters", "write the name of the key; `keytool -list -keystore FILE` shows it",
    {"type": "string", "minLength": 1, "maxLength": 255}
}
word! {
    /// A consumer key.
    ClientId like "3MVG9…",
    |text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()),
    "a consumer key: printable ASCII without spaces", "copy the consumer key from the app's settings in Salesforce",
    {"type": "string", "pattern": "^[!-~]+$"}
}
word! {
    /// Name of an environment variable.
    EnvironmentName like "OPS_TOKEN",
    |text| !text.is_empty()
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()),
    "the name of an environment variable", "write the name of the variable, not what it holds",
    {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}
}
word! {
    /// The label of something in an HSM.
    Label like "aquila",
    |text| !text.trim().is_empty() && text.len() <= 255 && !text.chars().any(char::is_control),
    "a label of 1 to 255 bytes", "write the label as `pkcs11-tool -O` shows it",
    {"type": "string", "minLength": 1, "maxLength": 255}
}
word! {
    /// A log filter.
    Filter like "info",
    |text| !text.is_empty() && EnvFilter::builder().with_regex(false).parse(text).is_ok(),
    "a log level or filter", "write a level (error, warn, info, debug, trace), or a filter like \"info,aquila=debug\"",
    {"type": "string", "minLength": 1, "examples": ["info", "info,aquila=debug"]}
}
word! {
    /// A host, or every host below one.
    HostPattern like "login.example.com",
    super::hosts::is_pattern,
    "a host name, or `*.` and a name of at least two parts",
    "write it in lower case without scheme, port and path, like \"login.example.com\" or \"*.example.com\"",
    {"type": "string", "pattern": "^(\\*\\.)?[a-z0-9-]+(\\.[a-z0-9-]+)*$"}
}

/// A path to a file.
#[derive(Debug)]
pub(super) struct FilePath(pub(super) PathBuf);

impl Setting for FilePath {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let text = text(at, "/etc/aquila/…", report)?;
        if text.is_empty() || text.chars().any(char::is_control) {
            report.error(at, "expected the path of a file", "name a file; a secret itself never stands in this file");
            return None;
        }
        Some(Self(PathBuf::from(text)))
    }

    fn schema() -> Value {
        json!({"type": "string", "minLength": 1, "description": "A relative path starts at the folder of this file."})
    }
}

impl Setting for IntegrationPattern {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let pattern = text(at, "elf-*", report)?.parse().ok();
        if pattern.is_none() {
            let remedy = "write the name of an integration, or a name in which `*` stands for any characters";
            report.error(at, "expected the name of an integration or a pattern", remedy);
        }
        pattern
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^[a-z0-9*-]{1,128}$"})
    }
}

/// SHA-256 of an API key.
#[derive(Debug)]
pub(super) struct Digest(pub(super) [u8; 32]);

impl Setting for Digest {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let text = text(at, "6b1f…", report)?;
        let Some(bytes) = from_hex(text) else {
            if text.starts_with("aquila_") {
                let remedy = "replace it by its digest (`printf %s \"$KEY\" | sha256sum`), and make a new key: \
                              this one has been in a file";
                report.error(at, "this is a key, not its digest", remedy);
            } else {
                let remedy = "write what `aquila new-key` printed for this file";
                report.error(at, "expected a SHA-256 digest: 64 hexadecimal digits", remedy);
            }
            return None;
        };
        Some(Self(bytes))
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"})
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(pair).ok().filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}

/// Logins within an hour.
#[derive(Debug)]
pub(super) struct LoginBudget(pub(super) u32);

/// Salesforce blocks a user at 3,600 logins an hour, those of other clients included.
const MOST_LOGINS: u32 = 3000;

impl Setting for LoginBudget {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let number = match at.value.content {
            Content::Integer(number) => u32::try_from(number).ok(),
            _ => None,
        };
        let budget = number.filter(|number| (1..=MOST_LOGINS).contains(number));
        if budget.is_none() {
            let remedy = "Salesforce blocks a user at 3,600 an hour, and other clients log in as well";
            report.error(at, format!("expected a whole number from 1 to {MOST_LOGINS}"), remedy);
        }
        budget.map(Self)
    }

    fn schema() -> Value {
        json!({"type": "integer", "minimum": 1, "maximum": MOST_LOGINS})
    }
}

/// How often something may happen.
#[derive(Debug)]
pub(super) struct Limit(pub(super) u32);

const LARGEST_LIMIT: u32 = 1_000_000;

impl Setting for Limit {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let number = match at.value.content {
            Content::Integer(number) => u32::try_from(number).ok(),
            _ => None,
        };
        let limit = number.filter(|number| (1..=LARGEST_LIMIT).contains(number));
        if limit.is_none() {
            let remedy = "write a number without quotes; to forbid it altogether, remove the caller or its right";
            report.error(at, format!("expected a whole number from 1 to {LARGEST_LIMIT}"), remedy);
        }
        limit.map(Self)
    }

    fn schema() -> Value {
        json!({"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT})
    }
}

/// `[log]` format.
#[derive(Debug)]
pub(super) struct Format(pub(super) LogFormat);

impl Setting for Format {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        match text(at, "auto", report)? {
            "auto" => Some(Self(LogFormat::Auto)),
            "json" => Some(Self(LogFormat::Json)),
            "text" => Some(Self(LogFormat::Text)),
            other => {
                report.error(at, format!("{} is not a format", show::value(other)), "write auto, json or text");
                None
            }
        }
    }

    fn schema() -> Value {
        json!({"enum": ["auto", "json", "text"]})
    }
}

/// `[salesforce]` roots.
#[derive(Debug)]
pub(super) struct RootStore(pub(super) Roots);

impl Setting for RootStore {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        match text(at, "system", report)? {
            "system" => Some(Self(Roots::System)),
            "bundled" => Some(Self(Roots::Bundled)),
            other => {
                let remedy = "write system or bundled; an authority of your own goes into `ca_path`";
                report.error(at, format!("{} is no store of certificate authorities", show::value(other)), remedy);
                None
            }
        }
    }

    fn schema() -> Value {
        json!({"enum": ["system", "bundled"]})
    }
}
