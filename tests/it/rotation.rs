//! A new certificate for the app, which Salesforce applies minutes later: no caller sees an error, no warm token is
//! dropped, and U, the requests that Salesforce sees, is what stands here.

use std::fs;
use std::time::Duration;

use aquila::simulator::{Door, Fault, Switches, TokenRow};
use jiff::SignedDuration;
use serde_json::json;

use crate::support::eyes::{raw, report, row};
use crate::support::key::Pair;
use crate::support::plan::{CLIENT_ID, INTEGRATION, Plan, username};
use crate::support::seconds;
use crate::support::stage::Stage;

const APPLIED_AFTER: Duration = Duration::from_secs(300);

/// Two keys; Salesforce has the certificate of the first.
fn plan() -> Plan {
    let next = Pair::next();
    Stage::plan().file("next.pem", &next.private_key).integration_line("next_key_path = \"next.pem\"")
}

/// The same without the next one; its file is there.
fn plan_of_one() -> Plan {
    Stage::plan().file("next.pem", &Pair::next().private_key).integration_line("# next")
}

fn u(stage: &Stage) -> u64 {
    stage.posts_of(&username(INTEGRATION))
}

fn apply(stage: &Stage, pair: &Pair) {
    stage.simulator.upload_certificate(CLIENT_ID, pair.certificate.as_bytes(), Duration::ZERO).unwrap();
}

/// Whoever asks now causes a login.
fn session_ends(stage: &Stage) {
    stage.simulator.kill_sessions(None);
    stage.advance(seconds(3600));
}

/// Asks, and says what that cost at Salesforce.
async fn cost(stage: &Stage) -> u64 {
    let before = u(stage);
    stage.ask_in_time(INTEGRATION).await.token();
    u(stage) - before
}

/// Of the first key and of the next one: whether the next login begins with it.
async fn in_use(stage: &Stage) -> (bool, bool) {
    let told = async |pointer| stage.told(INTEGRATION, pointer).await == json!(true);
    (told("/keys/0/in_use").await, told("/keys/1/in_use").await)
}

async fn gauge(stage: &Stage) -> u64 {
    stage.metric(&format!("aquila_next_key_in_use{{integration=\"{INTEGRATION}\"}}")).await
}

#[tokio::test]
async fn a_new_certificate_costs_one_refusal_and_no_answer_and_so_does_the_way_back() {
    let stage = plan().start().await;
    assert_eq!((cost(&stage).await, in_use(&stage).await, gauge(&stage).await), (1, (true, false), 0));
    // Uploaded, and not applied yet: the old key logs in.
    stage.simulator.upload_certificate(CLIENT_ID, Pair::next().certificate.as_bytes(), APPLIED_AFTER).unwrap();
    stage.advance(seconds(60));
    stage.simulator.kill_sessions(None);
    report(&stage, &stage.token().await.text).await;
    assert_eq!((u(&stage), in_use(&stage).await), (2, (true, false)));
    // Applied: one refusal, and the next key in the same flight.
    session_ends(&stage);
    assert_eq!((cost(&stage).await, in_use(&stage).await, gauge(&stage).await), (2, (false, true), 1));
    assert_eq!(stage.told(INTEGRATION, "/last_failure").await, json!(null));
    // It is known by now.
    session_ends(&stage);
    assert_eq!(cost(&stage).await, 1);
    // The old certificate is put back.
    apply(&stage, Pair::of_this_process());
    session_ends(&stage);
    assert_eq!((cost(&stage).await, in_use(&stage).await, gauge(&stage).await), (2, (true, false), 0));
    session_ends(&stage);
    assert_eq!(cost(&stage).await, 1);
}

#[tokio::test]
async fn when_neither_key_is_taken_each_pause_sees_two_requests_and_callers_are_told() {
    let stage = plan().start().await;
    stage.simulator.force(Fault::always(Door::Token, row(TokenRow::InvalidAssertion)));
    for (pause, expected) in [(5, 2), (10, 4), (20, 6)] {
        assert_eq!(stage.ask_in_time(INTEGRATION).await.refusal().0, 502);
        assert_eq!(stage.ask_in_time(INTEGRATION).await.refusal().0, 502);
        assert_eq!((u(&stage), in_use(&stage).await), (expected, (true, false)));
        stage.advance(seconds(pause));
    }
    assert_eq!(stage.cause().await, "bad_assertion");
    assert!(stage.failure(INTEGRATION, "detail").await.contains("so it is with the other key"));
    stage.simulator.clear_faults();
    assert_eq!(cost(&stage).await, 1);
}

#[tokio::test]
async fn the_other_key_is_tried_for_a_bad_signature_and_for_nothing_else() {
    let answers = [
        row(TokenRow::UserHasNotApproved),
        row(TokenRow::ClientIdentifierInvalid),
        row(TokenRow::ExpiredAuthorizationCode),
        raw(301, &[], ""),
    ];
    for answer in answers {
        let stage = plan().start().await;
        stage.simulator.force(Fault::always(Door::Token, answer));
        stage.ask_in_time(INTEGRATION).await.refusal();
        assert_eq!((u(&stage), in_use(&stage).await), (1, (true, false)));
    }
}

#[tokio::test]
async fn each_try_counts_in_the_budget() {
    let stage = plan().integration_line("login_budget_per_hour = 2").start().await;
    assert_eq!(cost(&stage).await, 1);
    apply(&stage, Pair::next());
    let token = stage.token().await.text;
    stage.simulator.kill_sessions(None);
    report(&stage, &token).await;
    // The refusal was the second of two: there is none left for the other key, and it is not taken for refused.
    let reply = stage.ask_in_time(INTEGRATION).await;
    assert_eq!((reply.refusal().0, u(&stage), stage.cause().await.as_str()), (503, 2, "login_budget"));
    stage.advance(seconds(3600));
    assert_eq!((cost(&stage).await, in_use(&stage).await), (2, (false, true)));
}

#[tokio::test]
async fn a_wrong_clock_and_a_new_certificate_at_once_cost_two_refusals() {
    let switches = Switches { exp_upper_bound_seconds: Some(180), ..Switches::default() };
    let stage = plan().simulator(|settings| settings.switches = switches).start().await;
    // Ahead of Salesforce's, so that the assertion is refused in the words of a bad signature.
    stage.clock.jump(SignedDuration::from_hours(3));
    apply(&stage, Pair::next());
    assert_eq!((cost(&stage).await, in_use(&stage).await), (3, (false, true)));
    session_ends(&stage);
    assert_eq!(cost(&stage).await, 1);
}

#[tokio::test]
async fn a_warm_token_outlives_every_step_of_a_rotation() {
    let stage = plan_of_one().start().await;
    let token = stage.token().await;
    // The next key is added, then it is the only one; nobody logs in for it.
    stage.reload("# next", "next_key_path = \"next.pem\"").await;
    assert_eq!(stage.token().await, token);
    stage.reload("client_key_path = \"key.pem\"", "client_key_path = \"next.pem\" #").await;
    stage.reload("next_key_path = \"next.pem\"", "# none").await;
    assert_eq!((stage.token().await, u(&stage)), (token.clone(), 1));
    // The promoted key is the one that signs.
    apply(&stage, Pair::next());
    session_ends(&stage);
    assert_eq!(cost(&stage).await, 1);
    assert_ne!(stage.token().await, token);
}

#[tokio::test]
async fn which_key_is_taken_is_known_after_a_reload() {
    let stage = plan().start().await;
    apply(&stage, Pair::next());
    assert_eq!((cost(&stage).await, in_use(&stage).await), (2, (false, true)));
    stage.reload("next_key_path", "keep_warm = false\nnext_key_path").await;
    assert_eq!(in_use(&stage).await, (false, true));
    session_ends(&stage);
    assert_eq!(cost(&stage).await, 1);
}

#[tokio::test]
async fn a_key_that_nothing_joins_to_the_one_before_drops_the_token() {
    let stage = plan_of_one().start().await;
    assert_eq!(cost(&stage).await, 1);
    apply(&stage, Pair::next());
    stage.reload("client_key_path = \"key.pem\"", "client_key_path = \"next.pem\"").await;
    assert_eq!(cost(&stage).await, 1);
}

#[tokio::test]
async fn a_next_key_that_comes_in_the_middle_of_a_pause_is_tried_at_once() {
    let stage = plan_of_one().start().await;
    apply(&stage, Pair::next());
    for pause in [5, 10, 20, 40] {
        assert_eq!(stage.ask_in_time(INTEGRATION).await.refusal().0, 502);
        stage.advance(seconds(pause));
    }
    assert_eq!(stage.ask_in_time(INTEGRATION).await.refusal().0, 502);
    stage.reload("# next", "next_key_path = \"next.pem\"").await;
    assert_eq!((cost(&stage).await, in_use(&stage).await), (2, (false, true)));
}

#[tokio::test]
async fn the_operator_reads_one_line_when_the_key_changes() {
    let stage = plan().in_own_process().start().await;
    apply(&stage, Pair::next());
    assert_eq!(cost(&stage).await, 2);
    let token = stage.token().await.text;
    stage.simulator.kill_sessions(None);
    report(&stage, &token).await;
    assert_eq!(u(&stage), 3);
    let log = fs::read_to_string(stage.file("stderr.txt")).unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("takes the other key now")).collect();
    let [line] = lines.as_slice() else { panic!("{log}") };
    let thumbprint = stage.told(INTEGRATION, "/keys/1/thumbprint").await;
    for part in [INTEGRATION, "WARN", "next_key", "docs/rotation.md", thumbprint.as_str().unwrap()] {
        assert!(line.contains(part), "{part}: {line}");
    }
}
