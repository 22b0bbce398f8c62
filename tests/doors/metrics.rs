//! The metrics: what they count, and that nobody outside can name a series.

use crate::support::house::House;
use crate::support::wire::{get, post, request};

#[tokio::test]
async fn series_appear_on_first_use_and_count() {
    let house = House::open().await;
    let before = house.metrics().await;
    for name in [
        "aquila_token_requests_total",
        "aquila_auth_failures_total",
        "aquila_mints_total",
        "aquila_caller_requests_total",
    ] {
        assert!(!before.contains(name), "{name} in {before}");
    }
    assert!(before.contains("aquila_build_info{version="), "{before}");
    assert!(before.contains("process_start_time_seconds"), "{before}");

    let key = house.key("shipper");
    for _ in 0..3 {
        house.ask(get("/token").bearer(key)).await;
    }
    house.ask(get("/token/crm").bearer(key)).await;
    house.ask(post("/token", "grant_type=x").bearer(key)).await;
    let metrics = house.metrics().await;
    for line in [
        r#"aquila_http_requests_total{method="GET",route="/token",status="200"} 3"#,
        r#"aquila_http_requests_total{method="GET",route="/token/{integration}",status="403"} 1"#,
        r#"aquila_http_requests_total{method="POST",route="/token",status="400"} 1"#,
        r#"aquila_http_request_duration_seconds_count{route="/token"} 4"#,
        r#"aquila_token_requests_total{integration="elf-prod",outcome="issued"} 3"#,
        r#"aquila_token_requests_total{integration="crm",outcome="denied"} 1"#,
        r#"aquila_caller_requests_total{caller="shipper",outcome="issued"} 3"#,
        r#"aquila_caller_requests_total{caller="shipper",outcome="denied"} 1"#,
        r#"aquila_caller_requests_total{caller="shipper",outcome="invalid_request"} 1"#,
        r#"aquila_cache_lookups_total{integration="elf-prod",result="hit"} 2"#,
        r#"aquila_cache_lookups_total{integration="elf-prod",result="miss"} 1"#,
        r#"aquila_mints_total{integration="elf-prod",outcome="success"} 1"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
    let remaining =
        metrics.lines().find(|line| line.starts_with(r#"aquila_token_remaining_seconds{integration="elf-prod"}"#));
    let remaining: f64 = remaining.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(remaining > 3000.0 && remaining <= 3600.0, "{remaining}");
}

#[tokio::test]
async fn every_failed_proof_is_counted_with_its_reason() {
    let house = House::open().await;
    let stray = aquila::authn::ApiKey::generate().unwrap();
    let key = house.key("shipper");
    let typo = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { '1' } else { '0' });
    house.ask(get("/token")).await;
    house.ask(get("/token").bearer(&typo)).await;
    house.ask(get("/token").bearer("x")).await;
    house.ask(get("/token").bearer(stray.expose())).await;
    house.ask(get("/token").basic("wide", key)).await;
    house.ask(post("/token", "grant_type=client_credentials").basic("nobody", stray.expose())).await;
    let metrics = house.metrics().await;
    for (reason, count) in [("missing", 1), ("malformed", 2), ("unknown", 3)] {
        let line = format!("aquila_auth_failures_total{{proof=\"api_key\",reason=\"{reason}\"}} {count}");
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn what_a_stranger_sends_makes_no_series() {
    let house = House::open().await;
    let key = house.key("shipper");
    house.ask(get("/token/warmup").bearer(key)).await;
    house.ask(request("BREW", "/coffee")).await;
    house.ask(get("/nowhere").bearer(key)).await;
    let before = house.metrics().await;
    let series = |text: &str| {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter(|line| {
                !line.starts_with("aquila_http_requests_total{method=\"GET\",route=\"/metrics\"")
                    && !line.contains("route=\"/metrics\"")
            })
            .count()
    };
    for number in 0..20 {
        house.ask(request(&format!("BREW{number}"), &format!("/coffee{number}"))).await;
        house.ask(get(&format!("/.well-known/oauth-authorization-serverx{number}"))).await;
        house.ask(get(&format!("/token/pot{number}")).bearer(key)).await;
        house.ask(get(&format!("/token?integration=pot{number}&x{number}=y")).bearer(key)).await;
        house.ask(get("/token").basic(&format!("cook{number}"), key)).await;
        request(&format!("BREW{number}"), &format!("/kettle{number}")).send(house.ops).await;
    }
    house.ask(post("/token", "grant_type=pot99&client_id=cook99&scope=pot99").bearer(key)).await;
    let after = house.metrics().await;
    let unmatched = r#"aquila_http_requests_total{method="other",route="unmatched",status="404"} 41"#;
    assert!(after.contains(unmatched), "{after}");
    let unmatched = r#"aquila_http_requests_total{method="GET",route="unmatched",status="404"} 21"#;
    assert!(after.contains(unmatched), "{after}");
    for word in ["BREW", "coffee", "kettle", "pot", "cook", "warmup", "nowhere"] {
        assert!(!after.contains(word), "{word} in\n{after}");
    }
    // Requests of new kinds (a 401, a GET by query, a POST) have closed sets of their own; hundreds would be a leak.
    assert!(series(&after) < series(&before) + 60, "{} series, then {}", series(&before), series(&after));
}
