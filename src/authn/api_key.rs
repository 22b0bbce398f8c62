//! API keys: 256 random bits that a program can check for typing mistakes before it hashes them.
//!
//! `aquila_` + 43 characters of `A-Z a-z 0-9` + 6 characters of checksum. The checksum is the CRC-32 (IEEE 802.3) of the
//! 43 characters, in base 62 with the alphabet `0-9A-Za-z`, most significant digit first. It is no secret and no
//! signature; it lets a scanner know a leaked key from a random string, and a typo from an attack.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::hash::sha256;

/// SHA-256 of a whole key. A slow hash would add nothing: the key has 256 random bits, and a slow hash on every request
/// is a lever for whoever wants to stop the service.
pub type KeyDigest = [u8; 32];

const PREFIX: &str = "aquila_";
const RANDOM: usize = 43;
const CHECKSUM: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A key whose form and checksum are right. Its `Debug` shows nothing of it.
#[derive(Debug)]
pub struct ApiKey(SecretString);

impl ApiKey {
    /// Makes a new key. Fails only when the machine has no random numbers.
    pub fn generate() -> Result<Self, Unspecified> {
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + RANDOM + CHECKSUM));
        text.push_str(PREFIX);
        let mut random = Zeroizing::new([0_u8; 64]);
        while text.len() < PREFIX.len() + RANDOM {
            rand::fill(random.as_mut_slice())?;
            // 248 is the largest multiple of 62 in a byte: what lies above would favour the first letters.
            let unbiased = random.iter().filter(|&&byte| byte < 248);
            let letters = unbiased.filter_map(|byte| ALPHABET.get(usize::from(byte % 62)));
            let missing = PREFIX.len() + RANDOM - text.len();
            letters.take(missing).for_each(|&letter| text.push(char::from(letter)));
        }
        let checksum = checksum(text.as_bytes().get(PREFIX.len()..).unwrap_or_default());
        checksum.iter().for_each(|&letter| text.push(char::from(letter)));
        Ok(Self(SecretString::from(text.as_str())))
    }

    /// The digest of a text that has the form of a key and a checksum that fits; the text itself is not copied.
    pub fn digest_of(text: &str) -> Option<KeyDigest> {
        let rest = text.strip_prefix(PREFIX)?.as_bytes();
        let (random, found) = rest.split_at_checked(RANDOM)?;
        let fits = found.len() == CHECKSUM && rest.iter().all(u8::is_ascii_alphanumeric) && checksum(random) == found;
        fits.then(|| sha256([text.as_bytes()]))
    }

    /// What the configuration holds of it.
    pub fn digest(&self) -> KeyDigest {
        sha256([self.0.expose_secret().as_bytes()])
    }

    /// The key itself, for the one line of `new-key` and for `demo`.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

fn checksum(random: &[u8]) -> [u8; CHECKSUM] {
    let mut rest = crc32(random);
    let mut letters = [b'0'; CHECKSUM];
    for letter in letters.iter_mut().rev() {
        *letter = usize::try_from(rest % 62).ok().and_then(|digit| ALPHABET.get(digit).copied()).unwrap_or(b'0');
        rest /= 62;
    }
    letters
}

fn crc32(bytes: &[u8]) -> u32 {
    // Eight bits at a time: every request comes through here.
    static STEPS: [u32; 256] = steps();
    let step = |crc: u32| (crc >> 8) ^ STEPS.get((crc & 0xFF) as usize).copied().unwrap_or_default();
    !bytes.iter().fold(u32::MAX, |crc, byte| step(crc ^ u32::from(*byte)))
}

const fn steps() -> [u32; 256] {
    let mut steps = [0; 256];
    let mut byte: u32 = 0;
    while byte < 256 {
        let mut crc = byte;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
            bit += 1;
        }
        #[expect(clippy::indexing_slicing, reason = "evaluated when this is compiled")]
        {
            steps[byte as usize] = crc;
        }
        byte += 1;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_crc32_in_base_62() {
        // The check value of CRC-32/ISO-HDLC: 0xCBF43926 for "123456789".
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        let value = checksum(b"123456789").iter().fold(0_u64, |value, letter| {
            value * 62 + ALPHABET.iter().position(|candidate| candidate == letter).unwrap() as u64
        });
        assert_eq!(value, 0xCBF4_3926);
    }

    #[test]
    fn a_new_key_has_the_documented_form_and_no_debug() {
        let key = ApiKey::generate().unwrap();
        assert_eq!(key.expose().len(), 7 + 43 + 6);
        assert_eq!(ApiKey::digest_of(key.expose()), Some(key.digest()));
        assert!(!format!("{key:?}").contains(key.expose().get(7..20).unwrap()));
        assert_ne!(key.expose(), ApiKey::generate().unwrap().expose());
    }

    proptest! {
        #[test]
        fn one_wrong_character_is_seen(at in 7_usize..56, other in "[0-9A-Za-z]") {
            let key = ApiKey::generate().unwrap();
            let mut text = key.expose().to_owned();
            prop_assume!(text.get(at..=at) != Some(&other));
            text.replace_range(at..=at, &other);
            prop_assert!(ApiKey::digest_of(&text).is_none());
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}") {
            let _ = ApiKey::digest_of(&text);
            let _ = ApiKey::digest_of(&format!("aquila_{text}"));
        }
    }
}
