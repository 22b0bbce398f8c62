//! Where the private key of an integration is. Nothing is opened here; `keys/` does that.

use std::path::PathBuf;

use secrecy::SecretString;

use super::report::Located;

/// A private key of an integration.
#[derive(Debug, Clone)]
pub struct Key {
    /// What holds it.
    pub holder: KeyHolder,
}

impl Key {
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
    Token(Box<TokenKey>),
}

/// A file with a private key.
#[derive(Debug, Clone)]
pub struct KeyFile {
    /// `client_key_path`, resolved.
    pub path: Located<PathBuf>,
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
