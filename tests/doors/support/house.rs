//! A service with everything around it: a folder with its configuration and key, a simulated Salesforce, callers with
//! keys, and the process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use aquila::authn::ApiKey;
use aquila::simulator::{self, Running, Simulator, User};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::Value;
use tempfile::TempDir;

use super::process::{Process, aquila};
use super::until;
use super::wire::{Answer, Request, get};
use crate::canary;

/// Two integrations of one org, and one of its own.
const INTEGRATIONS: [(&str, &str); 3] = [
    ("crm", "instance_url = \"https://shared.my.salesforce.com\""),
    ("elf-prod", ""),
    ("elf-test", "instance_url = \"https://shared.my.salesforce.com\""),
];

/// Callers and what they may have.
const CALLERS: [(&str, &str); 4] =
    [("crm-sync", r#""crm""#), ("idle", r#""none-*""#), ("shipper", r#""elf-prod""#), ("wide", r#""elf-*", "crm""#)];

/// What a test wants different; lines of TOML for a section.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) server: String,
    pub(crate) ops: String,
    pub(crate) audit: String,
    pub(crate) salesforce: String,
    /// Whole sections of further callers.
    pub(crate) callers: String,
    /// `session_timeout` of every integration; two hours when empty.
    pub(crate) session_timeout: &'static str,
    /// Variables of the process.
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// The service, running.
pub(crate) struct House {
    pub(crate) process: Process,
    pub(crate) simulator: Running,
    pub(crate) callers: SocketAddr,
    pub(crate) ops: SocketAddr,
    keys: BTreeMap<&'static str, ApiKey>,
    pub(crate) folder: TempDir,
}

impl House {
    /// As most tests want it.
    pub(crate) async fn open() -> Self {
        Self::with(Plan::default()).await
    }

    pub(crate) async fn with(plan: Plan) -> Self {
        Self::within(tempfile::tempdir().unwrap(), plan).await
    }

    /// In a folder that already holds what the plan names.
    pub(crate) async fn within(folder: TempDir, plan: Plan) -> Self {
        let simulator = simulate().await;
        let keys: BTreeMap<_, _> = CALLERS.map(|(name, _)| (name, ApiKey::generate().unwrap())).into();
        keys.values().for_each(|key| canary::note("a caller's key", key.expose()));
        canary::note("the control secret", simulator.control_secret());
        canary::note_private_key(&key_pair().0);
        let config = write_configuration(folder.path(), &simulator, &keys, &plan);
        let mut command = aquila([Path::new("serve"), Path::new("--config"), &config]);
        let mut process = Process::start(command.envs(plan.environment));
        let (callers, ops) = addresses(&mut process).await;
        Self { process, simulator, callers, ops, keys, folder }
    }

    pub(crate) fn key(&self, caller: &str) -> &str {
        self.keys[caller].expose()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("aquila.toml")
    }

    /// Sends to the callers' door.
    pub(crate) async fn ask(&self, request: Request) -> Answer {
        request.send(self.callers).await
    }

    /// The audit records, once there are so many; more than that fails.
    pub(crate) async fn records(&self, count: usize) -> Vec<Value> {
        let read = || records(&self.folder.path().join("audit.jsonl"));
        until("audit records", || read().len() >= count).await;
        let records = read();
        assert_eq!(records.len(), count, "{records:#?}");
        records
    }

    /// What `/metrics` says.
    pub(crate) async fn metrics(&self) -> String {
        let answer = get("/metrics").send(self.ops).await;
        assert_eq!(answer.status, 200);
        canary::search("the metrics", &answer.text());
        answer.text()
    }
}

/// The records in a file, none if there is no file. A line that is not whole yet does not count.
pub(crate) fn records(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Where a service that was just started says that it serves.
pub(crate) async fn addresses(process: &mut Process) -> (SocketAddr, SocketAddr) {
    let mut told = None;
    let told_so = || {
        assert!(process.runs(), "it did not start:\n{}", process.stderr());
        let text = process.stderr();
        told = text.lines().filter_map(|line| serde_json::from_str(line).ok()).find(serving);
        told.is_some()
    };
    until("the service starts", told_so).await;
    let told = told.unwrap();
    let address = |name: &str| told[name].as_str().unwrap().parse().unwrap();
    (address("server.address"), address("ops.address"))
}

fn serving(line: &Value) -> bool {
    line["message"] == "serving"
}

async fn simulate() -> Running {
    let users = INTEGRATIONS.map(|(name, _)| User::new(username(name)));
    Simulator::start(simulator::Settings {
        apps: vec![simulator::App::new("SIMULATED_client", key_pair().1.as_bytes())],
        users: users.into(),
        ..simulator::Settings::default()
    })
    .await
    .unwrap()
}

fn username(integration: &str) -> String {
    format!("{integration}@acme.example")
}

/// One RSA key and its certificate for all tests: making one takes a noticeable part of a second.
pub(crate) fn key_pair() -> &'static (String, String) {
    static PAIR: OnceLock<(String, String)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let certificate = CertificateParams::default().self_signed(&pair).unwrap();
        (pair.serialize_pem(), certificate.pem())
    })
}

/// Writes a file that only its owner reads.
pub(crate) fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn write_configuration(
    folder: &Path,
    simulator: &Running,
    keys: &BTreeMap<&'static str, ApiKey>,
    plan: &Plan,
) -> PathBuf {
    write_private(&folder.join("key.pem"), &key_pair().0);
    // A plan that says where to listen, or where records go, is taken at its word.
    let unless =
        |given: &str, setting: &str, line: &str| if given.contains(setting) { String::new() } else { line.to_owned() };
    let mut text = format!(
        "[server]\n{}{}\n[ops]\n{}{}\n[audit]\n{}{}\n[salesforce]\n{}\n",
        unless(&plan.server, "listen", "listen = \"127.0.0.1:0\"\n"),
        plan.server,
        unless(&plan.ops, "listen", "listen = \"127.0.0.1:0\"\n"),
        plan.ops,
        unless(&plan.audit, "path", "path = \"audit.jsonl\"\n"),
        plan.audit,
        plan.salesforce,
    );
    for (name, more) in INTEGRATIONS {
        let own = format!("instance_url = \"{}\"", simulator.base_url());
        let more = if more.is_empty() { &own } else { more };
        write!(
            text,
            "[integrations.{name}]\naudience_url = \"https://login.salesforce.com\"\nclient_key_path = \"key.pem\"\n\
             username = \"{}\"\nclient_id = \"SIMULATED_client\"\ntoken_url = \"{}\"\nsession_timeout = \"{}\"\n{more}\n",
            username(name),
            simulator.token_url(),
            if plan.session_timeout.is_empty() { "2h" } else { plan.session_timeout },
        )
        .unwrap();
    }
    for (name, granted) in CALLERS {
        let digest = hex(&keys[name].digest());
        write!(text, "[callers.{name}]\nintegrations = [{granted}]\napi_key_sha256 = [\"{digest}\"]\n").unwrap();
    }
    text.push_str(&plan.callers);
    let path = folder.join("aquila.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// Bytes as hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
