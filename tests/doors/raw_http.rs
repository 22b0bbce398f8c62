//! HTTP as it should not be sent: old, slow, bloated, ambiguous. None of it may hang, slip through or hurt another.

use std::time::Duration;

use tokio::time::Instant;

use crate::get_token::is_a_token;
use crate::support::house::House;
use crate::support::wire::{Connection, get, post, request};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const GRANT: &str = "grant_type=client_credentials";

#[tokio::test]
async fn http_1_0_without_a_host_is_answered_and_its_connection_closed() {
    let house = House::open().await;
    let mut connection = Connection::open(house.callers).await;
    connection
        .write(format!("GET /token HTTP/1.0\r\nAuthorization: Bearer {}\r\n\r\n", house.key("shipper")).as_bytes())
        .await;
    let answer = connection.answer(true).await.unwrap();
    assert_eq!(answer.version, "HTTP/1.0");
    is_a_token(&answer, "elf-prod");
    assert!(connection.rest().await.is_empty());
}

#[tokio::test]
async fn one_connection_carries_many_requests_also_without_waiting() {
    let house = House::open().await;
    let mut connection = Connection::open(house.callers).await;
    let request = get("/token").bearer(house.key("shipper"));
    connection.write(&request.bytes().repeat(20)).await;
    for _ in 0..20 {
        is_a_token(&connection.answer(true).await.unwrap(), "elf-prod");
    }
}

#[tokio::test]
async fn who_expects_a_100_gets_it_before_the_body_is_sent() {
    let house = House::open().await;
    let mut connection = Connection::open(house.callers).await;
    let head = request("POST", "/token")
        .basic("shipper", house.key("shipper"))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Content-Length", &GRANT.len().to_string())
        .header("Expect", "100-continue");
    connection.write(&head.bytes()).await;
    assert_eq!(connection.answer(false).await.unwrap().status, 100);
    connection.write(GRANT.as_bytes()).await;
    is_a_token(&connection.answer(true).await.unwrap(), "elf-prod");
}

#[tokio::test]
async fn too_many_or_too_long_headers_are_a_431_and_not_a_hang() {
    let house = House::open().await;
    let plain = get("/token").bearer(house.key("shipper"));
    let with = |count| (0..count).fold(plain.clone(), |request, number| request.header(&format!("X-{number}"), "x"));
    let (many, too_many) = (with(60), with(64));
    let long = plain.clone().header("X", &"x".repeat(200_000));
    let name = plain.clone().header(&"X".repeat(100_000), "x");
    let target = get(&format!("/token?x={}", "x".repeat(200_000)));
    for (case, request, statuses) in [
        ("many", many, &[200][..]),
        ("too many", too_many, &[431]),
        ("far too many", with(200), &[431]),
        ("long", long, &[431]),
        ("name", name, &[431, 400]),
        ("target", target, &[414, 431]),
    ] {
        let answer = request.send(house.callers).await;
        assert!(statuses.contains(&answer.status), "{case}: {}", answer.status);
    }
    is_a_token(&house.ask(plain).await, "elf-prod");
}

/// Sends `text` and, behind it, a request that only somebody who mistook its end would answer.
async fn all_that_is_said_to(house: &House, text: &str) -> String {
    let hidden = get("/token").bearer(house.key("shipper")).bytes();
    let mut connection = Connection::open(house.callers).await;
    connection.write(&[text.as_bytes(), &hidden].concat()).await;
    String::from_utf8_lossy(&connection.rest().await).into_owned()
}

fn head_of_a_post(house: &House) -> String {
    format!("POST /token HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n{FORM}", house.key("shipper"))
}

#[tokio::test]
async fn what_two_servers_could_read_differently_is_refused_and_nothing_after_it_is_read() {
    let house = House::open().await;
    let head = head_of_a_post(&house);
    let length = GRANT.len();
    let chunked = format!("{length:x}\r\n{GRANT}\r\n0\r\n\r\n");
    let overflowing = "10000000000000001\r\nx\r\n0\r\n\r\n";
    for (case, headers, body) in [
        ("two lengths", format!("Content-Length: {length}\r\nContent-Length: 5"), GRANT),
        ("list of lengths", format!("Content-Length: {length}, 5"), GRANT),
        ("signed length", format!("Content-Length: +{length}"), GRANT),
        ("negative length", "Content-Length: -1".to_owned(), GRANT),
        ("hex length", "Content-Length: 0x1d".to_owned(), GRANT),
        ("unknown coding", "Transfer-Encoding: xchunked".to_owned(), &chunked),
        ("chunked not last", "Transfer-Encoding: chunked, identity".to_owned(), &chunked),
        ("space before the colon", "Transfer-Encoding : chunked".to_owned(), &chunked),
        ("folded", "X: y\r\n Transfer-Encoding: chunked".to_owned(), &chunked),
        ("overflowing chunk", "Transfer-Encoding: chunked".to_owned(), overflowing),
        ("NUL", format!("X: \0\r\nContent-Length: {length}"), GRANT),
        ("bare CR", format!("X: a\rTransfer-Encoding: chunked\r\nContent-Length: {length}"), GRANT),
    ] {
        let said = all_that_is_said_to(&house, &format!("{head}{headers}\r\n\r\n{body}")).await;
        assert!(said.starts_with("HTTP/1.1 4") && !said.contains("access_token"), "{case}: {said}");
        assert_eq!(said.matches("HTTP/1.").count(), 1, "{case}: {said}");
    }
    let old = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunked}").replace("HTTP/1.1", "HTTP/1.0");
    let said = all_that_is_said_to(&house, &old).await;
    assert!(!said.contains("access_token"), "chunks in HTTP/1.0: {said}");
    assert_eq!(house.simulator.counts().token_posts, 0);
}

/// RFC 9112 section 6.3 lets a server refuse such a request or go by the chunks; hyper goes by the chunks, and does not
/// show that there was a length. What makes it harmless is that the connection ends there.
#[tokio::test]
async fn a_length_beside_chunks_ends_the_connection_and_nothing_after_it_is_read() {
    let house = House::open().await;
    let head = head_of_a_post(&house);
    let chunked = format!("{:x}\r\n{GRANT}\r\n0\r\n\r\n", GRANT.len());
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 1000\r\nTransfer-Encoding: chunked",
    ] {
        let said = all_that_is_said_to(&house, &format!("{head}{headers}\r\n\r\n{chunked}")).await;
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{headers}: {said}");
        assert!(said.contains("\r\nconnection: close\r\n"), "{headers}: {said}");
    }
}

#[tokio::test]
async fn callers_who_dribble_their_headers_or_bodies_hold_up_nobody() {
    let house = House::open().await;
    let key = house.key("shipper");
    let mut slow = Vec::new();
    for part in [
        "",
        "G",
        "GET /token HT",
        "GET /token HTTP/1.1\r\nHost: a\r\nX: ",
        "POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ngrant",
        "PRI * HTTP/2.0\r\n",
    ] {
        for _ in 0..30 {
            let mut connection = Connection::open(house.callers).await;
            connection.write(part.as_bytes()).await;
            slow.push(connection);
        }
    }
    let started = Instant::now();
    for _ in 0..20 {
        is_a_token(&house.ask(get("/token").bearer(key)).await, "elf-prod");
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    drop(slow);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up_within_the_time_of_every_answer() {
    let house = House::open().await;
    let mut connection = Connection::open(house.callers).await;
    let started = Instant::now();
    let head = post("/token", "").bearer(house.key("shipper")).header("Content-Length", "100");
    connection.write(&head.bytes()).await;
    let answer = connection.answer(true).await.unwrap();
    assert_eq!((answer.status, answer.member("error")), (408, "invalid_request".to_owned()));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn junk_is_no_request_and_hurts_nobody() {
    let house = House::open().await;
    for junk in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0",
        b"\r\n\r\n\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"GET  / HTTP/9.9\r\n\r\n",
        b"\xff\xff\xff\xff\r\n\r\n",
    ] {
        let mut connection = Connection::open(house.callers).await;
        connection.write(junk).await;
        if let Ok(Some(answer)) = tokio::time::timeout(Duration::from_millis(500), connection.answer(true)).await {
            assert_eq!(answer.status, 400, "{junk:?}");
        }
    }
    is_a_token(&house.ask(get("/token").bearer(house.key("shipper"))).await, "elf-prod");
    assert!(!house.process.stderr().contains("panicked"));
}
