//! A configuration file as a tree in which every key and value knows its line and column.
//!
//! TOML and YAML end in the same tree, so nothing behind this module knows which of the two was read. What the file
//! means is not known here. No message made here repeats a value of the file.

mod from_toml;
mod from_yaml;

use std::path::Path;

use super::source::{self, ReadError};

/// A configuration with ten thousand integrations and as many callers has about 5 MB.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;

/// Tables in tables: the configuration needs four, and recursion over the tree must stay bounded.
const DEEPEST: usize = 32;

/// A position; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Spot {
    /// The beginning of the file.
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// A value and where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) spot: Spot,
}

/// One line of a table.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_spot: Spot,
    pub(super) value: Node,
}

/// What both syntaxes can say.
#[derive(Debug)]
pub(super) enum Content {
    Boolean(bool),
    /// TOML only.
    Date,
    Float,
    Integer(i64),
    List(Vec<Node>),
    /// YAML only: a key without a value.
    Nothing,
    Table(Vec<Entry>),
    Text(String),
}

impl Content {
    /// The kind, as messages tell it in place of the value.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "a boolean",
            Self::Date => "a date",
            Self::Float | Self::Integer(_) => "a number",
            Self::List(_) => "a list",
            Self::Nothing => "no value",
            Self::Table(_) => "a table",
            Self::Text(_) => "text",
        }
    }
}

/// Why there is no tree.
#[derive(Debug)]
pub(super) enum DocumentError {
    /// The file as a whole.
    File { message: String, remedy: &'static str },
    /// Places in it where the syntax is wrong; never empty.
    Syntax(Vec<SyntaxError>),
}

/// One place where the syntax is wrong.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) spot: Spot,
    pub(super) message: String,
    pub(super) remedy: &'static str,
}

/// Makes a tree of text.
pub(super) type Parse = fn(&str) -> Result<Node, Vec<SyntaxError>>;

/// The syntax that files with this ending are written in.
pub(super) fn syntax(ending: &str) -> Option<Parse> {
    match ending {
        "toml" => Some(from_toml::parse),
        "yaml" | "yml" => Some(from_yaml::parse),
        _ => None,
    }
}

/// Reads the file and parses it by the ending of its name.
pub(super) fn read(path: &Path) -> Result<Node, DocumentError> {
    let Some(parse) = path.extension().and_then(|ending| syntax(ending.to_str()?)) else {
        return Err(DocumentError::File {
            message: format!("`{}` does not end in .toml, .yaml or .yml", path.display()),
            remedy: "name the file by its syntax",
        });
    };
    let file = source::read(path, LARGEST_FILE).map_err(|error| unreadable(path, &error))?;
    let text = std::str::from_utf8(&file.bytes).map_err(|error| not_utf8(&file.bytes, error.valid_up_to()))?;
    parse(text.strip_prefix('\u{feff}').unwrap_or(text)).map_err(DocumentError::Syntax)
}

fn unreadable(path: &Path, error: &ReadError) -> DocumentError {
    DocumentError::File { message: format!("`{}`: {error}", path.display()), remedy: error.remedy() }
}

fn not_utf8(bytes: &[u8], valid: usize) -> DocumentError {
    let before = bytes.get(..valid).and_then(|part| std::str::from_utf8(part).ok()).unwrap_or_default();
    let last_line = before.rsplit('\n').next().unwrap_or_default();
    let line = before.bytes().filter(|&byte| byte == b'\n').count();
    DocumentError::Syntax(vec![SyntaxError {
        spot: Spot { line: number(line + 1), column: number(last_line.chars().count() + 1) },
        message: "this is not UTF-8".to_owned(),
        remedy: "save the file as UTF-8",
    }])
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
