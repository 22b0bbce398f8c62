//! `POST` on the token routes: OAuth 2.0 client credentials as stock clients send them.

use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine};

use crate::get_token::is_a_token;
use crate::support::house::House;
use crate::support::wire::{Answer, Connection, Request, get, post, request};

const GRANT: &str = "grant_type=client_credentials";

/// The error shape of RFC 6749 section 5.2 and nothing else.
pub(crate) fn is_an_oauth_error(answer: &Answer, status: u16, error: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    let body = answer.json();
    assert_eq!(body["error"], error);
    let description = body["error_description"].as_str().unwrap();
    let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E);
    assert!(!description.is_empty() && description.bytes().all(allowed), "{description}");
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
    match status {
        401 => assert!(answer.all("www-authenticate").starts_with(&["Basic realm=\"aquila\", charset=\"UTF-8\""])),
        _ => assert_eq!(answer.header("www-authenticate"), None, "some clients read a challenge instead of the body"),
    }
}

#[tokio::test]
async fn every_route_takes_client_credentials() {
    let house = House::open().await;
    let key = house.key("shipper");
    for route in ["/token", "/token/elf-prod", "/services/oauth2/token", "/integrations/elf-prod/services/oauth2/token"]
    {
        let answer = house.ask(post(route, GRANT).basic("shipper", key)).await;
        is_a_token(&answer, "elf-prod");
        assert_eq!(answer.json().get("scope"), None);
    }
    assert_eq!(house.simulator.counts().token_posts, 1);
}

#[tokio::test]
async fn every_way_in_which_clients_write_the_same_proof_is_understood() {
    let house = House::open().await;
    let key = house.key("shipper");
    let encoded: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let unpadded = BASE64_STANDARD_NO_PAD.encode(format!("shipper:{key}"));
    assert_ne!(format!("shipper:{key}").len() % 3, 0, "otherwise there is no padding to leave out");
    let form = |more: &str| post("/token", &format!("{GRANT}{more}"));
    let cases: Vec<(&str, Request)> = vec![
        ("basic, raw", form("").basic("shipper", key)),
        ("basic, underscore encoded", form("").basic("shipper", &key.replace('_', "%5F"))),
        ("basic, all encoded", form("").basic("%73hipper", &encoded)),
        ("basic, unpadded", form("").header("Authorization", &format!("Basic {unpadded}"))),
        ("basic, lower case", form("").header("authorization", &format!("basic {unpadded}"))),
        ("basic and the same client_id", form("&client_id=shipper").basic("shipper", key)),
        ("basic and an empty client_secret", form("&client_secret=").basic("shipper", key)),
        ("form", form(&format!("&client_id=shipper&client_secret={key}"))),
        ("form, encoded", form(&format!("&client_id=%73hipper&client_secret={encoded}"))),
        ("bearer", form("").bearer(key)),
        ("bearer and its client_id", form("&client_id=shipper").bearer(key)),
    ];
    for (case, request) in cases {
        let answer = house.ask(request).await;
        assert_eq!(answer.status, 200, "{case}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_body_comes_whole_or_in_chunks_and_its_type_with_parameters_or_in_capitals() {
    let house = House::open().await;
    let plain = request("POST", "/token").basic("shipper", house.key("shipper"));
    for kind in ["application/x-www-form-urlencoded;charset=UTF-8", "APPLICATION/X-WWW-Form-Urlencoded ; charset=utf-8"]
    {
        is_a_token(&house.ask(plain.clone().header("Content-Type", kind).body(GRANT)).await, "elf-prod");
    }
    let chunked =
        plain.header("Content-Type", "application/x-www-form-urlencoded").header("Transfer-Encoding", "chunked");
    let (head, tail) = GRANT.split_at(7);
    let body = format!("{:x}\r\n{head}\r\n{:X};x=y\r\n{tail}\r\n0\r\n\r\n", head.len(), tail.len());
    is_a_token(&house.ask(chunked.body(body)).await, "elf-prod");
}

#[tokio::test]
async fn another_content_type_is_a_400_because_oauth_knows_no_other_status() {
    let house = House::open().await;
    for kind in [None, Some("application/json"), Some("text/plain"), Some("multipart/form-data"), Some("\u{e9}")] {
        let plain = request("POST", "/token").basic("shipper", house.key("shipper")).body(GRANT);
        let request = kind.map_or_else(|| plain.clone(), |kind| plain.clone().header("Content-Type", kind));
        is_an_oauth_error(&house.ask(request).await, 400, "invalid_request");
    }
}

#[tokio::test]
async fn a_space_is_a_plus_or_percent_20_and_the_scope_comes_back_in_the_callers_words() {
    let house = House::open().await;
    let key = house.key("shipper");
    for written in ["api+id", "api%20id"] {
        let answer =
            house.ask(post("/token/elf-prod", &format!("{GRANT}&scope={written}")).basic("shipper", key)).await;
        is_a_token(&answer, "elf-prod");
        assert_eq!(answer.member("scope"), "api id");
    }
    let named = house.ask(post("/token", &format!("{GRANT}&scope=elf-prod")).basic("shipper", key)).await;
    assert_eq!(named.member("scope"), "elf-prod");
    let none = house.ask(post("/token", &format!("{GRANT}&scope=")).basic("shipper", key)).await;
    is_a_token(&none, "elf-prod");
    assert_eq!(none.json().get("scope"), None, "an empty parameter is an absent one");
}

#[tokio::test]
async fn unknown_parameters_are_nobodys_business_and_known_ones_stand_once() {
    let house = House::open().await;
    let key = house.key("shipper");
    let ask = |more: &str| house.ask(post("/token", &format!("{GRANT}{more}")).basic("shipper", key));
    is_a_token(&ask("&scopes=a&scopes=b&x&=&refresh_token=y").await, "elf-prod");
    for twice in [
        "&grant_type=client_credentials",
        "&scope=elf-prod&scope=elf-prod",
        "&audience=elf-prod&audience=elf-prod",
        "&client_id=shipper&client_id=shipper",
        "&scope=&scope=",
        "&a=%FF",
    ] {
        is_an_oauth_error(&ask(twice).await, 400, "invalid_request");
    }
    let secret = format!("{GRANT}&client_id=shipper&client_secret={key}&client_secret={key}");
    is_an_oauth_error(&house.ask(post("/token", &secret)).await, 400, "invalid_request");
}

#[tokio::test]
async fn two_proofs_in_one_request_are_refused_though_both_are_right() {
    let house = House::open().await;
    let key = house.key("shipper");
    let both = post("/token", &format!("{GRANT}&client_secret={key}"));
    for request in
        [both.clone().basic("shipper", key), both.bearer(key), post("/token", GRANT).basic("shipper", key).bearer(key)]
    {
        is_an_oauth_error(&house.ask(request).await, 400, "invalid_request");
    }
    let other = post("/token", &format!("{GRANT}&client_id=wide")).basic("shipper", key);
    is_an_oauth_error(&house.ask(other).await, 400, "invalid_request");
}

#[tokio::test]
async fn what_proves_nobody_is_a_401_with_a_challenge_for_both_schemes() {
    let house = House::open().await;
    let key = house.key("shipper");
    let foreign = aquila::authn::ApiKey::generate().unwrap();
    let plain = post("/token", GRANT);
    let form = |text: String| post("/token", &format!("{GRANT}&{text}"));
    for (case, request) in [
        ("nothing", plain.clone()),
        ("in the query", post(&format!("/token?client_id=shipper&client_secret={key}&access_token={key}"), GRANT)),
        ("a key of nobody", plain.clone().basic("shipper", foreign.expose())),
        ("a key of another", plain.clone().basic("wide", key)),
        ("a key of another, by form", form(format!("client_id=wide&client_secret={key}"))),
        ("a key of another, by bearer", form("client_id=wide".to_owned()).bearer(key)),
        ("not a key", plain.clone().basic("shipper", "secret")),
        ("not a key, Latin-1", plain.clone().header("Authorization", "Basic c2hpcHBlcjrpIPw=")),
        ("no colon", plain.clone().header("Authorization", "Basic c2hpcHBlcg==")),
        ("no base64", plain.clone().header("Authorization", "Basic ?")),
        ("a name alone", form("client_id=shipper".to_owned())),
        ("a name and an empty secret", form("client_id=shipper&client_secret=".to_owned())),
        ("an unknown name", form(format!("client_id=nobody&client_secret={key}"))),
    ] {
        let answer = house.ask(request).await;
        assert_eq!(answer.status, 401, "{case}: {}", answer.text());
        is_an_oauth_error(&answer, 401, "invalid_client");
        let error = if case.ends_with("bearer") { ", error=\"invalid_token\"" } else { "" };
        assert_eq!(answer.all("www-authenticate")[1..], [format!("Bearer realm=\"aquila\"{error}")], "{case}");
    }
    assert_eq!(house.simulator.counts().token_posts, 0);
}

#[tokio::test]
async fn the_grant_is_client_credentials_or_the_answer_says_which() {
    let house = House::open().await;
    let key = house.key("shipper");
    for (body, error) in [
        ("", "invalid_request"),
        ("grant_type=", "invalid_request"),
        ("scope=elf-prod", "invalid_request"),
        ("grant_type=password&username=a&password=b", "unsupported_grant_type"),
        ("grant_type=refresh_token", "unsupported_grant_type"),
        ("grant_type=Client_Credentials", "unsupported_grant_type"),
        ("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=x", "unsupported_grant_type"),
    ] {
        let answer = house.ask(post("/token", body).basic("shipper", key)).await;
        is_an_oauth_error(&answer, 400, error);
        // A caller may well be offered another grant, which this text would deny.
        assert!(!answer.text().contains("must be client_credentials"), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_body_may_have_16_kib_and_no_byte_more_also_in_chunks() {
    let house = House::open().await;
    let key = house.key("shipper");
    let body = |length: usize| format!("{GRANT}&x={}", "y".repeat(length - GRANT.len() - 3));
    is_a_token(&house.ask(post("/token", &body(16 * 1024)).basic("shipper", key)).await, "elf-prod");
    is_an_oauth_error(
        &house.ask(post("/token", &body(16 * 1024 + 1)).basic("shipper", key)).await,
        413,
        "invalid_request",
    );
    let long = body(16 * 1024 + 1);
    let chunked = request("POST", "/token")
        .basic("shipper", key)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Transfer-Encoding", "chunked")
        .body(format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len()));
    is_an_oauth_error(&house.ask(chunked).await, 413, "invalid_request");
}

#[tokio::test]
async fn a_body_that_promises_more_than_it_holds_is_no_request_and_disturbs_nobody() {
    let house = House::open().await;
    let mut cut = Connection::open(house.callers).await;
    let short = post("/token", GRANT).basic("shipper", house.key("shipper")).header("Content-Length", "500");
    cut.write(&short.bytes()).await;
    drop(cut);
    is_a_token(&house.ask(get("/token").bearer(house.key("shipper"))).await, "elf-prod");
    assert_eq!(house.simulator.counts().token_posts, 1);
}
