//! Where the private key of an integration is. Nothing is opened here; `keys/` does that.

use std::path::PathBuf;

use super::report::Located;

/// A private key of an integration.
#[derive(Debug, Clone)]
pub struct Key {
    /// What holds it.
    pub holder: KeyHolder,
}

/// What holds a private key.
#[derive(Debug, Clone)]
pub enum KeyHolder {
    /// A file, from which it is read into memory.
    File(KeyFile),
}

/// A file with a private key.
#[derive(Debug, Clone)]
pub struct KeyFile {
    /// `client_key_path`, resolved.
    pub path: Located<PathBuf>,
}
