//! The lines of the log, each with the id of the trace that it belongs to, where there is one.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::trace;

/// Lines as another format writes them, with `trace_id` at their end.
pub(super) struct Traced<F> {
    lines: F,
    ending: Ending,
}

/// How such a line ends.
#[derive(Clone, Copy)]
pub(super) enum Ending {
    /// As an object.
    Json,
    /// As it comes.
    Text,
}

impl<F> Traced<F> {
    /// Lines of `lines`, which end so.
    pub(super) fn new(lines: F, ending: Ending) -> Self {
        Self { lines, ending }
    }
}

impl<S, N, F> FormatEvent<S, N> for Traced<F>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(id) = trace::current_id() else { return self.lines.format_event(context, writer, event) };
        let mut line = String::new();
        self.lines.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&with_trace(&line, self.ending, &id))
    }
}

fn with_trace(line: &str, ending: Ending, id: &str) -> String {
    let line = line.trim_end_matches('\n');
    match (ending, line.strip_suffix('}')) {
        (Ending::Json, Some(members)) => format!("{members},\"trace_id\":\"{id}\"}}\n"),
        _ => format!("{line} trace_id={id}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_trace_stays_one_line_in_its_own_form() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        let json = with_trace("{\"level\":\"INFO\",\"message\":\"}\"}\n", Ending::Json, id);
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read, serde_json::json!({"level": "INFO", "message": "}", "trace_id": id}));
        assert_eq!(json.matches('\n').count(), 1);
        let text = with_trace(" INFO a new token of={acme}\n", Ending::Text, id);
        assert_eq!(text, format!(" INFO a new token of={{acme}} trace_id={id}\n"));
    }
}
