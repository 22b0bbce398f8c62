//! Clocks that are wrong: this machine's by three hours either way, and one that is set while tokens are out.
//!
//! Salesforce's clock is told by the `Date` of its answers. Promises are counted on a clock that nobody sets.

use aquila::simulator::{Door, Fault, Switches, TokenRow};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use serde_json::json;

use crate::support::eyes::{in_time, raw, report, row};
use crate::support::plan::{CLIENT_SECRET, INTEGRATION, Plan, username};
use crate::support::stage::Stage;
use crate::support::{seconds, until};

/// How far this machine's clock is set off, in hours.
const EITHER_WAY: [i64; 2] = [-3, 3];

/// A Salesforce that takes the three minutes of its documents at their word, so that a clock that is ahead is refused
/// as well as one that is behind.
fn strict() -> Plan {
    let switches = Switches { exp_upper_bound_seconds: Some(180), ..Switches::default() };
    Stage::plan().integration("elf-well").simulator(|settings| settings.switches = switches)
}

/// By how much Salesforce's clock is ahead of the broker's, which stands still while the other goes on.
fn skew(stage: &Stage) -> i64 {
    stage.simulator.now().duration_since(stage.clock.timestamp()).as_secs()
}

/// What is told lies between what it was before and what it is now; a `Date` has whole seconds.
async fn is_told(stage: &Stage, before: i64) {
    let told = told_skew(stage, INTEGRATION).await;
    assert!((before - 1..=skew(stage) + 1).contains(&told), "{told} s, of {before} s and more");
}

async fn told_skew(stage: &Stage, integration: &str) -> i64 {
    stage.told(integration, "/clock_skew_seconds").await.as_i64().unwrap()
}

fn u(stage: &Stage) -> u64 {
    stage.posts_of(&username(INTEGRATION))
}

#[tokio::test]
async fn with_a_wrong_clock_tokens_are_had_after_one_refusal_and_then_at_once() {
    for hours in EITHER_WAY {
        let stage = strict().start().await;
        let well = stage.ask_for("elf-well").await.token();
        stage.clock.jump(SignedDuration::from_hours(hours));
        let before = skew(&stage);
        let token = stage.ask_in_time(INTEGRATION).await.token();
        assert_eq!((token.expires_in, u(&stage)), (3570, 2), "{hours} h");
        let outcomes = stage.simulator.counts().token_outcomes;
        let refusal = if hours < 0 { "expired_authorization_code" } else { "invalid_assertion" };
        assert_eq!(outcomes.get(refusal), Some(&1), "{hours} h: {outcomes:?}");
        // The operator reads by how much, Salesforce's clock less this machine's.
        is_told(&stage, before).await;
        assert_eq!(stage.ask_for("elf-well").await.token(), well);
        stage.answers_from_memory("elf-well").await;
        // It is known by now: the next login is right at once.
        stage.simulator.kill_sessions(None);
        stage.advance(seconds(3600));
        stage.ask_in_time(INTEGRATION).await.token();
        assert_eq!(u(&stage), 3, "{hours} h");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_right_costs_one_refusal_again_and_no_answer() {
    for hours in EITHER_WAY {
        let stage = strict().start().await;
        stage.ask_for("elf-well").await.token();
        stage.clock.jump(SignedDuration::from_hours(hours));
        stage.ask_in_time(INTEGRATION).await.token();
        stage.simulator.kill_sessions(Some(&username(INTEGRATION)));
        stage.clock.jump(SignedDuration::from_hours(-hours));
        stage.answers_from_memory("elf-well").await;
        stage.advance(seconds(3600));
        let before = skew(&stage);
        stage.ask_in_time(INTEGRATION).await.token();
        is_told(&stage, before).await;
        assert_eq!(u(&stage), 4, "{hours} h");
        stage.simulator.kill_sessions(None);
        stage.advance(seconds(3600));
        stage.ask_in_time(INTEGRATION).await.token();
        assert_eq!(u(&stage), 5, "{hours} h");
    }
}

#[tokio::test]
async fn the_operator_is_told_once_that_the_clock_is_wrong_and_what_to_do() {
    let stage = Stage::plan().integration("elf-well").in_own_process().start().await;
    stage.ask_for("elf-well").await.token();
    // Only Salesforce's clock can be moved here: this machine is three hours behind.
    stage.simulator.advance_clock(seconds(3 * 3600));
    let token = stage.ask_in_time(INTEGRATION).await.token().text;
    assert_eq!(u(&stage), 2);
    // It is known by now: the next login does not tell it again, not even after a passing fault.
    stage.simulator.kill_sessions(Some(&username(INTEGRATION)));
    stage.simulator.force(Fault::once(Door::Token, raw(503, &[], "")));
    report(&stage, &token).await;
    for _ in 0..5 {
        assert_ne!(stage.ask_in_time(INTEGRATION).await.token().text, token);
    }
    stage.answers_from_memory("elf-well").await;
    assert_eq!(u(&stage), 4);
    let log = std::fs::read_to_string(stage.file("stderr.txt")).unwrap();
    let told = |line: &&str| line.contains("clock is wrong") && line.contains(INTEGRATION);
    let lines: Vec<&str> = log.lines().filter(told).collect();
    let [line] = lines.as_slice() else { panic!("{log}") };
    assert!(line.contains("WARN") && line.contains("NTP"), "{line}");
    assert!(line.contains("\"clock.skew_seconds\":10800") || line.contains("\"clock.skew_seconds\":10799"), "{line}");
    assert!(line.contains("docs/troubleshooting.md#expired_assertion"), "{line}");
}

#[tokio::test]
async fn a_refusal_that_no_clock_explains_is_not_tried_again() {
    // Salesforce's clock agrees with ours, so another date would change nothing.
    let stage = strict().start().await;
    stage.ask_for("elf-well").await.token();
    let refusal = row(TokenRow::ExpiredAuthorizationCode);
    stage.simulator.force(Fault::always(Door::Token, refusal));
    assert_eq!(stage.ask_in_time(INTEGRATION).await.refusal().0, 503);
    assert_eq!(u(&stage), 1);
    // With a clock that is wrong it is tried once more, and not a third time.
    stage.clock.jump(SignedDuration::from_hours(3));
    stage.advance(seconds(30));
    assert_eq!(stage.ask_in_time(INTEGRATION).await.refusal().0, 503);
    assert_eq!(u(&stage), 3);
    assert_eq!(stage.cause().await, "expired_assertion");
    stage.answers_from_memory("elf-well").await;
}

#[tokio::test]
async fn no_jump_of_the_date_shortens_or_stretches_a_promise() {
    for hours in EITHER_WAY {
        let stage = strict().start().await;
        let first = stage.token().await;
        stage.ask_for("elf-well").await.token();
        for step in 1..=3 {
            stage.clock.jump(SignedDuration::from_hours(hours));
            stage.advance(seconds(600));
            let token = stage.token().await;
            assert_eq!((token.text.as_str(), token.expires_in), (first.text.as_str(), 3570 - 600 * step), "{hours} h");
            assert!(stage.left_at_salesforce(&token.text).await >= i64::try_from(token.expires_in).unwrap());
        }
        // Nine hours off, and it is renewed by a call as ever.
        stage.advance(seconds(1200));
        stage.token().await;
        let confirmed = || stage.simulator.counts().by_user[&username(INTEGRATION)].confirms;
        until("it is renewed ahead", async || confirmed() == 2).await;
        until("the renewal has landed", async || stage.token().await.expires_in == 3570).await;
        assert_eq!((stage.token().await.text, u(&stage)), (first.text, 1), "{hours} h");
        stage.answers_from_memory("elf-well").await;
    }
}

#[tokio::test]
async fn no_jump_of_the_date_shortens_or_stretches_a_pause() {
    for hours in EITHER_WAY {
        let stage = strict().start().await;
        stage.ask_for("elf-well").await.token();
        let refusal = row(TokenRow::LoginRateExceeded);
        stage.simulator.force(Fault::always(Door::Token, refusal));
        assert_eq!(stage.ask_in_time(INTEGRATION).await.retry_after(), Some(300));
        stage.clock.jump(SignedDuration::from_hours(hours));
        assert_eq!(stage.ask_in_time(INTEGRATION).await.retry_after(), Some(300), "{hours} h");
        stage.advance(seconds(299));
        assert_eq!((stage.ask_in_time(INTEGRATION).await.retry_after(), u(&stage)), (Some(1), 1), "{hours} h");
        stage.advance(seconds(1));
        stage.ask_in_time(INTEGRATION).await.refusal();
        assert_eq!(u(&stage), 2, "{hours} h");
        stage.answers_from_memory("elf-well").await;
    }
}

#[tokio::test]
async fn a_token_in_jwt_form_is_promised_by_the_clock_of_those_who_made_it() {
    for hours in EITHER_WAY {
        let plan = strict().simulator(|settings| {
            settings.apps.iter_mut().for_each(|app| app.jwt_token_lifetime = Some(seconds(1800)));
        });
        let stage = plan.start().await;
        stage.ask_for("elf-well").await.token();
        stage.clock.jump(SignedDuration::from_hours(hours));
        let token = in_time(stage.ask()).await.token();
        assert_eq!(token.source, "jwt_exp", "{hours} h");
        assert!((1760..=1770).contains(&token.expires_in), "{hours} h: {token:?}");
        assert!(stage.left_at_salesforce(&token.text).await >= i64::try_from(token.expires_in).unwrap());
        assert_eq!(u(&stage), 2, "{hours} h");
        stage.answers_from_memory("elf-well").await;
        stage.advance(seconds(token.expires_in - 1));
        assert_eq!(stage.token().await.expires_in, 1);
        assert_eq!(stage.status_at_salesforce(&token.text).await, 200);
    }
}

#[tokio::test]
async fn an_introspected_life_is_counted_by_the_clock_of_those_who_told_it() {
    for hours in EITHER_WAY {
        let stage = strict().client_secret(CLIENT_SECRET).start().await;
        stage.ask_for("elf-well").await.token();
        stage.clock.jump(SignedDuration::from_hours(hours));
        // The second answer tells no date; by then it is known what time it is there.
        for (date, u_by_then) in [(None, 2), (Some(("date", "today")), 3)] {
            let exp = stage.simulator.now().as_second() + 2000;
            let headers: Vec<_> = date.into_iter().collect();
            let body = format!("{{\"active\":true,\"exp\":{exp}}}");
            stage.simulator.force(Fault::once(Door::Introspect, raw(200, &headers, &body)));
            let token = in_time(stage.ask()).await.token();
            assert_eq!((token.source.as_str(), u(&stage)), ("introspection", u_by_then), "{hours} h");
            assert!((1965..=1970).contains(&token.expires_in), "{hours} h, {date:?}: {token:?}");
            stage.answers_from_memory("elf-well").await;
            stage.simulator.kill_sessions(Some(&username(INTEGRATION)));
            stage.advance(seconds(token.expires_in));
        }
    }
}

#[tokio::test]
async fn a_date_that_lies_stretches_the_life_of_no_token_in_jwt_form() {
    let stage = strict().start().await;
    stage.ask_for("elf-well").await.token();
    stage.simulator.force(Fault::always(Door::Rest, raw(200, &[], "{}")));
    for tells_its_beginning in [false, true] {
        let now = stage.clock.timestamp().as_second();
        let iat = tells_its_beginning.then_some(now);
        let claims = BASE64_URL_SAFE_NO_PAD.encode(json!({"iat": iat, "exp": now + 600}).to_string());
        let body = json!({
            "access_token": format!("eyJhbGciOiJSUzI1NiJ9.{claims}.c2lnbmF0dXJl"),
            "token_type": "Bearer",
            "instance_url": stage.simulator.base_url(),
        });
        let answer = raw(200, &[("date", "Sun, 06 Nov 1994 08:49:37 GMT")], &body.to_string());
        let before = u(&stage);
        stage.simulator.force(Fault { username: Some(username(INTEGRATION)), ..Fault::once(Door::Token, answer) });
        let token = in_time(stage.ask()).await.token();
        assert_eq!((token.source.as_str(), u(&stage)), ("jwt_exp", before + 1));
        assert!((560..=570).contains(&token.expires_in), "iat {iat:?}: {token:?}");
        stage.answers_from_memory("elf-well").await;
        stage.advance(seconds(600));
    }
}
