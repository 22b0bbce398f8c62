//! What keeps the store away, in words for people; nothing that the other side wrote is repeated.

/// Why the store is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// A word of a closed set, for metrics and programs.
    pub cause: &'static str,
    /// A sentence.
    pub told: String,
    /// What to do about it.
    pub remedy: &'static str,
}
