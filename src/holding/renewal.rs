//! One renewal: what a flight does from its start to its landing, and what is learned and told of it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::memory::Memory;
use super::{Granted, tell};
use crate::cache::Kept;
use crate::salesforce::{Errand, Integration, MayPost, MintError, Purpose, Vouched};

/// What a renewal may take, both calls of a mint and its confirmation together; those who wait for it have 10 s.
const FLIGHT: Duration = Duration::from_secs(9);

/// What a flight brings.
pub(super) type Flown = Result<Option<Kept<Granted>>, MintError>;

/// A renewal that has begun.
#[derive(Debug)]
pub(super) struct Renewal {
    pub(super) integration: Arc<Integration>,
    pub(super) memory: Arc<Memory>,
    pub(super) deadline: Instant,
}

impl Renewal {
    /// It begins now.
    pub(super) fn new(integration: &Arc<Integration>, memory: &Arc<Memory>) -> Self {
        let (integration, memory) = (Arc::clone(integration), Arc::clone(memory));
        Self { integration, memory, deadline: Instant::now() + FLIGHT }
    }

    /// To its end: a token to keep, `None` when there is nothing new to keep, or why there is none. `asked` is what it is
    /// for, if that is not for the state of the token at hand to say.
    pub(super) async fn fly(self, asked: Option<Purpose>, kept: Option<Arc<Kept<Granted>>>) -> Flown {
        match &self.memory.sharing {
            Some(sharing) => self.fly_together(sharing, asked, kept).await,
            None => self.fly_alone(asked, kept).await,
        }
    }

    /// The same with nobody else.
    pub(super) async fn fly_alone(&self, asked: Option<Purpose>, kept: Option<Arc<Kept<Granted>>>) -> Flown {
        let purpose = self.purpose(asked, kept.as_deref());
        let renewed = self.renew(kept.as_ref(), purpose, &|| true, async || {}).await;
        self.land(kept.as_deref(), purpose, renewed)
    }

    /// What it is for, by the token at hand.
    pub(super) fn purpose(&self, asked: Option<Purpose>, kept: Option<&Kept<Granted>>) -> Purpose {
        let good = kept.is_some_and(|kept| kept.promise.expires_in(self.memory.clock.now()).is_some());
        match asked {
            // With nothing to verify any more it is an ordinary renewal.
            Some(purpose) if kept.is_some() => purpose,
            _ if good => Purpose::Ahead,
            _ => Purpose::Now,
        }
    }

    /// Asks Salesforce. A token that proves dead is dropped here at once, and then by whoever `on_dead` tells of it.
    pub(super) async fn renew<F>(
        &self,
        kept: Option<&Arc<Kept<Granted>>>,
        purpose: Purpose,
        may_post: MayPost<'_>,
        on_dead: impl FnOnce() -> F + Send,
    ) -> Result<Option<Vouched>, MintError>
    where
        F: Future<Output = ()> + Send,
    {
        let Self { integration, memory, deadline } = self;
        let current = kept.map(|kept| kept.vouched());
        let errand = Errand { purpose, deadline: *deadline, trust: memory.trust().lasts(), may_post };
        let on_dead = || {
            if let Some(kept) = kept {
                memory.bury(integration, kept);
            }
            let told = on_dead();
            async move {
                told.await;
                memory.trust().lasts()
            }
        };
        integration.renew(current, errand, on_dead).await
    }

    /// Tells and learns what came of asking Salesforce.
    pub(super) fn land(
        &self,
        before: Option<&Kept<Granted>>,
        purpose: Purpose,
        renewed: Result<Option<Vouched>, MintError>,
    ) -> Flown {
        tell::traced(&self.integration, purpose, renewed.as_ref());
        if let Some(told) = renewed.as_ref().map(Option::as_ref).transpose() {
            tell::renewed(&self.integration, before, told, &mut self.memory.told());
        }
        self.memory.learn(before, renewed.as_ref().ok().and_then(Option::as_ref), purpose);
        Ok(renewed?.map(keep))
    }
}

/// As it is kept.
pub(super) fn keep(Vouched { grant, promise, minted_at }: Vouched) -> Kept<Granted> {
    Kept { value: Granted { grant, minted_at, wording: OnceLock::new() }, promise }
}

impl Kept<Granted> {
    /// As Salesforce's side knows it.
    pub(super) fn vouched(&self) -> Vouched {
        let Granted { grant, minted_at, .. } = &self.value;
        Vouched { grant: Arc::clone(grant), promise: self.promise, minted_at: *minted_at }
    }
}
