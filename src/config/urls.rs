//! URLs of the configuration: absolute, without a password in them, each with the parts that its setting can have.
//! Messages name the part that is wrong and never repeat the URL.

use serde_json::{Value, json};
use url::{Host, Url};

use super::document::Node;
use super::hosts;
use super::report::{Located, Report};
use super::setting::Setting;
use super::values::text;

const TOKEN_PATH: &str = "/services/oauth2/token";

/// What callers call us, without a trailing slash in its path.
#[derive(Debug)]
pub(super) struct PublicUrl(pub(super) Url);

impl Setting for PublicUrl {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let example = "https://aquila.example";
        let mut url = bare(at, text(at, example, report)?, example, report)?;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Some(Self(url))
    }

    fn schema() -> Value {
        schema("An absolute http or https URL without user, query and fragment.")
    }
}

/// The token endpoint; https, or plain to this machine.
#[derive(Debug)]
pub(super) struct TokenUrl(pub(super) Url);

impl Setting for TokenUrl {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let example = "https://acme.my.salesforce.com/services/oauth2/token";
        let mut url = protected(at, text(at, example, report)?, example, report)?;
        if url.path() == "/" {
            url.set_path(TOKEN_PATH);
        } else if !url.path().ends_with(TOKEN_PATH) {
            let message = "this path is not the one of Salesforce's token endpoint";
            report.warning(at, message, format!("end it in {TOKEN_PATH}, or write the origin alone"));
        }
        Some(Self(url))
    }

    fn schema() -> Value {
        schema("An https URL (plain http to loopback only) without user, query and fragment.")
    }
}

/// Scheme, host and port of an org, without a trailing slash.
#[derive(Debug)]
pub(super) struct InstanceUrl(pub(super) Url);

impl Setting for InstanceUrl {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let example = "https://acme.my.salesforce.com";
        let url = protected(at, text(at, example, report)?, example, report)?;
        pathless(at, &url, example, report).then_some(Self(url))
    }

    fn schema() -> Value {
        schema("An https origin (plain http to loopback only).")
    }
}

/// An audience, byte for byte. Nothing is sent to it, so its host is free.
#[derive(Debug)]
pub(super) struct AudienceUrl(pub(super) String);

impl Setting for AudienceUrl {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let example = "https://login.salesforce.com";
        let text = text(at, example, report)?;
        bare(at, text, example, report).map(|_| Self(text.to_owned()))
    }

    fn schema() -> Value {
        schema("An absolute http or https URL.")
    }
}

/// An egress proxy.
#[derive(Debug)]
pub(super) struct ProxyUrl(pub(super) Url);

impl Setting for ProxyUrl {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let example = "http://proxy.example:3128";
        let url = bare(at, text(at, example, report)?, example, report)?;
        pathless(at, &url, example, report).then_some(Self(url))
    }

    fn schema() -> Value {
        schema("An http or https URL without user and password.")
    }
}

/// A proxy out of a text that is no setting of the file.
pub(super) fn proxy(text: &str) -> Option<Url> {
    parts(text).ok().filter(|url| url.path() == "/")
}

/// An absolute http(s) URL of scheme, host, port and path.
fn bare(at: &Located<&Node>, text: &str, example: &str, report: &mut Report) -> Option<Url> {
    let wrong = match parts(text) {
        Ok(url) => return Some(url),
        Err(wrong) => wrong,
    };
    report.error(
        at,
        format!("expected an absolute http or https URL: {wrong}"),
        format!("write it like \"{example}\""),
    );
    None
}

fn parts(text: &str) -> Result<Url, &'static str> {
    // The parser would drop tabs and line ends and turn backslashes round: what a person reads here and what is called
    // must be the same host.
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Err("this one has characters that a URL cannot have");
    }
    let url = Url::parse(text).map_err(|_| "this is not one")?;
    if !matches!(url.scheme(), "http" | "https") || !text.contains("://") {
        return Err("this one has another scheme");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("this one has a user or a password in it");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("this one has a query or a fragment");
    }
    match url.host() {
        Some(Host::Domain(name)) if name.ends_with('.') => Err("this one has a host that ends in a dot"),
        Some(Host::Domain(name)) if !name.split('.').all(is_label) => {
            Err("this one has a host of more than letters, digits, hyphens and single dots")
        }
        Some(_) => Ok(url),
        None => Err("this one has no host"),
    }
}

/// The parser lets much into a host that no host's name has and that means something to a shell. An underscore is in names
/// of containers.
fn is_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// [`bare`], and https unless it stays on this machine.
pub(super) fn protected(at: &Located<&Node>, text: &str, example: &str, report: &mut Report) -> Option<Url> {
    let url = bare(at, text, example, report)?;
    if url.scheme() != "https" && !hosts::is_loopback(&url) {
        report.error(at, "plain http is for loopback only", "write https://");
        return None;
    }
    Some(url)
}

fn pathless(at: &Located<&Node>, url: &Url, example: &str, report: &mut Report) -> bool {
    let pathless = url.path() == "/";
    if !pathless {
        report.error(
            at,
            "expected scheme, host and port only; this one has a path",
            format!("write it like \"{example}\""),
        );
    }
    pathless
}

pub(super) fn schema(description: &str) -> Value {
    json!({"type": "string", "format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://", "description": description})
}
