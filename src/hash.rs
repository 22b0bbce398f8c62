//! SHA-256 and hexadecimal: digests of keys, tokens and settings, all by one function.

use std::fmt;

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
    bytes.iter().flat_map(|&byte| digits(byte)).map(char::from).collect()
}

/// The hex digits of the first eight bytes of a digest: enough to recognise it, useless to undo it.
pub fn short_hex(digest: &[u8; 32]) -> ShortHex {
    let mut text = [0; 16];
    let written = digest.iter().flat_map(|&byte| digits(byte));
    text.iter_mut().zip(written).for_each(|(to, from)| *to = from);
    ShortHex(text)
}

/// Sixteen hex digits, without an allocation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShortHex([u8; 16]);

impl ShortHex {
    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for ShortHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ShortHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn digits(byte: u8) -> [u8; 2] {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    [digit(byte >> 4), digit(byte & 0xF)]
}

/// The bytes that hex digits stand for, in published vectors.
#[cfg(test)]
pub(crate) fn unhex(text: &serde_json::Value) -> Vec<u8> {
    let pairs = text.as_str().unwrap().as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
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
        assert_eq!(short_hex(&sha256([b"abc".as_slice()])).as_str(), expected.get(..16).unwrap());
    }
}
