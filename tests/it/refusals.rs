//! Guarantees 5 and 6: a definite refusal is remembered for a pause that grows, and each attempt is signed anew.

use std::collections::BTreeSet;

use aquila::simulator::{Door, Fault, FaultAnswer, Row, TokenRow};
use tokio::task::JoinSet;

use crate::support::plan::{CALLER, username};
use crate::support::reply::Reply;
use crate::support::seconds;
use crate::support::stage::Stage;

fn refuse(stage: &Stage, row: TokenRow) {
    stage.simulator.force(Fault::always(Door::Token, FaultAnswer::Row { row: Row::Token(row) }));
}

/// Many callers at the same time; all are refused.
async fn many_are_refused(stage: &Stage, status: u16) {
    let mut callers = JoinSet::new();
    for _ in 0..20 {
        callers.spawn(Reply::of(stage.get("/token").bearer_auth(stage.key(CALLER))));
    }
    while let Some(reply) = callers.join_next().await {
        assert_eq!(reply.unwrap().refusal().0, status);
    }
}

#[tokio::test]
async fn within_the_pause_after_a_definite_refusal_nobody_asks_and_after_it_exactly_one() {
    let stage = Stage::usual().await;
    refuse(&stage, TokenRow::UserHasNotApproved);
    many_are_refused(&stage, 502).await;
    assert_eq!(stage.simulator.counts().token_posts, 1);
    // The pause doubles up to five minutes and stays there.
    for (tries, pause) in (2..).zip([5, 10, 20, 40, 80, 160, 300, 300, 300]) {
        stage.advance(seconds(pause - 1));
        many_are_refused(&stage, 502).await;
        assert_eq!(stage.simulator.counts().token_posts, tries - 1, "asked before {pause} s were over");
        stage.advance(seconds(1));
        many_are_refused(&stage, 502).await;
        assert_eq!(stage.simulator.counts().token_posts, tries, "after a pause of {pause} s");
    }
    stage.simulator.clear_faults();
    stage.advance(seconds(300));
    stage.token().await;
    assert_eq!(stage.cause().await, "");
}

#[tokio::test]
async fn a_refusal_of_one_integration_pauses_no_other() {
    let stage = Stage::plan().integration("elf-well").start().await;
    let row = FaultAnswer::Row { row: Row::Token(TokenRow::InactiveUser) };
    stage.simulator.force(Fault { username: Some(username("elf-prod")), ..Fault::always(Door::Token, row) });
    for _ in 0..5 {
        assert_eq!(stage.ask_for("elf-prod").await.refusal().0, 502);
    }
    stage.ask_for("elf-well").await.token();
}

#[tokio::test]
async fn every_recorded_refusal_has_its_status_and_its_cause() {
    let cases = [
        (TokenRow::UserHasNotApproved, 502, "user_not_approved"),
        (TokenRow::InvalidAssertion, 502, "bad_assertion"),
        (TokenRow::AudienceIsInvalid, 502, "wrong_audience"),
        (TokenRow::AudienceValidationFailed, 502, "wrong_audience"),
        (TokenRow::ClientIdentifierInvalid, 502, "unknown_app"),
        (TokenRow::AppNotFound, 502, "app_not_in_org"),
        (TokenRow::NotAdminApproved, 502, "app_not_approved_for_user"),
        (TokenRow::InactiveUser, 502, "inactive_user"),
        (TokenRow::UserIsInactive, 502, "inactive_user"),
        (TokenRow::UserIsLocked, 502, "inactive_user"),
        (TokenRow::IpRestricted, 502, "ip_or_hours"),
        (TokenRow::IpRestrictedOrLoginHours, 502, "ip_or_hours"),
        (TokenRow::AuthenticationFailure, 502, "unknown"),
        (TokenRow::ExpiredAuthorizationCode, 503, "expired_assertion"),
        (TokenRow::InactiveOrg, 503, "inactive_org"),
        (TokenRow::LoginRateExceeded, 503, "login_rate"),
        (TokenRow::RateLimitExceeded, 503, "login_rate"),
        (TokenRow::ServerError, 503, "transient"),
        (TokenRow::UnknownError, 503, "transient"),
    ];
    let stage = Stage::usual().await;
    for (row, status, cause) in cases {
        refuse(&stage, row);
        let reply = stage.ask().await;
        assert_eq!((reply.refusal().0, stage.cause().await.as_str()), (status, cause), "{row:?}");
        assert_eq!(reply.retry_after().is_some(), status == 503, "{row:?}");
        // Nothing that Salesforce wrote is copied to a caller.
        assert!(!reply.body.contains(row.texts().1), "{}", reply.body);
        stage.simulator.clear_faults();
        stage.advance(seconds(300));
    }
}

#[tokio::test]
async fn each_attempt_is_signed_anew_and_ends_within_three_minutes() {
    // The strictest Salesforce there could be: it looks at `exp` and refuses a `jti` that it has seen.
    let plan = Stage::plan().simulator(|settings| settings.switches.exp_upper_bound_seconds = Some(180));
    let stage = plan.start().await;
    let answers = [
        FaultAnswer::Row { row: Row::Token(TokenRow::UserHasNotApproved) },
        FaultAnswer::HangUp,
        FaultAnswer::Maintenance { status: 503 },
        FaultAnswer::LoseAnswer,
        FaultAnswer::Maintenance { status: 200 },
    ];
    for answer in answers {
        stage.simulator.force(Fault::always(Door::Token, answer));
        stage.ask().await.refusal();
        stage.simulator.clear_faults();
        stage.advance(seconds(300));
    }
    for _ in 0..3 {
        stage.token().await;
        stage.simulator.kill_sessions(None);
        stage.advance(seconds(3600));
    }
    let seen = stage.simulator.assertions();
    let jtis: BTreeSet<_> = seen.iter().map(|one| one.claims["jti"].as_str().unwrap().to_owned()).collect();
    assert!(seen.len() >= 7, "{} attempts", seen.len());
    assert_eq!(jtis.len(), seen.len());
    for one in seen {
        let ahead = one.claims["exp"].as_i64().unwrap() - one.at.as_second();
        assert!((1..=180).contains(&ahead), "exp lies {ahead} s ahead");
        assert_eq!(one.alg, "RS256");
    }
}
