//! What the demo needs around it: key, certificate, simulator, service. All in one throw-away folder.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, anyhow};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::super::key_pair::{self, Bits, Subject, Validity};
use super::{detail, step};
use crate::app::{App, Ending, Prepared, Sockets};
use crate::authn::ApiKey;
use crate::clock::Clock;
use crate::config;
use crate::hash::hex;
use crate::simulator::{self, Running, Simulator};
use crate::telemetry;

pub(super) const INTEGRATION: &str = "elf-demo";
pub(super) const CALLER: &str = "log-shipper";
const CLIENT_ID: &str = "SIMULATED_consumer_key";
const USERNAME: &str = "elastic-log@acme.example";

/// The running parts.
pub(super) struct Stage {
    pub(super) callers: SocketAddr,
    pub(super) ops: SocketAddr,
    pub(super) key: ApiKey,
    pub(super) simulator: Running,
    folder: TempDir,
    service: JoinHandle<bool>,
}

impl Stage {
    /// Makes everything and starts it, telling as it goes.
    pub(super) async fn set(ending: &Ending) -> anyhow::Result<Self> {
        let clock = Clock::system();
        let folder = tempfile::Builder::new().prefix("aquila-demo-").tempdir()?;
        let started = clock.now();
        let validity = Validity::days(clock.timestamp(), 30)?;
        let subject = Subject::common_name("Aquila demo, SIMULATED");
        let pair = tokio::task::spawn_blocking(move || key_pair::make(Bits::B2048, &subject, validity)).await??;
        write_private(&folder.path().join("elf-demo.pem"), &pair.private_key)?;
        let took = clock.now().since(started);
        step(1, "key", &format!("RSA key of 2048 bits and its X.509 certificate, made in {} ms", took.as_millis()))?;
        detail(&format!("{} (mode 0600)", folder.path().join("elf-demo.pem").display()))?;

        let simulator = simulate(pair.certificate.as_bytes()).await?;
        step(2, "Salesforce", &format!("SIMULATED at {}; the certificate is registered there", simulator.base_url()))?;

        let key = ApiKey::generate().map_err(|_| anyhow!("this machine gives no random numbers"))?;
        let sockets = Sockets { callers: bind(8080).await?, ops: bind(9090).await? };
        let (callers, ops) = (sockets.callers.local_addr()?, sockets.ops.local_addr()?);
        let file = folder.path().join("aquila.toml");
        fs::write(&file, configuration(folder.path(), (callers, ops), &simulator, &key))?;
        // Without the environment: a proxy is no business of what stays on this machine.
        let loaded = config::load_with(&file, &|_| None)
            .map_err(|refused| anyhow!("the demo's configuration is bad: {refused:?}"))?;
        telemetry::start_log(&loaded.config.log);
        let (prepared, _) =
            Prepared::new(loaded, clock).map_err(|report| anyhow!("the demo's key is bad: {report:?}"))?;
        let app = App::new(prepared, sockets)?;
        let service = TaskTracker::new().spawn(app.run(ending.clone()));
        step(3, "Aquila", &format!("callers at http://{callers}, operators at http://{ops}"))?;
        detail(&format!("{} (what `aquila serve` would take)", file.display()))?;
        Ok(Self { callers, ops, key, simulator, folder, service })
    }

    /// The lines to paste.
    pub(super) fn invitation(&self) -> String {
        let Self { callers, ops, key, .. } = self;
        let key = key.expose();
        format!(
            "\nTry it yourself (the key is throw-away):\n\n  \
             curl -s -H 'Authorization: Bearer {key}' http://{callers}/token\n  \
             curl -s -u '{CALLER}:{key}' -d grant_type=client_credentials http://{callers}/token\n  \
             curl -s http://{ops}/status.json\n  \
             curl -s http://{ops}/metrics\n\n\
             In a browser: http://{ops}/status\n\
             Audit records: {}\nServing until Ctrl-C.",
            self.folder.path().join("audit.jsonl").display()
        )
    }

    /// Ends everything and removes the folder.
    pub(super) async fn clear(self) {
        let _ = self.service.await;
        self.simulator.stop().await;
    }
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

async fn simulate(certificate: &[u8]) -> anyhow::Result<Running> {
    let settings = |port| simulator::Settings {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        apps: vec![simulator::App::new(CLIENT_ID, certificate)],
        users: vec![simulator::User::new(USERNAME)],
        ..simulator::Settings::default()
    };
    match Simulator::start(settings(8081)).await {
        Ok(running) => Ok(running),
        Err(_) => Simulator::start(settings(0)).await.context("the simulator does not start"),
    }
}

/// The usual port, or a free one when it is taken.
async fn bind(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Ok(socket) => Ok(socket),
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
    }
}

fn configuration(folder: &Path, (callers, ops): (SocketAddr, SocketAddr), simulator: &Running, key: &ApiKey) -> String {
    let digest = hex(&key.digest());
    let token_url = simulator.token_url();
    let audit = toml_text(&folder.join("audit.jsonl").to_string_lossy());
    format!(
        r#"# SIMULATED: made by `aquila demo`, thrown away at its end.
[server]
listen = "{callers}"

[ops]
listen = "{ops}"

[log]
level = "warn"

[audit]
path = {audit}

[integrations.{INTEGRATION}]
audience_url    = "https://login.salesforce.com"
client_key_path = "elf-demo.pem"
username        = "{USERNAME}"
client_id       = "{CLIENT_ID}"
token_url       = "{token_url}"
session_timeout = "2h"

[callers.{CALLER}]
integrations   = ["elf-*"]
api_key_sha256 = ["{digest}"]
"#
    )
}

/// A TOML string, whatever the name of the temporary folder is made of.
fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
