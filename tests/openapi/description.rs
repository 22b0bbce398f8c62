//! The description as a document that can be asked: its operations, and whether a value holds to a schema.
//!
//! A small checker of its own: the keywords that the description uses, and an error for any other, so that nothing is
//! passed over in silence. Stricter than the dialect in one thing: a member that no schema names is an error, unless
//! `additionalProperties` allows it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, bail};
use serde_json::Value;

pub(crate) const METHODS: [&str; 8] = ["get", "head", "post", "put", "delete", "options", "patch", "trace"];

/// One of the two doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Callers,
    Ops,
}

#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) document: Value,
    /// JSON pointers of the properties that real answers had.
    seen: RefCell<BTreeSet<String>>,
}

/// An answer of the service, as it came.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body: String = String::from_utf8_lossy(&self.body).chars().take(600).collect();
        write!(f, "{} {:?} {body}", self.status, self.headers)
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Headers that are part of the contract: one that comes must be described.
const TOLD: [&str; 6] = ["allow", "cache-control", "pragma", "retry-after", "www-authenticate", "x-request-id"];
/// Keywords that say something to people, or are judged by schemathesis alone.
const NOT_JUDGED: [&str; 5] = ["description", "examples", "example", "format", "pattern"];

impl Description {
    pub(crate) fn new(document: Value) -> Self {
        Self { document, seen: RefCell::default() }
    }

    /// The paths of a door, each with its methods.
    pub(crate) fn paths(&self, door: Door) -> Vec<(&str, Vec<&str>)> {
        let paths = self.document["paths"].as_object().into_iter().flatten();
        let of_door = paths.filter(|(_, item)| match item["servers"].as_array() {
            None => door == Door::Callers,
            Some(servers) => servers.iter().any(|server| (server["url"] == "/") == (door == Door::Callers)),
        });
        of_door
            .map(|(path, item)| {
                let methods = METHODS.into_iter().filter(|method| item.get(method).is_some()).collect();
                (path.as_str(), methods)
            })
            .collect()
    }

    /// What is wrong with an answer to an operation: status, headers, content type, body.
    pub(crate) fn judge(&self, path: &str, method: &str, answer: &Answer) -> anyhow::Result<Vec<String>> {
        let operation = &self.document["paths"][path][method];
        let responses = operation["responses"].as_object().with_context(|| format!("{method} {path} is not there"))?;
        let Some(response) = responses.get(&answer.status.to_string()) else {
            return Ok(vec![format!("status {} is not described", answer.status)]);
        };
        let (_, response) = self.resolve(response, "")?;
        let mut problems = self.judge_headers(response, answer)?;
        let content = response["content"].as_object().and_then(|content| content.iter().next());
        match content {
            None if answer.body.is_empty() => {}
            None => problems.push("a body came and none is described".to_owned()),
            Some((kind, media)) => {
                let came = answer.header("content-type").unwrap_or_default();
                if came.split(';').next().unwrap_or_default() != kind {
                    problems.push(format!("content type {came}, described is {kind}"));
                }
                let value = match kind.ends_with("json") {
                    true => serde_json::from_slice(&answer.body)?,
                    false => String::from_utf8(answer.body.clone())?.into(),
                };
                problems.extend(self.problems(&media["schema"], &value)?);
            }
        }
        Ok(problems)
    }

    fn judge_headers(&self, response: &Value, answer: &Answer) -> anyhow::Result<Vec<String>> {
        let mut problems = Vec::new();
        let described = response["headers"].as_object();
        for (name, header) in described.into_iter().flatten() {
            let (_, header) = self.resolve(header, "")?;
            let Some(value) = answer.header(name) else {
                if header["required"] == true {
                    problems.push(format!("no header {name}"));
                }
                continue;
            };
            let value = match header["schema"]["type"] == "integer" {
                true => serde_json::from_str(value).unwrap_or_else(|_| value.into()),
                false => Value::from(value),
            };
            let found = self.problems(&header["schema"], &value)?;
            problems.extend(found.into_iter().map(|problem| format!("header {name}{problem}")));
        }
        for name in TOLD.into_iter().filter(|name| answer.header(name).is_some()) {
            if !described.is_some_and(|all| all.keys().any(|known| known.eq_ignore_ascii_case(name))) {
                problems.push(format!("header {name} is not described"));
            }
        }
        Ok(problems)
    }

    /// What is wrong with a value.
    pub(crate) fn problems(&self, schema: &Value, value: &Value) -> anyhow::Result<Vec<String>> {
        let mut problems = Vec::new();
        self.check(schema, "", (value, ""), &mut problems)?;
        self.closed(schema, value, "", &mut problems)?;
        Ok(problems)
    }

    /// Properties of response schemas that no answer had so far.
    pub(crate) fn unseen(&self, schemas: &[&str]) -> Vec<String> {
        let mut all = BTreeSet::new();
        for name in schemas {
            let at = format!("/components/schemas/{name}");
            if let Some(schema) = self.document.pointer(&at) {
                declared(schema, &at, &mut all);
            }
        }
        all.difference(&self.seen.borrow()).cloned().collect()
    }

    /// Follows `$ref`; with the pointer of where it ended.
    pub(crate) fn resolve<'a>(&'a self, value: &'a Value, at: &str) -> anyhow::Result<(String, &'a Value)> {
        let (mut value, mut at) = (value, at.to_owned());
        while let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').with_context(|| format!("{reference} leads out of the file"))?;
            value = self.document.pointer(pointer).with_context(|| format!("{reference} leads nowhere"))?;
            at = pointer.to_owned();
        }
        Ok((at, value))
    }

    fn check(
        &self,
        schema: &Value,
        at: &str,
        (value, place): (&Value, &str),
        problems: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let (at, schema) = self.resolve(schema, at)?;
        for (keyword, rule) in schema.as_object().context("a schema is an object")? {
            let holds = match keyword.as_str() {
                "type" => is_of_type(rule, value),
                "const" => rule == value,
                "enum" => rule.as_array().is_some_and(|all| all.contains(value)),
                "minimum" => value.as_i64() >= rule.as_i64() || value.is_null(),
                "maximum" => value.as_i64() <= rule.as_i64(),
                "minLength" => value.as_str().map(|text| text.chars().count() as u64) >= rule.as_u64(),
                "maxProperties" => value.as_object().map(|members| members.len() as u64) <= rule.as_u64(),
                "required" => {
                    let names = rule.as_array().into_iter().flatten().filter_map(Value::as_str);
                    let missing: Vec<_> = names.filter(|name| value.get(name).is_none()).collect();
                    if !missing.is_empty() {
                        problems.push(format!("{place}: {missing:?} missing"));
                    }
                    true
                }
                "allOf" => {
                    for (index, part) in rule.as_array().into_iter().flatten().enumerate() {
                        self.check(part, &format!("{at}/allOf/{index}"), (value, place), problems)?;
                    }
                    true
                }
                "anyOf" => {
                    let mut fits = false;
                    for (index, part) in rule.as_array().into_iter().flatten().enumerate() {
                        let mut of_part = Vec::new();
                        self.check(part, &format!("{at}/anyOf/{index}"), (value, place), &mut of_part)?;
                        fits |= of_part.is_empty();
                    }
                    fits
                }
                "properties" => {
                    for (name, part) in rule.as_object().into_iter().flatten() {
                        let Some(member) = value.get(name) else { continue };
                        let at = format!("{at}/properties/{name}");
                        self.seen.borrow_mut().insert(at.clone());
                        self.check(part, &at, (member, &format!("{place}/{name}")), problems)?;
                    }
                    true
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(rule, &format!("{at}/items"), (item, &format!("{place}/{index}")), problems)?;
                    }
                    true
                }
                "additionalProperties" => rule == true,
                _ if NOT_JUDGED.contains(&keyword.as_str()) => true,
                _ => bail!("{at}: this checker does not know `{keyword}`"),
            };
            if !holds {
                problems.push(format!("{place}: {value} breaks {keyword} {rule}"));
            }
        }
        Ok(())
    }

    /// Each member of each object is named by some schema that applies to it.
    fn closed(&self, schema: &Value, value: &Value, place: &str, problems: &mut Vec<String>) -> anyhow::Result<()> {
        let mut parts = Vec::new();
        self.parts(schema, &mut parts)?;
        if parts.iter().any(|part| part.get("additionalProperties").is_some()) {
            return Ok(());
        }
        for (name, member) in value.as_object().into_iter().flatten() {
            let of_name: Vec<_> = parts.iter().filter_map(|part| part.get("properties")?.get(name)).collect();
            if of_name.is_empty() {
                problems.push(format!("{place}/{name} is not described"));
            }
            for schema in of_name {
                self.closed(schema, member, &format!("{place}/{name}"), problems)?;
            }
        }
        for item in value.as_array().into_iter().flatten() {
            for schema in parts.iter().filter_map(|part| part.get("items")) {
                self.closed(schema, item, place, problems)?;
            }
        }
        Ok(())
    }

    fn parts<'a>(&'a self, schema: &'a Value, parts: &mut Vec<&'a Value>) -> anyhow::Result<()> {
        let (_, schema) = self.resolve(schema, "")?;
        parts.push(schema);
        let several = ["allOf", "anyOf"].into_iter().filter_map(|keyword| schema.get(keyword)?.as_array()).flatten();
        for part in several {
            self.parts(part, parts)?;
        }
        Ok(())
    }
}

fn is_of_type(rule: &Value, value: &Value) -> bool {
    let fits = |name: &Value| match name.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => false,
    };
    rule.as_array().map_or_else(|| fits(rule), |all| all.iter().any(fits))
}

fn declared(schema: &Value, at: &str, all: &mut BTreeSet<String>) {
    for (name, part) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}/properties/{name}");
        declared(part, &at, all);
        all.insert(at);
    }
    for keyword in ["allOf", "anyOf"] {
        for (index, part) in schema[keyword].as_array().into_iter().flatten().enumerate() {
            declared(part, &format!("{at}/{keyword}/{index}"), all);
        }
    }
    if schema["items"].is_object() {
        declared(&schema["items"], &format!("{at}/items"), all);
    }
}
