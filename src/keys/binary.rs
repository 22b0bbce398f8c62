//! Which of the DER structures a file is, told by the tags of its first parts; and PKCS#8, encrypted or not.

use zeroize::Zeroizing;

use super::der::{BIT_STRING, Der, INTEGER, OCTETS, OID, SEQUENCE};
use super::pbe::{self, Effort, makes_sense};
use super::rsa::Encoding;
use super::{Found, KeyError, Note, Unlock, pkcs12};

/// The private key in a file that begins as DER does.
pub(super) fn private_key(content: &[u8], unlock: &Unlock<'_>) -> Result<Found, KeyError> {
    if content.get(1) == Some(&0x80) {
        return Err(KeyError::Ber);
    }
    let file = Der::whole(content).ok_or(KeyError::Malformed("binary file (DER or PKCS#12)"))?;
    match kind(file).ok_or(KeyError::Unknown)? {
        Kind::Bcfks => Err(KeyError::JavaKeystore("BCFKS")),
        Kind::Certificate => Err(KeyError::Certificate),
        Kind::EllipticCurve => Err(KeyError::NotRsa("an elliptic-curve key (EC)")),
        Kind::Encrypted => encrypted(content, unlock),
        Kind::Pkcs1 => Ok(plain(content, Encoding::Pkcs1, unlock)),
        Kind::Pkcs12 => pkcs12::private_key(file, unlock),
        Kind::Pkcs7 => Err(KeyError::Pkcs7),
        Kind::Pkcs8 => Ok(plain(content, Encoding::Pkcs8, unlock)),
        Kind::PublicKey => Err(KeyError::PublicKey),
    }
}

/// A key that is not encrypted.
pub(super) fn plain(der: &[u8], encoding: Encoding, unlock: &Unlock<'_>) -> Found {
    let notes = [unlock.password.map(|_| Note::PasswordUnused)].into_iter().chain(not_a_keystore(unlock));
    let der = Zeroizing::new(der.to_vec());
    Found { der, encoding, certificates: Vec::new(), notes: notes.flatten().collect() }
}

/// `EncryptedPrivateKeyInfo` (RFC 5958 section 3).
pub(super) fn encrypted(der: &[u8], unlock: &Unlock<'_>) -> Result<Found, KeyError> {
    let mut effort = Effort::of("private key");
    let mut info = Der::whole(der).ok_or_else(|| effort.damaged())?;
    let parts = info.sequence().zip(info.take(OCTETS));
    let (algorithm, data) = parts.ok_or_else(|| effort.damaged())?;
    let password = unlock.password().ok_or_else(|| KeyError::PasswordNeeded(effort.what()))?;
    let plain = pbe::decrypt(algorithm, data, password, &mut effort)?;
    if !makes_sense(&plain) {
        return Err(effort.wrong_password());
    }
    let notes = not_a_keystore(unlock).into_iter().flatten().collect();
    Ok(Found { der: plain, encoding: Encoding::Pkcs8, certificates: Vec::new(), notes })
}

fn not_a_keystore(unlock: &Unlock<'_>) -> [Option<Note>; 2] {
    [unlock.entry_password.map(|_| Note::EntryPasswordUnused), unlock.alias.map(|_| Note::AliasUnused)]
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Bcfks,
    Certificate,
    EllipticCurve,
    Encrypted,
    Pkcs1,
    Pkcs12,
    Pkcs7,
    Pkcs8,
    PublicKey,
}

fn kind(mut file: Der<'_>) -> Option<Kind> {
    match file.next_tag()? {
        INTEGER => {
            let version = file.number()?;
            match file.next_tag()? {
                // The number of a PKCS#12 file is 3, that of PKCS#8 is 0 or 1.
                SEQUENCE if version == 3 => Some(Kind::Pkcs12),
                SEQUENCE => Some(Kind::Pkcs8),
                INTEGER => Some(Kind::Pkcs1),
                OCTETS => Some(Kind::EllipticCurve),
                _ => None,
            }
        }
        SEQUENCE => {
            let first = file.sequence()?;
            match (first.next_tag()?, file.next_tag()?) {
                (OID, OCTETS) => Some(Kind::Encrypted),
                (OID, BIT_STRING) => Some(Kind::PublicKey),
                // What is encrypted stands before its integrity check, and begins with its algorithm.
                (SEQUENCE, _) => Some(Kind::Bcfks),
                _ => Some(Kind::Certificate),
            }
        }
        OID => Some(Kind::Pkcs7),
        _ => None,
    }
}
