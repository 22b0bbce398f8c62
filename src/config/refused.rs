//! What is left of a configuration that may not be used: why, and what it names all the same.

use std::fmt;
use std::path::PathBuf;

use super::report::{Located, Report};
use super::{AuditSink, Key, Store, Tls};

/// A configuration that may not be used. Its `Debug` shows the report alone: a secret pasted where a path belongs is in
/// the paths.
pub struct Refused {
    /// Why, warnings included.
    pub report: Report,
    /// The files that it names, as far as it could be read.
    pub files: Vec<PathBuf>,
    /// What is to be opened all the same.
    pub unopened: Box<Unopened>,
}

/// What such a configuration names. What is wrong with it belongs into the same report, and is found by the layers that
/// can open it.
#[derive(Default)]
pub struct Unopened {
    /// Private keys of integrations.
    pub keys: Vec<Key>,
    /// Certificates and keys of its doors.
    pub tls: Vec<Tls>,
    /// What replicas share.
    pub store: Option<Store>,
    /// The files of these and of others, also where a setting beside them is wrong.
    pub named: Vec<Located<PathBuf>>,
    /// Where audit records would go.
    pub audit: Option<Located<AuditSink>>,
}

impl Refused {
    /// One that names nothing.
    pub(super) fn at_once(report: Report) -> Self {
        Self { report, files: Vec::new(), unopened: Box::default() }
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("report", &self.report).finish_non_exhaustive()
    }
}

impl fmt::Debug for Unopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unopened").finish_non_exhaustive()
    }
}
