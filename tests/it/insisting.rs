//! A caller that goes on reporting a token which is alive from here: it alone is told `token_unusable`, for a minute,
//! and the operator reads why.

use std::fs;

use aquila::simulator::{Door, Fault};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::plan::{CALLER, INTEGRATION, Plan};
use crate::support::reply::Reply;
use crate::support::stage::Stage;
use crate::support::{seconds, until};

const OTHER: &str = "indexer";

fn plan() -> Plan {
    Stage::plan().caller(OTHER, &["elf-*"])
}

async fn unusable_for(stage: &Stage) -> serde_json::Value {
    stage.status(INTEGRATION, "/token_unusable_for").await
}

/// On every way to the token.
async fn is_told_so(stage: &Stage, wait: u64) {
    for path in ["/token", "/token/elf-prod", "/token?integration=elf-prod&min_ttl=60"] {
        let reply = Reply::of(stage.get(path).bearer_auth(stage.key(CALLER))).await;
        assert_eq!((reply.refusal(), reply.retry_after()), ((502, "token_unusable".to_owned()), Some(wait)), "{path}");
    }
    for path in ["/token", "/services/oauth2/token", "/integrations/elf-prod/services/oauth2/token"] {
        let request = stage.post(path, "grant_type=client_credentials").bearer_auth(stage.key(CALLER));
        let reply = Reply::of(request).await;
        assert_eq!((reply.refusal(), reply.retry_after()), ((502, "server_error".to_owned()), Some(wait)), "{path}");
    }
}

#[tokio::test]
async fn a_caller_that_insists_is_told_so_alone_and_for_a_minute() {
    let stage = plan().start().await;
    let token = stage.token().await.text;
    for _ in 0..2 {
        stage.report(&token).await;
        stage.advance(seconds(2));
    }
    assert_eq!(stage.ask().await.token().text, token);
    assert_eq!(unusable_for(&stage).await, json!([]));
    stage.report(&token).await;
    is_told_so(&stage, 60).await;
    assert_eq!(stage.ask_as(OTHER, INTEGRATION).await.token().text, token);
    assert_eq!(unusable_for(&stage).await, json!([CALLER]));
    assert_eq!((stage.reports("alive").await, stage.reports("later").await), (1, 2));
    let refused = "aquila_token_requests_total{integration=\"elf-prod\",outcome=\"token_unusable\"}";
    assert_eq!(stage.metric(refused).await, 6);

    stage.advance(seconds(59));
    is_told_so(&stage, 1).await;
    stage.advance(seconds(1));
    assert_eq!(stage.ask().await.token().text, token);
    assert_eq!(unusable_for(&stage).await, json!([]));
    assert_eq!(stage.calls().0, 1);
}

#[tokio::test]
async fn reports_further_apart_are_no_insisting() {
    let stage = plan().start().await;
    let token = stage.token().await.text;
    for _ in 0..20 {
        stage.report(&token).await;
        stage.report_as(OTHER, &token).await;
        assert_eq!(stage.ask().await.token().text, token);
        stage.advance(seconds(30));
    }
    assert_eq!(stage.calls().0, 1);
}

#[tokio::test]
async fn a_new_token_is_for_everybody() {
    let stage = plan().start().await;
    let token = stage.token().await.text;
    for _ in 0..3 {
        stage.report(&token).await;
    }
    is_told_so(&stage, 60).await;
    stage.simulator.kill_sessions(None);
    stage.advance(seconds(31));
    stage.report_as(OTHER, &token).await;
    assert_ne!(stage.ask().await.token().text, token);
    assert_eq!((unusable_for(&stage).await, stage.calls().0), (json!([]), 2));
}

#[tokio::test]
async fn nobody_is_told_so_about_a_token_that_died_since_it_was_looked_at() {
    let stage = plan().start().await;
    let token = stage.token().await.text;
    stage.report(&token).await;
    stage.advance(seconds(31));
    stage.simulator.kill_sessions(None);
    // So slow that all of them come while it is being looked into.
    stage.simulator.force(Fault::delay(Door::Rest, 500));
    let mut workers: JoinSet<Reply> = (0..5).map(|_| Reply::of(stage.reporting(CALLER, &token))).collect();
    while !workers.is_empty() {
        assert_eq!(unusable_for(&stage).await, json!([]));
        while let Some(answer) = workers.try_join_next() {
            assert_eq!(answer.unwrap().status, 200);
        }
    }
    assert_ne!(stage.ask().await.token().text, token);
}

#[tokio::test]
async fn one_line_of_the_log_names_the_caller_and_where_to_look() {
    let mut stage = plan().in_own_process().start().await;
    let token = stage.token().await.text;
    for _ in 0..20 {
        stage.report(&token).await;
    }
    until("it is told", async || stage.ask().await.status == 502).await;
    stage.stop_broker().await;
    let log = fs::read_to_string(stage.file("stderr.txt")).unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("alive from the broker")).collect();
    let [line] = lines.as_slice() else { panic!("{log}") };
    for word in
        [CALLER, INTEGRATION, "IP locking", "API access policy", "instance_url", "troubleshooting.md#token_unusable"]
    {
        assert!(line.contains(word), "no {word} in {line}");
    }
    assert!(!log.contains(OTHER) && !log.contains(token.get(20..).unwrap()), "{log}");
}
