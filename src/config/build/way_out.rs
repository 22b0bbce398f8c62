//! `[salesforce]`: the way out, with the egress proxy that the environment names when the file names none.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use zeroize::Zeroizing;

use super::Workshop;
use crate::config::report::Located;
use crate::config::setting::Field;
use crate::config::urls::{self, ProxyUrl};
use crate::config::values::{EnvironmentName, FilePath};
use crate::config::{Proxy, Salesforce, file, secret};

/// The variables that other programs read as well, in this order; an empty one is none.
const PROXY_VARIABLES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const EXCEPTION_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];

pub(super) fn way_out(file: file::Salesforce, shop: &mut Workshop<'_>) -> Option<Salesforce> {
    let proxy = match file.proxy_url.written {
        true => configured(file.proxy_url, (file.proxy_credentials_path, file.proxy_credentials_env), shop),
        false => {
            without_url(&file.proxy_credentials_path, &file.proxy_credentials_env, shop);
            from_environment(&file.proxy_url.at, shop)
        }
    };
    let ca_path: Option<Located<PathBuf>> = shop.path(file.ca_path);
    Some(Salesforce {
        allowed_hosts: file.allowed_hosts.value?.into_iter().map(|pattern| pattern.0).collect(),
        request_timeout: file.request_timeout.value?.0,
        proxy,
        roots: file.roots.value?.0,
        ca_path,
    })
}

/// What the file says counts alone: the variables are not looked at.
fn configured(
    url: Field<ProxyUrl>,
    (path, variable): (Field<FilePath>, Field<EnvironmentName>),
    shop: &mut Workshop<'_>,
) -> Option<Proxy> {
    let credentials = secret::read(path, variable, shop);
    if let Some(credentials) = credentials.as_ref().filter(|credentials| !are_credentials(&credentials.value)) {
        let remedy = "write user, colon and password on one line";
        shop.report.error(credentials, "these are no credentials of a proxy", remedy);
    }
    let credentials = credentials.map(|credentials| credentials.value);
    Some(Proxy { url: url.value?.0, credentials, exceptions: String::new(), variable: None })
}

fn are_credentials(text: &SecretString) -> bool {
    let text = text.expose_secret();
    text.contains(':') && !text.chars().any(char::is_control)
}

fn without_url(path: &Field<FilePath>, variable: &Field<EnvironmentName>, shop: &mut Workshop<'_>) {
    for at in
        [(path.written, &path.at), (variable.written, &variable.at)].into_iter().filter_map(|(is, at)| is.then_some(at))
    {
        let remedy = "add `proxy_url`; credentials of a proxy that HTTPS_PROXY names stand in that variable";
        shop.report.error(at, "there is no `proxy_url` that these credentials are for", remedy);
    }
}

fn from_environment(at: &Located<()>, shop: &mut Workshop<'_>) -> Option<Proxy> {
    let environment = shop.environment;
    let set = |names: [&'static str; 2]| {
        names.into_iter().find_map(|name| {
            Some((name, Zeroizing::new(environment(name)?))).filter(|(_, text)| !text.trim().is_empty())
        })
    };
    let (name, text) = set(PROXY_VARIABLES)?;
    let exceptions = set(EXCEPTION_VARIABLES).map_or_else(String::new, |(_, text)| text.trim().to_owned());
    let Some((url, credentials)) = taken_apart(text.trim()) else {
        let message = format!("{name} in the environment is no proxy that can be used");
        let remedy = format!("write it like {name}=http://proxy.example:3128, unset it, or set `proxy_url`");
        shop.report.error(at, message, remedy);
        return None;
    };
    Some(Proxy { url, credentials, exceptions, variable: Some(name) })
}

/// The URL without its credentials, and these as `user:password`. Other programs take a proxy without a scheme as http.
fn taken_apart(text: &str) -> Option<(Url, Option<SecretString>)> {
    let text = Zeroizing::new(if text.contains("://") { text.to_owned() } else { format!("http://{text}") });
    let mut url = Url::parse(&text).ok()?;
    let mut credentials = None;
    if !url.username().is_empty() || url.password().is_some() {
        let decoded = |part: &str| Some(Zeroizing::new(percent_decode_str(part).decode_utf8().ok()?.into_owned()));
        let (user, password) = (decoded(url.username())?, decoded(url.password().unwrap_or_default())?);
        let both = SecretString::from(format!("{}:{}", user.as_str(), password.as_str()));
        credentials = Some(both).filter(are_credentials);
        credentials.as_ref()?;
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
    }
    urls::proxy(url.as_str()).map(|url| (url, credentials))
}
