//! `/status`: the page for the person on call, made from what `/status.json` tells, in one answer that loads nothing else.
//!
//! Whole without JavaScript. With it the page fetches itself anew and changes in place what has changed, so that focus,
//! scroll and what is unfolded stay.

mod html;
mod integrations;
mod others;
mod spans;

use std::sync::OnceLock;

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Response};
use axum::response::IntoResponse;
use base64::prelude::{BASE64_STANDARD, Engine};
use jiff::Timestamp;

use self::html::{Asset, Html};
use self::spans::{Count, Span};
use super::status::{State, Status};
use crate::hash::sha256;

/// Seconds between two looks of the page's script: longer where there is more to make and to send.
const EVERY: usize = 5;
const FOR_EACH_MORE: usize = 20;

/// The answer.
pub(super) fn answer(status: &Status, now: Timestamp) -> Response<Body> {
    let fixed = |text: &'static str| HeaderValue::from_static(text);
    let headers = [
        (CONTENT_TYPE, fixed("text/html; charset=utf-8")),
        (CACHE_CONTROL, fixed("no-store")),
        (CONTENT_SECURITY_POLICY, fixed(policy())),
        (X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (X_FRAME_OPTIONS, fixed("DENY")),
        (REFERRER_POLICY, fixed("no-referrer")),
        (HeaderName::from_static("cross-origin-opener-policy"), fixed("same-origin")),
        (HeaderName::from_static("cross-origin-resource-policy"), fixed("same-origin")),
    ];
    (headers, render(status, now)).into_response()
}

/// Nothing but the page's own style and script, by their hashes, the icon in it, and the page itself once more.
fn policy() -> &'static str {
    static POLICY: OnceLock<String> = OnceLock::new();
    POLICY.get_or_init(|| {
        let hash = |asset: Asset| format!("'sha256-{}'", BASE64_STANDARD.encode(sha256([asset.bytes()])));
        format!(
            "default-src 'none'; style-src {}; script-src {}; img-src data:; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            hash(Asset::STYLE),
            hash(Asset::SCRIPT),
        )
    })
}

fn render(status: &Status, now: Timestamp) -> String {
    Html::document(|html| {
        html.element("html", &[("lang", &"en")], |html| {
            html.element("head", &[], |html| head(html, status));
            html.element("body", &[], |html| {
                html.element("a", &[("class", &"skip"), ("href", &"#integrations")], |html| {
                    html.text("Skip to the integrations");
                });
                html.element("header", &[("id", &"top")], |html| top(html, status, now));
                html.element("main", &[("id", &"main")], |html| {
                    integrations::section(html, &status.integrations);
                    others::callers(html, status);
                    others::configuration(html, &status.configuration);
                });
                html.element("footer", &[], foot);
                html.asset("script", &Asset::SCRIPT);
            });
        });
    })
}

/// How many integrations are in each state.
struct Tally {
    failing: u64,
    ageing: u64,
    good: u64,
    idle: u64,
}

impl Tally {
    fn of(status: &Status) -> Self {
        let mut tally = Self { failing: 0, ageing: 0, good: 0, idle: 0 };
        for one in &status.integrations {
            let count = match one.state {
                State::Failing => &mut tally.failing,
                State::Ageing => &mut tally.ageing,
                State::Good => &mut tally.good,
                State::Idle => &mut tally.idle,
            };
            *count += 1;
        }
        tally
    }

    /// The worst state there is.
    fn worst(&self) -> State {
        match self {
            Self { failing: 1.., .. } => State::Failing,
            Self { ageing: 1.., .. } => State::Ageing,
            Self { good: 1.., .. } => State::Good,
            _ => State::Idle,
        }
    }

    /// What there is, the worst first.
    fn told(&self) -> impl Iterator<Item = (State, u64)> {
        let all = [
            (State::Failing, self.failing),
            (State::Ageing, self.ageing),
            (State::Good, self.good),
            (State::Idle, self.idle),
        ];
        all.into_iter().filter(|(_, count)| *count > 0)
    }

    fn sentence(&self) -> String {
        let parts: Vec<String> = self.told().map(|(state, count)| format!("{count} {}", state.as_str())).collect();
        if parts.is_empty() { "no integration is configured".to_owned() } else { parts.join(", ") }
    }
}

fn head(html: &mut Html, status: &Status) {
    let tally = Tally::of(status);
    html.element("meta", &[("charset", &"utf-8")], |_| {});
    html.element("meta", &[("name", &"viewport"), ("content", &"width=device-width, initial-scale=1")], |_| {});
    html.element("meta", &[("name", &"color-scheme"), ("content", &"light dark")], |_| {});
    html.element("meta", &[("name", &"robots"), ("content", &"noindex")], |_| {});
    html.words("title", &[], format_args!("{} – Aquila", tally.sentence()));
    html.element("link", &[("id", &"icon"), ("rel", &"icon"), ("href", &icon(tally.worst()))], |_| {});
    html.asset("style", &Asset::STYLE);
}

/// A dot in the colour of the worst state, so that it shows on the tab.
fn icon(state: State) -> &'static str {
    match state {
        State::Failing => {
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%23c62828' d='M1 1h14v14H1z'/%3E%3C/svg%3E"
        }
        State::Ageing => {
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%23e69500' d='M8 1l7 14H1z'/%3E%3C/svg%3E"
        }
        State::Good => {
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle fill='%232e7d32' cx='8' cy='8' r='7'/%3E%3C/svg%3E"
        }
        State::Idle => {
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle fill='none' stroke='%23808080' stroke-width='3' cx='8' cy='8' r='6'/%3E%3C/svg%3E"
        }
    }
}

fn top(html: &mut Html, status: &Status, now: Timestamp) {
    let tally = Tally::of(status);
    html.element("div", &[("class", &"title")], |html| {
        html.words("h1", &[], "Aquila");
        // The only part that is read out when it changes: it does so when a state does, and not every second.
        html.element("p", &[("id", &"summary"), ("role", &"status")], |html| {
            for (state, count) in tally.told() {
                html.element("span", &[("class", &format_args!("tally {}", state.as_str()))], |html| {
                    integrations::mark(html, state);
                    html.words("b", &[], count);
                    html.text(format_args!(" {} ", state.as_str()));
                });
            }
            if status.integrations.is_empty() {
                html.text("no integration is configured");
            }
        });
    });
    html.element("ul", &[("class", &"facts"), ("id", &"facts")], |html| facts(html, status));
    html.element("p", &[("class", &"fresh")], |html| {
        html.element("span", &[("id", &"asof")], |html| {
            html.text("As of ");
            let date = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            html.words("time", &[("datetime", &date)], now.strftime("%Y-%m-%d %H:%M:%S UTC"));
        });
        html.text(". ");
        html.words("a", &[("href", &""), ("id", &"again")], "Load again");
        let every = EVERY.max(status.integrations.len() / FOR_EACH_MORE);
        html.words(
            "button",
            &[("type", &"button"), ("id", &"pause"), ("hidden", &""), ("data-every", &every)],
            "Pause",
        );
    });
    html.words("p", &[("id", &"lost"), ("role", &"alert")], "");
}

/// One sentence each about the process as a whole. Whatever else concerns all integrations belongs here too.
fn facts(html: &mut Html, status: &Status) {
    let fact = |html: &mut Html, bad: bool, words: std::fmt::Arguments<'_>| {
        html.words("li", &[("class", &if bad { "bad" } else { "" })], words);
    };
    match status.ready {
        true => fact(html, false, format_args!("Ready, up for {}", Span(status.uptime_seconds))),
        false => fact(html, true, format_args!("Not ready: it is starting or stopping, and /readyz says no")),
    }
    fact(html, false, format_args!("Version {}", status.version));
    if status.configuration.is_stale() {
        html.element("li", &[("class", &"bad")], |html| {
            html.text("The last change of the configuration was refused: ");
            html.words("a", &[("href", &"#configuration")], "its mistakes");
        });
    }
    let limited = u64::try_from(status.callers_at_limit.len()).unwrap_or(u64::MAX);
    if limited > 0 {
        html.element("li", &[("class", &"bad")], |html| {
            html.words("a", &[("href", &"#callers")], Count(limited, "caller"));
            html.text(" at a limit");
        });
    }
}

fn foot(html: &mut Html) {
    html.element("p", &[], |html| {
        html.text("The same for programs: ");
        html.words("code", &[], "/status.json");
        html.text(". What each cause means: ");
        html.words("code", &[], "docs/troubleshooting.md");
        html.text(". A runbook for each alert: ");
        html.words("code", &[], "docs/operations.md");
        html.text(".");
    });
}

#[cfg(test)]
mod tests;
