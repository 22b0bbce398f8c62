//! Salesforce's several front doors at one socket, told apart by the `Host` header.
//!
//! A place is a host, for a site with the first part of the path, and what holds there: which audiences are accepted
//! and who is known. A request for a host that nobody named belongs to the plain place, where everything works at the
//! base URL. Ports in `Host` do not matter: clients write them or not.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::HOST;
use axum::http::{Request, Uri};

use super::org::RegisteredApp;
use super::settings::{Host, HostKind, User};
use super::switches::Switches;

/// A front door. What it gives away of itself stands in the extensions of each request.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// With scheme, port and, for a site, its path.
    pub(super) base_url: String,
    pub(super) audiences: Vec<String>,
    /// The URLs under which it is known itself, with and without the port.
    own_urls: [String; 2],
    host: Option<Host>,
}

impl Place {
    /// Where everything works.
    pub(super) fn plain(base_url: &str, audiences: Vec<String>) -> Self {
        Self {
            base_url: base_url.to_owned(),
            audiences,
            own_urls: [base_url.to_owned(), base_url.to_owned()],
            host: None,
        }
    }

    fn named(host: Host, scheme: &str, port: u16, sandbox: bool) -> Self {
        let (name, path) = host.parts();
        let usual_port = if scheme == "https" { 443 } else { 80 };
        let authority = if port == usual_port { name.to_owned() } else { format!("{name}:{port}") };
        let base_url = format!("{scheme}://{authority}{path}");
        let login = if sandbox { "https://test.salesforce.com" } else { "https://login.salesforce.com" };
        let audiences = match host.kind {
            HostKind::Production => vec!["https://login.salesforce.com".to_owned()],
            HostKind::Sandbox => vec!["https://test.salesforce.com".to_owned()],
            HostKind::MyDomain => vec![login.to_owned()],
            HostKind::Site => Vec::new(),
        };
        let own_urls = [base_url.clone(), format!("https://{name}{path}")];
        Self { base_url, audiences, own_urls, host: Some(host) }
    }

    fn kind(&self) -> Option<HostKind> {
        self.host.as_ref().map(|host| host.kind)
    }

    /// Whether the URL names this place, and may do so in an assertion.
    pub(super) fn is_own_audience(&self, url: &str, switches: &Switches) -> bool {
        let allowed = match self.kind() {
            // Whether a My Domain host may be the audience is the open question.
            None | Some(HostKind::MyDomain) => switches.aud_own_url_accepted,
            Some(HostKind::Production | HostKind::Sandbox | HostKind::Site) => true,
        };
        allowed && self.own_urls.iter().any(|own| own == url)
    }

    /// An External Client App is only found where its org is.
    pub(super) fn finds(&self, app: &RegisteredApp) -> bool {
        app.is.installed && (!app.is.external || matches!(self.kind(), None | Some(HostKind::MyDomain)))
    }

    /// A login host knows the users of its kind of org, a site its members as well, and nobody else knows those.
    pub(super) fn knows(&self, user: &User, sandbox: bool) -> bool {
        let of_the_org = user.site.is_none();
        match &self.host {
            None => true,
            Some(Host { kind: HostKind::Production, .. }) => of_the_org && !sandbox,
            Some(Host { kind: HostKind::Sandbox, .. }) => of_the_org && sandbox,
            Some(Host { kind: HostKind::MyDomain, .. }) => of_the_org,
            Some(Host { kind: HostKind::Site, name }) => user.site.as_ref().is_none_or(|site| site == name),
        }
    }

    /// Whether the org's data can be asked for here.
    pub(super) fn serves_data(&self) -> bool {
        !matches!(self.kind(), Some(HostKind::Production | HostKind::Sandbox))
    }

    pub(super) fn is_site(&self) -> bool {
        self.kind() == Some(HostKind::Site)
    }
}

/// All places of a simulator.
pub(super) struct Places {
    plain: Arc<Place>,
    /// Longest name first, so that a site goes before the host that it is on.
    named: Vec<Arc<Place>>,
}

impl Places {
    pub(super) fn new(plain: Place, hosts: Vec<Host>, scheme: &str, port: u16, sandbox: bool) -> Self {
        let mut named: Vec<_> =
            hosts.into_iter().map(|host| Arc::new(Place::named(host, scheme, port, sandbox))).collect();
        named.sort_by_key(|place| Reverse(place.base_url.len()));
        Self { plain: Arc::new(plain), named }
    }

    pub(super) fn plain(&self) -> &Arc<Place> {
        &self.plain
    }

    /// Where the org's data is: its My Domain, if it has a named one.
    pub(super) fn instance_url(&self) -> &str {
        let my_domain = self.named.iter().find(|place| place.kind() == Some(HostKind::MyDomain));
        &my_domain.unwrap_or(&self.plain).base_url
    }

    /// Notes in the request where it arrived, and takes a site's part and doubled slashes off the path's begin.
    pub(super) fn arrive(&self, mut request: Request<Body>) -> Request<Body> {
        let header = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let asked = request.uri().host().or(header).unwrap_or_default();
        let name = asked.rsplit_once(':').map_or(asked, |(name, _)| name).to_lowercase();
        let found = self.named.iter().find_map(|place| {
            let (host, path) = place.host.as_ref()?.parts();
            let rest = request.uri().path().strip_prefix(path)?;
            (host == name && (rest.is_empty() || rest.starts_with('/'))).then_some((place, path.len()))
        });
        let (place, taken) = found.unwrap_or((&self.plain, 0));
        let place = Arc::clone(place);
        let whole = request.uri().path_and_query().map_or("/", |whole| whole.as_str());
        let left = whole.get(taken..).unwrap_or_default();
        // Salesforce's own command line client keeps an instance URL with a slash at its end, and adds paths to it.
        let doubled = left.bytes().take_while(|byte| *byte == b'/').count().saturating_sub(1);
        if taken + doubled > 0 {
            let text = left.get(doubled..).unwrap_or_default();
            if let Ok(uri) = text.parse::<Uri>() {
                *request.uri_mut() = uri;
            }
        }
        request.extensions_mut().insert(place);
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        let hosts = ["production=login.salesforce.com", "my-domain=acme.example", "site=Acme.example/customers/"];
        let hosts = hosts.map(|text| text.parse().unwrap()).to_vec();
        Places::new(Place::plain("https://127.0.0.1:8443", Vec::new()), hosts, "https", 8443, false)
    }

    #[test]
    fn a_request_is_placed_by_host_and_what_is_no_path_of_ours_is_taken_off() {
        for (host, path, base_url, left) in [
            ("127.0.0.1:8443", "/services/data", "https://127.0.0.1:8443", "/services/data"),
            ("unknown.example", "/", "https://127.0.0.1:8443", "/"),
            ("LOGIN.salesforce.com", "/a?b=c", "https://login.salesforce.com:8443", "/a?b=c"),
            ("acme.example:443", "/customersabc", "https://acme.example:8443", "/customersabc"),
            ("acme.example", "/customers/a?b", "https://acme.example:8443/customers", "/a?b"),
            ("unknown.example", "//a//b?c=//d", "https://127.0.0.1:8443", "/a//b?c=//d"),
        ] {
            let request = Request::builder().uri(path).header(HOST, host).body(Body::empty()).unwrap();
            let request = places().arrive(request);
            let place = request.extensions().get::<Arc<Place>>().unwrap();
            assert_eq!((place.base_url.as_str(), request.uri().to_string().as_str()), (base_url, left), "{host}{path}");
        }
        // As HTTP/2 says it.
        let request = Request::builder().uri("https://acme.example:1/customers/x").body(Body::empty()).unwrap();
        assert_eq!(places().arrive(request).uri().path(), "/x");
        assert_eq!(places().instance_url(), "https://acme.example:8443");
    }

    #[test]
    fn each_kind_knows_its_own_users() {
        let (member, guest) = (User::new("a"), User { site: Some("acme.example/customers".into()), ..User::new("b") });
        let known = |place: &Place, sandbox| [place.knows(&member, sandbox), place.knows(&guest, sandbox)];
        let places = places();
        let [site, login, my_domain] = &places.named[..] else { panic!("three places") };
        assert!(site.is_site() && !login.serves_data() && my_domain.serves_data());
        assert_eq!((known(login, false), known(login, true)), ([true, false], [false, false]));
        assert_eq!((known(my_domain, true), known(site, true)), ([true, false], [true, true]));
        assert_eq!(known(&places.plain, true), [true, true]);
    }

    #[test]
    fn a_host_is_written_as_kind_and_name() {
        for wrong in
            ["acme.example", "my_domain=acme.example", "site=acme.example", "sandbox=", "sandbox=a/b", "site=/x"]
        {
            assert!(wrong.parse::<Host>().is_err(), "{wrong}");
        }
    }
}
