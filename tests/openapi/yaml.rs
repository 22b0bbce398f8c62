//! YAML into values that keep their order, for the one file that is written by hand.

use anyhow::{Context, bail};
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// A node. `serde_json::Value` would sort the members.
#[derive(Debug)]
pub(crate) enum Node {
    Scalar(Value),
    List(Vec<Self>),
    Table(Vec<(String, Self)>),
}

enum Open {
    List(Vec<Node>),
    Table(Vec<(String, Node)>, Option<String>),
}

/// Anchors, aliases, tags and keys that stand twice are refused: not every reader takes them the same way.
pub(crate) fn read(text: &str) -> anyhow::Result<Node> {
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event?;
        let node = match event {
            Event::Alias(_) => bail!("line {}: an alias", span.start.line()),
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) | Event::Scalar(_, _, anchor, _)
                if anchor != 0 =>
            {
                bail!("line {}: an anchor", span.start.line())
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Table(Vec::new(), None));
                continue;
            }
            Event::Scalar(text, style, ..) => match open.last_mut() {
                Some(Open::Table(members, key @ None)) => {
                    if members.iter().any(|(name, _)| *name == text) {
                        bail!("line {}: {text} stands twice", span.start.line());
                    }
                    *key = Some(text.into_owned());
                    continue;
                }
                _ => Node::Scalar(scalar(&text, style)?),
            },
            Event::SequenceEnd | Event::MappingEnd => match open.pop().context("an end without a beginning")? {
                Open::List(items) => Node::List(items),
                Open::Table(members, _) => Node::Table(members),
            },
            _ => continue,
        };
        match open.last_mut() {
            None => root = Some(node),
            Some(Open::List(items)) => items.push(node),
            Some(Open::Table(members, key)) => members.push((key.take().context("a value without a key")?, node)),
        }
    }
    root.context("nothing is in it")
}

/// YAML 1.2's core schema, as far as it is used.
fn scalar(text: &str, style: ScalarStyle) -> anyhow::Result<Value> {
    if style != ScalarStyle::Plain {
        return Ok(text.into());
    }
    Ok(match text {
        "" | "~" | "null" => Value::Null,
        "true" => true.into(),
        "false" => false.into(),
        _ if text.starts_with(|c: char| c.is_ascii_digit()) => {
            serde_json::from_str::<Value>(text).unwrap_or_else(|_| text.into())
        }
        _ => text.into(),
    })
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Scalar(value) => value.serialize(serializer),
            Self::List(items) => items.serialize(serializer),
            Self::Table(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, node) in members {
                    map.serialize_entry(name, node)?;
                }
                map.end()
            }
        }
    }
}
