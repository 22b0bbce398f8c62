//! PKCS#12 (RFC 7292): what keytool writes since Java 9 under any name, and what openssl and Windows export.
//!
//! An own reader, because no library bounds what a file may cost: in those that there are each of thousands of bags may
//! ask for a million rounds, and what was decrypted is left behind in memory. Here the rounds of a file are counted in
//! all, only the key that is meant is decrypted, and what was decrypted is wiped. Integrity is verified before anything
//! is decrypted, if the file has it.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use zeroize::Zeroizing;

use super::der::{BMP_STRING, CONTEXT_0, CONTEXT_0_OCTETS, Der, OCTETS, OID, SET};
use super::pbe::{self, Derivation, Effort, Plain, Purpose, makes_sense};
use super::rsa::Encoding;
use super::{Found, KeyError, Note, Unlock, alias};

const WHAT: &str = "PKCS#12 keystore";
const PKCS7: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 7];
const BAG: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 12, 10, 1];
const ATTRIBUTE: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9];

/// A key, still encrypted as a rule.
struct KeyBag<'a> {
    name: Option<String>,
    id: Option<&'a [u8]>,
    key: Key<'a>,
}

enum Key<'a> {
    Encrypted { algorithm: Der<'a>, data: &'a [u8] },
    Plain(&'a [u8]),
}

struct CertificateBag<'a> {
    id: Option<&'a [u8]>,
    der: &'a [u8],
}

/// The private key that is meant, with its certificate. `file` is the inside of the outermost sequence.
///
/// Without a password the empty one is tried: programs write it when they are given none.
pub(super) fn private_key(file: Der<'_>, unlock: &Unlock<'_>) -> Result<Found, KeyError> {
    let password = unlock.password();
    let opened = open(file, password.unwrap_or_default(), unlock);
    match (opened, password) {
        (Err(KeyError::WrongPassword(what)), None) => Err(KeyError::PasswordNeeded(what)),
        (opened, _) => opened,
    }
}

fn open(mut file: Der<'_>, password: &str, unlock: &Unlock<'_>) -> Result<Found, KeyError> {
    let mut effort = Effort::of(WHAT);
    let damaged = || KeyError::Malformed(WHAT);
    let _version = file.number().ok_or_else(damaged)?;
    let safe = file.sequence().and_then(data).ok_or_else(damaged)?;
    let mut notes = Vec::new();
    match file.sequence() {
        Some(mac) => verify(mac, safe, password, &mut effort)?,
        None => notes.push(Note::NoIntegrity),
    }
    let safes = safes(safe, password, &mut effort)?;
    let (mut keys, mut certificates) = (Vec::new(), Vec::new());
    for safe in &safes {
        let mut bags = Der::whole(safe).ok_or_else(damaged)?;
        while !bags.is_empty() {
            let bag = bags.sequence().ok_or_else(damaged)?;
            read_bag(bag, &mut keys, &mut certificates).ok_or_else(damaged)?;
        }
    }
    let names = keys.iter().map(|key| key.name.clone()).collect();
    let chosen = alias::choose(names, unlock.alias)?;
    let chosen = keys.get(chosen).ok_or_else(damaged)?;
    let der = match chosen.key {
        Key::Plain(der) => Zeroizing::new(der.to_vec()),
        Key::Encrypted { algorithm, data } => {
            let own = unlock.entry_password();
            let plain = pbe::decrypt(algorithm, data, own.unwrap_or(password), &mut effort);
            let plain =
                plain.and_then(|plain| makes_sense(&plain).then_some(plain).ok_or_else(|| effort.wrong_password()));
            plain.map_err(|error| match (error, own) {
                // The keystore is open by then: its own password is right.
                (KeyError::WrongPassword(_), Some(_)) => KeyError::WrongEntryPassword,
                (error, _) => error,
            })?
        }
    };
    Ok(Found { der, encoding: Encoding::Pkcs8, certificates: of(chosen, &certificates), notes })
}

/// The certificates that may belong to the key: what says so, or all if nothing says anything.
fn of(key: &KeyBag<'_>, certificates: &[CertificateBag<'_>]) -> Vec<Vec<u8>> {
    let fits = |bag: &&CertificateBag<'_>| key.id.is_none() || bag.id == key.id;
    certificates.iter().filter(fits).map(|bag| bag.der.to_vec()).collect()
}

/// What a `ContentInfo` of the kind `data` holds.
fn data(mut info: Der<'_>) -> Option<&[u8]> {
    let kind = info.take(OID)?.strip_prefix(PKCS7)?;
    let content = info.take(CONTEXT_0)?;
    (kind == [1]).then(|| Der::new(content).take(OCTETS)).flatten()
}

fn verify(mut mac: Der<'_>, safe: &[u8], password: &str, effort: &mut Effort) -> Result<(), KeyError> {
    let parts = mac.sequence().and_then(|mut info| Some((info.sequence()?.take(OID)?, info.take(OCTETS)?)));
    let ((hash, tag), salt) = parts.zip(mac.take(OCTETS)).ok_or_else(|| effort.damaged())?;
    let rounds = if mac.is_empty() { 1 } else { mac.number().ok_or_else(|| effort.damaged())? };
    let (hash, hmac) =
        hashes(hash).ok_or_else(|| effort.unsupported("an integrity check of a newer or older kind (PBMAC1)"))?;
    let derivation = Derivation { hash, purpose: Purpose::Mac, salt, rounds, length: hash.output_len() };
    // Some programs mean nothing at all by the empty password, and others its end mark.
    let bmp = pbe::bmp(password);
    let forms: &[&[u8]] = if password.is_empty() { &[&bmp, &[]] } else { &[&bmp] };
    for form in forms {
        let key = hmac::Key::new(hmac, &derivation.derive(form, effort)?);
        if hmac::verify(&key, safe, tag).is_ok() {
            return Ok(());
        }
    }
    Err(effort.wrong_password())
}

fn hashes(oid: &[u8]) -> Option<(&'static digest::Algorithm, hmac::Algorithm)> {
    const SHA1: &[u8] = &[0x2B, 0x0E, 3, 2, 0x1A];
    const SHA2: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];
    match oid.strip_prefix(SHA2) {
        Some([1]) => Some((&SHA256, HMAC_SHA256)),
        Some([2]) => Some((&SHA384, HMAC_SHA384)),
        Some([3]) => Some((&SHA512, HMAC_SHA512)),
        _ if oid == SHA1 => Some((&SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA1_FOR_LEGACY_USE_ONLY)),
        _ => None,
    }
}

/// The parts of the file, decrypted.
fn safes(safe: &[u8], password: &str, effort: &mut Effort) -> Result<Vec<Plain>, KeyError> {
    let mut infos = Der::whole(safe).ok_or_else(|| effort.damaged())?;
    let mut safes = Vec::new();
    while !infos.is_empty() {
        let info = infos.sequence().ok_or_else(|| effort.damaged())?;
        if let Some(plain) = data(info) {
            safes.push(Zeroizing::new(plain.to_vec()));
        } else {
            let (algorithm, encrypted) = encrypted_data(info).ok_or_else(|| effort.damaged())?;
            let plain = pbe::decrypt(algorithm, encrypted, password, effort)?;
            safes.push(makes_sense(&plain).then_some(plain).ok_or_else(|| effort.wrong_password())?);
        }
    }
    Ok(safes)
}

/// The algorithm and the text of a `ContentInfo` of the kind `encryptedData`.
fn encrypted_data(mut info: Der<'_>) -> Option<(Der<'_>, &[u8])> {
    let kind = info.take(OID)?.strip_prefix(PKCS7)?;
    let mut data = Der::new(info.take(CONTEXT_0)?).sequence().filter(|_| kind == [6])?;
    let _version = data.number()?;
    let mut content = data.sequence()?;
    let _kind = content.take(OID)?;
    Some((content.sequence()?, content.take(CONTEXT_0_OCTETS)?))
}

/// Bags of other kinds (secret keys, revocation lists) are passed over.
fn read_bag<'a>(
    mut bag: Der<'a>,
    keys: &mut Vec<KeyBag<'a>>,
    certificates: &mut Vec<CertificateBag<'a>>,
) -> Option<()> {
    let kind = bag.take(OID)?.strip_prefix(BAG)?;
    let value = bag.take(CONTEXT_0)?;
    let (name, id) = attributes(bag.take(SET).unwrap_or_default());
    match kind {
        [1] => keys.push(KeyBag { name, id, key: Key::Plain(value) }),
        [2] => {
            let mut info = Der::whole(value)?;
            let key = Key::Encrypted { algorithm: info.sequence()?, data: info.take(OCTETS)? };
            keys.push(KeyBag { name, id, key });
        }
        [3] => {
            let mut bag = Der::whole(value)?;
            let _kind = bag.take(OID)?;
            let der = Der::new(bag.take(CONTEXT_0)?).take(OCTETS)?;
            certificates.push(CertificateBag { id, der });
        }
        _ => {}
    }
    Some(())
}

/// `friendlyName` and `localKeyId` of a bag.
fn attributes(set: &[u8]) -> (Option<String>, Option<&[u8]>) {
    let (mut name, mut id) = (None, None);
    let mut attributes = Der::new(set);
    while let Some(mut attribute) = attributes.sequence() {
        let kind = attribute.take(OID).and_then(|oid| oid.strip_prefix(ATTRIBUTE));
        let mut values = Der::new(attribute.take(SET).unwrap_or_default());
        match kind {
            Some([20]) => name = values.take(BMP_STRING).map(text),
            Some([21]) => id = values.take(OCTETS),
            _ => {}
        }
    }
    (name, id)
}

fn text(bmp: &[u8]) -> String {
    let units = bmp.chunks_exact(2).filter_map(|pair| pair.try_into().ok()).map(u16::from_be_bytes);
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
