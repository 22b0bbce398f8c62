//! What an operator wants to know about each integration, without a secret: `/status.json`, and all that the page for
//! people ([`super::page`]) is made from.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::standing;
use crate::clock::Moment;
use crate::holding::Holding;
use crate::snapshot::Snapshot;
use crate::store::{Standing, Store};
use crate::telemetry::lately::Minute;

/// The whole document.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) version: &'static str,
    pub(super) ready: bool,
    pub(super) uptime_seconds: u64,
    pub(super) configuration: standing::Told,
    /// What replicas share, if they do.
    pub(super) store: Option<StoreStatus>,
    pub(super) callers: usize,
    /// Callers that were refused because of a limit, and still would be.
    pub(super) callers_at_limit: Vec<LimitStatus>,
    /// All callers, by name, with their last use.
    pub(super) callers_last_seen: Vec<SeenStatus>,
    pub(super) integrations: Vec<IntegrationStatus>,
}

/// How this replica stands to the others.
#[derive(Debug, Serialize)]
pub(super) struct StoreStatus {
    mode: &'static str,
    state: &'static str,
    since_seconds: Option<u64>,
    /// Why it is alone.
    cause: Option<&'static str>,
    detail: Option<&'static str>,
    remedy: Option<&'static str>,
    /// What this one is called in the store.
    replica: String,
}

impl StoreStatus {
    pub(super) fn of(store: &Store) -> Self {
        let (standing, now) = (store.standing(), store.clock().now());
        let (since, trouble) = match &standing {
            Standing::Connecting => (None, None),
            Standing::Shared { since } => (Some(*since), None),
            Standing::Alone { since, trouble } => (Some(*since), Some(trouble)),
        };
        Self {
            mode: store.mode().as_str(),
            state: standing.as_str(),
            since_seconds: since.map(|since| now.since(since).as_secs()),
            cause: trouble.map(|trouble| trouble.cause),
            detail: trouble.map(|trouble| trouble.told),
            remedy: trouble.map(|trouble| trouble.remedy),
            replica: store.replica().to_owned(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct SeenStatus {
    pub(super) caller: String,
    /// Since it last proved itself. `None`: not since the process began.
    pub(super) seconds_ago: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct LimitStatus {
    pub(super) caller: String,
    pub(super) limit: &'static str,
    pub(super) for_seconds: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct IntegrationStatus {
    pub(super) name: String,
    pub(super) state: State,
    pub(super) token: Option<TokenStatus>,
    pub(super) last_used_seconds_ago: Option<u64>,
    pub(super) last_failure: Option<FailureStatus>,
    pub(super) session: SessionStatus,
    /// The key, and the next one if there is one.
    pub(super) keys: Vec<KeyStatus>,
    pub(super) login_budget: BudgetStatus,
    pub(super) last_hour: LastHour,
    /// Whether the token host is left alone after failures in a row.
    pub(super) circuit_open: bool,
    /// Salesforce's clock less this machine's, as of the last answer.
    pub(super) clock_skew_seconds: Option<i64>,
    /// Callers that report the token again and again although it works from here.
    pub(super) token_unusable_for: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct CertificateStatus {
    pub(super) not_before: String,
    pub(super) not_after: String,
    /// Less than nothing once it has ended.
    pub(super) days_left: i64,
    pub(super) size_bytes: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct SessionStatus {
    pub(super) timeout_seconds: u64,
    /// For how long a token is promised after a proof of life.
    pub(super) promise_seconds: u64,
    /// Whether sessions died while they were promised, so that less is promised than half of the timeout.
    pub(super) cut_by_experience: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct KeyStatus {
    pub(super) setting: &'static str,
    /// SHA-256 of its public key.
    pub(super) thumbprint: String,
    /// Whether the next login begins with it.
    pub(super) in_use: bool,
    pub(super) accepted_seconds_ago: Option<u64>,
    /// Since Salesforce last refused its signature.
    pub(super) refused_seconds_ago: Option<u64>,
    pub(super) certificate: Option<CertificateStatus>,
}

#[derive(Debug, Serialize)]
pub(super) struct BudgetStatus {
    pub(super) per_hour: u32,
    pub(super) remaining: u32,
}

/// Logins of the last hour.
#[derive(Debug, Serialize)]
pub(super) struct LastHour {
    pub(super) mints: u32,
    /// Logins that brought no token.
    pub(super) failures: u32,
    /// The minutes that had any, the latest first.
    pub(super) minutes: Vec<Minute>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// A good token, and the last try to renew it failed.
    Ageing,
    /// No good token, and the last try failed.
    Failing,
    /// A good token.
    Good,
    /// Nobody asked yet, or not for a while.
    Idle,
}

impl State {
    /// The wire name, which is a word for people too.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ageing => "ageing",
            Self::Failing => "failing",
            Self::Good => "good",
            Self::Idle => "idle",
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct TokenStatus {
    pub(super) fingerprint: String,
    pub(super) remaining_seconds: u64,
    pub(super) lifetime_source: &'static str,
    pub(super) minted_at: String,
    pub(super) instance_url: String,
}

#[derive(Debug, Serialize)]
pub(super) struct FailureStatus {
    pub(super) cause: &'static str,
    pub(super) sentence: &'static str,
    pub(super) remedy: &'static str,
    pub(super) help: String,
    pub(super) detail: String,
    pub(super) in_a_row: u32,
    pub(super) seconds_ago: u64,
    pub(super) next_try_in_seconds: u64,
}

/// What is told of the process as a whole.
pub(super) struct ProcessStatus {
    pub(super) ready: bool,
    pub(super) uptime: Duration,
    pub(super) configuration: standing::Told,
    /// The date, by which certificates end.
    pub(super) today: Timestamp,
    pub(super) store: Option<StoreStatus>,
}

/// The status of a generation now; integrations by name.
pub(super) fn of(snapshot: &Snapshot, now: Moment, process: ProcessStatus) -> Status {
    let told = |holding: &Arc<Holding>| one(holding, keys(snapshot, holding, (now, process.today)), now);
    let mut integrations: Vec<IntegrationStatus> = snapshot.holdings().map(told).collect();
    integrations.sort_by(|a, b| a.name.cmp(&b.name));
    Status {
        version: env!("CARGO_PKG_VERSION"),
        ready: process.ready,
        uptime_seconds: process.uptime.as_secs(),
        configuration: process.configuration,
        store: process.store,
        callers: snapshot.caller_count(),
        callers_at_limit: snapshot
            .limited(now)
            .map(|(caller, kind, wait)| LimitStatus {
                caller: caller.to_string(),
                limit: kind.as_str(),
                for_seconds: wait.as_secs(),
            })
            .collect(),
        callers_last_seen: snapshot
            .callers()
            .map(|caller| SeenStatus {
                caller: caller.name().to_string(),
                seconds_ago: caller.last_seen().map(|at| now.since(at).as_secs()),
            })
            .collect(),
        integrations,
    }
}

fn keys(snapshot: &Snapshot, holding: &Holding, (now, today): (Moment, Timestamp)) -> Vec<KeyStatus> {
    let ago = |at: Option<Moment>| at.map(|at| now.since(at).as_secs());
    let certificates = snapshot.certificates(holding.name()).chain(std::iter::repeat(None));
    let told = holding.integration().keys().into_iter().zip(certificates).map(|(key, certificate)| KeyStatus {
        setting: key.setting.as_str(),
        thumbprint: key.thumbprint.as_str().to_owned(),
        in_use: key.in_use,
        accepted_seconds_ago: ago(key.accepted),
        refused_seconds_ago: ago(key.refused),
        certificate: certificate.map(|certificate| CertificateStatus {
            not_before: certificate.not_before.to_string(),
            not_after: certificate.not_after.to_string(),
            days_left: certificate.not_after.duration_since(today).as_hours().div_euclid(24),
            size_bytes: certificate.size,
        }),
    });
    told.collect()
}

fn one(holding: &Holding, keys: Vec<KeyStatus>, now: Moment) -> IntegrationStatus {
    let good = holding.peek().filter(|kept| kept.promise.expires_in(now).is_some());
    let (failure, integration) = (holding.failure(), holding.integration());
    let token = good.as_ref().map(|kept| TokenStatus {
        fingerprint: kept.value.grant.token.fingerprint().to_string(),
        remaining_seconds: kept.promise.remaining(now).as_secs(),
        lifetime_source: kept.promise.source().as_str(),
        minted_at: Timestamp::from_millisecond(kept.value.minted_at).unwrap_or_default().to_string(),
        instance_url: kept.value.grant.instance_url.as_str().trim_end_matches('/').to_owned(),
    });
    IntegrationStatus {
        name: holding.name().to_string(),
        state: match (&token, &failure) {
            (Some(_), None) => State::Good,
            (Some(_), Some(_)) => State::Ageing,
            (None, Some(_)) => State::Failing,
            (None, None) => State::Idle,
        },
        token,
        last_used_seconds_ago: holding.last_read().map(|at| now.since(at).as_secs()),
        last_failure: failure.map(|failure| FailureStatus {
            cause: failure.error.cause.code(),
            sentence: failure.error.cause.sentence(),
            remedy: failure.error.cause.remedy(),
            help: failure.error.cause.help(),
            detail: failure.error.detail.clone(),
            in_a_row: failure.streak,
            seconds_ago: now.since(failure.at).as_secs(),
            next_try_in_seconds: failure.retry_at.since(now).as_secs(),
        }),
        session: SessionStatus {
            timeout_seconds: integration.settings().session_timeout.as_secs(),
            promise_seconds: holding.trust().lasts().as_secs(),
            cut_by_experience: holding.trust().is_cut(),
        },
        keys,
        login_budget: BudgetStatus {
            per_hour: integration.settings().login_budget_per_hour,
            remaining: integration.logins_left(),
        },
        last_hour: last_hour(integration.metrics().minted_lately(holding.name(), now)),
        circuit_open: integration.is_circuit_open(),
        clock_skew_seconds: integration.clock_skew(),
        token_unusable_for: holding.barred(now).iter().map(ToString::to_string).collect(),
    }
}

fn last_hour(minutes: Vec<Minute>) -> LastHour {
    let sum = |count: fn(&Minute) -> u16| minutes.iter().map(|minute| u32::from(count(minute))).sum();
    LastHour { mints: sum(|minute| minute.mints), failures: sum(|minute| minute.failures), minutes }
}
