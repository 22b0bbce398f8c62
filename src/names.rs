//! Names of integrations and callers, and the patterns that select them.
//!
//! Parsed once, at the edge; a value of these types is always valid. A name that a request sends is looked up as text
//! and never becomes one of these types, so nothing from a request can end up as a metric label.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The rule both kinds of name follow, as it is told to people.
pub const NAME_RULE: &str = "1 to 63 characters: lower-case letters, digits and `-`, starting with a letter or a digit";

/// What is wrong with a name or a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not the form that [`NAME_RULE`] tells.
    #[error("a name has {NAME_RULE}")]
    Form,
    /// A pattern with characters that no name can hold.
    #[error("a pattern is a name in which `*` may stand for any run of characters")]
    Pattern,
}

macro_rules! name {
    ($(#[$doc:meta])* $Name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $Name(Arc<str>);

        impl $Name {
            /// The name as it stands in the configuration.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $Name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                if is_name(text) { Ok(Self(Arc::from(text))) } else { Err(NameError::Form) }
            }
        }

        impl Borrow<str> for $Name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// One Salesforce integration user, reached through one app in one org.
    IntegrationName
}
name! {
    /// One internal service that may ask for tokens.
    CallerName
}
name! {
    /// One who signs JWTs that say who somebody is.
    IssuerName
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let starts_well = bytes.first().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    starts_well && bytes.len() <= 63 && bytes.iter().all(|&b| is_name_byte(b))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

/// A name, or a name with `*` for any run of characters (also none). It is matched against the whole name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IntegrationPattern(Arc<str>);

impl IntegrationPattern {
    /// The pattern as it stands in the configuration.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one name that it can match, when it holds no `*`.
    pub fn literal(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&*self.0)
    }

    /// Whether the whole of `name` fits.
    pub fn matches(&self, name: &str) -> bool {
        fits(&self.0, name)
    }
}

/// Whether `*` in the pattern can stand for something that makes it the whole of `text`.
fn fits(pattern: &str, text: &str) -> bool {
    // Greedy with one point of return: linear in practice, and never worse than pattern × text, both of which come from
    // the configuration or are bounded.
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(byte) if Some(byte) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    p = star + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|&byte| byte == b'*')
}

/// The `sub` of JWTs: a text, or a text with `*` for any run of characters (also none). It is matched against the whole,
/// byte for byte: no case, no normal form of Unicode.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SubjectPattern(Arc<str>);

impl SubjectPattern {
    /// The pattern as it stands in the configuration.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one subject that it can match, when it holds no `*`.
    pub fn literal(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&*self.0)
    }

    /// Whether it matches every subject.
    pub fn is_everybody(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether the whole of `subject` fits.
    pub fn matches(&self, subject: &str) -> bool {
        fits(&self.0, subject)
    }
}

impl FromStr for SubjectPattern {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = !text.is_empty() && text.len() <= 512 && !text.chars().any(char::is_control);
        if fits { Ok(Self(Arc::from(text))) } else { Err(NameError::Pattern) }
    }
}

impl FromStr for IntegrationPattern {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = !text.is_empty() && text.len() <= 128 && text.bytes().all(|b| is_name_byte(b) || b == b'*');
        if !fits || (!text.contains('*') && !is_name(text)) {
            return Err(NameError::Pattern);
        }
        Ok(Self(Arc::from(text)))
    }
}

impl fmt::Display for IntegrationPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IntegrationPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_lower_case_and_short() {
        for good in ["a", "0", "elf-prod", "a-", &"x".repeat(63)] {
            assert!(good.parse::<IntegrationName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a.b", "a b", "é", "a*", &"x".repeat(64)] {
            assert!(bad.parse::<CallerName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_matches_the_whole_name() {
        let cases = [
            ("elf-*", "elf-prod", true),
            ("elf-*", "elf-", true),
            ("elf-*", "xelf-prod", false),
            ("*", "anything", true),
            ("*-prod", "elf-prod", true),
            ("*-prod", "elf-prod-eu", false),
            ("a*b*c", "axbxb", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "axbxbc", true),
            ("elf", "elf", true),
            ("elf", "elf-prod", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(pattern.parse::<IntegrationPattern>().unwrap().matches(name), expected, "{pattern} {name}");
        }
    }

    proptest! {
        /// The textbook recursive definition, held against the loop.
        #[test]
        fn a_pattern_agrees_with_its_definition(pattern in "[ab*]{1,8}", name in "[ab]{0,10}") {
            fn defined(pattern: &[u8], name: &[u8]) -> bool {
                match (pattern.split_first(), name.split_first()) {
                    (None, None) => true,
                    (Some((b'*', rest)), _) =>
                        defined(rest, name) || name.split_first().is_some_and(|(_, tail)| defined(pattern, tail)),
                    (Some((p, ps)), Some((n, ns))) => p == n && defined(ps, ns),
                    _ => false,
                }
            }
            let parsed = pattern.parse::<IntegrationPattern>().unwrap();
            prop_assert_eq!(parsed.matches(&name), defined(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
