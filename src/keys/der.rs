//! The frames of DER (X.690) and nothing else: tag, length, value. Lengths are definite, and bounded by what is there.

/// What is left of a sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Der<'a>(&'a [u8]);

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const BMP_STRING: u8 = 0x1E;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// `[0]`, around something else or in place of its tag.
pub(super) const CONTEXT_0: u8 = 0xA0;
pub(super) const CONTEXT_0_OCTETS: u8 = 0x80;

impl<'a> Der<'a> {
    /// The inside of something.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The inside of a sequence that is all of `bytes`.
    pub(super) fn whole(bytes: &'a [u8]) -> Option<Self> {
        let mut outer = Self(bytes);
        let inner = outer.sequence()?;
        outer.0.is_empty().then_some(inner)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The tag that comes next.
    pub(super) fn next_tag(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value, if it has this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, value, rest) = split(self.0)?;
        if found != tag {
            return None;
        }
        self.0 = rest;
        Some(value)
    }

    pub(super) fn sequence(&mut self) -> Option<Self> {
        self.take(SEQUENCE).map(Self)
    }

    /// A number that is not negative and fits.
    pub(super) fn number(&mut self) -> Option<u64> {
        let value = self.take(INTEGER)?;
        match value {
            [] | [0x80..=0xFF, ..] => None,
            _ => value.iter().try_fold(0_u64, |number, &byte| number.checked_mul(256)?.checked_add(byte.into())),
        }
    }
}

/// Tag, value, and what follows.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            (digits.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
        }
        // Of no definite length, or of four gigabytes and more.
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((tag, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_where_its_length_says_or_is_none() {
        let cases: [(&[u8], Option<&[u8]>); 8] = [
            (&[4, 2, 7, 8, 9], Some(&[7, 8])),
            (&[4, 0x81, 1, 7], Some(&[7])),
            (&[4, 0x84, 0, 0, 0, 1, 7], Some(&[7])),
            (&[4, 2, 7], None),
            (&[4, 0x80, 7, 0, 0], None),
            (&[4, 0x85, 0, 0, 0, 0, 1, 7], None),
            (&[4, 0x84, 0xFF, 0xFF, 0xFF, 0xFF], None),
            (&[4], None),
        ];
        for (bytes, value) in cases {
            assert_eq!(Der::new(bytes).take(OCTETS), value, "{bytes:?}");
        }
    }

    #[test]
    fn a_number_is_whole_and_not_negative() {
        let cases: [(&[u8], Option<u64>); 6] = [
            (&[2, 1, 5], Some(5)),
            (&[2, 2, 0, 0x80], Some(128)),
            (&[2, 3, 1, 0, 0], Some(65_536)),
            (&[2, 1, 0xFF], None),
            (&[2, 0], None),
            (&[2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0], None),
        ];
        for (bytes, number) in cases {
            assert_eq!(Der::new(bytes).number(), number, "{bytes:?}");
        }
    }
}
