//! Guarantees 2 and 12: `expires_in` falls second by second and is never above what the session has left, whatever the
//! age of the session that a mint hands back.
//!
//! The simulator's books are the judge: its introspection tells a session's end without counting as activity.

use std::time::Duration;

use aquila::simulator::Switches;

use crate::support::reply::Token;
use crate::support::seconds;
use crate::support::stage::Stage;

const TIMEOUT: u64 = 7200;

/// Whether a mint moves the session's stamp is not known of Salesforce; the broker must be right either way.
fn worlds() -> [Switches; 2] {
    [false, true].map(|mint_counts_as_activity| Switches { mint_counts_as_activity, ..Switches::default() })
}

async fn stage_in(world: &Switches) -> Stage {
    Stage::plan().simulator(|settings| settings.switches = world.clone()).start().await
}

async fn never_above_what_is_left(stage: &Stage, token: &Token, when: &str) {
    let left = stage.left_at_salesforce(&token.text).await;
    let told = i64::try_from(token.expires_in).unwrap();
    assert!(told <= left, "{when}: {told} s were promised and {left} s are left ({})", token.source);
}

#[tokio::test]
async fn expires_in_falls_second_by_second() {
    let stage = Stage::usual().await;
    let first = stage.token().await;
    assert_eq!((first.expires_in, first.source.as_str()), (3570, "confirmed"));
    // Too far apart to look like somebody who was refused, and asks again.
    for round in 1..=60 {
        stage.advance(seconds(7));
        assert_eq!(stage.token().await, Token { expires_in: 3570 - 7 * round, ..first.clone() });
    }
    stage.advance(Duration::from_millis(6_400));
    assert_eq!(stage.token().await.expires_in, 3570 - 427);
}

#[tokio::test]
async fn a_first_mint_that_returns_an_old_session_never_leads_to_an_expired_token() {
    for world in worlds() {
        for age in [0, 1, 1800, 3500, 3598, 3601, 3602, 5400, 7000, 7150] {
            let mut stage = stage_in(&world).await;
            let old = stage.token().await;
            stage.advance(seconds(age));
            stage.restart_broker().await;
            let token = stage.token().await;
            let outcomes = stage.simulator.counts().token_outcomes;
            assert_eq!(outcomes.get("granted_running"), Some(&1), "aged {age} s: no old session came back");
            assert_eq!(token.text, old.text, "aged {age} s");
            never_above_what_is_left(&stage, &token, &format!("aged {age} s, {world:?}")).await;

            // Nobody uses it any more: the caller holds on to it to the last promised second.
            stage.stop_broker().await;
            stage.advance(seconds(token.expires_in));
            assert_eq!(stage.status_at_salesforce(&token.text).await, 200, "aged {age} s, {world:?}");
        }
    }
}

#[tokio::test]
async fn a_session_that_ends_between_two_mints_is_not_handed_out() {
    for world in worlds() {
        for age in [TIMEOUT, TIMEOUT + 1, 3 * TIMEOUT] {
            let mut stage = stage_in(&world).await;
            let old = stage.token().await;
            stage.advance(seconds(age));
            stage.restart_broker().await;
            let token = stage.token().await;
            assert_ne!(token.text, old.text, "aged {age} s");
            never_above_what_is_left(&stage, &token, &format!("aged {age} s")).await;
        }
    }
}

#[tokio::test]
async fn over_days_of_uneven_use_no_promise_is_above_what_is_left() {
    for world in worlds() {
        let mut stage = stage_in(&world).await;
        let mut step = 17_u64;
        for _ in 0..150 {
            // Uneven steps from seconds to three hours, the same in each run: idle times around every edge.
            step = step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let most = [90, 900, 3800, 10_800][usize::try_from(step >> 62).unwrap()];
            stage.advance(seconds((step >> 33) % most));
            // A broker that forgets gets the running session back, at whatever age it is.
            if (step >> 29).is_multiple_of(4) {
                stage.restart_broker().await;
            }
            let token = stage.token().await;
            never_above_what_is_left(&stage, &token, &format!("{world:?}")).await;
        }
        let counts = stage.simulator.counts();
        let ended = |outcome: &str| counts.token_outcomes.get(outcome).copied().unwrap_or_default();
        assert!(ended("granted_new") > 1 && ended("granted_running") > 1, "too tame a walk: {counts:?}");
        assert!(counts.confirms > counts.token_posts, "no session was kept by a confirm call: {counts:?}");
    }
}

#[tokio::test]
async fn sessions_of_every_length_are_promised_for_less_than_half() {
    for minutes in [15, 30, 60, 120, 240, 480, 720, 1440] {
        let stage = Stage::plan().session_timeout(seconds(minutes * 60)).start().await;
        let token = stage.token().await;
        assert_eq!(token.expires_in, minutes * 30 - 30, "{minutes} minutes");
        never_above_what_is_left(&stage, &token, &format!("{minutes} minutes")).await;
    }
}

#[tokio::test]
async fn a_session_killed_at_salesforce_is_replaced_when_the_promise_is_renewed() {
    let stage = Stage::usual().await;
    let first = stage.token().await;
    assert_eq!(stage.simulator.kill_sessions(None), 1);
    stage.advance(seconds(3600));
    let second = stage.token().await;
    assert_ne!(second.text, first.text);
    never_above_what_is_left(&stage, &second, "after the kill").await;
}
