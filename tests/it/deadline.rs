//! Guarantee 7: every answer within ten seconds, also for those who wait for somebody else's mint.
//!
//! The one file that takes as long as what it proves.

use std::time::Duration;

use aquila::simulator::{Door, Fault, FaultAnswer};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::plan::CALLER;
use crate::support::reply::Reply;
use crate::support::stage::Stage;

/// Callers that arrive over ten seconds, four each second; the status of each and how long it waited.
async fn arrivals(stage: &Stage) -> Vec<(u16, Duration)> {
    let mut callers = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    for _ in 0..40 {
        ticks.tick().await;
        // The broker's clock keeps up with the real one, so that its pauses end and it tries again.
        stage.advance(Duration::from_millis(250));
        let request = stage.get("/token").bearer_auth(stage.key(CALLER));
        callers.spawn(async move {
            let started = Instant::now();
            let reply = Reply::of(request).await;
            (reply.status, started.elapsed())
        });
    }
    callers.join_all().await
}

fn longest(answers: &[(u16, Duration)]) -> Duration {
    answers.iter().map(|(_, waited)| *waited).max().unwrap()
}

async fn silent_token_endpoint() {
    let stage = Stage::plan().salesforce_line("request_timeout = \"8s\"").start().await;
    stage.simulator.force(Fault::always(Door::Token, FaultAnswer::NeverAnswer));
    let answers = arrivals(&stage).await;
    assert!(answers.iter().all(|(status, _)| *status == 503), "{answers:?}");
    assert!(longest(&answers) < Duration::from_secs(10), "{answers:?}");
    assert!(longest(&answers) > Duration::from_secs(5), "nobody had to wait: {answers:?}");
}

async fn slow_token_endpoint_and_silent_rest() {
    let stage = Stage::plan().salesforce_line("request_timeout = \"8s\"").start().await;
    stage.simulator.force(Fault::delay(Door::Token, 6_000));
    stage.simulator.force(Fault::always(Door::Rest, FaultAnswer::NeverAnswer));
    let answers = arrivals(&stage).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert!(longest(&answers) < Duration::from_secs(10), "{answers:?}");
    assert!(longest(&answers) > Duration::from_secs(8), "nobody had to wait for both calls: {answers:?}");
    assert_eq!(stage.token().await.source, "estimate");
}

#[tokio::test]
async fn everybody_is_answered_within_ten_seconds_however_silent_salesforce_is() {
    tokio::join!(silent_token_endpoint(), slow_token_endpoint_and_silent_rest());
}
