//! The simulator over a real socket.

use std::time::Duration;

use serde_json::json;

use super::testing::{CLIENT_ID, Pair, Rig, USERNAME, claims, settings};
use super::*;

#[tokio::test]
async fn a_signed_assertion_is_traded_for_a_token_that_opens_the_rest_api() {
    let rig = Rig::start(settings()).await;
    let reply = rig.post(&claims(rig.now())).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["cache-control"], "no-store");
    let answer = reply.json();
    let mut names: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["access_token", "id", "instance_url", "scope", "token_type"]);
    assert_eq!(answer["instance_url"], rig.simulator.base_url());

    let token = answer["access_token"].as_str().unwrap();
    for path in ["/services/data/v60.0", "/services/data/v60.0/"] {
        let confirm = rig.get(token, path).await;
        assert_eq!(confirm.status, 200);
        assert!(confirm.headers["sforce-limit-info"].to_str().unwrap().starts_with("api-usage="));
    }
    let counts = rig.simulator.counts();
    assert_eq!((counts.token_posts, counts.rest_calls, counts.confirms), (1, 2, 2));
    assert_eq!(counts.by_user[USERNAME], UserCounts { token_posts: 1, granted: 1, rest_calls: 2, confirms: 2 });
}

#[tokio::test]
async fn the_versions_need_no_token_and_nothing_else_goes_without() {
    let rig = Rig::start(settings()).await;
    for path in ["/services/data", "/services/data/"] {
        let reply = rig.send(rig.http.get(format!("{}{path}", rig.simulator.base_url()))).await.unwrap();
        assert_eq!(reply.status, 200);
        assert_eq!(reply.json()[29]["label"], "Spring '24 (SIMULATED)");
    }
    let dead = json!([{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]);
    for path in ["/services/data/v60.0/", "/services/data/v60.0/query?q=SELECT", "/services/data/v1.0/nothing"] {
        let reply = rig.get("00D5g00000SIMU1!guessed", path).await;
        assert_eq!((reply.status, reply.json()), (401, dead.clone()), "{path}");
    }
}

#[tokio::test]
async fn a_chunked_body_is_read_like_any_other() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let rig = Rig::start(settings()).await;
    let assertion = Pair::registered().sign(&claims(rig.now()));
    let body = format!("assertion={assertion}&grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&client_id=x");
    let (first, second) = body.split_at(100);
    let head = "POST /services/oauth2/token HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\
                Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = format!("{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", first.len(), second.len());
    let mut stream = tokio::net::TcpStream::connect(rig.simulator.address()).await.unwrap();
    stream.write_all(format!("{head}{chunks}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn requests_that_are_no_jwt_bearer_requests_are_told_why() {
    let rig = Rig::start(settings()).await;
    let url = rig.simulator.token_url();
    let form = |body: &str| {
        rig.http.post(&url).header("content-type", "application/x-www-form-urlencoded").body(body.to_owned())
    };
    let grant = "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer";
    for (request, row) in [
        (rig.http.get(&url), TokenRow::MustUsePost),
        (form(""), TokenRow::MissingGrantType),
        (form("grant_type=password&assertion=x"), TokenRow::UnsupportedGrantType),
        (form(grant), TokenRow::MissingAssertion),
        (form(&format!("{grant}&assertion=x")), TokenRow::InvalidAssertion),
        (form(&format!("{grant}&assertion=x&assertion=y")), TokenRow::RepeatedParameter),
        (form(&format!("{grant}&assertion=x&scope=api")), TokenRow::ScopeParameterNotSupported),
        (rig.http.post(format!("{url}?{grant}&assertion=x")), TokenRow::MissingGrantType),
    ] {
        let reply = rig.send(request).await.unwrap();
        let (error, description) = row.texts();
        assert_eq!((reply.status, reply.json()), (400, json!({"error": error, "error_description": description})));
    }
}

#[tokio::test]
async fn a_running_session_is_handed_back_and_keeps_its_old_clock() {
    let settings = Settings { session_timeout: Duration::from_secs(900), ..settings() };
    let rig = Rig::start(settings).await;
    let first = rig.mint().await;
    rig.simulator.advance_clock(Duration::from_secs(800));
    assert_eq!(rig.mint().await, first);
    rig.simulator.advance_clock(Duration::from_secs(105));
    assert_eq!(rig.get(&first, "/services/data/v60.0/").await.status, 401);
    let second = rig.mint().await;
    assert_ne!(second, first);

    rig.simulator.set_switches(Switches { mint_counts_as_activity: true, ..Switches::default() });
    rig.simulator.advance_clock(Duration::from_secs(800));
    assert_eq!(rig.mint().await, second);
    rig.simulator.advance_clock(Duration::from_secs(800));
    assert_eq!(rig.get(&second, "/services/data/v60.0/").await.status, 200);
}

#[tokio::test]
async fn only_a_successful_call_keeps_a_session_alive() {
    let settings = Settings { session_timeout: Duration::from_secs(900), ..settings() };
    let rig = Rig::start(settings).await;
    let token = rig.mint().await;
    rig.simulator.advance_clock(Duration::from_secs(500));
    assert_eq!(rig.get(&token, "/services/data/v60.0/nothing").await.status, 404);
    rig.simulator.advance_clock(Duration::from_secs(450));
    assert_eq!(rig.get(&token, "/services/data/v60.0/").await.status, 401);
}

#[tokio::test]
async fn a_replayed_jti_is_refused_and_an_assertion_without_one_is_not() {
    let rig = Rig::start(settings()).await;
    let mut with_jti = claims(rig.now());
    assert_eq!((rig.post(&with_jti).await.status, rig.post(&with_jti).await.status), (200, 200));
    with_jti["jti"] = json!("once");
    assert_eq!(rig.post(&with_jti).await.status, 200);
    let again = rig.post(&with_jti).await;
    assert_eq!((again.status, again.json()["error_description"].clone()), (400, json!("invalid assertion")));
}

#[tokio::test]
async fn users_and_apps_that_may_not_are_refused_word_for_word() {
    let rig = Rig::start(settings()).await;
    let standing = |standing| User { standing, ..User::new(USERNAME) };
    for (user, row) in [
        (standing(Standing::Inactive), TokenRow::InactiveUser),
        (standing(Standing::Locked), TokenRow::UserIsLocked),
        (standing(Standing::IpRestricted), TokenRow::IpRestricted),
        (standing(Standing::OutsideLoginHours), TokenRow::IpRestrictedOrLoginHours),
    ] {
        rig.simulator.put_user(user);
        let reply = rig.post(&claims(rig.now())).await;
        assert_eq!(reply.json()["error_description"], row.texts().1);
    }
    rig.simulator.put_user(User::new(USERNAME));
    let nobody = || Users::Only(vec!["other@example.com".to_owned()]);
    let policy = |permitted_users| App { permitted_users, ..testing::app() };
    for (app, row) in [
        (policy(PermittedUsers::AdminApproved { assigned: nobody() }), TokenRow::NotAdminApproved),
        (policy(PermittedUsers::SelfAuthorize { approved: nobody() }), TokenRow::UserHasNotApproved),
        (App { installed: false, ..testing::app() }, TokenRow::AppNotFound),
        (App { scopes: vec!["refresh_token".to_owned()], ..testing::app() }, TokenRow::InvalidScope),
        (App::new(CLIENT_ID, Pair::stranger().certificate_pem.as_bytes()), TokenRow::InvalidAssertion),
    ] {
        rig.simulator.put_app(app).unwrap();
        assert_eq!(rig.post(&claims(rig.now())).await.json()["error_description"], row.texts().1);
    }
}

#[tokio::test]
async fn a_user_without_api_enabled_gets_a_token_that_opens_nothing() {
    let rig = Rig::start(settings()).await;
    let token = rig.mint().await;
    rig.simulator.put_user(User { api_enabled: false, ..User::new(USERNAME) });
    let reply = rig.get(&token, "/services/data/v60.0/").await;
    assert_eq!((reply.status, reply.json()[0]["errorCode"].clone()), (403, json!("API_DISABLED_FOR_ORG")));
}

#[tokio::test]
async fn the_login_rate_ends_at_its_limit() {
    let rig = Rig::start(Settings { logins_per_hour: 2, ..settings() }).await;
    rig.mint().await;
    rig.mint().await;
    let third = rig.post(&claims(rig.now())).await;
    assert_eq!(third.json(), json!({"error": "invalid_grant", "error_description": "login rate exceeded"}));
    rig.simulator.advance_clock(Duration::from_secs(3600));
    rig.mint().await;
}

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
async fn userinfo_tells_who_it_is_or_says_bad_oauth_token_in_plain_text() {
    let rig = Rig::start(settings()).await;
    let token = rig.mint().await;
    let who = rig.get(&token, "/services/oauth2/userinfo").await;
    assert_eq!((who.status, who.json()["preferred_username"].clone()), (200, json!(USERNAME)));
    let identity = who.json()["sub"].as_str().unwrap().replace(&rig.simulator.base_url(), "");
    assert_eq!(rig.get(&token, &identity).await.json()["user_id"], who.json()["user_id"]);
    rig.simulator.kill_sessions(Some(USERNAME));
    for path in ["/services/oauth2/userinfo", &identity] {
        let dead = rig.get(&token, path).await;
        assert_eq!((dead.status, dead.body.as_str()), (403, "Bad_OAuth_Token"));
        assert!(dead.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    }
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
async fn event_log_files_are_found_by_query_and_read_as_csv() {
    let rig = Rig::start(settings()).await;
    let token = rig.mint().await;
    let plus =
        "SELECT+Id,CreatedDate,LogDate,LogFile+FROM+EventLogFile+WHERE+Interval+=+'Hourly'+AND+EventType+=+'Login'";
    let percent = plus.replace('+', "%20");
    let first = rig.get(&token, &format!("/services/data/v60.0/query/?q={plus}")).await;
    let second = rig.get(&token, &format!("/services/data/v60.0/query?q={percent}")).await;
    assert_eq!((first.status, first.json()), (200, second.json()));
    let answer = first.json();
    assert_eq!((answer["done"].clone(), answer["totalSize"].as_u64() > Some(20)), (json!(true), true));
    let record = &answer["records"][0];
    assert_eq!(record["attributes"]["type"], "EventLogFile");
    let path = record["LogFile"].as_str().unwrap();
    assert!(path.starts_with("/services/data/v60.0/sobjects/EventLogFile/0AT"), "{path}");

    let file = rig.get(&token, path).await;
    assert!(file.headers["content-type"].to_str().unwrap().starts_with("text/csv"));
    assert_eq!(file.body.lines().count(), 6);
    assert!(file.body.starts_with("\"EVENT_TYPE\",") && file.body.contains("\"Login\","));
    assert_eq!(rig.get("nobody", path).await.status, 401);
}

#[tokio::test]
async fn rights_decide_what_a_query_sees() {
    let rig = Rig::start(settings()).await;
    let token = rig.mint().await;
    let mut seen = Vec::new();
    for (view_event_log_files, view_all_data) in [(true, false), (false, true), (false, false)] {
        rig.simulator.put_user(User { view_event_log_files, view_all_data, ..User::new(USERNAME) });
        let query = "/services/data/v60.0/query?q=SELECT+PermissionsApiEnabled,PermissionsViewEventLogFiles,\
                     PermissionsViewAllData+FROM+UserPermissionAccess";
        let rights = rig.get(&token, query).await.json()["records"][0].clone();
        assert_eq!(rights["PermissionsViewEventLogFiles"], view_event_log_files);
        assert_eq!(rights["PermissionsViewAllData"], view_all_data);
        seen.push(rig.get(&token, "/services/data/v60.0/query?q=SELECT+COUNT()+FROM+EventLogFile").await);
    }
    assert_eq!(seen.iter().map(|reply| reply.status).collect::<Vec<_>>(), [200, 200, 400]);
    let refusal = seen[2].json();
    assert_eq!(refusal[0]["errorCode"], "INVALID_TYPE");
    assert!(refusal[0]["message"].as_str().unwrap().starts_with("sObject type 'EventLogFile' is not supported."));
}

#[tokio::test]
async fn an_org_without_hourly_files_does_not_know_the_column() {
    let event_logs = EventLogs { hourly: false, ..EventLogs::default() };
    let rig = Rig::start(Settings { event_logs, ..settings() }).await;
    let token = rig.mint().await;
    let reply = rig.get(&token, "/services/data/v60.0/query?q=SELECT+Id,Interval+FROM+EventLogFile").await;
    assert_eq!((reply.status, reply.json()[0]["errorCode"].clone()), (400, json!("INVALID_FIELD")));
    let message = reply.json()[0]["message"].clone();
    assert!(message.as_str().unwrap().contains("No such column 'Interval' on entity 'EventLogFile'"), "{message}");
}

#[tokio::test]
async fn the_other_resources_answer() {
    let rig = Rig::start(settings()).await;
    let token = rig.mint().await;
    let limits = rig.get(&token, "/services/data/v60.0/limits/").await.json();
    assert!(limits["DailyApiRequests"]["Remaining"].as_u64() < limits["DailyApiRequests"]["Max"].as_u64());
    let user_id = rig.get(&token, "/services/oauth2/userinfo").await.json()["user_id"].clone();
    let user = rig.get(&token, &format!("/services/data/v51.0/sobjects/User/{}", user_id.as_str().unwrap())).await;
    assert_eq!((user.status, user.json()["Username"].clone()), (200, json!(USERNAME)));
    let nothing = rig.get(&token, "/services/data/v60.0/query").await;
    assert_eq!(nothing.json()[0]["errorCode"], "MALFORMED_QUERY");
}

#[tokio::test]
async fn introspection_wants_the_apps_secret_and_revocation_ends_the_session_for_all() {
    let app = App { client_secret: Some("s3cret".to_owned()), ..testing::app() };
    let rig = Rig::start(Settings { apps: vec![app], ..settings() }).await;
    let token = rig.mint().await;
    let form = |path: &str, body: String| {
        let request = rig.http.post(format!("{}/services/oauth2/{path}", rig.simulator.base_url()));
        request.header("content-type", "application/x-www-form-urlencoded").body(body)
    };
    let client = format!("client_id={CLIENT_ID}&client_secret=s3cret");
    let alive = rig.send(form("introspect", format!("token={token}&{client}"))).await.unwrap().json();
    assert_eq!((alive["active"].clone(), alive["username"].clone()), (json!(true), json!(USERNAME)));
    assert_eq!(alive["exp"].as_i64().unwrap() - alive["iat"].as_i64().unwrap(), 7200);
    let basic = form("introspect", format!("token={token}")).basic_auth(CLIENT_ID, Some("s3cret"));
    assert_eq!(rig.send(basic).await.unwrap().json()["active"], true);
    for wrong in [String::new(), format!("client_id={CLIENT_ID}&client_secret=guess"), "client_id=x".to_owned()] {
        let refused = rig.send(form("introspect", format!("token={token}&{wrong}"))).await.unwrap();
        assert_eq!((refused.status, refused.json()["error"].clone()), (400, json!("invalid_client")));
    }
    let revoked = rig.send(form("revoke", format!("token={token}"))).await.unwrap();
    assert_eq!((revoked.status, revoked.body.as_str()), (200, ""));
    assert_eq!(rig.send(form("revoke", format!("token={token}"))).await.unwrap().status, 400);
    let dead = rig.send(form("introspect", format!("token={token}&{client}"))).await.unwrap().json();
    assert_eq!(dead, json!({"active": false}));
    assert_ne!(rig.mint().await, token);
}

#[tokio::test]
async fn a_token_in_jwt_form_lives_just_as_long_as_it_says() {
    let app = App { jwt_token_lifetime: Some(Duration::from_secs(1800)), ..testing::app() };
    let rig = Rig::start(Settings { apps: vec![app], ..settings() }).await;
    let token = rig.mint().await;
    assert!(token.starts_with("eyJ") && token.split('.').count() == 3);
    assert_ne!(rig.mint().await, token);
    rig.simulator.advance_clock(Duration::from_secs(1700));
    assert_eq!(rig.get(&token, "/services/data/v60.0/").await.status, 200);
    rig.simulator.advance_clock(Duration::from_secs(101));
    assert_eq!(rig.get(&token, "/services/data/v60.0/").await.status, 401);
}
