//! Guarantee 1: no token without proof and right on that very request, whatever lies in memory.

use aquila::authn::ApiKey;

use crate::support::plan::CALLER;
use crate::support::reply::Reply;
use crate::support::stage::Stage;

/// Two integrations, two callers that may have one each, and both tokens in memory.
async fn warm() -> Stage {
    let stage = Stage::plan().integration("crm-live").caller("sync", &["crm-*"]).start().await;
    stage.ask_as(CALLER, "elf-prod").await.token();
    stage.ask_as("sync", "crm-live").await.token();
    assert_eq!(stage.simulator.counts().token_posts, 2);
    stage
}

#[tokio::test]
async fn a_forbidden_integration_is_refused_although_its_token_is_warm() {
    let stage = warm().await;
    for (caller, integration) in [(CALLER, "crm-live"), ("sync", "elf-prod")] {
        let refusal = stage.ask_as(caller, integration).await.refusal();
        assert_eq!(refusal, (403, "access_denied".to_owned()), "{caller} asks for {integration}");
    }
    assert_eq!(stage.simulator.counts().token_posts, 2);
}

#[tokio::test]
async fn an_unknown_integration_is_answered_like_a_forbidden_one() {
    let stage = warm().await;
    let (unknown, forbidden) = (stage.ask_for("crm-none").await, stage.ask_for("crm-live").await);
    let without_id = |reply: &Reply| {
        let mut json = reply.json();
        json.as_object_mut().unwrap().remove("request_id");
        (reply.status, json)
    };
    assert_eq!(without_id(&unknown), without_id(&forbidden));
}

#[tokio::test]
async fn a_request_without_proof_is_refused_although_the_token_is_warm() {
    let stage = warm().await;
    for path in ["/token", "/token/elf-prod", "/token?integration=elf-prod"] {
        let reply = Reply::of(stage.get(path)).await;
        assert_eq!(reply.refusal().0, 401, "{path}");
        assert!(reply.headers.contains_key("www-authenticate"), "{path}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_although_the_token_is_warm() {
    let stage = warm().await;
    let strange = ApiKey::generate().unwrap();
    let right = stage.key(CALLER);
    let cut = right.strip_suffix(|_: char| true).unwrap();
    for wrong in [strange.expose(), cut, "", &right.to_lowercase(), &format!("{right}x")] {
        let reply = Reply::of(stage.get("/token/elf-prod").bearer_auth(wrong)).await;
        assert_eq!(reply.refusal().0, 401, "{} characters", wrong.len());
    }
}

#[tokio::test]
async fn a_key_under_another_callers_name_proves_nothing() {
    let stage = warm().await;
    for (name, key) in [("sync", stage.key(CALLER)), (CALLER, stage.key("sync"))] {
        for integration in ["elf-prod", "crm-live"] {
            let request = stage.get(&format!("/token/{integration}")).basic_auth(name, Some(key));
            assert_eq!(Reply::of(request).await.refusal().0, 401, "{name} asks for {integration}");
        }
    }
    let rightly = stage.get("/token/elf-prod").basic_auth(CALLER, Some(stage.key(CALLER)));
    Reply::of(rightly).await.token();
}

#[tokio::test]
async fn a_token_handed_to_one_caller_is_not_handed_to_the_next_on_the_same_connection() {
    let stage = warm().await;
    // One client keeps its connection; what was proved on it must not outlive the request.
    for _ in 0..3 {
        stage.ask_as("sync", "crm-live").await.token();
        assert_eq!(Reply::of(stage.get("/token/crm-live")).await.refusal().0, 401);
        assert_eq!(stage.ask_as(CALLER, "crm-live").await.refusal().0, 403);
    }
}

#[tokio::test]
async fn every_decision_leaves_one_record_that_says_who_and_what_but_not_the_token() {
    let stage = Stage::plan().integration("crm-live").start().await;
    let token = stage.ask_for("elf-prod").await.token();
    stage.ask_for("crm-live").await.refusal();
    Reply::of(stage.get("/token")).await.refusal();
    let records = stage.audit(3).await;
    let told: Vec<_> = records.iter().map(|record| (record["outcome"].as_str().unwrap(), &record["caller"])).collect();
    let caller = serde_json::Value::from(CALLER);
    assert_eq!(told, [("issued", &caller), ("denied", &caller), ("unauthenticated", &serde_json::Value::Null)]);
    let fingerprint = aquila::token::Fingerprint::of(&token.text).to_string();
    assert_eq!(records[0]["token_fingerprint"], fingerprint);
    assert!(!records[0].to_string().contains(&token.text));
}
