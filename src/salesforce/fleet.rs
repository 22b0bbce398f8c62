//! The budget of a user and the health of a host over all replicas that share a store. With no answer from it each goes by
//! what it knows itself: the health of the host as it sees it, and its share of the budget.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::budget::{HOUR, Need, room};
use super::circuit::PATIENCE;
use super::{Integration, jitter};
use crate::store::{Away, HostGate, Probe, Room, Store, Tag};

/// What one integration has in common with the same one at other replicas.
#[derive(Debug)]
pub(super) struct Fleet {
    store: Arc<Store>,
    user: Tag,
    host: Tag,
}

impl Fleet {
    pub(super) fn new(store: &Arc<Store>, username: &str, token_url: &Url) -> Self {
        let origin = token_url.origin().ascii_serialization();
        Self { store: Arc::clone(store), user: Tag::of_user(username, &origin), host: Tag::of_host(&origin) }
    }
}

impl Integration {
    /// Counts one login for all, unless the budget is used up: then the time until there is room again.
    pub(super) async fn count_login(&self, need: Need) -> Result<(), Duration> {
        let (per_hour, clock) = (self.settings.login_budget_per_hour, &self.surroundings.clock);
        let Some(fleet) = &self.fleet else { return self.budget.take(per_hour, need, clock.now()) };
        let room = room(per_hour, need);
        match fleet.store.count_login(&fleet.user, room, HOUR).await {
            Ok(Room::Counted(left)) => {
                self.budget.note(room.saturating_sub(left), clock.now());
                Ok(())
            }
            Ok(Room::In(wait)) => {
                self.budget.hear(room, clock.now());
                Err(wait)
            }
            Err(Away) => self.budget.take_share(per_hour, need, fleet.store.max_replicas(), clock.now()),
        }
    }

    /// Whether the host may be asked by what the others found, or how long it is left alone. With a probe nobody else may
    /// until it is told what came of it, or has it back.
    pub(super) async fn enter_host(&self) -> Result<Option<Probe>, Duration> {
        let Some(fleet) = &self.fleet else { return Ok(None) };
        let gate = fleet.store.enter_host(&fleet.host, PATIENCE).await;
        let is_left_alone = matches!(gate, Ok(HostGate::Wait(_) | HostGate::Probe(_)));
        self.circuit.hear(is_left_alone, self.surroundings.clock.now());
        match gate {
            Ok(HostGate::Wait(wait)) => Err(wait),
            Ok(HostGate::Probe(probe)) => Ok(Some(probe)),
            Ok(HostGate::Go) | Err(Away) => Ok(None),
        }
    }

    /// Nothing is sent to the host after all: another one may find out if it is back.
    pub(super) async fn give_back(&self, probe: Option<Probe>) {
        if let (Some(fleet), Some(probe)) = (&self.fleet, probe) {
            // Without a word it ends by itself.
            let _ = fleet.store.host_not_asked(&fleet.host, probe).await;
        }
    }

    /// Tells the others how the host is.
    pub(super) async fn tell_of_host(&self, answered: bool) {
        let Some(fleet) = &self.fleet else { return };
        // Who does not hear it finds out by itself.
        if answered {
            let _ = fleet.store.host_answered(&fleet.host).await;
        } else if let Ok(failures) = fleet.store.host_failed(&fleet.host, PATIENCE, jitter()).await {
            self.circuit.hear(failures >= PATIENCE.tolerated, self.surroundings.clock.now());
        }
    }

    /// Forgets for all replicas how its host was.
    ///
    /// # Errors
    /// The store is away.
    pub async fn forgive_for_all(&self) -> Result<(), Away> {
        match &self.fleet {
            Some(fleet) => fleet.store.host_answered(&fleet.host).await,
            None => Ok(()),
        }
    }
}
