//! What was decided about a request for a token: travels beside the answer to the metrics and the audit trail.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;

use super::route::Route;
use crate::authn::AuthnError;
use crate::broker::{Introspected, IssueError, Issued, Report, Trouble};
use crate::clock::Moment;
use crate::hash::short_hex;
use crate::holding::Holding;
use crate::names::IntegrationName;
use crate::policy::Rule;
use crate::snapshot::{Authenticated, Denied, Permit};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Span;
use crate::token::Fingerprint;

/// One decision, as far as it came.
#[derive(Debug, Default)]
pub(super) struct Decision {
    /// What became of it; a value of a closed set.
    pub(super) outcome: Outcome,
    /// Why nobody was recognised, or what a report came to.
    pub(super) reason: Option<&'static str>,
    /// The caller, once proved, and how.
    pub(super) authenticated: Option<Authenticated>,
    /// The integration that exists and that this caller may not have.
    pub(super) denied: Option<IntegrationName>,
    /// The integration that it may have, and the rule that allowed it.
    pub(super) allowed: Option<(Arc<Holding>, Rule)>,
    /// How the token was found.
    pub(super) cache: Option<&'static str>,
    /// The token that was handed out.
    pub(super) token: Option<Fingerprint>,
    /// For how long the life that the answer tells stays true while the answer waits.
    pub(super) slack: Option<Duration>,
}

/// What became of a request for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Outcome {
    /// The caller hung up before there was an answer.
    Abandoned,
    /// No right, or no such integration.
    Denied,
    /// A token was handed out.
    Issued,
    /// It was told what is known of a token.
    Introspected,
    /// The request could not be understood.
    InvalidRequest,
    /// Our own fault; also what stands there until something else is known.
    #[default]
    InternalError,
    /// A token was reported as dead.
    Reported,
    /// The caller causes too much work at Salesforce.
    Throttled,
    /// The caller reports the token again and again, and it works from here.
    TokenUnusable,
    /// Nobody was recognised.
    Unauthenticated,
    /// No token, and it may pass.
    Unavailable,
    /// Salesforce says no.
    UpstreamRefused,
}

impl Outcome {
    /// The wire name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::Denied => "denied",
            Self::Issued => "issued",
            Self::Introspected => "introspected",
            Self::InvalidRequest => "invalid_request",
            Self::InternalError => "internal_error",
            Self::Reported => "reported",
            Self::Throttled => "throttled",
            Self::TokenUnusable => "token_unusable",
            Self::Unauthenticated => "unauthenticated",
            Self::Unavailable => "unavailable",
            Self::UpstreamRefused => "upstream_refused",
        }
    }
}

impl Decision {
    /// Notes who calls.
    pub(super) fn authenticated(&mut self, authenticated: &Authenticated) {
        self.authenticated = Some(authenticated.clone());
    }

    /// The name of the integration, once it is known to exist.
    pub(super) fn integration(&self) -> Option<&str> {
        let allowed = self.allowed.as_ref().map(|(holding, _)| holding.name());
        allowed.or(self.denied.as_ref()).map(IntegrationName::as_str)
    }

    /// Counts it, of a request that came at `arrived`; for the integration only where tokens are handed out.
    pub(super) fn count(&self, route: Route, metrics: &Metrics, arrived: Moment) {
        let outcome = self.outcome.as_str();
        match (&self.allowed, &self.denied) {
            _ if !route.issues() => {}
            (Some((holding, _)), _) => holding.decided(outcome),
            (None, Some(integration)) => metrics.decided_without_right(integration, outcome),
            (None, None) => {}
        }
        if let Some(authenticated) = &self.authenticated {
            authenticated.caller.decided(outcome);
            authenticated.caller.seen(arrived);
        }
    }

    /// Tells it to the span of the request. What is the caller's fault is no failure of ours.
    pub(super) fn trace(&self, span: &Span, status: StatusCode) {
        span.set("aquila.outcome", self.outcome.as_str());
        let caller = self.authenticated.as_ref().map(|it| it.caller.name().as_str());
        let words =
            [("aquila.reason", self.reason), ("aquila.caller", caller), ("aquila.integration", self.integration())];
        for (key, word) in words {
            if let Some(word) = word {
                span.set(key, word);
            }
        }
        if status.is_server_error() || self.outcome == Outcome::Abandoned {
            span.fail(self.outcome.as_str());
        }
    }

    /// Notes that nobody was recognised.
    pub(super) fn unauthenticated(&mut self, error: AuthnError) {
        self.outcome = Outcome::Unauthenticated;
        self.reason = Some(error.reason());
    }

    /// Notes what the caller may have. Until there is an answer: whoever is gone by then has hung up.
    pub(super) fn permitted(&mut self, permit: &Permit) {
        self.outcome = Outcome::Abandoned;
        self.allowed = Some((Arc::clone(&permit.holding), permit.rule.clone()));
    }

    /// Notes a token that is handed out.
    pub(super) fn issued(&mut self, issued: &Issued) {
        self.outcome = Outcome::Issued;
        self.cache = Some(issued.lookup.as_str());
        self.token = Some(issued.kept.value.grant.token.fingerprint());
        self.slack = Some(issued.kept.promise.margin());
    }

    /// Notes a report of a dead token; of one that is not the caller's only that there was a report.
    pub(super) fn reported(&mut self, report: Option<&Report>, digest: &[u8; 32]) {
        self.outcome = Outcome::Reported;
        self.reason = Some(report.map_or("not_held", |report| report.outcome.as_str()));
        if let Some(report) = report {
            self.about(&report.holding, &report.rule, digest);
        }
    }

    /// Notes what was told of a token.
    pub(super) fn introspected(&mut self, introspected: Option<&Introspected>, digest: &[u8; 32]) {
        self.outcome = Outcome::Introspected;
        self.reason = Some(if introspected.is_some() { "active" } else { "inactive" });
        if let Some(introspected) = introspected {
            self.about(&introspected.holding, &introspected.rule, digest);
        }
    }

    fn about(&mut self, holding: &Arc<Holding>, rule: &Rule, digest: &[u8; 32]) {
        self.allowed = Some((Arc::clone(holding), rule.clone()));
        self.token = Some(short_hex(digest));
    }

    /// Notes why there is no token.
    pub(super) fn failed(&mut self, error: &IssueError) {
        match error {
            IssueError::Denied(Denied::NotGranted { integration, .. }) => {
                self.outcome = Outcome::Denied;
                self.denied.clone_from(integration);
            }
            IssueError::Denied(Denied::Contradiction | Denied::Unnamed { .. }) => {
                self.outcome = Outcome::InvalidRequest
            }
            IssueError::Unavailable { why, .. } => {
                self.outcome = match why {
                    Trouble::Refused => Outcome::UpstreamRefused,
                    Trouble::Passing(_) => Outcome::Unavailable,
                    Trouble::Unusable(_) => Outcome::TokenUnusable,
                    Trouble::TooMuch(_) => Outcome::Throttled,
                    Trouble::Broken => Outcome::InternalError,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::cache::Lookup;
    use crate::holding::{Reported, Verdict};

    fn set<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        words.into_iter().collect()
    }

    /// What stands in quotes between two texts of a source.
    fn quoted<'a>(source: &'a str, from: &str, to: &str) -> BTreeSet<&'a str> {
        let (_, rest) = source.split_once(from).unwrap();
        let (part, _) = rest.split_once(to).unwrap();
        set(part.split('"').skip(1).step_by(2))
    }

    #[test]
    fn the_closed_sets_of_a_record_are_those_of_its_schema() {
        let schema: Value = serde_json::from_str(include_str!("../../audit.schema.json")).unwrap();
        let listed = |member: &str| {
            let values = schema["properties"][member]["enum"].as_array().unwrap();
            set(values.iter().filter_map(Value::as_str))
        };
        let authn = include_str!("../authn/mod.rs");
        assert_eq!(listed("outcome"), quoted(include_str!("decision.rs"), "impl Outcome {", "\n}\n"));
        assert_eq!(listed("proof"), quoted(authn, "impl ProofKind {", "\n}\n"));

        let verdicts = [Verdict::Alive, Verdict::Dead, Verdict::Unclear].map(Reported::Looked);
        let reports = verdicts.into_iter().chain([Reported::Later, Reported::Superseded]).map(Reported::as_str);
        let mut reasons = quoted(authn, "impl AuthnError {", "\n}\n");
        reasons.extend(quoted(include_str!("../authn/jwt.rs"), "pub fn reason(self)", "\n    }\n"));
        reasons.extend(reports.chain(["active", "inactive", "not_held"]));
        assert_eq!(listed("reason"), reasons);

        let lookups = [Lookup::Hit, Lookup::StaleHit, Lookup::Miss, Lookup::Joined];
        assert_eq!(listed("cache"), set(lookups.map(Lookup::as_str)));
        let tokens = [Route::Token, Route::NamedToken, Route::OauthToken, Route::NamedOauthToken];
        let routes = tokens.into_iter().chain([Route::Revoke, Route::Introspect]);
        assert_eq!(listed("route"), set(routes.clone().map(Route::pattern)));
        assert!(routes.clone().all(Route::decides));
        // A method that a route does not take is refused before there is anything to decide.
        assert_eq!(listed("method"), set(routes.flat_map(|route| route.allow().split(','))));
    }
}
