//! A circuit per token host: an outage with many integrations, seen from the host.

use tokio::task::JoinSet;

use crate::support::eyes::in_time;
use crate::support::plan::{CALLER, Own};
use crate::support::relay::Script;
use crate::support::reply::Reply;
use crate::support::stage::Stage;
use crate::support::{seconds, until};

const MANY: usize = 30;

fn names() -> Vec<String> {
    (0..MANY).map(|number| format!("elf-{number:02}")).collect()
}

/// Many integrations at one host, which is the relay, and two at another one, one of them warm.
async fn stage() -> Stage {
    let plan = names().iter().fold(Stage::plan().relayed(), |plan, name| plan.integration(name));
    let elsewhere = || Own { direct: true, ..Own::default() };
    let stage = plan.own("elf-far", elsewhere()).own("elf-far-cold", elsewhere()).start().await;
    stage.ask_for("elf-far").await.token();
    stage
}

fn down() -> Script {
    Box::new(|_| (503, "<html>We are down for maintenance.</html>".to_owned()))
}

/// U at the host of the many.
fn u(stage: &Stage) -> usize {
    stage.relay().assertions().len()
}

async fn is_open(stage: &Stage, name: &str) -> bool {
    let metric = stage.metric(&format!("aquila_upstream_circuit_open{{integration=\"{name}\"}}")).await == 1;
    assert_eq!(stage.told(name, "/circuit_open").await, metric, "{name}");
    metric
}

/// All of them ask at the same time; what they are told.
fn all_at_once(stage: &Stage) -> JoinSet<Reply> {
    let mut callers = JoinSet::new();
    for name in names() {
        let request = stage.get(&format!("/token/{name}")).bearer_auth(stage.key(CALLER));
        callers.spawn(in_time(Reply::of(request)));
    }
    callers
}

#[tokio::test]
async fn in_an_outage_a_host_sees_a_handful_of_requests_however_many_integrations_it_has() {
    let stage = stage().await;
    stage.relay().answer(down());
    for name in names() {
        let reply = stage.ask_in_time(&name).await;
        assert_eq!(reply.refusal(), (503, "temporarily_unavailable".to_owned()));
        assert!((1..=30).contains(&reply.retry_after().unwrap()));
    }
    // Two tries of the first, two of the second, one of the third: that was the fifth failure in a row.
    assert_eq!(u(&stage), 5);
    assert_eq!(stage.failure("elf-00", "cause").await, "transient");
    assert_eq!(stage.failure("elf-29", "cause").await, "circuit_open");
    assert!(is_open(&stage, "elf-00").await && is_open(&stage, "elf-29").await);
    // Another host is another matter, warm and cold.
    stage.answers_from_memory("elf-far").await;
    stage.ask_in_time("elf-far-cold").await.token();
    assert!(!is_open(&stage, "elf-far").await && !is_open(&stage, "elf-far-cold").await);

    // The outage goes on for ten minutes, and everybody asks every 31 s: one request each time.
    for round in 1..=20 {
        stage.advance(seconds(31));
        for name in names() {
            assert_eq!(stage.ask_in_time(&name).await.refusal().0, 503);
        }
        assert_eq!(u(&stage), 5 + round);
    }
    stage.answers_from_memory("elf-far").await;

    // It closes by itself: the first one who finds the host in good health is followed by all others.
    stage.relay().answer_truly();
    stage.advance(seconds(31));
    for name in names() {
        stage.ask_in_time(&name).await.token();
    }
    assert_eq!(u(&stage), 25 + MANY);
    assert!(!is_open(&stage, "elf-00").await && !is_open(&stage, "elf-29").await);
}

#[tokio::test]
async fn those_who_ask_in_the_same_moment_are_tried_once_each_at_the_most() {
    let stage = stage().await;
    stage.relay().answer(down());
    stage.relay().close();
    let callers = all_at_once(&stage);
    until("all are on their way", async || u(&stage) == MANY).await;
    stage.answers_from_memory("elf-far").await;
    stage.relay().open();
    assert!(callers.join_all().await.iter().all(|reply| reply.status == 503));
    // Before the fifth failure has come in, four may have begun to try again.
    assert!(u(&stage) <= MANY + 4, "U = {}", u(&stage));
    assert!(is_open(&stage, "elf-00").await);
}

#[tokio::test]
async fn one_at_a_time_finds_out_whether_the_host_is_back_and_nobody_waits_for_it() {
    let stage = stage().await;
    stage.relay().answer(down());
    for name in names() {
        stage.ask_in_time(&name).await.refusal();
    }
    let before = u(&stage);
    stage.advance(seconds(60));
    stage.relay().answer_truly();
    stage.relay().close();
    let mut callers = all_at_once(&stage);
    // All but one are answered while that one is on its way.
    for _ in 0..MANY - 1 {
        let reply = callers.join_next().await.unwrap().unwrap();
        assert_eq!((reply.refusal().0, reply.retry_after()), (503, Some(1)));
    }
    assert_eq!(u(&stage), before + 1);
    stage.answers_from_memory("elf-far").await;
    stage.relay().open();
    callers.join_next().await.unwrap().unwrap().token();
    assert!(!is_open(&stage, "elf-00").await);
    stage.advance(seconds(1));
    assert!(all_at_once(&stage).join_all().await.iter().all(|reply| reply.status == 200));
    assert_eq!(u(&stage), before + MANY);
}

#[tokio::test]
async fn a_host_that_says_no_is_in_good_health() {
    let stage = stage().await;
    let refusal = r#"{"error":"invalid_grant","error_description":"inactive user"}"#;
    stage.relay().answer(Box::new(move |_| (400, refusal.to_owned())));
    for name in names() {
        assert_eq!(stage.ask_in_time(&name).await.refusal().0, 502);
    }
    assert_eq!(u(&stage), MANY);
    assert!(!is_open(&stage, "elf-00").await);
    stage.answers_from_memory("elf-far").await;
}

#[tokio::test]
async fn an_integration_that_fails_by_itself_does_not_keep_its_neighbours_from_their_host() {
    // A wrong path at the host of everybody: whatever it is asked, that is no answer of a token endpoint.
    let plan = names().iter().fold(Stage::plan().integration("elf-lost"), |plan, name| plan.integration(name));
    let stage = plan.token_url("elf-lost", "http://127.0.0.1:{port}/services/oauth3/token").start().await;
    let mut tries = Vec::new();
    for name in names().iter().take(10) {
        let mut asked = 0;
        loop {
            for _ in 0..59 {
                stage.advance(seconds(1));
                assert_eq!(stage.ask_in_time("elf-lost").await.status, 503);
            }
            // Asked once a minute.
            asked += 1;
            if stage.ask_in_time(name).await.status == 200 || asked > 9 {
                break;
            }
        }
        tries.push(asked);
    }
    assert!(tries.iter().all(|asked| *asked <= 2), "{tries:?}");
}
