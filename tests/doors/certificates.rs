//! Callers that prove themselves by a client certificate: who gets in, who does not, and what a change does to both.

use std::fs;
use std::time::Duration;

use aquila::simulator::{Door, Fault};
use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{DnType, ExtendedKeyUsagePurpose, IsCa, SanType, date_time_ymd};
use rustls::HandshakeKind;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::get_token::is_a_token;
use crate::ports::free_port;
use crate::reload::without;
use crate::support::house::{House, Plan, hex};
use crate::support::pki::{Authority, Identity, answer, client, dns, knock, self_signed, uri};
use crate::support::process::run;
use crate::support::wire::{Answer, Connection, Request, get, post};
use crate::support::{PATIENCE, until};
use crate::tls::certificates;

const SPIFFE: &str = "spiffe://prod.example/ns/logs/sa/shipper";
const CALLERS: &str = r#"
[callers.mesh]
integrations = ["elf-prod"]
client_certificate = [{ spiffe_id = "spiffe://prod.example/ns/logs/sa/shipper" }]

[callers.named]
integrations = ["elf-prod"]
client_certificate = [{ dns_name = "named.example" }, { subject = "CN=named,O=Acme\\, Inc." }]

[callers.cold]
integrations = ["elf-test"]
client_certificate = [{ dns_name = "cold.example" }]
"#;

/// The digest in the record, as an operator computes it.
fn prefix(bytes: &[u8]) -> String {
    hex(&digest(&SHA256, bytes).as_ref()[..8])
}

fn mesh() -> [SanType; 1] {
    [uri(SPIFFE)]
}

fn tls(more: &str) -> String {
    format!(
        "tls = {{ certificate_path = \"door.pem\", private_key_path = \"door.key\", client_ca_path = \"clients.pem\"{more} }}\n"
    )
}

/// A house that takes what the authority signs.
async fn house(authority: &Authority, more: &str) -> House {
    let folder = certificates();
    fs::write(folder.path().join("clients.pem"), authority.pem()).unwrap();
    House::within(folder, Plan { server: tls(more), callers: CALLERS.to_owned(), ..Plan::default() }).await
}

impl House {
    async fn shown(&self, identity: &Identity, request: Request) -> Answer {
        answer(self, Some(identity), &request).await.expect("the door let nobody in")
    }

    /// Puts the authorities in the place of those that sign for clients, and waits until that is in force.
    async fn trust(&self, authorities: &[&Authority], generation: u64) {
        let bundle: String = authorities.iter().map(|authority| authority.pem()).collect();
        fs::write(self.folder().join("next.pem"), bundle).unwrap();
        fs::rename(self.folder().join("next.pem"), self.folder().join("clients.pem")).unwrap();
        self.hang_up();
        self.reloaded("applied", generation).await;
    }
}

#[tokio::test]
async fn each_kind_of_name_proves_its_caller_and_the_record_says_by_which_certificate() {
    let root = Authority::new("root");
    let authority = root.below("issuing");
    let house = house(&root, "").await;
    let subject = authority.sign(&[], |params| {
        params.distinguished_name.push(DnType::OrganizationName, "Acme, Inc.");
        params.distinguished_name.push(DnType::CommonName, "named");
    });
    let identities = [
        ("mesh", authority.sign(&mesh(), |_| ())),
        ("named", authority.sign(&[dns("other.example"), dns("Named.example")], |_| ())),
        ("named", subject),
    ];
    let mut expected = Vec::new();
    for (caller, identity) in &identities {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let mut connection = knock(&client(&house, Some(identity), &[version]), house.callers).await.unwrap();
            is_a_token(&connection.ask(&get("/token")).await, "elf-prod");
            expected.push((*caller, prefix(&identity.certificate())));
        }
    }
    for (record, (caller, digest)) in house.records(expected.len()).await.iter().zip(expected) {
        assert_eq!((record["caller"].as_str(), record["proof"].as_str()), (Some(caller), Some("client_certificate")));
        assert_eq!(record["proof_key"], digest);
    }
    let token = house.shown(&identities[0].1, post("/token", "grant_type=client_credentials")).await;
    assert_eq!(token.status, 200, "{}", token.text());
    assert_eq!(house.shown(&identities[0].1, get("/token/crm")).await.status, 403);
}

#[tokio::test]
async fn http_2_carries_the_proof_of_its_connection_and_loses_no_request_to_a_change() {
    let authority = Authority::new("clients");
    let house = house(&authority, "").await;
    let identity = authority.sign(&[dns("cold.example")], |_| ());
    let pem = identity.chain.clone() + &identity.key;
    let root = reqwest::Certificate::from_pem(&fs::read(house.folder().join("ca.pem")).unwrap()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "this client plays a caller; it carries no assertion")]
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([root]);
    let client = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap()).build().unwrap();
    let ask = || client.get(format!("https://{}/token", house.callers)).send();
    // In the middle of its first request others may sign as well: that is finished, and the next one is no failure.
    let others = Authority::new("others");
    house.simulator.force(Fault::delay(Door::Token, 2000));
    let change = async {
        until("a login", || house.simulator.counts().token_posts_in_flight > 0).await;
        house.trust(&[&authority, &others], 2).await;
    };
    let (first, ()) = futures_util::future::join(ask(), change).await;
    for answer in [first, ask().await, ask().await] {
        let answer = answer.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
    }
    // Others alone: the connection ends, and this client is not let in again.
    house.trust(&[&others], 3).await;
    let sent = ask().await;
    assert!(sent.as_ref().map_or(true, |answer| answer.status() == 421), "{sent:?}");
}

#[tokio::test]
async fn what_is_no_good_certificate_ends_the_handshake_whatever_else_it_brings() {
    let root = Authority::new("clients");
    let house = house(&root, "").await;
    let below = root.below("issuing").sign(&mesh(), |_| ());
    let leaf_alone = below.chain.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap().to_owned();
    let cases = [
        ("expired", root.sign(&mesh(), |params| params.not_after = date_time_ymd(2020, 1, 1))),
        ("not yet valid", root.sign(&mesh(), |params| params.not_before = date_time_ymd(2100, 1, 1))),
        (
            "of a server",
            root.sign(&mesh(), |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
        ("of another authority", Authority::new("clients").sign(&mesh(), |_| ())),
        ("self-signed", self_signed(&mesh())),
        ("without its intermediate", Identity { chain: leaf_alone, key: below.key.clone() }),
        (
            "of an authority",
            root.sign(&mesh(), |params| params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
        ),
    ];
    let request = get("/token").bearer(house.key("shipper"));
    for (what, identity) in &cases {
        assert!(answer(&house, Some(identity), &request).await.is_none(), "{what}");
    }
    // The key was never the reason.
    is_a_token(&answer(&house, None, &request).await.unwrap(), "elf-prod");
    is_a_token(&house.shown(&below, get("/token")).await, "elf-prod");
    house.records(2).await;
}

#[tokio::test]
async fn a_certificate_of_nobody_is_transport_and_neither_a_proof_nor_a_failed_one() {
    let authority = Authority::new("clients");
    let house = house(&authority, "").await;
    let strangers = [
        authority.sign(&[uri("spiffe://prod.example/ns/logs/sa/shipper/x")], |_| ()),
        authority.sign(&[uri(SPIFFE), uri("spiffe://prod.example/other")], |_| ()),
        authority.sign(&[dns("*.example"), dns("x.named.example")], |_| ()),
        authority.sign(&[], |params| params.distinguished_name.push(DnType::CommonName, "named.example")),
        authority.sign(&[], |params| params.distinguished_name.push(DnType::CommonName, SPIFFE)),
        authority.sign(&[], |_| ()),
    ];
    for identity in &strangers {
        let alone = house.shown(identity, get("/token")).await;
        assert_eq!(alone.status, 401, "{}", alone.text());
        is_a_token(&house.shown(identity, get("/token").bearer(house.key("shipper"))).await, "elf-prod");
    }
    let records = house.records(2 * strangers.len()).await;
    for pair in records.chunks(2) {
        assert_eq!((&pair[0]["reason"], &pair[1]["proof"]), (&"missing".into(), &"api_key".into()));
    }
}

#[tokio::test]
async fn proofs_of_different_callers_are_refused_and_a_failed_one_beside_a_good_one_is_not() {
    let authority = Authority::new("clients");
    let house = house(&authority, "").await;
    let identity = authority.sign(&mesh(), |_| ());
    let wrong_key = house.key("shipper").replace("aquila_", "aquila_x");
    let form = |more: &str| post("/token", &format!("grant_type=client_credentials{more}"));
    let cases = [
        ("nothing more", get("/token"), 200),
        ("the key of another", get("/token").bearer(house.key("shipper")), 401),
        ("the key of another in the form", form(&format!("&client_secret={}", house.key("shipper"))), 401),
        ("a key that is none", get("/token").bearer(&wrong_key), 200),
        ("its name", form("&client_id=mesh"), 200),
        ("the name of another", form("&client_id=shipper"), 401),
        ("a name of nobody", form("&client_id=nobody"), 401),
    ];
    for (what, request, status) in cases {
        let told = house.shown(&identity, request).await;
        assert_eq!(told.status, status, "{what}: {}", told.text());
    }
    let of_two = authority.sign(&[uri(SPIFFE), dns("named.example")], |_| ());
    assert_eq!(house.shown(&of_two, get("/token")).await.status, 401);
    let records = house.records(8).await;
    for at in [1, 2, 7] {
        assert_eq!(records[at]["reason"], "contradiction", "{at}");
    }
    let metrics = house.metrics().await;
    for (proof, reason, count) in [
        // The same key in the header and then in the form is one mistake.
        ("api_key", "contradiction", 1),
        ("client_certificate", "contradiction", 1),
        ("client_certificate", "unknown", 2),
    ] {
        let line = format!("aquila_auth_failures_total{{proof=\"{proof}\",reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[tokio::test]
async fn where_a_certificate_is_required_nobody_comes_in_without() {
    let authority = Authority::new("clients");
    let house = house(&authority, ", client_certificate = \"required\"").await;
    let request = get("/token").bearer(house.key("shipper"));
    assert!(answer(&house, None, &request).await.is_none());
    assert!(answer(&house, None, &get("/healthz")).await.is_none());
    is_a_token(&house.shown(&authority.sign(&mesh(), |_| ()), get("/token")).await, "elf-prod");
    is_a_token(&house.shown(&authority.sign(&[], |_| ()), request).await, "elf-prod");
    house.records(2).await;
}

#[tokio::test]
async fn the_ops_door_may_require_one_too() {
    let authority = Authority::new("clients");
    let folder = certificates();
    fs::write(folder.path().join("clients.pem"), authority.pem()).unwrap();
    let port = free_port();
    let required = tls(", client_certificate = \"required\"");
    let plan = Plan { ops: format!("listen = \"127.0.0.1:{port}\"\n{required}"), ..Plan::default() };
    let house = House::within(folder, plan).await;
    let ask = async |identity| {
        let mut connection = knock(&client(&house, identity, rustls::ALL_VERSIONS), house.ops).await?;
        connection.write(&get("/readyz").bytes()).await;
        connection.answer(true).await.map(|answer| answer.status)
    };
    assert_eq!(ask(None).await, None);
    assert_eq!(ask(Some(&authority.sign(&[], |_| ()))).await, Some(200));
}

#[tokio::test]
async fn a_caller_that_is_removed_is_refused_on_its_next_request_on_the_open_connection() {
    let authority = Authority::new("clients");
    let house = house(&authority, "").await;
    let identity = authority.sign(&mesh(), |_| ());
    let mut open = knock(&client(&house, Some(&identity), rustls::ALL_VERSIONS), house.callers).await.unwrap();
    is_a_token(&open.ask(&get("/token")).await, "elf-prod");
    house.configure(&without(&house.configuration(), "[callers.mesh]"));
    house.hang_up();
    house.reloaded("applied", 2).await;
    assert_eq!(open.ask(&get("/token")).await.status, 401);
}

#[tokio::test]
async fn a_name_is_changed_without_a_gap_by_two_rules_at_once() {
    let authority = Authority::new("clients");
    let house = house(&authority, "").await;
    let (old, new) = (authority.sign(&mesh(), |_| ()), authority.sign(&[dns("shipper.example")], |_| ()));
    let statuses = async || {
        let ask = async |identity| house.shown(identity, get("/token")).await.status;
        (ask(&old).await, ask(&new).await)
    };
    assert_eq!(statuses().await, (200, 401));
    let (before, rule) = (house.configuration(), format!("{{ spiffe_id = \"{SPIFFE}\" }}"));
    for (generation, rules, expected) in [
        (2, format!("{rule}, {{ dns_name = \"shipper.example\" }}"), (200, 200)),
        (3, "{ dns_name = \"shipper.example\" }".to_owned(), (401, 200)),
    ] {
        house.configure(&before.replace(&rule, &rules));
        house.hang_up();
        house.reloaded("applied", generation).await;
        assert_eq!(statuses().await, expected);
    }
}

#[tokio::test]
async fn a_change_of_the_authority_drains_what_came_in_before_and_nothing_else_does() {
    let (old, new) = (Authority::new("clients"), Authority::new("clients"));
    let house = house(&old, "").await;
    let (by_old, by_new) = (old.sign(&mesh(), |_| ()), new.sign(&mesh(), |_| ()));
    let open = async |identity| {
        let mut open = knock(&client(&house, identity, rustls::ALL_VERSIONS), house.callers).await.unwrap();
        let request = if identity.is_some() { get("/token") } else { get("/token").bearer(house.key("shipper")) };
        is_a_token(&open.ask(&request).await, "elf-prod");
        open
    };
    let (mut one, mut with_key) = (open(Some(&by_old)).await, open(None).await);
    assert!(answer(&house, Some(&by_new), &get("/token")).await.is_none());

    // The same authority written otherwise, and another certificate of the door: everybody stays.
    fs::write(house.folder().join("clients.pem"), format!("# again\n{}{}", old.pem(), old.pem())).unwrap();
    let fresh = certificates();
    for file in ["door.pem", "door.key"] {
        fs::copy(fresh.path().join(file), house.folder().join(file)).unwrap();
    }
    fs::copy(fresh.path().join("ca.pem"), house.folder().join("ca.pem")).unwrap();
    house.hang_up();
    house.reloaded("applied", 2).await;
    is_a_token(&one.ask(&get("/token")).await, "elf-prod");

    // Both authorities, so that clients can change over: those that are open end, and come back at once.
    house.trust(&[&old, &new], 3).await;
    assert_eq!(one.rest().await, b"");
    assert_eq!(with_key.rest().await, b"");
    drop((open(Some(&by_old)).await, open(Some(&by_new)).await));

    // A request in progress is finished, by an authority that is gone by then.
    let cold = old.sign(&[dns("cold.example")], |_| ());
    let mut one = knock(&client(&house, Some(&cold), rustls::ALL_VERSIONS), house.callers).await.unwrap();
    house.simulator.force(Fault::delay(Door::Token, 2000));
    one.write(&get("/token").bytes()).await;
    until("a login", || house.simulator.counts().token_posts_in_flight > 0).await;
    house.trust(&[&new], 4).await;
    is_a_token(&one.answer(true).await.unwrap(), "elf-test");
    assert_eq!(one.rest().await, b"");
    assert!(answer(&house, Some(&by_old), &get("/token")).await.is_none());
    is_a_token(&house.shown(&by_new, get("/token")).await, "elf-prod");
}

/// Half of a head before the change and half after it: a connection that has begun a head is not closed in between. One
/// whose first bytes were still on the way may be, and then nothing is answered.
#[tokio::test]
async fn a_request_that_begins_after_a_change_is_judged_by_the_authorities_in_force() {
    let (old, new) = (Authority::new("clients"), Authority::new("clients"));
    let house = house(&old, "").await;
    let (by_old, key) = (old.sign(&mesh(), |_| ()), house.key("shipper"));
    let by_hand = |more: &str| format!("GET /token HTTP/1.1\r\nHost: aquila.example\r\n{more}");
    let begin = async |identity, head: String| {
        let mut begun = knock(&client(&house, identity, rustls::ALL_VERSIONS), house.callers).await.unwrap();
        begun.write(head.as_bytes()).await;
        begun
    };
    let ends = async |mut begun: Connection<_>, expected: u16| {
        begun.write(b"\r\n").await;
        let status = begun.answer(true).await.map(|answer| answer.status);
        assert!(status.is_none_or(|status| status == expected), "{status:?} instead of {expected}");
    };
    let bearer = by_hand(&format!("Authorization: Bearer {key}\r\n"));
    let kept = begin(Some(&by_old), by_hand("")).await;
    house.trust(&[&old, &new], 2).await;
    ends(kept, 200).await;
    let (refused, with_key) = (begin(Some(&by_old), by_hand("")).await, begin(Some(&by_old), bearer.clone()).await);
    let (without, none_taken) = (begin(None, bearer.clone()).await, begin(None, bearer).await);
    house.trust(&[&new], 3).await;
    // As in a handshake: whatever else comes with a certificate that is not trusted.
    ends(refused, 421).await;
    ends(with_key, 421).await;
    ends(without, 200).await;
    let bound = begin(Some(&new.sign(&mesh(), |_| ())), by_hand("")).await;
    house.configure(&house.configuration().replace(", client_ca_path = \"clients.pem\"", ""));
    house.hang_up();
    house.reloaded("applied", 4).await;
    ends(bound, 421).await;
    ends(none_taken, 200).await;
}

#[tokio::test]
async fn no_session_is_resumed_past_the_look_at_the_certificate() {
    let (old, new) = (Authority::new("clients"), Authority::new("clients"));
    let house = house(&old, "").await;
    let identity = old.sign(&mesh(), |_| ());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        // One client, which keeps what it was given to come back with.
        let client = client(&house, Some(&identity), &[version]);
        for _ in 0..3 {
            let stream = TcpStream::connect(house.callers).await.unwrap();
            let stream = client.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
            is_a_token(&Connection::over(stream).ask(&get("/token")).await, "elf-prod");
        }
        let (first, second) = if version.version == rustls::ProtocolVersion::TLSv1_2 { (2, 3) } else { (4, 5) };
        house.trust(&[&new], first).await;
        let refused = match knock(&client, house.callers).await {
            Some(mut connection) => {
                connection.write(&get("/token").bytes()).await;
                connection.answer(true).await.is_none()
            }
            None => true,
        };
        assert!(refused, "{version:?}");
        house.trust(&[&old], second).await;
    }
}

#[tokio::test]
async fn a_certificate_that_ends_proves_nothing_more_on_the_connection_that_it_opened() {
    const LASTS: u64 = 6;
    let authority = Authority::new("clients");
    let house = house(&authority, "").await;
    // The login is not to take of the few seconds that the certificate has.
    is_a_token(&house.shown(&authority.sign(&mesh(), |_| ()), get("/token")).await, "elf-prod");
    let now = jiff::Timestamp::now().as_second();
    let end = date_time_ymd(1970, 1, 1) + Duration::from_secs(now.unsigned_abs() + LASTS);
    let identity = authority.sign(&mesh(), |params| params.not_after = end);
    let mut open = knock(&client(&house, Some(&identity), rustls::ALL_VERSIONS), house.callers).await.unwrap();
    is_a_token(&open.ask(&get("/token")).await, "elf-prod");
    let deadline = Instant::now() + PATIENCE;
    loop {
        match open.ask(&get("/token")).await.status {
            200 => assert!(Instant::now() < deadline, "it is believed for ever"),
            status => break assert_eq!(status, 401),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(jiff::Timestamp::now().as_second().unsigned_abs() >= now.unsigned_abs() + LASTS);
    is_a_token(&open.ask(&get("/token").bearer(house.key("shipper"))).await, "elf-prod");
}

#[tokio::test]
async fn a_bundle_that_is_none_is_refused_with_line_and_remedy() {
    let authority = Authority::new("clients");
    let house = house(&authority, "").await;
    let leaf = authority.sign(&mesh(), |_| ());
    let config = house.folder().join("bad.toml");
    fs::write(&config, house.configuration()).unwrap();
    for (bundle, told) in [
        (String::new(), "clients.pem holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(), "certificate 1 in"),
        (authority.pem() + &leaf.chain, "certificate 2 in"),
    ] {
        fs::write(house.folder().join("clients.pem"), bundle).unwrap();
        let ended = run(["check".as_ref(), "--config".as_ref(), config.as_path()]).await;
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.code(), Some(78), "{said}");
        assert!(
            said.contains(told) && said.contains("server.tls.client_ca_path") && said.contains("bad.toml:"),
            "{said}"
        );
    }
    // The service that runs is not shaken by it.
    house.hang_up();
    house.reloaded("refused", 1).await;
    is_a_token(&house.shown(&leaf, get("/token")).await, "elf-prod");
}

#[tokio::test]
async fn a_forwarded_address_is_recorded_when_a_trusted_proxy_tells_it_and_proves_nothing() {
    for (trusted, expected) in [("127.0.0.0/8", Some("198.51.100.7")), ("192.0.2.0/24", None)] {
        let server = format!("trusted_proxies = [\"{trusted}\"]\n");
        let house = House::with(Plan { server, ..Plan::default() }).await;
        let forwarded = |request: Request| request.header("X-Forwarded-For", "203.0.113.1, 198.51.100.7");
        is_a_token(&house.ask(forwarded(get("/token").bearer(house.key("shipper")))).await, "elf-prod");
        assert_eq!(house.ask(forwarded(get("/token"))).await.status, 401);
        for record in house.records(2).await {
            let address = record["remote_address"].as_str().unwrap();
            let own = || address.starts_with("127.0.0.1:");
            assert!(expected.map_or_else(own, |expected| address == expected), "{address}");
        }
    }
}
