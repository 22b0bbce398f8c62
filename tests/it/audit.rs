//! The audit trail: one record per decision, also when the handler panics or the caller hangs up, in the form that
//! `audit.schema.json` promises.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aquila::broker::Broker;
use aquila::clock::Clock;
use aquila::config;
use aquila::http::callers::CallersDoor;
use aquila::http::health::Readiness;
use aquila::http::listener::Peer;
use aquila::limits::Failures;
use aquila::reload::{Generation, Shared};
use aquila::simulator::{Door, Fault, FaultAnswer};
use aquila::snapshot::Snapshots;
use aquila::store::LIMIT;
use aquila::telemetry::audit::Trail;
use aquila::telemetry::trace::Traces;
use axum::body::Body;
use axum::http::Request;
use hyper::body::{Bytes, Frame};
use regex_automata::Input;
use regex_automata::dfa::{Automaton, dense};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::plan::CALLER;
use crate::support::reply::Reply;
use crate::support::stage::Stage;

fn schema() -> Value {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/audit.schema.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What is wrong with a record, by the keywords that the schema uses. Closed sets of names are held by the tests of the
/// library, which know where they come from.
fn problems(record: &Value, schema: &Value) -> Vec<String> {
    let (record, described) = (record.as_object().unwrap(), schema["properties"].as_object().unwrap());
    let names: BTreeSet<&str> = record.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = described.keys().map(String::as_str).collect();
    let required: BTreeSet<&str> = schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let mut problems = Vec::new();
    if !names.is_superset(&required) || !names.is_subset(&known) {
        problems.push(format!("members: {names:?}"));
    }
    for (name, value) in record {
        let Some(member) = described.get(name) else { continue };
        let kind = match value {
            Value::Null => "null",
            Value::Number(number) if number.is_u64() => "integer",
            Value::String(_) => "string",
            _ => "another",
        };
        let kinds = member["type"].as_array().cloned().unwrap_or_else(|| vec![member["type"].clone()]);
        let listed = member["enum"].as_array().is_none_or(|values| values.contains(value));
        let fits = member["pattern"].as_str().zip(value.as_str()).is_none_or(|(pattern, text)| fits(pattern, text));
        if !kinds.contains(&kind.into()) || !listed || !fits {
            problems.push(format!("{name}: {value}"));
        }
    }
    problems
}

/// All patterns of the schema are anchored.
fn fits(pattern: &str, text: &str) -> bool {
    assert!(pattern.starts_with('^') && pattern.ends_with('$'), "{pattern}");
    dense::DFA::new(pattern).unwrap().try_search_fwd(&Input::new(text)).unwrap().is_some()
}

fn of_form(records: &[Value]) {
    let schema = schema();
    for record in records {
        assert_eq!(problems(record, &schema), Vec::<String>::new(), "{record}");
    }
}

#[test]
fn a_record_that_breaks_the_form_is_found() {
    let schema = schema();
    let good = serde_json::json!({
        "time": "2026-11-21T23:27:02Z", "request_id": "01a2006f-4866-7a27-b73e-7031a5500007", "outcome": "issued",
        "reason": null, "status": 200, "caller": "a", "proof": "api_key", "proof_key": "3579206d77f2fdd9",
        "integration": "c", "rule": "d-*", "cache": "hit", "token_fingerprint": "bd3ea262da79ec6a", "route": "/token",
        "method": "GET", "remote_address": "127.0.0.1:1", "duration_us": 1,
    });
    assert!(problems(&good, &schema).is_empty());
    let mut traced = good.clone();
    traced.as_object_mut().unwrap().insert("trace_id".to_owned(), "0af7651916cd43dd8448eb211c80319c".into());
    assert!(problems(&traced, &schema).is_empty());
    for (name, wrong) in [
        ("more", 1.into()),
        ("outcome", "granted".into()),
        ("status", "200".into()),
        ("duration_us", (-1).into()),
        ("remote_address", "somewhere".into()),
        ("remote_address", "127.0.0.1:x".into()),
        ("token_fingerprint", "bd3e".into()),
        ("trace_id", "0AF7651916CD43DD8448EB211C80319C".into()),
    ] {
        let mut record = good.clone();
        record.as_object_mut().unwrap().insert(name.to_owned(), wrong);
        assert_eq!(problems(&record, &schema).len(), 1, "{name}");
    }
    let mut less = good;
    less.as_object_mut().unwrap().remove("rule");
    assert_eq!(problems(&less, &schema).len(), 1);
}

#[tokio::test]
async fn every_kind_of_decision_leaves_a_record_of_the_documented_form() {
    let stage = Stage::plan().integration("crm-live").integration("elf-uat").start().await;
    let token = stage.ask_for("elf-prod").await.token().text;
    stage.ask_for("elf-prod").await.token();
    stage.ask_for("crm-live").await.refusal();
    stage.ask_for("crm-none").await.refusal();
    Reply::of(stage.get("/token")).await.refusal();
    Reply::of(stage.get("/token?integration=").bearer_auth(stage.key(CALLER))).await.refusal();
    let form = |path: &str, body: &str| {
        let request =
            stage.http.post(format!("http://{}{path}", stage.broker().callers)).bearer_auth(stage.key(CALLER));
        request.header("content-type", "application/x-www-form-urlencoded").body(body.to_owned())
    };
    for (path, body) in [
        ("/introspect", format!("token={token}")),
        ("/introspect", "token=another".to_owned()),
        ("/revoke", format!("token={token}")),
        ("/revoke", "token=another".to_owned()),
        ("/services/oauth2/token", "grant_type=password".to_owned()),
    ] {
        Reply::of(form(path, &body)).await;
    }
    stage.simulator.force(Fault::always(Door::Token, FaultAnswer::NeverAnswer));
    let gone = tokio::time::timeout(Duration::from_millis(200), stage.ask_for("elf-uat")).await;
    assert!(gone.is_err(), "it waits for Salesforce, and hangs up");
    let records = stage.audit(12).await;
    of_form(&records);
    let outcomes: Vec<&str> = records.iter().map(|record| record["outcome"].as_str().unwrap()).collect();
    let expected = ["issued", "issued", "denied", "denied", "unauthenticated", "invalid_request"];
    let about_tokens = ["introspected", "introspected", "reported", "reported", "invalid_request", "abandoned"];
    assert_eq!(outcomes, [expected, about_tokens].concat());
    let abandoned = records.last().unwrap();
    assert_eq!((&abandoned["status"], &abandoned["caller"]), (&499.into(), &CALLER.into()));
    // Both were decided before it waited.
    assert_eq!((&abandoned["integration"], &abandoned["rule"]), (&"elf-uat".into(), &"elf-*".into()));
}

#[tokio::test]
async fn records_behind_a_trusted_proxy_and_without_one_have_an_address_of_the_documented_form() {
    let stage = Stage::plan().server_line("trusted_proxies = [\"127.0.0.0/8\"]").start().await;
    let told = ["198.51.100.7", "2001:db8::7", "::", "::ffff:198.51.100.7"];
    for address in told {
        Reply::of(stage.get("/token").bearer_auth(stage.key(CALLER)).header("x-forwarded-for", address)).await.token();
    }
    stage.ask().await.token();
    let records = stage.audit(5).await;
    of_form(&records);
    let addresses: Vec<&str> = records.iter().map(|record| record["remote_address"].as_str().unwrap()).collect();
    assert_eq!(addresses[..2], told[..2]);
    assert!(addresses[4].starts_with("127.0.0.1:"), "{addresses:?}");
    // The other end of a connection that came by version six, also of a link.
    for address in ["[::1]:4711", "[fe80::1%2]:4711"] {
        assert!(fits(schema()["properties"]["remote_address"]["pattern"].as_str().unwrap(), address), "{address}");
    }
}

#[tokio::test]
async fn whoever_hangs_up_in_the_middle_of_a_body_has_abandoned_it_and_a_malformed_body_is_a_mistake() {
    let stage = Stage::usual().await;
    let head = "POST /token HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-www-form-urlencoded\r\n\
                expect: 100-continue\r\n";
    let cases = [
        ("content-length: 100", "grant_type=", false, "abandoned", 499),
        ("content-length: 100", "grant_type=", true, "abandoned", 499),
        ("transfer-encoding: chunked", "b\r\ngrant_t", false, "abandoned", 499),
        ("transfer-encoding: chunked", "nonsense\r\n", false, "invalid_request", 400),
    ];
    for (number, (framing, part, reset, outcome, status)) in (1..).zip(cases) {
        let mut connection = TcpStream::connect(stage.broker().callers).await.unwrap();
        connection.write_all(format!("{head}{framing}\r\n\r\n").as_bytes()).await.unwrap();
        // It has begun to read the body.
        // All that it says: a connection that is left with something unread is reset.
        let mut goes_on = [0; 25];
        connection.read_exact(&mut goes_on).await.unwrap();
        assert_eq!(&goes_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        connection.write_all(part.as_bytes()).await.unwrap();
        if reset {
            connection.set_zero_linger().unwrap();
        }
        drop(connection);
        let records = stage.audit(number).await;
        of_form(&records);
        let record = records.last().unwrap();
        assert_eq!((&record["outcome"], &record["status"]), (&outcome.into(), &status.into()), "{framing} {reset}");
    }
}

/// A body that nobody survives reading.
struct Bomb;

impl hyper::body::Body for Bomb {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("this test is about a panic in a handler");
    }
}

#[tokio::test]
async fn a_panic_leaves_one_record_and_an_answer_that_tells_nothing() {
    // Stopped at once: only its folder is needed.
    let mut stage = Stage::usual().await;
    stage.stop_broker().await;
    let loaded = config::load_with(&stage.file("aquila.toml"), &|_| None).unwrap();
    let shared = Shared::new(Clock::system(), None, LIMIT).unwrap();
    let (generation, _) = Generation::build(&loaded.config, &shared, None).unwrap();
    let trail = Arc::new(Trail::open(&loaded.config.audit, Arc::clone(&shared.metrics)).unwrap());
    let door = Arc::new(CallersDoor {
        snapshots: Arc::new(Snapshots::new(generation.snapshot)),
        broker: Broker::new(shared.clock.clone()),
        metrics: Arc::clone(&shared.metrics),
        trail: Arc::clone(&trail),
        failures: Failures::default(),
        clock: shared.clock.clone(),
        readiness: Readiness::default(),
        traces: Traces::default(),
    });
    let address = SocketAddr::from(([127, 0, 0, 1], 4711));
    let peer = Arc::new(Peer { address, text: address.to_string(), secure: false, certificate: None });
    for path in ["/token", "/token/elf-prod", "/services/oauth2/token", "/revoke", "/introspect"] {
        let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        let answer = Arc::clone(&door).answer(Arc::clone(&peer), request.body(Body::new(Bomb)).unwrap()).await;
        assert_eq!(answer.status(), 500, "{path}");
    }
    trail.close().await;
    let records = stage.audit(5).await;
    of_form(&records);
    assert_eq!(records.len(), 5);
    for record in records {
        assert_eq!((&record["outcome"], &record["status"]), (&"internal_error".into(), &500.into()));
        assert_eq!(record["token_fingerprint"], Value::Null);
    }
}
