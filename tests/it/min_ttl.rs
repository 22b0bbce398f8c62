//! `min_ttl`: more life for who needs it, without harm to Salesforce.

use aquila::simulator::{Door, Fault, FaultAnswer, Row, TokenRow};

use crate::support::plan::CALLER;
use crate::support::reply::Reply;
use crate::support::seconds;
use crate::support::stage::Stage;

async fn ask_with(stage: &Stage, min_ttl: u64) -> Reply {
    Reply::of(stage.get(&format!("/token?min_ttl={min_ttl}")).bearer_auth(stage.key(CALLER))).await
}

#[tokio::test]
async fn more_life_is_had_by_a_renewal_before_the_answer() {
    let stage = Stage::usual().await;
    stage.token().await;
    stage.advance(seconds(1500));
    assert_eq!(stage.token().await.expires_in, 2070);
    assert_eq!(ask_with(&stage, 2070).await.token().expires_in, 2070);
    assert_eq!(ask_with(&stage, 2071).await.token().expires_in, 3570);
    assert_eq!(stage.simulator.counts().confirms, 2);
}

#[tokio::test]
async fn what_can_never_be_had_is_clamped_to_four_fifths_of_a_promise() {
    let stage = Stage::usual().await;
    stage.token().await;
    // 80 % of 3570 s: with more than that left nothing is renewed, however much is asked for.
    stage.advance(seconds(3570 - 2857));
    assert_eq!(ask_with(&stage, 999_999_999).await.token().expires_in, 2857);
    assert_eq!(stage.simulator.counts().confirms, 1);
    stage.advance(seconds(2));
    assert_eq!(ask_with(&stage, 999_999_999).await.token().expires_in, 3570);
    assert_eq!(stage.simulator.counts().confirms, 2);
}

#[tokio::test]
async fn within_a_minute_of_the_last_renewal_it_holds_up_no_answer_and_causes_no_login() {
    // A session of five minutes: after half a minute four fifths of its promise are gone.
    let stage = Stage::plan().session_timeout(seconds(300)).start().await;
    let first = stage.token().await;
    for _ in 0..59 {
        stage.advance(seconds(1));
        assert_eq!(ask_with(&stage, 999_999_999).await.token().text, first.text);
    }
    assert_eq!(stage.simulator.counts().token_posts, 1);
    // Only the very first answer had to wait.
    assert_eq!((stage.lookups("miss").await, stage.lookups("joined").await), (1, 0));
}

#[tokio::test]
async fn a_wish_that_cannot_be_met_still_gets_the_good_token_there_is() {
    let stage = Stage::plan().integration_line("confirm_session = false").start().await;
    let token = stage.token().await;
    stage.simulator.force(Fault::always(Door::Token, FaultAnswer::Row { row: Row::Token(TokenRow::InactiveUser) }));
    stage.advance(seconds(1500));
    for _ in 0..5 {
        let given = ask_with(&stage, 3000).await.token();
        assert_eq!((given.text, given.expires_in), (token.text.clone(), token.expires_in - 1500));
    }
    assert_eq!(stage.simulator.counts().token_posts, 2);
}
