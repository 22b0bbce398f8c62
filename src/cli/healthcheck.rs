//! `aquila healthcheck`: one request to the ops door of a running service; the exit status is the answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use url::Url;

use super::{complain, runtime};
use crate::config;

/// Asks a running service whether it is ready.
#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    /// What to ask.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090/readyz", conflicts_with = "config")]
    url: Url,
    /// Take the ops door's address from this configuration instead.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// PEM file with the CA certificates to trust, when the ops door speaks TLS.
    #[arg(long, value_name = "PATH")]
    ca_path: Option<PathBuf>,
}

pub(super) fn run(args: &HealthcheckArgs) -> anyhow::Result<ExitCode> {
    let url = match &args.config {
        Some(path) => url_of(path)?,
        None => args.url.clone(),
    };
    let status = runtime()?.block_on(ask(url.clone(), args.ca_path.as_deref()))?;
    if status == 200 {
        return Ok(ExitCode::SUCCESS);
    }
    complain(&format!("{url} answers {status}"));
    Ok(ExitCode::FAILURE)
}

fn url_of(path: &Path) -> anyhow::Result<Url> {
    let Ok(loaded) = config::load(path) else { bail!("the configuration is bad: see `aquila check`") };
    let ops = loaded.config.ops;
    let scheme = if ops.tls.is_some() { "https" } else { "http" };
    let address = SocketAddr::new(reachable(ops.listen.ip()), ops.listen.port());
    Url::parse(&format!("{scheme}://{address}/readyz")).context("the address makes no URL")
}

/// An unspecified address is for listening; from here it is loopback.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    }
}

async fn ask(url: Url, ca_path: Option<&Path>) -> anyhow::Result<u16> {
    let mut trusted = Vec::new();
    if let Some(path) = ca_path {
        let pem = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        trusted = reqwest::Certificate::from_pem_bundle(&pem)?;
    }
    #[expect(clippy::disallowed_methods, reason = "this client carries no assertion; it asks our own ops door")]
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(3))
        .redirect(reqwest::redirect::Policy::none())
        // Only what was named, so that it also runs where no certificate authorities are installed.
        .tls_certs_only(trusted)
        .build()?;
    Ok(client.get(url).send().await?.status().as_u16())
}
