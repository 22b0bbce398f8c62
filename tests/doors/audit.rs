//! The audit trail: one record per decision, none for anything else, and no secret in it.

use aquila::simulator::{Door, Fault, FaultAnswer};
use serde_json::Value;

use crate::support::house::{House, Plan};
use crate::support::wire::{get, post, request};

#[tokio::test]
async fn every_decision_leaves_one_record_and_nothing_else_leaves_any() {
    let house = House::open().await;
    let key = house.key("shipper");
    for nothing in ["/healthz", "/nowhere", "/.well-known/oauth-authorization-server", "/metrics"] {
        house.ask(get(nothing)).await;
    }
    // A method that the route does not take is answered before there is anything to decide.
    assert_eq!(house.ask(request("PUT", "/token").bearer(key)).await.status, 405);
    assert_eq!(house.ask(get("/services/oauth2/token").bearer(key)).await.status, 405);

    house.simulator.force(Fault::once(Door::Token, refusal()));
    let decisions = [
        (get("/token").bearer(key), 502, "upstream_refused", "/token"),
        (get("/token").bearer(house.key("wide")), 400, "invalid_request", "/token"),
        (get("/token/crm").bearer(house.key("crm-sync")), 200, "issued", "/token/{integration}"),
        (request("HEAD", "/token/crm").bearer(house.key("crm-sync")), 200, "issued", "/token/{integration}"),
        (get("/token/crm").bearer(key), 403, "denied", "/token/{integration}"),
        (get("/token"), 401, "unauthenticated", "/token"),
        (post("/services/oauth2/token", "grant_type=x").bearer(key), 400, "invalid_request", "/services/oauth2/token"),
    ];
    let mut ids = Vec::new();
    for (at, (request, status, ..)) in decisions.iter().enumerate() {
        let answer = house.ask(request.clone()).await;
        assert_eq!(answer.status, *status, "decision {at}: {}", answer.text());
        ids.push(answer.header("x-request-id").unwrap().to_owned());
    }
    let records = house.records(decisions.len()).await;
    for ((record, (_, status, outcome, route)), id) in records.iter().zip(decisions).zip(ids) {
        let told = (&record["status"], &record["outcome"], &record["route"], &record["request_id"]);
        assert_eq!(told, (&status.into(), &outcome.into(), &route.into(), &id.into()));
        assert!(record["remote_address"].as_str().unwrap().starts_with("127.0.0.1:"));
        assert!(record["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{record}");
    }
    assert_eq!(records[2]["rule"], "crm");
    assert_eq!(records[2]["caller"], "crm-sync");
    assert_eq!(records[2]["cache"], "miss");
    assert_eq!(records[3]["cache"], "hit");
    assert_eq!(records[4]["integration"], "crm", "the operator may know what the caller may not");
    assert_eq!(records[5]["caller"], Value::Null);
}

fn refusal() -> FaultAnswer {
    let body = r#"{"error":"invalid_grant","error_description":"user hasn't approved this consumer"}"#;
    FaultAnswer::Raw {
        status: 400,
        content_type: Some("application/json".to_owned()),
        headers: std::collections::BTreeMap::new(),
        body: body.to_owned(),
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn when_a_record_is_required_and_cannot_be_written_there_is_no_token() {
    let audit = "path = \"/dev/full\"\nrequired = true\n".to_owned();
    let house = House::with(Plan { audit, ..Plan::default() }).await;
    for request in [get("/token"), post("/token", "grant_type=client_credentials")] {
        let answer = house.ask(request.bearer(house.key("shipper"))).await;
        assert_eq!(answer.status, 503);
        assert!(answer.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok()));
        assert_eq!(answer.json()["error"], "temporarily_unavailable");
        assert!(!answer.text().contains("access_token") && !answer.text().contains("00D"), "{}", answer.text());
    }
    assert_eq!(house.ask(get("/healthz")).await.status, 200);
    let metrics = house.metrics().await;
    assert!(metrics.contains("aquila_audit_records_lost_total{reason=\"write_failed\"} 2"), "{metrics}");
    assert!(!metrics.contains("outcome=\"issued\""), "no token was handed out: {metrics}");
}

#[tokio::test]
async fn no_secret_and_no_words_of_a_caller_are_in_the_records_the_log_or_the_metrics() {
    let house = House::with(Plan { ops: "\n[log]\nlevel = \"trace\"\n".to_owned(), ..Plan::default() }).await;
    let key = house.key("shipper");
    let stray = aquila::authn::ApiKey::generate().unwrap();
    let token = house.ask(get("/token").bearer(key)).await.member("access_token");
    let form = format!("grant_type=client_credentials&client_id=shipper&client_secret={key}&scope=wEirdscope");
    house.ask(post("/token/elf-prod", &form)).await;
    house.ask(get("/token/wEirdpath?integration=wEirdquery&x=wEirdvalue").bearer(key)).await;
    house.ask(get("/token").basic("wEirdname", stray.expose())).await;
    house.ask(request("WEIRDMETHOD", "/wEirdroute").bearer(key).header("User-Agent", "wEirdagent")).await;
    house.records(4).await;
    let assertion = house.simulator.assertions();
    assert!(!assertion.is_empty());

    let records = std::fs::read_to_string(house.folder().join("audit.jsonl")).unwrap();
    let (metrics, log) = (house.metrics().await, house.process.stderr());
    assert!(!log.is_empty());
    // The random part: `aquila_` alone is a prefix of every metric.
    let (key, stray) = (&key[7..50], &stray.expose()[7..50]);
    for (what, text) in
        [("records", &records), ("log", &log), ("metrics", &metrics), ("stdout", &house.process.stdout())]
    {
        for secret in [key, stray, token.as_str(), &token[16..48], "eyJ", "PRIVATE KEY", "wEird", "WEIRD"] {
            assert!(!text.contains(secret), "{what} hold {secret}:\n{text}");
        }
    }
}
