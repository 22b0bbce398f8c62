//! How Redis is reached: one server, by way of Sentinels, or a Cluster.

use base64::prelude::{BASE64_STANDARD, Engine};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Whether a bundle can be used.
pub(super) fn try_authorities(pem: &[u8]) -> Result<(), String> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| "this is no PEM bundle of certificates".to_owned())?;
        store.add(certificate).map_err(|error| format!("a certificate of this bundle cannot be used: {error}"))?;
    }
    if store.is_empty() { Err("there is no certificate in this file".to_owned()) } else { Ok(()) }
}

/// Mozilla's, in the form that the client takes.
pub(super) fn bundled() -> Vec<u8> {
    let pem = |der: &CertificateDer<'_>| {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64_STANDARD.encode(der))
    };
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(pem).collect::<String>().into_bytes()
}
