//! What the tests stand on: a house with a running service in it, its process, and a client that hides nothing.

pub(crate) mod house;
pub(crate) mod pki;
pub(crate) mod process;
pub(crate) mod wire;

use std::time::Duration;

use tokio::time::Instant;

/// How long anything may take before a test gives up. Far more than is needed: machines that test are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until the answer is yes.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
