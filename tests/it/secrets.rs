//! Guarantee 9: nothing that is secret is in any log, metric, page, audit record or error, also at the loudest level
//! and when Salesforce throws it back at us.
//!
//! The binary runs in a process of its own: what it writes is all its own, and all of it is searched.

use std::collections::BTreeMap;
use std::fs;

use aquila::authn::ApiKey;
use aquila::simulator::{Door, Fault, FaultAnswer};
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::canary::{self, Search, forms};
use crate::support::issuer::{Issuer, SigningKey};
use crate::support::key::Pair;
use crate::support::plan::{CALLER, username};
use crate::support::reply::Reply;
use crate::support::stage::Stage;

const OPS_TOKEN: &str = "ops-9f2KxQ7LmZt4VbN8cRw3YhJ6dPs1GaEu";
/// A token that Salesforce hands out together with something that is wrong.
const SPOILT: &str =
    "00D5g00000SIMU1!AQEAQSPOILTbXk29vLw7RtYpZ3mQnE8sJhKdF4gUiOxCaVyBeN6TzWqMrLfPjHkGdSoAuIyTcEvXbNmQwErTyUiOpAsDfGhJk";

// --- the search --------------------------------------------------------------

#[test]
fn the_search_finds_a_secret_in_every_form() {
    let key = ApiKey::generate().unwrap();
    let mut search = Search::default();
    search.add("the key", key.expose());
    let basic = BASE64_STANDARD_NO_PAD.encode(format!("{CALLER}:{}", key.expose()));
    let debug = format!("{:?}", key.expose().as_bytes());
    for text in forms(key.expose()).into_iter().chain([basic, debug]) {
        assert!(search.find(&format!("before {text} after")).is_some(), "{text}");
    }
    let half = key.expose().get(20..40).unwrap();
    assert!(search.find(&format!("x{half}x")).is_some());
    assert_eq!(search.find(ApiKey::generate().unwrap().expose()), None);
}

#[test]
fn a_secret_in_the_records_of_a_stage_fails_its_test() {
    let folder = tempfile::tempdir().unwrap();
    let key = ApiKey::generate().unwrap();
    canary::note("a key", key.expose());
    fs::write(folder.path().join("audit.jsonl"), "nothing").unwrap();
    canary::search_folder(folder.path());
    fs::write(folder.path().join("audit.jsonl"), format!("x{}x", key.expose())).unwrap();
    assert!(std::panic::catch_unwind(|| canary::search_folder(folder.path())).is_err());
}

// --- the tour ----------------------------------------------------------------

/// Answers of a token endpoint that has lost its mind, by integration: assertion, key and token come back.
fn spiteful(integration: &str, assertion: &str, key: &str, base_url: &str) -> (u16, String) {
    let spoilt = |more: serde_json::Value| {
        let mut body = json!({"access_token": SPOILT, "token_type": "Bearer", "instance_url": base_url});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        (200, body.to_string())
    };
    match integration {
        "elf-description" => {
            let description = format!("bad assertion {assertion} of {key}\n\"{SPOILT}\" <{key}> token={SPOILT}");
            (400, json!({"error": "invalid_grant", "error_description": description}).to_string())
        }
        "elf-error" => (400, json!({"error": assertion, "error_description": key}).to_string()),
        "elf-page" => (500, format!("<html>{assertion} {key} {SPOILT}</html>")),
        "elf-cut" => (200, format!("{{\"access_token\":\"{SPOILT}\",\"x\":{assertion}")),
        "elf-type" => spoilt(json!({"token_type": assertion})),
        "elf-both" => spoilt(json!({"error": "invalid_grant", "error_description": SPOILT})),
        "elf-member" => spoilt(json!({"id": format!("{SPOILT}\n{assertion}")})),
        "elf-instance" => spoilt(json!({"instance_url": format!("https://evil.example/{SPOILT}?{assertion}")})),
        "elf-host" => spoilt(json!({"instance_url": format!("https://{key}.{assertion}.example")})),
        "elf-user" => spoilt(json!({"instance_url": format!("https://{key}:{assertion}@evil.example")})),
        _ => spoilt(json!({})),
    }
}

const SPITEFUL: &[&str] = &[
    "elf-description",
    "elf-error",
    "elf-page",
    "elf-cut",
    "elf-type",
    "elf-both",
    "elf-member",
    "elf-instance",
    "elf-host",
    "elf-user",
    "elf-rest",
];

/// Everything a caller is told that is not a token, and the tokens.
#[derive(Default)]
struct Seen {
    errors: Vec<String>,
    tokens: Vec<String>,
}

impl Seen {
    fn note(&mut self, reply: &Reply) {
        if reply.status == 200 {
            self.tokens.push(reply.token().text);
        } else {
            self.errors.push(format!("{:?} {}", reply.headers, reply.body));
        }
    }
}

async fn good_requests(stage: &Stage, seen: &mut Seen) {
    let key = stage.key(CALLER);
    let url = format!("http://{}/services/oauth2/token", stage.broker().callers);
    let form =
        |body: String| stage.http.post(&url).header("content-type", "application/x-www-form-urlencoded").body(body);
    for request in [
        stage.get("/token/elf-prod").bearer_auth(key),
        stage.get("/token/elf-prod").basic_auth(CALLER, Some(key)),
        form("grant_type=client_credentials&scope=elf-prod".to_owned()).basic_auth(CALLER, Some(key)),
        form(format!("grant_type=client_credentials&scope=elf-prod&client_id={CALLER}&client_secret={key}")),
    ] {
        let reply = Reply::of(request).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        seen.note(&reply);
    }
    // HTTP/2 has a log of its own.
    #[expect(clippy::disallowed_methods, reason = "a caller that speaks HTTP/2")]
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]).http2_prior_knowledge();
    let url = format!("http://{}/token/elf-prod", stage.broker().callers);
    seen.note(&Reply::of(builder.build().unwrap().get(url).bearer_auth(key)).await);
}

async fn bad_requests(stage: &Stage, seen: &mut Seen) {
    let key = stage.key(CALLER);
    let cut = key.get(..50).unwrap();
    let url = format!("http://{}/token", stage.broker().callers);
    let form =
        |body: String| stage.http.post(&url).header("content-type", "application/x-www-form-urlencoded").body(body);
    let with = |value: String| stage.get("/token/elf-prod").header("authorization", value);
    for request in [
        stage.get("/token/elf-prod").bearer_auth(cut),
        stage.get("/token/crm-live").bearer_auth(key),
        stage.get(&format!("/token/{key}")).bearer_auth(key),
        stage.get(&format!("/token?integration={key}")).bearer_auth(key),
        stage.get(&format!("/token?api_key={key}&integration=elf-prod&integration={key}")).bearer_auth(key),
        stage.get(&format!("/token?min_ttl={key}&integration=elf-prod")).bearer_auth(key),
        stage.get(&format!("/{key}/{key}")),
        stage.get(&format!("/token/elf-prod?access_token={key}")),
        stage.get("/token/elf-prod").header("x-request-id", key).header("traceparent", key).bearer_auth(cut),
        with(key.to_owned()),
        with(format!("Digest {key}")),
        with(format!("Basic {key}")),
        with(format!("Bearer {key} {key}")),
        stage.get("/token/elf-prod").basic_auth(key, Some(key)),
        form(format!("grant_type={key}&client_secret={key}")),
        form(format!("grant_type=client_credentials&client_secret={key}&client_secret={key}")),
        form(format!("grant_type=client_credentials&client_secret={key}&scope={key}")),
        form(format!("grant_type=client_credentials&client_secret={key}&resource={key}&audience={key}")),
        form(format!("grant_type=client_credentials&client_secret=%zz{key}")),
        stage
            .http
            .post(&url)
            .header("content-type", "application/json")
            .body(json!({"client_secret": key}).to_string()),
        stage.http.post(&url).header("content-type", format!("text/{key}")).body(key.to_owned()),
        stage.http.put(&url).body(key.to_owned()).bearer_auth(key),
    ] {
        let reply = Reply::of(request).await;
        assert_ne!(reply.status, 200, "{}", reply.body);
        seen.note(&reply);
    }
    for bytes in [
        format!("{key} /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        format!("GET /token HTTP/1.1\r\nHost: x\r\nAuthorization Bearer {key}\r\n\r\n"),
        format!("GET /token/{key} {key}\r\n\r\n"),
        format!("Authorization: Bearer {key}\r\n\r\n"),
    ] {
        seen.errors.push(raw_exchange(stage, &bytes).await);
    }
}

async fn raw_exchange(stage: &Stage, bytes: &str) -> String {
    let mut stream = TcpStream::connect(stage.broker().callers).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn spiteful_upstream(stage: &Stage, seen: &mut Seen) {
    // The confirm call throws the token back as well, as a refusal that says nothing about the session.
    let body = json!([{"errorCode": SPOILT, "message": SPOILT}]).to_string();
    let content_type = Some("application/json".to_owned());
    let thrown = FaultAnswer::Raw { status: 401, content_type, headers: BTreeMap::new(), body };
    stage.simulator.force(Fault::always(Door::Rest, thrown));
    for &integration in SPITEFUL {
        let (key, base_url) = (stage.key(CALLER).to_owned(), stage.simulator.base_url());
        stage.relay().answer(Box::new(move |assertion| spiteful(integration, assertion, &key, &base_url)));
        let reply = stage.ask_for(integration).await;
        assert_eq!(reply.status == 200, integration == "elf-rest", "{integration}: {}", reply.body);
        seen.note(&reply);
    }
    stage.relay().answer_truly();
    stage.simulator.clear_faults();
}

fn search_for_all(stage: &Stage, seen: &Seen) -> Search {
    let mut search = Search::default();
    search.add("the caller's key", stage.key(CALLER));
    search.add("the ops token", OPS_TOKEN);
    search.add("the control secret", stage.simulator.control_secret());
    for token in &seen.tokens {
        // What stands before is the org's id, which is not secret.
        search.add("an access token", token.split_once("!AQ").unwrap().1.trim_start_matches(".SIMULATED."));
    }
    for assertion in stage.relay().assertions() {
        search.add("an assertion", &assertion);
    }
    for line in Pair::of_this_process().private_key.lines().filter(|line| line.len() == 64) {
        search.add("a line of the private key", line);
    }
    search
}

#[tokio::test]
async fn no_secret_is_in_anything_the_service_writes_or_answers() {
    let mut plan = Stage::plan().integration("crm-live").relayed().in_own_process().log_level("trace");
    for name in SPITEFUL {
        plan = plan.integration(name);
    }
    let folder = tempfile::tempdir().unwrap();
    let ops_token = folder.path().join("ops-token");
    fs::write(&ops_token, OPS_TOKEN).unwrap();
    let mut stage = plan.ops_line(format!("bearer_token_path = {:?}", ops_token.to_str().unwrap())).start().await;

    let mut seen = Seen::default();
    good_requests(&stage, &mut seen).await;
    bad_requests(&stage, &mut seen).await;
    spiteful_upstream(&stage, &mut seen).await;
    let mut written = seen.errors.concat();
    for path in ["/metrics", "/status.json", "/status", "/nothing"] {
        let url = format!("http://{}{path}", stage.broker().ops);
        let reply = Reply::of(stage.http.get(&url).bearer_auth(OPS_TOKEN)).await;
        assert_eq!(reply.status == 200, path != "/nothing", "{}", reply.body);
        written.push_str(&reply.body);
        written.push_str(&Reply::of(stage.http.get(&url).bearer_auth(format!("{OPS_TOKEN}x"))).await.body);
    }
    stage.stop_broker().await;

    let log = fs::read_to_string(stage.file("stderr.txt")).unwrap();
    let audit = fs::read_to_string(stage.file("audit.jsonl")).unwrap();
    // All of it was really there to be searched.
    assert!(log.contains("\"TRACE\"") && log.contains("elf-description") && log.contains("no new token"), "{log}");
    assert!(written.contains("aquila_mints_total") && written.contains("last_failure"), "{written}");
    assert_eq!(audit.lines().filter(|line| line.contains("\"issued\"")).count(), seen.tokens.len());
    assert!(stage.relay().assertions().len() > SPITEFUL.len() && seen.tokens.contains(&SPOILT.to_owned()));
    assert!(stage.simulator.counts().by_user.contains_key(&username("elf-prod")));

    let search = search_for_all(&stage, &seen);
    let stdout = fs::read_to_string(stage.file("stdout.txt")).unwrap();
    for (name, text) in [("log", &log), ("stdout", &stdout), ("audit", &audit), ("answers and pages", &written)] {
        assert_eq!(search.find(text), None, "found in {name}");
    }
}

#[tokio::test]
async fn no_part_of_a_callers_jwt_is_in_anything_the_service_writes_or_answers() {
    const CLUSTER_TOKEN: &str = "cluster-Zk3vQ8xLm2RtY7WnB4pHsD9cFgJ6aEuT";
    let (key, stranger) = (SigningKey::new("k1"), SigningKey::new("canary-kid-5PqWm8ZtXv"));
    let issuer = Issuer::with(&[&key]).await;
    let lines = format!("issuer = \"{}\"\nbearer_token_path = \"cluster-token\"", issuer.url);
    let mut stage = Stage::plan()
        .in_own_process()
        .log_level("trace")
        .server_line("public_url = \"https://aquila.example\"")
        .file("cluster-token", CLUSTER_TOKEN)
        .file("caller.pem", key.public_pem())
        .issuer("cluster-a", lines)
        .caller_line(CALLER, "jwt = [{ issuer = \"cluster-a\", sub = \"pod-*\" }]")
        .caller_line(CALLER, "public_keys = [{ path = \"caller.pem\", algorithm = \"ES256\" }]")
        .caller_line(CALLER, "jwt_bearer_grant = true")
        .start()
        .await;
    let now = stage.clock.timestamp().as_second();
    let (subject, jti) = ("pod-canary-sub-7RtLw2KnZx", "canary-jti-9HgVb4McQe");
    let (aud, exp) = ("https://aquila.example", now + 200);
    let identity = json!({"iss": issuer.url, "sub": subject, "aud": aud, "exp": exp, "jti": jti});
    let proof = json!({"iss": CALLER, "sub": CALLER, "aud": aud, "exp": exp, "jti": jti});
    let grant = json!({"iss": CALLER, "sub": username("elf-prod"), "aud": aud, "exp": exp});
    let wrong = json!({"iss": subject, "sub": [subject], "aud": jti, "exp": jti});
    let mut search = Search::default();
    let (mut written, mut good) = (String::new(), 0);
    for (name, secret) in [("the cluster's token", CLUSTER_TOKEN), ("a subject", subject), ("a jti", jti)] {
        search.add(name, secret);
    }
    search.add("the name of a key", &stranger.kid);
    for claims in [&identity, &proof, &grant, &wrong] {
        for token in [key.sign(claims), stranger.sign(claims), format!("{}x", key.sign(claims))] {
            search.add("a JWT", &token);
            let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
            let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
            let proved = format!("grant_type=client_credentials&client_assertion_type={kind}&client_assertion={token}");
            for request in [
                stage.get("/token").bearer_auth(&token),
                stage.post("/token", &proved),
                stage.post("/token", &format!("grant_type={grant}&assertion={token}")),
                stage.get(&format!("/token/{token}")).bearer_auth(stage.key(CALLER)),
            ] {
                let reply = Reply::of(request).await;
                good += usize::from(reply.status == 200);
                written.push_str(if reply.status == 200 { "" } else { &reply.body });
            }
        }
    }
    assert_eq!(good, 3, "{written}");
    written.push_str(&stage.ops_page("/metrics").await);
    written.push_str(&stage.ops_page("/status.json").await);
    written.push_str(&stage.ops_page("/status").await);
    assert!(issuer.authorizations().iter().any(|sent| sent.contains(CLUSTER_TOKEN)));
    stage.stop_broker().await;
    let log = fs::read_to_string(stage.file("stderr.txt")).unwrap();
    let audit = fs::read_to_string(stage.file("audit.jsonl")).unwrap();
    assert!(log.contains("\"TRACE\"") && audit.contains("unknown_key") && audit.contains("malformed"), "{audit}");
    for (name, text) in [("log", &log), ("audit", &audit), ("answers and pages", &written)] {
        assert_eq!(search.find(text), None, "found in {name}");
    }
}
