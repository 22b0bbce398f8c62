//! Guarantee 3: one mint at a time per integration, however many wait, and a caller who hangs up harms no other.
//!
//! The relay before the token endpoint holds the answer back until everybody waits; how the tokens were found then
//! proves that they did. The broker waits 8 s for that answer and no longer, so the callers do their part before it
//! begins to read, and a shot that a busy machine made too slow is fired again.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::support::plan::CALLER;
use crate::support::reply::Reply;
use crate::support::stage::Stage;
use crate::support::{seconds, until};

const MANY: usize = 10_000;
/// The kernel's queue of connections that wait to be accepted is shorter than the crowd.
const GROUP: usize = 100;
/// How long the broker waits for the answer to a login: the most that can be set.
const LOGIN: Duration = Duration::from_secs(8);
/// The broker hangs up on who has asked nothing for 30 s.
const GATHERED: Duration = Duration::from_secs(25);
/// On a machine that has other things to do.
const SHOTS: usize = 5;

/// A request as bytes, on a connection of its own.
fn request(stage: &Stage) -> String {
    let key = stage.key(CALLER);
    format!("GET /token HTTP/1.1\r\nHost: aquila\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n")
}

/// Both ends of ten thousand connections do not fit into one process everywhere, hence the broker in its own; its own
/// limit it raises itself.
fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    let needed = u64::try_from(MANY).unwrap() + 500;
    assert!(limit.maximum.is_none_or(|most| most >= needed), "this test needs {needed} open files: ulimit -Hn");
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// Whoever was read before is waiting when a question that was asked last is answered again and again.
async fn everything_sent_is_read(stage: &Stage) {
    for _ in 0..25 {
        assert_eq!(Reply::of(stage.get("/healthz")).await.status, 200);
    }
}

/// Ten thousand callers, each on a connection of its own.
///
/// They are plain sockets without tasks: what wakes a task ten thousand times lets a busy machine wait as often.
struct Crowd(Vec<TcpStream>);

impl Crowd {
    fn gather(stage: &Stage) -> Self {
        let connect = || TcpStream::connect(stage.broker().callers).unwrap();
        let mut callers = Vec::with_capacity(MANY);
        while callers.len() < MANY {
            callers.extend((0..GROUP).map(|_| connect()));
            // They are accepted in the order in which they came, so when this one is answered they all are.
            let mut last = connect();
            last.write_all(b"GET /healthz HTTP/1.1\r\nHost: aquila\r\nConnection: close\r\n\r\n").unwrap();
            last.read_to_end(&mut Vec::new()).unwrap();
        }
        Self(callers)
    }

    /// Has all of them ask at once, and Salesforce answer when the broker has read them and they wait. `None` when that
    /// took longer than the broker may have waited: then it proves nothing.
    async fn shoot(stage: &Stage) -> Option<Self> {
        let begun = Instant::now();
        let mut crowd = Self::gather(stage);
        stage.broker().freeze().await;
        if begun.elapsed() > GATHERED {
            return None;
        }
        let request = request(stage);
        crowd.0.iter_mut().for_each(|caller| caller.write_all(request.as_bytes()).unwrap());
        stage.broker().thaw();
        let shot = Instant::now();
        let read = timeout_at(shot + LOGIN, everything_sent_is_read(stage)).await;
        // The second is the one more try at once after a login that has lasted too long.
        let logins = stage.relay().assertions().len();
        assert!(logins <= 2, "{logins} logins are under way for one token");
        read.ok()?;
        assert_eq!(stage.simulator.counts().token_posts, 0, "Salesforce has answered before everybody had asked");
        stage.relay().open();
        let answered = || stage.simulator.counts().confirms > 0;
        until("Salesforce has answered", async || answered() || shot.elapsed() > LOGIN).await;
        (answered() && begun.elapsed() < GATHERED && shot.elapsed() < LOGIN).then_some(crowd)
    }

    fn answers(self) -> Vec<String> {
        self.0.into_iter().map(|mut caller| io::read_to_string(&mut caller).unwrap()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_cold_callers_at_once_make_one_login_and_all_get_the_token() {
    allow_many_files();
    for _ in 0..SHOTS {
        let plan = Stage::plan().relayed().in_own_process();
        let stage = plan.salesforce_line(format!("request_timeout = \"{LOGIN:?}\"")).start().await;
        stage.relay().close();
        let Some(crowd) = Crowd::shoot(&stage).await else { continue };
        if one_login_and_all_get_the_token(&stage, crowd).await {
            return;
        }
    }
    panic!("{SHOTS} times {MANY} requests were not read within {LOGIN:?}, the most that a login may last");
}

/// Whether all of them waited. One that was read after the answer found the token in memory; by itself that is right, but
/// it was no part of the race, and may have had the token confirmed once more as a caller that comes back.
async fn one_login_and_all_get_the_token(stage: &Stage, crowd: Crowd) -> bool {
    let answers = tokio::task::spawn_blocking(|| crowd.answers()).await.unwrap();
    assert_eq!(answers.len(), MANY);
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\"access_token\":\"00D5g00000SIMU1!"), "{answer}");
    }
    let counts = stage.simulator.counts();
    assert_eq!((counts.token_posts, stage.relay().assertions().len()), (1, 1));
    if stage.lookups("hit").await > 0 {
        return false;
    }
    // They raced: one went to Salesforce, and all others waited for it.
    let found = (stage.lookups("miss").await, stage.lookups("joined").await);
    assert_eq!((counts.confirms, found), (1, (1, u64::try_from(MANY).unwrap() - 1)));
    true
}

/// A caller that has asked and waits; its answer has not been read.
async fn waiting_caller(stage: &Stage) -> net::TcpStream {
    let mut stream = net::TcpStream::connect(stage.broker().callers).await.unwrap();
    stream.write_all(request(stage).as_bytes()).await.unwrap();
    stream
}

/// Hangs up, and comes back when the broker has let go of the request.
async fn hang_up(mut stream: net::TcpStream) {
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "it was answered: {}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn a_leader_who_hangs_up_in_the_middle_of_the_login_harms_nobody() {
    let stage = Stage::plan().relayed().start().await;
    stage.relay().close();
    let leader = waiting_caller(&stage).await;
    until("the login is under way", async || stage.relay().assertions().len() == 1).await;
    let mut follower = waiting_caller(&stage).await;
    everything_sent_is_read(&stage).await;
    hang_up(leader).await;
    stage.relay().open();

    let mut answer = String::new();
    follower.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!((stage.simulator.counts().token_posts, stage.relay().assertions().len()), (1, 1));
    // The follower waited for the leader's login, and the leader was gone before it ended.
    assert_eq!((stage.lookups("joined").await, stage.lookups("miss").await), (1, 0));
    let outcomes: Vec<Value> = stage.audit(2).await.iter().map(|record| record["outcome"].clone()).collect();
    assert_eq!(outcomes, ["abandoned", "issued"]);
    let left = stage.audit(2).await.remove(0);
    assert_eq!((&left["caller"], &left["token_fingerprint"]), (&CALLER.into(), &Value::Null));
}

#[tokio::test]
async fn a_login_that_everybody_has_left_still_serves_the_next_caller() {
    let stage = Stage::plan().relayed().start().await;
    stage.relay().close();
    let leader = waiting_caller(&stage).await;
    until("the login is under way", async || stage.relay().assertions().len() == 1).await;
    hang_up(leader).await;
    stage.relay().open();
    until("the login has ended", async || stage.simulator.counts().confirms == 1).await;
    stage.token().await;
    assert_eq!((stage.simulator.counts().token_posts, stage.relay().assertions().len()), (1, 1));
    assert_eq!(stage.lookups("miss").await, 0);
}

#[tokio::test]
async fn callers_at_once_after_the_end_of_a_promise_make_one_login_as_well() {
    let stage = Stage::plan().relayed().start().await;
    let old = stage.token().await;
    stage.simulator.kill_sessions(None);
    stage.advance(seconds(3600));
    stage.relay().close();
    let mut callers = JoinSet::new();
    for _ in 0..200 {
        callers.spawn(Reply::of(stage.get("/token").bearer_auth(stage.key(CALLER))));
    }
    until("the second login is under way", async || stage.relay().assertions().len() == 2).await;
    everything_sent_is_read(&stage).await;
    stage.relay().open();
    while let Some(reply) = callers.join_next().await {
        assert_ne!(reply.unwrap().token().text, old.text);
    }
    assert_eq!(stage.simulator.counts().token_posts, 2);
    assert!(stage.lookups("joined").await > 100, "they did not race");
}

#[tokio::test]
async fn a_failed_login_fails_all_who_wait_for_it_and_is_not_repeated_for_each() {
    let stage = Stage::plan().relayed().start().await;
    stage.relay().answer(Box::new(|_| (503, "busy".to_owned())));
    stage.relay().close();
    let mut callers = JoinSet::new();
    for _ in 0..200 {
        callers.spawn(Reply::of(stage.get("/token").bearer_auth(stage.key(CALLER))));
    }
    until("the login is under way", async || stage.relay().assertions().len() == 1).await;
    everything_sent_is_read(&stage).await;
    stage.relay().open();
    while let Some(reply) = callers.join_next().await {
        assert_eq!(reply.unwrap().refusal().0, 503);
    }
    assert_eq!(stage.relay().assertions().len(), 2, "one try, and one more at once, for all of them");
}
