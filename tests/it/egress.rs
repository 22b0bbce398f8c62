//! The way out through TLS with an authority of one's own, and through an egress proxy, which sees hosts and nothing
//! else.

use std::net::SocketAddr;

use aquila::simulator::Tls;

use crate::ports::free_port;
use crate::support::plan::{INTEGRATION, Plan};
use crate::support::proxy::{Book, Proxy};
use crate::support::stage::Stage;

const HOST: &str = "acme.my.salesforce.com";
const LOGIN: &str = "Basic cHJveHktdXNlcjpwcm94eTp3b3Jk";
const CREDENTIALS: &str = "proxy-user:proxy:word";

/// The simulator as an org with a name that only a proxy can find, under an authority that `ca_path` names. The port
/// must be known before it starts, so that the proxy can lead there.
fn org() -> (Plan, SocketAddr) {
    let (tls, authority) = Tls::throw_away(&[HOST.to_owned()]).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let plan = Stage::plan().file("ca.pem", authority).salesforce_line("ca_path = \"ca.pem\"");
    let plan = plan.token_url(INTEGRATION, format!("https://{HOST}:{{port}}"));
    let plan = plan.simulator(|settings| {
        settings.listen = address;
        settings.tls = Some(tls);
        settings.hosts = vec![format!("my-domain={HOST}").parse().unwrap()];
    });
    (plan, address)
}

/// The proxy saw whom the broker talked to, and TLS.
fn saw_only_hosts(book: &Book, port: u16, token: &str) {
    assert!(!book.heads.is_empty());
    for head in &book.heads {
        assert!(head.starts_with(&format!("CONNECT {HOST}:{port} HTTP/1.1\r\n")), "{head}");
    }
    let holds = |text: &str| book.tunnelled.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(book.tunnelled.starts_with(&[0x16, 0x03]), "no TLS handshake");
    // The name is in the greeting, so a text that passes in the clear would be found.
    assert!(holds(HOST));
    for secret in [token, "assertion", "jwt-bearer", "access_token", "Bearer", CREDENTIALS] {
        assert!(!holds(secret), "{secret}");
    }
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_by_ca_path() {
    let (tls, authority) = Tls::throw_away(&[]).unwrap();
    for roots in ["system", "bundled"] {
        let (tls, authority) = (tls.clone(), authority.clone());
        let plan = Stage::plan().file("ca.pem", authority).salesforce_line("ca_path = \"ca.pem\"");
        let plan = plan.salesforce_line(format!("roots = \"{roots}\""));
        let stage = plan.simulator(|settings| settings.tls = Some(tls)).start().await;
        let token = stage.token().await;
        assert!(token.instance_url.starts_with("https://127.0.0.1:"));
        assert_eq!((token.source.as_str(), stage.simulator.counts().confirms), ("confirmed", 1), "{roots}");
    }
}

#[tokio::test]
async fn an_egress_proxy_sees_the_host_and_neither_assertion_nor_token() {
    let (plan, address) = org();
    let proxy = Proxy::to(address, None).await;
    let stage = plan.salesforce_line(format!("proxy_url = \"{}\"", proxy.url())).start().await;
    let token = stage.token().await;
    assert_eq!(token.instance_url, format!("https://{HOST}:{}", address.port()));
    assert_eq!((token.source.as_str(), stage.simulator.counts().confirms), ("confirmed", 1));
    saw_only_hosts(&proxy.book(), address.port(), &token.text);
}

#[tokio::test]
async fn the_proxys_credentials_go_to_the_proxy_alone() {
    let (plan, address) = org();
    let proxy = Proxy::to(address, Some(LOGIN)).await;
    let plan = plan.salesforce_line(format!("proxy_url = \"{}\"", proxy.url()));
    let plan = plan.file("proxy-credentials", format!("{CREDENTIALS}\n"));
    let stage = plan.salesforce_line("proxy_credentials_path = \"proxy-credentials\"").start().await;
    let token = stage.token().await;
    let book = proxy.book();
    assert!(book.heads.iter().all(|head| head.contains(LOGIN)));
    saw_only_hosts(&book, address.port(), &token.text);
}

#[tokio::test]
async fn a_proxy_that_wants_credentials_and_gets_none_is_told_as_such() {
    let (plan, address) = org();
    let proxy = Proxy::to(address, Some(LOGIN)).await;
    let stage = plan.salesforce_line(format!("proxy_url = \"{}\"", proxy.url())).start().await;
    assert_eq!(stage.ask().await.refusal().0, 503);
    let detail = stage.failure(INTEGRATION, "detail").await;
    assert_eq!(stage.cause().await, "connect", "{detail}");
    assert!(detail.contains("the egress proxy opens no tunnel"), "{detail}");
    assert_eq!(stage.simulator.counts().token_posts, 0);
}

#[tokio::test]
async fn the_environment_names_the_proxy_and_its_exceptions() {
    let (plan, address) = org();
    let proxy = Proxy::to(address, Some(LOGIN)).await;
    let url = format!("http://proxy-user:proxy%3Aword@{}", proxy.authority());
    let stage = plan.in_own_process().environment("HTTPS_PROXY", &url).start().await;
    let token = stage.token().await;
    saw_only_hosts(&proxy.book(), address.port(), &token.text);
    let log = std::fs::read_to_string(stage.file("stderr.txt")).unwrap();
    assert!(log.contains("asked through a proxy") && log.contains("HTTPS_PROXY") && !log.contains("word"), "{log}");

    let proxy = Proxy::to(address, None).await;
    // A name that no TLS can be spoken to: a proxy would be asked for a tunnel first.
    let excepted = format!("{}.my.salesforce.com", "x".repeat(64));
    let plan = Stage::plan().token_url(INTEGRATION, format!("https://{excepted}")).in_own_process();
    let plan = plan.environment("https_proxy", proxy.url()).environment("NO_PROXY", ".my.salesforce.com");
    let stage = plan.start().await;
    assert_eq!(stage.ask().await.refusal().0, 503);
    assert_eq!(stage.failure(INTEGRATION, "detail").await, "invalid dns name");
    assert!(proxy.book().heads.is_empty());
}
