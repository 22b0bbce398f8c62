//! What a holding has to do with the other replicas, beside its flights.

use url::Origin;

use super::Holding;
use super::renewal::Renewal;
use crate::cache::Flight;
use crate::salesforce::MintError;
use crate::store::{Away, Fence, Tag, What};

impl Holding {
    /// Whether this is its place in the store.
    pub fn is_at(&self, tag: &Tag) -> bool {
        self.memory.sharing.as_ref().is_some_and(|sharing| sharing.place.tag() == tag)
    }

    /// Another replica wrote something at its place, by this right.
    pub fn hear(&self, what: What, fence: Fence) {
        let Some(sharing) = &self.memory.sharing else { return };
        let concerns_us = match what {
            What::Token | What::Dropped => sharing.is_news(fence.number()),
            // By no right at all: it was taken away.
            What::Failure if fence == Fence::NONE => {
                // In this order: a flight that has just landed has left its failure. One that has not may come back with what
                // it saw before.
                let cures = self.memory.slot.under_way().is_some() || self.memory.slot.failure().is_some();
                if cures {
                    sharing.hear_of_a_cure();
                }
                cures
            }
            What::Failure => self.memory.slot.failure().is_some(),
            What::Released => false,
        };
        if concerns_us {
            self.look_at_replicas();
        }
    }

    /// Looks what the others did, if anybody asked here for its token. Comes back with the flight that looks.
    pub fn look_at_replicas(&self) -> Option<Flight<MintError>> {
        let sharing = self.memory.sharing.as_ref()?;
        if !self.was_asked_for() {
            return None;
        }
        let renewal = || Renewal::new(&self.integration, &self.memory);
        let (flight, looks) = self.memory.slot.question(|kept| renewal().follow(kept));
        if !looks {
            sharing.fall_behind();
        }
        Some(flight)
    }

    pub(super) fn look_at_replicas_if_due(&self) {
        if self.memory.sharing.as_ref().is_some_and(|sharing| sharing.is_due()) {
            self.look_at_replicas();
        }
    }

    /// Forgets for all replicas why there is no token. How its token host was is forgotten apart from that, because it is
    /// the host of others too.
    ///
    /// # Errors
    /// The store is away.
    pub async fn forgive_for_all(&self) -> Result<(), Away> {
        match &self.memory.sharing {
            Some(sharing) => sharing.store.forgive(&sharing.place).await,
            None => Ok(()),
        }
    }

    /// Where it logs in.
    pub fn token_host(&self) -> Origin {
        self.integration.settings().token_url.origin()
    }

    /// Forgets for all replicas how its token host was.
    ///
    /// # Errors
    /// The store is away.
    pub async fn forgive_host_for_all(&self) -> Result<(), Away> {
        self.integration.forgive_for_all().await
    }
}
