//! What callers may prove themselves with beside API keys: issuers of JWTs, rules on what these say, and callers' own
//! public keys.

use std::path::PathBuf;

use serde_json::Value;
use url::Url;

use super::Proxy;
use super::report::Located;
use crate::names::{IssuerName, SubjectPattern};
use crate::signature::{Algorithm, VerifyingKey};

/// `[issuers.NAME]`.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// Its name here. Two clusters may well have the same `iss`.
    pub name: IssuerName,
    /// `iss` of its tokens, byte for byte.
    pub issuer: String,
    /// `aud` of tokens that are meant for us, byte for byte.
    pub audience: String,
    /// What it may sign with.
    pub algorithms: Vec<Algorithm>,
    /// Where its keys come from.
    pub keys: KeySource,
}

/// Where the keys of an issuer come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A file, read once for each generation.
    File {
        /// Where it stands.
        path: Located<PathBuf>,
        /// What was in it.
        content: Vec<u8>,
    },
    /// The network.
    Fetched(Box<KeyServer>),
}

/// Whom to ask for keys.
#[derive(Debug, Clone)]
pub struct KeyServer {
    /// The key set itself, or the document that says where it is.
    pub url: Url,
    /// Whether it is the document (OpenID Connect Discovery 1.0).
    pub discovery: bool,
    /// PEM certificates of the authorities that vouch for it, instead of those of this machine.
    pub ca: Option<(Located<PathBuf>, Vec<u8>)>,
    /// File with a token that it asks for; read for each fetch, for clusters change it.
    pub bearer_token_path: Option<PathBuf>,
    /// Egress proxy to it; never for loopback.
    pub proxy: Option<Proxy>,
}

/// What a caller may prove itself with, beside API keys.
#[derive(Debug, Clone, Default)]
pub struct Proofs {
    /// Rules on tokens of issuers; one that fits is enough.
    pub jwt: Vec<JwtRule>,
    /// Its own keys.
    pub public_keys: Vec<VerifyingKey>,
    /// Whether its key may also sign a request for a token (RFC 7523 section 2.1).
    pub jwt_bearer_grant: bool,
}

/// A rule on what a token says. All of it has to fit.
#[derive(Debug, Clone)]
pub struct JwtRule {
    /// Whose tokens.
    pub issuer: IssuerName,
    /// `sub`, whole.
    pub sub: Option<SubjectPattern>,
    /// Other claims, by exact value.
    pub claims: Vec<(String, Value)>,
}

impl Proofs {
    /// Whether there is anything to prove with.
    pub fn is_empty(&self) -> bool {
        self.jwt.is_empty() && self.public_keys.is_empty()
    }
}
