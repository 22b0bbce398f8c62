//! A strict stand-in for Salesforce: its token endpoint, its sessions, and the few REST resources a broker's customers
//! use.
//!
//! It shares no code with the broker: if it did, one mistake would hide itself. Not here: other OAuth flows, and any
//! data but made-up event log files.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::routing::{any, get, post};
use axum::{Router, middleware};
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

mod access_token;
mod admission;
mod assertion;
mod checks;
mod chunks;
mod clock;
mod control;
mod counts;
mod cursors;
mod dates;
mod describe;
mod faults;
mod forced;
mod form;
mod format;
mod hosts;
mod identity;
mod introspection;
mod limits;
mod line;
mod logs;
mod org;
mod permission;
mod random;
mod render;
mod rest;
mod rows;
mod server;
mod sessions;
mod settings;
mod soql;
mod streams;
mod switches;
mod tables;
mod tls;
mod token;
mod world;

pub use counts::{Counts, UserCounts};
pub use faults::{Door, Fault, FaultAnswer, Row};
pub use org::RegisterError;
pub use rows::{RestRow, TokenRow};
pub use settings::{App, Approval, EventLogs, Host, HostKind, PermittedUsers, Settings, Standing, User, Users};
pub use switches::{SwitchError, Switches, UnknownUserError};
pub use tls::{Flaw, Tls, TlsError};
pub use world::SeenAssertion;

use hosts::{Place, Places};
use org::Org;
use world::{State, World};

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Other machines could reach the address.
    #[error("{0} is not a loopback address; a simulator is not for others unless remote access is allowed explicitly")]
    NotLoopback(SocketAddr),
    /// An app's certificate is not usable.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// TLS cannot be served with what was given.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Starts simulators.
#[derive(Debug)]
pub struct Simulator;

impl Simulator {
    /// Binds the address and serves in the background until the handle is stopped or dropped.
    pub async fn start(settings: Settings) -> Result<Running, StartError> {
        let wanted = settings.listen;
        if !wanted.ip().is_loopback() && !settings.allow_remote {
            return Err(StartError::NotLoopback(wanted));
        }
        let org = found_org(&settings)?;
        let tls = settings.tls.as_ref().map(Tls::server_config).transpose()?;
        let listen_error = |source| StartError::Listen { address: wanted, source };
        let listener = TcpListener::bind(wanted).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;

        let stop = CancellationToken::new();
        let world = Arc::new(create_world(settings, org, address, stop.clone()));
        let tasks = TaskTracker::new();
        tasks.spawn(server::serve((listener, tls), router(&world), Arc::clone(&world), stop.clone()));
        tasks.close();
        Ok(Running { world, address, tasks, stop: stop.drop_guard() })
    }
}

fn found_org(settings: &Settings) -> Result<Org, RegisterError> {
    let mut org = Org::new(&settings.organization_id);
    org.api_access_control = settings.api_access_control;
    org.sandbox = settings.sandbox;
    for app in &settings.apps {
        org.put_app(app.clone())?;
    }
    for user in &settings.users {
        org.put_user(user.clone());
    }
    Ok(org)
}

fn create_world(settings: Settings, org: Org, address: SocketAddr, stopping: CancellationToken) -> World {
    let host = if address.ip().is_unspecified() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { address.ip() };
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let base_url = format!("{scheme}://{}", SocketAddr::new(host, address.port()));
    let state = State {
        org: Arc::new(org),
        switches: settings.switches,
        sessions: sessions::Sessions::default(),
        cursors: cursors::Cursors::default(),
        logins: admission::Logins::new(settings.logins_per_hour),
        faults: faults::Faults::default(),
        counts: Counts::default(),
        assertions: VecDeque::new(),
        log_lengths: BTreeMap::new(),
        api_calls: 0,
    };
    let plain = Place::plain(&base_url, settings.audiences);
    let places = Places::new(plain, settings.hosts, scheme, address.port(), settings.sandbox);
    World {
        clock: clock::Clock::default(),
        instance_url: settings.instance_url.unwrap_or_else(|| places.instance_url().to_owned()),
        places,
        session_timeout: settings.session_timeout,
        api_calls_per_day: settings.api_calls_per_day,
        event_logs: settings.event_logs,
        query_batch: usize::from(settings.query_batch.max(1)),
        // An empty secret would be none at all.
        control_secret: settings.control_secret.filter(|secret| !secret.is_empty()).unwrap_or_else(|| random::text(40)),
        stopping,
        state: Mutex::new(state),
    }
}

fn router(world: &Arc<World>) -> Router {
    Router::new()
        .route("/services/oauth2/token", any(token::answer))
        .route("/services/data", get(rest::versions))
        .route("/services/data/", get(rest::versions))
        .route("/services/data/{*path}", any(rest::answer))
        .route("/services/oauth2/userinfo", get(identity::userinfo).post(identity::userinfo))
        .route("/services/oauth2/introspect", post(introspection::introspect))
        .route("/services/oauth2/revoke", post(introspection::revoke).get(introspection::revoke))
        .route("/id/{organization}/{user}", get(identity::identity))
        .layer(middleware::from_fn_with_state(Arc::clone(world), chunks::cut))
        .merge(control::router(world))
        .layer(middleware::from_fn_with_state(Arc::clone(world), dates::date))
        .with_state(Arc::clone(world))
}

/// A running simulator. Dropping it stops the service without waiting.
pub struct Running {
    world: Arc<World>,
    address: SocketAddr,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl Running {
    /// Where it listens, with the true port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, with TLS `https`; also an accepted audience by default.
    pub fn base_url(&self) -> String {
        self.world.places.plain().base_url.clone()
    }

    /// The token endpoint.
    pub fn token_url(&self) -> String {
        format!("{}/services/oauth2/token", self.world.places.plain().base_url)
    }

    /// What the control routes want as bearer.
    pub fn control_secret(&self) -> &str {
        &self.world.control_secret
    }

    /// What has been asked so far.
    pub fn counts(&self) -> Counts {
        self.world.counts()
    }

    /// Starts counting anew.
    pub fn reset_counts(&self) {
        self.world.with(|state| state.counts.reset());
    }

    /// Orders an answer.
    pub fn force(&self, fault: Fault) {
        self.world.with(|state| state.faults.add(fault));
    }

    /// Forgets all ordered answers.
    pub fn clear_faults(&self) {
        self.world.with(|state| state.faults.clear());
    }

    /// Ends the sessions of one user, or all; tells how many.
    pub fn kill_sessions(&self, username: Option<&str>) -> usize {
        self.world.with(|state| state.sessions.kill(username))
    }

    /// The simulator's time.
    pub fn now(&self) -> jiff::Timestamp {
        self.world.clock.now()
    }

    /// Pushes the simulator's clock forward.
    pub fn advance_clock(&self, by: Duration) {
        self.world.clock.advance(by);
    }

    /// What the last assertions said, oldest first.
    pub fn assertions(&self) -> Vec<SeenAssertion> {
        self.world.with(|state| state.assertions.iter().cloned().collect())
    }

    /// The switches as they are.
    pub fn switches(&self) -> Switches {
        self.world.with(|state| state.switches.clone())
    }

    /// Replaces all switches.
    pub fn set_switches(&self, switches: Switches) {
        self.world.with(|state| state.switches = switches);
    }

    /// Changes some switches by name.
    pub fn patch_switches(&self, changes: &Map<String, Value>) -> Result<Switches, SwitchError> {
        self.world.patch_switches(changes)
    }

    /// Registers an app, or replaces the one with the same consumer key (a new certificate, say).
    pub fn put_app(&self, app: App) -> Result<(), RegisterError> {
        self.world.with(|state| Arc::make_mut(&mut state.org).put_app(app))
    }

    /// Takes a new certificate for an app, as Setup does, and applies it after so long by the simulator's clock. Until
    /// then the old one counts, and from then on only the new one.
    pub fn upload_certificate(
        &self,
        client_id: &str,
        certificate: &[u8],
        after: Duration,
    ) -> Result<(), RegisterError> {
        self.world.upload_certificate(client_id, certificate, after)
    }

    /// Adds a user, or changes the one with the same username.
    pub fn put_user(&self, user: User) {
        self.world.with(|state| Arc::make_mut(&mut state.org).put_user(user));
    }

    /// Stops listening, lets what is being answered finish for a second, and returns when all is over.
    pub async fn stop(self) {
        self.stop.disarm().cancel();
        self.tasks.wait().await;
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
