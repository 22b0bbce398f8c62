//! An issuer of JWTs: keys, a key set over a real socket, and the discovery document that leads to it. It signs with
//! other code than verifies.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A P-256 key pair with a name.
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    pair: KeyPair,
}

impl SigningKey {
    pub(crate) fn new(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap() }
    }

    /// The public key as operators get it.
    pub(crate) fn public_pem(&self) -> String {
        self.pair.public_key_pem()
    }

    /// A compact JWT with these claims; the header names the key.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES256) };
        self.sign_with(&header, claims)
    }

    pub(crate) fn sign_with(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &EncodingKey::from_ec_der(&self.pair.serialize_der())).unwrap()
    }

    pub(crate) fn jwk(&self) -> Value {
        let point = self.pair.der_bytes();
        let number = |range: std::ops::Range<usize>| BASE64_URL_SAFE_NO_PAD.encode(point.get(range).unwrap());
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid,
               "x": number(1..33), "y": number(33..65)})
    }
}

/// The same claims, but one of them says something else.
pub(crate) fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().unwrap().insert(name.to_owned(), value);
    claims
}

/// The same claims without one of them.
pub(crate) fn without(claims: &Value, name: &str) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

/// A running issuer; dropping it ends it.
pub(crate) struct Issuer {
    pub(crate) url: String,
    book: Arc<Book>,
    _stop: DropGuard,
}

#[derive(Default)]
struct Book {
    url: Mutex<String>,
    /// The text of the key set, and the status that it is served with.
    keys: Mutex<(StatusCode, String)>,
    fetches: AtomicU64,
    authorizations: Mutex<Vec<String>>,
}

impl Issuer {
    /// With these keys.
    pub(crate) async fn with(keys: &[&SigningKey]) -> Self {
        let book = Arc::new(Book::default());
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(key_set))
            .with_state(Arc::clone(&book));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        url.clone_into(&mut book.url.lock().unwrap());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let serve = async { axum::serve(listener, routes).with_graceful_shutdown(stopped).await };
        TaskTracker::new().spawn(serve);
        let issuer = Self { url, book, _stop: stop.drop_guard() };
        issuer.publish(keys);
        issuer
    }

    /// Publishes these keys and no others.
    pub(crate) fn publish(&self, keys: &[&SigningKey]) {
        self.answer(StatusCode::OK, &json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string());
    }

    /// Answers this to whoever asks for keys.
    pub(crate) fn answer(&self, status: StatusCode, text: &str) {
        *self.book.keys.lock().unwrap() = (status, text.to_owned());
    }

    /// How often its keys were asked for.
    pub(crate) fn fetches(&self) -> u64 {
        self.book.fetches.load(Ordering::SeqCst)
    }

    /// What was sent as `Authorization`, one for each request.
    pub(crate) fn authorizations(&self) -> Vec<String> {
        self.book.authorizations.lock().unwrap().clone()
    }
}

/// Serves one key set over TLS, as this host and under an authority of its own: the URL, and the authority in PEM.
pub(crate) async fn over_tls(host: &str, keys: &[&SigningKey]) -> (String, String, DropGuard) {
    let pair = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().self_signed(&pair).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let body = json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("https://{host}:{}/keys", listener.local_addr().unwrap().port());
    let stop = CancellationToken::new();
    let serve = async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // One that trusts somebody else leaves here.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    };
    TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(serve));
    (url, certificate.pem(), stop.drop_guard())
}

async fn discovery(State(book): State<Arc<Book>>, headers: HeaderMap) -> Response {
    book.note(&headers);
    let url = book.url.lock().unwrap().clone();
    axum::Json(json!({"issuer": url, "jwks_uri": format!("{url}/keys")})).into_response()
}

async fn key_set(State(book): State<Arc<Book>>, headers: HeaderMap) -> Response {
    book.note(&headers);
    book.fetches.fetch_add(1, Ordering::SeqCst);
    let (status, text) = book.keys.lock().unwrap().clone();
    (status, text).into_response()
}

impl Book {
    fn note(&self, headers: &HeaderMap) {
        let sent = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        self.authorizations.lock().unwrap().push(sent.unwrap_or_default());
    }
}
