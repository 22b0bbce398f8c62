//! Every kind of trouble: alone within the limit, one line of log, and back by itself.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aquila::store::{Away, Place, Secrets};
use rustix::process::Signal;

use crate::ports::free_port;
use crate::support::{
    AWAY, PASSWORD, Pki, Redis, Replica, THERE, acl_rule, log, plain, seal_key, settings, text, tls, until,
};

fn place() -> Place {
    Place::new("elf-prod", [7; 32])
}

/// Alone for this reason, told once.
async fn alone(replica: &Replica, cause: &str) {
    assert_eq!(replica.is_alone().await, cause);
    assert_eq!(replica.store.look(&place()).await.err(), Some(Away));
    assert_eq!(replica.log_lines(AWAY), 1);
    assert!(replica.metrics().contains("aquila_store_up 0"));
}

/// Back, told once more than before.
async fn back(replica: &Replica) {
    replica.is_shared().await;
    assert!(replica.store.look(&place()).await.is_ok());
    assert!(replica.metrics().contains("aquila_store_up 1"));
    assert_eq!(replica.log_lines(AWAY), 1);
}

#[tokio::test]
async fn a_redis_without_memory_takes_no_writes_and_is_away() {
    let redis = Redis::plain(&[]).await;
    let replica = Replica::shared(&plain(&redis)).await;
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    alone(&replica, "full").await;
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    back(&replica).await;
    assert_eq!(replica.log_lines(THERE), 2);
}

#[tokio::test]
async fn a_redis_that_became_a_replica_is_away() {
    let redis = Redis::plain(&[]).await;
    let replica = Replica::shared(&plain(&redis)).await;
    redis.ask(&["REPLICAOF", "127.0.0.1", "1"]).await;
    alone(&replica, "read_only").await;
    redis.ask(&["REPLICAOF", "NO", "ONE"]).await;
    back(&replica).await;
}

#[tokio::test]
async fn a_redis_that_was_killed_is_away_until_it_runs_again_empty() {
    let mut redis = Redis::plain(&[]).await;
    let replica = Replica::shared(&plain(&redis)).await;
    redis.kill();
    alone(&replica, "unreachable").await;
    redis.restart().await;
    back(&replica).await;
}

#[tokio::test]
async fn a_redis_that_hangs_costs_one_question_the_limit_and_the_next_nothing() {
    let redis = Redis::plain(&[]).await;
    let replica = Replica::within(&plain(&redis), Duration::from_secs(2));
    replica.is_shared().await;
    redis.signal(Signal::STOP);
    assert_eq!(replica.store.look(&place()).await.err(), Some(Away));
    assert_eq!(replica.store.look(&place()).await.err(), Some(Away));
    for outcome in ["slow", "away"] {
        let asked = format!("aquila_store_operations_total{{operation=\"look\",outcome=\"{outcome}\"}} 1");
        assert!(replica.metrics().contains(&asked), "{asked} in {}", replica.metrics());
    }
    alone(&replica, "slow").await;
    redis.signal(Signal::CONT);
    back(&replica).await;
}

#[tokio::test]
async fn a_wrong_password_is_told_and_the_right_one_is_taken_from_the_file_by_a_reload() {
    let pki = Pki::new();
    let redis = Redis::tls(&pki).await;
    let mended = tls(&redis, &pki);
    let replica = Replica::begin(&mended.replace("\"password\"", "\"seal.key\""));
    alone(&replica, "password").await;
    assert!(!log().contains(PASSWORD) && !log().contains(&seal_key()));
    reload(&replica, &mended);
    back(&replica).await;
}

/// Settings of the user `next`, whose password stands in a file of this replica.
fn as_next(replica: &Replica, settings: &str, password: &str) -> String {
    std::fs::write(replica.folder.path().join("next"), password).unwrap();
    settings.replace("\"aquila\"", "\"next\"").replace("\"password\"", "\"next\"")
}

fn reload(replica: &Replica, redis: &str) {
    let settings = settings(&replica.folder, redis, &seal_key());
    replica.store.replace_secrets(Secrets::open(&settings).unwrap());
}

/// How many connections a user has.
async fn connections(redis: &Redis, pki: &Pki, user: &str) -> usize {
    let all = text(&redis.ask_tls(pki, &["CLIENT", "LIST"]).await);
    all.lines().filter(|line| line.contains(&format!(" user={user} "))).count()
}

#[tokio::test]
async fn another_user_and_its_password_are_taken_together_and_at_once() {
    let pki = Pki::new();
    let redis = Redis::tls(&pki).await;
    let begun = tls(&redis, &pki);
    let replica = Replica::shared(&begun).await;
    until("it reads the stream, too", async || connections(&redis, &pki, "aquila").await == 2).await;
    let rule = acl_rule().replace("aquila on", "next on").replace(PASSWORD, "canary-of-next");
    let rule = [vec!["ACL", "SETUSER"], rule.split(' ').collect()].concat();
    redis.ask_tls(&pki, &rule).await;
    reload(&replica, &as_next(&replica, &begun, "canary-of-next"));
    until("both connections are those of the next user", async || {
        connections(&redis, &pki, "aquila").await == 0 && connections(&redis, &pki, "next").await == 2
    })
    .await;
    assert!(replica.store.look(&place()).await.is_ok());
    assert_eq!((replica.log_lines(AWAY), replica.log_lines(THERE)), (0, 1), "nobody was alone in between");
    assert!(!log().contains("canary-of-next"));
    // It is the next user who comes back.
    redis.ask_tls(&pki, &["ACL", "DELUSER", "aquila"]).await;
    redis.ask_tls(&pki, &["CLIENT", "KILL", "USER", "next"]).await;
    until("it is back", async || replica.log_lines(THERE) == 2).await;
    assert_eq!(replica.log_lines("\"password\""), 0);
}

#[tokio::test]
async fn a_password_that_opens_nothing_is_told_by_the_reload_although_a_connection_stands() {
    let pki = Pki::new();
    let redis = Redis::tls(&pki).await;
    let begun = tls(&redis, &pki);
    let replica = Replica::shared(&begun).await;
    reload(&replica, &as_next(&replica, &begun, "canary-of-nobody"));
    alone(&replica, "password").await;
    reload(&replica, &begun);
    back(&replica).await;
}

#[tokio::test]
async fn an_authority_that_is_withdrawn_is_no_longer_believed_although_a_connection_stands() {
    let (pki, other) = (Pki::new(), Pki::new());
    let redis = Redis::tls(&pki).await;
    let replica = Replica::shared(&tls(&redis, &pki)).await;
    reload(&replica, &tls(&redis, &other));
    alone(&replica, "tls").await;
    reload(&replica, &tls(&redis, &pki));
    back(&replica).await;
}

#[tokio::test]
async fn a_user_of_another_redis_waits_for_the_next_start_as_its_address_does() {
    let pki = Pki::new();
    let (redis, another) = (Redis::tls(&pki).await, Redis::tls(&pki).await);
    let begun = tls(&redis, &pki);
    let replica = Replica::shared(&begun).await;
    reload(&replica, &as_next(&replica, &begun, "canary-of-next").replace(&redis.tls_url(), &another.tls_url()));
    redis.ask_tls(&pki, &["CLIENT", "KILL", "USER", "aquila"]).await;
    until("it is back", async || replica.log_lines(THERE) == 2).await;
    assert_eq!((replica.log_lines(AWAY), connections(&another, &pki, "next").await), (1, 0));
}

#[tokio::test]
async fn an_authority_that_vouches_for_nothing_there_is_told() {
    let (pki, other) = (Pki::new(), Pki::new());
    let redis = Redis::tls(&pki).await;
    let replica = Replica::begin(&tls(&redis, &other));
    alone(&replica, "tls").await;
    assert!(log().lines().any(|line| line.contains(replica.store.replica()) && line.contains("store.redis.ca_path")));
    let replica = Replica::begin(&tls(&redis, &pki).replace("127.0.0.1", "localhost"));
    replica.is_shared().await;
}

#[tokio::test]
async fn a_user_without_the_rights_is_told_and_every_right_of_the_docs_is_needed() {
    let pki = Pki::new();
    let redis = Redis::tls(&pki).await;
    let rule = acl_rule();
    let commands = rule.split(' ').filter_map(|word| word.strip_prefix('+')).collect::<Vec<_>>();
    assert!(commands.len() > 15, "{commands:?}");
    for command in &commands {
        redis.ask_tls(&pki, &["ACL", "SETUSER", "aquila", &format!("-{command}")]).await;
        let replica = Replica::begin(&tls(&redis, &pki));
        match *command {
            // Nothing with database 0.
            "select" | "cluster|slots" => replica.is_shared().await,
            _ => alone(&replica, "rights").await,
        }
        redis.ask_tls(&pki, &["ACL", "SETUSER", "aquila", &format!("+{command}")]).await;
        replica.is_shared().await;
    }
}

/// A server that does this with whoever comes, until it is dropped.
struct Impostor {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Impostor {
    fn new(port: u16, does: fn(&mut TcpStream) -> bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                if does(&mut stream) {
                    kept.push(stream);
                }
            }
        });
        Self { port, stop, thread: Some(thread) }
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().unwrap().join();
    }
}

/// Says this once it is asked: what comes before the first question is no answer, and the client drops it.
fn says(stream: &mut TcpStream, answer: &[u8]) -> bool {
    let asked = stream.read(&mut [0; 4096]);
    asked.is_ok_and(|length| length > 0) && stream.write_all(answer).is_ok()
}

async fn then_a_redis(does: fn(&mut TcpStream) -> bool, cause: &str) {
    let impostor = Impostor::new(free_port(), does);
    let port = impostor.port;
    let replica = Replica::begin(&format!("url = \"redis://127.0.0.1:{port}\""));
    assert_eq!(replica.is_alone().await, cause);
    assert_eq!(replica.log_lines(AWAY), 1);
    drop(impostor);
    let _redis = Redis::start(port, &[&format!("port {port}")], &[]).await;
    back(&replica).await;
}

#[tokio::test]
async fn what_answers_garbage_is_away_until_a_redis_answers_there() {
    then_a_redis(|stream| says(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n\x00\xff"), "nonsense").await;
    then_a_redis(|stream| says(stream, b"*3\r\n:1\r\n$-1\r\n*1\r\n+OK\r\n:5\r\n"), "nonsense").await;
}

#[tokio::test]
async fn what_accepts_and_is_silent_is_away_until_a_redis_answers_there() {
    then_a_redis(|_| true, "slow").await;
}

#[tokio::test]
async fn what_accepts_and_hangs_up_is_away_until_a_redis_answers_there() {
    then_a_redis(|_| false, "unreachable").await;
}

#[tokio::test]
async fn tls_and_plain_mixed_up_are_told() {
    let pki = Pki::new();
    let (secure, open) = (Redis::tls(&pki).await, Redis::plain(&[]).await);
    let replica = Replica::begin(&format!("url = \"{}\"\nca_path = \"{}\"", open.tls_url(), pki.path("ca.pem")));
    let cause = replica.is_alone().await;
    assert!(["tls", "unreachable", "slow"].contains(&cause), "{cause}");
    let replica = Replica::begin(&plain(&secure));
    let cause = replica.is_alone().await;
    assert!(["nonsense", "unreachable"].contains(&cause), "{cause}");
}
