//! One made-up event and its cells.
//!
//! Who acts, from where and in which session follows from a few numbers, so that the rows of several files fit
//! together: the same user has the same address all the time and the same session for a day. Addresses are from the
//! range for documentation. Some texts hold commas and quotes, because true ones do.

use jiff::Timestamp;

use super::super::org::{base62, long_id};
use super::event_type::EventType;

/// How many people work in the org; the first is the integration user.
const USERS: u64 = 7;

/// The integration user and people with browsers.
const AGENTS: [(&str, &str, &str); 3] = [
    ("LINUX", "UNKNOWN", "python-requests/2.32 (SIMULATED, \"client\")"),
    ("WINDOWS", "CHROME", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/141.0 (SIMULATED, like others)"),
    ("MAC", "SAFARI", "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6) Safari/618 (SIMULATED)"),
];

const ENTITIES: [&str; 5] = ["Account", "Contact", "Opportunity", "Case", "Lead"];

pub(in super::super) struct Event<'a> {
    pub(super) event_type: EventType,
    pub(super) organization_id: &'a str,
    pub(in super::super) at: Timestamp,
    pub(super) seed: u64,
}

impl Event<'_> {
    fn user(&self) -> u64 {
        1 + self.seed % USERS
    }

    fn is_person(&self) -> bool {
        self.user() != 1
    }

    fn failed(&self) -> bool {
        self.number("failed").is_multiple_of(9)
    }

    pub(in super::super) fn cell(&self, column: &str) -> String {
        let user_id = format!("0055g00000{}", base62(self.user(), 5));
        match column {
            "EVENT_TYPE" => self.event_type.name().to_owned(),
            "TIMESTAMP" => format!("{}{:03}", self.at.strftime("%Y%m%d%H%M%S."), self.milliseconds()),
            "TIMESTAMP_DERIVED" => format!("{}{:03}Z", self.at.strftime("%Y-%m-%dT%H:%M:%S."), self.milliseconds()),
            "PAGE_START_TIME" => (self.at.as_millisecond() + self.milliseconds()).to_string(),
            "ORGANIZATION_ID" => self.organization_id.to_owned(),
            "USER_ID" => user_id,
            "USER_ID_DERIVED" => long_id(&user_id),
            "USER_NAME" => format!("user{}@simulated.example", self.user()),
            "CLIENT_IP" | "SOURCE_IP" => format!("192.0.2.{}", 10 + self.user()),
            "SESSION_KEY" | "LOGIN_KEY" => base62(self.of_the_day(column), 10),
            "REQUEST_ID" => format!("4{}", base62(self.number(column), 10) + &base62(self.number("more"), 10)),
            "UI_EVENT_ID" | "JOB_ID" | "BATCH_ID" | "PAGE_ENTITY_ID" | "REPORT_ID" | "REPORT_ID_DERIVED" => {
                self.record_id(column)
            }
            "URI_ID_DERIVED" if self.is_person() && self.has_pages() => self.record_id("PAGE_ENTITY_ID"),
            "URI" | "PAGE_URL" => self.address(),
            "REFERRER_URI" => "/lightning/page/home".to_owned(),
            "ENTITY_NAME" | "PAGE_ENTITY_TYPE" | "ENTITY_TYPE" => self.entity().to_owned(),
            "QUERY" => format!("SELECT Id, Name FROM {} WHERE Name LIKE \"SIMULATED, %\"", self.entity()),
            "REPORT_DESCRIPTION" => format!("{}s by \"owner\", this quarter", self.entity()),
            "USER_AGENT" | "BROWSER_TYPE" | "CLIENT_INFO" => self.agent().2.to_owned(),
            "OS_NAME" => self.agent().0.to_owned(),
            "BROWSER_NAME" => self.agent().1.to_owned(),
            _ => self.measure(column).map_or_else(|| self.word(column).to_owned(), |number| number.to_string()),
        }
    }

    /// Cells that hold a number.
    fn measure(&self, column: &str) -> Option<u64> {
        let below = match column {
            "RUN_TIME" | "EXEC_TIME" | "DURATION" | "EFFECTIVE_PAGE_TIME" => 4_000,
            "CPU_TIME" | "DB_CPU_TIME" => 400,
            // In nanoseconds, unlike the others.
            "DB_TOTAL_TIME" => 900_000_000,
            "DB_BLOCKS" | "REQUEST_SIZE" => 5_000,
            "RESPONSE_SIZE" => 200_000,
            "ROWS_PROCESSED" | "ROW_COUNT" => 2_000,
            "NUMBER_FIELDS" | "NUMBER_COLUMNS" | "NUMBER_SOQL_QUERIES" => 40,
            "UI_EVENT_SEQUENCE_NUM" => 90,
            "AVERAGE_ROW_SIZE" => 600,
            "NUMBER_EXCEPTION_FILTERS" | "NUMBER_BUCKETS" => 3,
            "NUMBER_FAILURES" | "CALLOUT_TIME" => {
                return Some(if self.failed() { self.number(column) % 50 } else { 0 });
            }
            _ => return None,
        };
        Some(self.number(column) % below)
    }

    /// Cells that are one of a few words.
    fn word(&self, column: &str) -> &'static str {
        let (failed, person) = (self.failed(), self.is_person());
        match column {
            "LOGIN_STATUS" if failed && person => "LOGIN_ERROR_INVALID_PASSWORD",
            "LOGIN_STATUS" if failed => "LOGIN_OAUTH_INVALID_DSIG",
            "LOGIN_STATUS" => "LOGIN_NO_ERROR",
            "REQUEST_STATUS" if failed => "F",
            "REQUEST_STATUS" => "S",
            "SUCCESS" if failed => "0",
            "SUCCESS" => "1",
            "STATUS_CODE" if failed => "401",
            "STATUS_CODE" => "200",
            "EXCEPTION_MESSAGE" if failed => "INVALID_SESSION_ID: Session expired or invalid, \"SIMULATED\"",
            "MESSAGE" if failed => "InvalidBatch : Field name not found, SIMULATED",
            "LOGIN_TYPE" if person => "Application",
            "LOGIN_TYPE" => "i",
            "LOGIN_SUB_TYPE" if !person => "OauthJwtBearer",
            "AUTHENTICATION_METHOD_REFERENCE" if person => "mfa",
            "API_TYPE" if self.event_type == EventType::Login && person => "",
            "API_TYPE" => "R",
            "API_VERSION" => "60.0",
            "TLS_PROTOCOL" => "TLSv1.3",
            "CIPHER_SUITE" => "TLS_AES_256_GCM_SHA384",
            "CLIENT_NAME" => "SIMULATED, \"client\"",
            "USER_TYPE" => "Standard",
            "METHOD" => "GET",
            "METHOD_NAME" => "query",
            "MEDIA_TYPE" => "application/json",
            "OPERATION_TYPE" => "QUERY",
            "ENTRY_POINT" => "SimulatedController.refresh(String, Integer)",
            "QUIDDITY" => "L",
            "IS_LONG_RUNNING_REQUEST" => "0",
            "APP_NAME" => "one:one",
            "DEVICE_PLATFORM" => "SFX:BROWSER:DESKTOP",
            "CONNECTION_TYPE" => "4g",
            "PAGE_CONTEXT" => "one:recordHomeWrapper",
            "UI_EVENT_SOURCE" => "click",
            "UI_EVENT_TYPE" => "user",
            "DISPLAY_TYPE" | "RENDERING_TYPE" => "TABULAR",
            "ORIGIN" => "ReportRunFromLightning",
            "USER_INITIATED_LOGOUT" if failed => "0",
            "USER_INITIATED_LOGOUT" => "1",
            "SESSION_TYPE" => "I",
            "SESSION_LEVEL" => "1",
            "APP_TYPE" => "1000",
            "PLATFORM_TYPE" => "1015",
            "RESOLUTION_TYPE" => "9999",
            _ => "",
        }
    }

    /// What was asked for.
    fn address(&self) -> String {
        match self.event_type {
            EventType::Login if self.is_person() => "/index.jsp".to_owned(),
            EventType::Login => "/services/oauth2/token".to_owned(),
            EventType::BulkApi => "/services/data/v60.0/jobs/query".to_owned(),
            EventType::ApexExecution => "/aura".to_owned(),
            EventType::Report | EventType::ReportExport => format!("/{}", self.record_id("REPORT_ID")),
            EventType::Api | EventType::RestApi => {
                let entity = self.entity();
                let resources = ["query", "limits", entity].map(|last| format!("/services/data/v60.0/{last}"));
                let [query, limits, records] = resources;
                if !self.is_person() {
                    query
                } else if self.failed() {
                    limits
                } else {
                    records
                }
            }
            EventType::LightningPageView | EventType::Logout | EventType::Uri => {
                format!("/lightning/r/{}/{}/view", self.entity(), self.record_id("PAGE_ENTITY_ID"))
            }
        }
    }

    fn has_pages(&self) -> bool {
        matches!(self.event_type, EventType::LightningPageView | EventType::Uri)
    }

    fn record_id(&self, column: &str) -> String {
        let prefix = match column {
            "JOB_ID" => "7505g00000",
            "BATCH_ID" => "7515g00000",
            "REPORT_ID" | "REPORT_ID_DERIVED" => "00O5g00000",
            "PAGE_ENTITY_ID" => "0015g00000",
            _ => "9995g00000",
        };
        let number = self.number(column.trim_end_matches("_DERIVED")) % 900;
        let id = format!("{prefix}{}", base62(number, 5));
        if column.ends_with("_DERIVED") || column == "PAGE_ENTITY_ID" { long_id(&id) } else { id }
    }

    fn entity(&self) -> &'static str {
        pick(&ENTITIES, self.number("entity")).copied().unwrap_or_default()
    }

    fn agent(&self) -> (&'static str, &'static str, &'static str) {
        let place = if self.is_person() { 1 + self.user() % 2 } else { 0 };
        pick(&AGENTS, place).copied().unwrap_or_default()
    }

    fn milliseconds(&self) -> i64 {
        i64::try_from(self.number("milliseconds") % 1_000).unwrap_or_default()
    }

    /// Something that stays the same for a user and a day.
    fn of_the_day(&self, what: &str) -> u64 {
        let day = self.at.as_second().div_euclid(86_400).unsigned_abs();
        number(mixed(day * USERS + self.user()), what)
    }

    fn number(&self, what: &str) -> u64 {
        number(self.seed, what)
    }
}

fn pick<T>(all: &[T], number: u64) -> Option<&T> {
    let count = u64::try_from(all.len()).unwrap_or(u64::MAX).max(1);
    all.get(usize::try_from(number % count).unwrap_or_default())
}

fn number(seed: u64, what: &str) -> u64 {
    what.bytes().fold(seed, |sum, byte| mixed(sum ^ u64::from(byte)))
}

/// A fixed, well-mixing function (splitmix64): the events look random and never change.
pub(super) fn mixed(number: u64) -> u64 {
    let a = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let b = (a ^ (a >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let c = (b ^ (b >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    c ^ (c >> 31)
}
