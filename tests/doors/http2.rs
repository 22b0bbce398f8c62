//! HTTP/2, under TLS and without: the same answers, and the same manners when the service stops.

use reqwest::{Client, StatusCode, Version};
use rustix::process::Signal;

use aquila::simulator::{Door, Fault};

use crate::support::house::House;
use crate::support::until;
use crate::tls;

/// A client that trusts the house's authority, if there is one, and speaks HTTP/2 at once where there is no TLS.
fn client(house: &House) -> Client {
    let authority = std::fs::read(house.folder().join("ca.pem"));
    #[expect(clippy::disallowed_methods, reason = "this client plays a caller; it carries no assertion")]
    let builder = Client::builder().no_proxy();
    let builder = match authority {
        Ok(pem) => builder.tls_certs_only([reqwest::Certificate::from_pem(&pem).unwrap()]),
        Err(_) => builder.tls_certs_only([]).http2_prior_knowledge(),
    };
    builder.build().unwrap()
}

async fn houses() -> [(House, &'static str); 2] {
    [(tls::house().await, "https"), (House::open().await, "http")]
}

#[tokio::test]
async fn one_connection_carries_many_requests_at_once() {
    for (house, scheme) in houses().await {
        let client = client(&house);
        let url = format!("{scheme}://{}/token", house.callers);
        let ask = || client.get(&url).bearer_auth(house.key("shipper")).send();
        assert_eq!(ask().await.unwrap().version(), Version::HTTP_2);
        let answers = futures_util::future::join_all((0..200).map(|_| ask())).await;
        for answer in answers {
            let answer = answer.unwrap();
            assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
            assert_eq!(answer.headers()["content-type"], "application/json");
            assert_eq!(answer.headers()["cache-control"], "no-store");
            assert!(answer.headers().contains_key("x-request-id"));
        }
        assert_eq!(house.simulator.counts().token_posts, 1);
    }
}

#[tokio::test]
async fn what_is_refused_over_http_1_is_refused_over_http_2() {
    for (house, scheme) in houses().await {
        let client = client(&house);
        let (url, key) = (format!("{scheme}://{}/token", house.callers), house.key("shipper"));
        let get = || client.get(&url);
        let form = "application/x-www-form-urlencoded";
        let long = format!("grant_type=client_credentials&x={}", "y".repeat(16 * 1024));
        for (case, request, status) in [
            ("nothing", get(), 401),
            ("two headers", get().bearer_auth(key).bearer_auth(key), 400),
            ("body", client.post(&url).bearer_auth(key).header("content-type", form).body(long), 413),
            ("method", client.put(&url), 405),
            ("header", get().bearer_auth(key).header("x", "x".repeat(64 * 1024)), 431),
            ("nothing wrong", get().bearer_auth(key), 200),
        ] {
            let answer = request.send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (status, Version::HTTP_2), "{scheme}, {case}");
        }
    }
}

#[tokio::test]
async fn a_request_in_progress_is_finished_when_the_service_stops() {
    for (house, scheme) in houses().await {
        let client = client(&house);
        house.simulator.force(Fault::delay(Door::Token, 1500));
        let request = client.get(format!("{scheme}://{}/token", house.callers)).bearer_auth(house.key("shipper"));
        let stop = async {
            until("a mint", || house.simulator.counts().token_posts_in_flight > 0).await;
            house.process.signal(Signal::TERM);
        };
        let (answer, ()) = futures_util::future::join(request.send(), stop).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
        assert!(answer.text().await.unwrap().contains("access_token"));
        let ended = house.process.ended().await;
        assert_eq!(ended.code(), Some(0));
        assert!(ended.stderr.contains("everything in progress came to its end"), "{}", ended.stderr);
    }
}
