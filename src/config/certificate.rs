//! What a client certificate is called: the three kinds of name that a rule can have, each in the one form in which it
//! is compared.
//!
//! A name is parsed here and nowhere else, whether it comes from the configuration or out of a certificate, so that both
//! sides have the same form and a comparison is one of bytes. Nothing is matched in part and nothing by pattern.

use std::fmt;

use serde_json::{Value, json};

use super::document::Node;
use super::report::{Located, Report};
use super::setting::{Field, Keys, Presence, Setting, Table, section, section_schema};
use super::values::text;

/// One name of a certificate, and one rule for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertificateName {
    /// The SPIFFE id: the one URI among its alternative names.
    Spiffe(SpiffeId),
    /// A DNS name among its alternative names.
    Dns(DnsName),
    /// The whole subject.
    Subject(Subject),
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe(SpiffeId(id)) => write!(f, "spiffe_id {id}"),
            Self::Dns(DnsName(name)) => write!(f, "dns_name {name}"),
            Self::Subject(Subject(subject)) => write!(f, "subject {subject}"),
        }
    }
}

/// A SPIFFE id with a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpiffeId(String);

impl SpiffeId {
    /// The id, if the text is one as the SPIFFE standard (SPIFFE-ID section 2) writes them: one spelling for each.
    pub fn parse(text: &str) -> Option<Self> {
        let (domain, path) = text.strip_prefix("spiffe://")?.split_once('/')?;
        let of_a_domain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        let of_a_path = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let whole = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(of_a_path);
        let sound = (1..=255).contains(&domain.len()) && domain.bytes().all(of_a_domain) && path.split('/').all(whole);
        (sound && text.len() <= 2048).then(|| Self(text.to_owned()))
    }
}

/// A DNS name in lower case, without wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DnsName(String);

impl DnsName {
    /// The name. Capitals mean the same as small letters (RFC 4343).
    pub fn parse(text: &str) -> Option<Self> {
        let of_a_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let whole = |label: &str| {
            let framed = !label.starts_with('-') && !label.ends_with('-');
            (1..=63).contains(&label.len()) && framed && label.bytes().all(of_a_label)
        };
        let is_address = text.parse::<std::net::IpAddr>().is_ok();
        (text.len() <= 253 && !is_address && text.split('.').all(whole)).then(|| Self(text.to_ascii_lowercase()))
    }
}

/// A whole subject, as RFC 4514 writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject(String);

/// The attributes that have a short name here. Others go by their number.
const ATTRIBUTES: [(&str, &str); 15] = [
    ("CN", "2.5.4.3"),
    ("SN", "2.5.4.4"),
    ("serialNumber", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("street", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("title", "2.5.4.12"),
    ("GN", "2.5.4.42"),
    ("organizationIdentifier", "2.5.4.97"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("emailAddress", "1.2.840.113549.1.9.1"),
];

impl Subject {
    /// The subject that has these attributes, given by number and value: the most specific group first, as RFC 4514
    /// section 2.1 turns them round. Nothing, if it is empty or no text can stand for it.
    pub fn new<'a>(groups: impl IntoIterator<Item = Vec<(&'a str, &'a str)>>) -> Option<Self> {
        let mut written = Vec::new();
        for group in groups {
            let mut members = Vec::with_capacity(group.len());
            for (number, value) in group {
                let plain = !value.is_empty() && !value.chars().any(char::is_control);
                let known = ATTRIBUTES.iter().find(|(_, known)| *known == number);
                members.push(plain.then(|| format!("{}={}", known.map_or(number, |known| known.0), escaped(value)))?);
            }
            // A set in the certificate: its order says nothing.
            members.sort_unstable();
            written.push(members.join("+"));
        }
        let empty = written.is_empty() || written.iter().any(String::is_empty);
        (!empty).then(|| Self(written.join(",")))
    }

    /// Reads what RFC 4514 section 3 allows, values in `#` form excepted.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.as_bytes();
        let mut groups: Vec<Vec<(String, String)>> = vec![Vec::new()];
        loop {
            let equals = rest.iter().position(|&byte| byte == b'=')?;
            let (name, value) = (rest.get(..equals)?, rest.get(equals + 1..)?);
            let number = number_of(std::str::from_utf8(name).ok()?)?;
            let (value, end) = unescaped(value)?;
            groups.last_mut()?.push((number, value));
            match end {
                [] => break,
                [b'+', more @ ..] => rest = more,
                [_, more @ ..] => {
                    groups.push(Vec::new());
                    rest = more;
                }
            }
        }
        let groups = groups.iter().map(Vec::as_slice);
        Self::new(groups.map(|group| group.iter().map(|(number, value)| (number.as_str(), value.as_str())).collect()))
    }
}

fn number_of(name: &str) -> Option<String> {
    let known = ATTRIBUTES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    let is_number = || name.contains('.') && name.split('.').all(is_part);
    known.map(|(_, number)| (*number).to_owned()).or_else(|| is_number().then(|| name.to_owned()))
}

/// The value at the beginning, and what follows from the comma or plus that ends it.
fn unescaped(text: &[u8]) -> Option<(String, &[u8])> {
    let mut value = Vec::new();
    let mut rest = text;
    // Blanks and `#` have another meaning at the edges unless a backslash stands before them.
    let mut bare_end = false;
    loop {
        rest = match rest {
            [] | [b',' | b'+', ..] => break,
            [b'\\', sign, more @ ..] if b" #,+\"\\<>;=".contains(sign) => {
                value.push(*sign);
                bare_end = false;
                more
            }
            [b'\\', high, low, more @ ..] => {
                let digits = [*high, *low];
                let digits =
                    std::str::from_utf8(&digits).ok().filter(|it| it.bytes().all(|b| b.is_ascii_hexdigit()))?;
                value.push(u8::from_str_radix(digits, 16).ok()?);
                bare_end = false;
                more
            }
            [b'"' | b'\\' | b'<' | b'>' | b';' | 0, ..] => return None,
            [b' ' | b'#', ..] if value.is_empty() => return None,
            [byte, more @ ..] => {
                value.push(*byte);
                bare_end = *byte == b' ';
                more
            }
        };
    }
    let value = String::from_utf8(value).ok().filter(|value| !value.is_empty() && !bare_end)?;
    Some((value, rest))
}

fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (at, sign) in value.chars().enumerate() {
        let at_edge = (at == 0 && (sign == ' ' || sign == '#')) || (at == last && sign == ' ');
        if at_edge || ",+\"\\<>;".contains(sign) {
            text.push('\\');
        }
        text.push(sign);
    }
    text
}

/// Declares the setting of one kind of name.
macro_rules! written {
    ($Name:ident, $example:literal, $expected:literal, $remedy:literal) => {
        impl Setting for $Name {
            fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
                let name = Self::parse(text(at, $example, report)?);
                if name.is_none() {
                    report.error(at, concat!("expected ", $expected), $remedy);
                }
                name
            }

            fn schema() -> Value {
                json!({"type": "string", "minLength": 1, "examples": [$example]})
            }
        }
    };
}

written! {
    SpiffeId, "spiffe://prod.example/ns/logs/sa/shipper", "a SPIFFE id with a path",
    "write it as the certificate has it, like \"spiffe://prod.example/ns/logs/sa/shipper\""
}
written! {
    DnsName, "shipper.logs.example", "a DNS name, whole and without wildcards",
    "write one that the certificate has among its alternative names, like \"shipper.logs.example\""
}
written! {
    Subject, "CN=shipper,O=Acme", "a whole subject in the form of RFC 4514",
    "write what `openssl x509 -in FILE -noout -subject -nameopt RFC2253,-esc_msb` prints after `subject=`"
}

section! {
    /// One name of a client certificate.
    Rule later [] {
        /// The SPIFFE id.
        spiffe_id: SpiffeId, optional;
        /// One of its DNS names.
        dns_name: DnsName, optional;
        /// The whole subject, as RFC 4514 writes it.
        subject: Subject, optional;
    }
}

impl Setting for CertificateName {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let Rule { spiffe_id, dns_name, subject } = Rule::read(at, report)?;
        let written = [spiffe_id.written, dns_name.written, subject.written];
        if written.iter().filter(|written| **written).count() != 1 {
            let remedy = "write one entry for each name, like { dns_name = \"shipper.logs.example\" }";
            report.error(at, "expected exactly one of spiffe_id, dns_name and subject", remedy);
            return None;
        }
        let by_dns = || dns_name.value.map(Self::Dns);
        spiffe_id.value.map(Self::Spiffe).or_else(by_dns).or_else(|| subject.value.map(Self::Subject))
    }

    fn schema() -> Value {
        let mut schema = Rule::schema();
        if let Some(members) = schema.as_object_mut() {
            members.insert("minProperties".to_owned(), json!(1));
            members.insert("maxProperties".to_owned(), json!(1));
        }
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spiffe_id_has_one_spelling() {
        for good in ["spiffe://prod.example/ns/logs/sa/shipper", "spiffe://a/b", "spiffe://a_b-c.1/X.y_z-0"] {
            assert!(SpiffeId::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "spiffe://prod.example",
            "spiffe://prod.example/",
            "spiffe:///ns",
            "spiffe://Prod.example/ns",
            "SPIFFE://prod.example/ns",
            "https://prod.example/ns",
            "spiffe://prod.example/ns/",
            "spiffe://prod.example//ns",
            "spiffe://prod.example/../ns",
            "spiffe://prod.example/./ns",
            "spiffe://prod.example/n%73",
            "spiffe://prod.example/ns?x",
            "spiffe://prod.example/ns#x",
            "spiffe://prod.example:1/ns",
            "spiffe://user@prod.example/ns",
            "spiffe://prod.example/ns\0",
            "spiffe://prod.example/n\u{455}",
            "spiffe://pr\u{43e}d.example/ns",
        ] {
            assert!(SpiffeId::parse(bad).is_none(), "{bad}");
        }
        assert!(SpiffeId::parse(&format!("spiffe://a/{}", "b".repeat(2048))).is_none());
    }

    #[test]
    fn a_dns_name_is_whole_and_its_capitals_do_not_count() {
        assert_eq!(DnsName::parse("Shipper.Logs.example"), DnsName::parse("shipper.logs.example"));
        for bad in ["", "*.example", "a..b", ".a", "a.", "a b", "a\0.b", "a.b\0", "-a.b", "a-.b", "10.0.0.1", "аcme.io"]
        {
            assert!(DnsName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_subject_has_one_form_however_it_was_written() {
        let cases = [
            ("CN=shipper,O=Acme", "CN=shipper,O=Acme"),
            ("cn=shipper,o=Acme", "CN=shipper,O=Acme"),
            ("2.5.4.3=shipper,2.5.4.10=Acme", "CN=shipper,O=Acme"),
            (r"CN=a\,b\+c\=d,O=Acme", r"CN=a\,b\+c=d,O=Acme"),
            (r"CN=a\2Cb", r"CN=a\,b"),
            (r"CN=\ a\ ", r"CN=\ a\ "),
            (r"CN=\#a", r"CN=\#a"),
            (r"CN=J\C3\BCrgen", "CN=Jürgen"),
            ("OU=b+CN=a,O=Acme", "CN=a+OU=b,O=Acme"),
            ("1.2.3.4=x", "1.2.3.4=x"),
        ];
        for (written, form) in cases {
            assert_eq!(Subject::parse(written), Some(Subject(form.to_owned())), "{written}");
            assert_eq!(Subject::parse(form), Some(Subject(form.to_owned())), "{form}");
        }
    }

    #[test]
    fn what_is_no_whole_subject_is_refused() {
        let cases = [
            "",
            "shipper",
            "CN=",
            "CN=a,",
            "CN=a+",
            ",CN=a",
            "CN=a,,O=b",
            "CN= a",
            "CN=a ",
            "CN=a, O=b",
            "CN=a;O=b",
            "CN=\"a\"",
            "CN=#0403",
            "CN=a\0b",
            r"CN=a\00b",
            r"CN=a\0Ab",
            r"CN=a\",
            r"CN=a\x",
            r"CN=\FF",
            "X=a",
            "02.5=a",
            "/CN=a/O=b",
        ];
        for bad in cases {
            assert!(Subject::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_value_cannot_pretend_to_be_two_attributes_and_a_look_alike_is_another_subject() {
        let two = Subject::new([vec![("2.5.4.3", "a")], vec![("2.5.4.10", "b")]]);
        assert_eq!(two, Subject::parse("CN=a,O=b"));
        assert_ne!(Subject::new([vec![("2.5.4.3", "a,O=b")]]), two);
        assert_ne!(Subject::new([vec![("2.5.4.3", "a"), ("2.5.4.10", "b")]]), two);
        assert_ne!(Subject::new([vec![("2.5.4.3", "\u{430}")], vec![("2.5.4.10", "b")]]), two);
        assert_ne!(Subject::new([vec![("2.5.4.3", "A")], vec![("2.5.4.10", "b")]]), two);
        assert_eq!(Subject::new([vec![("2.5.4.3", "a\0")]]), None);
        assert_eq!(Subject::new([]), None);
    }
}
