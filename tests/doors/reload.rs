//! A new configuration while the service runs: what changes at once, what goes on, and what a broken one does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::Instant;

use crate::get_token::is_a_token;
use crate::ports::free_port;
use crate::support::PATIENCE;
use crate::support::house::{House, Plan, key_pair, write_private};
use crate::support::process::run;
use crate::support::wire::{Connection, get};

impl House {
    pub(crate) fn configuration(&self) -> String {
        fs::read_to_string(self.config()).unwrap()
    }

    async fn status(&self) -> Value {
        get("/status.json").send(self.ops).await.json()
    }

    /// Writes the configuration as careful people do: whole, in one step.
    pub(crate) fn configure(&self, text: &str) {
        let next = self.folder().join("next.toml");
        fs::write(&next, text).unwrap();
        fs::rename(next, self.config()).unwrap();
    }

    /// Waits until the last reload came to this, in this generation.
    pub(crate) async fn reloaded(&self, outcome: &str, generation: u64) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = self.status().await["configuration"].clone();
            if told["last_reload"]["outcome"] == outcome && told["generation"] == generation {
                return told;
            }
            assert!(Instant::now() < deadline, "no reload that is {outcome}: {told}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn hang_up(&self) {
        self.process.signal(Signal::HUP);
    }
}

/// The configuration without one of its sections.
pub(crate) fn without(text: &str, section: &str) -> String {
    let begins = text.find(section).unwrap();
    let ends = text[begins + 1..].find("\n[").map_or(text.len(), |end| begins + 1 + end);
    format!("{}{}", &text[..begins], &text[ends..])
}

#[tokio::test]
async fn an_integration_that_is_gone_leaves_no_gauge_behind() {
    let house = House::open().await;
    let key = house.key("wide");
    house.ask(get("/token/elf-test").bearer(key)).await;
    let gauges = |text: &str| {
        text.lines().filter(|line| line.contains("\"elf-test\"") && line.starts_with("aquila_login_")).count()
    };
    assert_eq!(gauges(&house.metrics().await), 1);
    house.configure(&without(&house.configuration(), "[integrations.elf-test]"));
    house.reloaded("applied", 2).await;
    let after = house.metrics().await;
    assert_eq!(gauges(&after), 0, "{after}");
    assert!(!after.contains("aquila_token_remaining_seconds{integration=\"elf-test\"}"), "{after}");
}

#[tokio::test]
async fn a_caller_that_is_removed_is_refused_on_its_next_request_on_a_connection_that_stays_open() {
    let house = House::open().await;
    let (mut removed, mut kept) = (Connection::open(house.callers).await, Connection::open(house.callers).await);
    let ask = |caller: &str, path: &str| get(path).bearer(house.key(caller));
    is_a_token(&removed.ask(&ask("shipper", "/token")).await, "elf-prod");
    is_a_token(&kept.ask(&ask("wide", "/token/elf-prod")).await, "elf-prod");
    fs::write(house.config(), without(&house.configuration(), "[callers.shipper]")).unwrap();
    house.hang_up();
    house.reloaded("applied", 2).await;
    assert_eq!(removed.ask(&ask("shipper", "/token")).await.status, 401);
    is_a_token(&kept.ask(&ask("wide", "/token/elf-prod")).await, "elf-prod");
    assert_eq!(house.simulator.counts().token_posts, 1, "an integration that did not change logged in again");
}

#[tokio::test]
async fn a_right_that_is_taken_or_given_counts_for_the_next_request() {
    let house = House::open().await;
    let ask = async |path: &str| house.ask(get(path).bearer(house.key("shipper"))).await.status;
    assert_eq!((ask("/token/elf-prod").await, ask("/token/crm").await), (200, 403));
    let text = house.configuration().replacen(r#"integrations = ["elf-prod"]"#, r#"integrations = ["crm"]"#, 1);
    assert_ne!(text, house.configuration());
    house.configure(&text);
    house.reloaded("applied", 2).await;
    assert_eq!((ask("/token/elf-prod").await, ask("/token/crm").await), (403, 200));
}

#[tokio::test]
async fn a_broken_file_is_refused_with_what_check_says_and_the_old_configuration_serves_on() {
    let house = House::open().await;
    is_a_token(&house.ask(get("/token").bearer(house.key("shipper"))).await, "elf-prod");
    let good = house.configuration();
    let cut = good.find("\n[callers.").unwrap();
    let (first, last) = (good.find("\n[integrations.").unwrap(), &good[cut..]);
    let breaks: [(&str, String, &str); 7] = [
        ("nothing", String::new(), "names nothing any more"),
        ("the head of it, before the callers", good[..cut].to_owned(), "names no caller any more"),
        ("no integration", format!("{}{last}", &good[..first]), "there are no integrations"),
        ("a word that is none", good.replacen("session_timeout", "sesion_timeout", 1), "session_timeout"),
        ("no TOML", format!("{good}\n[[[\n"), "unquoted keys"),
        ("the head of it, cut in a text", good.trim_end_matches(['"', ']', '\n']).to_owned(), "string"),
        ("a key that is not there", good.replacen("key.pem", "gone.pem", 1), "gone.pem"),
    ];
    for (what, text, told) in breaks {
        fs::write(house.config(), text).unwrap();
        house.hang_up();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let findings = house.reloaded("refused", 1).await["last_reload"]["findings"].to_string();
            if findings.contains(told) {
                break;
            }
            assert!(Instant::now() < deadline, "{what}: {findings}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        is_a_token(&house.ask(get("/token").bearer(house.key("shipper"))).await, "elf-prod");
    }
    assert_eq!(house.simulator.counts().token_posts, 1);
    let metrics = house.metrics().await;
    assert!(metrics.contains("aquila_config_reloads_total{outcome=\"refused\"}"), "{metrics}");
    assert!(house.process.stderr().contains("the old one stays in force"));
}

#[tokio::test]
async fn a_refused_change_that_is_taken_back_is_over_without_a_signal() {
    let house = House::open().await;
    is_a_token(&house.ask(get("/token").bearer(house.key("shipper"))).await, "elf-prod");
    let good = house.configuration();
    house.configure(&good.replacen("session_timeout", "sesion_timeout", 1));
    house.reloaded("refused", 1).await;
    house.configure(&good);
    let findings = house.reloaded("applied", 2).await["last_reload"]["findings"].to_string();
    assert!(!findings.contains("sesion_timeout"), "{findings}");
    let metrics = house.metrics().await;
    assert!(metrics.contains("aquila_config_reloads_total{outcome=\"applied\"} 1\n"), "{metrics}");
    is_a_token(&house.ask(get("/token").bearer(house.key("shipper"))).await, "elf-prod");
    assert_eq!(house.simulator.counts().token_posts, 1, "an integration that did not change logged in again");
}

#[tokio::test]
async fn an_integration_that_changed_never_answers_with_its_old_token_and_the_others_stay_warm() {
    let house = House::open().await;
    let ask = async |name: &str| house.ask(get(&format!("/token/{name}")).bearer(house.key("wide"))).await.json();
    let (prod, test) = (ask("elf-prod").await, ask("elf-test").await);
    assert_eq!(house.simulator.counts().token_posts, 2);
    // Another user of the same name in the configuration: its token is another one.
    let text = house.configuration();
    let (head, tail) = text.split_once("[integrations.elf-prod]").unwrap();
    let changed = format!("{head}[integrations.elf-prod]{}", tail.replacen("elf-prod@", "crm@", 1));
    fs::write(house.config(), changed).unwrap();
    house.hang_up();
    house.reloaded("applied", 2).await;
    assert_ne!(ask("elf-prod").await["access_token"], prod["access_token"]);
    assert_eq!(ask("elf-test").await["access_token"], test["access_token"]);
    assert_eq!(house.simulator.counts().token_posts, 3);
}

#[tokio::test]
async fn a_key_that_kubernetes_swaps_takes_effect_without_a_signal_and_the_old_one_signs_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::default().self_signed(&pair).unwrap().pem();
    for (version, key) in [("..one", key_pair().0.clone()), ("..two", pair.serialize_pem())] {
        fs::create_dir(folder.path().join(version)).unwrap();
        write_private(&folder.path().join(version).join("mounted.pem"), &key);
    }
    symlink("..one", folder.path().join("..data")).unwrap();
    symlink("..data/mounted.pem", folder.path().join("mounted.pem")).unwrap();
    let house = House::within(folder, Plan::default()).await;
    let text = house.configuration().replace("client_key_path = \"key.pem\"", "client_key_path = \"mounted.pem\"");
    house.configure(&text);
    house.reloaded("applied", 2).await;
    let ask = async || house.ask(get("/token").bearer(house.key("shipper"))).await;
    let first = ask().await.json();
    // The org takes the new certificate, and the volume the new key.
    house.simulator.put_app(aquila::simulator::App::new("SIMULATED_client", certificate.as_bytes())).unwrap();
    house.simulator.kill_sessions(None);
    symlink("..two", house.folder().join("..next")).unwrap();
    fs::rename(house.folder().join("..next"), house.folder().join("..data")).unwrap();
    house.reloaded("applied", 3).await;
    let second = ask().await;
    is_a_token(&second, "elf-prod");
    assert_ne!(second.json()["access_token"], first["access_token"]);
    let outcomes = house.simulator.counts().token_outcomes;
    assert_eq!(outcomes.values().sum::<u64>(), 2, "the old key signed once more: {outcomes:?}");
}

#[tokio::test]
async fn a_hundred_signals_in_a_burst_settle_on_the_last_file() {
    let house = House::open().await;
    let text = house.configuration();
    for round in 0..100 {
        let comment = if round == 99 { "" } else { "[[[" };
        fs::write(house.config(), format!("# {round}\n{}{comment}\n", without(&text, "[callers.idle]"))).unwrap();
        house.hang_up();
    }
    let deadline = Instant::now() + PATIENCE;
    while house.status().await["callers"] != 3 {
        assert!(Instant::now() < deadline, "{}", house.status().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let generation = house.status().await["configuration"]["generation"].as_u64().unwrap();
    assert!(generation <= 100, "{generation}");
}

#[tokio::test]
async fn a_signal_has_what_was_refused_tried_again() {
    let house = House::open().await;
    let refused = aquila::simulator::FaultAnswer::Maintenance { status: 200 };
    house.simulator.force(aquila::simulator::Fault::always(aquila::simulator::Door::Token, refused));
    let ask = async || house.ask(get("/token").bearer(house.key("shipper"))).await;
    // Until the pause is long enough to see that it is not waited for.
    while house.status().await["integrations"][1]["last_failure"]["next_try_in_seconds"].as_u64() < Some(5) {
        assert_ne!(ask().await.status, 200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    house.simulator.clear_faults();
    assert_eq!(ask().await.status, 503);
    house.hang_up();
    house.reloaded("applied", 2).await;
    is_a_token(&ask().await, "elf-prod");
}

#[tokio::test]
async fn settings_that_need_a_restart_are_told() {
    let house = House::open().await;
    fs::write(house.config(), house.configuration().replacen("[audit]\n", "[audit]\nrequired = true\n", 1)).unwrap();
    house.hang_up();
    let told = house.reloaded("applied", 2).await["last_reload"]["findings"].to_string();
    assert!(told.contains("audit: ") && told.contains("next start"), "{told}");
}

#[tokio::test]
async fn another_store_needs_a_restart_and_is_told_so_and_another_seal_key_does_not() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["seal-keys", "other-keys"] {
        write_private(&folder.path().join(name), &run(["new-seal-key"]).await.stdout);
    }
    // Nothing listens there: that the store is away is nobody's business here.
    let (one, another) = (free_port(), free_port());
    let store = format!(
        "[store]\nseal_key_path = \"seal-keys\"\n[store.redis]\nurl = \"redis://127.0.0.1:{one}\"\nkey_prefix = \"one:\"\n"
    );
    let house = House::within(folder, Plan { salesforce: store, ..Plan::default() }).await;
    let begun = house.configuration();
    let changes = [
        (format!(":{one}"), format!(":{another}"), true),
        ("seal-keys".to_owned(), "other-keys".to_owned(), false),
        ("\"one:\"".to_owned(), "\"other:\"".to_owned(), true),
        // Who logs in there may change.
        ("\"one:\"".to_owned(), "\"one:\"\nusername = \"next\"\npassword_path = \"other-keys\"".to_owned(), false),
        ("[store]\n".to_owned(), "[store]\nmax_replicas = 3\n".to_owned(), true),
    ];
    for ((from, to, needs_it), generation) in changes.into_iter().zip(2..) {
        house.configure(&begun.replacen(&from, &to, 1));
        house.hang_up();
        let findings = house.reloaded("applied", generation).await["last_reload"]["findings"].to_string();
        let told = findings.contains("store: this changed") && findings.contains("restart the service");
        assert_eq!(told, needs_it, "{to}: {findings}");
    }
}

/// Up to three hundred requests a second, of which none may fail, through good and bad changes of every kind. A slow
/// machine takes longer for as many.
#[tokio::test]
async fn nobody_who_did_not_change_notices_anything_of_sixty_seconds_of_reloads() {
    const FOR: Duration = Duration::from_secs(60);
    const REQUESTS: u64 = 12_000;
    let house = Arc::new(House::open().await);
    let good = house.configuration();
    is_a_token(&house.ask(get("/token").bearer(house.key("shipper"))).await, "elf-prod");
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let tasks = tokio_util::task::TaskTracker::new();
    let callers: Vec<_> = (0..6)
        .map(|_| {
            let (house, stop, asked) = (Arc::clone(&house), Arc::clone(&stop), Arc::clone(&asked));
            tasks.spawn(async move {
                let mut connection = Connection::open(house.callers).await;
                let request = get("/token/elf-prod").bearer(house.key("shipper"));
                let mut ticks = tokio::time::interval(Duration::from_millis(20));
                while !stop.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    is_a_token(&connection.ask(&request).await, "elf-prod");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let began = Instant::now();
    let mut round = 0_u32;
    while began.elapsed() < FOR || asked.load(Ordering::Relaxed) < REQUESTS {
        assert!(began.elapsed() < FOR * 5, "only {asked:?} requests");
        round += 1;
        disturb(&house, &good, round);
        house.hang_up();
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(house.simulator.counts().token_posts, 1, "an integration that did not change logged in again");
    let metrics = house.metrics().await;
    for outcome in ["applied", "refused"] {
        let series = format!("aquila_config_reloads_total{{outcome=\"{outcome}\"}} ");
        let count =
            metrics.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |count| count.parse().unwrap());
        assert!(count >= 10_u32, "{count} reloads {outcome} in {round} rounds");
    }
}

/// One change: good, broken, cut, gone, and swapped by a link.
fn disturb(house: &House, good: &str, round: u32) {
    let config = house.config();
    let replace = |text: &str| house.configure(text);
    match round % 6 {
        0 => replace(&without(good, "[callers.idle]")),
        1 => replace(&format!("{good}\n[[[")),
        2 => fs::write(&config, &good[..good.len() / 3]).unwrap(),
        3 => fs::remove_file(&config).unwrap(),
        4 => swap(house.folder(), &config, good, round),
        _ => replace(good),
    }
}

fn swap(folder: &Path, config: &Path, text: &str, round: u32) {
    let version = folder.join(format!("..{round}"));
    fs::create_dir(&version).unwrap();
    fs::write(version.join("aquila.toml"), format!("# {round}\n{text}").replace("key.pem", "../key.pem")).unwrap();
    let link = folder.join("next-link");
    symlink(version.join("aquila.toml"), &link).unwrap();
    fs::rename(link, config).unwrap();
}
