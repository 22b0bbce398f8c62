//! TLS of the simulator: a given certificate, or a throw-away one under a throw-away authority.
//!
//! Some clients speak to `https` and nothing else. The authority's key is dropped as soon as it has signed, so the file
//! with its certificate lets nobody but this one simulator be trusted.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate chain and its key, both PEM. Its `Debug` output leaves them out.
#[derive(Clone)]
pub struct Tls {
    /// The certificate, and after it those that lead to the authority.
    pub certificate_chain: Vec<u8>,
    /// The private key.
    pub private_key: Vec<u8>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// What is wrong with a throw-away certificate, on purpose. As text `expired`, `not-yet-valid` or `other-name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Its days are over.
    Expired,
    /// They have not come.
    NotYetValid,
    /// It is somebody else's, from the same authority.
    OtherName,
}

impl FromStr for Flaw {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "expired" => Ok(Self::Expired),
            "not-yet-valid" => Ok(Self::NotYetValid),
            "other-name" => Ok(Self::OtherName),
            _ => Err("the flaws of a certificate are expired, not-yet-valid and other-name"),
        }
    }
}

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The chain is not PEM, or there is no certificate in it.
    #[error("the certificate chain holds no certificate in PEM")]
    Chain,
    /// The key is not PEM.
    #[error("the private key is none in PEM, or has a password")]
    Key,
    /// They do not belong together, or the like.
    #[error("certificate and key are of no use: {0}")]
    Unusable(#[from] rustls::Error),
    /// No throw-away certificate could be made.
    #[error("no certificate could be made: {0}")]
    Make(#[from] rcgen::Error),
}

impl Tls {
    /// A new certificate for loopback and these names, and the PEM of the authority that a client is to trust.
    pub fn throw_away(names: &[String]) -> Result<(Self, String), TlsError> {
        Self::made(names, None)
    }

    /// The same, but clients must refuse the certificate.
    pub fn flawed(names: &[String], flaw: Flaw) -> Result<(Self, String), TlsError> {
        Self::made(names, Some(flaw))
    }

    fn made(names: &[String], flaw: Option<Flaw>) -> Result<(Self, String), TlsError> {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "SIMULATED throw-away authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate()?;
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);

        let loopback = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let names = match flaw {
            Some(Flaw::OtherName) => vec!["other.example".to_owned()],
            _ => [&loopback[..], names].concat(),
        };
        let mut leaf = CertificateParams::new(names)?;
        match flaw {
            Some(Flaw::Expired) => leaf.not_after = date_time_ymd(2001, 1, 1),
            Some(Flaw::NotYetValid) => leaf.not_before = date_time_ymd(4000, 1, 1),
            Some(Flaw::OtherName) | None => {}
        }
        leaf.distinguished_name.push(DnType::CommonName, "SIMULATED Salesforce");
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &issuer)?;
        let tls =
            Self { certificate_chain: certificate.pem().into_bytes(), private_key: key.serialize_pem().into_bytes() };
        Ok((tls, authority_pem))
    }

    pub(super) fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate_chain)
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::Chain)?;
        if chain.is_empty() {
            return Err(TlsError::Chain);
        }
        let key = PrivateKeyDer::from_pem_slice(&self.private_key).map_err(|_| TlsError::Key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = builder.with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let (one, _) = Tls::throw_away(&[]).unwrap();
        let (other, _) = Tls::throw_away(&["acme.my.salesforce.com".to_owned()]).unwrap();
        assert!(one.server_config().is_ok() && other.server_config().is_ok());
        for (chain, key, expected) in [
            (b"".as_slice(), one.private_key.as_slice(), "the certificate chain"),
            (&one.certificate_chain, b"", "the private key"),
            (&one.certificate_chain, &other.private_key, "certificate and key"),
        ] {
            let tls = Tls { certificate_chain: chain.to_vec(), private_key: key.to_vec() };
            let error = tls.server_config().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            assert_eq!(format!("{tls:?}"), "Tls { .. }");
        }
    }
}
