//! A public key infrastructure for callers: authorities, what they sign, and a client that shows it.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::house::House;
use super::wire::{Answer, Connection, Request};

/// An authority, with the certificates that lead to it from what it signs.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    intermediates: Vec<String>,
}

/// A certificate with its chain, and its key.
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(of_authority(name), KeyPair::generate().unwrap()).unwrap();
        Self { issuer, intermediates: Vec::new() }
    }

    /// An authority below this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::signed_by(of_authority(name), key, &self.issuer).unwrap();
        let intermediates = [vec![issuer.pem()], self.intermediates.clone()].concat();
        Self { issuer, intermediates }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A client's certificate with these alternative names; `change` makes it odd.
    pub(crate) fn sign(&self, names: &[SanType], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = of_client(names, change).signed_by(&key, &self.issuer).unwrap();
        Identity { chain: certificate.pem() + &self.intermediates.concat(), key: key.serialize_pem() }
    }
}

fn of_authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn of_client(names: &[SanType], change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = names.to_vec();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    params
}

/// A certificate that nobody else signed.
pub(crate) fn self_signed(names: &[SanType]) -> Identity {
    let key = KeyPair::generate().unwrap();
    Identity { chain: of_client(names, |_| ()).self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

impl Identity {
    /// The certificate alone.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.chain.as_bytes()).unwrap()
    }
}

/// A client that trusts the house, and shows who it is if it is somebody.
pub(crate) fn client(
    house: &House,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(house.folder().join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match identity {
        Some(Identity { chain, key }) => {
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    TlsConnector::from(Arc::new(config))
}

/// A connection, unless the door refuses it at once. With TLS 1.3 a refusal shows only when something is read.
pub(crate) async fn knock(client: &TlsConnector, address: SocketAddr) -> Option<Connection<TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(address).await.unwrap();
    client.connect(ServerName::try_from("localhost").unwrap(), stream).await.ok().map(Connection::over)
}

/// The answer to one request on a new connection; nothing where the door lets nobody in.
pub(crate) async fn answer(house: &House, identity: Option<&Identity>, request: &Request) -> Option<Answer> {
    let mut connection = knock(&client(house, identity, rustls::ALL_VERSIONS), house.callers).await?;
    connection.write(&request.bytes()).await;
    connection.answer(true).await
}
