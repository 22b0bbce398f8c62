//! Guarantee 4: a good token is answered from memory before anything else happens, refreshes run beside the answers,
//! and a fault upstream spoils nothing that is still good.

use crate::support::plan::INTEGRATION;
use aquila::simulator::{Door, Fault, FaultAnswer, RestRow, Row, TokenRow};

use crate::support::stage::Stage;
use crate::support::{seconds, until};

/// What an outage looks like from outside.
fn outages() -> Vec<(&'static str, FaultAnswer)> {
    vec![
        ("hangs up", FaultAnswer::HangUp),
        ("never answers", FaultAnswer::NeverAnswer),
        ("503", FaultAnswer::Maintenance { status: 503 }),
        ("HTML with 200", FaultAnswer::Maintenance { status: 200 }),
    ]
}

fn break_down(stage: &Stage, answer: &FaultAnswer) {
    stage.simulator.force(Fault::always(Door::Token, answer.clone()));
    stage.simulator.force(Fault::always(Door::Rest, answer.clone()));
}

#[tokio::test]
async fn a_good_token_outlives_every_outage_and_service_returns_after_it() {
    for (name, answer) in outages() {
        let stage = Stage::plan().salesforce_line("request_timeout = \"2s\"").start().await;
        let token = stage.token().await;
        break_down(&stage, &answer);
        let mut told = token.expires_in;
        // 1000 s, then into the window in which it tries to refresh, up to the last promised second.
        for step in [1000, 1700, 600, 200, 60, 9] {
            stage.advance(seconds(step));
            told -= step;
            let still = stage.token().await;
            assert_eq!((still.text, still.expires_in), (token.text.clone(), told), "{name}");
        }
        assert_eq!(told, 1);
        let calls = async || stage.simulator.counts().rest_calls;
        until("the broker has noticed the outage", async || !stage.cause().await.is_empty()).await;

        stage.advance(seconds(1));
        let reply = stage.ask().await;
        assert_eq!(reply.refusal(), (503, "temporarily_unavailable".to_owned()), "{name}");
        let wait = reply.retry_after().unwrap();
        assert!((1..=300).contains(&wait), "{name}: Retry-After {wait}");

        stage.simulator.clear_faults();
        stage.advance(seconds(wait));
        let back = stage.token().await;
        assert!(back.expires_in > 3000, "{name}: {back:?}, {} calls", calls().await);
        assert_eq!(stage.status_at_salesforce(&back.text).await, 200, "{name}");
    }
}

#[tokio::test]
async fn an_answer_from_memory_does_not_wait_for_the_refresh_beside_it() {
    let stage = Stage::plan().salesforce_line("request_timeout = \"8s\"").start().await;
    let token = stage.token().await;
    break_down(&stage, &FaultAnswer::NeverAnswer);
    stage.advance(seconds(3000));
    // The refresh hangs for 8 s, its time limit; a hundred answers come meanwhile.
    for _ in 0..100 {
        assert_eq!(stage.token().await.text, token.text);
    }
    assert_eq!(stage.confirms("unclear").await, 0, "answers waited for the refresh");
    assert!(stage.lookups("stale_hit").await >= 100, "no refresh was under way");
    until("the refresh was under way and is over", async || stage.confirms("unclear").await == 1).await;
}

#[tokio::test]
async fn a_definite_refusal_spoils_no_good_token_and_is_told_after_its_end() {
    // Without confirm calls each renewal is a login, and a refused login proves nothing about the session.
    let stage = Stage::plan().integration_line("confirm_session = false").start().await;
    let token = stage.token().await;
    stage.simulator.force(Fault::always(Door::Token, FaultAnswer::Row { row: Row::Token(TokenRow::InactiveUser) }));
    stage.advance(seconds(3000));
    assert_eq!(stage.token().await.text, token.text);
    until("the refusal has come", async || stage.cause().await == "inactive_user").await;
    assert_eq!(stage.token().await.text, token.text);
    stage.advance(seconds(600));
    assert_eq!(stage.ask().await.refusal(), (502, "upstream_refused".to_owned()));
    stage.simulator.clear_faults();
    stage.advance(seconds(300));
    stage.token().await;
}

#[tokio::test]
async fn a_session_that_is_known_to_be_over_is_handed_out_no_more_though_its_promise_runs() {
    let stage = Stage::usual().await;
    let token = stage.token().await;
    stage.simulator.kill_sessions(None);
    stage.simulator.force(Fault::always(Door::Token, FaultAnswer::Row { row: Row::Token(TokenRow::InactiveUser) }));
    stage.advance(seconds(3000));
    until("nobody is handed the dead token", async || stage.ask().await.status != 200).await;
    assert_eq!(stage.ask().await.refusal(), (502, "upstream_refused".to_owned()));
    stage.simulator.clear_faults();
    stage.advance(seconds(10));
    assert_ne!(stage.token().await.text, token.text);
}

#[tokio::test]
async fn a_token_in_use_is_refreshed_ahead_and_an_unused_one_is_let_go() {
    let stage = Stage::plan().integration("elf-idle").start().await;
    stage.token().await;
    stage.ask_for("elf-idle").await.token();
    let confirms = |name: &str| {
        let users = stage.simulator.counts().by_user;
        users.get(&format!("{name}@acme.example")).map_or(0, |user| user.confirms)
    };
    assert_eq!((confirms("elf-prod"), confirms("elf-idle")), (1, 1));
    // Both were read, so both are in use; nobody asks, and still they are renewed.
    stage.advance(seconds(3000));
    until("both are renewed", async || confirms("elf-prod") == 2 && confirms("elf-idle") == 2).await;
    // Looking is not asking. Salesforce counts a call before it answers.
    let left = async || stage.told(INTEGRATION, "/token/remaining_seconds").await.as_u64().unwrap_or_default();
    until("the answer has come", async || left().await > 3000).await;
    // One is read again, the other is not.
    let token = stage.token().await;
    assert_eq!(token.expires_in, 3570);
    stage.advance(seconds(3000));
    until("the one in use is renewed", async || confirms("elf-prod") == 3).await;
    // The next round of the same task comes by after the other one was due as well.
    stage.token().await;
    stage.advance(seconds(3000));
    until("the one in use is renewed again", async || confirms("elf-prod") == 4).await;
    assert_eq!(confirms("elf-idle"), 2);
}

#[tokio::test]
async fn a_living_session_is_renewed_by_a_call_and_costs_no_login() {
    let stage = Stage::usual().await;
    let first = stage.token().await;
    let mut rises = 0;
    let mut before = first.expires_in;
    for _ in 0..12 * 60 {
        stage.advance(seconds(60));
        let token = stage.token().await;
        assert_eq!(token.text, first.text);
        assert!(token.expires_in > 300, "{token:?}");
        rises += u32::from(token.expires_in > before);
        before = token.expires_in;
        if token.expires_in < 900 {
            until("the refresh has landed", async || stage.token().await.expires_in > 3000).await;
        }
    }
    let counts = stage.simulator.counts();
    assert_eq!(counts.token_posts, 1, "{counts:?}");
    assert!(rises >= 10 && counts.confirms >= 10, "{rises} rises, {counts:?}");
}

#[tokio::test]
async fn a_confirm_call_that_says_nothing_leaves_a_good_token_alone() {
    for row in [RestRow::ServerUnavailable, RestRow::RequestLimitExceeded, RestRow::SessionNotValidForRest] {
        let stage = Stage::usual().await;
        let token = stage.token().await;
        stage.simulator.force(Fault::always(Door::Rest, FaultAnswer::Row { row: Row::Rest(row) }));
        stage.advance(seconds(3000));
        assert_eq!(stage.token().await.text, token.text);
        until("the call was made", async || stage.cause().await == "transient").await;
        assert_eq!(stage.token().await.text, token.text, "{row:?}");
        assert_eq!(stage.simulator.counts().token_posts, 1, "{row:?}");
    }
}
