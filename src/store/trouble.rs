//! What keeps the store away, in words for people. Nothing that the other side wrote is repeated: its errors are known by
//! their first word, and what is not known is told as such.

use std::error::Error;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError};
use rustls::CertificateError;

/// Why the store is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// A word of a closed set, for metrics and programs.
    pub cause: &'static str,
    /// A sentence.
    pub told: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// What begins an error of Redis, or stands in one that a script met, and what it means.
const WORDS: [(&str, Trouble); 16] = [
    ("WRONGPASS", PASSWORD),
    ("NOAUTH", PASSWORD),
    ("NOPERM", RIGHTS),
    ("can't run this command", RIGHTS),
    ("can't access", RIGHTS),
    ("OOM", FULL),
    ("READONLY", READ_ONLY),
    ("LOADING", LOADING),
    ("MASTERDOWN", LOADING),
    ("MISCONF", CANNOT_SAVE),
    ("NOREPLICAS", CANNOT_SAVE),
    ("CLUSTER", CLUSTER),
    ("MOVED", CLUSTER),
    ("ASK", CLUSTER),
    ("CROSSSLOT", CLUSTER),
    ("non local key", CLUSTER),
];

const PASSWORD: Trouble = Trouble {
    cause: "password",
    told: "Redis does not take the user and the password",
    remedy: "correct store.redis.username and password_path; Redis asks for a password if it has one",
};
const RIGHTS: Trouble = Trouble {
    cause: "rights",
    told: "the Redis user lacks a right",
    remedy: "give it the ACL rule of docs/replicas.md, for store.redis.key_prefix",
};
const FULL: Trouble = Trouble {
    cause: "full",
    told: "Redis has no memory left",
    remedy: "give it more memory; a few megabytes are enough for this service",
};
const READ_ONLY: Trouble = Trouble {
    cause: "read_only",
    told: "Redis takes no writes: it is a replica",
    remedy: "name the address of the master, or of the Sentinels with store.redis.mode = \"sentinel\"",
};
const LOADING: Trouble =
    Trouble { cause: "loading", told: "Redis is starting", remedy: "wait; if it lasts, see the log of Redis" };
const CANNOT_SAVE: Trouble = Trouble {
    cause: "cannot_save",
    told: "Redis takes no writes: it cannot save or replicate them",
    remedy: "see the log of Redis; this service needs no persistence of it",
};
const CLUSTER: Trouble = Trouble {
    cause: "cluster",
    told: "the Redis Cluster does not serve all of its slots",
    remedy: "see `redis-cli cluster info`; for a Cluster set store.redis.mode = \"cluster\"",
};
const TLS: Trouble = Trouble {
    cause: "tls",
    told: "no TLS connection to Redis comes about",
    remedy: "see whether Redis speaks TLS at this port, and what its log says",
};
const UNKNOWN_AUTHORITY: Trouble = Trouble {
    cause: "tls",
    told: "no authority that is trusted vouches for the certificate of Redis",
    remedy: "name the authority's certificate in store.redis.ca_path",
};
const OTHER_NAME: Trouble = Trouble {
    cause: "tls",
    told: "the certificate of Redis is for another name",
    remedy: "name it as its certificate does; what Sentinels and a Cluster announce has to be in it, too",
};
const EXPIRED: Trouble =
    Trouble { cause: "tls", told: "the certificate of Redis has expired", remedy: "renew it, and check the clocks" };
const UNREACHABLE: Trouble = Trouble {
    cause: "unreachable",
    told: "Redis cannot be reached",
    remedy: "check that it runs, its address in store.redis, and the network between",
};
const ODD: Trouble = Trouble {
    cause: "refused",
    told: "Redis refuses what it is asked",
    remedy: "see its version: 6.2 or later is needed",
};

impl Trouble {
    pub(super) const SLOW: Self = Self {
        cause: "slow",
        told: "Redis does not answer in time",
        remedy: "its answers are needed within 250 ms: see whether it hangs, is overloaded or far away, or speaks no TLS where rediss:// is written",
    };
    pub(super) const NONSENSE: Self = Self {
        cause: "nonsense",
        told: "what answers at the address of Redis is no Redis",
        remedy: "check the address in store.redis, and that rediss:// and redis:// are not mixed up",
    };
    pub(super) const NO_MASTER: Self = Self {
        cause: "no_master",
        told: "no Sentinel names a master",
        remedy: "check store.redis.master_name and the addresses of the Sentinels",
    };
    pub(super) const SETTINGS: Self = Self {
        cause: "settings",
        told: "the settings of store.redis make no connection",
        remedy: "this is a fault of Aquila: please report it",
    };

    pub(super) fn of(error: &RedisError) -> Self {
        let said = [error.code(), error.detail()];
        let known = |(word, _): &&(&str, Self)| said.iter().flatten().any(|text| text.contains(word));
        if let (Some((_, trouble)), false) = (WORDS.iter().find(known), error.is_io_error()) {
            return *trouble;
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => PASSWORD,
            ErrorKind::Io | ErrorKind::Client if error.is_timeout() => Self::SLOW,
            ErrorKind::Io => Self::of_io(error),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::NONSENSE,
            ErrorKind::ClusterConnectionNotFound => CLUSTER,
            ErrorKind::InvalidClientConfig => Self::SETTINGS,
            ErrorKind::Server(_) | ErrorKind::Extension => ODD,
            _ => UNREACHABLE,
        }
    }

    fn of_io(error: &RedisError) -> Self {
        match tls_error(error) {
            None => UNREACHABLE,
            Some(rustls::Error::InvalidCertificate(wrong)) => match wrong {
                // An authority that was made anew has the name of the old one and another key.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => UNKNOWN_AUTHORITY,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => OTHER_NAME,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => EXPIRED,
                _ => TLS,
            },
            Some(_) => TLS,
        }
    }
}

/// What rustls said, if it is behind an error.
fn tls_error(error: &RedisError) -> Option<&rustls::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(error);
        }
        cause = if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            // The client hands its own causes on in one of these.
            Some(shared.as_ref())
        } else if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner)
        } else {
            error.source()
        };
    }
    None
}
