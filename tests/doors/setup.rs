//! `aquila setup` without a terminal: what it writes, what it refuses, and that the broker and a Salesforce take it. With
//! a terminal it is toured by `tests/tools/setup.py`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use aquila::simulator::{self, Simulator, User};

use crate::canary;
use crate::get_token::is_a_token;
use crate::support::house::addresses;
use crate::support::process::{Ended, Process, aquila, run};
use crate::support::wire::get;

const ORG: &str = "https://acme.my.salesforce.com";

/// Everything that has to be said.
async fn setup(folder: &Path, more: &[&str]) -> Ended {
    let dir = folder.to_str().unwrap();
    let usual = ["setup", "--dir", dir, "--my-domain", "acme.my.salesforce.com", "--username", "elf@acme.example"];
    run(usual.iter().chain(&["--email", "admin@acme.example"]).chain(more)).await
}

/// The files below a folder, by their paths in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![PathBuf::new()]);
    while let Some(inner) = folders.pop() {
        for entry in std::fs::read_dir(folder.join(&inner)).unwrap() {
            let path = inner.join(entry.unwrap().file_name());
            if folder.join(&path).is_dir() {
                folders.push(path);
            } else {
                found.insert(path.to_str().unwrap().to_owned(), std::fs::read(folder.join(&path)).unwrap());
            }
        }
    }
    found
}

#[tokio::test]
async fn setup_writes_every_file_with_its_mode_and_the_private_key_into_one_of_them_only() {
    let folder = tempfile::tempdir().unwrap();
    let ended = setup(&folder.path().join("elf"), &[]).await;
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""));

    let files = files(&folder.path().join("elf"));
    let app = "salesforce/force-app/main/default";
    let expected = [
        "STEPS.md",
        "aquila.toml",
        "elf-prod.crt",
        "elf-prod.der",
        "elf-prod.pem",
        &format!("{app}/externalClientApps/Aquila_elf_prod.eca-meta.xml"),
        &format!("{app}/extlClntAppGlobalOauthSets/Aquila_elf_prod_glbloauth.ecaGlblOauth-meta.xml"),
        &format!("{app}/extlClntAppOauthPolicies/Aquila_elf_prod_oauthPlcy.ecaOauthPlcy-meta.xml"),
        &format!("{app}/extlClntAppOauthSettings/Aquila_elf_prod_oauth.ecaOauth-meta.xml"),
        &format!("{app}/extlClntAppPolicies/Aquila_elf_prod_plcy.ecaPlcy-meta.xml"),
        &format!("{app}/permissionsets/Aquila_elf_prod_Access.permissionset-meta.xml"),
        &format!("{app}/permissionsets/Aquila_elf_prod_Event_Logs.permissionset-meta.xml"),
        "salesforce/manifest/package.xml",
        "salesforce/sfdx-project.json",
    ];
    assert_eq!(files.keys().collect::<Vec<_>>(), expected);
    let mode = folder.path().join("elf/elf-prod.pem").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);

    // Its first lines hold the public half, which the certificate has as well.
    let secret = std::str::from_utf8(&files["elf-prod.pem"]).unwrap().lines().skip(8).filter(|line| line.len() == 64);
    let secret: Vec<&str> = secret.flat_map(|line| [&line[..32], &line[32..]]).collect();
    assert!(secret.len() > 20);
    let others = files.iter().filter(|(path, _)| *path != "elf-prod.pem");
    let others = others.map(|(path, content)| (path.as_str(), String::from_utf8_lossy(content)));
    for (place, text) in others.chain([("standard output", ended.stdout.as_str().into())]) {
        assert!(!secret.iter().any(|part| text.contains(part)), "{place} holds a part of the private key");
    }
    // What is told is what was made.
    let size = format!("{} bytes of at most 4096", files["elf-prod.crt"].len());
    for told in [size.as_str(), "RSA, 2048 bits, mode 0600", "7 components", "Permitted Users is"] {
        assert!(ended.stdout.contains(told), "{told} in {}", ended.stdout);
    }
    let steps = String::from_utf8_lossy(&files["STEPS.md"]);
    assert!(steps.contains("sf org assign permset --on-behalf-of elf@acme.example"), "{steps}");
}

#[tokio::test]
async fn a_file_that_is_there_is_never_overwritten_and_nothing_is_written_beside_it() {
    for taken in ["elf-prod.pem", "aquila.toml", "salesforce/manifest/package.xml"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join(taken).parent().unwrap()).unwrap();
        std::fs::write(folder.path().join(taken), "mine").unwrap();
        let ended = setup(folder.path(), &[]).await;
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(1), ""), "{taken}");
        for told in [taken, "is there already", "nothing was written", "another --dir:"] {
            assert!(ended.stderr.contains(told), "{told} in {}", ended.stderr);
        }
        assert_eq!(files(folder.path()), BTreeMap::from([(taken.to_owned(), b"mine".to_vec())]));
    }
    // A second integration finds its room beside the first only in a folder of its own: one aquila.toml, one folder.
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(setup(folder.path(), &[]).await.code(), Some(0));
    let before = files(folder.path());
    let other = setup(folder.path(), &["--integration", "other"]).await;
    assert_eq!(other.code(), Some(1));
    assert!(other.stderr.contains("another --dir") && !other.stderr.contains("--integration"), "{}", other.stderr);
    assert_eq!(files(folder.path()), before);
}

#[tokio::test]
async fn what_cannot_be_written_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    std::fs::create_dir(folder.path().join("half")).unwrap();
    std::fs::write(folder.path().join("half/salesforce"), "a file where a folder belongs").unwrap();
    for dir in ["file", "file/deeper", "half"] {
        let ended = setup(&folder.path().join(dir), &[]).await;
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(1), ""), "{dir}");
        assert!(ended.stderr.contains("nothing was left behind"), "{dir}: {}", ended.stderr);
    }
    assert_eq!(files(folder.path()).keys().collect::<Vec<_>>(), ["file", "half/salesforce"]);

    // A subject that makes the certificate larger than Salesforce takes: 64 characters, but of four bytes each.
    let long = ["CN", "O", "OU", "L", "ST"].map(|part| format!("{part}={}", "𠮷".repeat(64))).join(",");
    let ended = setup(&folder.path().join("large"), &["--subject", &long]).await;
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("Salesforce takes 4096: shorten the --subject"), "{}", ended.stderr);
    assert!(!folder.path().join("large").exists());
}

#[tokio::test]
async fn the_key_has_its_mode_whatever_the_umask_is() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("elf");
    let rest = "--my-domain acme.my.salesforce.com --username elf@acme.example --email admin@acme.example";
    let line = format!("umask 0400; exec \"$0\" setup --dir \"$1\" {rest}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &line, env!("CARGO_BIN_EXE_aquila")]).arg(&dir);
    let ended = Process::start(&mut shell).ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert_eq!(dir.join("elf-prod.pem").metadata().unwrap().permissions().mode() & 0o7777, 0o600);
}

#[tokio::test]
async fn without_a_terminal_nothing_is_asked_and_wrong_words_are_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("elf");
    let bare = run(["setup"]).await;
    assert_eq!((bare.code(), bare.stdout.as_str()), (Some(2), ""));
    for flag in ["--dir <DIR>", "--my-domain <HOST>", "--username <USERNAME>", "--email <ADDRESS>", "--help"] {
        assert!(bare.stderr.contains(flag), "{flag} in {}", bare.stderr);
    }
    for (wrong, told) in [
        (["--my-domain", "login.salesforce.com"], "login host of all orgs"),
        (["--my-domain", "acme.lightning.force.com"], "is it acme.my.salesforce.com?"),
        (["--username", "acme"], "name@acme.example"),
        (["--email", "a b@acme.example"], "no e-mail address"),
        (["--my-domain", "a`id`.my.salesforce.com"], "is no host"),
        (["--integration", "Elf"], "lower-case letters"),
        (["--app-name", "Aquila__elf"], "single underscores"),
        (["--label", "two\nlines"], "printable characters"),
        (["--label", "Logs \u{202e}"], "printable characters"),
        (["--session-timeout", "45m"], "Salesforce offers"),
        (["--key-bits", "1024"], "2048, 3072 or 4096"),
        (["--days", "0"], "1 to 3650"),
        (["--subject", "aquila"], "CN=aquila"),
        (["--client-id", "two words"], "printable ASCII"),
        (["--dir", "~/elf"], "without ~"),
    ] {
        let ended = run(["setup"].iter().chain(&wrong)).await;
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(2), ""), "{wrong:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(told) && ended.stderr.contains("--help"), "{wrong:?}: {}", ended.stderr);
    }
    assert!(!dir.exists() && files(folder.path()).is_empty());
}

#[tokio::test]
async fn a_salesforce_that_has_the_certificate_and_a_broker_that_has_the_rest_make_a_token() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(setup(folder.path(), &[]).await.code(), Some(0));
    let config = folder.path().join("aquila.toml");
    let checked = async || run([Path::new("check"), "--config".as_ref(), &config]).await;
    let empty = checked().await;
    assert_eq!(empty.code(), Some(78));
    assert!(empty.stdout.contains("copy the consumer key from the app's settings in Salesforce"), "{}", empty.stdout);
    assert_eq!(empty.stdout.matches("error: ").count(), 1, "{}", empty.stdout);

    let made = std::fs::read_to_string(&config).unwrap();
    let filled = made.replace("client_id        = \"\"", "client_id        = \"3MVG9.key\"");
    let new_key = run(["new-key", "shipper"]).await.stdout;
    let (key, lines) = new_key.split_once('\n').unwrap();
    canary::note("a caller's key", key);
    // What Salesforce takes is either file.
    for certificate in ["elf-prod.crt", "elf-prod.der"] {
        let simulator = Simulator::start(simulator::Settings {
            apps: vec![simulator::App::new("3MVG9.key", std::fs::read(folder.path().join(certificate)).unwrap())],
            users: vec![User::new("elf@acme.example")],
            ..simulator::Settings::default()
        })
        .await
        .unwrap();
        let doors = "[server]\nlisten = \"127.0.0.1:0\"\n[ops]\nlisten = \"127.0.0.1:0\"\n";
        let own = filled.replace(ORG, &simulator.base_url());
        std::fs::write(&config, format!("{doors}{own}\n{lines}integrations = [\"elf-prod\"]\n")).unwrap();
        let good = checked().await;
        assert_eq!((good.code(), good.stdout.as_str()), (Some(0), "good: 0 errors, 0 warnings\n"));
        let mut broker = Process::start(&mut aquila([Path::new("serve"), "--config".as_ref(), &config]));
        let (callers, _) = addresses(&mut broker).await;
        is_a_token(&get("/token").bearer(key).send(callers).await, "elf-prod");
        assert_eq!(simulator.counts().token_posts, 1, "{certificate}");
    }
}

#[tokio::test]
async fn what_is_asked_for_by_flags_is_in_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let label = "Logs <prod> & 'more'";
    let more =
        ["--connected-app", "--view-all-data", "--label", label, "--app-name", "Logs_7", "--session-timeout", "15m"];
    let last = ["--client-id", "3MVG9.known", "--integration", "logs", "--days", "1", "--subject", "CN=logs,O=Acme"];
    let ended = setup(folder.path(), &[&more[..], &last[..]].concat()).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let files = files(folder.path());
    let text = |path: &str| String::from_utf8(files[path].clone()).unwrap();
    let app = text("salesforce/force-app/main/default/connectedApps/Logs_7.connectedApp-meta.xml");
    assert!(app.contains("<label>Logs &lt;prod&gt; &amp; &apos;more&apos;</label>"), "{app}");
    assert!(app.contains("<sessionTimeout>15</sessionTimeout>"), "{app}");
    let set = text("salesforce/force-app/main/default/permissionsets/Logs_7_Event_Logs.permissionset-meta.xml");
    assert!(set.contains("<name>ViewAllData</name>"), "{set}");
    assert!(text("aquila.toml").contains("client_id        = \"3MVG9.known\"\n"));
    assert!(text("aquila.toml").contains("[integrations.logs]"));
    assert!(!files.keys().any(|path| path.contains("extlClnt") || path.contains("externalClientApps")));
    assert!(ended.stdout.contains("Compare the consumer key"), "{}", ended.stdout);
    let checked = run(["check", "--config", folder.path().join("aquila.toml").to_str().unwrap()]).await;
    assert_eq!(checked.code(), Some(0), "{}", checked.stdout);
}
