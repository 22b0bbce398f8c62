//! What of a file may be repeated in a message: names of settings and a few harmless kinds of value, and even these
//! only when they are short and do not look like a key.

use std::borrow::Cow;
use std::path::Path;

use url::Url;

use super::hosts;

/// What is shorter has too little in it to be worth hiding.
const SHORTEST_SECRET: usize = 16;
const LONGEST_KEY: usize = 63;
const LONGEST_VALUE: usize = 40;

/// The name of a setting as it stands in a dotted path.
pub fn key(key: &str) -> Cow<'_, str> {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if looks_secret(key) || key.len() > LONGEST_KEY {
        Cow::Borrowed("(not shown)")
    } else if bare {
        Cow::Borrowed(key)
    } else {
        Cow::Owned(format!("\"{}\"", key.escape_debug()))
    }
}

/// A value of a kind that is no secret (a duration, an address, a word of a list), for use in a sentence.
pub(super) fn value(text: &str) -> Cow<'_, str> {
    let printable = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if text.is_empty() {
        Cow::Borrowed("an empty text")
    } else if text.len() > LONGEST_VALUE || !printable || looks_secret(text) {
        Cow::Borrowed("this text")
    } else {
        Cow::Owned(format!("`{text}`"))
    }
}

/// A path of a file, unless somebody pasted a secret where a path belongs: keys are longer than names of files.
pub fn path(path: &Path) -> Cow<'_, str> {
    const LONGEST_NAME: usize = 64;
    let Some(text) = path.to_str() else { return Cow::Borrowed("the file") };
    let plain = text.len() <= 255 && !text.chars().any(char::is_control) && !looks_secret(text);
    let short = text.split('/').all(|name| name.len() <= LONGEST_NAME);
    if plain && short { Cow::Borrowed(text) } else { Cow::Borrowed("the file") }
}

/// The host of a URL, if it is a name that could stand in `allowed_hosts`: what was pasted there by mistake is not.
pub(super) fn host(url: &Url) -> Option<&str> {
    url.domain().filter(|host| host.contains('.') && hosts::is_pattern(host))
}

fn looks_secret(text: &str) -> bool {
    // API keys by their mark, session tokens of Salesforce by their `!`, PEM by its dashes.
    text.len() >= SHORTEST_SECRET && (text.contains("aquila_") || text.contains('!') || text.contains("-----"))
}

/// The candidate that a misspelt name most likely meant.
pub fn nearest<'a>(wrong: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if wrong.len() > LONGEST_KEY {
        return None;
    }
    let tolerance = (wrong.len() / 3).clamp(1, 3);
    candidates
        .filter(|candidate| candidate.len().abs_diff(wrong.len()) <= tolerance)
        .map(|candidate| (strsim::osa_distance(wrong, candidate), candidate))
        .filter(|&(distance, _)| distance <= tolerance)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_pasted_where_a_path_belongs_is_not_repeated() {
        assert_eq!(path(Path::new("/etc/aquila/keys/elf-prod.pem")), "/etc/aquila/keys/elf-prod.pem");
        let pasted = format!("/etc/aquila/-----BEGIN PRIVATE KEY-----\n{}", "MIIEvQ".repeat(40));
        for secret in [pasted.as_str(), &"MIIEvQIBADANBgkqhkiG9w0B".repeat(4), "a\nb"] {
            assert_eq!(path(Path::new(secret)), "the file");
        }
    }

    #[test]
    fn only_short_harmless_text_is_repeated() {
        assert_eq!(value("90 s"), "`90 s`");
        for hidden in ["aquila_4Fx9Kq2Lm8", "00D5g000004!AQ0Ax", &"x".repeat(41), "two\nlines", "-----BEGIN PRIVATE"] {
            assert_eq!(value(hidden), "this text", "{hidden}");
        }
        assert_eq!(key("token_url"), "token_url");
        assert_eq!(key("a b\u{1b}"), "\"a b\\u{1b}\"");
        assert_eq!(key("aquila_4Fx9Kq2Lm8"), "(not shown)");
        assert_eq!(key(&"k".repeat(64)), "(not shown)");
    }

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["listen", "public_url", "tls"];
        for (wrong, near) in [("lisen", Some("listen")), ("pubilc_url", Some("public_url")), ("tsl", Some("tls"))] {
            assert_eq!(nearest(wrong, known.into_iter()), near, "{wrong}");
        }
        for far in ["store", "", "x"] {
            assert_eq!(nearest(far, known.into_iter()), None, "{far}");
        }
    }
}
