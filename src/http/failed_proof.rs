//! A proof that failed: whether there were so many from where it comes that the client is told to wait.

use std::time::Duration;

use axum::http::header::AUTHORIZATION;

use super::token::Inquiry;
use crate::authn::Credentials;
use crate::hash::sha256;
use crate::limits::{FailedProof, Noted, Way};
use crate::snapshot::Snapshot;

/// For how long the client is told to wait, if it is.
pub(super) fn wait(inquiry: &Inquiry<'_>, snapshot: &Snapshot, credentials: &Credentials) -> Option<Duration> {
    note(inquiry, snapshot, credentials).wait
}

/// Counts it. Only how it is refused depends on this: credentials that hold are never counted.
pub(super) fn note(inquiry: &Inquiry<'_>, snapshot: &Snapshot, credentials: &Credentials) -> Noted {
    let door = inquiry.door;
    let way = if inquiry.head.headers.contains_key(AUTHORIZATION) { Way::Header } else { Way::Form };
    let failed = FailedProof { address: inquiry.client, way, mark: mark(credentials) };
    let most = snapshot.failed_proofs_per_minute();
    let noted = door.failures.note(failed, most, door.clock.now());
    if noted.wait.is_some() && !noted.again {
        door.metrics.throttled("failed_proofs_per_minute");
    }
    noted
}

/// The same for the same credentials, whether they came in the header or in the form.
fn mark(credentials: &Credentials) -> u64 {
    let parts = credentials.keys.iter().flat_map(|offered| {
        let name = offered.unverified_name.as_ref().map_or("", |name| name.as_str());
        let key = offered.key.as_ref().map_or(&[][..], <[u8; 32]>::as_slice);
        [name.as_bytes(), b"\0", key]
    });
    let tokens = credentials.tokens.iter().map(|offered| offered.text.as_bytes());
    let [a, b, c, d, e, f, g, h, ..] = sha256(parts.chain(tokens));
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
