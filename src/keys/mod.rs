//! Private keys that sign assertions.
//!
//! A key is opened once, checked whole, and from then on only signs. Files are recognised by content, never by name:
//! keytool writes PKCS#12 into files called `.jks`. [`parse`] is the one way in for their bytes; it is pure, its work is
//! bounded, and no content makes it panic.
//! Not here: what is signed (`salesforce/assertion.rs`) and off which thread (`salesforce/mod.rs`).

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
mod pkcs12;
mod ring;
mod rsa;

#[cfg(test)]
mod tests;

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

pub use self::certificate::{Certificate, Finding, Stage};
use self::error::Concern;
pub use self::error::KeyError;
pub use self::ring::{Opened, open_all};
use self::rsa::Encoding;
pub use self::rsa::SoftwareKey;

/// A key that makes RS256 signatures (RSASSA-PKCS1-v1_5 with SHA-256, RFC 7518 section 3.3).
///
/// The only trait of the project: a file and an HSM are different doors to the same thing. Synchronous, because both
/// burn or block a thread; the caller takes it off the async threads.
pub trait Signer: Send + Sync + fmt::Debug {
    /// The signature over `message`.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// Which key this is.
    fn thumbprint(&self) -> &Thumbprint;
}

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

/// A key that did not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key did not sign")]
pub struct SignError;

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
