//! The part of the service that has to do with other replicas: it keeps the store, and follows what they tell by it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::holding::Holding;
use crate::snapshot::Snapshots;
use crate::store::{Event, Store};

/// So many places are looked at in one go: the store has 250 ms for each answer.
const BATCH: usize = 64;
/// What a batch may take. Who is slower goes on without being waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps the connection to the store and follows what other replicas tell, until told to stop.
pub(super) async fn follow(store: Arc<Store>, snapshots: Arc<Snapshots>, stop: CancellationToken) {
    let missed = Notify::new();
    let on_event = |event: Event| match event {
        Event::Changed { tag, what, fence } => {
            if let Some(holding) = snapshots.current().at(&tag) {
                holding.hear(what, fence);
            }
        }
        Event::Gap => missed.notify_one(),
    };
    let look = async {
        loop {
            missed.notified().await;
            look_at_everything(&snapshots).await;
        }
    };
    tokio::select! {
        () = store.run(on_event, stop) => {}
        () = look => {}
    }
}

/// Events may have been missed.
async fn look_at_everything(snapshots: &Snapshots) {
    let snapshot = snapshots.current();
    let all: Vec<&Arc<Holding>> = snapshot.holdings().collect();
    for batch in all.chunks(BATCH) {
        let by = Instant::now() + PATIENCE;
        let flights = batch.iter().filter_map(|holding| holding.look_at_replicas());
        join_all(flights.map(|flight| flight.landed(by))).await;
    }
}

/// Lets the flights that are under way land, so that their leases are given back and their tokens are there for the
/// others. A lease that is not given back ends by itself after 3 s.
pub(super) async fn land(flights: &TaskTracker, by: Instant, immediate: &CancellationToken) {
    flights.close();
    tokio::select! {
        () = flights.wait() => {}
        () = tokio::time::sleep_until(by) => {}
        () = immediate.cancelled() => {}
    }
}
