//! `POST /introspect` (RFC 7662): what is known of a token that the caller may have, from memory alone.

use serde_json::{Value, json};

use crate::support::plan::{CALLER, INTEGRATION, Plan};
use crate::support::reply::Reply;
use crate::support::seconds;
use crate::support::stage::Stage;

const STRANGER: &str = "stranger";

fn nothing() -> Value {
    json!({"active": false})
}

/// That a token is told to be good, for no longer than Salesforce says, and with nothing that is not asked for.
async fn is_told_honestly(stage: &Stage, token: &str, when: &str) {
    let left = stage.left_at_salesforce(token).await;
    let told = stage.introspect_as(CALLER, token).await;
    let members: Vec<&String> = told.as_object().unwrap().keys().collect();
    assert_eq!(members, ["active", "exp", "iat", "integration", "lifetime_source", "token_type"], "{when}");
    let member = |name: &str| told.get(name).cloned().unwrap_or_default();
    assert_eq!((member("active"), member("token_type")), (json!(true), json!("Bearer")), "{when}");
    let now = stage.clock.timestamp().as_second();
    let ahead = member("exp").as_i64().unwrap() - now;
    assert!((1..=left).contains(&ahead), "{when}: {ahead} s told, {left} s left");
    assert!(member("iat").as_i64().unwrap() <= now, "{when}");
    assert!(!told.to_string().contains(token), "{when}");
}

#[tokio::test]
async fn the_end_that_is_told_lies_never_beyond_what_the_session_has_left() {
    let stage = Stage::usual().await;
    let token = stage.token().await;
    for (step, when) in [(0, "new"), (1, "a second old"), (3000, "ageing"), (568, "in its last second")] {
        stage.advance(seconds(step));
        is_told_honestly(&stage, &token.text, when).await;
    }
    stage.advance(seconds(1));
    assert_eq!(stage.introspect_as(CALLER, &token.text).await, nothing(), "nobody vouches for it any more");
    // Confirmed, it is the same token again.
    assert_eq!(stage.token().await.text, token.text);
    is_told_honestly(&stage, &token.text, "confirmed again").await;
}

#[tokio::test]
async fn asking_causes_nothing_at_salesforce_and_keeps_no_token_in_use() {
    let stage = Stage::usual().await;
    let token = stage.token().await.text;
    let before = stage.calls();
    for _ in 0..300 {
        stage.introspect_as(CALLER, &token).await;
        stage.introspect_as(CALLER, "00D5g00000SIMU1!nothing").await;
    }
    assert_eq!(stage.calls(), before);
    assert_eq!(stage.status(INTEGRATION, "/last_used_seconds_ago").await, json!(0));
    stage.advance(seconds(100));
    stage.introspect_as(CALLER, &token).await;
    assert_eq!(stage.status(INTEGRATION, "/last_used_seconds_ago").await, json!(100));
}

#[tokio::test]
async fn a_superseded_token_is_known_until_its_end_and_a_dead_one_never_again() {
    // Every renewal is a login, and every login opens another session.
    let plan = Stage::plan().integration_line("confirm_session = false");
    let stage = plan.simulator(|settings| settings.switches.running_session_handed_back = false).start().await;
    let first = stage.token().await.text;
    stage.advance(seconds(1500));
    let ask = stage.get("/token?min_ttl=2800").bearer_auth(stage.key(CALLER));
    let second = Reply::of(ask).await.token().text;
    assert_ne!(first, second);
    is_told_honestly(&stage, &first, "superseded").await;
    is_told_honestly(&stage, &second, "current").await;
    stage.advance(seconds(2100));
    assert_eq!(stage.introspect_as(CALLER, &first).await, nothing(), "its end has come");
    is_told_honestly(&stage, &second, "current, later").await;
    stage.simulator.kill_sessions(None);
    stage.report(&second).await;
    assert_eq!(stage.introspect_as(CALLER, &second).await, nothing(), "dead");
    let third = stage.token().await.text;
    is_told_honestly(&stage, &third, "new").await;
}

#[tokio::test]
async fn who_may_not_have_a_token_is_told_nothing_of_it() {
    let plan = Stage::plan().integration("crm-live").caller(STRANGER, &["crm-*"]).caller("idle", &["none-*"]);
    let stage = plan.start().await;
    let token = stage.token().await.text;
    let theirs = stage.ask_as(STRANGER, "crm-live").await.token().text;
    assert_eq!(stage.introspect_as(STRANGER, &theirs).await["active"], json!(true));
    for (caller, token) in [(STRANGER, &token), (CALLER, &theirs), ("idle", &token), ("idle", &theirs)] {
        let request = stage.post("/introspect", &format!("token={token}")).bearer_auth(stage.key(caller));
        assert_eq!(Reply::of(request).await.body, r#"{"active":false}"#, "{caller}");
    }
    // Neither with a token that is no text at all.
    for odd in ["%00", "%ff%fe", "%F0%9F%A6%85", &"x".repeat(4000)] {
        let reply = Reply::of(stage.post("/introspect", &format!("token={odd}")).bearer_auth(stage.key(CALLER))).await;
        assert!(reply.status == 400 || reply.body == r#"{"active":false}"#, "{odd}: {}", reply.body);
    }
    let unproved = Reply::of(stage.post("/introspect", &format!("token={token}"))).await;
    assert_eq!(unproved.refusal(), (401, "invalid_client".to_owned()));
    let malformed = Reply::of(stage.post("/introspect", "").bearer_auth(stage.key(CALLER))).await;
    assert_eq!(malformed.refusal(), (400, "invalid_request".to_owned()));
}

/// Two integrations of one user and app, for which Salesforce hands out one session.
fn twins() -> Plan {
    Stage::plan().integration("crm-live").one_user().caller("both", &["*"]).caller(STRANGER, &["crm-*"])
}

#[tokio::test]
async fn of_a_token_that_two_integrations_share_each_caller_is_told_by_what_it_may_have() {
    let stage = twins().start().await;
    let token = stage.token().await.text;
    assert_eq!(stage.introspect_as(STRANGER, &token).await, nothing());
    stage.advance(seconds(1000));
    assert_eq!(stage.ask_as(STRANGER, "crm-live").await.token().text, token);
    let end = async |caller: &str| stage.introspect_as(caller, &token).await["exp"].as_i64().unwrap();
    let (elf, crm, both) = (end(CALLER).await, end(STRANGER).await, end("both").await);
    assert_eq!((crm - elf, both), (1000, crm), "the longer life is as true as the shorter one");
    assert!(both - stage.clock.timestamp().as_second() <= stage.left_at_salesforce(&token).await);
}

#[tokio::test]
async fn a_shared_token_is_dropped_wherever_the_one_who_reports_it_may_have_it() {
    let stage = twins().start().await;
    let token = stage.token().await.text;
    assert_eq!(stage.ask_as(STRANGER, "crm-live").await.token().text, token);
    stage.simulator.kill_sessions(None);
    stage.report_as("both", &token).await;
    assert_eq!(stage.introspect_as("both", &token).await, nothing());
    let second = stage.token().await.text;
    assert_ne!(second, token);
    assert_eq!(stage.ask_as(STRANGER, "crm-live").await.token().text, second);
    // Each integration minted twice; the last mint got the session that the one before had opened.
    assert_eq!(stage.calls().0, 4);

    stage.simulator.kill_sessions(None);
    stage.advance(seconds(31));
    stage.report_as(STRANGER, &second).await;
    assert_eq!(stage.introspect_as(STRANGER, &second).await, nothing());
    // The other integration has no word of it from anybody who may have its token.
    assert_eq!(stage.introspect_as(CALLER, &second).await["active"], json!(true));
    assert_eq!(stage.calls().0, 5);
}
