//! JWTs of issuers as proof: whose they are, when they count, and how the keys behind them come and go.

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::http::StatusCode;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio_util::sync::DropGuard;
use url::Url;

use crate::support::issuer::{Issuer, SigningKey, over_tls, with, without};
use crate::support::plan::{CALLER, Plan};
use crate::support::proxy::Proxy;
use crate::support::reply::Reply;
use crate::support::seconds;
use crate::support::stage::Stage;
use crate::support::until;

const PUBLIC_URL: &str = "https://aquila.example";
const POD: &str = "system:serviceaccount:logs:filebeat";

/// A stage whose usual caller is a pod of a cluster with this issuer.
async fn cluster(issuer: &Issuer) -> Stage {
    let stage = Stage::plan()
        .server_line(format!("public_url = \"{PUBLIC_URL}\""))
        .issuer("cluster-a", format!("issuer = \"{}\"", issuer.url))
        .caller_line(
            CALLER,
            "kubernetes = { issuer = \"cluster-a\", namespace = \"logs\", service_account = \"filebeat\" }",
        )
        .start()
        .await;
    until("the keys are there", async || issuer.fetches() == 1).await;
    until("they are in force", async || fetched(&stage, "fetched").await == 1).await;
    stage
}

async fn fetched(stage: &Stage, outcome: &str) -> u64 {
    let name = "aquila_issuer_key_fetches_total";
    stage.metric(&format!("{name}{{issuer=\"cluster-a\",outcome=\"{outcome}\"}}")).await
}

/// What a cluster says of a pod.
fn claims(stage: &Stage, issuer: &Issuer) -> Value {
    let now = stage.clock.timestamp().as_second();
    json!({
        "iss": issuer.url, "aud": [PUBLIC_URL], "sub": POD,
        "iat": now, "nbf": now, "exp": now + 3607, "jti": "c1b2",
        "kubernetes.io": {
            "namespace": "logs",
            "pod": {"name": "filebeat-x7d", "uid": "1d2c"},
            "serviceaccount": {"name": "filebeat", "uid": "9a8b"},
        },
    })
}

async fn ask(stage: &Stage, token: &str) -> Reply {
    Reply::of(stage.get("/token").bearer_auth(token)).await
}

async fn reason(stage: &Stage, token: &str) -> String {
    let reply = ask(stage, token).await;
    let record = stage.record_of(&reply).await;
    let told = record.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
    match reply.status {
        200 => "issued".to_owned(),
        401 => told,
        other => panic!("status {other}: {}", reply.body),
    }
}

#[tokio::test]
async fn a_pod_proves_itself_with_the_token_that_its_cluster_gave_it() {
    let key = SigningKey::new("k1");
    let issuer = Issuer::with(&[&key]).await;
    let stage = cluster(&issuer).await;
    ask(&stage, &key.sign(&claims(&stage, &issuer))).await.token();
    let posted = stage.post("/token", "grant_type=client_credentials").bearer_auth(key.sign(&claims(&stage, &issuer)));
    Reply::of(posted).await.token();
    let record = &stage.audit(1).await[0];
    assert_eq!((&record["caller"], &record["proof"]), (&json!(CALLER), &json!("jwt")));
    assert_eq!(record["proof_key"].as_str().unwrap().len(), 16);
    assert_eq!(issuer.fetches(), 1, "a key that is known was asked for again");
}

#[expect(clippy::too_many_lines, reason = "one table, which is read as one")]
#[tokio::test]
async fn a_token_that_does_not_say_exactly_what_it_must_is_refused_and_the_record_says_why() {
    let (key, stranger) = (SigningKey::new("k1"), SigningKey::new("k1"));
    let issuer = Issuer::with(&[&key]).await;
    let stage = cluster(&issuer).await;
    let now = stage.clock.timestamp().as_second();
    let good = claims(&stage, &issuer);
    let with = |name: &str, value: Value| key.sign(&with(&good, name, value));
    let without = |name: &str| key.sign(&without(&good, name));
    let token = key.sign(&good);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, body) = signed.split_once('.').unwrap();
    let unsigned = |header: &str| format!("{}.{body}.", BASE64_URL_SAFE_NO_PAD.encode(header));
    // The public key as the secret of HMAC, in the forms in which libraries have taken it.
    let confused = |secret: &[u8]| {
        encode(&Header { kid: Some("k1".to_owned()), ..Header::default() }, &good, &EncodingKey::from_secret(secret))
    };
    let embedded = Header { jwk: serde_json::from_value(stranger.jwk()).ok(), ..Header::new(Algorithm::ES256) };
    assert!(embedded.jwk.is_some());
    let fetched = Header { jku: Some(format!("{}/keys", issuer.url)), ..Header::new(Algorithm::ES256) };
    let linked = Header { x5u: Some(format!("{}/keys", issuer.url)), ..Header::new(Algorithm::ES256) };
    let other_body = BASE64_URL_SAFE_NO_PAD.encode(json!({"iss": issuer.url, "sub": POD, "exp": now + 60}).to_string());
    let cases = [
        ("as it should be", token.clone(), "issued"),
        ("one audience as text", with("aud", json!(PUBLIC_URL)), "issued"),
        ("nbf within the leeway", with("nbf", json!(now + 30)), "issued"),
        ("nbf ahead", with("nbf", json!(now + 31)), "not_yet_valid"),
        ("iat ahead", with("iat", json!(now + 31)), "not_yet_valid"),
        ("expired", with("exp", json!(now)), "expired"),
        ("without an end", without("exp"), "malformed"),
        ("an end that is a text", with("exp", json!((now + 60).to_string())), "malformed"),
        ("for somebody else", with("aud", json!("https://kubernetes.default.svc")), "audience"),
        ("for others too", with("aud", json!([PUBLIC_URL, "https://other.example"])), "audience"),
        ("for nobody", without("aud"), "audience"),
        ("for us with a slash", with("aud", json!("https://aquila.example/")), "audience"),
        ("of another issuer", with("iss", json!("https://other.example")), "unknown_issuer"),
        ("of nobody", without("iss"), "malformed"),
        ("another account", with("sub", json!("system:serviceaccount:logs:other")), "no_rule"),
        ("its name as the beginning", with("sub", json!(format!("{POD}-2"))), "no_rule"),
        ("its name as the end", with("sub", json!(format!("x{POD}"))), "no_rule"),
        ("a look-alike", with("sub", json!(POD.replace('a', "\u{0430}"))), "no_rule"),
        ("full width", with("sub", json!(POD.replace(':', "\u{FF1A}"))), "no_rule"),
        ("capitals", with("sub", json!(POD.to_uppercase())), "no_rule"),
        ("a zero behind", with("sub", json!(format!("{POD}\0"))), "no_rule"),
        ("nobody", without("sub"), "no_rule"),
        ("a list of subjects", with("sub", json!([POD])), "malformed"),
        ("signed by a stranger", stranger.sign(&good), "signature"),
        ("a key of its own", stranger.sign_with(&embedded, &good), "forbidden_header"),
        ("a place for keys", key.sign_with(&fetched, &good), "forbidden_header"),
        ("a place for certificates", key.sign_with(&linked, &good), "forbidden_header"),
        ("unsigned", unsigned(r#"{"alg":"none"}"#), "algorithm"),
        ("unsigned, in capitals", unsigned(r#"{"alg":"NONE"}"#), "algorithm"),
        ("no signature", format!("{signed}."), "signature"),
        ("HMAC with the public key", confused(key.public_pem().as_bytes()).unwrap(), "algorithm"),
        ("HMAC with the key set", confused(key.jwk().to_string().as_bytes()).unwrap(), "algorithm"),
        ("another body", format!("{header}.{other_body}.{signature}"), "signature"),
        ("trailing data", format!("{token}.x"), "malformed"),
        ("padding", format!("{token}="), "malformed"),
        (
            "an algorithm that is not pinned",
            token.replacen(header, &BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k1"}"#), 1),
            "algorithm",
        ),
    ];
    for (what, token, expected) in cases {
        assert_eq!(reason(&stage, &token).await, expected, "{what}");
    }
    assert_eq!(issuer.fetches(), 1, "one of them had the keys fetched");
}

#[tokio::test]
async fn a_new_key_counts_at_once_and_one_that_was_taken_back_does_not_count_for_long() {
    let (old, new) = (SigningKey::new("k1"), SigningKey::new("k2"));
    let issuer = Issuer::with(&[&old]).await;
    let stage = cluster(&issuer).await;
    stage.advance(seconds(11));
    issuer.publish(&[&old, &new]);
    ask(&stage, &new.sign(&claims(&stage, &issuer))).await.token();
    ask(&stage, &old.sign(&claims(&stage, &issuer))).await.token();
    assert_eq!(issuer.fetches(), 2);
    issuer.publish(&[&new]);
    // Nobody asks; the keys are looked at by themselves.
    stage.advance(seconds(301));
    until("the old key is gone", async || reason(&stage, &old.sign(&claims(&stage, &issuer))).await == "unknown_key")
        .await;
    ask(&stage, &new.sign(&claims(&stage, &issuer))).await.token();
}

#[tokio::test]
async fn a_flood_of_unknown_keys_has_them_fetched_once_in_ten_seconds() {
    let (key, stranger) = (SigningKey::new("k1"), SigningKey::new("k2"));
    let issuer = Issuer::with(&[&key]).await;
    let stage = cluster(&issuer).await;
    let flood = async || {
        let tokens: Vec<String> = (0..40)
            .map(|number| {
                let kid = Some(format!("../{number}"));
                let header = Header { kid, ..Header::new(Algorithm::ES256) };
                stranger.sign_with(&header, &claims(&stage, &issuer))
            })
            .collect();
        let asked = futures_util::future::join_all(tokens.iter().map(|token| ask(&stage, token))).await;
        // So many from one address are told to wait in the end.
        assert!(asked.iter().all(|reply| matches!(reply.status, 401 | 429)));
    };
    flood().await;
    assert_eq!(issuer.fetches(), 1, "they were fetched less than ten seconds ago");
    stage.advance(seconds(10));
    flood().await;
    flood().await;
    assert_eq!(issuer.fetches(), 2);
    ask(&stage, &key.sign(&claims(&stage, &issuer))).await.token();
}

#[tokio::test]
async fn an_outage_of_the_issuer_or_an_answer_that_is_no_key_set_changes_nothing() {
    let key = SigningKey::new("k1");
    let issuer = Issuer::with(&[&key]).await;
    let stage = cluster(&issuer).await;
    let filler = "x".repeat(300 * 1024);
    let many = vec![key.jwk(); 101];
    let answers = [
        (StatusCode::SERVICE_UNAVAILABLE, json!({"keys": []}).to_string()),
        (StatusCode::OK, json!({"keys": []}).to_string()),
        (StatusCode::OK, "<html>sign in</html>".to_owned()),
        (StatusCode::OK, json!({"filler": filler, "keys": [key.jwk()]}).to_string()),
        (StatusCode::OK, json!({"keys": many}).to_string()),
        (StatusCode::FOUND, String::new()),
    ];
    for (number, (status, text)) in (1..).zip(answers) {
        issuer.answer(status, &text);
        stage.advance(Duration::from_secs(301));
        until("the fetch failed", async || fetched(&stage, "failed").await == number).await;
        ask(&stage, &key.sign(&claims(&stage, &issuer))).await.token();
    }
}

#[tokio::test]
async fn an_issuer_that_is_down_at_the_start_holds_nothing_up_and_is_asked_again() {
    let key = SigningKey::new("k1");
    let issuer = Issuer::with(&[&key]).await;
    issuer.answer(StatusCode::BAD_GATEWAY, "");
    let stage = Stage::plan()
        .server_line(format!("public_url = \"{PUBLIC_URL}\""))
        .issuer("cluster-a", format!("issuer = \"{}\"", issuer.url))
        .caller_line(CALLER, format!("jwt = [{{ issuer = \"cluster-a\", sub = \"{POD}\" }}]"))
        .start()
        .await;
    until("the fetch failed", async || fetched(&stage, "failed").await == 1).await;
    assert_eq!(reason(&stage, &key.sign(&claims(&stage, &issuer))).await, "unknown_key");
    stage.ask().await.token();
    issuer.publish(&[&key]);
    stage.advance(seconds(10));
    ask(&stage, &key.sign(&claims(&stage, &issuer))).await.token();
}

#[tokio::test]
async fn two_clusters_with_one_name_are_told_apart_by_their_keys() {
    let (own, other) = (SigningKey::new("a"), SigningKey::new("b"));
    let (one, two) = (Issuer::with(&[&own]).await, Issuer::with(&[&other]).await);
    let iss = "https://kubernetes.default.svc.cluster.local";
    let named = |issuer: &Issuer| format!("issuer = \"{iss}\"\njwks_url = \"{}/keys\"", issuer.url);
    let stage = Stage::plan()
        .integration("crm-live")
        .caller("sync", &["crm-*"])
        .server_line(format!("public_url = \"{PUBLIC_URL}\""))
        .issuer("cluster-a", named(&one))
        .issuer("cluster-b", named(&two))
        .caller_line(CALLER, format!("jwt = [{{ issuer = \"cluster-a\", sub = \"{POD}\" }}]"))
        .caller_line("sync", format!("jwt = [{{ issuer = \"cluster-b\", sub = \"{POD}\" }}]"))
        .start()
        .await;
    let mut claims = claims(&stage, &one);
    claims["iss"] = json!(iss);
    until("both are known", async || one.fetches() + two.fetches() >= 2).await;
    for (key, caller) in [(&own, CALLER), (&other, "sync")] {
        let reply = ask(&stage, &key.sign(&claims)).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(stage.record_of(&reply).await["caller"], caller);
    }
}

#[tokio::test]
async fn claims_narrow_a_rule_and_a_token_that_fits_two_callers_is_nobodys() {
    let key = SigningKey::new("k1");
    let issuer = Issuer::with(&[&key]).await;
    let rule = "jwt = [{ issuer = \"cluster-a\", sub = \"svc-*\", claims = { team = \"logs\", roles = \"reader\" } }]";
    let stage = Stage::plan()
        .caller("sync", &["crm-*", "elf-*"])
        .issuer("cluster-a", format!("issuer = \"{}\"\naudience = \"aquila\"", issuer.url))
        .caller_line(CALLER, rule)
        .caller_line("sync", "jwt = [{ issuer = \"cluster-a\", sub = \"svc-both\" }]")
        .start()
        .await;
    let now = stage.clock.timestamp().as_second();
    let sign = |sub: &str, team: Value, roles: Value| {
        let claims =
            json!({"iss": issuer.url, "aud": "aquila", "exp": now + 60, "sub": sub, "team": team, "roles": roles});
        key.sign(&claims)
    };
    let cases = [
        ("svc-a", json!("logs"), json!("reader"), "issued"),
        ("svc-a", json!("logs"), json!(["writer", "reader"]), "issued"),
        ("svc-a", json!("logs"), json!(["readers"]), "no_rule"),
        ("svc-a", json!("logs "), json!("reader"), "no_rule"),
        ("svc-a", json!(null), json!("reader"), "no_rule"),
        ("usr-svc-a", json!("logs"), json!("reader"), "no_rule"),
        ("svc-both", json!("other"), json!("reader"), "issued"),
        ("svc-both", json!("logs"), json!("reader"), "contradiction"),
    ];
    for (sub, team, roles, expected) in cases {
        let token = sign(sub, team.clone(), roles.clone());
        assert_eq!(reason(&stage, &token).await, expected, "{sub} {team} {roles}");
    }
}

#[tokio::test]
async fn keys_that_need_a_token_are_asked_for_with_the_one_that_is_in_the_file_now() {
    let key = SigningKey::new("k1");
    let issuer = Issuer::with(&[&key]).await;
    let stage = Stage::plan()
        .server_line(format!("public_url = \"{PUBLIC_URL}\""))
        .file("token", "first\n")
        .issuer("cluster-a", format!("issuer = \"{}\"\nbearer_token_path = \"token\"", issuer.url))
        .caller_line(CALLER, format!("jwt = [{{ issuer = \"cluster-a\", sub = \"{POD}\" }}]"))
        .start()
        .await;
    until("the keys are there", async || fetched(&stage, "fetched").await == 1).await;
    std::fs::write(stage.file("token"), "second").unwrap();
    stage.advance(seconds(301));
    until("they were asked for again", async || fetched(&stage, "fetched").await == 2).await;
    // Discovery and keys, twice.
    assert_eq!(issuer.authorizations(), ["Bearer first", "Bearer first", "Bearer second", "Bearer second"]);
}

#[tokio::test]
async fn a_key_set_in_a_file_needs_no_network() {
    let (key, other) = (SigningKey::new("k1"), SigningKey::new("k2"));
    let stage = Stage::plan()
        .server_line(format!("public_url = \"{PUBLIC_URL}\""))
        .file("keys.json", json!({"keys": [key.jwk()]}).to_string())
        .issuer("cluster-a", "issuer = \"https://issuer.example\"\njwks_path = \"keys.json\"")
        .caller_line(CALLER, "jwt = [{ issuer = \"cluster-a\", sub = \"me\" }]")
        .start()
        .await;
    let now = stage.clock.timestamp().as_second();
    let claims = json!({"iss": "https://issuer.example", "aud": PUBLIC_URL, "sub": "me", "exp": now + 60});
    ask(&stage, &key.sign(&claims)).await.token();
    assert_eq!(reason(&stage, &other.sign(&claims)).await, "unknown_key");
}

#[tokio::test]
async fn the_host_of_the_keys_is_believed_under_its_own_authority_only() {
    let key = SigningKey::new("k1");
    let (url, authority, _server) = over_tls("localhost", &[&key]).await;
    let lines = |ca: &str| format!("issuer = \"https://cluster.example\"\njwks_url = \"{url}\"\n{ca}");
    for (ca, outcome, expected) in
        [("ca_path = \"own.pem\"", "fetched", "issued"), ("ca_path = \"other.pem\"", "failed", "unknown_key")]
    {
        let (_, other, _other_server) = over_tls("localhost", &[]).await;
        let stage = Stage::plan()
            .server_line(format!("public_url = \"{PUBLIC_URL}\""))
            .file("own.pem", authority.clone())
            .file("other.pem", other)
            .issuer("cluster-a", lines(ca))
            .caller_line(CALLER, "jwt = [{ issuer = \"cluster-a\", sub = \"me\" }]")
            .start()
            .await;
        until("the keys were asked for", async || fetched(&stage, outcome).await == 1).await;
        let now = stage.clock.timestamp().as_second();
        let claims = json!({"iss": "https://cluster.example", "aud": PUBLIC_URL, "sub": "me", "exp": now + 60});
        assert_eq!(reason(&stage, &key.sign(&claims)).await, expected, "{ca}");
    }
}

#[tokio::test]
async fn a_reload_that_leaves_the_issuer_alone_keeps_its_keys_and_a_rule_that_is_taken_away_counts_at_once() {
    let key = SigningKey::new("k1");
    let issuer = Issuer::with(&[&key]).await;
    let stage = cluster(&issuer).await;
    issuer.answer(StatusCode::BAD_GATEWAY, "");
    stage.reload("namespace = \"logs\"", "namespace = \"other\"").await;
    assert_eq!(reason(&stage, &key.sign(&claims(&stage, &issuer))).await, "no_rule");
    stage.reload("namespace = \"other\"", "namespace = \"logs\"").await;
    assert_eq!(reason(&stage, &key.sign(&claims(&stage, &issuer))).await, "issued");
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn keys_outlive_a_change_of_how_they_are_fetched_and_not_one_of_whose_they_are() {
    let key = SigningKey::new("k1");
    let issuer = Issuer::with(&[&key]).await;
    let stage = cluster(&issuer).await;
    issuer.answer(StatusCode::BAD_GATEWAY, "");
    let judged = async || reason(&stage, &key.sign(&claims(&stage, &issuer))).await;
    let section = "[issuers.cluster-a]\n";
    let with = |line: &str| format!("{section}{line}\n");
    stage.reload(section, &with("algorithms = [\"ES256\"]")).await;
    assert_eq!(judged().await, "issued");
    stage.reload("[\"ES256\"]", "[\"RS256\"]").await;
    assert_eq!(judged().await, "algorithm");
    stage.reload("[\"RS256\"]", "[\"RS256\", \"ES256\"]").await;
    assert_eq!(judged().await, "issued");
    let (_, authority, _server) = over_tls("localhost", &[]).await;
    std::fs::write(stage.file("other.pem"), authority).unwrap();
    stage.reload(section, &with("ca_path = \"other.pem\"")).await;
    assert_eq!(judged().await, "issued");
    // The same text from another place may be another one's word.
    let elsewhere = format!("jwks_url = \"{}/elsewhere\"", issuer.url);
    stage.reload(section, &with(&elsewhere)).await;
    assert_eq!(judged().await, "unknown_key");
}

/// An issuer with a name that only a proxy finds.
struct Hidden {
    key: SigningKey,
    url: String,
    authority: String,
    proxy: Proxy,
    _server: DropGuard,
}

const HIDDEN: &str = "keys.cluster.example";

impl Hidden {
    async fn start() -> Self {
        let key = SigningKey::new("k1");
        let (url, authority, server) = over_tls(HIDDEN, &[&key]).await;
        let port = Url::parse(&url).unwrap().port().unwrap();
        let proxy = Proxy::to((Ipv4Addr::LOCALHOST, port).into(), None).await;
        Self { key, url, authority, proxy, _server: server }
    }

    fn plan(&self, lines: &str) -> Plan {
        self.plan_for(&self.url, lines)
    }

    /// With a host that has no address: a proxy would be asked for a tunnel first.
    fn plan_without(&self, lines: &str) -> Plan {
        self.plan_for(&format!("https://{}.cluster.example/keys", "x".repeat(64)), lines)
    }

    fn plan_for(&self, url: &str, lines: &str) -> Plan {
        let issuer = format!("issuer = \"https://cluster.example\"\njwks_url = \"{url}\"\n");
        Stage::plan()
            .server_line(format!("public_url = \"{PUBLIC_URL}\""))
            .file("own.pem", self.authority.clone())
            .issuer("cluster-a", format!("{issuer}ca_path = \"own.pem\"\n{lines}"))
            .caller_line(CALLER, "jwt = [{ issuer = \"cluster-a\", sub = \"me\" }]")
    }

    /// A token of it is a proof, and the proxy was asked for its host once and for nothing else.
    async fn is_believed_through_the_proxy(&self, stage: &Stage) {
        until("the keys were asked for", async || fetched(stage, "fetched").await == 1).await;
        let now = Timestamp::now().as_second().max(stage.clock.timestamp().as_second());
        let claims = json!({"iss": "https://cluster.example", "aud": PUBLIC_URL, "sub": "me", "exp": now + 600});
        ask(stage, &self.key.sign(&claims)).await.token();
        let heads = self.proxy.book().heads;
        assert_eq!(heads.len(), 1);
        assert!(heads.iter().all(|head| head.starts_with(&format!("CONNECT {HIDDEN}:"))), "{heads:?}");
    }

    async fn is_not_asked(&self, stage: &Stage) {
        until("the keys were asked for", async || fetched(stage, "failed").await == 1).await;
        assert!(self.proxy.book().heads.is_empty());
    }
}

#[tokio::test]
async fn keys_are_fetched_through_the_proxy_of_their_issuer_and_not_through_that_of_salesforce() {
    let hidden = Hidden::start().await;
    let own = format!("proxy_url = \"{}\"", hidden.proxy.url());
    hidden.is_not_asked(&hidden.plan_without("").salesforce_line(&own).start().await).await;
    hidden.is_believed_through_the_proxy(&hidden.plan(&own).start().await).await;
}

#[tokio::test]
async fn the_environment_names_the_proxy_to_the_keys_and_the_hosts_that_are_reached_without_it() {
    let hidden = Hidden::start().await;
    let within = |plan: Plan| plan.in_own_process().environment("HTTPS_PROXY", hidden.proxy.url());
    let excepted = within(hidden.plan_without("")).environment("NO_PROXY", ".cluster.example").start().await;
    hidden.is_not_asked(&excepted).await;
    // The proxy of Salesforce is another one, and nobody listens there.
    let stage = within(hidden.plan("")).salesforce_line("proxy_url = \"http://127.0.0.1:1\"").start().await;
    hidden.is_believed_through_the_proxy(&stage).await;
}
