//! The callers' door under TLS: versions, protocols, and clients that do not know how to knock.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::get_token::is_a_token;
use crate::ports::free_port;
use crate::support::house::{House, Plan, write_private};
use crate::support::process::run;
use crate::support::wire::{Connection, get};

const TLS: &str = "tls = { certificate_path = \"door.pem\", private_key_path = \"door.key\" }\n";

/// A folder with a CA, and a certificate of it for this machine with its key.
pub(crate) fn certificates() -> TempDir {
    certificates_of(["127.0.0.1".to_owned(), "localhost".to_owned()])
}

/// The same for a door that others reach by a name.
fn certificates_for(host: &str) -> TempDir {
    certificates_of([host.to_owned()])
}

fn certificates_of(names: impl Into<Vec<String>>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(names).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(folder.path().join("door.pem"), leaf.pem()).unwrap();
    write_private(&folder.path().join("door.key"), &key.serialize_pem());
    folder
}

/// A house whose callers' door has TLS; the authority is in `ca.pem`.
pub(crate) async fn house() -> House {
    House::within(certificates(), Plan { server: TLS.to_owned(), ..Plan::default() }).await
}

fn client(house: &House, versions: &[&'static SupportedProtocolVersion], protocols: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(house.folder().join("ca.pem")).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

async fn knock(client: &TlsConnector, address: SocketAddr) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    client.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_with_either_protocol() {
    let house = house().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (offered, chosen) in [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)]
        {
            let stream = knock(&client(&house, &[version], offered), house.callers).await;
            let (_, session) = stream.get_ref();
            assert_eq!(session.protocol_version(), Some(version.version));
            assert_eq!(session.alpn_protocol(), chosen.map(str::as_bytes));
            if chosen != Some("h2") {
                let answer = Connection::over(stream).ask(&get("/token").bearer(house.key("shipper"))).await;
                is_a_token(&answer, "elf-prod");
            }
        }
    }
}

#[tokio::test]
async fn a_stranger_to_the_authority_does_not_trust_the_door() {
    let house = house().await;
    let other = certificates();
    std::fs::copy(other.path().join("ca.pem"), house.folder().join("ca.pem")).unwrap();
    let stranger = client(&house, &[&rustls::version::TLS13], &[]);
    let stream = TcpStream::connect(house.callers).await.unwrap();
    assert!(stranger.connect(ServerName::try_from("localhost").unwrap(), stream).await.is_err());
}

#[tokio::test]
async fn plain_http_and_silence_at_a_tls_door_get_nothing_and_hold_up_nobody() {
    let house = house().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(house.callers).await.unwrap());
    }
    let mut plain = Connection::open(house.callers).await;
    plain.write(&get("/token").bearer(house.key("shipper")).bytes()).await;
    let said = plain.rest().await;
    assert!(!said.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&said));

    let stream = knock(&client(&house, rustls::ALL_VERSIONS, &[]), house.callers).await;
    let answer = Connection::over(stream).ask(&get("/token").bearer(house.key("shipper"))).await;
    is_a_token(&answer, "elf-prod");
    for stream in &silent {
        assert!(stream.peer_addr().is_ok());
    }
}

#[tokio::test]
async fn who_never_began_a_handshake_does_not_hold_up_the_stop() {
    let house = house().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(house.callers).await.unwrap());
    }
    // Answered after them, so that they have been accepted.
    let stream = knock(&client(&house, rustls::ALL_VERSIONS, &[]), house.callers).await;
    assert_eq!(Connection::over(stream).ask(&get("/healthz")).await.status, 200);
    let started = Instant::now();
    house.process.signal(Signal::TERM);
    assert_eq!(house.process.ended().await.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    drop(silent);
}

#[tokio::test]
async fn the_ops_door_has_tls_of_its_own_and_healthcheck_asks_it() {
    let folder = certificates();
    let port = free_port();
    let plan = Plan { ops: format!("listen = \"127.0.0.1:{port}\"\n{TLS}"), ..Plan::default() };
    let house = House::within(folder, plan).await;
    is_a_token(&house.ask(get("/token").bearer(house.key("shipper"))).await, "elf-prod");
    let (config, authority) = (house.config(), house.folder().join("ca.pem"));
    let trusting = [Path::new("healthcheck"), "--config".as_ref(), &config, "--ca-path".as_ref(), &authority];
    assert_eq!(run(trusting).await.code(), Some(0));
    assert_eq!(run([Path::new("healthcheck"), "--config".as_ref(), &config]).await.code(), Some(0));
    let url = format!("https://127.0.0.1:{port}/readyz");
    assert_eq!(run(["healthcheck", "--url", &url]).await.code(), Some(1));
}

#[tokio::test]
async fn healthcheck_knows_the_door_by_its_certificate_whatever_host_that_names_and_no_other_door() {
    let folder = certificates_for("aquila.example");
    let port = free_port();
    let plan = Plan { ops: format!("listen = \"127.0.0.1:{port}\"\n{TLS}"), ..Plan::default() };
    let house = House::within(folder, plan).await;
    let config = house.config();
    let healthcheck = || run([Path::new("healthcheck"), "--config".as_ref(), &config]);
    let healthy = healthcheck().await;
    assert_eq!(healthy.code(), Some(0), "{}", healthy.stderr);
    // Another certificate of the same name and kind, in another file: the service does not look there.
    let other = certificates_for("aquila.example");
    std::fs::copy(other.path().join("door.pem"), house.folder().join("other.pem")).unwrap();
    let text = std::fs::read_to_string(&config).unwrap().replace("door.pem", "other.pem");
    let elsewhere = house.folder().join("elsewhere.toml");
    std::fs::write(&elsewhere, text).unwrap();
    let strange = run([Path::new("healthcheck"), "--config".as_ref(), &elsewhere]).await;
    assert_eq!(strange.code(), Some(1), "{}", strange.stderr);
}

#[tokio::test]
async fn files_that_make_no_door_are_refused_before_a_port_is_bound() {
    let house = house().await;
    let good = std::fs::read_to_string(house.config()).unwrap();
    // A taken port: binding it would be the first complaint if anything were bound before the files are looked at.
    let good = good.replace("127.0.0.1:0", &house.callers.to_string());
    let good = good.replacen(&house.callers.to_string(), &house.ops.to_string(), 1);
    let other = certificates();
    std::fs::copy(other.path().join("door.key"), house.folder().join("other.key")).unwrap();
    std::fs::write(house.folder().join("empty.pem"), "").unwrap();
    let config = house.folder().join("bad.toml");
    for (from, to, named, remedy) in [
        ("door.key", "other.key", "server.tls.certificate_path", "private_key_path belongs to the first certificate"),
        ("door.key", "missing.key", "missing.key cannot be read", "private key of the certificate"),
        ("door.pem", "missing.pem", "missing.pem cannot be read", "check the path"),
        ("door.pem", "empty.pem", "empty.pem holds no certificate", "the certificate first"),
        ("door.pem", "door.key", "holds no certificate", "the certificate first"),
        ("door.key", "door.pem", "door.pem cannot be read", "private key of the certificate"),
    ] {
        std::fs::write(&config, good.replace(&format!("\"{from}\""), &format!("\"{to}\""))).unwrap();
        for command in ["serve", "check"] {
            let ended = run([Path::new(command), "--config".as_ref(), &config]).await;
            assert_eq!(ended.code(), Some(78), "{to}: {}", ended.stderr);
            let told = format!("{}{}", ended.stdout, ended.stderr);
            assert!(told.contains(named) && told.contains(remedy), "{to}: {told}");
            assert!(told.contains("bad.toml:"), "{to}: {told}");
        }
    }
}
