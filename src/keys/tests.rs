//! Every format by files that its own makers made (`tests/fixtures/keys/make`), every refusal, and what hostile content
//! can do.

use proptest::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use secrecy::SecretString;

use super::*;

const PASSWORD: &str = "changeit-for-the-elf";

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/keys/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Password, password of the key, alias.
type How = (Option<&'static str>, Option<&'static str>, Option<&'static str>);

const PLAIN: How = (None, None, None);
const LOCKED: How = (Some(PASSWORD), None, None);

fn open(content: &[u8], (password, entry_password, alias): How) -> Result<Parsed, KeyError> {
    let secret = |text: Option<&str>| text.map(|text| SecretString::from(text.to_owned()));
    let (password, entry_password) = (secret(password), secret(entry_password));
    parse(content, &Unlock { password: password.as_ref(), entry_password: entry_password.as_ref(), alias })
}

/// The same key in every format: file, what opens it, whether its certificate is there too, what is noted.
const FORMATS: &[(&str, How, bool, &[Note])] = &[
    ("pkcs8.pem", PLAIN, false, &[]),
    ("pkcs1.pem", PLAIN, false, &[]),
    ("pkcs8.der", PLAIN, false, &[]),
    ("pkcs1.der", PLAIN, false, &[]),
    ("pkcs8.pem", LOCKED, false, &[Note::PasswordUnused]),
    ("pkcs1.der", (None, Some("x"), Some("elf")), false, &[Note::EntryPasswordUnused, Note::AliasUnused]),
    ("encrypted.pem", LOCKED, false, &[]),
    ("encrypted.der", LOCKED, false, &[]),
    ("encrypted-sha512.pem", LOCKED, false, &[]),
    ("encrypted-3des.pem", LOCKED, false, &[]),
    ("encrypted-scrypt.pem", LOCKED, false, &[]),
    ("encrypted-pbe-3des.pem", LOCKED, false, &[]),
    ("encrypted.pem", (Some(PASSWORD), None, Some("elf")), false, &[Note::AliasUnused]),
    ("openssl.p12", LOCKED, true, &[]),
    ("openssl.p12", (Some(PASSWORD), None, Some("ELF")), true, &[]),
    ("openssl-legacy.p12", LOCKED, true, &[]),
    ("openssl-two-key-des.p12", LOCKED, true, &[]),
    ("openssl-empty-password.p12", PLAIN, true, &[]),
    ("openssl-no-mac.p12", LOCKED, true, &[Note::NoIntegrity]),
    ("openssl-plain.p12", PLAIN, true, &[Note::NoIntegrity]),
    ("keytool-default.jks", LOCKED, true, &[]),
    ("keytool-legacy.p12", LOCKED, true, &[]),
    ("several.p12", (Some(PASSWORD), None, Some("elf")), true, &[]),
    ("salesforce.jks", (Some(PASSWORD), None, Some("elf_integration")), true, &[]),
    ("salesforce.jks", (Some(PASSWORD), Some(PASSWORD), Some("Elf_Integration")), true, &[]),
    ("two-passwords.jks", (Some(PASSWORD), Some("changeit-key"), None), true, &[]),
    ("umlaut.jks", (Some("pässwört-ключ"), None, Some("SCHLÜSSEL")), true, &[]),
];

#[test]
fn every_format_opens_with_what_it_needs() {
    let key = open(&fixture("pkcs8.pem"), PLAIN).unwrap().key.thumbprint().clone();
    for &(file, how, has_certificate, notes) in FORMATS {
        let parsed = open(&fixture(file), how).unwrap_or_else(|error| panic!("{file} {how:?}: {error}"));
        assert_eq!(parsed.key.thumbprint(), &key, "{file}");
        assert_eq!(parsed.certificate.is_some(), has_certificate, "{file}");
        assert_eq!(parsed.notes, notes, "{file}");
    }
}

#[test]
fn each_alias_of_a_keystore_is_another_key() {
    let store = fixture("salesforce.jks");
    let mut keys = Vec::new();
    for alias in ["elf_integration", "selfsignedcert_22nov2026", "partner_portal"] {
        let parsed = open(&store, (Some(PASSWORD), None, Some(alias))).unwrap();
        assert!(parsed.certificate.is_some(), "{alias}");
        assert!(!keys.contains(parsed.key.thumbprint()), "{alias}");
        keys.push(parsed.key.thumbprint().clone());
    }
}

#[test]
fn the_passwords_of_a_keystore_need_not_be_the_same() {
    let short = (Some("short"), None, None);
    assert_eq!(open(&fixture("two-passwords.jks"), LOCKED).unwrap_err(), KeyError::WrongEntryPassword);
    let wrong = (Some(PASSWORD), Some("wrong"), None);
    assert_eq!(open(&fixture("openssl.p12"), wrong).unwrap_err(), KeyError::WrongEntryPassword);
    assert_eq!(
        open(&fixture("two-passwords.jks"), (Some("changeit-key"), None, None)).unwrap_err(),
        KeyError::WrongPassword("JKS keystore")
    );
    for (file, what) in [
        ("encrypted.pem", "private key"),
        ("encrypted-scrypt.pem", "private key"),
        ("encrypted-pbe-3des.pem", "private key"),
        ("openssl.p12", "PKCS#12 keystore"),
        ("openssl-no-mac.p12", "PKCS#12 keystore"),
        ("salesforce.jks", "JKS keystore"),
    ] {
        assert_eq!(open(&fixture(file), short).unwrap_err(), KeyError::WrongPassword(what), "{file}");
        assert_eq!(open(&fixture(file), PLAIN).unwrap_err(), KeyError::PasswordNeeded(what), "{file}");
    }
}

#[test]
fn what_does_not_open_is_called_by_its_name() {
    let unsupported = |what, scheme: &str| KeyError::Unsupported { what, scheme: scheme.to_owned() };
    let cases = [
        ("proc-type.pem", KeyError::EncryptedByHeader),
        ("encrypted-pbe-des.pem", unsupported("private key", "a scheme of PKCS#5 v1.5 with MD5")),
        ("openssl-camellia.p12", unsupported("PKCS#12 keystore", "a cipher other than AES-CBC and 3DES")),
        ("keytool.jceks", KeyError::JavaKeystore("JCEKS")),
        ("keytool.bcfks", KeyError::JavaKeystore("BCFKS")),
        ("ec.pem", KeyError::NotRsa("an elliptic-curve key (EC)")),
        ("ec.p12", KeyError::NotRsa("an elliptic-curve key (EC)")),
        ("ec.jks", KeyError::NotRsa("an elliptic-curve key (EC)")),
        ("no-key.p12", KeyError::NoKey),
        ("certificate.pem", KeyError::Certificate),
        ("certificate.der", KeyError::Certificate),
    ];
    for (file, error) in cases {
        assert_eq!(open(&fixture(file), LOCKED).unwrap_err(), error, "{file}");
    }
    let told = open(&fixture("salesforce.jks"), LOCKED).unwrap_err().to_string();
    assert!(told.contains("`elf_integration`") && told.contains("`partner_portal`"), "{told}");
    let told = open(&fixture("several.p12"), (Some(PASSWORD), None, Some("third"))).unwrap_err().to_string();
    assert_eq!(told, "there is no private key of this name; there is: `elf`, `second`");
}

#[test]
fn a_certificate_of_another_key_is_refused_wherever_it_is() {
    let (key, other) = (fixture("pkcs8.pem"), fixture("other.pem"));
    let certificate = fixture("certificate.pem");
    assert!(open(&[key.as_slice(), &certificate].concat(), PLAIN).unwrap().certificate.is_some());
    assert_eq!(open(&[other.as_slice(), &certificate].concat(), PLAIN).unwrap_err(), KeyError::OtherCertificate);
    // The certificates were made of the same size, so that one can be put in the place of the other.
    let (store, own, foreign) =
        (fixture("openssl-plain.p12"), fixture("certificate.der"), fixture("other-certificate.der"));
    let at = store.windows(own.len()).position(|part| part == own).unwrap();
    let mut swapped = store;
    swapped[at..at + own.len()].copy_from_slice(&foreign);
    assert_eq!(open(&swapped, PLAIN).unwrap_err(), KeyError::OtherCertificate);
}

/// A DER value.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    [&[tag, 0x84][..], &length, &value].concat()
}

fn pbkdf2(rounds: &[u8]) -> Vec<u8> {
    let oid = der(6, &[&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 5, 12]]);
    der(0x30, &[&oid, &der(0x30, &[&der(4, &[b"salt"]), &der(2, &[rounds])])])
}

fn pbkdf2_sha512(rounds: &[u8]) -> Vec<u8> {
    let oid = der(6, &[&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 5, 12]]);
    let hash = der(0x30, &[&der(6, &[&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 2, 11]])]);
    der(0x30, &[&oid, &der(0x30, &[&der(4, &[b"salt"]), &der(2, &[rounds]), &hash])])
}

/// `EncryptedPrivateKeyInfo` with PBE-SHA1-3DES.
fn encrypted_by_pkcs12(rounds: &[u8]) -> Vec<u8> {
    let oid = der(6, &[&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 12, 1, 3]]);
    let algorithm = der(0x30, &[&oid, &der(0x30, &[&der(4, &[b"salt"]), &der(2, &[rounds])])]);
    der(0x30, &[&algorithm, &der(4, &[&[7; 64]])])
}

fn scrypt(n: &[u8], r: &[u8]) -> Vec<u8> {
    let oid = der(6, &[&[0x2B, 6, 1, 4, 1, 0xDA, 0x47, 4, 11]]);
    der(0x30, &[&oid, &der(0x30, &[&der(4, &[b"salt"]), &der(2, &[n]), &der(2, &[r]), &der(2, &[&[1]])])])
}

/// `EncryptedPrivateKeyInfo` with 3DES.
fn encrypted(derivation: &[u8], iv: &[u8]) -> Vec<u8> {
    let cipher = der(0x30, &[&der(6, &[&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 3, 7]]), &der(4, &[iv])]);
    let pbes2 = der(6, &[&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 5, 13]]);
    der(0x30, &[&der(0x30, &[&pbes2, &der(0x30, &[derivation, &cipher])]), &der(4, &[&[7; 64]])])
}

/// A keystore without integrity check, whose safe holds these bags.
fn keystore(bags: &[u8]) -> Vec<u8> {
    let data = || der(6, &[&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 7, 1]]);
    let info = |content: &[u8]| der(0x30, &[&data(), &der(0xA0, &[&der(4, &[content])])]);
    let safe = der(0x30, &[&info(&der(0x30, &[bags]))]);
    der(0x30, &[&der(2, &[&[3]]), &info(&safe)])
}

/// What came of it, and how long this thread was busy with it; the machine may be busy with others.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let now = || clock_gettime(ClockId::ThreadCPUTime);
    let began = now();
    let done = work();
    let ended = now();
    let nanoseconds = i32::try_from(ended.tv_nsec - began.tv_nsec).unwrap();
    let seconds = i32::try_from(ended.tv_sec - began.tv_sec).unwrap();
    (done, f64::from(seconds) + f64::from(nanoseconds) / 1e9)
}

#[test]
fn no_file_can_ask_for_more_work_than_is_bearable() {
    let dear = [&[0x7F, 0xFF, 0xFF, 0xFF][..], &[0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], &[0x20, 0, 0]];
    let too_many = KeyError::TooManyRounds("private key");
    for rounds in dear {
        assert_eq!(open(&encrypted(&pbkdf2(rounds), &[0; 8]), LOCKED).unwrap_err(), too_many, "{rounds:?}");
        assert_eq!(open(&encrypted(&scrypt(rounds, &[8]), &[0; 8]), LOCKED).unwrap_err(), too_many, "{rounds:?}");
        assert_eq!(open(&encrypted(&scrypt(&[0x40, 0], rounds), &[0; 8]), LOCKED).unwrap_err(), too_many, "{rounds:?}");
    }
    // The most that is done.
    let most = (pbe::MOST_ROUNDS / 2).to_be_bytes();
    let dearest = [
        ("PBKDF2 with SHA-1", encrypted(&pbkdf2(&most), &[0; 8])),
        ("PBKDF2 with SHA-512", encrypted(&pbkdf2_sha512(&(pbe::MOST_ROUNDS / 2).to_be_bytes()), &[0; 8])),
        ("scrypt", encrypted(&scrypt(&[1, 0, 0], &[10]), &[0; 8])),
        // Two blocks of key, one of IV.
        ("PKCS#12", encrypted_by_pkcs12(&(pbe::MOST_ROUNDS / 3).to_be_bytes())),
    ];
    for (by, file) in dearest {
        let (opened, seconds) = timed(|| open(&file, LOCKED));
        assert_eq!(opened.unwrap_err(), KeyError::WrongPassword("private key"), "{by}");
        println!("the dearest file by {by}: {seconds:.2} s");
        assert!(seconds < 2.0, "{by}: {seconds} s");
    }
    let damaged = KeyError::Malformed("private key");
    assert_eq!(open(&encrypted(&scrypt(&[0, 0xF0, 0], &[1]), &[0; 8]), LOCKED).unwrap_err(), damaged);
    assert_eq!(open(&encrypted(&pbkdf2(&[0]), &[0; 8]), LOCKED).unwrap_err(), KeyError::Malformed("private key"));
    assert_eq!(open(&encrypted(&pbkdf2(&[1]), &[0; 7]), LOCKED).unwrap_err(), KeyError::WrongPassword("private key"));
}

#[test]
fn a_keystore_of_many_dear_keys_costs_no_more_than_one() {
    let bag = |kind: u8, value: &[u8]| {
        let oid = der(6, &[&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 12, 10, 1, kind]]);
        der(0x30, &[&oid, &der(0xA0, &[value])])
    };
    let dear = bag(2, &encrypted(&pbkdf2(&[0x0A, 0xAE, 0x60]), &[0; 8]));
    let many = keystore(&dear.repeat(2000));
    let (opened, seconds) = timed(|| open(&many, PLAIN));
    assert!(matches!(opened.unwrap_err(), KeyError::Ambiguous(_)));
    assert!(seconds < 2.0, "{seconds} s");
    let key = fixture("pkcs8.der");
    assert!(open(&keystore(&bag(1, &key)), PLAIN).is_ok());
    assert!(matches!(open(&keystore(&bag(1, &key).repeat(2)), PLAIN).unwrap_err(), KeyError::Ambiguous(_)));
    assert_eq!(open(&keystore(&[]), PLAIN).unwrap_err(), KeyError::NoKey);
    let beyond = bag(2, &encrypted(&pbkdf2(&[0x7F, 0, 0, 0]), &[0; 8]));
    let error = open(&keystore(&beyond), PLAIN).unwrap_err();
    assert_eq!(error, KeyError::TooManyRounds("PKCS#12 keystore"));
    assert!(error.remedy("a.p12").contains("`openssl pkcs12 -in a.p12 -nocerts -out key.pem`"));
}

#[test]
fn every_cut_of_every_file_is_refused() {
    for &(file, how, ..) in FORMATS {
        let whole = fixture(file);
        let text = whole.starts_with(b"-----");
        let last = whole.len() - if text { 1 } else { 0 };
        for length in (0..last).step_by(97).chain([last - 1]) {
            assert!(open(&whole[..length], how).is_err(), "{file} {length}");
        }
        if !text {
            assert!(open(&[whole.as_slice(), &[0]].concat(), how).is_err(), "{file}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_change_of_a_file_makes_it_panic_or_another_key(
        format in 0..FORMATS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (file, how, ..) = FORMATS[format];
        let key = open(&fixture("pkcs8.pem"), PLAIN).unwrap().key.thumbprint().clone();
        let mut content = fixture(file);
        for (at, byte) in changes {
            let at = at.index(content.len());
            content[at] = byte;
        }
        if let Some(cut) = cut {
            content.truncate(cut.index(content.len()));
        }
        if let Ok(parsed) = open(&content, how) {
            prop_assert_eq!(parsed.key.thumbprint(), &key);
        }
    }

    #[test]
    fn no_change_of_a_certificate_makes_it_panic_or_another_keys(
        file in prop::sample::select(vec!["certificate.pem", "certificate.der", "large-certificate.pem"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut content = fixture(file);
        let (own, other) = (open(&fixture("pkcs8.pem"), PLAIN).unwrap(), open(&fixture("other.pem"), PLAIN).unwrap());
        prop_assert!(certificate::parse(&content, own.key.thumbprint()).is_ok());
        for (at, byte) in changes {
            let at = at.index(content.len());
            content[at] = byte;
        }
        if let Some(cut) = cut {
            content.truncate(cut.index(content.len()));
        }
        let _ = certificate::parse(&content, own.key.thumbprint());
        prop_assert!(certificate::parse(&content, other.key.thumbprint()).is_err());
    }

    #[test]
    fn no_content_behind_a_magic_makes_it_panic(
        magic in prop::sample::select(vec![vec![0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2], vec![0x30, 0x82], vec![0x30]]),
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = open(&[magic, rest].concat(), LOCKED);
    }
}
