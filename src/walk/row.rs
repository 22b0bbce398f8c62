//! What a step came to: its verdict, what was asked and seen, and where the remedy is told.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::names::IntegrationName;
use crate::salesforce::{Cause, MintError};

/// Numbers and names of a row, for programs.
pub type Facts = Map<String, Value>;

/// All rows of one integration.
#[derive(Debug, Clone)]
pub struct Walked {
    /// Whose.
    pub integration: IntegrationName,
    /// The token host.
    pub host: String,
    /// The Salesforce user that logged in.
    pub username: String,
    /// Requests to token endpoints: each counts as a login of this user.
    pub logins: u32,
    /// In the order of the steps.
    pub rows: Vec<Row>,
}

impl Walked {
    /// Whether nothing failed.
    pub fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.verdict != Verdict::Fail)
    }

    /// How many rows have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }
}

/// How a step came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// It works, and somebody should know.
    Warn,
    /// It does not work.
    Fail,
    /// It could not be asked, or the answer does not tell.
    Unknown,
}

/// A step of the walk, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The name of the token host.
    Dns,
    /// A connection to it, and an answer.
    Connection,
    /// Its certificate.
    Tls,
    /// Its clock and ours.
    Clock,
    /// The private key.
    Key,
    /// Its certificate.
    Certificate,
    /// The login.
    Mint,
    /// Other pairs of token host and audience. Only when asked for.
    Audiences,
    /// Whose token it is.
    UserAndOrg,
    /// Whether the REST API takes it.
    Session,
    /// A permission of the user.
    ApiEnabled,
    /// A permission of the user.
    ViewEventLogFiles,
    /// A permission of the user, and more than is needed.
    ViewAllData,
    /// Which event log files it sees.
    EventLogFiles,
    /// The beginning of one of them. Only when asked for.
    LogFile,
    /// What is left of the org's API requests.
    ApiRequests,
    /// How long the token lives, by introspection.
    Lifetime,
    /// Whether sessions are locked to an address.
    IpLock,
}

impl Step {
    /// Each of them.
    pub const ALL: [Self; Self::IpLock as usize + 1] = [
        Self::Dns,
        Self::Connection,
        Self::Tls,
        Self::Clock,
        Self::Key,
        Self::Certificate,
        Self::Mint,
        Self::Audiences,
        Self::UserAndOrg,
        Self::Session,
        Self::ApiEnabled,
        Self::ViewEventLogFiles,
        Self::ViewAllData,
        Self::EventLogFiles,
        Self::LogFile,
        Self::ApiRequests,
        Self::Lifetime,
        Self::IpLock,
    ];

    /// Those that ask with a token: the last ones, from the user on.
    pub(super) fn with_a_token() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().skip_while(|step| *step != Self::UserAndOrg)
    }

    /// What people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Dns => "DNS",
            Self::Connection => "connection",
            Self::Tls => "TLS",
            Self::Clock => "clock",
            Self::Key => "key",
            Self::Certificate => "certificate",
            Self::Mint => "mint",
            Self::Audiences => "audiences",
            Self::UserAndOrg => "user and org",
            Self::Session => "session",
            Self::ApiEnabled => "API Enabled",
            Self::ViewEventLogFiles => "View Event Log Files",
            Self::ViewAllData => "View All Data",
            Self::EventLogFiles => "event log files",
            Self::LogFile => "log file",
            Self::ApiRequests => "API requests",
            Self::Lifetime => "lifetime",
            Self::IpLock => "IP lock",
        }
    }

    /// Where the guide to the Salesforce side tells how it is set up: a path inside the repository.
    pub fn guide(self) -> &'static str {
        match self {
            Self::Dns | Self::Connection | Self::Tls => "docs/salesforce-setup.md#host",
            Self::Clock => "docs/salesforce-setup.md#clock",
            Self::Key | Self::Certificate => "docs/salesforce-setup.md#key-and-certificate",
            Self::Mint | Self::Audiences => "docs/salesforce-setup.md#mint",
            Self::UserAndOrg => "docs/salesforce-setup.md#user-and-org",
            Self::ApiEnabled => "docs/salesforce-setup.md#api-enabled",
            Self::ViewEventLogFiles => "docs/salesforce-setup.md#view-event-log-files",
            Self::ViewAllData => "docs/salesforce-setup.md#view-all-data",
            Self::EventLogFiles | Self::LogFile => "docs/salesforce-setup.md#event-log-files",
            Self::ApiRequests => "docs/salesforce-setup.md#api-requests-left",
            Self::Lifetime => "docs/salesforce-setup.md#session-lifetime",
            Self::Session | Self::IpLock => "docs/salesforce-setup.md#ip-lock",
        }
    }
}

/// One step, and what came of it.
#[derive(Debug, Clone)]
pub struct Row {
    /// Which.
    pub step: Step,
    /// How it came out.
    pub verdict: Verdict,
    /// What was asked.
    pub asked: String,
    /// What came back.
    pub seen: String,
    /// What to do, with the page in Salesforce Setup; nothing where nothing is to be done.
    pub remedy: Option<String>,
    /// The section of the troubleshooting guide: a path inside the repository.
    pub help: Option<String>,
    /// The same as `seen` in numbers and names.
    pub facts: Facts,
}

impl Row {
    pub(super) fn new(step: Step, verdict: Verdict, asked: impl Into<String>, seen: impl Into<String>) -> Self {
        let (asked, seen) = (asked.into(), seen.into());
        Self { step, verdict, asked, seen, remedy: None, help: None, facts: Facts::new() }
    }

    pub(super) fn pass(step: Step, asked: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::new(step, Verdict::Pass, asked, seen)
    }

    pub(super) fn warn(step: Step, asked: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::new(step, Verdict::Warn, asked, seen)
    }

    pub(super) fn fail(step: Step, asked: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::new(step, Verdict::Fail, asked, seen)
    }

    pub(super) fn unknown(step: Step, asked: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::new(step, Verdict::Unknown, asked, seen)
    }

    /// A step that failed for a reason that has its section in the troubleshooting guide.
    pub(super) fn failed(step: Step, asked: impl Into<String>, error: &MintError) -> Self {
        let remedy = match error.cause {
            // What the service does by itself, a check does not.
            Cause::Transient => "run the check again later; the service tries again by itself",
            cause => cause.remedy(),
        };
        let row = Self::fail(step, asked, error.to_string()).remedy(remedy);
        row.help(error.cause).fact("cause", error.cause.code())
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    pub(super) fn help(self, cause: Cause) -> Self {
        Self { help: Some(cause.help()), ..self }
    }

    pub(super) fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }
}
