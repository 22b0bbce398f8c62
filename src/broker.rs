//! The heart: authorize, look into memory, mint if need be.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::ask::Ask;
use crate::cache::{Kept, Lookup, Unavailable, Want};
use crate::clock::Clock;
use crate::hash::sha256;
use crate::holding::{Granted, Holding, Known, Reported};
use crate::policy::Rule;
use crate::salesforce::{self, MintError};
use crate::snapshot::{Caller, Denied, Permit, Snapshot};
use crate::telemetry::trace;

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
}

/// What a report of a dead token came to, at one integration.
#[derive(Debug)]
pub struct Report {
    /// Whose token it is.
    pub holding: Arc<Holding>,
    /// The rule by which the caller may have it.
    pub rule: Rule,
    /// What came of it.
    pub outcome: Reported,
}

/// A token that is good, as far as is known.
#[derive(Debug)]
pub struct Introspected {
    /// Whose token it is.
    pub holding: Arc<Holding>,
    /// The rule by which the caller may have it.
    pub rule: Rule,
    /// What is known of it.
    pub known: Known,
    /// Whole seconds that the caller may rely on.
    pub expires_in: u64,
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
    /// This caller reports the token again and again, and it works from here: for this long it is told so.
    Unusable(Duration),
    /// This caller causes too much work at Salesforce: it may go on after this time.
    TooMuch(Duration),
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

    /// A token of the integration that `ask` names, if `caller` may have it; `permitted` is told so before
    /// anything is waited for. Answers before `deadline`.
    pub async fn issue(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        (ask, deadline): (&Ask, Instant),
        permitted: impl FnOnce(&Permit),
    ) -> Result<Issued, IssueError> {
        // Rights stand before memory: the other way round, a warm token would answer a caller whose grant is gone.
        let permit = snapshot.authorize(caller, ask).map_err(IssueError::Denied)?;
        permitted(&permit);
        let holding = permit.holding;
        if let Some(wait) = holding.bar(caller.name(), self.clock.now()) {
            return Err(IssueError::Unavailable { holding, why: Trouble::Unusable(wait) });
        }
        let gate = snapshot.gate(caller, self.clock.now());
        let span = trace::child("cache");
        let want = Want { min_life: ask.min_life, deadline, gate: &gate };
        let found = span.around(pin!(holding.token(caller.visitor(), want))).await;
        let answer = match found {
            Ok((kept, lookup)) => {
                holding.looked_up(lookup);
                span.set("aquila.cache", lookup.as_str());
                // Read again: the life that is told is what is left when it is told.
                match kept.promise.expires_in(self.clock.now()) {
                    Some(expires_in) => Ok((kept, lookup, expires_in)),
                    None => Err(Trouble::Passing(Duration::from_secs(1))),
                }
            }
            Err(missed) => {
                holding.looked_up(missed.lookup);
                span.set("aquila.cache", missed.lookup.as_str());
                span.fail(missed.why.as_str());
                Err(trouble(&missed.why))
            }
        };
        match answer {
            Ok((kept, lookup, expires_in)) => Ok(Issued { holding, kept, expires_in, lookup }),
            Err(why) => Err(IssueError::Unavailable { holding, why }),
        }
    }

    /// `caller` says that Salesforce refused this token. Only what the caller may have is looked at: of any other token it
    /// learns nothing. Comes back when a confirm call has settled it, if one is made, and before `deadline`.
    ///
    /// # Errors
    /// The caller reported too much: the time after which it may go on.
    pub async fn report(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        token: &str,
        deadline: Instant,
    ) -> Result<Vec<Report>, Duration> {
        let digest = sha256([token.as_bytes()]);
        // Only a report of the current token can reach Salesforce.
        if snapshot.granted(caller).any(|Permit { holding, .. }| holding.hands_out(&digest)) {
            caller.may_report(self.clock.now())?;
        }
        let mut reports = Vec::new();
        for Permit { holding, rule } in snapshot.granted(caller) {
            if let Some(outcome) = holding.report(caller.name(), &digest, deadline).await {
                holding.reported(outcome);
                snapshot.used(caller, &holding);
                reports.push(Report { holding, rule, outcome });
            }
        }
        Ok(reports)
    }

    /// What is known of a token that the caller may have. Two integrations of the same user and app share one: then the
    /// longer life holds.
    pub fn introspect(&self, snapshot: &Snapshot, caller: &Caller, token: &str) -> Option<Introspected> {
        let (digest, now) = (sha256([token.as_bytes()]), self.clock.now());
        let known = snapshot.granted(caller).filter_map(|Permit { holding, rule }| {
            let known = holding.known(&digest)?;
            let expires_in = known.promise.expires_in(now)?;
            Some(Introspected { holding, rule, known, expires_in })
        });
        let known = known.max_by_key(|introspected| introspected.expires_in)?;
        snapshot.used(caller, &known.holding);
        Some(known)
    }
}

fn trouble(unavailable: &Unavailable<MintError>) -> Trouble {
    match unavailable {
        Unavailable::Broken => Trouble::Broken,
        Unavailable::Forbidden { retry_after } => Trouble::TooMuch(*retry_after),
        Unavailable::TooShort | Unavailable::TooSlow => Trouble::Passing(Duration::from_secs(1)),
        Unavailable::Failed { error, retry_after } => match error.cause.rule() {
            salesforce::Rule::WaitForChange => Trouble::Refused,
            salesforce::Rule::RetryLater | salesforce::Rule::RetryNow => {
                Trouble::Passing((*retry_after).clamp(Duration::from_secs(1), LONGEST_WAIT))
            }
        },
    }
}
