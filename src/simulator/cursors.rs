//! Query results handed out in batches: what is left waits here for `nextRecordsUrl` to be followed.
//!
//! A cursor belongs to the user who asked. Few are kept, the oldest goes first, as at Salesforce.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::random;

/// How many cursors wait at once.
const KEPT: usize = 50;

struct Cursor {
    locator: String,
    username: String,
    total: usize,
    left: VecDeque<Value>,
}

#[derive(Default)]
pub(super) struct Cursors {
    waiting: VecDeque<Cursor>,
}

impl Cursors {
    /// The first batch of an answer; the whole answer if it fits.
    pub(super) fn first(&mut self, answer: Value, version: u32, username: &str, batch: usize) -> Value {
        match answer.get("records").and_then(Value::as_array) {
            Some(records) if records.len() > batch => {
                let cursor = Cursor {
                    locator: format!("01gSIMULATED{}", random::text(6)),
                    username: username.to_owned(),
                    total: records.len(),
                    left: records.iter().cloned().collect(),
                };
                self.batch(cursor, version, batch)
            }
            _ => answer,
        }
    }

    /// The batch that a `nextRecordsUrl` named.
    pub(super) fn next(&mut self, locator: &str, version: u32, username: &str, batch: usize) -> Option<Value> {
        let (locator, given_out) = locator.rsplit_once('-')?;
        let is_wanted = |cursor: &Cursor| {
            let so_far = cursor.total - cursor.left.len();
            cursor.locator == locator && cursor.username == username && so_far.to_string() == given_out
        };
        let place = self.waiting.iter().position(is_wanted)?;
        let cursor = self.waiting.remove(place)?;
        Some(self.batch(cursor, version, batch))
    }

    fn batch(&mut self, mut cursor: Cursor, version: u32, batch: usize) -> Value {
        let records: Vec<Value> = cursor.left.drain(..batch.min(cursor.left.len())).collect();
        let mut answer = json!({"totalSize": cursor.total, "done": cursor.left.is_empty(), "records": records});
        if !cursor.left.is_empty() {
            let given_out = cursor.total - cursor.left.len();
            let next = format!("/services/data/v{version}.0/query/{}-{given_out}", cursor.locator);
            if let Some(object) = answer.as_object_mut() {
                object.insert("nextRecordsUrl".to_owned(), Value::from(next));
            }
            if self.waiting.len() == KEPT {
                self.waiting.pop_front();
            }
            self.waiting.push_back(cursor);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_add_up_to_the_whole_and_are_for_their_user_only() {
        let mut cursors = Cursors::default();
        let answer = json!({"totalSize": 5, "done": true, "records": [1, 2, 3, 4, 5]});
        assert_eq!(cursors.first(answer.clone(), 60, "elf@x", 5), answer);
        let mut batch = cursors.first(answer, 60, "elf@x", 2);
        let mut all = Vec::new();
        loop {
            all.extend(batch["records"].as_array().unwrap().clone());
            assert_eq!(batch["totalSize"], 5);
            let Some(next) = batch["nextRecordsUrl"].as_str() else { break };
            let locator = next.rsplit_once('/').unwrap().1;
            assert_eq!(cursors.next(locator, 60, "other@x", 2), None);
            batch = cursors.next(locator, 60, "elf@x", 2).unwrap();
        }
        assert_eq!((all, batch["done"].clone()), (vec![json!(1), json!(2), json!(3), json!(4), json!(5)], json!(true)));
    }
}
