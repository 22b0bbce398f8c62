//! What callers sign with keys of their own (RFC 7523): who they are, or a whole request for a token.
//!
//! The two are told apart by `sub`: in a proof it is the caller, in a grant anything else. So neither is ever taken for
//! the other, whatever a `typ` says or does not say.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::jwt::{Jwt, JwtFault, Purpose};
use super::replay::{Once, Replay};
use super::{AuthnError, Occasion, Proof, ProofKind};
use crate::config::Config;
use crate::names::CallerName;
use crate::signature::{Algorithm, VerifyingKey};

/// The keys of all callers of one generation.
#[derive(Debug, Default)]
pub(super) struct CallerKeys {
    by_caller: HashMap<CallerName, Signer>,
    /// Without a name that callers know there is nothing that they could mean us by.
    public_url: Option<String>,
    replay: Arc<Replay>,
}

#[derive(Debug)]
struct Signer {
    position: usize,
    keys: Vec<VerifyingKey>,
    may_grant: bool,
}

/// A request for a token that a caller signed.
#[derive(Debug)]
pub struct SignedRequest {
    /// Who.
    pub proof: Proof,
    /// For what: the name of an integration, or its username. As the caller wrote it.
    pub subject: Zeroizing<String>,
}

impl CallerKeys {
    pub(super) fn build(config: &Config, replay: Arc<Replay>) -> Self {
        let with_keys = config.callers.iter().enumerate().filter(|(_, caller)| !caller.proofs.public_keys.is_empty());
        let by_caller = with_keys.map(|(position, caller)| {
            let (keys, may_grant) = (caller.proofs.public_keys.clone(), caller.proofs.jwt_bearer_grant);
            (caller.name.clone(), Signer { position, keys, may_grant })
        });
        Self { by_caller: by_caller.collect(), public_url: config.server.issuer().map(str::to_owned), replay }
    }

    /// The algorithms that callers may sign with, in the order of their names' list.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        let used = |algorithm: &Algorithm| {
            self.by_caller.values().flat_map(|signer| &signer.keys).any(|key| key.algorithm() == *algorithm)
        };
        Algorithm::ALL.into_iter().filter(used).collect()
    }

    /// Whether some caller may sign a whole request.
    pub(super) fn offer_grant(&self) -> bool {
        self.by_caller.values().any(|signer| signer.may_grant)
    }

    /// A caller proves itself: `iss` and `sub` are its name.
    pub(super) fn prove(&self, text: &str, occasion: &Occasion<'_>) -> Result<Proof, AuthnError> {
        let jwt = Jwt::parse(text, Purpose::Authentication)?;
        let (name, _, proof) = self.signer(&jwt, ProofKind::ClientAssertion)?;
        if jwt.required("sub")? != name.as_str() {
            return Err(JwtFault::Purpose.into());
        }
        let ends = self.check(&jwt, occasion)?;
        let jti = jwt.text("jti")?.ok_or(JwtFault::NoJti)?;
        let once = self.use_once(name, jti, ends, occasion)?;
        Ok(Proof { once: Some(once), ..proof })
    }

    /// A caller asks for the token of the integration in `sub`.
    pub(super) fn accept(&self, text: &str, occasion: &Occasion<'_>) -> Result<SignedRequest, AuthnError> {
        let jwt = Jwt::parse(text, Purpose::Grant)?;
        let (name, signer, proof) = self.signer(&jwt, ProofKind::SignedRequest)?;
        let subject = jwt.required("sub")?;
        if subject == name.as_str() || !signer.may_grant {
            return Err(JwtFault::Purpose.into());
        }
        let ends = self.check(&jwt, occasion)?;
        // Clients that are to work unchanged send none.
        let once = jwt.text("jti")?.map(|jti| self.use_once(name, jti, ends, occasion)).transpose()?;
        Ok(SignedRequest { proof: Proof { once, ..proof }, subject: Zeroizing::new(subject.to_owned()) })
    }

    /// What a proof that held has to pass beside it: what counts once must not have been used at another replica.
    pub(super) async fn settle(&self, caller: &CallerName, proof: &Proof, now: Timestamp) -> Result<(), JwtFault> {
        match proof.once {
            Some(once) => self.replay.note_everywhere(caller, once, now.as_second()).await,
            None => Ok(()),
        }
    }

    /// Who signed it: the caller in `iss`, with a key of its own.
    fn signer(&self, jwt: &Jwt<'_>, kind: ProofKind) -> Result<(&CallerName, &Signer, Proof), AuthnError> {
        let (name, signer) = self.by_caller.get_key_value(jwt.required("iss")?).ok_or(JwtFault::Issuer)?;
        if !signer.keys.iter().any(|key| key.algorithm() == jwt.algorithm) {
            return Err(JwtFault::Algorithm.into());
        }
        let key = signer.keys.iter().find(|key| jwt.is_signed_by(key)).ok_or(JwtFault::Signature)?;
        Ok((name, signer, Proof { caller: signer.position, kind, key: key.digest(), once: None }))
    }

    /// What both have in common; returns its end.
    fn check(&self, jwt: &Jwt<'_>, occasion: &Occasion<'_>) -> Result<i64, JwtFault> {
        let ends = jwt.check_short_life(occasion.now)?;
        let ours = self.public_url.as_deref().ok_or(JwtFault::Audience)?;
        let rest = jwt.audience()?.strip_prefix(ours).ok_or(JwtFault::Audience)?;
        // The service, its token endpoint, or the endpoint that was asked.
        if rest.is_empty() || rest == "/" || rest == "/token" || rest == occasion.path {
            Ok(ends)
        } else {
            Err(JwtFault::Audience)
        }
    }

    fn use_once(&self, caller: &CallerName, jti: &str, ends: i64, occasion: &Occasion<'_>) -> Result<Once, JwtFault> {
        if jti.is_empty() {
            return Err(JwtFault::NoJti);
        }
        self.replay.note(caller, jti, ends, occasion.now.as_second())
    }
}
