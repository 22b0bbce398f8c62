//! What is wrong with a configuration, told to the person who wrote it: where, what was expected, and what to do.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A position in a configuration file. Lines and columns count from 1, columns in characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named on the command line.
    pub file: Arc<Path>,
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A value that remembers where it was written, so that a mistake found later (a key file that does not open) can
/// still name the line.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// The setting, as a dotted path: `integrations.elf-prod.client_key_path`.
    pub setting: String,
    /// Where it stands.
    pub place: Place,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It works, and somebody will regret it.
    Warning,
}

/// One finding. None of its texts may hold a value that could be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Error or warning.
    pub severity: Severity,
    /// Where, when it has a place in a file.
    pub place: Option<Place>,
    /// The setting, as a dotted path; empty for the file as a whole.
    pub setting: String,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// All findings, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    mistakes: Vec<Mistake>,
}

impl Report {
    /// Adds a finding.
    pub fn push(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// Adds the findings of another report.
    pub fn extend(&mut self, other: Self) {
        self.mistakes.extend(other.mistakes);
    }

    /// Notes an error at a setting.
    pub fn error<T>(&mut self, at: &Located<T>, message: impl Into<String>, remedy: impl Into<String>) {
        self.push(Mistake {
            severity: Severity::Error,
            place: Some(at.place.clone()),
            setting: at.setting.clone(),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// Notes a warning at a setting.
    pub fn warning<T>(&mut self, at: &Located<T>, message: impl Into<String>, remedy: impl Into<String>) {
        self.push(Mistake {
            severity: Severity::Warning,
            place: Some(at.place.clone()),
            setting: at.setting.clone(),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// Whether anything forbids starting with this configuration.
    pub fn has_errors(&self) -> bool {
        self.mistakes.iter().any(|mistake| mistake.severity == Severity::Error)
    }

    /// The findings in the order of the file: those without a place first.
    pub fn sorted(mut self) -> Vec<Mistake> {
        self.mistakes.sort_by(|a, b| (&a.place, &a.setting).cmp(&(&b.place, &b.setting)));
        self.mistakes
    }

    /// The findings in the order in which they were made.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.mistakes.iter()
    }
}
