//! Guarantee 12: what a promise rests on, and that it says so.

use std::collections::BTreeMap;
use std::time::Duration;

use aquila::simulator::{Door, Fault, FaultAnswer, RestRow, Row};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;

use crate::support::seconds;
use crate::support::stage::Stage;

fn json_answer(body: &serde_json::Value) -> FaultAnswer {
    let content_type = Some("application/json".to_owned());
    FaultAnswer::Raw { status: 200, content_type, headers: BTreeMap::new(), body: body.to_string() }
}

#[tokio::test]
async fn a_mint_that_is_followed_by_a_successful_call_is_confirmed() {
    let stage = Stage::usual().await;
    let token = stage.token().await;
    assert_eq!((token.source.as_str(), token.expires_in), ("confirmed", 3570));
    assert_eq!(stage.simulator.counts().confirms, 1);
}

#[tokio::test]
async fn without_confirm_session_the_promise_is_an_estimate_and_no_call_is_made() {
    let stage = Stage::plan().integration_line("confirm_session = false").start().await;
    let token = stage.token().await;
    assert_eq!((token.source.as_str(), token.expires_in), ("estimate", 3570));
    assert_eq!(stage.simulator.counts().rest_calls, 0);
}

#[tokio::test]
async fn a_confirm_call_that_says_nothing_about_the_session_makes_an_estimate_and_condemns_nothing() {
    let rows = [
        RestRow::ApiDisabledForOrg,
        RestRow::BadOauthToken,
        RestRow::RequestLimitExceeded,
        RestRow::InvalidAuthHeader,
        RestRow::SessionNotValidForRest,
        RestRow::UnknownException,
        RestRow::ServerUnavailable,
        RestRow::NotFound,
    ];
    let rows = rows.map(|row| FaultAnswer::Row { row: Row::Rest(row) });
    let pages = [FaultAnswer::Maintenance { status: 200 }, FaultAnswer::HangUp, FaultAnswer::Huge { bytes: 2 << 20 }];
    for answer in rows.into_iter().chain(pages) {
        let stage = Stage::usual().await;
        stage.simulator.force(Fault::always(Door::Rest, answer.clone()));
        let token = stage.token().await;
        assert_eq!((token.source.as_str(), token.expires_in), ("estimate", 3570), "{answer:?}");
        let counts = stage.simulator.counts();
        assert_eq!((counts.token_posts, counts.rest_calls), (1, 1), "{answer:?}");
        // Salesforce is itself again: the same token, confirmed when its promise is renewed.
        stage.simulator.clear_faults();
        stage.advance(seconds(3600));
        let renewed = stage.token().await;
        assert_eq!((renewed.text, renewed.source.as_str()), (token.text, "confirmed"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_token_in_jwt_form_is_kept_until_its_exp_and_not_longer() {
    let plan = Stage::plan().simulator(|settings| {
        settings.apps.iter_mut().for_each(|app| app.jwt_token_lifetime = Some(seconds(1800)));
    });
    let stage = plan.start().await;
    let token = stage.token().await;
    assert_eq!(token.source, "jwt_exp");
    // The simulator's clock runs on its own, a moment ahead.
    assert!((1765..=1770).contains(&token.expires_in), "{token:?}");
    stage.advance(seconds(token.expires_in - 1));
    let still = stage.ask().await.token();
    assert_eq!((still.text.as_str(), still.expires_in), (token.text.as_str(), 1));
    assert_eq!(stage.status_at_salesforce(&token.text).await, 200);
    stage.advance(seconds(1));
    assert_ne!(stage.token().await.text, token.text);
}

#[tokio::test]
async fn a_token_in_jwt_form_is_never_promised_beyond_its_exp() {
    let stage = Stage::usual().await;
    for (life, part) in [(2, 0), (3, 700), (5, 999), (9, 400), (10, 999), (60, 500), (4000, 999)] {
        // To just this part of a second by the broker's clock.
        let into = stage.clock.timestamp().as_millisecond().rem_euclid(1000);
        stage.advance(Duration::from_millis(u64::try_from((part - into).rem_euclid(1000)).unwrap()));
        let exp = stage.clock.timestamp().as_second() + life;
        let claims = BASE64_URL_SAFE_NO_PAD.encode(json!({"exp": exp}).to_string());
        let text = format!("eyJhbGciOiJSUzI1NiJ9.{claims}.c2lnbmF0dXJl");
        let body = json!({"access_token": text, "token_type": "Bearer", "instance_url": stage.simulator.base_url()});
        stage.simulator.force(Fault::always(Door::Token, json_answer(&body)));
        stage.simulator.force(Fault::always(Door::Rest, json_answer(&json!({}))));
        for _ in 0..30 {
            let reply = stage.ask().await;
            if reply.status != 200 || reply.token().text != text {
                break;
            }
            let told = i64::try_from(reply.token().expires_in).unwrap();
            let left = exp * 1000 - stage.clock.timestamp().as_millisecond();
            assert!(told * 1000 <= left, "life {life} s at .{part}: {told} s promised, {left} ms left");
            stage.advance(Duration::from_millis(150));
        }
        stage.simulator.clear_faults();
        // Past its end and every pause, so that the next round begins with a mint.
        stage.advance(seconds(7200));
    }
}

#[tokio::test]
async fn an_expires_in_of_the_answer_is_believed() {
    for expires_in in [json!(900), json!("900")] {
        let stage = Stage::usual().await;
        let body = json!({
            "access_token": "00D5g00000SIMU1!TELLSITSLIFE",
            "token_type": "Bearer",
            "instance_url": stage.simulator.base_url(),
            "expires_in": expires_in,
        });
        stage.simulator.force(Fault::once(Door::Token, json_answer(&body)));
        stage.simulator.force(Fault::once(Door::Rest, json_answer(&json!({}))));
        let token = stage.token().await;
        assert_eq!((token.source.as_str(), token.expires_in), ("expires_in", 870));
        // It does not grow by use: at its end there is a new one.
        stage.advance(seconds(870));
        assert_ne!(stage.token().await.text, token.text);
    }
}
