//! Names: what one script touches begins with one tag in braces, so that a Cluster keeps it in one slot.

use std::fmt;

use crate::hash::{hex, sha256};

/// So many hex digits of a digest tell one from all others.
const DIGITS: usize = 32;

/// Where the values of one integration stand, as one configuration has it: replicas of two generations never meet.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Place {
    tag: Tag,
    digest: [u8; 32],
}

impl Place {
    /// The place of a name, for those who have the same `digest` of everything that shapes its values.
    pub fn new(name: &str, digest: [u8; 32]) -> Self {
        Self { tag: Tag(format!("i:{name}:{}", shortened(&digest))), digest }
    }

    /// What events call it.
    pub fn tag(&self) -> &Tag {
        &self.tag
    }

    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.tag, f)
    }
}

/// The part of a name that stands in braces.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tag(String);

impl Tag {
    /// The logins of a user at a host.
    pub fn of_user(username: &str, origin: &str) -> Self {
        Self::digest('u', [username.to_lowercase().as_bytes(), origin.as_bytes()])
    }

    /// The health of a host.
    pub fn of_host(origin: &str) -> Self {
        Self::digest('h', [origin.as_bytes()])
    }

    /// The mark that an assertion was used: by who signed it, and its `jti`.
    pub fn of_assertion(who: &str, jti: &str) -> Self {
        Self::digest('j', [who.as_bytes(), jti.as_bytes()])
    }

    /// What stands in braces.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it came from the store: only what could have been made here is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b':');
        (text.len() <= LONGEST_TAG && text.starts_with("i:") && text.bytes().all(is_good))
            .then(|| Self(text.to_owned()))
    }

    /// Each part with its length, so that no two lists of parts are one text.
    fn digest<const N: usize>(kind: char, parts: [&[u8]; N]) -> Self {
        let lengths = parts.map(|part| part.len().to_string() + ":");
        let parts = lengths.iter().zip(parts).flat_map(|(length, part)| [length.as_bytes(), part]);
        Self(format!("{kind}:{}", shortened(&sha256(parts))))
    }
}

/// A kind, a name of 63 characters, and digits.
const LONGEST_TAG: usize = 2 + 63 + 1 + DIGITS;

fn shortened(digest: &[u8; 32]) -> String {
    hex(digest.get(..DIGITS / 2).unwrap_or_default())
}

/// The names below one prefix.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix }
    }

    /// `P{TAG}:what`.
    pub(super) fn below(&self, tag: &Tag, what: &str) -> String {
        format!("{}{{{}}}:{what}", self.prefix, tag.0)
    }

    /// `P{TAG}`.
    pub(super) fn of(&self, tag: &Tag) -> String {
        format!("{}{{{}}}", self.prefix, tag.0)
    }

    pub(super) fn events(&self) -> String {
        format!("{}{{events}}", self.prefix)
    }

    pub(super) fn probe(&self, replica: &str) -> String {
        format!("{}{{probe:{replica}}}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_an_integration_stands_in_one_slot_and_apart_from_another_generation() {
        let names = Names::new("aquila:".to_owned());
        let (one, other) = (Place::new("elf-prod", [1; 32]), Place::new("elf-prod", [2; 32]));
        let digits = "01".repeat(16);
        assert_eq!(names.below(one.tag(), "token"), format!("aquila:{{i:elf-prod:{digits}}}:token"));
        assert_ne!(one.tag(), other.tag());
        assert_eq!(Tag::parse(one.tag().as_str()).as_ref(), Some(one.tag()));
    }

    #[test]
    fn a_user_is_one_however_its_name_is_written_and_parts_do_not_run_into_each_other() {
        assert_eq!(Tag::of_user("Elf@Acme.example", "https://a"), Tag::of_user("elf@acme.example", "https://a"));
        assert_ne!(Tag::of_user("ab", "c"), Tag::of_user("a", "bc"));
        assert_ne!(Tag::of_assertion("ab", "c"), Tag::of_assertion("a", "bc"));
        assert!(!Tag::of_user("elf@acme.example", "https://a").as_str().contains("elf"));
    }

    #[test]
    fn a_tag_from_the_store_is_one_that_could_have_been_made_here() {
        let long = format!("i:{}", "a".repeat(LONGEST_TAG));
        for wrong in ["", "i", "u:00", "i:a}b", "i:a\nb", "i:Ä", long.as_str()] {
            assert_eq!(Tag::parse(wrong), None, "{wrong}");
        }
    }
}
