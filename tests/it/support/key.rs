//! The key pair of all tests: made once per process, for a pair of 2048 bits takes its time.

use std::sync::OnceLock;

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

/// A private key and the certificate that is registered at the simulator.
pub(crate) struct Pair {
    pub(crate) private_key: String,
    pub(crate) certificate: String,
}

impl Pair {
    /// The one of this process.
    pub(crate) fn of_this_process() -> &'static Self {
        static PAIR: OnceLock<Pair> = OnceLock::new();
        PAIR.get_or_init(Self::new)
    }

    /// The one that follows it.
    pub(crate) fn next() -> &'static Self {
        static PAIR: OnceLock<Pair> = OnceLock::new();
        PAIR.get_or_init(Self::new)
    }

    fn new() -> Self {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let certificate = CertificateParams::default().self_signed(&pair).unwrap();
        Self { private_key: pair.serialize_pem(), certificate: certificate.pem() }
    }
}
