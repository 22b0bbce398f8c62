//! Logins of the last hour, minute by minute: what somebody on call wants to see, and Prometheus may not be there to say.
//!
//! Fed where a login is counted, so never while a token is answered from memory.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::clock::Moment;
use crate::names::IntegrationName;

/// How far back it goes.
pub const MINUTES: usize = 60;
/// The same, as minutes are counted.
const SPAN: u64 = 60;

/// The logins of every integration that had one within the last hour. Others take no room.
#[derive(Debug, Default)]
pub(super) struct Lately(Mutex<Rings>);

#[derive(Debug, Default)]
struct Rings {
    by_name: HashMap<IntegrationName, Ring>,
    /// The minute in which those that were silent for an hour were last forgotten.
    swept: u64,
}

/// A minute in which there were logins. The names are part of `/status.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Minute {
    /// How many minutes ago it was: 0 is the last sixty seconds or less, and all are below [`MINUTES`].
    pub ago: u64,
    /// Logins that brought a token.
    pub mints: u16,
    /// Logins that brought none.
    pub failures: u16,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Counted from the start of the clock: what stands here of another hour is not meant.
    minute: u64,
    mints: u16,
    failures: u16,
}

#[derive(Debug)]
struct Ring([Bucket; MINUTES]);

impl Lately {
    /// Notes a login that came to its end now.
    pub(super) fn note(&self, integration: &IntegrationName, succeeded: bool, now: Moment) {
        let (mut rings, now) = (self.lock(), minute(now));
        if let Some(ring) = rings.by_name.get_mut(integration) {
            return ring.note(succeeded, now);
        }
        rings.sweep(now);
        let ring = rings.by_name.entry(integration.clone()).or_insert_with(|| Ring([Bucket::default(); MINUTES]));
        ring.note(succeeded, now);
    }

    /// The minutes of the last hour that had any, the latest first.
    pub(super) fn minutes(&self, integration: &IntegrationName, now: Moment) -> Vec<Minute> {
        let rings = self.lock();
        let mut found: Vec<Minute> =
            rings.by_name.get(integration).map(|ring| ring.minutes(minute(now)).collect()).unwrap_or_default();
        found.sort_by_key(|minute| minute.ago);
        found
    }

    fn lock(&self) -> MutexGuard<'_, Rings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rings {
    /// Forgets those that were silent for an hour. A second time within a minute would find none, and where many
    /// integrations log in for the first time each of them would look at all that came before it.
    fn sweep(&mut self, now: u64) {
        if self.swept != now {
            self.swept = now;
            self.by_name.retain(|_, ring| ring.minutes(now).next().is_some());
        }
    }
}

impl Ring {
    fn note(&mut self, succeeded: bool, minute: u64) {
        let place = usize::try_from(minute % SPAN).unwrap_or_default();
        let Some(bucket) = self.0.get_mut(place) else { return };
        if bucket.minute != minute {
            *bucket = Bucket { minute, ..Bucket::default() };
        }
        let count = if succeeded { &mut bucket.mints } else { &mut bucket.failures };
        *count = count.saturating_add(1);
    }

    fn minutes(&self, this: u64) -> impl Iterator<Item = Minute> {
        self.0.iter().filter_map(move |&Bucket { minute, mints, failures }| {
            let ago = this.checked_sub(minute).filter(|ago| *ago < SPAN && (mints, failures) != (0, 0))?;
            Some(Minute { ago, mints, failures })
        })
    }
}

fn minute(moment: Moment) -> u64 {
    moment.to_bits() / 60_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(minutes: u64) -> Moment {
        Moment::from_bits(0).after(Duration::from_secs(minutes * 60))
    }

    #[test]
    fn an_hour_is_remembered_and_nothing_that_is_older() {
        let (lately, elf) = (Lately::default(), "elf-prod".parse().unwrap());
        assert_eq!(lately.minutes(&elf, at(0)), []);
        for succeeded in [true, true, false] {
            lately.note(&elf, succeeded, at(100));
        }
        lately.note(&elf, false, at(130));
        let (first, second) = (Minute { ago: 30, mints: 2, failures: 1 }, Minute { ago: 0, mints: 0, failures: 1 });
        assert_eq!(lately.minutes(&elf, at(130)), [second, first]);
        assert_eq!(lately.minutes(&elf, at(159)), [Minute { ago: 29, ..second }, Minute { ago: 59, ..first }]);
        assert_eq!(lately.minutes(&elf, at(160)), [Minute { ago: 30, ..second }]);
        assert_eq!(lately.minutes(&elf, at(10_000)), []);
        // The place of a minute is used again an hour later.
        lately.note(&elf, true, at(160));
        assert_eq!(
            lately.minutes(&elf, at(160)),
            [Minute { ago: 0, mints: 1, failures: 0 }, Minute { ago: 30, ..second }]
        );
    }

    #[test]
    fn a_name_that_had_no_login_for_an_hour_takes_no_room_once_there_is_another() {
        let lately = Lately::default();
        for number in 0..200 {
            lately.note(&format!("elf-{number}").parse().unwrap(), true, at(number * 10));
            assert!(lately.lock().by_name.len() <= 6, "{}", lately.lock().by_name.len());
        }
    }

    #[test]
    fn many_first_logins_in_one_minute_do_not_look_at_each_other() {
        let (lately, began) = (Lately::default(), tokio::time::Instant::now());
        for number in 0..10_000 {
            lately.note(&format!("elf-{number}").parse().unwrap(), true, at(100));
        }
        // If each looked at all before it, these would be 50 million looks, and minutes.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(lately.lock().by_name.len(), 10_000);
    }

    #[test]
    fn a_count_stays_at_its_most() {
        let (lately, elf) = (Lately::default(), "elf-prod".parse().unwrap());
        for _ in 0..70_000 {
            lately.note(&elf, true, at(1));
        }
        assert_eq!(lately.minutes(&elf, at(1)), [Minute { ago: 0, mints: u16::MAX, failures: 0 }]);
    }
}
