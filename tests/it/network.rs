//! What the network and a broken token endpoint do: each fault has its cause, keeps nobody waiting, costs Salesforce
//! few requests, and is no other integration's business.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use aquila::simulator::{Door, Fault, FaultAnswer, Flaw, Settings, Simulator, Tls};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ports::free_port;
use crate::support::key::Pair;
use crate::support::plan::{CALLER, INTEGRATION, Plan, username};
use crate::support::reply::{Reply, Token};
use crate::support::stage::Stage;
use crate::support::{seconds, until};

/// The integration that nothing happens to.
const WELL: &str = "elf-well";

/// U, the requests that half a minute of a fault may cost with a caller each second: one for all who came at once, and
/// then fewer than one in three seconds.
const MOST_POSTS: u64 = 10;

/// Guarantee 7.
const DEADLINE: Duration = Duration::from_secs(10);

fn plan() -> Plan {
    Stage::plan().integration(WELL)
}

/// For faults that last as long as they are waited for. The others keep the usual time, so that a slow machine does not
/// turn them into timeouts.
fn impatient(plan: Plan) -> Plan {
    plan.salesforce_line("request_timeout = \"1s\"")
}

/// Twenty callers at once, then one each second for half a minute: all are told to come back, and the well integration
/// answers from memory all the while.
async fn half_a_minute_of_it(stage: &Stage, well: &Token, (cause, says): (&str, &str)) {
    let mut callers = JoinSet::new();
    for number in 0..40 {
        let name = if number % 2 == 0 { INTEGRATION } else { WELL };
        let request = stage.get(&format!("/token/{name}")).bearer_auth(stage.key(CALLER));
        callers.spawn(async move {
            let started = Instant::now();
            let reply = Reply::of(request).await;
            assert!(started.elapsed() < DEADLINE, "{name} took {:?}", started.elapsed());
            (name, reply)
        });
    }
    for (name, reply) in callers.join_all().await {
        check(name, &reply, well);
    }
    assert_eq!(stage.cause().await, cause);
    let detail = stage.failure(INTEGRATION, "detail").await;
    assert!(detail.contains(says), "{detail}");
    for _ in 0..30 {
        stage.advance(seconds(1));
        let started = Instant::now();
        check(INTEGRATION, &stage.ask().await, well);
        assert!(started.elapsed() < DEADLINE);
        check(WELL, &stage.ask_for(WELL).await, well);
    }
}

fn check(name: &str, reply: &Reply, well: &Token) {
    if name == WELL {
        assert_eq!(reply.token().text, well.text);
        return;
    }
    assert_eq!(reply.refusal(), (503, "temporarily_unavailable".to_owned()));
    let wait = reply.retry_after().unwrap();
    assert!((1..=300).contains(&wait), "Retry-After {wait}");
}

/// The token endpoint does this to one user, until it stops.
async fn token_endpoint(answer: FaultAnswer, cause: &str, says: &str) {
    let plan = if cause == "timeout" { impatient(plan()) } else { plan() };
    let stage = plan.start().await;
    let well = stage.ask_for(WELL).await.token();
    let fault = Fault::always(Door::Token, answer);
    stage.simulator.force(Fault { username: Some(username(INTEGRATION)), ..fault });
    stage.simulator.reset_counts();
    half_a_minute_of_it(&stage, &well, (cause, says)).await;
    let posts = stage.simulator.counts().token_posts;
    assert!((2..=MOST_POSTS).contains(&posts), "U = {posts}");
    stage.simulator.clear_faults();
    stage.advance(seconds(300));
    stage.token().await;
}

#[tokio::test]
async fn an_answer_that_never_comes_is_a_timeout() {
    token_endpoint(FaultAnswer::NeverAnswer, "timeout", "no answer in time").await;
}

#[tokio::test]
async fn an_answer_that_comes_byte_by_byte_is_a_timeout_all_the_same() {
    token_endpoint(FaultAnswer::Trickle { pause_ms: 20 }, "timeout", "and no more in time").await;
}

#[tokio::test]
async fn an_answer_that_is_cut_in_the_middle_is_a_broken_connection() {
    token_endpoint(FaultAnswer::Cut, "connect", "then broken off").await;
}

#[tokio::test]
async fn a_reset_is_a_broken_connection() {
    token_endpoint(FaultAnswer::Reset, "connect", "broken off before the head").await;
}

#[tokio::test]
async fn a_hang_up_is_a_broken_connection() {
    token_endpoint(FaultAnswer::HangUp, "connect", "broken off before the head").await;
}

#[tokio::test]
async fn an_answer_that_is_lost_after_its_login_is_a_broken_connection() {
    token_endpoint(FaultAnswer::LoseAnswer, "connect", "broken off before the head").await;
}

#[tokio::test]
async fn a_body_of_a_gigabyte_is_refused_by_its_length() {
    token_endpoint(FaultAnswer::Huge { bytes: 1 << 30 }, "malformed_answer", "a body of more than 1 MiB").await;
}

#[tokio::test]
async fn a_body_without_end_is_refused_after_a_mebibyte() {
    token_endpoint(FaultAnswer::EndlessBody, "malformed_answer", "a body of more than 1 MiB").await;
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    token_endpoint(FaultAnswer::EndlessHead, "malformed_answer", "no readable head").await;
}

#[tokio::test]
async fn a_gzip_bomb_is_refused_unopened() {
    token_endpoint(FaultAnswer::GzipBomb { mebibytes: 100 }, "malformed_answer", "content-encoding").await;
}

/// The token endpoint cannot be reached at all.
async fn unreachable(plan: Plan, cause: &str, says: &str) {
    let stage = plan.start().await;
    let well = stage.ask_for(WELL).await.token();
    half_a_minute_of_it(&stage, &well, (cause, says)).await;
    assert_eq!(stage.simulator.counts().token_posts, 1, "somebody else was asked");
}

#[tokio::test]
async fn a_port_where_nobody_listens_refuses_the_connection() {
    let address = format!("http://127.0.0.1:{}", free_port());
    unreachable(plan().token_url(INTEGRATION, address), "connect", "refused").await;
}

#[tokio::test]
async fn a_host_that_takes_no_connection_is_a_timeout_of_connecting() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts: once the queue is full the next one hears nothing.
    let mut queue = Vec::new();
    while let Ok(waiting) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        queue.push(waiting);
    }
    let plan = impatient(plan()).token_url(INTEGRATION, format!("http://{address}"));
    unreachable(plan, "timeout", "no connection in time").await;
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_told_as_such() {
    // The proxy's name, for its resolver is the same, and TLS does not look at the name first. One part of it is too
    // long for the name service: nobody is asked for it.
    let proxy = format!("proxy_url = \"http://{}.example:3128\"", "x".repeat(64));
    let plan = plan().salesforce_line(proxy).token_url(INTEGRATION, "https://acme.my.salesforce.com");
    unreachable(plan, "dns", "").await;
}

/// A token endpoint with TLS of its own, and the authority that the broker trusts.
async fn tls_endpoint((tls, _): (Tls, String), authority: &str, says: &str) {
    let other = Simulator::start(Settings { tls: Some(tls), ..Settings::default() }).await.unwrap();
    let plan = plan().file("ca.pem", authority).salesforce_line("ca_path = \"ca.pem\"");
    unreachable(plan.token_url(INTEGRATION, other.base_url()), "tls", says).await;
    assert_eq!(other.counts().token_posts, 0, "it saw an assertion");
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let made = Tls::throw_away(&[]).unwrap();
    let others = [Pair::of_this_process().certificate.clone(), Tls::throw_away(&[]).unwrap().1];
    for other in others {
        tls_endpoint(made.clone(), &other, "no authority that is trusted here").await;
    }
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused() {
    let made = Tls::flawed(&[], Flaw::Expired).unwrap();
    tls_endpoint(made.clone(), &made.1, "the certificate has expired").await;
}

#[tokio::test]
async fn a_certificate_that_is_not_yet_valid_is_refused() {
    let made = Tls::flawed(&[], Flaw::NotYetValid).unwrap();
    tls_endpoint(made.clone(), &made.1, "the certificate is not valid yet").await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let made = Tls::flawed(&[], Flaw::OtherName).unwrap();
    tls_endpoint(made.clone(), &made.1, "the certificate is for another name").await;
}

#[tokio::test]
async fn a_token_endpoint_without_tls_where_tls_is_expected_gets_no_assertion() {
    let other = Simulator::start(Settings::default()).await.unwrap();
    let url = other.base_url().replace("http://", "https://");
    unreachable(plan().token_url(INTEGRATION, url), "tls", "").await;
    assert_eq!(other.counts().token_posts, 0);
}

/// Everything that the simulator can do to an answer of either door.
fn faults() -> Vec<FaultAnswer> {
    vec![
        FaultAnswer::NeverAnswer,
        FaultAnswer::Trickle { pause_ms: 20 },
        FaultAnswer::Cut,
        FaultAnswer::Reset,
        FaultAnswer::Huge { bytes: 1 << 30 },
        FaultAnswer::EndlessBody,
        FaultAnswer::EndlessHead,
        FaultAnswer::GzipBomb { mebibytes: 100 },
        FaultAnswer::Maintenance { status: 200 },
    ]
}

#[tokio::test]
async fn over_tls_and_http_2_the_same_faults_have_the_same_causes() {
    let made = Tls::throw_away(&[]).unwrap();
    let cases = [
        (FaultAnswer::NeverAnswer, "timeout"),
        (FaultAnswer::Trickle { pause_ms: 20 }, "timeout"),
        (FaultAnswer::Cut, "connect"),
        (FaultAnswer::Reset, "connect"),
        (FaultAnswer::HangUp, "connect"),
        (FaultAnswer::Huge { bytes: 1 << 30 }, "malformed_answer"),
        (FaultAnswer::EndlessBody, "malformed_answer"),
        (FaultAnswer::GzipBomb { mebibytes: 100 }, "malformed_answer"),
    ];
    for (answer, cause) in cases {
        let (tls, authority) = made.clone();
        let plan = if cause == "timeout" { impatient(plan()) } else { plan() };
        let plan = plan.file("ca.pem", authority).salesforce_line("ca_path = \"ca.pem\"");
        let stage = plan.simulator(|settings| settings.tls = Some(tls)).start().await;
        stage.simulator.force(Fault::once(Door::Token, answer.clone()));
        assert_eq!(stage.ask().await.refusal().0, 503, "{answer:?}");
        let detail = stage.failure(INTEGRATION, "detail").await;
        assert_eq!(stage.cause().await, cause, "{answer:?}: {detail}");
        assert_eq!(stage.simulator.counts().token_posts, 1, "{answer:?}");
        stage.advance(seconds(300));
        stage.token().await;
    }
}

#[tokio::test]
async fn a_good_token_outlives_every_fault_and_each_costs_one_attempt() {
    for answer in faults() {
        let stage = impatient(plan()).start().await;
        let token = stage.token().await;
        for door in [Door::Token, Door::Rest] {
            stage.simulator.force(Fault::always(door, answer.clone()));
        }
        stage.simulator.reset_counts();
        // Into the window of its refresh, which begins at half of the promise.
        stage.advance(seconds(3000));
        assert_eq!(stage.token().await.text, token.text, "{answer:?}");
        until("the fault was met", async || !stage.cause().await.is_empty()).await;
        let still = stage.token().await;
        assert_eq!((still.text, still.expires_in), (token.text.clone(), token.expires_in - 3000), "{answer:?}");
        let counts = stage.simulator.counts();
        assert!(counts.token_posts <= 1, "{answer:?}: {counts:?}");
    }
}

#[tokio::test]
async fn a_fault_of_the_confirm_call_costs_no_token_and_no_second_login() {
    for answer in faults() {
        let stage = impatient(plan()).start().await;
        stage.simulator.force(Fault::always(Door::Rest, answer.clone()));
        let token = stage.token().await;
        assert_eq!(token.source, "estimate", "{answer:?}");
        assert_eq!(stage.token().await.text, token.text, "{answer:?}");
        assert_eq!(stage.simulator.counts().token_posts, 1, "{answer:?}");
    }
}
