//! What a client certificate says of who sent it. That an authority signed it and that its sender holds its key was
//! proved by the handshake; here it is only read.
//!
//! A certificate that cannot be read, or whose names are no names, is no proof and no failed proof: it was transport.

use jiff::Timestamp;
use x509_parser::asn1_rs::Tag;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::config::certificate::{CertificateName, DnsName, SpiffeId, Subject};
use crate::hash::{ShortHex, sha256, short_hex};

/// The certificate of the other end of a connection, read once.
#[derive(Debug)]
pub struct PeerCertificate {
    names: Vec<CertificateName>,
    /// The last second in which it is valid, since 1970.
    until: i64,
    digest: ShortHex,
}

impl PeerCertificate {
    /// Reads a certificate that the handshake has verified.
    pub fn read(der: &[u8]) -> Self {
        let digest = short_hex(&sha256([der]));
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => {
                let until = certificate.validity().not_after.timestamp();
                Self { names: names(&certificate).unwrap_or_default(), until, digest }
            }
            _ => Self { names: Vec::new(), until: i64::MIN, digest },
        }
    }

    /// Everything that it is called.
    pub fn names(&self) -> &[CertificateName] {
        &self.names
    }

    /// Which certificate: the start of the SHA-256 of all of it.
    pub fn digest(&self) -> ShortHex {
        self.digest
    }

    /// Whether it has not ended. The handshake saw to that, but connections go on.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        now.as_second() <= self.until
    }
}

/// All names, or nothing: where one has been tampered with, none is believed.
fn names(certificate: &X509Certificate<'_>) -> Option<Vec<CertificateName>> {
    let mut names = Vec::new();
    let mut ids = Vec::new();
    let alternatives = certificate.subject_alternative_name().ok()?;
    for alternative in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
        match alternative {
            GeneralName::DNSName(name) if is_plain(name) => {
                names.extend(DnsName::parse(name).map(CertificateName::Dns))
            }
            GeneralName::URI(uri) if is_plain(uri) => ids.push(*uri),
            GeneralName::DNSName(_) | GeneralName::URI(_) | GeneralName::Invalid(..) => return None,
            _ => {}
        }
    }
    // X509-SVID section 2: exactly one URI, or it is nobody's.
    if let [id] = ids.as_slice() {
        names.extend(SpiffeId::parse(id).map(CertificateName::Spiffe));
    }
    names.extend(subject(certificate.subject()).map(CertificateName::Subject));
    Some(names)
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn subject(name: &X509Name<'_>) -> Option<Subject> {
    let mut groups = Vec::new();
    for group in name.iter_rdn() {
        let attributes = group.iter().map(|attribute| Some((attribute.attr_type().to_id_string(), value(attribute)?)));
        groups.push(attributes.collect::<Option<Vec<_>>>()?);
    }
    let last_first = groups.iter().rev();
    Subject::new(last_first.map(|group| group.iter().map(|(number, value)| (number.as_str(), *value)).collect()))
}

/// The text of an attribute; of other kinds than these there are several readings.
fn value<'a>(attribute: &AttributeTypeAndValue<'a>) -> Option<&'a str> {
    let value = attribute.attr_value();
    match value.tag() {
        Tag::Utf8String => std::str::from_utf8(value.data).ok(),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            std::str::from_utf8(value.data).ok().filter(|text| text.is_ascii())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType};

    fn read(change: impl FnOnce(&mut CertificateParams)) -> PeerCertificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        change(&mut params);
        PeerCertificate::read(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    fn told(certificate: &PeerCertificate) -> Vec<String> {
        certificate.names().iter().map(ToString::to_string).collect()
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    #[test]
    fn every_name_is_found_in_its_one_form() {
        let certificate = read(|params| {
            params.distinguished_name.push(DnType::OrganizationName, "Acme, Inc.");
            params.distinguished_name.push(DnType::CommonName, "shipper");
            params.subject_alt_names =
                vec![dns("Shipper.example"), dns("*.example"), uri("spiffe://prod.example/ns/logs/sa/shipper")];
        });
        let expected = [
            "dns_name shipper.example",
            "spiffe_id spiffe://prod.example/ns/logs/sa/shipper",
            r"subject CN=shipper,O=Acme\, Inc.",
        ];
        assert_eq!(told(&certificate), expected);
    }

    #[test]
    fn two_uris_are_no_spiffe_id_and_no_names_are_none() {
        let (one, two) = (uri("spiffe://prod.example/a"), uri("spiffe://prod.example/b"));
        assert_eq!(told(&read(|params| params.subject_alt_names = vec![one.clone(), two])), [""; 0]);
        assert_eq!(told(&read(|params| params.subject_alt_names = vec![one.clone(), one])), [""; 0]);
        assert_eq!(told(&read(|_| ())), [""; 0]);
        assert_eq!(told(&read(|params| params.subject_alt_names = vec![uri("https://a.example/b")])), [""; 0]);
    }

    #[test]
    fn a_name_with_a_nul_in_it_takes_all_others_with_it() {
        for tampered in ["shipper.example\0.evil.example", "shipper.example ", "shipp\u{435}r.example"] {
            // By hand: rcgen would not write such a name.
            let names = [&[0x82, u8::try_from(tampered.len()).unwrap()][..], tampered.as_bytes()].concat();
            let names = [&[0x30, u8::try_from(names.len()).unwrap()][..], &names].concat();
            let certificate = read(|params| {
                params.distinguished_name.push(DnType::CommonName, "shipper");
                params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], names)];
            });
            assert_eq!(told(&certificate), [""; 0], "{tampered:?}");
        }
    }

    #[test]
    fn alternative_names_that_stand_there_twice_are_not_believed() {
        let name = b"\x30\x11\x82\x0fshipper.example".to_vec();
        let certificate = read(|params| {
            params.subject_alt_names = vec![dns("other.example")];
            params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], name)];
        });
        assert_eq!(told(&certificate), [""; 0]);
    }

    #[test]
    fn a_subject_of_an_odd_kind_of_text_is_no_name() {
        let certificate = read(|params| {
            let wide = rcgen::string::BmpString::try_from("shipper").unwrap();
            params.distinguished_name.push(DnType::CommonName, rcgen::DnValue::BmpString(wide));
        });
        assert_eq!(told(&certificate), [""; 0]);
    }

    #[test]
    fn it_is_valid_to_the_last_second_and_no_longer() {
        let certificate = read(|params| params.not_after = rcgen::date_time_ymd(2030, 1, 1));
        let end: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        assert!(certificate.is_valid_at(end));
        assert!(!certificate.is_valid_at("2030-01-01T00:00:01Z".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_what_follows_a_certificate_is_not_overlooked(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
        ) {
            let _ = PeerCertificate::read(&bytes);
            static WHOLE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
            let whole = WHOLE.get_or_init(|| {
                let mut params = CertificateParams::new(["shipper.example".to_owned()]).unwrap();
                params.subject_alt_names.push(uri("spiffe://prod.example/a"));
                params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
            });
            let mut torn = whole.clone();
            for (at, byte) in (at.index(whole.len())..whole.len()).zip(&bytes) {
                torn[at] ^= byte;
            }
            let _ = PeerCertificate::read(&torn);
            if !bytes.is_empty() {
                prop_assert!(PeerCertificate::read(&[whole.as_slice(), &bytes].concat()).names().is_empty());
            }
        }
    }
}
