//! `[issuers.NAME]`, and what callers prove themselves with beside API keys.

use std::collections::BTreeMap;

use url::Url;
use x509_parser::prelude::{FromDer, X509Certificate};

use rustls::pki_types::pem::{self, SectionKind};

use super::Workshop;
use super::proxy;
use crate::config::hosts;
use crate::config::report::{Located, Report};
use crate::config::setting::{Field, relocated};
use crate::config::source::{self, LARGEST_PEM};
use crate::config::values::Named;
use crate::config::{Issuer, JwtRule, KeyServer, KeySource, Proofs, Server, file, show};
use crate::hash::ShortHex;
use crate::names::{CallerName, IssuerName, SubjectPattern};
use crate::signature::{Algorithm, VerifyingKey};

const DISCOVERY: &str = "/.well-known/openid-configuration";
const DEFAULT_ALGORITHMS: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];
/// More than any issuer has.
const LARGEST_KEY_SET: u64 = 256 * 1024;

/// What the proofs of all callers are checked against.
pub(super) struct Bench<'a> {
    /// Issuers by name, also those whose settings are wrong.
    issuers: BTreeMap<String, bool>,
    public_url: Option<&'a str>,
    /// Whose each public key is.
    owners: BTreeMap<String, CallerName>,
    /// Whose each rule on tokens is.
    rules: BTreeMap<String, CallerName>,
}

pub(super) fn issuers(
    field: Field<Named<IssuerName, Located<file::Issuer>>>,
    public_url: Option<&str>,
    shop: &mut Workshop<'_>,
) -> Option<Vec<Issuer>> {
    let built = field.value?.sections.into_iter().map(|(name, file)| issuer(name, file, public_url, shop));
    // All are looked at before one that is wrong empties the whole.
    let mut issuers = built.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()?;
    issuers.sort_by(|a, b| a.name.cmp(&b.name));
    Some(issuers)
}

fn issuer(
    name: IssuerName,
    file: Located<file::Issuer>,
    public_url: Option<&str>,
    shop: &mut Workshop<'_>,
) -> Option<Issuer> {
    let at = relocated(&file, ());
    let file = file.value;
    let audience = match (file.audience.written, file.audience.value, public_url) {
        (true, audience, _) => audience.map(|text| text.0),
        (false, _, Some(url)) => Some(url.to_owned()),
        (false, _, None) => {
            let remedy = "set `server.public_url`, or `audience` here";
            shop.report.error(&at, "nothing says which `aud` its tokens must have", remedy);
            None
        }
    };
    let pinned = file.algorithms.value.map(|list| list.into_iter().map(|it| it.value).collect::<Vec<_>>());
    let algorithms = pinned.map(|list| if list.is_empty() { DEFAULT_ALGORITHMS.to_vec() } else { list });
    let issuer = file.issuer.located();
    let source = Source {
        jwks_url: file.jwks_url,
        jwks_path: file.jwks_path,
        ca_path: file.ca_path,
        bearer_token_path: file.bearer_token_path,
        proxy: proxy::Settings {
            url: file.proxy_url,
            credentials_path: file.proxy_credentials_path,
            credentials_env: file.proxy_credentials_env,
        },
    };
    let keys = issuer.as_ref().and_then(|issuer| key_source(issuer, source, shop));
    Some(Issuer { name, issuer: issuer?.value.0, audience: audience?, algorithms: algorithms?, keys: keys? })
}

struct Source {
    jwks_url: Field<crate::config::proof_values::KeyUrl>,
    jwks_path: Field<crate::config::values::FilePath>,
    ca_path: Field<crate::config::values::FilePath>,
    bearer_token_path: Field<crate::config::values::FilePath>,
    proxy: proxy::Settings,
}

fn key_source(
    issuer: &Located<crate::config::proof_values::IssuerText>,
    source: Source,
    shop: &mut Workshop<'_>,
) -> Option<KeySource> {
    if source.jwks_url.written && source.jwks_path.written {
        let remedy = "keep `jwks_url` or `jwks_path`, not both";
        shop.report.error(&source.jwks_path.at, "its keys are configured twice", remedy);
        return None;
    }
    if source.jwks_path.written {
        let written = [&source.ca_path, &source.bearer_token_path].into_iter().filter(|field| field.written);
        for unused in written.map(|field| &field.at).chain(source.proxy.written()) {
            let message = "this has no effect: with `jwks_path` nobody is asked";
            shop.report.warning(unused, message, "remove it, or `jwks_path`");
        }
        let path = shop.path(source.jwks_path)?;
        let content = content(&path, &path.value, LARGEST_KEY_SET, shop)?;
        return Some(KeySource::File { path, content });
    }
    let discovery = !source.jwks_url.written;
    let url = match source.jwks_url.value {
        _ if discovery => discovery_url(issuer, &mut shop.report),
        url => url.map(|url| url.0),
    };
    // The outer nothing: it is configured, and cannot be read. All are looked at before one that is wrong ends it.
    let ca = match shop.path(source.ca_path) {
        Some(path) => content(&path, &path.value, LARGEST_PEM, shop).map(|content| Some((path, content))),
        None => Some(None),
    };
    // Not one of the files that are watched: clusters change it by the hour, and it is read for each fetch.
    let token = source.bearer_token_path.located();
    let bearer_token_path = match token.map(|at| (shop.resolve(&at.value), at)) {
        Some((path, at)) => content(&at, &path, LARGEST_KEY_SET, shop).map(|_| Some(path)),
        None => Some(None),
    };
    let proxy = source.proxy.proxy(shop);
    let (ca, bearer_token_path) = (ca?, bearer_token_path?);
    Some(KeySource::Fetched(Box::new(KeyServer { url: url?, discovery, ca, bearer_token_path, proxy })))
}

/// OpenID Connect Discovery 1.0 section 4: the well-known part follows the path of the issuer.
fn discovery_url(issuer: &Located<crate::config::proof_values::IssuerText>, report: &mut Report) -> Option<Url> {
    let text = format!("{}{DISCOVERY}", issuer.value.0.trim_end_matches('/'));
    let url = Url::parse(&text).ok().filter(|url| {
        let safe = url.scheme() == "https" || (url.scheme() == "http" && hosts::is_loopback(url));
        safe && url.username().is_empty() && url.password().is_none() && url.query().is_none()
    });
    if url.is_none() {
        let remedy = "set `jwks_url` or `jwks_path`: this `issuer` does not say where its keys are";
        report.error(issuer, "this is no https URL, so its keys cannot be found by it", remedy);
    }
    url
}

fn content<T>(at: &Located<T>, path: &std::path::Path, largest: u64, shop: &mut Workshop<'_>) -> Option<Vec<u8>> {
    match source::read(path, largest) {
        Ok(content) => Some(content.bytes.to_vec()),
        Err(error) => {
            shop.report.error(at, error.to_string(), error.remedy());
            None
        }
    }
}

impl<'a> Bench<'a> {
    pub(super) fn new(field: &Field<Named<IssuerName, Located<file::Issuer>>>, public_url: Option<&'a str>) -> Self {
        let names = field.value.iter().flat_map(|named| named.names.iter().cloned());
        Self {
            issuers: names.map(|name| (name, false)).collect(),
            public_url,
            owners: BTreeMap::new(),
            rules: BTreeMap::new(),
        }
    }

    /// What a caller proves itself with, as far as it is right.
    pub(super) fn proofs(
        &mut self,
        caller: &CallerName,
        file: CallersProofs,
        shop: &mut Workshop<'_>,
    ) -> Option<Proofs> {
        let grant = file.jwt_bearer_grant;
        let keyless = !file.public_keys.written;
        let keys_at = file.public_keys.at.clone();
        let mut jwt = Vec::new();
        for rule in file.jwt.value? {
            let at = relocated(&rule, ());
            let rule = self.rule(rule, &mut shop.report);
            jwt.extend(rule.and_then(|rule| self.own_rule(caller, rule, &at, &mut shop.report)));
        }
        if file.kubernetes.written {
            for account in file.kubernetes.value?.0 {
                let at = relocated(&account, ());
                let rule = self.account(account, &mut shop.report);
                jwt.extend(rule.and_then(|rule| self.own_rule(caller, rule, &at, &mut shop.report)));
            }
        }
        let mut public_keys = Vec::new();
        for key in file.public_keys.value? {
            public_keys.extend(self.public_key(caller, key, shop));
        }
        if !public_keys.is_empty() && self.public_url.is_none() {
            let remedy = "set `server.public_url`: it is the `aud` of what callers sign";
            shop.report.error(&keys_at, "without `server.public_url` no assertion can be meant for us", remedy);
        }
        let jwt_bearer_grant = grant.value?;
        if jwt_bearer_grant && keyless {
            let remedy = "add `public_keys`, or remove this";
            shop.report.error(&grant.at, "this caller has no key to sign a grant with", remedy);
        }
        Some(Proofs { jwt, public_keys, jwt_bearer_grant })
    }

    /// Warns of issuers that no caller names.
    pub(super) fn finish(&self, at: &Located<()>, report: &mut Report) {
        for (name, _) in self.issuers.iter().filter(|(_, used)| !**used) {
            let message = format!("no caller has a rule for the issuer {}", show::value(name));
            report.warning(at, message, "add `jwt` or `kubernetes` to a caller, or remove the issuer");
        }
    }

    fn rule(&mut self, rule: Located<file::Jwt>, report: &mut Report) -> Option<JwtRule> {
        let at = relocated(&rule, ());
        let rule = rule.value;
        let written = rule.sub.written;
        let issuer = self.issuer(rule.issuer, report);
        let (sub, claims) = (rule.sub.value, rule.claims.value?.0);
        if written && sub.is_none() {
            return None;
        }
        if claims.is_empty() && sub.as_ref().is_none_or(SubjectPattern::is_everybody) {
            let remedy = "say who in `sub`, or what else has to be true in `claims`";
            report.error(&at, "this rule lets in everybody who has a token of this issuer", remedy);
            return None;
        }
        Some(JwtRule { issuer: issuer?, sub, claims })
    }

    /// A token that fits the rules of two callers proves neither, so the same rule belongs to one caller only.
    fn own_rule(
        &mut self,
        caller: &CallerName,
        rule: JwtRule,
        at: &Located<()>,
        report: &mut Report,
    ) -> Option<JwtRule> {
        let mut claims: Vec<String> = rule.claims.iter().map(|(name, value)| format!("{name:?}={value}")).collect();
        claims.sort();
        let sub = rule.sub.as_ref().map(SubjectPattern::as_str);
        match self.rules.insert(format!("{} {sub:?} {claims:?}", rule.issuer), caller.clone()) {
            Some(owner) if owner != *caller => {
                let message = format!("caller `{owner}` has the same rule for the issuer `{}`", rule.issuer);
                report.error(at, message, "leave it to one of the two: a token proves one caller");
                None
            }
            _ => Some(rule),
        }
    }

    fn account(&mut self, account: Located<file::Kubernetes>, report: &mut Report) -> Option<JwtRule> {
        let file::Kubernetes { issuer, namespace, service_account } = account.value;
        let issuer = self.issuer(issuer, report);
        let (namespace, account) = (namespace.value?.0, service_account.value?.0);
        let sub = format!("system:serviceaccount:{namespace}:{account}").parse().ok();
        Some(JwtRule { issuer: issuer?, sub, claims: Vec::new() })
    }

    fn issuer(&mut self, name: Field<IssuerName>, report: &mut Report) -> Option<IssuerName> {
        let name = name.located()?;
        match self.issuers.get_mut(name.value.as_str()) {
            Some(used) => {
                *used = true;
                Some(name.value)
            }
            None => {
                let near = show::nearest(name.value.as_str(), self.issuers.keys().map(String::as_str));
                let remedy = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("add `[issuers.{}]`", name.value),
                };
                report.error(&name, "there is no issuer of this name", remedy);
                None
            }
        }
    }

    /// A key tells who calls, so it belongs to one caller only.
    fn public_key(
        &mut self,
        caller: &CallerName,
        key: Located<file::PublicKey>,
        shop: &mut Workshop<'_>,
    ) -> Option<VerifyingKey> {
        let algorithm = key.value.algorithm.value;
        let path = shop.path(key.value.path)?;
        let pem = source::read(&path.value, LARGEST_PEM);
        let pem = pem.map_err(|error| shop.report.error(&path, error.to_string(), error.remedy())).ok()?;
        let der = match public_key_in(&pem.bytes) {
            Ok(der) => der,
            Err((message, remedy)) => {
                shop.report.error(&path, message, remedy);
                return None;
            }
        };
        let read = VerifyingKey::from_spki(&der, algorithm?);
        let read = read.map_err(|error| shop.report.error(&path, error.to_string(), KEY_REMEDY)).ok()?;
        let digest = ShortHex::to_string(&read.digest());
        match self.owners.insert(digest, caller.clone()) {
            Some(owner) if owner != *caller => {
                let message = format!("caller `{owner}` has the same public key");
                shop.report.error(&path, message, "make a key pair for each caller");
                None
            }
            _ => Some(read),
        }
    }
}

const KEY_REMEDY: &str = "name the right file, or set `algorithm` to RS256 or PS256 (RSA), ES256 (P-256), ES384 (P-384) \
                          or EdDSA (Ed25519)";

/// The settings of a caller that are about proofs.
pub(super) struct CallersProofs {
    pub(super) jwt: Field<Vec<Located<file::Jwt>>>,
    pub(super) kubernetes: Field<crate::config::proof_values::OneOrSeveral<Located<file::Kubernetes>>>,
    pub(super) public_keys: Field<Vec<Located<file::PublicKey>>>,
    pub(super) jwt_bearer_grant: Field<bool>,
}

impl CallersProofs {
    /// Whether there is one, right or wrong.
    pub(super) fn any(&self) -> bool {
        self.jwt.written || self.kubernetes.written || self.public_keys.written
    }
}

/// The one public key in a PEM file, or that of the first certificate in it.
fn public_key_in(mut pem: &[u8]) -> Result<Vec<u8>, (&'static str, &'static str)> {
    let unreadable = ("this is no PEM file with a public key or a certificate", "write it with `openssl pkey -pubout`");
    let mut found = None;
    while let Some((kind, der)) = pem::from_buf(&mut pem).map_err(|_| unreadable)? {
        match kind {
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                let remedy = "put the public key here (`openssl pkey -pubout`); a private key that has left its caller \
                              should be replaced";
                return Err(("this file holds a private key, which belongs to the caller alone", remedy));
            }
            SectionKind::PublicKey if found.is_some() => {
                return Err(("this file holds more than one public key", "put each into a file of its own"));
            }
            SectionKind::PublicKey => found = Some(der),
            SectionKind::Certificate if found.is_none() => {
                let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| unreadable)?;
                found = Some(certificate.tbs_certificate.subject_pki.raw.to_vec());
            }
            _ => {}
        }
    }
    found.ok_or(unreadable)
}

/// `public_url` as the builders of proofs need it.
pub(super) fn public_url(doors: Option<&(Server, crate::config::Ops)>) -> Option<String> {
    doors.and_then(|(server, _)| server.issuer().map(str::to_owned))
}
