//! What operators see: logs, metrics, traces, the audit trail.

pub mod audit;
pub mod gauges;
mod json;
pub mod lately;
mod lines;
pub mod metrics;
mod store_meters;
pub mod trace;

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{JsonFields, format};

use self::lines::{Ending, Traced};

use crate::config::report::Report;
use crate::config::{self, LogFormat};

/// Starts the log, on standard error: text for a terminal, JSON for everything else, unless the configuration says.
///
/// The first call in a process counts; later ones change nothing.
pub fn start_log(settings: &config::Log) {
    let filter = filter(&settings.level);
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let lines = format().with_target(false);
    let _ = if json {
        let lines = lines.json().flatten_event(true).with_span_list(false).with_current_span(false);
        builder.fmt_fields(JsonFields::new()).event_format(Traced::new(lines, Ending::Json)).try_init()
    } else {
        let ansi = stderr().is_terminal();
        builder.with_ansi(ansi).event_format(Traced::new(lines.with_ansi(ansi), Ending::Text)).try_init()
    };
}

/// Libraries of which less is logged, unless the configuration names them. rustls warns of what any client can send, as
/// often as that client likes. cryptoki tells each login, as errors, which mechanisms of a token it does not know.
const QUIETER: [(&str, LevelFilter); 2] = [("rustls", LevelFilter::ERROR), ("cryptoki", LevelFilter::OFF)];

/// What is logged.
fn filter(level: &str) -> EnvFilter {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let most = filter.max_level_hint();
    QUIETER.into_iter().fold(filter, |filter, (library, at_most)| {
        let quiet = most.is_some_and(|most| most <= at_most);
        match format!("{library}={at_most}").parse() {
            Ok(directive) if !quiet && !level.contains(library) => filter.add_directive(directive),
            _ => filter,
        }
    })
}

/// Writes findings about a configuration into the log.
pub fn tell(findings: Report) {
    for finding in findings.sorted() {
        let place = finding.place.map(|place| place.to_string()).unwrap_or_default();
        tracing::warn!(place, setting = finding.setting, remedy = finding.remedy, "{}", finding.message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cryptoki_speaks_only_where_it_is_named() {
        for level in ["info", "error", "trace"] {
            assert!(filter(level).to_string().contains("cryptoki=off"), "{level}");
        }
        for level in ["off", "info,cryptoki=debug"] {
            assert!(!filter(level).to_string().contains("cryptoki=off"), "{level}");
        }
    }

    #[test]
    fn rustls_warns_only_where_it_is_named() {
        for level in ["info", "trace", "warn,aquila=debug", "not=a=filter"] {
            assert!(filter(level).to_string().contains("rustls=error"), "{level}");
        }
        for level in ["off", "error", "info,rustls=debug"] {
            assert!(!filter(level).to_string().contains("rustls=error"), "{level}");
        }
    }
}
