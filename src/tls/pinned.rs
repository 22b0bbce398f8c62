//! A client that trusts one certificate and no other: for who asks a door of its own by its address, whatever names the
//! certificate has.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use crate::config;

/// The certificate that a door shows: the first in its file.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub fn leaf(settings: &config::Tls) -> io::Result<CertificateDer<'static>> {
    let path = &settings.certificate_path.value;
    let named = |what: String| io::Error::other(format!("{}: {what}", config::show::path(path)));
    let pem = super::read(path).map_err(named)?;
    CertificateDer::from_pem_slice(&pem).map_err(|error| named(error.to_string()))
}

/// A client that speaks with whoever shows this very certificate and proves in the handshake that it has its key. Names
/// and dates do not count: whoever named the certificate knows whose it is.
///
/// # Errors
/// The crypto provider lacks a version of TLS, which is a fault of ours.
pub fn client_of(certificate: CertificateDer<'static>) -> Result<ClientConfig, Error> {
    let provider = super::provider();
    let verifier = Pinned { certificate, algorithms: provider.signature_verification_algorithms };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    // What rustls calls dangerous is to decide by other rules than its own. This one is stricter in whom it takes.
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match end_entity.as_ref() == self.certificate.as_ref() {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::server::{ClientHello, ResolvesServerCert};
    use rustls::sign::CertifiedKey;
    use rustls::version::{TLS12, TLS13};
    use rustls::{ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion};

    use super::*;

    fn made() -> Made<rcgen::KeyPair> {
        generate_simple_self_signed(["aquila.example".to_owned()]).unwrap()
    }

    /// Shows a certificate and signs with a key, whether they belong together or not.
    #[derive(Debug)]
    struct Shown(Arc<CertifiedKey>);

    impl ResolvesServerCert for Shown {
        fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
    }

    /// What a client that trusts `trusted` says of a server that shows `shown` and has the key of `holder`.
    fn handshake(
        version: &'static SupportedProtocolVersion,
        [trusted, shown, holder]: [&Made<rcgen::KeyPair>; 3],
    ) -> Result<(), Error> {
        let key = PrivateKeyDer::try_from(holder.signing_key.serialize_der()).unwrap();
        let key = super::super::provider().key_provider.load_private_key(key).unwrap();
        let shown = Shown(Arc::new(CertifiedKey::new(vec![shown.cert.der().clone()], key)));
        let builder = ServerConfig::builder_with_provider(super::super::provider());
        let server = builder.with_protocol_versions(&[version]).unwrap().with_no_client_auth();
        let mut server = ServerConnection::new(Arc::new(server.with_cert_resolver(Arc::new(shown)))).unwrap();
        let client = Arc::new(client_of(trusted.cert.der().clone()).unwrap());
        let mut client = ClientConnection::new(client, ServerName::try_from("127.0.0.1").unwrap()).unwrap();
        while client.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut wire = Vec::new();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn only_the_named_certificate_with_its_own_key_is_taken() {
        let (own, other) = (made(), made());
        for version in [&TLS12, &TLS13] {
            assert_eq!(handshake(version, [&own, &own, &own]), Ok(()));
            let strange = handshake(version, [&own, &other, &other]);
            assert_eq!(strange, Err(CertificateError::ApplicationVerificationFailure.into()));
            let stolen = handshake(version, [&own, &own, &other]);
            assert_eq!(stolen, Err(CertificateError::BadSignature.into()), "a copy of the certificate is no proof");
        }
    }
}
