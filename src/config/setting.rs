//! The small decoder behind `file.rs`: a section is declared once, and from that one declaration come its struct, its
//! reader and its JSON Schema, so that these cannot disagree.
//!
//! A mistake never stops the reading: it is noted in the report, the field stays empty, and whoever needs that field
//! stays silent about it. Rules that look at more than one setting are in `build/`.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::document::{Content, Entry, Node, Spot};
use super::report::{Located, Place, Report};
use super::show;

/// A type that a setting can have.
pub(super) trait Setting: Sized {
    /// Reads it, or notes what is wrong and returns nothing.
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self>;

    /// Its JSON Schema.
    fn schema() -> Value;
}

/// One setting of a section as it was found.
#[derive(Debug)]
pub(super) struct Field<T> {
    /// Where it stands; where its section begins if it is not written.
    pub(super) at: Located<()>,
    /// Whether the file has it.
    pub(super) written: bool,
    /// The value or its default; of a list what is good in it. Nothing if it is absent without a default, or wrong,
    /// which the report says by now.
    pub(super) value: Option<T>,
}

impl<T> Field<T> {
    /// The value with its place.
    pub(super) fn located(self) -> Option<Located<T>> {
        let Located { setting, place, .. } = self.at;
        self.value.map(|value| Located { value, setting, place })
    }
}

/// Whether a setting must be written, and what it is if it is not.
#[derive(Debug, Clone, Copy)]
pub(super) enum Presence {
    Optional,
    Or(Preset),
    Required,
}

/// A default, as it would stand in the file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Preset {
    Flag(bool),
    List,
    Number(i64),
    Table,
    Text(&'static str),
}

impl Preset {
    fn content(self) -> Content {
        match self {
            Self::Flag(flag) => Content::Boolean(flag),
            Self::List => Content::List(Vec::new()),
            Self::Number(number) => Content::Integer(number),
            Self::Table => Content::Table(Vec::new()),
            Self::Text(text) => Content::Text(text.to_owned()),
        }
    }

    fn json(self) -> Value {
        match self {
            Self::Flag(flag) => json!(flag),
            Self::List => json!([]),
            Self::Number(number) => json!(number),
            Self::Table => json!({}),
            Self::Text(text) => json!(text),
        }
    }
}

/// A table of the file while its settings are read.
pub(super) struct Table<'a> {
    at: Located<()>,
    entries: &'a [Entry],
}

impl<'a> Table<'a> {
    /// Opens a section; keys that it does not know are mistakes.
    pub(super) fn open(at: &Located<&'a Node>, keys: &Keys, report: &mut Report) -> Option<Self> {
        let entries = entries(at, report)?;
        for entry in entries.iter().filter(|entry| !keys.known.contains(&entry.key.as_str())) {
            let (message, remedy) = keys.unknown(&entry.key);
            report.error(&below(at, &entry.key, entry.key_spot), message, remedy);
        }
        Some(Self { at: relocated(at, ()), entries })
    }

    /// Reads one of its settings.
    pub(super) fn field<T: Setting>(&self, key: &str, presence: Presence, report: &mut Report) -> Field<T> {
        if let Some(entry) = self.entries.iter().find(|entry| entry.key == key) {
            let at = value_at(&self.at, entry);
            let value = T::read(&at, report);
            return Field { at: relocated(&at, ()), written: true, value };
        }
        let at = Located { setting: path(&self.at.setting, key), ..self.at.clone() };
        let value = match presence {
            Presence::Optional => None,
            Presence::Or(preset) => {
                let node = Node { content: preset.content(), spot: Spot::START };
                T::read(&relocated(&at, &node), report)
            }
            Presence::Required => {
                report.error(&at, "this setting is missing", format!("add `{key}` here"));
                None
            }
        };
        Field { at, written: false, value }
    }
}

/// The keys of a section.
pub(super) struct Keys {
    /// Those that this version reads.
    pub(super) known: &'static [&'static str],
    /// Those that the documentation has for a later version.
    pub(super) later: &'static [&'static str],
}

impl Keys {
    fn unknown(&self, key: &str) -> (String, String) {
        if self.later.contains(&key) {
            return ("this version does not have this setting yet".to_owned(), "remove it, or upgrade".to_owned());
        }
        if let Some(settings) = self.of_secret(key) {
            return ("a secret never stands in this file".to_owned(), format!("take {settings} instead"));
        }
        let remedy = match show::nearest(key, self.known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", self.known.join(", ")),
        };
        ("there is no setting of this name".to_owned(), remedy)
    }

    /// The settings that say where the secret `key` is, if there are some.
    fn of_secret(&self, key: &str) -> Option<String> {
        let is_known = |ending: &str| self.known.iter().any(|known| known.strip_prefix(key) == Some(ending));
        match (is_known("_path"), is_known("_env")) {
            (true, true) => Some(format!("`{key}_path` (a file) or `{key}_env` (a variable of the environment)")),
            _ => None,
        }
    }
}

/// The entries of a table; a key without a value, which YAML has, is an empty one.
pub(super) fn entries<'a>(at: &Located<&'a Node>, report: &mut Report) -> Option<&'a [Entry]> {
    match &at.value.content {
        Content::Table(entries) => Some(entries),
        Content::Nothing => Some(&[]),
        other => {
            report.error(at, format!("expected a table, found {}", other.kind()), "write settings below this name");
            None
        }
    }
}

/// The whole document.
pub(super) fn root<'a>(file: &Path, node: &'a Node) -> Located<&'a Node> {
    let Spot { line, column } = Spot::START;
    Located { value: node, setting: String::new(), place: Place { file: Arc::from(file), line, column } }
}

/// The value of an entry. A table is located by its name: that is where a setting that it misses would be looked for.
pub(super) fn value_at<'a, T>(parent: &Located<T>, entry: &'a Entry) -> Located<&'a Node> {
    let named = matches!(entry.value.content, Content::Table(_) | Content::Nothing);
    let spot = if named { entry.key_spot } else { entry.value.spot };
    relocated(&below(parent, &entry.key, spot), &entry.value)
}

/// An item of a list.
pub(super) fn item_at<'a, T>(parent: &Located<T>, index: usize, node: &'a Node) -> Located<&'a Node> {
    let place = Place { line: node.spot.line, column: node.spot.column, ..parent.place.clone() };
    Located { value: node, setting: format!("{}[{index}]", parent.setting), place }
}

/// Another value at the same place.
pub(super) fn relocated<T, U>(at: &Located<T>, value: U) -> Located<U> {
    Located { value, setting: at.setting.clone(), place: at.place.clone() }
}

/// The place of a key.
pub(super) fn below<T>(parent: &Located<T>, key: &str, spot: Spot) -> Located<()> {
    let place = Place { line: spot.line, column: spot.column, ..parent.place.clone() };
    Located { value: (), setting: path(&parent.setting, key), place }
}

fn path(parent: &str, key: &str) -> String {
    let key = show::key(key);
    if parent.is_empty() { key.into_owned() } else { format!("{parent}.{key}") }
}

/// The schema of a section.
pub(super) fn section_schema(about: &str, settings: Vec<(&str, &str, Presence, Value)>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (key, doc, presence, mut schema) in settings {
        if let Value::Object(members) = &mut schema {
            // What the type says of itself follows the sentence of the setting; a section says nothing more.
            let details = members.remove("description").filter(|_| !members.contains_key("properties"));
            let details = details.as_ref().and_then(Value::as_str).map(|text| format!(" {text}"));
            members.insert("description".to_owned(), json!(doc.trim().to_owned() + &details.unwrap_or_default()));
            match presence {
                Presence::Or(preset @ (Preset::Flag(_) | Preset::Number(_) | Preset::Text(_))) => {
                    members.insert("default".to_owned(), preset.json());
                }
                Presence::Required => required.push(key),
                _ => {}
            }
        }
        properties.insert(key.to_owned(), schema);
    }
    let mut schema = json!({
        "description": about.trim(),
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    if let (Value::Object(members), false) = (&mut schema, required.is_empty()) {
        members.insert("required".to_owned(), json!(required));
    }
    schema
}

/// Declares a section: `key: Type, required|optional|or DEFAULT;`, each with the sentence that documentation and schema
/// show. `later` are keys that the documentation has and this version has not.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $Name:ident later [$($later:literal),*] {
            $( $(#[doc = $doc:literal])+ $field:ident: $Value:ty, $presence:ident $($default:expr)?; )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug)]
        pub(super) struct $Name {
            $( $(#[doc = $doc])+ pub(super) $field: Field<$Value>, )+
        }

        impl Setting for $Name {
            fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
                const KEYS: Keys = Keys { known: &[$(stringify!($field)),+], later: &[$($later),*] };
                let table = Table::open(at, &KEYS, report)?;
                Some(Self {
                    $( $field: table.field(stringify!($field), section!(@ $presence $($default)?), report), )+
                })
            }

            fn schema() -> serde_json::Value {
                section_schema(concat!($($about),+), vec![$(
                    (
                        stringify!($field),
                        concat!($($doc),+),
                        section!(@ $presence $($default)?),
                        <$Value as Setting>::schema(),
                    ),
                )+])
            }
        }
    };
    (@ optional) => { Presence::Optional };
    (@ or $default:expr) => { Presence::Or($default) };
    (@ required) => { Presence::Required };
}
pub(super) use section;
