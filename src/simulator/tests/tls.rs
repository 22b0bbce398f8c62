//! The simulator behind TLS, as a client that trusts its authority sees it.

use serde_json::json;

use super::super::testing::{Rig, USERNAME, claims, settings};
use super::super::{Settings, Simulator, StartError, Tls};

#[tokio::test]
async fn a_client_that_trusts_the_authority_logs_in_over_tls() {
    let name = "acme.my.salesforce.com";
    let (tls, authority) = Tls::throw_away(&[name.to_owned()]).unwrap();
    let hosts = vec![format!("my-domain={name}").parse().unwrap()];
    let simulator = Simulator::start(Settings { tls: Some(tls), hosts, ..settings() }).await.unwrap();
    let address = simulator.address();
    let rig = Rig::trusting(simulator, authority.as_bytes(), (name, address));

    assert_eq!(rig.simulator.base_url(), format!("https://{address}"));
    let answer = rig.post(&claims(rig.now())).await.json();
    assert_eq!(answer["instance_url"], format!("https://{name}:{}", address.port()));
    let token = answer["access_token"].as_str().unwrap();
    // The client chooses HTTP/2 here, and then the host stands elsewhere than in a header.
    let url = format!("https://{name}:{}/services/oauth2/userinfo", address.port());
    let who = rig.send(rig.http.get(url).bearer_auth(token)).await.unwrap().json();
    assert_eq!(who["preferred_username"], USERNAME);
    assert!(who["sub"].as_str().unwrap().starts_with(&format!("https://{name}:")), "{who}");

    let stranger = Tls::throw_away(&[]).unwrap().1;
    let rig = Rig::trusting(rig.simulator, stranger.as_bytes(), (name, address));
    assert!(rig.send(rig.http.get(rig.simulator.base_url())).await.is_err());
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_keeps_nobody_waiting() {
    let (tls, authority) = Tls::throw_away(&[]).unwrap();
    let simulator = Simulator::start(Settings { tls: Some(tls), ..settings() }).await.unwrap();
    let address = simulator.address();
    let silent = tokio::net::TcpStream::connect(address).await.unwrap();
    let rig = Rig::trusting(simulator, authority.as_bytes(), ("localhost", address));
    assert!(rig.send(rig.http.get(format!("http://{address}/"))).await.is_err());
    let versions = rig.get("", "/services/data").await.json();
    assert_eq!(versions[0]["url"], json!("/services/data/v31.0"));
    rig.simulator.stop().await;
    drop(silent);
}

#[tokio::test]
async fn a_bad_certificate_is_told_before_anything_listens() {
    let tls = Tls { certificate_chain: Vec::new(), private_key: Vec::new() };
    let refused = Simulator::start(Settings { tls: Some(tls), ..settings() }).await;
    assert!(matches!(refused, Err(StartError::Tls(_))));
}
