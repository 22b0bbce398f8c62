//! The service as `aquila serve` assembles it, in this process and with both doors open, against the simulator.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use aquila::app::{App, Ending, Prepared, Sockets};
use aquila::authn::ApiKey;
use aquila::clock::Clock;
use aquila::simulator::{self, Door as Fault, FaultAnswer, Running, Simulator, Standing, User};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use reqwest::{Client, Method, RequestBuilder};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::description::{Answer, Door};

pub(crate) const OPS_TOKEN: &str = "throw-away-ops-token";
/// The token of the integration `elf-site`.
pub(crate) const SITE_TOKEN: &str = "00D5g00000SIMU1!SIMULATED.site";
const CLIENT_ID: &str = "3MVG9.openapi";

pub(crate) struct Service {
    pub(crate) callers: SocketAddr,
    ops: SocketAddr,
    /// Of the caller that may use one integration.
    pub(crate) one: ApiKey,
    /// Of the caller that may use several.
    pub(crate) several: ApiKey,
    pub(crate) ending: Ending,
    client: Client,
    simulator: Running,
    _folder: TempDir,
    running: JoinHandle<bool>,
}

impl Service {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        fs::write(folder.path().join("key.pem"), pair.serialize_pem())?;
        fs::write(folder.path().join("ops.token"), OPS_TOKEN)?;
        let certificate = CertificateParams::default().self_signed(&pair)?.pem();
        fs::write(folder.path().join("caller.crt"), &certificate)?;
        let simulator = simulate(&certificate).await?;
        let key = || ApiKey::generate().map_err(|_| anyhow!("no random numbers"));
        let (one, several) = (key()?, key()?);
        let bind = || TcpListener::bind("127.0.0.1:0");
        let sockets = Sockets { callers: bind().await?, ops: bind().await? };
        let (callers, ops) = (sockets.callers.local_addr()?, sockets.ops.local_addr()?);

        let file = folder.path().join("aquila.toml");
        fs::write(&file, configuration(folder.path(), (callers, ops), &simulator, (&one, &several)))?;
        let loaded = aquila::config::load(&file).map_err(|refused| anyhow!("{refused:?}"))?;
        let (prepared, _) = Prepared::new(loaded, Clock::system()).map_err(|report| anyhow!("{report:?}"))?;
        let app = App::new(prepared, sockets)?;
        let ending = Ending::default();
        let running = TaskTracker::new().spawn(app.run(ending.clone()));
        let client = client()?;
        Ok(Self { callers, ops, one, several, ending, client, simulator, _folder: folder, running })
    }

    pub(crate) fn request(&self, door: Door, method: &str, path: &str) -> anyhow::Result<RequestBuilder> {
        let address = match door {
            Door::Callers => self.callers,
            Door::Ops => self.ops,
        };
        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes())?;
        Ok(self.client.request(method, format!("http://{address}{path}")))
    }

    /// Ends it, which has to succeed.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.ending.graceful.cancel();
        let whole = self.running.await?;
        self.simulator.stop().await;
        whole.then_some(()).context("something was cut off at the end")
    }
}

/// The answer to a request, read to its end.
pub(crate) async fn answer(request: RequestBuilder) -> anyhow::Result<Answer> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
}

fn client() -> anyhow::Result<Client> {
    #[expect(clippy::disallowed_methods, reason = "this client plays callers; it carries no assertion")]
    let builder = Client::builder();
    Ok(builder.no_proxy().tls_certs_only([]).timeout(Duration::from_secs(20)).build()?)
}

async fn simulate(certificate: &str) -> anyhow::Result<Running> {
    let user = |name: &str| User::new(format!("{name}@acme.example"));
    let settings = simulator::Settings {
        apps: vec![simulator::App::new(CLIENT_ID, certificate)],
        users: vec![
            user("elf-demo"),
            User { standing: Standing::Inactive, ..user("elf-refused") },
            user("elf-down"),
            user("elf-site"),
        ],
        ..simulator::Settings::default()
    };
    let simulator = Simulator::start(settings).await?;
    let of = |name: &str, answer| simulator::Fault {
        username: Some(format!("{name}@acme.example")),
        ..simulator::Fault::always(Fault::Token, answer)
    };
    simulator.force(of("elf-down", FaultAnswer::Maintenance { status: 503 }));
    // As an Experience Cloud site answers; the simulator has none.
    let body = serde_json::json!({
        "access_token": SITE_TOKEN, "token_type": "Bearer", "instance_url": simulator.base_url(),
        "sfdc_site_url": "https://acme.my.site.com/partners", "sfdc_site_id": "0DB5g0000000001",
    });
    let content_type = Some("application/json".to_owned());
    let raw = FaultAnswer::Raw { status: 200, content_type, headers: Default::default(), body: body.to_string() };
    simulator.force(of("elf-site", raw));
    // A token that it never minted is none for the simulator, and is found dead when a caller comes back for it.
    let content_type = Some("application/json".to_owned());
    let alive = FaultAnswer::Raw { status: 200, content_type, headers: Default::default(), body: "{}".to_owned() };
    simulator.force(simulator::Fault::always(Fault::Rest, alive));
    Ok(simulator)
}

fn configuration(
    folder: &Path,
    (callers, ops): (SocketAddr, SocketAddr),
    simulator: &Running,
    (one, several): (&ApiKey, &ApiKey),
) -> String {
    let digest = |key: &ApiKey| key.digest().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (one, several) = (digest(one), digest(several));
    let folder = folder.display();
    let token_url = simulator.token_url();
    let mut text = format!(
        r#"
        [server]
        listen = "{callers}"
        public_url = "https://aquila.example/broker"
        shutdown_delay = "2s"
        [ops]
        listen = "{ops}"
        bearer_token_path = "{folder}/ops.token"
        [audit]
        path = "{folder}/audit.jsonl"
        [callers.one]
        integrations = ["elf-demo"]
        api_key_sha256 = ["{one}"]
        public_keys = [{{ path = "caller.crt" }}]
        jwt_bearer_grant = true
        [callers.several]
        integrations = ["elf-*"]
        api_key_sha256 = ["{several}"]
        "#
    );
    for (name, confirm) in [("elf-demo", true), ("elf-refused", true), ("elf-down", true), ("elf-site", false)] {
        text += &format!(
            r#"
            [integrations.{name}]
            audience_url = "https://login.salesforce.com"
            client_key_path = "{folder}/key.pem"
            username = "{name}@acme.example"
            client_id = "{CLIENT_ID}"
            token_url = "{token_url}"
            session_timeout = "2h"
            confirm_session = {confirm}
            "#
        );
    }
    text
}
