//! HTTP to Salesforce: bounded in time and size, to known hosts only, never along a redirect.
//!
//! The only place that builds the client that carries assertions and tokens outwards.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Certificate, Client, NoProxy, Proxy, RequestBuilder};
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

use super::cause::{Cause, MintError};
use crate::config::{self, source};
use crate::token::AccessToken;

/// The client and its bounds.
#[derive(Debug, Clone)]
pub struct WayOut {
    client: Client,
    request_timeout: Duration,
}

/// An answer, whole and in memory. The body may hold a token, hence the wrapping.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// More than any token response or version list; less than what could hurt.
const MAX_BODY: usize = 1024 * 1024;

impl WayOut {
    /// Builds the client.
    ///
    /// Errors name the setting at fault: `proxy_url` or `ca_path`. A machine without certificate authorities of its own
    /// (an image without ca-certificates) can still reach what `ca_path` vouches for, and plain loopback; that is told
    /// in the log.
    pub fn new(settings: &config::Salesforce) -> Result<Self, WayOutError> {
        let extra = match &settings.ca_path {
            Some(located) => read_bundle(&located.value)?,
            None => Vec::new(),
        };
        let client = match client(settings, extra.clone(), Roots::Machine) {
            Err(WayOutError::Client(reason)) => {
                let remedy = "install ca-certificates, or set salesforce.ca_path";
                tracing::warn!(
                    reason,
                    remedy,
                    "this machine has no certificate authorities: no https host can be reached"
                );
                client(settings, extra, Roots::Configured)?
            }
            built => built?,
        };
        Ok(Self { client, request_timeout: settings.request_timeout })
    }

    /// Posts an assertion to the token endpoint, as the customer's guide shows it.
    pub(super) async fn post_assertion(
        &self,
        token_url: &Url,
        assertion: &str,
        deadline: Instant,
    ) -> Result<Reply, MintError> {
        // Both values are URL-safe as they stand but for the colons of the grant type.
        let form = Zeroizing::new(format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}"
        ));
        let request = self
            .client
            .post(token_url.clone())
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
            .body(form.as_bytes().to_vec());
        self.send(request, deadline).await
    }

    /// One GET with a token.
    pub(super) async fn get(&self, url: Url, token: &AccessToken, deadline: Instant) -> Result<Reply, MintError> {
        let mut bearer = HeaderValue::from_str(&Zeroizing::new(format!("Bearer {}", token.expose())))
            .map_err(|_| MintError::new(Cause::Malformed, "the token does not fit into a header"))?;
        bearer.set_sensitive(true);
        let request = self
            .client
            .get(url)
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(AUTHORIZATION, bearer);
        self.send(request, deadline).await
    }

    async fn send(&self, request: RequestBuilder, deadline: Instant) -> Result<Reply, MintError> {
        let deadline = deadline.min(Instant::now() + self.request_timeout);
        match tokio::time::timeout_at(deadline, exchange(request)).await {
            Ok(reply) => reply,
            Err(_) => Err(MintError::new(Cause::Timeout, "no whole answer in time")),
        }
    }
}

#[derive(Clone, Copy)]
enum Roots {
    /// The machine's certificate authorities, and those of `ca_path`.
    Machine,
    /// Those of `ca_path` alone.
    Configured,
}

fn client(settings: &config::Salesforce, extra: Vec<Certificate>, roots: Roots) -> Result<Client, WayOutError> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let mut builder = Client::builder()
        .user_agent(concat!("aquila/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(settings.request_timeout)
        .timeout(settings.request_timeout)
        .pool_idle_timeout(Duration::from_secs(60));
    builder = match roots {
        Roots::Machine => builder.tls_certs_merge(extra),
        Roots::Configured => builder.tls_certs_only(extra),
    };
    if let Some(url) = &settings.proxy_url {
        // Plain http goes to loopback only, and what is for this machine is nobody else's business.
        let proxy = Proxy::https(url.as_str()).map_err(|error| WayOutError::Proxy(error.without_url().to_string()))?;
        builder = builder.proxy(proxy.no_proxy(NoProxy::from_string("localhost,127.0.0.0/8,::1")));
    }
    builder.build().map_err(|error| WayOutError::Client(chain(&error)))
}

async fn exchange(request: RequestBuilder) -> Result<Reply, MintError> {
    let mut response = request.send().await.map_err(|error| unreachable(&error))?;
    let status = response.status().as_u16();
    let mut body = Zeroizing::new(Vec::with_capacity(4096));
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(MintError::new(Cause::Malformed, format!("status {status}, a body of more than 1 MiB")));
        }
        grow(&mut body, chunk.len());
        body.extend_from_slice(&chunk);
    }
    Ok(Reply { status, body })
}

/// Growing in place may move the bytes and leave a copy behind; this moves them by hand and wipes the old place.
fn grow(body: &mut Zeroizing<Vec<u8>>, more: usize) {
    if body.capacity() - body.len() < more {
        let mut larger = Vec::with_capacity((body.len() + more).next_power_of_two());
        larger.extend_from_slice(body);
        *body = Zeroizing::new(larger);
    }
}

/// Tells apart why there was no answer. The texts of the network are kept, the URL is not.
fn unreachable(error: &reqwest::Error) -> MintError {
    let text = chain(error);
    let cause = match text.to_lowercase() {
        _ if error.is_timeout() => Cause::Timeout,
        text if text.contains("dns error") || text.contains("failed to lookup") => Cause::Dns,
        text if text.contains("certificate") || text.contains("tls") || text.contains("handshake") => Cause::Tls,
        _ if error.is_connect() => Cause::Connect,
        _ if error.is_body() || error.is_decode() => Cause::Malformed,
        _ => Cause::Connect,
    };
    MintError::new(cause, text)
}

/// The innermost reason says most; the outer ones repeat the URL.
fn chain(error: &reqwest::Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<reqwest::Error>() {
        Some(_) => "the connection failed".to_owned(),
        None => innermost.to_string(),
    }
}

fn read_bundle(path: &Path) -> Result<Vec<Certificate>, WayOutError> {
    let pem = source::read(path, source::LARGEST_PEM).map_err(|error| WayOutError::Bundle(error.to_string()))?;
    match Certificate::from_pem_bundle(&pem.bytes) {
        Ok(bundle) if !bundle.is_empty() => Ok(bundle),
        Ok(_) => Err(WayOutError::Bundle("it holds no PEM certificate".to_owned())),
        Err(error) => Err(WayOutError::Bundle(error.to_string())),
    }
}

/// Why there is no way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WayOutError {
    /// `salesforce.ca_path`.
    #[error("the CA bundle cannot be used: {0}")]
    Bundle(String),
    /// `salesforce.proxy_url`.
    #[error("the egress proxy cannot be used: {0}")]
    Proxy(String),
    /// The client as a whole.
    #[error("no HTTPS client can be built: {0}")]
    Client(String),
}
