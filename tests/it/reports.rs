//! `POST /revoke` (RFC 7009): a report drops nothing by itself. It has the token confirmed, once in 30 s whoever
//! reports; a definite 401 drops it, and one login serves all.
//!
//! U is the number of POSTs at Salesforce's token endpoint; each test says how many there may be.

use std::collections::BTreeMap;

use aquila::simulator::{Door, Fault, FaultAnswer, RestRow, Row};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::plan::{CALLER, INTEGRATION, Plan};
use crate::support::reply::Reply;
use crate::support::stage::Stage;
use crate::support::{seconds, until};

const OTHER: &str = "indexer";
const STRANGER: &str = "stranger";

/// Two callers of the usual integration, and one that may have something else.
fn plan() -> Plan {
    Stage::plan().integration("crm-live").caller(OTHER, &["elf-*"]).caller(STRANGER, &["crm-*"])
}

fn rest(answer: FaultAnswer) -> Fault {
    Fault::always(Door::Rest, answer)
}

fn dead() -> FaultAnswer {
    FaultAnswer::Row { row: Row::Rest(RestRow::InvalidSessionId) }
}

#[tokio::test]
async fn a_report_needs_a_proof_and_a_token() {
    let stage = plan().start().await;
    let token = stage.token().await.text;
    let (key, form) = (stage.key(CALLER), format!("token={token}"));
    let with = |more: &str| stage.post("/revoke", &format!("{form}{more}"));
    for proved in [
        with("").bearer_auth(key),
        with("").basic_auth(CALLER, Some(key)),
        with(&format!("&client_id={CALLER}&client_secret={key}&token_type_hint=access_token")),
        with("&token_type_hint=nonsense&foo=bar").bearer_auth(key),
    ] {
        let reply = Reply::of(proved).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, ""));
        assert_eq!(reply.headers["cache-control"], "no-store");
    }
    let wrong = aquila::authn::ApiKey::generate().unwrap();
    for unproved in [
        with(""),
        with("").bearer_auth(wrong.expose()),
        with("").basic_auth(OTHER, Some(key)),
        stage.post("/revoke", "").bearer_auth(wrong.expose()),
        stage.post("/revoke", ""),
    ] {
        let reply = Reply::of(unproved).await;
        assert_eq!(reply.refusal(), (401, "invalid_client".to_owned()));
        assert!(reply.headers.contains_key("www-authenticate"));
    }
    for malformed in ["", "token=", "token_type_hint=access_token", "token=a&token=b"] {
        let reply = Reply::of(stage.post("/revoke", malformed).bearer_auth(key)).await;
        assert_eq!(reply.refusal(), (400, "invalid_request".to_owned()), "{malformed}");
    }
    assert_eq!(Reply::of(stage.get("/revoke").bearer_auth(key)).await.status, 405);
}

/// All of an answer that could tell one case from another.
fn told(reply: &Reply) -> (u16, BTreeMap<String, String>, String) {
    let differ = ["date", "x-request-id"];
    let headers = reply.headers.iter().filter(|(name, _)| !differ.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (reply.status, headers.collect(), reply.body.clone())
}

#[tokio::test]
async fn a_caller_without_right_learns_nothing_and_causes_nothing() {
    let stage = plan().start().await;
    let token = stage.token().await.text;
    stage.simulator.kill_sessions(None);
    let before = stage.calls();
    let foreign = told(&Reply::of(stage.reporting(STRANGER, &token)).await);
    let unknown = told(&Reply::of(stage.reporting(STRANGER, "00D5g00000SIMU1!nothing")).await);
    assert_eq!(foreign, unknown);
    assert_eq!(stage.calls(), before);
    let nothing = json!({"active": false});
    assert_eq!(stage.introspect_as(STRANGER, &token).await, nothing);
    assert_eq!(stage.introspect_as(STRANGER, "00D5g00000SIMU1!nothing").await, nothing);
    // Nobody knows yet that it is dead, but for this test.
    assert_eq!(stage.token().await.text, token);
    // Whoever may have it is answered in the same words.
    assert_eq!(told(&Reply::of(stage.reporting(CALLER, &token)).await), foreign);
    assert_ne!(stage.token().await.text, token);
    assert_eq!(told(&Reply::of(stage.reporting(CALLER, &token)).await), foreign, "superseded");
    let page = stage.ops_page("/metrics").await;
    assert!(!page.contains("aquila_token_reports_total{integration=\"crm-live\""), "{page}");
    assert_eq!((stage.reports("dead").await, stage.reports("superseded").await), (1, 1));
}

#[tokio::test]
async fn a_living_token_is_confirmed_once_in_thirty_seconds_whoever_reports_and_stays() {
    let stage = plan().start().await;
    let token = stage.token().await.text;
    let kept = stage.kept().await;
    assert_eq!(stage.calls(), (1, 1));
    for second in 0..30 {
        for caller in [CALLER, OTHER] {
            stage.report_as(caller, &token).await;
        }
        assert_eq!((stage.calls(), stage.kept().await), ((1, 2), kept.clone()), "after {second} s");
        stage.advance(seconds(1));
    }
    stage.report_as(OTHER, &token).await;
    until("it is looked into again", async || stage.calls() == (1, 3)).await;
    for _ in 0..29 {
        stage.report_as(OTHER, &token).await;
        stage.advance(seconds(1));
    }
    assert_eq!((stage.calls(), stage.kept().await), ((1, 3), kept));
}

/// Two hundred at once report a token, and each asks for another one as soon as it is answered.
async fn two_hundred_report(stage: &Stage, token: &str) -> Vec<(Reply, Reply)> {
    let mut reporters = JoinSet::new();
    for _ in 0..200 {
        let report = stage.reporting(CALLER, token);
        let ask = stage.get(&format!("/token/{INTEGRATION}")).bearer_auth(stage.key(CALLER));
        reporters.spawn(async move { (Reply::of(report).await, Reply::of(ask).await) });
    }
    reporters.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_token_that_two_hundred_report_at_once_is_replaced_before_they_are_answered_by_one_login() {
    let mut crowded = 0;
    for round in 0..10 {
        let stage = Stage::usual().await;
        let token = stage.token().await.text;
        if round % 2 == 0 {
            // It was alive when somebody looked last; that says nothing of now.
            stage.report(&token).await;
            stage.advance(seconds(31));
        }
        stage.simulator.kill_sessions(None);
        // So slow that most of them come while it is being looked into, unless the machine is slower.
        stage.simulator.force(Fault::delay(Door::Rest, 500));
        for (report, ask) in two_hundred_report(&stage, &token).await {
            assert_eq!((report.status, report.body.as_str()), (200, ""));
            assert_ne!(ask.token().text, token, "round {round}: the dead token after the answer to the report");
        }
        assert_eq!(stage.calls().0, 2, "round {round}: U");
        assert!(stage.status(INTEGRATION, "/token_unusable_for").await.as_array().unwrap().is_empty());
        crowded += u64::from(stage.reports("dead").await > 100);
    }
    assert!(crowded > 0, "in no round did they come at once");
}

#[tokio::test]
async fn what_is_no_definite_no_drops_nothing() {
    let raw = |status, body: &str| FaultAnswer::Raw {
        status,
        content_type: Some("application/json".to_owned()),
        headers: BTreeMap::new(),
        body: body.to_owned(),
    };
    let row = |row| FaultAnswer::Row { row: Row::Rest(row) };
    let answers = [
        row(RestRow::RequestLimitExceeded),
        row(RestRow::ApiDisabledForOrg),
        row(RestRow::ServerUnavailable),
        row(RestRow::SessionNotValidForRest),
        row(RestRow::InvalidAuthHeader),
        row(RestRow::UnknownException),
        FaultAnswer::Maintenance { status: 200 },
        FaultAnswer::Maintenance { status: 401 },
        FaultAnswer::Maintenance { status: 503 },
        FaultAnswer::HangUp,
        FaultAnswer::LoseAnswer,
        FaultAnswer::NeverAnswer,
        raw(401, "[]"),
        raw(401, "{\"errorCode\":\"INVALID_SESSION_ID\"}"),
        raw(401, "[{\"errorCode\":\"INVALID_SESSION"),
        raw(302, ""),
        raw(200, "[1]"),
    ];
    let stage = Stage::plan().salesforce_line("request_timeout = \"2s\"").start().await;
    let token = stage.token().await.text;
    let kept = stage.kept().await;
    for (number, answer) in (1..).zip(answers) {
        stage.simulator.force(rest(answer.clone()));
        stage.report(&token).await;
        assert_eq!((stage.reports("unclear").await, stage.kept().await), (number, kept.clone()), "{answer:?}");
        stage.simulator.clear_faults();
        stage.advance(seconds(31));
    }
    assert_eq!(stage.token().await.text, token);
    assert_eq!(stage.calls().0, 1);
}

#[tokio::test]
async fn a_report_within_the_thirty_seconds_is_looked_into_when_they_are_over() {
    let stage = Stage::usual().await;
    let token = stage.token().await.text;
    let kept = stage.kept().await;
    stage.report(&token).await;
    stage.simulator.kill_sessions(None);
    stage.advance(seconds(10));
    stage.report(&token).await;
    assert_eq!((stage.reports("alive").await, stage.reports("later").await), (1, 1));
    stage.advance(seconds(19));
    // More than one round of the task that looks after tokens.
    tokio::time::sleep(seconds(1) + seconds(1) / 2).await;
    assert_eq!((stage.kept().await, stage.calls()), (kept.clone(), (1, 2)), "29 s after the last look");
    stage.advance(seconds(1));
    // Between the end of the one and the mint of the other there is none.
    let another = async || ![String::new(), kept.clone()].contains(&stage.kept().await);
    until("it is looked into, though nobody asks", another).await;
    assert_ne!(stage.token().await.text, token);
    assert_eq!(stage.calls().0, 2);
}

#[tokio::test]
async fn a_report_that_meets_a_renewal_which_fails_is_not_forgotten() {
    // Every renewal is a login, and this one hangs.
    let plan = Stage::plan().integration_line("confirm_session = false");
    let stage = plan.salesforce_line("request_timeout = \"2s\"").start().await;
    let token = stage.token().await.text;
    let kept = stage.kept().await;
    stage.advance(seconds(1500));
    stage.simulator.force(Fault::always(Door::Token, FaultAnswer::NeverAnswer));
    let ask = stage.get("/token?min_ttl=2800").bearer_auth(stage.key(CALLER));
    let asked = JoinSet::from_iter([Reply::of(ask)]);
    until("the renewal is under way", async || stage.calls().0 == 2).await;
    stage.report(&token).await;
    assert_eq!(asked.join_all().await.len(), 1);
    assert_eq!((stage.kept().await, stage.reports("later").await), (kept.clone(), 1));
    stage.simulator.clear_faults();
    stage.simulator.kill_sessions(None);
    stage.advance(seconds(30));
    // Between the end of the one and the mint of the other there is none.
    let another = async || ![String::new(), kept.clone()].contains(&stage.kept().await);
    until("it is looked into, though nobody asks", another).await;
    assert_eq!(stage.calls().0, 3);
}

#[tokio::test]
async fn a_dead_token_is_dropped_also_where_no_new_one_is_to_be_had() {
    let stage = Stage::usual().await;
    let token = stage.token().await.text;
    stage.simulator.kill_sessions(None);
    stage.simulator.force(Fault::always(Door::Token, FaultAnswer::Maintenance { status: 503 }));
    stage.report(&token).await;
    assert_eq!(stage.reports("dead").await, 1);
    assert_eq!(stage.ask().await.refusal(), (503, "temporarily_unavailable".to_owned()));
    assert_eq!(stage.introspect_as(CALLER, &token).await, json!({"active": false}));
    stage.simulator.clear_faults();
    stage.advance(seconds(30));
    assert_ne!(stage.token().await.text, token);
}

#[tokio::test]
async fn a_revoke_loop_by_one_caller_costs_others_nothing_and_salesforce_little() {
    let stage = plan().start().await;
    let token = stage.token().await;
    for tenth in 0..1200_u64 {
        stage.report(&token.text).await;
        if tenth % 10 == 0 {
            let given = stage.ask_as(OTHER, INTEGRATION).await.token();
            assert_eq!(given.text, token.text, "after {tenth} tenths of a second");
        }
        stage.advance(seconds(1) / 10);
    }
    let (posts, calls) = stage.calls();
    // One at the start, one in 30 s for two minutes.
    assert!(posts == 1 && calls <= 1 + 5, "U {posts}, REST {calls}");
}

#[tokio::test]
async fn a_caller_that_ends_each_session_and_reports_it_is_held_by_the_budget() {
    let stage = plan().start().await;
    stage.token().await;
    let mut served = 0;
    for _ in (0..3600).step_by(3) {
        stage.simulator.kill_sessions(None);
        if let Ok(token) = serde_json::from_str::<Value>(&stage.ask().await.body) {
            stage.report(token["access_token"].as_str().unwrap_or("none")).await;
        }
        served += u64::from(stage.ask_as(OTHER, INTEGRATION).await.status == 200);
        stage.advance(seconds(3));
    }
    let (posts, calls) = stage.calls();
    // The default of `login_budget_per_hour`; at most a call before and one after each login.
    assert!(posts <= 120 && calls <= 3 * 120, "U {posts}, REST {calls}");
    assert!(posts > 60, "too tame: U {posts}");
    assert!(served > 600, "the other caller was served {served} times in 1200");
}

#[tokio::test]
async fn refusal_of_every_token_is_told_as_such_and_never_becomes_a_loop() {
    for handed_back in [true, false] {
        let plan = plan().simulator(|settings| settings.switches.running_session_handed_back = handed_back);
        let stage = plan.start().await;
        let token = stage.token().await.text;
        stage.simulator.force(rest(dead()));
        stage.report(&token).await;
        assert_eq!(stage.cause().await, "fresh_token_refused");
        assert_eq!(stage.calls().0, 3, "one, and two tries");
        for second in (0..3600).step_by(5) {
            let reply = stage.ask_as([CALLER, OTHER][second % 2], INTEGRATION).await;
            assert_eq!(reply.refusal(), (502, "upstream_refused".to_owned()));
            stage.report(&token).await;
            stage.advance(seconds(5));
        }
        let (posts, calls) = stage.calls();
        // Pauses of 5, 10, … 300 s fit 17 tries into an hour after the first; each is two logins and two calls.
        assert!(posts <= 1 + 2 * 18 && calls <= 2 + 2 * 18, "U {posts}, REST {calls}");
        assert!(posts > 2 * 16, "U {posts}: it gave up");
        stage.simulator.clear_faults();
        stage.advance(seconds(300));
        stage.token().await;
        assert_eq!(stage.cause().await, "");
    }
}

#[tokio::test]
async fn each_report_and_each_introspection_leaves_a_record_and_no_record_holds_a_token() {
    let stage = plan().start().await;
    let token = stage.token().await.text;
    let kept = stage.kept().await;
    stage.introspect_as(OTHER, &token).await;
    stage.introspect_as(STRANGER, &token).await;
    stage.report_as(STRANGER, &token).await;
    stage.report(&token).await;
    stage.report_as(OTHER, &token).await;
    stage.advance(seconds(31));
    stage.simulator.kill_sessions(None);
    stage.report(&token).await;
    stage.report(&token).await;
    Reply::of(stage.post("/revoke", &format!("token={token}"))).await;
    Reply::of(stage.post("/revoke", "x=y").bearer_auth(stage.key(CALLER))).await;
    let records = stage.audit(10).await;
    let held = |outcome, reason, caller| json!([outcome, reason, caller, INTEGRATION, "elf-*", kept, 200]);
    let other = |outcome, reason, caller, status| json!([outcome, reason, caller, null, null, null, status]);
    let expected = [
        held("introspected", "active", OTHER),
        other("introspected", json!("inactive"), json!(STRANGER), 200),
        other("reported", json!("not_held"), json!(STRANGER), 200),
        held("reported", "alive", CALLER),
        held("reported", "later", OTHER),
        held("reported", "dead", CALLER),
        held("reported", "superseded", CALLER),
        other("unauthenticated", json!("missing"), Value::Null, 401),
        other("invalid_request", Value::Null, json!(CALLER), 400),
    ];
    let members = ["outcome", "reason", "caller", "integration", "rule", "token_fingerprint", "status"];
    let seen: Vec<Value> = records.iter().skip(1).map(|one| members.map(|member| one[member].clone()).into()).collect();
    assert_eq!(seen, expected);
    let text = std::fs::read_to_string(stage.file("audit.jsonl")).unwrap();
    assert!(!text.contains(token.get(20..).unwrap()), "{text}");
}
