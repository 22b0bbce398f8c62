//! The guarantees, proved through the true doors: the real service against the simulator, over sockets.
//!
//! One file per guarantee or two. Nothing here sleeps for a guessed time: clocks are moved by hand, and what happens
//! beside the answers is waited for with a deadline. Invariant: each test has a world of its own.
#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that is not as it should be")]
#![expect(clippy::panic, reason = "the same, with words")]

mod answers;
mod caller_keys;
mod deadline;
mod egress;
mod hostile;
mod issuers;
mod lifetime;
mod memory;
mod min_ttl;
mod network;
mod promise;
mod refusals;
mod rights;
mod secrets;
mod stampede;
mod support;
mod way_out;
