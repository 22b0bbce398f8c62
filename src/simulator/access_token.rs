//! Access tokens of Salesforce's two shapes, each plainly marked.
//!
//! What a token opens is decided by `sessions.rs`; nothing is ever read out of one. Tokens are throw-away, yet random:
//! a test that guesses one would prove nothing.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::json;

use super::admission::Admitted;
use super::org::Org;
use super::random;

/// The opaque shape: 112 characters that nobody can take for a real token.
pub(super) fn opaque(organization_id: &str) -> String {
    let head = format!("{organization_id}!AQ.SIMULATED.");
    format!("{head}{}", random::text(112_usize.saturating_sub(head.len())))
}

/// The JWT shape. Its signature is random: the simulator publishes no keys to check it with.
pub(super) fn jwt(issuer: &str, org: &Org, admitted: &Admitted, (now, ends): (Timestamp, Timestamp)) -> String {
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": "SIMULATED", "tty": "sfdc-core-token", "tnk": org.id, "ver": "1.0"});
    let claims = json!({
        "iss": issuer,
        "aud": [issuer],
        "sub": format!("uid:{}", admitted.user.id),
        "scp": admitted.scopes.join(" "),
        "client_id": admitted.app.is.client_id,
        "mty": "oauth",
        "nbf": now.as_second(),
        "iat": now.as_second(),
        "exp": ends.as_second(),
        // Two grants in one second must differ.
        "jti": random::text(16),
    });
    let encode = |part: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}.{}", encode(&header), encode(&claims), random::text(342))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_right_shape_and_says_what_it_is() {
        let token = opaque("00D5g00000SIMU1");
        assert_eq!(token.len(), 112);
        let (org, rest) = token.split_once('!').unwrap();
        assert!(org.len() == 15 && org.starts_with("00D"));
        assert!(rest.contains("SIMULATED") && rest.chars().all(|c| c.is_ascii_alphanumeric() || "._".contains(c)));
        assert_ne!(token, opaque("00D5g00000SIMU1"));
    }
}
