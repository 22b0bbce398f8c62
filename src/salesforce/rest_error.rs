//! What a REST resource of an org says when it refuses: a list of errors, of which the first counts.

use serde::Deserialize;

use super::endpoint::Reply;

/// The first error of a refusal, in Salesforce's words: not yet safe to print.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RestError {
    /// Which; empty when it does not say.
    #[serde(rename = "errorCode", default)]
    pub code: String,
    /// For people.
    #[serde(default)]
    pub message: String,
}

impl RestError {
    /// What stands in an answer that is no success, if it is a REST error at all: a proxy or a maintenance page says
    /// something else, and the token's own routes answer in plain text.
    pub fn of(reply: &Reply) -> Option<Self> {
        serde_json::from_slice::<Vec<Self>>(&reply.body).ok()?.into_iter().next()
    }

    /// Whether, said with `status`, it means that the session is over, so that a new one may live.
    ///
    /// Only 401 `INVALID_SESSION_ID` does, and not even that when the message says that the session may not use the REST
    /// API: then a new token would be refused as well.
    pub fn ends_session(&self, status: u16) -> bool {
        status == 401 && self.code == "INVALID_SESSION_ID" && !self.message.contains("not valid for use")
    }
}
