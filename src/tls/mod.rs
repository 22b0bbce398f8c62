//! TLS of a door, built whole or refused with the file at fault.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config;
use crate::config::report::{Located, Report};
use crate::config::{show, source};

/// Builds the TLS configuration of a door: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, one crypto provider.
pub fn server_config(settings: &config::Tls) -> Result<Arc<ServerConfig>, Report> {
    let mut report = Report::default();
    let chain = certificates(&settings.certificate_path, &mut report);
    let key = private_key(&settings.private_key_path, &mut report);
    let (Some(chain), Some(key)) = (chain, key) else { return Err(report) };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let built = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    match built {
        Ok(mut config) => {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            Ok(Arc::new(config))
        }
        Err(error) => {
            let remedy = "check that private_key_path belongs to the first certificate of this file";
            report.error(&settings.certificate_path, format!("the certificate cannot be used: {error}"), remedy);
            Err(report)
        }
    }
}

fn certificates(located: &Located<std::path::PathBuf>, report: &mut Report) -> Option<Vec<CertificateDer<'static>>> {
    let parsed = read(&located.value).and_then(|pem| {
        CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())
    });
    match parsed {
        Ok(chain) if !chain.is_empty() => Some(chain),
        Ok(_) => {
            let remedy = "name a PEM file with the certificate first and its chain after it";
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

fn private_key(located: &Located<std::path::PathBuf>, report: &mut Report) -> Option<PrivateKeyDer<'static>> {
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
