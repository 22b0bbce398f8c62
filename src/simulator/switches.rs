//! What nobody outside Salesforce knows for certain, each as one named switch with the default we think likeliest.
//!
//! A broker must be right on both sides of every switch; that is what they are for. Facts that are well attested are
//! not here but in the code. The names are the same in Rust, in `PATCH /__simulator/switches` and in `--switch`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The open questions about Salesforce, answered one way or the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switches {
    /// Whether a mint that hands back a running session moves its activity stamp (by the half-period rule).
    ///
    /// UNSURE; default `false`. The session record is known to be touched when it is reused, but nobody has shown
    /// that its clock is. `false` is the harder world: a fresh mint may hand out an old session about to end.
    pub mint_counts_as_activity: bool,
    /// Whether a mint hands back the running session of the same app and user instead of opening another.
    ///
    /// Default `true`: one published measurement (eight mints, one token) and several users' reports. UNSURE for every
    /// kind of org, so brokers are also to be tested with `false`.
    pub running_session_handed_back: bool,
    /// Seconds that `exp` may lie ahead; above, the answer is `invalid assertion`. `null` for no bound.
    ///
    /// UNSURE; default `null`. The documentation asks for three minutes, yet Salesforce's own command line sends
    /// milliseconds, a date far away, and is let in. Try 180 and 300 to see whether a client keeps to the documents.
    pub exp_upper_bound_seconds: Option<u64>,
    /// Seconds after `exp` during which an assertion is still taken.
    ///
    /// UNSURE; default 0. One web page speaks of a buffer of three minutes; nothing confirms it, and a client must not
    /// lean on it.
    pub exp_leeway_seconds: u64,
    /// Whether an assertion with an `nbf` in the future is refused as `invalid assertion`.
    ///
    /// UNSURE; default `false`: no client is known to send the claim, so nobody has seen it checked.
    pub nbf_checked: bool,
    /// Whether a `jti` seen before from the same app is refused.
    ///
    /// Default `true`: documented. UNSURE are the text (`invalid assertion` is our guess), how long values are kept
    /// (here until `exp` plus leeway) and whether they are unique per app (here) or per org.
    pub jti_replay_refused: bool,
    /// Whether an accepted audience may carry a slash at its end.
    ///
    /// UNSURE; default `false`. One merged example has it and one reference client sends it in its first try.
    pub aud_trailing_slash_accepted: bool,
    /// Whether `aud` may be a JSON array that holds an accepted audience.
    ///
    /// UNSURE; default `false`: one client changed its types to stop sending an array, which speaks for a refusal.
    pub aud_array_accepted: bool,
    /// Whether the simulator's own base URL, which stands for a My Domain host, is an accepted audience.
    ///
    /// UNSURE in general; default `true`. Refused in a report of 2023, demanded in reports of 2026 about External
    /// Client Apps.
    pub aud_own_url_accepted: bool,
    /// Whether the full URL of a token endpoint is accepted where its host is.
    ///
    /// Default `true`: an official command line sends it. UNSURE for My Domain hosts.
    pub aud_token_url_accepted: bool,
    /// Whether answers carry `issued_at` (milliseconds, as text) and `signature`.
    ///
    /// UNSURE; default `false`: both are missing from the two published samples of this flow and present in those of
    /// the other flows.
    pub issued_at_present: bool,
    /// Whether answers carry `expires_in`, the seconds that the session still lives, as text.
    ///
    /// Default `false`: no published answer of this flow has it. Proxies in between and other flows add it.
    pub expires_in_present: bool,
    /// What a `sub` that no user bears is answered with.
    ///
    /// UNSURE; default `not_approved`. Reports show both texts; which one comes first is not known.
    pub unknown_user_error: UnknownUserError,
    /// Whether a `scope` parameter in the request is refused with `invalid_request`.
    ///
    /// UNSURE; default `true`. Seen in the client-credentials flow; for this flow the documents only say that scopes
    /// cannot be asked for.
    pub scope_parameter_refused: bool,
    /// Whether parameters may stand in the query string.
    ///
    /// Default `false`, on purpose stricter than Salesforce, where it works: an assertion in a URL ends up in logs.
    pub query_parameters_accepted: bool,
    /// Whether the scope that allows refresh tokens stands in the answer's `scope`, though no such token comes.
    ///
    /// UNSURE; default `false`: guides ask for it in the app, and no published answer of this flow lists it.
    pub refresh_scope_listed: bool,
    /// Whether an assertion still verifies once the registered certificate has expired.
    ///
    /// UNSURE; default `true`: called intended by Salesforce's product management in 2020; vendors say the opposite.
    pub expired_certificate_accepted: bool,
    /// Whether answers come in pieces without a length (`Transfer-Encoding: chunked` over HTTP/1.1).
    ///
    /// Default `false`, unlike Salesforce, so that recordings stay readable; a client must be right with `true`.
    pub answers_chunked: bool,
    /// Whether a call of `userinfo` counts as activity of the session.
    ///
    /// UNSURE; default `false`, the harder world. Only data calls are documented to count.
    pub userinfo_counts_as_activity: bool,
    /// Whether an introspection counts as activity of the session.
    ///
    /// UNSURE; default `false`, the harder world, for the same reason.
    pub introspection_counts_as_activity: bool,
    /// Whether `userinfo` wants a token with the scope `id`, `openid`, `profile` or `full`.
    ///
    /// UNSURE; default `false`: Salesforce's own command line asks with `api` and `web` alone.
    pub userinfo_needs_identity_scope: bool,
    /// Whether `limits` wants *View Setup and Configuration*, which no user here has: 403 `INSUFFICIENT_ACCESS`.
    ///
    /// UNSURE; default `false`. Older documents ask for it.
    pub limits_need_view_setup: bool,
}

/// The two answers reported for a user that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownUserError {
    /// `invalid_grant` / `invalid assertion`.
    InvalidAssertion,
    /// `invalid_grant` / `user hasn't approved this consumer`.
    NotApproved,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            mint_counts_as_activity: false,
            running_session_handed_back: true,
            exp_upper_bound_seconds: None,
            exp_leeway_seconds: 0,
            nbf_checked: false,
            jti_replay_refused: true,
            aud_trailing_slash_accepted: false,
            aud_array_accepted: false,
            aud_own_url_accepted: true,
            aud_token_url_accepted: true,
            issued_at_present: false,
            expires_in_present: false,
            unknown_user_error: UnknownUserError::NotApproved,
            scope_parameter_refused: true,
            query_parameters_accepted: false,
            refresh_scope_listed: false,
            expired_certificate_accepted: true,
            answers_chunked: false,
            userinfo_counts_as_activity: false,
            introspection_counts_as_activity: false,
            userinfo_needs_identity_scope: false,
            limits_need_view_setup: false,
        }
    }
}

/// Why a switch could not be set.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// No switch has this name.
    #[error("no switch is named `{name}`; there are: {known}")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// All names, for people.
        known: String,
    },
    /// The switch does not take this value.
    #[error("that value does not fit: {0}")]
    Value(#[from] serde_json::Error),
}

impl Switches {
    /// These switches with the given ones changed: all or none.
    pub fn patched(&self, changes: &Map<String, Value>) -> Result<Self, SwitchError> {
        let Value::Object(mut all) = serde_json::to_value(self)? else { return Ok(self.clone()) };
        for (name, value) in changes {
            if !all.contains_key(name) {
                let known = all.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                return Err(SwitchError::Unknown { name: name.clone(), known });
            }
            all.insert(name.clone(), value.clone());
        }
        Ok(serde_json::from_value(Value::Object(all))?)
    }

    /// These switches with one changed, its value as people type it: `true`, `180`, `null`, `not_approved`.
    pub fn with(&self, name: &str, value: &str) -> Result<Self, SwitchError> {
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        self.patched(&Map::from_iter([(name.to_owned(), value)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_set_by_its_name_as_text() {
        let switches = Switches::default();
        assert!(switches.with("mint_counts_as_activity", "true").unwrap().mint_counts_as_activity);
        assert_eq!(switches.with("exp_upper_bound_seconds", "180").unwrap().exp_upper_bound_seconds, Some(180));
        let named = switches.with("unknown_user_error", "invalid_assertion").unwrap();
        assert_eq!(named.unknown_user_error, UnknownUserError::InvalidAssertion);
    }

    #[test]
    fn an_unknown_switch_is_refused_with_the_names_there_are() {
        let error = Switches::default().with("mint_counts", "true").unwrap_err().to_string();
        assert!(error.contains("`mint_counts`") && error.contains("mint_counts_as_activity"), "{error}");
        assert!(Switches::default().with("jti_replay_refused", "maybe").is_err());
    }
}
