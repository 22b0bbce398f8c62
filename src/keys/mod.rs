//! Private keys that sign assertions.
//!
//! A key is opened once, checked whole, and from then on only signs. Files are recognised by content, never by name:
//! keytool writes PKCS#12 into files called `.jks`. [`parse`] is the one way in for their bytes; it is pure, its work is
//! bounded, and no content makes it panic.
//! Not here: what is signed (`salesforce/assertion.rs`) and until when somebody waits for it (`salesforce/login.rs`).

mod alias;
mod binary;
mod certificate;
mod der;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod jks;
mod pbe;
mod pem;
mod pkcs11;
mod pkcs12;
mod ring;
mod rsa;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

pub use self::certificate::{Certificate, Finding, Stage};
use self::error::Concern;
pub use self::error::KeyError;
pub use self::pkcs11::fault::HsmError;
pub use self::ring::{Opened, forgive, open_all};
use self::rsa::Encoding;
pub use self::rsa::SoftwareKey;

/// A key that makes RS256 signatures (RSASSA-PKCS1-v1_5 with SHA-256, RFC 7518 section 3.3).
///
/// The only trait of the project, but for that of the configuration's decoder: a file, an HSM and a service that signs
/// are different doors to the same thing. Who stands behind one knows whether it burns a thread, blocks one or waits for
/// an answer, so it sees to it that the threads that serve do neither.
pub trait Signer: Send + Sync + fmt::Debug {
    /// The signature over `message`. May take any time: whoever waits bounds it, and drops the future.
    fn sign(self: Arc<Self>, message: Vec<u8>) -> Signing;

    /// Which key this is.
    fn thumbprint(&self) -> &Thumbprint;
}

/// A signature that is on its way.
pub type Signing = BoxFuture<'static, Result<Vec<u8>, SignError>>;

/// SHA-256 of the public key (`SubjectPublicKeyInfo`, DER), hex:
/// `openssl pkey -in key.pem -pubout -outform DER | sha256sum`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Thumbprint(String);

impl Thumbprint {
    /// The hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key that did not sign. The texts are for operators.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Somebody has to change something.
    #[error("{0}")]
    Refused(String),
    /// It may pass by itself.
    #[error("{0}")]
    Unavailable(String),
}

/// What may open a key file beside its content, as it is configured.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlock<'a> {
    /// Of an encrypted key, or of a keystore.
    pub password: Option<&'a SecretString>,
    /// Of the key in a keystore, where it is another.
    pub entry_password: Option<&'a SecretString>,
    /// Which key of a keystore.
    pub alias: Option<&'a str>,
}

impl<'a> Unlock<'a> {
    fn password(&self) -> Option<&'a str> {
        self.password.map(ExposeSecret::expose_secret)
    }

    fn entry_password(&self) -> Option<&'a str> {
        self.entry_password.map(ExposeSecret::expose_secret)
    }
}

/// What a file's content holds.
#[derive(Debug)]
pub struct Parsed {
    /// The key.
    pub key: SoftwareKey,
    /// Its certificate, if it is there too.
    pub certificate: Option<Certificate>,
    /// What its owner should know.
    pub notes: Vec<Note>,
}

/// Something that works and is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// There is one key without a name.
    AliasUnused,
    /// There is no such password in this format.
    EntryPasswordUnused,
    /// Nothing shows whether the keystore was changed.
    NoIntegrity,
    /// The key is not encrypted.
    PasswordUnused,
}

impl Note {
    /// What was found, and what to do.
    pub fn sentence(self) -> (&'static str, &'static str) {
        match self {
            Self::AliasUnused => ("the key file is no keystore, and its key has no name", "remove this setting"),
            Self::EntryPasswordUnused => ("only a key in a keystore has a password of its own", "remove this setting"),
            Self::NoIntegrity => (
                "the keystore has no integrity check (MAC): nothing shows whether it was changed",
                "export it again without `-nomac`",
            ),
            Self::PasswordUnused => {
                ("the private key is not encrypted, and the password is not used", "remove this setting")
            }
        }
    }

    fn concern(self) -> Concern {
        match self {
            Self::AliasUnused => Concern::Alias,
            Self::EntryPasswordUnused => Concern::EntryPassword,
            Self::NoIntegrity => Concern::File,
            Self::PasswordUnused => Concern::Password,
        }
    }
}

/// A private key as it was found, before anybody looked inside.
struct Found {
    der: Zeroizing<Vec<u8>>,
    encoding: Encoding,
    /// Those that may be its own, in DER.
    certificates: Vec<Vec<u8>>,
    notes: Vec<Note>,
}

/// The key in a file's content, with its certificate if that is there too.
///
/// # Errors
/// Anything but one whole RSA key that Salesforce takes.
pub fn parse(content: &[u8], unlock: &Unlock<'_>) -> Result<Parsed, KeyError> {
    let found = match content {
        [0xCE, 0xCE, 0xCE, 0xCE, ..] => return Err(KeyError::JavaKeystore("JCEKS")),
        [0x30, ..] => binary::private_key(content, unlock)?,
        _ if content.starts_with(&jks::MAGIC) => jks::private_key(content, unlock)?,
        _ => pem::private_key(content, unlock)?,
    };
    let key = SoftwareKey::from_der(&found.der, found.encoding)?;
    let certificate = certificate::of(&found.certificates, key.thumbprint()).map_err(|_| KeyError::OtherCertificate)?;
    Ok(Parsed { key, certificate, notes: found.notes })
}
