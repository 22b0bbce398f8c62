//! All that most clients do when Salesforce refuses a token is to ask for it again. Whoever comes back within seconds
//! for the same long-lived token has it confirmed beside the answer; those who mean nothing by it cost little.

use aquila::simulator::{Door, Fault, FaultAnswer, RestRow, Row};
use tokio::task::JoinSet;

use crate::support::plan::{CALLER, INTEGRATION};
use crate::support::reply::Reply;
use crate::support::stage::Stage;
use crate::support::{seconds, until};

/// A stage with a warm token that nobody has come back for.
async fn warm() -> (Stage, String) {
    let stage = Stage::plan().caller("other", &["elf-*"]).start().await;
    let token = stage.token().await.text;
    (stage, token)
}

/// Asks, is refused by Salesforce, and asks again: the second answer may still be the old token.
async fn come_back(stage: &Stage, token: &str, after: u64) {
    assert_eq!(stage.token().await.text, token);
    stage.advance(seconds(after));
    assert_eq!(stage.token().await.text, token);
}

#[tokio::test]
async fn a_dead_token_is_found_by_a_caller_that_comes_back_and_replaced_by_one_login() {
    for after in [0, 1, 5] {
        let (stage, token) = warm().await;
        let kept = stage.kept().await;
        stage.simulator.kill_sessions(None);
        come_back(&stage, &token, after).await;
        until("it is found dead", async || stage.kept().await != kept).await;
        let next = stage.token().await.text;
        assert_ne!(next, token, "{after} s later");
        assert_eq!(stage.status_at_salesforce(&next).await, 200);
        assert_eq!(stage.calls().0, 2, "{after} s later: U");
    }
}

#[tokio::test]
async fn who_comes_back_later_or_is_somebody_else_hints_at_nothing() {
    let (stage, token) = warm().await;
    for _ in 0..20 {
        assert_eq!(stage.token().await.text, token);
        assert_eq!(stage.ask_as("other", INTEGRATION).await.token().text, token);
        stage.advance(seconds(6));
    }
    assert_eq!(stage.calls(), (1, 1));
}

#[tokio::test]
async fn a_client_that_asks_only_once_more_is_helped_by_the_next_confirmation() {
    let (stage, token) = warm().await;
    let kept = stage.kept().await;
    stage.advance(seconds(600));
    stage.simulator.kill_sessions(None);
    // Every five minutes it is refused and renews once, gets the same token, and gives up.
    for _ in 0..6 {
        stage.advance(seconds(300));
        assert_eq!(stage.token().await.text, token);
    }
    assert_eq!(stage.calls(), (1, 1), "nobody can tell it from one that has no cache");
    // Three quarters of the promise.
    stage.advance(seconds(300));
    until("the token is confirmed in any case", async || stage.kept().await != kept).await;
    assert_ne!(stage.token().await.text, token);
    assert_eq!(stage.calls().0, 2);
}

#[tokio::test]
async fn the_answer_does_not_wait_for_the_look_beside_it() {
    let (stage, token) = warm().await;
    stage.simulator.force(Fault::always(Door::Rest, FaultAnswer::NeverAnswer));
    // The second one starts a call that hangs for 5 s; a hundred more answers come meanwhile.
    for _ in 0..100 {
        assert_eq!(stage.token().await.text, token);
    }
    assert_eq!(stage.confirms("unclear").await, 0, "answers waited for the call");
    until("the call was under way and is over", async || stage.confirms("unclear").await == 1).await;
    assert_eq!((stage.token().await.text, stage.calls().0), (token, 1));
}

#[tokio::test]
async fn what_is_no_definite_no_drops_nothing() {
    for answer in [
        FaultAnswer::Row { row: Row::Rest(RestRow::ServerUnavailable) },
        FaultAnswer::Maintenance { status: 401 },
        FaultAnswer::HangUp,
    ] {
        let (stage, token) = warm().await;
        stage.simulator.force(Fault::always(Door::Rest, answer.clone()));
        come_back(&stage, &token, 1).await;
        until("the look is over", async || stage.confirms("unclear").await == 1).await;
        stage.advance(seconds(60));
        assert_eq!((stage.token().await.text, stage.calls().0), (token, 1), "{answer:?}");
    }
}

#[tokio::test]
async fn a_script_without_a_cache_is_looked_into_less_and_less_often_while_the_token_lives() {
    let (stage, token) = warm().await;
    let mut looks = Vec::new();
    let mut before = stage.calls().1;
    for second in 0..3600_u64 {
        assert_eq!(stage.token().await.text, token);
        let calls = stage.calls().1;
        if calls > before {
            looks.push(second);
            before = calls;
        }
        stage.advance(seconds(1));
    }
    // 60, 120, 240 … s apart; a look is seen here a moment after it began.
    assert!((4..=7).contains(&looks.len()), "{looks:?}");
    let pauses: Vec<u64> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().zip([55, 115, 235, 475, 955]).all(|(pause, least)| *pause >= least), "{looks:?}");
    assert_eq!(stage.calls().0, 1);
}

#[tokio::test]
async fn a_thousand_requests_a_second_of_pods_that_share_a_key_cost_few_calls() {
    let (stage, token) = warm().await;
    for _ in 0..50 {
        let ask = || stage.get("/token").bearer_auth(stage.key(CALLER));
        let pods: JoinSet<Reply> = (0..100).map(|_| Reply::of(ask())).collect();
        for reply in pods.join_all().await {
            assert_eq!(reply.token().text, token);
        }
        stage.advance(seconds(1) / 10);
    }
    let (posts, calls) = stage.calls();
    assert!(posts == 1 && calls <= 2, "U {posts}, REST {calls} for 5000 requests in 5 s");
    assert!(stage.lookups("hit").await >= 5000);
}

#[tokio::test]
async fn callers_with_many_names_share_one_look_in_thirty_seconds() {
    let names: Vec<String> = (0..30).map(|number| format!("pod-{number}")).collect();
    let plan = names.iter().fold(Stage::plan(), |plan, name| plan.caller(name, &["elf-*"]));
    let stage = plan.start().await;
    let token = stage.token().await.text;
    for reporter in names.iter().take(29) {
        for name in &names {
            assert_eq!(stage.ask_as(name, INTEGRATION).await.token().text, token);
        }
        stage.report_as(reporter, &token).await;
        stage.advance(seconds(1));
    }
    assert_eq!(stage.calls(), (1, 2));
}

#[tokio::test]
async fn refusal_of_every_token_is_no_loop_for_those_who_only_ask() {
    let (stage, _) = warm().await;
    stage.simulator.force(Fault::always(Door::Rest, FaultAnswer::Row { row: Row::Rest(RestRow::InvalidSessionId) }));
    for _ in (0..3600).step_by(3) {
        stage.ask().await;
        stage.advance(seconds(3));
    }
    let (posts, calls) = stage.calls();
    // One, then pauses of 5, 10, … 300 s with two logins and two calls in each try.
    assert!(posts <= 1 + 2 * 18 && calls <= 2 + 2 * 18, "U {posts}, REST {calls}");
    assert_eq!(stage.cause().await, "fresh_token_refused");
}
