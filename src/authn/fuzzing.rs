//! What must hold for whatever is offered as proof, as properties of bytes.
//!
//! Where a signature stands between the bytes and what they reach, the property signs: else nothing behind it would ever
//! be tried.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio_util::task::TaskTracker;

use super::caller_key::CallerKeys;
use super::issuers::Issuers;
use super::jwks::Keys;
use super::jwt::{Jwt, LARGEST, Purpose};
use super::{ApiKey, KeySets, Occasion, PeerCertificate, ProofKind, Replay, Surroundings};
use crate::clock::Clock;
use crate::config::certificate::{CertificateName, DnsName, SpiffeId, Subject};
use crate::config::report::Report;
use crate::config::{Config, Roots};
use crate::signature::{Algorithm, VerifyingKey};
use crate::telemetry::metrics::Metrics;

/// A name and what panics for bytes that break it.
type Property = (&'static str, fn(&[u8]));

/// By the names of their folders in `fuzz/seeds`.
pub(crate) const PROPERTIES: &[Property] = &[
    ("api-key", api_key),
    ("jwt", jwt),
    ("issuer-token", issuer_token),
    ("caller-token", caller_token),
    ("key-set", key_set),
    ("certificate", certificate),
];

/// What counts as a key has the form and the checksum of one; with any one character changed it is none.
fn api_key(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if ApiKey::digest_of(text).is_some() {
        assert!(
            text.len() == 56
                && text.starts_with("aquila_")
                && checksum(text.get(7..50)) == text.get(50..).map(str::to_owned)
        );
    }
    // No fuzzer guesses a checksum: the right one is added to 43 letters.
    let random: String = text.chars().filter(char::is_ascii_alphanumeric).take(43).collect();
    let (43, Some(checksum)) = (random.len(), checksum(Some(&random))) else { return };
    let key = format!("aquila_{random}{checksum}");
    assert!(ApiKey::digest_of(&key).is_some(), "{key}");
    let at = bytes.len() % key.len();
    let changed: String = key.char_indices().map(|(here, c)| if here == at { next(c) } else { c }).collect();
    assert!(ApiKey::digest_of(&changed).is_none(), "{changed}");
    assert!([format!("{key} "), format!(" {key}"), format!("{key}0")].iter().all(|it| ApiKey::digest_of(it).is_none()));
}

fn next(letter: char) -> char {
    match letter {
        'z' => 'a',
        'Z' => 'A',
        '9' => '0',
        '_' => '-',
        other => char::from_u32(u32::from(other) + 1).unwrap_or('a'),
    }
}

/// CRC-32 bit by bit, in base 62.
fn checksum(random: Option<&str>) -> Option<String> {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut crc = u32::MAX;
    for bit in random?.bytes().flat_map(|byte| (0..8).map(move |bit| u32::from(byte >> bit & 1))) {
        crc = crc >> 1 ^ if crc & 1 == bit { 0 } else { 0xEDB8_8320 };
    }
    let (mut rest, mut text) = (!crc, Vec::new());
    for _ in 0..6 {
        text.push(*DIGITS.get(usize::try_from(rest % 62).ok()?)?);
        rest /= 62;
    }
    text.reverse();
    String::from_utf8(text).ok()
}

/// A JWT that is read says what a plain JSON parser reads in it; there is one spelling of it.
fn jwt(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for purpose in [Purpose::Identity, Purpose::Authentication, Purpose::Grant] {
        let Ok(jwt) = Jwt::parse(text, purpose) else { continue };
        let segments: Vec<&str> = text.split('.').collect();
        let [header, claims, signature] = segments.as_slice() else { unreachable!("not three segments") };
        assert!(text.len() <= LARGEST);
        for segment in [header, claims, signature] {
            let decoded = BASE64_URL_SAFE_NO_PAD.decode(segment);
            assert!(decoded.is_ok_and(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes) == **segment), "two spellings");
        }
        let (header, claims) = (plain(header), plain(claims));
        assert_eq!(header.get("alg").and_then(Value::as_str), Some(jwt.algorithm.as_str()));
        assert_eq!(header.get("kid").and_then(Value::as_str), jwt.kid.as_deref());
        assert!(["crit", "jwk", "jku", "x5u", "x5c", "b64"].iter().all(|name| !header.contains_key(*name)));
        assert!(claims.iter().all(|(name, value)| jwt.claim(name) == Some(value)));
        check_times(&jwt, &claims);
    }
}

fn plain(segment: &str) -> Map<String, Value> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(segment).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn check_times(jwt: &Jwt<'_>, claims: &Map<String, Value>) {
    let number = |name: &str| claims.get(name).and_then(Value::as_f64);
    if jwt.check_times(now()).is_ok() {
        #[expect(clippy::cast_precision_loss, reason = "the date of a test")]
        let now = now().as_second() as f64;
        assert!(number("exp").is_some_and(|exp| exp >= now), "taken after its end");
        assert!(["nbf", "iat"].iter().all(|name| number(name).is_none_or(|from| from < now + 31.0)), "taken too soon");
        if jwt.check_short_life(self::now()).is_ok() {
            assert!(number("exp").is_some_and(|exp| exp < now + 331.0), "taken with too long a life");
        }
    }
}

/// The first line is a header, the second one claims; they are signed with the key that the issuer has. A caller is
/// proved only by what names the issuer, this service, a time that is not over, and a subject that has a rule; and never
/// once a byte of it is changed.
fn issuer_token(bytes: &[u8]) {
    let fixture = fixture();
    let (token, header, claims) = fixture.sign(bytes);
    let prove = |token: &str| fixture.issuers.prove(token, &Occasion { now: now(), path: "/token", renewed: false });
    if let Ok(proof) = prove(&token) {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        assert_eq!((proof.kind, text("iss")), (ProofKind::IssuerJwt, Some("https://issuer.example")));
        assert_eq!(header.get("alg").and_then(Value::as_str), Some("EdDSA"));
        assert!(header.get("kid").is_none_or(|kid| kid == "one"));
        assert!(claims.get("aud").is_some_and(|aud| *aud == AUDIENCE || *aud == json!([AUDIENCE])));
        let sub = text("sub").unwrap_or_default();
        let (literal, pattern) = (sub == "shipper", sub.starts_with("team:") && claims.get("level") == Some(&json!(3)));
        assert_eq!(proof.caller, if literal { 0 } else { 1 });
        assert!(literal || pattern, "no rule fits");
        assert!(claims.get("exp").and_then(Value::as_f64).is_some_and(|exp| exp > 999.0));
    }
    assert!(changed(&token, bytes.len()).is_none_or(|changed| prove(&changed).is_err()), "a changed token is taken");
}

/// The same for what a caller signs: as a proof it names itself, as a request it names something else; neither is ever
/// the other, and a `jti` counts once.
fn caller_token(bytes: &[u8]) {
    let fixture = fixture();
    let (token, header, claims) = fixture.sign(bytes);
    let keys = fixture.caller_keys();
    let occasion = Occasion { now: now(), path: "/token/elf", renewed: false };
    if let Some(changed) = changed(&token, bytes.len()) {
        assert!(keys.prove(&changed, &occasion).is_err() && keys.accept(&changed, &occasion).is_err());
    }
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let sound = || {
        assert_eq!((header.get("alg").and_then(Value::as_str), text("iss")), (Some("EdDSA"), Some("shipper")));
        let aud = claims.get("aud").and_then(|aud| aud.as_str().or_else(|| aud.get(0)?.as_str())).unwrap_or_default();
        let ours = ["", "/", "/token", "/token/elf"].map(|path| format!("{AUDIENCE}{path}"));
        assert!(ours.iter().any(|ours| ours == aud), "meant for somebody else");
        assert!(claims.get("exp").and_then(Value::as_f64).is_some_and(|exp| exp > 999.0 && exp < 1331.0));
    };
    let proved = keys.prove(&token, &occasion);
    if proved.is_ok() {
        sound();
        assert_eq!(text("sub"), Some("shipper"));
        assert!(text("jti").is_some_and(|jti| !jti.is_empty()));
        assert!(keys.prove(&token, &occasion).is_err(), "used twice");
    }
    if let Ok(request) = fixture.caller_keys().accept(&token, &occasion) {
        sound();
        assert!(proved.is_err(), "a proof and a request at once");
        assert!(text("sub") == Some(request.subject.as_str()) && *request.subject != "shipper");
    }
}

/// One character of the payload or of the signature is another one.
fn changed(token: &str, at: usize) -> Option<String> {
    let at = token.len().checked_sub(1 + at % 86)?;
    let mut changed = token.to_owned().into_bytes();
    let letter = changed.get_mut(at)?;
    *letter = if *letter == b'A' { b'B' } else { b'A' };
    String::from_utf8(changed).ok()
}

const AUDIENCE: &str = "https://aquila.example";

fn now() -> Timestamp {
    Timestamp::from_second(1000).unwrap_or_default()
}

/// An issuer and a caller with one key, known by the configuration.
pub(super) struct Fixture {
    key: Ed25519KeyPair,
    issuers: Issuers,
    pub(super) config: Config,
}

static FIXTURE: LazyLock<Option<Fixture>> = LazyLock::new(Fixture::new);

fn fixture() -> &'static Fixture {
    match FIXTURE.as_ref() {
        Some(fixture) => fixture,
        None => unreachable!("the configuration of the fixture loads"),
    }
}

impl Fixture {
    pub(super) fn new() -> Option<Self> {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).ok()?;
        let public = key.public_key().as_ref();
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": BASE64_URL_SAFE_NO_PAD.encode(public)});
        let keys = json!({"keys": [jwk]}).to_string();
        let mut config = crate::config::fuzzing::with_issuer(keys.as_bytes())?;
        let own = VerifyingKey::from_point(public, Algorithm::EdDsa).ok()?;
        let shipper = &mut config.callers.first_mut()?.proofs;
        shipper.public_keys.push(own);
        shipper.jwt_bearer_grant = true;
        let mut report = Report::default();
        let issuers = Issuers::build(&config, &KeySets::default(), &Self::around()?, &mut report);
        assert!(!report.has_errors());
        Some(Self { key, issuers, config })
    }

    pub(super) fn around() -> Option<Surroundings> {
        let (metrics, flights) = (Arc::new(Metrics::new().ok()?), TaskTracker::new());
        Some(Surroundings { clock: Clock::manual(), metrics, flights, roots: Roots::Bundled })
    }

    fn caller_keys(&self) -> CallerKeys {
        CallerKeys::build(&self.config, Arc::new(Replay::default()))
    }

    /// The token, and what a plain JSON parser reads in its header and its claims.
    pub(super) fn sign(&self, bytes: &[u8]) -> (String, Map<String, Value>, Map<String, Value>) {
        let mut lines = bytes.splitn(2, |&byte| byte == b'\n');
        let [header, claims] = [lines.next(), lines.next()].map(Option::unwrap_or_default);
        let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
        let signed = format!("{}.{}", encode(header), encode(claims));
        let token = format!("{signed}.{}", encode(self.key.sign(signed.as_bytes()).as_ref()));
        let read = |part: &[u8]| serde_json::from_slice(part).unwrap_or_default();
        (token, read(header), read(claims))
    }
}

/// A key set is JSON with a list of keys, of which those are taken that are of a pinned algorithm; a key is found by its
/// name.
fn key_set(bytes: &[u8]) {
    let Ok(keys) = Keys::parse(bytes, &Algorithm::ALL) else { return };
    let set: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let listed = set.get("keys").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    assert!((1..=100).contains(&listed.len()));
    let mut found = 0;
    for algorithm in Algorithm::ALL {
        for key in keys.candidates(None, algorithm) {
            assert_eq!(key.algorithm(), algorithm);
            assert!(!key.verifies(b"message", &[0; 64]) && !key.verifies(b"message", b""));
            found += 1;
        }
        assert!(keys.candidates(Some("a name that no fuzzer writes"), algorithm).next().is_none());
        let pinned = Keys::parse(bytes, &[algorithm]);
        assert_eq!(pinned.is_ok(), keys.candidates(None, algorithm).next().is_some(), "{algorithm:?}");
    }
    assert!(found > 0 && listed.iter().all(|key| key.get("kty") != Some(&json!("oct")) || listed.len() > 1));
}

/// A name that is read out of a certificate is the one that a rule with the same text names.
fn certificate(bytes: &[u8]) {
    let read = PeerCertificate::read(bytes);
    for name in read.names() {
        assert_eq!(Some(name), again(name).as_ref());
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let rules = [
        SpiffeId::parse(text).map(CertificateName::Spiffe),
        DnsName::parse(text).map(CertificateName::Dns),
        Subject::parse(text).map(CertificateName::Subject),
    ];
    for name in rules.into_iter().flatten() {
        assert_eq!(Some(&name), again(&name).as_ref());
    }
}

/// Printed and read once more.
fn again(name: &CertificateName) -> Option<CertificateName> {
    let text = name.to_string();
    let (_, text) = text.split_once(' ')?;
    match name {
        CertificateName::Spiffe(_) => SpiffeId::parse(text).map(CertificateName::Spiffe),
        CertificateName::Dns(_) => DnsName::parse(text).map(CertificateName::Dns),
        CertificateName::Subject(_) => Subject::parse(text).map(CertificateName::Subject),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_that_are_meant_to_prove_a_caller_do() {
        let fixture = fixture();
        for seed in [
            &include_bytes!("../../fuzz/seeds/issuer-token/literal")[..],
            include_bytes!("../../fuzz/seeds/issuer-token/pattern"),
        ] {
            assert!(
                fixture
                    .issuers
                    .prove(&fixture.sign(seed).0, &Occasion { now: now(), path: "/token", renewed: false })
                    .is_ok()
            );
        }
        let occasion = Occasion { now: now(), path: "/token/elf", renewed: false };
        let proof = fixture.sign(include_bytes!("../../fuzz/seeds/caller-token/proof")).0;
        assert!(fixture.caller_keys().prove(&proof, &occasion).is_ok());
        for seed in [
            &include_bytes!("../../fuzz/seeds/caller-token/request")[..],
            include_bytes!("../../fuzz/seeds/caller-token/request-once"),
        ] {
            assert!(fixture.caller_keys().accept(&fixture.sign(seed).0, &occasion).is_ok());
        }
    }
}
