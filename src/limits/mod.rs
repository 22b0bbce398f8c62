//! How much of something may happen within a span of time.
//!
//! Answers from memory have no limit. What has one is what reaches Salesforce because of one caller (`allowance.rs`), and
//! proofs that fail, by where they come from (`failures.rs`).

mod allowance;
mod failures;

pub use self::allowance::{Allowance, Kind, Spent};
pub use self::failures::{FailedProof, Failures, Noted, Way};

/// A limit as a number of things. At least one: a limit of nothing would be a switch.
fn at_least_one(most: u32) -> usize {
    usize::try_from(most).unwrap_or(usize::MAX).max(1)
}
