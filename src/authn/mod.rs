//! Who calls: what a request offers as proof becomes one caller, or none.
//!
//! Proofs are a closed set. A failed proof never locks out a good one, and proofs that name different callers are
//! refused. Not here: reading headers and forms (`http/credentials.rs`), and what the caller may have (`policy`).

mod api_key;
mod caller_key;
mod certificate;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod issuers;
mod jwks;
mod jwks_fetch;
mod jwt;
mod replay;
mod tokens;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use jiff::Timestamp;
use tokio::time::Instant;
use zeroize::Zeroizing;

pub use self::api_key::{ApiKey, KeyDigest};
pub use self::caller_key::SignedRequest;
pub use self::certificate::PeerCertificate;
pub use self::jwks::{KeySets, Surroundings};
pub use self::jwt::JwtFault;
use self::replay::Once;
pub use self::replay::Replay;
pub use self::tokens::{Occasion, OfferedJwt, Role, Tokens};
use crate::config::certificate::CertificateName;
use crate::hash::{ShortHex, sha256, short_hex};
use crate::names::CallerName;

/// What a request offers, not yet proved.
#[derive(Debug, Default)]
pub struct Credentials {
    /// Every API key that came along, and the caller it was offered for, when one was named.
    pub keys: Vec<OfferedKey>,
    /// The certificate of the connection, while it is valid.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// Every JWT that came along to prove who calls.
    pub tokens: Vec<OfferedJwt>,
    /// The caller that `client_id` names. Where a certificate comes with it, it is to prove that one (RFC 8705 section 2).
    pub unverified_client_id: Option<ClientId>,
}

impl Credentials {
    /// The kind of proof that a refusal is counted under. A certificate of nobody is none, so that what is missing beside
    /// it is a key.
    pub fn refused(&self, error: AuthnError) -> ProofKind {
        let by_certificate = self.certificate.is_some() && self.keys.is_empty() && error != AuthnError::Missing;
        match self.tokens.first().map(|offered| offered.role) {
            Some(Role::Bearer) => ProofKind::IssuerJwt,
            Some(Role::ClientAssertion) => ProofKind::ClientAssertion,
            None if by_certificate => ProofKind::ClientCertificate,
            None => ProofKind::ApiKey,
        }
    }
}

/// A `client_id` as it came; not trusted, not printed.
pub struct ClientId(pub Zeroizing<String>);

impl fmt::Debug for ClientId {
    /// Without the text: clients that fill in the wrong field put a key there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientId")
    }
}

/// One API key as offered.
pub struct OfferedKey {
    /// The name in HTTP Basic or in the form, as it came; not trusted, not printed.
    pub unverified_name: Option<Zeroizing<String>>,
    /// The digest of the key; `None` when the text is not of a key's form, which is a failed proof without a hash.
    pub key: Option<KeyDigest>,
}

impl fmt::Debug for OfferedKey {
    /// Without the name: clients that fill in the wrong field put a key there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (named, a_key) = (self.unverified_name.is_some(), self.key.is_some());
        f.debug_struct("OfferedKey").field("named", &named).field("a_key", &a_key).finish_non_exhaustive()
    }
}

/// A proof that held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// Position of the caller in the directory.
    pub caller: usize,
    /// What kind of proof.
    pub kind: ProofKind,
    /// Which of the caller's keys, by the start of its digest.
    pub key: ShortHex,
    /// What of it counts once, if something does: see [`Directory::settle`].
    once: Option<Once>,
}

impl Proof {
    /// Whether something of it counts once, so that the other replicas have to be asked: see [`Directory::settle`].
    pub fn counts_once(&self) -> bool {
        self.once.is_some()
    }
}

/// The ways to prove who calls: a closed set. The wire names are label values and stand in audit records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofKind {
    /// An API key.
    ApiKey,
    /// An assertion that the caller signed to prove itself.
    ClientAssertion,
    /// A client certificate.
    ClientCertificate,
    /// A JWT of an issuer.
    IssuerJwt,
    /// A whole request for a token that the caller signed.
    SignedRequest,
}

impl ProofKind {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::ClientCertificate => "client_certificate",
            Self::ClientAssertion => "client_assertion",
            Self::IssuerJwt => "jwt",
            Self::SignedRequest => "jwt_bearer_grant",
        }
    }
}

/// Why nobody was recognised. The wire names are label values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthnError {
    /// No credential at all.
    #[error("no credentials came with the request")]
    Missing,
    /// Not the form of an API key, or a checksum that does not fit.
    #[error("the credential is not an API key: its form or its checksum is wrong")]
    NotAKey,
    /// A key that nobody has, or a key or certificate that belongs to another caller than the one named.
    #[error("the API key is not known, or it or the certificate belongs to another caller than the one named")]
    Unknown,
    /// Good proofs of different callers.
    #[error("the credentials prove different callers")]
    Contradiction,
    /// A JWT that does not hold.
    #[error(transparent)]
    Jwt(#[from] JwtFault),
    /// A JWT whose key is not known yet: worth another try once [`Directory::renew_keys`] has come back.
    #[error("the key that signed the JWT is not known here")]
    Stale,
}

impl AuthnError {
    /// The wire name.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Jwt(fault) => fault.reason(),
            Self::Stale => JwtFault::Key.reason(),
            Self::Missing => "missing",
            Self::NotAKey => "malformed",
            Self::Unknown => "unknown",
            Self::Contradiction => "contradiction",
        }
    }
}

/// Which key belongs to whom.
#[derive(Debug, Default)]
pub struct Directory {
    names: Vec<CallerName>,
    by_digest: HashMap<KeyDigest, usize>,
    by_certificate: HashMap<CertificateName, usize>,
    tokens: Tokens,
}

impl Directory {
    /// A directory without callers. The tokens speak of them by position, in the order of the configuration.
    pub fn new(tokens: Tokens) -> Self {
        Self { tokens, ..Self::default() }
    }

    /// Adds a caller and its keys; returns its position.
    pub fn add(&mut self, name: CallerName, keys: &[KeyDigest]) -> usize {
        let position = self.names.len();
        self.names.push(name);
        self.by_digest.extend(keys.iter().map(|key| (*key, position)));
        position
    }

    /// Adds what the certificates of the caller at a position are called.
    pub fn add_certificates(&mut self, position: usize, names: &[CertificateName]) {
        self.by_certificate.extend(names.iter().map(|name| (name.clone(), position)));
    }

    /// The caller behind the credentials, who is also the one that `client_id` names, if it came.
    pub fn authenticate(&self, credentials: &Credentials, occasion: &Occasion<'_>) -> Result<Proof, AuthnError> {
        let proof = self.prove(credentials, occasion)?;
        if self.is_named(credentials, proof.caller) { Ok(proof) } else { Err(AuthnError::Unknown) }
    }

    /// The one caller that everything proves which proves something. Only a failed proof that could yet turn out to name
    /// another caller counts against a good one.
    fn prove(&self, credentials: &Credentials, occasion: &Occasion<'_>) -> Result<Proof, AuthnError> {
        let mut proved: Option<Proof> = None;
        let mut failure = AuthnError::Missing;
        let keys = credentials.keys.iter().map(|offered| self.prove_key(offered));
        let tokens = credentials.tokens.iter().map(|offered| self.prove_token(offered, occasion));
        for outcome in self.prove_by_certificate(credentials).chain(keys).chain(tokens) {
            match (outcome, &proved) {
                (Ok(proof), Some(other)) if proof.caller != other.caller => return Err(AuthnError::Contradiction),
                (Ok(proof), _) => proved = Some(proof),
                (Err(AuthnError::Contradiction), _) => return Err(AuthnError::Contradiction),
                (Err(AuthnError::Stale), _) if !occasion.renewed => return Err(AuthnError::Stale),
                (Err(error), _) => failure = error,
            }
        }
        proved.ok_or(failure)
    }

    /// Whether `client_id` names this caller, or nobody.
    fn is_named(&self, credentials: &Credentials, caller: usize) -> bool {
        let name = self.names.get(caller).map_or("", CallerName::as_str);
        credentials.unverified_client_id.as_ref().is_none_or(|ClientId(named)| same_text(named, name))
    }

    /// A proof for each name of the certificate that is somebody's; none of them, and it was transport. When they are of
    /// several callers, `client_id` may say which is meant. Nothing in it is secret, so this may take the time that it
    /// takes.
    fn prove_by_certificate<'a>(
        &'a self,
        credentials: &'a Credentials,
    ) -> impl Iterator<Item = Result<Proof, AuthnError>> + 'a {
        let proofs = move || {
            let certificate = credentials.certificate.iter();
            certificate
                .flat_map(|certificate| certificate.names().iter().map(|name| (name, certificate.digest())))
                .filter_map(|(name, key)| Some((*self.by_certificate.get(name)?, key)))
                .map(|(caller, key)| Proof { caller, kind: ProofKind::ClientCertificate, key, once: None })
        };
        let one_is_meant = proofs().any(|proof| self.is_named(credentials, proof.caller));
        proofs().filter(move |proof| !one_is_meant || self.is_named(credentials, proof.caller)).map(Ok)
    }

    /// A request that a caller signed as a whole. What else came along must not name another caller, and is looked at
    /// first: while that is not settled, the assertion is not used up.
    pub fn accept(
        &self,
        assertion: &str,
        others: &Credentials,
        occasion: &Occasion<'_>,
    ) -> Result<SignedRequest, AuthnError> {
        let other = match self.prove(others, occasion) {
            Err(error @ AuthnError::Contradiction) => return Err(error),
            Err(error @ AuthnError::Stale) if !occasion.renewed => return Err(error),
            other => other.ok(),
        };
        let signed = self.tokens.accept(assertion, occasion)?;
        let caller = signed.proof.caller;
        if other.is_some_and(|other| other.caller != caller) || !self.is_named(others, caller) {
            return Err(AuthnError::Contradiction);
        }
        Ok(signed)
    }

    /// Whether what counts once in a proof that held was not used at another replica; at once where there is nothing of
    /// the kind, and within 250 ms in any case.
    ///
    /// # Errors
    /// It was.
    pub async fn settle(&self, proof: &Proof, now: Timestamp) -> Result<(), AuthnError> {
        match self.names.get(proof.caller) {
            Some(name) => Ok(self.tokens.settle(name, proof, now).await?),
            None => Err(AuthnError::Unknown),
        }
    }

    /// Has the keys fetched that tokens among these credentials may be signed with, unless that was just tried.
    pub async fn renew_keys(&self, credentials: &Credentials, deadline: Instant) {
        self.tokens.renew_keys(credentials, deadline).await;
    }

    /// What is known of JWTs.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    fn prove_token(&self, offered: &OfferedJwt, occasion: &Occasion<'_>) -> Result<Proof, AuthnError> {
        let proof = self.tokens.prove(offered, occasion)?;
        let name = self.names.get(proof.caller).map_or("", CallerName::as_str);
        match &offered.unverified_name {
            Some(other) if other.as_str() != name => Err(AuthnError::Unknown),
            _ => Ok(proof),
        }
    }

    /// The same work for a key that is known, one that is not, and one offered under a false name: a hash, a look-up
    /// by digest (which nobody can steer without inverting SHA-256), and two comparisons in constant time.
    fn prove_key(&self, offered: &OfferedKey) -> Result<Proof, AuthnError> {
        let Some(digest) = offered.key else { return Err(AuthnError::NotAKey) };
        let (known, position) = match self.by_digest.get_key_value(&digest) {
            Some((known, position)) => (*known, *position),
            None => (KeyDigest::default(), usize::MAX),
        };
        let same_key = constant_time::verify_slices_are_equal(&known, &digest).is_ok();
        let owner = self.names.get(position).map_or("", CallerName::as_str);
        let same_name = offered.unverified_name.as_ref().is_none_or(|name| same_text(name, owner));
        if same_key & same_name {
            Ok(Proof { caller: position, kind: ProofKind::ApiKey, key: short_hex(&digest), once: None })
        } else {
            Err(AuthnError::Unknown)
        }
    }
}

/// Compares digests, so that neither length nor content shows in the time it takes.
fn same_text(one: &str, other: &str) -> bool {
    constant_time::verify_slices_are_equal(&sha256([one.as_bytes()]), &sha256([other.as_bytes()])).is_ok()
}

#[cfg(test)]
mod tests {
    use super::fuzzing::Fixture;
    use super::*;
    use crate::config::Config;
    use rcgen::{CertificateParams, KeyPair};
    use serde_json::{Value, json};

    const AUDIENCE: &str = "https://aquila.example";

    fn occasion() -> Occasion<'static> {
        Occasion { now: Timestamp::from_second(1000).unwrap(), path: "/token", renewed: false }
    }

    fn sign(fixture: &Fixture, claims: &Value) -> String {
        fixture.sign(format!("{{\"alg\":\"EdDSA\"}}\n{claims}").as_bytes()).0
    }

    fn bearer(text: String) -> Credentials {
        let token = OfferedJwt { text: Zeroizing::new(text), unverified_name: None, role: Role::Bearer };
        Credentials { tokens: vec![token], ..Credentials::default() }
    }

    /// The callers of the configuration, the second of which has this key and a certificate, as has a third.
    fn directory(config: &Config, key: &ApiKey) -> Directory {
        let around = Fixture::around().unwrap();
        let tokens = Tokens::build(config, &KeySets::default(), &Arc::default(), &around).unwrap();
        let mut directory = Directory::new(tokens);
        directory.add("shipper".parse().unwrap(), &[]);
        for (name, keys) in [("team", vec![key.digest()]), ("third", vec![])] {
            let position = directory.add(name.parse().unwrap(), &keys);
            let certificate = certificate(&[&format!("{name}.example")]);
            directory.add_certificates(position, certificate.names());
        }
        directory
    }

    fn certificate(names: &[&str]) -> Arc<PeerCertificate> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        Arc::new(PeerCertificate::read(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der()))
    }

    fn shown(names: &[&str], named: Option<&str>, more: Credentials) -> Credentials {
        let unverified_client_id = named.map(|name| ClientId(Zeroizing::new(name.to_owned())));
        Credentials { certificate: Some(certificate(names)), unverified_client_id, ..more }
    }

    #[test]
    fn a_signed_request_is_refused_beside_anything_that_names_another_caller() {
        let (fixture, key) = (Fixture::new().unwrap(), ApiKey::generate().unwrap());
        let directory = directory(&fixture.config, &key);
        let claims = json!({"iss": "shipper", "sub": "elf", "aud": AUDIENCE, "exp": 1200});
        let request = sign(&fixture, &claims);
        let none = Credentials::default;
        let stranger = offered(None, &ApiKey::generate().unwrap());
        let third = ["third.example"];
        let cases = [
            ("nothing more", none(), None),
            ("a wrong key", stranger, None),
            ("its own name", shown(&[], Some("shipper"), none()), None),
            ("a certificate of nobody", shown(&["x.example"], None, none()), None),
            ("a key", offered(None, &key), Some(AuthnError::Contradiction)),
            ("a certificate", shown(&third, None, none()), Some(AuthnError::Contradiction)),
            (
                "a certificate beside its own name",
                shown(&third, Some("shipper"), none()),
                Some(AuthnError::Contradiction),
            ),
            ("two that differ", shown(&third, None, offered(None, &key)), Some(AuthnError::Contradiction)),
            (
                "a certificate of two",
                shown(&["third.example", "team.example"], None, none()),
                Some(AuthnError::Contradiction),
            ),
            ("the name of another", shown(&[], Some("team"), none()), Some(AuthnError::Contradiction)),
        ];
        for (what, others, expected) in cases {
            assert_eq!(directory.accept(&request, &others, &occasion()).err(), expected, "{what}");
        }
    }

    #[test]
    fn the_name_that_comes_with_a_certificate_must_be_its_callers() {
        let (fixture, key) = (Fixture::new().unwrap(), ApiKey::generate().unwrap());
        let directory = directory(&fixture.config, &key);
        let ask = |names: &[&str], named| {
            let proof = directory.authenticate(&shown(names, named, Credentials::default()), &occasion());
            proof.map(|proof| proof.caller)
        };
        let both = ["team.example", "third.example"];
        assert_eq!(ask(&["team.example"], Some("team")), Ok(1));
        assert_eq!(ask(&["team.example"], Some("third")), Err(AuthnError::Unknown));
        assert_eq!(ask(&both, Some("third")), Ok(2));
        assert_eq!(ask(&both, Some("shipper")), Err(AuthnError::Contradiction));
        let with_key = shown(&["third.example"], Some("team"), offered(Some("team"), &key));
        assert_eq!(directory.authenticate(&with_key, &occasion()), Err(AuthnError::Contradiction));
    }

    #[test]
    fn issuers_that_share_their_name_and_keys_are_told_apart_by_audience_and_two_that_fit_contradict() {
        let (mut fixture, key) = (Fixture::new().unwrap(), ApiKey::generate().unwrap());
        let mut second = fixture.config.issuers.first().unwrap().clone();
        second.name = "second".parse().unwrap();
        for caller in &mut fixture.config.callers {
            for rule in &mut caller.proofs.jwt {
                (rule.sub, rule.claims) = (Some("*".parse().unwrap()), Vec::new());
                rule.issuer = if caller.name.as_str() == "team" { second.name.clone() } else { rule.issuer.clone() };
            }
        }
        fixture.config.issuers.push(second);
        let mut ask = |audiences: [&str; 2], aud: &str| {
            for (issuer, audience) in fixture.config.issuers.iter_mut().zip(audiences) {
                issuer.audience = audience.to_owned();
            }
            let claims = json!({"iss": "https://issuer.example", "sub": "any", "aud": aud, "exp": 1200});
            let token = bearer(sign(&fixture, &claims));
            directory(&fixture.config, &key).authenticate(&token, &occasion()).map(|proof| proof.caller)
        };
        assert_eq!(ask(["one", "two"], "one"), Ok(0));
        assert_eq!(ask(["one", "two"], "two"), Ok(1));
        assert_eq!(ask(["one", "two"], "three"), Err(AuthnError::Jwt(JwtFault::Audience)));
        assert_eq!(ask(["one", "one"], "one"), Err(AuthnError::Contradiction));
    }

    fn known(directory: &Directory, credentials: &Credentials) -> Result<Proof, AuthnError> {
        directory.authenticate(credentials, &Occasion { now: Timestamp::UNIX_EPOCH, path: "/token", renewed: false })
    }

    fn offered(name: Option<&str>, key: &ApiKey) -> Credentials {
        let key = ApiKey::digest_of(key.expose());
        Credentials {
            keys: vec![OfferedKey { unverified_name: name.map(|name| Zeroizing::new(name.to_owned())), key }],
            ..Credentials::default()
        }
    }

    #[test]
    fn a_key_proves_its_caller_and_nobody_else() {
        let (one, two, stranger) =
            (ApiKey::generate().unwrap(), ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        let mut directory = Directory::default();
        directory.add("shipper".parse().unwrap(), &[one.digest()]);
        directory.add("sync".parse().unwrap(), &[two.digest()]);
        assert_eq!(known(&directory, &offered(None, &one)).unwrap().caller, 0);
        assert_eq!(known(&directory, &offered(Some("sync"), &two)).unwrap().caller, 1);
        assert_eq!(known(&directory, &offered(Some("shipper"), &two)), Err(AuthnError::Unknown));
        assert_eq!(known(&directory, &offered(Some(""), &two)), Err(AuthnError::Unknown));
        assert_eq!(known(&directory, &offered(None, &stranger)), Err(AuthnError::Unknown));
        assert_eq!(known(&directory, &offered(Some(""), &stranger)), Err(AuthnError::Unknown));
        assert_eq!(known(&directory, &Credentials::default()), Err(AuthnError::Missing));
    }

    #[test]
    fn a_key_in_the_place_of_the_name_is_not_shown() {
        let key = ApiKey::generate().unwrap();
        let shown = format!("{:?}", offered(Some(key.expose()), &key));
        assert!(shown.contains("named: true, a_key: true") && !shown.contains("aquila_"), "{shown}");
    }

    #[test]
    fn a_failed_proof_does_not_spoil_a_good_one_and_two_callers_are_a_contradiction() {
        let (one, two) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        let mut directory = Directory::default();
        directory.add("shipper".parse().unwrap(), &[one.digest()]);
        directory.add("sync".parse().unwrap(), &[two.digest()]);
        let mut credentials = offered(None, &one);
        credentials.keys.push(OfferedKey { unverified_name: None, key: None });
        assert_eq!(known(&directory, &credentials).unwrap().caller, 0);
        credentials.keys.extend(offered(None, &two).keys);
        assert_eq!(known(&directory, &credentials), Err(AuthnError::Contradiction));
    }
}
