//! What a renewal is for, and within which bounds.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::budget::Need;

/// Asked right before each request to the token endpoint: whether it may still be sent. The right to log in may have
/// gone over to another replica while this one stood still.
pub type MayPost<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// What a renewal is for, and within which bounds.
#[derive(Clone, Copy)]
pub struct Errand<'a> {
    /// What for.
    pub purpose: Purpose,
    /// Until when it has to be over.
    pub deadline: Instant,
    /// For how long a session is promised after a proof of life.
    pub trust: Duration,
    /// Whether a login may still be made.
    pub may_post: MayPost<'a>,
}

/// What a renewal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The token at hand is good, and it is time to look further ahead.
    Ahead,
    /// There is no good token.
    Now,
    /// The token at hand is said to be dead. Only a definite 401 is believed.
    Verify {
        /// Whether a new one may be minted if it is.
        may_mint: bool,
    },
}

impl Purpose {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ahead => "ahead",
            Self::Now => "now",
            Self::Verify { .. } => "verify",
        }
    }
}

/// The bounds of one login.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) need: Need,
    pub(super) deadline: Instant,
    pub(super) may_post: MayPost<'a>,
}

impl Errand<'_> {
    pub(super) fn verifies(&self) -> bool {
        matches!(self.purpose, Purpose::Verify { .. })
    }

    pub(super) fn need(&self) -> Need {
        if self.purpose == Purpose::Ahead { Need::Ahead } else { Need::Now }
    }

    pub(super) fn terms(&self, need: Need) -> Terms<'_> {
        Terms { need, deadline: self.deadline, may_post: self.may_post }
    }
}

impl fmt::Debug for Errand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { purpose, deadline, trust, .. } = self;
        let mut shown = f.debug_struct("Errand");
        shown.field("purpose", purpose).field("deadline", deadline).field("trust", trust).finish_non_exhaustive()
    }
}

impl Terms<'static> {
    /// Of a login that needs nobody's leave.
    pub(super) fn alone(deadline: Instant) -> Self {
        Self { need: Need::Now, deadline, may_post: &|| true }
    }
}
