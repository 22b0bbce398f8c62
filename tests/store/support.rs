//! Real servers on free ports, replicas that share them, and waiting without guessing.

use std::fmt::Write as _;
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use aquila::config;
use aquila::store::{Event, Secrets, Standing, Store};
use aquila::telemetry::metrics::Metrics;
use redis::Value;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::ports::free_port;

/// Longer than anything takes that a test waits for, on a machine with better things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// The ACL rule that `docs/replicas.md` names, with which everything has to work.
pub(crate) fn acl_rule() -> String {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/replicas.md")).unwrap();
    let rule =
        docs.lines().find_map(|line| line.strip_prefix("ACL SETUSER ")).expect("docs/replicas.md has an ACL rule");
    rule.replace("PASSWORD", PASSWORD)
}

pub(crate) const PASSWORD: &str = "canary-of-redis";

/// Waits until `condition` holds; a test that waits for what never happens fails with its words.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}; the log:\n{}", log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Authority, certificate and key for 127.0.0.1.
pub(crate) struct Pki {
    pub(crate) folder: TempDir,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(params, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        for (name, text) in
            [("ca.pem", authority.pem()), ("redis.pem", certificate.pem()), ("redis.key", key.serialize_pem())]
        {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// A server of the Debian package, on a free port of loopback. It ends with the test.
pub(crate) struct Redis {
    child: Child,
    pub(crate) port: u16,
    folder: TempDir,
}

impl Redis {
    /// A server without TLS and password, and with these lines of configuration.
    pub(crate) async fn plain(lines: &[&str]) -> Self {
        let port = free_port();
        Self::start(port, &[&[format!("port {port}").as_str()], lines].concat(), &[]).await
    }

    /// A server with TLS alone, a default user without rights, and the user `aquila` of the docs.
    pub(crate) async fn tls(pki: &Pki) -> Self {
        let port = free_port();
        let lines = [
            "port 0".to_owned(),
            format!("tls-port {port}"),
            format!("tls-cert-file {}", pki.path("redis.pem")),
            format!("tls-key-file {}", pki.path("redis.key")),
            format!("tls-ca-cert-file {}", pki.path("ca.pem")),
            "tls-auth-clients no".to_owned(),
            "user default off".to_owned(),
            format!("user {}", acl_rule()),
            format!("user admin on >{PASSWORD} ~* &* +@all"),
        ];
        Self::start(port, &lines.each_ref().map(String::as_str), &[]).await
    }

    pub(crate) async fn start(port: u16, lines: &[&str], arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut text = format!("bind 127.0.0.1\nsave \"\"\nappendonly no\ndir {}\n", folder.path().display());
        for line in lines {
            writeln!(text, "{line}").unwrap();
        }
        std::fs::write(folder.path().join("redis.conf"), text).unwrap();
        let child = run(&folder, arguments);
        let mut server = Self { child, port, folder };
        server.answers().await;
        server
    }

    async fn answers(&mut self) {
        until("Redis listens", async || {
            assert_eq!(self.child.try_wait().unwrap(), None, "redis-server has ended");
            tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()
        })
        .await;
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn tls_url(&self) -> String {
        format!("rediss://127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it says that this is its part.
    pub(crate) async fn is(&self, role: &str) -> bool {
        self.try_to_ask(&["ROLE"]).await.is_ok_and(|answer| text(&answer).starts_with(role))
    }

    /// Empty, at the same port.
    pub(crate) async fn restart(&mut self) {
        self.child = run(&self.folder, &[]);
        self.answers().await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Asks it something as an operator would.
    pub(crate) async fn ask(&self, words: &[&str]) -> Value {
        self.try_to_ask(words).await.unwrap()
    }

    /// Asks one that may hang up.
    pub(crate) async fn try_to_ask(&self, words: &[&str]) -> redis::RedisResult<Value> {
        ask(&redis::Client::open(self.url()).unwrap(), words).await
    }

    /// The same over TLS.
    pub(crate) async fn ask_tls(&self, pki: &Pki, words: &[&str]) -> Value {
        let root_cert = Some(std::fs::read(pki.path("ca.pem")).unwrap());
        let url = format!("rediss://admin:{PASSWORD}@127.0.0.1:{}/0", self.port);
        let certificates = redis::TlsCertificates { client_tls: None, root_cert };
        ask(&redis::Client::build_with_tls(url, certificates).unwrap(), words).await.unwrap()
    }
}

async fn ask(client: &redis::Client, words: &[&str]) -> redis::RedisResult<Value> {
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut connection).await
}

/// A text, as most answers are.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::Okay => "OK".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Nil => String::new(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        other => panic!("{other:?} is no text"),
    }
}

fn run(folder: &TempDir, arguments: &[&str]) -> Child {
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let started = ["redis-server", "valkey-server"].into_iter().find_map(|program| {
        let mut command = Command::new(program);
        command.arg(folder.path().join("redis.conf")).args(arguments).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log.try_clone().unwrap()).spawn().ok()
    });
    started.expect("no redis-server here, nor valkey-server: install the Debian package of this name")
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One process of the service, as far as the store knows it.
pub(crate) struct Replica {
    pub(crate) store: Arc<Store>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    pub(crate) folder: TempDir,
    _stop: DropGuard,
}

/// What replicas of one service have in common: the same file of seal keys.
pub(crate) fn seal_key() -> String {
    "aquila-seal-1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".to_owned()
}

impl Replica {
    /// One with these settings of `[store.redis]`. It has time: what is tested is not how busy this machine is.
    pub(crate) fn begin(redis: &str) -> Self {
        Self::within(redis, Duration::from_secs(10))
    }

    /// One whose questions may take so long.
    pub(crate) fn within(redis: &str, limit: Duration) -> Self {
        keep_log();
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&folder, redis, &seal_key());
        let metrics = Arc::new(Metrics::new().unwrap());
        let secrets = Secrets::open(&settings).unwrap();
        let store = Store::new(&settings, secrets, Arc::clone(&metrics), limit);
        let (stop, events) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&events);
        let running = TaskTracker::new();
        running.spawn(Arc::clone(&store).run(move |event| kept.lock().unwrap().push(event), stop.clone()));
        Self { store, metrics, events, folder, _stop: stop.drop_guard() }
    }

    /// One that has found the store.
    pub(crate) async fn shared(redis: &str) -> Self {
        let replica = Self::begin(redis);
        replica.is_shared().await;
        replica
    }

    pub(crate) async fn is_shared(&self) {
        until("the store is there", async || matches!(self.store.standing(), Standing::Shared { .. })).await;
    }

    /// Waits until it is alone, and says why.
    pub(crate) async fn is_alone(&self) -> &'static str {
        let cause = || match self.store.standing() {
            Standing::Alone { trouble, .. } => Some(trouble.cause),
            _ => None,
        };
        until("the store is away", async || cause().is_some()).await;
        cause().unwrap_or("back again")
    }

    /// Lines of the log about this replica that have `words` in them.
    pub(crate) fn log_lines(&self, words: &str) -> usize {
        let written = LOG.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&written).into_owned();
        text.lines().filter(|line| line.contains(self.store.replica()) && line.contains(words)).count()
    }

    pub(crate) fn metrics(&self) -> String {
        String::from_utf8(self.metrics.render(std::iter::empty()).unwrap()).unwrap()
    }
}

pub(crate) const AWAY: &str = "the store is away";
pub(crate) const THERE: &str = "the store is there";

pub(crate) fn settings(folder: &TempDir, redis: &str, keys: &str) -> config::Store {
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("seal.key"), keys).unwrap();
    std::fs::write(path("password"), PASSWORD).unwrap();
    let text = format!("[store]\nseal_key_path = \"seal.key\"\n[store.redis]\n{redis}\n");
    std::fs::write(path("aquila.toml"), text).unwrap();
    config::load(&path("aquila.toml")).unwrap().config.store.unwrap()
}

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Kept;

impl io::Write for Kept {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn keep_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter = tracing_subscriber::EnvFilter::new("info,aquila=trace");
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(|| Kept).init();
    });
}

/// Everything that was logged in this process.
pub(crate) fn log() -> String {
    String::from_utf8_lossy(&LOG.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

/// The settings of a plain server.
pub(crate) fn plain(redis: &Redis) -> String {
    format!("url = \"{}\"", redis.url())
}

/// The settings of a server with TLS, and of the user of the docs.
pub(crate) fn tls(redis: &Redis, pki: &Pki) -> String {
    let ca = pki.path("ca.pem");
    format!("url = \"{}\"\nusername = \"aquila\"\npassword_path = \"password\"\nca_path = \"{ca}\"", redis.tls_url())
}

/// Where the CLI is.
pub(crate) fn cli(arguments: &[&str]) -> String {
    let mut programs = ["redis-cli", "valkey-cli"].into_iter();
    let output = programs.find_map(|program| Command::new(program).args(arguments).output().ok());
    let output =
        output.expect("no redis-cli here, nor valkey-cli: install the Debian package redis-tools or valkey-tools");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
