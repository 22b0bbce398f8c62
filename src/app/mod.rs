//! Assembly: every part is named and joined here, in an order that matters, and every long-lived task has its owner
//! here.

mod replicas;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::report::Report;
use crate::config::{self, Config, Loaded};
use crate::http::callers::CallersDoor;
use crate::http::health::Readiness;
use crate::http::listener::{Listener, Stop};
use crate::http::ops::OpsDoor;
use crate::http::standing::Standing;
use crate::keys::Certificate;
use crate::limits::Failures;
use crate::names::IntegrationName;
use crate::reload::{Doors, Generation, Reloader, SERVING, Shared, prefetch};
use crate::salesforce::Integration;
use crate::snapshot::Snapshots;
use crate::store::{self, Store};
use crate::supervisor::Supervisor;
use crate::telemetry::audit::{self, Trail};
use crate::telemetry::trace::Traces;
use crate::tls::SwappableTls;

/// Everything that can be built without a port: what `check` looks at and `serve` starts from.
#[derive(Debug)]
pub struct Prepared {
    loaded: Loaded,
    shared: Shared,
    generation: Generation,
    traces: Traces,
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
    reloader: Reloader,
    settings: config::Server,
    store: Option<Arc<Store>>,
    flights: TaskTracker,
}

/// How the service is told to end, and to read its configuration again.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// Finish what is being served, and end within the grace time.
    pub graceful: CancellationToken,
    /// End now.
    pub immediate: CancellationToken,
    /// Read the configuration again, and forget what was refused: it may have been cured (SIGHUP).
    pub reload: Arc<Notify>,
    /// Who is told how far it has come.
    pub supervisor: Supervisor,
}

/// How often ageing tokens and certificates are looked at.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// What the last audit records and spans may take when there is no time left otherwise.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Prepared {
    /// Opens keys and certificates and puts the parts together. Asks nobody over the network, binds nothing.
    ///
    /// # Errors
    /// Everything in the files that the configuration names that keeps the service from starting.
    pub fn new(loaded: Loaded, clock: Clock) -> Result<(Self, Report), Report> {
        Self::patient(loaded, clock, store::LIMIT)
    }

    /// The same, with answers of the store that replicas share waited for longer.
    ///
    /// # Errors
    /// Those of [`Prepared::new`].
    pub fn patient(loaded: Loaded, clock: Clock, limit: Duration) -> Result<(Self, Report), Report> {
        let shared = Shared::new(clock, loaded.config.store.as_ref(), limit)?;
        let (generation, report) = Generation::build(&loaded.config, &shared, None)?;
        Ok((Self { loaded, shared, generation, traces: Traces::default() }, report))
    }

    /// The same with its spans going there.
    pub fn traced(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Whether the records that are required on standard output would be kept there. Apart from [`Prepared::new`],
    /// because `check` may well be run with its output thrown away.
    ///
    /// # Errors
    /// They would not.
    pub fn try_standard_output(&self) -> Result<(), Report> {
        audit::try_standard_output(&self.config().audit).map_err(|error| {
            let remedy = "leave standard output open, name a file, or set audit.required = false";
            let mut report = Report::default();
            report.error(&self.config().audit.sink, format!("no record can be kept: {error}"), remedy);
            report
        })
    }

    /// The integrations, sorted by name.
    pub fn integrations(&self) -> Vec<&Integration> {
        let mut all: Vec<_> = self.generation.snapshot.holdings().map(|holding| holding.integration()).collect();
        all.sort_by(|one, other| one.name().cmp(other.name()));
        all
    }

    /// The certificates of an integration's keys, in the order of the keys; empty where none is known.
    pub fn certificates(&self, integration: &IntegrationName) -> Vec<Option<Certificate>> {
        self.generation.snapshot.certificates(integration).map(Option::<&Certificate>::cloned).collect()
    }

    /// The configuration it was prepared from.
    pub fn config(&self) -> &Config {
        &self.loaded.config
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
        let bind = |setting, address| listen(address).map_err(|source| BindError { setting, address, source });
        let callers = bind("server.listen", config.server.listen)?;
        let ops = bind("ops.listen", config.ops.listen)?;
        Ok(Self { callers, ops })
    }
}

/// Connections that may wait to be accepted. With the usual 128 a burst of callers overflows it, and each that was dropped
/// comes back a second later.
const BACKLOG: u32 = 4096;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart takes the port over while connections of the last process are still being forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
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
        let Prepared { loaded, shared, generation, traces } = prepared;
        let Shared { clock, metrics, store, flights, .. } = shared.clone();
        let Generation { snapshot, callers_tls, ops_tls, .. } = generation;
        let trail = Arc::new(Trail::open(&loaded.config.audit, Arc::clone(&metrics))?);
        let doors = Doors {
            snapshots: Arc::new(Snapshots::new(snapshot)),
            callers_tls: Arc::new(ArcSwap::from_pointee(callers_tls)),
            ops_tls: Arc::new(ArcSwap::from_pointee(ops_tls)),
            standing: Arc::new(Standing::new(clock.timestamp())),
            trail: Arc::clone(&trail),
        };
        let readiness = Readiness::default();
        let callers_door = Arc::new(CallersDoor {
            snapshots: Arc::clone(&doors.snapshots),
            broker: Broker::new(clock.clone()),
            metrics: Arc::clone(&metrics),
            trail,
            failures: Failures::default(),
            clock: clock.clone(),
            readiness: readiness.clone(),
            traces,
        });
        let (snapshots, standing, started) = (Arc::clone(&doors.snapshots), Arc::clone(&doors.standing), clock.now());
        let ops_door = OpsDoor { snapshots, metrics, clock, started, readiness, standing, store: store.clone() };
        let (callers_stop, ops_stop) = (Stop::default(), Stop::default());
        let listener = |socket, tls: &SwappableTls, stop: &Stop| Listener::new(socket, Arc::clone(tls), stop.clone());
        Ok(Self {
            callers_address: sockets.callers.local_addr()?,
            ops_address: sockets.ops.local_addr()?,
            callers: (listener(sockets.callers, &doors.callers_tls, &callers_stop), callers_door),
            ops: (listener(sockets.ops, &doors.ops_tls, &ops_stop), ops_door),
            callers_stop,
            ops_stop,
            reloader: Reloader::new(&loaded, shared, doors),
            settings: loaded.config.server,
            store,
            flights,
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
        let Self { callers: (callers, callers_door), ops: (ops, ops_door), callers_stop, ops_stop, .. } = self;
        let (reloader, settings, store, flights) = (self.reloader, self.settings, self.store, self.flights);
        let tasks = TaskTracker::new();
        let (trail, snapshots) = (Arc::clone(&callers_door.trail), Arc::clone(&callers_door.snapshots));
        let traces = callers_door.traces.clone();
        let readiness = ops_door.readiness.clone();

        // Before anybody can ask: both sockets are bound, and what comes now waits in their backlogs. The first probe
        // after the start must not be told otherwise.
        readiness.set(true);
        // Before anything asks the store, so that its first word comes soon.
        let store_stop = CancellationToken::new();
        let shares = store.is_some();
        if let Some(store) = store {
            let follow = replicas::follow(store, Arc::clone(&snapshots), store_stop.clone());
            tasks.spawn(traces.clone().over(follow));
        }
        tasks.spawn(traces.clone().over(prefetch(snapshots.current(), ops_stop.drain.clone())));
        let (clock, supervisor) = (callers_door.clock.clone(), ending.supervisor.clone());
        tasks.spawn(traces.clone().over(look_after(snapshots, clock, supervisor, callers_stop.drain.clone())));
        // Not once the stop has begun: what is being served is finished by the rules under which it came.
        let supervisor = ending.supervisor.clone();
        tasks.spawn(reloader.run(Arc::clone(&ending.reload), supervisor, ending.graceful.clone()));
        let ops_router = ops_door.router();
        tasks.spawn(ops.serve(move |remote, request| ops_door.clone().answer(ops_router.clone(), remote, request)));
        let doors =
            tasks.spawn(callers.serve(move |remote, request| Arc::clone(&callers_door).answer(remote, request)));
        tasks.close();
        ending.supervisor.ready(SERVING);

        ending.graceful.cancelled().await;
        readiness.set(false);
        ending.supervisor.stopping();
        let by = Instant::now() + settings.shutdown_delay + settings.shutdown_grace;
        let drained = drain(&settings, doors, &callers_stop, &ending.immediate).await;
        if shares {
            replicas::land(&flights, by, &ending.immediate).await;
        }
        store_stop.cancel();
        // The ops door stays open to the last, so that a probe is told "not ready" instead of nothing.
        ops_stop.drain.cancel();
        ops_stop.kill.cancel();
        tasks.wait().await;
        tokio::join!(close(trail, by, &ending.immediate), send_the_rest(traces, by, &ending.immediate));
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
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        () = trail.close() => {}
        () = tokio::time::sleep_until(by.max(Instant::now() + LAST_WORDS)) => tracing::error!("audit records are lost"),
        () = at_once => tracing::error!("audit records are lost"),
    }
}

/// Sends the last spans, for as long as the last records may take.
async fn send_the_rest(traces: Traces, by: Instant, immediate: &CancellationToken) {
    let now = Instant::now();
    let within = if immediate.is_cancelled() { LAST_WORDS } else { (by - now).max(LAST_WORDS) };
    traces.close(within).await;
}

/// Renews ahead of their end the tokens that are in use, and does whatever else has to be done beside the answers.
async fn look_after(snapshots: Arc<Snapshots>, clock: Clock, supervisor: Supervisor, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_AFTER);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let current = snapshots.current();
                current.holdings().for_each(|holding| holding.look_after());
                current.directory().tokens().look_after();
                current.look_after_certificates(clock.timestamp());
                supervisor.alive();
            }
            () = stop.cancelled() => return,
        }
    }
}
