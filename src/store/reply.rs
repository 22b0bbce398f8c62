//! What a script returned, as far as it is what a script of ours returns.

use redis::Value;
use zeroize::Zeroize;

use super::LARGEST_VALUE;
use super::time::StoreTime;
use crate::clock::Moment;

/// No script returns more.
const MOST_FIELDS: usize = 9;

/// A list of texts, the store's clock first. They are wiped: some are sealed tokens, and nothing needs them twice.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) at: StoreTime,
    fields: Vec<Vec<u8>>,
}

/// It is nothing that a script of ours returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nonsense;

impl Reply {
    pub(super) fn read(value: Value, asked: Moment, heard: Moment) -> Result<Self, Nonsense> {
        let Value::Array(items) = value else { return Err(Nonsense) };
        if items.len() > MOST_FIELDS {
            return Err(Nonsense);
        }
        let fields = items.into_iter().map(|item| match item {
            Value::BulkString(bytes) if bytes.len() <= LARGEST_VALUE => Ok(bytes),
            _ => Err(Nonsense),
        });
        let fields = fields.collect::<Result<Vec<_>, _>>()?;
        let micros = fields.first().and_then(|bytes| number(bytes)).ok_or(Nonsense)?;
        Ok(Self { at: StoreTime::new(micros, asked, heard), fields })
    }

    /// A word; fields count from 1, behind the clock.
    pub(super) fn word(&self, index: usize) -> Result<&str, Nonsense> {
        std::str::from_utf8(self.bytes(index)?).map_err(|_| Nonsense)
    }

    pub(super) fn number(&self, index: usize) -> Result<u64, Nonsense> {
        number(self.bytes(index)?).ok_or(Nonsense)
    }

    pub(super) fn bytes(&self, index: usize) -> Result<&[u8], Nonsense> {
        self.fields.get(index).map(Vec::as_slice).ok_or(Nonsense)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.fields.iter_mut().for_each(Zeroize::zeroize);
    }
}

/// Digits alone: no sign, no space.
fn number(bytes: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(bytes).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Moment = Moment::from_bits(1);

    fn texts(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(|text| Value::BulkString(text.as_bytes().to_vec())).collect())
    }

    #[test]
    fn a_reply_is_a_list_of_texts_with_the_clock_first() {
        let reply = Reply::read(texts(&["1700000000000000", "held", "12"]), NOW, NOW).unwrap();
        assert_eq!((reply.at.micros(), reply.word(1), reply.number(2)), (1_700_000_000_000_000, Ok("held"), Ok(12)));
        assert_eq!(reply.word(3), Err(Nonsense));
    }

    #[test]
    fn everything_else_is_nonsense() {
        let large = "x".repeat(LARGEST_VALUE + 1);
        let wrong = [
            Value::Nil,
            Value::Okay,
            Value::Int(5),
            Value::Array(vec![]),
            texts(&["-5"]),
            texts(&["soon"]),
            texts(&["99999999999999999999999"]),
            texts(&["1", &large]),
            texts(&["1"; MOST_FIELDS + 1]),
            Value::Array(vec![Value::BulkString(b"1".to_vec()), Value::Array(vec![Value::Nil])]),
        ];
        for value in wrong {
            assert_eq!(Reply::read(value, NOW, NOW).err(), Some(Nonsense));
        }
    }

    proptest! {
        #[test]
        fn no_list_of_bytes_breaks_it(fields: Vec<Vec<u8>>) {
            let value = Value::Array(fields.into_iter().map(Value::BulkString).collect());
            if let Ok(reply) = Reply::read(value, NOW, NOW) {
                for index in 0..=MOST_FIELDS {
                    let _ = (reply.word(index), reply.number(index));
                }
            }
        }
    }
}
