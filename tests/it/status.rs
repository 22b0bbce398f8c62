//! What operators are told of the last hour and of their callers, by `/status.json` and by the page.

use std::time::Duration;

use aquila::simulator::{Door, Fault, FaultAnswer, Row, TokenRow};
use serde_json::{Value, json};

use crate::support::plan::CALLER;
use crate::support::stage::Stage;

async fn callers(stage: &Stage) -> Value {
    let status: Value = serde_json::from_str(&stage.ops_page("/status.json").await).unwrap();
    status.get("callers_last_seen").unwrap().clone()
}

#[tokio::test]
async fn the_last_hour_counts_each_login_in_its_minute_and_forgets_it_an_hour_later() {
    let stage = Stage::plan().integration("elf-a").start().await;
    assert_eq!(stage.told("elf-prod", "/last_hour").await, json!({"mints": 0, "failures": 0, "minutes": []}));
    stage.ask_for("elf-prod").await.token();
    let refused = FaultAnswer::Row { row: Row::Token(TokenRow::UserHasNotApproved) };
    stage.simulator.force(Fault::always(Door::Token, refused));
    for _ in 0..3 {
        assert_eq!(stage.ask_for("elf-a").await.refusal().0, 502);
        stage.ask_for("elf-prod").await.token();
    }
    stage.advance(Duration::from_secs(30 * 60));
    let hour = stage.told("elf-prod", "/last_hour").await;
    assert_eq!(hour, json!({"mints": 1, "failures": 0, "minutes": [{"ago": 30, "mints": 1, "failures": 0}]}));
    let hour = stage.told("elf-a", "/last_hour").await;
    assert_eq!(hour, json!({"mints": 0, "failures": 1, "minutes": [{"ago": 30, "mints": 0, "failures": 1}]}));
    let page = stage.ops_page("/status").await;
    assert!(page.contains("1 minted") && page.contains("0 minted, 1 failed"), "{page}");
    stage.advance(Duration::from_secs(30 * 60));
    assert_eq!(stage.told("elf-a", "/last_hour/minutes").await, json!([]));
}

#[tokio::test]
async fn a_caller_is_seen_when_it_proves_itself_whatever_it_is_told_and_a_reload_forgets_nobody() {
    let stage = Stage::plan().caller("other", &["elf-*"]).start().await;
    let seen = |caller: &str, seconds: Value| json!({"caller": caller, "seconds_ago": seconds});
    assert_eq!(callers(&stage).await, json!([seen("other", Value::Null), seen(CALLER, Value::Null)]));
    assert!(stage.ops_page("/status").await.contains("never since the start"));
    stage.ask().await.token();
    assert_eq!(stage.get("/token").bearer_auth("wrong").send().await.unwrap().status(), 401);
    stage.advance(Duration::from_secs(90));
    assert_eq!(stage.ask_as("other", "crm").await.refusal().0, 403);
    stage.reload("[callers.other]", "[callers.another]").await;
    let now = json!([seen("another", Value::Null), seen(CALLER, json!(90))]);
    assert_eq!(callers(&stage).await, now);
    assert!(stage.ops_page("/status").await.contains("1 min 30 s ago"));
}
