//! YAML into the tree, from the parser's events.
//!
//! Taken is what a chart's `toYaml` writes: one document of tables, lists and scalars of YAML 1.2's core schema (so a
//! bare `no` is text). Anchors, aliases and tags are refused: they make small files that unfold to large ones.

use std::collections::HashSet;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::{Content, DEEPEST, Entry, Node, Spot, SyntaxError, number};

pub(super) fn parse(text: &str) -> Result<Node, Vec<SyntaxError>> {
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let step = event.map_err(|error| syntax_error(&error)).and_then(|(event, span)| tree.take(event, span));
        if let Err(error) = step {
            // What follows a broken place is guesswork, so the first syntax error is also the last one.
            tree.errors.push(error);
            return Err(tree.errors);
        }
    }
    if !tree.errors.is_empty() {
        return Err(tree.errors);
    }
    Ok(tree.root.unwrap_or(Node { content: Content::Nothing, spot: Spot::START }))
}

/// The tree while it grows.
#[derive(Default)]
struct Tree {
    root: Option<Node>,
    open: Vec<Open>,
    documents: usize,
    errors: Vec<SyntaxError>,
}

/// A list or table whose end has not been read.
enum Open {
    List { spot: Spot, items: Vec<Node> },
    Table { spot: Spot, entries: Vec<Entry>, key: Option<(String, Spot)>, known: HashSet<String> },
}

impl Tree {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let spot = spot(&span.start);
        match event {
            Event::Alias(_) => Err(refusal(spot, "aliases are not taken")),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 { Err(refusal(spot, "a second document begins here")) } else { Ok(()) }
            }
            Event::Scalar(_, _, anchor, tag) if anchor != 0 || tag.is_some() => Err(decorated(spot)),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) if anchor != 0 || tag.is_some() => {
                Err(decorated(spot))
            }
            Event::SequenceStart(..) => self.open(Open::List { spot, items: Vec::new() }, spot),
            Event::MappingStart(..) => {
                let table = Open::Table { spot, entries: Vec::new(), key: None, known: HashSet::new() };
                self.open(table, spot)
            }
            Event::Scalar(text, style, ..) => self.scalar(&text, style, spot),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn open(&mut self, open: Open, spot: Spot) -> Result<(), SyntaxError> {
        if matches!(self.open.last(), Some(Open::Table { key: None, .. })) {
            return Err(refusal(spot, "a key must be text"));
        }
        if self.open.len() >= DEEPEST {
            return Err(refusal(spot, "this is nested too deeply"));
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self) -> Result<(), SyntaxError> {
        match self.open.pop() {
            Some(Open::List { spot, items }) => self.place(Node { content: Content::List(items), spot }),
            Some(Open::Table { spot, entries, .. }) => self.place(Node { content: Content::Table(entries), spot }),
            None => Ok(()),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, spot: Spot) -> Result<(), SyntaxError> {
        if let Some(Open::Table { key: key @ None, known, .. }) = self.open.last_mut() {
            if !known.insert(text.to_owned()) {
                self.errors.push(SyntaxError {
                    spot,
                    message: "this key stands twice in the same table".to_owned(),
                    remedy: "keep one of the two",
                });
            }
            *key = Some((text.to_owned(), spot));
            return Ok(());
        }
        let content = if style == ScalarStyle::Plain { plain(text) } else { Content::Text(text.to_owned()) };
        self.place(Node { content, spot })
    }

    fn place(&mut self, node: Node) -> Result<(), SyntaxError> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Table { entries, key, .. }) => match key.take() {
                Some((key, key_spot)) => entries.push(Entry { key, key_spot, value: node }),
                None => return Err(refusal(node.spot, "a key must be text")),
            },
        }
        Ok(())
    }
}

/// YAML 1.2's core schema.
fn plain(text: &str) -> Content {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Content::Nothing,
        "true" | "True" | "TRUE" => return Content::Boolean(true),
        "false" | "False" | "FALSE" => return Content::Boolean(false),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" => return Content::Float,
        _ => {}
    }
    if let Ok(integer) = text.parse::<i64>() {
        return Content::Integer(integer);
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(integer) = text.strip_prefix(prefix).and_then(|digits| i64::from_str_radix(digits, radix).ok()) {
            return Content::Integer(integer);
        }
    }
    // Rust also reads `inf` and `nan` as numbers; in YAML they are text.
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if numeric && text.parse::<f64>().is_ok() { Content::Float } else { Content::Text(text.to_owned()) }
}

fn spot(marker: &Marker) -> Spot {
    Spot { line: number(marker.line()), column: number(marker.col().saturating_add(1)) }
}

fn decorated(spot: Spot) -> SyntaxError {
    refusal(spot, "anchors and tags are not taken")
}

fn refusal(spot: Spot, message: &str) -> SyntaxError {
    SyntaxError { spot, message: message.to_owned(), remedy: "write one plain document, each value where it belongs" }
}

fn syntax_error(error: &ScanError) -> SyntaxError {
    // One of the scanner's messages quotes a character of the file.
    let told = error.info();
    let told = if told.starts_with("unexpected character") { "unexpected character" } else { told };
    SyntaxError {
        spot: spot(error.marker()),
        message: format!("this is not YAML: {told}"),
        remedy: "mend the syntax; check indentation and quotes",
    }
}
