//! TOML into the tree. A file with wrong syntax yields its syntax errors, several at once, and no tree: half a tree
//! would be blamed for what the other half says.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Content, Entry, Node, Spot, SyntaxError, number};

pub(super) fn parse(text: &str) -> Result<Node, Vec<SyntaxError>> {
    let lines = Lines::of(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors.iter().map(|error| syntax_error(error, &lines)).collect());
    }
    Ok(Node { content: table(root.into_inner(), &lines), spot: Spot::START })
}

fn syntax_error(error: &toml::de::Error, lines: &Lines<'_>) -> SyntaxError {
    // The message names what the grammar expected; unlike the error's `Display` it holds nothing of the file.
    SyntaxError {
        spot: error.span().map_or(Spot::START, |span| lines.spot(span.start)),
        message: format!("this is not TOML: {}", error.message()),
        remedy: "mend the syntax; text stands in quotes",
    }
}

fn table(table: DeTable<'_>, lines: &Lines<'_>) -> Content {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| Entry {
            key_spot: lines.spot(key.span().start),
            key: key.into_inner().into_owned(),
            value: node(value, lines),
        })
        .collect();
    entries.sort_by_key(|entry| (entry.key_spot.line, entry.key_spot.column));
    Content::Table(entries)
}

// The parser refuses more than 80 levels, so this recursion is bounded.
fn node(value: Spanned<DeValue<'_>>, lines: &Lines<'_>) -> Node {
    let spot = lines.spot(value.span().start);
    let content = match value.into_inner() {
        DeValue::Array(items) => Content::List(items.into_iter().map(|item| node(item, lines)).collect()),
        DeValue::Boolean(flag) => Content::Boolean(flag),
        DeValue::Datetime(_) => Content::Date,
        DeValue::Float(_) => Content::Float,
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).map_or(Content::Float, Content::Integer)
        }
        DeValue::String(text) => Content::Text(text.into_owned()),
        DeValue::Table(inner) => table(inner, lines),
    };
    Node { content, spot }
}

/// Turns byte offsets into lines and columns.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    fn spot(&self, offset: usize) -> Spot {
        let line = self.starts.partition_point(|&start| start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or_default();
        Spot { line: number(line), column: number(before.chars().count() + 1) }
    }
}
