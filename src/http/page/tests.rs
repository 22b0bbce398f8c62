//! The page as a text: what stands in it, and what cannot.

use super::*;
use crate::http::standing::{LastReload, Outcome, Told};
use crate::http::status::{
    BudgetStatus, CertificateStatus, FailureStatus, IntegrationStatus, KeyStatus, LastHour, LimitStatus, SeenStatus,
    SessionStatus, TokenStatus,
};
use crate::telemetry::lately::Minute;

/// Each would do something if it were not a text.
const HOSTILE: &str = "</title></style><script>alert(1)</script>\" onload='alert(2)' \u{202E}x&amp;<!--";

fn integration(name: &str, state: State) -> IntegrationStatus {
    let has_token = matches!(state, State::Good | State::Ageing);
    let has_failed = matches!(state, State::Failing | State::Ageing);
    IntegrationStatus {
        name: name.to_owned(),
        state,
        token: has_token.then(|| TokenStatus {
            fingerprint: "e7b856d79fa76a22".to_owned(),
            remaining_seconds: 1800,
            lifetime_source: "confirmed",
            minted_at: "2026-11-21T20:37:50.017Z".to_owned(),
            instance_url: format!("https://{name}.my.salesforce.com"),
        }),
        last_used_seconds_ago: Some(12),
        last_failure: has_failed.then(|| FailureStatus {
            cause: "unknown",
            sentence: "Salesforce refuses for a reason that is not known here",
            remedy: "Setup > Login History of the user tells more",
            help: "docs/troubleshooting.md#unknown".to_owned(),
            detail: name.to_owned(),
            in_a_row: 3,
            seconds_ago: 5,
            next_try_in_seconds: 15,
        }),
        session: SessionStatus { timeout_seconds: 7200, promise_seconds: 3600, cut_by_experience: true },
        keys: vec![KeyStatus {
            setting: "client_key",
            thumbprint: "1f0c".to_owned(),
            in_use: true,
            accepted_seconds_ago: Some(12),
            refused_seconds_ago: Some(100),
            certificate: Some(CertificateStatus {
                not_before: "2026-11-21T00:00:00Z".to_owned(),
                not_after: name.to_owned(),
                days_left: 6,
                size_bytes: 768,
            }),
        }],
        login_budget: BudgetStatus { per_hour: 120, remaining: 3 },
        last_hour: LastHour {
            mints: 5,
            failures: 1,
            minutes: vec![Minute { ago: 0, mints: 4, failures: 1 }, Minute { ago: 59, mints: 1, failures: 0 }],
        },
        circuit_open: true,
        clock_skew_seconds: Some(-400),
        token_unusable_for: vec![name.to_owned()],
    }
}

fn status(integrations: Vec<IntegrationStatus>) -> Status {
    Status {
        version: "0.1.0",
        ready: true,
        uptime_seconds: 61,
        configuration: Told { generation: 2, in_force_since: "2026-11-21T20:36:49.011Z".to_owned(), last_reload: None },
        callers: 0,
        callers_at_limit: Vec::new(),
        callers_last_seen: Vec::new(),
        integrations,
    }
}

fn rendered(status: &Status) -> String {
    render(status, Timestamp::UNIX_EPOCH)
}

/// What stands between the tags of the only element of this name.
fn inside<'a>(page: &'a str, name: &str) -> &'a str {
    assert_eq!(page.matches(&format!("<{name}>")).count(), 1);
    page.split_once(&format!("<{name}>")).unwrap().1.split_once(&format!("</{name}>")).unwrap().0
}

#[test]
fn whatever_is_told_is_a_text() {
    let reload = LastReload { outcome: Outcome::Refused, at: HOSTILE.to_owned(), findings: vec![HOSTILE.to_owned()] };
    let mut status = status(vec![integration(HOSTILE, State::Ageing)]);
    status.configuration.last_reload = Some(reload);
    status.callers_last_seen = vec![SeenStatus { caller: HOSTILE.to_owned(), seconds_ago: None }];
    status.callers_at_limit = vec![LimitStatus { caller: HOSTILE.to_owned(), limit: "mints_per_hour", for_seconds: 9 }];
    let page = rendered(&status);
    assert!(page.matches("alert(1)").count() > 8, "it is told in each of its places: {page}");
    let without = page.replace(inside(&page, "script"), "").replace(inside(&page, "style"), "");
    for raw in ["alert(1)</", "<!--", "onload='", "onload=\"", "\u{202E}", "\" on"] {
        assert!(!without.contains(raw), "{raw}");
    }
    // The elements are those of a harmless page, as many of each, and so are the names of their attributes.
    let mut harmless = status;
    harmless.integrations = vec![integration("elf", State::Ageing)];
    harmless.configuration.last_reload =
        Some(LastReload { outcome: Outcome::Refused, at: "x".to_owned(), findings: vec!["x".to_owned()] });
    harmless.callers_last_seen = vec![SeenStatus { caller: "elf".to_owned(), seconds_ago: None }];
    harmless.callers_at_limit = vec![LimitStatus { caller: "elf".to_owned(), limit: "mints_per_hour", for_seconds: 9 }];
    let other = rendered(&harmless);
    let other = other.replace(inside(&other, "script"), "").replace(inside(&other, "style"), "");
    assert_eq!(without.matches('<').count(), other.matches('<').count());
    assert_eq!(without.matches('"').count(), other.matches('"').count());
}

#[test]
fn the_policy_allows_what_is_in_the_page_and_nothing_else() {
    let page = rendered(&status(vec![integration("elf", State::Failing)]));
    let hash = |name| format!("'sha256-{}'", BASE64_STANDARD.encode(sha256([inside(&page, name).as_bytes()])));
    let wanted = format!(
        "default-src 'none'; style-src {}; script-src {}; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash("style"),
        hash("script")
    );
    let response = answer(&status(Vec::new()), Timestamp::UNIX_EPOCH);
    let header = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(header("content-security-policy"), wanted);
    assert_eq!((header("x-content-type-options"), header("x-frame-options")), ("nosniff".into(), "DENY".into()));
    assert_eq!((header("referrer-policy"), header("cache-control")), ("no-referrer".into(), "no-store".into()));
    // What the policy would forbid is not there.
    let markup = page.replace(inside(&page, "script"), "").replace(inside(&page, "style"), "");
    for forbidden in [" style=", " src=", "<iframe", "<form", "<base", " onclick=", "href=\"http", "url("] {
        assert!(!markup.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn the_worst_stands_first_and_then_names_decide() {
    let all =
        [("a", State::Good), ("b", State::Idle), ("c", State::Failing), ("d", State::Ageing), ("e", State::Failing)];
    let page = rendered(&status(all.map(|(name, state)| integration(name, state)).into()));
    let order: Vec<&str> = page.split("id=\"i-").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(order, ["c", "e", "d", "a", "b"]);
    assert!(page.contains("<title>2 failing, 1 ageing, 1 good, 1 idle – Aquila</title>"));
}

#[test]
fn what_is_about_to_run_out_is_told_in_words() {
    let page = rendered(&status(vec![integration("elf", State::Ageing)]));
    for words in [
        "30 min</div>",
        "d=\"M0 0h50v8H0z\"",
        "d=\"M119 13v-12M1 13v-3\"",
        "d=\"M119 15v3\"",
        "5 minted, 1 failed",
        "<span class=\"bad\">3 of 120 left</span>",
        ">6 days</span>",
        "3 failures in a row; next try in 15 s at the earliest.",
        "Setup &gt; Login History of the user tells more",
        "<code>docs/troubleshooting.md#unknown</code>",
        "is left alone for a moment",
        "this machine&#39;s: -400 s",
        "report it again and again: elf.",
    ] {
        assert!(page.contains(words), "{words} in {page}");
    }
}

#[test]
fn nothing_configured_is_said_and_many_are_whole() {
    let page = rendered(&status(Vec::new()));
    for words in ["No integration is configured.", "No caller is configured.", "not reloaded since the start"] {
        assert!(page.contains(words), "{words}");
    }
    let many = (0..500).map(|number| integration(&format!("org-{number:03}"), State::Good)).collect();
    let page = rendered(&status(many));
    assert_eq!(page.matches("<tbody").count(), 500);
    assert!(page.contains("data-every=\"25\"") && page.ends_with("</html>"));
}
