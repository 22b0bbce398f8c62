//! The egress proxy of `[salesforce]` and of an issuer: the one that is configured there, or the one that the environment
//! names.

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use zeroize::Zeroizing;

use super::Workshop;
use crate::config::report::Located;
use crate::config::setting::Field;
use crate::config::urls::{self, ProxyUrl};
use crate::config::values::{EnvironmentName, FilePath};
use crate::config::{Proxy, secret};

/// The variables that other programs read as well, in this order; an empty one is none.
const PROXY_VARIABLES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const EXCEPTION_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The settings of a section that are about its proxy.
pub(super) struct Settings {
    pub(super) url: Field<ProxyUrl>,
    pub(super) credentials_path: Field<FilePath>,
    pub(super) credentials_env: Field<EnvironmentName>,
}

impl Settings {
    /// What the section says counts alone: the variables are looked at when it says nothing.
    pub(super) fn proxy(self, shop: &mut Workshop<'_>) -> Option<Proxy> {
        let Self { url, credentials_path, credentials_env } = self;
        if url.written {
            return configured(url, (credentials_path, credentials_env), shop);
        }
        without_url(&credentials_path, &credentials_env, shop);
        // One who has asked before has told what is wrong with them.
        if let Some(known) = &shop.environment_proxy {
            return known.clone();
        }
        let proxy = from_environment(&url.at, shop);
        shop.environment_proxy = Some(proxy.clone());
        proxy
    }

    /// Those that are written, for a section that has no use for them.
    pub(super) fn written(&self) -> impl Iterator<Item = &Located<()>> {
        let all = [
            (self.url.written, &self.url.at),
            (self.credentials_path.written, &self.credentials_path.at),
            (self.credentials_env.written, &self.credentials_env.at),
        ];
        all.into_iter().filter_map(|(written, at)| written.then_some(at))
    }
}

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
