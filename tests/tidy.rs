//! The rules of the house that no compiler checks, read from the source as text.
//!
//! Each rule is a function over text, so each has a self-test on a small sample in memory that shows it can fail. A rule
//! that is in the way is changed here, in the table or in the number, with the reason in `ARCHITECTURE.md`.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

type TestResult = Result<(), Box<dyn Error>>;

/// The top-level modules, lowest layer first. A file imports only from lower layers.
const LAYERS: &[&[&str]] = &[
    &["names", "token", "clock", "promise", "ask", "hash", "signature", "window"],
    &["config", "telemetry"],
    &["keys", "salesforce", "authn", "policy", "limits", "cache", "store", "tls"],
    &["holding", "snapshot", "broker", "walk"],
    &["http"],
    &["app", "reload", "fuzzing"],
    &["cli", "main"],
];

/// Peers of one layer that do know each other, and only this way round: importer, imported.
const PEERS: &[(&str, &str)] = &[
    // A promise is counted in the moments of the clock.
    ("promise", "clock"),
    // So is what happened within a span of time.
    ("window", "clock"),
    // A token is known by its fingerprint.
    ("token", "hash"),
    // A public key is known by the start of its digest.
    ("signature", "hash"),
    // Each part of telemetry is set up from its own section.
    ("telemetry", "config"),
    // Salesforce is given a signer, whatever holds its key.
    ("salesforce", "keys"),
    // What replicas share of a token host, of a user's logins, and of the assertions of callers.
    ("salesforce", "store"),
    ("authn", "store"),
    // An integration with its token, a generation of them, and the one that serves from a generation.
    ("snapshot", "holding"),
    ("broker", "holding"),
    ("broker", "snapshot"),
    ("app", "reload"),
    ("main", "cli"),
];

/// Imports nothing of ours, and nothing but `cli` imports it: code shared with the broker would hide a shared mistake.
const ASIDE: &str = "simulator";

/// Lines of a source file before its tests.
const MAX_LINES: usize = 400;

/// Names that say nothing about what a file holds.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "constants", "misc"];

#[test]
fn every_file_imports_only_what_its_layer_allows() -> TestResult {
    verdict(rust_files("src")?.iter().flat_map(|file| layer_problems(&file.path, &file.text)).collect())
}

#[test]
fn every_top_level_module_has_a_layer() -> TestResult {
    verdict(rust_files("src")?.iter().filter_map(|file| unknown_module(&file.path)).collect())
}

#[test]
fn every_file_begins_with_its_job() -> TestResult {
    verdict(all_rust_files()?.iter().filter_map(|file| first_line_problem(&file.path, &file.text)).collect())
}

#[test]
fn no_file_is_too_long_to_read() -> TestResult {
    verdict(rust_files("src")?.iter().filter_map(|file| length_problem(&file.path, &file.text)).collect())
}

#[test]
fn no_file_has_a_name_that_says_nothing() -> TestResult {
    verdict(all_rust_files()?.iter().filter_map(|file| name_problem(&file.path)).collect())
}

#[test]
fn every_lint_exception_has_a_reason() -> TestResult {
    verdict(all_rust_files()?.iter().flat_map(|file| exception_problems(&file.path, &file.text)).collect())
}

#[test]
fn every_dependency_says_what_it_is_for() -> TestResult {
    let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    assert!(!dependency_lines(&manifest).is_empty(), "Cargo.toml was read and no dependency was found in it");
    verdict(dependency_problems(&manifest))
}

#[test]
fn no_file_names_a_path_of_one_machine() -> TestResult {
    let mut problems = Vec::new();
    for path in tracked_files()? {
        // What is not text (a keystore, a picture) or was removed but not yet committed has no lines to judge.
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        problems.extend(machine_path_problems(&path, &text));
    }
    verdict(problems)
}

// --- layers ------------------------------------------------------------------

fn layer_problems(path: &str, text: &str) -> Vec<String> {
    let module = module_of(path);
    let from = module.first().map_or_else(|| stem(path), String::as_str);
    imports(&module, &tokens(text))
        .into_iter()
        .filter(|import| !may_import(from, &import.text))
        .map(|import| match layer(&import.text) {
            None if import.text != ASIDE => {
                format!("{path}:{}: `{}` is no module of the table in tests/tidy.rs", import.line, import.text)
            }
            _ => format!("{path}:{}: `{from}` may not import `{}`", import.line, import.text),
        })
        .collect()
}

fn may_import(from: &str, to: &str) -> bool {
    if from == to {
        return true;
    }
    if from == ASIDE || to == ASIDE {
        return from == "cli";
    }
    match (layer(from), layer(to)) {
        (Some(from_layer), Some(to_layer)) => to_layer < from_layer || PEERS.contains(&(from, to)),
        // The crate root may re-export what the table knows.
        (None, Some(_)) => from == "lib",
        (_, None) => false,
    }
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn unknown_module(path: &str) -> Option<String> {
    let module = module_of(path);
    let top = module.first().map_or_else(|| stem(path), String::as_str);
    let known = layer(top).is_some() || top == ASIDE || top == "lib";
    (!known).then(|| format!("{path}: `{top}` has no layer: add it to the table in tests/tidy.rs and ARCHITECTURE.md"))
}

/// `src/config/file.rs` is `["config", "file"]`; the crate roots are empty.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let inner = inner.strip_suffix(".rs").unwrap_or(inner);
    let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    if matches!(module.as_slice(), [only] if only == "lib" || only == "main") {
        module.clear();
    }
    module
}

fn stem(path: &str) -> &str {
    Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or(path)
}

/// The top-level modules that a file names by `crate::`, `aquila::` or enough `super::`, in `use` lines and elsewhere.
fn imports(module: &[String], tokens: &[Token]) -> Vec<Token> {
    let mut found = Vec::new();
    let mut depth = 0_usize;
    // Modules written inside this file, with the depth outside their braces.
    let mut inline: Vec<(String, usize)> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" => {
                if let [.., keyword, name] = tokens.get(..at).unwrap_or_default()
                    && keyword.text == "mod"
                {
                    inline.push((name.text.clone(), depth));
                }
                depth += 1;
            }
            "}" => {
                depth = depth.saturating_sub(1);
                if inline.last().is_some_and(|(_, outside)| *outside == depth) {
                    inline.pop();
                }
            }
            _ if follows_a_path(tokens, at) => {}
            "crate" | "aquila" if text_at(tokens, at + 1) == "::" => found.extend(heads(tokens, at + 2)),
            "super" if text_at(tokens, at + 1) == "::" => {
                let mut next = at;
                let mut height = module.len() + inline.len();
                while text_at(tokens, next) == "super" && text_at(tokens, next + 1) == "::" {
                    height = height.saturating_sub(1);
                    next += 2;
                }
                if height == 0 {
                    found.extend(heads(tokens, next));
                }
            }
            _ => {}
        }
    }
    found
}

fn follows_a_path(tokens: &[Token], at: usize) -> bool {
    at.checked_sub(1).is_some_and(|before| text_at(tokens, before) == "::")
}

/// The first names of the use tree at `at`: `a::b` has one, `{a::b, c}` has two.
fn heads(tokens: &[Token], at: usize) -> Vec<Token> {
    let Some(first) = tokens.get(at) else { return Vec::new() };
    if first.text != "{" {
        return vec![first.clone()];
    }
    let mut found = Vec::new();
    let mut depth = 0_usize;
    let mut expect_head = false;
    for token in tokens.iter().skip(at) {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                expect_head = depth == 1;
            }
            "}" => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            "," if depth == 1 => expect_head = true,
            _ if expect_head => {
                expect_head = false;
                found.push(token.clone());
            }
            _ => {}
        }
    }
    found
}

// --- one file ----------------------------------------------------------------

fn first_line_problem(path: &str, text: &str) -> Option<String> {
    (!text.starts_with("//!")).then(|| format!("{path}:1: begin with `//!`: the file's job and its invariant"))
}

fn length_problem(path: &str, text: &str) -> Option<String> {
    // `#[cfg(test)] mod tests;` in a file of its own is tests from its first line.
    let lines = if stem(path) == "tests" || path.contains("/tests/") { 0 } else { lines_before_tests(text) };
    (lines > MAX_LINES).then(|| format!("{path}: {lines} lines before its tests, the limit is {MAX_LINES}: split it"))
}

fn lines_before_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let begins_tests = |at: usize| {
        let mut rest = lines.iter().skip(at).map(|line| line.trim());
        rest.next() == Some("#[cfg(test)]")
            && rest
                .find(|line| !line.is_empty() && !line.starts_with("#["))
                .is_some_and(|line| line.starts_with("mod "))
    };
    (0..lines.len()).find(|&at| begins_tests(at)).unwrap_or(lines.len())
}

fn name_problem(path: &str) -> Option<String> {
    let bad = path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part)).find(|p| EMPTY_NAMES.contains(p))?;
    Some(format!("{path}: `{bad}` says nothing about what it holds: name the thing"))
}

fn exception_problems(path: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let tokens = tokens(text);
    for (at, token) in tokens.iter().enumerate() {
        let bracket = if text_at(&tokens, at + 1) == "!" { at + 2 } else { at + 1 };
        if token.text != "#" || text_at(&tokens, bracket) != "[" {
            continue;
        }
        let attribute = balanced(tokens.get(bracket..).unwrap_or_default());
        let calls = |word: &str| {
            attribute.iter().zip(attribute.iter().skip(1)).any(|(name, next)| name.text == word && next.text == "(")
        };
        if calls("allow") {
            problems.push(format!("{path}:{}: an exception is `#[expect(lint, reason = \"…\")]`", token.line));
        } else if calls("expect") && !attribute.iter().any(|word| word.text == "reason") {
            problems.push(format!("{path}:{}: this exception gives no reason", token.line));
        }
    }
    problems
}

/// The tokens from an opening `[` to the one that closes it.
fn balanced(tokens: &[Token]) -> &[Token] {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "[" => depth += 1,
            "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return tokens.get(..at).unwrap_or_default();
        }
    }
    tokens
}

// --- the manifest and the tree -------------------------------------------------

fn dependency_problems(manifest: &str) -> Vec<String> {
    let lines: Vec<&str> = manifest.lines().collect();
    dependency_lines(manifest)
        .into_iter()
        .filter(|&at| {
            let above = at.checked_sub(1).and_then(|above| lines.get(above)).map_or("", |line| line.trim());
            // A line of dashes is a heading for a group.
            !above.starts_with('#') || above.contains("---")
        })
        .map(|at| {
            let line = lines.get(at).copied().unwrap_or_default();
            let name = line.split(['=', ']']).next().unwrap_or_default().trim().trim_start_matches('[');
            format!("Cargo.toml:{}: say what `{name}` is for in a comment above it", at + 1)
        })
        .collect()
}

/// The lines, counted from 0, on which a direct dependency begins.
fn dependency_lines(manifest: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut in_dependencies = false;
    let mut depth = 0_usize;
    for (at, line) in manifest.lines().map(str::trim).enumerate() {
        if depth == 0 && line.starts_with('[') {
            let header = line.trim_matches(['[', ']']);
            in_dependencies = header.ends_with("dependencies");
            if header.contains("dependencies.") {
                found.push(at);
            }
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        if in_dependencies && depth == 0 && line.contains('=') {
            found.push(at);
        }
        depth += line.matches(['[', '{']).count();
        depth = depth.saturating_sub(line.matches([']', '}']).count());
    }
    found
}

fn machine_path_problems(path: &str, text: &str) -> Vec<String> {
    // Put together here, so that this file does not accuse itself.
    let roots = [concat!("/", "root/"), concat!("/", "work/")];
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for root in roots {
            // The same letters deeper inside a path or a URL are somebody else's folder.
            let absolute = |at: usize| {
                let before = line.get(..at).and_then(|before| before.chars().next_back());
                !before.is_some_and(|c| c.is_alphanumeric() || "._-/}*…".contains(c))
            };
            if line.match_indices(root).any(|(at, _)| absolute(at)) {
                problems.push(format!("{path}:{}: `{root}` is a path of one machine", number + 1));
            }
        }
    }
    problems
}

// --- reading -----------------------------------------------------------------

struct SourceFile {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn all_rust_files() -> io::Result<Vec<SourceFile>> {
    let mut files = rust_files("src")?;
    files.extend(rust_files("tests")?);
    files.extend(rust_files("benches")?);
    Ok(files)
}

fn rust_files(folder: &str) -> io::Result<Vec<SourceFile>> {
    let mut paths = Vec::new();
    if root().join(folder).is_dir() {
        walk(folder, &mut paths)?;
    }
    paths.retain(|path| path.ends_with(".rs"));
    paths.sort();
    paths.into_iter().map(|path| fs::read_to_string(root().join(&path)).map(|text| SourceFile { path, text })).collect()
}

/// What git tracks; without git (a source archive), everything that is not made by a build.
fn tracked_files() -> io::Result<Vec<String>> {
    if root().join(".git").exists()
        && let Ok(listed) = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output()
        && listed.status.success()
    {
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        return Ok(listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect());
    }
    let mut paths = Vec::new();
    walk("", &mut paths)?;
    Ok(paths)
}

fn walk(folder: &str, found: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(root().join(folder))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if !entry.file_type()?.is_dir() {
            found.push(path);
        } else if !["target", ".git", ".venv", "node_modules", "__pycache__"].contains(&name.as_str()) {
            walk(&path, found)?;
        }
    }
    Ok(())
}

fn verdict(problems: Vec<String>) -> TestResult {
    if problems.is_empty() { Ok(()) } else { Err(format!("\n{}", problems.join("\n")).into()) }
}

// --- Rust as words -------------------------------------------------------------

/// A word, `::`, or one other character. Comments and the insides of strings leave none.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

fn text_at(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| token.text.as_str())
}

fn tokens(source: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = Reader { rest: source, line: 1 };
    loop {
        let line = rest.line;
        let Some(next) = rest.rest.chars().next() else { return found };
        if next.is_whitespace() {
            rest.skip(next.len_utf8());
        } else if rest.rest.starts_with("//") {
            rest.skip_to("\n");
        } else if rest.rest.starts_with("/*") {
            rest.skip_block_comment();
        } else if let Some(hashes) = raw_string_hashes(rest.rest) {
            rest.skip_to("\"");
            rest.skip(1);
            rest.skip_past(&format!("\"{}", "#".repeat(hashes)));
        } else if next == '"' {
            rest.skip_quoted('"');
        } else if next == '\'' && is_char_literal(rest.rest) {
            rest.skip_quoted('\'');
        } else if rest.rest.starts_with("::") {
            rest.skip(2);
            found.push(Token { text: "::".to_owned(), line });
        } else {
            let length = rest.rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.rest.len());
            let length = if length == 0 { next.len_utf8() } else { length };
            let text = rest.rest.get(..length).unwrap_or_default().to_owned();
            // `b"…"` and `c"…"`: the letter is not a word, and the string that follows is skipped in the next round.
            if !(matches!(text.as_str(), "b" | "c") && rest.rest.get(1..2) == Some("\"")) {
                found.push(Token { text, line });
            }
            rest.skip(length);
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn skip(&mut self, length: usize) {
        let (gone, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.line += gone.matches('\n').count();
        self.rest = rest;
    }

    fn skip_to(&mut self, end: &str) {
        self.skip(self.rest.find(end).unwrap_or(self.rest.len()));
    }

    fn skip_past(&mut self, end: &str) {
        self.skip_to(end);
        self.skip(end.len());
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.skip(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.skip(2);
                if depth == 0 {
                    return;
                }
            } else {
                let Some(next) = self.rest.chars().next() else { return };
                self.skip(next.len_utf8());
            }
        }
    }

    fn skip_quoted(&mut self, quote: char) {
        self.skip(1);
        while let Some(next) = self.rest.chars().next() {
            self.skip(next.len_utf8());
            if next == quote {
                return;
            }
            if next == '\\' {
                let escaped = self.rest.chars().next().map_or(0, char::len_utf8);
                self.skip(escaped);
            }
        }
    }
}

/// The number of `#` when a raw string begins here.
fn raw_string_hashes(text: &str) -> Option<usize> {
    let after = ["br", "cr", "r"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let body = after.trim_start_matches('#');
    body.starts_with('"').then(|| after.len() - body.len())
}

/// Tells `'a'` from the lifetime `'a`.
fn is_char_literal(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => true,
        (Some(_), Some(end)) => end == '\'',
        _ => false,
    }
}

// --- the rules can fail --------------------------------------------------------

/// What the layer rule says about one line, in `path:line: …` form.
fn layers_of(path: &str, text: &str) -> String {
    layer_problems(path, text).join("\n")
}

#[test]
fn a_higher_layer_a_peer_and_an_unknown_module_are_refused() {
    let cases = [
        ("src/names.rs", "use crate::config::Config;", "may not import `config`"),
        ("src/config/mod.rs", "\nuse crate::telemetry::Metrics;", "src/config/mod.rs:2: `config` may not"),
        ("src/holding.rs", "use crate::snapshot::Snapshot;", "may not import `snapshot`"),
        ("src/keys/pem.rs", "use crate::salesforce::Integration;", "may not import `salesforce`"),
        ("src/snapshot.rs", "fn f() { crate::broker::issue() }", "may not import `broker`"),
        ("src/config/file.rs", "use super::super::http::token;", "may not import `http`"),
        ("src/cache/mod.rs", "use crate::{names::Name, config::{Config, Log}, broker};", "may not import `broker`"),
        ("src/policy.rs", "mod inner { use super::super::cli::run; }", "may not import `cli`"),
        ("src/reload.rs", "macro_rules! m { () => { $crate::app::App } }", "may not import `app`"),
        ("src/http/mod.rs", "use crate::*;", "`*` is no module of the table"),
        ("src/http/mod.rs", "use crate::strings::Words;", "`strings` is no module of the table"),
        ("src/main.rs", "use aquila::simulator;", "may not import `simulator`"),
        ("src/broker.rs", "use crate::simulator::Mood;", "may not import `simulator`"),
        ("src/simulator/mod.rs", "use crate::names::Name;", "may not import `names`"),
    ];
    for (path, text, expected) in cases {
        let said = layers_of(path, text);
        assert!(said.contains(expected), "{path}: {text}\nsaid: {said:?}");
    }
}

#[test]
fn lower_layers_own_files_and_the_written_peers_are_allowed() {
    let cases = [
        ("src/config/mod.rs", "use self::report::Place; use crate::names::Name; use super::config::file;"),
        ("src/salesforce/mod.rs", "use crate::keys::Signer;"),
        ("src/broker.rs", "use crate::{cache::TokenCache, snapshot::Snapshot};"),
        ("src/names.rs", "mod tests { use super::*; mod deeper { use super::super::Name; } } use std::fmt;"),
        ("src/cli/demo.rs", "use crate::simulator; use crate::app::App; use super::serve;"),
        ("src/main.rs", "use aquila::cli;"),
        ("src/lib.rs", "pub use crate::names::CallerName;"),
        ("src/simulator/verify.rs", "use crate::simulator::Claims; use super::Mood;"),
        (
            "src/names.rs",
            "//! [`crate::http`]\n/* crate::app /* crate::cli */ crate::http */ const A: &str = \"crate::app\";",
        ),
        (
            "src/names.rs",
            "const A: &str = r#\"\"crate::app\"#; const B: char = '\"'; fn f<'a>(x: &'a str) { crate::names::g() }",
        ),
        ("src/names.rs", "const A: &[u8] = b\"\\\"crate::app\"; const B: char = '\\''; use other::crate_::app;"),
    ];
    for (path, text) in cases {
        assert_eq!(layers_of(path, text), "", "{path}: {text}");
    }
}

#[test]
fn a_module_outside_the_table_is_refused() {
    assert!(unknown_module("src/shared.rs").is_some());
    assert!(unknown_module("src/shared/mod.rs").is_some());
    for known in ["src/lib.rs", "src/main.rs", "src/names.rs", "src/http/token.rs", "src/simulator/mod.rs"] {
        assert_eq!(unknown_module(known), None);
    }
}

#[test]
fn a_file_without_its_job_is_refused() {
    assert!(first_line_problem("src/a.rs", "use std::fmt;\n//! Late.").is_some());
    assert_eq!(first_line_problem("src/a.rs", "//! Its job.\n"), None);
}

#[test]
fn a_long_file_is_refused_and_its_tests_do_not_count() {
    let long = "fn f() {}\n".repeat(MAX_LINES + 1);
    assert!(length_problem("src/a.rs", &long).is_some());
    let tested = format!("fn f() {{}}\n#[cfg(test)]\n#[expect(x, reason = \"y\")]\nmod tests {{\n{long}}}\n");
    assert_eq!(lines_before_tests(&tested), 1);
    assert_eq!(length_problem("src/a/tests.rs", &long), None);
    // A single item for tests is not the end of the code.
    assert_eq!(lines_before_tests("#[cfg(test)]\nfn only_for_tests() {}\nfn f() {}\n"), 3);
}

#[test]
fn a_name_that_says_nothing_is_refused() {
    assert!(name_problem("src/http/utils.rs").is_some());
    assert!(name_problem("tests/it/helpers/mod.rs").is_some());
    assert_eq!(name_problem("src/http/token.rs"), None);
}

#[test]
fn an_exception_without_a_reason_is_refused() {
    for bad in [
        "#[allow(clippy::panic, reason = \"x\")] fn f() {}",
        "#![allow(dead_code)]",
        "#[cfg_attr(test, allow(clippy::unwrap_used))] fn f() {}",
        "#[expect(clippy::panic)] fn f() {}",
    ] {
        assert_eq!(exception_problems("src/a.rs", bad).len(), 1, "{bad}");
    }
    for good in [
        "#[expect(clippy::panic, reason = \"it cannot happen\")] fn f() {}",
        "fn f() { x.expect(\"y\"); allow(1); } // #[allow(dead_code)]",
        "#[derive(Debug)] struct A([u8; 3]);",
    ] {
        assert_eq!(exception_problems("src/a.rs", good), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn a_dependency_without_a_comment_is_refused() {
    let manifest = "[package]\nname = \"a\"\n[dependencies]\n# --- group ---\nbare = \"1\"\n# Why.\ngood = { version = \"1\", \
                    features = [\n  \"a=b\",\n] }\nsecond = \"1\"\n\n[target.'cfg(unix)'.dependencies.table]\nversion = \"1\"\n";
    let said = dependency_problems(manifest).join("\n");
    for name in ["`bare`", "`second`", "dependencies.table`"] {
        assert!(said.contains(name), "{name} in {said}");
    }
    assert_eq!(said.lines().count(), 3, "{said}");
}

#[test]
fn a_path_of_one_machine_is_refused() {
    let root = concat!("/", "root/");
    assert_eq!(machine_path_problems("a.md", &format!("see {root}x\n`{root}y`")).len(), 2);
    assert_eq!(machine_path_problems("a.md", &format!("https://example.com{root}x")), Vec::<String>::new());
}
