//! Forced answers: what a test orders the next requests, or all of them, to be answered with.
//!
//! The queue only hands out orders; it never waits. Delays are slept in `forced.rs` without any lock held.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::rows::{RestRow, TokenRow};

/// An order for coming answers. The first one in the queue that fits a request is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which requests.
    pub door: Door,
    /// How many of them; all until the faults are cleared when absent.
    #[serde(default)]
    pub times: Option<u32>,
    /// Only those of this user.
    #[serde(default)]
    pub username: Option<String>,
    /// Milliseconds to wait before the request is worked on and answered.
    #[serde(default)]
    pub delay_ms: u64,
    /// What to answer.
    #[serde(default)]
    pub answer: FaultAnswer,
}

impl Fault {
    /// The next request of this door is answered so.
    pub fn once(door: Door, answer: FaultAnswer) -> Self {
        Self { times: Some(1), ..Self::always(door, answer) }
    }

    /// Each request of this door is answered so until the faults are cleared.
    pub fn always(door: Door, answer: FaultAnswer) -> Self {
        Self { door, times: None, username: None, delay_ms: 0, answer }
    }

    /// Each request of this door waits so long and is then answered as usual.
    pub fn delay(door: Door, delay_ms: u64) -> Self {
        Self { delay_ms, ..Self::always(door, FaultAnswer::AsUsual) }
    }
}

/// Where a fault applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// `/services/oauth2/introspect`; has no username.
    Introspect,
    /// `/services/oauth2/token`.
    Token,
    /// Everything below `/services/data/` that needs a token.
    Rest,
    /// `/services/oauth2/userinfo`.
    Userinfo,
}

/// What a forced answer is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultAnswer {
    /// The usual answer (after the delay).
    #[default]
    AsUsual,
    /// A recorded error row.
    Row {
        /// Its name, such as `login_rate_exceeded` or `INVALID_SESSION_ID`.
        row: Row,
    },
    /// Any answer at all.
    Raw {
        /// The status.
        status: u16,
        /// The content type; none when absent.
        #[serde(default)]
        content_type: Option<String>,
        /// More headers, such as `retry-after` or `location`.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// The body.
        #[serde(default)]
        body: String,
    },
    /// The HTML page shown while Salesforce is being maintained, seen with 200 and with 503.
    Maintenance {
        /// The status.
        status: u16,
    },
    /// The usual answer with some members of its JSON object changed; `null` takes one out.
    Altered {
        /// The members.
        members: Map<String, Value>,
    },
    /// The usual answer, but the connection ends in the middle of its body.
    Cut,
    /// The usual answer, one byte of its body at a time.
    Trickle {
        /// Milliseconds before each byte.
        pause_ms: u64,
    },
    /// A body of so many bytes, status 200, said to be JSON.
    Huge {
        /// The length of the body, announced before it.
        bytes: u64,
    },
    /// A body without announced length that goes on until the client has enough, status 200, said to be JSON.
    EndlessBody,
    /// A head that goes on until the client has enough. Over HTTP/1.1 without TLS only.
    EndlessHead,
    /// A gzip body, packed without being asked for, that unpacks to so many mebibytes of blanks.
    GzipBomb {
        /// Each takes 7 KB on its way.
        mebibytes: u16,
    },
    /// The request is worked on as usual, but the connection ends instead of the answer: a lost answer.
    LoseAnswer,
    /// The connection ends at once.
    HangUp,
    /// The connection ends at once, by a TCP reset.
    Reset,
    /// Nothing, for as long as the client waits.
    NeverAnswer,
}

/// A recorded error row of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Row {
    /// Of the token endpoint.
    Token(TokenRow),
    /// Of the REST resources or `userinfo`.
    Rest(RestRow),
}

/// The orders not yet used up, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Faults {
    queue: Vec<Fault>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        if fault.times != Some(0) {
            self.queue.push(fault);
        }
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    pub(super) fn waiting(&self) -> &[Fault] {
        &self.queue
    }

    /// The order for this request, used up by one.
    pub(super) fn take(&mut self, door: Door, username: Option<&str>) -> Option<Fault> {
        let fits = |fault: &Fault| {
            let named = fault.username.as_deref();
            fault.door == door
                && named.is_none_or(|name| username.is_some_and(|username| username.eq_ignore_ascii_case(name)))
        };
        let place = self.queue.iter().position(fits)?;
        let fault = self.queue.get_mut(place)?;
        let taken = fault.clone();
        if let Some(times) = &mut fault.times {
            *times -= 1;
            if *times == 0 {
                self.queue.remove(place);
            }
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_used_up_and_only_by_whom_it_fits() {
        let mut faults = Faults::default();
        let row = FaultAnswer::Row { row: Row::Token(TokenRow::LoginRateExceeded) };
        faults.add(Fault { times: Some(2), username: Some("elf@x".to_owned()), ..Fault::always(Door::Token, row) });
        assert_eq!(faults.take(Door::Rest, Some("elf@x")), None);
        assert_eq!(faults.take(Door::Token, Some("other@x")), None);
        assert_eq!(faults.take(Door::Token, None), None);
        assert!(faults.take(Door::Token, Some("Elf@x")).is_some());
        assert!(faults.take(Door::Token, Some("elf@x")).is_some());
        assert_eq!(faults.take(Door::Token, Some("elf@x")), None);
    }

    #[test]
    fn orders_are_read_as_tests_write_them() {
        for (json, expected) in [
            (
                r#"{"kind":"row","row":"login_rate_exceeded"}"#,
                FaultAnswer::Row { row: Row::Token(TokenRow::LoginRateExceeded) },
            ),
            (
                r#"{"kind":"row","row":"INVALID_SESSION_ID"}"#,
                FaultAnswer::Row { row: Row::Rest(RestRow::InvalidSessionId) },
            ),
            (r#"{"kind":"maintenance","status":503}"#, FaultAnswer::Maintenance { status: 503 }),
            (r#"{"kind":"never_answer"}"#, FaultAnswer::NeverAnswer),
            (r#"{"kind":"gzip_bomb","mebibytes":2}"#, FaultAnswer::GzipBomb { mebibytes: 2 }),
            (
                r#"{"kind":"altered","members":{"id":null}}"#,
                FaultAnswer::Altered { members: Map::from_iter([("id".to_owned(), Value::Null)]) },
            ),
        ] {
            let fault: Fault = serde_json::from_str(&format!(r#"{{"door":"token","answer":{json}}}"#)).unwrap();
            assert_eq!((fault.times, fault.answer), (None, expected));
        }
        assert!(serde_json::from_str::<Fault>(r#"{"door":"token","answer":{"kind":"row","row":"nonsense"}}"#).is_err());
    }
}
