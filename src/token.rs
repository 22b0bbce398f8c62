//! The access token: a value that can be handed to its rightful caller and to Salesforce, and to nobody else.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::hash::{ShortHex, sha256, short_hex};

/// A Salesforce access token. It has no `Display`, its `Debug` shows the fingerprint, and it is wiped on drop.
pub struct AccessToken {
    text: SecretString,
    digest: [u8; 32],
}

/// The first 16 hex digits of a token's SHA-256: enough to find out who received a leaked token, useless for a login.
/// `printf %s "$TOKEN" | sha256sum | cut -c1-16` gives the same.
pub type Fingerprint = ShortHex;

/// Salesforce's tokens have some hundred characters, JWT-format ones a few thousand.
const MAX_LENGTH: usize = 16 * 1024;

impl AccessToken {
    /// Takes a token as Salesforce sent it.
    ///
    /// `None` for what could never go into an `Authorization` header: empty, longer than 16 KiB, or with anything but
    /// visible ASCII.
    pub fn parse(text: String) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= MAX_LENGTH && text.bytes().all(|byte| byte.is_ascii_graphic());
        // Wrapped first, so that a refused text is wiped as well.
        let text = SecretString::from(text);
        if !fits {
            return None;
        }
        let digest = sha256([text.expose_secret().as_bytes()]);
        Some(Self { text, digest })
    }

    /// The token itself: for the answer to its caller and for the `Authorization` header to Salesforce.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// Its SHA-256, for telling whether another text is the same token.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// What may be written down of it.
    pub fn fingerprint(&self) -> Fingerprint {
        short_hex(&self.digest)
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessToken({})", self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_what_sha256sum_prints() {
        // printf %s abc | sha256sum
        assert_eq!(AccessToken::parse("abc".to_owned()).unwrap().fingerprint().as_str(), "ba7816bf8f01cfea");
    }

    #[test]
    fn a_token_never_prints_itself() {
        let token = AccessToken::parse("00Dxx0000001gPL!AR8AQJXg5oj8jXSgx".to_owned()).unwrap();
        let shown = format!("{token:?}");
        assert!(!shown.contains("AR8AQJ") && shown.contains(&token.fingerprint().to_string()), "{shown}");
    }

    #[test]
    fn what_cannot_be_a_header_value_is_no_token() {
        for bad in ["", "a b", "a\r\nX: y", "a\u{7f}", "é", "a\0b", &"x".repeat(MAX_LENGTH + 1)] {
            assert!(AccessToken::parse(bad.to_owned()).is_none(), "{bad:?}");
        }
    }
}
