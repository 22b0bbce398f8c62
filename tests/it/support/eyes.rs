//! What the scenarios look at beside a single answer: U, the status page, and how long callers waited.

use std::collections::BTreeMap;

use aquila::simulator::{FaultAnswer, Row, TokenRow};
use serde_json::Value;
use tokio::time::Instant;

use super::plan::CALLER;
use super::reply::Reply;
use super::seconds;
use super::stage::Stage;

impl Stage {
    /// U: how many requests have arrived at the token endpoint, whatever came of them.
    pub(crate) fn posts(&self) -> u64 {
        self.simulator.counts().token_posts
    }

    /// How many named this user.
    pub(crate) fn posts_of(&self, username: &str) -> u64 {
        self.simulator.counts().by_user.get(username).map_or(0, |user| user.token_posts)
    }

    /// What `/status.json` says of an integration at this place; null where there is nothing.
    pub(crate) async fn told(&self, integration: &str, pointer: &str) -> Value {
        let page: Value = serde_json::from_str(&self.ops_page("/status.json").await).unwrap();
        let all = page.get("integrations").and_then(Value::as_array).unwrap();
        let named = |one: &&Value| one.get("name").and_then(Value::as_str) == Some(integration);
        all.iter().find(named).unwrap().pointer(pointer).cloned().unwrap_or_default()
    }

    /// Asks as a stock OAuth client does; nobody waits beyond ten seconds.
    pub(crate) async fn post_for(&self, integration: &str) -> Reply {
        let url = format!("http://{}/integrations/{integration}/services/oauth2/token", self.broker().callers);
        let request = self.http.post(url).basic_auth(CALLER, Some(self.key(CALLER)));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        in_time(Reply::of(request.body("grant_type=client_credentials"))).await
    }

    /// Asks by GET; nobody waits beyond ten seconds.
    pub(crate) async fn ask_in_time(&self, integration: &str) -> Reply {
        in_time(self.ask_for(integration)).await
    }

    /// This one is answered from memory, as so many others before.
    pub(crate) async fn answers_from_memory(&self, integration: &str) {
        self.answers_from_memory_so_often(integration, 1).await;
    }

    /// The same, again and again.
    pub(crate) async fn answers_from_memory_so_often(&self, integration: &str, times: u64) {
        let hits = || async {
            let found =
                |result| format!("aquila_cache_lookups_total{{integration=\"{integration}\",result=\"{result}\"}}");
            self.metric(&found("hit")).await + self.metric(&found("stale_hit")).await
        };
        let before = hits().await;
        for _ in 0..times {
            self.ask_in_time(integration).await.token();
        }
        assert_eq!(hits().await, before + times, "{integration} was not answered from memory");
    }
}

/// What comes of it, within the ten seconds that every caller is promised.
pub(crate) async fn in_time<T>(answer: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let answer = answer.await;
    assert!(started.elapsed() < seconds(10), "a caller waited for {:?}", started.elapsed());
    answer
}

/// Reports a token as dead, as a caller does.
pub(crate) async fn report(stage: &Stage, token: &str) {
    let request = stage.http.post(format!("http://{}/revoke", stage.broker().callers)).bearer_auth(stage.key(CALLER));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let body = url::form_urlencoded::Serializer::new(String::new()).append_pair("token", token).finish();
    assert_eq!(in_time(Reply::of(request.body(body))).await.status, 200);
}

/// Every recorded refusal of the token endpoint, asked of the list itself: a new row is never forgotten.
pub(crate) fn every_row() -> Vec<TokenRow> {
    let told = serde_json::from_str::<TokenRow>("\"no such row\"").unwrap_err().to_string();
    let names = told.split('`').skip(1).step_by(2).filter(|name| !name.contains(' '));
    let rows: Vec<TokenRow> = names.map(|name| serde_json::from_value(name.into()).unwrap()).collect();
    assert!(rows.len() >= 30, "{told}");
    rows
}

/// A recorded refusal as an answer.
pub(crate) fn row(row: TokenRow) -> FaultAnswer {
    FaultAnswer::Row { row: Row::Token(row) }
}

/// Any answer.
pub(crate) fn raw(status: u16, headers: &[(&str, &str)], body: &str) -> FaultAnswer {
    let headers: BTreeMap<_, _> = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    FaultAnswer::Raw { status, content_type: Some("application/json".to_owned()), headers, body: body.to_owned() }
}
