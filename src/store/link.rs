//! The connection, and what is known of it: everything that is asked of the store goes through here.
//!
//! Whatever goes wrong on it makes the whole process go on alone, at once. One task then connects anew and tries a write
//! until that is good.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use aws_lc_rs::rand;
use redis::Value;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::dial::{self, Connection};
use super::events::{Event, ROOM};
use super::lane::Lane;
use super::place::Names;
use super::reply::{Nonsense, Reply};
use super::seal::{Label, Unreadable};
use super::secrets::Secrets;
use super::trouble::Trouble;
use super::{Away, Standing, scripts};
use crate::clock::{Clock, Moment};
use crate::config;
use crate::telemetry::metrics::Metrics;

/// The last fence is remembered for so long.
pub(super) const FENCE_LASTS: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often a write is tried.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// What was tried stands for so long: when it is gone before, so is everything else.
const PROBE_STANDS: Duration = Duration::from_secs(30);
/// A connection that lasted so long is followed by another one at once.
const LASTING: Duration = Duration::from_secs(30);
/// Otherwise a new one is tried after so long, growing to the other.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A Cluster has several servers: so many names are tried, to meet each of them.
const NAMES_IN_CLUSTER: usize = 8;
/// Of no more names it is remembered that somebody was told about them.
const MOST_TOLD: usize = 256;

pub(super) struct Link {
    settings: config::Redis,
    /// No question takes longer.
    limit: Duration,
    names: Names,
    replica: String,
    clock: Clock,
    lane: Lane,
    secrets: ArcSwap<Secrets>,
    /// Changes when others log in than before, or other authorities are trusted.
    access: watch::Sender<()>,
    live: ArcSwapOption<Live>,
    generations: AtomicU64,
    /// Changed together with `live`, under its lock.
    standing: watch::Sender<Standing>,
    /// Rung when the connection was found broken.
    broken: Notify,
    /// Changes when events came to nothing: everything in the store is gone, or this replica was alone when it heard them.
    missed: watch::Sender<()>,
    events: broadcast::Sender<Event>,
    metrics: Arc<Metrics>,
    /// Names of values that did not open, about which somebody was told.
    told: Mutex<HashSet<String>>,
}

/// A connection that was good when it was tried last.
struct Live {
    generation: u64,
    connection: Connection,
    since: Moment,
}

impl Link {
    pub(super) fn new(settings: &config::Redis, secrets: Secrets, metrics: Arc<Metrics>, limit: Duration) -> Self {
        metrics.store().is_up(false);
        Self {
            settings: settings.clone(),
            limit,
            names: Names::new(settings.key_prefix.clone()),
            replica: Uuid::new_v4().simple().to_string(),
            clock: Clock::system(),
            lane: Lane::new(),
            secrets: ArcSwap::from_pointee(secrets),
            access: watch::Sender::new(()),
            live: ArcSwapOption::empty(),
            generations: AtomicU64::new(0),
            standing: watch::Sender::new(Standing::Connecting),
            broken: Notify::new(),
            missed: watch::Sender::new(()),
            events: broadcast::Sender::new(ROOM),
            metrics,
            told: Mutex::default(),
        }
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn replica(&self) -> &str {
        &self.replica
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    pub(super) async fn settled(&self, at_most: Duration) {
        let mut standing = self.standing.subscribe();
        let known = standing.wait_for(|standing| *standing != Standing::Connecting);
        let _ = timeout(at_most, known).await;
    }

    pub(super) fn events(&self) -> &broadcast::Sender<Event> {
        &self.events
    }

    pub(super) fn replace_secrets(&self, secrets: Secrets) {
        let before = self.secrets.load_full();
        let secrets = secrets.at(&self.settings, &before);
        let is_as_before = secrets.access.is_as(&before.access);
        self.secrets.store(Arc::new(secrets));
        self.told().clear();
        if !is_as_before {
            self.access.send_replace(());
        }
    }

    /// For who keeps a connection: when this changes it is to be made anew.
    pub(super) fn access(&self) -> watch::Receiver<()> {
        self.access.subscribe()
    }

    /// For who tells what happened: when this changes everything is to be looked at.
    pub(super) fn missed(&self) -> watch::Receiver<()> {
        self.missed.subscribe()
    }

    /// A connection apart from the others, on which an answer may take `answers_within`.
    pub(super) async fn dial(&self, answers_within: Duration) -> Result<Connection, Trouble> {
        let (settings, access) = (self.settings.clone(), Arc::clone(&self.secrets.load().access));
        // Where it is made, there it is read from.
        let dialled = self.lane.run(async move { dial::dial(&settings, &access, answers_within).await });
        dialled.await.unwrap_or(Err(Trouble::SLOW))
    }

    /// Runs a script, within the limit or not at all.
    pub(super) async fn call(
        &self,
        operation: &'static str,
        script: &'static str,
        names: &[String],
        arguments: &[Vec<u8>],
    ) -> Result<Reply, Away> {
        let Some(live) = self.live.load_full() else {
            self.metrics.store().asked(operation, "away", None);
            return Err(Away);
        };
        let asked = self.clock.now();
        let outcome = self.ask(&live.connection, script, names, arguments).await;
        let word = outcome.as_ref().map_or_else(|trouble| trouble.cause, |_| "success");
        self.metrics.store().asked(operation, word, Some(self.clock.now().since(asked)));
        outcome.map_err(|trouble| {
            self.goes_away(Some(live.generation), trouble);
            Away
        })
    }

    async fn ask(
        &self,
        connection: &Connection,
        script: &'static str,
        names: &[String],
        arguments: &[Vec<u8>],
    ) -> Result<Reply, Trouble> {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(names.len()).arg(names).arg(arguments);
        let (mut connection, clock, limit) = (connection.clone(), self.clock.clone(), self.limit);
        let answer = self.lane.run(async move {
            let asked = clock.now();
            let answer = timeout(limit, connection.ask(&command)).await;
            (answer, asked, clock.now())
        });
        let Some((Ok(answer), asked, answered)) = answer.await else { return Err(Trouble::SLOW) };
        let value: Value = answer.map_err(|error| Trouble::of(&error))?;
        Reply::read(value, asked, answered).map_err(|Nonsense| Trouble::NONSENSE)
    }

    /// What came is nothing that a script of ours returns: whoever answers there is not to be relied on.
    pub(super) fn nonsense(&self, Nonsense: Nonsense) -> Away {
        self.goes_away(None, Trouble::NONSENSE);
        Away
    }

    pub(super) fn seal(&self, label: &Label<'_>, content: &[u8]) -> Option<Vec<u8>> {
        self.secrets.load().keys.seal(label, content)
    }

    /// What opens; of what does not it is told once, until something opens at that name.
    pub(super) fn open(&self, label: &Label<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match self.secrets.load().keys.open(label, sealed) {
            Ok(content) => {
                let mut told = self.told();
                if !told.is_empty() {
                    told.remove(label.name);
                }
                Some(content)
            }
            Err(why) => {
                self.unreadable(label, why);
                None
            }
        }
    }

    fn unreadable(&self, label: &Label<'_>, why: Unreadable) {
        self.metrics.store().could_not_read(why.as_str());
        let mut told = self.told();
        if told.len() < MOST_TOLD && told.insert(label.name.to_owned()) {
            let (name, reason, remedy) = (label.name, why.as_str(), why.remedy());
            tracing::warn!(name, reason, remedy, "a value in the store cannot be read, and counts as absent");
        }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the one task does that keeps the connection.
impl Link {
    pub(super) async fn keep(&self, stop: &CancellationToken) {
        let _ = stop.run_until_cancelled(self.keep_on()).await;
    }

    async fn keep_on(&self) {
        // Connections in a row that did not come about, or did not last.
        let mut failed = 0_u32;
        let mut access = self.access();
        loop {
            if let Some(live) = self.live.load_full() {
                tokio::select! {
                    // In time, or at once when somebody found it broken.
                    _ = timeout(PROBE_EVERY, self.broken.notified()) => self.try_write(&live).await,
                    // The old one serves until the new one is good: no gap, if it is.
                    _ = access.changed() => self.connect_anew().await,
                }
                if self.live.load().is_none() {
                    failed = if self.clock.now().since(live.since) < LASTING { failed.saturating_add(1) } else { 0 };
                }
                continue;
            }
            // Sooner when there is another way in.
            let _ = timeout(pause(failed), access.changed()).await;
            access.mark_unchanged();
            self.connect_anew().await;
            if self.live.load().is_none() {
                failed = failed.saturating_add(1);
            }
        }
    }

    /// Without a new connection this replica is alone, also if it had one until now: who changes a password, or no longer
    /// trusts an authority, is to learn at once what came of it.
    async fn connect_anew(&self) {
        match self.connect().await {
            Ok(live) => self.comes_back(live),
            Err(trouble) => self.goes_away(None, trouble),
        }
    }

    async fn connect(&self) -> Result<Live, Trouble> {
        let connection = self.dial(self.limit).await?;
        for name in self.probes() {
            let names = ["hash", "zset", "stream", "text"].map(|kind| format!("{name}:{kind}"));
            self.ask(&connection, scripts::TRIAL, &names, &[]).await?;
        }
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        for name in self.probes() {
            self.ask(&connection, scripts::PROBE, &[name], &mark(generation)).await?;
        }
        Ok(Live { generation, connection, since: self.clock.now() })
    }

    /// A Redis that is full, or a replica, answers questions all the same.
    async fn try_write(&self, live: &Live) {
        for name in self.probes() {
            // Whoever finds it broken has told why.
            if self.live.load().as_ref().is_none_or(|now| now.generation != live.generation) {
                return;
            }
            match self.ask(&live.connection, scripts::PROBE, &[name], &mark(live.generation)).await {
                Err(trouble) => return self.goes_away(Some(live.generation), trouble),
                // What was written when the connection was made, or a second ago, is gone.
                Ok(reply) if reply.word(1) == Ok("") => self.missed.send_replace(()),
                Ok(_) => {}
            }
        }
    }

    fn probes(&self) -> impl Iterator<Item = String> {
        let several = self.settings.mode == config::RedisMode::Cluster;
        let count = if several { NAMES_IN_CLUSTER } else { 1 };
        (0..count).map(|number| self.names.probe(&format!("{}:{number}", self.replica)))
    }

    fn comes_back(&self, live: Live) {
        let (since, mut was_here) = (live.since, false);
        self.standing.send_modify(|standing| {
            self.live.store(Some(Arc::new(live)));
            was_here = matches!(standing, Standing::Shared { .. });
            if !was_here {
                *standing = Standing::Shared { since };
            }
        });
        self.metrics.store().is_up(true);
        if was_here {
            tracing::info!(replica = self.replica, "the store takes the new user, password or authorities");
        } else {
            tracing::info!(replica = self.replica, "the store is there: what this replica does is shared");
            self.missed.send_replace(());
        }
    }

    /// Cut off, as found with the connection of a generation: one that was replaced since says nothing.
    fn goes_away(&self, generation: Option<u64>, trouble: Trouble) {
        let mut was_here = false;
        self.standing.send_if_modified(|standing| {
            let live = self.live.load();
            if generation.is_some() && live.as_ref().map(|live| live.generation) != generation {
                return false;
            }
            self.live.store(None);
            match standing {
                Standing::Alone { trouble: known, .. } => *known = trouble,
                _ => {
                    was_here = true;
                    *standing = Standing::Alone { since: self.clock.now(), trouble };
                }
            }
            true
        });
        if was_here {
            self.metrics.store().is_up(false);
            let Trouble { cause, told, remedy } = trouble;
            tracing::warn!(
                replica = self.replica,
                cause,
                remedy,
                "the store is away, this replica goes on alone: {told}"
            );
            self.broken.notify_one();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("replica", &self.replica).finish_non_exhaustive()
    }
}

/// What is written to try it: it stands for the connection.
fn mark(generation: u64) -> [Vec<u8>; 2] {
    [generation.to_string().into_bytes(), millis(PROBE_STANDS)]
}

/// Jittered: replicas that lost the same Redis do not come back in step.
fn pause(failed: u32) -> Duration {
    if failed == 0 {
        return Duration::ZERO;
    }
    let grown = SHORTEST_PAUSE.saturating_mul(1 << (failed - 1).min(8)).min(LONGEST_PAUSE);
    let mut random = [0; 1];
    let _ = rand::fill(&mut random);
    grown.mul_f64(0.75 + f64::from(u8::from_ne_bytes(random)) / 512.0)
}

/// As Redis takes a time.
pub(super) fn millis(span: Duration) -> Vec<u8> {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).clamp(1, LONGEST_MILLIS).to_string().into_bytes()
}

/// A year: more is no time that anything here lasts, and far more is refused by Redis.
const LONGEST_MILLIS: u64 = 366 * 24 * 3600 * 1000;
