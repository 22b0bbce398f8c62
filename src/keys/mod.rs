//! Private keys that sign assertions.
//!
//! A key is opened once, checked whole, and from then on only signs. Files are recognised by content, never by name.
//! Not here: what is signed (`salesforce/assertion.rs`) and off which thread (`salesforce/mod.rs`).

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod pem;
mod ring;
mod rsa;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

pub use self::ring::{Opened, open_all};
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

/// Why a key was not opened. The text names what was found; [`KeyError::remedy`] says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Certificates and no key.
    #[error("the file holds a certificate, not a private key")]
    Certificate,
    /// A DER structure without PEM armour, or PKCS#12.
    #[error("the file is binary (DER or PKCS#12), and this version reads PEM")]
    Binary,
    /// `ENCRYPTED PRIVATE KEY` or `Proc-Type: 4,ENCRYPTED`.
    #[error("the private key is encrypted with a password")]
    Encrypted,
    /// Line ends typed as two characters.
    #[error("the line ends of the PEM text are the two characters \\ and n")]
    EscapedLineEnds,
    /// Java's own formats.
    #[error("the file is a Java keystore ({0}), and this version reads PEM")]
    JavaKeystore(&'static str),
    /// The armour promises more than the body keeps.
    #[error("the {0} block is damaged: it is not a whole RSA private key")]
    Malformed(&'static str),
    /// No armour at all.
    #[error("the file holds no PEM block")]
    NoPem,
    /// EC, Ed25519, DSA and others.
    #[error("the private key is {0}, and Salesforce takes RSA only")]
    NotRsa(&'static str),
    /// `OPENSSH PRIVATE KEY`.
    #[error("the private key is in OpenSSH's own format")]
    OpenSsh,
    /// A public key and no private one.
    #[error("the file holds a public key, not a private one")]
    PublicKey,
    /// `id-RSASSA-PSS` in PKCS#8.
    #[error("the private key is for RSA-PSS signatures alone, and Salesforce takes RS256 (RSA PKCS#1 v1.5) only")]
    RsaPss,
    /// More than one private key.
    #[error("the file holds {0} private keys, and it must be plain which one signs")]
    Several(usize),
    /// Too long for Salesforce.
    #[error("the RSA key has {0} bits, and Salesforce takes 4096 at most")]
    TooLong(usize),
    /// Too short for Salesforce.
    #[error("the RSA key has fewer than 2048 bits")]
    TooShort,
    /// The file system said no.
    #[error("the key file cannot be read: {0}")]
    Unreadable(String),
}

impl KeyError {
    /// What the operator can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Certificate => "name the file with the private key that belongs to this certificate",
            Self::Binary => {
                "convert it: `openssl pkcs12 -in FILE -nodes -nocerts -out key.pem` for PKCS#12, \
                 `openssl pkey -inform DER -in FILE -out key.pem` for DER"
            }
            Self::Encrypted => "remove the password: `openssl pkey -in FILE -out key.pem`, and give key.pem mode 0600",
            Self::EscapedLineEnds => "put real line ends in, for example with `printf '%b' \"$KEY\" > key.pem`",
            Self::JavaKeystore(_) => {
                "convert it: `keytool -importkeystore -srckeystore FILE -destkeystore key.p12 -deststoretype PKCS12`, \
                 then `openssl pkcs12 -in key.p12 -nodes -nocerts -out key.pem`"
            }
            Self::Malformed(_) => "export the key again and copy the whole file, from `-----BEGIN` to `-----END`",
            Self::NoPem => "name a PEM file: its text starts with `-----BEGIN PRIVATE KEY-----`",
            Self::NotRsa(_) | Self::RsaPss => {
                "make an RSA key: `openssl genrsa -out key.pem 2048`, and upload a certificate made with it"
            }
            Self::OpenSsh => "convert it: `ssh-keygen -p -m PEM -f FILE`",
            Self::PublicKey => "name the file with the private key that belongs to this public key",
            Self::Several(_) => "leave one private key in the file",
            Self::TooLong(_) | Self::TooShort => {
                "make an RSA key of 2048, 3072 or 4096 bits: `openssl genrsa -out key.pem 2048`"
            }
            Self::Unreadable(_) => "check the path, and that the user who runs the service may read the file",
        }
    }
}

/// A PEM file with a 4096-bit key has 3.3 KB; a bundle with its chain a few times that.
const MAX_FILE: u64 = 256 * 1024;

/// The content of a key file.
///
/// Takes regular files up to 256 KiB: a FIFO, a device or a huge file is refused instead of waited for.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let unreadable = |error: std::io::Error| KeyError::Unreadable(error.to_string());
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(KeyError::Unreadable("it is not a regular file".to_owned()));
    }
    if metadata.len() > MAX_FILE {
        return Err(KeyError::Unreadable(format!("it has more than {} KiB", MAX_FILE / 1024)));
    }
    // Room for the whole of it from the start, so that no half-filled buffer is left behind unwiped.
    let length = usize::try_from(metadata.len()).unwrap_or_default();
    let mut content = Zeroizing::new(Vec::with_capacity(length + 1));
    File::open(path).and_then(|file| file.take(metadata.len()).read_to_end(&mut content)).map_err(unreadable)?;
    Ok(content)
}

/// The key in a file's content.
pub fn parse(content: &[u8]) -> Result<SoftwareKey, KeyError> {
    pem::private_key(content)?.open()
}
