//! What must hold for whatever stands in the store, and in the file of keys that seal it, as properties of bytes.

use std::sync::LazyLock;

use redis::{Value, parse_redis_value};

use super::events::{self, Event, Line, MOST_AT_ONCE};
use super::reply::{MOST_FIELDS, Reply};
use super::seal::{HEAD, Label, MOST_KEYS, SealKeyError, SealKeys, Unreadable};
use super::{Fence, LARGEST_VALUE, Tag};
use crate::clock::Moment;

/// A name and what panics for bytes that break it.
type Property = (&'static str, fn(&[u8]));

/// By the names of their folders in `fuzz/seeds`.
pub(crate) const PROPERTIES: &[Property] = &[
    ("store-reply", store_reply),
    ("store-events", store_events),
    ("sealed-value", sealed_value),
    ("seal-key-file", seal_key_file),
];

/// What came over the wire, in the protocol of Redis.
fn sent(bytes: &[u8]) -> Option<Value> {
    parse_redis_value(bytes).ok()
}

/// A reply is a short list of texts that are not large, its first one the clock; a number of it is exactly its digits.
fn store_reply(bytes: &[u8]) {
    const NOW: Moment = Moment::from_bits(1);
    let Some(value) = sent(bytes) else { return };
    let Ok(reply) = Reply::read(value.clone(), NOW, NOW) else { return };
    let Value::Array(fields) = value else { unreachable!("a reply that is no list") };
    assert!((1..=MOST_FIELDS).contains(&fields.len()));
    assert_eq!(reply.number(0), Ok(reply.at.micros()));
    assert!(reply.bytes(fields.len()).is_err());
    for (index, field) in fields.iter().enumerate() {
        let Value::BulkString(field) = field else { unreachable!("a field that is no text") };
        assert!(field.len() <= LARGEST_VALUE && reply.bytes(index) == Ok(field));
        assert_eq!(reply.word(index).ok(), std::str::from_utf8(field).ok());
        if let Ok(number) = reply.number(index) {
            let digits = number.to_string();
            let zeros = field.len().checked_sub(digits.len()).and_then(|zeros| field.split_at_checked(zeros));
            assert!(
                zeros.is_some_and(|(zeros, rest)| zeros.iter().all(|&zero| zero == b'0') && rest == digits.as_bytes())
            );
        }
    }
}

/// What is read from the stream are entries with an id, few at once; a place that is named could have been made here.
fn store_events(bytes: &[u8]) {
    let Some(lines) = sent(bytes).and_then(events::lines) else { return };
    assert!(lines.len() <= MOST_AT_ONCE);
    for Line { id, event, .. } in lines {
        assert!(events::is_id(&id) && !id.contains(char::is_whitespace));
        match event {
            Some(Event::Changed { tag, .. }) => {
                assert!(tag.as_str().starts_with("i:") && Tag::parse(tag.as_str()) == Some(tag));
            }
            Some(Event::Gap) => unreachable!("no entry says that some are missing"),
            None => {}
        }
    }
}

static KEYS: LazyLock<Option<SealKeys>> = LazyLock::new(|| SealKeys::parse(&format!("{HEAD}{}", "A".repeat(43))).ok());

/// What was not sealed opens never, also behind the header of a value that was; what was sealed opens for its label, and
/// for no other, and not when anything of it is changed.
fn sealed_value(bytes: &[u8]) {
    let Some(keys) = KEYS.as_ref() else { unreachable!("the key is one") };
    let fence = bytes.iter().map(|&byte| u64::from(byte)).sum();
    let label = Label { kind: "token", name: "aquila:{i:elf:00}:token", digest: &[7; 32], fence: Fence::new(fence) };
    let others = [
        Label { kind: "failure", ..label },
        Label { name: "aquila:{i:elg:00}:token", ..label },
        Label { digest: &[8; 32], ..label },
        Label { fence: Fence::new(fence + 1), ..label },
    ];
    assert!(keys.open(&label, bytes).is_err());
    let Some(sealed) = keys.seal(&label, bytes) else { unreachable!("this machine gives random numbers") };
    assert!(keys.open(&label, &sealed).is_ok_and(|content| content.as_slice() == bytes));
    assert!(others.iter().all(|other| keys.open(other, &sealed).err() == Some(Unreadable::Seal)));

    // The header is that of a value, and the rest is not.
    let header = sealed.iter().take(9);
    let planted: Vec<u8> = header.chain(bytes).copied().collect();
    assert!(matches!(keys.open(&label, &planted), Err(Unreadable::Form | Unreadable::Seal)));
    // One bit of it, chosen by the bytes.
    let mut changed = sealed.clone();
    let at = usize::try_from(fence).unwrap_or_default() % changed.len();
    if let Some(byte) = changed.get_mut(at) {
        *byte ^= 1 << (fence % 8);
    }
    assert!(keys.open(&label, &changed).is_err());
}

/// Keys are lines of one form, few and different, and what one order of them seals the other order opens. What is none is
/// refused by a line that is there, with a remedy, and without a word of the file.
fn seal_key_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let said = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let lines: Vec<&str> = text.lines().map(str::trim).filter(said).collect();
    match SealKeys::parse(text) {
        Ok(keys) => {
            assert!((1..=MOST_KEYS).contains(&lines.len()));
            assert!(lines.iter().all(|line| line.len() == HEAD.len() + 43 && line.starts_with(HEAD)));
            assert_eq!(format!("{keys:?}"), format!("SealKeys({})", lines.len()));
            let reversed: Vec<&str> = lines.into_iter().rev().collect();
            let Ok(reversed) = SealKeys::parse(&reversed.join("\r\n")) else { unreachable!("the same keys") };
            let label = Label { kind: "token", name: "t", digest: &[0; 32], fence: Fence::new(1) };
            let sealed = keys.seal(&label, b"canary").unwrap_or_default();
            assert!(reversed.open(&label, &sealed).is_ok_and(|content| content.as_slice() == b"canary"));
        }
        Err(error) => {
            assert!(!error.remedy().is_empty() && !error.to_string().chars().any(char::is_control));
            match error {
                SealKeyError::Empty => assert!(lines.is_empty()),
                SealKeyError::Line(number) | SealKeyError::Twice(number) => {
                    let line = number.checked_sub(1).and_then(|before| text.lines().nth(before)).map(str::trim);
                    assert!(line.as_ref().is_some_and(said), "line {number} says nothing");
                    assert!(!error.to_string().contains(HEAD));
                }
                SealKeyError::TooMany => assert!(lines.len() > MOST_KEYS),
            }
        }
    }
}
