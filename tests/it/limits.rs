//! What one caller may cause at Salesforce, and how failed proofs are answered: none of it touches answers from memory,
//! or anybody else.

use std::time::Duration;

use aquila::authn::ApiKey;
use serde_json::Value;

use crate::support::plan::CALLER;
use crate::support::reply::Reply;
use crate::support::stage::Stage;

fn wait_of(reply: &Reply) -> u64 {
    reply.headers.get("retry-after").unwrap().to_str().unwrap().parse().unwrap()
}

fn slow_down() -> (u16, String) {
    (429, "slow_down".to_owned())
}

#[tokio::test]
async fn a_caller_that_causes_too_many_logins_is_told_to_wait_and_neither_its_warm_tokens_nor_others_suffer() {
    let names = ["elf-prod", "elf-a", "elf-b", "elf-c"];
    let plan = names.iter().skip(1).fold(Stage::plan(), |plan, name| plan.integration(name));
    let plan = plan.caller("sync", &["elf-*"]).caller_line(CALLER, "mints_per_hour = 2");
    let stage = plan.start().await;
    stage.ask_for("elf-prod").await.token();
    stage.ask_for("elf-a").await.token();
    for _ in 0..3 {
        let reply = stage.ask_for("elf-b").await;
        assert_eq!(reply.refusal(), slow_down());
        assert!((3590..=3600).contains(&wait_of(&reply)), "{}", wait_of(&reply));
        stage.ask_for("elf-prod").await.token();
    }
    assert_eq!(stage.simulator.counts().token_posts, 2);
    // What somebody else fetched lies in memory.
    stage.ask_as("sync", "elf-b").await.token();
    stage.ask_for("elf-b").await.token();
    assert_eq!(stage.ask_for("elf-c").await.refusal(), slow_down());
    let outcome = format!("aquila_caller_requests_total{{caller=\"{CALLER}\",outcome=\"throttled\"}}");
    assert_eq!(stage.metric(&outcome).await, 4);
    assert_eq!(stage.metric("aquila_throttled_total{limit=\"mints_per_hour\"}").await, 4);
    let status: Value = serde_json::from_str(&stage.ops_page("/status.json").await).unwrap();
    let told = &status["callers_at_limit"];
    assert_eq!((&told[0]["caller"], &told[0]["limit"]), (&CALLER.into(), &"mints_per_hour".into()));
    assert_eq!(told.as_array().unwrap().len(), 1);
    // A restart of the hour: there is room again. (The second clock moves the sessions too.)
    stage.advance(Duration::from_secs(3600));
    stage.ask_for("elf-c").await.token();
}

#[tokio::test]
async fn a_caller_that_is_removed_and_comes_back_gets_no_new_hour() {
    let plan = Stage::plan().integration("elf-a").caller("sync", &["elf-*"]);
    let stage = plan.caller_line(CALLER, "mints_per_hour = 1").start().await;
    stage.ask_for("elf-prod").await.token();
    assert_eq!(stage.ask_for("elf-a").await.refusal(), slow_down());
    let (there, gone) = (format!("[callers.{CALLER}]"), "[callers.another]");
    stage.reload(&there, gone).await;
    stage.reload(gone, "[callers.somebody]").await;
    stage.reload("[callers.somebody]", &there).await;
    assert_eq!(stage.ask_for("elf-a").await.refusal(), slow_down());
    // Absent for longer than an hour.
    stage.reload(&there, gone).await;
    stage.advance(Duration::from_secs(3600));
    stage.reload(gone, &there).await;
    stage.ask_for("elf-a").await.token();
}

#[tokio::test]
async fn a_flight_that_is_joined_is_charged_to_the_one_who_started_it() {
    let plan = Stage::plan().caller("sync", &["elf-*"]).integration("elf-a");
    let stage = plan.caller_line(CALLER, "mints_per_hour = 1").caller_line("sync", "mints_per_hour = 1").start().await;
    let (one, other) = tokio::join!(stage.ask_for("elf-prod"), stage.ask_as("sync", "elf-prod"));
    assert_eq!(one.token().text, other.token().text);
    // One of the two has its login left.
    let (one, other) = (stage.ask_for("elf-a").await.status, stage.ask_as("sync", "elf-a").await.status);
    assert!(one == 200 || other == 200, "{one} {other}");
    assert_eq!(stage.simulator.counts().token_posts, 2);
}

#[tokio::test]
async fn reports_of_a_token_have_a_limit_and_reports_of_nothing_have_none() {
    let stage = Stage::plan().caller_line(CALLER, "reports_per_minute = 2").start().await;
    let token = stage.token().await.text;
    let report = async |token: &str| {
        let request = stage.http.post(format!("http://{}/revoke", stage.broker().callers));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        Reply::of(request.bearer_auth(stage.key(CALLER)).body(format!("token={token}"))).await
    };
    for _ in 0..5 {
        assert_eq!(report("something-else").await.status, 200);
    }
    assert_eq!([report(&token).await.status, report(&token).await.status], [200, 200]);
    let reply = report(&token).await;
    assert_eq!((reply.refusal(), wait_of(&reply)), (slow_down(), 60));
    assert_eq!(report("something-else").await.status, 200);
    let records = stage.audit(10).await;
    assert_eq!(records.iter().filter(|record| record["outcome"] == "throttled").count(), 1);
    stage.advance(Duration::from_secs(61));
    assert_eq!(report(&token).await.status, 200);
}

async fn with_basic(stage: &Stage, key: &str) -> Reply {
    let request = stage.http.post(format!("http://{}/token", stage.broker().callers));
    let request = request.header("content-type", "application/x-www-form-urlencoded").basic_auth(CALLER, Some(key));
    Reply::of(request.body("grant_type=client_credentials")).await
}

async fn with_form(stage: &Stage, key: &str) -> Reply {
    let request = stage.http.post(format!("http://{}/token", stage.broker().callers));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    Reply::of(request.body(format!("grant_type=client_credentials&client_id={CALLER}&client_secret={key}"))).await
}

#[tokio::test]
async fn failed_proofs_are_told_to_slow_down_and_a_good_one_from_the_same_address_never_is() {
    let stage = Stage::plan().server_line("failed_proofs_per_minute = 5").start().await;
    let wrong = ApiKey::generate().unwrap();
    // Go's client sends each of its first requests twice, in the header and then in the form: five mistakes.
    for _ in 0..5 {
        assert_eq!(with_basic(&stage, wrong.expose()).await.refusal(), (401, "invalid_client".to_owned()));
        assert_eq!(with_form(&stage, wrong.expose()).await.refusal(), (401, "invalid_client".to_owned()));
    }
    let failures = "aquila_auth_failures_total{proof=\"api_key\",reason=\"unknown\"}";
    assert_eq!(stage.metric(failures).await, 5, "both halves of a mistake were counted");
    for _ in 0..10 {
        let reply = with_basic(&stage, wrong.expose()).await;
        assert_eq!((reply.refusal(), wait_of(&reply)), (slow_down(), 60));
        assert!(!reply.headers.contains_key("www-authenticate"));
        assert_eq!(with_form(&stage, wrong.expose()).await.refusal(), slow_down());
        assert_eq!(with_basic(&stage, stage.key(CALLER)).await.status, 200);
        stage.token().await;
    }
    // No proof at all is no failed proof.
    assert_eq!(Reply::of(stage.get("/token")).await.refusal().0, 401);
    stage.advance(Duration::from_secs(60));
    assert_eq!(with_basic(&stage, wrong.expose()).await.refusal().0, 401);
}

async fn from_behind_a_proxy(stage: &Stage, key: &str, forwarded: &str) -> u16 {
    let request = stage.http.get(format!("http://{}/token", stage.broker().callers)).bearer_auth(key);
    Reply::of(request.header("x-forwarded-for", forwarded)).await.status
}

#[tokio::test]
async fn behind_a_trusted_proxy_failed_proofs_of_one_client_use_up_nobody_elses_allowance() {
    let plan = Stage::plan().server_line("failed_proofs_per_minute = 2");
    let stage = plan.server_line("trusted_proxies = [\"127.0.0.0/8\", \"::1\", \"10.0.0.0/8\"]").start().await;
    let wrong = ApiKey::generate().unwrap();
    let ask = async |forwarded: &str| from_behind_a_proxy(&stage, wrong.expose(), forwarded).await;
    assert_eq!([ask("203.0.113.1").await, ask("203.0.113.1").await, ask("203.0.113.1").await], [401, 401, 429]);
    assert_eq!(ask("203.0.113.2").await, 401);
    // What a client writes itself stands further left than what the proxy adds, and a second proxy makes no difference.
    assert_eq!([ask("198.51.100.7, 203.0.113.1").await, ask("203.0.113.1, 10.0.0.9").await], [429, 429]);
    // Where the proxy tells no address, it is the client.
    assert_eq!([ask("unknown").await, ask("unknown").await, ask("unknown").await], [401, 401, 429]);
    let right = stage.key(CALLER);
    assert_eq!(from_behind_a_proxy(&stage, right, "203.0.113.1").await, 200);
}

#[tokio::test]
async fn a_forwarded_address_of_whoever_comes_directly_hides_no_failed_proof() {
    let stage = Stage::plan().server_line("failed_proofs_per_minute = 2").start().await;
    let wrong = ApiKey::generate().unwrap();
    let mut told = Vec::new();
    for client in 1..=3 {
        told.push(from_behind_a_proxy(&stage, wrong.expose(), &format!("203.0.113.{client}")).await);
    }
    assert_eq!(told, [401, 401, 429]);
}
