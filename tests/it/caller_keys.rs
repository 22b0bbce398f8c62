//! What callers sign with keys of their own: who they are, and whole requests for tokens.

use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};

use crate::support::issuer::{SigningKey, with, without};
use crate::support::plan::{CALLER, INTEGRATION, Plan, username};
use crate::support::reply::Reply;
use crate::support::seconds;
use crate::support::stage::Stage;

const PUBLIC_URL: &str = "https://aquila.example";
const AUTHENTICATION: &str =
    "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=";
const GRANT: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";

/// The usual caller has this key, and may sign whole requests with it.
fn plan(key: &SigningKey) -> Plan {
    Stage::plan()
        .integration("crm-live")
        .server_line(format!("public_url = \"{PUBLIC_URL}\""))
        .file("caller.pem", key.public_pem())
        .caller_line(CALLER, "public_keys = [{ path = \"caller.pem\", algorithm = \"ES256\" }]")
        .caller_line(CALLER, "jwt_bearer_grant = true")
}

fn now(stage: &Stage) -> i64 {
    stage.clock.timestamp().as_second()
}

/// A proof, as published clients make it.
fn proof(stage: &Stage, jti: &str) -> Value {
    let now = now(stage);
    json!({"iss": CALLER, "sub": CALLER, "aud": PUBLIC_URL, "iat": now, "exp": now + 60, "jti": jti})
}

/// A request, as go-sfdc makes it: these four claims and no others.
fn request(stage: &Stage, subject: &str) -> Value {
    json!({"aud": PUBLIC_URL, "exp": now(stage) + 180, "iss": CALLER, "sub": subject})
}

async fn authenticate(stage: &Stage, assertion: &str) -> Reply {
    let form = format!("grant_type=client_credentials&{AUTHENTICATION}{assertion}");
    Reply::of(stage.post("/token", &form)).await
}

async fn grant(stage: &Stage, assertion: &str) -> Reply {
    Reply::of(stage.post("/services/oauth2/token", &format!("{GRANT}{assertion}"))).await
}

/// The reason in the audit record of the next request.
async fn reason(stage: &Stage, asked: impl AsyncFnOnce() -> Reply) -> String {
    let reply = asked().await;
    let told = stage.record_of(&reply).await;
    match reply.status {
        200 => "issued".to_owned(),
        _ => told.get("reason").and_then(Value::as_str).unwrap_or("no reason").to_owned(),
    }
}

#[tokio::test]
async fn a_caller_proves_itself_with_an_assertion_once() {
    let key = SigningKey::new("any");
    let stage = plan(&key).start().await;
    let assertion = key.sign(&proof(&stage, "one"));
    authenticate(&stage, &assertion).await.token();
    let again = authenticate(&stage, &assertion).await;
    assert_eq!(again.refusal(), (401, "invalid_client".to_owned()));
    assert!(again.headers.contains_key("www-authenticate"));
    authenticate(&stage, &key.sign(&proof(&stage, "two"))).await.token();
    let records = stage.audit(3).await;
    let told = |number: usize, member: &str| records[number][member].as_str().unwrap_or_default().to_owned();
    assert_eq!((told(0, "proof"), told(0, "caller")), ("client_assertion".to_owned(), CALLER.to_owned()));
    assert_eq!(told(1, "reason"), "replayed");
    // The other routes take it too.
    let form = format!("token=x&{AUTHENTICATION}{}", key.sign(&proof(&stage, "three")));
    assert_eq!(Reply::of(stage.post("/introspect", &form)).await.json(), json!({"active": false}));
}

#[tokio::test]
async fn a_used_assertion_is_remembered_over_a_reload() {
    let key = SigningKey::new("any");
    let stage = plan(&key).start().await;
    let assertion = key.sign(&proof(&stage, "one"));
    authenticate(&stage, &assertion).await.token();
    stage.reload("level = \"info\"", "level = \"warn\"").await;
    assert_eq!(authenticate(&stage, &assertion).await.status, 401);
}

#[tokio::test]
async fn an_assertion_that_is_not_exactly_what_it_must_be_proves_nothing() {
    let (key, stranger) = (SigningKey::new("any"), SigningKey::new("any"));
    let stage = plan(&key).start().await;
    let now = now(&stage);
    let good = proof(&stage, "a");
    let named = |jti: String| with(&good, "jti", json!(jti));
    let typed = |typ: &str, jti: &str| {
        let header = Header { typ: Some(typ.to_owned()), ..Header::new(Algorithm::ES256) };
        key.sign_with(&header, &named(jti.to_owned()))
    };
    let with = |name: &str, value: Value| key.sign(&with(&named(format!("{name} {value}")), name, value));
    let without = |name: &str| key.sign(&without(&good, name));
    let cases = [
        ("the token endpoint", with("aud", json!("https://aquila.example/token")), "issued"),
        ("a list of one", with("aud", json!([PUBLIC_URL])), "issued"),
        ("the type of the new draft", typed("client-authentication+jwt", "t1"), "issued"),
        ("the type of a grant", typed("authorization-grant+jwt", "t2"), "forbidden_header"),
        ("an endpoint that was not asked", with("aud", json!("https://aquila.example/revoke")), "audience"),
        ("Salesforce", with("aud", json!("https://login.salesforce.com")), "audience"),
        ("a longer host", with("aud", json!("https://aquila.example.evil.example")), "audience"),
        ("two audiences", with("aud", json!([PUBLIC_URL, "https://b.example"])), "audience"),
        ("no jti", without("jti"), "no_jti"),
        ("an empty jti", with("jti", json!("")), "no_jti"),
        ("no end", without("exp"), "malformed"),
        ("too long", with("exp", json!(now + 331)), "too_long_lived"),
        ("expired", with("exp", json!(now)), "expired"),
        ("ahead", with("nbf", json!(now + 31)), "not_yet_valid"),
        ("another subject", with("sub", json!(INTEGRATION)), "purpose"),
        ("no subject", without("sub"), "malformed"),
        ("another caller", with("iss", json!("sync")), "unknown_issuer"),
        ("a look-alike", with("iss", json!("\u{0455}hipper")), "unknown_issuer"),
        ("another key", stranger.sign(&good), "signature"),
    ];
    for (what, assertion, expected) in cases {
        assert_eq!(reason(&stage, async || authenticate(&stage, &assertion).await).await, expected, "{what}");
    }
}

#[tokio::test]
async fn a_whole_request_as_go_sfdc_signs_it_gets_the_token_and_needs_no_jti() {
    let key = SigningKey::new("any");
    let stage = plan(&key).start().await;
    for subject in [username(INTEGRATION), INTEGRATION.to_owned()] {
        let assertion = key.sign(&request(&stage, &subject));
        let reply = grant(&stage, &assertion).await;
        assert_eq!(reply.json()["integration"], INTEGRATION);
        assert_eq!(reply.json()["token_type"], "Bearer");
        reply.token();
        // Go sends a first request that failed twice; a request that is repeated must do no harm.
        grant(&stage, &assertion).await.token();
    }
    assert_eq!(stage.simulator.counts().token_posts, 1);
    let record = &stage.audit(1).await[0];
    assert_eq!((&record["caller"], &record["proof"]), (&json!(CALLER), &json!("jwt_bearer_grant")));
}

#[tokio::test]
async fn a_request_with_a_jti_counts_once() {
    let key = SigningKey::new("any");
    let stage = plan(&key).start().await;
    let mut claims = request(&stage, INTEGRATION);
    claims["jti"] = json!("one");
    let assertion = key.sign(&claims);
    grant(&stage, &assertion).await.token();
    assert_eq!(grant(&stage, &assertion).await.refusal(), (400, "invalid_grant".to_owned()));
}

#[tokio::test]
async fn an_assertion_made_for_one_thing_is_never_taken_for_the_other() {
    let key = SigningKey::new("any");
    // An integration with the name of the caller: `sub` alone could mean both.
    let stage = plan(&key).integration(CALLER).caller_rights(CALLER, &["elf-*", CALLER]).start().await;
    let as_grant = key.sign(&proof(&stage, "a"));
    assert_eq!(reason(&stage, async || grant(&stage, &as_grant).await).await, "purpose");
    // It was not used up by the wrong use of it.
    authenticate(&stage, &format!("{as_grant}&scope={INTEGRATION}")).await.token();
    for subject in [INTEGRATION.to_owned(), username(INTEGRATION), username(CALLER)] {
        let mut claims = request(&stage, &subject);
        claims["jti"] = json!(subject);
        let as_proof = key.sign(&claims);
        assert_eq!(reason(&stage, async || authenticate(&stage, &as_proof).await).await, "purpose", "{subject}");
        grant(&stage, &as_proof).await.token();
    }
    // Neither is a bearer token.
    let bearer = Reply::of(stage.get("/token").bearer_auth(key.sign(&proof(&stage, "b")))).await;
    assert_eq!(bearer.status, 401);
}

#[tokio::test]
async fn what_is_unknown_and_what_is_not_granted_look_the_same() {
    let key = SigningKey::new("any");
    let stage = plan(&key).start().await;
    let mut seen = Vec::new();
    for subject in ["crm-live".to_owned(), username("crm-live"), "none".to_owned(), "*".to_owned()] {
        let reply = grant(&stage, &key.sign(&request(&stage, &subject))).await;
        assert_eq!(reply.refusal(), (400, "invalid_grant".to_owned()), "{subject}");
        seen.push(reply.json());
    }
    let stranger = SigningKey::new("any");
    seen.push(grant(&stage, &stranger.sign(&request(&stage, INTEGRATION))).await.json());
    assert!(seen.windows(2).all(|two| two[0] == two[1]), "{seen:?}");
    assert_eq!(stage.simulator.counts().token_posts, 0);
}

#[tokio::test]
async fn a_user_that_two_granted_integrations_share_names_neither() {
    let key = SigningKey::new("any");
    let stage = plan(&key).integration("elf-two").username_of("elf-two", &username(INTEGRATION)).start().await;
    let by_user = key.sign(&request(&stage, &username(INTEGRATION)));
    assert_eq!(grant(&stage, &by_user).await.refusal().0, 400);
    grant(&stage, &key.sign(&request(&stage, "elf-two"))).await.token();
}

#[tokio::test]
async fn an_integration_whose_user_has_its_name_is_one_and_not_two() {
    let key = SigningKey::new("any");
    let stage = plan(&key).username_of(INTEGRATION, INTEGRATION).start().await;
    grant(&stage, &key.sign(&request(&stage, INTEGRATION))).await.token();
}

#[tokio::test]
async fn a_request_must_be_short_lived_and_for_us_and_agree_with_the_rest() {
    let key = SigningKey::new("any");
    let stage = plan(&key).start().await;
    let now = now(&stage);
    let with = |name: &str, value: Value| key.sign(&with(&request(&stage, INTEGRATION), name, value));
    for (claim, value, told) in [
        ("exp", json!(now + 331), "too_long_lived"),
        ("exp", json!((now + 180) * 1000), "too_long_lived"),
        ("exp", json!(now), "expired"),
        ("aud", json!("https://login.salesforce.com"), "audience"),
        ("iss", json!("SIMULATED_consumer_key"), "unknown_issuer"),
    ] {
        let assertion = with(claim, value.clone());
        assert_eq!(reason(&stage, async || grant(&stage, &assertion).await).await, told, "{claim} {value}");
    }
    let good = with("aud", json!(format!("{PUBLIC_URL}/services/oauth2/token")));
    grant(&stage, &good).await.token();
    let elsewhere =
        stage.post("/integrations/crm-live/services/oauth2/token", &format!("{GRANT}{}", with("exp", json!(now + 9))));
    assert_ne!(Reply::of(elsewhere).await.status, 200);
    let named = grant(&stage, &format!("{}&client_id=sync", with("exp", json!(now + 8)))).await;
    assert_eq!(named.refusal(), (400, "invalid_grant".to_owned()));
    let twice = grant(&stage, &format!("{good}&assertion={good}")).await;
    assert_eq!(twice.refusal(), (400, "invalid_request".to_owned()));
    stage.advance(seconds(181));
    assert_eq!(grant(&stage, &good).await.refusal().0, 400);
}

#[tokio::test]
async fn without_the_setting_there_is_no_such_grant() {
    let key = SigningKey::new("any");
    let stage = Stage::plan()
        .server_line(format!("public_url = \"{PUBLIC_URL}\""))
        .file("caller.pem", key.public_pem())
        .caller_line(CALLER, "public_keys = [{ path = \"caller.pem\", algorithm = \"ES256\" }]")
        .start()
        .await;
    let assertion = key.sign(&request(&stage, INTEGRATION));
    assert_eq!(grant(&stage, &assertion).await.refusal(), (401, "invalid_client".to_owned()));
    let proved = stage.post("/token", &format!("{GRANT}{assertion}")).bearer_auth(stage.key(CALLER));
    assert_eq!(Reply::of(proved).await.refusal(), (400, "unsupported_grant_type".to_owned()));
    let metadata = Reply::of(stage.get("/.well-known/oauth-authorization-server")).await.json();
    assert_eq!(metadata["grant_types_supported"], json!(["client_credentials"]));
    let methods = json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]);
    assert_eq!(metadata["token_endpoint_auth_methods_supported"], methods);
    assert_eq!(metadata["token_endpoint_auth_signing_alg_values_supported"], json!(["ES256"]));
}

#[tokio::test]
async fn a_key_is_changed_without_a_gap() {
    let (old, new) = (SigningKey::new("old"), SigningKey::new("new"));
    let stage = plan(&old).file("next.pem", new.public_pem()).start().await;
    let works = async |key: &SigningKey| grant(&stage, &key.sign(&request(&stage, INTEGRATION))).await.status == 200;
    assert!(works(&old).await && !works(&new).await);
    let one = "{ path = \"caller.pem\", algorithm = \"ES256\" }";
    let two = "{ path = \"next.pem\", algorithm = \"ES256\" }";
    stage.reload(one, &format!("{one}, {two}")).await;
    assert!(works(&old).await && works(&new).await);
    stage.reload(&format!("{one}, {two}"), two).await;
    assert!(!works(&old).await && works(&new).await);
    assert_eq!(stage.simulator.counts().token_posts, 1);
}
