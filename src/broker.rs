//! The heart: authorize, look into memory, mint if need be.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::ask::Ask;
use crate::cache::{Kept, Lookup, Unavailable, Want};
use crate::clock::Clock;
use crate::holding::{Granted, Holding};
use crate::policy::Rule;
use crate::salesforce::{self, MintError};
use crate::snapshot::{Caller, Denied, Permit, Snapshot};

/// Issues tokens.
#[derive(Debug, Clone)]
pub struct Broker {
    clock: Clock,
}

/// A token for a caller, with what is told about it.
#[derive(Debug)]
pub struct Issued {
    /// Whose.
    pub holding: Arc<Holding>,
    /// The token.
    pub kept: Arc<Kept<Granted>>,
    /// Whole seconds that the caller may rely on.
    pub expires_in: u64,
    /// How it was found.
    pub lookup: Lookup,
    /// The rule that allowed it.
    pub rule: Rule,
}

/// Why there is no token.
#[derive(Debug)]
pub enum IssueError {
    /// No right.
    Denied(Denied),
    /// A right, and no token.
    Unavailable {
        /// Whose token it would have been.
        holding: Arc<Holding>,
        /// The rule that allowed it.
        rule: Rule,
        /// What callers may be told.
        why: Trouble,
    },
}

/// What is the matter, as far as callers are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Salesforce says no for a reason that waiting cannot cure.
    Refused,
    /// It may pass: try again after this time.
    Passing(Duration),
    /// Our own fault.
    Broken,
}

/// How long a caller may be told to wait, whatever the reason.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

impl Broker {
    /// A broker.
    pub fn new(clock: Clock) -> Self {
        Self { clock }
    }

    /// A token of the integration that `ask` names, if `caller` may have it. Answers before `deadline`.
    pub async fn issue(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        ask: &Ask,
        deadline: Instant,
    ) -> Result<Issued, IssueError> {
        // Rights stand before memory: the other way round, a warm token would answer a caller whose grant is gone.
        let Permit { holding, rule } = snapshot.authorize(caller, ask).map_err(IssueError::Denied)?;
        let found = holding.token(Want { min_life: ask.min_life, deadline }).await;
        let answer = match found {
            Ok((kept, lookup)) => {
                holding.looked_up(lookup);
                // Read again: the life that is told is what is left when it is told.
                match kept.promise.expires_in(self.clock.now()) {
                    Some(expires_in) => Ok((kept, lookup, expires_in)),
                    None => Err(Trouble::Passing(Duration::from_secs(1))),
                }
            }
            Err(missed) => {
                holding.looked_up(missed.lookup);
                Err(trouble(&missed.why))
            }
        };
        match answer {
            Ok((kept, lookup, expires_in)) => Ok(Issued { holding, kept, expires_in, lookup, rule }),
            Err(why) => Err(IssueError::Unavailable { holding, rule, why }),
        }
    }
}

fn trouble(unavailable: &Unavailable<MintError>) -> Trouble {
    match unavailable {
        Unavailable::Broken => Trouble::Broken,
        Unavailable::TooShort | Unavailable::TooSlow => Trouble::Passing(Duration::from_secs(1)),
        Unavailable::Failed { error, retry_after } => match error.cause.rule() {
            salesforce::Rule::WaitForChange => Trouble::Refused,
            salesforce::Rule::RetryLater => {
                Trouble::Passing((*retry_after).clamp(Duration::from_secs(1), LONGEST_WAIT))
            }
        },
    }
}
