//! An outage while a token is warm, for half a minute and for ever, its end during the outage, and a process that is
//! stopped beyond the token's end.

use std::time::Duration;

use aquila::simulator::{Door, Fault, FaultAnswer};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::plan::{CALLER, INTEGRATION};
use crate::support::reply::Reply;
use crate::support::stage::Stage;
use crate::support::{seconds, until};

/// Both doors of Salesforce fail.
fn break_down(stage: &Stage, answer: &FaultAnswer) {
    stage.simulator.force(Fault::always(Door::Token, answer.clone()));
    stage.simulator.force(Fault::always(Door::Rest, answer.clone()));
}

/// What fails at once; what hangs is in `memory.rs` and at the end of this file.
fn outages() -> [FaultAnswer; 3] {
    [FaultAnswer::HangUp, FaultAnswer::Maintenance { status: 503 }, FaultAnswer::Maintenance { status: 200 }]
}

#[tokio::test]
async fn half_a_minute_of_outage_goes_unnoticed() {
    for answer in outages() {
        let stage = Stage::plan().integration("elf-other").start().await;
        let token = stage.token().await.text;
        // The outage falls into the time in which the token is to be renewed.
        stage.advance(seconds(2900));
        break_down(&stage, &answer);
        for _ in 0..30 {
            assert_eq!(stage.token().await.text, token, "{answer:?}");
            stage.advance(seconds(1));
        }
        let (posts, calls) = stage.calls();
        // A session that is alive as far as is known costs no login, and pauses keep the calls few.
        assert!(posts == 1 && calls <= 1 + 30, "{answer:?}: U {posts}, REST {calls}");
        assert!(calls > 1, "{answer:?}: nobody noticed the outage");
        stage.simulator.clear_faults();
        // A try that was under way may have failed a moment ago, so time has to go on.
        let renewed = async || {
            stage.advance(seconds(1));
            stage.token().await.expires_in > 3000
        };
        until("the token is renewed", renewed).await;
        assert_eq!((stage.token().await.text, stage.calls().0), (token, 1), "{answer:?}");
        assert_eq!(stage.cause().await, "", "{answer:?}");
    }
}

#[tokio::test]
async fn a_token_that_ends_in_an_outage_is_never_handed_out_again_and_service_returns_with_salesforce() {
    for answer in outages() {
        let stage = Stage::usual().await;
        let token = stage.token().await;
        stage.advance(seconds(token.expires_in - 60));
        break_down(&stage, &answer);
        for left in (1..=60).rev() {
            assert_eq!(stage.token().await.expires_in, left, "{answer:?}");
            stage.advance(seconds(1));
        }
        // For ever, as far as callers can tell: an hour, until long after the session is over.
        for second in (0..4000).step_by(4) {
            let reply = stage.ask().await;
            assert_eq!(reply.refusal(), (503, "temporarily_unavailable".to_owned()), "{answer:?} after {second} s");
            assert!((1..=300).contains(&reply.retry_after().unwrap()), "{answer:?}: {:?}", reply.retry_after());
            stage.advance(seconds(4));
        }
        let posts = stage.calls().0;
        // `login_budget_per_hour` in any hour, the one of the start, and what came in the minutes after the hour.
        assert!((20..=140).contains(&posts), "{answer:?}: U {posts}");
        stage.simulator.clear_faults();
        let mut waited = 0;
        let mut reply = stage.ask().await;
        while reply.status != 200 {
            let wait = reply.retry_after().unwrap();
            waited += wait;
            assert!(waited <= 90, "{answer:?}: still {} after {waited} s, {}", reply.body, stage.cause().await);
            stage.advance(seconds(wait));
            reply = stage.ask().await;
        }
        let back = reply.token();
        assert_eq!(stage.status_at_salesforce(&back.text).await, 200, "{answer:?}");
        assert_ne!(back.text, token.text, "{answer:?}: that session is over");
    }
}

#[tokio::test]
async fn another_integration_is_answered_from_memory_meanwhile() {
    let stage = Stage::plan().integration("elf-cold").salesforce_line("request_timeout = \"8s\"").start().await;
    let token = stage.token().await.text;
    break_down(&stage, &FaultAnswer::NeverAnswer);
    let cold = stage.get("/token/elf-cold").bearer_auth(stage.key(CALLER));
    let mut waiting = JoinSet::from_iter([Reply::of(cold)]);
    for _ in 0..100 {
        assert_eq!(stage.token().await.text, token);
    }
    assert!(waiting.try_join_next().is_none(), "answers waited for the cold one, or it did not hang");
    assert_eq!(waiting.join_next().await.unwrap().unwrap().status, 503);
}

#[tokio::test]
async fn a_report_in_an_outage_drops_nothing_and_nobody_waits_beyond_the_deadline() {
    let stage = Stage::plan().caller("other", &["elf-*"]).salesforce_line("request_timeout = \"8s\"").start().await;
    let token = stage.token().await.text;
    break_down(&stage, &FaultAnswer::NeverAnswer);
    let started = Instant::now();
    let timed = async |request| {
        let reply = Reply::of(request).await;
        (reply, started.elapsed())
    };
    let reports: Vec<_> = (0..20).map(|_| timed(stage.reporting(CALLER, &token))).collect();
    let asks = async {
        let mut asked = Vec::new();
        while started.elapsed() < seconds(7) {
            let begun = Instant::now();
            let reply = stage.ask_as("other", INTEGRATION).await;
            asked.push((reply.token().text, begun.elapsed()));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        asked
    };
    let (reports, asked) = tokio::join!(futures_util::future::join_all(reports), asks);
    for (reply, waited) in reports {
        assert_eq!((reply.status, reply.body.as_str()), (200, ""));
        assert!((seconds(7)..seconds(10)).contains(&waited), "{waited:?}");
    }
    let longest = asked.iter().map(|(_, waited)| *waited).max().unwrap();
    assert!(longest < seconds(2), "an answer from memory took {longest:?}");
    assert!(asked.iter().all(|(given, _)| *given == token));
    assert_eq!((stage.reports("unclear").await, stage.calls().0), (20, 1));
    // Nobody insists on a token of which nothing is known.
    assert_eq!(stage.token().await.text, token);
}

#[tokio::test]
async fn whoever_asks_while_a_token_that_has_just_ended_is_looked_into_gets_another_one() {
    let stage = Stage::plan().salesforce_line("request_timeout = \"1s\"").start().await;
    let token = stage.token().await;
    stage.simulator.force(Fault::always(Door::Rest, FaultAnswer::NeverAnswer));
    stage.advance(seconds(token.expires_in - 1));
    until("renewing ahead has failed", async || stage.cause().await == "transient").await;
    let report = stage.reporting(CALLER, &token.text);
    let reported = JoinSet::from_iter([Reply::of(report)]);
    // Both are tasks of this thread: while this one is answered, that one is read.
    for _ in 0..25 {
        assert_eq!(Reply::of(stage.get("/healthz")).await.status, 200);
    }
    stage.advance(seconds(30));
    let given = stage.token().await;
    assert_eq!((given.source.as_str(), stage.calls().0), ("estimate", 2));
    assert_eq!(reported.join_all().await.len(), 1);
}

#[tokio::test]
async fn whoever_asks_while_a_renewal_ahead_of_the_end_hangs_beyond_it_gets_another_one() {
    let stage = Stage::plan().salesforce_line("request_timeout = \"1s\"").start().await;
    let token = stage.token().await;
    stage.simulator.force(Fault::always(Door::Rest, FaultAnswer::NeverAnswer));
    stage.advance(seconds(token.expires_in - 1));
    assert_eq!(stage.token().await.expires_in, 1);
    assert_eq!(stage.lookups("stale_hit").await, 1, "no renewal is under way");
    stage.advance(seconds(30));
    let given = stage.token().await;
    assert_eq!((given.source.as_str(), stage.calls().0), ("estimate", 2));
}

#[tokio::test]
async fn a_renewal_ahead_that_hangs_beyond_the_end_may_use_what_is_kept_for_expiry() {
    let plan = Stage::plan().salesforce_line("request_timeout = \"1s\"").integration_line("login_budget_per_hour = 2");
    let stage = plan.start().await;
    let token = stage.token().await;
    stage.simulator.force(Fault::always(Door::Rest, FaultAnswer::NeverAnswer));
    stage.advance(seconds(token.expires_in - 1));
    assert_eq!(stage.token().await.expires_in, 1);
    stage.advance(seconds(30));
    // Of two logins one is made and one is kept, for this.
    let given = stage.token().await;
    assert_eq!((given.source.as_str(), stage.calls().0), ("estimate", 2));
}

#[tokio::test]
async fn a_process_that_was_stopped_beyond_the_end_hands_out_no_expired_token() {
    let timeout = seconds(4);
    let stage = Stage::plan().session_timeout(timeout).in_own_process().start().await;
    let token = stage.token().await;
    stage.broker().freeze().await;
    // Asked while it cannot answer: these wait in its sockets.
    let ask = || stage.get("/token").bearer_auth(stage.key(CALLER));
    let mut waiting: JoinSet<Reply> = (0..20).map(|_| Reply::of(ask())).collect();
    let over = async || stage.left_at_salesforce(&token.text).await < 0;
    until("the session is over at Salesforce", over).await;
    assert!(waiting.try_join_next().is_none(), "it was not stopped");
    stage.broker().thaw();
    let mut tokens = Vec::new();
    while let Some(reply) = waiting.join_next().await {
        tokens.push(reply.unwrap().token());
    }
    tokens.push(stage.token().await);
    for after in tokens {
        assert_ne!(after.text, token.text, "a token of before the stop");
        assert!((1..=2).contains(&after.expires_in), "{after:?}");
    }
    let posts = stage.calls().0;
    assert!(posts <= 3, "U {posts}");
}
