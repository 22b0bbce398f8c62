//! Guarantees 2 and 8 against answers that come whole and are not what they should be: each is a failure with a cause,
//! and nothing of it is kept or handed out.

use std::collections::BTreeMap;

use aquila::simulator::{Door, Fault, FaultAnswer};
use serde_json::{Value, json};

use crate::support::seconds;
use crate::support::stage::Stage;

/// The usual answer with other members.
fn altered(members: Value) -> FaultAnswer {
    let Value::Object(members) = members else { panic!("{members}") };
    FaultAnswer::Altered { members }
}

/// One attempt is refused so, at the cost of one request (of two where it is called passing, which is tried once more at
/// once), and the next one is good.
async fn refused(stage: &Stage, answer: FaultAnswer, status: u16, cause: &str) {
    stage.simulator.reset_counts();
    stage.simulator.force(Fault::always(Door::Token, answer.clone()));
    for _ in 0..5 {
        let reply = stage.ask().await;
        assert_eq!((reply.refusal().0, stage.cause().await.as_str()), (status, cause), "{answer:?}");
    }
    let counts = stage.simulator.counts();
    let most = if cause == "transient" { 2 } else { 1 };
    assert!((1..=most).contains(&counts.token_posts) && counts.rest_calls == 0, "{answer:?}: {counts:?}");
    stage.simulator.clear_faults();
    stage.advance(seconds(300));
}

#[tokio::test]
async fn a_200_that_is_no_grant_is_a_failure_and_its_token_is_used_for_nothing() {
    let stage = Stage::usual().await;
    let cases = [
        (json!({"error": "unknown_error"}), 503, "transient"),
        (json!({"error": "invalid_grant", "error_description": "inactive user"}), 502, "inactive_user"),
        (json!({"access_token": null}), 503, "malformed_answer"),
        (json!({"access_token": ""}), 503, "malformed_answer"),
        (json!({"access_token": "00D5g00000SIMU1!\u{7}\u{1b}[2J"}), 503, "malformed_answer"),
        (json!({"access_token": "00D5g00000SIMU1!A\r\nX-Injected: 1"}), 503, "malformed_answer"),
        (json!({"access_token": "00D5g00000SIMU1!A B"}), 503, "malformed_answer"),
        (json!({"access_token": "00D5g00000SIMU1!é"}), 503, "malformed_answer"),
        (json!({"access_token": "A".repeat(16 * 1024 + 1)}), 503, "malformed_answer"),
        (json!({"access_token": 5}), 503, "malformed_answer"),
        (json!({"access_token": {"value": "00D5g00000SIMU1!A"}}), 503, "malformed_answer"),
        (json!({"token_type": "MAC"}), 503, "malformed_answer"),
        (json!({"token_type": 5}), 503, "malformed_answer"),
        (json!({"instance_url": null}), 503, "malformed_answer"),
        (json!({"instance_url": "acme"}), 503, "malformed_answer"),
        (json!({"instance_url": ["https://acme.my.salesforce.com"]}), 503, "malformed_answer"),
        (json!({"id": "https://x\r\nX-Injected: 1"}), 503, "malformed_answer"),
        (json!({"issued_at": "now\u{0}"}), 503, "malformed_answer"),
        (json!({"expires_in": "soon"}), 503, "malformed_answer"),
    ];
    for (members, status, cause) in cases {
        refused(&stage, altered(members), status, cause).await;
    }
    stage.token().await;
}

#[tokio::test]
async fn a_page_or_another_form_of_answer_is_no_grant() {
    let stage = Stage::usual().await;
    let raw = |status: u16, content_type: &str, body: &str| FaultAnswer::Raw {
        status,
        content_type: Some(content_type.to_owned()),
        headers: BTreeMap::new(),
        body: body.to_owned(),
    };
    let form = "access_token=00D5g00000SIMU1!A&token_type=Bearer&instance_url=https://acme.my.salesforce.com";
    let cases = [
        (FaultAnswer::Maintenance { status: 200 }, "malformed_answer"),
        (FaultAnswer::Maintenance { status: 404 }, "malformed_answer"),
        (FaultAnswer::Maintenance { status: 503 }, "transient"),
        (raw(200, "application/json", ""), "malformed_answer"),
        (raw(200, "application/json", "null"), "malformed_answer"),
        (raw(200, "application/json", "[]"), "malformed_answer"),
        (raw(200, "application/json", "{\"access_token\":\"00D5g00000SIMU1!A\""), "malformed_answer"),
        (raw(200, "application/json", &"[".repeat(100_000)), "malformed_answer"),
        (raw(200, "application/x-www-form-urlencoded", form), "malformed_answer"),
        (raw(204, "application/json", ""), "malformed_answer"),
        (raw(201, "application/json", "{}"), "malformed_answer"),
        (raw(500, "text/plain", "oops"), "transient"),
        (raw(502, "text/html", "<html>"), "transient"),
    ];
    for (answer, cause) in cases {
        refused(&stage, answer, 503, cause).await;
    }
    stage.token().await;
}

#[tokio::test]
async fn no_retry_after_of_salesforce_keeps_callers_away_for_more_than_five_minutes() {
    let waits = [
        "2",
        "300",
        "0",
        "-1",
        "99999999",
        "99999999999999999999999999",
        "soon",
        "",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ];
    let stage = Stage::usual().await;
    for status in [429, 503] {
        for wait in waits {
            let headers = BTreeMap::from([("retry-after".to_owned(), wait.to_owned())]);
            let answer = FaultAnswer::Raw { status, content_type: None, headers, body: String::new() };
            stage.simulator.force(Fault::always(Door::Token, answer));
            stage.simulator.reset_counts();
            let reply = stage.ask().await;
            assert_eq!(reply.refusal(), (503, "temporarily_unavailable".to_owned()), "{status} {wait}");
            let told = reply.retry_after().unwrap();
            assert!((1..=300).contains(&told), "{status}, Retry-After {wait}: callers are told {told}");
            stage.ask().await.refusal();
            // Whoever says when to come back, or that it is too much, is not asked again at once.
            let most = if status == 429 { 1 } else { 2 };
            let posts = stage.simulator.counts().token_posts;
            assert!((1..=most).contains(&posts), "{status}, Retry-After {wait}: {posts}");
            stage.simulator.clear_faults();
            // Five minutes later at most it is asked again, and the token is let go for the next round.
            stage.advance(seconds(300));
            stage.token().await;
            stage.simulator.kill_sessions(None);
            stage.advance(seconds(7200));
        }
    }
}
