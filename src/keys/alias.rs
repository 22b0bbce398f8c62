//! Which of several keys in a keystore is meant.

use std::fmt;

use super::KeyError;

/// What the keys of a keystore are called, for a sentence. Names are no secrets; they are shortened all the same, since
/// a file may hold anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(Vec<Option<String>>);

const LONGEST_NAME: usize = 64;
const MOST_NAMES: usize = 20;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, name) in self.0.iter().take(MOST_NAMES).enumerate() {
            let comma = if position > 0 { ", " } else { "" };
            match name {
                Some(name) => {
                    let short: String = name.chars().take(LONGEST_NAME).collect();
                    write!(f, "{comma}`{}`", short.escape_debug())?;
                }
                None => write!(f, "{comma}one without a name")?,
            }
        }
        match self.0.len().checked_sub(MOST_NAMES) {
            Some(more) if more > 0 => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}

/// The position of the one that is meant by `alias`, or of the only one there is. Java tells no upper from lower case,
/// and writes the lower.
pub(super) fn choose(names: Vec<Option<String>>, alias: Option<&str>) -> Result<usize, KeyError> {
    let lower = |name: &str| name.to_lowercase();
    let fits = |name: &Option<String>| match (name, alias) {
        (_, None) => true,
        (Some(name), Some(alias)) => lower(name) == lower(alias),
        (None, Some(_)) => false,
    };
    let mut fitting = names.iter().enumerate().filter(|(_, name)| fits(name)).map(|(position, _)| position);
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(KeyError::Ambiguous(Names(names))),
        (None, _) if names.is_empty() => Err(KeyError::NoKey),
        (None, _) => Err(KeyError::UnknownAlias(Names(names))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[&str]) -> Vec<Option<String>> {
        of.iter().map(|name| (!name.is_empty()).then(|| (*name).to_owned())).collect()
    }

    #[test]
    fn the_only_key_needs_no_name_and_several_need_one() {
        assert_eq!(choose(names(&["elf"]), None), Ok(0));
        assert_eq!(choose(names(&[""]), None), Ok(0));
        assert_eq!(choose(names(&["elf", "other"]), Some("OTHER")), Ok(1));
        assert_eq!(choose(names(&["Übung"]), Some("übung")), Ok(0));
        assert_eq!(choose(names(&[]), Some("elf")), Err(KeyError::NoKey));
        let told = choose(names(&["elf", "", "a\nb"]), None).unwrap_err().to_string();
        assert_eq!(told, "there are several private keys: `elf`, one without a name, `a\\nb`");
        let told = choose(names(&["elf", "other"]), Some("third")).unwrap_err().to_string();
        assert_eq!(told, "there is no private key of this name; there is: `elf`, `other`");
        assert!(matches!(choose(names(&["elf", "ELF"]), Some("elf")), Err(KeyError::Ambiguous(_))));
    }

    #[test]
    fn a_list_of_names_is_short_whatever_they_are() {
        let many = vec![Some("x".repeat(5000)); 3000];
        let told = choose(many, None).unwrap_err().to_string();
        assert!(told.ends_with("and 2980 more") && told.len() < 2000, "{told}");
    }
}
