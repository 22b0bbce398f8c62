//! Reads an assertion as Salesforce does: tolerant in form, strict in substance.
//!
//! Nothing in here is believed before [`UnverifiedAssertion::is_signed_by`] said yes; the type's name says so. Padded
//! and unpadded base64url, `exp` as number or text, `prn` and unknown header fields are all accepted. Whether the
//! claims are *right* is decided in `checks.rs`.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

/// Salesforce's own sample is padded, most libraries do not pad.
const EITHER_PADDING: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A JWT whose signature nobody has looked at yet.
pub(super) struct UnverifiedAssertion {
    /// Header and payload as they were sent: the signature covers their very bytes, padding included.
    signed: String,
    signature: Vec<u8>,
    alg: String,
    claims: Map<String, Value>,
}

impl UnverifiedAssertion {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        if payload.contains('.') {
            return None;
        }
        let header = json_object(header)?;
        let claims = json_object(payload)?;
        let signature = EITHER_PADDING.decode(signature).ok()?;
        let alg = header.get("alg")?.as_str()?.to_owned();
        Some(Self { signed: signed.to_owned(), signature, alg, claims })
    }

    /// True only for RS256 and a signature of this very key. The header's `alg` chooses nothing: it must be the one
    /// algorithm there is, or an attacker could offer `none` or an HMAC keyed with the public key.
    pub(super) fn is_signed_by(&self, key: &DecodingKey) -> bool {
        let signature = BASE64_URL_SAFE_NO_PAD.encode(&self.signature);
        let verified = || jsonwebtoken::crypto::verify(&signature, self.signed.as_bytes(), key, Algorithm::RS256);
        self.alg == "RS256" && verified().unwrap_or(false)
    }

    pub(super) fn alg(&self) -> &str {
        &self.alg
    }

    pub(super) fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    pub(super) fn issuer(&self) -> Option<&str> {
        self.text("iss")
    }

    /// The username. The old name `prn` wins where both stand.
    pub(super) fn subject(&self) -> Option<&str> {
        self.text("prn").or_else(|| self.text("sub"))
    }

    pub(super) fn audience(&self) -> Option<&Value> {
        self.claims.get("aud").filter(|aud| !aud.is_null())
    }

    pub(super) fn jti(&self) -> Option<&str> {
        self.text("jti")
    }

    /// Seconds since 1970, sent as a number or as text.
    pub(super) fn seconds(&self, claim: &str) -> Option<i64> {
        match self.claims.get(claim)? {
            Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds as i64)),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str().filter(|text| !text.is_empty())
    }
}

fn json_object(segment: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&EITHER_PADDING.decode(segment).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_URL_SAFE;

    use super::*;

    fn assertion(header: &str, payload: &str) -> String {
        format!("{}.{}.c2ln", BASE64_URL_SAFE.encode(header), BASE64_URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn exp_is_read_as_number_and_as_text() {
        for payload in [r#"{"exp":1333685628}"#, r#"{"exp":"1333685628"}"#, r#"{"exp":1333685628.5}"#] {
            let parsed = UnverifiedAssertion::parse(&assertion(r#"{"alg":"RS256"}"#, payload)).unwrap();
            assert_eq!(parsed.seconds("exp"), Some(1_333_685_628), "{payload}");
        }
        let far = assertion(r#"{"alg":"RS256"}"#, r#"{"exp":1767225600000}"#);
        assert_eq!(UnverifiedAssertion::parse(&far).unwrap().seconds("exp"), Some(1_767_225_600_000));
    }

    #[test]
    fn prn_wins_over_sub() {
        let both = assertion(r#"{"alg":"RS256","x":[1]}"#, r#"{"sub":"new@x","prn":"old@x"}"#);
        assert_eq!(UnverifiedAssertion::parse(&both).unwrap().subject(), Some("old@x"));
    }

    #[test]
    fn what_is_no_jwt_does_not_parse() {
        for text in ["", "a", "a.b", "a.b.c", "....", "e30.e30.c2ln", "e30.e30.e30.c2ln", "!!.e30.c2ln", "W10.e30.c2ln"]
        {
            assert!(UnverifiedAssertion::parse(text).is_none(), "{text}");
        }
    }
}
