//! `/status.json`: what an operator wants to know about each integration, without a secret.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::standing;
use crate::clock::Moment;
use crate::holding::Holding;
use crate::snapshot::Snapshot;
use crate::store::{Standing, Store};

/// The whole document.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    ready: bool,
    uptime_seconds: u64,
    configuration: standing::Told,
    /// What replicas share, if they do.
    store: Option<StoreStatus>,
    callers: usize,
    /// Callers that were refused because of a limit, and still would be.
    callers_at_limit: Vec<LimitStatus>,
    integrations: Vec<IntegrationStatus>,
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
struct LimitStatus {
    caller: String,
    limit: &'static str,
    for_seconds: u64,
}

#[derive(Debug, Serialize)]
struct IntegrationStatus {
    name: String,
    state: State,
    token: Option<TokenStatus>,
    last_used_seconds_ago: Option<u64>,
    last_failure: Option<FailureStatus>,
    session: SessionStatus,
    /// The key, and the next one if there is one.
    keys: Vec<KeyStatus>,
    login_budget: BudgetStatus,
    /// Whether the token host is left alone after failures in a row.
    circuit_open: bool,
    /// Salesforce's clock less this machine's, as of the last answer.
    clock_skew_seconds: Option<i64>,
    /// Callers that report the token again and again although it works from here.
    token_unusable_for: Vec<String>,
}

#[derive(Debug, Serialize)]
struct CertificateStatus {
    not_before: String,
    not_after: String,
    /// Less than nothing once it has ended.
    days_left: i64,
    size_bytes: usize,
}

#[derive(Debug, Serialize)]
struct SessionStatus {
    timeout_seconds: u64,
    /// For how long a token is promised after a proof of life.
    promise_seconds: u64,
    /// Whether sessions died while they were promised, so that less is promised than half of the timeout.
    cut_by_experience: bool,
}

#[derive(Debug, Serialize)]
struct KeyStatus {
    setting: &'static str,
    /// SHA-256 of its public key.
    thumbprint: String,
    /// Whether the next login begins with it.
    in_use: bool,
    accepted_seconds_ago: Option<u64>,
    /// Since Salesforce last refused its signature.
    refused_seconds_ago: Option<u64>,
    certificate: Option<CertificateStatus>,
}

#[derive(Debug, Serialize)]
struct BudgetStatus {
    per_hour: u32,
    remaining: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// A good token, and the last try to renew it failed.
    Ageing,
    /// No good token, and the last try failed.
    Failing,
    /// A good token.
    Good,
    /// Nobody asked yet, or not for a while.
    Idle,
}

#[derive(Debug, Serialize)]
struct TokenStatus {
    fingerprint: String,
    remaining_seconds: u64,
    lifetime_source: &'static str,
    minted_at: String,
    instance_url: String,
}

#[derive(Debug, Serialize)]
struct FailureStatus {
    cause: &'static str,
    sentence: &'static str,
    remedy: &'static str,
    help: String,
    detail: String,
    in_a_row: u32,
    seconds_ago: u64,
    next_try_in_seconds: u64,
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
        circuit_open: integration.is_circuit_open(),
        clock_skew_seconds: integration.clock_skew(),
        token_unusable_for: holding.barred(now).iter().map(ToString::to_string).collect(),
    }
}
