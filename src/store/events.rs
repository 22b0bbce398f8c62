//! What other replicas did, as a stream: a place is named, and who holds something there looks at it.

use std::time::Duration;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::{Fence, Place, Store, Tag};

/// So many events are kept, about.
pub(super) const MOST_EVENTS: u32 = 10_000;
/// So many may wait for those who listen; who falls behind looks by itself.
pub(super) const ROOM: usize = 1024;

/// Something that another replica did, or that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something was written at a place.
    Changed {
        /// Which place.
        tag: Tag,
        /// What is there now.
        what: What,
        /// By which right.
        fence: Fence,
    },
    /// Events may have been missed: after a reconnect, a flush, or a stream that was faster than us. Everything in memory is
    /// to be looked at.
    Gap,
}

/// What was written at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A token.
    Token,
    /// The mark of a token that was dropped.
    Dropped,
    /// A failure.
    Failure,
    /// Nothing: the lease was given back.
    Released,
}

/// Those who wait for something at a place: begun before the look whose answer may change.
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Event>);

impl Changes {
    /// Comes back when something happened at `place`, or may have, and after `at_most` in any case.
    pub async fn at(&mut self, place: &Place, at_most: Duration) {
        let change = async {
            loop {
                match self.0.recv().await {
                    Ok(Event::Changed { tag, .. }) if tag != *place.tag() => {}
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                    // Nobody reads events any more: the time is over when it is over.
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        let _ = tokio::time::timeout(at_most, change).await;
    }
}

impl Store {
    /// For one who is about to look, and may have to wait.
    pub fn changes(&self) -> Changes {
        Changes(self.link.subscribe())
    }

    pub(super) async fn read_events(&self, _on_event: impl Fn(Event) + Send + Sync, stop: &CancellationToken) {
        stop.cancelled().await;
    }
}
