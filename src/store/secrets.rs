//! The files of `[store]`, opened: seal keys, certificate authorities, and who logs in at Redis.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::ExposeSecret;

use super::seal::SealKeys;
use crate::config::report::{Located, Report};
use crate::config::source::{self, LARGEST_PEM};
use crate::config::{self, Address, Credentials, Roots};

/// What a reload may change while the service runs.
#[derive(Debug, Clone)]
pub struct Secrets {
    pub(super) keys: Arc<SealKeys>,
    pub(super) access: Arc<Access>,
}

/// How Redis knows us, and we know it. Users and passwords stay together: one of them without the other opens nothing.
#[derive(Debug)]
pub(super) struct Access {
    /// Where it is good: these addresses, and the master of this name.
    server: (Vec<Address>, Option<String>),
    /// PEM of the authorities that are trusted; those of the machine, if there are none.
    pub(super) authorities: Option<Arc<Vec<u8>>>,
    pub(super) credentials: Credentials,
    pub(super) sentinel_credentials: Credentials,
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
            (Some(keys), Some(authorities)) => {
                let access = Access {
                    server: server(&settings.redis),
                    authorities,
                    credentials: settings.redis.credentials.clone(),
                    sentinel_credentials: settings.redis.sentinel_credentials.clone(),
                };
                Ok(Self { keys: Arc::new(keys), access: Arc::new(access) })
            }
            _ => Err(report),
        }
    }

    /// What is left of them at a Redis that only the next start changes: a password for another one is not shown to it.
    pub(super) fn at(self, redis: &config::Redis, before: &Self) -> Self {
        match self.access.server == server(redis) {
            true => self,
            false => Self { access: Arc::clone(&before.access), ..self },
        }
    }
}

impl Access {
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.authorities == other.authorities
            && is_same_login(&self.credentials, &other.credentials)
            && is_same_login(&self.sentinel_credentials, &other.sentinel_credentials)
    }
}

fn is_same_login(one: &Credentials, other: &Credentials) -> bool {
    one.username == other.username && password(one) == password(other)
}

fn password(login: &Credentials) -> Option<&str> {
    login.password.as_ref().map(ExposeSecret::expose_secret)
}

fn server(redis: &config::Redis) -> (Vec<Address>, Option<String>) {
    (redis.addresses.clone(), redis.master_name.clone())
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
