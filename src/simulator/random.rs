//! Random text for tokens and the control secret.
//!
//! Tokens are throw-away, yet random: a test that guesses one would prove nothing.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use super::org::base62;

/// So many characters out of letters and digits.
pub(super) fn text(length: usize) -> String {
    let random = SystemRandom::new();
    let mut text = String::with_capacity(length + 10);
    while text.len() < length {
        let mut bytes = [0; 8];
        // The system's generator does not fail once it is seeded; were it to, zeros are a visible, harmless answer
        // for a simulator.
        let _ = random.fill(&mut bytes);
        text.push_str(&base62(u64::from_be_bytes(bytes), 10));
    }
    text.truncate(length);
    text
}

/// An access token of Salesforce's shape that nobody can take for a real one: 112 characters.
pub(super) fn access_token(organization_id: &str) -> String {
    let head = format!("{organization_id}!AQ.SIMULATED.");
    format!("{head}{}", text(112_usize.saturating_sub(head.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_right_shape_and_says_what_it_is() {
        let token = access_token("00D5g00000SIMU1");
        assert_eq!(token.len(), 112);
        let (org, rest) = token.split_once('!').unwrap();
        assert!(org.len() == 15 && org.starts_with("00D"));
        assert!(rest.contains("SIMULATED") && rest.chars().all(|c| c.is_ascii_alphanumeric() || "._".contains(c)));
        assert_ne!(token, access_token("00D5g00000SIMU1"));
    }
}
