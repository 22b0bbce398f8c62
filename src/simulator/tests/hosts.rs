//! The several hosts at one socket, over that socket.

use serde_json::{Value, json};

use super::super::testing::{CLIENT_ID, Pair, Reply, Rig, USERNAME, app, settings};
use super::super::{App, Host, Settings, User};

const SITE: &str = "acme.my.site.com/customers";
const GUEST: &str = "guest@example.com";

fn named(sandbox: bool) -> Settings {
    let names = [
        "production=login.salesforce.com",
        "sandbox=test.salesforce.com",
        "my-domain=acme.my.salesforce.com",
        "site=acme.my.site.com/customers",
    ];
    let guest = User { site: Some(SITE.to_owned()), ..User::new(GUEST) };
    let eca = App { client_id: "eca".to_owned(), external: true, ..app() };
    let hosts = names.map(|name| name.parse::<Host>().unwrap()).to_vec();
    Settings { hosts, sandbox, apps: vec![app(), eca], users: vec![User::new(USERNAME), guest], ..settings() }
}

/// Hands an assertion in at `place`, a host with or without a path.
async fn post(rig: &Rig, place: &str, claims: &Value) -> Reply {
    let (host, path) = place.split_once('/').map_or((place, String::new()), |(host, path)| (host, format!("/{path}")));
    let assertion = Pair::registered().sign(claims);
    let body = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
    let request = rig.http.post(format!("{}{path}/services/oauth2/token", rig.simulator.base_url()));
    let request = request.header("host", host).header("content-type", "application/x-www-form-urlencoded");
    rig.send(request.body(body)).await.unwrap()
}

#[tokio::test]
async fn each_host_has_its_audience_its_apps_and_its_users() {
    let (production, sandbox) = (Rig::start(named(false)).await, Rig::start(named(true)).await);
    let (login, test, my) = ("login.salesforce.com", "test.salesforce.com", "acme.my.salesforce.com");
    let (granted, audience, app) =
        ("granted", "audience is invalid", "External client app is not installed in this org");
    let unknown = "user hasn't approved this consumer";
    for (rig, place, aud, client_id, username, expected) in [
        (&production, login, "https://login.salesforce.com", CLIENT_ID, USERNAME, granted),
        (&production, login, "https://test.salesforce.com", CLIENT_ID, USERNAME, audience),
        (&production, login, "https://acme.my.salesforce.com", CLIENT_ID, USERNAME, audience),
        (&production, login, "https://login.salesforce.com", "eca", USERNAME, app),
        (&production, test, "https://test.salesforce.com", CLIENT_ID, USERNAME, unknown),
        (&sandbox, test, "https://test.salesforce.com", CLIENT_ID, USERNAME, granted),
        (&sandbox, login, "https://login.salesforce.com", CLIENT_ID, USERNAME, unknown),
        (&production, my, "https://login.salesforce.com", CLIENT_ID, USERNAME, granted),
        (&production, my, "https://acme.my.salesforce.com", "eca", USERNAME, granted),
        (&production, my, "https://test.salesforce.com", CLIENT_ID, USERNAME, audience),
        (&sandbox, my, "https://test.salesforce.com", "eca", USERNAME, granted),
        (&sandbox, my, "https://login.salesforce.com", CLIENT_ID, USERNAME, audience),
        (&production, my, "https://login.salesforce.com", CLIENT_ID, GUEST, unknown),
        (&production, SITE, "https://acme.my.site.com/customers", CLIENT_ID, GUEST, granted),
        (&production, SITE, "https://login.salesforce.com", CLIENT_ID, GUEST, audience),
        (&production, SITE, "https://acme.my.site.com/customers", "eca", GUEST, app),
        (&production, "elsewhere.example", "https://login.salesforce.com", "eca", GUEST, granted),
    ] {
        let claims = json!({"iss": client_id, "sub": username, "aud": aud, "exp": rig.now() + 60});
        let reply = post(rig, place, &claims).await;
        let said = reply.json()["error_description"].as_str().unwrap_or(granted).to_owned();
        assert_eq!(said, expected, "{claims} at {place}");
    }
}

#[tokio::test]
async fn answers_name_the_hosts_that_they_come_from() {
    let rig = Rig::start(named(false)).await;
    let port = rig.simulator.address().port();
    let claims = |aud: &str| json!({"iss": CLIENT_ID, "sub": USERNAME, "aud": aud, "exp": rig.now() + 60});
    let login = post(&rig, "login.salesforce.com", &claims("https://login.salesforce.com")).await.json();
    assert_eq!(login["instance_url"], format!("http://acme.my.salesforce.com:{port}"));
    let id = login["id"].as_str().unwrap();
    assert!(id.starts_with(&format!("http://login.salesforce.com:{port}/id/00D")), "{id}");
    assert_eq!(login["sfdc_site_url"], Value::Null);

    let site = post(&rig, SITE, &claims("https://acme.my.site.com/customers")).await.json();
    assert_eq!(site["sfdc_site_url"], format!("http://{}", SITE.replace('/', &format!(":{port}/"))));
    assert!(site["sfdc_site_id"].as_str().is_some_and(|id| id.len() == 18 && id.starts_with("0DM")));

    let token = login["access_token"].as_str().unwrap();
    for (host, status) in [("acme.my.salesforce.com", 200), ("login.salesforce.com", 401)] {
        let request = rig.http.get(format!("{}/services/data/v60.0/limits", rig.simulator.base_url()));
        let reply = rig.send(request.header("host", host).bearer_auth(token)).await.unwrap();
        assert_eq!(reply.status, status, "{host}");
    }
}
