//! A flight that is under way, as seen by those who wait for it.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Unavailable;
use super::sync;

/// What comes of a flight: once, for everybody.
type Landing<E> = watch::Receiver<Option<Result<(), Arc<E>>>>;

/// A flight that is under way.
#[derive(Debug)]
pub struct Flight<E>(Landing<E>);

impl<E> Clone for Flight<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E> Flight<E> {
    pub(super) fn new(landing: Landing<E>) -> Self {
        Self(landing)
    }

    /// What came of it, unless that takes longer than until `deadline`, or it broke off.
    pub async fn landed(mut self, deadline: Instant) -> Result<Result<(), Arc<E>>, Unavailable<E>> {
        match sync::by(deadline, self.0.wait_for(Option::is_some)).await {
            Err(_) => Err(Unavailable::TooSlow),
            Ok(Err(_)) => Err(Unavailable::Broken),
            Ok(Ok(outcome)) => outcome.clone().ok_or(Unavailable::Broken),
        }
    }
}
