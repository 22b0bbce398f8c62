//! Assembly: every part is named and joined here, in an order that matters, and every long-lived task has its owner
//! here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::net::TcpListener;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::hosts::Allowlist;
use crate::config::report::{Mistake, Report, Severity};
use crate::config::{self, Config};
use crate::http::callers::CallersDoor;
use crate::http::health::Readiness;
use crate::http::listener::{Listener, Stop, SwappableTls};
use crate::http::ops::OpsDoor;
use crate::keys;
use crate::salesforce::{Surroundings, WayOut, WayOutError};
use crate::snapshot::{Snapshot, Snapshots};
use crate::telemetry::audit::{self, Trail};
use crate::telemetry::metrics::Metrics;
use crate::tls;

/// Everything that can be built without a port: what `check` looks at and `serve` starts from.
#[derive(Debug)]
pub struct Prepared {
    config: Config,
    clock: Clock,
    metrics: Arc<Metrics>,
    snapshot: Snapshot,
    callers_tls: SwappableTls,
    ops_tls: SwappableTls,
}

/// The service, with both doors open.
#[derive(Debug)]
pub struct App {
    callers: (Listener, Arc<CallersDoor>),
    ops: (Listener, OpsDoor),
    callers_stop: Stop,
    ops_stop: Stop,
    callers_address: SocketAddr,
    ops_address: SocketAddr,
    settings: config::Server,
}

/// How the service is told to end.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// Finish what is being served, and end within the grace time.
    pub graceful: CancellationToken,
    /// End now.
    pub immediate: CancellationToken,
}

/// How often ageing tokens are looked at.
const LOOK_AFTER_TOKENS: Duration = Duration::from_secs(1);
/// What the last audit records may take when there is no time left otherwise.
const LAST_RECORDS: Duration = Duration::from_secs(1);

impl Prepared {
    /// Opens keys and certificates and puts the parts together. Asks nobody over the network, binds nothing.
    ///
    /// # Errors
    /// Everything in the files that the configuration names that keeps the service from starting.
    pub fn new(config: Config, clock: Clock) -> Result<(Self, Report), Report> {
        let mut report = Report::default();
        let metrics = Arc::new(Metrics::new().map_err(|error| own_fault(&error.to_string()))?);
        let flights = TaskTracker::new();
        if let Err(error) = audit::try_sink(&config.audit) {
            let remedy =
                "name a file in a folder that exists and that the service may write to, or `-` for standard output";
            report.push(whole_file("audit.path", format!("no record can be written there: {error}"), remedy));
        }
        let callers_tls = door_tls(config.server.tls.as_ref(), &mut report);
        let ops_tls = door_tls(config.ops.tls.as_ref(), &mut report);
        let way_out = WayOut::new(&config.salesforce).map_err(|error| about_way_out(&config, &error));
        let snapshot = match way_out {
            Err(mistakes) => {
                report.extend(mistakes);
                keys::open_all(
                    &config.integrations.iter().map(|it| &it.client_key_path).collect::<Vec<_>>(),
                    &mut report,
                );
                None
            }
            Ok(way_out) => {
                let allowlist = Arc::new(Allowlist::new(config.salesforce.allowed_hosts.iter().cloned()));
                let metrics = Arc::clone(&metrics);
                let surroundings = Surroundings { way_out, allowlist, clock: clock.clone(), metrics };
                match Snapshot::build(&config, &surroundings, &flights, None) {
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
        };
        match snapshot {
            Some(snapshot) if !report.has_errors() => {
                Ok((Self { config, clock, metrics, snapshot, callers_tls, ops_tls }, report))
            }
            _ => Err(report),
        }
    }

    /// Whether the records that are required on standard output would be kept there. Apart from [`Prepared::new`],
    /// because `check` may well be run with its output thrown away.
    ///
    /// # Errors
    /// They would not.
    pub fn try_standard_output(&self) -> Result<(), Report> {
        audit::try_standard_output(&self.config.audit).map_err(|error| {
            let remedy = "leave standard output open, name a file, or set audit.required = false";
            let mut report = Report::default();
            report.push(whole_file("audit.path", format!("no record can be kept: {error}"), remedy));
            report
        })
    }

    /// The configuration it was prepared from.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// Everything that is wrong with a refused configuration: what its own report says, and what its files say.
pub fn everything_wrong(refused: &config::Refused) -> Report {
    let mut report = refused.report.clone();
    keys::open_all(&refused.key_paths.iter().collect::<Vec<_>>(), &mut report);
    for settings in &refused.tls {
        if let Err(mistakes) = tls::server_config(settings) {
            report.extend(mistakes);
        }
    }
    report
}

fn door_tls(settings: Option<&config::Tls>, report: &mut Report) -> SwappableTls {
    let built = settings.map(tls::server_config).transpose();
    let config = built.unwrap_or_else(|mistakes| {
        report.extend(mistakes);
        None
    });
    Arc::new(ArcSwapOption::new(config))
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
    report
}

fn own_fault(what: &str) -> Report {
    let mut report = Report::default();
    report.push(whole_file("", what, "this is a fault of Aquila: please report it"));
    report
}

fn whole_file(setting: &str, message: impl std::fmt::Display, remedy: &str) -> Mistake {
    Mistake {
        severity: Severity::Error,
        place: None,
        setting: setting.to_owned(),
        message: message.to_string(),
        remedy: remedy.to_owned(),
    }
}

/// Both doors' sockets, bound.
#[derive(Debug)]
pub struct Sockets {
    /// The callers' door.
    pub callers: TcpListener,
    /// The ops door.
    pub ops: TcpListener,
}

impl Sockets {
    /// Binds both.
    ///
    /// # Errors
    /// The address that is taken or not ours, by the name of its setting.
    pub async fn bind(config: &Config) -> Result<Self, BindError> {
        let bind = |setting, address| async move {
            TcpListener::bind(address).await.map_err(|source| BindError { setting, address, source })
        };
        let callers = bind("server.listen", config.server.listen).await?;
        let ops = bind("ops.listen", config.ops.listen).await?;
        Ok(Self { callers, ops })
    }
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: cannot listen on {address}")]
pub struct BindError {
    setting: &'static str,
    address: SocketAddr,
    source: io::Error,
}

impl App {
    /// Puts the doors on their sockets. Nothing is accepted before [`App::run`].
    ///
    /// # Errors
    /// The audit trail cannot be opened, or a socket does not know its address.
    pub fn new(prepared: Prepared, sockets: Sockets) -> io::Result<Self> {
        let Prepared { config, clock, metrics, snapshot, callers_tls, ops_tls } = prepared;
        let trail = Arc::new(Trail::open(&config.audit, Arc::clone(&metrics))?);
        let snapshots = Arc::new(Snapshots::new(snapshot));
        let readiness = Readiness::default();
        let callers_door = Arc::new(CallersDoor {
            snapshots: Arc::clone(&snapshots),
            broker: Broker::new(clock.clone()),
            metrics: Arc::clone(&metrics),
            trail,
            clock: clock.clone(),
            readiness: readiness.clone(),
        });
        let started = clock.now();
        let bearer_token = config.ops.bearer_token;
        let ops_door = OpsDoor { snapshots, metrics, clock, started, readiness, bearer_token };
        let (callers_stop, ops_stop) = (Stop::default(), Stop::default());
        Ok(Self {
            callers_address: sockets.callers.local_addr()?,
            ops_address: sockets.ops.local_addr()?,
            callers: (Listener::new(sockets.callers, callers_tls, callers_stop.clone()), callers_door),
            ops: (Listener::new(sockets.ops, ops_tls, ops_stop.clone()), ops_door),
            callers_stop,
            ops_stop,
            settings: config.server,
        })
    }

    /// Where callers come in.
    pub fn callers_address(&self) -> SocketAddr {
        self.callers_address
    }

    /// Where probes come in.
    pub fn ops_address(&self) -> SocketAddr {
        self.ops_address
    }

    /// Serves until told to end; returns whether everything in progress came to its end.
    pub async fn run(self, ending: Ending) -> bool {
        let Self { callers: (callers, callers_door), ops: (ops, ops_door), callers_stop, ops_stop, settings, .. } =
            self;
        let tasks = TaskTracker::new();
        let (trail, snapshots) = (Arc::clone(&callers_door.trail), Arc::clone(&callers_door.snapshots));
        let readiness = ops_door.readiness.clone();

        // Before anybody can ask: both sockets are bound, and what comes now waits in their backlogs. The first probe
        // after the start must not be told otherwise.
        readiness.set(true);
        tasks.spawn(look_after_tokens(snapshots, ops_stop.drain.clone()));
        let ops_router = ops_door.router();
        tasks.spawn(ops.serve(move |remote, request| ops_door.clone().answer(ops_router.clone(), remote, request)));
        let doors =
            tasks.spawn(callers.serve(move |remote, request| Arc::clone(&callers_door).answer(remote, request)));
        tasks.close();

        ending.graceful.cancelled().await;
        readiness.set(false);
        let by = Instant::now() + settings.shutdown_delay + settings.shutdown_grace;
        let drained = drain(&settings, doors, &callers_stop, &ending.immediate).await;
        // The ops door stays open to the last, so that a probe is told "not ready" instead of nothing.
        ops_stop.drain.cancel();
        ops_stop.kill.cancel();
        tasks.wait().await;
        close(trail, by, &ending.immediate).await;
        drained
    }
}

/// Goes on accepting for the delay (load balancers need a moment to notice), then finishes what is there.
async fn drain(
    settings: &config::Server,
    mut door: tokio::task::JoinHandle<()>,
    stop: &Stop,
    immediate: &CancellationToken,
) -> bool {
    tokio::select! {
        () = tokio::time::sleep(settings.shutdown_delay) => {}
        () = immediate.cancelled() => {}
    }
    stop.drain.cancel();
    let drained = tokio::select! {
        _ = &mut door => return true,
        () = tokio::time::sleep(settings.shutdown_grace) => false,
        () = immediate.cancelled() => false,
    };
    stop.kill.cancel();
    let _ = door.await;
    drained
}

/// Waits for the last audit records, for a moment in every case, but not for a pipe that nobody reads.
async fn close(trail: Arc<Trail>, by: Instant, immediate: &CancellationToken) {
    let at_once = async {
        immediate.cancelled().await;
        tokio::time::sleep(LAST_RECORDS).await;
    };
    tokio::select! {
        () = trail.close() => {}
        () = tokio::time::sleep_until(by.max(Instant::now() + LAST_RECORDS)) => tracing::error!("audit records are lost"),
        () = at_once => tracing::error!("audit records are lost"),
    }
}

/// Renews ahead of their end the tokens that are in use.
async fn look_after_tokens(snapshots: Arc<Snapshots>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_AFTER_TOKENS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        for holding in snapshots.current().holdings() {
            holding.refresh_if_due();
        }
    }
}
