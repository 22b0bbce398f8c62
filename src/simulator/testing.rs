//! What the simulator's own tests share: a key pair with its certificate, a signing side, and an HTTP client.
//!
//! The signing side is `jsonwebtoken`'s, written by others than the broker's.

use std::net::SocketAddr;
use std::sync::OnceLock;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{App, Running, Settings, Simulator, User};

pub(super) const CLIENT_ID: &str = "3MVG9SIMULATED";
pub(super) const USERNAME: &str = "elf@example.com";

/// An RSA key and the self-signed certificate of it.
pub(super) struct Pair {
    key: rcgen::KeyPair,
    pub(super) certificate_pem: String,
}

impl Pair {
    fn generate() -> Self {
        let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        Self { certificate_pem: params.self_signed(&key).unwrap().pem(), key }
    }

    /// The pair whose certificate is registered.
    pub(super) fn registered() -> &'static Self {
        static PAIR: OnceLock<Pair> = OnceLock::new();
        PAIR.get_or_init(Self::generate)
    }

    /// Somebody else's.
    pub(super) fn stranger() -> &'static Self {
        static PAIR: OnceLock<Pair> = OnceLock::new();
        PAIR.get_or_init(Self::generate)
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let key = EncodingKey::from_rsa_pem(self.key.serialize_pem().as_bytes()).unwrap();
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), claims, &key).unwrap()
    }

    /// RSA over any text, for assertions that no library would make.
    pub(super) fn sign_raw(&self, signed: &str) -> String {
        let key = EncodingKey::from_rsa_pem(self.key.serialize_pem().as_bytes()).unwrap();
        jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::RS256).unwrap()
    }

    pub(super) fn public_key_pem(&self) -> String {
        self.key.public_key_pem()
    }
}

pub(super) fn app() -> App {
    App::new(CLIENT_ID, Pair::registered().certificate_pem.as_bytes())
}

pub(super) fn settings() -> Settings {
    Settings { apps: vec![app()], users: vec![User::new(USERNAME)], ..Settings::default() }
}

/// Claims that are right at the second `now`.
pub(super) fn claims(now: i64) -> Value {
    json!({"iss": CLIENT_ID, "sub": USERNAME, "aud": "https://login.salesforce.com", "exp": now + 120})
}

/// A running simulator and a client for it.
pub(super) struct Rig {
    pub(super) simulator: Running,
    pub(super) http: reqwest::Client,
}

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Rig {
    pub(super) async fn start(settings: Settings) -> Self {
        Self { simulator: Simulator::start(settings).await.unwrap(), http: client() }
    }

    /// A client that trusts this authority only and takes the name for the address.
    #[expect(clippy::disallowed_methods, reason = "the broker's client is what these tests must not use")]
    pub(super) fn trusting(simulator: Running, authority: &[u8], (name, address): (&str, SocketAddr)) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let authority = reqwest::Certificate::from_pem(authority).unwrap();
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).resolve(name, address);
        Self { simulator, http: builder.build().unwrap() }
    }

    /// Seconds since 1970 by the simulator's clock.
    pub(super) fn now(&self) -> i64 {
        self.simulator.now().as_second()
    }

    pub(super) async fn send(&self, request: reqwest::RequestBuilder) -> Result<Reply, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Reply { status, headers, body: response.text().await? })
    }

    pub(super) fn token_request(&self, assertion: &str) -> reqwest::RequestBuilder {
        let body = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        let request = self.http.post(self.simulator.token_url());
        request.header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    pub(super) async fn post(&self, claims: &Value) -> Reply {
        self.send(self.token_request(&Pair::registered().sign(claims))).await.unwrap()
    }

    pub(super) async fn mint(&self) -> String {
        let reply = self.post(&claims(self.now())).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()["access_token"].as_str().unwrap().to_owned()
    }

    pub(super) async fn get(&self, token: &str, path: &str) -> Reply {
        let url = format!("{}{path}", self.simulator.base_url());
        self.send(self.http.get(url).bearer_auth(token)).await.unwrap()
    }
}

#[expect(clippy::disallowed_methods, reason = "the broker's client is what these tests must not use")]
fn client() -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
