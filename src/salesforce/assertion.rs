//! The assertion: a JWT that says who asks for whom (RFC 7523 section 2.1). Pure; the signature comes from elsewhere.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use jiff::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

/// How far ahead `exp` lies, in seconds. Salesforce asks for at most 180; what is kept back is for a clock of ours that
/// runs ahead.
const LIFE: i64 = 150;

/// The claims that Salesforce reads ("OAuth 2.0 JWT Bearer Flow" in Salesforce Help), in the order of its example.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Claims<'a> {
    /// The consumer key of the app.
    pub(super) iss: &'a str,
    /// The username of the integration user.
    pub(super) sub: &'a str,
    /// The authorization server, as it wants to be named.
    pub(super) aud: &'a str,
    /// When the assertion ends, in Unix seconds.
    pub(super) exp: i64,
    /// New on every attempt: Salesforce refuses one that it has seen.
    pub(super) jti: &'a str,
}

impl Claims<'_> {
    /// `exp` for an assertion made now.
    pub(super) fn exp(now: Timestamp) -> i64 {
        now.as_second() + LIFE
    }
}

/// What is signed: header and claims, each base64url without padding, joined by a dot (RFC 7515 section 5.1).
pub(super) fn signing_input(claims: &Claims<'_>) -> String {
    let payload = serde_json::to_vec(claims).unwrap_or_default();
    signing_input_of(&payload)
}

fn signing_input_of(payload: &[u8]) -> String {
    // RS256 is the only algorithm that Salesforce takes, and `alg` the only member that its documentation shows.
    let header = BASE64_URL_SAFE_NO_PAD.encode(br#"{"alg":"RS256"}"#);
    format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(payload))
}

/// The whole assertion in compact form. It is as good as a password until `exp`, hence the wrapping.
pub(super) fn compact(signing_input: &str, signature: &[u8]) -> Zeroizing<String> {
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
    Zeroizing::new(format!("{signing_input}.{signature}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{self, Unlock};

    /// RFC 7515 appendix A.2: its payload and its key, turned from JWK to PKCS#1 PEM.
    #[test]
    fn the_vector_of_rfc_7515_a_2_comes_out_byte_for_byte() {
        let payload = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
        let input = signing_input_of(payload.as_bytes());
        assert_eq!(
            input,
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        );
        let key = keys::parse(include_bytes!("../../tests/fixtures/rfc7515-a2.pem"), &Unlock::default()).unwrap().key;
        let assertion = compact(&input, &key.signature(input.as_bytes()).unwrap());
        let expected = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7\
                        AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4\
                        BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K\
                        0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv\
                        hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB\
                        p0igcN_IoypGlUPQGe77Rw";
        assert_eq!(assertion.rsplit('.').next().unwrap(), expected);
    }

    #[test]
    fn the_claims_are_the_five_that_salesforce_reads() {
        let claims =
            Claims { iss: "3MVG9", sub: "elf@acme.example", aud: "https://login.salesforce.com", exp: 7, jti: "n" };
        let input = signing_input(&claims);
        let payload = BASE64_URL_SAFE_NO_PAD.decode(input.rsplit('.').next().unwrap()).unwrap();
        assert_eq!(
            String::from_utf8(payload).unwrap(),
            r#"{"iss":"3MVG9","sub":"elf@acme.example","aud":"https://login.salesforce.com","exp":7,"jti":"n"}"#
        );
    }

    #[test]
    fn exp_is_never_more_than_three_minutes_ahead() {
        let now = Timestamp::new(1_700_000_000, 999_999_999).unwrap();
        let ahead = Claims::exp(now) - 1_700_000_000;
        assert!(ahead > 60 && ahead <= 180, "{ahead}");
    }
}
