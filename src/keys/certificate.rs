//! The X.509 certificate of a key: whether it is this key's, when it ends, and how large it is.
//!
//! An end is told and forbids nothing. Salesforce was seen to take assertions whose certificate had ended, "by design";
//! vendors say otherwise, and nobody promises either. A service that refused to start the day after would turn a doubt
//! into an outage of every integration.

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::pem;
use super::{KeyError, Thumbprint};
use crate::hash::{hex, sha256};

/// A certificate that belongs to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The first second of its life.
    pub not_before: Timestamp,
    /// The last second of its life.
    pub not_after: Timestamp,
    /// Its size in DER, bytes.
    pub size: usize,
}

/// What Salesforce takes as an upload, bytes.
const LARGEST_UPLOAD: usize = 4096;

/// Where a certificate is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// More than 30 days are left.
    Good,
    /// 30 days or less.
    Month,
    /// 7 days or less.
    Week,
    /// A day or less.
    Day,
    /// It has ended.
    Ended,
    /// It has not begun.
    NotYet,
}

/// Something about a certificate that somebody should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub message: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl Certificate {
    /// Where it is in its life.
    pub fn stage(&self, now: Timestamp) -> Stage {
        let days = |days: i64| jiff::SignedDuration::from_hours(24 * days);
        let left = self.not_after.duration_since(now);
        match left {
            _ if now < self.not_before => Stage::NotYet,
            _ if left.is_negative() => Stage::Ended,
            _ if left <= days(1) => Stage::Day,
            _ if left <= days(7) => Stage::Week,
            _ if left <= days(30) => Stage::Month,
            _ => Stage::Good,
        }
    }

    /// What is to be said of its life.
    pub fn age(&self, now: Timestamp) -> Option<Finding> {
        let message = match self.stage(now) {
            Stage::Good => return None,
            Stage::NotYet => format!("the certificate of this key begins only at {}", self.not_before),
            Stage::Ended => {
                format!("the certificate of this key ended at {}; Salesforce may refuse what it signs", self.not_after)
            }
            Stage::Month | Stage::Week | Stage::Day => {
                let days = self.not_after.duration_since(now).as_hours() / 24;
                let left = match days {
                    0 => "within a day".to_owned(),
                    1 => "in 1 day".to_owned(),
                    days => format!("in {days} days"),
                };
                format!("the certificate of this key ends {left}, at {}", self.not_after)
            }
        };
        let remedy = match self.stage(now) {
            Stage::NotYet => "check the clock of this machine, and that this is the certificate you mean",
            _ => {
                "make a new certificate and upload it to the app in Salesforce; it takes up to 10 minutes to be applied \
                 there"
            }
        };
        Some(Finding { message, remedy })
    }

    /// What is to be said of its size.
    pub fn bulk(&self) -> Option<Finding> {
        (self.size > LARGEST_UPLOAD).then(|| Finding {
            message: format!("the certificate of this key has {} bytes, and Salesforce takes 4096 at most", self.size),
            remedy: "upload one without extras, such as long lists of names",
        })
    }
}

/// None of the certificates is that of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Foreign;

/// The one of `candidates` that certifies the key, if there are any. What is no certificate is passed over.
pub(super) fn of(candidates: &[Vec<u8>], key: &Thumbprint) -> Result<Option<Certificate>, Foreign> {
    let mut read = candidates.iter().filter_map(|der| read(der)).peekable();
    if read.peek().is_none() {
        return Ok(None);
    }
    read.find(|(_, thumbprint)| thumbprint == key).map(|(certificate, _)| Some(certificate)).ok_or(Foreign)
}

/// The certificate of the key in a file with certificates, PEM or DER.
pub(super) fn parse(content: &[u8], key: &Thumbprint) -> Result<Certificate, KeyError> {
    let found = of(&candidates(content), key).map_err(|_| KeyError::OtherCertificateFile)?;
    found.ok_or(KeyError::CertificateUnread)
}

/// Whether there is a certificate in such a file, whosever it is.
pub(super) fn check(content: &[u8]) -> Result<(), KeyError> {
    let found = candidates(content).iter().any(|der| read(der).is_some());
    found.then_some(()).ok_or(KeyError::CertificateUnread)
}

fn candidates(content: &[u8]) -> Vec<Vec<u8>> {
    match content {
        [0x30, ..] => vec![content.to_vec()],
        _ => pem::certificates(content),
    }
}

/// With the thumbprint of the key that it certifies.
fn read(der: &[u8]) -> Option<(Certificate, Thumbprint)> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    let life = certificate.validity();
    let read = Certificate {
        not_before: Timestamp::from_second(life.not_before.timestamp()).ok()?,
        not_after: Timestamp::from_second(life.not_after.timestamp()).ok()?,
        size: der.len(),
    };
    rest.is_empty().then(|| (read, Thumbprint(hex(&sha256([certificate.public_key().raw])))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_from_a_month_ahead_on() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let certificate =
            Certificate { not_before: at("2026-01-01T00:00:00Z"), not_after: at("2027-01-01T00:00:00Z"), size: 768 };
        let cases = [
            ("2025-12-31T23:59:59Z", Stage::NotYet, "begins only at 2026-01-01T00:00:00Z"),
            ("2026-12-01T23:59:59Z", Stage::Good, ""),
            ("2026-12-02T00:00:00Z", Stage::Month, "ends in 30 days, at 2027-01-01T00:00:00Z"),
            ("2026-12-25T00:00:00Z", Stage::Week, "ends in 7 days, at"),
            ("2026-12-30T00:00:00Z", Stage::Week, "ends in 2 days, at"),
            ("2026-12-31T00:00:00Z", Stage::Day, "ends in 1 day, at"),
            ("2026-12-31T12:00:00Z", Stage::Day, "ends within a day, at"),
            ("2027-01-01T00:00:00Z", Stage::Day, "ends within a day, at"),
            ("2027-01-01T00:00:01Z", Stage::Ended, "ended at 2027-01-01T00:00:00Z; Salesforce may refuse"),
        ];
        for (now, stage, told) in cases {
            assert_eq!(certificate.stage(at(now)), stage, "{now}");
            match certificate.age(at(now)) {
                None => assert_eq!(told, "", "{now}"),
                Some(finding) => assert!(!told.is_empty() && finding.message.contains(told), "{}", finding.message),
            }
        }
    }

    #[test]
    fn what_salesforce_would_not_take_is_told() {
        let of = |size| Certificate { not_before: Timestamp::MIN, not_after: Timestamp::MAX, size };
        assert_eq!(of(4096).bulk(), None);
        assert!(of(4097).bulk().unwrap().message.contains("has 4097 bytes"));
    }
}
