//! The routes of both doors as a closed set: what is not in it is `unmatched`, in metrics and in records.

/// A route of the callers' door or the ops door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// `/healthz`, on both doors.
    Healthz,
    /// RFC 8414 metadata of an issuer with a path, which stands behind the well-known part.
    IssuerMetadata,
    /// RFC 7662: what is known of a token.
    Introspect,
    /// `/livez`, ops door.
    Livez,
    /// RFC 8414 metadata.
    Metadata,
    /// `/metrics`, ops door.
    Metrics,
    /// The path that Salesforce's own clients know, below an integration.
    NamedOauthToken,
    /// `/token/NAME`.
    NamedToken,
    /// The path that Salesforce's own clients know.
    OauthToken,
    /// The API's own description.
    OpenApi,
    /// `/readyz`, ops door.
    Readyz,
    /// RFC 7009: Salesforce refused this token.
    Revoke,
    /// `/status`, ops door: the page.
    Status,
    /// `/status.json`, ops door.
    StatusJson,
    /// `/token`.
    Token,
    /// Any other path.
    Unmatched,
}

impl Route {
    /// The pattern, as the router takes it and as metrics show it.
    pub(super) const fn pattern(self) -> &'static str {
        match self {
            Self::Healthz => "/healthz",
            Self::IssuerMetadata => "/.well-known/oauth-authorization-server/{*path}",
            Self::Introspect => "/introspect",
            Self::Livez => "/livez",
            Self::Metadata => "/.well-known/oauth-authorization-server",
            Self::Metrics => "/metrics",
            Self::NamedOauthToken => "/integrations/{integration}/services/oauth2/token",
            Self::NamedToken => "/token/{integration}",
            Self::OauthToken => "/services/oauth2/token",
            Self::OpenApi => "/openapi.json",
            Self::Readyz => "/readyz",
            Self::Revoke => "/revoke",
            Self::Status => "/status",
            Self::StatusJson => "/status.json",
            Self::Token => "/token",
            Self::Unmatched => "unmatched",
        }
    }

    /// The route of a path of the callers' door.
    pub(super) fn of_callers(path: &str) -> Self {
        match path {
            "/token" => Self::Token,
            "/services/oauth2/token" => Self::OauthToken,
            "/revoke" => Self::Revoke,
            "/introspect" => Self::Introspect,
            "/healthz" => Self::Healthz,
            "/openapi.json" => Self::OpenApi,
            "/.well-known/oauth-authorization-server" => Self::Metadata,
            _ if path.strip_prefix("/.well-known/oauth-authorization-server/").is_some_and(|rest| !rest.is_empty()) => {
                Self::IssuerMetadata
            }
            _ => match path.strip_prefix("/token/") {
                Some(name) if is_segment(name) => Self::NamedToken,
                _ => Self::NamedOauthToken
                    .integration_in(path)
                    .filter(|name| is_segment(name))
                    .map_or(Self::Unmatched, |_| Self::NamedOauthToken),
            },
        }
    }

    /// The segment of the path that names an integration, as it stands there, when the route has one.
    pub(super) fn integration_in(self, path: &str) -> Option<&str> {
        match self {
            Self::NamedToken => path.strip_prefix("/token/"),
            Self::NamedOauthToken => path.strip_prefix("/integrations/")?.strip_suffix("/services/oauth2/token"),
            _ => None,
        }
    }

    /// The methods that the route takes, as `Allow` lists them.
    pub(super) const fn allow(self) -> &'static str {
        match self {
            Self::Token | Self::NamedToken => "GET,HEAD,POST",
            Self::OauthToken | Self::NamedOauthToken | Self::Revoke | Self::Introspect => "POST",
            _ => "GET,HEAD",
        }
    }

    /// The route of a path of the ops door.
    pub(super) fn of_ops(path: &str) -> Self {
        let routes = [Self::Metrics, Self::Livez, Self::Readyz, Self::Healthz, Self::Status, Self::StatusJson];
        routes.into_iter().find(|route| route.pattern() == path).unwrap_or(Self::Unmatched)
    }

    /// Whether tokens are handed out here.
    pub(super) fn issues(self) -> bool {
        matches!(self, Self::Token | Self::NamedToken | Self::OauthToken | Self::NamedOauthToken)
    }

    /// Whether a request here is a decision about a token, which leaves an audit record.
    pub(super) fn decides(self) -> bool {
        self.issues() || matches!(self, Self::Revoke | Self::Introspect)
    }
}

fn is_segment(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

/// The method as a label: those of RFC 9110, and `other` for whatever else somebody may send.
pub(super) fn method_label(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        "TRACE" => "TRACE",
        "CONNECT" => "CONNECT",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_path_has_one_route() {
        let cases = [
            ("/token", Route::Token),
            ("/token/", Route::Unmatched),
            ("/token/elf-prod", Route::NamedToken),
            ("/token/elf/prod", Route::Unmatched),
            ("/services/oauth2/token", Route::OauthToken),
            ("/integrations/elf/services/oauth2/token", Route::NamedOauthToken),
            ("/integrations//services/oauth2/token", Route::Unmatched),
            ("/.well-known/oauth-authorization-server", Route::Metadata),
            ("/.well-known/oauth-authorization-server/a/b", Route::IssuerMetadata),
            ("/.well-known/oauth-authorization-server/", Route::Unmatched),
            ("/.well-known/oauth-authorization-servers", Route::Unmatched),
            ("/openapi.json", Route::OpenApi),
            ("/revoke", Route::Revoke),
            ("/introspect", Route::Introspect),
            ("/revoke/", Route::Unmatched),
            ("/", Route::Unmatched),
            ("/metrics", Route::Unmatched),
        ];
        for (path, route) in cases {
            assert_eq!(Route::of_callers(path), route, "{path}");
        }
        assert_eq!(Route::of_ops("/metrics"), Route::Metrics);
        assert_eq!(Route::of_ops("/token"), Route::Unmatched);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn whatever_the_path_its_route_is_of_the_closed_set_and_a_name_in_it_is_one_segment(
            path in prop_oneof![
                any::<String>(),
                "(/(token|integrations|services|oauth2|revoke|introspect|[a-z%.]{0,4})){0,6}/?",
            ],
        ) {
            let route = Route::of_callers(&path);
            let name = route.integration_in(&path);
            prop_assert_eq!(name.is_some(), matches!(route, Route::NamedToken | Route::NamedOauthToken));
            if let Some(name) = name {
                prop_assert!(!name.is_empty() && !name.contains('/'));
                prop_assert_eq!(route.pattern().replace("{integration}", name), path);
            } else if route.decides() {
                prop_assert_eq!(route.pattern(), path);
            }
        }
    }
}
