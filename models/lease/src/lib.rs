//! The lease protocol of the shared store as a model that is small enough to be checked whole.
//!
//! Three replicas hold one integration over one Redis. Each call of a script is one atomic step, and between any two
//! steps anything may happen: another replica moves, this one stops for longer than its lease, crashes, loses its way to
//! Redis, a request is carried out late or twice, Redis is flushed, a session dies. `stateright` visits every state that
//! can be reached within a number of such faults ([`Faults`]) and holds the properties against each.
//!
//! Time has no numbers here: a lease ends by [`Action::Age`] (its holder's own clock says so) and only then by
//! [`Action::LeaseEnds`] (Redis lets go of it). That is what the half second to spare, and counting from before the call,
//! are for. What a fence is made of is a rule ([`Fences`]); so is what a write is held against ([`Kept`]).
//!
//! Not here: promises and their lengths, budgets, circuits, sealing.

pub mod model;
pub mod replica;
pub mod settle;
pub mod state;
pub mod store;

pub use model::Action;
pub use state::{Faults, Lease, Rules, State};
pub use store::{Acquiring, Fences, Kept};
