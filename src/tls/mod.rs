//! TLS of a door, built whole or refused with the file at fault.

mod client_ca;
mod door;
mod pinned;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

pub use self::door::{DoorTls, SwappableTls, replace};
pub use self::pinned::{client_of, leaf};

use crate::config;
use crate::config::report::{Located, Report};
use crate::config::{show, source};

/// Builds the TLS of a door: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, one crypto provider.
///
/// # Errors
/// Everything in its files that keeps the door from opening.
pub fn door(settings: &config::Tls) -> Result<DoorTls, Report> {
    let mut report = Report::default();
    let remedy = "name a PEM file with the certificate first and its chain after it";
    let chain = certificates(&settings.certificate_path, remedy, &mut report);
    let key = private_key(&settings.private_key_path, &mut report);
    let authorities = settings.client_ca.as_ref().map(|settings| client_ca::open(settings, &mut report));
    let (Some(chain), Some(key)) = (chain, key) else { return Err(report) };
    let authorities = match authorities {
        Some(None) => return Err(report),
        Some(opened) => opened,
        None => None,
    };
    let verifier = match &authorities {
        Some(authorities) => Arc::clone(&authorities.verifier),
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let built = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(chain, key));
    match built {
        Ok(mut config) => {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            if authorities.is_some() {
                // A resumed session would carry a certificate on, past its end: nothing looks at it again.
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
            let config = Some(Arc::new(config));
            let (verifier, authorities) = authorities.map(|it| (it.verifier, it.digest)).unzip();
            Ok(DoorTls { config, verifier, authorities, ..DoorTls::default() })
        }
        Err(error) => {
            let remedy = "check that private_key_path belongs to the first certificate of this file";
            report.error(&settings.certificate_path, format!("the certificate cannot be used: {error}"), remedy);
            Err(report)
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certificates(located: &Located<PathBuf>, remedy: &str, report: &mut Report) -> Option<Vec<CertificateDer<'static>>> {
    let parsed = read(&located.value).and_then(|pem| {
        CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())
    });
    match parsed {
        Ok(chain) if !chain.is_empty() => Some(chain),
        Ok(_) => {
            report.error(located, format!("{} holds no certificate", show::path(&located.value)), remedy);
            None
        }
        Err(error) => {
            let remedy = "check the path, and that the user who runs the service may read the file";
            report.error(located, format!("{} cannot be read: {error}", show::path(&located.value)), remedy);
            None
        }
    }
}

fn private_key(located: &Located<PathBuf>, report: &mut Report) -> Option<PrivateKeyDer<'static>> {
    let parsed =
        read(&located.value).and_then(|pem| PrivateKeyDer::from_pem_slice(&pem).map_err(|error| error.to_string()));
    parsed
        .map_err(|error| {
            let remedy = "name a PEM file with the private key of the certificate, without a password";
            report.error(located, format!("{} cannot be read: {error}", show::path(&located.value)), remedy);
        })
        .ok()
}

fn read(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    source::read(path, source::LARGEST_PEM).map(|content| content.bytes).map_err(|error| error.to_string())
}
