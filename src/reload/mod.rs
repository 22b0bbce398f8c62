//! A new configuration without a gap: built and checked beside the one in force, then put in its place in one step.
//!
//! A broken one changes nothing but what operators are told. What goes on: integrations that did not change keep their
//! tokens, connections stay open, and every request is decided by one generation from its head to its end.

mod files;
mod generation;
mod prefetch;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::files::{Files, Stamps};
use self::generation::whole_file;
pub use self::generation::{Generation, Shared, everything_wrong};
pub use self::prefetch::prefetch;
use crate::config::report::{Mistake, Report, Severity};
use crate::config::{self, Config, Loaded};
use crate::holding::Holding;
use crate::http::standing::{Outcome, Standing};
use crate::keys;
use crate::snapshot::{Snapshot, Snapshots};
use crate::supervisor::Supervisor;
use crate::telemetry;
use crate::telemetry::audit::Trail;
use crate::tls::{self, SwappableTls};

/// Keeps a running service in step with its files.
#[derive(Debug)]
pub struct Reloader {
    path: PathBuf,
    files: Files,
    digest: [u8; 32],
    /// As the process was started: what cannot change while it runs is compared with it.
    fixed: Fixed,
    shared: Shared,
    doors: Doors,
}

/// What a new generation is put into.
#[derive(Debug, Clone)]
pub struct Doors {
    /// The generation in force.
    pub snapshots: Arc<Snapshots>,
    /// TLS of the callers' door.
    pub callers_tls: SwappableTls,
    /// TLS of the ops door.
    pub ops_tls: SwappableTls,
    /// What operators are told.
    pub standing: Arc<Standing>,
    /// Opened anew with each reload, so that its file can be rotated.
    pub trail: Arc<Trail>,
}

/// Settings that need a restart.
#[derive(Debug, PartialEq)]
struct Fixed {
    server: (std::net::SocketAddr, std::time::Duration, std::time::Duration),
    ops: std::net::SocketAddr,
    log: (config::LogFormat, String),
    audit: (config::AuditSink, bool),
    store: Option<FixedStore>,
}

/// Which store replicas share. Who logs in there, and by which keys, may change.
#[derive(Debug, PartialEq)]
struct FixedStore {
    max_replicas: u32,
    mode: config::RedisMode,
    addresses: Vec<config::Address>,
    database: u16,
    master_name: Option<String>,
    key_prefix: String,
}

/// What a try came to.
enum Tried {
    /// The files say what they said before, and it was not refused.
    Unchanged,
    Refused(Report, Files),
    Built(Box<Built>),
}

struct Built {
    generation: Generation,
    report: Report,
    config: Config,
    files: Files,
    digest: [u8; 32],
}

impl Reloader {
    /// For a service that was started with this.
    pub fn new(loaded: &Loaded, shared: Shared, doors: Doors) -> Self {
        let files = Files::new(&loaded.path, loaded.files.iter().cloned());
        let digest = files.digest();
        let fixed = Fixed::of(&loaded.config);
        Self { path: loaded.path.clone(), files, digest, fixed, shared, doors }
    }

    /// Reloads whenever a file changes or `asked` rings, until told to stop. Rings in a burst are one.
    pub async fn run(mut self, asked: Arc<Notify>, supervisor: Supervisor, stop: CancellationToken) {
        // What is under way at the end is left as it is: neither slow files nor a slow store hold the end up.
        let _ = stop.run_until_cancelled(self.go_on(&asked, &supervisor, &stop)).await;
    }

    async fn go_on(&mut self, asked: &Notify, supervisor: &Supervisor, stop: &CancellationToken) {
        // By content: what changed between the start and this first look, no later look would find different.
        let mut stamps = self.reload(false, stop).await;
        loop {
            let by_order = tokio::select! {
                () = asked.notified() => true,
                () = self.files.change(&stamps) => false,
            };
            if by_order {
                supervisor.reloading(self.shared.clock.monotonic());
                // Whatever was refused may have been cured, with or without a change here.
                keys::forgive();
                forgive(&self.doors.snapshots.current()).await;
            }
            self.doors.trail.reopen();
            stamps = self.reload(by_order, stop).await;
            match stop.is_cancelled() {
                // The end has been told, and nothing is ready any more.
                true => return,
                false if by_order => supervisor.ready(self.in_words()),
                false => supervisor.status(self.in_words()),
            }
        }
    }

    /// For who looks at the service manager first.
    fn in_words(&self) -> &'static str {
        match self.doors.standing.last_outcome() {
            Some(Outcome::Refused) => "serving as before; the new configuration was refused, and the log tells why",
            Some(Outcome::Applied) | None => SERVING,
        }
    }

    /// One round. Comes back with how the files looked when they were read: what changes later is seen by the next.
    async fn reload(&mut self, by_order: bool, stop: &CancellationToken) -> Stamps {
        let (stamps, tried) = self.settled_attempt(by_order).await;
        let watched = self.files.clone();
        match tried {
            Tried::Unchanged => {}
            Tried::Refused(report, files) => {
                // Its own files count too: a key that it names may be what has to be mended.
                self.files = self.files.and(&files);
                self.refuse(report);
            }
            Tried::Built(built) => {
                self.put_in_force(*built);
                self.shared.flights.spawn(prefetch(self.doors.snapshots.current(), stop.clone()));
            }
        }
        if self.files == watched { stamps } else { self.files.stamps().await }
    }

    /// What the files say, unless they were being written while they were read: the head of a file can be a whole
    /// configuration, with callers missing.
    async fn settled_attempt(&self, by_order: bool) -> (Stamps, Tried) {
        let mut before = self.files.stamps().await;
        for _ in 0..MOST_ATTEMPTS {
            let tried = self.attempt(by_order).await;
            let after = self.files.stamps().await;
            if after == before {
                return (after, tried);
            }
            self.files.settle(after).await;
            before = self.files.stamps().await;
        }
        (before, self.attempt(by_order).await)
    }

    /// Reads and builds, away from the threads that serve.
    async fn attempt(&self, by_order: bool) -> Tried {
        let (path, files, known) = (self.path.clone(), self.files.clone(), self.digest);
        let (shared, previous) = (self.shared.clone(), self.doors.snapshots.current());
        // What is taken back after a refusal is built like a change: only that ends the refusal for who watches.
        let was_refused = self.doors.standing.last_outcome() == Some(Outcome::Refused);
        let tried = tokio::task::spawn_blocking(move || {
            if !by_order && !was_refused && files.digest() == known {
                return Tried::Unchanged;
            }
            match config::load(&path) {
                Ok(loaded) => build(loaded, &shared, &previous),
                Err(refused) => {
                    let files = Files::new(&path, refused.files.iter().cloned());
                    Tried::Refused(everything_wrong(&refused), files)
                }
            }
        });
        tried.await.unwrap_or_else(|_| Tried::Refused(broken_off(), self.files.clone()))
    }

    fn put_in_force(&mut self, built: Built) {
        let Built { generation, report, config, files, digest } = built;
        let Generation { snapshot, callers_tls, ops_tls, store: secrets } = generation;
        let (was, is) = (self.doors.snapshots.current(), Arc::new(snapshot));
        // Certificates first: nobody is to come in by the old door to the new rights.
        tls::replace(&self.doors.callers_tls, callers_tls);
        tls::replace(&self.doors.ops_tls, ops_tls);
        if let (Some(store), Some(secrets)) = (&self.shared.store, secrets) {
            store.replace_secrets(secrets);
        }
        self.doors.snapshots.replace(Arc::clone(&is));
        let rekeyed = was.give_way_to(&is);
        self.shared.flights.spawn(async move {
            for_all_replicas(&rekeyed).await;
        });
        (self.files, self.digest) = (files, digest);
        let mut findings = report;
        findings.extend(self.fixed.changed_in(&config));
        tracing::info!(
            integrations = is.holdings().len(),
            callers = is.caller_count(),
            "a new configuration is in force"
        );
        self.note(Outcome::Applied, &findings);
        telemetry::tell(findings);
    }

    fn refuse(&self, report: Report) {
        tracing::error!(
            remedy = "see the findings that follow; `aquila check` tells the same",
            "the new configuration is refused; the old one stays in force"
        );
        self.note(Outcome::Refused, &report);
        telemetry::tell(report);
    }

    fn note(&self, outcome: Outcome, report: &Report) {
        self.shared.metrics.reloaded(outcome.as_str());
        let findings = report.clone().sorted();
        let told = findings.iter().map(|finding| {
            let place = finding.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
            let setting = if finding.setting.is_empty() { String::new() } else { format!("{}: ", finding.setting) };
            format!("{place}{setting}{} ({})", finding.message, finding.remedy)
        });
        self.doors.standing.reloaded(outcome, self.shared.clock.timestamp(), told.take(MOST_TOLD).collect());
    }
}

/// What people read in the service manager while all is well.
pub const SERVING: &str = "serving";

/// So many integrations are forgiven in one go in the store, which has 250 ms for each.
const BATCH: usize = 64;
/// Files that never stand still are taken as they are in the end.
const MOST_ATTEMPTS: usize = 5;
/// Findings that the status page has room for; the log has all.
const MOST_TOLD: usize = 50;

fn build(loaded: Loaded, shared: &Shared, previous: &Snapshot) -> Tried {
    let Loaded { config, warnings: mut report, path, files } = loaded;
    let files = Files::new(&path, files);
    // Before the files are opened: what changes in between differs from this, and is seen by the next look.
    let digest = files.digest();
    if let Some(gone) = gone(&config, previous) {
        let remedy = "write the file whole and rename it into its place; to serve nobody, stop the service";
        report.push(whole_file("", format!("the file names {gone} any more: it is empty, or cut off"), remedy));
        return Tried::Refused(report, files);
    }
    match Generation::build(&config, shared, Some(previous)) {
        Ok((generation, warnings)) => {
            report.extend(warnings);
            Tried::Built(Box::new(Built { generation, report, config, files, digest }))
        }
        Err(mistakes) => {
            report.extend(mistakes);
            Tried::Refused(report, files)
        }
    }
}

/// What a file that was cut off lacks: its head can be a whole configuration. Callers without integrations are a mistake
/// in any case.
fn gone(config: &Config, previous: &Snapshot) -> Option<&'static str> {
    let gone = config.callers.is_empty() && previous.caller_count() > 0;
    gone.then_some(if config.integrations.is_empty() { "nothing" } else { "no caller" })
}

/// For all replicas first: who asks in between would be told again what is forgotten here.
async fn forgive(snapshot: &Snapshot) {
    let all: Vec<Arc<Holding>> = snapshot.holdings().cloned().collect();
    for_all_replicas(&all).await;
    all.iter().for_each(|holding| holding.forgive());
}

/// Forgets in the store, where there is one, how the token hosts were, each of them once, and what was refused.
async fn for_all_replicas(holdings: &[Arc<Holding>]) {
    let mut hosts = HashSet::new();
    let of_each_host: Vec<_> = holdings.iter().filter(|holding| hosts.insert(holding.token_host())).collect();
    for batch in of_each_host.chunks(BATCH) {
        let forgiven = join_all(batch.iter().map(|holding| holding.forgive_host_for_all())).await;
        if forgiven.iter().any(Result::is_err) {
            return;
        }
    }
    for batch in holdings.chunks(BATCH) {
        let forgiven = join_all(batch.iter().map(|holding| holding.forgive_for_all())).await;
        if forgiven.iter().any(Result::is_err) {
            return;
        }
    }
}

fn broken_off() -> Report {
    let mut report = Report::default();
    report.push(whole_file("", "the reload was broken off", "this is a fault of Aquila: please report it"));
    report
}

impl Fixed {
    fn of(config: &Config) -> Self {
        let Config { server, ops, log, audit, store, .. } = config;
        Self {
            server: (server.listen, server.shutdown_delay, server.shutdown_grace),
            ops: ops.listen,
            log: (log.format, log.level.clone()),
            audit: (audit.sink.value.clone(), audit.required),
            store: store.as_ref().map(FixedStore::of),
        }
    }

    /// A warning for each group of settings that only a restart can change.
    fn changed_in(&self, config: &Config) -> Report {
        let new = Self::of(config);
        let groups = [
            ("server.listen, server.shutdown_delay, server.shutdown_grace", self.server != new.server),
            ("ops.listen", self.ops != new.ops),
            ("log", self.log != new.log),
            ("audit", self.audit != new.audit),
            ("store", self.store != new.store),
        ];
        let mut report = Report::default();
        for (setting, _) in groups.iter().filter(|(_, changed)| *changed) {
            let message = "this changed, and takes effect at the next start";
            report.push(Mistake { severity: Severity::Warning, ..whole_file(setting, message, "restart the service") });
        }
        report
    }
}

impl FixedStore {
    fn of(config::Store { max_replicas, redis, .. }: &config::Store) -> Self {
        let config::Redis { addresses, mode, database, master_name, key_prefix, .. } = redis.clone();
        Self { max_replicas: *max_replicas, mode, addresses, database, master_name, key_prefix }
    }
}
