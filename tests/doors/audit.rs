//! The audit trail: one record per decision, none for anything else, and no secret in it.

use std::time::Duration;

use aquila::simulator::{Door, Fault, FaultAnswer};
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::Instant;

use crate::support::house::{House, Plan};
use crate::support::process::Process;
use crate::support::until;
use crate::support::wire::{Connection, get, post, request};

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
        assert_eq!((answer.header("cache-control"), answer.header("pragma")), (Some("no-store"), Some("no-cache")));
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

/// A pipe in the place of the audit file, with a reader that has not read yet. It takes 64 KiB before it is full.
struct Pipe {
    folder: tempfile::TempDir,
    reader: std::thread::JoinHandle<std::fs::File>,
}

fn pipe() -> Pipe {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    // Opening waits for the other end.
    let reader = std::thread::spawn(move || std::fs::File::open(path).unwrap());
    Pipe { folder, reader }
}

#[tokio::test]
async fn a_pipe_without_a_reader_holds_up_neither_the_start_nor_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    for asked in [false, true] {
        let plan = Plan {
            audit: format!("path = \"{}\"\n", path.display()),
            server: "shutdown_grace = \"1s\"\n".to_owned(),
            ..Plan::default()
        };
        let house = House::with(plan).await;
        if asked {
            assert_eq!(house.ask(get("/token").bearer(house.key("shipper"))).await.status, 200);
        }
        house.process.signal(Signal::TERM);
        let ended = house.process.ended().await;
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
        assert_eq!(ended.stderr.contains("audit records are lost"), asked, "{}", ended.stderr);
    }
}

/// More records than the pipe takes; their ids.
async fn fill(house: &House) -> Vec<String> {
    let mut connection = Connection::open(house.callers).await;
    let mut ids = Vec::new();
    for _ in 0..400 {
        let answer = connection.ask(&get("/token").bearer(house.key("shipper"))).await;
        assert_eq!(answer.status, 200, "a trail that is not required holds up nobody");
        ids.push(answer.header("x-request-id").unwrap().to_owned());
    }
    ids
}

#[tokio::test]
async fn every_record_comes_out_before_the_process_ends_however_slowly_it_is_read() {
    let Pipe { folder, reader } = pipe();
    let plan = Plan { audit: "path = \"audit.pipe\"\n".to_owned(), ..Plan::default() };
    let house = House::within(folder, plan).await;
    let mut reader = reader.join().unwrap();
    let ids = fill(&house).await;
    house.process.signal(Signal::TERM);
    until("the door closes", || std::net::TcpStream::connect(house.ops).is_err()).await;
    let text = tokio::task::spawn_blocking(move || std::io::read_to_string(&mut reader).unwrap()).await.unwrap();
    assert_eq!(house.process.ended().await.code(), Some(0));
    let found: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["request_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(found, ids);
}

#[tokio::test]
async fn records_that_nobody_reads_hold_the_process_no_longer_than_the_grace_or_the_second_signal() {
    for (grace, signals) in [("2s", 1), ("60s", 2)] {
        let Pipe { folder, reader } = pipe();
        let plan = Plan {
            audit: "path = \"audit.pipe\"\n".to_owned(),
            server: format!("shutdown_grace = \"{grace}\"\n"),
            ..Plan::default()
        };
        let house = House::within(folder, plan).await;
        let unread = reader.join().unwrap();
        fill(&house).await;
        let started = Instant::now();
        house.process.signal(Signal::TERM);
        if signals == 2 {
            until("the door closes", || std::net::TcpStream::connect(house.callers).is_err()).await;
            house.process.signal(Signal::TERM);
        }
        let ended = house.process.ended().await;
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("audit records are lost"), "{}", ended.stderr);
        drop(unread);
    }
}

#[tokio::test]
async fn a_required_record_that_cannot_be_written_in_time_is_a_503_within_ten_seconds() {
    let Pipe { folder, reader } = pipe();
    let plan = Plan { audit: "path = \"audit.pipe\"\nrequired = true\n".to_owned(), ..Plan::default() };
    let house = House::within(folder, plan).await;
    let unread = reader.join().unwrap();
    let mut connection = Connection::open(house.callers).await;
    let ask = get("/token").bearer(house.key("shipper"));
    let (answer, lasted) = loop {
        let started = Instant::now();
        let answer = connection.ask(&ask).await;
        if answer.status != 200 {
            break (answer, started.elapsed());
        }
    };
    assert_eq!((answer.status, answer.member("error")), (503, "temporarily_unavailable".to_owned()));
    assert!(!answer.text().contains("access_token"));
    assert!(lasted < Duration::from_millis(10_500), "{lasted:?}");
    drop(unread);
}

#[tokio::test]
async fn an_answer_whose_record_took_longer_than_the_life_it_tells_allows_is_taken_back() {
    let Pipe { folder, reader } = pipe();
    let audit = "path = \"audit.pipe\"\nrequired = true\n".to_owned();
    // Half of it is promised, and a tenth of that is the margin: 2 s.
    let house = House::within(folder, Plan { audit, session_timeout: "40s", ..Plan::default() }).await;
    let mut records = reader.join().unwrap();
    let mut connection = Connection::open(house.callers).await;
    let ask = get("/token").bearer(house.key("shipper"));
    let answer = loop {
        let mut asked = std::pin::pin!(connection.ask(&ask));
        match tokio::time::timeout(Duration::from_secs(4), &mut asked).await {
            Ok(answer) => assert_eq!(answer.status, 200, "{}", answer.text()),
            Err(_) => {
                // The pipe is full. Now that somebody reads, the record is written, too late for this answer.
                std::thread::spawn(move || std::io::copy(&mut records, &mut std::io::sink()));
                break asked.await;
            }
        }
    };
    assert_eq!((answer.status, answer.member("error")), (503, "temporarily_unavailable".to_owned()));
}

#[tokio::test]
async fn a_rotated_file_is_opened_anew_on_sighup_and_no_record_is_lost_or_doubled() {
    let house = House::open().await;
    let (file, ask) = (house.folder().join("audit.jsonl"), get("/token").bearer(house.key("shipper")));
    let mut connection = Connection::open(house.callers).await;
    let mut ids = Vec::new();
    let mut files = Vec::new();
    for round in 0..5 {
        let moved = house.folder().join(format!("audit.jsonl.{round}"));
        std::fs::rename(&file, &moved).unwrap();
        files.push(moved);
        house.process.signal(Signal::HUP);
        // Asked without a pause, so that records come before, with and after the order.
        let deadline = Instant::now() + crate::support::PATIENCE;
        while !file.exists() || ids.len() % 50 != 0 {
            assert!(Instant::now() < deadline, "the file is not opened anew");
            let answer = connection.ask(&ask).await;
            ids.push(answer.header("x-request-id").unwrap().to_owned());
        }
    }
    house.process.signal(Signal::TERM);
    let House { process, folder: _folder, .. } = house;
    assert_eq!(process.ended().await.code(), Some(0));
    files.push(file);
    let found = files.iter().flat_map(|file| crate::support::house::records(file));
    let found: Vec<String> = found.map(|record| record["request_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(found, ids, "in order, each once");
    let used = files.iter().filter(|file| !crate::support::house::records(file).is_empty()).count();
    assert!(used >= 3, "{used}");
}

#[tokio::test]
async fn a_secret_in_what_a_process_writes_fails_its_test_in_whatever_form_it_comes() {
    let house = House::open().await;
    let key = house.key("shipper").to_owned();
    let token = house.ask(get("/token").bearer(&key)).await.member("access_token");
    let fails = |text: &str| {
        let text = text.to_owned();
        let dropped = std::thread::spawn(move || {
            let mut command = std::process::Command::new("printf");
            let mut told = Process::searched(command.args(["%s\n", &text]));
            while told.runs() {
                std::thread::yield_now();
            }
        });
        dropped.join().is_err()
    };
    for secret in [&key, &token] {
        for form in crate::canary::forms(secret) {
            assert!(fails(&format!("before {form} after")), "{form}");
        }
    }
    assert!(!fails("nothing that is secret"));
    std::fs::write(house.folder().join("more.jsonl"), format!("{{\"x\":\"{key}\"}}")).unwrap();
    let House { process, folder: _folder, .. } = house;
    assert!(std::thread::spawn(move || drop(process)).join().is_err(), "records are searched too");
}
