//! The generation in force, and its replacement.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Snapshot;

/// The generation in force.
#[derive(Debug)]
pub struct Snapshots(ArcSwap<Snapshot>);

impl Snapshots {
    /// Starts with one.
    pub fn new(first: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(first))
    }

    /// The one in force now; a request calls this once.
    pub fn current(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Whether what comes from this address may say where it came from.
    pub fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        let snapshot = self.0.load();
        snapshot.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    /// Puts another one in force, for every request that begins from now on.
    pub fn replace(&self, next: Arc<Snapshot>) {
        self.0.store(next);
    }
}
