//! SHA-256 and hexadecimal: digests of keys, tokens and settings, all by one function.

use std::fmt::Write;

use aws_lc_rs::digest;

/// SHA-256 of one text after another.
pub fn sha256<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.into_iter().for_each(|part| context.update(part));
    let mut whole = [0; 32];
    whole.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    whole
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_sha256sum_prints() {
        // printf %s abc | sha256sum
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&sha256([b"abc".as_slice()])), expected);
        assert_eq!(hex(&sha256([b"a".as_slice(), b"", b"bc"])), expected);
    }
}
