//! The walk of `aquila check --live`: from the name of the token host to the event log files, one row for each step.
//!
//! The story is [`walk`]. Every step asks Salesforce by the same way out as the service, and each row says what was
//! asked, what came back, and what to do. A step that cannot be asked because an earlier one failed is unknown and says
//! why. Invariants: at most [`Extras::within`] for an integration, no more than [`MOST_PAIRS`] logins beyond those that
//! the service itself would make, nothing secret in a row. Not here: how rows look, which is `cli/check`.

mod event_logs;
mod host;
mod key;
mod login;
mod org;
mod rest;
mod row;

use std::time::Duration;

use tokio::time::Instant;

pub use self::row::{Facts, Row, Step, Verdict, Walked};
use crate::keys::Certificate;
use crate::salesforce::{Grant, Integration};

/// No walk takes longer; what was not asked by then is unknown.
pub const LONGEST: Duration = Duration::from_secs(60);
/// Why nothing is asked about event log files where that is not wanted.
const SKIPPED: &str = "--skip-event-logs";
/// So many pairs of token host and audience are tried at most, when that is asked for. Each is a login.
pub const MOST_PAIRS: usize = 5;

/// What is asked for beyond the usual steps, and within which time.
#[derive(Debug, Clone, Copy)]
pub struct Extras {
    /// Other pairs of token host and audience, if the configured one is refused.
    pub try_audiences: bool,
    /// The beginning of one event log file.
    pub read_one_log: bool,
    /// Nothing about event log files: the integration is for something else.
    pub skip_event_logs: bool,
    /// How long the whole walk may take.
    pub within: Duration,
}

impl Default for Extras {
    fn default() -> Self {
        Self { try_audiences: false, read_one_log: false, skip_event_logs: false, within: LONGEST }
    }
}

impl Extras {
    fn want(self, step: Step) -> bool {
        match step {
            Step::Audiences => self.try_audiences,
            Step::LogFile => self.read_one_log,
            _ => true,
        }
    }
}

/// Walks the way of a token and of what it is for. `certificates` are those of its keys, in their order; `told` hears
/// which step is next.
pub async fn walk(
    integration: &Integration,
    certificates: &[Option<Certificate>],
    extras: Extras,
    told: &(dyn Fn(Step) + Sync),
) -> Walked {
    let mut walk = Walk {
        integration,
        certificates,
        extras,
        told,
        deadline: Instant::now() + extras.within,
        rows: Vec::with_capacity(Step::ALL.len()),
        other: None,
        pair_logins: 0,
        api_usage: None,
    };
    let reached = walk.host().await;
    let signs = walk.key().await;
    match walk.login(reached, signs).await {
        Some(grant) => walk.org(&grant).await,
        None => walk.leave_out(Step::with_a_token(), "there is no token to ask with: see mint"),
    }
    Walked {
        integration: integration.name().clone(),
        host: host::name(&integration.settings().token_url),
        username: integration.settings().username.clone(),
        logins: integration.logins_made() + walk.pair_logins,
        rows: walk.rows,
    }
}

/// A walk under way.
struct Walk<'a> {
    integration: &'a Integration,
    certificates: &'a [Option<Certificate>],
    extras: Extras,
    told: &'a (dyn Fn(Step) + Sync),
    deadline: Instant,
    rows: Vec<Row>,
    /// The integration with the pair of token host and audience that works, if that is not the configured one.
    other: Option<Integration>,
    /// Logins with other pairs than the configured one.
    pair_logins: u32,
    /// What the org said last of its API requests: made, and allowed.
    api_usage: Option<(u64, u64)>,
}

impl Walk<'_> {
    fn begin(&self, step: Step) {
        (self.told)(step);
    }

    fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// By whose pair of token host and audience there is a token.
    fn granting(&self) -> &Integration {
        self.other.as_ref().unwrap_or(self.integration)
    }

    /// Rows for steps that cannot be asked.
    fn leave_out(&mut self, steps: impl IntoIterator<Item = Step>, why: &str) {
        let extras = self.extras;
        let wanted = steps.into_iter().filter(|step| extras.want(*step));
        self.rows.extend(wanted.map(|step| Row::unknown(step, "not asked", why)));
    }

    /// What the org is asked with a token, in the order of the rows.
    async fn org(&mut self, grant: &Grant) {
        let who = self.who(grant).await;
        let (session, usable) = self.session(grant).await;
        self.push(self.user_and_org(grant, who, usable.is_ok()));
        self.push(session);
        match usable {
            Ok(()) => {
                self.permissions(grant).await;
                match self.extras.skip_event_logs {
                    true => self.leave_out([Step::EventLogFiles], SKIPPED),
                    false => self.event_logs(grant).await,
                }
                self.api_requests(grant).await;
            }
            Err(refused) => self.without_rest(&refused),
        }
        self.lifetime(grant).await;
        self.ip_lock();
    }
}
