//! PEM text to DER: finds the one private key in a file and names whatever stands there instead.
//!
//! Text around the blocks, Windows line ends and other blocks beside the key are tolerated (RFC 7468 section 2 allows
//! the first two; bundles with the certificate are common).

use rustls::pki_types::pem::{self, SectionKind};
use zeroize::Zeroizing;

use super::KeyError;
use super::rsa::{Encoding, SoftwareKey};

/// A private key in DER, before anybody looked inside.
pub(super) struct UnverifiedKey {
    der: Zeroizing<Vec<u8>>,
    encoding: Encoding,
}

impl UnverifiedKey {
    /// Checks it and makes it a key that signs.
    pub(super) fn open(self) -> Result<SoftwareKey, KeyError> {
        SoftwareKey::from_der(&self.der, self.encoding)
    }
}

/// The one private key in `content`.
pub(super) fn private_key(content: &[u8]) -> Result<UnverifiedKey, KeyError> {
    let labels = labels(content);
    let private = labels.iter().filter(|label| label.ends_with("PRIVATE KEY")).count();
    match private {
        0 => return Err(instead_of_a_key(content, &labels)),
        1 => {}
        several => return Err(KeyError::Several(several)),
    }
    let label = labels.iter().find(|label| label.ends_with("PRIVATE KEY")).map_or("", String::as_str);
    let encoding = match label {
        "PRIVATE KEY" => Encoding::Pkcs8,
        "RSA PRIVATE KEY" if contains(content, b"Proc-Type:") => return Err(KeyError::Encrypted),
        "RSA PRIVATE KEY" => Encoding::Pkcs1,
        "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Encrypted),
        "EC PRIVATE KEY" => return Err(KeyError::NotRsa("an elliptic-curve key (EC)")),
        "DSA PRIVATE KEY" => return Err(KeyError::NotRsa("a DSA key")),
        "OPENSSH PRIVATE KEY" => return Err(KeyError::OpenSsh),
        _ => return Err(KeyError::NotRsa("of a kind that is not known here")),
    };
    if contains(content, b"-----\\n") {
        return Err(KeyError::EscapedLineEnds);
    }
    let der = decode(from_the_key_on(content, label)).ok_or_else(|| KeyError::Malformed(encoding.label()))?;
    Ok(UnverifiedKey { der, encoding })
}

/// Leaves out what stands before the key: a byte order mark, or another block, which may be damaged.
fn from_the_key_on<'a>(content: &'a [u8], label: &str) -> &'a [u8] {
    let begin = format!("-----BEGIN {label}-----");
    find(content, begin.as_bytes()).and_then(|at| content.get(at..)).unwrap_or(content)
}

fn decode(mut content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    while let Some((kind, der)) = pem::from_buf(&mut content).ok()? {
        let der = Zeroizing::new(der);
        if matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey) {
            return Some(der);
        }
    }
    None
}

fn instead_of_a_key(content: &[u8], labels: &[String]) -> KeyError {
    let has = |suffix: &str| labels.iter().any(|label| label.ends_with(suffix));
    match content {
        [0xFE, 0xED, 0xFE, 0xED, ..] => KeyError::JavaKeystore("JKS"),
        [0xCE, 0xCE, 0xCE, 0xCE, ..] => KeyError::JavaKeystore("JCEKS"),
        [0x30, 0x80..=0x84, ..] => KeyError::Binary,
        _ if has("PUBLIC KEY") => KeyError::PublicKey,
        _ if has("CERTIFICATE") => KeyError::Certificate,
        _ => KeyError::NoPem,
    }
}

/// The labels of all blocks, in order. They hold no secret: anything but upper-case words is left out.
fn labels(content: &[u8]) -> Vec<String> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let mut labels = Vec::new();
    let mut rest = content;
    while let Some(at) = find(rest, BEGIN) {
        rest = rest.get(at + BEGIN.len()..).unwrap_or_default();
        let label = rest.split(|&byte| byte == b'-').next().unwrap_or_default();
        let is_label = label.len() <= 40 && label.iter().all(|&b| b.is_ascii_uppercase() || b == b' ' || b == b'5');
        if is_label {
            labels.push(String::from_utf8_lossy(label).into_owned());
        }
    }
    labels
}

fn contains(content: &[u8], part: &[u8]) -> bool {
    find(content, part).is_some()
}

fn find(content: &[u8], part: &[u8]) -> Option<usize> {
    content.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::super::{KeyError, parse};
    use crate::keys::Signer;
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use base64::prelude::*;
    use proptest::prelude::*;
    use std::sync::OnceLock;

    fn pkcs8() -> &'static [u8] {
        static KEY: OnceLock<Vec<u8>> = OnceLock::new();
        KEY.get_or_init(|| {
            let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
            AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref().to_vec()
        })
    }

    fn armour(label: &str, der: &[u8]) -> String {
        let body = BASE64_STANDARD.encode(der);
        let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    }

    /// PKCS#8 of an RSA key is a 26-byte frame around PKCS#1.
    fn pkcs1() -> &'static [u8] {
        &pkcs8()[26..]
    }

    /// The same key, said to be for RSA-PSS alone.
    fn pss_in_pkcs8() -> Vec<u8> {
        let mut der = pkcs8().to_vec();
        let oid = der.windows(9).position(|part| part == [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1]).unwrap();
        der[oid + 8] = 0x0A;
        der
    }

    #[test]
    fn both_encodings_are_the_same_key() {
        let eight = parse(armour("PRIVATE KEY", pkcs8()).as_bytes()).unwrap();
        let one = parse(armour("RSA PRIVATE KEY", pkcs1()).as_bytes()).unwrap();
        assert_eq!(eight.thumbprint(), one.thumbprint());
    }

    #[test]
    fn line_ends_and_surrounding_text_do_not_matter() {
        let plain = armour("PRIVATE KEY", pkcs8());
        let windows = plain.replace('\n', "\r\n");
        let wrapped =
            format!("Bag Attributes\n    friendlyName: elf\nKey Attributes: <none>\n{plain}\ntrailing words\n");
        let bundle = format!("{}{plain}", armour("CERTIFICATE", b"not looked at"));
        let marked = format!("\u{feff}{plain}");
        let whole = armour("CERTIFICATE", &[7; 300]);
        let no_base64 = format!("-----BEGIN CERTIFICATE-----\n?!\n-----END CERTIFICATE-----\n{plain}");
        let no_end = format!("{}\n{plain}", whole.get(..whole.len() / 2).unwrap());
        for text in [windows, wrapped, bundle, marked, no_base64, no_end] {
            assert!(parse(text.as_bytes()).is_ok(), "{}", text.lines().next().unwrap());
        }
    }

    #[test]
    fn what_is_no_rsa_private_key_is_called_by_its_name() {
        let key = armour("PRIVATE KEY", pkcs8());
        let proc_type = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        let ec_in_pkcs8 =
            [&[0x30, 0x13, 0x06, 0x07][..], &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01], &[0; 12]].concat();
        let cases: Vec<(Vec<u8>, KeyError)> = vec![
            (armour("CERTIFICATE", b"x").into(), KeyError::Certificate),
            (armour("PUBLIC KEY", b"x").into(), KeyError::PublicKey),
            (armour("RSA PUBLIC KEY", b"x").into(), KeyError::PublicKey),
            (armour("ENCRYPTED PRIVATE KEY", b"x").into(), KeyError::Encrypted),
            (proc_type.into(), KeyError::Encrypted),
            (armour("EC PRIVATE KEY", b"x").into(), KeyError::NotRsa("an elliptic-curve key (EC)")),
            (armour("PRIVATE KEY", &ec_in_pkcs8).into(), KeyError::NotRsa("an elliptic-curve key (EC)")),
            (armour("PRIVATE KEY", &pss_in_pkcs8()).into(), KeyError::RsaPss),
            (armour("OPENSSH PRIVATE KEY", b"x").into(), KeyError::OpenSsh),
            (format!("{key}{key}").into(), KeyError::Several(2)),
            (key.replace('\n', "\\n").into(), KeyError::EscapedLineEnds),
            (armour("PRIVATE KEY", &pkcs8()[..600]).into(), KeyError::Malformed("PRIVATE KEY")),
            (armour("RSA PRIVATE KEY", pkcs8()).into(), KeyError::Malformed("RSA PRIVATE KEY")),
            (key.get(..400).unwrap().into(), KeyError::Malformed("PRIVATE KEY")),
            (vec![0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2], KeyError::JavaKeystore("JKS")),
            (pkcs8().to_vec(), KeyError::Binary),
            (b"hello".to_vec(), KeyError::NoPem),
            (Vec::new(), KeyError::NoPem),
        ];
        for (content, expected) in cases {
            assert_eq!(parse(&content).unwrap_err(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_content_makes_it_panic(content in prop::collection::vec(any::<u8>(), 0..400), label in "[A-Z ]{0,20}") {
            let _ = parse(&content);
            let _ = parse(armour(&label, &content).as_bytes());
            let _ = parse(armour("PRIVATE KEY", &content).as_bytes());
        }
    }
}
