//! The configuration: already valid, or a report of everything that is wrong with it.
//!
//! Reading it opens files and asks the environment, never the network. Defaults live in `file.rs` only.
//!
//! The way of a file: `source.rs` reads it, `document/` makes TOML or YAML a tree with places, `setting.rs` reads the
//! shape that `file.rs` declares out of that tree, `build/` makes it a [`Config`].

mod build;
pub mod certificate;
mod document;
mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod hosts;
mod key;
mod network;
mod proof_values;
mod proofs;
mod redis_values;
pub mod report;
mod secret;
mod setting;
pub mod show;
pub mod source;
mod store;
mod times;
mod urls;
mod values;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use zeroize::Zeroizing;

use self::build::Workshop;
use self::certificate::CertificateName;
use self::document::{DocumentError, Node};
use self::file::File;
pub use self::key::{Key, KeyFile, KeyHolder, TokenKey};
pub use self::proofs::{Issuer, JwtRule, KeyServer, KeySource, Proofs};
use self::report::{Located, Mistake, Place, Report, Severity};
pub use self::secret::environment;
use self::setting::Setting;
pub use self::store::{Address, Credentials, Redis, RedisMode, Store};
use crate::names::{CallerName, IntegrationName, IntegrationPattern};

/// A configuration that may be used, and what its author should know all the same.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings only.
    pub warnings: Report,
    /// The file it came from.
    pub path: PathBuf,
    /// The files that it names: keys, certificates, secrets.
    pub files: Vec<PathBuf>,
}

/// Loads a configuration, with secrets from the environment of the process.
///
/// # Errors
/// Everything that is wrong with it, warnings included, and the files that are still to be opened.
pub fn load(path: &Path) -> Result<Loaded, Refused> {
    load_with(path, &environment)
}

/// A configuration that may not be used. Its `Debug` shows the report alone: a secret pasted where a path belongs is in
/// the paths.
pub struct Refused {
    /// Why, warnings included.
    pub report: Report,
    /// Private keys of integrations that it names all the same. What is wrong with them belongs into the same report,
    /// and is found by the layer that can open them.
    pub keys: Vec<Key>,
    /// Certificates and keys of its doors, likewise.
    pub tls: Vec<Tls>,
    /// What the replicas share, likewise.
    pub store: Option<Box<Store>>,
    /// The files that it names, as far as it could be read.
    pub files: Vec<PathBuf>,
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("report", &self.report).finish_non_exhaustive()
    }
}

/// Loads a configuration, with secrets from the given environment.
///
/// # Errors
/// Everything that is wrong with it, warnings included.
pub fn load_with(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Refused> {
    let document = document::read(path).map_err(|error| Refused {
        report: unread(path, error),
        keys: Vec::new(),
        tls: Vec::new(),
        store: None,
        files: Vec::new(),
    })?;
    load_document(path, &document, environment)
}

fn load_document(
    path: &Path,
    document: &Node,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Refused> {
    let mut report = Report::default();
    let file = File::read(&setting::root(path, document), &mut report);
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let mut shop = Workshop::new(folder, environment, report);
    let config = file.and_then(|file| build::config(file, &mut shop));
    match config {
        Some(config) if !shop.report.has_errors() => {
            Ok(Loaded { config, warnings: shop.report, path: path.to_owned(), files: shop.files })
        }
        _ => {
            let Workshop { report, keys, tls, store, files, .. } = shop;
            Err(Refused { report, keys, tls, store: store.map(Box::new), files })
        }
    }
}

/// The JSON Schema of a configuration file.
pub fn schema() -> serde_json::Value {
    let mut schema = File::schema();
    if let Some(members) = schema.as_object_mut() {
        members.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        members.insert("title".to_owned(), "Aquila configuration".into());
    }
    schema
}

fn unread(path: &Path, error: DocumentError) -> Report {
    let mut report = Report::default();
    let mut push = |place, message, remedy: &str| {
        let (severity, setting, remedy) = (Severity::Error, String::new(), remedy.to_owned());
        report.push(Mistake { severity, place, setting, message, remedy });
    };
    match error {
        DocumentError::File { message, remedy } => push(None, message, remedy),
        DocumentError::Syntax(errors) => {
            let file = Arc::<Path>::from(path);
            for error in errors {
                let place = Place { file: Arc::clone(&file), line: error.spot.line, column: error.spot.column };
                push(Some(place), error.message, error.remedy);
            }
        }
    }
    report
}

/// One whole configuration. A value of this type has no mistakes that its files can show.
#[derive(Debug)]
pub struct Config {
    /// The callers' door.
    pub server: Server,
    /// The ops door.
    pub ops: Ops,
    /// The way out.
    pub salesforce: Salesforce,
    /// Sorted by name.
    pub integrations: Vec<Integration>,
    /// Sorted by name.
    pub callers: Vec<Caller>,
    /// Whose JWTs count, sorted by name.
    pub issuers: Vec<Issuer>,
    /// Log output.
    pub log: Log,
    /// The audit trail.
    pub audit: Audit,
    /// What the replicas share, if they share anything.
    pub store: Option<Store>,
}

/// `[server]`: the callers' door.
#[derive(Debug, Clone)]
pub struct Server {
    /// Address of the door.
    pub listen: SocketAddr,
    /// What callers call us. [`Server::issuer`] is its text.
    pub public_url: Option<Url>,
    /// TLS, unless it ends before us.
    pub tls: Option<Tls>,
    /// Only from these are forwarded addresses believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How long requests in progress may take after SIGTERM.
    pub shutdown_grace: Duration,
    /// How long we go on accepting after SIGTERM while `/readyz` already says no.
    pub shutdown_delay: Duration,
    /// How many proofs from one address may fail within a minute.
    pub failed_proofs_per_minute: u32,
}

impl Server {
    /// The public URL without a trailing slash, which [`Url`] itself puts behind a bare origin: issuer of the metadata
    /// and base of `resource` selectors.
    pub fn issuer(&self) -> Option<&str> {
        self.public_url.as_ref().map(|url| url.as_str().trim_end_matches('/'))
    }
}

/// `tls = { … }` of a door.
#[derive(Debug, Clone)]
pub struct Tls {
    /// PEM file with the certificate chain, leaf first.
    pub certificate_path: Located<PathBuf>,
    /// PEM file with its private key.
    pub private_key_path: Located<PathBuf>,
    /// Whose client certificates are taken, if anybody's.
    pub client_ca: Option<ClientCa>,
}

/// The authorities of client certificates at a door.
#[derive(Debug, Clone)]
pub struct ClientCa {
    /// PEM bundle with their certificates.
    pub path: Located<PathBuf>,
    /// Whether nobody comes in without a certificate.
    pub required: bool,
}

/// `[ops]`: probes, metrics, status.
#[derive(Debug, Clone)]
pub struct Ops {
    /// Address of the door.
    pub listen: SocketAddr,
    /// TLS of this door.
    pub tls: Option<Tls>,
    /// The token that `/metrics`, `/status` and `/status.json` ask for, when one is configured. Probes never ask.
    pub bearer_token: Option<SecretString>,
}

/// `[salesforce]`: the way out.
#[derive(Debug, Clone)]
pub struct Salesforce {
    /// Host patterns beside the built-in ones, lower-case; `*.example.com` stands for every host below.
    pub allowed_hosts: Vec<String>,
    /// Bound on one call to Salesforce, connecting included.
    pub request_timeout: Duration,
    /// Egress proxy; never for loopback.
    pub proxy: Option<Proxy>,
    /// Which certificate authorities are trusted beside those of `ca_path`.
    pub roots: Roots,
    /// PEM bundle of extra certificate authorities.
    pub ca_path: Option<Located<PathBuf>>,
}

/// An egress proxy.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Its URL without user and password.
    pub url: Url,
    /// `user:password`.
    pub credentials: Option<SecretString>,
    /// Hosts that are reached without it, as `NO_PROXY` lists them; loopback always is.
    pub exceptions: String,
    /// The variable that names it, if it is not the file.
    pub variable: Option<&'static str>,
}

impl Proxy {
    /// Hosts that are reached without it: what is for this machine is nobody else's business.
    pub fn without(&self) -> String {
        format!("localhost,127.0.0.0/8,::1,{}", self.exceptions)
    }

    /// What it is sent as `Proxy-Authorization`.
    pub fn authorization(&self) -> Option<Zeroizing<String>> {
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(self.credentials.as_ref()?.expose_secret()));
        Some(Zeroizing::new(format!("Basic {}", encoded.as_str())))
    }
}

/// Certificate authorities that need no naming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roots {
    /// Those that the machine trusts.
    System,
    /// Mozilla's, as they were when this program was built.
    Bundled,
}

/// `[integrations.NAME]`.
#[derive(Debug, Clone)]
pub struct Integration {
    /// Its name.
    pub name: IntegrationName,
    /// Where its stanza stands.
    pub place: Place,
    /// `aud` of the assertion, byte for byte as it goes out.
    pub audience_url: String,
    /// The token endpoint.
    pub token_url: Url,
    /// `sub`: the Salesforce username.
    pub username: String,
    /// `iss`: the consumer key of the app.
    pub client_id: String,
    /// The org's own URL that we expect, without a trailing slash.
    pub instance_url: Option<String>,
    /// Refuse a token for another instance instead of warning.
    pub pin_instance_url: bool,
    /// What Salesforce Setup says.
    pub session_timeout: Duration,
    /// One confirm call after each mint and ahead of the end of a promise.
    pub confirm_session: bool,
    /// The consumer secret of the app, for introspection.
    pub client_secret: Option<SecretString>,
    /// Renewed ahead of its end also while nobody asks.
    pub keep_warm: bool,
    /// Minted at start.
    pub prefetch: bool,
    /// The most logins within an hour.
    pub login_budget_per_hour: u32,
    /// What signs its assertions.
    pub key: Key,
    /// What signs them when that is refused, while the certificate of the app is changed.
    pub next_key: Option<Key>,
}

impl Integration {
    /// The same without the passwords of its keys: keys that are open need none.
    #[must_use]
    pub fn without_passwords(mut self) -> Self {
        self.key = self.key.without_passwords();
        self.next_key = self.next_key.map(Key::without_passwords);
        self
    }

    /// Every key that it names.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.key).chain(&self.next_key)
    }
}

/// `[callers.NAME]`.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its name.
    pub name: CallerName,
    /// What it may ask for.
    pub integrations: Vec<IntegrationPattern>,
    /// What it is to have next; nothing is tried when it is empty.
    pub next_integrations: Vec<IntegrationPattern>,
    /// Flights that it may cause within an hour; by what it may have, if that is not configured.
    pub mints_per_hour: Option<u32>,
    /// Reports of a current token within a minute.
    pub reports_per_minute: u32,
    /// SHA-256 of each of its API keys.
    pub api_key_sha256: Vec<[u8; 32]>,
    /// What its client certificates are called.
    pub client_certificate: Vec<CertificateName>,
    /// What else it may prove itself with.
    pub proofs: Proofs,
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// Filter in the syntax of `tracing_subscriber::EnvFilter`.
    pub level: String,
}

/// How log records look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// `[audit]`.
#[derive(Debug, Clone)]
pub struct Audit {
    /// Where records go.
    pub sink: AuditSink,
    /// No record, no token.
    pub required: bool,
}

/// Where audit records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditSink {
    /// Standard output.
    Stdout,
    /// Appended to a file, made with mode 0600 if it is not there.
    File(PathBuf),
}
