//! What callers say of a token and ask about it, and what operators see of both.

use reqwest::RequestBuilder;
use serde_json::Value;

use super::plan::{CALLER, INTEGRATION};
use super::reply::Reply;
use super::stage::Stage;

impl Stage {
    /// A caller reports a token as dead; ready to be sent.
    pub(crate) fn reporting(&self, caller: &str, token: &str) -> RequestBuilder {
        self.post("/revoke", &format!("token={token}")).bearer_auth(self.key(caller))
    }

    /// A caller reports a token as dead. Whatever comes of it, the answer is the same.
    pub(crate) async fn report_as(&self, caller: &str, token: &str) {
        let reply = Reply::of(self.reporting(caller, token)).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    }

    /// The usual caller reports a token as dead.
    pub(crate) async fn report(&self, token: &str) {
        self.report_as(CALLER, token).await;
    }

    /// What a caller is told of a token.
    pub(crate) async fn introspect_as(&self, caller: &str, token: &str) -> Value {
        let reply = Reply::of(self.post("/introspect", &format!("token={token}")).bearer_auth(self.key(caller))).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()
    }

    /// What an integration's page says under a JSON pointer.
    pub(crate) async fn status(&self, integration: &str, pointer: &str) -> Value {
        let page: Value = serde_json::from_str(&self.ops_page("/status.json").await).unwrap();
        let all = page.get("integrations").and_then(Value::as_array).unwrap();
        let one = all.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(integration)).unwrap();
        one.pointer(pointer).cloned().unwrap_or_default()
    }

    /// The fingerprint of the token that is kept for the usual integration. Looking is not asking: it makes nobody a
    /// caller that comes back.
    pub(crate) async fn kept(&self) -> String {
        self.status(INTEGRATION, "/token/fingerprint").await.as_str().unwrap_or_default().to_owned()
    }

    /// Reports at the usual integration that came to this.
    pub(crate) async fn reports(&self, outcome: &str) -> u64 {
        let labels = format!("integration=\"{INTEGRATION}\",outcome=\"{outcome}\"");
        self.metric(&format!("aquila_token_reports_total{{{labels}}}")).await
    }

    /// POSTs at the token endpoint so far, and REST calls.
    pub(crate) fn calls(&self) -> (u64, u64) {
        let counts = self.simulator.counts();
        (counts.token_posts, counts.rest_calls)
    }
}
