//! Which integration a request means: every selector, alone and against others, and what is refused.

use crate::get_token::{is_a_problem, is_a_token};
use crate::post_token::is_an_oauth_error;
use crate::support::house::{House, Plan};
use crate::support::wire::{Answer, get, post};

const SHARED: &str = "https%3A%2F%2Fshared.my.salesforce.com";
const PUBLIC: &str = "https%3A%2F%2Faquila.example%2Fbroker";

async fn house() -> House {
    let server = "public_url = \"https://aquila.example/broker/\"\n".to_owned();
    House::with(Plan { server, ..Plan::default() }).await
}

/// Client credentials with more in the form.
async fn posted(house: &House, caller: &str, target: &str, more: &str) -> Answer {
    let form = format!("grant_type=client_credentials{more}");
    house.ask(post(target, &form).basic(caller, house.key(caller))).await
}

#[tokio::test]
async fn every_selector_that_resolves_names_its_integration() {
    let house = house().await;
    let own = house.simulator.base_url().replace(':', "%3A").replace('/', "%2F");
    for (caller, target, more, integration) in [
        ("wide", "/token/crm", String::new(), "crm"),
        ("wide", "/token/elf%2Dprod", String::new(), "elf-prod"),
        ("wide", "/token?integration=elf-test", String::new(), "elf-test"),
        ("wide", "/services/oauth2/token?integration=crm", String::new(), "crm"),
        ("wide", "/integrations/crm/services/oauth2/token", String::new(), "crm"),
        ("wide", "/token", "&scope=crm".to_owned(), "crm"),
        ("wide", "/token", "&audience=elf-test".to_owned(), "elf-test"),
        ("wide", "/token", format!("&audience={PUBLIC}%2Fintegrations%2Fcrm"), "crm"),
        ("wide", "/token", format!("&resource={PUBLIC}%2Fintegrations%2Felf-test"), "elf-test"),
        ("wide", "/token", format!("&resource={own}"), "elf-prod"),
        ("wide", "/token", format!("&resource={own}%2F"), "elf-prod"),
        ("wide", "/token", format!("&audience={own}"), "elf-prod"),
        ("crm-sync", "/token", format!("&resource={SHARED}"), "crm"),
        ("wide", "/token", format!("&resource={own}&resource={PUBLIC}%2Fintegrations%2Felf-prod"), "elf-prod"),
        ("wide", "/token", "&scope=crm&audience=crm".to_owned(), "crm"),
        ("wide", "/token/crm?integration=crm", "&audience=crm&scope=whatever+else".to_owned(), "crm"),
        ("shipper", "/token", "&scope=&audience=&resource=".to_owned(), "elf-prod"),
    ] {
        let answer = posted(&house, caller, target, &more).await;
        assert_eq!(answer.status, 200, "{caller} {target} {more}: {}", answer.text());
        is_a_token(&answer, integration);
    }
}

#[tokio::test]
async fn a_selector_that_is_there_and_does_not_resolve_is_refused_and_none_falls_through() {
    let house = house().await;
    // The shipper has exactly one integration: everything that fell through would get it.
    for (more, error) in [
        ("&scope=nobody".to_owned(), "invalid_scope"),
        ("&scope=crm".to_owned(), "invalid_scope"),
        ("&scope=elf-prod+elf-prod".to_owned(), "invalid_scope"),
        ("&scope=api".to_owned(), "invalid_scope"),
        ("&scope=+".to_owned(), "invalid_scope"),
        ("&scope=ELF-PROD".to_owned(), "invalid_scope"),
        ("&scope=elf-*".to_owned(), "invalid_scope"),
        (format!("&scope={PUBLIC}%2Fintegrations%2Felf-prod"), "invalid_scope"),
        ("&audience=nobody".to_owned(), "invalid_target"),
        ("&audience=crm".to_owned(), "invalid_target"),
        ("&resource=elf-prod".to_owned(), "invalid_target"),
        (format!("&resource={SHARED}"), "invalid_target"),
        (format!("&resource={PUBLIC}"), "invalid_target"),
        (format!("&resource={PUBLIC}%2Fintegrations%2F"), "invalid_target"),
        (format!("&resource={PUBLIC}%2Fintegrations%2Fcrm"), "invalid_target"),
        (format!("&resource={PUBLIC}%2Fintegrations%2Felf-prod%23fragment"), "invalid_target"),
        (format!("&resource={PUBLIC}%2Fintegrations%2Felf-prod%3Fx"), "invalid_target"),
        (format!("&resource={PUBLIC}x%2Fintegrations%2Felf-prod"), "invalid_target"),
        (format!("&resource={PUBLIC}%2Fintegrations%2Felf-prod&resource=https%3A%2F%2Felse.example"), "invalid_target"),
    ] {
        is_an_oauth_error(&posted(&house, "shipper", "/token", &more).await, 400, error);
    }
    for target in [
        "/token/nobody",
        "/token/crm",
        "/token/ELF-PROD",
        "/token/%FF",
        "/token/elf-prod%00",
        "/token/elf-prod%20",
        "/token/%2e%2e",
        "/token?integration=nobody",
        "/token?integration=crm",
    ] {
        is_an_oauth_error(&posted(&house, "shipper", target, "").await, 400, "invalid_target");
        let answer = house.ask(get(target).bearer(house.key("shipper"))).await;
        assert_eq!(answer.status, 403, "{target}");
        is_a_problem(&answer, "access_denied");
    }
    assert_eq!(house.simulator.counts().token_posts, 0);
}

#[tokio::test]
async fn an_instance_that_two_granted_integrations_have_names_neither() {
    let house = house().await;
    let more = format!("&resource={SHARED}");
    is_an_oauth_error(&posted(&house, "wide", "/token", &more).await, 400, "invalid_target");
}

#[tokio::test]
async fn an_empty_integration_in_the_query_is_refused() {
    let house = house().await;
    for target in [
        "/token?integration=",
        "/token?integration",
        "/token/elf-prod?integration=",
        "/token?integration=elf-prod&integration=elf-prod",
    ] {
        let answer = house.ask(get(target).bearer(house.key("shipper"))).await;
        assert_eq!(answer.status, 400, "{target}");
        is_a_problem(&answer, "invalid_request");
        is_an_oauth_error(&posted(&house, "shipper", target, "").await, 400, "invalid_request");
    }
    assert_eq!(house.simulator.counts().token_posts, 0);
}

#[tokio::test]
async fn selectors_that_disagree_are_a_malformed_request() {
    let house = house().await;
    let both = house.ask(get("/token/crm?integration=elf-prod").bearer(house.key("wide"))).await;
    assert_eq!(both.status, 400);
    is_a_problem(&both, "invalid_request");
    for (target, more) in [
        ("/token/crm?integration=elf-prod", String::new()),
        ("/token/crm", "&audience=elf-prod".to_owned()),
        ("/token?integration=crm", format!("&resource={PUBLIC}%2Fintegrations%2Felf-prod")),
        ("/token", "&scope=crm&audience=elf-prod".to_owned()),
        ("/token", format!("&resource={PUBLIC}%2Fintegrations%2Felf-prod&resource={PUBLIC}%2Fintegrations%2Fcrm")),
    ] {
        is_an_oauth_error(&posted(&house, "wide", target, &more).await, 400, "invalid_request");
    }
    assert_eq!(house.simulator.counts().token_posts, 0);
}

#[tokio::test]
async fn with_path_or_query_present_a_scope_is_only_echoed() {
    let house = house().await;
    for target in ["/token/crm", "/token?integration=crm", "/integrations/crm/services/oauth2/token"] {
        for scope in ["elf-prod", "crm", "api"] {
            let answer = posted(&house, "wide", target, &format!("&scope={scope}")).await;
            is_a_token(&answer, "crm");
            assert_eq!(answer.member("scope"), scope);
        }
    }
}

#[tokio::test]
async fn without_a_selector_the_only_granted_integration_is_meant_and_of_none_or_several_none_is() {
    let house = house().await;
    is_a_token(&posted(&house, "crm-sync", "/token", "").await, "crm");
    for caller in ["wide", "idle"] {
        let answer = posted(&house, caller, "/token", "").await;
        is_an_oauth_error(&answer, 400, "invalid_request");
        let told = ["scope", "audience", "resource", "integration=NAME"].map(|one| answer.text().contains(one));
        assert_eq!(told, [caller == "wide"; 4], "{}", answer.text());
        let answer = house.ask(get("/token").bearer(house.key(caller))).await;
        assert_eq!(answer.status, 400, "{caller}");
        is_a_problem(&answer, "invalid_request");
    }
}

#[tokio::test]
async fn an_unknown_integration_and_a_forbidden_one_look_the_same_warm_or_cold() {
    let house = house().await;
    for warm in [false, true] {
        if warm {
            is_a_token(&house.ask(get("/token/crm").bearer(house.key("wide"))).await, "crm");
        }
        let asked = |name: &'static str| house.ask(get(name).bearer(house.key("shipper")));
        assert_eq!(asked("/token/crm").await.appearance(), asked("/token/xyz").await.appearance());
        assert_eq!(
            asked("/token?integration=crm").await.appearance(),
            asked("/token?integration=xyz").await.appearance()
        );
        for (target, forbidden, unknown) in [
            ("/token", "&scope=crm", "&scope=xyz"),
            ("/token", "&audience=crm", "&audience=xyz"),
            (
                "/token",
                "&resource=https%3A%2F%2Fshared.my.salesforce.com",
                "&resource=https%3A%2F%2Fnobody.my.salesforce.com",
            ),
            ("/token/elf-prod", "&audience=crm", "&audience=xyz"),
        ] {
            let one = posted(&house, "shipper", target, forbidden).await;
            let other = posted(&house, "shipper", target, unknown).await;
            assert_eq!(one.appearance(), other.appearance(), "{forbidden}");
            assert_eq!(one.status, 400, "{forbidden}");
        }
        let path = |name: &'static str| posted(&house, "shipper", name, "");
        assert_eq!(path("/token/crm").await.appearance(), path("/token/xyz").await.appearance());
    }
}
