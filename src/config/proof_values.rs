//! The types of settings about proofs: issuers, claims, keys. None of them repeats a text that could be a secret.

use serde_json::{Value, json};
use url::Url;

use super::document::{Content, Node};
use super::report::{Located, Report};
use super::setting::{Setting, entries, value_at};
use super::urls;
use super::values::text;
use crate::names::{IssuerName, NAME_RULE, SubjectPattern};
use crate::signature::Algorithm;

impl Setting for IssuerName {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let name = text(at, "cluster-a", report)?.parse().ok();
        if name.is_none() {
            report.error(at, "expected the name of an issuer", format!("a name has {NAME_RULE}"));
        }
        name
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$"})
    }
}

impl Setting for SubjectPattern {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let pattern = text(at, "system:serviceaccount:logs:*", report)?.parse().ok();
        if pattern.is_none() {
            let remedy = "write the whole `sub`; `*` in it stands for any characters";
            report.error(at, "expected a subject of 1 to 512 characters", remedy);
        }
        pattern
    }

    fn schema() -> Value {
        json!({"type": "string", "minLength": 1, "maxLength": 512})
    }
}

impl Setting for Algorithm {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let algorithm = text(at, "RS256", report)?.parse().ok();
        if algorithm.is_none() {
            let remedy = "write RS256, PS256, ES256, ES384 or EdDSA; shared secrets (HS256) and `none` are never taken";
            report.error(at, "expected an algorithm", remedy);
        }
        algorithm
    }

    fn schema() -> Value {
        json!({"enum": Self::ALL.map(Self::as_str)})
    }
}

/// A text that is compared byte for byte.
#[derive(Debug)]
pub(super) struct IssuerText(pub(super) String);

impl Setting for IssuerText {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let text = text(at, "https://issuer.example", report)?;
        if text.is_empty() || text.len() > 512 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let remedy = "write it as the tokens have it, like \"https://issuer.example\"";
            report.error(at, "expected 1 to 512 printable ASCII characters without spaces", remedy);
            return None;
        }
        Some(Self(text.to_owned()))
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^[!-~]{1,512}$"})
    }
}

/// Where a key set is: https, or plain to this machine.
#[derive(Debug)]
pub(super) struct KeyUrl(pub(super) Url);

impl Setting for KeyUrl {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let example = "https://issuer.example/keys";
        urls::protected(at, text(at, example, report)?, example, report).map(Self)
    }

    fn schema() -> Value {
        urls::schema("An https URL (plain http to loopback only) without user, query and fragment.")
    }
}

/// Name of a namespace or a service account.
#[derive(Debug)]
pub(super) struct KubernetesName(pub(super) String);

impl Setting for KubernetesName {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let text = text(at, "filebeat", report)?;
        // RFC 1123 subdomains: without a colon or a star in one, nobody's `sub` can pass for another's.
        let own = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        if text.is_empty() || text.len() > 253 || !text.bytes().all(own) {
            let remedy = "write it as `kubectl` shows it; for a pattern take `jwt` with `sub`";
            report.error(at, "expected the name of a namespace or service account", remedy);
            return None;
        }
        Some(Self(text.to_owned()))
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^[a-z0-9.-]{1,253}$"})
    }
}

/// Claims and the values that they must have.
#[derive(Debug)]
pub(super) struct Claims(pub(super) Vec<(String, Value)>);

/// These have settings of their own, or are dates.
const OWN: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

impl Setting for Claims {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let mut claims = Vec::new();
        for entry in entries(at, report)? {
            let at = value_at(at, entry);
            if OWN.contains(&entry.key.as_str()) {
                let remedy = "iss and aud are settings of the issuer, sub is one of the rule; dates are always checked";
                report.error(&at, "this claim is not for a rule", remedy);
                continue;
            }
            let value = match &at.value.content {
                Content::Text(text) => Value::from(text.as_str()),
                Content::Boolean(flag) => Value::from(*flag),
                Content::Integer(number) => json!(number),
                other => {
                    let message = format!("expected text, a whole number or true or false, found {}", other.kind());
                    report.error(&at, message, "write the value that the claim must have");
                    continue;
                }
            };
            claims.push((entry.key.clone(), value));
        }
        Some(Self(claims))
    }

    fn schema() -> Value {
        json!({"type": "object", "additionalProperties": {"type": ["string", "integer", "boolean"]}})
    }
}

/// One of a kind, or a list of them: a change without a gap needs two.
#[derive(Debug)]
pub(super) struct OneOrSeveral<T>(pub(super) Vec<T>);

impl<T: Setting> Setting for OneOrSeveral<T> {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        match at.value.content {
            Content::List(_) => Vec::read(at, report).map(Self),
            _ => T::read(at, report).map(|one| Self(vec![one])),
        }
    }

    fn schema() -> Value {
        json!({"oneOf": [T::schema(), {"type": "array", "items": T::schema()}]})
    }
}
