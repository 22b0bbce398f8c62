//! PEM text to DER: finds the one private key in a file and names whatever stands there instead.
//!
//! Text around the blocks, Windows line ends and other blocks beside the key are tolerated (RFC 7468 section 2 allows
//! the first two; bundles with the certificate are common).

use base64::prelude::*;
use zeroize::Zeroizing;

use super::rsa::Encoding;
use super::{Found, KeyError, Unlock, binary, jks};

/// The one private key in `content`.
pub(super) fn private_key(content: &[u8], unlock: &Unlock<'_>) -> Result<Found, KeyError> {
    let labels = labels(content);
    let mut private = labels.iter().filter(|label| label.ends_with("PRIVATE KEY"));
    let label = match (private.next(), private.count()) {
        (None, _) => return Err(instead_of_a_key(content, &labels)),
        (Some(label), 0) => label,
        (Some(_), more) => return Err(KeyError::Several(more + 1)),
    };
    let encoding = match label.as_str() {
        "PRIVATE KEY" => Some(Encoding::Pkcs8),
        "RSA PRIVATE KEY" => Some(Encoding::Pkcs1),
        "ENCRYPTED PRIVATE KEY" => None,
        "EC PRIVATE KEY" => return Err(KeyError::NotRsa("an elliptic-curve key (EC)")),
        "DSA PRIVATE KEY" => return Err(KeyError::NotRsa("a DSA key")),
        "OPENSSH PRIVATE KEY" => return Err(KeyError::OpenSsh),
        _ => return Err(KeyError::NotRsa("of a kind that is not known here")),
    };
    if contains(content, b"Proc-Type:") {
        return Err(KeyError::EncryptedByHeader);
    }
    if contains(content, b"-----\\n") {
        return Err(KeyError::EscapedLineEnds);
    }
    let damaged = || KeyError::Malformed(encoding.map_or("private key", Encoding::label));
    let der = blocks(content, label).next().flatten().ok_or_else(damaged)?;
    let found = match encoding {
        Some(encoding) => binary::plain(&der, encoding, unlock),
        None => binary::encrypted(&der, unlock)?,
    };
    Ok(Found { certificates: certificates(content), ..found })
}

/// All certificates that can be read, in DER.
pub(super) fn certificates(content: &[u8]) -> Vec<Vec<u8>> {
    blocks(content, "CERTIFICATE").flatten().map(|der| der.to_vec()).collect()
}

/// What the blocks of this label hold; nothing for one that is damaged.
fn blocks<'a>(content: &'a [u8], label: &str) -> impl Iterator<Item = Option<Zeroizing<Vec<u8>>>> + use<'a> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut rest = content;
    std::iter::from_fn(move || {
        rest = rest.get(find(rest, begin.as_bytes())? + begin.len()..)?;
        let Some(length) = find(rest, end.as_bytes()) else { return Some(None) };
        let body = rest.get(..length)?;
        let text = without_whitespace(body);
        let mut der = Zeroizing::new(vec![0; text.len() / 4 * 3]);
        let length = BASE64_STANDARD.decode_slice(text.as_slice(), &mut der).ok();
        Some(length.map(|length| {
            der.truncate(length);
            der
        }))
    })
}

fn without_whitespace(text: &[u8]) -> Zeroizing<Vec<u8>> {
    // Room for all of it: a buffer that grows leaves copies behind that nobody wipes.
    let mut rest = Zeroizing::new(Vec::with_capacity(text.len()));
    rest.extend(text.iter().filter(|byte| !byte.is_ascii_whitespace()));
    rest
}

fn instead_of_a_key(content: &[u8], labels: &[String]) -> KeyError {
    let has = |suffix: &str| labels.iter().any(|label| label.ends_with(suffix));
    match content {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => KeyError::Utf16,
        _ if has("PUBLIC KEY") => KeyError::PublicKey,
        _ if has("CERTIFICATE") => KeyError::Certificate,
        _ if has("PKCS7") || has("CMS") => KeyError::Pkcs7,
        _ if is_base64_of_a_key(content) => KeyError::Base64,
        _ => KeyError::Unknown,
    }
}

/// Whether it is the text of DER or JKS: what is copied out of a Kubernetes secret.
fn is_base64_of_a_key(content: &[u8]) -> bool {
    let Ok(bytes) = BASE64_STANDARD.decode(&*without_whitespace(content)).map(Zeroizing::new) else { return false };
    bytes.len() > 64
        && (matches!(bytes.as_slice(), [0x30, 0x82, ..] | [b'-', b'-', ..]) || bytes.starts_with(&jks::MAGIC))
}

/// The labels of all blocks, in order. They hold no secret: anything but upper-case words and digits is left out.
fn labels(content: &[u8]) -> Vec<String> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let mut labels = Vec::new();
    let mut rest = content;
    while let Some(at) = find(rest, BEGIN) {
        rest = rest.get(at + BEGIN.len()..).unwrap_or_default();
        let label = rest.split(|&byte| byte == b'-').next().unwrap_or_default();
        let is_label =
            label.len() <= 40 && label.iter().all(|&b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ');
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
    use super::super::KeyError;
    use crate::keys::{Parsed, Signer, SoftwareKey, Unlock};
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use base64::prelude::*;
    use proptest::prelude::*;
    use std::sync::OnceLock;

    fn parse(content: &[u8]) -> Result<SoftwareKey, KeyError> {
        super::super::parse(content, &Unlock::default()).map(|Parsed { key, .. }| key)
    }

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
        let dsa_in_pkcs8 = [&[0x06, 0x07][..], &[0x2A, 0x86, 0x48, 0xCE, 0x38, 0x04, 0x01], &[0; 12]].concat();
        let cases: Vec<(Vec<u8>, KeyError)> = vec![
            (armour("CERTIFICATE", b"x").into(), KeyError::Certificate),
            (armour("PUBLIC KEY", b"x").into(), KeyError::PublicKey),
            (armour("RSA PUBLIC KEY", b"x").into(), KeyError::PublicKey),
            (armour("ENCRYPTED PRIVATE KEY", b"x").into(), KeyError::Malformed("private key")),
            (proc_type.into(), KeyError::EncryptedByHeader),
            (armour("EC PRIVATE KEY", b"x").into(), KeyError::NotRsa("an elliptic-curve key (EC)")),
            (armour("PRIVATE KEY", &ec_in_pkcs8).into(), KeyError::NotRsa("an elliptic-curve key (EC)")),
            (armour("PRIVATE KEY", &dsa_in_pkcs8).into(), KeyError::NotRsa("a DSA key")),
            (armour("PRIVATE KEY", &pss_in_pkcs8()).into(), KeyError::RsaPss),
            (armour("OPENSSH PRIVATE KEY", b"x").into(), KeyError::OpenSsh),
            (format!("{key}{key}").into(), KeyError::Several(2)),
            (key.replace('\n', "\\n").into(), KeyError::EscapedLineEnds),
            (armour("PRIVATE KEY", &pkcs8()[..600]).into(), KeyError::Malformed("private key (PKCS#8)")),
            (armour("RSA PRIVATE KEY", pkcs8()).into(), KeyError::Malformed("private key (PKCS#1)")),
            (key.get(..400).unwrap().into(), KeyError::Malformed("private key (PKCS#8)")),
            (vec![0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2], KeyError::Malformed("JKS keystore")),
            (BASE64_STANDARD.encode(pkcs8()).into(), KeyError::Base64),
            (key.encode_utf16().flat_map(u16::to_le_bytes).collect(), KeyError::Unknown),
            ([0xFF, 0xFE].into_iter().chain(key.encode_utf16().flat_map(u16::to_le_bytes)).collect(), KeyError::Utf16),
            (armour("PKCS7", b"x").into(), KeyError::Pkcs7),
            (b"hello".to_vec(), KeyError::Unknown),
            (Vec::new(), KeyError::Unknown),
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
