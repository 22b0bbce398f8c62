//! TLS of a door as it is in force: replaced whole, and known to the connections that came in by it.
//!
//! A verifier swapped inside a living `ServerConfig` would let resumed sessions past it, so everything that verifies or
//! remembers belongs to one value of [`DoorTls`] and goes with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use tokio_util::sync::CancellationToken;

/// The TLS in force.
pub type SwappableTls = Arc<ArcSwap<DoorTls>>;

/// TLS of a door, or that it has none.
#[derive(Debug, Default)]
pub struct DoorTls {
    pub(super) config: Option<Arc<ServerConfig>>,
    pub(super) verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Digest of the client authorities, if certificates are taken.
    pub(super) authorities: Option<[u8; 32]>,
    pub(super) retired: Arc<Retired>,
}

/// Whether the authorities of client certificates have changed since.
#[derive(Debug, Default)]
pub(super) struct Retired {
    told: CancellationToken,
    /// The same; without the lock that a token takes, since it is read on every request.
    flag: AtomicBool,
}

impl DoorTls {
    /// What handshakes are made with; nothing at a door without TLS.
    pub fn config(&self) -> Option<&Arc<ServerConfig>> {
        self.config.as_ref()
    }

    /// Whether client certificates are taken.
    pub fn takes_certificates(&self) -> bool {
        self.authorities.is_some()
    }

    /// Whether other authorities are in force by now.
    pub fn is_retired(&self) -> bool {
        self.retired.flag.load(Ordering::Acquire)
    }

    /// Until other authorities are in force.
    pub async fn retired(&self) {
        self.retired.told.cancelled().await;
    }

    /// Whether a client that showed these certificates would come in.
    pub fn would_admit(&self, chain: &[CertificateDer<'_>]) -> bool {
        // A certificate proves nothing at a door that takes none.
        let (Some(config), Some(verifier)) = (&self.config, &self.verifier) else { return chain.is_empty() };
        let Some((own, intermediates)) = chain.split_first() else { return !verifier.client_auth_mandatory() };
        let now = config.time_provider.current_time();
        now.is_some_and(|now| verifier.verify_client_cert(own, intermediates, now).is_ok())
    }
}

/// Puts TLS in force. Connections that came in under other client authorities learn of it, all others go on.
pub fn replace(tls: &SwappableTls, mut next: DoorTls) {
    let before = tls.load_full();
    let same = before.authorities == next.authorities;
    if same {
        next.retired = Arc::clone(&before.retired);
    }
    tls.store(Arc::new(next));
    if !same {
        before.retired.flag.store(true, Ordering::Release);
        before.retired.told.cancel();
    }
}
