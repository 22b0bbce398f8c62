//! A small, honest reader of SOQL: what it understands it answers rightly, the rest it refuses as Salesforce would.
//!
//! `parse.rs` reads the text, this file answers it over a table. Not here: joins, aggregates other than `COUNT()`,
//! subqueries, dates other than those `parse.rs` names, and paging (all rows come at once).

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::render::RestError;

mod parse;

use parse::{Comparison, Condition, Literal, Operator, Query, Select};

/// What a column holds; decides how it compares and how literals for it are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Id,
    Integer,
    Number,
    Text,
    Time,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Boolean(bool),
    Null,
    Number(f64),
    Text(String),
    Time(Timestamp),
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn json(&self, kind: Kind) -> Value {
        match self {
            Self::Number(value) if kind == Kind::Integer => Value::from(*value as i64),
            Self::Boolean(value) => Value::from(*value),
            Self::Null => Value::Null,
            Self::Number(value) => Value::from(*value),
            Self::Text(text) => Value::from(text.as_str()),
            Self::Time(time) => Value::from(time.strftime("%Y-%m-%dT%H:%M:%S.000+0000").to_string()),
        }
    }
}

/// An object's rows as this user may see them. Each row has a cell for each column.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: Vec<(&'static str, Kind)>,
    pub(super) rows: Vec<Vec<Cell>>,
}

impl Table {
    /// The row with this id and all its cells.
    pub(super) fn record(&self, id: &str, version: u32) -> Option<Value> {
        let reader = Reader { text: "", table: self, now: Timestamp::UNIX_EPOCH };
        let wanted = Literal::Text(id.to_owned());
        let is_wanted = |row: &&Vec<Cell>| {
            row.first().is_some_and(|cell| reader.order(cell, Kind::Id, &wanted) == Some(Ordering::Equal))
        };
        let columns: Vec<usize> = (0..self.columns.len()).collect();
        self.rows.iter().find(is_wanted).map(|row| reader.record(row, &columns, version))
    }
}

/// Answers a query; `open` finds the table of a name, if this user may see it.
pub(super) fn answer(
    text: &str,
    version: u32,
    now: Timestamp,
    open: impl Fn(&str) -> Option<Table>,
) -> Result<Value, RestError> {
    let query = parse::read(text).map_err(|what| RestError::bad_request("MALFORMED_QUERY", what))?;
    let table = open(&query.from).ok_or_else(|| unknown_object(&query.from))?;
    let reader = Reader { text, table: &table, now };
    let columns = reader.selected(&query.select)?;
    let mut rows = reader.matching(&query)?;
    if query.select == Select::Count {
        return Ok(json!({"totalSize": rows.len(), "done": true, "records": []}));
    }
    reader.sort(&mut rows, &query)?;
    let wanted = rows.into_iter().skip(query.offset).take(query.limit.unwrap_or(usize::MAX));
    let records: Vec<Value> = wanted.map(|row| reader.record(row, &columns, version)).collect();
    Ok(json!({"totalSize": records.len(), "done": true, "records": records}))
}

/// The table that a query asks, and which of its columns.
pub(super) fn asked_columns(
    text: &str,
    now: Timestamp,
    open: impl Fn(&str) -> Option<Table>,
) -> Result<(Table, Vec<usize>), RestError> {
    let query = parse::read(text).map_err(|what| RestError::bad_request("MALFORMED_QUERY", what))?;
    let table = open(&query.from).ok_or_else(|| unknown_object(&query.from))?;
    let columns = Reader { text, table: &table, now }.selected(&query.select)?;
    Ok((table, columns))
}

pub(super) fn unknown_object(name: &str) -> RestError {
    let message = format!(
        "sObject type '{name}' is not supported. If you are attempting to use a custom object, be sure to append the \
         '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names."
    );
    RestError::bad_request("INVALID_TYPE", message)
}

struct Reader<'a> {
    text: &'a str,
    table: &'a Table,
    now: Timestamp,
}

impl Reader<'_> {
    fn selected(&self, select: &Select) -> Result<Vec<usize>, RestError> {
        match select {
            Select::Count => Ok(Vec::new()),
            Select::Standard => Ok((0..self.table.columns.len()).collect()),
            Select::Fields(names) => names.iter().map(|name| self.column(name).map(|(index, ..)| index)).collect(),
        }
    }

    fn column(&self, name: &str) -> Result<(usize, &'static str, Kind), RestError> {
        let columns = self.table.columns.iter().enumerate();
        let found = columns.map(|(index, (known, kind))| (index, *known, *kind));
        found.clone().find(|(_, known, _)| known.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let column = self.text.find(name).map_or(1, |at| at + 1);
            let message = format!(
                "\n{}\n{:>column$}\nERROR at Row:1:Column:{column}\nNo such column '{name}' on entity '{}'. If you are \
                 attempting to use a custom field, be sure to append the '__c' after the custom field name. Please \
                 reference your WSDL or the describe call for the appropriate names.",
                self.text, "^", self.table.name
            );
            RestError::bad_request("INVALID_FIELD", message)
        })
    }

    fn matching(&self, query: &Query) -> Result<Vec<&[Cell]>, RestError> {
        if let Some(filter) = &query.filter {
            self.check(filter)?;
        }
        let fits = |row: &&[Cell]| query.filter.as_ref().is_none_or(|filter| self.holds(filter, row));
        Ok(self.table.rows.iter().map(Vec::as_slice).filter(fits).collect())
    }

    /// Refuses unknown columns and literals of the wrong kind, also where there is no row to compare.
    fn check(&self, condition: &Condition) -> Result<(), RestError> {
        match condition {
            Condition::All(parts) | Condition::Any(parts) => parts.iter().try_for_each(|part| self.check(part)),
            Condition::Not(inner) => self.check(inner),
            Condition::Compare(comparison) => {
                let (_, name, kind) = self.column(&comparison.field)?;
                match comparison.literals.iter().find_map(|literal| misfit(kind, literal)) {
                    None => Ok(()),
                    Some(wanted) => Err(RestError::bad_request(
                        "INVALID_FIELD",
                        format!("value of filter criterion for field '{name}' must be of type {wanted}"),
                    )),
                }
            }
        }
    }

    fn holds(&self, condition: &Condition, row: &[Cell]) -> bool {
        match condition {
            Condition::All(parts) => parts.iter().all(|part| self.holds(part, row)),
            Condition::Any(parts) => parts.iter().any(|part| self.holds(part, row)),
            Condition::Not(inner) => !self.holds(inner, row),
            Condition::Compare(comparison) => self.compares(comparison, row),
        }
    }

    fn compares(&self, comparison: &Comparison, row: &[Cell]) -> bool {
        let Ok((index, _, kind)) = self.column(&comparison.field) else { return false };
        let Some(cell) = row.get(index) else { return false };
        let order = |literal: &Literal| self.order(cell, kind, literal);
        let first = comparison.literals.first();
        let any = |wanted: fn(Ordering) -> bool| first.and_then(order).is_some_and(wanted);
        let listed = || comparison.literals.iter().any(|literal| order(literal) == Some(Ordering::Equal));
        match comparison.operator {
            Operator::Equal => listed(),
            Operator::In => listed(),
            Operator::NotEqual | Operator::NotIn => !listed(),
            Operator::Less => any(Ordering::is_lt),
            Operator::LessOrEqual => any(Ordering::is_le),
            Operator::Greater => any(Ordering::is_gt),
            Operator::GreaterOrEqual => any(Ordering::is_ge),
            Operator::Like => match (cell, first) {
                (Cell::Text(text), Some(Literal::Text(pattern))) => is_like(text, pattern),
                _ => false,
            },
        }
    }

    /// How the cell stands to the literal.
    fn order(&self, cell: &Cell, kind: Kind, literal: &Literal) -> Option<Ordering> {
        match (cell, literal) {
            (Cell::Boolean(cell), Literal::Boolean(literal)) => Some(cell.cmp(literal)),
            (Cell::Null, Literal::Null) => Some(Ordering::Equal),
            (Cell::Number(cell), Literal::Number(literal)) => cell.partial_cmp(literal),
            (Cell::Text(cell), Literal::Text(literal)) if kind == Kind::Id => {
                // The 15-character form is the same id.
                let length = if literal.len() == 15 { 15 } else { cell.len() };
                Some(cell.get(..length).unwrap_or(cell).cmp(literal))
            }
            (Cell::Text(cell), Literal::Text(literal)) => Some(cell.to_lowercase().cmp(&literal.to_lowercase())),
            (Cell::Time(cell), Literal::Time(literal)) => Some(cell.cmp(literal)),
            (Cell::Time(cell), Literal::Days { first, last }) => {
                let day = |time: &Timestamp| time.as_second().div_euclid(86_400);
                let away = day(cell) - day(&self.now);
                Some(match () {
                    () if away < *first => Ordering::Less,
                    () if away > *last => Ordering::Greater,
                    () => Ordering::Equal,
                })
            }
            _ => None,
        }
    }

    fn sort(&self, rows: &mut [&[Cell]], query: &Query) -> Result<(), RestError> {
        // The last criterion first: the sort is stable.
        for (field, descending) in query.order.iter().rev() {
            let (index, ..) = self.column(field)?;
            rows.sort_by(|left, right| {
                let order = match (left.get(index), right.get(index)) {
                    (Some(Cell::Boolean(left)), Some(Cell::Boolean(right))) => left.cmp(right),
                    (Some(Cell::Number(left)), Some(Cell::Number(right))) => left.total_cmp(right),
                    (Some(Cell::Text(left)), Some(Cell::Text(right))) => left.cmp(right),
                    (Some(Cell::Time(left)), Some(Cell::Time(right))) => left.cmp(right),
                    (Some(Cell::Null), Some(right)) if *right != Cell::Null => Ordering::Less,
                    (Some(left), Some(Cell::Null)) if *left != Cell::Null => Ordering::Greater,
                    _ => Ordering::Equal,
                };
                if *descending { order.reverse() } else { order }
            });
        }
        Ok(())
    }

    fn record(&self, row: &[Cell], columns: &[usize], version: u32) -> Value {
        let name = self.table.name;
        let id = match (self.table.columns.first(), row.first()) {
            (Some(("Id", _)), Some(Cell::Text(id))) => id.as_str(),
            _ => "000000000000000AAA",
        };
        let url = format!("/services/data/v{version}.0/sobjects/{name}/{id}");
        let mut record = Map::from_iter([("attributes".to_owned(), json!({"type": name, "url": url}))]);
        for &index in columns {
            if let (Some((column, kind)), Some(cell)) = (self.table.columns.get(index), row.get(index)) {
                record.insert((*column).to_owned(), cell.json(*kind));
            }
        }
        Value::Object(record)
    }
}

/// What a literal for this kind would have to be, if this one is not.
fn misfit(kind: Kind, literal: &Literal) -> Option<&'static str> {
    match (kind, literal) {
        (_, Literal::Null)
        | (Kind::Boolean, Literal::Boolean(_))
        | (Kind::Id | Kind::Text, Literal::Text(_))
        | (Kind::Integer | Kind::Number, Literal::Number(_))
        | (Kind::Time, Literal::Time(_) | Literal::Days { .. }) => None,
        (Kind::Boolean, _) => Some("boolean and should not be enclosed in quotes"),
        (Kind::Id | Kind::Text, _) => Some("string and should be enclosed in quotes"),
        (Kind::Integer, _) => Some("int and should not be enclosed in quotes"),
        (Kind::Number, _) => Some("double and should not be enclosed in quotes"),
        (Kind::Time, _) => Some("dateTime and should not be enclosed in quotes"),
    }
}

/// `%` stands for any run of characters, `_` for one; case does not matter.
fn is_like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.to_lowercase().chars().collect();
    // `fits` says for each length of the text's beginning whether the pattern read so far matches it.
    let mut fits = vec![false; text.len() + 1];
    if let Some(empty) = fits.first_mut() {
        *empty = true;
    }
    for wanted in pattern.to_lowercase().chars() {
        let mut next = vec![false; fits.len()];
        for (place, slot) in next.iter_mut().enumerate() {
            let before = place.checked_sub(1);
            *slot = match wanted {
                '%' => fits.iter().take(place + 1).any(|&fit| fit),
                _ => before.is_some_and(|before| {
                    let same = wanted == '_' || text.get(before) == Some(&wanted);
                    same && fits.get(before) == Some(&true)
                }),
            };
        }
        fits = next;
    }
    fits.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> Option<Table> {
        let row = |id: &str, kind: &str, second: i64, sequence: f64| {
            let time = Timestamp::from_second(1_800_000_000 + second).unwrap();
            vec![Cell::text(id), Cell::text(kind), Cell::Time(time), Cell::Number(sequence)]
        };
        (name == "EventLogFile").then(|| Table {
            name: "EventLogFile",
            columns: vec![
                ("Id", Kind::Id),
                ("EventType", Kind::Text),
                ("LogDate", Kind::Time),
                ("Sequence", Kind::Number),
            ],
            rows: vec![row("a", "Login", 0, 0.0), row("b", "API", 86_400, 0.0), row("c", "Login", 90_000, 1.0)],
        })
    }

    fn ids(query: &str) -> String {
        let now = Timestamp::from_second(1_800_000_000 + 90_000).unwrap();
        match answer(query, 60, now, table) {
            Ok(answer) => {
                let records = answer["records"].as_array().unwrap();
                assert_eq!(answer["totalSize"], records.len());
                records.iter().map(|record| record["Id"].as_str().unwrap()).collect()
            }
            Err(error) => error.code.to_owned(),
        }
    }

    #[test]
    fn conditions_choose_the_rows() {
        // 1_800_000_000 is 2027-01-15T08:00:00Z.
        for (rest, expected) in [
            ("", "abc"),
            ("where EventType = 'login'", "ac"),
            ("WHERE EventType != 'Login'", "b"),
            ("WHERE EventType = 'Login' AND Sequence = 1", "c"),
            ("WHERE (EventType = 'API' OR Sequence = 1) AND Id > 'b'", "c"),
            ("WHERE NOT EventType = 'API'", "ac"),
            ("WHERE EventType IN ('API', 'URI')", "b"),
            ("WHERE EventType NOT IN ('API')", "ac"),
            ("WHERE EventType LIKE 'Lo%'", "ac"),
            ("WHERE EventType LIKE 'L_gi_'", "ac"),
            ("WHERE LogDate >= 2027-01-16T08:00:00Z", "bc"),
            ("WHERE LogDate > 2027-01-16T08:00:00.000Z AND LogDate < 2027-01-17T00:00:00Z", "c"),
            ("WHERE LogDate = TODAY", "bc"),
            ("WHERE LogDate = YESTERDAY", "a"),
            ("WHERE LogDate = LAST_N_DAYS:1", "abc"),
            ("WHERE LogDate < TODAY", "a"),
            ("WHERE EventType = null", ""),
            ("ORDER BY LogDate DESC", "cba"),
            ("ORDER BY EventType ASC NULLS FIRST, Id DESC", "bca"),
            ("ORDER BY LogDate LIMIT 1", "a"),
            ("LIMIT 2 OFFSET 2", "c"),
        ] {
            assert_eq!(ids(&format!("SELECT Id, LogDate FROM EventLogFile {rest}")), expected, "{rest}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_code() {
        for (query, code) in [
            ("SELECT Id FROM LoginHistory", "INVALID_TYPE"),
            ("SELECT Nothing FROM EventLogFile", "INVALID_FIELD"),
            ("SELECT Id FROM EventLogFile WHERE Nothing = 1", "INVALID_FIELD"),
            ("SELECT Id FROM EventLogFile ORDER BY Nothing", "INVALID_FIELD"),
            ("SELECT Id FROM EventLogFile WHERE LogDate > '2027-01-16T08:00:00Z'", "INVALID_FIELD"),
            ("SELECT Id FROM EventLogFile WHERE EventType = 1", "INVALID_FIELD"),
            ("SELECT * FROM EventLogFile", "MALFORMED_QUERY"),
        ] {
            assert_eq!(ids(query), code, "{query}");
        }
    }

    #[test]
    fn records_tell_their_type_and_counts_have_none() {
        let now = Timestamp::UNIX_EPOCH;
        let one = answer("SELECT Id, LogDate FROM EventLogFile LIMIT 1", 60, now, table).unwrap();
        let url = "/services/data/v60.0/sobjects/EventLogFile/a";
        let attributes = json!({"type": "EventLogFile", "url": url});
        let record = json!({"attributes": attributes, "Id": "a", "LogDate": "2027-01-15T08:00:00.000+0000"});
        assert_eq!(one, json!({"totalSize": 1, "done": true, "records": [record]}));
        let count = answer("SELECT COUNT() FROM EventLogFile", 60, now, table).unwrap();
        assert_eq!(count, json!({"totalSize": 3, "done": true, "records": []}));
    }
}
