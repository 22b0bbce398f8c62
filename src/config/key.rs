//! Where the private key of an integration is, and what opens it. Nothing is opened here; `keys/` does that.

use std::path::PathBuf;

use secrecy::SecretString;

use super::report::Located;

/// A private key of an integration.
#[derive(Debug, Clone)]
pub struct Key {
    /// What holds it.
    pub holder: KeyHolder,
    /// Its certificate, PEM or DER, where that is not in the file of the key.
    pub certificate_path: Option<Located<PathBuf>>,
}

impl Key {
    /// The same without passwords: a key that is open needs none.
    pub fn without_passwords(mut self) -> Self {
        if let KeyHolder::File(file) = &mut self.holder {
            (file.password, file.entry_password) = (None, None);
        }
        self
    }

    /// The setting that names it.
    pub fn at(&self) -> &Located<PathBuf> {
        match &self.holder {
            KeyHolder::File(file) => &file.path,
            KeyHolder::Token(token) => &token.module_path,
        }
    }
}

/// What holds a private key.
#[derive(Debug, Clone)]
pub enum KeyHolder {
    /// A file, from which it is read into memory.
    File(KeyFile),
    /// An HSM, which it never leaves.
    Token(TokenKey),
}

/// A file with a private key.
#[derive(Debug, Clone)]
pub struct KeyFile {
    /// `client_key_path`, resolved.
    pub path: Located<PathBuf>,
    /// Of an encrypted key, or of a keystore.
    pub password: Option<Located<SecretString>>,
    /// Of the key in a keystore, where it is another.
    pub entry_password: Option<Located<SecretString>>,
    /// Which key of a keystore.
    pub alias: Option<Located<String>>,
}

/// A private key in a token, as PKCS#11 calls an HSM or a part of one: `client_key_pkcs11`.
#[derive(Debug, Clone)]
pub struct TokenKey {
    /// The library that speaks to the HSM, resolved.
    pub module_path: Located<PathBuf>,
    /// Which token.
    pub token_label: Located<String>,
    /// Which key in it.
    pub key_label: Located<String>,
    /// The user PIN of the token.
    pub pin: Located<SecretString>,
}
