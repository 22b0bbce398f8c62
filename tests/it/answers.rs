//! Guarantee 2: never a 200 without a token, whatever the token endpoint calls a success; and nothing half-read stays.

use std::collections::BTreeMap;

use aquila::simulator::{Door, Fault, FaultAnswer, RestRow, Row};
use serde_json::json;

use crate::support::plan::username;
use crate::support::seconds;
use crate::support::stage::Stage;

fn raw(status: u16, content_type: &str, body: &str) -> FaultAnswer {
    let content_type = Some(content_type.to_owned());
    FaultAnswer::Raw { status, content_type, headers: BTreeMap::new(), body: body.to_owned() }
}

/// A token response that is whole but for what `change` does to it.
fn changed(stage: &Stage, change: serde_json::Value) -> String {
    let mut body = json!({
        "access_token": "00D5g00000SIMU1!HALFREAD",
        "token_type": "Bearer",
        "instance_url": stage.simulator.base_url(),
    });
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    body.to_string()
}

fn successes_that_are_none(stage: &Stage) -> Vec<(u16, String)> {
    let whole = changed(stage, json!({}));
    vec![
        (200, String::new()),
        (200, "null".to_owned()),
        (200, "<html><body>We are down for maintenance.</body></html>".to_owned()),
        (200, json!({"error": "invalid_grant", "error_description": "user hasn't approved this consumer"}).to_string()),
        (200, changed(stage, json!({"error": "unknown_error", "error_description": "retry your request"}))),
        (200, changed(stage, json!({"access_token": ""}))),
        (200, changed(stage, json!({"access_token": null}))),
        (200, changed(stage, json!({"access_token": "00D5g00000SIMU1!HALFREAD\r\nX-Injected: yes"}))),
        (200, changed(stage, json!({"access_token": "00D5g00000SIMU1!HALF\u{0}READ"}))),
        (200, changed(stage, json!({"access_token": "00D5g00000SIMU1!HALF READ"}))),
        (200, changed(stage, json!({"access_token": ["00D5g00000SIMU1!HALFREAD"]}))),
        (200, changed(stage, json!({"access_token": "x".repeat(20_000)}))),
        (200, changed(stage, json!({"token_type": "MAC"}))),
        (200, changed(stage, json!({"instance_url": ""}))),
        (200, changed(stage, json!({"instance_url": "not a URL"}))),
        (200, changed(stage, json!({"id": "https://login\r\nX-Injected: yes"}))),
        (200, whole.strip_suffix('}').unwrap().to_owned()),
        (200, format!("{whole}{whole}")),
        (201, whole.clone()),
        (202, whole.clone()),
        (203, whole.clone()),
        (206, whole.clone()),
        (300, whole.clone()),
        (400, whole),
    ]
}

#[tokio::test]
async fn a_success_that_holds_no_usable_token_is_never_a_200_and_leaves_nothing_behind() {
    let stage = Stage::usual().await;
    let first_bodies = successes_that_are_none(&stage);
    for (status, body) in &first_bodies {
        stage.simulator.force(Fault::always(Door::Token, raw(*status, "application/json;charset=UTF-8", body)));
        let posts = stage.simulator.counts().token_posts;
        let (told, error) = stage.ask().await.refusal();
        assert!(
            matches!((told, error.as_str()), (503, "temporarily_unavailable") | (502, "upstream_refused")),
            "{body}"
        );
        // What Salesforce itself calls passing is tried once more at once.
        let most = if body.contains("error") { 2 } else { 1 };
        let made = stage.simulator.counts().token_posts - posts;
        assert!((1..=most).contains(&made), "{made} logins: {status} {body}");
        // Also during the pause there is nothing that could be taken for a token.
        assert_ne!(stage.ask().await.status, 200, "{status} {body}");
        assert_eq!(stage.simulator.counts().rest_calls, 0, "a half-read token was used: {status} {body}");
        stage.simulator.clear_faults();
        stage.advance(seconds(300));
    }
    let token = stage.token().await;
    assert_eq!(stage.status_at_salesforce(&token.text).await, 200);
}

#[tokio::test]
async fn a_whole_answer_is_taken() {
    // The same answer with nothing wrong about it: what the test above changes is what made the difference.
    let stage = Stage::usual().await;
    let whole = changed(&stage, json!({"access_token": "00D5g00000SIMU1!WHOLE", "unknown": [1, {}]}));
    stage.simulator.force(Fault::once(Door::Token, raw(200, "application/json", &whole)));
    stage.simulator.force(Fault::once(Door::Rest, raw(200, "application/json", "{}")));
    assert_eq!(stage.token().await.text, "00D5g00000SIMU1!WHOLE");
}

#[tokio::test]
async fn a_lost_answer_is_a_failure_and_the_next_mint_gets_the_running_session() {
    let stage = Stage::usual().await;
    stage.simulator.force(Fault::once(Door::Token, FaultAnswer::LoseAnswer));
    let reply = stage.ask().await;
    assert_eq!(reply.refusal().0, 503);
    stage.advance(seconds(reply.retry_after().unwrap()));
    let token = stage.token().await;
    assert_eq!(stage.simulator.counts().token_outcomes.get("granted_running"), Some(&1));
    assert!(stage.left_at_salesforce(&token.text).await >= i64::try_from(token.expires_in).unwrap());
}

#[tokio::test]
async fn a_fresh_token_that_is_dead_is_minted_twice_at_most_and_troubles_nobody_else() {
    let stage = Stage::plan().integration("elf-well").start().await;
    let dead = FaultAnswer::Row { row: Row::Rest(RestRow::InvalidSessionId) };
    stage.simulator.force(Fault { username: Some(username("elf-prod")), ..Fault::always(Door::Rest, dead) });
    let refusal = stage.ask().await.refusal();
    assert_eq!(refusal, (502, "upstream_refused".to_owned()));
    assert_eq!(stage.simulator.counts().token_posts, 2);
    assert_eq!(stage.cause().await, "fresh_token_refused");
    for _ in 0..20 {
        assert_eq!(stage.ask().await.refusal().0, 502);
    }
    assert_eq!(stage.simulator.counts().token_posts, 2);
    stage.ask_for("elf-well").await.token();
    // After the pause it is tried once more in the same manner, and cured when the cause is gone.
    stage.advance(seconds(5));
    assert_eq!(stage.ask().await.refusal().0, 502);
    assert_eq!(stage.simulator.counts().by_user[&username("elf-prod")].token_posts, 4);
    stage.simulator.clear_faults();
    stage.advance(seconds(300));
    stage.token().await;
}

#[tokio::test]
async fn a_life_of_less_than_a_second_is_a_failure_that_pauses_and_no_reason_to_log_in_again_at_once() {
    for life in [json!(1), json!(0), json!(-5), json!(0.9)] {
        let stage = Stage::usual().await;
        let body = changed(&stage, json!({"expires_in": life}));
        stage.simulator.force(Fault::always(Door::Token, raw(200, "application/json", &body)));
        stage.simulator.force(Fault::always(Door::Rest, raw(200, "application/json", "{}")));
        for _ in 0..20 {
            assert_eq!(stage.ask().await.refusal(), (502, "upstream_refused".to_owned()), "{life}");
        }
        assert_eq!((stage.simulator.counts().token_posts, stage.cause().await.as_str()), (1, "short_lived"), "{life}");
    }
}

#[tokio::test]
async fn the_least_session_timeout_that_is_taken_still_gives_a_token() {
    let stage = Stage::plan().session_timeout(seconds(3)).start().await;
    assert_eq!(stage.token().await.expires_in, 1);
}

#[tokio::test]
async fn a_dead_token_that_a_mint_hands_back_is_not_vouched_for_when_nothing_proves_that_it_lives() {
    let stage = Stage::usual().await;
    stage.simulator.force(Fault::always(Door::Token, raw(200, "application/json", &changed(&stage, json!({})))));
    stage.simulator.force(Fault::once(Door::Rest, FaultAnswer::Row { row: Row::Rest(RestRow::InvalidSessionId) }));
    stage.simulator.force(Fault::always(Door::Rest, raw(503, "text/html", "<html>")));
    assert_eq!(stage.ask().await.refusal(), (502, "upstream_refused".to_owned()));
    assert_eq!((stage.simulator.counts().token_posts, stage.cause().await.as_str()), (2, "fresh_token_refused"));
}

#[tokio::test]
async fn urls_of_hosts_that_are_not_trusted_are_left_out_of_the_answer() {
    let stage = Stage::usual().await;
    let (own, evil) = (format!("{}/id/00D/005", stage.simulator.base_url()), "https://evil.example/id/00D/005");
    for (id, site, expected) in [
        (own.as_str(), "http://evil.example/x", (Some(own.as_str()), None)),
        (evil, "https://site.force.com/customers", (None, Some("https://site.force.com/customers"))),
    ] {
        let stage = Stage::usual().await;
        let body = changed(&stage, json!({"id": id, "sfdc_site_url": site}));
        stage.simulator.force(Fault::always(Door::Rest, raw(200, "application/json", "{}")));
        stage.simulator.force(Fault::always(Door::Token, raw(200, "application/json", &body)));
        let json = stage.ask().await.json();
        let member = |name: &str| json.get(name).and_then(serde_json::Value::as_str);
        assert_eq!((member("id"), member("sfdc_site_url")), expected);
    }
}
