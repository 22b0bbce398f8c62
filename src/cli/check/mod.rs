//! `aquila check`: what it is asked on the command line, and how findings look to people and to programs.
//!
//! Rendering is pure. What is found, and by whom, is not here: `config` reads the file, `app` opens what it names, and
//! with `--live` `walk` asks Salesforce.

mod live;
mod table;

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::paint::{Paint, number};
use super::{BAD_CONFIGURATION, runtime, say};
use crate::app::Prepared;
use crate::clock::Clock;
use crate::config;
use crate::config::report::{Mistake, Report, Severity};
use crate::reload::everything_wrong;
use crate::walk::{Extras, Walked};

/// Checks a configuration, tells every mistake at once, and with `--live` walks the whole way at Salesforce.
#[derive(Debug, Args)]
#[command(after_long_help = ABOUT_LIVE)]
pub(super) struct CheckArgs {
    /// The configuration: TOML or YAML, by the ending of its name.
    #[arg(long, value_name = "PATH", required_unless_present = "schema")]
    pub(super) config: Option<PathBuf>,
    /// Tell only what concerns this integration, and what concerns all.
    #[arg(long, value_name = "NAME")]
    pub(super) integration: Option<String>,
    /// How the findings are written.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,
    /// Log in at Salesforce and check the way from the token host to the event log files; 60 s an integration at most.
    #[arg(long, conflicts_with = "schema")]
    pub(super) live: bool,
    /// If the login is refused for it, try other pairs of token host and audience: up to 5 more logins.
    #[arg(long, requires = "live")]
    pub(super) try_audiences: bool,
    /// Read the beginning of one event log file; its columns and the number of its rows are shown, its content is not.
    #[arg(long, requires = "live")]
    pub(super) read_one_log: bool,
    /// Ask nothing about event log files: the integration is for something else.
    #[arg(long, requires = "live", conflicts_with = "read_one_log")]
    pub(super) skip_event_logs: bool,
    /// Print the JSON Schema of the configuration and exit.
    #[arg(long, conflicts_with_all = ["config", "integration", "output"])]
    pub(super) schema: bool,
}

const ABOUT_LIVE: &str = "\
Without --live nobody is asked over the network. With it, each integration is taken from the name of its token host to \
its event log files, by the same way out as the service: one login and about five API requests. It works beside a \
running service. Each step passes, warns, fails or stays unknown, and says what to do. Nothing secret is printed, so \
the output can go into a ticket as it is.

Exit status: 0 nothing failed, 1 a step failed, 78 the configuration is bad (then nobody is asked).";

/// How the findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// Loads the configuration, opens everything it names, and tells what was found.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let Some(path) = args.config.as_deref().filter(|_| !args.schema) else {
        say(&serde_json::to_string_pretty(&config::schema())?)?;
        return Ok(ExitCode::SUCCESS);
    };
    let (report, prepared) = prepare(args, path)?;
    let bad = report.has_errors();
    let findings = match &args.integration {
        Some(name) => about(report.sorted(), name),
        None => report.sorted(),
    };
    let walked = match prepared.filter(|_| args.live && !bad) {
        Some(prepared) => {
            let extras = Extras {
                try_audiences: args.try_audiences,
                read_one_log: args.read_one_log,
                skip_event_logs: args.skip_event_logs,
                ..Extras::default()
            };
            runtime()?.block_on(live::walk_all(&prepared, args.integration.as_deref(), extras))
        }
        None => Vec::new(),
    };
    match args.output {
        Output::Text => say(text_of(args, &findings, &walked).trim_end())?,
        Output::Json => say(&serde_json::to_string_pretty(&json_of(args, &findings, &walked))?)?,
    }
    Ok(match bad {
        true => ExitCode::from(BAD_CONFIGURATION),
        false if walked.iter().all(Walked::is_good) => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Everything that can be found without asking anybody, and what the service would start from.
fn prepare(args: &CheckArgs, path: &Path) -> anyhow::Result<(Report, Option<Prepared>)> {
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(refused) => return Ok((everything_wrong(&refused), None)),
    };
    let named = args.integration.as_ref();
    if let Some(name) = named.filter(|name| loaded.config.integrations.iter().all(|it| it.name.as_str() != *name)) {
        anyhow::bail!("there is no integration {name} in {}", path.display());
    }
    let mut report = loaded.warnings.clone();
    Ok(match Prepared::new(loaded, Clock::system()) {
        Ok((prepared, warnings)) => {
            report.extend(warnings);
            (report, Some(prepared))
        }
        Err(mistakes) => {
            report.extend(mistakes);
            (report, None)
        }
    })
}

fn text_of(args: &CheckArgs, findings: &[Mistake], walked: &[Walked]) -> String {
    let color = std::io::stdout().is_terminal();
    let mut text = render_text(findings, color);
    if args.live {
        let width = terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
        text.push_str(&table::render(walked, Paint::new(color), width));
    }
    text
}

fn json_of(args: &CheckArgs, findings: &[Mistake], walked: &[Walked]) -> Value {
    let mut json = render_json(findings);
    if let Some(members) = json.as_object_mut().filter(|_| args.live) {
        let good = members.get("ok") == Some(&Value::Bool(true)) && walked.iter().all(Walked::is_good);
        members.insert("ok".to_owned(), good.into());
        members.insert("live".to_owned(), table::render_json(walked));
    }
    json
}

/// The findings that concern one integration: all but those about others.
pub(super) fn about(findings: Vec<Mistake>, integration: &str) -> Vec<Mistake> {
    let concerns = |finding: &Mistake| match finding.setting.strip_prefix("integrations.") {
        Some(rest) => rest.split('.').next() == Some(integration),
        None => true,
    };
    findings.into_iter().filter(concerns).collect()
}

/// The findings as blocks for people, and a line that sums them up.
pub(super) fn render_text(findings: &[Mistake], color: bool) -> String {
    let paint = Paint::new(color);
    let mut text = String::new();
    for finding in findings {
        block(&mut text, finding, paint);
    }
    text.push_str(&summary(findings, paint));
    text
}

/// The findings as one JSON document; `ok` says whether the configuration may be used.
pub(super) fn render_json(findings: &[Mistake]) -> Value {
    let (errors, warnings) = counts(findings);
    let findings = findings.iter().map(|finding| {
        let place = finding.place.as_ref();
        json!({
            "severity": finding.severity,
            "file": place.map(|place| place.file.display().to_string()),
            "line": place.map(|place| place.line),
            "column": place.map(|place| place.column),
            "setting": finding.setting,
            "message": finding.message,
            "remedy": finding.remedy,
        })
    });
    json!({"ok": errors == 0, "errors": errors, "warnings": warnings, "findings": findings.collect::<Vec<_>>()})
}

/// How many findings forbid the configuration, and how many only warn.
pub(super) fn counts(findings: &[Mistake]) -> (usize, usize) {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    (errors, findings.len() - errors)
}

fn block(text: &mut String, finding: &Mistake, paint: Paint) {
    let word = match finding.severity {
        Severity::Error => paint.red("error"),
        Severity::Warning => paint.yellow("warning"),
    };
    let setting = if finding.setting.is_empty() { String::new() } else { paint.bold(&finding.setting) + ": " };
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{word}: {setting}{}", finding.message);
    if let Some(place) = &finding.place {
        let _ = writeln!(text, "  {} {place}", paint.blue("-->"));
    }
    let _ = writeln!(text, "  {} help: {}\n", paint.blue("="), finding.remedy);
}

fn summary(findings: &[Mistake], paint: Paint) -> String {
    let (errors, warnings) = counts(findings);
    let verdict = if errors == 0 { paint.green("good") } else { paint.red("refused") };
    format!("{verdict}: {}, {}\n", number(errors, "error"), number(warnings, "warning"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;

    use super::*;
    use crate::config::report::Place;

    fn finding(severity: Severity, setting: &str, place: Option<(u32, u32)>) -> Mistake {
        let file = Arc::<Path>::from(Path::new("aquila.toml"));
        Mistake {
            severity,
            place: place.map(|(line, column)| Place { file, line, column }),
            setting: setting.to_owned(),
            message: "it is wrong".to_owned(),
            remedy: "put it right".to_owned(),
        }
    }

    #[test]
    fn people_see_blocks_and_a_sum() {
        let findings = [
            finding(Severity::Error, "", None),
            finding(Severity::Warning, "integrations.elf-prod.token_url", Some((12, 14))),
        ];
        let expected = "error: it is wrong\n  = help: put it right\n\n\
                        warning: integrations.elf-prod.token_url: it is wrong\n  --> aquila.toml:12:14\n  = help: put it right\n\n\
                        refused: 1 error, 1 warning\n";
        assert_eq!(render_text(&findings, false), expected);
        assert_eq!(render_text(&[], false), "good: 0 errors, 0 warnings\n");
        assert!(render_text(&findings, true).contains("\u{1b}[1;31merror\u{1b}[0m: it is wrong"));
    }

    #[test]
    fn programs_see_one_document() {
        let json = render_json(&[finding(Severity::Warning, "log.level", Some((3, 1)))]);
        assert_eq!(json["ok"], true);
        assert_eq!(json["warnings"], 1);
        assert_eq!(json["findings"][0]["severity"], "warning");
        assert_eq!(json["findings"][0]["line"], 3);
        assert_eq!(json["findings"][0]["setting"], "log.level");
    }

    #[test]
    fn findings_about_other_integrations_can_be_left_out() {
        let settings = ["", "integrations.a.token_url", "integrations.ab", "callers.x", "integrations.a"];
        let findings = settings.map(|setting| finding(Severity::Error, setting, None)).to_vec();
        let left: Vec<String> = about(findings, "a").into_iter().map(|finding| finding.setting).collect();
        assert_eq!(left, ["", "integrations.a.token_url", "callers.x", "integrations.a"]);
    }

    #[test]
    fn the_command_line_asks_for_a_file_or_the_schema() {
        #[derive(Debug, Parser)]
        struct Cli {
            #[command(flatten)]
            check: CheckArgs,
        }
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).map(|cli| cli.check);
        assert!(parse("check --schema").unwrap().schema);
        assert_eq!(parse("check --config a.toml --output json").unwrap().output, Output::Json);
        assert!(parse("check").is_err());
        assert!(parse("check --schema --config a.toml").is_err());
        let live = parse("check --config a.toml --live --try-audiences --read-one-log").unwrap();
        assert!(live.live && live.try_audiences && live.read_one_log);
        for wrong in [
            "check --schema --live",
            "check --config a --try-audiences",
            "check --config a --read-one-log",
            "check --config a --live --read-one-log --skip-event-logs",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
