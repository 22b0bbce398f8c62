//! Java's own keystore, JKS: what Salesforce exports, and what keytool wrote before Java 9.
//!
//! Its protection is weak (one SHA-1 for each 20 bytes of key): the file is a plain secret whatever its password is.
//! Every length is checked against what is there before it is believed.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use zeroize::Zeroizing;

use super::der::{Der, OCTETS, OID};
use super::pbe::{Plain, makes_sense, utf16};
use super::rsa::Encoding;
use super::{Found, KeyError, Unlock, alias};

pub(super) const MAGIC: [u8; 4] = [0xFE, 0xED, 0xFE, 0xED];
const WHAT: &str = "JKS keystore";
const HASH: usize = 20;
/// What is hashed between the password and the file. The name is Sun's.
const WHITENER: &[u8] = b"Mighty Aphrodite";

struct Entry<'a> {
    alias: String,
    key: &'a [u8],
    /// The leaf of its chain.
    certificate: Option<&'a [u8]>,
}

/// The private key that is meant, with its certificate.
pub(super) fn private_key(content: &[u8], unlock: &Unlock<'_>) -> Result<Found, KeyError> {
    let damaged = || KeyError::Malformed(WHAT);
    let (body, digest) = content.split_last_chunk::<HASH>().ok_or_else(damaged)?;
    let entries = entries(body).ok_or_else(damaged)?;
    let password = unlock.password().ok_or(KeyError::PasswordNeeded(WHAT))?;
    let store = utf16(password);
    if sha1(&[store.as_slice(), WHITENER, body]) != *digest {
        return Err(KeyError::WrongPassword(WHAT));
    }
    let names = entries.iter().map(|entry| Some(entry.alias.clone())).collect();
    let entry = alias::choose(names, unlock.alias).and_then(|chosen| entries.get(chosen).ok_or_else(damaged))?;
    let password = unlock.entry_password().map_or(store, utf16);
    let der = decrypt(entry.key, &password)?;
    let certificates = entry.certificate.map(<[u8]>::to_vec).into_iter().collect();
    Ok(Found { der, encoding: Encoding::Pkcs8, certificates, notes: Vec::new() })
}

/// The entries with private keys, if the whole body has its form.
fn entries(body: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut rest = Rest(body);
    let (_magic, version, count) = (rest.u32()?, rest.u32()?, rest.u32()?);
    let has_types = match version {
        1 => false,
        2 => true,
        _ => return None,
    };
    let mut keys = Vec::new();
    for _ in 0..count {
        let tag = rest.u32()?;
        let alias = String::from_utf8_lossy(rest.short()?).into_owned();
        let _created = rest.bytes(8)?;
        match tag {
            1 => {
                let key = rest.long()?;
                let length = rest.u32()?;
                let mut certificate = None;
                for _ in 0..length {
                    let next = rest.certificate(has_types)?;
                    certificate = certificate.or(Some(next));
                }
                keys.push(Entry { alias, key, certificate });
            }
            2 => drop(rest.certificate(has_types)?),
            _ => return None,
        }
    }
    rest.0.is_empty().then_some(keys)
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.bytes(length)
    }

    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.bytes(2)?.try_into().ok().map(u16::from_be_bytes)?;
        self.bytes(length.into())
    }

    fn certificate(&mut self, has_types: bool) -> Option<&'a [u8]> {
        if has_types {
            let _type = self.short()?;
        }
        self.long()
    }
}

/// Sun's `KeyProtector`: a key stream of SHA-1 over the password and the block before, and a digest at the end.
fn decrypt(key: &[u8], password: &[u8]) -> Result<Plain, KeyError> {
    const SUN: &[u8] = &[0x2B, 6, 1, 4, 1, 0x2A, 2, 0x11, 1, 1];
    let damaged = || KeyError::Malformed(WHAT);
    let mut info = Der::whole(key).ok_or_else(damaged)?;
    let algorithm = info.sequence().and_then(|mut algorithm| algorithm.take(OID)).ok_or_else(damaged)?;
    if algorithm != SUN {
        return Err(KeyError::Unsupported { what: WHAT, scheme: "a scheme that is not Sun's".to_owned() });
    }
    let protected = info.take(OCTETS).ok_or_else(damaged)?;
    let (salt, protected) = protected.split_first_chunk::<HASH>().ok_or_else(damaged)?;
    let (protected, digest) = protected.split_last_chunk::<HASH>().ok_or_else(damaged)?;
    let mut plain = Zeroizing::new(protected.to_vec());
    let mut block = Zeroizing::new(*salt);
    for part in plain.chunks_mut(HASH) {
        *block = sha1(&[password, block.as_slice()]);
        part.iter_mut().zip(block.iter()).for_each(|(byte, key)| *byte ^= key);
    }
    match sha1(&[password, &plain]) == *digest && makes_sense(&plain) {
        true => Ok(plain),
        false => Err(KeyError::WrongEntryPassword),
    }
}

fn sha1(parts: &[&[u8]]) -> [u8; HASH] {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; HASH];
    hash.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    hash
}
