//! Everything that one configuration makes, built whole beside what is in force, or refused.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::authn::{self, KeySets, Replay, Tokens};
use crate::clock::Clock;
use crate::config::hosts::Allowlist;
use crate::config::report::{Located, Mistake, Report, Severity};
use crate::config::{self, AuditSink, Config, Unopened, show, source};
use crate::keys;
use crate::salesforce::{Budgets, Circuits, Surroundings, WayOut, WayOutError};
use crate::snapshot::Snapshot;
use crate::store::{Secrets, Store};
use crate::telemetry::audit;
use crate::telemetry::metrics::Metrics;
use crate::tls::{self, DoorTls};

/// What all generations share: none of it is forgotten by a change of the configuration.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Time.
    pub clock: Clock,
    /// Instruments.
    pub metrics: Arc<Metrics>,
    /// Where renewals run.
    pub flights: TaskTracker,
    /// Logins of the last hour.
    pub budgets: Arc<Budgets>,
    /// The health of token hosts.
    pub circuits: Arc<Circuits>,
    /// Keys of issuers, as they were fetched last.
    pub key_sets: Arc<KeySets>,
    /// Assertions of callers that were used.
    pub replay: Arc<Replay>,
    /// What replicas share, if they do: one store for the whole life of the process.
    pub store: Option<Arc<Store>>,
}

/// One generation, ready to be put in force.
#[derive(Debug)]
pub struct Generation {
    /// Integrations, callers, rights.
    pub snapshot: Snapshot,
    /// TLS of the callers' door.
    pub callers_tls: DoorTls,
    /// TLS of the ops door.
    pub ops_tls: DoorTls,
    /// The files of the store that replicas share, if there is one.
    pub store: Option<Secrets>,
}

impl Shared {
    /// For a process that begins; answers of the store are waited for so long.
    ///
    /// What is wrong with the files of the store is for [`Generation::build`] to tell, together with all the rest.
    ///
    /// # Errors
    /// Two instruments have the same name, which is a fault of ours.
    pub fn new(clock: Clock, store: Option<&config::Store>, limit: Duration) -> Result<Self, Report> {
        let metrics = Arc::new(Metrics::new().map_err(|error| own_fault(&error.to_string()))?);
        let open = |settings| Some(Store::new(settings, Secrets::open(settings).ok()?, Arc::clone(&metrics), limit));
        let store = store.and_then(open);
        let (budgets, circuits, key_sets) = (Arc::default(), Arc::default(), Arc::default());
        let replay = Arc::new(Replay::new(store.clone()));
        Ok(Self { clock, metrics, flights: TaskTracker::new(), budgets, circuits, key_sets, replay, store })
    }
}

impl Generation {
    /// Opens keys and certificates and puts the parts together; integrations of `previous` that did not change keep
    /// their tokens. Asks nobody over the network, binds nothing, changes nothing that is in force.
    ///
    /// # Errors
    /// Everything in the files that the configuration names that forbids its use.
    pub fn build(config: &Config, shared: &Shared, previous: Option<&Snapshot>) -> Result<(Self, Report), Report> {
        let mut report = Report::default();
        try_sink(&config.audit.sink, &mut report);
        let callers_tls = door_tls(config.server.tls.as_ref(), &mut report);
        let ops_tls = door_tls(config.ops.tls.as_ref(), &mut report);
        let store = config.store.as_ref().and_then(|settings| store_secrets(settings, &mut report));
        let snapshot = snapshot(config, shared, previous, &mut report);
        match snapshot {
            Some(snapshot) if !report.has_errors() => Ok((Self { snapshot, callers_tls, ops_tls, store }, report)),
            _ => Err(report),
        }
    }
}

fn tokens(config: &Config, shared: &Shared, report: &mut Report) -> Option<Tokens> {
    let Shared { clock, metrics, flights, key_sets, replay, .. } = shared.clone();
    let around = authn::Surroundings { clock, metrics, flights, roots: config.salesforce.roots };
    Tokens::build(config, &key_sets, &replay, &around).map_err(|mistakes| report.extend(mistakes)).ok()
}

fn snapshot(config: &Config, shared: &Shared, previous: Option<&Snapshot>, report: &mut Report) -> Option<Snapshot> {
    let tokens = tokens(config, shared, report).unwrap_or_default();
    let way_out = WayOut::new(&config.salesforce).map_err(|error| about_way_out(config, &error));
    let built = way_out.and_then(|way_out| {
        let allowlist = Arc::new(Allowlist::new(config.salesforce.allowed_hosts.iter().cloned()));
        let Shared { clock, metrics, flights, budgets, circuits, store, .. } = shared.clone();
        let surroundings = Surroundings { way_out, allowlist, budgets, circuits, store, clock, metrics };
        Snapshot::build(config, &surroundings, &flights, previous, tokens)
    });
    match built {
        Ok((snapshot, warnings)) => {
            report.extend(warnings);
            Some(snapshot)
        }
        Err(mistakes) => {
            report.extend(mistakes);
            None
        }
    }
}

fn try_sink(sink: &Located<AuditSink>, report: &mut Report) {
    if let Err(error) = audit::try_sink(&sink.value) {
        let remedy =
            "name a file in a folder that exists and that the service may write to, or `-` for standard output";
        report.error(sink, format!("no record can be written there: {error}"), remedy);
    }
}

/// Everything that is wrong with a refused configuration: what its own report says, and what its files say.
pub fn everything_wrong(refused: &config::Refused) -> Report {
    let mut report = refused.report.clone();
    let Unopened { keys, tls, store, named, audit } = refused.unopened.as_ref();
    if let Some(sink) = audit {
        try_sink(sink, &mut report);
    }
    keys::open_all(keys, &mut report);
    for settings in tls {
        if let Err(mistakes) = tls::door(settings) {
            report.extend(mistakes);
        }
    }
    if let Some(settings) = store {
        store_secrets(settings, &mut report);
    }
    unread(named, &mut report);
    report
}

/// Files that nobody could open for what they are, because a setting beside them is wrong, are at least read.
fn unread(named: &[Located<PathBuf>], report: &mut Report) {
    let errors = report.iter().filter(|mistake| mistake.severity == Severity::Error);
    let told: HashSet<String> = errors.map(|mistake| mistake.setting.clone()).collect();
    for path in named.iter().filter(|path| !told.contains(&path.setting)) {
        if let Err(error) = source::read(&path.value, source::LARGEST_PEM) {
            report.error(path, format!("{}: {error}", show::path(&path.value)), error.remedy());
        }
    }
}

fn store_secrets(settings: &config::Store, report: &mut Report) -> Option<Secrets> {
    Secrets::open(settings).map_err(|mistakes| report.extend(mistakes)).ok()
}

fn door_tls(settings: Option<&config::Tls>, report: &mut Report) -> DoorTls {
    settings.map_or_else(|| Ok(DoorTls::default()), tls::door).unwrap_or_else(|mistakes| {
        report.extend(mistakes);
        DoorTls::default()
    })
}

fn about_way_out(config: &Config, error: &WayOutError) -> Report {
    let mut report = Report::default();
    match (error, &config.salesforce.ca_path) {
        (WayOutError::Bundle(_), Some(located)) => {
            report.error(located, error.to_string(), "name a PEM file with the CA certificates to trust");
        }
        (WayOutError::Proxy(_), _) => report.push(whole_file("salesforce.proxy_url", error, "correct the URL")),
        _ => report.push(whole_file("salesforce", error, "check the certificates that this machine trusts")),
    }
    // One round shows all: the keys are looked at although nobody could be asked with them.
    keys::open_all(config.integrations.iter().flat_map(config::Integration::keys), &mut report);
    report
}

fn own_fault(what: &str) -> Report {
    let mut report = Report::default();
    report.push(whole_file("", what, "this is a fault of Aquila: please report it"));
    report
}

/// A finding about a setting whose line is not known by now.
pub(super) fn whole_file(setting: &str, message: impl std::fmt::Display, remedy: &str) -> Mistake {
    Mistake {
        severity: Severity::Error,
        place: None,
        setting: setting.to_owned(),
        message: message.to_string(),
        remedy: remedy.to_owned(),
    }
}
