//! The order in which Salesforce judges an assertion, and what each failure is answered with.
//!
//! Supported by evidence is only that the audience is judged before the app's presence and approval after the app is
//! found; the rest of the order is a guess, which is why every row can also be forced (`faults.rs`). This half needs no
//! memory and is a pure function of its arguments; replay and login rate, which need some, are in `admission.rs`.

use jiff::Timestamp;
use serde_json::Value;

use super::assertion::UnverifiedAssertion;
use super::hosts::Place;
use super::org::{Org, RegisteredApp};
use super::rows::TokenRow;
use super::switches::Switches;

/// All that an assertion is judged against.
pub(super) struct Court<'a> {
    pub(super) org: &'a Org,
    pub(super) switches: &'a Switches,
    /// Where the assertion was handed in.
    pub(super) place: &'a Place,
    pub(super) now: Timestamp,
}

/// What the signature vouches for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) client_id: String,
    pub(super) username: String,
    pub(super) jti: Option<String>,
    /// The last moment at which this assertion would be taken again, in seconds since 1970.
    pub(super) usable_until: i64,
}

impl Court<'_> {
    pub(super) fn verify(&self, assertion: &UnverifiedAssertion) -> Result<Verified, TokenRow> {
        let malformed = TokenRow::InvalidAssertion;
        let issuer = assertion.issuer().ok_or(malformed)?;
        let subject = assertion.subject().ok_or(malformed)?;
        let audience = assertion.audience().ok_or(malformed)?;
        let expires = assertion.seconds("exp").ok_or(malformed)?;

        if !self.accepts_audience(audience) {
            return Err(TokenRow::AudienceIsInvalid);
        }
        let app = self.org.app(issuer).ok_or(TokenRow::ClientIdentifierInvalid)?;
        if !self.place.finds(app) {
            return Err(TokenRow::AppNotFound);
        }
        if !self.trusts(app) || !assertion.is_signed_by(&app.certificate(self.now).key) {
            return Err(TokenRow::InvalidAssertion);
        }
        let usable_until = self.judge_times(assertion, expires)?;
        Ok(Verified {
            client_id: app.is.client_id.clone(),
            username: subject.to_owned(),
            jti: assertion.jti().map(str::to_owned),
            usable_until,
        })
    }

    fn trusts(&self, app: &RegisteredApp) -> bool {
        self.switches.expired_certificate_accepted || self.now < app.certificate(self.now).ends
    }

    fn judge_times(&self, assertion: &UnverifiedAssertion, expires: i64) -> Result<i64, TokenRow> {
        let now = self.now.as_second();
        let usable_until = expires.saturating_add_unsigned(self.switches.exp_leeway_seconds);
        if now >= usable_until {
            return Err(TokenRow::ExpiredAuthorizationCode);
        }
        let bound = self.switches.exp_upper_bound_seconds;
        if bound.is_some_and(|bound| expires > now.saturating_add_unsigned(bound)) {
            return Err(TokenRow::InvalidAssertion);
        }
        if self.switches.nbf_checked && assertion.seconds("nbf").is_some_and(|not_before| not_before > now) {
            return Err(TokenRow::InvalidAssertion);
        }
        Ok(usable_until)
    }

    fn accepts_audience(&self, audience: &Value) -> bool {
        match audience {
            Value::String(text) => self.accepts_audience_text(text),
            Value::Array(many) if self.switches.aud_array_accepted => {
                many.iter().filter_map(Value::as_str).any(|text| self.accepts_audience_text(text))
            }
            _ => false,
        }
    }

    fn accepts_audience_text(&self, text: &str) -> bool {
        let mut host = text;
        if self.switches.aud_token_url_accepted {
            host = host.strip_suffix("/services/oauth2/token").unwrap_or(host);
        }
        if self.switches.aud_trailing_slash_accepted && host == text {
            host = host.strip_suffix('/').unwrap_or(host);
        }
        self.place.is_own_audience(host, self.switches) || self.place.audiences.iter().any(|accepted| accepted == host)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::{BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde_json::json;

    use super::super::settings::App;
    use super::super::testing::{self, CLIENT_ID, Pair};
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const OWN: &str = "http://127.0.0.1:8081";

    fn judge(switches: &Switches, assertion: &str) -> Result<Verified, TokenRow> {
        let mut org = Org::new("00D5g00000SIMU1");
        org.put_app(testing::app()).unwrap();
        let gone = App { installed: false, ..App::new("gone", Pair::registered().certificate_pem.as_bytes()) };
        org.put_app(gone).unwrap();
        let place = Place::plain(OWN, vec!["https://login.salesforce.com".to_owned()]);
        let now = Timestamp::from_second(NOW).unwrap();
        let court = Court { org: &org, switches, place: &place, now };
        court.verify(&UnverifiedAssertion::parse(assertion).ok_or(TokenRow::InvalidAssertion)?)
    }

    fn with(changes: Value) -> Value {
        let mut claims = testing::claims(NOW);
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        claims
    }

    fn switched(name: &str, value: &str) -> Switches {
        Switches::default().with(name, value).unwrap()
    }

    #[test]
    fn claims_are_judged_one_by_one() {
        use TokenRow as Row;
        for (changes, expected) in [
            (json!({}), Ok(())),
            (json!({"exp": (NOW + 60).to_string()}), Ok(())),
            (json!({"exp": (NOW + 60) * 1000}), Ok(())),
            (json!({"iat": NOW, "nbf": NOW + 50, "scope": "api", "unknown": {"a": 1}}), Ok(())),
            (json!({"sub": null, "prn": testing::USERNAME}), Ok(())),
            (json!({"aud": OWN}), Ok(())),
            (json!({"aud": "https://login.salesforce.com/services/oauth2/token"}), Ok(())),
            (json!({"iss": null}), Err(Row::InvalidAssertion)),
            (json!({"sub": null}), Err(Row::InvalidAssertion)),
            (json!({"sub": ""}), Err(Row::InvalidAssertion)),
            (json!({"aud": null}), Err(Row::InvalidAssertion)),
            (json!({"exp": null}), Err(Row::InvalidAssertion)),
            (json!({"exp": "soon"}), Err(Row::InvalidAssertion)),
            (json!({"aud": "https://example.com"}), Err(Row::AudienceIsInvalid)),
            (json!({"aud": "https://login.salesforce.com/"}), Err(Row::AudienceIsInvalid)),
            (json!({"aud": ["https://login.salesforce.com"]}), Err(Row::AudienceIsInvalid)),
            (json!({"aud": "https://example.com", "iss": "nobody", "exp": 1}), Err(Row::AudienceIsInvalid)),
            (json!({"iss": "nobody", "exp": 1}), Err(Row::ClientIdentifierInvalid)),
            (json!({"iss": "gone", "exp": 1}), Err(Row::AppNotFound)),
            (json!({"exp": NOW}), Err(Row::ExpiredAuthorizationCode)),
            (json!({"exp": NOW - 1}), Err(Row::ExpiredAuthorizationCode)),
            (json!({"exp": NOW + 1}), Ok(())),
        ] {
            let verdict = judge(&Switches::default(), &Pair::registered().sign(&with(changes.clone())));
            assert_eq!(verdict.map(|_| ()), expected, "{changes}");
        }
    }

    #[test]
    fn each_switch_turns_its_answer_round() {
        for (name, value, changes) in [
            ("exp_upper_bound_seconds", "180", json!({"exp": NOW + 181})),
            ("exp_leeway_seconds", "180", json!({"exp": NOW - 179})),
            ("nbf_checked", "true", json!({"nbf": NOW + 1})),
            ("aud_trailing_slash_accepted", "true", json!({"aud": "https://login.salesforce.com/"})),
            ("aud_array_accepted", "true", json!({"aud": ["https://login.salesforce.com"]})),
            ("aud_own_url_accepted", "false", json!({"aud": OWN})),
            ("aud_token_url_accepted", "false", json!({"aud": "https://login.salesforce.com/services/oauth2/token"})),
        ] {
            let assertion = Pair::registered().sign(&with(changes));
            let usual = judge(&Switches::default(), &assertion).is_ok();
            assert_eq!(judge(&switched(name, value), &assertion).is_ok(), !usual, "{name}");
        }
        let at_the_bound = Pair::registered().sign(&with(json!({"exp": NOW + 180})));
        assert!(judge(&switched("exp_upper_bound_seconds", "180"), &at_the_bound).is_ok());
        let after_the_leeway = Pair::registered().sign(&with(json!({"exp": NOW - 180})));
        let verdict = judge(&switched("exp_leeway_seconds", "180"), &after_the_leeway);
        assert_eq!(verdict, Err(TokenRow::ExpiredAuthorizationCode));
    }

    #[test]
    fn nothing_but_rs256_by_the_registered_key_is_believed() {
        let (pair, claims) = (Pair::registered(), testing::claims(NOW));
        let honest = pair.sign(&claims);
        let (signed, signature) = honest.rsplit_once('.').unwrap();
        let payload = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
        let header = |alg: &str| BASE64_URL_SAFE_NO_PAD.encode(json!({"alg": alg}).to_string());
        let hmac = EncodingKey::from_secret(pair.public_key_pem().as_bytes());
        let ec = rcgen::KeyPair::generate().unwrap();
        let ec = EncodingKey::from_ec_pem(ec.serialize_pem().as_bytes()).unwrap();
        let encode = |alg, key: &EncodingKey| jsonwebtoken::encode(&Header::new(alg), &claims, key).unwrap();
        let tampered = BASE64_URL_SAFE_NO_PAD.encode(with(json!({"sub": "admin@example.com"})).to_string());
        let relabelled = format!("{}.{payload}", header("RS512"));
        for (what, assertion) in [
            ("no algorithm", format!("{}.{payload}.", header("none"))),
            ("no algorithm but a signature", format!("{}.{payload}.{signature}", header("none"))),
            ("HMAC with the public key", encode(Algorithm::HS256, &hmac)),
            ("an elliptic curve", encode(Algorithm::ES256, &ec)),
            ("another RSA algorithm's name", format!("{relabelled}.{}", pair.sign_raw(&relabelled))),
            ("a tampered payload", format!("{}.{tampered}.{signature}", signed.split_once('.').unwrap().0)),
            ("a stranger's key", Pair::stranger().sign(&claims)),
            ("no signature", format!("{signed}.")),
            ("half a signature", format!("{signed}.{}", signature.split_at(100).0)),
        ] {
            assert_eq!(judge(&Switches::default(), &assertion), Err(TokenRow::InvalidAssertion), "{what}");
        }
    }

    #[test]
    fn padded_segments_are_verified_as_they_were_sent() {
        let claims = with(json!({"jti": "1"})).to_string();
        let header = r#"{"alg":"RS256","kid":"ignored","typ":"JWT"}"#;
        let signed = format!("{}.{}", BASE64_URL_SAFE.encode(header), BASE64_URL_SAFE.encode(claims));
        let signature = Pair::registered().sign_raw(&signed);
        for assertion in [format!("{signed}.{signature}"), format!("{signed}.{signature}==")] {
            let verified = judge(&Switches::default(), &assertion).unwrap();
            assert_eq!((verified.client_id.as_str(), verified.jti.as_deref()), (CLIENT_ID, Some("1")));
            assert_eq!(verified.usable_until, NOW + 120);
        }
    }

    #[test]
    fn an_expired_certificate_counts_only_by_its_switch() {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let mut org = Org::new("00D5g00000SIMU1");
        org.put_app(App::new("old", params.self_signed(&key).unwrap().der().to_vec())).unwrap();
        let now = Timestamp::from_second(NOW).unwrap();
        let place = Place::plain(OWN, Vec::new());
        let strict = switched("expired_certificate_accepted", "false");
        let trusted = |switches| Court { org: &org, switches, place: &place, now }.trusts(org.app("old").unwrap());
        assert_eq!((trusted(&Switches::default()), trusted(&strict)), (true, false));
    }
}
