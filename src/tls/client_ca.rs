//! Whose client certificates a door takes.
//!
//! Revocation lists are not read: whoever is no longer to come in is taken out of the configuration, which counts for
//! the next request.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::config::ClientCa;
use crate::config::report::Report;
use crate::config::show;
use crate::hash::sha256;

/// The authorities of a door, ready to judge.
#[derive(Debug)]
pub(super) struct Authorities {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// What makes another judge of them: the certificates, and whether one is required.
    pub(super) digest: [u8; 32],
}

/// Opens the bundle; what is wrong with it goes into the report.
pub(super) fn open(settings: &ClientCa, report: &mut Report) -> Option<Authorities> {
    let located = &settings.path;
    let remedy = "name a PEM file with the certificates of the authorities that sign those of clients";
    let bundle = super::certificates(located, remedy, report)?;
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(&bundle) {
        let added = is_authority(certificate) && roots.add(certificate.clone()).is_ok();
        if !added {
            let told = format!("certificate {number} in {} is not one of an authority", show::path(&located.value));
            let remedy = "name the authority that signs client certificates; its holder could sign certificates too";
            report.error(located, told, remedy);
            return None;
        }
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), super::provider());
    let builder = if settings.required { builder } else { builder.allow_unauthenticated() };
    match builder.build() {
        Ok(verifier) => Some(Authorities { verifier, digest: digest(&bundle, settings.required) }),
        Err(error) => {
            let told = format!("{} cannot be used: {error}", show::path(&located.value));
            report.error(located, told, "name a PEM file with the certificates of authorities");
            None
        }
    }
}

/// rustls takes any certificate as a root, one of a client too, which would make that client an authority.
fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let constraints = certificate.basic_constraints();
    constraints.is_ok_and(|constraints| constraints.is_some_and(|constraints| constraints.value.ca))
}

fn digest(bundle: &[CertificateDer<'static>], required: bool) -> [u8; 32] {
    let mut each: Vec<_> = bundle.iter().map(|certificate| sha256([certificate.as_ref()])).collect();
    each.sort_unstable();
    each.dedup();
    let all = each.iter().map(<[u8; 32]>::as_slice);
    sha256(all.chain([[u8::from(required)].as_slice()]))
}
