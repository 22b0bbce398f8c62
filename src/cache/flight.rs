//! A flight that is under way, as seen by those who wait for it.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Unavailable;
use super::sync;
use crate::telemetry::trace::{self, Mark};

/// What comes of a flight: once, for everybody.
type Landing<E> = watch::Receiver<Option<Result<(), Arc<E>>>>;

/// A flight that is under way.
#[derive(Debug)]
pub struct Flight<E> {
    landing: Landing<E>,
    /// What the traces of those who wait for it link to.
    mark: Mark,
}

impl<E> Clone for Flight<E> {
    fn clone(&self) -> Self {
        Self { landing: self.landing.clone(), mark: self.mark.clone() }
    }
}

impl<E> Flight<E> {
    pub(super) fn new(landing: Landing<E>, mark: Mark) -> Self {
        Self { landing, mark }
    }

    /// Tells the trace of who waits here that it waits for a flight that somebody else began.
    pub(super) fn join(&self) {
        trace::current().link(&self.mark);
    }

    /// What came of it, unless that takes longer than until `deadline`, or it broke off.
    pub async fn landed(mut self, deadline: Instant) -> Result<Result<(), Arc<E>>, Unavailable<E>> {
        match sync::by(deadline, self.landing.wait_for(Option::is_some)).await {
            Err(_) => Err(Unavailable::TooSlow),
            Ok(Err(_)) => Err(Unavailable::Broken),
            Ok(Ok(outcome)) => outcome.clone().ok_or(Unavailable::Broken),
        }
    }
}
