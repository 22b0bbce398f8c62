//! The command line: what each command says, where it says it, and with which status it ends.

use std::path::Path;
use std::process::Command;

use aquila::authn::ApiKey;
use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustix::process::Signal;
use serde_json::Value;

use crate::get_token::is_a_token;
use crate::ports::free_port;
use crate::support::house::{House, Plan, addresses, hex, key_pair, write_private};
use crate::support::process::{Ended, Process, aquila, run};
use crate::support::until;
use crate::support::wire::get;

const COMMANDS: [&str; 9] =
    ["demo", "serve", "check", "explain", "new-key", "new-seal-key", "setup", "simulate", "healthcheck"];

/// A configuration that can be checked, with the key where a test puts it.
const CONFIGURATION: &str = r#"[integrations.elf-prod]
client_key_path = "key.pem"
username = "elf@acme.example"
client_id = "SIMULATED_client"
token_url = "https://acme.my.salesforce.com"

[callers.shipper]
integrations = ["elf-*"]
api_key_sha256 = ["0000000000000000000000000000000000000000000000000000000000000000"]
"#;

fn folder_with(configuration: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("aquila.toml"), configuration).unwrap();
    write_private(&folder.path().join("key.pem"), &key_pair().0);
    folder
}

async fn checked(folder: &Path, more: &[&str]) -> Ended {
    let config = folder.join("aquila.toml");
    let args = ["check", "--config", config.to_str().unwrap()];
    run(args.iter().chain(more)).await
}

#[tokio::test]
async fn every_command_explains_itself_on_stdout() {
    let whole = run(["--help"]).await;
    assert_eq!((whole.code(), whole.stderr.as_str()), (Some(0), ""));
    for word in COMMANDS.iter().chain(&["Start here:  aquila demo", "78 bad configuration"]) {
        assert!(whole.stdout.contains(word), "{word} in {}", whole.stdout);
    }
    for command in COMMANDS {
        let help = run([command, "--help"]).await;
        assert_eq!((help.code(), help.stderr.as_str()), (Some(0), ""), "{command}");
        assert!(help.stdout.contains(&format!("Usage: aquila {command}")), "{}", help.stdout);
        // Each option has a sentence, and no default of this machine is in it.
        assert!(help.stdout.lines().count() > 5 && !help.stdout.contains("/home/"), "{}", help.stdout);
    }
    let version = run(["--version"]).await;
    assert_eq!((version.code(), version.stdout.trim()), (Some(0), concat!("aquila ", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn the_help_of_check_is_wrapped_once() {
    let help = run(["check", "--help"]).await.stdout;
    let (_, rest) = help.split_once("Without --live").unwrap();
    let lines: Vec<&str> = rest.split("\n\n").next().unwrap().lines().skip(1).collect();
    let (_, full) = lines.split_last().unwrap();
    assert!(full.len() >= 2 && full.iter().all(|line| line.len() > 80), "{help}");
}

#[tokio::test]
async fn wrong_usage_ends_with_2_and_says_nothing_on_stdout() {
    for wrong in [
        &["--nonsense"][..],
        &["nonsense"],
        &[],
        &["serve"],
        &["serve", "--config"],
        &["serve", "--config", "x", "--api-key", "y"],
        &["check"],
        &["check", "--config", "x", "--output", "xml"],
        &["check", "--schema", "--config", "x"],
        &["check", "--live"],
        &["check", "--config", "x", "--try-audiences"],
        &["check", "--config", "x", "--read-one-log"],
        &["explain"],
        &["explain", "--config", "x", "--output", "xml"],
        &["new-key"],
        &["new-key", "Not A Name"],
        &["new-key", "../x"],
        &["new-seal-key", "aquila-seal-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
        &["new-seal-key", "--output", "seal-keys"],
        &["healthcheck", "--url", "http://a", "--config", "x"],
        &["healthcheck", "--url", "not a url"],
        &["simulate"],
        &["simulate", "--certificate", "x", "--session-timeout", "0s"],
        &["demo", "--twice"],
    ] {
        let ended = run(wrong).await;
        assert_eq!(ended.code(), Some(2), "{wrong:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{wrong:?}");
        assert!(ended.stderr.contains("--help"), "it tells where to read more: {wrong:?}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn a_bad_configuration_ends_serve_with_78_before_any_port_is_bound_and_tells_every_mistake() {
    // Both ports are taken: whoever binds first would end with 1.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _taken = std::net::TcpListener::bind(taken).unwrap();
    let text = CONFIGURATION.replace("username = \"elf@acme.example\"", "usrname = \"x\"");
    let text = text.replace("[\"elf-*\"]", "[\"elf-prod\", \"elf-prd\"]").replace("https://acme.my", "http://acme.my");
    let folder = folder_with(&format!("[server]\nlisten = \"{taken}\"\nshutdown_grace = \"soon\"\n\n{text}"));
    let config = folder.path().join("aquila.toml");
    for command in ["serve", "check"] {
        let ended = run([Path::new(command), "--config".as_ref(), &config]).await;
        assert_eq!(ended.code(), Some(78), "{}", ended.stderr);
        let told = if command == "serve" { &ended.stderr } else { &ended.stdout };
        for (setting, place) in [
            ("server.shutdown_grace", ":3:18"),
            ("integrations.elf-prod", ":7:1"),
            ("integrations.elf-prod.token_url", ":9:13"),
            ("callers.shipper.integrations", ":12:29"),
        ] {
            let place = format!("{}{place}\n", config.display());
            assert!(told.contains(setting) && told.contains(&place), "{setting} at {place} in\n{told}");
        }
        assert!(told.contains("elf-prod") && told.matches("= help:").count() >= 4, "{told}");
        assert!(!ended.stderr.contains("serving"));
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_readable_as_a_configuration_is_a_78_with_its_name() {
    let folder = folder_with("[server\nlisten = ");
    for (name, said) in [("missing.toml", "missing.toml"), ("aquila.toml", "aquila.toml:1:"), ("key.pem", "key.pem")] {
        let path = folder.path().join(name);
        for command in ["serve", "check"] {
            let ended = run([Path::new(command), "--config".as_ref(), &path]).await;
            assert_eq!(ended.code(), Some(78), "{name}: {}", ended.stderr);
            assert!(format!("{}{}", ended.stdout, ended.stderr).contains(said), "{name}: {ended:?}");
        }
    }
}

#[tokio::test]
async fn a_taken_port_ends_serve_with_1_and_the_name_of_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = (taken.local_addr().unwrap(), taken);
    for (door, other) in [("server", "ops"), ("ops", "server")] {
        let doors = format!("[{door}]\nlisten = \"{}\"\n[{other}]\nlisten = \"127.0.0.1:0\"\n", taken.0);
        let folder = folder_with(&format!("{doors}{CONFIGURATION}"));
        let ended = run([Path::new("serve"), "--config".as_ref(), &folder.path().join("aquila.toml")]).await;
        assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
        let said = format!("error: {door}.listen: cannot listen on {}", taken.0);
        assert!(ended.stderr.contains(&said), "{said} in {}", ended.stderr);
    }
}

#[tokio::test]
async fn records_that_are_required_on_standard_output_need_one() {
    let folder = folder_with("");
    let config = folder.path().join("aquila.toml");
    let doors = "[server]\nlisten = \"127.0.0.1:0\"\n[ops]\nlisten = \"127.0.0.1:0\"\n";
    for closed in [">&-", ">/dev/null"] {
        let serve = |required: bool| {
            let text = format!("{doors}[audit]\npath = \"-\"\nrequired = {required}\n{CONFIGURATION}");
            std::fs::write(&config, text).unwrap();
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("exec \"$0\" serve --config \"$1\" {closed}"), env!("CARGO_BIN_EXE_aquila")]);
            Process::start(shell.arg(&config))
        };
        let refused = serve(true).ended().await;
        assert_eq!(refused.code(), Some(78), "{closed}: {}", refused.stderr);
        assert!(refused.stderr.contains("error: audit.path: no record can be kept"), "{closed}: {}", refused.stderr);
        let mut without = serve(false);
        addresses(&mut without).await;
    }
}

#[tokio::test]
async fn check_tells_people_and_programs_the_same() {
    let folder = folder_with(CONFIGURATION);
    let good = checked(folder.path(), &[]).await;
    assert_eq!(
        (good.code(), good.stdout.as_str(), good.stderr.as_str()),
        (Some(0), "good: 0 errors, 0 warnings\n", "")
    );
    let json = checked(folder.path(), &["--output", "json"]).await;
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code(), &report["ok"], &report["errors"]), (Some(0), &true.into(), &0.into()));

    std::fs::remove_file(folder.path().join("key.pem")).unwrap();
    let json = checked(folder.path(), &["--output", "json"]).await;
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code(), &report["ok"], &report["errors"]), (Some(78), &false.into(), &1.into()));
    let finding = &report["findings"][0];
    assert_eq!((&finding["line"], &finding["column"], &finding["severity"]), (&2.into(), &19.into(), &"error".into()));
    assert_eq!(finding["setting"], "integrations.elf-prod.client_key_path");
    assert!(finding["remedy"].as_str().is_some_and(|remedy| remedy.contains("check the path")), "{finding}");

    let stranger = checked(folder.path(), &["--integration", "nobody"]).await;
    assert_eq!(stranger.code(), Some(1));
    assert!(stranger.stderr.contains("there is no integration nobody"), "{}", stranger.stderr);
}

const GRANTS: &str = r#"
[integrations.elf-uat]
client_key_path = "key.pem"
username = "elf@acme.example"
client_id = "SIMULATED_client"
token_url = "https://acme--uat.sandbox.my.salesforce.com"

[callers.crm]
integrations = ["elf-prod"]
next_integrations = ["elf-*"]
api_key_sha256 = ["1111111111111111111111111111111111111111111111111111111111111111", "2222222222222222222222222222222222222222222222222222222222222222"]

[callers.keyless]
integrations = ["elf-uat"]
"#;

/// Every file is missing, and beside each there is another mistake.
const NOTHING_THERE: &str = r#"[server]
tls = { certificate_path = "no.crt", private_key_path = "no.key", client_ca_path = "no.ca", client_certificate = "maybe" }
[integrations.elf]
client_key_path = "no.pem"
certificate_path = "no-elf.crt"
next_key_path = "no-next.pem"
next_key_password_path = "no.password"
next_certificate_path = "no-next.crt"
username = "elf@acme.example"
client_id = "SIMULATED_client"
token_url = "https://acme.my.salesforce.com"
[callers.shipper]
integrations = ["elf"]
jwt = [{ issuer = "corp", sub = "x" }]
[issuers.corp]
issuer = "https://corp.example"
audience = "x"
jwks_url = "ftp://corp.example"
ca_path = "no-corp.ca"
bearer_token_path = "no-corp.token"
[salesforce]
ca_path = "no-proxy.ca"
[audit]
path = "no-folder/audit.jsonl"
required = 1
"#;

#[tokio::test]
async fn each_file_is_looked_at_whatever_is_wrong_beside_it_and_told_with_its_line() {
    let folder = folder_with(NOTHING_THERE);
    let ended = checked(folder.path(), &["--output", "json"]).await;
    assert_eq!(ended.code(), Some(78), "{}", ended.stderr);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    let findings = json["findings"].as_array().unwrap();
    let errors: Vec<&Value> = findings.iter().filter(|finding| finding["severity"] == "error").collect();
    let place = |finding: &Value| (finding["line"].as_u64().unwrap(), finding["setting"].as_str().unwrap().to_owned());
    let told: Vec<(u64, String)> = errors.iter().map(|finding| place(finding)).collect();
    let expected = [
        (2, "server.tls.certificate_path"),
        (2, "server.tls.private_key_path"),
        (2, "server.tls.client_ca_path"),
        (2, "server.tls.client_certificate"),
        (4, "integrations.elf.client_key_path"),
        (5, "integrations.elf.certificate_path"),
        (6, "integrations.elf.next_key_path"),
        (7, "integrations.elf.next_key_password_path"),
        (8, "integrations.elf.next_certificate_path"),
        (18, "issuers.corp.jwks_url"),
        (19, "issuers.corp.ca_path"),
        (20, "issuers.corp.bearer_token_path"),
        (22, "salesforce.ca_path"),
        (24, "audit.path"),
        (25, "audit.required"),
    ];
    assert_eq!(told, expected.map(|(line, setting)| (line, setting.to_owned())), "{}", ended.stdout);
    // The only mistake that is left has its place, too.
    let folder = folder_with(&format!("{CONFIGURATION}\n[audit]\npath = \"no-folder/audit.jsonl\"\n"));
    let ended = checked(folder.path(), &[]).await;
    assert_eq!(ended.code(), Some(78));
    assert!(ended.stdout.contains("aquila.toml:12:8"), "{}", ended.stdout);
}

async fn explained(folder: &Path, more: &[&str]) -> Ended {
    let config = folder.join("aquila.toml");
    let args = ["explain", "--config", config.to_str().unwrap()];
    run(args.iter().chain(more)).await
}

#[tokio::test]
async fn explain_tells_who_may_get_what_by_which_rule_and_credential() {
    let text = CONFIGURATION
        .replace("integrations = [\"elf-*\"]", "integrations = [\"elf-*\"]\nnext_integrations = [\"elf-prod\"]");
    let folder = folder_with(&format!("{text}{GRANTS}"));
    let all = explained(folder.path(), &[]).await;
    let expected = "crm  api_key 1111111111111111, api_key 2222222222222222\n  elf-prod  by elf-prod\n  \
                    elf-uat   not granted  next_integrations would grant it by `elf-*`\n\n\
                    keyless  no credential: it never gets in\n  elf-uat   by elf-uat\n\n\
                    shipper  api_key 0000000000000000\n  elf-prod  by elf-*\n  \
                    elf-uat   by elf-*     next_integrations would refuse it\n\n3 callers, 4 grants\n";
    assert_eq!((all.code(), all.stdout.as_str(), all.stderr.as_str()), (Some(0), expected, ""));
    let one = explained(folder.path(), &["--integration", "elf-prod"]).await;
    assert!(one.stdout.contains("crm") && !one.stdout.contains("keyless"), "{}", one.stdout);
    let one = explained(folder.path(), &["--caller", "keyless", "--output", "json"]).await;
    let json: Value = serde_json::from_str(&one.stdout).unwrap();
    assert_eq!(json["callers"][0]["integrations"][0]["rule"], "elf-uat");
    assert_eq!(
        (json["callers"].as_array().unwrap().len(), &json["callers"][0]["credentials"]),
        (1, &Value::Array(Vec::new()))
    );
}

#[tokio::test]
async fn explain_answers_whether_a_caller_may_get_an_integration_in_one_line() {
    let folder = folder_with(&format!("{CONFIGURATION}{GRANTS}"));
    for (caller, integration, code, said) in [
        (
            "shipper",
            "elf-uat",
            0,
            "yes: shipper may get elf-uat by the rule `elf-*`, proved by api_key 0000000000000000\n",
        ),
        (
            "crm",
            "elf-uat",
            1,
            "no: crm may not get elf-uat: none of its rules fits (`elf-prod`); next_integrations would grant it by `elf-*`\n",
        ),
        ("keyless", "elf-uat", 1, "no: the rule `elf-uat` grants elf-uat, but keyless has no way to prove itself\n"),
    ] {
        let names = ["--caller", caller, "--integration", integration];
        let ended = explained(folder.path(), &names).await;
        assert_eq!((ended.code(), ended.stdout.as_str(), ended.stderr.as_str()), (Some(code), said, ""));
        let ended = explained(folder.path(), &[&names[..], &["--output", "json"]].concat()).await;
        let json: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(ended.code(), Some(code));
        assert_eq!(json["callers"][0]["integrations"][0]["granted"], caller != "crm");
    }
}

#[tokio::test]
async fn explain_counts_only_what_the_door_would_take_as_proof() {
    let caller =
        "\n[callers.mesh]\nintegrations = [\"elf-prod\"]\nclient_certificate = [{ dns_name = \"mesh.example\" }]\n";
    let folder = folder_with(&format!("{CONFIGURATION}{caller}"));
    let ended = explained(folder.path(), &["--caller", "mesh", "--integration", "elf-prod"]).await;
    let said = "no: the rule `elf-prod` grants elf-prod, but mesh has no way to prove itself\n";
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(1), said), "{}", ended.stderr);
}

#[tokio::test]
async fn explain_suggests_the_nearest_name_and_refuses_what_check_refuses() {
    let folder = folder_with(CONFIGURATION);
    for (kind, wrong, near) in [("caller", "shiper", "shipper"), ("integration", "elf-prd", "elf-prod")] {
        let ended = explained(folder.path(), &[&format!("--{kind}"), wrong]).await;
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(1), ""));
        let said = format!("there is no {kind} {wrong} in ");
        assert!(
            ended.stderr.contains(&said) && ended.stderr.contains(&format!("did you mean {near}?")),
            "{}",
            ended.stderr
        );
    }
    std::fs::write(folder.path().join("aquila.toml"), CONFIGURATION.replace("elf-*", "elf-none")).unwrap();
    let ended = explained(folder.path(), &[]).await;
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(78), ""));
    assert!(ended.stderr.contains("there is no integration of this name"), "{}", ended.stderr);
}

#[tokio::test]
async fn the_printed_schema_is_the_one_in_the_repository() {
    let printed = run(["check", "--schema"]).await;
    let kept = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/aquila.schema.json")).unwrap();
    assert_eq!((printed.code(), printed.stdout), (Some(0), kept));
}

/// What `openssl` writes; it is on every machine that builds this.
fn openssl(args: &[&str]) -> String {
    let made = Command::new("openssl").args(args).output().expect("these keys are made by openssl: install it");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap()
}

#[tokio::test]
async fn a_key_that_salesforce_would_not_take_is_refused_with_what_it_is_and_what_to_do() {
    let (key, certificate) = key_pair();
    let folder = folder_with(CONFIGURATION);
    let path = folder.path().join("key.pem");
    let plain = path.to_str().unwrap();
    let encrypted = openssl(&["pkcs8", "-topk8", "-in", plain, "-passout", "pass:x"]);
    let public = openssl(&["pkey", "-in", plain, "-pubout"]);
    let elliptic = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    for (case, text, said, remedy) in [
        ("EC", elliptic, "Salesforce takes RSA only", "openssl genrsa"),
        ("encrypted", encrypted, "needs a password, and none is configured", "client_key_password_path"),
        ("certificate", certificate.clone(), "a certificate, not a private key", "private key that belongs"),
        ("public", public, "a public key, not a private one", "private key that belongs"),
        ("1024 bits", openssl(&["genrsa", "1024"]), "fewer than 2048 bits", "2048, 3072 or 4096"),
        ("two", format!("{key}{key}"), "2 private keys", "leave one"),
        ("nothing", String::new(), "no private key in a format that is known", "BEGIN PRIVATE KEY"),
        ("cut", key[..key.len() / 2].to_owned(), "", "BEGIN"),
    ] {
        write_private(&path, &text);
        for command in ["check", "serve"] {
            let ended = run([Path::new(command), "--config".as_ref(), &folder.path().join("aquila.toml")]).await;
            let told = format!("{}{}", ended.stdout, ended.stderr);
            assert_eq!(ended.code(), Some(78), "{case}: {told}");
            assert!(told.contains(said) && told.contains(remedy), "{case}: {told}");
            assert!(told.contains("aquila.toml:2:19"), "{case}: {told}");
            assert!(!told.contains(&key[60..120]), "{case}: {told}");
        }
    }
    // Both armours, with other line ends and text around them, are fine.
    for good in [openssl(&["genrsa", "2048"]), format!("Bag Attributes\n{key}\nend"), key.replace('\n', "\r\n")] {
        write_private(&path, &good);
        let ended = checked(folder.path(), &[]).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.stdout);
    }
}

#[tokio::test]
async fn a_file_that_is_none_is_an_error_and_never_a_wait() {
    let folder = folder_with("");
    let config = folder.path().join("aquila.toml");
    assert!(Command::new("mkfifo").arg(folder.path().join("fifo")).status().unwrap().success());
    std::fs::write(folder.path().join("huge"), vec![b'\n'; 1024 * 1024 + 1]).unwrap();
    for (name, said) in [("fifo", "regular file"), ("/dev/zero", "regular file"), ("huge", "larger than 1048576 bytes")]
    {
        std::fs::write(&config, format!("[salesforce]\nca_path = \"{name}\"\n{CONFIGURATION}")).unwrap();
        for command in ["check", "serve"] {
            let ended = run([Path::new(command), "--config".as_ref(), &config]).await;
            let told = format!("{}{}", ended.stdout, ended.stderr);
            assert_eq!(ended.code(), Some(78), "{name}: {told}");
            assert!(told.contains("salesforce.ca_path") && told.contains(said), "{name}: {told}");
        }
    }
    for (name, code) in [("fifo", 0), ("/dev/null", 0), (".", 78)] {
        std::fs::write(&config, format!("[audit]\npath = \"{name}\"\n{CONFIGURATION}")).unwrap();
        let ended = checked(folder.path(), &[]).await;
        assert_eq!(ended.code(), Some(code), "{name}: {}", ended.stdout);
        assert_eq!(ended.stdout.contains("audit.path"), code != 0, "{name}: {}", ended.stdout);
    }
}

#[tokio::test]
async fn a_key_file_that_others_may_read_is_a_warning_with_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder_with(CONFIGURATION);
    // The group may read: that is how Kubernetes mounts a secret for a pod.
    let fine = [0o600, 0o400, 0o440, 0o640].map(|mode| (mode, false));
    let loose = [0o604, 0o644, 0o660, 0o666, 0o777].map(|mode| (mode, true));
    for (mode, warned) in fine.into_iter().chain(loose) {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path().join("key.pem"), permissions).unwrap();
        let ended = checked(folder.path(), &[]).await;
        assert_eq!(ended.code(), Some(0));
        let told = ended.stdout.contains("warning: ") && ended.stdout.contains(&format!("{mode:04o}"));
        assert_eq!(told, warned, "{mode:o}: {}", ended.stdout);
    }
}

#[tokio::test]
async fn a_new_key_is_told_once_and_its_lines_let_it_in_and_nothing_else() {
    let made = run(["new-key", "newcomer"]).await;
    assert_eq!(made.code(), Some(0));
    let (key, lines) = made.stdout.split_once('\n').unwrap();
    let random = key.strip_prefix("aquila_").unwrap();
    assert!(random.len() == 49 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{key}");
    assert_eq!(made.stdout.matches(key).count(), 1);
    assert!(!made.stderr.contains(random));
    let digest = hex(digest(&SHA256, key.as_bytes()).as_ref());
    assert_eq!(lines, format!("[callers.newcomer]\napi_key_sha256 = [\"{digest}\"]\n"));
    assert_ne!(run(["new-key", "newcomer"]).await.stdout, made.stdout);

    // The printed lines, as they are, and the one that only the operator can know.
    let plan = Plan { salesforce: format!("\n{lines}integrations = [\"elf-prod\"]\n"), ..Plan::default() };
    let house = House::with(plan).await;
    is_a_token(&house.ask(get("/token").bearer(key)).await, "elf-prod");
    is_a_token(&house.ask(get("/token").basic("newcomer", key)).await, "elf-prod");
    let mut typo = key.to_owned().into_bytes();
    typo[20] = if typo[20] == b'a' { b'b' } else { b'a' };
    let typo = String::from_utf8(typo).unwrap();
    for wrong in [typo.as_str(), &key[7..], &format!("{key}0"), &key.to_uppercase(), &digest] {
        assert_eq!(house.ask(get("/token").bearer(wrong)).await.status, 401, "{wrong}");
    }
    assert_eq!(house.ask(get("/token").bearer(ApiKey::generate().unwrap().expose())).await.status, 401);
    let metrics = house.metrics().await;
    assert!(metrics.contains(r#"aquila_auth_failures_total{proof="api_key",reason="malformed"} 5"#), "{metrics}");
    assert!(metrics.contains(r#"aquila_auth_failures_total{proof="api_key",reason="unknown"} 1"#), "{metrics}");
}

const STORE: &str = "[store]\nseal_key_path = \"seal-keys\"\n[store.redis]\nurl = \"redis://127.0.0.1:6379\"\n";

#[tokio::test]
async fn a_new_seal_key_is_one_line_that_check_takes_in_its_file_and_is_told_nowhere_else() {
    let [one, other] = [run(["new-seal-key"]).await, run(["new-seal-key"]).await];
    assert_eq!((one.code(), other.code()), (Some(0), Some(0)));
    assert!(one.stdout.ends_with('\n') && one.stdout.lines().count() == 1, "{} lines", one.stdout.lines().count());
    assert_ne!(one.stdout, other.stdout);
    let key = one.stdout.trim_end().strip_prefix("aquila-seal-1:").unwrap();
    assert!(one.stderr.contains("store.seal_key_path") && !one.stderr.contains(key), "the words for people");

    let folder = folder_with(&format!("{CONFIGURATION}{STORE}"));
    let file = folder.path().join("seal-keys");
    write_private(&file, &one.stdout);
    let good = checked(folder.path(), &[]).await;
    assert_eq!((good.code(), good.stdout.as_str()), (Some(0), "good: 0 errors, 0 warnings\n"));
    write_private(&file, &format!("# next year's is below\n{}{}", one.stdout, other.stdout));
    assert_eq!(checked(folder.path(), &[]).await.code(), Some(0));
    // A letter less, and the same key twice: refused by the line, without the key.
    for (wrong, said) in [(one.stdout.replace(key, &key[1..]), "line 1"), (one.stdout.repeat(2), "line 2")] {
        write_private(&file, &wrong);
        let refused = checked(folder.path(), &[]).await;
        assert_eq!(refused.code(), Some(78), "{}", refused.stdout);
        assert!(refused.stdout.contains("store.seal_key_path") && refused.stdout.contains(said), "{}", refused.stdout);
        assert!(!format!("{}{}", refused.stdout, refused.stderr).contains(&key[1..]), "the key is told");
    }
}

#[tokio::test]
async fn the_file_of_a_seal_key_is_made_as_readme_says_and_a_warning_when_others_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let line = readme.lines().find(|line| line.contains("aquila new-seal-key >")).unwrap();
    let folder = folder_with(&format!("{CONFIGURATION}{STORE}"));
    // The reader's `aquila` is this one, and whatever the file was made with before is the reader's own.
    let script = format!("umask 000; aquila() {{ \"$0\" \"$@\"; }}; {line}");
    let made = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_aquila")])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(made.status.success() && made.stdout.is_empty(), "{line}: {}", String::from_utf8_lossy(&made.stderr));
    let good = checked(folder.path(), &[]).await;
    assert_eq!((good.code(), good.stdout.as_str()), (Some(0), "good: 0 errors, 0 warnings\n"));
    std::fs::set_permissions(folder.path().join("seal-keys"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let loose = checked(folder.path(), &[]).await;
    assert_eq!(loose.code(), Some(0));
    assert!(loose.stdout.contains("warning: ") && loose.stdout.contains("0644"), "{}", loose.stdout);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_standard_output_does_not_take_is_an_error_unless_the_reader_has_left() {
    let folder = folder_with(CONFIGURATION);
    let config = folder.path().join("aquila.toml");
    let config = config.to_str().unwrap();
    let all = [
        &["new-key", "x"][..],
        &["new-seal-key"],
        &["check", "--config", config],
        &["check", "--schema"],
        &["demo", "--once"],
    ];
    for args in all {
        let to =
            |output: std::process::Stdio| aquila(args).stdout(output).stderr(std::process::Stdio::piped()).output();
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let full = to(full.into()).unwrap();
        let said = String::from_utf8_lossy(&full.stderr).into_owned();
        assert_eq!(full.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("error: standard output: "), "{args:?}: {said}");
        let (reader, left) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(to(left.into()).unwrap().status.code(), Some(0), "{args:?}");
    }
}

#[tokio::test]
async fn healthcheck_is_0_while_the_service_is_ready_and_1_when_it_drains_or_is_gone() {
    let port = free_port();
    let plan = Plan {
        server: "shutdown_delay = \"60s\"\n".to_owned(),
        ops: format!("listen = \"127.0.0.1:{port}\"\n"),
        ..Plan::default()
    };
    let house = House::with(plan).await;
    let (config, url) = (house.config(), format!("http://{}/readyz", house.ops));
    let config = config.to_str().unwrap();
    let asked = async || [run(["healthcheck", "--url", &url]).await, run(["healthcheck", "--config", config]).await];
    for ended in asked().await {
        assert_eq!((ended.code(), ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), "", ""));
    }
    house.process.signal(Signal::TERM);
    until("the drain", || house.process.stderr().contains("serving")).await;
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    while get("/readyz").send(house.ops).await.status == 200 {
        assert!(tokio::time::Instant::now() < deadline);
    }
    for ended in asked().await {
        assert_eq!(ended.code(), Some(1));
        assert!(ended.stderr.contains("answers 503"), "{}", ended.stderr);
    }
    house.process.signal(Signal::TERM);
    let House { process, folder: _folder, .. } = house;
    process.ended().await;
    for ended in asked().await {
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(1), ""));
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn simulate_serves_on_loopback_and_elsewhere_only_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("app.pem");
    std::fs::write(&certificate, &key_pair().1).unwrap();
    let args = |listen, more: &[&'static str]| {
        let all = ["simulate", "--certificate", certificate.to_str().unwrap(), "--listen", listen];
        all.iter().chain(more).map(|text| (*text).to_owned()).collect::<Vec<_>>()
    };
    let refused = run(args("0.0.0.0:0", &[])).await;
    assert_eq!((refused.code(), refused.stdout.as_str()), (Some(1), ""));
    assert!(refused.stderr.contains("--allow-remote"), "the remedy is told: {}", refused.stderr);

    for (listen, more) in [("127.0.0.1:0", &[][..]), ("[::1]:0", &[]), ("0.0.0.0:0", &["--allow-remote"])] {
        let simulator = Process::start(&mut aquila(args(listen, more)));
        until("the simulator tells its addresses", || simulator.stdout().lines().count() >= 6).await;
        assert!(simulator.stdout().lines().all(|line| line.starts_with("SIMULATED  ")), "{}", simulator.stdout());
        simulator.signal(Signal::TERM);
        assert_eq!(simulator.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn two_demos_at_once_show_the_whole_round_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    // It goes nowhere, so it needs no proxy, whatever the machine says.
    let proxy = ("HTTPS_PROXY", "socks5://127.0.0.1:1");
    let start = || Process::start(aquila(["demo", "--once"]).env("TMPDIR", folder.path()).envs([proxy]));
    let (one, other) = (start(), start());
    for demo in [one, other] {
        let ended = demo.ended().await;
        assert_eq!(ended.code(), Some(0), "{}{}", ended.stdout, ended.stderr);
        for told in ["SIMULATED", "the same token", "logins at Salesforce: 1 before, 1 now", "event logs", "rows)"] {
            assert!(ended.stdout.contains(told), "{told} in {}", ended.stdout);
        }
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_demo_that_is_interrupted_leaves_nothing_behind_either() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Process::start(aquila(["demo"]).env("TMPDIR", folder.path()));
    until("the demo invites", || demo.stdout().contains("Serving until Ctrl-C.")).await;
    let text = demo.stdout();
    let url = text.lines().find(|line| line.ends_with("/status.json")).unwrap().rsplit_once("http://").unwrap().1;
    let ops = url.strip_suffix("/status.json").unwrap().parse().unwrap();
    assert_eq!(get("/status.json").send(ops).await.json()["integrations"][0]["state"], "good");
    demo.signal(Signal::INT);
    assert_eq!(demo.ended().await.code(), Some(0));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn yaml_of_the_same_shape_serves_too() {
    let folder = folder_with("");
    let digest = hex(&ApiKey::generate().unwrap().digest());
    let yaml = format!(
        "server: {{listen: '127.0.0.1:0'}}\nops: {{listen: '127.0.0.1:0'}}\nintegrations:\n  elf-prod:\n    \
         client_key_path: key.pem\n    username: elf@acme.example\n    client_id: x\n    \
         token_url: https://acme.my.salesforce.com\ncallers:\n  shipper:\n    integrations: ['elf-*']\n    \
         api_key_sha256: ['{digest}']\n"
    );
    let config = folder.path().join("aquila.yaml");
    std::fs::write(&config, yaml).unwrap();
    let mut process = Process::start(&mut aquila([Path::new("serve"), "--config".as_ref(), &config]));
    let (callers, _) = addresses(&mut process).await;
    assert_eq!(get("/healthz").send(callers).await.status, 200);
}
