//! The doors and the command line, from outside: the real binary with a real configuration file, asked over sockets,
//! with the simulator in the place of Salesforce.
//!
//! Not here: the cache, upstream faults and races, which have their own tests.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on fails, and the place where it stopped says why"
)]

mod audit;
#[path = "../canary/mod.rs"]
mod canary;
mod certificates;
mod command_line;
mod get_token;
mod http2;
mod keys;
mod live;
mod metrics;
#[path = "../ports/mod.rs"]
mod ports;
mod post_token;
mod private_memory;
mod raw_http;
mod reload;
mod routes;
mod selectors;
mod setup;
mod stopping;
mod supervisor;
mod support;
mod tls;
