//! `[store]`: what a configuration says of the store that replicas share. What its files hold is found by the module that
//! opens them.

use std::path::PathBuf;

use secrecy::SecretString;

use super::Roots;
use super::report::Located;

/// `[store]`: what the replicas of this service share.
#[derive(Debug, Clone)]
pub struct Store {
    /// The keys that seal what is stored.
    pub seal_key_path: Located<PathBuf>,
    /// Replicas, at most.
    pub max_replicas: u32,
    /// Where it is.
    pub redis: Redis,
}

/// `[store.redis]`: a Redis or Valkey.
#[derive(Debug, Clone)]
pub struct Redis {
    /// Where it listens: one address with [`RedisMode::Single`]; of the Sentinels, or of some nodes of the Cluster. All with
    /// TLS, or none.
    pub addresses: Vec<Address>,
    /// How it is run.
    pub mode: RedisMode,
    /// The number of the database; 0 in a Cluster.
    pub database: u16,
    /// What the Sentinels call the master; with [`RedisMode::Sentinel`] alone.
    pub master_name: Option<String>,
    /// At Redis.
    pub credentials: Credentials,
    /// At the Sentinels.
    pub sentinel_credentials: Credentials,
    /// Which certificate authorities are trusted without `ca_path`.
    pub roots: Roots,
    /// PEM bundle of the authorities that are trusted instead.
    pub ca_path: Option<Located<PathBuf>>,
    /// What all names begin with.
    pub key_prefix: String,
}

/// Who logs in, and with what.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The ACL user; the default one, if there is none.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
}

/// A host and its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The name, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether TLS is spoken there.
    pub tls: bool,
}

/// How Redis is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisMode {
    /// One server, or an address that always leads to the one that takes writes.
    Single,
    /// Sentinels say which server takes writes.
    Sentinel,
    /// Several servers, each with a part of the names.
    Cluster,
}

impl RedisMode {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Sentinel => "sentinel",
            Self::Cluster => "cluster",
        }
    }
}
