//! The API description and the running service say the same: no route, method, status, header or member is in one alone.
//!
//! What the description says of the closed sets of the code (refusals, causes) is held in `src/http/openapi.rs`.

#![expect(clippy::indexing_slicing, reason = "a JSON value answers an unknown member with null")]

mod description;
mod service;
mod yaml;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use description::{Answer, Description, Door, METHODS};
use reqwest::RequestBuilder;
use serde_json::Value;
use service::{OPS_TOKEN, SITE_TOKEN, Service, answer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type TestResult = anyhow::Result<()>;

const OUT_OF_DATE: &str = "openapi/aquila.openapi.json is not what openapi/aquila.openapi.yaml makes; \
                           write it anew: cargo run --example openapi_twin > openapi/aquila.openapi.json";

#[test]
fn the_json_twin_is_made_from_the_yaml() -> TestResult {
    ensure!(fs::read_to_string(path("json")).unwrap_or_default() == twin()?, OUT_OF_DATE);
    Ok(())
}

#[test]
fn the_version_is_that_of_the_crate() -> TestResult {
    assert_eq!(description()?.document["info"]["version"], env!("CARGO_PKG_VERSION"));
    Ok(())
}

#[test]
fn every_example_holds_to_its_schema() -> TestResult {
    let description = description()?;
    let mut judged = 0;
    for kind in ["responses", "requestBodies"] {
        for (name, part) in description.document["components"][kind].as_object().into_iter().flatten() {
            for media in part["content"].as_object().into_iter().flat_map(serde_json::Map::values) {
                for (example, given) in media["examples"].as_object().into_iter().flatten() {
                    let problems = description.problems(&media["schema"], &given["value"])?;
                    ensure!(problems.is_empty(), "{name}, example {example}: {problems:#?}");
                    judged += 1;
                }
            }
        }
    }
    ensure!(judged > 30, "only {judged} examples were found");
    Ok(())
}

#[test]
fn every_component_is_used() -> TestResult {
    let description = description()?;
    let text = description.document.to_string();
    for (kind, all) in description.document["components"].as_object().context("no components")? {
        for name in all.as_object().into_iter().flat_map(serde_json::Map::keys) {
            let reference = format!("\"#/components/{kind}/{name}\"");
            ensure!(kind == "securitySchemes" || text.contains(&reference), "nothing refers to {kind}/{name}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_service_serves_the_description_itself() -> TestResult {
    let service = Service::start().await?;
    let served = answer(service.request(Door::Callers, "get", "/openapi.json")?).await?;
    assert_eq!(served.status, 200);
    assert_eq!(String::from_utf8(served.body)?, fs::read_to_string(path("json"))?);
    service.stop().await
}

#[tokio::test]
async fn each_path_takes_the_methods_that_are_described_and_no_other() -> TestResult {
    let (description, service) = (description()?, Service::start().await?);
    for door in [Door::Callers, Door::Ops] {
        for (path, listed) in description.paths(door) {
            let concrete = path.replace("{integration}", "elf-demo").replace("{path}", "broker");
            for method in METHODS.into_iter().chain(["query", "propfind"]) {
                let came = answer(service.request(door, method, &concrete)?).await?;
                let place = format!("{door:?} {method} {path}: {came:?}");
                ensure!((came.status == 405) != listed.contains(&method), "{place}");
                ensure!(came.status != 404, "{place}");
                if came.status == 405 {
                    let allowed: BTreeSet<_> = came.header("allow").unwrap_or_default().split(',').collect();
                    let upper: Vec<_> = listed.iter().map(|method| method.to_ascii_uppercase()).collect();
                    ensure!(allowed == upper.iter().map(String::as_str).collect(), "{place}");
                    if method != "head" {
                        judge_problem(&description, &came, "method_not_allowed").context(place)?;
                    }
                }
            }
        }
    }
    service.stop().await
}

#[tokio::test]
async fn a_path_of_one_door_is_not_on_the_other() -> TestResult {
    let (description, service) = (description()?, Service::start().await?);
    for (door, other) in [(Door::Callers, Door::Ops), (Door::Ops, Door::Callers)] {
        let here: Vec<_> = description.paths(door);
        for (path, methods) in description.paths(other) {
            if here.iter().any(|(known, _)| *known == path) {
                continue;
            }
            for method in methods.into_iter().filter(|method| *method != "head") {
                let came = answer(service.request(door, method, path)?).await?;
                judge_problem(&description, &came, "not_found").with_context(|| format!("{door:?} {method} {path}"))?;
            }
        }
    }
    service.stop().await
}

#[tokio::test]
async fn status_and_token_name_the_instance_alike() -> TestResult {
    let service = Service::start().await?;
    let get = service.request(Door::Callers, "get", "/token")?.bearer_auth(service.one.expose());
    let token = answer(get).await?.json();
    let get = service.request(Door::Ops, "get", "/status.json")?.bearer_auth(OPS_TOKEN);
    let status = answer(get).await?.json();
    ensure!(token["instance_url"].is_string(), "{token}");
    assert_eq!(status["integrations"][0]["token"]["instance_url"], token["instance_url"]);
    service.stop().await
}

#[tokio::test]
async fn a_request_without_exactly_one_sound_host_is_no_http() -> TestResult {
    let service = Service::start().await?;
    for (hosts, status) in [
        ("host: aquila.example\r\n", 200),
        ("host: [::1]:8080\r\n", 200),
        ("", 400),
        ("host: a\r\nhost: b\r\n", 400),
        ("host: a\r\nhost: a\r\n", 400),
        ("host: a b\r\n", 400),
        ("host: a/b\r\n", 400),
        ("host: user@a\r\n", 400),
    ] {
        let came = raw(&service, "GET /healthz HTTP/1.1\r\nconnection: close\r\n", &format!("{hosts}\r\n")).await?;
        ensure!(came.status == status && (status == 200 || came.body.is_empty()), "{hosts:?}: {came:?}");
    }
    let old = raw(&service, "GET /healthz HTTP/1.0\r\n", "\r\n").await?;
    ensure!(old.status == 200, "HTTP/1.0 knows no Host: {old:?}");
    service.stop().await
}

#[tokio::test]
async fn a_broken_body_and_two_content_types_are_malformed_requests() -> TestResult {
    let (description, service) = (description()?, Service::start().await?);
    let head = "POST /token HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    for rest in [
        format!("transfer-encoding: chunked\r\n{FORM}no number\r\n"),
        format!("content-length: 3\r\ncontent-type: application/json\r\n{FORM}a=b"),
    ] {
        let came = raw(&service, head, &rest).await?;
        ensure!(came.status == 400 && came.json()["error"] == "invalid_request", "{rest:?}: {came:?}");
        assert_eq!(description.judge("/token", "post", &came)?, Vec::<String>::new());
    }
    service.stop().await
}

#[tokio::test]
async fn heads_over_the_limits_are_refused_as_the_text_says() -> TestResult {
    let service = Service::start().await?;
    let many: String = (0..64).map(|number| format!("x-{number}: y\r\n")).collect();
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(80 * 1024));
    for (line, rest) in [("GET /healthz HTTP/1.1\r\n", format!("{many}\r\n")), (long.as_str(), "\r\n".to_owned())] {
        let came = raw(&service, line, &format!("host: x\r\nconnection: close\r\n{rest}")).await?;
        ensure!(came.status == 431 && came.body.is_empty(), "{came:?}");
    }
    service.stop().await
}

fn judge_problem(description: &Description, came: &Answer, error: &str) -> TestResult {
    let schema = &description.document["components"]["schemas"]["Problem"];
    let problems = description.problems(schema, &came.json())?;
    ensure!(problems.is_empty() && came.json()["error"] == error, "{came:?}: {problems:?}");
    ensure!(came.header("content-type") == Some("application/problem+json"), "{came:?}");
    Ok(())
}

/// A request and the status it is made for.
type Case = (Door, &'static str, &'static str, u16, RequestBuilder);

#[tokio::test]
async fn real_answers_are_as_described_to_the_last_member() -> TestResult {
    let (description, service) = (description()?, Service::start().await?);
    let (mut seen, mut limited) = (BTreeSet::new(), BTreeSet::new());
    let mut cases = tokens(&service)?;
    cases.extend(posts(&service)?);
    cases.extend(reports(&service)?);
    cases.extend(documents(&service)?);
    cases.extend(ops(&service)?);
    for (door, method, path, status, request) in cases {
        let came = answer(request).await?;
        let place = format!("{door:?} {method} {path}, made for {status}: {came:?}");
        ensure!(came.status == status, "{place}");
        let problems = description.judge(path, method, &came).with_context(|| place.clone())?;
        ensure!(problems.is_empty(), "{place}\n{problems:#?}");
        seen.insert((path, method, status));
    }
    // After everything else that proves itself wrongly: so many failures that all further ones are told to wait.
    for _ in 0..100 {
        answer(service.request(Door::Callers, "get", "/token")?.bearer_auth("wrong")).await?;
    }
    for (method, path) in limited_operations(&description) {
        let target = path.replace("{integration}", "elf-demo");
        let request = service.request(Door::Callers, &method, &target)?.bearer_auth("wrong");
        let request = if method == "post" { form(request, &[("grant_type", "client_credentials")]) } else { request };
        let came = answer(request).await?;
        ensure!(came.status == 429, "{method} {path}: {came:?}");
        let problems = description.judge(&path, &method, &came)?;
        ensure!(problems.is_empty(), "{method} {path}\n{problems:#?}");
        limited.insert((path, method));
    }
    let slow = slow_body(&service).await?;
    ensure!(slow.status == 408, "{slow:?}");
    assert_eq!(description.judge("/token", "post", &slow)?, Vec::<String>::new());
    service.ending.graceful.cancel();
    for method in ["get", "head"] {
        let leaving = answer(service.request(Door::Ops, method, "/readyz")?).await?;
        ensure!(leaving.status == 503, "{leaving:?}");
        assert_eq!(description.judge("/readyz", method, &leaving)?, Vec::<String>::new());
        seen.insert(("/readyz", method, 503));
    }

    let unseen =
        description.unseen(&["TokenForPost", "Token", "Problem", "OAuthError", "Metadata", "Status", "Introspection"]);
    // Only where traces are kept: tests/tools/traces.py sees it.
    assert_eq!(unseen, ["/components/schemas/Problem/properties/trace_id"], "members that no answer had");
    let unseen = description.unseen(&["IntegrationStatus", "TokenStatus", "FailureStatus"]);
    assert_eq!(unseen, Vec::<String>::new(), "members that no answer had");
    assert_eq!(never_answered(&description, &seen, &limited), Vec::<String>::new(), "statuses that no request got");
    service.stop().await
}

/// Operations that can be told to slow down: method, path.
fn limited_operations(description: &Description) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, methods) in description.paths(Door::Callers) {
        for method in methods {
            if !description.document["paths"][path][method]["responses"]["429"].is_null() {
                found.push((method.to_owned(), path.to_owned()));
            }
        }
    }
    found
}

/// Described and not seen, but for what no request from outside brings about.
fn never_answered(
    description: &Description,
    seen: &BTreeSet<(&str, &str, u16)>,
    limited: &BTreeSet<(String, String)>,
) -> Vec<String> {
    let mut never = Vec::new();
    for (path, methods) in description.paths(Door::Callers).into_iter().chain(description.paths(Door::Ops)) {
        let decides = path.ends_with("token") || path.starts_with("/token");
        for method in methods {
            let responses = description.document["paths"][path][method]["responses"].as_object();
            for status in responses.into_iter().flat_map(serde_json::Map::keys) {
                let status: u16 = status.parse().unwrap_or_default();
                let excused = match status {
                    // A fault of ours, which nobody knows how to cause.
                    500 => true,
                    // Only when a handler that does nothing needs more than ten seconds.
                    503 => !decides && path != "/readyz",
                    // Five seconds each: one route shows it, and all share the reader.
                    408 => true,
                    429 => limited.contains(&(path.to_owned(), method.to_owned())),
                    // This service has a public_url.
                    404 => path == "/.well-known/oauth-authorization-server",
                    _ => false,
                };
                if !excused && !seen.contains(&(path, method, status)) {
                    never.push(format!("{method} {path} {status}"));
                }
            }
        }
    }
    never
}

fn tokens(service: &Service) -> anyhow::Result<Vec<Case>> {
    let (one, several) = (service.one.expose(), service.several.expose());
    let mut cases = Vec::new();
    for method in ["get", "head"] {
        let get = |path: &str| service.request(Door::Callers, method, path);
        let mut add = |path, status, request| cases.push((Door::Callers, method, path, status, request));
        add("/token", 200, get("/token")?.bearer_auth(one));
        add("/token", 200, get("/token?integration=elf-site")?.basic_auth("several", Some(several)));
        add("/token", 200, get("/token?integration=elf-demo&min_ttl=600")?.bearer_auth(several));
        add("/token", 400, get("/token")?.bearer_auth(several));
        add("/token", 400, get("/token?min_ttl=x")?.bearer_auth(one));
        add("/token", 401, get("/token")?);
        add("/token", 401, get("/token")?.bearer_auth("wrong"));
        add("/token", 403, get("/token?integration=nobody")?.bearer_auth(one));
        add("/token", 502, get("/token?integration=elf-refused")?.bearer_auth(several));
        add("/token", 503, get("/token?integration=elf-down")?.bearer_auth(several));
        let path = "/token/{integration}";
        add(path, 200, get("/token/elf-demo")?.bearer_auth(one));
        add(path, 400, get("/token/elf-demo?integration=elf-site")?.bearer_auth(several));
        add(path, 401, get("/token/elf-demo")?);
        add(path, 403, get("/token/elf-site")?.bearer_auth(one));
        add(path, 502, get("/token/elf-refused")?.bearer_auth(several));
        add(path, 503, get("/token/elf-down")?.bearer_auth(several));
    }
    Ok(cases)
}

fn posts(service: &Service) -> anyhow::Result<Vec<Case>> {
    let (one, several) = (service.one.expose(), service.several.expose());
    let grant = ("grant_type", "client_credentials");
    let places = [
        ("/token", "/token?integration="),
        ("/token/{integration}", "/token/"),
        ("/services/oauth2/token", "/services/oauth2/token?integration="),
        ("/integrations/{integration}/services/oauth2/token", "/integrations/{}/services/oauth2/token"),
    ];
    let mut cases = Vec::new();
    for (path, pattern) in places {
        let post = |name: &str| {
            let named = match pattern.contains("{}") {
                true => pattern.replace("{}", name),
                false => format!("{pattern}{name}"),
            };
            service.request(Door::Callers, "post", &named)
        };
        let mut add = |status, request| cases.push((Door::Callers, "post", path, status, request));
        let basic = |request: RequestBuilder| request.basic_auth("several", Some(several));
        add(200, form(basic(post("elf-demo")?), &[grant, ("scope", "any words")]));
        add(200, form(basic(post("elf-site")?), &[grant]));
        add(200, form(post("elf-demo")?, &[grant, ("client_id", "one"), ("client_secret", one)]));
        add(400, form(basic(post("elf-demo")?), &[("grant_type", "password")]));
        add(400, form(basic(post("elf-demo")?), &[("x", "y")]));
        let signed = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
        add(400, form(post("elf-demo")?, &[signed, ("assertion", "a.b.c")]));
        let by_jwt = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        add(401, form(post("elf-demo")?, &[grant, by_jwt, ("client_assertion", "a.b.c")]));
        add(400, basic(post("elf-demo")?).header("content-type", "application/json").body("{}"));
        add(400, form(post("elf-site")?.bearer_auth(one), &[grant]));
        add(400, form(basic(post("elf-demo")?), &[grant, ("resource", "https://elsewhere.example")]));
        add(401, form(post("elf-demo")?, &[grant]));
        add(401, form(post("elf-demo")?, &[grant, ("client_id", "several"), ("client_secret", one)]));
        add(413, form(basic(post("elf-demo")?), &[grant, ("x", "y".repeat(17 * 1024).as_str())]));
        add(502, form(basic(post("elf-refused")?), &[grant]));
        add(503, form(basic(post("elf-down")?), &[grant]));
    }
    let scoped = service.request(Door::Callers, "post", "/token")?.bearer_auth(several);
    cases.push((Door::Callers, "post", "/token", 400, form(scoped, &[grant, ("scope", "nobody")])));
    let scoped = service.request(Door::Callers, "post", "/token")?.bearer_auth(several);
    cases.push((Door::Callers, "post", "/token", 200, form(scoped, &[grant, ("scope", "elf-demo")])));
    Ok(cases)
}

/// What a caller says of a token, and what it is told of one.
fn reports(service: &Service) -> anyhow::Result<Vec<Case>> {
    let (one, several) = (service.one.expose(), service.several.expose());
    let mut cases = Vec::new();
    for path in ["/revoke", "/introspect"] {
        let post = || service.request(Door::Callers, "post", path);
        let mut add = |status, request| cases.push((Door::Callers, "post", path, status, request));
        let token = ("token", SITE_TOKEN);
        add(200, form(post()?.basic_auth("several", Some(several)), &[token]));
        add(200, form(post()?.bearer_auth(one), &[token, ("token_type_hint", "access_token")]));
        add(400, form(post()?.bearer_auth(one), &[("x", "y")]));
        add(401, form(post()?, &[token]));
        add(413, form(post()?.bearer_auth(one), &[("token", "y".repeat(17 * 1024).as_str())]));
    }
    Ok(cases)
}

fn form(request: RequestBuilder, parameters: &[(&str, &str)]) -> RequestBuilder {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    request.header("content-type", "application/x-www-form-urlencoded").body(body)
}

fn documents(service: &Service) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for method in ["get", "head"] {
        let get = |path: &str| service.request(Door::Callers, method, path);
        let mut add = |path, status, request| cases.push((Door::Callers, method, path, status, request));
        let below = "/.well-known/oauth-authorization-server/{path}";
        add("/.well-known/oauth-authorization-server", 200, get("/.well-known/oauth-authorization-server")?);
        add(below, 200, get("/.well-known/oauth-authorization-server/broker")?);
        add(below, 404, get("/.well-known/oauth-authorization-server/other")?);
        add(below, 404, get("/.well-known/oauth-authorization-server/.well-known/oauth-authorization-server")?);
        add("/openapi.json", 200, get("/openapi.json")?);
        add("/healthz", 200, get("/healthz")?);
    }
    Ok(cases)
}

fn ops(service: &Service) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for method in ["get", "head"] {
        let get = |path: &str| service.request(Door::Ops, method, path);
        for path in ["/healthz", "/livez", "/readyz"] {
            cases.push((Door::Ops, method, path, 200, get(path)?));
        }
        for path in ["/metrics", "/status", "/status.json"] {
            cases.push((Door::Ops, method, path, 200, get(path)?.bearer_auth(OPS_TOKEN)));
            cases.push((Door::Ops, method, path, 401, get(path)?));
        }
    }
    Ok(cases)
}

/// A body that is announced and does not come.
async fn slow_body(service: &Service) -> anyhow::Result<Answer> {
    raw(service, "POST /token HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 10\r\n", FORM).await
}

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n\r\n";

/// The answer of the callers' door to these bytes; they ask for the connection to be closed.
async fn raw(service: &Service, head: &str, rest: &str) -> anyhow::Result<Answer> {
    let mut stream = tokio::net::TcpStream::connect(service.callers).await?;
    stream.write_all(format!("{head}{rest}").as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let (head, body) = text.split_once("\r\n\r\n").context("no head")?;
    let (line, headers) = head.split_once("\r\n").context("no headers")?;
    let headers = headers.lines().filter_map(|line| line.split_once(": "));
    Ok(Answer {
        status: line.split(' ').nth(1).context("no status")?.parse()?,
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body: body.as_bytes().to_vec(),
    })
}

fn description() -> anyhow::Result<Description> {
    let node = yaml::read(&fs::read_to_string(path("yaml"))?)?;
    let document: Value = serde_json::to_value(&node)?;
    Ok(Description::new(document))
}

fn twin() -> anyhow::Result<String> {
    let node = yaml::read(&fs::read_to_string(path("yaml"))?)?;
    Ok(serde_json::to_string_pretty(&node)? + "\n")
}

fn path(ending: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("openapi/aquila.openapi.{ending}"))
}
