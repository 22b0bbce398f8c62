//! How Redis is reached: one server, by way of Sentinels, or a Cluster.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisError, TlsCertificates, Value,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::secrets::Access;
use super::trouble::Trouble;
use crate::config::{Address, Credentials, Redis, RedisMode};

/// To connect may take longer than a question: nobody waits for it.
const CONNECT: Duration = Duration::from_secs(1);
/// A name in a Cluster or at a Sentinel that is longer is none.
const LONGEST_HOST: usize = 253;

/// A connection that many may use at once.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(Box<ClusterConnection>),
}

impl Connection {
    pub(super) async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(&mut **connection).await,
        }
    }
}

/// Connects once, by `access` alone: who logs in may have changed since the settings were read. An answer may take
/// `answers_within` on this connection.
pub(super) async fn dial(settings: &Redis, access: &Access, answers_within: Duration) -> Result<Connection, Trouble> {
    let way = Way { settings, access, answers_within };
    let most =
        CONNECT.saturating_mul(2 + u32::try_from(settings.addresses.len()).unwrap_or(u32::MAX).saturating_mul(2));
    timeout(most, way.connect()).await.unwrap_or(Err(Trouble::SLOW))
}

struct Way<'a> {
    settings: &'a Redis,
    access: &'a Access,
    answers_within: Duration,
}

impl Way<'_> {
    async fn connect(&self) -> Result<Connection, Trouble> {
        let redis = self.settings;
        match redis.mode {
            RedisMode::Single => {
                let address = redis.addresses.first().ok_or(Trouble::SETTINGS)?;
                self.server(address).await
            }
            RedisMode::Sentinel => {
                let master = self.master().await?;
                self.server(&master).await
            }
            RedisMode::Cluster => self.cluster().await,
        }
    }

    async fn server(&self, address: &Address) -> Result<Connection, Trouble> {
        let login = login(&self.access.credentials).set_db(self.settings.database.into());
        self.open(address, login, self.answers_within).await.map(Connection::One)
    }

    /// What the first Sentinel that answers calls the master.
    async fn master(&self) -> Result<Address, Trouble> {
        let name = self.settings.master_name.as_deref().ok_or(Trouble::SETTINGS)?;
        let mut trouble = Trouble::NO_MASTER;
        for sentinel in &self.settings.addresses {
            let mut connection = match self.open(sentinel, login(&self.access.sentinel_credentials), CONNECT).await {
                Ok(connection) => connection,
                Err(found) => {
                    trouble = found;
                    continue;
                }
            };
            let command = redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(name).to_owned();
            match command.query_async(&mut connection).await {
                Ok(Value::Array(parts)) => match master(&parts, sentinel.tls) {
                    Some(master) => return Ok(master),
                    None => trouble = Trouble::NONSENSE,
                },
                Ok(Value::Nil) => trouble = Trouble::NO_MASTER,
                Ok(_) => trouble = Trouble::NONSENSE,
                Err(error) => trouble = Trouble::of(&error),
            }
        }
        Err(trouble)
    }

    async fn cluster(&self) -> Result<Connection, Trouble> {
        let nodes = self.settings.addresses.iter().map(|address| info(address, RedisConnectionInfo::default()));
        let nodes = nodes.collect::<Result<Vec<_>, _>>().map_err(|_| Trouble::SETTINGS)?;
        let mut builder = ClusterClientBuilder::new(nodes)
            .use_protocol(ProtocolVersion::RESP2)
            .connection_timeout(CONNECT)
            .response_timeout(self.answers_within);
        let Credentials { username, password } = &self.access.credentials;
        if let Some(username) = username {
            builder = builder.username(username);
        }
        if let Some(password) = password {
            builder = builder.password(password.expose_secret());
        }
        if self.settings.addresses.iter().any(|address| address.tls) {
            builder = builder.certs(self.certificates());
        }
        let client = builder.build().map_err(|_| Trouble::SETTINGS)?;
        let connection = client.get_async_connection().await.map_err(|error| Trouble::of(&error))?;
        Ok(Connection::Cluster(Box::new(connection)))
    }

    async fn open(
        &self,
        address: &Address,
        login: RedisConnectionInfo,
        answers_within: Duration,
    ) -> Result<MultiplexedConnection, Trouble> {
        let info = info(address, login).map_err(|_| Trouble::SETTINGS)?;
        let client = if address.tls { Client::build_with_tls(info, self.certificates()) } else { Client::open(info) };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(answers_within));
        let connecting = client.map_err(|_| Trouble::SETTINGS)?;
        let connection = connecting.get_multiplexed_async_connection_with_config(&config).await;
        connection.map_err(|error| Trouble::of(&error))
    }

    fn certificates(&self) -> TlsCertificates {
        let authorities = self.access.authorities.as_ref().map(|pem| pem.as_ref().clone());
        TlsCertificates { client_tls: None, root_cert: authorities }
    }
}

/// As a server takes it; nothing is told to it that it does not have to know.
fn login(Credentials { username, password }: &Credentials) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    if let Some(username) = username {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(password.expose_secret());
    }
    login
}

fn info(address: &Address, login: RedisConnectionInfo) -> Result<ConnectionInfo, RedisError> {
    let Address { host, port, tls } = address.clone();
    let address = match tls {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    };
    Ok(address.into_connection_info()?.set_redis_settings(login))
}

/// A host and a port, as a Sentinel names them. TLS is spoken to both, or to none.
fn master(parts: &[Value], tls: bool) -> Option<Address> {
    let [Value::BulkString(host), Value::BulkString(port)] = parts else { return None };
    let host = std::str::from_utf8(host).ok()?;
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    let port = std::str::from_utf8(port).ok()?.parse().ok()?;
    let good = (1..=LONGEST_HOST).contains(&host.len()) && host.bytes().all(is_good);
    good.then(|| Address { host: host.to_owned(), port, tls })
}

/// Whether a bundle can be used.
pub(super) fn try_authorities(pem: &[u8]) -> Result<(), String> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| "this is no PEM bundle of certificates".to_owned())?;
        store.add(certificate).map_err(|error| format!("a certificate of this bundle cannot be used: {error}"))?;
    }
    if store.is_empty() { Err("there is no certificate in this file".to_owned()) } else { Ok(()) }
}

/// Mozilla's, in the form that the client takes.
pub(super) fn bundled() -> Vec<u8> {
    let pem = |der: &CertificateDer<'_>| {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64_STANDARD.encode(der))
    };
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(pem).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: &[&str]) -> Vec<Value> {
        parts.iter().map(|part| Value::BulkString(part.as_bytes().to_vec())).collect()
    }

    #[test]
    fn what_a_sentinel_calls_the_master_is_a_host_and_a_port() {
        let good = master(&parts(&["10.0.0.7", "6379"]), true).unwrap();
        assert_eq!((good.host.as_str(), good.port, good.tls), ("10.0.0.7", 6379, true));
        assert!(master(&parts(&["fd00::7", "6379"]), true).is_some());
        for wrong in [&["", "6379"][..], &["a b", "1"], &["a", "70000"], &["a", "x"], &["a"], &["a", "1", "b"]] {
            assert_eq!(master(&parts(wrong), true), None, "{wrong:?}");
        }
    }

    #[test]
    fn mozillas_authorities_have_the_form_that_is_taken() {
        assert_eq!(try_authorities(&bundled()), Ok(()));
        assert!(try_authorities(b"").is_err());
        assert!(try_authorities(b"hunter2").is_err());
    }
}
