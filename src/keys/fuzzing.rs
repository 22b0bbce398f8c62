//! What must hold for whatever stands in a key file, as properties of bytes.

use secrecy::SecretString;

use super::{KeyError, Parsed, Signer, Unlock, parse};

/// A name and what panics for bytes that break it.
type Property = (&'static str, fn(&[u8]));

/// By the names of their folders in `fuzz/seeds`.
pub(crate) const PROPERTIES: &[Property] = &[("key-file", key_file)];

/// What the keystores among the seeds are opened with.
const PASSWORD: &str = "changeit-for-the-elf";

/// A key that opens can sign and is named by its digest; what does not open is refused with a remedy, and nothing of the
/// file is in the refusal but names of keys. With secrets and without.
fn key_file(bytes: &[u8]) {
    let password = SecretString::from(PASSWORD);
    let opened = Unlock { password: Some(&password), entry_password: None, alias: None };
    let named = Unlock { alias: Some("elf"), ..opened };
    for unlock in [Unlock::default(), opened, named] {
        match parse(bytes, &unlock) {
            Ok(Parsed { key, .. }) => {
                assert!(key.signature(b"message").is_ok_and(|signature| (256..=512).contains(&signature.len())));
                let thumbprint = key.thumbprint().as_str();
                assert!(thumbprint.len() == 64 && thumbprint.bytes().all(|byte| byte.is_ascii_hexdigit()));
            }
            Err(error) => refused(bytes, &error),
        }
    }
}

fn refused(bytes: &[u8], error: &KeyError) {
    assert!(!error.remedy("key.pem").is_empty() && !error.to_string().chars().any(char::is_control));
    let private = bytes.windows(12).filter(|window| window == b"PRIVATE KEY-").count();
    if let KeyError::Several(several) = *error {
        assert!(several >= 2 && private >= several);
    }
}
