//! `GET /openapi.json`: the API's own description, as it was when this binary was built.
//!
//! `openapi/aquila.openapi.yaml` is the source, the JSON beside it its twin. `tests/openapi` holds the two equal and the
//! running service against them; the tests here hold the closed sets of the code against them.

use axum::body::Body;
use axum::http::Response;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;

const DESCRIPTION: &str = include_str!("../../openapi/aquila.openapi.json");

/// `GET /openapi.json`. It changes with the version only, but nobody should work from the one before.
pub(super) fn get() -> Response<Body> {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], DESCRIPTION).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use serde_json::Value;

    use super::super::error::{Refusal, Shape};
    use super::super::route::Route;
    use super::*;
    use crate::promise::LifetimeSource;

    fn description() -> Value {
        serde_json::from_str(DESCRIPTION).unwrap()
    }

    /// The routes one after the other: a new variant does not compile until it has its place.
    fn after(route: Route) -> Option<Route> {
        match route {
            Route::Healthz => Some(Route::Introspect),
            Route::Introspect => Some(Route::IssuerMetadata),
            Route::IssuerMetadata => Some(Route::Livez),
            Route::Livez => Some(Route::Metadata),
            Route::Metadata => Some(Route::Metrics),
            Route::Metrics => Some(Route::NamedOauthToken),
            Route::NamedOauthToken => Some(Route::NamedToken),
            Route::NamedToken => Some(Route::OauthToken),
            Route::OauthToken => Some(Route::OpenApi),
            Route::OpenApi => Some(Route::Readyz),
            Route::Readyz => Some(Route::Revoke),
            Route::Revoke => Some(Route::Status),
            Route::Status => Some(Route::StatusJson),
            Route::StatusJson => Some(Route::Token),
            Route::Token => Some(Route::Unmatched),
            Route::Unmatched => None,
        }
    }

    fn routes() -> impl Iterator<Item = Route> {
        std::iter::successors(Some(Route::Healthz), |route| after(*route)).filter(|route| *route != Route::Unmatched)
    }

    #[test]
    fn every_route_is_described_and_no_other() {
        let patterns: BTreeSet<String> = routes().map(|route| route.pattern().replace("{*", "{")).collect();
        let description = description();
        let described: BTreeSet<String> = description["paths"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(patterns, described);
    }

    /// Where a refusal can come from.
    #[derive(Clone, Copy, PartialEq)]
    enum Where {
        /// Every route of both doors.
        Anywhere,
        /// Every route of the callers' door.
        Callers,
        /// The two routes of the metadata.
        Metadata,
        /// What is no route or no method of one: described in the text and by `tests/openapi`.
        NoOperation,
        /// The token routes, GET and POST.
        Tokens,
        /// Every route that takes a form.
        Forms,
        /// The token routes, POST only.
        Posts,
        /// The token routes, GET only.
        Gets,
        /// Every route on which callers prove themselves.
        Proofs,
    }

    /// Every refusal that `error.rs` can make; a test below counts them.
    fn refusals(shape: Shape) -> Vec<(&'static str, Refusal, Where)> {
        vec![
            ("no_credentials", Refusal::no_credentials(shape), Where::Proofs),
            ("wrong_credentials", Refusal::wrong_credentials(shape, false), Where::Proofs),
            ("access_denied", Refusal::access_denied(), Where::Gets),
            ("invalid_scope", Refusal::invalid_scope(), Where::Posts),
            ("invalid_target", Refusal::invalid_target(), Where::Posts),
            ("invalid_grant", Refusal::invalid_grant(), Where::Posts),
            ("invalid_request", Refusal::invalid_request("x"), Where::Proofs),
            ("unsupported_grant_type", Refusal::unsupported_grant_type(), Where::Posts),
            ("too_large", Refusal::too_large(), Where::Forms),
            ("body_timeout", Refusal::body_timeout(), Where::Forms),
            ("not_found", Refusal::not_found(), Where::Metadata),
            ("method_not_allowed", Refusal::method_not_allowed(), Where::NoOperation),
            ("upstream_refused", Refusal::upstream_refused(shape), Where::Tokens),
            ("temporarily_unavailable", Refusal::temporarily_unavailable(Duration::ZERO), Where::Callers),
            ("token_unusable", Refusal::token_unusable(shape, Duration::ZERO), Where::Tokens),
            ("slow_down", Refusal::slow_down(Duration::ZERO), Where::Proofs),
            ("no_record", Refusal::no_record(), Where::Proofs),
            ("internal", Refusal::internal(), Where::Anywhere),
        ]
    }

    #[test]
    fn no_refusal_is_missing_in_the_list() {
        let source = include_str!("error.rs");
        let made = source.lines().filter(|line| line.trim_end().ends_with("-> Self {"));
        let public = made.filter_map(|line| line.split_once("pub(super) ")?.1.split_once("fn ")?.1.split_once('('));
        let names: BTreeSet<&str> = public.map(|(name, _)| name).collect();
        assert_eq!(names, refusals(Shape::Problem).iter().map(|(name, ..)| *name).collect());
    }

    /// Status and error code, as an operation may answer.
    type Code = (u64, String);

    fn is_ops(route: Route) -> bool {
        matches!(route, Route::Livez | Route::Metrics | Route::Readyz | Route::Status | Route::StatusJson)
    }

    fn possible(method: &str, route: Route) -> BTreeSet<Code> {
        let posted = method == "post";
        let shape = if posted { Shape::OAuth } else { Shape::Problem };
        let on_callers = !is_ops(route);
        let can = |place: Where| match place {
            Where::Anywhere => true,
            Where::Callers => on_callers,
            Where::Metadata => matches!(route, Route::Metadata | Route::IssuerMetadata),
            Where::NoOperation => false,
            Where::Tokens => route.issues(),
            Where::Posts => route.issues() && posted,
            Where::Forms => route.decides() && posted,
            Where::Gets => route.issues() && !posted,
            Where::Proofs => route.decides(),
        };
        let all = refusals(shape).into_iter().filter(|(.., place)| can(*place));
        all.map(|(_, refusal, _)| refusal.told()).map(|(status, error)| (status.into(), error.to_owned())).collect()
    }

    /// What the description says of the same, from the schemas of its JSON answers.
    fn described(description: &Value, method: &str, route: Route) -> BTreeSet<Code> {
        let path = route.pattern().replace("{*", "{");
        let responses = description["paths"][&path][method]["responses"].as_object().unwrap();
        let mut codes = BTreeSet::new();
        for (status, reference) in responses {
            let pointer = reference["$ref"].as_str().unwrap().strip_prefix('#').unwrap();
            let content = &description.pointer(pointer).unwrap()["content"];
            let media = content.get("application/problem+json").or_else(|| content.get("application/json"));
            let Some(media) = media.filter(|_| !status.starts_with('2')) else { continue };
            let error = &media["schema"]["allOf"][1]["properties"]["error"];
            let errors = error["enum"].as_array().cloned().unwrap_or_else(|| vec![error["const"].clone()]);
            for error in errors {
                codes.insert((status.parse().unwrap(), error.as_str().unwrap().to_owned()));
            }
        }
        codes
    }

    #[test]
    fn each_operation_describes_the_refusals_it_can_make_and_no_other() {
        let description = description();
        for route in routes() {
            for method in ["get", "post"] {
                if description["paths"][route.pattern().replace("{*", "{")].get(method).is_some() {
                    let described = described(&description, method, route);
                    assert_eq!(described, possible(method, route), "{method} {}", route.pattern());
                }
            }
        }
    }

    #[test]
    fn a_head_has_the_statuses_of_its_get() {
        let description = description();
        let statuses = |operation: &Value| -> Option<Vec<String>> {
            Some(operation.get("responses")?.as_object()?.keys().cloned().collect())
        };
        for (path, item) in description["paths"].as_object().unwrap() {
            assert_eq!(statuses(&item["get"]), statuses(&item["head"]), "{path}");
        }
    }

    fn listed(description: &Value, schema: &str, property: &str) -> BTreeSet<String> {
        let schema = &description["components"]["schemas"][schema];
        let of = if property.is_empty() { schema } else { &schema["properties"][property] };
        of["enum"].as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn closed_sets_are_those_of_the_code() {
        let description = description();
        for (schema, shape) in [("Problem", Shape::Problem), ("OAuthError", Shape::OAuth)] {
            let here = |place: Where| match shape {
                Shape::Problem => !matches!(place, Where::Posts | Where::Forms),
                Shape::OAuth => !matches!(place, Where::Gets | Where::Metadata | Where::NoOperation),
            };
            let all = refusals(shape).into_iter().filter(|(.., place)| here(*place));
            let errors: BTreeSet<String> = all.map(|(_, refusal, _)| refusal.told().1.to_owned()).collect();
            assert_eq!(listed(&description, schema, "error"), errors, "{schema}");
        }

        let source = include_str!("../salesforce/cause.rs");
        let codes = source.split("pub fn code").nth(1).unwrap().split("\n    }\n").next().unwrap();
        let codes: BTreeSet<String> = codes.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        assert!(codes.len() > 20, "{codes:?}");
        assert_eq!(listed(&description, "FailureStatus", "cause"), codes);

        let known = |source: LifetimeSource| match source {
            LifetimeSource::Confirmed
            | LifetimeSource::Estimate
            | LifetimeSource::ExpiresIn
            | LifetimeSource::Introspection
            | LifetimeSource::JwtExp => source.as_str().to_owned(),
        };
        let sources = [
            LifetimeSource::Confirmed,
            LifetimeSource::Estimate,
            LifetimeSource::ExpiresIn,
            LifetimeSource::Introspection,
            LifetimeSource::JwtExp,
        ];
        assert_eq!(listed(&description, "LifetimeSource", ""), sources.map(known).into());
    }
}
