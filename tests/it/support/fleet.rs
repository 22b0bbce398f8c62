//! Several replicas with one store: the broker of a stage, and more of them from the same configuration.

use std::fs;

use aquila::store::SealKeys;
use reqwest::RequestBuilder;
use serde_json::Value;

use super::broker::Broker;
use super::plan::{CALLER, INTEGRATION, Plan};
use super::redis::Redis;
use super::reply::Reply;
use super::stage::Stage;
use super::until;
use crate::canary;

/// What all replicas have in common, and the replicas.
pub(crate) struct Fleet {
    pub(crate) stage: Stage,
    pub(crate) redis: Redis,
    replicas: Vec<Option<Broker>>,
}

impl Fleet {
    /// So many replicas of this plan, each of which knows the others.
    pub(crate) async fn of(count: usize, plan: Plan) -> Self {
        let redis = Redis::start().await;
        let seal_key = SealKeys::generate().unwrap();
        canary::note("the seal key", seal_key.rsplit(':').next().unwrap());
        let section = format!("\n[store]\nseal_key_path = \"seal.key\"\nredis = {{ url = \"{}\" }}\n", redis.url());
        let plan = plan.relayed().machine_clock().section(section).file("seal.key", seal_key.as_str());
        let mut stage = plan.start().await;
        let first = stage.hand_out_broker();
        let mut fleet = Self { stage, redis, replicas: vec![Some(first)] };
        while fleet.replicas.len() < count {
            fleet.add().await;
        }
        fleet.shares().await;
        fleet
    }

    /// One more replica; which one it is.
    pub(crate) async fn add(&mut self) -> usize {
        self.add_with(|file| file).await
    }

    /// One more replica, whose configuration differs.
    pub(crate) async fn add_with(&mut self, change: impl FnOnce(String) -> String) -> usize {
        let text = change(fs::read_to_string(self.stage.file("aquila.toml")).unwrap());
        let file = self.stage.file(&format!("replica-{}.toml", self.replicas.len()));
        fs::write(&file, text).unwrap();
        self.replicas.push(Some(Broker::here(&file, self.stage.clock.clone()).await));
        self.replicas.len() - 1
    }

    /// A replica.
    pub(crate) fn replica(&self, number: usize) -> &Broker {
        self.replicas.get(number).unwrap().as_ref().unwrap()
    }

    /// A replica that is to be ended.
    pub(crate) fn take(&mut self, number: usize) -> Broker {
        self.replicas.get_mut(number).unwrap().take().unwrap()
    }

    /// Ends one in peace.
    pub(crate) async fn stop(&mut self, number: usize) {
        self.take(number).stop().await;
    }

    /// The numbers of those that run.
    pub(crate) fn all(&self) -> Vec<usize> {
        (0..self.replicas.len()).filter(|number| self.replicas.get(*number).unwrap().is_some()).collect()
    }

    /// A request at the callers' door of a replica, by the usual caller.
    pub(crate) fn request(&self, number: usize, integration: &str) -> RequestBuilder {
        let url = format!("http://{}/token/{integration}", self.replica(number).callers);
        self.stage.http.get(url).bearer_auth(self.stage.key(CALLER))
    }

    /// The usual caller asks a replica for the token of an integration.
    pub(crate) async fn ask_for(&self, number: usize, integration: &str) -> Reply {
        Reply::of(self.request(number, integration)).await
    }

    /// The usual caller asks a replica for the usual token.
    pub(crate) async fn ask(&self, number: usize) -> Reply {
        self.ask_for(number, INTEGRATION).await
    }

    /// The usual token, which a replica has or gets.
    pub(crate) async fn token(&self, number: usize) -> String {
        self.ask(number).await.token().text
    }

    /// A form for the callers' door of a replica.
    pub(crate) fn post(&self, number: usize, path: &str, form: &str) -> RequestBuilder {
        let request = self.stage.http.post(format!("http://{}{path}", self.replica(number).callers));
        request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned())
    }

    /// Requests for tokens that Salesforce has seen, or that are on their way there.
    pub(crate) fn posts(&self) -> usize {
        self.stage.relay().assertions().len()
    }

    /// What a replica says of itself under a JSON pointer.
    pub(crate) async fn status(&self, number: usize, pointer: &str) -> Value {
        let page = Reply::of(self.stage.http.get(format!("http://{}/status.json", self.replica(number).ops))).await;
        canary::search("/status.json", &page.body);
        page.json().pointer(pointer).cloned().unwrap_or_default()
    }

    /// The fingerprint of the token that a replica keeps; empty without one. Looking is not asking.
    pub(crate) async fn kept(&self, number: usize) -> String {
        self.status(number, "/integrations/0/token/fingerprint").await.as_str().unwrap_or_default().to_owned()
    }

    /// One series of a replica's metrics; 0 when it has not appeared.
    pub(crate) async fn metric(&self, number: usize, series: &str) -> u64 {
        let page = Reply::of(self.stage.http.get(format!("http://{}/metrics", self.replica(number).ops))).await.body;
        canary::search("/metrics", &page);
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |text| text.parse::<u64>().unwrap())
    }

    /// How often a flight of a replica came to this.
    pub(crate) async fn leases(&self, number: usize, outcome: &str) -> u64 {
        self.metric(number, &format!("aquila_leases_total{{outcome=\"{outcome}\"}}")).await
    }

    /// How often the store has answered this to a replica.
    pub(crate) async fn answered(&self, number: usize, operation: &str) -> u64 {
        let labels = format!("operation=\"{operation}\",outcome=\"success\"");
        self.metric(number, &format!("aquila_store_operations_total{{{labels}}}")).await
    }

    /// Waits until all replicas say this of the store.
    pub(crate) async fn stands(&self, state: &str) {
        until("every replica knows how it stands", async || {
            for number in self.all() {
                if self.status(number, "/store/state").await != *state {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// Waits until what each replica does is known to all.
    pub(crate) async fn shares(&self) {
        self.stands("shared").await;
    }
}
