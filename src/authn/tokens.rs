//! Everything that JWTs can prove: those of issuers, and those that callers sign themselves.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::caller_key::{CallerKeys, SignedRequest};
use super::issuers::Issuers;
use super::jwks::{KeySets, Surroundings};
use super::jwt::JwtFault;
use super::replay::Replay;
use super::{AuthnError, Credentials, Proof};
use crate::config::Config;
use crate::config::report::Report;
use crate::names::CallerName;
use crate::signature::Algorithm;

/// When and where something is offered.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// The date.
    pub now: Timestamp,
    /// The path that was asked.
    pub path: &'a str,
    /// Whether keys were fetched for this request: what is not known by now is a failed proof.
    pub renewed: bool,
}

/// One JWT as offered.
pub struct OfferedJwt {
    /// Its text, as it came.
    pub text: Zeroizing<String>,
    /// The name in the form, as it came; not trusted, not printed.
    pub unverified_name: Option<Zeroizing<String>>,
    /// What it is offered as.
    pub role: Role,
}

/// What a JWT is offered as. One that is offered as the other proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `Authorization: Bearer`: an issuer says who calls.
    Bearer,
    /// `client_assertion`: the caller says so.
    ClientAssertion,
}

impl fmt::Debug for OfferedJwt {
    /// Without text and name: both can be used by whoever reads them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.unverified_name.is_some();
        f.debug_struct("OfferedJwt").field("named", &named).field("role", &self.role).finish_non_exhaustive()
    }
}

/// Issuers and callers' keys of one generation.
#[derive(Debug, Default)]
pub struct Tokens {
    issuers: Issuers,
    caller_keys: CallerKeys,
}

impl Tokens {
    /// Opens what the configuration names; asks nobody over the network.
    ///
    /// # Errors
    /// Key sets and authorities that cannot be read.
    pub fn build(
        config: &Config,
        key_sets: &KeySets,
        replay: &Arc<Replay>,
        around: &Surroundings,
    ) -> Result<Self, Report> {
        let mut report = Report::default();
        let issuers = Issuers::build(config, key_sets, around, &mut report);
        let caller_keys = CallerKeys::build(config, Arc::clone(replay));
        if report.has_errors() { Err(report) } else { Ok(Self { issuers, caller_keys }) }
    }

    /// The algorithms that callers may sign with themselves; none when no caller has a key.
    pub fn callers_algorithms(&self) -> Vec<Algorithm> {
        self.caller_keys.algorithms()
    }

    /// Whether some caller may sign a whole request for a token.
    pub fn offer_grant(&self) -> bool {
        self.caller_keys.offer_grant()
    }

    /// Has key sets fetched that are old, or were never had.
    pub fn look_after(&self) {
        self.issuers.look_after();
    }

    pub(super) fn prove(&self, offered: &OfferedJwt, occasion: &Occasion<'_>) -> Result<Proof, AuthnError> {
        match offered.role {
            Role::Bearer => self.issuers.prove(&offered.text, occasion),
            Role::ClientAssertion => self.caller_keys.prove(&offered.text, occasion),
        }
    }

    pub(super) fn accept(&self, assertion: &str, occasion: &Occasion<'_>) -> Result<SignedRequest, AuthnError> {
        self.caller_keys.accept(assertion, occasion)
    }

    pub(super) async fn settle(&self, caller: &CallerName, proof: &Proof, now: Timestamp) -> Result<(), JwtFault> {
        self.caller_keys.settle(caller, proof, now).await
    }

    pub(super) async fn renew_keys(&self, credentials: &Credentials, deadline: Instant) {
        for offered in credentials.tokens.iter().filter(|offered| offered.role == Role::Bearer) {
            self.issuers.renew_for(&offered.text, deadline).await;
        }
    }
}
