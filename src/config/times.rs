//! Times of the configuration: text with units, each kind within its own bounds. A bare number is refused, for nobody
//! can tell its unit.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::document::{Content, Node};
use super::report::{Located, Report};
use super::setting::Setting;
use super::show;
use super::values::text;

/// A time such as `90s` or `1h 30m`, from `least` to `most`.
struct Bounds {
    least: Duration,
    most: Duration,
    /// Why less than the least makes no sense, if that is not plain.
    why: Option<&'static str>,
}

fn duration(at: &Located<&Node>, bounds: &Bounds, report: &mut Report) -> Option<Duration> {
    let written = match &at.value.content {
        Content::Integer(number) => {
            let remedy = format!("give the unit, in quotes: \"{}s\"", number.unsigned_abs());
            report.error(at, "this time has no unit", remedy);
            return None;
        }
        _ => text(at, "90s", report)?,
    };
    let Some(time) = written.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok()) else {
        let message = format!("{} is not a time", show::value(written));
        report.error(at, message, "write it with units: \"90s\", \"2h\", \"1h 30m\"");
        return None;
    };
    let Bounds { least, most, why } = *bounds;
    if time < least || time > most {
        let why = why.filter(|_| time < least).map(|why| format!(": {why}")).unwrap_or_default();
        let (least, most) = (told(least), told(most));
        let message = format!("{} is not within {least} and {most}{why}", show::value(written));
        report.error(at, message, format!("take a time from {least} to {most}"));
        return None;
    }
    Some(time)
}

fn told(time: Duration) -> String {
    let seconds = time.as_secs();
    if time.is_zero() {
        return "0s".to_owned();
    }
    if seconds >= 3600 && seconds.is_multiple_of(3600) { format!("{}h", seconds / 3600) } else { format!("{time:?}") }
}

macro_rules! time {
    ($(#[doc = $doc:literal])+ $Name:ident, $least:expr, $most:expr, $why:expr) => {
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub(super) struct $Name(pub(super) Duration);

        impl Setting for $Name {
            fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
                duration(at, &Bounds { least: $least, most: $most, why: $why }, report).map(Self)
            }

            fn schema() -> Value {
                let bounds = format!("A time with units, from {} to {}.", told($least), told($most));
                let examples = ["90s", "2h", "1h 30m"];
                json!({"type": "string", "pattern": "[0-9]", "description": bounds, "examples": examples})
            }
        }
    };
}

time! {
    /// A wait while the process ends.
    Shutdown, Duration::ZERO, Duration::from_secs(3600), None
}
time! {
    /// Bound on one call: every answer is due within 10 s, the queue before the call included.
    RequestTimeout, Duration::from_millis(100), Duration::from_secs(8), None
}
time! {
    /// The session timeout of an org.
    SessionTimeout, Duration::from_secs(3), Duration::from_secs(24 * 3600),
    Some("half of it, less the margin, would leave callers no whole second to use a token in")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_units_and_bounds() {
        let place = crate::config::report::Place { file: std::path::Path::new("x").into(), line: 1, column: 1 };
        let read = |content: &str| {
            let node = Node { content: Content::Text(content.to_owned()), spot: crate::config::document::Spot::START };
            let at = Located { value: &node, setting: String::new(), place: place.clone() };
            SessionTimeout::read(&at, &mut Report::default()).map(|timeout| timeout.0.as_millis())
        };
        let good = [
            ("90s", 90_000),
            ("2h", 7_200_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("3s", 3_000),
            ("3500ms", 3_500),
        ];
        for (text, millis) in good {
            assert_eq!(read(text), Some(millis), "{text}");
        }
        for bad in ["", "90", "2.9s", "1s", "25h", "-5m", "5m ago", "1d", "soon", "99999999999999999999h", "s"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
