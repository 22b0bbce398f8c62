//! Answers of the org's REST resources, read for the walk: JSON, or a refusal with its code and words.

use serde::Deserialize;
use serde_json::Value;

use super::Walk;
use crate::salesforce::{CONFIRM_PATH, Grant, MintError, Reply, RestError, printable};

/// Why there is nothing to read.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    /// What Salesforce said, if it did.
    error: Option<RestError>,
    /// What was seen, safe to print.
    pub(super) seen: String,
    /// The status; nothing when there was no answer.
    pub(super) status: Option<u16>,
}

/// The records of a query, at most one batch of them.
#[derive(Deserialize)]
pub(super) struct Records<T> {
    #[serde(rename = "totalSize")]
    pub(super) total: usize,
    pub(super) records: Vec<T>,
}

impl Walk<'_> {
    /// A resource below the version of the API, as JSON.
    pub(super) async fn resource(
        &mut self,
        grant: &Grant,
        name: &str,
        query: Option<(&str, &str)>,
    ) -> Result<Value, Refused> {
        let path = format!("{CONFIRM_PATH}{name}");
        let reply = self.integration.ask(grant, &path, query, self.deadline).await;
        self.read(reply)
    }

    /// The records that a query finds.
    pub(super) async fn query<T: for<'a> Deserialize<'a>>(
        &mut self,
        grant: &Grant,
        soql: &str,
    ) -> Result<Records<T>, Refused> {
        let told = self.resource(grant, "query", Some(("q", soql))).await?;
        serde_json::from_value(told).map_err(|_| Refused::unreadable(200, "no result of a query"))
    }

    /// Any answer, as JSON. Of none the detail is told: the sentences of the causes speak of the token host. What it
    /// tells of the org's API requests is kept.
    pub(super) fn read(&mut self, reply: Result<Reply, MintError>) -> Result<Value, Refused> {
        let reply = reply.map_err(|error| Refused { error: None, seen: error.detail, status: None })?;
        self.api_usage = reply.api_usage.or(self.api_usage);
        match reply.status {
            200 => serde_json::from_slice(&reply.body).map_err(|_| Refused::unreadable(200, "what is no JSON")),
            _ => Err(Refused::of(&reply)),
        }
    }
}

impl Refused {
    /// Out of an answer that is no success.
    pub(super) fn of(reply: &Reply) -> Self {
        let status = reply.status;
        let Some(error) = RestError::of(reply) else { return Self::unreadable(status, "no REST error") };
        // The first sentence; the rest is advice to programmers.
        let message = error.message.split_once(". ").map_or(error.message.as_str(), |(first, _)| first);
        let seen = printable(&format!("status {status}, {}: {message}", error.code));
        Self { error: Some(error), seen, status: Some(status) }
    }

    fn unreadable(status: u16, what: &str) -> Self {
        Self { error: None, seen: format!("status {status} with {what}"), status: Some(status) }
    }

    /// Whether Salesforce says in so many words that the session is over, which a new one is not.
    pub(super) fn is_dead_session(&self) -> bool {
        self.error.as_ref().zip(self.status).is_some_and(|(error, status)| error.ends_session(status))
    }

    /// `errorCode`; empty when nobody said one.
    pub(super) fn code(&self) -> &str {
        self.error.as_ref().map(|error| error.code.as_str()).unwrap_or_default()
    }
}
