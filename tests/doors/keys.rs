//! Keys in the formats of others: each loads in every way that it can be opened, each mistake is told before a port is
//! bound, and what changes while the service runs takes effect without a lost request.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use crate::canary;
use crate::get_token::is_a_token;
use crate::support::house::{House, Plan, key_pair};
use crate::support::process::{Ended, Process};
use crate::support::until;
use crate::support::wire::{Connection, get};

const UMLAUTS: &str = "pässwört-ключ";
const PASSWORD: &str = "changeit-for-the-elf";

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/keys/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn write(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A folder with all fixtures, some files that are none, the passwords, and a configuration.
struct Drawer {
    folder: TempDir,
    configuration: String,
}

impl Drawer {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        canary::note("the password of a keystore", PASSWORD);
        canary::note("the password of a keystore", UMLAUTS);
        canary::note_private_key(&String::from_utf8(fixture("pkcs8.pem")).unwrap());
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys");
        for entry in fs::read_dir(fixtures).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            write(&folder.path().join(&name), &fixture(&name));
        }
        for (name, text) in
            [("password", PASSWORD), ("key-password", "changeit-key\n"), ("umlaut-password", UMLAUTS), ("wrong", "x")]
        {
            write(&folder.path().join(name), text.as_bytes());
        }
        Self { folder, configuration: String::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One more integration, with these settings of its key.
    fn add(&mut self, name: &str, settings: &str) {
        write!(
            self.configuration,
            "[integrations.{name}]\nusername = \"elf@acme.example\"\nclient_id = \"SIMULATED_client\"\n\
             token_url = \"https://acme.my.salesforce.com\"\n{settings}\n"
        )
        .unwrap();
    }

    /// Runs a command on the configuration; none may burn two seconds of the processor.
    async fn run(&self, command: &str) -> Ended {
        let config = self.path("aquila.toml");
        let caller = format!("[callers.shipper]\nintegrations = [\"*\"]\napi_key_sha256 = [\"{}\"]\n", "0".repeat(64));
        fs::write(&config, format!("{}{caller}", self.configuration)).unwrap();
        let mut bounded = Command::new("sh");
        let script = "ulimit -t 2; exec \"$0\" \"$@\"";
        bounded.args(["-c", script, env!("CARGO_BIN_EXE_aquila"), command, "--config"]).arg(config);
        bounded.stdin(Stdio::null()).env("STORE_PASSWORD", PASSWORD).env("KEY_PASSWORD", "changeit-key");
        if command == "check" {
            bounded.args(["--output", "json"]);
        }
        Process::searched(&mut bounded).ended().await
    }

    /// What `check` finds: status, and by integration the severities, settings, messages and remedies.
    async fn checked(&self) -> (Option<i32>, BTreeMap<String, Vec<[String; 4]>>) {
        let ended = self.run("check").await;
        let told: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
        let mut found: BTreeMap<String, Vec<[String; 4]>> = BTreeMap::new();
        for finding in told["findings"].as_array().unwrap() {
            let word = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
            let setting = word("setting");
            let (_, rest) = setting.split_once('.').unwrap_or_default();
            let (name, setting) = rest.split_once('.').unwrap_or((rest, ""));
            assert!(finding["line"].is_number() || name.is_empty(), "{finding}");
            let told = [word("severity"), setting.to_owned(), word("message"), word("remedy")];
            found.entry(name.to_owned()).or_default().push(told);
        }
        (ended.code(), found)
    }
}

const BY_PATH: &str = "client_key_password_path = \"password\"";
const BY_VARIABLE: &str = "client_key_password_env = \"STORE_PASSWORD\"";

#[tokio::test]
async fn every_format_loads_in_every_way_that_it_can_be_opened() {
    let mut drawer = Drawer::new();
    let mut count = 0;
    let mut add = |file: &str, settings: &[&str]| {
        count += 1;
        drawer.add(&format!("k-{count}"), &format!("client_key_path = \"{file}\"\n{}", settings.join("\n")));
    };
    for file in ["pkcs8.pem", "pkcs1.pem", "pkcs8.der", "pkcs1.der", "openssl-empty-password.p12"] {
        add(file, &[]);
        add(file, &["certificate_path = \"certificate.pem\""]);
    }
    let locked = [
        "encrypted.pem",
        "encrypted.der",
        "encrypted-sha512.pem",
        "encrypted-3des.pem",
        "encrypted-scrypt.pem",
        "encrypted-pbe-3des.pem",
        "openssl.p12",
        "openssl-legacy.p12",
        "openssl-two-key-des.p12",
        "keytool-default.jks",
        "keytool-legacy.p12",
    ];
    for file in locked {
        for password in [BY_PATH, BY_VARIABLE] {
            add(file, &[password]);
            add(file, &[password, "certificate_path = \"certificate.der\""]);
        }
    }
    for (file, alias) in [
        ("openssl.p12", "elf"),
        ("keytool-default.jks", "ELF"),
        ("several.p12", "elf"),
        ("several.p12", "second"),
        ("salesforce.jks", "elf_integration"),
        ("salesforce.jks", "SelfSignedCert_22Nov2026"),
        ("salesforce.jks", "partner_portal"),
    ] {
        let alias = format!("client_key_alias = \"{alias}\"");
        add(file, &[BY_PATH, &alias]);
        add(file, &[BY_VARIABLE, &alias]);
        add(file, &[BY_VARIABLE, "client_key_entry_password_path = \"password\"", &alias]);
    }
    for store in [BY_PATH, BY_VARIABLE] {
        add("two-passwords.jks", &[store, "client_key_entry_password_path = \"key-password\""]);
        add(
            "two-passwords.jks",
            &[store, "client_key_entry_password_env = \"KEY_PASSWORD\"", "client_key_alias = \"elf\""],
        );
    }
    add("umlaut.jks", &["client_key_password_path = \"umlaut-password\"", "client_key_alias = \"schlüssel\""]);
    assert!(count > 70, "{count}");
    let (code, found) = drawer.checked().await;
    assert_eq!((code, found), (Some(0), BTreeMap::new()));
}

/// What is wrong; the settings of the key; whether it is an error; at which setting; what is said; what is to be done.
type Row = (&'static str, &'static str, bool, &'static str, &'static str, &'static str);

const AT_FILE: &str = "client_key_path";
const OPENED: &str = "client_key_password_path = \"password\"";

const MISTAKES: &[Row] = &[
    (
        "no-password-p12",
        "client_key_path = \"openssl.p12\"",
        true,
        AT_FILE,
        "PKCS#12 keystore needs a password",
        "add `client_key_password_path`",
    ),
    (
        "no-password-jks",
        "client_key_path = \"salesforce.jks\"",
        true,
        AT_FILE,
        "JKS keystore needs a password",
        "add `client_key_password_path`",
    ),
    (
        "no-password-pem",
        "client_key_path = \"encrypted.pem\"",
        true,
        AT_FILE,
        "private key needs a password",
        "add `client_key_password_path`",
    ),
    (
        "wrong-p12",
        "client_key_path = \"openssl.p12\"\nclient_key_password_path = \"wrong\"",
        true,
        "client_key_password_path",
        "does not open the PKCS#12 keystore",
        "correct the password",
    ),
    (
        "wrong-no-mac",
        "client_key_path = \"openssl-no-mac.p12\"\nclient_key_password_path = \"wrong\"",
        true,
        "client_key_password_path",
        "does not open the PKCS#12 keystore",
        "correct the password",
    ),
    (
        "wrong-jks",
        "client_key_path = \"salesforce.jks\"\nclient_key_password_path = \"wrong\"",
        true,
        "client_key_password_path",
        "does not open the JKS keystore",
        "correct the password",
    ),
    (
        "wrong-pem",
        "client_key_path = \"encrypted.pem\"\nclient_key_password_path = \"wrong\"",
        true,
        "client_key_password_path",
        "does not open the private key",
        "correct the password",
    ),
    (
        "wrong-variable",
        "client_key_path = \"encrypted.der\"\nclient_key_password_env = \"KEY_PASSWORD\"",
        true,
        "client_key_password_env",
        "does not open the private key",
        "correct the password",
    ),
    (
        "wrong-scrypt",
        "client_key_path = \"encrypted-scrypt.pem\"\nclient_key_password_path = \"wrong\"",
        true,
        "client_key_password_path",
        "does not open the private key",
        "correct the password",
    ),
    (
        "entry-needed",
        "client_key_path = \"two-passwords.jks\"\nclient_key_password_path = \"password\"",
        true,
        AT_FILE,
        "the key in it does not open",
        "say it in `client_key_entry_password_path`",
    ),
    (
        "entry-wrong",
        "client_key_path = \"two-passwords.jks\"\nclient_key_password_path = \"password\"\nclient_key_entry_password_path = \"wrong\"",
        true,
        "client_key_entry_password_path",
        "the key in it does not open",
        "correct what it says",
    ),
    (
        "password-file-gone",
        "client_key_path = \"openssl.p12\"\nclient_key_password_path = \"gone\"",
        true,
        "client_key_password_path",
        "there is no such file",
        "check the path",
    ),
    (
        "password-not-set",
        "client_key_path = \"openssl.p12\"\nclient_key_password_env = \"NOT_SET\"",
        true,
        "client_key_password_env",
        "is not set",
        "set it for the process",
    ),
    (
        "ambiguous-jks",
        "client_key_path = \"salesforce.jks\"\nclient_key_password_path = \"password\"",
        true,
        AT_FILE,
        "several private keys: `",
        "`client_key_alias`",
    ),
    (
        "ambiguous-p12",
        "client_key_path = \"several.p12\"\nclient_key_password_path = \"password\"",
        true,
        AT_FILE,
        "several private keys: `elf`, `second`",
        "`client_key_alias`",
    ),
    (
        "wrong-alias",
        "client_key_path = \"several.p12\"\nclient_key_password_path = \"password\"\nclient_key_alias = \"third\"",
        true,
        "client_key_alias",
        "there is: `elf`, `second`",
        "write one of these",
    ),
    (
        "ec-pem",
        "client_key_path = \"ec.pem\"",
        true,
        AT_FILE,
        "an elliptic-curve key (EC), and Salesforce takes RSA only",
        "openssl genrsa",
    ),
    (
        "ec-p12",
        "client_key_path = \"ec.p12\"\nclient_key_password_path = \"password\"",
        true,
        AT_FILE,
        "an elliptic-curve key (EC)",
        "openssl genrsa",
    ),
    (
        "ec-jks",
        "client_key_path = \"ec.jks\"\nclient_key_password_path = \"password\"",
        true,
        AT_FILE,
        "an elliptic-curve key (EC)",
        "openssl genrsa",
    ),
    (
        "proc-type",
        "client_key_path = \"proc-type.pem\"\nclient_key_password_path = \"password\"",
        true,
        AT_FILE,
        "Proc-Type: 4,ENCRYPTED",
        "`openssl pkcs8 -topk8 -in DIR/proc-type.pem -out key.pem`",
    ),
    (
        "pbe-des",
        "client_key_path = \"encrypted-pbe-des.pem\"\nclient_key_password_path = \"password\"",
        true,
        AT_FILE,
        "PKCS#5 v1.5 with MD5",
        "`openssl pkcs8 -topk8 -in DIR/encrypted-pbe-des.pem -out key.pem -provider legacy -provider default`",
    ),
    (
        "camellia",
        "client_key_path = \"openssl-camellia.p12\"\nclient_key_password_path = \"password\"",
        true,
        AT_FILE,
        "a cipher other than AES-CBC and 3DES",
        "`openssl pkcs12 -in DIR/openssl-camellia.p12 -nocerts -out key.pem`",
    ),
    (
        "jceks",
        "client_key_path = \"keytool.jceks\"\nclient_key_password_path = \"password\"",
        true,
        AT_FILE,
        "of the kind JCEKS",
        "`keytool -importkeystore -srckeystore DIR/keytool.jceks -srcstoretype JCEKS -destkeystore key.p12 -deststoretype PKCS12`",
    ),
    (
        "bcfks",
        "client_key_path = \"keytool.bcfks\"\nclient_key_password_path = \"password\"",
        true,
        AT_FILE,
        "of the kind BCFKS",
        "-srckeystore DIR/keytool.bcfks -srcstoretype BCFKS -destkeystore key.p12",
    ),
    (
        "no-key",
        "client_key_path = \"no-key.p12\"\nclient_key_password_path = \"password\"",
        true,
        AT_FILE,
        "holds no private key",
        "export it again together with its private key",
    ),
    (
        "certificate",
        "client_key_path = \"certificate.der\"",
        true,
        AT_FILE,
        "holds a certificate, not a private key",
        "name the file with the private key",
    ),
    ("cut-pem", "client_key_path = \"cut.pem\"", true, AT_FILE, "is damaged or cut off", "copy the whole file again"),
    (
        "cut-p12",
        "client_key_path = \"cut.p12\"\nclient_key_password_path = \"password\"",
        true,
        AT_FILE,
        "is damaged or cut off",
        "copy the whole file again",
    ),
    (
        "cut-jks",
        "client_key_path = \"cut.jks\"\nclient_key_password_path = \"password\"",
        true,
        AT_FILE,
        "is damaged or cut off",
        "copy the whole file again",
    ),
    (
        "base64",
        "client_key_path = \"base64.txt\"",
        true,
        AT_FILE,
        "base64 text of a binary file",
        "`umask 077; base64 -d DIR/base64.txt > key`",
    ),
    (
        "gigabyte",
        "client_key_path = \"gigabyte\"",
        true,
        AT_FILE,
        "larger than 1048576 bytes",
        "check that this is the file you mean",
    ),
    ("fifo", "client_key_path = \"fifo\"", true, AT_FILE, "not a regular file", "name a regular file"),
    ("directory", "client_key_path = \".\"", true, AT_FILE, "a directory, not a file", "name a regular file"),
    ("gone", "client_key_path = \"gone\"", true, AT_FILE, "there is no such file", "check the path"),
    (
        "other-key",
        "client_key_path = \"other.pem\"\ncertificate_path = \"certificate.pem\"",
        true,
        "certificate_path",
        "the certificate of another key",
        "made with this private key",
    ),
    (
        "other-beside",
        "client_key_path = \"mixed.pem\"",
        true,
        AT_FILE,
        "certificate beside the private key is the certificate of another key",
        "put key and certificate together",
    ),
    (
        "no-certificate",
        "client_key_path = \"pkcs8.pem\"\ncertificate_path = \"pkcs1.pem\"",
        true,
        "certificate_path",
        "no X.509 certificate",
        "PEM or DER",
    ),
    (
        "certificate-gone",
        "client_key_path = \"pkcs8.pem\"\ncertificate_path = \"gone\"",
        true,
        "certificate_path",
        "there is no such file",
        "check the path",
    ),
    (
        "expired",
        "client_key_path = \"pkcs8.pem\"\ncertificate_path = \"expired-certificate.pem\"",
        false,
        "certificate_path",
        "ended at 20",
        "make a new certificate",
    ),
    (
        "large",
        "client_key_path = \"pkcs8.pem\"\ncertificate_path = \"large-certificate.pem\"",
        false,
        "certificate_path",
        "Salesforce takes 4096 at most",
        "without extras",
    ),
    (
        "password-unused",
        "client_key_path = \"pkcs8.pem\"\nclient_key_password_path = \"password\"",
        false,
        "client_key_password_path",
        "is not encrypted, and the password is not used",
        "remove this setting",
    ),
    (
        "alias-unused",
        "client_key_path = \"pkcs8.pem\"\nclient_key_alias = \"elf\"",
        false,
        "client_key_alias",
        "no keystore",
        "remove this setting",
    ),
    (
        "entry-unused",
        "client_key_path = \"pkcs8.pem\"\nclient_key_entry_password_env = \"KEY_PASSWORD\"",
        false,
        "client_key_entry_password_env",
        "only a key in a keystore",
        "remove this setting",
    ),
    (
        "no-mac",
        "client_key_path = \"openssl-no-mac.p12\"\nclient_key_password_path = \"password\"",
        false,
        AT_FILE,
        "no integrity check",
        "without `-nomac`",
    ),
];

#[tokio::test]
async fn every_mistake_about_a_key_is_told_in_one_round_with_place_reason_and_remedy() {
    let mut drawer = Drawer::new();
    for (from, to) in [("pkcs8.pem", "cut.pem"), ("openssl.p12", "cut.p12"), ("salesforce.jks", "cut.jks")] {
        let whole = fixture(from);
        write(&drawer.path(to), &whole[..whole.len() / 2]);
    }
    write(&drawer.path("mixed.pem"), &[fixture("other.pem"), fixture("certificate.pem")].concat());
    let encoded = Command::new("base64").arg(drawer.path("openssl.p12")).output().unwrap();
    write(&drawer.path("base64.txt"), &encoded.stdout);
    write(&drawer.path("gigabyte"), b"");
    fs::File::options().write(true).open(drawer.path("gigabyte")).unwrap().set_len(1 << 30).unwrap();
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(drawer.path("fifo")).status().unwrap().success());
    let folder = drawer.folder.path().to_str().unwrap().to_owned();
    for errors in [true, false] {
        let rows = MISTAKES.iter().filter(|row| row.2 == errors);
        rows.clone().for_each(|(name, settings, ..)| drawer.add(name, settings));
        let (code, mut found) = drawer.checked().await;
        assert_eq!(code, Some(if errors { 78 } else { 0 }));
        for (name, _, _, setting, said, remedy) in rows {
            let told = found.remove(*name).unwrap_or_else(|| panic!("nothing is told of {name}"));
            let [one] = told.as_slice() else { panic!("{name}: {told:#?}") };
            assert_eq!(one[0], if errors { "error" } else { "warning" }, "{name}: {one:?}");
            assert_eq!(one[1], *setting, "{name}: {one:?}");
            assert!(one[2].contains(said), "{name}: {one:?}");
            assert!(one[3].contains(&remedy.replace("DIR", &folder)), "{name}: {one:?}");
        }
        assert_eq!(found, BTreeMap::new());
        if errors {
            let refused = drawer.run("serve").await;
            assert_eq!(refused.code(), Some(78), "{}", refused.stderr);
            assert!(!refused.stderr.contains("serving"), "{}", refused.stderr);
        }
        drawer.configuration.clear();
    }
}

#[tokio::test]
async fn what_is_told_to_convert_a_key_converts_it() {
    let mut drawer = Drawer::new();
    let refused = ["proc-type.pem", "encrypted-pbe-des.pem", "openssl-camellia.p12"];
    for (position, file) in refused.iter().enumerate() {
        drawer.add(&format!("k-{position}"), &format!("client_key_path = \"{file}\"\n{OPENED}"));
    }
    let (_, found) = drawer.checked().await;
    drawer.configuration.clear();
    for (position, told) in found.into_values().enumerate() {
        let remedy = &told[0][3];
        let command = remedy.split('`').nth(1).unwrap();
        // As it stands, but for the password, which a person is asked for.
        let out = format!("converted-{position}.pem");
        let command =
            command.replace("-out key.pem", &format!("-out {out} -passin file:password -passout file:password"));
        // openssl reads one line of a file for each of the two.
        write(&drawer.path("password"), format!("{PASSWORD}\n{PASSWORD}\n").as_bytes());
        let done = Command::new("sh").args(["-c", &command]).current_dir(drawer.folder.path()).output().unwrap();
        assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
        fs::set_permissions(drawer.path(&out), fs::Permissions::from_mode(0o600)).unwrap();
        drawer.add(&format!("k-{position}"), &format!("client_key_path = \"{out}\"\n{BY_VARIABLE}"));
    }
    assert_eq!(drawer.checked().await, (Some(0), BTreeMap::new()));
}

#[tokio::test]
async fn a_store_and_its_password_that_change_under_load_take_effect_and_lose_no_request() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("store"), &fixture("keytool-default.jks"));
    write(&folder.path().join("password"), PASSWORD.as_bytes());
    let house = Arc::new(House::within(folder, Plan::default()).await);
    let settings = "client_key_path = \"store\"\nclient_key_password_path = \"password\"";
    let app = |certificate: &str| aquila::simulator::App::new("SIMULATED_client", fixture(certificate));
    house.simulator.put_app(app("certificate.pem")).unwrap();
    house.configure(&house.configuration().replace("client_key_path = \"key.pem\"", settings));
    house.reloaded("applied", 2).await;
    let thumbprint = async || key_of(&house).await["thumbprint"].as_str().unwrap().to_owned();
    let first = thumbprint().await;

    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let tasks = tokio_util::task::TaskTracker::new();
    let caller = tasks.spawn({
        let (house, stop, asked) = (Arc::clone(&house), Arc::clone(&stop), Arc::clone(&asked));
        async move {
            let mut connection = Connection::open(house.callers).await;
            let request = get("/token/elf-prod").bearer(house.key("shipper"));
            while !stop.load(Ordering::Relaxed) {
                is_a_token(&connection.ask(&request).await, "elf-prod");
                asked.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let goes_on = async || {
        let before = asked.load(Ordering::Relaxed);
        until("more requests", || asked.load(Ordering::Relaxed) > before + 20).await;
    };
    goes_on().await;
    let logins = house.simulator.counts().token_posts;

    // The same key in another store with another password: one after the other, as files are.
    replace(&house, "store", &fixture("umlaut.jks"));
    house.reloaded("refused", 2).await;
    goes_on().await;
    replace(&house, "password", format!("{UMLAUTS}\n").as_bytes());
    house.reloaded("applied", 3).await;
    goes_on().await;
    assert_eq!(thumbprint().await, first);
    assert_eq!(house.simulator.counts().token_posts, logins, "the key is the same: nobody had to log in again");

    // Another key: the org knows its certificate by then.
    house.simulator.put_app(app("other-certificate.der")).unwrap();
    replace(&house, "store", &fixture("other.pem"));
    let told = house.reloaded("applied", 4).await;
    assert_ne!(thumbprint().await, first);
    goes_on().await;
    stop.store(true, Ordering::Relaxed);
    caller.await.unwrap();
    assert_eq!(house.simulator.counts().token_posts, logins + 1, "the new key logs in once");
    // The password is not needed any more, and that is all that is told of it.
    assert!(told["last_reload"]["findings"].to_string().contains("the password is not used"), "{told}");
}

async fn key_of(house: &House) -> Value {
    let status = get("/status.json").send(house.ops).await.json();
    let integrations = status["integrations"].as_array().unwrap();
    integrations.iter().find(|one| one["name"] == "elf-prod").unwrap()["keys"][0].clone()
}

fn replace(house: &House, name: &str, content: &[u8]) {
    write(&house.folder().join("next"), content);
    fs::rename(house.folder().join("next"), house.folder().join(name)).unwrap();
}

#[tokio::test]
async fn a_certificate_that_nears_its_end_is_told_by_check_and_by_the_log() {
    let pair = rcgen::KeyPair::from_pem(&key_pair().0).unwrap();
    let end = aquila::clock::Clock::system().timestamp() + jiff::SignedDuration::from_hours(24 * 10);
    let date = end.to_zoned(jiff::tz::TimeZone::UTC).date();
    let mut params = rcgen::CertificateParams::default();
    let (month, day) = (u8::try_from(date.month()).unwrap(), u8::try_from(date.day()).unwrap());
    params.not_after = rcgen::date_time_ymd(date.year().into(), month, day);
    let certificate = params.self_signed(&pair).unwrap().pem();
    // Beside the key, as in a bundle.
    let bundle = format!("{certificate}{}", key_pair().0);
    let mut drawer = Drawer::new();
    write(&drawer.path("bundle.pem"), bundle.as_bytes());
    drawer.add("elf", "client_key_path = \"bundle.pem\"");
    let (code, found) = drawer.checked().await;
    assert_eq!(code, Some(0));
    let [severity, setting, message, _] = &found["elf"][0];
    assert_eq!((severity.as_str(), setting.as_str()), ("warning", "client_key_path"));
    assert!(message.contains("the certificate of this key ends in "), "{message}");

    let house = House::open().await;
    replace(&house, "key.pem", bundle.as_bytes());
    let told = house.reloaded("applied", 2).await;
    assert!(told["last_reload"]["findings"].to_string().contains("the certificate of this key ends in "), "{told}");
    until("the log", || house.process.stderr().contains("the certificate of this key ends in ")).await;
}
