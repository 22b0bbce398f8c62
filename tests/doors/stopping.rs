//! The end of the service: what a signal starts, what is finished first, and what does not hold it up.

use std::time::Duration;

use aquila::simulator::{Door, Fault};
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::get_token::is_a_token;
use crate::support::house::{House, Plan, records};
use crate::support::process::Process;
use crate::support::until;
use crate::support::wire::{Connection, get, post, request};

async fn house(server: &str) -> House {
    House::with(Plan { server: format!("{server}\n"), ..Plan::default() }).await
}

async fn ready(house: &House) -> u16 {
    get("/readyz").send(house.ops).await.status
}

/// Waits until the service says that it is not ready any more.
async fn until_draining(house: &House) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while ready(house).await != 503 {
        assert!(Instant::now() < deadline, "it stays ready");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a mint is at the simulator.
async fn until_minting(house: &House) {
    until("a mint", || house.simulator.counts().token_posts_in_flight > 0).await;
}

#[tokio::test]
async fn during_the_delay_the_service_is_not_ready_and_still_serves_newcomers() {
    futures_util::future::join(delays_its_end(Signal::TERM), delays_its_end(Signal::INT)).await;
}

async fn delays_its_end(signal: Signal) {
    let delay = Duration::from_secs(5);
    let house = house("shutdown_delay = \"5s\"").await;
    assert_eq!(ready(&house).await, 200);
    let started = Instant::now();
    house.process.signal(signal);
    until_draining(&house).await;
    is_a_token(&house.ask(get("/token").bearer(house.key("shipper"))).await, "elf-prod");
    assert_eq!(get("/livez").send(house.ops).await.status, 200, "a probe that fails would have it killed");
    assert_eq!(get("/status.json").send(house.ops).await.json()["ready"], false);
    assert!(started.elapsed() < delay, "the machine is too slow to tell");
    let ended = house.process.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(started.elapsed() >= delay, "{:?}", started.elapsed());
    assert!(ended.stderr.contains("everything in progress came to its end"), "{}", ended.stderr);
}

#[tokio::test]
async fn who_waits_for_a_slow_mint_gets_its_token_and_the_connection_is_closed() {
    let house = house("").await;
    house.simulator.force(Fault::delay(Door::Token, 1500));
    let mut waiting = Connection::open(house.callers).await;
    let mut idle = Connection::open(house.callers).await;
    is_not_closed(&idle.ask(&get("/healthz")).await);
    waiting.write(&get("/token").bearer(house.key("shipper")).bytes()).await;
    until_minting(&house).await;
    house.process.signal(Signal::TERM);
    // Nobody new comes in, and who asks for nothing is let go.
    assert!(idle.rest().await.is_empty());
    until_draining(&house).await;
    until("the door closes", || std::net::TcpStream::connect(house.callers).is_err()).await;
    let answer = waiting.answer(true).await.unwrap();
    is_a_token(&answer, "elf-prod");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(waiting.rest().await.is_empty());
    let path = house.folder().join("audit.jsonl");
    let House { process, folder: _folder, .. } = house;
    let ended = process.ended().await;
    assert_eq!(ended.code(), Some(0));
    assert!(ended.stderr.contains("everything in progress came to its end"), "{}", ended.stderr);
    assert_eq!(records(&path)[0]["request_id"], answer.header("x-request-id").unwrap());
}

fn is_not_closed(answer: &crate::support::wire::Answer) {
    assert_eq!(answer.header("connection"), None);
}

#[tokio::test]
async fn clients_that_are_stuck_hold_the_process_no_longer_than_the_grace() {
    let house = house("shutdown_grace = \"1s\"").await;
    house.simulator.force(Fault::delay(Door::Token, 8000));
    let half = post("/token", "").bearer(house.key("shipper")).header("Content-Length", "100").bytes();
    let mut stuck = vec![Connection::open(house.callers).await];
    stuck[0].write(&get("/token").bearer(house.key("shipper")).bytes()).await;
    for part in [&b""[..], b"GET /token HTTP/1.1\r\nHost:", &half] {
        let mut connection = Connection::open(house.callers).await;
        connection.write(part).await;
        stuck.push(connection);
    }
    until_minting(&house).await;
    let started = Instant::now();
    house.process.signal(Signal::TERM);
    let ended = house.process.ended().await;
    let lasted = started.elapsed();
    assert_eq!(ended.code(), Some(0));
    assert!(lasted >= Duration::from_secs(1) && lasted < Duration::from_secs(4), "{lasted:?}");
    assert!(ended.stderr.contains("before everything in progress came to its end"), "{}", ended.stderr);
}

#[tokio::test]
async fn idle_connections_do_not_hold_the_process_at_all() {
    let house = house("shutdown_grace = \"20s\"").await;
    let mut idle = Vec::new();
    for asked in [false, true] {
        for _ in 0..20 {
            let mut connection = Connection::open(house.callers).await;
            if asked {
                connection.ask(&get("/healthz")).await;
            }
            idle.push(connection);
        }
    }
    let ops = TcpStream::connect(house.ops).await.unwrap();
    let started = Instant::now();
    house.process.signal(Signal::TERM);
    assert_eq!(house.process.ended().await.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    drop((idle, ops));
}

#[tokio::test]
async fn who_has_not_asked_yet_holds_the_process_for_a_moment_only() {
    let house = house("shutdown_grace = \"20s\"").await;
    let mut silent = Vec::new();
    // A head without its end, the same after a whole request, and HTTP/2 without a request.
    for (first, part) in [
        (false, &b"GET /token HTTP/1.1\r\nHost:"[..]),
        (true, b"GET /token HTTP/1.1\r\nHost:"),
        (false, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
    ] {
        let mut connection = Connection::open(house.callers).await;
        if first {
            connection.ask(&get("/healthz")).await;
        }
        connection.write(part).await;
        silent.push(connection);
    }
    // Long enough for what was sent to be read.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let started = Instant::now();
    house.process.signal(Signal::TERM);
    let ended = house.process.ended().await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(ended.stderr.contains("everything in progress came to its end"), "{}", ended.stderr);
    drop(silent);
}

#[tokio::test]
async fn a_second_signal_leaves_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM), (Signal::TERM, Signal::INT)] {
        let house = house("shutdown_delay = \"60s\"\nshutdown_grace = \"60s\"").await;
        house.simulator.force(Fault::delay(Door::Token, 8000));
        let mut waiting = Connection::open(house.callers).await;
        waiting.write(&get("/token").bearer(house.key("shipper")).bytes()).await;
        until_minting(&house).await;
        house.process.signal(first);
        until_draining(&house).await;
        let started = Instant::now();
        house.process.signal(second);
        let ended = house.process.ended().await;
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn sighup_does_not_end_the_process() {
    let house = house("").await;
    let before = house.process.stderr().len();
    house.process.signal(Signal::HUP);
    until("it is obeyed", || house.process.stderr()[before..].contains("a new configuration is in force")).await;
    assert_eq!(ready(&house).await, 200);
    is_a_token(&house.ask(get("/token").bearer(house.key("shipper"))).await, "elf-prod");
}

#[tokio::test]
async fn every_audit_record_is_on_disk_when_the_process_is_gone() {
    let house = house("").await;
    let key = house.key("shipper");
    let mut ids = Vec::new();
    let mut connection = Connection::open(house.callers).await;
    for number in 0..300 {
        let method = if number % 3 == 0 { "HEAD" } else { "GET" };
        let asked = request(method, if number % 2 == 0 { "/token" } else { "/token/crm" }).bearer(key);
        ids.push(connection.ask(&asked).await.header("x-request-id").unwrap().to_owned());
    }
    house.process.signal(Signal::TERM);
    let path = house.folder().join("audit.jsonl");
    let House { process, folder: _folder, .. } = house;
    assert_eq!(Process::ended(process).await.code(), Some(0));
    let records = records(&path);
    let found: Vec<_> = records.iter().map(|record| record["request_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(found, ids);
}
