//! Event log files: made-up events, the same ones every time for the same date.
//!
//! A file's content follows from its number alone, so an id found yesterday opens the same file today. Files appear
//! when Salesforce would have made them: hourly ones some three hours after their hour, daily ones the next morning. A
//! daily file holds the events of its 24 hours.

use jiff::{SignedDuration, Timestamp};

use super::org::{base62, long_id};
use super::settings::EventLogs;

mod event;
mod event_type;

pub(super) use event::Event;
pub(super) use event_type::EventType;

use event::mixed;
use event_type::EVENT_TYPES;

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogFile {
    /// 18 characters, starting with the object's prefix `0AT`.
    pub(super) id: String,
    pub(super) event_type: EventType,
    /// The beginning of the hour or day the events are of.
    pub(super) log_date: Timestamp,
    pub(super) created: Timestamp,
    pub(super) hourly: bool,
}

/// The files there are now, oldest day first.
pub(super) fn files(logs: &EventLogs, now: Timestamp) -> Vec<LogFile> {
    let today = now.as_second().div_euclid(DAY);
    let days = today - i64::from(logs.days)..=today;
    let slots = if logs.hourly { 0..25 } else { 24..25 };
    let all = days.flat_map(|day| slots.clone().map(move |slot| (day, slot)));
    let typed = all.flat_map(|(day, slot)| (0..EVENT_TYPES.len()).map(move |place| (day, slot, place)));
    typed.filter_map(|(day, slot, place)| file(day, slot, place)).filter(|file| file.created <= now).collect()
}

/// Slots 0 to 23 are the hours; 24 is the whole day.
fn file(day: i64, slot: i64, place: usize) -> Option<LogFile> {
    let hourly = slot < 24;
    // Room for sixteen types, so that another one does not change the ids of the files that there are.
    let number = u64::try_from((day * 25 + slot) * 16 + i64::try_from(place).ok()?).ok()?;
    let log_date = day * DAY + if hourly { slot * HOUR } else { 0 };
    let delay = if hourly { 3 * HOUR } else { DAY + 3 * HOUR } + i64::try_from(mixed(number) % 1_800).ok()?;
    Some(LogFile {
        id: long_id(&format!("0AT5g000{}", base62(number, 7))),
        event_type: *EVENT_TYPES.get(place)?,
        log_date: Timestamp::from_second(log_date).ok()?,
        created: Timestamp::from_second(log_date + delay).ok()?,
        hourly,
    })
}

impl LogFile {
    /// The content: a header row and the events, every cell quoted.
    pub(super) fn csv(&self, organization_id: &str, events_per_hour: u16) -> String {
        let columns = || self.event_type.columns().split(',');
        let mut csv = row(columns().map(str::to_owned));
        for hour in 0..if self.hourly { 1 } else { 24 } {
            let begins = self.log_date.as_second() + hour * HOUR;
            for event in events(self.event_type, organization_id, begins, events_per_hour) {
                csv.push_str(&row(columns().map(|column| event.cell(column))));
            }
        }
        csv
    }
}

/// The logins between two moments, for the object of real-time events.
pub(super) fn logins<'a>(
    organization_id: &'a str,
    (from, to): (Timestamp, Timestamp),
    per_hour: u16,
) -> impl Iterator<Item = Event<'a>> {
    let hours = from.as_second().div_euclid(HOUR)..=to.as_second().div_euclid(HOUR);
    let all = hours.flat_map(move |hour| events(EventType::Login, organization_id, hour * HOUR, per_hour));
    all.filter(move |event| event.at >= from && event.at <= to)
}

/// The events of the hour that begins at this second, in the order of time.
fn events(event_type: EventType, organization_id: &str, begins: i64, count: u16) -> impl Iterator<Item = Event<'_>> {
    let every = HOUR / i64::from(count).max(1);
    let kind = event_type.columns().bytes().fold(event_type as u64, |sum, byte| sum.wrapping_add(u64::from(byte)));
    (0..i64::from(count)).map(move |place| {
        let number = begins.unsigned_abs().wrapping_mul(1_009).wrapping_add(place.unsigned_abs());
        let seed = mixed(mixed(kind).wrapping_add(number));
        let within = i64::try_from(seed % every.max(1).unsigned_abs()).unwrap_or_default();
        let at = Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_secs(begins + every * place + within));
        Event { event_type, organization_id, at: at.unwrap_or(Timestamp::UNIX_EPOCH), seed }
    })
}

fn row(cells: impl Iterator<Item = String>) -> String {
    let quoted: Vec<String> = cells.map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
    quoted.join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ORG: &str = "00D5g00000SIMU1";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn files_appear_with_time_and_keep_their_ids() {
        let logs = EventLogs::default();
        let now = files(&logs, at(1_800_000_000));
        let later = files(&logs, at(1_800_000_000 + HOUR));
        let ids = |files: &[LogFile]| files.iter().map(|file| file.id.clone()).collect::<BTreeSet<_>>();
        assert_eq!(ids(&now).len(), now.len());
        assert!(ids(&now).is_subset(&ids(&later)) && later.len() > now.len());
        assert!(now.iter().all(|file| file.id.len() == 18 && file.id.starts_with("0AT")));
        assert!(now.iter().any(|file| !file.hourly));
        let daily = files(&EventLogs { hourly: false, ..logs }, at(1_800_000_000));
        assert!(!daily.is_empty() && daily.iter().all(|file| !file.hourly));
        let types: BTreeSet<_> = now.iter().map(|file| file.event_type.name()).collect();
        assert_eq!(types.len(), EVENT_TYPES.len());
    }

    /// The cells of a file by a reader of its own: quotes, doubled quotes, commas.
    fn cells(line: &str) -> Vec<String> {
        let inner = line.strip_prefix('"').and_then(|line| line.strip_suffix('"')).unwrap();
        inner.split("\",\"").map(|cell| cell.replace("\"\"", "\"")).collect()
    }

    #[test]
    fn every_row_has_a_quoted_cell_for_each_column_and_lies_in_its_period() {
        let all = files(&EventLogs::default(), at(1_800_000_000));
        for file in all.iter().filter(|file| !file.hourly).chain(all.iter().rev().take(20)) {
            let csv = file.csv(ORG, 5);
            let columns: Vec<&str> = file.event_type.columns().split(',').collect();
            assert_eq!(columns.len(), columns.iter().collect::<BTreeSet<_>>().len());
            assert_eq!(csv.lines().count(), if file.hourly { 6 } else { 121 });
            assert_eq!(csv, file.csv(ORG, 5));
            assert_eq!(cells(csv.lines().next().unwrap()), columns);
            let mut before = file.log_date;
            for line in csv.lines().skip(1) {
                let cells = cells(line);
                assert_eq!(cells.len(), columns.len(), "{line}");
                assert_eq!(cells[0], file.event_type.name());
                let derived = columns.iter().position(|column| *column == "TIMESTAMP_DERIVED").unwrap();
                let time: Timestamp = cells[derived].parse().unwrap();
                let ends = file.log_date.as_second() + if file.hourly { HOUR } else { DAY };
                assert!(time >= before && time.as_second() < ends, "{line}");
                before = time;
            }
        }
    }

    #[test]
    fn a_daily_file_holds_what_its_hours_hold() {
        let all = files(&EventLogs::default(), at(1_800_000_000));
        let daily = all.iter().find(|file| !file.hourly && file.event_type == EventType::RestApi).unwrap();
        let of_the_day = |file: &&LogFile| {
            let first = daily.log_date.as_second();
            let begins = file.log_date.as_second();
            file.hourly && file.event_type == daily.event_type && (first..first + DAY).contains(&begins)
        };
        let hours: Vec<String> = all.iter().filter(of_the_day).map(|file| file.csv(ORG, 5)).collect();
        let rows = hours.iter().flat_map(|csv| csv.lines().skip(1));
        assert_eq!((hours.len(), rows.collect::<Vec<_>>()), (24, daily.csv(ORG, 5).lines().skip(1).collect()));
        let (first, last) = (daily.log_date, at(daily.log_date.as_second() + DAY - 1));
        assert_eq!(logins(ORG, (first, last), 5).count(), 120);
    }
}
