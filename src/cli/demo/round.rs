//! The round itself, as a caller would make it: over sockets, with nothing but the API key.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Client;
use serde_json::Value;

use super::stage::{INTEGRATION, Stage};
use super::{detail, step};
use crate::clock::Clock;

const QUERY: &str = "SELECT Id, EventType, LogDate, LogFile FROM EventLogFile \
                     WHERE EventType = 'Login' ORDER BY LogDate DESC LIMIT 3";

/// Fetches a token, fetches it again, and reads an event log file with it.
pub(super) async fn show(stage: &Stage) -> anyhow::Result<()> {
    let client = client()?;
    let first = token(&client, stage).await?;
    let counts = stage.simulator.counts();
    step(4, "mint", &format!("GET /token?integration={INTEGRATION} -> 200 in {}", milliseconds(first.took)))?;
    detail("assertion signed (RS256), traded for a token, session confirmed by one REST call")?;
    detail(&format!("access_token  {}", shortened(first.text("access_token")?)))?;
    detail(&format!(
        "expires_in    {} s (lifetime_source: {})",
        first.number("expires_in")?,
        first.text("lifetime_source")?
    ))?;
    detail(&format!("instance_url  {}", first.text("instance_url")?))?;

    let second = token(&client, stage).await?;
    let same =
        if second.text("access_token")? == first.text("access_token")? { "the same token" } else { "another token" };
    let logins = stage.simulator.counts().token_posts;
    step(5, "memory", &format!("GET /token again -> 200 in {}, {same}", milliseconds(second.took)))?;
    detail(&format!("logins at Salesforce: {} before, {logins} now", counts.token_posts))?;

    let (instance, token) = (first.text("instance_url")?, first.text("access_token")?);
    let url = format!("{instance}/services/data/v60.0/query");
    let found = client.get(url).query(&[("q", QUERY)]).bearer_auth(token).send().await?.error_for_status()?;
    let found: Value = serde_json::from_slice(&found.bytes().await?)?;
    let files = found.get("records").and_then(Value::as_array).context("the query gave no records")?;
    let Some(file) = files.first() else { bail!("the simulated org has no event log file") };
    step(6, "event logs", &format!("{} Login files; the newest is of {}", files.len(), string(file, "LogDate")?))?;
    let csv = client.get(format!("{instance}{}", string(file, "LogFile")?)).bearer_auth(token).send().await?;
    let csv = csv.error_for_status()?.text().await?;
    csv.lines().take(3).try_for_each(|line| detail(&line.chars().take(96).collect::<String>()))?;
    detail(&format!("({} rows)", csv.lines().count().saturating_sub(1)))?;
    Ok(())
}

struct Answer {
    body: Value,
    took: Duration,
}

impl Answer {
    fn text(&self, member: &str) -> anyhow::Result<&str> {
        string(&self.body, member)
    }

    fn number(&self, member: &str) -> anyhow::Result<u64> {
        self.body.get(member).and_then(Value::as_u64).with_context(|| format!("{member} is missing in the answer"))
    }
}

fn string<'a>(object: &'a Value, member: &str) -> anyhow::Result<&'a str> {
    object.get(member).and_then(Value::as_str).with_context(|| format!("{member} is missing in the answer"))
}

async fn token(client: &Client, stage: &Stage) -> anyhow::Result<Answer> {
    let clock = Clock::system();
    let url = format!("http://{}/token?integration={INTEGRATION}", stage.callers);
    let started = clock.now();
    let response = client.get(url).bearer_auth(stage.key.expose()).send().await?;
    let status = response.status();
    let body = response.bytes().await?;
    let took = clock.now().since(started);
    if !status.is_success() {
        bail!("the broker answers {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(Answer { body: serde_json::from_slice(&body)?, took })
}

fn client() -> anyhow::Result<Client> {
    #[expect(clippy::disallowed_methods, reason = "this client plays a caller; it carries no assertion")]
    let builder = Client::builder();
    // Loopback only: no proxy, and no certificate authorities, which a fresh machine may not have.
    Ok(builder.no_proxy().tls_certs_only([]).timeout(Duration::from_secs(15)).build()?)
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

/// Enough to recognise it. It is SIMULATED, but habits are formed by what one sees.
fn shortened(token: &str) -> String {
    let head: String = token.chars().take(34).collect();
    format!("{head}… ({} characters)", token.chars().count())
}
