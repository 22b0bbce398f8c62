//! Tokens that are wanted before anybody asks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::snapshot::Snapshot;

/// A thousand logins at once would be no way to greet Salesforce, or the callers who come meanwhile.
const AT_ONCE: usize = 8;
/// What one token that nobody waits for may take before the next one is begun.
const EACH: Duration = Duration::from_secs(9);

/// Fetches the tokens of integrations that are configured so, beside everything else.
pub async fn prefetch(snapshot: Arc<Snapshot>, stop: CancellationToken) {
    let fetched = stream::iter(snapshot.holdings()).for_each_concurrent(AT_ONCE, |holding| async move {
        if let Some(flight) = holding.prefetch() {
            let _ = flight.landed(Instant::now() + EACH).await;
        }
    });
    tokio::select! {
        () = fetched => {}
        () = stop.cancelled() => {}
    }
}
