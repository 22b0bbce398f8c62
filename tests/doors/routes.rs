//! Every route with every method, paths that somebody makes up, RFC 8414 metadata, and the ops door.

use crate::get_token::is_a_problem;
use crate::support::house::{House, Plan};
use crate::support::wire::{Answer, get, request};

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"];
const METADATA: &str = "/.well-known/oauth-authorization-server";

/// RFC 9457, and as a whole on a HEAD, whose body nobody sees.
fn refused(answer: &Answer, method: &str, status: u16, error: &str) {
    assert_eq!(answer.status, status, "{method}");
    match method {
        "HEAD" => assert_eq!(answer.header("content-type"), Some("application/problem+json")),
        _ => is_a_problem(answer, error),
    }
}

#[tokio::test]
async fn every_route_takes_its_methods_and_says_so_to_the_others() {
    let house = House::open().await;
    let cases = [
        (house.callers, "/token", "GET,HEAD,POST"),
        (house.callers, "/token/elf-prod", "GET,HEAD,POST"),
        (house.callers, "/services/oauth2/token", "POST"),
        (house.callers, "/integrations/elf-prod/services/oauth2/token", "POST"),
        (house.callers, METADATA, "GET,HEAD"),
        (house.callers, "/healthz", "GET,HEAD"),
        (house.ops, "/healthz", "GET,HEAD"),
        (house.ops, "/livez", "GET,HEAD"),
        (house.ops, "/readyz", "GET,HEAD"),
        (house.ops, "/metrics", "GET,HEAD"),
        (house.ops, "/status", "GET,HEAD"),
        (house.ops, "/status.json", "GET,HEAD"),
    ];
    for (address, target, allowed) in cases {
        for method in METHODS {
            let answer = request(method, target).send(address).await;
            if allowed.split(',').any(|one| one == method) {
                assert_ne!(answer.status, 405, "{method} {target}");
            } else {
                assert_eq!(answer.header("allow"), Some(allowed), "{method} {target}");
                refused(&answer, method, 405, "method_not_allowed");
            }
        }
    }
    assert_eq!(house.simulator.counts().token_posts, 0);
}

#[tokio::test]
async fn nothing_is_at_any_other_path_of_either_door_whatever_the_method() {
    let house = House::open().await;
    for target in ["/", "/metrics", "/readyz", "/livez", "/status", "/status.json"] {
        for method in METHODS {
            refused(&request(method, target).send(house.callers).await, method, 404, "not_found");
        }
    }
    for target in ["/", "/token", "/token/elf-prod", "/services/oauth2/token", METADATA] {
        for method in METHODS {
            let request = request(method, target).bearer(house.key("shipper"));
            refused(&request.send(house.ops).await, method, 404, "not_found");
        }
    }
}

#[tokio::test]
async fn a_path_that_only_resembles_a_route_is_none_and_no_path_is_a_fault() {
    let house = House::open().await;
    let key = house.key("shipper");
    let long = format!("/token/{}", "x".repeat(20_000));
    for (target, status) in [
        ("//token", 404),
        ("/token/", 404),
        ("/token//elf-prod", 404),
        ("/token/elf-prod/", 404),
        ("/token/elf-prod/x", 404),
        ("/./token", 404),
        ("/x/../token", 404),
        ("/%74oken", 404),
        ("/token%2Felf-prod", 404),
        ("/TOKEN", 404),
        ("/token;x", 404),
        ("/integrations//services/oauth2/token", 404),
        ("/token/%2e%2e%2ftoken", 403),
        ("/token/elf-prod%2f", 403),
        ("/token/%00", 403),
        ("/token/%FF%FE", 403),
        ("/token/%", 403),
        ("/token/%zz", 403),
        ("/token/%C3%A9", 403),
        (&long, 403),
        ("http://elsewhere.example/token", 200),
        ("*", 404),
    ] {
        let answer = house.ask(get(target).bearer(key)).await;
        assert_eq!(answer.status, status, "{} {}", target.chars().take(60).collect::<String>(), answer.text());
    }
    let connect = house.ask(request("CONNECT", "elsewhere.example:443").bearer(key)).await;
    assert!((400..500).contains(&connect.status), "{connect:?}");
    assert!(house.process.stderr().lines().all(|line| !line.contains("panicked")), "{}", house.process.stderr());
}

#[tokio::test]
async fn metadata_is_told_under_the_name_that_callers_use_and_only_with_one() {
    for (public_url, issuer, own_path) in [
        ("https://aquila.example", "https://aquila.example", None),
        ("https://aquila.example/", "https://aquila.example", None),
        ("https://aquila.example/a/broker/", "https://aquila.example/a/broker", Some("/a/broker")),
        ("https://aquila.example:8443", "https://aquila.example:8443", None),
    ] {
        let house = House::with(Plan { server: format!("public_url = \"{public_url}\"\n"), ..Plan::default() }).await;
        let paths = [Some(METADATA.to_owned()), own_path.map(|own| format!("{METADATA}{own}"))];
        for path in paths.into_iter().flatten() {
            let answer = house.ask(get(&path)).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{path}");
            let methods = ["client_secret_basic", "client_secret_post"];
            let expected = serde_json::json!({
                "issuer": issuer,
                "token_endpoint": format!("{issuer}/token"),
                "grant_types_supported": ["client_credentials"],
                "response_types_supported": ["none"],
                "token_endpoint_auth_methods_supported": methods,
                "revocation_endpoint": format!("{issuer}/revoke"),
                "revocation_endpoint_auth_methods_supported": methods,
                "introspection_endpoint": format!("{issuer}/introspect"),
                "introspection_endpoint_auth_methods_supported": methods,
            });
            assert_eq!(answer.json(), expected, "{path}");
        }
        for wrong in ["/x", "/a", "/a/broker/x", METADATA, "x"] {
            let path = format!("{METADATA}{wrong}");
            refused(&house.ask(get(&path)).await, "GET", 404, "not_found");
        }
    }
    let house = House::open().await;
    refused(&house.ask(get(METADATA)).await, "GET", 404, "not_found");
}

#[tokio::test]
async fn probes_ask_for_nothing_and_what_shows_the_inside_asks_for_its_token() {
    let folder = tempfile::tempdir().unwrap();
    crate::support::house::write_private(&folder.path().join("ops.token"), "0123456789abcdef0123456789abcdef\n");
    let plan = Plan { ops: "bearer_token_path = \"ops.token\"\n".to_owned(), ..Plan::default() };
    let house = House::within(folder, plan).await;
    for probe in ["/livez", "/readyz", "/healthz", "/readyz?verbose"] {
        let answer = get(probe).send(house.ops).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{probe}");
    }
    for inside in ["/metrics", "/status.json"] {
        for wrong in [
            get(inside),
            get(inside).bearer("0123456789abcdef0123456789abcdeF"),
            get(inside).bearer(house.key("wide")),
            get(inside).basic("ops", "0123456789abcdef0123456789abcdef"),
            get(&format!("{inside}?access_token=0123456789abcdef0123456789abcdef")),
        ] {
            let answer = wrong.send(house.ops).await;
            assert_eq!(answer.status, 401, "{inside}");
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer realm="));
            assert!(answer.text().len() < 20, "{}", answer.text());
        }
        let answer = get(inside).bearer("0123456789abcdef0123456789abcdef").send(house.ops).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{inside}");
    }
}

#[tokio::test]
async fn a_browser_may_send_the_token_of_the_ops_door_as_the_password_of_basic() {
    let folder = tempfile::tempdir().unwrap();
    crate::support::house::write_private(&folder.path().join("ops.token"), "0123456789abcdef:0123456789abcdef\n");
    let plan = Plan { ops: "bearer_token_path = \"ops.token\"\n".to_owned(), ..Plan::default() };
    let house = House::within(folder, plan).await;
    let token = "0123456789abcdef:0123456789abcdef";
    for good in [get("/status").bearer(token), get("/status").basic("", token), get("/status").basic("on-call", token)]
    {
        let answer = good.send(house.ops).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    }
    for wrong in [
        get("/status"),
        get("/status").bearer(&token[1..]),
        get("/status").basic("on-call", &token[1..]),
        get("/status").basic("on-call", ""),
        get("/status").basic("0123456789abcdef", "0123456789abcdef"),
        get("/status").header("authorization", "Basic"),
        get("/status").header("authorization", "Basic !"),
        get("/status").header("authorization", "Basic bm9jb2xvbg=="),
    ] {
        let answer = wrong.send(house.ops).await;
        let challenges = answer.all("www-authenticate");
        let wanted = [r#"Bearer realm="aquila ops""#, r#"Basic realm="aquila ops", charset="UTF-8""#];
        assert_eq!((answer.status, challenges), (401, wanted.to_vec()));
    }
}

#[tokio::test]
async fn the_status_tells_of_each_integration_and_of_no_secret() {
    let house = House::open().await;
    let token = house.ask(get("/token").bearer(house.key("shipper"))).await.member("access_token");
    let answer = get("/status.json").send(house.ops).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let status = answer.json();
    assert_eq!((&status["ready"], &status["callers"]), (&true.into(), &4.into()));
    let states: Vec<_> =
        status["integrations"].as_array().unwrap().iter().map(|one| (&one["name"], &one["state"])).collect();
    let expected = [("crm", "idle"), ("elf-prod", "good"), ("elf-test", "idle")];
    assert_eq!(
        format!("{states:?}"),
        format!("{:?}", expected.map(|(a, b)| (serde_json::json!(a), serde_json::json!(b))))
    );
    assert!(status["integrations"][1]["token"]["remaining_seconds"].as_u64().unwrap() > 3000, "{status}");
    assert!(!answer.text().contains(&token[16..40]));
}
