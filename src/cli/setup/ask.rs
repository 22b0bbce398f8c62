//! Questions on a terminal, for what no flag said. An answer is parsed as the flag would be; a wrong one is told why and
//! asked for again.

use std::fmt::Display;
use std::io::{BufRead, Write};
use std::str::FromStr;

use anyhow::{Context, bail};

/// One question.
pub(super) struct Question<'a> {
    /// What stands before the colon.
    pub(super) text: &'a str,
    /// What an empty answer means.
    pub(super) default: Option<String>,
    /// The flag that would have said it.
    pub(super) flag: &'static str,
}

/// Where facts come from that no flag gave: somebody at a terminal, or nobody.
pub(super) struct Answers<'a> {
    somebody: Option<(&'a mut dyn BufRead, &'a mut dyn Write)>,
    /// The flags of what nobody said and what has no default.
    pub(super) missing: Vec<&'static str>,
    /// Whether anything was asked.
    pub(super) asked: bool,
}

impl<'a> Answers<'a> {
    /// From whoever reads `to` and types into `from`; from nobody without them.
    pub(super) fn new(somebody: Option<(&'a mut dyn BufRead, &'a mut dyn Write)>) -> Self {
        Self { somebody, missing: Vec::new(), asked: false }
    }

    /// Whether there is anybody to ask.
    pub(super) fn has_somebody(&self) -> bool {
        self.somebody.is_some()
    }

    /// What the flag gave, or the answer, or the default. Nothing if there is none of them; then the flag is noted.
    pub(super) fn take<T>(&mut self, given: Option<T>, question: Question<'_>) -> anyhow::Result<Option<T>>
    where
        T: FromStr<Err: Display>,
    {
        if given.is_some() {
            return Ok(given);
        }
        let Some((from, to)) = &mut self.somebody else {
            let fallback = question.default.and_then(|text| text.parse().ok());
            if fallback.is_none() {
                self.missing.push(question.flag);
            }
            return Ok(fallback);
        };
        if !self.asked {
            writeln!(to, "An empty answer takes what is in brackets. Ctrl-C ends it, nothing written.\n")?;
            self.asked = true;
        }
        let default = question.default.unwrap_or_default();
        let bracket = if default.is_empty() { String::new() } else { format!(" [{default}]") };
        loop {
            write!(to, "{}{bracket}: ", question.text)?;
            to.flush()?;
            let Some(line) = line(*from)? else {
                writeln!(to, "  No: this is not UTF-8")?;
                continue;
            };
            let answer = if line.is_empty() { default.as_str() } else { line.as_str() };
            match answer.parse() {
                _ if answer.is_empty() => writeln!(to, "  This needs an answer.")?,
                Ok(value) => return Ok(Some(value)),
                Err(error) => writeln!(to, "  No: {error}")?,
            }
        }
    }

    /// Shows what was understood and asks whether to go on. Without questions there is nothing to confirm.
    pub(super) fn confirm(&mut self, summary: &str) -> anyhow::Result<bool> {
        let Some((from, to)) = self.somebody.as_mut().filter(|_| self.asked) else { return Ok(true) };
        loop {
            write!(to, "\n{summary}\nMake this? [Y/n]: ")?;
            to.flush()?;
            match line(*from)?.unwrap_or_else(|| "?".to_owned()).to_ascii_lowercase().as_str() {
                "" | "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => {}
            }
        }
    }
}

/// A line, or nothing if it is no text.
fn line(from: &mut dyn BufRead) -> anyhow::Result<Option<String>> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line).context("the answer cannot be read; nothing was written")? == 0 {
        bail!("the answers ended; nothing was written");
    }
    Ok(std::str::from_utf8(&line).ok().map(|line| line.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::facts::Days;
    use super::*;

    fn question(default: Option<&str>) -> Question<'static> {
        Question { text: "How many days", default: default.map(str::to_owned), flag: "--days <N>" }
    }

    /// The answers to one question, and what was shown.
    fn asked(typed: &str, default: Option<&str>) -> (Result<Option<Days>, String>, String) {
        let (mut from, mut to) = (typed.as_bytes(), Vec::new());
        let got = Answers::new(Some((&mut from, &mut to))).take(None, question(default));
        (got.map_err(|error| error.to_string()), String::from_utf8(to).unwrap())
    }

    #[test]
    fn an_answer_an_empty_one_and_a_wrong_one() {
        let (got, shown) = asked(" 30 \n", Some("730"));
        assert_eq!(got, Ok(Some(Days(30))));
        assert!(shown.ends_with("How many days [730]: "), "{shown}");
        assert_eq!(asked("\n", Some("730")).0, Ok(Some(Days(730))));
        let (got, shown) = asked("\nnever\n99999\n1\n", None);
        assert_eq!(got, Ok(Some(Days(1))));
        assert!(shown.contains("  This needs an answer.\nHow many days: "), "{shown}");
        assert_eq!(shown.matches("  No: a certificate is good for 1 to 3650 days\n").count(), 2, "{shown}");
        let (mut from, mut to) = (&b"\xff\n30\n"[..], Vec::new());
        let got = Answers::new(Some((&mut from, &mut to))).take(None, question(None)).unwrap();
        assert_eq!(got, Some(Days(30)));
        assert!(String::from_utf8(to).unwrap().contains("  No: this is not UTF-8\n"));
        for ended in ["", "never\n"] {
            assert_eq!(asked(ended, None).0, Err("the answers ended; nothing was written".to_owned()));
        }
    }

    #[test]
    fn what_a_flag_said_is_never_asked_and_nobody_is_asked_where_nobody_is() {
        let (mut from, mut to) = (&b"1\n"[..], Vec::new());
        let mut answers = Answers::new(Some((&mut from, &mut to)));
        assert_eq!(answers.take(Some(Days(7)), question(None)).unwrap(), Some(Days(7)));
        assert!(answers.confirm("summary").unwrap() && !answers.asked);
        assert!(to.is_empty());

        let mut nobody = Answers::new(None);
        assert_eq!(nobody.take::<Days>(None, question(Some("730"))).unwrap(), Some(Days(730)));
        assert_eq!(nobody.take::<Days>(None, question(None)).unwrap(), None);
        assert_eq!(nobody.missing, ["--days <N>"]);
        assert!(nobody.confirm("summary").unwrap());
    }

    #[test]
    fn what_was_asked_is_confirmed() {
        for (typed, yes) in [("\n", true), ("Y\n", true), ("what?\nno\n", false)] {
            let typed = format!("1\n{typed}");
            let (mut from, mut to) = (typed.as_bytes(), Vec::new());
            let mut answers = Answers::new(Some((&mut from, &mut to)));
            answers.take::<Days>(None, question(None)).unwrap();
            assert_eq!(answers.confirm("A summary.").unwrap(), yes);
            assert!(String::from_utf8(to).unwrap().contains("A summary.\nMake this? [Y/n]: "));
        }
    }
}
