//! The login budget: how often the broker logs one user in at one host within an hour, whatever callers do.

use aquila::simulator::{Door, Fault};
use serde_json::json;

use crate::support::eyes::raw;
use crate::support::plan::{Own, Plan};
use crate::support::stage::Stage;
use crate::support::{seconds, until};

const SHARED: &str = "shared@acme.example";

/// An integration of the shared user, whose tokens are renewed by logins alone.
fn shared(plan: Plan, name: &str, username: &str, budget: u32) -> Plan {
    let lines = vec!["confirm_session = false".to_owned(), format!("login_budget_per_hour = {budget}")];
    plan.own(name, Own { username: Some(username.to_owned()), lines, ..Own::default() })
}

/// The shared user's tokens live for ten seconds, so that time is spent by logins and not by waiting.
fn short_lives(stage: &Stage) {
    let body = json!({
        "access_token": "00D5g00000SIMU1!SHORT",
        "token_type": "Bearer",
        "instance_url": stage.simulator.base_url(),
        "expires_in": 10,
    });
    let fault = Fault::always(Door::Token, raw(200, &[], &body.to_string()));
    stage.simulator.force(Fault { username: Some(SHARED.to_owned()), ..fault });
}

async fn remaining(stage: &Stage, name: &str) -> (u64, u64) {
    let metric = stage.metric(&format!("aquila_login_budget_remaining{{integration=\"{name}\"}}")).await;
    let status = stage.told(name, "/login_budget/remaining").await.as_u64().unwrap();
    (metric, status)
}

#[tokio::test]
async fn integrations_of_one_user_and_host_share_a_budget_and_room_comes_back_after_an_hour() {
    // Salesforce does not tell the case of usernames apart.
    let plan = shared(Stage::plan().integration("elf-well"), "elf-one", "Shared@ACME.example", 10);
    let plan = shared(plan, "elf-two", SHARED, 10);
    let stage = shared(plan, "elf-alone", "alone@acme.example", 10).start().await;
    short_lives(&stage);
    stage.ask_for("elf-well").await.token();
    for login in 1..=10_u64 {
        let name = if login.is_multiple_of(2) { "elf-one" } else { "elf-two" };
        assert_eq!(stage.ask_in_time(name).await.token().expires_in, 9, "login {login}");
        assert_eq!(stage.posts_of(SHARED), login);
        assert_eq!(remaining(&stage, "elf-one").await, (10 - login, 10 - login));
        stage.advance(seconds(10));
    }
    // 100 s after the first one: used up, for both, by GET and by POST. U stays at ten.
    for name in ["elf-one", "elf-two"] {
        for _ in 0..10 {
            let reply = stage.ask_in_time(name).await;
            assert_eq!(reply.refusal(), (503, "temporarily_unavailable".to_owned()));
            // There is room in 3500 s; no caller is told to wait for more than five minutes.
            assert_eq!(reply.retry_after(), Some(300));
            assert_eq!(stage.post_for(name).await.refusal(), (503, "temporarily_unavailable".to_owned()));
        }
        assert_eq!(stage.failure(name, "cause").await, "login_budget");
        assert!(stage.failure(name, "detail").await.contains("login_budget_per_hour = 10"));
    }
    assert_eq!((stage.posts_of(SHARED), remaining(&stage, "elf-two").await), (10, (0, 0)));
    // Another user of the same host has a budget of its own, and nobody else notices anything.
    stage.ask_in_time("elf-alone").await.token();
    assert_eq!(remaining(&stage, "elf-alone").await, (9, 9));
    stage.answers_from_memory("elf-well").await;

    // An hour after the first login, and not a second earlier, there is room for one.
    for _ in 0..11 {
        stage.advance(seconds(300));
        assert_eq!(stage.ask_in_time("elf-one").await.refusal().0, 503);
    }
    stage.advance(seconds(199));
    let reply = stage.ask_in_time("elf-one").await;
    assert_eq!((reply.refusal().0, reply.retry_after(), stage.posts_of(SHARED)), (503, Some(1), 10));
    stage.advance(seconds(1));
    stage.ask_in_time("elf-one").await.token();
    assert_eq!(stage.ask_in_time("elf-two").await.refusal().0, 503);
    assert_eq!(stage.posts_of(SHARED), 11);
    // The next one ten seconds later, as the logins were made.
    stage.advance(seconds(300));
    stage.ask_in_time("elf-two").await.token();
    assert_eq!(stage.posts_of(SHARED), 12);
}

#[tokio::test]
async fn a_tenth_is_kept_for_tokens_that_have_expired() {
    let stage = shared(Stage::plan().integration("elf-well"), "elf-one", SHARED, 20).start().await;
    short_lives(&stage);
    stage.ask_for("elf-well").await.token();
    stage.ask_in_time("elf-one").await.token();
    // Half of its life is left: renewed beside the answer, again and again.
    for login in 2..=18 {
        stage.advance(seconds(5));
        stage.ask_in_time("elf-one").await.token();
        until("it is renewed ahead", async || stage.posts_of(SHARED) == login).await;
        until("the renewal has landed", async || stage.ask_in_time("elf-one").await.token().expires_in == 9).await;
    }
    // Nine tenths are used up: what looks ahead has to wait, and the good token is handed out all the same.
    stage.advance(seconds(5));
    assert_eq!(stage.ask_in_time("elf-one").await.token().expires_in, 4);
    until("the reserve is told", async || stage.failure("elf-one", "cause").await == "login_reserve").await;
    for _ in 0..10 {
        assert_eq!(stage.ask_in_time("elf-one").await.token().expires_in, 4);
    }
    assert_eq!((stage.posts_of(SHARED), remaining(&stage, "elf-one").await), (18, (2, 2)));
    assert_eq!(stage.told("elf-one", "/state").await, "ageing");
    // Expired: the reserve is there for that, at once and in spite of the pause.
    for login in 19..=20 {
        stage.advance(seconds(10));
        stage.ask_in_time("elf-one").await.token();
        assert_eq!(stage.posts_of(SHARED), login);
    }
    stage.advance(seconds(10));
    for _ in 0..10 {
        let reply = stage.ask_in_time("elf-one").await;
        assert_eq!((reply.refusal().0, reply.retry_after()), (503, Some(300)));
    }
    assert_eq!(stage.failure("elf-one", "cause").await, "login_budget");
    assert_eq!((stage.posts_of(SHARED), remaining(&stage, "elf-one").await), (20, (0, 0)));
    stage.answers_from_memory("elf-well").await;
}

#[tokio::test]
async fn refused_logins_count_as_well_and_a_word_of_a_cure_makes_no_room() {
    let stage = shared(Stage::plan().integration("elf-well"), "elf-one", SHARED, 10).start().await;
    stage.ask_for("elf-well").await.token();
    let refusal = r#"{"error":"unknown_error","error_description":"retry your request"}"#;
    let fault = Fault::always(Door::Token, raw(400, &[], refusal));
    stage.simulator.force(Fault { username: Some(SHARED.to_owned()), ..fault });
    // Two tries each time, and at most 30 s between them: without a budget there would be hundreds within the hour.
    for _ in 0..100 {
        let reply = stage.ask_in_time("elf-one").await;
        assert_eq!(reply.refusal().0, 503);
        stage.advance(seconds(30));
        if stage.posts_of(SHARED) == 10 && stage.failure("elf-one", "cause").await == "login_budget" {
            break;
        }
    }
    assert_eq!(stage.posts_of(SHARED), 10);
    stage.simulator.clear_faults();
    stage.broker().forgive();
    stage.advance(seconds(300));
    assert_eq!(stage.ask_in_time("elf-one").await.refusal().0, 503);
    assert_eq!((stage.posts_of(SHARED), stage.failure("elf-one", "cause").await.as_str()), (10, "login_budget"));
    stage.answers_from_memory("elf-well").await;
    stage.advance(seconds(3600));
    stage.ask_in_time("elf-one").await.token();
    assert_eq!(stage.posts_of(SHARED), 11);
}
