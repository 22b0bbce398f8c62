//! An RSA key and its self-signed certificate, for `demo` and `setup`: made in memory, written by others.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan, tz};
use rcgen::string::PrintableString;
use rcgen::{CertificateParams, DnType, DnValue, PKCS_RSA_SHA256, RsaKeySize};
use zeroize::Zeroizing;

/// A private key and the certificate that was signed with it.
pub(super) struct KeyPair {
    /// PKCS#8 in PEM, without a password.
    pub(super) private_key: Zeroizing<String>,
    /// The certificate in PEM.
    pub(super) certificate: String,
    /// The same certificate in DER.
    pub(super) certificate_der: Vec<u8>,
}

/// Makes a key, which takes a noticeable time, and a certificate for it.
pub(super) fn make(bits: Bits, subject: &Subject, validity: Validity) -> anyhow::Result<KeyPair> {
    let size = match bits {
        Bits::B2048 => RsaKeySize::_2048,
        Bits::B3072 => RsaKeySize::_3072,
        Bits::B4096 => RsaKeySize::_4096,
    };
    let pair = rcgen::KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size).context("no RSA key could be made")?;
    let mut params = CertificateParams::default();
    params.distinguished_name = subject.distinguished_name()?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(validity.from)?;
    params.not_after = epoch + since_epoch(validity.until)?;
    let certificate = params.self_signed(&pair).context("no certificate could be made")?;
    Ok(KeyPair {
        private_key: Zeroizing::new(pair.serialize_pem()),
        certificate: certificate.pem(),
        certificate_der: certificate.der().to_vec(),
    })
}

/// The sizes of key that Salesforce takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bits {
    B2048,
    B3072,
    B4096,
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::B2048 => "2048",
            Self::B3072 => "3072",
            Self::B4096 => "4096",
        })
    }
}

impl FromStr for Bits {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = [Self::B2048, Self::B3072, Self::B4096].into_iter().find(|bits| bits.to_string() == text);
        found.ok_or("Salesforce takes RSA keys of 2048, 3072 or 4096 bits")
    }
}

/// When a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    from: Timestamp,
    until: Timestamp,
}

impl Validity {
    /// So many days from now. It begins a day early: no clock that is a little behind may refuse it.
    pub(super) fn days(now: Timestamp, days: u16) -> anyhow::Result<Self> {
        let hours = i64::from(days).saturating_mul(24);
        Ok(Self { from: now.checked_sub(24.hours())?, until: now.checked_add(hours.hours())? })
    }

    /// The day on which it ends, UTC.
    pub(super) fn last_day(&self) -> Date {
        self.until.to_zoned(tz::TimeZone::UTC).date()
    }
}

/// In whole seconds, as certificates have it.
fn since_epoch(at: Timestamp) -> anyhow::Result<Duration> {
    Ok(Duration::from_secs(at.as_second().try_into()?))
}

/// The parts that a subject can have, each once.
const PARTS: [(&str, DnType); 6] = [
    ("CN", DnType::CommonName),
    ("O", DnType::OrganizationName),
    ("OU", DnType::OrganizationalUnitName),
    ("L", DnType::LocalityName),
    ("ST", DnType::StateOrProvinceName),
    ("C", DnType::CountryName),
];

/// X.520 allows names of 64 characters.
const LONGEST_PART: usize = 64;

/// Who a certificate says it is, as `CN=…,O=…`; a comma inside a value is written `\,`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject(Vec<(DnType, String)>);

impl Subject {
    /// A subject of a common name alone.
    pub(super) fn common_name(name: impl Into<String>) -> Self {
        Self(vec![(DnType::CommonName, name.into())])
    }

    fn distinguished_name(&self) -> anyhow::Result<rcgen::DistinguishedName> {
        let mut name = rcgen::DistinguishedName::new();
        for (part, value) in &self.0 {
            let value = match part {
                // RFC 5280: a country is a PrintableString.
                DnType::CountryName => DnValue::PrintableString(PrintableString::try_from(value.as_str())?),
                _ => DnValue::Utf8String(value.clone()),
            };
            name.push(part.clone(), value);
        }
        Ok(name)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |part: &DnType| PARTS.iter().find(|(_, known)| known == part).map_or("", |(word, _)| *word);
        let parts = self.0.iter().map(|(part, value)| format!("{}={}", word(part), value.replace(',', "\\,")));
        f.write_str(&parts.collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts: Vec<(DnType, String)> = Vec::new();
        // What cannot be typed stands for the commas that are meant.
        for part in text.replace("\\,", "\u{0}").split(',') {
            let (word, value) = part.split_once('=').ok_or("write it like CN=aquila,O=Acme")?;
            let (word, value) = (word.trim().to_ascii_uppercase(), value.trim().replace('\u{0}', ","));
            let known = PARTS.iter().find(|(known, _)| *known == word);
            let Some((_, kind)) = known else {
                return Err("a subject has the parts CN, O, OU, L, ST and C, like CN=aquila,O=Acme".to_owned());
            };
            if parts.iter().any(|(before, _)| before == kind) {
                return Err(format!("{word} stands there twice"));
            }
            if value.is_empty() || value.chars().count() > LONGEST_PART || !is_printable(&value) {
                return Err(format!("{word} needs a value of 1 to {LONGEST_PART} printable characters"));
            }
            if *kind == DnType::CountryName && !(value.len() == 2 && value.bytes().all(|b| b.is_ascii_uppercase())) {
                return Err("C is the country's two capital letters, like C=DE".to_owned());
            }
            parts.push((kind.clone(), value));
        }
        Ok(Self(parts))
    }
}

/// Whether all of a text is seen where it is shown. Characters that turn the direction of writing or that have no form,
/// spaces other than the usual one, and code points that are nothing are not.
pub(super) fn is_printable(text: &str) -> bool {
    // The rule is the one by which Rust shows text; quotes are seen although it escapes them, and a mark that belongs to the
    // letter before it is only escaped where none is.
    let bare = format!("x{}", text.replace(['"', '\'', '\\'], "x"));
    bare.escape_debug().eq(bare.chars())
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;
    use crate::keys;

    #[test]
    fn a_certificate_says_what_was_asked_for_and_carries_the_keys_public_half() {
        let now: Timestamp = "2026-11-22T23:59:59Z".parse().unwrap();
        let subject: Subject = "CN=aquila elf-prod, O=Acme\\, Inc., C=DE".parse().unwrap();
        assert_eq!(subject.to_string(), "CN=aquila elf-prod,O=Acme\\, Inc.,C=DE");
        let made = make(Bits::B2048, &subject, Validity::days(now, 730).unwrap()).unwrap();

        let (rest, certificate) = X509Certificate::from_der(&made.certificate_der).unwrap();
        assert!(rest.is_empty());
        assert_eq!(certificate.subject().to_string(), "CN=aquila elf-prod, O=Acme, Inc., C=DE");
        assert_eq!(certificate.issuer(), certificate.subject());
        assert_eq!(certificate.validity().not_before.to_datetime().to_string(), "2026-11-21 23:59:59.0 +00:00:00");
        assert_eq!(certificate.validity().not_after.to_datetime().to_string(), "2028-11-21 23:59:59.0 +00:00:00");
        let (_, pem) = x509_parser::pem::parse_x509_pem(made.certificate.as_bytes()).unwrap();
        assert_eq!(pem.contents, made.certificate_der);

        let key = keys::parse(made.private_key.as_bytes(), &keys::Unlock::default()).unwrap().key;
        let of_certificate = crate::hash::hex(&crate::hash::sha256([certificate.public_key().raw]));
        assert_eq!(keys::Signer::thumbprint(&key).as_str(), of_certificate);
    }

    #[test]
    fn only_the_sizes_that_salesforce_takes_are_sizes() {
        for good in ["2048", "3072", "4096"] {
            assert_eq!(good.parse::<Bits>().unwrap().to_string(), good);
        }
        for wrong in ["", "1024", "8192", "2048 ", "+2048"] {
            assert!(wrong.parse::<Bits>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_subject_that_is_none_is_told_why() {
        let long = format!("CN={}", "x".repeat(65));
        let cases = [
            ("", "write it like"),
            ("aquila", "write it like"),
            ("CN=a,", "write it like"),
            ("CN=", "CN needs a value"),
            ("CN=a\nb", "CN needs a value"),
            (long.as_str(), "CN needs a value of 1 to 64"),
            ("E=a@b.example", "the parts CN, O"),
            ("CN=a,cn=b", "CN stands there twice"),
            ("C=Germany", "two capital letters"),
        ];
        for (wrong, told) in cases {
            let error = wrong.parse::<Subject>().unwrap_err();
            assert!(error.contains(told), "{wrong}: {error}");
        }
    }
}
