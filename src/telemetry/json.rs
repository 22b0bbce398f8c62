//! One flat JSON object, written member by member: what a record of the audit trail is.
//!
//! `serde_json` looks at each character and grows its text a few bytes at a time; every request comes through here.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

/// An object that is being written.
pub(super) struct Object {
    text: Vec<u8>,
}

const PRINTER: DateTimePrinter = DateTimePrinter::new();

impl Object {
    /// An object that begins with a time, RFC 3339 in UTC.
    pub(super) fn at(name: &'static str, time: &Timestamp) -> Self {
        let mut object = Self { text: Vec::with_capacity(512) };
        object.text.push(b'{');
        object.name(name);
        object.text.push(b'"');
        // Into memory: nothing here can fail.
        let _ = PRINTER.print_timestamp(time, &mut object.text);
        object.text.push(b'"');
        object
    }

    /// Adds a text, or `null`.
    pub(super) fn text(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.text.push(b',');
        self.name(name);
        match value {
            None => self.text.extend_from_slice(b"null"),
            Some(value) if is_plain(value) => {
                self.text.push(b'"');
                self.text.extend_from_slice(value.as_bytes());
                self.text.push(b'"');
            }
            Some(value) => {
                let _ = serde_json::to_writer(&mut self.text, value);
            }
        }
        self
    }

    /// Adds a number.
    pub(super) fn number(mut self, name: &'static str, value: u64) -> Self {
        self.text.push(b',');
        self.name(name);
        let _ = serde_json::to_writer(&mut self.text, &value);
        self
    }

    /// The whole object, as a line.
    pub(super) fn line(mut self) -> Vec<u8> {
        self.text.extend_from_slice(b"}\n");
        self.text
    }

    fn name(&mut self, name: &'static str) {
        self.text.push(b'"');
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b"\":");
    }
}

/// Whether a text stands in JSON as it is. Without an early end, so that many bytes are looked at at once.
fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    text.bytes().fold(true, |so_far, byte| so_far & is_plain(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    proptest! {
        #[test]
        fn whatever_the_text_it_is_read_back(text in any::<String>(), number in any::<u64>()) {
            let time = Timestamp::from_second(1_795_000_000).unwrap();
            let line = Object::at("time", &time).text("text", Some(&text)).text("none", None).number("number", number).line();
            let read: Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(read, json!({"time": time.to_string(), "text": text, "none": null, "number": number}));
            prop_assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        }
    }
}
