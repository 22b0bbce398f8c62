//! Event log files: made-up events, the same ones every time for the same date.
//!
//! A file's content follows from its number alone, so an id found yesterday opens the same file today. Files appear
//! when Salesforce would have made them: hourly ones some three hours after their hour, daily ones the next morning.

use jiff::{SignedDuration, Timestamp};

use super::org::{base62, long_id};
use super::settings::EventLogs;

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventType {
    Login,
    Api,
    LightningPageView,
}

const EVENT_TYPES: [EventType; 3] = [EventType::Login, EventType::Api, EventType::LightningPageView];

impl EventType {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Login => "Login",
            Self::Api => "API",
            Self::LightningPageView => "LightningPageView",
        }
    }

    /// The columns of the file, in order, with commas between.
    pub(super) fn columns(self) -> &'static str {
        match self {
            Self::Login => {
                "EVENT_TYPE,TIMESTAMP,REQUEST_ID,ORGANIZATION_ID,USER_ID,RUN_TIME,CPU_TIME,URI,SESSION_KEY,\
                 LOGIN_KEY,REQUEST_STATUS,DB_TOTAL_TIME,BROWSER_TYPE,API_TYPE,API_VERSION,USER_NAME,TLS_PROTOCOL,\
                 CIPHER_SUITE,LOGIN_TYPE,LOGIN_SUB_TYPE,TIMESTAMP_DERIVED,USER_ID_DERIVED,CLIENT_IP,\
                 URI_ID_DERIVED,LOGIN_STATUS,SOURCE_IP"
            }
            Self::Api => {
                "EVENT_TYPE,TIMESTAMP,REQUEST_ID,ORGANIZATION_ID,USER_ID,RUN_TIME,CPU_TIME,URI,SESSION_KEY,\
                 LOGIN_KEY,USER_TYPE,REQUEST_STATUS,DB_TOTAL_TIME,API_TYPE,API_VERSION,CLIENT_NAME,METHOD_NAME,\
                 ENTITY_NAME,ROWS_PROCESSED,REQUEST_SIZE,RESPONSE_SIZE,DB_BLOCKS,DB_CPU_TIME,TIMESTAMP_DERIVED,\
                 USER_ID_DERIVED,CLIENT_IP,URI_ID_DERIVED"
            }
            Self::LightningPageView => {
                "EVENT_TYPE,TIMESTAMP,REQUEST_ID,ORGANIZATION_ID,USER_ID,CLIENT_ID,SESSION_KEY,LOGIN_KEY,\
                 USER_TYPE,APP_NAME,DEVICE_PLATFORM,OS_NAME,OS_VERSION,BROWSER_NAME,BROWSER_VERSION,\
                 PAGE_START_TIME,DURATION,EFFECTIVE_PAGE_TIME,PAGE_URL,PAGE_ENTITY_TYPE,UI_EVENT_ID,\
                 UI_EVENT_TYPE,TIMESTAMP_DERIVED,USER_ID_DERIVED,CLIENT_IP"
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogFile {
    /// 18 characters, starting with the object's prefix `0AT`.
    pub(super) id: String,
    pub(super) event_type: EventType,
    /// The beginning of the hour or day the events are of.
    pub(super) log_date: Timestamp,
    pub(super) created: Timestamp,
    pub(super) hourly: bool,
    number: u64,
}

/// The files there are now, oldest day first.
pub(super) fn files(logs: &EventLogs, now: Timestamp) -> Vec<LogFile> {
    let today = now.as_second().div_euclid(DAY);
    let days = today - i64::from(logs.days)..=today;
    let slots = if logs.hourly { 0..25 } else { 24..25 };
    let all = days.flat_map(|day| slots.clone().map(move |slot| (day, slot)));
    let typed = all.flat_map(|(day, slot)| EVENT_TYPES.into_iter().map(move |event_type| (day, slot, event_type)));
    typed.filter_map(|(day, slot, event_type)| file(day, slot, event_type)).filter(|file| file.created <= now).collect()
}

/// Slots 0 to 23 are the hours; 24 is the whole day.
fn file(day: i64, slot: i64, event_type: EventType) -> Option<LogFile> {
    let hourly = slot < 24;
    let number = u64::try_from((day * 25 + slot) * 3 + event_type as i64).ok()?;
    let log_date = day * DAY + if hourly { slot * HOUR } else { 0 };
    let delay = if hourly { 3 * HOUR } else { DAY + 3 * HOUR } + i64::try_from(mixed(number) % 1_800).ok()?;
    Some(LogFile {
        id: long_id(&format!("0AT5g000{}", base62(number, 7))),
        event_type,
        log_date: Timestamp::from_second(log_date).ok()?,
        created: Timestamp::from_second(log_date + delay).ok()?,
        hourly,
        number,
    })
}

impl LogFile {
    /// The content: a header row and so many events, every cell quoted.
    pub(super) fn csv(&self, organization_id: &str, rows: u16) -> String {
        let columns = || self.event_type.columns().split(',');
        let mut csv = row(columns().map(str::to_owned));
        for number in 0..u64::from(rows) {
            let event = self.event(organization_id, number, rows);
            csv.push_str(&row(columns().map(|column| event.cell(column))));
        }
        csv
    }

    fn event<'a>(&self, organization_id: &'a str, row: u64, rows: u16) -> Event<'a> {
        let period = if self.hourly { HOUR } else { DAY };
        let every = period / i64::from(rows).max(1);
        let seed = mixed(self.number.wrapping_mul(100_003).wrapping_add(row));
        let offset = every * i64::try_from(row).unwrap_or_default() + i64::try_from(seed % 50).unwrap_or_default();
        let at = self.log_date.checked_add(SignedDuration::from_secs(offset)).unwrap_or(self.log_date);
        Event { event_type: self.event_type, organization_id, at, seed }
    }
}

fn row(cells: impl Iterator<Item = String>) -> String {
    let quoted: Vec<String> = cells.map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
    quoted.join(",") + "\n"
}

struct Event<'a> {
    event_type: EventType,
    organization_id: &'a str,
    at: Timestamp,
    seed: u64,
}

impl Event<'_> {
    fn cell(&self, column: &str) -> String {
        let user = 1 + self.seed % 7;
        let user_id = format!("0055g00000{}", base62(user, 5));
        match column {
            "EVENT_TYPE" => self.event_type.name().to_owned(),
            "TIMESTAMP" => self.at.strftime("%Y%m%d%H%M%S.000").to_string(),
            "TIMESTAMP_DERIVED" => self.at.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string(),
            "ORGANIZATION_ID" => self.organization_id.to_owned(),
            "USER_ID" => user_id,
            "USER_ID_DERIVED" => long_id(&user_id),
            "USER_NAME" => format!("user{user}@simulated.example"),
            "CLIENT_IP" | "SOURCE_IP" => format!("192.0.2.{user}"),
            "REQUEST_ID" | "SESSION_KEY" | "LOGIN_KEY" | "UI_EVENT_ID" => base62(self.number(column), 10),
            "RUN_TIME"
            | "CPU_TIME"
            | "DB_TOTAL_TIME"
            | "DB_CPU_TIME"
            | "DB_BLOCKS"
            | "REQUEST_SIZE"
            | "RESPONSE_SIZE"
            | "ROWS_PROCESSED"
            | "DURATION"
            | "EFFECTIVE_PAGE_TIME" => (self.number(column) % 900).to_string(),
            "PAGE_START_TIME" => self.at.as_millisecond().to_string(),
            _ => self.word(column).to_owned(),
        }
    }

    /// Cells that are one of a few words.
    fn word(&self, column: &str) -> &'static str {
        let failed = self.seed.is_multiple_of(5);
        match column {
            "URI" if self.event_type == EventType::Login => "/services/oauth2/token",
            "URI" => "/services/data/v60.0/query",
            "LOGIN_STATUS" if failed => "LOGIN_ERROR_INVALID_PASSWORD",
            "LOGIN_STATUS" => "LOGIN_NO_ERROR",
            "REQUEST_STATUS" if failed => "F",
            "REQUEST_STATUS" => "S",
            "LOGIN_TYPE" => "i",
            "LOGIN_SUB_TYPE" => "OauthJwtBearer",
            "API_TYPE" => "R",
            "API_VERSION" => "60.0",
            "TLS_PROTOCOL" => "TLSv1.3",
            "CIPHER_SUITE" => "TLS_AES_256_GCM_SHA384",
            "BROWSER_TYPE" | "CLIENT_NAME" => "SIMULATED, \"client\"",
            "USER_TYPE" => "Standard",
            "METHOD_NAME" => "query",
            "ENTITY_NAME" | "PAGE_ENTITY_TYPE" => "Account",
            "APP_NAME" => "one:one",
            "DEVICE_PLATFORM" => "SFX:BROWSER:DESKTOP",
            "OS_NAME" => "LINUX",
            "BROWSER_NAME" => "FIREFOX",
            "BROWSER_VERSION" => "145",
            "PAGE_URL" => "/lightning/o/Account/list",
            "UI_EVENT_TYPE" => "view",
            _ => "",
        }
    }

    fn number(&self, column: &str) -> u64 {
        column.bytes().fold(self.seed, |sum, byte| mixed(sum ^ u64::from(byte)))
    }
}

/// A fixed, well-mixing function (splitmix64): the events look random and never change.
fn mixed(number: u64) -> u64 {
    let a = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let b = (a ^ (a >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let c = (b ^ (b >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    c ^ (c >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

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
    }

    #[test]
    fn every_row_has_a_quoted_cell_for_each_column() {
        for file in files(&EventLogs::default(), at(1_800_000_000)).iter().rev().take(6) {
            let csv = file.csv("00D5g00000SIMU1", 5);
            let columns = file.event_type.columns().split(',').count();
            assert_eq!(csv.lines().count(), 6);
            for line in csv.lines() {
                assert!(line.starts_with('"') && line.ends_with('"'));
                assert_eq!(line.split("\",\"").count(), columns, "{line}");
            }
            assert!(csv.starts_with("\"EVENT_TYPE\",\"TIMESTAMP\""));
            assert_eq!(csv, file.csv("00D5g00000SIMU1", 5));
        }
    }
}
