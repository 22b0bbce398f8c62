//! Forced answers, the control routes, and the handle.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use super::super::testing::{CLIENT_ID, Pair, Rig, USERNAME, claims, settings};
use super::super::{Counts, Door, Fault, FaultAnswer, Row, Settings, Simulator, StartError, TokenRow};

#[tokio::test]
async fn forced_answers_come_in_order_and_then_the_usual_one() {
    let rig = Rig::start(settings()).await;
    rig.simulator.force(Fault::once(Door::Token, FaultAnswer::Row { row: Row::Token(TokenRow::UnknownError) }));
    rig.simulator.force(Fault::once(Door::Token, FaultAnswer::Maintenance { status: 200 }));
    rig.simulator.force(Fault::once(Door::Token, FaultAnswer::HangUp));
    let fresh = || rig.token_request(&Pair::registered().sign(&claims(rig.now())));
    assert_eq!(rig.send(fresh()).await.unwrap().json()["error"], "unknown_error");
    let page = rig.send(fresh()).await.unwrap();
    assert!(page.status == 200 && page.body.contains("down for maintenance"));
    assert!(rig.send(fresh()).await.is_err());
    assert_eq!(rig.send(fresh()).await.unwrap().status, 200);
    let outcomes = rig.simulator.counts().token_outcomes;
    assert_eq!(outcomes["fault_hang_up"], 1);
    assert_eq!(outcomes["granted_new"], 1);
}

#[tokio::test]
async fn a_delayed_answer_delays_nobody_else_and_a_stop_ends_the_wait() {
    let rig = Rig::start(settings()).await;
    rig.simulator.force(Fault::once(Door::Token, FaultAnswer::NeverAnswer));
    let waiting = rig.token_request(&Pair::registered().sign(&claims(rig.now()))).send();
    let others = async {
        while rig.simulator.counts().token_posts_in_flight == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        rig.mint().await;
        assert_eq!(rig.simulator.counts().token_posts_in_flight_max, 2);
        rig.simulator.world.stopping.cancel();
    };
    let (answer, ()) = tokio::join!(waiting, others);
    assert!(answer.is_err());
    rig.simulator.stop().await;
}

#[tokio::test]
async fn only_loopback_is_listened_on_unless_told_otherwise() {
    let listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let refused = Simulator::start(Settings { listen, ..Settings::default() }).await;
    assert!(matches!(refused, Err(StartError::NotLoopback(_))));
    let running = Simulator::start(Settings { listen, allow_remote: true, ..Settings::default() }).await.unwrap();
    assert!(running.base_url().starts_with("http://127.0.0.1:"));
}

#[tokio::test]
async fn the_handles_debug_output_holds_no_secret() {
    let rig = Rig::start(settings()).await;
    let token = rig.mint().await;
    let shown = format!("{:?}", rig.simulator);
    assert!(!shown.contains(&token) && !shown.contains(rig.simulator.control_secret()));
}

#[tokio::test]
async fn the_control_routes_want_the_secret() {
    let rig = Rig::start(Settings { control_secret: Some("open sesame".to_owned()), ..settings() }).await;
    for path in ["counts", "faults", "clock", "assertions", "switches"] {
        let path = format!("/__simulator/{path}");
        for wrong in ["", "open", "open sesame!"] {
            assert_eq!(rig.get(wrong, &path).await.status, 401, "{path}");
        }
        assert_eq!(rig.get("open sesame", &path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_test_in_any_language_can_do_what_the_handle_does() {
    let rig = Rig::start(settings()).await;
    let control = |method: reqwest::Method, path: &str, body: &str| {
        let url = format!("{}/__simulator/{path}", rig.simulator.base_url());
        rig.http.request(method, url).bearer_auth(rig.simulator.control_secret()).body(body.to_owned())
    };
    let (post, patch) = (reqwest::Method::POST, reqwest::Method::PATCH);
    let order = r#"{"door":"rest","times":1,"answer":{"kind":"row","row":"INVALID_SESSION_ID"}}"#;
    let token = rig.mint().await;
    for (request, status) in [
        (control(post.clone(), "faults", order), 200),
        (control(post.clone(), "faults", r#"[{"door":"nowhere"}]"#), 400),
        (control(patch.clone(), "switches", r#"{"jti_replay_refused":false}"#), 200),
        (control(patch.clone(), "switches", r#"{"jti":false}"#), 400),
        (control(post.clone(), "clock", r#"{"advance_seconds":60}"#), 200),
        (control(post.clone(), "users", r#"{"username":"two@example.com","standing":"locked"}"#), 200),
    ] {
        let reply = rig.send(request).await.unwrap();
        assert_eq!(reply.status, status, "{}", reply.body);
    }
    assert_eq!(rig.get(&token, "/services/data/v60.0/").await.status, 401);
    assert_eq!(rig.get(&token, "/services/data/v60.0/").await.status, 200);
    assert!(!rig.simulator.switches().jti_replay_refused);

    let killed = rig.send(control(post.clone(), "sessions/kill", "")).await.unwrap();
    assert_eq!(killed.json(), json!({"killed": 1}));
    let counts = rig.send(control(reqwest::Method::GET, "counts", "")).await.unwrap().json();
    assert_eq!((counts["token_posts"].clone(), counts["rest_calls"].clone()), (json!(1), json!(2)));
    rig.send(control(post, "reset-counts", "")).await.unwrap();
    assert_eq!(rig.simulator.counts(), Counts::default());
}

#[tokio::test]
async fn remembered_assertions_cannot_be_used_to_log_in() {
    let rig = Rig::start(settings()).await;
    let assertion = Pair::registered().sign(&claims(rig.now()));
    rig.send(rig.token_request(&assertion)).await.unwrap();
    let seen = rig.get(rig.simulator.control_secret(), "/__simulator/assertions").await;
    assert_eq!(seen.json()[0]["claims"]["sub"], USERNAME);
    assert_eq!(seen.json()[0]["outcome"], "granted_new");
    assert!(assertion.split('.').all(|segment| !seen.body.contains(segment)));
}

#[tokio::test]
async fn an_empty_control_secret_opens_nothing() {
    let rig = Rig::start(Settings { control_secret: Some(String::new()), ..settings() }).await;
    let url = format!("{}/__simulator/counts", rig.simulator.base_url());
    for request in [rig.http.get(&url), rig.http.get(&url).header("authorization", "Bearer ")] {
        assert_eq!(rig.send(request).await.unwrap().status, 401);
    }
}

#[tokio::test]
async fn a_new_certificate_is_applied_after_a_while_and_there_is_never_more_than_one() {
    let rig = Rig::start(settings()).await;
    let url = format!("{}/__simulator/apps/{CLIENT_ID}", rig.simulator.base_url());
    let patch = async |body: serde_json::Value| {
        let request = rig.http.patch(&url).bearer_auth(rig.simulator.control_secret());
        assert_eq!(rig.send(request.body(body.to_string())).await.unwrap().status, 200, "{body}");
    };
    let statuses = async || {
        let mut statuses = Vec::new();
        for pair in [Pair::registered(), Pair::stranger()] {
            let request = rig.token_request(&pair.sign(&claims(rig.now())));
            statuses.push(rig.send(request).await.unwrap().status);
        }
        statuses
    };
    patch(json!({"certificate": Pair::stranger().certificate_pem, "applies_in_seconds": 300})).await;
    rig.simulator.advance_clock(Duration::from_secs(290));
    assert_eq!(statuses().await, [200, 400]);
    // Another change does not apply it.
    patch(json!({"allowlisted": true})).await;
    assert_eq!(statuses().await, [200, 400]);
    rig.simulator.advance_clock(Duration::from_secs(20));
    assert_eq!(statuses().await, [400, 200]);
}

#[tokio::test]
async fn an_apps_policy_and_certificate_change_while_it_runs() {
    let rig = Rig::start(settings()).await;
    let patch = async |path: &str, body: serde_json::Value| {
        let url = format!("{}/__simulator/{path}", rig.simulator.base_url());
        let request = rig.http.patch(url).bearer_auth(rig.simulator.control_secret());
        rig.send(request.body(body.to_string())).await.unwrap().status
    };
    let said = async || rig.post(&claims(rig.now())).await.json()["error_description"].clone();
    let app = format!("apps/{CLIENT_ID}");
    for (path, body, expected) in [
        (app.as_str(), json!({"permitted_users": {"policy": "self_authorize", "approvals": []}}), "hasn't approved"),
        (
            &app,
            json!({"permitted_users": {"policy": "admin_approved", "assigned": {"only": []}}}),
            "not admin approved",
        ),
        (&app, json!({"permitted_users": {"policy": "admin_approved", "assigned": "everyone"}}), ""),
        (&app, json!({"allowlisted": false}), ""),
        ("org", json!({"api_access_control": true}), "not admin approved"),
        (&app, json!({"allowlisted": true}), ""),
        (&app, json!({"certificate": Pair::stranger().certificate_pem}), "invalid assertion"),
        (&app, json!({"installed": false}), "not installed"),
    ] {
        assert_eq!(patch(path, body.clone()).await, 200, "{body}");
        let said = said().await;
        assert!(
            said.as_str().unwrap_or_default().contains(expected) && said.is_null() == expected.is_empty(),
            "{said}"
        );
    }
    assert_eq!(patch("apps/nobody", json!({})).await, 404);
    assert_eq!(patch("apps/nobody", json!({"certificate": "x", "applies_in_seconds": 1})).await, 400);
    assert_eq!(patch(&app, json!({"certificate": "hello"})).await, 400);
    assert_eq!(patch(&app, json!({"scope": []})).await, 400);
}
