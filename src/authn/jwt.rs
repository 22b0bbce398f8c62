//! A JWT (RFC 7519) as it came: read strictly, believed in nothing before its signature is verified.
//!
//! Who may sign, and with what, comes from the configuration and never from the token: there is no `none`, no shared
//! secret, and a header that brings a key or says where to fetch one is refused.

use std::fmt;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use jiff::Timestamp;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::signature::{Algorithm, VerifyingKey};

/// Why a JWT is no proof. The wire names are label values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtFault {
    /// Not a JWT, or one that could be read in two ways.
    #[error("this is not a JWT, or one with a member twice or of the wrong type")]
    Malformed,
    /// The header asks for what is never done: a key of the token's own, an extension, another type.
    #[error("the header brings a key, asks for an extension, or is of another type than a proof")]
    Header,
    /// An algorithm that is not pinned here.
    #[error("the algorithm is not one that is configured for this signer")]
    Algorithm,
    /// Nobody of this name signs here.
    #[error("nobody of this `iss` is configured")]
    Issuer,
    /// Nobody knows this key.
    #[error("the issuer has no such key, as far as is known here")]
    Key,
    /// The signature does not hold.
    #[error("the signature does not hold")]
    Signature,
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` lies ahead.
    #[error("the token is not valid yet")]
    NotYet,
    /// Meant for somebody else.
    #[error("`aud` is not this service, or not this service alone")]
    Audience,
    /// `exp` lies too far ahead.
    #[error("`exp` lies more than 300 s ahead, and 30 s for clocks")]
    Lifetime,
    /// It has no `jti`, and needs one.
    #[error("the `jti` is missing or empty")]
    NoJti,
    /// Its `jti` was used before.
    #[error("the `jti` was used before")]
    Replayed,
    /// Its caller has used as many `jti`s as are kept, and none of them has expired.
    #[error("the caller has used too many assertions that are still good")]
    TooMany,
    /// No rule of a caller fits.
    #[error("no caller has a rule that fits this token")]
    NoRule,
    /// A proof in the place of a grant, or the reverse, or a grant that the caller may not make.
    #[error("this assertion is not made for what it is used for")]
    Purpose,
}

impl JwtFault {
    /// The wire name.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Header => "forbidden_header",
            Self::Algorithm => "algorithm",
            Self::Issuer => "unknown_issuer",
            Self::Key => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYet => "not_yet_valid",
            Self::Audience => "audience",
            Self::Lifetime => "too_long_lived",
            Self::NoJti => "no_jti",
            Self::Replayed => "replayed",
            Self::TooMany => "too_many_jti",
            Self::NoRule => "no_rule",
            Self::Purpose => "purpose",
        }
    }
}

/// More than any issuer signs.
pub(super) const LARGEST: usize = 16 * 1024;
/// Longer than the fingerprints, URLs and UUIDs that issuers take.
const LONGEST_KID: usize = 256;
/// Clocks may differ by so much.
const LEEWAY: i64 = 30;
/// An assertion that a caller signs for itself need not last longer. By our clock it may be [`LEEWAY`] more: that of a
/// caller may be ahead.
const LONGEST_LIFE: i64 = 300;

/// What a token is offered as, which decides what its `typ` may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An issuer says who somebody is.
    Identity,
    /// A caller proves itself with its own key (RFC 7523 section 2.2).
    Authentication,
    /// A caller asks for a token with its own key (RFC 7523 section 2.1).
    Grant,
}

impl Purpose {
    /// Types without one of their own (RFC 8725 section 3.11) are common; one that names another use is refused.
    fn takes(self, typ: &str) -> bool {
        let typ = typ.to_ascii_lowercase();
        let typ = typ.strip_prefix("application/").unwrap_or(&typ);
        typ == "jwt"
            || match self {
                Self::Identity => typ == "at+jwt",
                Self::Authentication => typ == "client-authentication+jwt",
                Self::Grant => typ == "authorization-grant+jwt",
            }
    }
}

/// A JWT whose form is right. Nothing in it is proved.
pub(super) struct Jwt<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    claims: Map<String, Value>,
    signed: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    /// Reads the compact form (RFC 7515 section 7.1).
    pub(super) fn parse(text: &'a str, purpose: Purpose) -> Result<Self, JwtFault> {
        if text.len() > LARGEST {
            return Err(JwtFault::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(JwtFault::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(JwtFault::Malformed)?;
        let (header, claims) = (object(header)?, object(claims)?);
        let forbidden = ["crit", "jwk", "jku", "x5u", "x5c", "b64", "zip", "enc"];
        if forbidden.iter().any(|name| header.contains_key(*name)) {
            return Err(JwtFault::Header);
        }
        if text_in(&header, "typ")?.is_some_and(|typ| !purpose.takes(typ)) {
            return Err(JwtFault::Header);
        }
        let algorithm = text_in(&header, "alg")?.ok_or(JwtFault::Malformed)?;
        let algorithm = algorithm.parse().map_err(|_| JwtFault::Algorithm)?;
        let kid = text_in(&header, "kid")?.map(str::to_owned);
        if kid.as_ref().is_some_and(|kid| kid.len() > LONGEST_KID) {
            return Err(JwtFault::Malformed);
        }
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| JwtFault::Malformed)?;
        Ok(Self { algorithm, kid, claims, signed: signed.as_bytes(), signature })
    }

    /// Whether the owner of this key signed it, with the key's own algorithm.
    pub(super) fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        key.algorithm() == self.algorithm && key.verifies(self.signed, &self.signature)
    }

    /// A claim that is a text; absent is nothing.
    pub(super) fn text(&self, claim: &str) -> Result<Option<&str>, JwtFault> {
        text_in(&self.claims, claim)
    }

    /// A claim that must be there.
    pub(super) fn required(&self, claim: &str) -> Result<&str, JwtFault> {
        self.text(claim)?.ok_or(JwtFault::Malformed)
    }

    /// Any claim.
    pub(super) fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// The one audience. A token that is good elsewhere too can be handed on from there, so there may be no second.
    pub(super) fn audience(&self) -> Result<&str, JwtFault> {
        match self.claims.get("aud") {
            Some(Value::String(one)) => Ok(one),
            Some(Value::Array(list)) => match list.as_slice() {
                [Value::String(one)] => Ok(one),
                _ => Err(JwtFault::Audience),
            },
            Some(_) => Err(JwtFault::Malformed),
            None => Err(JwtFault::Audience),
        }
    }

    /// Refuses it before and after its time; returns its end. There is no leeway at the end: whoever waits until then
    /// can ask for the next one a moment earlier.
    pub(super) fn check_times(&self, now: Timestamp) -> Result<i64, JwtFault> {
        let now = now.as_second();
        let ends = self.date("exp")?.ok_or(JwtFault::Malformed)?;
        if ends <= now {
            return Err(JwtFault::Expired);
        }
        for claim in ["nbf", "iat"] {
            if self.date(claim)?.is_some_and(|from| from > now.saturating_add(LEEWAY)) {
                return Err(JwtFault::NotYet);
            }
        }
        Ok(ends)
    }

    /// [`Jwt::check_times`], and that it is as short-lived as what a caller signs for one request has to be.
    pub(super) fn check_short_life(&self, now: Timestamp) -> Result<i64, JwtFault> {
        let ends = self.check_times(now)?;
        if ends > now.as_second().saturating_add(LONGEST_LIFE + LEEWAY) {
            return Err(JwtFault::Lifetime);
        }
        Ok(ends)
    }

    /// A `NumericDate`: seconds since 1970, a fraction left out.
    fn date(&self, claim: &str) -> Result<Option<i64>, JwtFault> {
        const FAR: f64 = 1e12;
        match self.claims.get(claim) {
            None => Ok(None),
            Some(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Ok(Some(whole)),
                #[expect(clippy::cast_possible_truncation, reason = "bounded in the line above, and meant")]
                (None, Some(fraction)) if fraction.abs() < FAR => Ok(Some(fraction.floor() as i64)),
                _ => Err(JwtFault::Malformed),
            },
            Some(_) => Err(JwtFault::Malformed),
        }
    }
}

fn text_in<'m>(members: &'m Map<String, Value>, name: &str) -> Result<Option<&'m str>, JwtFault> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(JwtFault::Malformed),
    }
}

/// A JSON object in base64url without padding; nothing before or after it.
fn object(segment: &str) -> Result<Map<String, Value>, JwtFault> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(segment).map_err(|_| JwtFault::Malformed)?;
    strict_object(&bytes).ok_or(JwtFault::Malformed)
}

/// A JSON object in which no name stands twice, at any depth: readers differ in which of two counts.
pub(super) fn strict_object(bytes: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(Strict(Value::Object(members))) => Some(members),
        _ => None,
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate names")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if object.insert(name, value).is_some() {
                return Err(de::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::hmac;
    use proptest::prelude::*;

    const HEADER: &str = r#"{"alg":"ES256"}"#;
    const CLAIMS: &str = r#"{"iss":"a","exp":2000}"#;

    fn encode(text: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(text)
    }

    fn compact(header: &str, claims: &str) -> String {
        format!("{}.{}.{}", encode(header), encode(claims), encode("signature"))
    }

    fn fault(text: &str) -> JwtFault {
        Jwt::parse(text, Purpose::Identity).err().unwrap_or_else(|| panic!("taken: {text}"))
    }

    fn fault_of_header(header: &str) -> JwtFault {
        fault(&compact(header, CLAIMS))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn times(claims: &str, now: i64) -> Result<i64, JwtFault> {
        Jwt::parse(&compact(HEADER, claims), Purpose::Identity).unwrap().check_times(at(now))
    }

    #[test]
    fn what_is_not_three_strict_segments_is_malformed() {
        assert!(Jwt::parse(&compact(HEADER, CLAIMS), Purpose::Identity).is_ok());
        let good = compact(HEADER, CLAIMS);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let cases = [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            signed.to_owned(),
            format!("{good}."),
            format!("{good}.x"),
            format!("{good}="),
            format!("{good} "),
            format!(" {good}"),
            format!("{good}\n"),
            format!("{signed}.{signature}+"),
            format!("{signed}.\u{212A}"),
            compact(HEADER, &format!("{CLAIMS} x")),
            compact(HEADER, &format!("{CLAIMS}{CLAIMS}")),
            compact(&format!("{HEADER}\0"), CLAIMS),
            compact(HEADER, "[]"),
            compact(HEADER, "null"),
            compact(HEADER, r#""text""#),
            compact(HEADER, "{"),
            compact(HEADER, &"[".repeat(5000)),
            compact(HEADER, &format!(r#"{{"a":{}{}}}"#, "[".repeat(500), "]".repeat(500))),
            compact("[]", CLAIMS),
            compact("", CLAIMS),
            compact("{}", CLAIMS),
            // The JSON serialisations of a JWS are not taken.
            r#"{"payload":"","signatures":[]}"#.to_owned(),
            // Not UTF-8.
            format!("{}.{}.AAAA", encode(HEADER), BASE64_URL_SAFE_NO_PAD.encode(b"{\"a\":\"\xFF\"}")),
        ];
        for text in cases {
            assert_eq!(fault(&text), JwtFault::Malformed, "{text}");
        }
        // The last character of a segment carries bits that nobody reads: another one there is another text for the
        // same bytes.
        let (front, last) = good.split_at(good.len() - 1);
        let others = ('A'..='Z').filter(|c| c.to_string() != last).filter(|c| {
            Jwt::parse(&format!("{front}{c}"), Purpose::Identity).is_ok_and(|jwt| jwt.signature == b"signature")
        });
        assert_eq!(others.count(), 0);
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_at_any_depth_however_it_is_written() {
        for claims in [
            r#"{"iss":"a","iss":"b"}"#,
            r#"{"iss":"a","iss":"a"}"#,
            r#"{"iss":"a","\u0069ss":"b"}"#,
            r#"{"iss":"a","x":{"y":1,"y":2}}"#,
            r#"{"iss":"a","x":[{"y":1,"y":2}]}"#,
        ] {
            assert_eq!(fault(&compact(HEADER, claims)), JwtFault::Malformed, "{claims}");
        }
        assert_eq!(fault_of_header(r#"{"alg":"ES256","alg":"none"}"#), JwtFault::Malformed);
        assert_eq!(fault_of_header(r#"{"alg":"none","alg":"ES256"}"#), JwtFault::Malformed);
    }

    #[test]
    fn an_algorithm_outside_the_closed_set_is_refused_however_it_is_written() {
        for alg in ["none", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "es256", "RS1", "dir", "ES256\\u0000"] {
            assert_eq!(fault_of_header(&format!(r#"{{"alg":"{alg}"}}"#)), JwtFault::Algorithm, "{alg}");
        }
        for header in [r#"{"alg":null}"#, r#"{"alg":["ES256"]}"#, r#"{"alg":256}"#, r#"{"ALG":"ES256"}"#] {
            assert_eq!(fault_of_header(header), JwtFault::Malformed, "{header}");
        }
    }

    #[test]
    fn a_header_that_brings_a_key_or_an_extension_is_refused_before_anything_is_fetched() {
        for member in [
            r#""jwk":{"kty":"EC"}"#,
            r#""jku":"https://evil.example/keys""#,
            r#""x5u":"https://evil.example/cert""#,
            r#""x5c":["MIIB"]"#,
            r#""crit":["exp"]"#,
            r#""crit":[]"#,
            r#""b64":false"#,
            r#""typ":"logout+jwt""#,
            r#""typ":"dpop+jwt""#,
            r#""typ":"client-authentication+jwt""#,
        ] {
            assert_eq!(fault_of_header(&format!(r#"{{"alg":"ES256",{member}}}"#)), JwtFault::Header, "{member}");
        }
        for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
            let token = compact(&format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#), CLAIMS);
            assert!(Jwt::parse(&token, Purpose::Identity).is_ok(), "{typ}");
        }
    }

    #[test]
    fn a_huge_token_or_key_id_is_refused_unread() {
        let huge = compact(HEADER, &format!(r#"{{"a":"{}"}}"#, "x".repeat(LARGEST)));
        assert_eq!(fault(&huge), JwtFault::Malformed);
        let kid = |length| compact(&format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(length)), CLAIMS);
        assert_eq!(fault(&kid(257)), JwtFault::Malformed);
        assert!(Jwt::parse(&kid(256), Purpose::Identity).is_ok());
        assert_eq!(fault_of_header(r#"{"alg":"ES256","kid":["a"]}"#), JwtFault::Malformed);
    }

    #[test]
    fn a_token_is_good_from_its_beginning_to_its_end_and_only_clocks_that_differ_are_forgiven() {
        assert_eq!(times(r#"{"exp":2000}"#, 1999), Ok(2000));
        assert_eq!(times(r#"{"exp":2000.9}"#, 1999), Ok(2000));
        assert_eq!(times(r#"{"exp":2000}"#, 2000), Err(JwtFault::Expired));
        assert_eq!(times(r#"{"exp":-1}"#, 0), Err(JwtFault::Expired));
        for claim in ["nbf", "iat"] {
            assert!(times(&format!(r#"{{"exp":2000,"{claim}":1030}}"#), 1000).is_ok(), "{claim}");
            let ahead = format!(r#"{{"exp":2000,"{claim}":1031}}"#);
            assert_eq!(times(&ahead, 1000), Err(JwtFault::NotYet), "{claim}");
            for wrong in [r#""1000""#, "null", "true", "[1]", "1e300"] {
                let claims = format!(r#"{{"exp":2000,"{claim}":{wrong}}}"#);
                assert_eq!(times(&claims, 1000), Err(JwtFault::Malformed), "{claims}");
            }
        }
        for claims in [r#"{}"#, r#"{"exp":"2000"}"#, r#"{"exp":null}"#, r#"{"exp":1e999}"#, r#"{"exp":1e13}"#] {
            let text = compact(HEADER, claims);
            let checked = Jwt::parse(&text, Purpose::Identity).and_then(|jwt| jwt.check_times(at(1000)));
            assert_eq!(checked, Err(JwtFault::Malformed), "{claims}");
        }
    }

    #[test]
    fn what_a_caller_signs_for_itself_lasts_five_minutes_at_most() {
        let short = |exp: i64| {
            let text = compact(HEADER, &format!(r#"{{"exp":{exp}}}"#));
            Jwt::parse(&text, Purpose::Grant).unwrap().check_short_life(at(1000))
        };
        assert!(short(1330).is_ok());
        assert_eq!(short(1331), Err(JwtFault::Lifetime));
        // Milliseconds, as one published client sends them.
        assert_eq!(short(1_300_000), Err(JwtFault::Lifetime));
    }

    #[test]
    fn there_is_one_audience() {
        let audience = |aud: &str| {
            let text = compact(HEADER, &format!(r#"{{"aud":{aud}}}"#));
            Jwt::parse(&text, Purpose::Identity).unwrap().audience().map(str::to_owned)
        };
        assert_eq!(audience(r#""https://a""#).as_deref(), Ok("https://a"));
        assert_eq!(audience(r#"["https://a"]"#).as_deref(), Ok("https://a"));
        assert_eq!(audience(r#"["https://a","https://b"]"#), Err(JwtFault::Audience));
        assert_eq!(audience("[]"), Err(JwtFault::Audience));
        assert_eq!(audience("[1]"), Err(JwtFault::Audience));
        assert_eq!(audience("1"), Err(JwtFault::Malformed));
    }

    /// The claims of all examples of RFC 7515 appendix A.
    const RFC_CLAIMS: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const RS256_HEADER: &str = "eyJhbGciOiJSUzI1NiJ9";
    const RS256_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

    fn keys_of_the_rfc() -> (VerifyingKey, VerifyingKey) {
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        let n = decode(
            "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        );
        let point = [
            vec![4],
            decode("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
            decode("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
        ];
        (
            VerifyingKey::from_rsa(&n, &[1, 0, 1], Algorithm::Rs256).unwrap(),
            VerifyingKey::from_point(&point.concat(), Algorithm::Es256).unwrap(),
        )
    }

    #[test]
    fn the_examples_of_rfc_7515_are_taken_when_they_are_asymmetric_jwts_and_refused_when_not() {
        let (rsa, ec) = keys_of_the_rfc();
        let rs256 = format!("{RS256_HEADER}.{RFC_CLAIMS}.{RS256_SIGNATURE}");
        let es256 = format!(
            "eyJhbGciOiJFUzI1NiJ9.{RFC_CLAIMS}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
        );
        // A.2 and A.3.
        for (text, own, other) in [(&rs256, &rsa, &ec), (&es256, &ec, &rsa)] {
            let jwt = Jwt::parse(text, Purpose::Identity).unwrap();
            assert!(jwt.is_signed_by(own) && !jwt.is_signed_by(other), "{text}");
            assert_eq!(jwt.required("iss"), Ok("joe"));
            assert_eq!(jwt.check_times(at(1_300_819_379)), Ok(1_300_819_380));
            assert_eq!(jwt.check_times(at(1_300_819_380)), Err(JwtFault::Expired));
        }
        for (text, expected) in [
            // A.1, a shared secret.
            (
                format!(
                    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{RFC_CLAIMS}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
                ),
                JwtFault::Algorithm,
            ),
            // A.4, P-521, and no claims.
            (
                "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn".to_owned(),
                JwtFault::Malformed,
            ),
            // A.5, no signature.
            (format!("eyJhbGciOiJub25lIn0.{RFC_CLAIMS}."), JwtFault::Algorithm),
            // A.7, the flattened JSON form.
            (
                format!(
                    r#"{{"payload":"{RFC_CLAIMS}","protected":"{RS256_HEADER}","signature":"{RS256_SIGNATURE}"}}"#
                ),
                JwtFault::Malformed,
            ),
        ] {
            assert_eq!(fault(&text), expected, "{text}");
        }
    }

    /// The traps of Wycheproof's JSON Web Signature set. Its own tokens carry a payload that is no JSON, so a reader of
    /// JWTs refuses its valid ones too; here each trap is set with a JWT that is good without it.
    #[test]
    fn a_good_jwt_that_is_bent_in_any_way_of_wycheproofs_is_refused() {
        let (rsa, _) = keys_of_the_rfc();
        let (h, p, s) = (RS256_HEADER, RFC_CLAIMS, RS256_SIGNATURE);
        let header = |json: &str| encode(json);
        let confused = format!("{}.{p}", header(r#"{"alg":"HS256"}"#));
        let public = hmac::Key::new(hmac::HMAC_SHA256, include_bytes!("../../tests/fixtures/rfc7515-a2.pem"));
        let confused =
            format!("{confused}.{}", BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&public, confused.as_bytes())));
        let bent = [
            ("modified signature", format!("{h}.{p}.{}", s.replacen('c', "d", 1))),
            ("missing signature", format!("{h}.{p}.")),
            ("missing signature and separator", format!("{h}.{p}")),
            ("modified payload", format!("{h}.{}.{s}", encode(r#"{"iss":"joe","exp":1300819381}"#))),
            ("missing payload", format!("{h}..{s}")),
            ("missing payload and separator", format!("{h}.{s}")),
            ("modified header", format!("{}.{p}.{s}", header(r#"{"alg":"RS256","kid":"x"}"#))),
            ("missing header", format!(".{p}.{s}")),
            ("missing header and separator", format!("{p}.{s}")),
            ("only the payload", format!(".{p}.")),
            ("extra empty component", format!("{h}.{p}.{s}.")),
            ("extra component", format!("{h}.{p}.{s}.foo")),
            ("a component before", format!("foo.{h}.{p}.{s}")),
            ("none, without signature", format!("{}.{p}.", header(r#"{"alg":"none"}"#))),
            ("none, with signature", format!("{}.{p}.{s}", header(r#"{"alg":"none"}"#))),
            ("another algorithm of the same key", format!("{}.{p}.{s}", header(r#"{"alg":"PS256"}"#))),
            ("another hash", format!("{}.{p}.{s}", header(r#"{"alg":"RS512"}"#))),
            ("its key as a shared secret", confused),
            ("a key of its own", format!("{}.{p}.{s}", header(r#"{"alg":"RS256","jwk":{"kty":"RSA"}}"#))),
            ("line breaks", format!("{h}.{p}.{}", s.replacen('4', "4\n", 1))),
            ("padding", format!("{h}.{p}.{s}==")),
            ("the other alphabet", format!("{h}.{p}.{}", s.replace('_', "/").replace('-', "+"))),
            ("a shorter signature", format!("{h}.{p}.{}", s.replacen("cC4h", "", 1))),
            ("a longer signature", format!("{h}.{p}.AAAA{s}")),
            ("two JWTs", format!("{h}.{p}.{s},{h}.{p}.{s}")),
        ];
        let good = format!("{h}.{p}.{s}");
        assert!(Jwt::parse(&good, Purpose::Identity).unwrap().is_signed_by(&rsa));
        for (how, text) in bent {
            let taken = Jwt::parse(&text, Purpose::Identity).is_ok_and(|jwt| jwt.is_signed_by(&rsa));
            assert!(!taken, "{how}: {text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", header in ".{0,60}", claims in ".{0,60}") {
            let _ = Jwt::parse(&text, Purpose::Grant);
            if let Ok(jwt) = Jwt::parse(&compact(&header, &claims), Purpose::Authentication) {
                let _ = (jwt.audience(), jwt.check_short_life(at(0)));
            }
        }
    }
}
