//! RSA keys held in memory, signing with aws-lc.
//!
//! jsonwebtoken parses its key again on every signature, which costs more than the signature; here it is parsed
//! once to be checked and once to sign.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use futures_util::FutureExt;
use zeroize::Zeroizing;

use super::{KeyError, SignError, Signer, Signing, Thumbprint};
use crate::hash::{hex, sha256};

/// How a private key is laid out in DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// `RSAPrivateKey` of RFC 8017.
    Pkcs1,
    /// `PrivateKeyInfo` of RFC 5208.
    Pkcs8,
}

impl Encoding {
    /// What it is called.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Pkcs1 => "private key (PKCS#1)",
            Self::Pkcs8 => "private key (PKCS#8)",
        }
    }
}

/// An RSA private key of 2048 to 4096 bits, checked whole when it is opened.
pub struct SoftwareKey {
    held: Mutex<Held>,
    thumbprint: Thumbprint,
}

/// A key object takes three times the room of its DER. It is made for the check, and again for the first signature: most
/// keys of a large configuration are idle.
enum Held {
    AsDer(Zeroizing<Box<[u8]>>, Encoding),
    /// aws-lc wipes its memory when it is freed.
    Ready(Arc<KeyPair>),
}

impl SoftwareKey {
    pub(super) fn from_der(der: &[u8], encoding: Encoding) -> Result<Self, KeyError> {
        let pair = pair(der, encoding).map_err(|rejected| why(der, encoding, &rejected.to_string()))?;
        let bits = pair.public_modulus_len() * 8;
        if bits > 4096 {
            return Err(KeyError::TooLong(bits));
        }
        let public: PublicKeyX509Der<'_> =
            pair.public_key().as_der().map_err(|_| KeyError::Malformed(encoding.label()))?;
        let thumbprint = Thumbprint(hex(&sha256([public.as_ref()])));
        Ok(Self { held: Mutex::new(Held::AsDer(Zeroizing::new(der.into()), encoding)), thumbprint })
    }

    /// The signature over `message`, on this very thread.
    pub(crate) fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let pair = self.pair()?;
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(|_| did_not_sign())?;
        Ok(signature)
    }

    fn pair(&self) -> Result<Arc<KeyPair>, SignError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = match &*held {
            Held::Ready(pair) => return Ok(Arc::clone(pair)),
            Held::AsDer(der, encoding) => Arc::new(pair(der, *encoding).map_err(|_| did_not_sign())?),
        };
        *held = Held::Ready(Arc::clone(&ready));
        Ok(ready)
    }
}

/// aws-lc checks that the parts of the key fit one another.
fn pair(der: &[u8], encoding: Encoding) -> Result<KeyPair, KeyRejected> {
    match encoding {
        Encoding::Pkcs1 => KeyPair::from_der(der),
        Encoding::Pkcs8 => KeyPair::from_pkcs8(der),
    }
}

fn why(der: &[u8], encoding: Encoding, rejected: &str) -> KeyError {
    const EC: &[u8] = &[0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
    const RSA_PSS: &[u8] = &[0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0A];
    const ED25519: &[u8] = &[0x06, 0x03, 0x2B, 0x65, 0x70];
    const DSA: &[u8] = &[0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x38, 0x04, 0x01];
    // The algorithm stands in the first bytes of PKCS#8, before the key itself.
    let head = der.get(..der.len().min(40)).unwrap_or_default();
    let names = |oid: &[u8]| head.windows(oid.len()).any(|window| window == oid);
    match encoding {
        Encoding::Pkcs8 if names(EC) => KeyError::NotRsa("an elliptic-curve key (EC)"),
        Encoding::Pkcs8 if names(DSA) => KeyError::NotRsa("a DSA key"),
        Encoding::Pkcs8 if names(ED25519) => KeyError::NotRsa("an Ed25519 key"),
        Encoding::Pkcs8 if names(RSA_PSS) => KeyError::RsaPss,
        _ if rejected == "TooSmall" => KeyError::TooShort,
        _ => KeyError::Malformed(encoding.label()),
    }
}

fn did_not_sign() -> SignError {
    SignError::Refused("the key did not sign".to_owned())
}

impl Signer for SoftwareKey {
    fn sign(self: Arc<Self>, message: Vec<u8>) -> Signing {
        // Up to 2 ms of arithmetic: not on the threads that serve.
        let signing = tokio::task::spawn_blocking(move || self.signature(&message));
        async move { signing.await.unwrap_or_else(|_| Err(did_not_sign())) }.boxed()
    }

    fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }
}

impl std::fmt::Debug for SoftwareKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SoftwareKey({})", self.thumbprint.as_str())
    }
}
