//! The guarantees, proved through the true doors: the real service against the simulator, over sockets.
//!
//! One file per guarantee or two, and one per kind of trouble with Salesforce (`causes`, `pauses`, `budget`, `circuit`,
//! `clock`, `life`): there each test says U, how many requests Salesforce may see. Nothing here sleeps for a guessed
//! time: clocks are moved by hand, and what happens beside the answers is waited for with a deadline. Invariant: each
//! test has a world of its own.
#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that is not as it should be")]
#![expect(clippy::panic, reason = "the same, with words")]

mod answers;
mod audit;
mod budget;
mod caller_keys;
#[path = "../canary/mod.rs"]
mod canary;
mod causes;
mod circuit;
mod clock;
mod deadline;
mod egress;
mod handover;
mod hostile;
mod insisting;
mod introspect;
mod issuers;
mod key_certificates;
mod life;
mod lifetime;
mod limits;
mod live;
mod memory;
mod min_ttl;
mod network;
mod next_rights;
mod outage;
mod pauses;
#[path = "../ports/mod.rs"]
mod ports;
mod promise;
mod refusals;
mod replicas;
mod reports;
mod returning;
mod rights;
mod rotation;
mod secrets;
mod stampede;
mod status;
mod support;
mod way_out;
