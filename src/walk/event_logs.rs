//! Event log files: how many the user sees, of which types, how new, and, where it is asked for, the beginning of one.
//!
//! What a log file says of people stays in it: of its content only the names of the columns and the number of rows are
//! told.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::rest::Refused;
use super::{Row, Step, Walk};
use crate::salesforce::{CONFIRM_PATH, Grant, printable};

/// So many files are looked at; an org with event monitoring has tens of thousands.
const MOST_FILES: usize = 1000;
/// So much of a file is read.
const MOST_BYTES: usize = 256 * 1024;
/// Daily files come the next morning. When the newest one is older, something has stopped.
const STALE_DAYS: i64 = 3;
/// So many types are named to people.
const NAMED_TYPES: usize = 6;

const GENERATE: &str = "Setup > Event Manager (or Event Monitoring Settings): is event monitoring licensed, and \
     are log files generated? The first come a day later, the first hourly ones after some hours";
const LET_SEE: &str = "Setup > Permission Sets > one that the user has > System Permissions: tick View Event Log Files";
const AGAIN: &str = "look at trust.salesforce.com, and ask again";
/// So many columns are named.
const NAMED_COLUMNS: usize = 40;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    id: String,
    event_type: String,
    log_date: String,
    #[serde(default)]
    log_file_length: f64,
    interval: Option<String>,
}

impl Walk<'_> {
    /// The files, and the beginning of one where that is asked for.
    pub(super) async fn event_logs(&mut self, grant: &Grant) {
        self.begin(Step::EventLogFiles);
        let asked = format!("EventLogFile, the newest {MOST_FILES}");
        let (count, files) = match self.files(grant).await {
            Ok(told) => told,
            Err(refused) => {
                let row = Row::fail(Step::EventLogFiles, asked, &refused.seen);
                let hidden = matches!(refused.code(), "INVALID_TYPE" | "INSUFFICIENT_ACCESS");
                self.push(row.remedy(if hidden { LET_SEE } else { AGAIN }));
                return self.leave_out([Step::LogFile], "no file is seen: see event log files");
            }
        };
        // By Salesforce's clock where ours is known to differ.
        let now = self.integration.clock().timestamp().as_second() + self.integration.clock_skew().unwrap_or_default();
        self.push(summary(asked, (count, &files), now));
        if self.extras.read_one_log {
            self.log_file(grant, &files).await;
        }
    }

    /// An org without hourly files does not know the column `Interval`.
    async fn files(&mut self, grant: &Grant) -> Result<(usize, Vec<File>), Refused> {
        let soql = |interval: &str| {
            format!(
                "SELECT Id, EventType, LogDate, LogFileLength{interval} FROM EventLogFile ORDER BY LogDate DESC \
                 LIMIT {MOST_FILES}"
            )
        };
        let told = match self.query::<File>(grant, &soql(", Interval")).await {
            Err(refused) if refused.code() == "INVALID_FIELD" => self.query(grant, &soql("")).await?,
            told => told?,
        };
        // The org may hand out fewer in one answer than it counts.
        Ok((told.total, told.records))
    }

    async fn log_file(&mut self, grant: &Grant, files: &[File]) {
        self.begin(Step::LogFile);
        let filled = files.iter().filter(|file| file.log_file_length > 0.0 && file.has_plain_id());
        let smallest = filled.min_by(|one, other| one.log_file_length.total_cmp(&other.log_file_length));
        let Some(file) = smallest else {
            return self.leave_out([Step::LogFile], "no file to read: see event log files");
        };
        let asked = format!("GET EventLogFile/{}/LogFile, the smallest: {}", file.id, file.name());
        let path = format!("{CONFIRM_PATH}sobjects/EventLogFile/{}/LogFile", file.id);
        let reply = self.integration.ask_for_begin(grant, &path, MOST_BYTES, self.deadline).await;
        let row = match reply {
            Ok(reply) if reply.status == 200 => read(asked, &reply.body, reply.cut),
            Ok(reply) => Row::fail(Step::LogFile, asked, Refused::of(&reply).seen).remedy(LET_SEE),
            Err(error) => Row::fail(Step::LogFile, asked, error.detail).remedy(AGAIN),
        };
        self.push(row);
    }
}

impl File {
    fn has_plain_id(&self) -> bool {
        matches!(self.id.len(), 15 | 18) && self.id.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }

    fn name(&self) -> String {
        printable(&format!("{} of {}", self.event_type, self.date()))
    }

    /// The minute is enough.
    fn date(&self) -> String {
        printable(self.log_date.get(..16).unwrap_or(&self.log_date))
    }

    fn began(&self) -> Option<Timestamp> {
        // Salesforce writes `2026-11-21T18:00:00.000+0000`.
        format!("{}Z", self.log_date.get(..19)?).parse().ok()
    }
}

fn summary(asked: String, (count, files): (usize, &[File]), now: i64) -> Row {
    let step = Step::EventLogFiles;
    let Some(newest) = files.first() else {
        return Row::fail(step, asked, "no file at all").remedy(GENERATE).fact("files", 0);
    };
    let mut types: BTreeMap<String, u64> = BTreeMap::new();
    for file in files {
        *types.entry(printable(&file.event_type)).or_default() += 1;
    }
    let named = types.keys().take(NAMED_TYPES).cloned().collect::<Vec<_>>().join(", ");
    let others = match types.len().saturating_sub(NAMED_TYPES) {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    let has = |interval| files.iter().any(|file| file.interval.as_deref() == Some(interval));
    let intervals = match (has("Hourly"), has("Daily")) {
        (true, true) => "hourly and daily",
        (true, false) => "hourly",
        (false, _) => "daily only",
    };
    let all = if count >= MOST_FILES { format!("{count} files or more") } else { counted(count, "file") };
    let kinds = counted(types.len(), "type");
    let seen = format!("{all} of {kinds} ({named}{others}), {intervals}, newest of {}", newest.date());
    let age = newest.began().map(|began| now.saturating_sub(began.as_second()).div_euclid(86_400));
    let row = match age {
        Some(days) if days > STALE_DAYS => Row::warn(step, asked, format!("{seen}, {days} days ago")).remedy(GENERATE),
        _ => Row::pass(step, asked, seen),
    };
    let types: super::Facts = types.into_iter().map(|(name, count)| (name, count.into())).collect();
    row.fact("files", count).fact("types", types).fact("newest", newest.date()).fact("hourly", has("Hourly"))
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Columns and rows of the beginning of a CSV file, none of its cells.
fn read(asked: String, body: &[u8], cut: bool) -> Row {
    let text = String::from_utf8_lossy(body);
    let mut columns = columns(&text);
    if columns.is_empty() {
        return Row::fail(Step::LogFile, asked, "what came is no CSV with names of columns")
            .remedy("look at what stands between: a proxy may answer in Salesforce's place");
    }
    let rows = lines(&text).saturating_sub(1);
    let all = columns.len();
    columns.truncate(NAMED_COLUMNS);
    let others = if all > columns.len() { format!(" and {} more", all - columns.len()) } else { String::new() };
    let seen = format!(
        "{}{} of {}, the cells are not shown: {}{others}",
        if cut { "it begins with " } else { "" },
        counted(rows, "row"),
        counted(all, "column"),
        columns.join(", ")
    );
    let row = if rows == 0 { Row::warn(Step::LogFile, asked, seen) } else { Row::pass(Step::LogFile, asked, seen) };
    row.fact("rows", rows).fact("whole", !cut).fact("columns", columns)
}

/// The names in the first line, if it has such names alone, each in quotes, as Salesforce writes them: anything else may
/// be somebody's data.
fn columns(text: &str) -> Vec<String> {
    let first = text.lines().next().unwrap_or_default();
    let names = first.split(',').map(|name| name.strip_prefix('"')?.strip_suffix('"'));
    let is_name = |name: Option<&str>| {
        let Some(name) = name else { return false };
        let plain = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        plain && (1..=80).contains(&name.len())
    };
    if names.clone().all(is_name) { names.flatten().map(str::to_owned).collect() } else { Vec::new() }
}

/// Whole lines; a quoted cell may hold line ends.
fn lines(text: &str) -> usize {
    let mut quoted = false;
    text.bytes()
        .filter(|byte| {
            quoted ^= *byte == b'"';
            *byte == b'\n' && !quoted
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn file(event_type: &str, log_date: &str, interval: Option<&str>) -> File {
        let (event_type, log_date) = (event_type.to_owned(), log_date.to_owned());
        let interval = interval.map(str::to_owned);
        File { id: "0AT5g0000000001AAA".to_owned(), event_type, log_date, log_file_length: 9.0, interval }
    }

    #[test]
    fn files_are_counted_by_type_and_the_newest_is_judged_by_its_age() {
        let now: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        let files = [
            file("Login", "2026-11-21T18:00:00.000+0000", Some("Hourly")),
            file("Api", "2026-11-20T00:00:00.000+0000", Some("Daily")),
            file("Login", "2026-11-20T00:00:00.000+0000", Some("Daily")),
        ];
        let row = summary("x".to_owned(), (3, &files), now.as_second());
        assert_eq!(row.seen, "3 files of 2 types (Api, Login), hourly and daily, newest of 2026-11-21T18:00");
        assert_eq!((row.verdict, row.facts["types"]["Login"].as_u64()), (Verdict::Pass, Some(2)));
        let row = summary("x".to_owned(), (3, &files), now.as_second() + 5 * 86_400);
        assert_eq!(row.verdict, Verdict::Warn);
        assert!(row.seen.ends_with("5 days ago") && row.remedy.is_some(), "{}", row.seen);
        let daily = [file("Login", "2026-11-21T00:00:00.000+0000", None)];
        let row = summary("x".to_owned(), (1, &daily), now.as_second());
        assert_eq!(row.seen, "1 file of 1 type (Login), daily only, newest of 2026-11-21T00:00");
        assert_eq!(summary("x".to_owned(), (0, &[]), now.as_second()).verdict, Verdict::Fail);
    }

    #[test]
    fn of_a_log_file_only_columns_and_a_count_are_told() {
        let csv =
            "\"EVENT_TYPE\",\"USER_NAME\"\n\"Login\",\"someone@acme.example\"\n\"Login\",\"two\nlines \"\"x\"\"\"\n";
        let row = read("x".to_owned(), csv.as_bytes(), false);
        assert_eq!(row.seen, "2 rows of 2 columns, the cells are not shown: EVENT_TYPE, USER_NAME");
        assert_eq!((row.verdict, row.facts["rows"].as_u64()), (Verdict::Pass, Some(2)));
        let names: Vec<_> = (0..43).map(|number| format!("\"C{number}\"")).collect();
        let row = read("x".to_owned(), format!("{}\n1\n", names.join(",")).as_bytes(), false);
        assert!(
            row.seen.starts_with("1 row of 43 columns, ") && row.seen.ends_with(", C39 and 3 more"),
            "{}",
            row.seen
        );
        assert_eq!(row.facts["columns"].as_array().unwrap().len(), 40);
        let row = read("x".to_owned(), csv.get(..30).unwrap().as_bytes(), true);
        assert!(row.seen.starts_with("it begins with 0 rows"), "{}", row.seen);
        for wrong in
            ["", "<html>We are down</html>", "{\"a\":1}", "\"Login\",\"someone@acme.example\"\n", "SOMEONE,5\n"]
        {
            let row = read("x".to_owned(), wrong.as_bytes(), false);
            assert!(row.verdict == Verdict::Fail && !row.seen.contains("someone"), "{wrong}");
        }
    }
}
