//! Asks for a key set over the network: https, perhaps through a proxy, or plain to this machine; no redirects; bounded
//! in size.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Certificate, Client, NoProxy, Proxy};
use serde_json::Value;
use url::Url;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;
use zeroize::Zeroizing;

use super::jwks::KeySetError;
use super::jwt::strict_object;
use crate::config::{self, Issuer, KeyServer, Roots, hosts, source};

/// Fetches one issuer's keys.
pub(super) struct Fetcher {
    client: Client,
    issuer: String,
    url: Url,
    discovery: bool,
    bearer_token_path: Option<PathBuf>,
}

/// Why there is no key set. Nothing of the answer is repeated.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no whole answer in time")]
    Slow,
    #[error("the host cannot be asked: {0}")]
    Network(String),
    #[error("the answer has status {0}")]
    Status(u16),
    #[error("the answer is larger than {LARGEST} bytes")]
    TooLarge,
    #[error("the discovery document is not one, is another issuer's, or names no https URL for the keys")]
    Discovery,
    #[error("the token for the host of the keys cannot be read")]
    Token,
    #[error("{0}")]
    KeySet(KeySetError),
}

/// A hundred keys with their certificates.
const LARGEST: usize = 256 * 1024;
const LARGEST_TOKEN: u64 = 64 * 1024;

impl Fetcher {
    /// Builds the client; the error says what is wrong with the authorities or the proxy.
    pub(super) fn new(issuer: &Issuer, server: &KeyServer, roots: Roots) -> Result<Self, String> {
        let proxy = server.proxy.as_ref();
        if let Some(proxy) = proxy {
            tracing::info!(
                issuer.name = issuer.name.as_str(),
                proxy.host = proxy.url.host_str(),
                proxy.port = proxy.url.port(),
                from = proxy.variable.unwrap_or("proxy_url"),
                "the keys of an issuer are asked for through a proxy"
            );
        }
        let client = match (&server.ca, roots) {
            (Some((_, pem)), _) => {
                let authorities = Certificate::from_pem_bundle(pem).map_err(|_| NO_BUNDLE.to_owned())?;
                if authorities.is_empty() {
                    return Err(NO_BUNDLE.to_owned());
                }
                client(Some(authorities), proxy)?
            }
            (None, Roots::Bundled) => client(Some(bundled()), proxy)?,
            // A machine without authorities of its own is no reason not to start.
            (None, Roots::System) => client(None, proxy).or_else(|_| client(Some(bundled()), proxy))?,
        };
        Ok(Self {
            client,
            issuer: issuer.issuer.clone(),
            url: server.url.clone(),
            discovery: server.discovery,
            bearer_token_path: server.bearer_token_path.clone(),
        })
    }

    /// The text of the key set.
    pub(super) async fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        if !self.discovery {
            return self.get(&self.url).await;
        }
        let document = strict_object(&self.get(&self.url).await?).ok_or(FetchError::Discovery)?;
        // Section 4.3: who answers for another one's keys is not to be believed.
        if document.get("issuer").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(FetchError::Discovery);
        }
        let keys = document.get("jwks_uri").and_then(Value::as_str).and_then(|text| Url::parse(text).ok());
        let keys = keys.filter(|keys| may_lead_to(&self.url, keys));
        self.get(&keys.ok_or(FetchError::Discovery)?).await
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let mut request = self.client.get(url.clone()).header(ACCEPT, HeaderValue::from_static("application/json"));
        // The token is for the host that was configured, not for whatever a document names.
        if let Some(path) = self.bearer_token_path.as_ref().filter(|_| url.origin() == self.url.origin()) {
            request = request.header(AUTHORIZATION, bearer(path.clone()).await.ok_or(FetchError::Token)?);
        }
        let mut response = request.send().await.map_err(|error| FetchError::Network(innermost(&error)))?;
        if response.status() != 200 {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| FetchError::Network(innermost(&error)))? {
            if body.len() + chunk.len() > LARGEST {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Whether a document from there may name this place: plain http only on this machine, and only when the document
/// itself is from here. Others are not to have us ask what listens on this machine.
fn may_lead_to(document: &Url, keys: &Url) -> bool {
    let local = |url: &Url| url.scheme() == "http" && hosts::is_loopback(url);
    keys.scheme() == "https" || (local(document) && local(keys))
}

const NO_BUNDLE: &str = "this is no PEM bundle of certificates";

/// With these authorities, or those of this machine.
fn client(authorities: Option<Vec<Certificate>>, proxy: Option<&config::Proxy>) -> Result<Client, String> {
    #[expect(clippy::disallowed_methods, reason = "this one carries no assertion, and asks nobody at Salesforce")]
    let builder = Client::builder()
        .user_agent(concat!("aquila/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // The environment counts as the configuration read it, and no further.
        .no_proxy()
        .connect_timeout(Duration::from_secs(3))
        .pool_idle_timeout(Duration::from_secs(1));
    let builder = match proxy {
        Some(proxy) => builder.proxy(egress(proxy)?),
        None => builder,
    };
    let builder = match authorities {
        Some(authorities) => builder.tls_certs_only(authorities),
        None => builder,
    };
    builder.build().map_err(|error| innermost(&error))
}

/// For https alone: plain http goes to loopback only.
fn egress(proxy: &config::Proxy) -> Result<Proxy, String> {
    let mut built = Proxy::https(proxy.url.as_str()).map_err(|_| NO_PROXY.to_owned())?;
    if let Some(basic) = proxy.authorization() {
        let mut basic = HeaderValue::from_str(&basic).map_err(|_| NO_PROXY.to_owned())?;
        basic.set_sensitive(true);
        built = built.custom_http_auth(basic);
    }
    Ok(built.no_proxy(NoProxy::from_string(&proxy.without())))
}

const NO_PROXY: &str = "the proxy to the keys cannot be used";

fn bundled() -> Vec<Certificate> {
    TLS_SERVER_ROOT_CERTS.iter().filter_map(|certificate| Certificate::from_der(certificate).ok()).collect()
}

async fn bearer(path: PathBuf) -> Option<HeaderValue> {
    let read = tokio::task::spawn_blocking(move || source::read(&path, LARGEST_TOKEN)).await;
    let content = read.ok()?.ok()?.bytes;
    let text = std::str::from_utf8(&content).ok()?.trim();
    let mut value = HeaderValue::from_str(&Zeroizing::new(format!("Bearer {text}"))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The cause at the bottom, which says more than "error sending request" and repeats no URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    if std::ptr::addr_eq(cause, error) { "it does not answer as a server does".to_owned() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_document_of_this_machine_leads_to_plain_http_on_this_machine() {
        let leads = |document: &str, keys: &str| may_lead_to(&document.parse().unwrap(), &keys.parse().unwrap());
        assert!(leads("https://issuer.example/", "https://keys.example/"));
        assert!(leads("http://127.0.0.1:1/", "http://127.0.0.1:2/keys"));
        assert!(!leads("https://issuer.example/", "http://127.0.0.1:9090/keys"));
        assert!(!leads("https://issuer.example/", "http://issuer.example/keys"));
        assert!(!leads("http://127.0.0.1:1/", "http://issuer.example/keys"));
    }
}
