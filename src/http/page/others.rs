//! What stands below the integrations: callers, and the configuration that is in force.

use super::html::Html;
use super::spans::{Ago, Span, minute};
use crate::http::standing::{Outcome, Told};
use crate::http::status::Status;

/// Callers and their last use.
pub(super) fn callers(html: &mut Html, status: &Status) {
    html.element("section", &[("id", &"callers"), ("aria-labelledby", &"h-callers")], |html| {
        html.words("h2", &[("id", &"h-callers")], "Callers");
        if status.callers_last_seen.is_empty() {
            return html.words("p", &[], "No caller is configured.");
        }
        html.element("table", &[], |html| {
            html.words("caption", &[], "Each caller, and when it last proved itself, whatever it was told then");
            html.element("thead", &[], |html| {
                html.element("tr", &[], |html| {
                    for name in ["Caller", "Last use", "Limits"] {
                        html.words("th", &[("scope", &"col")], name);
                    }
                });
            });
            html.element("tbody", &[], |html| {
                for seen in &status.callers_last_seen {
                    html.element("tr", &[("id", &format_args!("c-{}", seen.caller))], |html| {
                        html.words("th", &[("scope", &"row"), ("class", &"name")], &seen.caller);
                        match seen.seconds_ago {
                            Some(seconds) => html.words("td", &[], Ago(seconds)),
                            None => html.words("td", &[("class", &"none")], "never since the start"),
                        }
                        html.element("td", &[], |html| limits(html, status, &seen.caller));
                    });
                }
            });
        });
    });
}

fn limits(html: &mut Html, status: &Status, caller: &str) {
    let mut any = false;
    for limit in status.callers_at_limit.iter().filter(|limit| limit.caller == caller) {
        if std::mem::replace(&mut any, true) {
            html.element("br", &[], |_| {});
        }
        html.element("span", &[("class", &"bad")], |html| {
            html.text("over ");
            html.words("code", &[], limit.limit);
            html.text(format_args!(", told to wait {}", Span(limit.for_seconds)));
        });
    }
    if !any {
        html.words("span", &[("class", &"none")], "within");
    }
}

/// What is in force, and what came of the last try to replace it.
pub(super) fn configuration(html: &mut Html, told: &Told) {
    html.element("section", &[("id", &"configuration"), ("aria-labelledby", &"h-configuration")], |html| {
        html.words("h2", &[("id", &"h-configuration")], "Configuration");
        html.element("p", &[], |html| {
            html.text(format_args!("Generation {} is in force, since ", told.generation));
            date(html, &told.in_force_since);
            html.text(".");
        });
        let Some(last) = &told.last_reload else {
            return html.words("p", &[], "It was not reloaded since the start.");
        };
        html.element("p", &[("class", &if told.is_stale() { "bad" } else { "" })], |html| {
            html.text("Last reload: ");
            date(html, &last.at);
            html.text(match last.outcome {
                Outcome::Applied => ", applied.",
                Outcome::Refused => {
                    ", refused. What was in force before still is; correct the files, and it is read again."
                }
            });
        });
        if !last.findings.is_empty() {
            html.element("ul", &[("class", &"findings")], |html| {
                for finding in &last.findings {
                    html.element("li", &[], |html| html.words("code", &[], finding));
                }
            });
        }
    });
}

fn date(html: &mut Html, date: &str) {
    html.words("time", &[("datetime", &date)], minute(date));
}
