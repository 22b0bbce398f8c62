//! Why a key was not opened, and what to do about it.

use super::alias::Names;
use super::pkcs11::fault::HsmError;

/// Why a key was not opened. The text names what was found; [`KeyError::remedy`] says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Several keys, and no alias that says which.
    #[error("there are several private keys: {0}")]
    Ambiguous(Names),
    /// The text of a binary file.
    #[error("the file is base64 text of a binary file")]
    Base64,
    /// Lengths that are known only at their end.
    #[error("the file is written in BER, and only DER is read here")]
    Ber,
    /// Certificates and no key.
    #[error("the file holds a certificate, not a private key")]
    Certificate,
    /// A certificate that is read on its own, and is none.
    #[error("the file holds no X.509 certificate")]
    CertificateUnread,
    /// The file system said no to the file of a certificate.
    #[error("{0}")]
    CertificateUnreadable(String, &'static str),
    /// A PEM block between whose dashes something else stands.
    #[error("the private key is encrypted in OpenSSL's own old way (`Proc-Type: 4,ENCRYPTED`), which is not read here")]
    EncryptedByHeader,
    /// Line ends typed as two characters.
    #[error("the line ends of the PEM text are the two characters \\ and n")]
    EscapedLineEnds,
    /// The key is in an HSM, and did not open there.
    #[error(transparent)]
    Hsm(#[from] HsmError),
    /// Java's other formats.
    #[error("the file is a Java keystore of the kind {0}, which is not read here")]
    JavaKeystore(&'static str),
    /// It promises more than it keeps.
    #[error("the {0} is damaged or cut off")]
    Malformed(&'static str),
    /// A keystore without a private key.
    #[error("the keystore holds no private key")]
    NoKey,
    /// EC, Ed25519, DSA and others.
    #[error("the private key is {0}, and Salesforce takes RSA only")]
    NotRsa(&'static str),
    /// `OPENSSH PRIVATE KEY`.
    #[error("the private key is in OpenSSH's own format")]
    OpenSsh,
    /// The certificate beside the key is another key's.
    #[error("the certificate beside the private key is the certificate of another key")]
    OtherCertificate,
    /// The certificate at `certificate_path` is another key's.
    #[error("this is the certificate of another key")]
    OtherCertificateFile,
    /// A password is needed, and none is configured.
    #[error("the {0} needs a password, and none is configured")]
    PasswordNeeded(&'static str),
    /// PKCS#7 or CMS.
    #[error("the file is PKCS#7, which holds certificates and no private key")]
    Pkcs7,
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
    /// Work that a file may not ask for.
    #[error("to decrypt the {0} would take more rounds than any program asks for")]
    TooManyRounds(&'static str),
    /// Too short for Salesforce.
    #[error("the RSA key has fewer than 2048 bits")]
    TooShort,
    /// None of the formats.
    #[error("the file holds no private key in a format that is known here")]
    Unknown,
    /// An alias that is not there.
    #[error("there is no private key of this name; there is: {0}")]
    UnknownAlias(Names),
    /// The file system said no.
    #[error("{0}")]
    Unreadable(String, &'static str),
    /// An encryption that is not read here.
    #[error("the {what} is encrypted with {scheme}, which is not read here")]
    Unsupported {
        /// What is encrypted.
        what: &'static str,
        /// With what.
        scheme: String,
    },
    /// UTF-16 text.
    #[error("the file is UTF-16 text")]
    Utf16,
    /// The key of an entry has a password of its own.
    #[error("the keystore opens, and the key in it does not open with the password that is configured for it")]
    WrongEntryPassword,
    /// It does not open.
    #[error("the password does not open the {0}")]
    WrongPassword(&'static str),
}

/// The setting that an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concern {
    Alias,
    Certificate,
    EntryPassword,
    File,
    Password,
}

const RSA: &str = "make an RSA key of 2048, 3072 or 4096 bits: `openssl genrsa -out key.pem 2048`, and upload a \
                   certificate made with it";
const FROM_JCEKS: &str = "convert it: `keytool -importkeystore -srckeystore FILE -srcstoretype JCEKS -destkeystore key.p12 \
                         -deststoretype PKCS12`, and name key.p12 here";
const FROM_JKS: &str = "convert it: `keytool -importkeystore -srckeystore FILE -destkeystore key.p12 -deststoretype PKCS12`, \
                        and name key.p12 here";
const FROM_BCFKS: &str = "convert it: `keytool -importkeystore -srckeystore FILE -srcstoretype BCFKS -destkeystore key.p12 \
                          -deststoretype PKCS12 -providerclass \
                          org.bouncycastle.jcajce.provider.BouncyCastleFipsProvider -providerpath bc-fips.jar`, and name \
                          key.p12 here";
const AGAIN_AS_PKCS8: &str = "convert it: `openssl pkcs8 -topk8 -in FILE -out key.pem`, and name key.pem here with the \
                              password that you give it";
const OLD_TO_PKCS8: &str = "convert it: `openssl pkcs8 -topk8 -in FILE -out key.pem -provider legacy -provider default`, \
                            and name key.pem here with the password that you give it";
const FROM_PKCS12: &str = "convert it: `openssl pkcs12 -in FILE -nocerts -out key.pem`, and name key.pem here with the \
                           password that you give it";

impl KeyError {
    /// What the operator can do about it; `file` is how the file is called in the commands.
    pub fn remedy(&self, file: &str) -> String {
        self.advice().replace("FILE", file)
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::Ambiguous(_) => "say which one: `client_key_alias`",
            Self::Base64 => "decode it: `umask 077; base64 -d FILE > key`, and name that file here",
            Self::Certificate => "name the file with the private key that belongs to this certificate",
            Self::CertificateUnread => "name the certificate that was uploaded to the app, as PEM or DER",
            Self::EscapedLineEnds => {
                "put real line ends in: `umask 077; printf '%b' \"$(cat FILE)\" > key.pem`, and name key.pem here"
            }
            Self::Hsm(error) => error.remedy(),
            Self::JavaKeystore("BCFKS") => FROM_BCFKS,
            Self::JavaKeystore(_) => FROM_JCEKS,
            Self::Malformed(_) => "export or copy the whole file again; of a PEM text, from `-----BEGIN` to `-----END`",
            Self::NoKey => "export it again together with its private key; Salesforce does so for exportable keys only",
            Self::NotRsa(_) | Self::RsaPss | Self::TooLong(_) | Self::TooShort => RSA,
            Self::OpenSsh => "convert it: `ssh-keygen -p -m PEM -f FILE`",
            Self::OtherCertificate => {
                "put key and certificate together that were made together, or leave the certificate out"
            }
            Self::OtherCertificateFile => "name the certificate that was made with this private key",
            Self::PasswordNeeded(_) => {
                "add `client_key_password_path`, a file that holds it, or `client_key_password_env`, a variable"
            }
            Self::Pkcs7 => "name the file with the private key; certificates alone sign nothing",
            Self::PublicKey => "name the file with the private key that belongs to this public key",
            Self::Several(_) => "leave one private key in the file",
            Self::TooManyRounds("PKCS#12 keystore") => FROM_PKCS12,
            Self::TooManyRounds(_) | Self::EncryptedByHeader => AGAIN_AS_PKCS8,
            Self::Unknown => {
                "name a private key (PEM, DER) or a keystore (PKCS#12, JKS); PEM text starts with \
                 `-----BEGIN PRIVATE KEY-----`"
            }
            Self::UnknownAlias(_) => "write one of these; `keytool -list -keystore FILE` shows them too",
            Self::Unreadable(_, remedy) | Self::CertificateUnreadable(_, remedy) => remedy,
            Self::Ber | Self::Unsupported { what: "PKCS#12 keystore", .. } => FROM_PKCS12,
            Self::Unsupported { what: "JKS keystore", .. } => FROM_JKS,
            Self::Unsupported { .. } => OLD_TO_PKCS8,
            Self::Utf16 => "make it plain text: `umask 077; iconv -f UTF-16 -t UTF-8 FILE > key.pem`",
            Self::WrongEntryPassword => {
                "the key has a password of its own: say it in `client_key_entry_password_path`, a file that holds it, or \
                 `client_key_entry_password_env`, a variable; if one of them is there, correct what it says"
            }
            Self::WrongPassword(_) => {
                "correct the password; one line end after it in a file is not part of it, a byte order mark before it is"
            }
        }
    }

    /// The same about the file of a certificate.
    pub(super) fn of_certificate(self) -> Self {
        match self {
            Self::Unreadable(said, remedy) => Self::CertificateUnreadable(said, remedy),
            other => other,
        }
    }

    pub(super) fn concern(&self) -> Concern {
        match self {
            Self::Ambiguous(_) | Self::UnknownAlias(_) => Concern::Alias,
            Self::WrongPassword(_) => Concern::Password,
            Self::WrongEntryPassword => Concern::EntryPassword,
            Self::CertificateUnread | Self::CertificateUnreadable(..) | Self::OtherCertificateFile => {
                Concern::Certificate
            }
            _ => Concern::File,
        }
    }
}
