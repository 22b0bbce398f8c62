//! Which hosts assertions and tokens may meet: Salesforce's own, what the configuration adds, and nothing that only
//! looks like them. Compared is the host of a parsed URL, never its text.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Hosts that need no entry in `allowed_hosts`.
///
/// All but one are in the allowlist of Salesforce's own CLI (`@salesforce/core`, `util/sfdcUrl.ts`) or in Salesforce
/// Help, "Allow the Required Domains" and "My Domain URL Formats":
pub const BUILT_IN: &[&str] = &[
    // login, test, My Domain, sandboxes, scratch orgs, Government Cloud Plus.
    "*.salesforce.com",
    // Experience Cloud sites before enhanced domains (documented as token host and audience of site users).
    "*.force.com",
    // Experience Cloud sites with enhanced domains.
    "*.my.site.com",
    // Government Cloud Plus for Defense: My Domain, and its Experience Cloud sites.
    "*.salesforce.mil",
    "*.crmforce.mil",
    // Salesforce on Alibaba Cloud: login and My Domain (`acme.my.sfcrmproducts.cn`).
    "*.sfcrmproducts.cn",
];

/// The hosts that a broker with one configuration may talk to.
#[derive(Debug, Clone)]
pub struct Allowlist {
    added: Vec<String>,
}

impl Allowlist {
    /// The built-in hosts and those of `[salesforce] allowed_hosts`.
    pub fn new(added: impl IntoIterator<Item = String>) -> Self {
        Self { added: added.into_iter().collect() }
    }

    /// Whether tokens may travel to this URL: https, a listed host, nothing in the URL that hides another one.
    pub fn permits(&self, url: &Url) -> bool {
        let bare = url.username().is_empty() && url.password().is_none();
        let Some(Host::Domain(host)) = url.host() else { return false };
        let listed = || BUILT_IN.iter().copied().chain(self.added.iter().map(String::as_str));
        url.scheme() == "https" && bare && listed().any(|pattern| fits(pattern, host))
    }

    /// [`Allowlist::permits`], or loopback, plain or not. Only for URLs that the configuration itself names, or that
    /// came from one which is itself loopback.
    pub fn permits_or_loopback(&self, url: &Url) -> bool {
        let bare = url.username().is_empty() && url.password().is_none();
        self.permits(url) || (bare && matches!(url.scheme(), "http" | "https") && is_loopback(url))
    }
}

/// Whether the URL's host is this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => Ipv4Addr::is_loopback(&address),
        Some(Host::Ipv6(address)) => Ipv6Addr::is_loopback(&address),
        None => false,
    }
}

fn fits(pattern: &str, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    match pattern.strip_prefix("*.") {
        // What `*` stands for must be there: `.salesforce.com` is no host.
        Some(parent) => {
            host.strip_suffix(parent).and_then(|rest| rest.strip_suffix('.')).is_some_and(|sub| !sub.is_empty())
        }
        None => host == pattern,
    }
}

/// Whether a text is a pattern for `allowed_hosts`.
pub(super) fn is_pattern(text: &str) -> bool {
    let (name, least) = text.strip_prefix("*.").map_or((text, 1), |parent| (parent, 2));
    // An address would compare as a name and never match: a URL's address is not a name.
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    is_name(name) && name.split('.').count() >= least && !numeric
}

/// Whether a text is the name of a host as a parsed URL has it: lower-case letters, digits and inner hyphens.
pub(crate) fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_salesforce_and_what_was_added_is_permitted() {
        let list = Allowlist::new(["login.example.com", "*.corp.example"].map(str::to_owned));
        let good = [
            "https://login.salesforce.com/services/oauth2/token",
            "https://LOGIN.Salesforce.COM/",
            "https://acme--uat.sandbox.my.salesforce.com",
            "https://acme.my.salesforce.com:8443/",
            "https://site.force.com/customers",
            "https://acme.my.site.com",
            "https://acme.my.salesforce.mil",
            "https://hub.experience.crmforce.mil",
            "https://acme.my.sfcrmproducts.cn",
            "https://login.example.com",
            "https://a.b.corp.example",
        ];
        for url in good {
            assert!(list.permits(&Url::parse(url).unwrap()), "{url}");
        }
        let bad = [
            "http://login.salesforce.com",
            "https://evilsalesforce.com",
            "https://salesforce.com",
            "https://salesforce.com.evil.example",
            "https://login.salesforce.com.",
            "https://login.salesforce.com@evil.example",
            "https://user@login.salesforce.com",
            "https://:pw@login.salesforce.com",
            "https://evil.example/login.salesforce.com",
            "https://evil.example?login.salesforce.com",
            "https://evil.example#.salesforce.com",
            "https://evil.example\\.salesforce.com",
            "https://acme.site.com",
            "https://my.site.com",
            "https://x.login.example.com",
            "https://corp.example",
            "https://evilcorp.example",
            "https://93.184.216.34",
            "https://[2606:2800::1]",
            "https://127.0.0.1",
            "https://localhost",
            "ftp://login.salesforce.com",
            "data:login.salesforce.com",
        ];
        for url in bad {
            assert!(!list.permits(&Url::parse(url).unwrap()), "{url}");
        }
    }

    #[test]
    fn loopback_is_permitted_only_where_it_was_asked_for() {
        let list = Allowlist::new([]);
        for url in
            ["http://127.0.0.1:9", "http://127.8.8.8", "https://[::1]:9", "http://localhost:9", "http://LocalHost"]
        {
            assert!(list.permits_or_loopback(&Url::parse(url).unwrap()), "{url}");
        }
        let bad = [
            "http://localhost.evil.example",
            "http://localhost.",
            "http://127.0.0.1.evil.example",
            "http://10.0.0.1",
            "http://0.0.0.0",
            "http://[::ffff:127.0.0.1]",
            "http://u@127.0.0.1",
            "ws://127.0.0.1",
            "http://login.salesforce.com",
        ];
        for url in bad {
            assert!(!list.permits_or_loopback(&Url::parse(url).unwrap()), "{url}");
        }
    }

    #[test]
    fn a_pattern_is_a_host_or_all_below_a_name_of_two_parts() {
        for good in ["login.example.com", "localhost", "*.example.com", "*.a-b.example", "x1.example"] {
            assert!(is_pattern(good), "{good}");
        }
        let bad = [
            "",
            "*",
            "*.",
            "*.com",
            "*.*.com",
            "a.*.com",
            "Example.com",
            "https://x.example",
            "x.example:443",
            "x.example/",
            ".example.com",
            "x.example.",
            "-x.example",
            "x_y.example",
            "10.0.0.1",
            "*.0.0.1",
            "é.example",
            "x example",
        ];
        for bad in bad {
            assert!(!is_pattern(bad), "{bad}");
        }
    }
}
