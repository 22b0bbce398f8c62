//! Decryption with a password: PBES2 (RFC 8018) and the older schemes of PKCS#12 (RFC 7292, appendices B and C).
//!
//! A file says how many rounds its password is put through. One that asks for more than [`MOST_ROUNDS`] in all is refused
//! before the first of them, so that no file keeps the process busy. Everything that comes of a password is wiped.

use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use des::{TdesEde2, TdesEde3};
use rc2::Rc2;
use zeroize::Zeroizing;

use super::KeyError;
use super::der::{Der, OCTETS, OID, SEQUENCE};

/// Decrypted text.
pub(super) type Plain = Zeroizing<Vec<u8>>;

/// Programs ask for 2,048 to 600,000 rounds. One takes less than a microsecond.
pub(super) const MOST_ROUNDS: u64 = 2_000_000;
/// One pass of scrypt over a block takes as long as a few rounds of the others. OpenSSL asks for 131,072.
const ROUNDS_OF_A_PASS: u64 = 3;

/// What opening one file may cost, and what the file is, for the errors.
#[derive(Debug)]
pub(super) struct Effort {
    what: &'static str,
    rounds_left: u64,
}

impl Effort {
    pub(super) fn of(what: &'static str) -> Self {
        Self { what, rounds_left: MOST_ROUNDS }
    }

    pub(super) fn what(&self) -> &'static str {
        self.what
    }

    pub(super) fn damaged(&self) -> KeyError {
        KeyError::Malformed(self.what)
    }

    pub(super) fn wrong_password(&self) -> KeyError {
        KeyError::WrongPassword(self.what)
    }

    pub(super) fn unsupported(&self, scheme: impl Into<String>) -> KeyError {
        KeyError::Unsupported { what: self.what, scheme: scheme.into() }
    }

    fn spend(&mut self, rounds: Option<u64>) -> Result<(), KeyError> {
        let left = rounds.and_then(|rounds| self.rounds_left.checked_sub(rounds));
        self.rounds_left = left.ok_or(KeyError::TooManyRounds(self.what))?;
        Ok(())
    }
}

const PBES2: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 5, 13];
const PBKDF2: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 5, 12];
const SCRYPT: &[u8] = &[0x2B, 6, 1, 4, 1, 0xDA, 0x47, 4, 11];
/// `pkcs-12PbeIds`; the number of the scheme follows.
const PKCS12_PBE: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 12, 1];
/// PBES1 of PKCS#5, likewise.
const PKCS5_PBE: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 5];

/// What `data` was before it was encrypted by the algorithm whose identifier (its inside) is given.
///
/// With a wrong password the padding is wrong as a rule, but not always: who calls looks whether the result makes sense.
pub(super) fn decrypt(
    mut algorithm: Der<'_>,
    data: &[u8],
    password: &str,
    effort: &mut Effort,
) -> Result<Plain, KeyError> {
    let oid = algorithm.take(OID).ok_or_else(|| effort.damaged())?;
    let parameters = algorithm.sequence();
    match oid {
        PBES2 => pbes2(parameters.ok_or_else(|| effort.damaged())?, data, password, effort),
        _ => match (oid.strip_prefix(PKCS12_PBE), oid.strip_prefix(PKCS5_PBE)) {
            (Some(&[scheme]), _) => {
                let parameters = parameters.ok_or_else(|| effort.damaged())?;
                pkcs12_pbe(scheme, parameters, data, password, effort)
            }
            (_, Some([1 | 4])) => Err(effort.unsupported("a scheme of PKCS#5 v1.5 with MD2")),
            (_, Some([3 | 6])) => Err(effort.unsupported("a scheme of PKCS#5 v1.5 with MD5")),
            (_, Some([10 | 11])) => Err(effort.unsupported("a scheme of PKCS#5 v1.5 with SHA-1")),
            _ => Err(effort.unsupported("a scheme that is not known here")),
        },
    }
}

fn pbes2(mut parameters: Der<'_>, data: &[u8], password: &str, effort: &mut Effort) -> Result<Plain, KeyError> {
    let (Some(derivation), Some(mut encryption)) = (parameters.sequence(), parameters.sequence()) else {
        return Err(effort.damaged());
    };
    let (Some(cipher), Some(iv)) = (encryption.take(OID), encryption.take(OCTETS)) else {
        return Err(effort.unsupported("a cipher that is not known here"));
    };
    let (cipher, key_length) =
        Cipher::of_pbes2(cipher).ok_or_else(|| effort.unsupported("a cipher other than AES-CBC and 3DES"))?;
    let key = derive(derivation, password, key_length, effort)?;
    cipher.decrypt(&key, iv, data, effort)
}

fn derive(mut derivation: Der<'_>, password: &str, length: usize, effort: &mut Effort) -> Result<Plain, KeyError> {
    let oid = derivation.take(OID).ok_or_else(|| effort.damaged())?;
    let parameters = derivation.sequence().ok_or_else(|| effort.damaged())?;
    match oid {
        PBKDF2 => by_pbkdf2(parameters, password, length, effort),
        SCRYPT => by_scrypt(parameters, password, length, effort),
        _ => Err(effort.unsupported("a key derivation other than PBKDF2 and scrypt")),
    }
}

fn by_pbkdf2(mut parameters: Der<'_>, password: &str, length: usize, effort: &mut Effort) -> Result<Plain, KeyError> {
    const HMAC: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 2];
    let salt = parameters.take(OCTETS).ok_or_else(|| effort.damaged())?;
    let rounds = parameters.number().ok_or_else(|| effort.damaged())?;
    // The length of the key, which the cipher says as well.
    let _ = parameters.number();
    let hash = match parameters.sequence() {
        None => 7,
        Some(mut prf) => match prf.take(OID).and_then(|oid| oid.strip_prefix(HMAC)) {
            Some(&[number]) => number,
            _ => return Err(effort.unsupported("a hash that is not known here")),
        },
    };
    // With the size of the hash, and what a round of it costs.
    let (algorithm, size, cost) = match hash {
        7 => (pbkdf2::PBKDF2_HMAC_SHA1, 20, 1),
        9 => (pbkdf2::PBKDF2_HMAC_SHA256, 32, 1),
        10 => (pbkdf2::PBKDF2_HMAC_SHA384, 48, 2),
        11 => (pbkdf2::PBKDF2_HMAC_SHA512, 64, 2),
        _ => return Err(effort.unsupported("a hash that is not known here")),
    };
    effort.spend(rounds.checked_mul(length.div_ceil(size) as u64 * cost))?;
    let rounds = u32::try_from(rounds).ok().and_then(std::num::NonZeroU32::new).ok_or_else(|| effort.damaged())?;
    let mut key = Zeroizing::new(vec![0; length]);
    pbkdf2::derive(algorithm, rounds, salt, password.as_bytes(), &mut key);
    Ok(key)
}

fn by_scrypt(mut parameters: Der<'_>, password: &str, length: usize, effort: &mut Effort) -> Result<Plain, KeyError> {
    let salt = parameters.take(OCTETS).ok_or_else(|| effort.damaged())?;
    let (n, r, p) = (parameters.number(), parameters.number(), parameters.number());
    let (Some(n), Some(r), Some(p)) = (n, r, p) else { return Err(effort.damaged()) };
    // It bounds the memory too: 128 bytes for each pass of one lane.
    let passes = n.checked_mul(r).and_then(|passes| passes.checked_mul(p));
    effort.spend(passes.and_then(|passes| passes.checked_mul(ROUNDS_OF_A_PASS)))?;
    let log_n = n.is_power_of_two().then(|| n.trailing_zeros()).and_then(|log_n| u8::try_from(log_n).ok());
    let (r, p) = (u32::try_from(r).unwrap_or(0), u32::try_from(p).unwrap_or(0));
    let parameters = log_n.and_then(|log_n| scrypt::Params::new(log_n, r, p).ok()).ok_or_else(|| effort.damaged())?;
    let mut key = Zeroizing::new(vec![0; length]);
    scrypt::scrypt(password.as_bytes(), salt, &parameters, &mut key).map_err(|_| effort.damaged())?;
    Ok(key)
}

fn pkcs12_pbe(
    scheme: u8,
    mut parameters: Der<'_>,
    data: &[u8],
    password: &str,
    effort: &mut Effort,
) -> Result<Plain, KeyError> {
    let (cipher, key_length) = match scheme {
        3 => (Cipher::TripleDes, 24),
        4 => (Cipher::TwoKeyTripleDes, 16),
        5 => (Cipher::Rc2, 16),
        6 => (Cipher::Rc2, 5),
        1 | 2 => return Err(effort.unsupported("RC4")),
        _ => return Err(effort.unsupported("a scheme that is not known here")),
    };
    let (Some(salt), Some(rounds)) = (parameters.take(OCTETS), parameters.number()) else {
        return Err(effort.damaged());
    };
    let of = |purpose, length| Derivation { hash: &SHA1_FOR_LEGACY_USE_ONLY, purpose, salt, rounds, length };
    let password = bmp(password);
    let key = of(Purpose::Key, key_length).derive(&password, effort)?;
    let iv = of(Purpose::Iv, 8).derive(&password, effort)?;
    cipher.decrypt(&key, &iv, data, effort)
}

/// A password as PKCS#12 wants it: UTF-16, big end first, with a zero after it (RFC 7292 appendix B.1).
pub(super) fn bmp(password: &str) -> Plain {
    let mut bytes = utf16(password);
    bytes.extend([0, 0]);
    bytes
}

/// UTF-16, big end first, with room for a zero.
pub(super) fn utf16(password: &str) -> Plain {
    // At most two bytes for each of UTF-8; a buffer that grows would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * password.len() + 2));
    bytes.extend(password.encode_utf16().flat_map(u16::to_be_bytes));
    bytes
}

/// What is derived: the number that RFC 7292 appendix B.3 gives it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

/// The key derivation of RFC 7292 appendix B.2.
pub(super) struct Derivation<'a> {
    pub(super) hash: &'static digest::Algorithm,
    pub(super) purpose: Purpose,
    pub(super) salt: &'a [u8],
    pub(super) rounds: u64,
    pub(super) length: usize,
}

impl Derivation<'_> {
    /// From a password in the form of [`bmp`].
    pub(super) fn derive(&self, password: &[u8], effort: &mut Effort) -> Result<Plain, KeyError> {
        let (block, size) = (self.hash.block_len(), self.hash.output_len());
        if self.rounds == 0 {
            return Err(effort.damaged());
        }
        effort.spend(self.rounds.checked_mul(self.length.div_ceil(size) as u64))?;
        let filled = |text: &[u8]| -> Vec<u8> {
            let length = text.len().div_ceil(block) * block;
            text.iter().copied().cycle().take(length).collect()
        };
        let salt = filled(self.salt);
        // The block of the purpose, then what RFC 7292 calls I: salt and password.
        let mut input = Zeroizing::new(vec![self.purpose as u8; block]);
        input.reserve_exact(salt.len() + password.len().div_ceil(block) * block);
        input.extend(salt);
        input.extend_from_slice(&Zeroizing::new(filled(password)));
        let mut derived = Zeroizing::new(Vec::with_capacity(self.length + size));
        while derived.len() < self.length {
            let mut hashed = Zeroizing::new(digest(self.hash, &input).as_ref().to_vec());
            for _ in 1..self.rounds {
                let next = digest(self.hash, &hashed);
                hashed.copy_from_slice(next.as_ref());
            }
            derived.extend_from_slice(&hashed);
            for part in input.chunks_exact_mut(block).skip(1) {
                add(part, &hashed);
            }
        }
        derived.truncate(self.length);
        Ok(derived)
    }
}

/// `part + (hashed, repeated to its length) + 1`, as big numbers that wrap around.
fn add(part: &mut [u8], hashed: &[u8]) {
    let repeated = hashed.iter().cycle().take(part.len());
    let repeated: Zeroizing<Vec<u8>> = Zeroizing::new(repeated.copied().collect());
    let mut carry = 1_u16;
    for (byte, other) in part.iter_mut().rev().zip(repeated.iter().rev()) {
        let sum = u16::from(*byte) + u16::from(*other) + carry;
        let [high, low] = sum.to_be_bytes();
        (*byte, carry) = (low, u16::from(high));
    }
}

#[derive(Debug, Clone, Copy)]
enum Cipher {
    Aes,
    Rc2,
    TripleDes,
    TwoKeyTripleDes,
}

impl Cipher {
    /// With the length of its key.
    fn of_pbes2(oid: &[u8]) -> Option<(Self, usize)> {
        const AES: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1];
        const TRIPLE_DES: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 3, 7];
        match oid.strip_prefix(AES) {
            Some([2]) => Some((Self::Aes, 16)),
            Some([22]) => Some((Self::Aes, 24)),
            Some([42]) => Some((Self::Aes, 32)),
            _ if oid == TRIPLE_DES => Some((Self::TripleDes, 24)),
            _ => None,
        }
    }

    /// In CBC mode with the padding of PKCS#7.
    fn decrypt(self, key: &[u8], iv: &[u8], data: &[u8], effort: &Effort) -> Result<Plain, KeyError> {
        let mut text = Zeroizing::new(data.to_vec());
        let length = match self {
            Self::Aes => aes(key, iv, &mut text),
            Self::Rc2 => cbc::<Rc2>(key, iv, &mut text),
            Self::TripleDes => cbc::<TdesEde3>(key, iv, &mut text),
            Self::TwoKeyTripleDes => cbc::<TdesEde2>(key, iv, &mut text),
        };
        text.truncate(length.ok_or_else(|| effort.wrong_password())?);
        Ok(text)
    }
}

fn aes(key: &[u8], iv: &[u8], text: &mut [u8]) -> Option<usize> {
    let algorithm = match key.len() {
        16 => &AES_128,
        24 => &AES_192,
        _ => &AES_256,
    };
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
    let context = DecryptionContext::Iv128(FixedLength::try_from(iv).ok()?);
    key.decrypt(text, context).ok().map(|plain| plain.len())
}

fn cbc<C>(key: &[u8], iv: &[u8], text: &mut [u8]) -> Option<usize>
where
    Decryptor<C>: KeyIvInit + BlockModeDecrypt,
    C: cbc::cipher::BlockCipherDecrypt,
{
    let decryptor = Decryptor::<C>::new_from_slices(key, iv).ok()?;
    decryptor.decrypt_padded::<Pkcs7>(text).ok().map(<[u8]>::len)
}

/// Whether `plain` is one whole DER sequence: what a right password leaves behind.
pub(super) fn makes_sense(plain: &[u8]) -> bool {
    plain.first() == Some(&SEQUENCE) && Der::whole(plain).is_some()
}
