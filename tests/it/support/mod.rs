//! What every test stands on: the service with its surroundings, callers, and waiting without guessing.

pub(crate) mod broker;
pub(crate) mod dead_tokens;
pub(crate) mod detour;
pub(crate) mod eyes;
pub(crate) mod fleet;
pub(crate) mod issuer;
pub(crate) mod key;
pub(crate) mod log;
pub(crate) mod plan;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod relay;
pub(crate) mod reply;
pub(crate) mod stage;

use std::time::Duration;

use tokio::time::Instant;

/// Longer than anything takes that a test waits for, on a machine with better things to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds; a test that waits for what never happens fails with its words.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Seconds, for short lines.
pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A client for callers: loopback only, no proxy, no certificate authorities, no redirects.
pub(crate) fn client() -> reqwest::Client {
    #[expect(clippy::disallowed_methods, reason = "this client plays callers; it carries no assertion")]
    let builder = reqwest::Client::builder();
    let builder = builder.no_proxy().tls_certs_only([]).redirect(reqwest::redirect::Policy::none());
    builder.timeout(PATIENCE).build().unwrap()
}
