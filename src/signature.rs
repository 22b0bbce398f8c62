//! Algorithms of signatures, and public keys that verify them: a closed set, asymmetric only.
//!
//! A key belongs to one algorithm from the moment it is read, so no header of a token can make it another one's, and
//! there is no shared secret that a public key could be mistaken for.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, VerificationAlgorithm,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::hash::{ShortHex, sha256, short_hex};

/// A JWS algorithm (RFC 7518 section 3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RSA, PKCS #1 1.5, SHA-256.
    Rs256,
    /// RSA, PSS, SHA-256.
    Ps256,
    /// ECDSA on P-256, SHA-256.
    Es256,
    /// ECDSA on P-384, SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// No algorithm of this name is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of RS256, PS256, ES256, ES384, EdDSA")]
pub struct UnknownAlgorithm;

/// The kinds of keys, which is coarser than the algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA.
    Rsa,
    /// The curve P-256.
    P256,
    /// The curve P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// The name in JWS headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Which keys it takes.
    pub fn kind(self) -> KeyKind {
        match self {
            Self::Rs256 | Self::Ps256 => KeyKind::Rsa,
            Self::Es256 => KeyKind::P256,
            Self::Es384 => KeyKind::P384,
            Self::EdDsa => KeyKind::Ed25519,
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Self::Es256 => &ECDSA_P256_SHA256_FIXED,
            Self::Es384 => &ECDSA_P384_SHA384_FIXED,
            Self::EdDsa => &ED25519,
        }
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// Byte for byte: `rs256` is none.
    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or(UnknownAlgorithm)
    }
}

impl KeyKind {
    /// What people call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rsa => "an RSA key",
            Self::P256 => "a key on the curve P-256",
            Self::P384 => "a key on the curve P-384",
            Self::Ed25519 => "an Ed25519 key",
        }
    }
}

/// Why a public key is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not a key, or of a kind that nothing here takes.
    #[error("this is no RSA, P-256, P-384 or Ed25519 public key")]
    Unknown,
    /// An RSA key that is too small or too large to be trusted.
    #[error("an RSA key must have 2048 to 8192 bits")]
    Size,
    /// Another kind of key than the algorithm takes.
    #[error("this is {}, and {} takes {}", .found.as_str(), .wanted.as_str(), .wanted.kind().as_str())]
    Kind {
        /// What it is.
        found: KeyKind,
        /// What it was read for.
        wanted: Algorithm,
    },
}

/// A public key that verifies signatures of one algorithm, parsed once.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    key: ParsedPublicKey,
    digest: ShortHex,
}

impl VerifyingKey {
    /// A key as a `SubjectPublicKeyInfo` in DER.
    ///
    /// # Errors
    /// It is none, or not one for this algorithm.
    pub fn from_spki(der: &[u8], algorithm: Algorithm) -> Result<Self, PublicKeyError> {
        let found = kind(der)?;
        if found != algorithm.kind() {
            return Err(PublicKeyError::Kind { found, wanted: algorithm });
        }
        Self::new(der, der, algorithm)
    }

    /// An RSA key by its numbers, big-endian (RFC 7518 section 6.3.1).
    ///
    /// # Errors
    /// They make no key for this algorithm.
    pub fn from_rsa(n: &[u8], e: &[u8], algorithm: Algorithm) -> Result<Self, PublicKeyError> {
        let der: PublicKeyX509Der<'_> = PublicKeyComponents { n, e }.as_der().map_err(|_| PublicKeyError::Unknown)?;
        Self::from_spki(der.as_ref(), algorithm)
    }

    /// A point of the algorithm's curve: `0x04`, x, y; or the 32 bytes of an Ed25519 key.
    ///
    /// # Errors
    /// It is none.
    pub fn from_point(point: &[u8], algorithm: Algorithm) -> Result<Self, PublicKeyError> {
        let length = match algorithm {
            Algorithm::Es256 => 65,
            Algorithm::Es384 => 97,
            Algorithm::EdDsa => 32,
            Algorithm::Rs256 | Algorithm::Ps256 => return Err(PublicKeyError::Unknown),
        };
        if point.len() != length {
            return Err(PublicKeyError::Unknown);
        }
        Self::new(point, point, algorithm)
    }

    fn new(bytes: &[u8], named_by: &[u8], algorithm: Algorithm) -> Result<Self, PublicKeyError> {
        let key = ParsedPublicKey::new(algorithm.verification(), bytes).map_err(|_| PublicKeyError::Unknown)?;
        Ok(Self { algorithm, key, digest: short_hex(&sha256([named_by])) })
    }

    /// The only algorithm it is used with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The start of the digest of the key, by which people recognise it.
    pub fn digest(&self) -> ShortHex {
        self.digest
    }

    /// Whether the owner of the private key signed the message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (algorithm, digest) = (self.algorithm.as_str(), self.digest);
        f.debug_struct("VerifyingKey").field("algorithm", &algorithm).field("digest", &digest).finish_non_exhaustive()
    }
}

fn kind(der: &[u8]) -> Result<KeyKind, PublicKeyError> {
    let (rest, key) = SubjectPublicKeyInfo::from_der(der).map_err(|_| PublicKeyError::Unknown)?;
    if !rest.is_empty() {
        return Err(PublicKeyError::Unknown);
    }
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            // `key_size` counts whole bytes, and the leading zero of the number is none of them.
            let bits = 8 * rsa.modulus.iter().skip_while(|&&byte| byte == 0).count();
            if (2048..=8192).contains(&bits) { Ok(KeyKind::Rsa) } else { Err(PublicKeyError::Size) }
        }
        Ok(PublicKey::EC(point)) => match point.key_size() {
            256 => Ok(KeyKind::P256),
            384 => Ok(KeyKind::P384),
            _ => Err(PublicKeyError::Unknown),
        },
        Ok(PublicKey::Unknown(_)) if key.algorithm.algorithm.to_id_string() == "1.3.101.112" => Ok(KeyKind::Ed25519),
        _ => Err(PublicKeyError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData};

    #[test]
    fn the_names_are_those_of_rfc_7518_and_nothing_else_is_an_algorithm() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
        }
        for other in ["none", "None", "", "HS256", "rs256", "RS256 ", "RS512", "ES256K", "RS25\u{0660}6"] {
            assert_eq!(other.parse::<Algorithm>(), Err(UnknownAlgorithm), "{other}");
        }
    }

    #[test]
    fn the_examples_of_rfc_7515_and_rfc_8037_are_verified_and_every_changed_bit_is_seen() {
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        // RFC 7515 appendix A.3, RFC 8037 appendix A.4 and A.5.
        let point = [
            vec![4],
            decode("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
            decode("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
        ]
        .concat();
        let es256 = VerifyingKey::from_point(&point, Algorithm::Es256).unwrap();
        let message = b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature =
            decode("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
        assert!(es256.verifies(message, &signature));
        let eddsa = decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        let eddsa = VerifyingKey::from_point(&eddsa, Algorithm::EdDsa).unwrap();
        let signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let of_it = decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
        assert!(eddsa.verifies(signed, &of_it));
        for at in 0..64 {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert!(!es256.verifies(message, &changed), "byte {at}");
        }
        // A signature of zeros satisfies the equation of an ECDSA that forgets its bounds (CVE-2022-21449).
        assert!(!es256.verifies(message, &[0; 64]));
        assert!(!es256.verifies(message, &[]));
        assert!(!eddsa.verifies(signed, &[0; 64]));
    }

    #[test]
    fn a_key_of_another_kind_is_refused_with_both_kinds_named() {
        let keys = [
            (&PKCS_ECDSA_P256_SHA256, Algorithm::Es256),
            (&PKCS_ECDSA_P384_SHA384, Algorithm::Es384),
            (&PKCS_ED25519, Algorithm::EdDsa),
        ];
        for (made_for, own) in keys {
            let spki = KeyPair::generate_for(made_for).unwrap().subject_public_key_info();
            for algorithm in Algorithm::ALL {
                let read = VerifyingKey::from_spki(&spki, algorithm);
                assert_eq!(read.is_ok(), algorithm == own, "{own:?} as {algorithm:?}");
                if let Err(error) = read {
                    assert_eq!(error, PublicKeyError::Kind { found: own.kind(), wanted: algorithm });
                }
            }
            assert_eq!(VerifyingKey::from_spki(&[&spki[..], b"x"].concat(), own).err(), Some(PublicKeyError::Unknown));
        }
    }

    #[test]
    fn a_small_rsa_key_is_refused() {
        let n = [0xC7; 128];
        assert_eq!(VerifyingKey::from_rsa(&n, &[1, 0, 1], Algorithm::Rs256).err(), Some(PublicKeyError::Size));
        assert!(VerifyingKey::from_rsa(&[], &[1, 0, 1], Algorithm::Rs256).is_err());
        assert!(VerifyingKey::from_rsa(&[0xC7; 256], &[1], Algorithm::Rs256).is_err());
        assert!(VerifyingKey::from_rsa(&[0xC7; 256], &[], Algorithm::Rs256).is_err());
    }
}
