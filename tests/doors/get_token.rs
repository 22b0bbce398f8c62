//! `GET /token`: its three forms, its answer to the last member, and how it says no.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::house::House;
use crate::support::wire::{Answer, get, request};

/// What every answer with a token must be, whatever the route.
pub(crate) fn is_a_token(answer: &Answer, integration: &str) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    assert!(answer.header("date").is_some());
    let body = answer.json();
    let members = body.as_object().unwrap();
    assert!(members.len() <= 15, "{body}");
    assert!(members.values().all(|value| value.is_string() || value.is_u64()), "flat: {body}");
    assert!(body["access_token"].as_str().unwrap().starts_with("00D"));
    assert_eq!(body["token_type"], "Bearer");
    assert!(body["expires_in"].as_u64().unwrap() > 300, "{body}");
    // The text, not only the value: `3600.0` and `36e2` are numbers too, and break clients.
    let digits =
        answer.text().split("\"expires_in\":").nth(1).unwrap().chars().take_while(|c| *c != ',').collect::<String>();
    assert!(digits.bytes().all(|byte| byte.is_ascii_digit()), "{digits}");
    let issued_at = body["issued_at"].as_str().unwrap();
    assert!(issued_at.len() == 13 && issued_at.bytes().all(|byte| byte.is_ascii_digit()), "milliseconds: {issued_at}");
    assert_eq!(body["integration"], integration);
    assert_eq!(body["lifetime_source"], "confirmed");
    assert!(body["id"].as_str().unwrap().contains("/id/00D"), "{body}");
    assert!(body.get("refresh_token").is_none());
    // Fluent Bit does not un-escape, and a token that arrives escaped is no token.
    assert!(!answer.text().contains('\\'), "{}", answer.text());
}

#[tokio::test]
async fn all_three_forms_answer_with_the_same_token() {
    let house = House::open().await;
    let key = house.key("shipper");
    let first = house.ask(get("/token?integration=elf-prod").bearer(key)).await;
    for target in
        ["/token/elf-prod", "/token", "/token?", "/token?unknown=x&unknown=y", "/token/elf-prod?integration=elf-prod"]
    {
        let answer = house.ask(get(target).bearer(key)).await;
        is_a_token(&answer, "elf-prod");
        assert_eq!(answer.member("access_token"), first.member("access_token"), "{target}");
    }
    is_a_token(&first, "elf-prod");
    assert_eq!(first.member("instance_url"), house.simulator.base_url());
    assert_eq!(first.json().get("scope"), None, "Salesforce's scopes are not the caller's words");
    assert_eq!(house.simulator.counts().token_posts, 1);
}

#[tokio::test]
async fn the_members_stand_in_the_order_in_which_people_read_them_and_no_other_is_there() {
    let house = House::open().await;
    let text = house.ask(get("/token").bearer(house.key("shipper"))).await.text();
    let names = [
        "access_token",
        "token_type",
        "expires_in",
        "instance_url",
        "id",
        "integration",
        "issued_at",
        "lifetime_source",
    ];
    let places: Vec<usize> = names.iter().map(|name| text.find(&format!("\"{name}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap().as_object().unwrap().len(), names.len(), "{text}");
}

#[tokio::test]
async fn a_request_id_is_in_the_header_the_problem_and_the_audit_record_and_never_the_callers_own() {
    let house = House::open().await;
    let granted = house.ask(get("/token").bearer(house.key("shipper")).header("X-Request-Id", "mine")).await;
    let refused = house.ask(get("/token/crm").bearer(house.key("shipper"))).await;
    let unknown = house.ask(get("/nowhere")).await;
    for problem in [&refused, &unknown] {
        assert_eq!(problem.header("x-request-id").unwrap(), problem.member("request_id"));
    }
    let ids: Vec<String> =
        house.records(2).await.iter().map(|record| record["request_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, [granted.header("x-request-id").unwrap(), refused.header("x-request-id").unwrap()]);
    assert_ne!(ids[0], ids[1]);
    assert_ne!(ids[0], "mine");
}

#[tokio::test]
async fn a_get_without_proof_is_challenged_and_told_no_error_and_a_wrong_one_is_told_so() {
    let house = House::open().await;
    let (good, bearer) = (house.key("shipper"), "Bearer realm=\"aquila\"");
    let wrong = aquila::authn::ApiKey::generate().unwrap();
    let crippled = format!("{}x", &good[..good.len() - 1]);
    let plain = get("/token");
    let cases = [
        ("nothing", plain.clone(), bearer.to_owned()),
        (
            "query",
            get(&format!("/token?access_token={good}&client_id=shipper&client_secret={good}")),
            bearer.to_owned(),
        ),
        ("another's", plain.clone().bearer(wrong.expose()), format!("{bearer}, error=\"invalid_token\"")),
        ("typo", plain.clone().bearer(&crippled), format!("{bearer}, error=\"invalid_token\"")),
        ("false name", plain.clone().basic("wide", good), bearer.to_owned()),
        ("unknown scheme", plain.clone().header("Authorization", "Digest x"), bearer.to_owned()),
        ("empty", plain.clone().header("Authorization", ""), bearer.to_owned()),
    ];
    for (case, request, challenge) in cases {
        let answer = house.ask(request).await;
        assert_eq!(answer.status, 401, "{case}");
        let challenges = answer.all("www-authenticate");
        assert_eq!(challenges, [&challenge, "Basic realm=\"aquila\", charset=\"UTF-8\""], "{case}");
        is_a_problem(&answer, "unauthenticated");
    }
    assert_eq!(house.simulator.counts().token_posts, 0, "nothing was asked for a stranger");
}

#[tokio::test]
async fn a_key_is_taken_as_bearer_and_as_basic_whatever_the_case_of_the_scheme() {
    let house = House::open().await;
    let key = house.key("shipper");
    for request in [
        get("/token").basic("shipper", key),
        get("/token").header("authorization", &format!("BEARER {key}")),
        get("/token").header("AUTHORIZATION", &format!("bearer   {key}  ")),
    ] {
        is_a_token(&house.ask(request).await, "elf-prod");
    }
}

#[tokio::test]
async fn two_authorization_headers_are_refused_though_both_are_right() {
    let house = House::open().await;
    let answer = house.ask(get("/token").bearer(house.key("shipper")).bearer(house.key("shipper"))).await;
    assert_eq!(answer.status, 400);
    assert!(answer.all("www-authenticate").is_empty(), "some clients read a challenge instead of the body");
    is_a_problem(&answer, "invalid_request");
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let house = House::open().await;
    let get = house.ask(get("/token").bearer(house.key("shipper"))).await;
    let head = house.ask(request("HEAD", "/token").bearer(house.key("shipper"))).await;
    assert_eq!(head.status, 200);
    // Headers of different names have no order (RFC 9110 section 5.3).
    let headers = |answer: &Answer| answer.appearance().1.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
    assert_eq!(headers(&head), headers(&get));
    assert_eq!(head.appearance().1.len(), get.appearance().1.len());
    assert_eq!(house.ask(request("HEAD", "/token")).await.status, 401);
}

#[tokio::test]
async fn min_ttl_is_a_whole_number_of_seconds_or_refused() {
    let house = House::open().await;
    let key = house.key("shipper");
    for good in ["0", "1", "600", "999999999"] {
        is_a_token(&house.ask(get(&format!("/token?min_ttl={good}")).bearer(key)).await, "elf-prod");
    }
    for bad in ["", "-1", "+5", "1.5", "1e3", "600s", "9999999999", "%20600", "0x10", "\u{661}", "5&min_ttl=5"] {
        let target = format!("/token?min_ttl={}", bad.replace('\u{661}', "%D9%A1"));
        let answer = house.ask(get(&target).bearer(key)).await;
        assert_eq!(answer.status, 400, "{target}");
        is_a_problem(&answer, "invalid_request");
    }
}

#[tokio::test]
async fn who_has_no_proof_learns_nothing_about_other_mistakes() {
    let house = House::open().await;
    let appearance = house.ask(get("/token")).await.appearance();
    for target in
        ["/token/elf-prod", "/token/nobody", "/token?integration=", "/token?min_ttl=x", "/token?a=%FF", "/token/%FF"]
    {
        assert_eq!(house.ask(get(target)).await.appearance(), appearance, "{target}");
    }
}

/// RFC 9457, with the members that the contract adds.
pub(crate) fn is_a_problem(answer: &Answer, error: &str) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let body = answer.json();
    assert_eq!(body["type"], format!("urn:aquila:problem:{error}"));
    assert_eq!(body["status"], answer.status);
    assert_eq!(body["error"], error);
    for member in ["title", "detail", "request_id"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {body}");
    }
    assert_eq!(body.as_object().unwrap().len(), 6, "{body}");
}
