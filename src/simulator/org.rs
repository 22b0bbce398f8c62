//! The simulated org: registered apps with their public keys and users with their ids.
//!
//! Built from `Settings`; an app that is in here has a readable RSA certificate. Lookups are by what an assertion
//! names: consumer key and username (case does not matter in usernames, as at Salesforce).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jsonwebtoken::DecodingKey;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::settings::{App, User};

/// Why an app cannot be registered.
#[derive(Debug, thiserror::Error)]
#[error("app `{client_id}`: {reason}")]
pub struct RegisterError {
    /// The consumer key of the app.
    pub client_id: String,
    /// What is wrong with its certificate.
    pub reason: &'static str,
}

/// The largest certificate that Setup takes.
const CERTIFICATE_LIMIT: usize = 4 * 1024;

#[derive(Clone)]
pub(super) struct Org {
    /// 15 characters.
    pub(super) id: String,
    /// Whether only apps on the allowlist may be used.
    pub(super) api_access_control: bool,
    pub(super) sandbox: bool,
    apps: BTreeMap<String, Arc<RegisteredApp>>,
    users: BTreeMap<String, Arc<RegisteredUser>>,
}

pub(super) struct RegisteredApp {
    pub(super) is: App,
    certificate: Certificate,
    /// A certificate that was uploaded, and when it is applied.
    coming: Option<(Certificate, Timestamp)>,
}

#[derive(Clone)]
pub(super) struct Certificate {
    pub(super) key: DecodingKey,
    pub(super) ends: Timestamp,
}

impl RegisteredApp {
    /// The certificate that counts at this time. There is one, never two.
    pub(super) fn certificate(&self, now: Timestamp) -> &Certificate {
        match &self.coming {
            Some((coming, from)) if *from <= now => coming,
            _ => &self.certificate,
        }
    }
}

#[derive(Debug)]
pub(super) struct RegisteredUser {
    /// 18 characters.
    pub(super) id: String,
    pub(super) is: User,
}

impl Org {
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            api_access_control: false,
            sandbox: false,
            apps: BTreeMap::new(),
            users: BTreeMap::new(),
        }
    }

    /// The id in its 18-character form.
    pub(super) fn long_id(&self) -> String {
        long_id(&self.id)
    }

    pub(super) fn app(&self, client_id: &str) -> Option<&Arc<RegisteredApp>> {
        self.apps.get(client_id)
    }

    pub(super) fn user(&self, username: &str) -> Option<&Arc<RegisteredUser>> {
        self.users.get(&username.to_lowercase())
    }

    pub(super) fn users(&self) -> impl Iterator<Item = &Arc<RegisteredUser>> {
        self.users.values()
    }

    /// Adds the app, or replaces the one with the same consumer key.
    pub(super) fn put_app(&mut self, app: App) -> Result<(), RegisterError> {
        let known = self.apps.get(&app.client_id).filter(|known| known.is.certificate == app.certificate);
        let (certificate, coming) = match known {
            // One that is still to be applied stays so.
            Some(known) => (known.certificate.clone(), known.coming.clone()),
            None => (registered(&app.client_id, &app.certificate)?, None),
        };
        let client_id = app.client_id.clone();
        self.apps.insert(client_id, Arc::new(RegisteredApp { is: app, certificate, coming }));
        Ok(())
    }

    /// Takes a new certificate for an app and applies it at that time: Salesforce needs minutes.
    pub(super) fn upload(
        &mut self,
        client_id: &str,
        uploaded: &[u8],
        (now, applies): (Timestamp, Timestamp),
    ) -> Result<(), RegisterError> {
        let coming = registered(client_id, uploaded)?;
        let known = self.apps.get(client_id);
        let reason = "no app has this consumer key";
        let known = known.ok_or_else(|| RegisterError { client_id: client_id.to_owned(), reason })?;
        let is = App { certificate: uploaded.to_vec(), ..known.is.clone() };
        let certificate = known.certificate(now).clone();
        let app = RegisteredApp { is, certificate, coming: Some((coming, applies)) };
        self.apps.insert(client_id.to_owned(), Arc::new(app));
        Ok(())
    }

    /// Adds the user, or replaces the one with the same username, who keeps the id.
    pub(super) fn put_user(&mut self, user: User) {
        let name = user.username.to_lowercase();
        let id = match self.users.get(&name) {
            Some(known) => known.id.clone(),
            None => long_id(&format!("0055g00000{}", base62(self.users.len() as u64 + 1, 5))),
        };
        self.users.insert(name, Arc::new(RegisteredUser { id, is: user }));
    }
}

fn registered(client_id: &str, certificate: &[u8]) -> Result<Certificate, RegisterError> {
    let (key, ends) =
        public_key(certificate).map_err(|reason| RegisterError { client_id: client_id.to_owned(), reason })?;
    Ok(Certificate { key, ends })
}

/// The public key that the certificate holds, and the end of its validity.
fn public_key(certificate: &[u8]) -> Result<(DecodingKey, Timestamp), &'static str> {
    if certificate.len() > CERTIFICATE_LIMIT {
        return Err("the certificate is larger than the 4 KB that Setup takes");
    }
    let pem = x509_parser::pem::parse_x509_pem(certificate);
    let der = match &pem {
        Ok((_, pem)) if pem.label == "CERTIFICATE" => pem.contents.as_slice(),
        Ok(_) => return Err("the PEM file does not begin with a certificate"),
        Err(_) => certificate,
    };
    let (_, parsed) = X509Certificate::from_der(der).map_err(|_| "this is no X.509 certificate in PEM or DER")?;
    let spki = parsed.public_key();
    match spki.parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() >= 2048 => {}
        Ok(PublicKey::RSA(_)) => return Err("the RSA key has fewer than 2048 bits"),
        _ => return Err("the certificate holds no RSA key"),
    }
    let ends = Timestamp::from_second(parsed.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX);
    Ok((DecodingKey::from_rsa_der(&spki.subject_public_key.data), ends))
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The number in `width` characters of Salesforce's id alphabet.
pub(super) fn base62(number: u64, width: u32) -> String {
    let digit = |place| {
        let index = (number / 62_u64.saturating_pow(place)) % 62;
        usize::try_from(index).ok().and_then(|index| BASE62.get(index)).map_or('0', |&byte| char::from(byte))
    };
    (0..width).rev().map(digit).collect()
}

/// The id of the site at this URL. UNSURE: that it has the prefix of a `Site` and not of a `Network`.
pub(super) fn site_id(url: &str) -> String {
    let number = url.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    long_id(&format!("0DM5g000000{}", base62(number, 4)))
}

/// The 18-character form of a 15-character id: three more characters that tell which letters are capitals.
pub(super) fn long_id(id: &str) -> String {
    const SUFFIX: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    let capitals = |block: &[u8]| {
        let set = |bits, (place, byte): (usize, &u8)| bits | usize::from(byte.is_ascii_uppercase()) << place;
        block.iter().enumerate().fold(0, set)
    };
    let suffix = id.as_bytes().chunks(5).filter_map(|block| SUFFIX.get(capitals(block)).copied());
    id.chars().chain(suffix.map(char::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_long_id_tells_the_capitals() {
        // The pair stands in Salesforce's own explanation of the two forms.
        assert_eq!(long_id("001A0000006Vm9u"), "001A0000006Vm9uIAC");
        assert_eq!(long_id("00D5g00000SIMU1").len(), 18);
    }

    #[test]
    fn a_file_that_is_no_certificate_is_refused_by_name() {
        let mut org = Org::new("00D5g00000SIMU1");
        for bytes in [&b""[..], b"hello", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", &[0; 5000]]
        {
            let error = org.put_app(App::new("3MVG9", bytes)).unwrap_err();
            assert!(error.to_string().starts_with("app `3MVG9`: "), "{error}");
        }
    }

    #[test]
    fn a_replaced_user_keeps_the_id() {
        let mut org = Org::new("00D5g00000SIMU1");
        org.put_user(User::new("elf@example.com"));
        let id = org.user("ELF@example.com").unwrap().id.clone();
        org.put_user(User { api_enabled: false, ..User::new("elf@example.com") });
        let user = org.user("elf@example.com").unwrap();
        assert_eq!((user.id.as_str(), user.is.api_enabled), (id.as_str(), false));
    }
}
