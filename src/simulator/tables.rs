//! The objects a query can ask for, as one user may see them.
//!
//! A user without the right does not see an empty `EventLogFile` but none at all, and an org without hourly files has
//! no columns `Interval` and `Sequence`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::logs::{self, Event, LogFile};
use super::org::long_id;
use super::rest::Caller;
use super::settings::{Standing, User};
use super::soql::{Cell, Kind, Table};
use super::world::World;

/// When the org and its users came to be: 2020-01-01.
const FOUNDED: Timestamp = Timestamp::constant(1_577_836_800, 0);

pub(super) fn open(world: &World, caller: &Caller, version: u32, now: Timestamp, name: &str) -> Option<Table> {
    match name.to_lowercase().as_str() {
        "eventlogfile" if sees_event_logs(&caller.user.is) => Some(event_log_files(world, caller, version, now)),
        "loginevent" if sees_event_logs(&caller.user.is) => Some(login_events(world, caller, now)),
        "organization" => Some(organization(caller)),
        "user" => Some(users(caller)),
        "userpermissionaccess" => Some(permissions(caller)),
        _ => None,
    }
}

pub(super) fn sees_event_logs(user: &User) -> bool {
    user.view_event_log_files || user.view_all_data
}

fn event_log_files(world: &World, caller: &Caller, version: u32, now: Timestamp) -> Table {
    let hourly = world.event_logs.hourly;
    let mut columns = vec![
        ("Id", Kind::Id),
        ("EventType", Kind::Text),
        ("LogDate", Kind::Time),
        ("CreatedDate", Kind::Time),
        ("LastModifiedDate", Kind::Time),
        ("SystemModstamp", Kind::Time),
        ("IsDeleted", Kind::Boolean),
        ("ApiVersion", Kind::Number),
        ("LogFile", Kind::Text),
        ("LogFileContentType", Kind::Text),
        ("LogFileLength", Kind::Number),
        ("LogFileFieldNames", Kind::Text),
    ];
    if hourly {
        columns.extend([("Interval", Kind::Text), ("Sequence", Kind::Integer)]);
    }
    let files = logs::files(&world.event_logs, now);
    let lengths = lengths(world, &caller.org.id, &files);
    let row = |file: LogFile| {
        let length = lengths.get(&file.id).copied().unwrap_or_default();
        let mut cells = vec![
            Cell::text(&file.id),
            Cell::text(file.event_type.name()),
            Cell::Time(file.log_date),
            Cell::Time(file.created),
            Cell::Time(file.created),
            Cell::Time(file.created),
            Cell::Boolean(false),
            Cell::Number(60.0),
            Cell::text(format!("/services/data/v{version}.0/sobjects/EventLogFile/{}/LogFile", file.id)),
            Cell::text("text/csv"),
            Cell::Number(length as f64),
            Cell::text(file.event_type.columns()),
        ];
        if hourly {
            cells.push(Cell::text(if file.hourly { "Hourly" } else { "Daily" }));
            cells.push(Cell::Number(if file.hourly { 1.0 } else { 0.0 }));
        }
        cells
    };
    let rows = files.into_iter().map(row).collect();
    Table { name: "EventLogFile", columns, rows }
}

/// How long these files are; each is written for that once.
fn lengths(world: &World, organization_id: &str, files: &[LogFile]) -> BTreeMap<String, usize> {
    let mut lengths = world.with(|state| state.log_lengths.clone());
    let before = lengths.len();
    for file in files {
        let write = || file.csv(organization_id, world.event_logs.events_per_hour).len();
        lengths.entry(file.id.clone()).or_insert_with(write);
    }
    if lengths.len() != before {
        // Those of files that are gone go, too.
        lengths.retain(|id, _| files.iter().any(|file| file.id == *id));
        world.with(|state| state.log_lengths.clone_from(&lengths));
    }
    lengths
}

/// Logins as they happen: the object behind the real-time events.
fn login_events(world: &World, caller: &Caller, now: Timestamp) -> Table {
    let columns = vec![
        ("Id", Kind::Id),
        ("EventIdentifier", Kind::Text),
        ("EventDate", Kind::Time),
        ("CreatedDate", Kind::Time),
        ("UserId", Kind::Id),
        ("Username", Kind::Text),
        ("UserType", Kind::Text),
        ("LoginKey", Kind::Text),
        ("SessionKey", Kind::Text),
        ("SourceIp", Kind::Text),
        ("LoginType", Kind::Text),
        ("LoginSubType", Kind::Text),
        ("LoginUrl", Kind::Text),
        ("Status", Kind::Text),
        ("Browser", Kind::Text),
        ("Platform", Kind::Text),
        ("TlsProtocol", Kind::Text),
        ("CipherSuite", Kind::Text),
        ("EvaluationTime", Kind::Number),
    ];
    let row = |event: Event<'_>| {
        let text = |column: &str| Cell::text(event.cell(column));
        vec![
            Cell::text(long_id(&format!("0Ya5g{}", text_of(&event.cell("REQUEST_ID"), 10)))),
            text("REQUEST_ID"),
            Cell::Time(event.at),
            Cell::Time(event.at),
            text("USER_ID_DERIVED"),
            text("USER_NAME"),
            text("USER_TYPE"),
            text("LOGIN_KEY"),
            text("SESSION_KEY"),
            text("SOURCE_IP"),
            text("LOGIN_TYPE"),
            text("LOGIN_SUB_TYPE"),
            text("URI"),
            Cell::text(if event.cell("LOGIN_STATUS") == "LOGIN_NO_ERROR" { "Success" } else { "Invalid Password" }),
            text("BROWSER_TYPE"),
            text("OS_NAME"),
            text("TLS_PROTOCOL"),
            text("CIPHER_SUITE"),
            Cell::Number(0.0),
        ]
    };
    let days = SignedDuration::from_hours(24 * i64::from(world.event_logs.days));
    let from = now.checked_sub(days).unwrap_or(Timestamp::UNIX_EPOCH);
    let rows = logs::logins(&caller.org.id, (from, now), world.event_logs.events_per_hour).map(row).collect();
    Table { name: "LoginEvent", columns, rows }
}

/// The last characters of an ASCII text.
fn text_of(text: &str, length: usize) -> &str {
    text.get(text.len().saturating_sub(length)..).unwrap_or(text)
}

fn organization(caller: &Caller) -> Table {
    let columns = vec![
        ("Id", Kind::Id),
        ("Name", Kind::Text),
        ("OrganizationType", Kind::Text),
        ("InstanceName", Kind::Text),
        ("IsSandbox", Kind::Boolean),
        ("TrialExpirationDate", Kind::Time),
        ("NamespacePrefix", Kind::Text),
        ("CreatedDate", Kind::Time),
    ];
    let row = vec![
        Cell::text(caller.org.long_id()),
        Cell::text("SIMULATED Org"),
        Cell::text("Developer Edition"),
        Cell::text("SIM1"),
        Cell::Boolean(caller.org.sandbox),
        Cell::Null,
        Cell::Null,
        Cell::Time(FOUNDED),
    ];
    Table { name: "Organization", columns, rows: vec![row] }
}

fn users(caller: &Caller) -> Table {
    let columns = vec![
        ("Id", Kind::Id),
        ("Username", Kind::Text),
        ("Name", Kind::Text),
        ("IsActive", Kind::Boolean),
        ("Email", Kind::Text),
        ("UserType", Kind::Text),
        ("ProfileId", Kind::Id),
        ("LastLoginDate", Kind::Time),
        ("CreatedDate", Kind::Time),
    ];
    let row = |user: &super::org::RegisteredUser| {
        let active = user.is.standing != Standing::Inactive;
        vec![
            Cell::text(&user.id),
            Cell::text(&user.is.username),
            Cell::text("SIMULATED User"),
            Cell::Boolean(active),
            Cell::text(&user.is.username),
            Cell::text("Standard"),
            Cell::text(long_id("00e5g000000SIM1")),
            Cell::Null,
            Cell::Time(FOUNDED),
        ]
    };
    Table { name: "User", columns, rows: caller.org.users().map(|user| row(user)).collect() }
}

/// One row: what the running user may do.
fn permissions(caller: &Caller) -> Table {
    let user = &caller.user.is;
    let all = [
        ("PermissionsApiEnabled", user.api_enabled),
        ("PermissionsViewEventLogFiles", user.view_event_log_files),
        ("PermissionsViewAllData", user.view_all_data),
        ("PermissionsModifyAllData", false),
        ("PermissionsManageUsers", false),
        ("PermissionsViewSetup", false),
    ];
    let columns = all.iter().map(|(name, _)| (*name, Kind::Boolean)).collect();
    let row = all.iter().map(|(_, granted)| Cell::Boolean(*granted)).collect();
    Table { name: "UserPermissionAccess", columns, rows: vec![row] }
}
