//! How the walk of `aquila check --live` looks to people and to programs. Pure.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli::paint::{Paint, number};
use crate::walk::{Row, Verdict, Walked};

/// Where the verdict, the step and what was asked and seen begin.
const MARGIN: usize = 2;
const STEP: usize = MARGIN + 9;
const SEEN: usize = STEP + 22;

/// Without a terminal, and on one that is wider or narrower than can be read.
const USUAL_WIDTH: usize = 100;
const WIDEST: usize = 120;
const NARROWEST: usize = 60;

/// A table for each integration, within `width` columns, and what the walks cost.
pub(super) fn render(walked: &[Walked], paint: Paint, width: Option<usize>) -> String {
    let width = width.unwrap_or(USUAL_WIDTH).clamp(NARROWEST, WIDEST);
    let mut text = String::new();
    for walk in walked {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "\n{}: {} at {}\n", paint.bold(walk.integration.as_str()), walk.username, walk.host);
        walk.rows.iter().for_each(|row| render_row(&mut text, row, paint, width));
        let _ = writeln!(text, "\n{}", verdict(walk, paint));
        let _ = writeln!(text, "{}", wrapped(&cost(walk), width).join("\n"));
    }
    text
}

/// The same as one JSON list.
pub(super) fn render_json(walked: &[Walked]) -> Value {
    let walks = walked.iter().map(|walk| {
        json!({
            "integration": walk.integration.as_str(),
            "token_host": walk.host,
            "username": walk.username,
            "ok": walk.is_good(),
            "logins": walk.logins,
            "pass": walk.count(Verdict::Pass),
            "warn": walk.count(Verdict::Warn),
            "fail": walk.count(Verdict::Fail),
            "unknown": walk.count(Verdict::Unknown),
            "rows": walk.rows.iter().map(row_json).collect::<Vec<_>>(),
        })
    });
    walks.collect()
}

fn row_json(row: &Row) -> Value {
    json!({
        "step": row.step,
        "verdict": row.verdict,
        "asked": row.asked,
        "seen": row.seen,
        "remedy": row.remedy,
        "guide": row.step.guide(),
        "help": row.help,
        "facts": row.facts,
    })
}

fn render_row(text: &mut String, row: &Row, paint: Paint, width: usize) {
    let verdict = match row.verdict {
        Verdict::Pass => paint.green("pass") + "     ",
        Verdict::Warn => paint.yellow("warn") + "     ",
        Verdict::Fail => paint.red("FAIL") + "     ",
        Verdict::Unknown => paint.blue("unknown") + "  ",
    };
    let said = wrapped(&format!("{} -> {}", row.asked, row.seen), width - SEEN).join(&indent(SEEN));
    let _ = writeln!(text, "{:MARGIN$}{verdict}{:<2$}{said}", "", row.step.title(), SEEN - STEP);
    if let Some(remedy) = &row.remedy {
        let mut lines = wrapped(&format!("help: {remedy}"), width - STEP - 2);
        lines.extend([format!("see {}", row.step.guide())]);
        lines.extend(row.help.iter().map(|help| format!("see {help}")));
        let mark = paint.blue("=");
        let mut lines = lines.into_iter();
        for line in lines.by_ref() {
            let begins = line.starts_with("help: ") || line.starts_with("see docs/");
            let lead = if begins { mark.as_str() } else { " " };
            let _ = writeln!(text, "{:STEP$}{lead} {line}", "");
        }
    }
}

fn indent(columns: usize) -> String {
    format!("\n{:columns$}", "")
}

fn verdict(walk: &Walked, paint: Paint) -> String {
    let verdict = if walk.is_good() { paint.green("good") } else { paint.red("failed") };
    let of = |verdict| walk.count(verdict);
    format!(
        "{}: {verdict}: {} passed, {}, {} failed, {} unknown",
        walk.integration,
        of(Verdict::Pass),
        number(of(Verdict::Warn), "warning"),
        of(Verdict::Fail),
        of(Verdict::Unknown),
    )
}

fn cost(walk: &Walked) -> String {
    let logins = number(usize::try_from(walk.logins).unwrap_or_default(), "login");
    format!("{logins} at Salesforce as {}, which the budget of a running service does not see", walk.username)
}

/// Lines of at most `width` characters, broken between words; a longer word stands alone.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::{Facts, Step};

    fn walked() -> Walked {
        let row = |step, verdict, remedy: Option<&str>, help: Option<&str>| Row {
            step,
            verdict,
            asked: "what was asked".to_owned(),
            seen: "what came back, in more words than fit into what a narrow terminal leaves".to_owned(),
            remedy: remedy.map(str::to_owned),
            help: help.map(str::to_owned),
            facts: Facts::from_iter([("number".to_owned(), 7.into())]),
        };
        Walked {
            integration: "elf-prod".parse().unwrap(),
            host: "acme.my.salesforce.com".to_owned(),
            username: "elastic-log@acme.example".to_owned(),
            logins: 1,
            rows: vec![
                row(Step::Dns, Verdict::Pass, None, None),
                row(Step::Mint, Verdict::Fail, Some("Setup > here"), Some("docs/troubleshooting.md#bad_assertion")),
                row(Step::ViewAllData, Verdict::Warn, Some("Setup > there"), None),
                row(Step::IpLock, Verdict::Unknown, None, None),
            ],
        }
    }

    #[test]
    fn people_see_a_table_that_fits_and_what_to_do_below_the_row() {
        let text = render(&[walked()], Paint::new(false), Some(80));
        let expected = "
elf-prod: elastic-log@acme.example at acme.my.salesforce.com

  pass     DNS                   what was asked -> what came back, in more words
                                 than fit into what a narrow terminal leaves
  FAIL     mint                  what was asked -> what came back, in more words
                                 than fit into what a narrow terminal leaves
           = help: Setup > here
           = see docs/salesforce-setup.md#mint
           = see docs/troubleshooting.md#bad_assertion
  warn     View All Data         what was asked -> what came back, in more words
                                 than fit into what a narrow terminal leaves
           = help: Setup > there
           = see docs/salesforce-setup.md#view-all-data
  unknown  IP lock               what was asked -> what came back, in more words
                                 than fit into what a narrow terminal leaves

elf-prod: failed: 1 passed, 1 warning, 1 failed, 1 unknown
1 login at Salesforce as elastic-log@acme.example, which the budget of a running
service does not see
";
        assert_eq!(text, expected);
        assert!(render(&[walked()], Paint::new(true), None).contains("\u{1b}[1;31mFAIL\u{1b}[0m     mint"));
        assert_eq!(render(&[], Paint::new(false), None), "");
    }

    #[test]
    fn programs_see_every_member_of_every_row() {
        let json = render_json(&[walked()]);
        let expected = json!([{
            "integration": "elf-prod",
            "token_host": "acme.my.salesforce.com",
            "username": "elastic-log@acme.example",
            "ok": false,
            "logins": 1,
            "pass": 1,
            "warn": 1,
            "fail": 1,
            "unknown": 1,
            "rows": json["0"].clone(),
        }]);
        let mut shown = json.clone();
        shown[0]["rows"] = Value::Null;
        assert_eq!(shown, expected);
        let row = json!({
            "step": "mint",
            "verdict": "fail",
            "asked": "what was asked",
            "seen": "what came back, in more words than fit into what a narrow terminal leaves",
            "remedy": "Setup > here",
            "guide": "docs/salesforce-setup.md#mint",
            "help": "docs/troubleshooting.md#bad_assertion",
            "facts": {"number": 7},
        });
        assert_eq!(json[0]["rows"][1], row);
    }

    #[test]
    fn a_line_is_broken_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a-very-long-word x", 5), ["a-very-long-word", "x"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
