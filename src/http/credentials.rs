//! Credentials out of a request: the `Authorization` header and the form (RFC 6749 section 2.3.1, RFC 6750 section 2.1).
//!
//! HTTP Basic arrives in three encodings for the same secret; names and keys are made of characters that are the same
//! in all of them, and the form-encoded reading is tried where it differs.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, Engine};
use zeroize::Zeroizing;

use super::error::Refusal;
use super::params::Params;
use crate::authn::{ApiKey, ClientId, Credentials, OfferedJwt, OfferedKey, Role};

/// What the header and the form offer together.
///
/// Refused is a request that proves itself in two ways at once; a credential in the query is never looked at.
pub(super) fn read(headers: &HeaderMap, form: Option<&Params>) -> Result<Credentials, Refusal> {
    let header = from_header(headers)?;
    let name = form.and_then(|form| form.get("client_id"));
    let mut offered = match (header, form.map(from_form).transpose()?.flatten()) {
        (Some(_), Some(_)) => {
            return Err(Refusal::invalid_request("credentials came in the header and in the body; send one of them"));
        }
        (header, body) => header.or(body),
    };
    if let Some(Offered::Key(OfferedKey { unverified_name, .. }) | Offered::Token(OfferedJwt { unverified_name, .. })) =
        &mut offered
    {
        match (&unverified_name, name) {
            (Some(one), Some(other)) if one.as_str() != other => {
                return Err(Refusal::invalid_request("the header and client_id name different callers"));
            }
            // Without a name the credential still says whose it is.
            (None, Some(name)) => *unverified_name = Some(wiped(name)),
            _ => {}
        }
    }
    // The user of Basic is the `client_id` (RFC 6749 section 2.3.1).
    let user = offered.as_ref().and_then(|offered| match offered {
        Offered::Key(key) => key.unverified_name.as_ref().filter(|user| !user.is_empty()),
        Offered::Token(_) => None,
    });
    let unverified_client_id = name.or_else(|| user.map(|user| user.as_str())).map(|name| ClientId(wiped(name)));
    let mut credentials = Credentials { unverified_client_id, ..Credentials::default() };
    match offered {
        Some(Offered::Key(key)) => credentials.keys.push(key),
        Some(Offered::Token(token)) => credentials.tokens.push(token),
        None => {}
    }
    Ok(credentials)
}

enum Offered {
    Key(OfferedKey),
    Token(OfferedJwt),
}

/// RFC 7521 section 4.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn from_form(form: &Params) -> Result<Option<Offered>, Refusal> {
    form.once(&["client_secret", "client_assertion", "client_assertion_type"])?;
    let kind = form.get("client_assertion_type");
    match (form.get("client_secret"), form.get("client_assertion")) {
        (Some(_), Some(_)) => {
            Err(Refusal::invalid_request("client_secret and client_assertion came together; send one of them"))
        }
        (Some(secret), None) => {
            Ok(Some(Offered::Key(OfferedKey { unverified_name: None, key: ApiKey::digest_of(secret) })))
        }
        (None, Some(_)) if kind != Some(JWT_BEARER) => Err(Refusal::invalid_request(
            "client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        )),
        (None, Some(assertion)) => Ok(Some(token(assertion, Role::ClientAssertion))),
        (None, None) => Ok(None),
    }
}

fn token(text: &str, role: Role) -> Offered {
    Offered::Token(OfferedJwt { text: wiped(text), unverified_name: None, role })
}

/// Whether a bearer key came in the header, right or wrong.
pub(super) fn is_bearer(headers: &HeaderMap) -> bool {
    let text = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(' ').next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"))
}

fn from_header(headers: &HeaderMap) -> Result<Option<Offered>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Refusal::invalid_request("more than one Authorization header"));
    }
    let Some(value) = value else { return Ok(None) };
    let nothing = OfferedKey { unverified_name: None, key: None };
    let Ok(text) = value.to_str() else { return Ok(Some(Offered::Key(nothing))) };
    let (scheme, credential) = text.split_once(' ').unwrap_or((text, ""));
    let credential = credential.trim_matches(' ');
    Ok(Some(Offered::Key(match scheme {
        // An API key has no dot, a JWT has two.
        _ if scheme.eq_ignore_ascii_case("bearer") && credential.contains('.') => {
            return Ok(Some(token(credential, Role::Bearer)));
        }
        _ if scheme.eq_ignore_ascii_case("bearer") => OfferedKey { key: ApiKey::digest_of(credential), ..nothing },
        _ if scheme.eq_ignore_ascii_case("basic") => basic(credential).unwrap_or(nothing),
        _ => nothing,
    })))
}

fn basic(credential: &str) -> Option<OfferedKey> {
    let decoded = BASE64_STANDARD.decode(credential).or_else(|_| BASE64_STANDARD_NO_PAD.decode(credential));
    let decoded = Zeroizing::new(decoded.ok()?);
    // Latin-1 and UTF-8 agree on all that a name or a key may hold; the rest cannot match anyway.
    let text = std::str::from_utf8(&decoded).ok()?;
    let (name, secret) = text.split_once(':')?;
    let key = ApiKey::digest_of(secret).or_else(|| ApiKey::digest_of(&form_decoded(secret)));
    Some(OfferedKey { unverified_name: Some(form_decoded(name)), key })
}

fn wiped(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

/// The reading of RFC 6749 section 2.3.1; the same text when nothing in it is encoded.
fn form_decoded(text: &str) -> Zeroizing<String> {
    let whole = format!("x={text}");
    let decoded = url::form_urlencoded::parse(whole.as_bytes()).next().map(|(_, value)| value.into_owned());
    // `&` cannot be in a name or a key; a text that holds one is kept as it is.
    Zeroizing::new(match decoded {
        Some(decoded) if !text.contains('&') => decoded,
        _ => text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect()
    }

    fn name_and_whether_a_key(value: &str) -> (Option<String>, bool) {
        let mut credentials = read(&headers(&[value]), None).unwrap();
        let offered = credentials.keys.pop().unwrap();
        (offered.unverified_name.map(|name| name.to_string()), offered.key.is_some())
    }

    #[test]
    fn every_encoding_of_basic_is_the_same_proof() {
        let key = ApiKey::generate().unwrap();
        let encoded = key.expose().replace('_', "%5F");
        for (scheme, text) in [
            ("Basic", format!("log-shipper:{}", key.expose())),
            ("basic", format!("log-shipper:{encoded}")),
            ("BASIC", format!("log%2Dshipper:{encoded}")),
        ] {
            let value = format!("{scheme} {}", BASE64_STANDARD.encode(&text));
            assert_eq!(name_and_whether_a_key(&value), (Some("log-shipper".to_owned()), true), "{text}");
            let unpadded = format!("{scheme} {}", BASE64_STANDARD_NO_PAD.encode(&text));
            assert!(name_and_whether_a_key(&unpadded).1, "{text}");
        }
        assert_eq!(name_and_whether_a_key(&format!("bearer  {}", key.expose())), (None, true));
    }

    #[test]
    fn what_is_no_credential_is_a_failed_proof() {
        for value in ["Bearer", "Bearer x y", "Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Digest x", "x"] {
            assert!(!name_and_whether_a_key(value).1, "{value}");
        }
    }

    #[test]
    fn a_jwt_is_told_from_a_key_and_what_is_neither_is_a_failed_proof() {
        let offered = |form: &str| {
            let form = Params::parse(form.as_bytes()).unwrap();
            read(&HeaderMap::new(), Some(&form))
                .map(|it| it.tokens.first().map(|token| (token.role, token.text.clone())))
        };
        let bearer = read(&headers(&["Bearer a.b.c"]), None).unwrap();
        assert!(bearer.keys.is_empty());
        assert_eq!(bearer.tokens[0].role, Role::Bearer);
        let kind = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
        let read_one = offered(&format!("{kind}&client_assertion=a.b.c")).unwrap().unwrap();
        assert_eq!((read_one.0, read_one.1.as_str()), (Role::ClientAssertion, "a.b.c"));
        for bad in [
            "client_assertion=a.b.c".to_owned(),
            "client_assertion=a.b.c&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer"
                .to_owned(),
            format!("{kind}&client_assertion=a.b.c&client_assertion=a.b.c"),
            format!("{kind}&client_assertion=a.b.c&client_secret=x"),
        ] {
            assert!(offered(&bad).is_err(), "{bad}");
        }
        // Debug shows nothing of it.
        assert!(!format!("{bearer:?}").contains("a.b.c"));
    }

    #[test]
    fn two_ways_at_once_are_refused() {
        let form = Params::parse(b"client_id=a&client_secret=b").unwrap();
        assert!(read(&headers(&["Bearer x"]), Some(&form)).is_err());
        assert!(read(&headers(&["Bearer x", "Bearer y"]), None).is_err());
        let assertion =
            "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=a.b.c";
        let assertion = Params::parse(assertion.as_bytes()).unwrap();
        assert!(read(&headers(&["Bearer a.b.c"]), Some(&assertion)).is_err());
        let basic = format!("Basic {}", BASE64_STANDARD.encode("a:k"));
        let same = Params::parse(b"client_id=a").unwrap();
        let other = Params::parse(b"client_id=b").unwrap();
        assert!(read(&headers(&[&basic]), Some(&same)).is_ok());
        assert!(read(&headers(&[&basic]), Some(&other)).is_err());
        assert!(read(&HeaderMap::new(), None).unwrap().keys.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// Nobody but who holds a key offers one, whatever bytes come: a digest needs the form and the checksum of a key.
        #[test]
        fn no_bytes_of_a_header_or_a_form_make_it_panic_or_are_a_key(
            scheme in prop_oneof!["Bearer ", "Basic ", "basic", "", "[ -~]{0,9}"],
            rest in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80),
                "[A-Za-z0-9+/=]{0,80}".prop_map(String::into_bytes),
                "aquila_[A-Za-z0-9]{40,60}".prop_map(String::into_bytes),
                "[ -~]{0,20}:(aquila_)?[ -~]{0,60}".prop_map(|text| BASE64_STANDARD.encode(text).into_bytes()),
            ],
            form in prop_oneof!["(client_id|client_secret)=[ -~]{0,70}(&client_secret=[ -~]{0,30})?", "[ -~]{0,80}"],
            bytes in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let header = HeaderValue::from_bytes(&[scheme.as_bytes(), &rest].concat());
            let headers: HeaderMap = header.into_iter().map(|value| (AUTHORIZATION, value)).collect();
            let forms = [Params::parse(form.as_bytes()).ok(), Params::parse(&bytes).ok(), None];
            for form in &forms {
                if let Ok(credentials) = read(&headers, form.as_ref()) {
                    prop_assert!(credentials.keys.len() <= 1);
                    prop_assert!(credentials.keys.iter().all(|offered| offered.key.is_none()));
                }
            }
            let _ = is_bearer(&headers);
        }

        /// And who holds one offers it, whatever name stands before it.
        #[test]
        fn a_key_is_read_out_of_every_place_under_every_name(name in "[^:\u{0}-\u{1f}]{0,40}") {
            let key = ApiKey::generate().unwrap();
            let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{}", key.expose())));
            let offered = read(&headers(&[&basic]), None).unwrap().keys.pop().unwrap();
            prop_assert_eq!(offered.key, Some(key.digest()));
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            let form = form.append_pair("client_id", &name).append_pair("client_secret", key.expose()).finish();
            if let Ok(form) = Params::parse(form.as_bytes()) {
                let offered = read(&HeaderMap::new(), Some(&form)).unwrap().keys.pop().unwrap();
                prop_assert_eq!(offered.key, Some(key.digest()));
            }
        }
    }
}
