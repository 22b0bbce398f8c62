//! Guarantee 8: assertions go to the configured host alone, and what comes back is bounded and checked before it is
//! passed on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aquila::simulator::{Door, Fault, FaultAnswer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::support::stage::Stage;
use crate::support::{seconds, until};

/// A place where nothing must ever arrive.
struct Elsewhere {
    port: u16,
    visits: Arc<AtomicUsize>,
}

impl Elsewhere {
    async fn open() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (port, visits) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&visits);
        TaskTracker::new().spawn(async move {
            while listener.accept().await.is_ok() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { port, visits }
    }

    /// Nobody came, and somebody who comes is seen.
    async fn nobody_came(self) {
        assert_eq!(self.visits.load(Ordering::SeqCst), 0, "a redirect was followed");
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        until("the visit is seen", async || self.visits.load(Ordering::SeqCst) == 1).await;
    }

    fn redirect(&self, status: u16) -> FaultAnswer {
        let location = format!("http://127.0.0.1:{}/services/oauth2/token", self.port);
        let headers = BTreeMap::from([("location".to_owned(), location)]);
        FaultAnswer::Raw { status, content_type: None, headers, body: String::new() }
    }
}

fn json_answer(body: String) -> FaultAnswer {
    let content_type = Some("application/json".to_owned());
    FaultAnswer::Raw { status: 200, content_type, headers: BTreeMap::new(), body }
}

fn token_answer(instance_url: &str) -> FaultAnswer {
    let body = json!({"access_token": "00D5g00000SIMU1!X", "token_type": "Bearer", "instance_url": instance_url});
    json_answer(body.to_string())
}

#[tokio::test]
async fn a_redirect_of_the_token_endpoint_is_not_followed() {
    let stage = Stage::usual().await;
    let elsewhere = Elsewhere::open().await;
    for status in [301, 302, 303, 307, 308] {
        stage.simulator.force(Fault::once(Door::Token, elsewhere.redirect(status)));
        assert_eq!(stage.ask().await.refusal().0, 503, "{status}");
        assert_eq!(stage.cause().await, "malformed_answer", "{status}");
        stage.advance(seconds(300));
    }
    elsewhere.nobody_came().await;
}

#[tokio::test]
async fn a_redirect_of_the_confirm_call_takes_the_token_nowhere() {
    for status in [301, 302, 303, 307, 308] {
        let stage = Stage::usual().await;
        let elsewhere = Elsewhere::open().await;
        stage.simulator.force(Fault::always(Door::Rest, elsewhere.redirect(status)));
        assert_eq!(stage.token().await.source, "estimate", "{status}");
        elsewhere.nobody_came().await;
    }
}

#[tokio::test]
async fn a_body_of_more_than_a_mebibyte_is_refused() {
    let stage = Stage::usual().await;
    let padded = |length: usize| {
        let body = json!({
            "access_token": "00D5g00000SIMU1!X",
            "token_type": "Bearer",
            "instance_url": stage.simulator.base_url(),
        });
        let body = body.to_string();
        format!("{body}{}", " ".repeat(length - body.len()))
    };
    stage.simulator.force(Fault::once(Door::Token, json_answer(padded((1 << 20) + 1))));
    stage.simulator.force(Fault::once(Door::Token, FaultAnswer::Huge { bytes: 64 << 20 }));
    for _ in 0..2 {
        assert_eq!(stage.ask().await.refusal().0, 503);
        assert_eq!(stage.cause().await, "malformed_answer");
        assert!(stage.failure("elf-prod", "detail").await.contains("more than 1 MiB"));
        stage.advance(seconds(300));
    }
    // To the byte: the same answer, one byte shorter, is taken.
    stage.simulator.force(Fault::once(Door::Token, json_answer(padded(1 << 20))));
    stage.simulator.force(Fault::once(Door::Rest, json_answer("{}".to_owned())));
    assert_eq!(stage.token().await.text, "00D5g00000SIMU1!X");
}

#[tokio::test]
async fn an_instance_url_of_a_foreign_host_is_refused_and_the_token_goes_nowhere() {
    let stage = Stage::usual().await;
    let foreign = [
        "https://evil.example",
        "https://acme.my.salesforce.com.evil.example",
        "https://acme.my.salesforce.com@evil.example",
        "https://evil.example#acme.my.salesforce.com",
        "https://evil.example/acme.my.salesforce.com",
        "https://evilsalesforce.com",
        "https://.salesforce.com",
        "https://acme.my.salesforce.com.",
        "https://user:word@acme.my.salesforce.com",
        "http://acme.my.salesforce.com",
        "ftp://acme.my.salesforce.com",
        "https://10.0.0.1",
        "https://169.254.169.254",
        "https://[fe80::1]",
        "http://127.0.0.1.evil.example",
        "javascript:alert(1)",
    ];
    for url in foreign {
        stage.simulator.force(Fault::once(Door::Token, token_answer(url)));
        let (status, _) = stage.ask().await.refusal();
        let cause = stage.cause().await;
        // What is no URL at all is told as such; what names a host, as untrusted.
        assert_eq!((status, cause.as_str()), (502, "untrusted_instance"), "{url}");
        stage.advance(seconds(300));
    }
    assert_eq!(stage.simulator.counts().rest_calls, 0);
    stage.token().await;
}

/// An instance that is not the simulator's.
const OTHER: &str = "http://127.0.0.1:1";

#[tokio::test]
async fn a_token_for_another_instance_than_the_pinned_one_is_refused() {
    let plan = Stage::plan().integration_line(format!("instance_url = \"{OTHER}\"\npin_instance_url = true"));
    let stage = plan.start().await;
    assert_eq!(stage.ask().await.refusal(), (502, "upstream_refused".to_owned()));
    assert_eq!(stage.cause().await, "instance_mismatch");
    assert_eq!(stage.simulator.counts().rest_calls, 0, "the token was used");
    // The pinned one itself is taken; nothing answers there, so it stays unconfirmed.
    stage.advance(seconds(300));
    stage.simulator.force(Fault::once(Door::Token, token_answer(OTHER)));
    let token = stage.token().await;
    assert_eq!((token.instance_url.as_str(), token.source.as_str()), (OTHER, "estimate"));
}

#[tokio::test]
async fn without_the_pin_a_token_for_another_instance_is_passed_on_with_a_warning() {
    let plan = Stage::plan().integration_line(format!("instance_url = \"{OTHER}\"")).in_own_process();
    let stage = plan.start().await;
    let token = stage.token().await;
    assert_eq!(token.instance_url, stage.simulator.base_url());
    let log = std::fs::read_to_string(stage.file("stderr.txt")).unwrap();
    let warning = log.lines().find(|line| line.contains("another instance"));
    assert!(warning.is_some_and(|line| line.contains("WARN") && line.contains("elf-prod")), "{log}");
}

#[tokio::test]
async fn what_is_for_this_machine_does_not_go_through_the_egress_proxy() {
    let proxy = Elsewhere::open().await;
    let line = format!("proxy_url = \"http://127.0.0.1:{}\"", proxy.port);
    let stage = Stage::plan().salesforce_line(line).start().await;
    stage.token().await;
    proxy.nobody_came().await;
}
