//! Issuers whose JWTs count, and the rules by which a token of theirs is one caller's.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::jwks::{KeySet, KeySets, Surroundings};
use super::jwt::{Jwt, JwtFault, Purpose};
use super::{AuthnError, Occasion, Proof, ProofKind};
use crate::config::report::{Mistake, Report, Severity};
use crate::config::{Config, JwtRule, KeySource};
use crate::hash::ShortHex;
use crate::names::{IssuerName, SubjectPattern};
use crate::signature::Algorithm;

/// All issuers of one generation.
#[derive(Debug, Default)]
pub(super) struct Issuers {
    list: Vec<Issuer>,
    /// By `iss`. Clusters that nobody renamed share one: then the keys tell them apart.
    by_iss: HashMap<String, Vec<usize>>,
}

#[derive(Debug)]
struct Issuer {
    audience: String,
    algorithms: Vec<Algorithm>,
    keys: Arc<KeySet>,
    rules: Rules,
}

/// Rules on the tokens of one issuer. Ten thousand callers with an account each are found by one look-up.
#[derive(Debug, Default)]
struct Rules {
    by_sub: HashMap<String, Vec<Rule>>,
    others: Vec<(Option<SubjectPattern>, Rule)>,
}

#[derive(Debug)]
struct Rule {
    caller: usize,
    claims: Vec<(String, Value)>,
}

impl Issuers {
    /// Opens what the configuration names; asks nobody. What is wrong goes into the report.
    pub(super) fn build(config: &Config, key_sets: &KeySets, around: &Surroundings, report: &mut Report) -> Self {
        let mut issuers = Self::default();
        for settings in &config.issuers {
            let keys = match key_sets.obtain(settings, around) {
                Ok(keys) => keys,
                Err(message) => {
                    match &settings.keys {
                        KeySource::File { path, .. } => report.error(path, message, "name a file with its key set"),
                        KeySource::Fetched(server) => {
                            if let Some((path, _)) = &server.ca {
                                report.error(path, message, "name a PEM file with the CA certificates to trust");
                            } else {
                                report.push(without_place(&settings.name, message));
                            }
                        }
                    }
                    continue;
                }
            };
            let (audience, algorithms) = (settings.audience.clone(), settings.algorithms.clone());
            issuers.by_iss.entry(settings.issuer.clone()).or_default().push(issuers.list.len());
            let rules = Rules::of(config, &settings.name);
            issuers.list.push(Issuer { audience, algorithms, keys, rules });
        }
        issuers
    }

    /// Whose token this is, by all issuers of its `iss` whose keys verify it: they may share keys, and differ in their
    /// audiences and rules. `Stale` when a key that is not known may have come meanwhile.
    pub(super) fn prove(&self, text: &str, occasion: &Occasion<'_>) -> Result<Proof, AuthnError> {
        let jwt = Jwt::parse(text, Purpose::Identity)?;
        let mut proved: Option<Proof> = None;
        let mut refused = None;
        let mut failure = AuthnError::Jwt(JwtFault::Issuer);
        for issuer in self.of(&jwt)? {
            let key = match issuer.verify(&jwt) {
                Ok(key) => key,
                // An unknown key may be the newest one, whatever the other issuers of this name say.
                Err(_) if failure == AuthnError::Stale => continue,
                Err(error) => {
                    failure = error;
                    continue;
                }
            };
            match (issuer.prove(&jwt, key, occasion.now), &proved) {
                (Ok(proof), Some(other)) if proof.caller != other.caller => return Err(AuthnError::Contradiction),
                (Ok(proof), _) => proved = Some(proof),
                (Err(AuthnError::Contradiction), _) => return Err(AuthnError::Contradiction),
                // Where the audience fits is who it was meant for, whose reason says more.
                (Err(AuthnError::Jwt(JwtFault::Audience)), _) if refused.is_some() => {}
                (Err(error), _) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if failure != AuthnError::Stale || occasion.renewed => proved.ok_or(error),
            _ => proved.ok_or(failure),
        }
    }

    /// Has the key sets fetched that could hold the key of this token.
    pub(super) async fn renew_for(&self, text: &str, deadline: Instant) {
        let Ok(jwt) = Jwt::parse(text, Purpose::Identity) else { return };
        let Ok(issuers) = self.of(&jwt) else { return };
        let stale = issuers.filter(|issuer| issuer.verify(&jwt).err() == Some(AuthnError::Stale));
        futures_util::future::join_all(stale.map(|issuer| issuer.keys.renew(deadline))).await;
    }

    /// Has key sets fetched that are old, or were never had.
    pub(super) fn look_after(&self) {
        self.list.iter().for_each(|issuer| issuer.keys.look_after());
    }

    fn of(&self, jwt: &Jwt<'_>) -> Result<impl Iterator<Item = &Issuer>, JwtFault> {
        let named = self.by_iss.get(jwt.required("iss")?);
        Ok(named.into_iter().flatten().filter_map(|&position| self.list.get(position)))
    }
}

/// A client that cannot be built by no fault of a file.
fn without_place(issuer: &IssuerName, message: String) -> Mistake {
    let (setting, remedy) =
        (format!("issuers.{issuer}"), "check `proxy_url`, or HTTPS_PROXY in the environment".to_owned());
    Mistake { severity: Severity::Error, place: None, setting, message, remedy }
}

impl Issuer {
    /// The key that signed it.
    fn verify(&self, jwt: &Jwt<'_>) -> Result<ShortHex, AuthnError> {
        if !self.algorithms.contains(&jwt.algorithm) {
            return Err(JwtFault::Algorithm.into());
        }
        let keys = self.keys.keys();
        let mut candidates = keys.candidates(jwt.kid.as_deref(), jwt.algorithm).peekable();
        let known = candidates.peek().is_some();
        match candidates.find(|key| jwt.is_signed_by(key)) {
            Some(key) => Ok(key.digest()),
            // A name that is known and a signature that does not hold: no other key set would cure that.
            None if known && jwt.kid.is_some() => Err(JwtFault::Signature.into()),
            None if self.keys.can_change() => Err(AuthnError::Stale),
            None => Err(JwtFault::Key.into()),
        }
    }

    /// Nothing of a token is looked at before its signature held.
    fn prove(&self, jwt: &Jwt<'_>, key: ShortHex, now: Timestamp) -> Result<Proof, AuthnError> {
        jwt.check_times(now)?;
        if jwt.audience()? != self.audience {
            return Err(JwtFault::Audience.into());
        }
        let mut callers = self.rules.callers(jwt)?;
        let caller = callers.next().ok_or(JwtFault::NoRule)?;
        // Two rules may well fit; that they are of two callers is a mistake that must not be decided by chance.
        if callers.any(|other| other != caller) {
            return Err(AuthnError::Contradiction);
        }
        Ok(Proof { caller, kind: ProofKind::IssuerJwt, key, once: None })
    }
}

impl Rules {
    fn of(config: &Config, issuer: &IssuerName) -> Self {
        let mut rules = Self::default();
        for (caller, settings) in config.callers.iter().enumerate() {
            for rule in settings.proofs.jwt.iter().filter(|rule| rule.issuer == *issuer) {
                rules.add(caller, rule);
            }
        }
        rules
    }

    fn add(&mut self, caller: usize, JwtRule { sub, claims, .. }: &JwtRule) {
        let rule = Rule { caller, claims: claims.clone() };
        match sub.as_ref().and_then(SubjectPattern::literal) {
            Some(literal) => self.by_sub.entry(literal.to_owned()).or_default().push(rule),
            None => self.others.push((sub.clone(), rule)),
        }
    }

    fn callers<'a>(&'a self, jwt: &'a Jwt<'_>) -> Result<impl Iterator<Item = usize> + 'a, JwtFault> {
        let sub = jwt.text("sub")?;
        let by_sub = sub.and_then(|sub| self.by_sub.get(sub)).into_iter().flatten();
        let fits = move |pattern: &SubjectPattern| sub.is_some_and(|sub| pattern.matches(sub));
        let others = self.others.iter().filter(move |(pattern, _)| pattern.as_ref().is_none_or(fits));
        let rules = by_sub.chain(others.map(|(_, rule)| rule));
        Ok(rules.filter(|rule| rule.fits(jwt)).map(|rule| rule.caller))
    }
}

impl Rule {
    fn fits(&self, jwt: &Jwt<'_>) -> bool {
        self.claims.iter().all(|(name, wanted)| match jwt.claim(name) {
            Some(Value::Array(items)) => items.contains(wanted),
            Some(value) => value == wanted,
            None => false,
        })
    }
}
