//! The objects a query can ask for, as one user may see them.
//!
//! A user without the right does not see an empty `EventLogFile` but none at all, and an org without hourly files has
//! no columns `Interval` and `Sequence`.

use jiff::Timestamp;

use super::logs::{self, LogFile};
use super::rest::Caller;
use super::settings::{Standing, User};
use super::soql::{Cell, Kind, Table};
use super::world::World;

pub(super) fn open(world: &World, caller: &Caller, version: u32, now: Timestamp, name: &str) -> Option<Table> {
    match name.to_lowercase().as_str() {
        "eventlogfile" if sees_event_logs(&caller.user.is) => Some(event_log_files(world, caller, version, now)),
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
    let row = |file: LogFile| {
        let content = file.csv(&caller.org.id, world.event_logs.rows_per_file);
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
            Cell::Number(content.len() as f64),
            Cell::text(file.event_type.columns()),
        ];
        if hourly {
            cells.push(Cell::text(if file.hourly { "Hourly" } else { "Daily" }));
            cells.push(Cell::Number(if file.hourly { 1.0 } else { 0.0 }));
        }
        cells
    };
    let rows = logs::files(&world.event_logs, now).into_iter().map(row).collect();
    Table { name: "EventLogFile", columns, rows }
}

fn organization(caller: &Caller) -> Table {
    let columns = vec![
        ("Id", Kind::Id),
        ("Name", Kind::Text),
        ("OrganizationType", Kind::Text),
        ("InstanceName", Kind::Text),
        ("IsSandbox", Kind::Boolean),
    ];
    let row = vec![
        Cell::text(caller.org.long_id()),
        Cell::text("SIMULATED Org"),
        Cell::text("Developer Edition"),
        Cell::text("SIM1"),
        Cell::Boolean(caller.org.sandbox),
    ];
    Table { name: "Organization", columns, rows: vec![row] }
}

fn users(caller: &Caller) -> Table {
    let columns = vec![("Id", Kind::Id), ("Username", Kind::Text), ("Name", Kind::Text), ("IsActive", Kind::Boolean)];
    let row = |user: &super::org::RegisteredUser| {
        let active = user.is.standing != Standing::Inactive;
        vec![Cell::text(&user.id), Cell::text(&user.is.username), Cell::text("SIMULATED User"), Cell::Boolean(active)]
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
