//! What other replicas did, as a stream: a place is named, and who holds something there looks at it.

use std::convert::Infallible;
use std::time::Duration;

use redis::Value;
use tokio::sync::broadcast;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::dial::Connection;
use super::lease::RELEASED;
use super::shelf::{DROPPED, FAILURE, TOKEN};
use super::trouble::Trouble;
use super::{Away, Fence, Place, Standing, Store, Tag, scripts};

/// So many events are kept, about.
pub(super) const MOST_EVENTS: u32 = 10_000;
/// So many may wait for those who listen; who falls behind looks by itself.
pub(super) const ROOM: usize = 1024;
/// So many are taken at once.
pub(super) const MOST_AT_ONCE: usize = 512;
/// A question for events waits so long for one.
const PATIENCE: Duration = Duration::from_secs(1);
/// And is answered within so long, or the connection is broken.
const ANSWERS_WITHIN: Duration = Duration::from_millis(2500);
/// What is waited before the stream is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// So many tries in a row are told: a Redis that goes away takes the stream along, and is told by itself.
const TOLERATED: u32 = 3;
/// Digits of two numbers of 64 bits, and a hyphen.
const LONGEST_ID: usize = 41;

/// Something that another replica did, or that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something was written at a place.
    Changed {
        /// Which place.
        tag: Tag,
        /// What is there now.
        what: What,
        /// By which right.
        fence: Fence,
    },
    /// Events may have been missed: after a reconnect, a flush, a time alone, or a stream that was faster than us. Everything
    /// in memory is to be looked at.
    Gap,
}

/// What was written at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A token.
    Token,
    /// The mark of a token that was dropped.
    Dropped,
    /// A failure.
    Failure,
    /// Nothing: the lease was given back.
    Released,
}

/// Those who wait for something at a place: begun before the look whose answer may change.
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Event>);

impl Changes {
    /// Comes back when something happened at `place`, or may have, and after `at_most` in any case.
    pub async fn at(&mut self, place: &Place, at_most: Duration) {
        let change = async {
            loop {
                match self.0.recv().await {
                    Ok(Event::Changed { tag, .. }) if tag != *place.tag() => {}
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                    // Nobody reads events any more: the time is over when it is over.
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        let _ = timeout(at_most, change).await;
    }
}

/// Why reading ended.
enum Ended {
    /// Of the connection with the stream.
    Trouble(Trouble),
    /// The store is away.
    Away,
    /// The connection was made in a way that is no longer the one.
    Outdated,
}

/// One entry of the stream.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    pub(super) id: String,
    pub(super) replica: Vec<u8>,
    /// Nothing, if it says nothing that is known here.
    pub(super) event: Option<Event>,
}

impl Store {
    /// For one who is about to look, and may have to wait.
    pub fn changes(&self) -> Changes {
        Changes(self.link.events().subscribe())
    }

    pub(super) async fn read_events(&self, on_event: impl Fn(Event) + Send + Sync, stop: &CancellationToken) {
        let _ = stop.run_until_cancelled(self.read_on(on_event)).await;
    }

    async fn read_on(&self, on_event: impl Fn(Event) + Send + Sync) {
        // Tries in a row that came to nothing while the store was there.
        let mut failed = 0_u32;
        loop {
            if matches!(self.standing(), Standing::Shared { .. }) {
                let Err(ended) = self.read_stream(&on_event, &mut failed).await;
                match ended {
                    Ended::Trouble(trouble) if matches!(self.standing(), Standing::Shared { .. }) => {
                        failed = failed.saturating_add(1);
                        if failed == TOLERATED {
                            let Trouble { cause, remedy, told } = trouble;
                            let late = "what other replicas drop is noticed within 30 s instead of one";
                            tracing::warn!(cause, remedy, "no events come from the store, {late}: {told}");
                        }
                    }
                    // Which others tell.
                    Ended::Trouble(_) | Ended::Away | Ended::Outdated => {}
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn read_stream(
        &self,
        on_event: &(impl Fn(Event) + Send + Sync),
        failed: &mut u32,
    ) -> Result<Infallible, Ended> {
        let (mut access, mut missed) = (self.link.access(), self.link.missed());
        let mut connection = self.link.dial(ANSWERS_WITHIN).await.map_err(Ended::Trouble)?;
        loop {
            // From here on nothing is missed; what was before, anybody may have.
            missed.mark_unchanged();
            let (_, mut last) = self.ends().await.map_err(|Away| Ended::Away)?;
            self.tell_here(Event::Gap, on_event);
            loop {
                let lines = tokio::select! {
                    lines = self.next(&mut connection, &last) => lines.map_err(Ended::Trouble)?,
                    // Also by a stream that never broke: who heard something and could not look has missed it.
                    _ = missed.changed() => break,
                    _ = access.changed() => return Err(Ended::Outdated),
                };
                *failed = 0;
                let is_full = lines.len() >= MOST_AT_ONCE;
                let before = last.clone();
                for Line { id, replica, event } in lines {
                    last = id;
                    if let Some(event) = event.filter(|_| replica != self.replica().as_bytes()) {
                        self.tell_here(event, on_event);
                    }
                }
                if is_full && self.ends().await.map_err(|Away| Ended::Away)?.0 > number(&before) {
                    self.tell_here(Event::Gap, on_event);
                }
            }
        }
    }

    /// The first event that there is, as a number, and the last.
    async fn ends(&self) -> Result<((u64, u64), String), Away> {
        let names = [self.link.names().events()];
        let reply = self.link.call("read_events", scripts::ENDS, &names, &[]).await?;
        let word = |at| reply.word(at).map_err(|nonsense| self.link.nonsense(nonsense));
        let last = word(2)?;
        let last = if is_id(last) { last } else { "0-0" };
        Ok((number(word(1)?), last.to_owned()))
    }

    async fn next(&self, connection: &mut Connection, last: &str) -> Result<Vec<Line>, Trouble> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(MOST_AT_ONCE).arg("BLOCK").arg(PATIENCE.as_millis().to_string());
        command.arg("STREAMS").arg(self.link.names().events()).arg(last);
        let answer = timeout(ANSWERS_WITHIN, connection.ask(&command)).await.map_err(|_| Trouble::SLOW)?;
        lines(answer.map_err(|error| Trouble::of(&error))?).ok_or(Trouble::NONSENSE)
    }

    fn tell_here(&self, event: Event, on_event: &impl Fn(Event)) {
        // Nobody may be waiting.
        let _ = self.link.events().send(event.clone());
        on_event(event);
    }
}

/// What XREAD answers: nothing, or one stream with its entries.
pub(super) fn lines(answer: Value) -> Option<Vec<Line>> {
    let streams = match answer {
        Value::Nil => return Some(Vec::new()),
        Value::Array(streams) => streams,
        _ => return None,
    };
    let Ok([Value::Array(stream)]) = <[Value; 1]>::try_from(streams) else { return None };
    let Ok([_, Value::Array(entries)]) = <[Value; 2]>::try_from(stream) else { return None };
    if entries.len() > MOST_AT_ONCE {
        return None;
    }
    entries.into_iter().map(line).collect()
}

fn line(entry: Value) -> Option<Line> {
    let Value::Array(parts) = entry else { return None };
    let Ok([Value::BulkString(id), fields]) = <[Value; 2]>::try_from(parts) else { return None };
    let id = String::from_utf8(id).ok().filter(|id| is_id(id))?;
    // One that was deleted has none.
    let fields = if let Value::Array(fields) = fields { fields } else { Vec::new() };
    let field = |name: &str| {
        fields.chunks_exact(2).find_map(|pair| match pair {
            [Value::BulkString(key), Value::BulkString(value)] if key == name.as_bytes() => Some(value.as_slice()),
            _ => None,
        })
    };
    let text = |name| std::str::from_utf8(field(name)?).ok();
    let event = || {
        let what = match text("k")? {
            TOKEN => What::Token,
            DROPPED => What::Dropped,
            FAILURE => What::Failure,
            RELEASED => What::Released,
            _ => return None,
        };
        Some(Event::Changed { tag: Tag::parse(text("t")?)?, what, fence: Fence::new(text("f")?.parse().ok()?) })
    };
    Some(Line { replica: field("r").unwrap_or_default().to_vec(), event: event(), id })
}

/// `MILLISECONDS-COUNT`.
pub(super) fn is_id(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= LONGEST_ID && text.split_once('-').is_some_and(|(one, other)| is_number(one) && is_number(other))
}

fn number(id: &str) -> (u64, u64) {
    let (one, other) = id.split_once('-').unwrap_or_default();
    (one.parse().unwrap_or_default(), other.parse().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn entry(id: &str, fields: &[&str]) -> Value {
        Value::Array(vec![text(id), Value::Array(fields.iter().map(|field| text(field)).collect())])
    }

    fn stream(entries: Vec<Value>) -> Value {
        Value::Array(vec![Value::Array(vec![text("aquila:{events}"), Value::Array(entries)])])
    }

    #[test]
    fn an_entry_says_what_was_written_where_and_by_whom() {
        let place = Place::new("elf-prod", [1; 32]);
        let tag = place.tag().as_str();
        let fields = ["t", tag, "k", "dropped", "f", "17", "r", "me"];
        let found = lines(stream(vec![entry("5-0", &fields)])).unwrap();
        let event = Event::Changed { tag: place.tag().clone(), what: What::Dropped, fence: Fence::new(17) };
        assert_eq!(found, [Line { id: "5-0".to_owned(), replica: b"me".to_vec(), event: Some(event) }]);
        assert_eq!(lines(Value::Nil), Some(Vec::new()));
    }

    #[test]
    fn an_entry_of_somebody_else_is_passed_over_and_nonsense_is_no_entry() {
        for fields in [&[][..], &["k"], &["k", "token"], &["t", "i:a:b", "k", "later", "f", "1"]] {
            let found = lines(stream(vec![entry("5-0", fields)])).unwrap();
            assert_eq!(found.first().unwrap().event, None, "{fields:?}");
        }
        let many = (0..=MOST_AT_ONCE).map(|_| entry("5-0", &[])).collect();
        let wrong =
            [Value::Okay, Value::Array(vec![]), stream(vec![Value::Nil]), stream(vec![entry("x", &[])]), stream(many)];
        for answer in wrong {
            assert_eq!(lines(answer), None);
        }
    }

    #[test]
    fn ids_are_compared_as_numbers() {
        assert!(number("10-0") > number("9-9") && number("9-10") > number("9-9"));
        assert!(is_id("1700000000000-0") && !is_id("-") && !is_id("5") && !is_id(&format!("{}-0", "1".repeat(60))));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<i64>().prop_map(Value::Int),
            any::<Vec<u8>>().prop_map(Value::BulkString),
            Just(text("k")),
            Just(text("5-0")),
        ];
        leaf.prop_recursive(5, 64, 6, |inner| proptest::collection::vec(inner, 0..6).prop_map(Value::Array))
    }

    proptest! {
        #[test]
        fn no_answer_breaks_the_reader(answer in values()) {
            let _ = lines(answer);
        }
    }
}
