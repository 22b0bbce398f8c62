//! Random text for tokens and the control secret.
//!
//! From the system's generator; nothing here is seeded, so nothing can be guessed or repeated.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_as_long_as_asked_for_and_never_the_same() {
        assert_eq!(text(342).len(), 342);
        assert_ne!(text(40), text(40));
    }
}
