//! The token endpoint over a real socket.

use std::time::Duration;

use serde_json::json;

use super::super::testing::{CLIENT_ID, Pair, Rig, USERNAME, app, claims, settings};
use super::super::{
    App, Approval, Door, Fault, FaultAnswer, PermittedUsers, Row, Settings, Standing, Switches, TokenRow, User,
    UserCounts, Users,
};

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
    let policy = |permitted_users| App { permitted_users, ..app() };
    for (app, row) in [
        (policy(PermittedUsers::AdminApproved { assigned: nobody() }), TokenRow::NotAdminApproved),
        (policy(PermittedUsers::SelfAuthorize { approvals: Vec::new() }), TokenRow::UserHasNotApproved),
        (App { installed: false, ..app() }, TokenRow::AppNotFound),
        (App { scopes: vec!["refresh_token".to_owned()], ..app() }, TokenRow::InvalidScope),
        (App::new(CLIENT_ID, Pair::stranger().certificate_pem.as_bytes()), TokenRow::InvalidAssertion),
    ] {
        rig.simulator.put_app(app).unwrap();
        assert_eq!(rig.post(&claims(rig.now())).await.json()["error_description"], row.texts().1);
    }
}

#[tokio::test]
async fn a_token_has_the_scopes_that_the_policy_gives() {
    let scopes = ["web", "api", "refresh_token"].map(str::to_owned).to_vec();
    let approvals = vec![Approval::new(USERNAME, "api refresh_token")];
    let app = App { scopes, permitted_users: PermittedUsers::SelfAuthorize { approvals }, ..app() };
    let rig = Rig::start(Settings { apps: vec![app.clone()], ..settings() }).await;
    let approved = rig.post(&claims(rig.now())).await.json();
    assert_eq!(approved["scope"], "api");
    let everybody = PermittedUsers::AdminApproved { assigned: Users::Everyone };
    rig.simulator.put_app(App { permitted_users: everybody, ..app.clone() }).unwrap();
    let assigned = rig.post(&claims(rig.now())).await.json();
    assert_eq!(assigned["scope"], "web api");
    // Other scopes are another session.
    assert_ne!(assigned["access_token"], approved["access_token"]);
    let web_only = vec![Approval::new(USERNAME, "web refresh_token")];
    rig.simulator
        .put_app(App { permitted_users: PermittedUsers::SelfAuthorize { approvals: web_only }, ..app })
        .unwrap();
    let refused = rig.get(&rig.mint().await, "/services/data/v60.0/").await;
    assert_eq!(refused.json()[0]["message"], "This session is not valid for use with the REST API");
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
async fn a_token_in_jwt_form_lives_just_as_long_as_it_says() {
    let app = App { jwt_token_lifetime: Some(Duration::from_secs(1800)), ..app() };
    let rig = Rig::start(Settings { apps: vec![app], ..settings() }).await;
    let token = rig.mint().await;
    assert!(token.starts_with("eyJ") && token.split('.').count() == 3);
    assert_ne!(rig.mint().await, token);
    rig.simulator.advance_clock(Duration::from_secs(1700));
    assert_eq!(rig.get(&token, "/services/data/v60.0/").await.status, 200);
    rig.simulator.advance_clock(Duration::from_secs(101));
    assert_eq!(rig.get(&token, "/services/data/v60.0/").await.status, 401);
}

#[tokio::test]
async fn answers_come_in_the_form_that_is_asked_for_refusals_too() {
    let rig = Rig::start(settings()).await;
    let ask = |right: bool, format: &str, accept: &str| {
        let assertion = Pair::registered().sign(&claims(rig.now()));
        let assertion = if right { assertion } else { "x".to_owned() };
        let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        let body = format!("grant_type={grant}&assertion={assertion}{format}");
        let request = rig.http.post(rig.simulator.token_url()).header("accept", accept.to_owned());
        rig.send(request.header("content-type", "application/x-www-form-urlencoded").body(body))
    };
    for (format, accept, expected) in [
        ("", "*/*", "json"),
        ("", "application/xml", "xml"),
        ("", "application/x-www-form-urlencoded", "x-www-form-urlencoded"),
        ("&format=json", "application/xml", "json"),
        ("&format=xml", "application/json", "xml"),
        ("&format=urlencoded", "application/json", "x-www-form-urlencoded"),
        ("&format=yaml", "application/xml", "xml"),
    ] {
        for right in [true, false] {
            let reply = ask(right, format, accept).await.unwrap();
            assert_eq!(reply.status, if right { 200 } else { 400 }, "{}", reply.body);
            assert_eq!(reply.headers["content-type"], format!("application/{expected};charset=UTF-8").as_str());
            assert_eq!(reply.headers["cache-control"], "no-store");
            let field = if right { "access_token" } else { "error_description" };
            let begins = match expected {
                "json" => format!("\"{field}\":\""),
                "xml" => format!("<{field}>"),
                _ => format!("{field}="),
            };
            assert!(reply.body.contains(&begins), "{}", reply.body);
        }
    }
    rig.simulator.force(Fault::once(Door::Token, FaultAnswer::Row { row: Row::Token(TokenRow::UnknownError) }));
    let forced = ask(true, "&format=urlencoded", "*/*").await.unwrap();
    assert_eq!(forced.body, "error=unknown_error&error_description=retry+your+request");
}

#[tokio::test]
async fn answers_are_dated_by_the_simulators_own_clock() {
    let rig = Rig::start(settings()).await;
    rig.simulator.advance_clock(Duration::from_secs(3 * 3600));
    let reply = rig.post(&claims(rig.now())).await;
    let told = httpdate::parse_http_date(reply.headers["date"].to_str().unwrap()).unwrap();
    let told = jiff::Timestamp::try_from(told).unwrap().as_second();
    assert!((rig.now() - told).abs() <= 2, "{told}");
    // A forced answer may tell another date.
    let headers = [("date".to_owned(), "Sun, 06 Nov 1994 08:49:37 GMT".to_owned())].into();
    let answer = FaultAnswer::Raw { status: 503, content_type: None, headers, body: String::new() };
    rig.simulator.force(Fault::once(Door::Token, answer));
    assert_eq!(rig.post(&claims(rig.now())).await.headers["date"], "Sun, 06 Nov 1994 08:49:37 GMT");
}
