//! The store that replicas share, against a real Redis: over TLS and plain, single, with Sentinels and as a Cluster, healthy
//! and in every kind of trouble.
//!
//! `redis-server` and `redis-cli` have to be there (Debian: redis-server; Valkey under the same names will do).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, and the place where it stopped says why"
)]

mod counters;
mod events;
mod modes;
#[path = "../ports/mod.rs"]
mod ports;
mod protocol;
mod sealing;
mod support;
mod trouble;
mod twice;
mod way;
