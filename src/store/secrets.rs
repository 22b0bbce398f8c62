//! The files of `[store]`, opened: seal keys and certificate authorities.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;

use super::seal::SealKeys;
use crate::config::report::{Located, Report};
use crate::config::source::{self, LARGEST_PEM};
use crate::config::{self, Roots};

/// What a reload may change while the service runs.
#[derive(Debug, Clone)]
pub struct Secrets {
    pub(super) keys: Arc<SealKeys>,
    /// PEM of the authorities that are trusted; those of the machine, if there are none.
    pub(super) authorities: Option<Arc<Vec<u8>>>,
    pub(super) password: Option<SecretString>,
    pub(super) sentinel_password: Option<SecretString>,
}

impl Secrets {
    /// Opens the files that the configuration names. Asks nobody.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn open(settings: &config::Store) -> Result<Self, Report> {
        let mut report = Report::default();
        let keys = keys(&settings.seal_key_path, &mut report);
        let authorities = authorities(&settings.redis, &mut report);
        match (keys, authorities) {
            (Some(keys), Some(authorities)) => Ok(Self {
                keys: Arc::new(keys),
                authorities,
                password: settings.redis.credentials.password.clone(),
                sentinel_password: settings.redis.sentinel_credentials.password.clone(),
            }),
            _ => Err(report),
        }
    }
}

fn keys(path: &Located<PathBuf>, report: &mut Report) -> Option<SealKeys> {
    let bytes = read(path, report)?;
    let Ok(text) = std::str::from_utf8(&bytes) else {
        report.error(path, "this file is not text", "write one key on a line, as `aquila new-seal-key` prints it");
        return None;
    };
    SealKeys::parse(text).map_err(|error| report.error(path, error.to_string(), error.remedy())).ok()
}

/// The outer option: whether there is a mistake.
fn authorities(redis: &config::Redis, report: &mut Report) -> Option<Option<Arc<Vec<u8>>>> {
    let has_tls = redis.addresses.iter().any(|address| address.tls);
    let Some(path) = redis.ca_path.as_ref().filter(|_| has_tls) else {
        let bundled = (has_tls && redis.roots == Roots::Bundled).then(super::dial::bundled);
        return Some(bundled.map(Arc::new));
    };
    let bytes = read(path, report)?;
    if let Err(reason) = super::dial::try_authorities(&bytes) {
        report.error(path, reason, "name a PEM file with the CA certificates that vouch for Redis");
        return None;
    }
    Some(Some(Arc::new(bytes.to_vec())))
}

fn read(path: &Located<PathBuf>, report: &mut Report) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    match source::read(&path.value, LARGEST_PEM) {
        Ok(content) => Some(content.bytes),
        Err(error) => {
            report.error(path, error.to_string(), error.remedy());
            None
        }
    }
}
