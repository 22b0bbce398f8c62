//! Texts from outside, made safe to print: what could be a secret, or could hide or turn around what stands beside it,
//! is taken out.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

/// No word is longer: it could be a token or an assertion thrown back at us.
const LONGEST_WORD: usize = 48;
/// A word that begins like a JWT, or has one in it, of so many characters is taken for a piece of one.
const JWT_HEAD: usize = 12;
/// A shorter secret is none, and blotting it out would spoil what has nothing to do with it.
const SHORTEST_SECRET: usize = 8;

/// Text from outside, safe for a log: one line, at most 200 characters, and nothing in it that could be a token or an
/// assertion thrown back at us, or that is not seen when it is shown.
pub fn printable(text: &str) -> String {
    // Taken out and not split at: a word in pieces would pass for a short one.
    let seen: String = text.chars().filter(|c| !is_unseen(*c)).collect();
    let words = seen.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let shortened = words.map(|word| if may_be_secret(word) { "[…]" } else { word });
    shortened.collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

fn may_be_secret(word: &str) -> bool {
    let jwt = word.find("eyJ").and_then(|at| word.get(at..));
    word.chars().count() > LONGEST_WORD || jwt.is_some_and(|jwt| jwt.chars().count() >= JWT_HEAD)
}

/// Characters that turn the direction of what follows, or are there without being seen: the category Cf of Unicode, and
/// the fillers, selectors and tags that are shown as nothing.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
        | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Overwrites a secret wherever a body repeats it: as it is, and as JSON or a form writes it.
pub(super) fn blot_out(body: &mut [u8], secret: &str) {
    let json = Zeroizing::new(serde_json::to_string(secret).unwrap_or_default());
    let json = json.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default();
    let form = Zeroizing::new(utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string());
    for text in [secret, json, form.as_str()].map(str::as_bytes) {
        // Stars over stars change nothing, and the search would not end.
        if text.len() < SHORTEST_SECRET || text.iter().all(|byte| *byte == b'*') {
            continue;
        }
        while let Some(at) = body.windows(text.len()).position(|window| window == text) {
            let Some(found) = body.get_mut(at..at + text.len()) else { return };
            found.fill(b'*');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_thrown_back_at_us_is_not_printed() {
        let token = format!("00D5e00000000SIM!{}", "A".repeat(90));
        let shown = printable(&format!("bad\r\n\u{1b}[31m token {token} here"));
        assert!(!shown.contains("AAAA") && !shown.contains('\n') && !shown.contains('\u{1b}'), "{shown}");
        assert!(printable(&"word ".repeat(500)).chars().count() <= 200);
    }

    #[test]
    fn the_head_of_a_jwt_is_not_printed_however_short() {
        for word in ["eyJhbGciOiJSUzI1NiJ9", "assertion=eyJhbGciOiJSUzI1NiJ9", "\u{200b}e\u{200b}yJhbGciOiJSUzI1NiJ9"] {
            assert_eq!(printable(&format!("bad {word} here")), "bad […] here", "{word}");
        }
        assert_eq!(printable("eyJ is how it begins"), "eyJ is how it begins");
    }

    #[test]
    fn what_is_not_seen_or_turns_text_around_is_left_out() {
        let text = "a\u{202e}b\u{2066}c\u{200b}d\u{feff}e\u{ad}f\u{e0041}g\u{61c}h\u{2028}i";
        assert_eq!(printable(text), "abcdefgh i");
        assert_eq!(printable("Zürich, 東京, مرحبا"), "Zürich, 東京, مرحبا");
        let hidden = "A".repeat(30) + "\u{200b}" + &"A".repeat(30);
        assert_eq!(printable(&hidden), "[…]");
    }

    #[test]
    fn a_secret_is_blotted_out_in_every_way_of_writing_it() {
        let secret = "s3cr\"t/word 9";
        let mut body = br#"{"a":"s3cr\"t/word 9","b":"s3cr%22t%2Fword%209s3cr"t/word 9"}"#.to_vec();
        let length = body.len();
        blot_out(&mut body, secret);
        let told = String::from_utf8(body).unwrap();
        assert!(!told.contains("word") && told.len() == length, "{told}");
        for (untouched, secret) in [("a short one", "short"), ("********", "********"), ("nothing", "")] {
            let mut body = untouched.as_bytes().to_vec();
            blot_out(&mut body, secret);
            assert_eq!(body, untouched.as_bytes());
        }
    }
}
