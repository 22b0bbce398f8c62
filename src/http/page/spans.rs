//! Spans of time as people say them.

use std::fmt;

/// Seconds, in the two units that matter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span(pub(super) u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
        let Some(at) = UNITS.iter().position(|(unit, _)| self.0 >= *unit) else { return f.write_str("0 s") };
        let mut left = self.0;
        // Seconds beside minutes only where there are few.
        let shown = if self.0 >= 600 && self.0 < 3_600 { 1 } else { 2 };
        for (position, (unit, name)) in UNITS.iter().skip(at).take(shown).enumerate() {
            let count = left / unit;
            left %= unit;
            match (position, count) {
                (0, _) => write!(f, "{count} {name}")?,
                (_, 0) => {}
                _ => write!(f, " {count} {name}")?,
            }
        }
        Ok(())
    }
}

/// A number of things: `1 login`, `2 logins`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count(pub(super) u64, pub(super) &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

/// How long ago.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ago(pub(super) u64);

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 | 1 => f.write_str("just now"),
            seconds => write!(f, "{} ago", Span(seconds)),
        }
    }
}

/// The start of a date as RFC 3339 has it: the minute is enough to read, the rest stands in the element.
pub(super) fn minute(date: &str) -> String {
    let minute: String = date.chars().take(16).map(|letter| if letter == 'T' { ' ' } else { letter }).collect();
    format!("{minute} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_its_two_largest_units() {
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (599, "9 min 59 s"),
            (601, "10 min"),
            (3_599, "59 min"),
            (3_600, "1 h"),
            (5_430, "1 h 30 min"),
            (86_400, "1 d"),
            (86_460, "1 d"),
            (180_000, "2 d 2 h"),
        ] {
            assert_eq!(Span(seconds).to_string(), words);
        }
        assert_eq!((Ago(0).to_string(), Ago(75).to_string()), ("just now".into(), "1 min 15 s ago".into()));
        assert_eq!(
            (Count(1, "login").to_string(), Count(0, "login").to_string()),
            ("1 login".into(), "0 logins".into())
        );
        assert_eq!(minute("2026-11-21T20:37:48.011Z"), "2026-11-21 20:37 UTC");
    }
}
