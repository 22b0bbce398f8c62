//! What is remembered of a failure: for how long, what ends it early, and what it never does to a good token.

use std::collections::BTreeSet;

use aquila::simulator::{Door, Fault, FaultAnswer, RestRow, Row, TokenRow};

use crate::support::eyes::{every_row, in_time, raw, row};
use crate::support::plan::{CALLER, INTEGRATION, username};
use crate::support::reply::Reply;
use crate::support::stage::Stage;
use crate::support::{seconds, until};

fn refuse(stage: &Stage, answer: FaultAnswer) {
    stage.simulator.clear_faults();
    stage.simulator.force(Fault { username: Some(username(INTEGRATION)), ..Fault::always(Door::Token, answer) });
}

async fn failure(stage: &Stage, member: &str) -> u64 {
    stage.told(INTEGRATION, &format!("/last_failure/{member}")).await.as_u64().unwrap()
}

/// One integration that answers from memory beside the one that fails.
async fn stage_with_a_neighbour() -> Stage {
    let stage = Stage::plan().integration("elf-well").start().await;
    stage.ask_for("elf-well").await.token();
    stage
}

#[tokio::test]
async fn every_definite_refusal_pauses_longer_each_time_up_to_five_minutes_whatever_its_words() {
    let stage = stage_with_a_neighbour().await;
    let before = stage.posts();
    // Another refusal each time: the row of failures goes on.
    let rows = [
        TokenRow::UserHasNotApproved,
        TokenRow::InvalidAssertion,
        TokenRow::InactiveUser,
        TokenRow::AudienceIsInvalid,
        TokenRow::NotAdminApproved,
        TokenRow::AppNotFound,
        TokenRow::AuthenticationFailure,
        TokenRow::IpRestricted,
    ];
    for (it, (u, pause)) in rows.into_iter().zip((1..).zip([5, 10, 20, 40, 80, 160, 300, 300])) {
        refuse(&stage, row(it));
        for _ in 0..5 {
            assert_eq!(stage.ask_in_time(INTEGRATION).await.refusal().0, 502, "{it:?}");
            assert_eq!(stage.posts() - before, u, "{it:?}");
        }
        assert_eq!(failure(&stage, "next_try_in_seconds").await, pause, "{it:?}");
        stage.advance(seconds(pause - 1));
        assert_eq!(stage.ask_in_time(INTEGRATION).await.refusal().0, 502, "{it:?}");
        assert_eq!(stage.posts() - before, u, "asked within the pause: {it:?}");
        stage.answers_from_memory("elf-well").await;
        stage.advance(seconds(1));
    }
    // A success ends the row: the next refusal begins with 5 s again.
    stage.simulator.clear_faults();
    stage.token().await;
    stage.simulator.kill_sessions(None);
    stage.advance(seconds(3600));
    refuse(&stage, row(TokenRow::InactiveUser));
    assert_eq!(stage.ask_in_time(INTEGRATION).await.refusal().0, 502);
    assert_eq!((failure(&stage, "next_try_in_seconds").await, failure(&stage, "in_a_row").await), (5, 1));
    assert_eq!(stage.posts() - before, 10);
}

#[tokio::test]
async fn pauses_of_passing_faults_lie_anywhere_below_a_bound_that_doubles_to_thirty_seconds() {
    let names: Vec<String> = (0..16).map(|number| format!("elf-{number:02}")).collect();
    let stage =
        names.iter().fold(Stage::plan().integration("elf-well"), |plan, name| plan.integration(name)).start().await;
    stage.ask_for("elf-well").await.token();
    let before = stage.posts();
    // A host that answers so is in good health: nothing but each integration's own pause holds it back.
    stage.simulator.force(Fault::always(Door::Token, row(TokenRow::InactiveOrg)));
    let mut last = Vec::new();
    for (round, bound) in (1..).zip([1, 2, 4, 8, 16, 30, 30]) {
        last.clear();
        for name in &names {
            let reply = stage.ask_in_time(name).await;
            let wait = reply.retry_after().unwrap();
            assert!(reply.status == 503 && (1..=bound).contains(&wait), "round {round}: Retry-After {wait}");
            last.push(wait);
        }
        assert_eq!(stage.posts() - before, round * 16, "U is one for each integration and pause");
        stage.answers_from_memory("elf-well").await;
        stage.advance(seconds(bound));
    }
    // Full jitter: sixteen draws from 0 to 30 s are neither all early nor all late (once in 2^15 runs by chance).
    assert!(last.iter().any(|wait| *wait <= 15) && last.iter().any(|wait| *wait > 15), "{last:?}");
}

#[tokio::test]
async fn retry_after_is_honoured_when_it_is_sane_and_clamped_to_five_minutes_when_it_is_not() {
    let now = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    // What it says, what a caller is told, U of the first request: who asks to be left alone is not tried again at once.
    let cases = [
        ("7", 7, 1),
        ("0", 1, 1),
        ("300", 300, 1),
        ("301", 300, 1),
        ("3600000", 300, 1),
        ("99999999999999999999999999", 300, 1),
        ("Sun, 06 Nov 1994 08:51:37 GMT", 120, 1),
        ("Sun, 06 Nov 1994 07:00:00 GMT", 1, 1),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 300, 1),
        ("-5", 1, 2),
        ("1e3", 1, 2),
        ("soon", 1, 2),
        ("", 1, 2),
    ];
    for (text, wait, u) in cases {
        let stage = stage_with_a_neighbour().await;
        let before = stage.posts();
        refuse(&stage, raw(503, &[now, ("retry-after", text)], "<html>"));
        for _ in 0..5 {
            let reply = stage.ask_in_time(INTEGRATION).await;
            assert_eq!((reply.refusal().0, reply.retry_after()), (503, Some(wait)), "`{text}`");
        }
        assert_eq!(stage.posts() - before, u, "`{text}`");
        if wait > 1 {
            stage.advance(seconds(wait - 1));
            assert_eq!(stage.ask_in_time(INTEGRATION).await.retry_after(), Some(1), "`{text}`");
            assert_eq!(stage.posts() - before, u, "asked too early: `{text}`");
        }
        stage.answers_from_memory("elf-well").await;
        stage.simulator.clear_faults();
        stage.advance(seconds(1));
        stage.ask_in_time(INTEGRATION).await.token();
        assert_eq!(stage.posts() - before, u + 1, "`{text}`");
    }
}

#[tokio::test]
async fn a_word_that_something_was_cured_ends_the_pause_and_costs_one_request() {
    let stage = stage_with_a_neighbour().await;
    let before = stage.posts();
    refuse(&stage, row(TokenRow::UserHasNotApproved));
    for pause in [5, 10, 20, 40] {
        stage.ask_in_time(INTEGRATION).await.refusal();
        stage.advance(seconds(pause));
    }
    stage.ask_in_time(INTEGRATION).await.refusal();
    assert_eq!((stage.posts() - before, failure(&stage, "in_a_row").await), (5, 5));
    // Not cured yet: it is asked once more, and the pauses begin anew.
    stage.broker().forgive();
    until("it was asked once more", async || {
        assert_eq!(stage.ask_in_time(INTEGRATION).await.refusal().0, 502);
        stage.posts() - before == 6
    })
    .await;
    assert_eq!((failure(&stage, "in_a_row").await, failure(&stage, "next_try_in_seconds").await), (1, 5));
    stage.simulator.clear_faults();
    assert_eq!(stage.ask_in_time(INTEGRATION).await.refusal().0, 502);
    stage.broker().forgive();
    until("the cure is noticed", async || stage.ask_in_time(INTEGRATION).await.status == 200).await;
    stage.answers_from_memory("elf-well").await;
    assert_eq!(stage.posts() - before, 7);
}

#[tokio::test]
async fn no_refusal_drops_a_token_that_still_works() {
    for it in every_row() {
        // Without confirm calls each renewal is a login.
        let plan = Stage::plan().integration("elf-well").integration_line("confirm_session = false");
        let stage = plan.start().await;
        let token = stage.token().await;
        stage.ask_for("elf-well").await.token();
        let before = stage.posts_of(&username(INTEGRATION));
        let u = || stage.posts_of(&username(INTEGRATION)) - before;
        refuse(&stage, row(it));
        stage.advance(seconds(3000));
        for _ in 0..10 {
            assert_eq!(stage.ask_in_time(INTEGRATION).await.token().text, token.text, "{it:?}");
        }
        until("the refusal has come", async || !stage.cause().await.is_empty()).await;
        for _ in 0..10 {
            assert_eq!(stage.ask_in_time(INTEGRATION).await.token().text, token.text, "{it:?}");
        }
        stage.answers_from_memory("elf-well").await;
        assert_eq!(stage.told(INTEGRATION, "/state").await, "ageing", "{it:?}");
        assert!(u() <= 2, "U = {}: {it:?}", u());
        // To the last promised second.
        stage.advance(seconds(569));
        assert_eq!(stage.ask_in_time(INTEGRATION).await.token().expires_in, 1, "{it:?}");
        assert_eq!(stage.status_at_salesforce(&token.text).await, 200, "{it:?}");
    }
}

#[tokio::test]
async fn only_what_is_likely_gone_at_once_is_tried_again_at_once_and_with_a_new_jti() {
    let cases = [
        (row(TokenRow::UnknownError), 200, 2),
        (row(TokenRow::ServerError), 200, 2),
        (raw(503, &[], ""), 200, 2),
        (FaultAnswer::Maintenance { status: 503 }, 200, 2),
        (FaultAnswer::Row { row: Row::Rest(RestRow::ServerUnavailable) }, 200, 2),
        (row(TokenRow::ExpiredAuthorizationCode), 503, 1),
        (row(TokenRow::InactiveOrg), 503, 1),
        (row(TokenRow::LoginRateExceeded), 503, 1),
        (row(TokenRow::InvalidAssertion), 502, 1),
        (row(TokenRow::AuthenticationFailure), 502, 1),
        (FaultAnswer::Maintenance { status: 200 }, 503, 1),
        (FaultAnswer::HangUp, 503, 1),
        (raw(429, &[], ""), 503, 1),
        (raw(302, &[("location", "https://a.my.salesforce.com")], ""), 503, 1),
    ];
    for (answer, status, u) in cases {
        let stage = stage_with_a_neighbour().await;
        let before = stage.posts();
        stage.simulator.force(Fault::once(Door::Token, answer.clone()));
        assert_eq!(stage.ask_in_time(INTEGRATION).await.status, status, "{answer:?}");
        assert_eq!(stage.posts() - before, u, "{answer:?}");
        stage.answers_from_memory("elf-well").await;
        let seen = stage.simulator.assertions();
        let jtis: BTreeSet<String> = seen.iter().map(|one| one.claims["jti"].to_string()).collect();
        assert_eq!(jtis.len(), seen.len(), "{answer:?}");
    }
}

#[tokio::test]
async fn a_caller_who_wants_more_life_does_not_break_a_pause() {
    let stage = Stage::plan().integration_line("confirm_session = false").start().await;
    let token = stage.token().await;
    refuse(&stage, row(TokenRow::InactiveUser));
    stage.advance(seconds(3000));
    stage.token().await;
    until("the refusal has come", async || stage.cause().await == "inactive_user").await;
    let u = stage.posts();
    for min_ttl in [600, 3000, 86_400] {
        let path = format!("/token?min_ttl={min_ttl}");
        let reply = in_time(Reply::of(stage.get(&path).bearer_auth(stage.key(CALLER)))).await;
        assert_eq!(reply.token().text, token.text);
    }
    assert_eq!(stage.posts(), u);
}
