//! Each forced answer, as a client sees it that reads bytes.

use std::time::Duration;

use serde_json::{Map, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::testing::{Pair, Rig, claims, settings};
use super::super::{Door, Fault, FaultAnswer, Flaw, Settings, Simulator, Tls};

/// What arrives until the connection ends or there are `enough` bytes, and how it ended.
async fn bytes(rig: &Rig, answer: FaultAnswer, enough: usize) -> (Vec<u8>, std::io::Result<()>) {
    rig.simulator.force(Fault::once(Door::Token, answer));
    let assertion = Pair::registered().sign(&claims(rig.now()));
    let body = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
    let head = format!(
        "POST /services/oauth2/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(rig.simulator.address()).await.unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let (mut all, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    while all.len() < enough {
        match stream.read(&mut piece).await {
            Ok(0) => return (all, Ok(())),
            Ok(count) => all.extend_from_slice(&piece[..count]),
            Err(error) => return (all, Err(error)),
        }
    }
    (all, Ok(()))
}

fn parts(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase(), &bytes[end + 4..])
}

#[tokio::test]
async fn a_reset_is_one_and_a_hang_up_is_none() {
    let rig = Rig::start(settings()).await;
    let (sent, end) = bytes(&rig, FaultAnswer::Reset, usize::MAX).await;
    assert!(sent.is_empty());
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let (sent, end) = bytes(&rig, FaultAnswer::HangUp, usize::MAX).await;
    assert!(sent.is_empty() && end.is_ok());
}

#[tokio::test]
async fn a_cut_answer_has_the_first_half_of_what_it_announces() {
    for chunked in [false, true] {
        let rig = Rig::start(settings()).await;
        rig.simulator.patch_switches(json!({"answers_chunked": chunked}).as_object().unwrap()).unwrap();
        let (sent, end) = bytes(&rig, FaultAnswer::Cut, usize::MAX).await;
        let (head, body) = parts(&sent);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        assert_eq!(body.len(), length.parse::<usize>().unwrap() / 2);
        assert!(head.starts_with("http/1.1 200") && body.starts_with(b"{\"access_token\"") && end.is_ok());
        assert_eq!(rig.simulator.counts().token_outcomes["granted_new"], 1);
    }
}

#[tokio::test]
async fn a_trickled_answer_is_whole_in_the_end() {
    let rig = Rig::start(settings()).await;
    let (sent, end) = bytes(&rig, FaultAnswer::Trickle { pause_ms: 0 }, usize::MAX).await;
    let (_, body) = parts(&sent);
    let told: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert!(end.is_ok() && told["access_token"].is_string());
}

#[tokio::test]
async fn what_has_no_end_goes_on_until_the_client_leaves() {
    let rig = Rig::start(settings()).await;
    let (head, end) = bytes(&rig, FaultAnswer::EndlessHead, 1 << 20).await;
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\nx-simulated: ") && head.len() >= 1 << 20 && end.is_ok());
    assert!(!head.windows(4).any(|four| four == b"\r\n\r\n"));
    let (sent, end) = bytes(&rig, FaultAnswer::EndlessBody, 8 << 20).await;
    let (head, _) = parts(&sent);
    assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length") && end.is_ok());
    let (sent, _) = bytes(&rig, FaultAnswer::Huge { bytes: 1 << 30 }, 1 << 20).await;
    assert!(parts(&sent).0.contains("content-length: 1073741824"));
    // Whoever left took nothing along.
    rig.mint().await;
    tokio::time::timeout(Duration::from_secs(5), rig.simulator.stop()).await.unwrap();
}

#[tokio::test]
async fn a_bomb_is_small_on_its_way() {
    let rig = Rig::start(settings()).await;
    let (sent, end) = bytes(&rig, FaultAnswer::GzipBomb { mebibytes: 100 }, usize::MAX).await;
    let (head, body) = parts(&sent);
    assert!(head.contains("content-encoding: gzip") && end.is_ok());
    assert!(body.starts_with(&[0x1f, 0x8b]) && body.len() < 1 << 20, "{}", body.len());
}

#[tokio::test]
async fn members_of_the_usual_answer_change_and_its_session_is_real() {
    let rig = Rig::start(settings()).await;
    let members = json!({"token_type": 5, "id": null, "error": "unknown_error"});
    let Some(members) = members.as_object().cloned() else { panic!("{members}") };
    rig.simulator.force(Fault::once(Door::Token, FaultAnswer::Altered { members }));
    let answer = rig.post(&claims(rig.now())).await;
    let told = answer.json();
    assert_eq!(
        (answer.status, told["token_type"].clone(), told["error"].clone()),
        (200, json!(5), json!("unknown_error"))
    );
    assert!(told.get("id").is_none());
    assert_eq!(rig.get(told["access_token"].as_str().unwrap(), "/services/data/v60.0/").await.status, 200);
    // What is no object stays as it is.
    let members = Map::from_iter([("x".to_owned(), json!(1))]);
    rig.simulator.force(Fault::once(Door::Userinfo, FaultAnswer::Altered { members }));
    assert_eq!(rig.get("dead", "/services/oauth2/userinfo").await.body, "Bad_OAuth_Token");
}

#[tokio::test]
async fn an_answer_tells_the_life_of_its_session_if_told_to() {
    let rig = Rig::start(settings()).await;
    assert!(rig.post(&claims(rig.now())).await.json().get("expires_in").is_none());
    rig.simulator.patch_switches(json!({"expires_in_present": true}).as_object().unwrap()).unwrap();
    rig.simulator.advance_clock(Duration::from_secs(100));
    let left: i64 = rig.post(&claims(rig.now())).await.json()["expires_in"].as_str().unwrap().parse().unwrap();
    assert!((7095..=7100).contains(&left), "{left}");
}

#[tokio::test]
async fn a_flawed_certificate_is_refused_for_its_flaw_alone() {
    for (flaw, said) in [("expired", "Expired"), ("not-yet-valid", "NotValidYet"), ("other-name", "NotValidForName")] {
        let (tls, authority) = Tls::flawed(&[], flaw.parse::<Flaw>().unwrap()).unwrap();
        let simulator = Simulator::start(Settings { tls: Some(tls), ..settings() }).await.unwrap();
        let address = simulator.address();
        let rig = Rig::trusting(simulator, authority.as_bytes(), ("localhost", address));
        let error = rig.send(rig.http.get(rig.simulator.base_url())).await.map(|_| ()).unwrap_err();
        assert!(format!("{error:?}").contains(said), "{flaw}: {error:?}");
    }
    assert!("wrong".parse::<Flaw>().is_err());
}
