//! An answer of the broker, whole, and what tests ask of it.

use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// Status, headers and body.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// What a 200 holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) expires_in: u64,
    pub(crate) source: String,
    pub(crate) instance_url: String,
}

impl Reply {
    /// Sends and reads to the end.
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.text().await.unwrap() }
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The token of a 200.
    pub(crate) fn token(&self) -> Token {
        assert_eq!(self.status, 200, "{}", self.body);
        let json = self.json();
        let text = |member: &str| json.get(member).and_then(Value::as_str).unwrap().to_owned();
        assert_eq!(text("token_type"), "Bearer");
        Token {
            text: text("access_token"),
            expires_in: json.get("expires_in").and_then(Value::as_u64).unwrap(),
            source: text("lifetime_source"),
            instance_url: text("instance_url"),
        }
    }

    /// Status and `error` of a refusal. No refusal carries a token.
    pub(crate) fn refusal(&self) -> (u16, String) {
        assert_ne!(self.status, 200, "{}", self.body);
        let json = self.json();
        assert!(json.get("access_token").is_none() && json.get("expires_in").is_none(), "{}", self.body);
        (self.status, json.get("error").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// `Retry-After` in seconds.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.headers.get("retry-after")?.to_str().ok()?.parse().ok()
    }
}
