//! `aquila healthcheck`: one request to the ops door of a running service; the exit status is the answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use rustls::pki_types::CertificateDer;
use url::Url;

use super::{complain, runtime};
use crate::{config, tls};

/// Asks a running service whether it is ready.
#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    /// What to ask.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090/readyz", conflicts_with = "config")]
    url: Url,
    /// Take the ops door's address from this configuration instead, and trust the certificate that it has there alone.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// PEM file with the CA certificates to trust, when the ops door speaks TLS. Its certificate must name the host then.
    #[arg(long, value_name = "PATH")]
    ca_path: Option<PathBuf>,
}

pub(super) fn run(args: &HealthcheckArgs) -> anyhow::Result<ExitCode> {
    let (url, certificate) = match &args.config {
        Some(path) => door_of(path)?,
        None => (args.url.clone(), None),
    };
    let trust = match (&args.ca_path, certificate) {
        (None, Some(certificate)) => Trust::Certificate(certificate),
        (path, _) => Trust::Authorities(path.as_deref().map(authorities).transpose()?.unwrap_or_default()),
    };
    let status = runtime()?.block_on(ask(url.clone(), trust))?;
    if status == 200 {
        return Ok(ExitCode::SUCCESS);
    }
    complain(&format!("{url} answers {status}"));
    Ok(ExitCode::FAILURE)
}

/// Whose word counts for a door with TLS.
enum Trust {
    Authorities(Vec<reqwest::Certificate>),
    /// The door's own certificate: it names the host under which others reach the door, and is asked here by its address.
    Certificate(CertificateDer<'static>),
}

fn authorities(path: &Path) -> anyhow::Result<Vec<reqwest::Certificate>> {
    let pem = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(reqwest::Certificate::from_pem_bundle(&pem)?)
}

/// What to ask, and the certificate that the door has to show.
fn door_of(path: &Path) -> anyhow::Result<(Url, Option<CertificateDer<'static>>)> {
    let Ok(loaded) = config::load(path) else { bail!("the configuration is bad: see `aquila check`") };
    let ops = loaded.config.ops;
    let scheme = if ops.tls.is_some() { "https" } else { "http" };
    let address = SocketAddr::new(reachable(ops.listen.ip()), ops.listen.port());
    let url = Url::parse(&format!("{scheme}://{address}/readyz")).context("the address makes no URL")?;
    let certificate = ops.tls.map(|tls| tls::leaf(&tls)).transpose()?;
    Ok((url, certificate))
}

/// An unspecified address is for listening; from here it is loopback.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    }
}

async fn ask(url: Url, trust: Trust) -> anyhow::Result<u16> {
    #[expect(clippy::disallowed_methods, reason = "this client carries no assertion; it asks our own ops door")]
    let builder = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(3))
        .redirect(reqwest::redirect::Policy::none());
    let builder = match trust {
        // Only what was named, so that it also runs where no certificate authorities are installed.
        Trust::Authorities(trusted) => builder.tls_certs_only(trusted),
        Trust::Certificate(certificate) => builder.tls_backend_preconfigured(tls::client_of(certificate)?),
    };
    let client = builder.build()?;
    Ok(client.get(url).send().await?.status().as_u16())
}
