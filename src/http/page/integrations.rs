//! The table of integrations, the worst first.

use std::fmt::Write;

use super::html::{Attributes, Html};
use super::spans::{Ago, Count, Span, minute};
use crate::http::status::{CertificateStatus, FailureStatus, IntegrationStatus, KeyStatus, LastHour, State};

const COLUMNS: [(&str, &str); 5] = [
    ("Integration", ""),
    ("Token left", "of what is promised"),
    ("Last hour", "↑ minted, ↓ failed"),
    ("Login budget", "of this hour"),
    ("Certificate", "days to its end"),
];
/// When the alerts begin to tell of a certificate, and when they become urgent.
const SOON: i64 = 30;
const VERY_SOON: i64 = 7;

/// The section.
pub(super) fn section(html: &mut Html, integrations: &[IntegrationStatus]) {
    html.element("section", &[("id", &"integrations"), ("aria-labelledby", &"h-integrations")], |html| {
        html.words("h2", &[("id", &"h-integrations")], "Integrations");
        if integrations.is_empty() {
            return html.words("p", &[], "No integration is configured.");
        }
        let mut sorted: Vec<&IntegrationStatus> = integrations.iter().collect();
        sorted.sort_by_key(|one| rank(one.state));
        // Roles besides the elements: where a narrow screen shows the cells as blocks, browsers forget what they were.
        html.element("table", &[("class", &"wide"), ("role", &"table")], |html| {
            let names = "State, token, logins of the last hour, login budget and certificate of each integration, \
                         the worst state first";
            html.words("caption", &[], names);
            html.element("thead", &[("role", &"rowgroup")], |html| {
                html.element("tr", &[("role", &"row")], |html| {
                    for (name, legend) in COLUMNS {
                        html.element("th", &[("scope", &"col"), ("role", &"columnheader")], |html| {
                            html.text(name);
                            if !legend.is_empty() {
                                html.text(" ");
                                html.words("small", &[], legend);
                            }
                        });
                    }
                });
            });
            sorted.into_iter().for_each(|one| rows(html, one));
        });
    });
}

fn rank(state: State) -> u8 {
    match state {
        State::Failing => 0,
        State::Ageing => 1,
        State::Good => 2,
        State::Idle => 3,
    }
}

/// A shape for a state, which no two share.
pub(super) fn mark(html: &mut Html, state: State) {
    let shape = match state {
        State::Failing => "M1 1h14v14H1zM5 4L4 5l3 3l-3 3l1 1l3-3l3 3l1-1l-3-3l3-3l-1-1l-3 3z",
        State::Ageing => "M8 1l7.5 14H.5zM7.2 6v4.5h1.6V6zM7.2 12v1.6h1.6V12z",
        State::Good => "M8 .5a7.5 7.5 0 1 0 .01 0zM4.2 7.2l2.8 2.8l5-5l1 1l-6 6L3.2 8.2z",
        State::Idle => "M8 .5a7.5 7.5 0 1 0 .01 0zM8 2.5a5.5 5.5 0 1 1-.01 0z",
    };
    let attributes: Attributes<'_> =
        &[("class", &format_args!("mark {}", state.as_str())), ("viewBox", &"0 0 16 16"), ("aria-hidden", &"true")];
    html.element("svg", attributes, |html| html.words("path", &[("fill-rule", &"evenodd"), ("d", &shape)], ""));
}

fn rows(html: &mut Html, one: &IntegrationStatus) {
    let id = format!("i-{}", one.name);
    html.element("tbody", &[("role", &"rowgroup"), ("id", &id), ("class", &one.state.as_str())], |html| {
        html.element("tr", &[("role", &"row")], |html| {
            html.element("th", &[("scope", &"row"), ("role", &"rowheader")], |html| name(html, one));
            cell(html, "Token left", |html| token(html, one));
            cell(html, "Last hour", |html| last_hour(html, &one.last_hour));
            cell(html, "Login budget", |html| budget(html, one));
            cell(html, "Certificate", |html| certificates(html, &one.keys));
        });
        html.element("tr", &[("role", &"row"), ("class", &"more")], |html| {
            html.element("td", &[("role", &"cell"), ("colspan", &COLUMNS.len())], |html| {
                if let Some(failure) = &one.last_failure {
                    trouble(html, failure);
                }
                notes(html, one);
                html.element("details", &[], |html| details(html, one));
            });
        });
    });
}

fn cell(html: &mut Html, label: &'static str, inside: impl FnOnce(&mut Html)) {
    html.element("td", &[("role", &"cell"), ("data-label", &label)], |html| {
        html.element("div", &[("class", &"in")], inside);
    });
}

fn name(html: &mut Html, one: &IntegrationStatus) {
    html.element("span", &[("class", &"state")], |html| {
        mark(html, one.state);
        html.text(one.state.as_str());
    });
    html.text(" ");
    html.words("span", &[("class", &"name")], &one.name);
}

fn token(html: &mut Html, one: &IntegrationStatus) {
    let Some(token) = &one.token else { return html.words("span", &[("class", &"none")], "no token") };
    let whole = one.session.promise_seconds.max(token.remaining_seconds).max(1);
    let width = token.remaining_seconds.saturating_mul(100) / whole;
    let attributes: Attributes<'_> =
        &[("class", &"bar"), ("viewBox", &"0 0 100 8"), ("preserveAspectRatio", &"none"), ("aria-hidden", &"true")];
    html.element("svg", attributes, |html| {
        html.words("path", &[("class", &"track"), ("d", &"M0 0h100v8H0z")], "");
        html.words("path", &[("class", &"left"), ("d", &format_args!("M0 0h{width}v8H0z"))], "");
    });
    html.text(Span(token.remaining_seconds));
}

/// A line for each minute that had logins: up for those that brought a token, down for the others.
fn last_hour(html: &mut Html, hour: &LastHour) {
    let most = hour.minutes.iter().map(|minute| minute.mints.max(minute.failures)).max().unwrap_or(0);
    let (mut up, mut down) = (String::new(), String::new());
    for minute in &hour.minutes {
        let x = 119_u64.saturating_sub(minute.ago * 2);
        // Writing to a string never fails.
        if minute.mints > 0 {
            let _ = write!(up, "M{x} 13v-{}", height(minute.mints, most));
        }
        if minute.failures > 0 {
            let _ = write!(down, "M{x} 15v{}", height(minute.failures, most));
        }
    }
    html.element("svg", &[("class", &"chart"), ("viewBox", &"0 0 120 28"), ("aria-hidden", &"true")], |html| {
        html.words("path", &[("class", &"axis"), ("d", &"M0 14h120")], "");
        html.words("path", &[("class", &"up"), ("d", &up)], "");
        html.words("path", &[("class", &"down"), ("d", &down)], "");
    });
    match (hour.mints, hour.failures) {
        (0, 0) => html.words("span", &[("class", &"none")], "no login"),
        (mints, 0) => html.text(format_args!("{mints} minted")),
        (mints, failures) => html.text(format_args!("{mints} minted, {failures} failed")),
    }
}

fn height(count: u16, most: u16) -> u16 {
    (count.saturating_mul(12) / most.max(1)).max(3)
}

fn budget(html: &mut Html, one: &IntegrationStatus) {
    let (left, whole) = (one.login_budget.remaining, one.login_budget.per_hour);
    // The last tenth is kept for tokens that have expired.
    let low = left.saturating_mul(10) <= whole;
    html.element("span", &[("class", &if low { "bad" } else { "" })], |html| {
        html.text(format_args!("{left} of {whole} left"));
    });
}

fn certificates(html: &mut Html, keys: &[KeyStatus]) {
    let known = keys.iter().filter_map(|key| Some((key, key.certificate.as_ref()?)));
    let mut any = false;
    for (key, certificate) in known {
        any = true;
        end(html, key, certificate);
    }
    if !any {
        html.words("span", &[("class", &"none")], "not known");
    }
}

fn end(html: &mut Html, key: &KeyStatus, certificate: &CertificateStatus) {
    let days = certificate.days_left;
    let class = match days {
        _ if days < VERY_SOON => "bad",
        _ if days < SOON => "soon",
        _ => "",
    };
    html.element(
        "span",
        &[("class", &class), ("title", &format_args!("{}, until {}", key.setting, certificate.not_after))],
        |html| {
            match days {
                ..0 => html.text("has ended"),
                0 => html.text("ends today"),
                _ => html.text(Count(days.unsigned_abs(), "day")),
            }
            if !key.in_use {
                html.text(" (not in use)");
            }
        },
    );
}

fn trouble(html: &mut Html, failure: &FailureStatus) {
    html.element("div", &[("class", &"trouble")], |html| {
        html.element("p", &[("class", &"cause")], |html| {
            html.words("b", &[], capital(failure.sentence));
            html.text(". ");
            html.element("span", &[("class", &"when")], |html| {
                html.text(format_args!("{}, ", Ago(failure.seconds_ago)));
                html.text(format_args!("{} in a row", Count(failure.in_a_row.into(), "failure")));
                match failure.next_try_in_seconds {
                    0 => html.text("; the next request tries again."),
                    seconds => html.text(format_args!("; next try in {} at the earliest.", Span(seconds))),
                }
            });
        });
        html.element("p", &[], |html| {
            html.words("b", &[], "Do: ");
            html.text(failure.remedy);
            html.text(". More: ");
            html.words("code", &[], &failure.help);
        });
        html.element("p", &[], |html| {
            html.words("b", &[], "Seen: ");
            html.words("code", &[], &failure.detail);
        });
    });
}

/// What is notable besides a failure.
fn notes(html: &mut Html, one: &IntegrationStatus) {
    if one.circuit_open {
        html.words("p", &[("class", &"note")], "The token host failed again and again and is left alone for a moment.");
    }
    if let Some(skew) = one.clock_skew_seconds.filter(|skew| skew.unsigned_abs() >= 30) {
        let words = format_args!("Salesforce's clock less this machine's: {skew} s. One of them is wrong.");
        html.words("p", &[("class", &"note")], words);
    }
    if !one.token_unusable_for.is_empty() {
        html.element("p", &[("class", &"note")], |html| {
            html.text("The token works from here, and these callers report it again and again: ");
            html.text(one.token_unusable_for.join(", "));
            html.text(".");
        });
    }
}

fn details(html: &mut Html, one: &IntegrationStatus) {
    html.element("summary", &[], |html| {
        html.text("Details");
        html.words("span", &[("class", &"unseen")], format_args!(" of {}", one.name));
    });
    html.element("dl", &[], |html| {
        let session = &one.session;
        if let Some(token) = &one.token {
            pair(html, "Token", |html| {
                html.words("code", &[], &token.fingerprint);
                html.text(format_args!(" (its fingerprint), minted {}", minute(&token.minted_at)));
            });
            pair(html, "Good at", |html| html.words("code", &[], &token.instance_url));
            pair(html, "Its life rests on", |html| html.words("code", &[], token.lifetime_source));
        }
        pair(html, "Last asked for", |html| match one.last_used_seconds_ago {
            Some(seconds) => html.text(Ago(seconds)),
            None => html.text("never since the start"),
        });
        pair(html, "Promised", |html| {
            let (promised, timeout) = (Span(session.promise_seconds), Span(session.timeout_seconds));
            html.text(format_args!("{promised} after each proof of life, with a session timeout of {timeout}"));
            if session.cut_by_experience {
                html.text("; sessions died early, so it is less than half");
            }
        });
        for key in &one.keys {
            pair(html, key.setting, |html| told(html, key));
        }
    });
}

fn told(html: &mut Html, key: &KeyStatus) {
    html.text(if key.in_use { "in use" } else { "not in use" });
    if let Some(seconds) = key.accepted_seconds_ago {
        html.text(format_args!(", accepted {}", Ago(seconds)));
    }
    if let Some(seconds) = key.refused_seconds_ago {
        html.text(format_args!(", refused {}", Ago(seconds)));
    }
    if let Some(certificate) = &key.certificate {
        html.text(format_args!(", certificate until {}", minute(&certificate.not_after)));
    }
    html.text("; ");
    html.words("code", &[], &key.thumbprint);
}

fn pair(html: &mut Html, name: &'static str, value: impl FnOnce(&mut Html)) {
    html.element("div", &[], |html| {
        html.words("dt", &[], name);
        html.element("dd", &[], value);
    });
}

fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
