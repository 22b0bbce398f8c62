//! The stage: a simulator, a broker, callers, and one hand that moves both clocks.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aquila::authn::ApiKey;
use aquila::clock::Clock;
use aquila::simulator::{Running, Simulator, User};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;

use super::broker::Broker;
use super::key::Pair;
use super::log;
use super::plan::{CALLER, CLIENT_ID, CLIENT_SECRET, INTEGRATION, Plan};
use super::relay::Relay;
use super::reply::{Reply, Token};
use super::{client, until};
use crate::canary;

/// Everything that runs.
pub(crate) struct Stage {
    pub(crate) simulator: Running,
    pub(crate) clock: Clock,
    pub(crate) http: Client,
    relay: Option<Relay>,
    broker: Option<Broker>,
    callers: Vec<(String, Vec<String>, ApiKey)>,
    /// Dropped when the broker is gone and its folder is not.
    _searched: Searched,
    folder: TempDir,
    in_own_process: bool,
    environment: Vec<(String, String)>,
}

/// What is written in this folder is searched for secrets at the end of the test.
struct Searched(PathBuf);

impl Drop for Searched {
    fn drop(&mut self) {
        canary::search_folder(&self.0);
        canary::search("the log", &log::written());
    }
}

impl Plan {
    /// Builds and starts it all.
    pub(crate) async fn start(mut self) -> Stage {
        log::keep();
        self.simulator.session_timeout = self.session_timeout;
        self.simulator.users = self.integrations.iter().map(|name| User::new(self.user_of(name))).collect();
        let simulator = Simulator::start(self.simulator.clone()).await.unwrap();
        let relay = if self.relayed { Some(Relay::to(&simulator.token_url()).await) } else { None };
        let token_url = relay.as_ref().map_or_else(|| simulator.token_url(), Relay::token_url);
        let folder = tempfile::tempdir().unwrap();
        write_private(&folder.path().join("key.pem"), &Pair::of_this_process().private_key);
        if let Some(secret) = &self.client_secret {
            write_private(&folder.path().join("client_secret.txt"), secret);
        }
        let audit = folder.path().join("audit.jsonl");
        let direct = (simulator.token_url(), simulator.address().port());
        let file = self.configuration(&token_url, (&direct.0, direct.1), audit.to_str().unwrap());
        fs::write(folder.path().join("aquila.toml"), file).unwrap();
        for (name, content) in &self.files {
            write_private(&folder.path().join(name), content);
        }
        self.callers.iter().for_each(|(.., key)| canary::note("a caller's key", key.expose()));
        canary::note("the control secret", simulator.control_secret());
        canary::note("the secret of the app", CLIENT_SECRET);
        canary::note_private_key(&Pair::of_this_process().private_key);
        let mut stage = Stage {
            simulator,
            clock: if self.machine_clock { Clock::system() } else { Clock::manual() },
            http: client(),
            relay,
            broker: None,
            callers: self.callers,
            _searched: Searched(folder.path().to_owned()),
            folder,
            in_own_process: self.in_own_process,
            environment: self.environment,
        };
        stage.start_broker().await;
        stage
    }
}

impl Stage {
    /// The usual stage, to be changed.
    pub(crate) fn plan() -> Plan {
        Plan::new()
    }

    /// The usual stage.
    pub(crate) async fn usual() -> Self {
        Plan::new().start().await
    }

    /// Time goes by, for the broker and for Salesforce alike.
    pub(crate) fn advance(&self, by: Duration) {
        assert!(!self.in_own_process, "a process of its own has the machine's clock");
        self.clock.advance(by);
        self.simulator.advance_clock(by);
    }

    /// Ends the broker and starts another one, with nothing in memory; Salesforce and the time stay as they are.
    pub(crate) async fn restart_broker(&mut self) {
        self.stop_broker().await;
        self.start_broker().await;
    }

    /// Ends the broker alone.
    pub(crate) async fn stop_broker(&mut self) {
        self.broker.take().unwrap().stop().await;
    }

    /// Its broker, which is somebody else's from now on.
    pub(super) fn hand_out_broker(&mut self) -> Broker {
        self.broker.take().unwrap()
    }

    /// Starts a broker where none runs.
    pub(crate) async fn start_broker(&mut self) {
        let file = self.folder.path().join("aquila.toml");
        self.broker = Some(match self.in_own_process {
            true => Broker::elsewhere(&file, &self.environment).await,
            false => Broker::here(&file, self.clock.clone()).await,
        });
    }

    /// The running broker.
    pub(crate) fn broker(&self) -> &Broker {
        self.broker.as_ref().unwrap()
    }

    /// What stands before the token endpoint.
    pub(crate) fn relay(&self) -> &Relay {
        self.relay.as_ref().unwrap()
    }

    /// A file of this stage.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A caller's key.
    pub(crate) fn key(&self, caller: &str) -> &str {
        self.callers.iter().find(|(name, ..)| name == caller).unwrap().2.expose()
    }

    /// A request at the callers' door, without proof.
    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("http://{}{path}", self.broker().callers))
    }

    /// A form for the callers' door, without proof.
    pub(crate) fn post(&self, path: &str, form: &str) -> RequestBuilder {
        let request = self.http.post(format!("http://{}{path}", self.broker().callers));
        request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned())
    }

    /// Changes a text of the configuration and waits until what it says is in force.
    pub(crate) async fn reload(&self, from: &str, to: &str) {
        let generation = async || -> Value {
            let page: Value = serde_json::from_str(&self.ops_page("/status.json").await).unwrap();
            page.pointer("/configuration/generation").unwrap().clone()
        };
        let (file, before) = (self.file("aquila.toml"), generation().await);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(file, text.replace(from, to)).unwrap();
        self.broker().reload();
        until("the new configuration is in force", async || generation().await != before).await;
    }

    /// The audit record of an answer.
    pub(crate) async fn record_of(&self, reply: &Reply) -> Value {
        let id = reply.headers.get("x-request-id").unwrap().to_str().unwrap();
        let path = self.file("audit.jsonl");
        let find = || lines(&path).into_iter().find(|line| line.contains(id));
        until("the answer has its record", async || find().is_some()).await;
        serde_json::from_str(&find().unwrap()).unwrap()
    }

    /// Asks for the token of an integration, as a caller.
    pub(crate) async fn ask_as(&self, caller: &str, integration: &str) -> Reply {
        Reply::of(self.get(&format!("/token/{integration}")).bearer_auth(self.key(caller))).await
    }

    /// Asks for the token of an integration, as the usual caller.
    pub(crate) async fn ask_for(&self, integration: &str) -> Reply {
        self.ask_as(CALLER, integration).await
    }

    /// The usual caller asks for the usual token.
    pub(crate) async fn ask(&self) -> Reply {
        self.ask_for(INTEGRATION).await
    }

    /// The usual token, which is there.
    pub(crate) async fn token(&self) -> Token {
        self.ask().await.token()
    }

    /// How Salesforce answers a call with a token: the status.
    pub(crate) async fn status_at_salesforce(&self, token: &str) -> u16 {
        let url = format!("{}/services/data/v60.0/", self.simulator.base_url());
        Reply::of(self.http.get(url).bearer_auth(token)).await.status
    }

    /// What is left of a session, by the simulator's own books, in seconds. Looking does not count as activity.
    pub(crate) async fn left_at_salesforce(&self, token: &str) -> i64 {
        let url = format!("{}/services/oauth2/introspect", self.simulator.base_url());
        let request = self.http.post(url).basic_auth(CLIENT_ID, Some(CLIENT_SECRET));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let json = Reply::of(request.body(format!("token={token}"))).await.json();
        match json.get("exp").and_then(Value::as_i64) {
            Some(ends) => ends - self.simulator.now().as_second(),
            None => -1,
        }
    }

    /// A page of the ops door.
    pub(crate) async fn ops_page(&self, path: &str) -> String {
        let page = Reply::of(self.http.get(format!("http://{}{path}", self.broker().ops))).await.body;
        canary::search(path, &page);
        page
    }

    /// One series of `/metrics` by its whole name with labels; 0 when it has not appeared.
    pub(crate) async fn metric(&self, series: &str) -> u64 {
        let page = self.ops_page("/metrics").await;
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |text| text.parse::<u64>().unwrap())
    }

    /// How tokens of the usual integration were found so far.
    pub(crate) async fn lookups(&self, result: &str) -> u64 {
        self.metric(&format!("aquila_cache_lookups_total{{integration=\"{INTEGRATION}\",result=\"{result}\"}}")).await
    }

    /// What calls that confirm the usual token came to so far.
    pub(crate) async fn confirms(&self, outcome: &str) -> u64 {
        self.metric(&format!("aquila_confirms_total{{integration=\"{INTEGRATION}\",outcome=\"{outcome}\"}}")).await
    }

    /// A member of an integration's last failure, as `/status.json` tells it; empty when there is none.
    pub(crate) async fn failure(&self, integration: &str, member: &str) -> String {
        let page: Value = serde_json::from_str(&self.ops_page("/status.json").await).unwrap();
        let all = page.get("integrations").and_then(Value::as_array).unwrap();
        let one = all.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(integration)).unwrap();
        let told = one.pointer(&format!("/last_failure/{member}")).and_then(Value::as_str);
        told.unwrap_or_default().to_owned()
    }

    /// The cause of the usual integration's last failure.
    pub(crate) async fn cause(&self) -> String {
        self.failure(INTEGRATION, "cause").await
    }

    /// The audit records, once there are at least so many.
    pub(crate) async fn audit(&self, at_least: usize) -> Vec<Value> {
        let path = self.file("audit.jsonl");
        until("the audit trail is written", async || lines(&path).len() >= at_least).await;
        lines(&path).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn lines(path: &Path) -> Vec<String> {
    // A line that is not whole yet does not count.
    let text = fs::read_to_string(path).unwrap();
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
}

fn write_private(path: &Path, text: &str) {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}
