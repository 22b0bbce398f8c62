//! Values are sealed: a reader of the store learns nothing, and a writer can plant nothing, nor move one value to another
//! place, kind or fence.
//!
//! AES-256-GCM: `version 1 byte | key id 8 bytes | nonce 12 bytes | ciphertext | tag`. What a value is for goes in as
//! associated data.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use zeroize::Zeroizing;

use super::time::Fence;
use crate::hash::sha256;

/// What a line of a file of keys begins with.
pub(super) const HEAD: &str = "aquila-seal-1:";
/// A file has no more keys: the old one, the new one, and room for a mistake.
pub(super) const MOST_KEYS: usize = 4;

const KEY_LEN: usize = 32;
const ID_LEN: usize = 8;
const VERSION: u8 = 1;
const HEADER: usize = 1 + ID_LEN + NONCE_LEN;
const TAG_LEN: usize = 16;

/// The keys of one file: the first seals, every one opens.
pub struct SealKeys {
    first: SealKey,
    others: Vec<SealKey>,
}

struct SealKey {
    id: [u8; ID_LEN],
    key: LessSafeKey,
}

/// Why a file is none of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealKeyError {
    /// No line has a key.
    #[error("there is no seal key in this file")]
    Empty,
    /// A line that is no key.
    #[error("line {0} of this file is no seal key")]
    Line(usize),
    /// The same key twice.
    #[error("line {0} of this file has a seal key that stands there before")]
    Twice(usize),
    /// More than are looked at.
    #[error("there are more than {MOST_KEYS} seal keys in this file")]
    TooMany,
}

impl SealKeyError {
    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Empty | Self::Line(_) => "write one key on a line, as `aquila new-seal-key` prints it",
            Self::Twice(_) => "remove one of the two lines",
            Self::TooMany => "remove the keys that no replica seals with any more",
        }
    }
}

/// What a value is for: it opens for nothing else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label<'a> {
    /// A word of a closed set.
    pub(super) kind: &'static str,
    /// The whole name in the store.
    pub(super) name: &'a str,
    /// Everything that shapes the value.
    pub(super) digest: &'a [u8; 32],
    /// The right by which it was written.
    pub(super) fence: Fence,
}

impl Label<'_> {
    /// Each part with its length before it, so that no two labels are the same bytes.
    fn bytes(&self) -> Vec<u8> {
        let fence = self.fence.number().to_be_bytes();
        let parts: [&[u8]; 5] =
            [b"aquila store 1", self.kind.as_bytes(), self.name.as_bytes(), self.digest, fence.as_slice()];
        let length = |part: &[u8]| u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes();
        parts.into_iter().flat_map(|part| [length(part).to_vec(), part.to_vec()]).flatten().collect()
    }
}

/// Why a value did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Its form is none of ours.
    Form,
    /// It was sealed with a key that is not known here.
    Key,
    /// It is not what was sealed, or stands in another place.
    Seal,
}

impl Unreadable {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Key => "key",
            Self::Seal => "seal",
        }
    }

    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Form => "see who else writes under store.redis.key_prefix, and which versions of this service run",
            Self::Key => "give all replicas the same seal keys; add a new one to all before one seals with it",
            Self::Seal => "see who else can write to this Redis: the value was changed, or moved from another place",
        }
    }
}

impl SealKeys {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// The first line that is none, by its number.
    pub fn parse(text: &str) -> Result<Self, SealKeyError> {
        let mut keys: Vec<SealKey> = Vec::new();
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = SealKey::parse(line).ok_or(SealKeyError::Line(number))?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(SealKeyError::Twice(number));
            }
            keys.push(key);
            if keys.len() > MOST_KEYS {
                return Err(SealKeyError::TooMany);
            }
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or(SealKeyError::Empty)?;
        Ok(Self { first, others: keys.collect() })
    }

    /// A line for a file: a new key. Nothing if this machine gives no random numbers.
    pub fn generate() -> Option<Zeroizing<String>> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        rand::fill(key.as_mut_slice()).ok()?;
        let encoded = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(key.as_slice()));
        Some(Zeroizing::new(format!("{HEAD}{}", encoded.as_str())))
    }

    /// Seals. Nothing if this machine gives no random numbers.
    pub(super) fn seal(&self, label: &Label<'_>, content: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        // Room for all of it at once: what grows leaves copies of the content behind.
        let mut sealed = Zeroizing::new(Vec::with_capacity(content.len() + TAG_LEN));
        sealed.extend_from_slice(content);
        let (aad, unique) = (Aad::from(label.bytes()), Nonce::assume_unique_for_key(nonce));
        self.first.key.seal_in_place_append_tag(unique, aad, &mut *sealed).ok()?;
        Some([[VERSION].as_slice(), &self.first.id, &nonce, &sealed].concat())
    }

    /// Opens what was sealed with one of the keys for the same label.
    pub(super) fn open(&self, label: &Label<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        let (header, body) = sealed.split_at_checked(HEADER).ok_or(Unreadable::Form)?;
        let (version, rest) = header.split_first().ok_or(Unreadable::Form)?;
        let (id, nonce) = rest.split_at_checked(ID_LEN).ok_or(Unreadable::Form)?;
        if *version != VERSION || body.len() < TAG_LEN {
            return Err(Unreadable::Form);
        }
        let mut all = std::iter::once(&self.first).chain(&self.others);
        let key = all.find(|key| key.id == id).ok_or(Unreadable::Key)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unreadable::Form)?;
        let mut content = Zeroizing::new(body.to_vec());
        let opened = key.key.open_in_place(nonce, Aad::from(label.bytes()), &mut content);
        let length = opened.map_err(|_| Unreadable::Seal)?.len();
        content.truncate(length);
        Ok(content)
    }
}

impl SealKey {
    fn parse(line: &str) -> Option<Self> {
        let encoded = line.strip_prefix(HEAD)?;
        let bytes = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?);
        if bytes.len() != KEY_LEN {
            return None;
        }
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).ok()?);
        let mut id = [0; ID_LEN];
        id.iter_mut().zip(sha256([bytes.as_slice()])).for_each(|(to, from)| *to = from);
        Some(Self { id, key })
    }
}

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKeys({})", 1 + self.others.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(lines: &[&str]) -> SealKeys {
        SealKeys::parse(&lines.join("\n")).unwrap()
    }

    fn label(fence: u64) -> Label<'static> {
        Label { kind: "token", name: "aquila:{i:elf-prod:00}:token", digest: &[7; 32], fence: Fence::new(fence) }
    }

    #[test]
    fn what_was_sealed_opens_for_the_same_label_and_shows_nothing() {
        let line = SealKeys::generate().unwrap();
        let keys = keys(&[&line]);
        let sealed = keys.seal(&label(5), b"canary").unwrap();
        assert_eq!(keys.open(&label(5), &sealed).unwrap().as_slice(), b"canary");
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert_ne!(sealed, keys.seal(&label(5), b"canary").unwrap(), "a nonce came twice");
        assert!(!format!("{keys:?}").contains(line.strip_prefix(HEAD).unwrap()));
    }

    #[test]
    fn it_opens_for_no_other_kind_name_digest_or_fence() {
        let keys = keys(&[&SealKeys::generate().unwrap()]);
        let sealed = keys.seal(&label(5), b"canary").unwrap();
        let others = [
            Label { kind: "dropped", ..label(5) },
            Label { name: "aquila:{i:elf-test:00}:token", ..label(5) },
            Label { digest: &[8; 32], ..label(5) },
            label(6),
        ];
        for other in others {
            assert_eq!(keys.open(&other, &sealed).unwrap_err(), Unreadable::Seal, "{other:?}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let keys = keys(&[&SealKeys::generate().unwrap()]);
        let sealed = keys.seal(&label(5), b"canary").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            *changed.get_mut(bit / 8).unwrap() ^= 1 << (bit % 8);
            assert!(keys.open(&label(5), &changed).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(keys.open(&label(5), sealed.get(..length).unwrap()).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_key_is_changed_without_a_gap() {
        let (old, new) = (SealKeys::generate().unwrap(), SealKeys::generate().unwrap());
        let steps = [keys(&[&old]), keys(&[&old, &new]), keys(&[&new, &old]), keys(&[&new])];
        for pair in steps.windows(2) {
            let [before, after] = pair else { panic!("two") };
            for (writer, reader) in [(before, after), (after, before)] {
                let sealed = writer.seal(&label(5), b"canary").unwrap();
                assert!(reader.open(&label(5), &sealed).is_ok(), "{writer:?} {reader:?}");
            }
        }
        let sealed = keys(&[&new]).seal(&label(5), b"canary").unwrap();
        assert_eq!(keys(&[&old]).open(&label(5), &sealed).unwrap_err(), Unreadable::Key);
    }

    #[test]
    fn a_file_of_keys_has_comments_and_every_mistake_is_told_by_its_line() {
        let all: Vec<_> = (0..5).map(|_| SealKeys::generate().unwrap()).collect();
        let [one, two, ..] = all.as_slice() else { panic!("five") };
        let text = format!("# of last year\r\n{}\r\n\n  {}  \n", one.as_str(), two.as_str());
        assert_eq!(format!("{:?}", SealKeys::parse(&text).unwrap()), "SealKeys(2)");
        let many = all.iter().map(|key| key.as_str()).collect::<Vec<_>>().join("\n");
        let short = format!("{}AAAA", HEAD);
        let cases = [
            ("# none\n".to_owned(), SealKeyError::Empty),
            (format!("{}\nhunter2", one.as_str()), SealKeyError::Line(2)),
            (short, SealKeyError::Line(1)),
            (format!("{0}\n\n{0}", one.as_str()), SealKeyError::Twice(3)),
            (many, SealKeyError::TooMany),
        ];
        for (text, error) in cases {
            assert_eq!(SealKeys::parse(&text).unwrap_err(), error);
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_from_the_store_is_refused_and_breaks_nothing(bytes: Vec<u8>) {
            let keys = keys(&[&SealKeys::generate().unwrap()]);
            prop_assert!(keys.open(&label(5), &bytes).is_err());
        }
    }
}
