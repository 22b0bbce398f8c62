//! What one replica takes from another: only what it could have brought itself. No service runs here; the forms are what
//! stands sealed in the store.

use std::fs;
use std::time::Duration;

use aquila::app::Prepared;
use aquila::clock::Clock;
use aquila::config;
use aquila::salesforce::{Cause, Integration, Vouched};
use serde_json::{Value, json};

use crate::support::key::Pair;
use crate::support::seconds;

const TOKEN: &str = "00D5g00000SIMU1!AQEAQHANDEDOVERk29vLw7RtYpZ3mQnE8sJhKdF4gUiOxCaVyBeN6TzWqMrLfPjHkGdSoAuIyTcEvXbNm";

/// A replica with these keys and these lines for its integration.
fn replica(first: &Pair, next: Option<&Pair>) -> Prepared {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("first.pem"), &first.private_key).unwrap();
    let mut file =
        "[audit]\npath = \"-\"\n[integrations.elf-prod]\nusername = \"elf@acme.example\"\nclient_id = \"x\"\n\
                    token_url = \"https://acme.my.salesforce.com\"\naudience_url = \"https://login.salesforce.com\"\n\
                    client_key_path = \"first.pem\"\n"
            .to_owned();
    if let Some(next) = next {
        fs::write(folder.path().join("next.pem"), &next.private_key).unwrap();
        file.push_str("next_key_path = \"next.pem\"\n");
    }
    let path = folder.path().join("aquila.toml");
    fs::write(&path, file).unwrap();
    let loaded = config::load_with(&path, &|_| None).unwrap_or_else(|report| panic!("{report:?}"));
    Prepared::new(loaded, Clock::manual()).unwrap_or_else(|report| panic!("{report:?}")).0
}

fn only(prepared: &Prepared) -> &Integration {
    prepared.integrations().swap_remove(0)
}

fn keys(prepared: &Prepared) -> Vec<String> {
    only(prepared).keys().iter().map(|key| key.thumbprint.as_str().to_owned()).collect()
}

fn form(keys: &[String]) -> Value {
    json!({
        "token": TOKEN, "instance_url": "https://acme.my.salesforce.com/", "id": null, "issued_at": "1795000000000",
        "site_url": null, "site_id": null, "minted_at": 1_795_000_000_000_i64, "ends_us": 3_000_000, "left_ms": 3_000, "lasts_ms": 3_600_000,
        "source": "confirmed", "grows": true, "keys": keys
    })
}

/// As it is read when an hour of it is left at the most.
fn read(prepared: &Prepared, form: &Value) -> Option<Vouched> {
    only(prepared).read_token(form.to_string().as_bytes(), Duration::from_micros)
}

#[test]
fn a_token_that_is_handed_over_says_what_it_said() {
    let (one, other) = (replica(Pair::of_this_process(), None), replica(Pair::of_this_process(), None));
    let vouched = read(&one, &form(&keys(&one))).unwrap();
    assert_eq!((vouched.grant.token.expose(), vouched.minted_at), (TOKEN, 1_795_000_000_000));
    let now = only(&one).clock().now();
    assert_eq!((vouched.promise.remaining(now), vouched.promise.grows_by_use()), (seconds(3), true));
    let written = only(&one).write_token(&vouched, 2_000_000).unwrap();
    let again = only(&other).read_token(&written, Duration::from_micros).unwrap();
    let now = only(&other).clock().now();
    assert_eq!((again.grant.token.expose(), again.promise.remaining(now)), (TOKEN, seconds(2)));
    assert_eq!(again.grant.issued_at.as_deref(), Some("1795000000000"));
    assert_eq!(again.promise.terms().lasts, vouched.promise.terms().lasts);
}

#[test]
fn a_token_is_taken_from_those_who_share_a_key_and_for_hosts_that_are_trusted_here() {
    let (ours, theirs) = (replica(Pair::of_this_process(), None), replica(Pair::next(), None));
    let both = replica(Pair::of_this_process(), Some(Pair::next()));
    assert!(read(&ours, &form(&keys(&both))).is_some() && read(&both, &form(&keys(&theirs))).is_some());
    assert!(read(&ours, &form(&keys(&theirs))).is_none() && read(&ours, &form(&[])).is_none());
    for (member, wrong) in [
        ("instance_url", json!("https://acme.example/")),
        ("instance_url", json!("http://127.0.0.1/")),
        // What could not go on to a caller.
        ("issued_at", json!("17\r\n95")),
        ("site_id", json!("0DM\u{0}")),
        ("id", json!("https://acme.my.salesforce.com/id/ä")),
        ("site_url", json!("x".repeat(2049))),
        ("token", json!("")),
        ("token", json!("with\"quote")),
        ("source", json!("guessed")),
        ("ends_us", json!(-1)),
        // More would be left than when it was written: the clock was set back meanwhile.
        ("ends_us", json!(4_001_000)),
    ] {
        let mut form = form(&keys(&ours));
        form[member] = wrong;
        assert!(read(&ours, &form).is_none(), "{form}");
    }
    assert!(only(&ours).read_token(b"", Duration::from_micros).is_none());
    let mut trimmed = form(&keys(&ours));
    trimmed["instance_url"] = json!("https://acme.my.salesforce.com/?a=1#b");
    assert_eq!(read(&ours, &trimmed).unwrap().grant.instance_url.as_str(), "https://acme.my.salesforce.com/");
}

#[test]
fn a_failure_is_obeyed_as_long_as_its_pause_and_a_bad_signature_only_by_those_without_another_key() {
    let (one, both) = (replica(Pair::of_this_process(), None), replica(Pair::of_this_process(), Some(Pair::next())));
    let theirs = replica(Pair::next(), None);
    let told = |cause: &str| {
        json!({"cause": cause, "detail": "status 400", "streak": 3, "retry_at_us": 4_000_000, "pause_ms": 4_000, "keys": keys(&one)})
            .to_string()
    };
    let read =
        |prepared: &Prepared, cause: &str| only(prepared).read_failure(told(cause).as_bytes(), Duration::from_micros);
    let error = read(&both, "user_not_approved").unwrap();
    assert_eq!(
        (error.cause, error.retry_after, error.second_hand),
        (Cause::UserNotApproved, Some(seconds(4)), Some(3))
    );
    assert_eq!(error.pause(1, 0.5), seconds(4));
    assert!(read(&one, "bad_assertion").is_some() && read(&both, "bad_assertion").is_none());
    assert!(read(&theirs, "user_not_approved").is_none() && read(&one, "no_such_cause").is_none());
    let written = only(&one).write_failure(&error, 4, (seconds(9), 9_000_000)).unwrap();
    let again = only(&one).read_failure(&written, Duration::from_micros).unwrap();
    assert_eq!(
        (again.cause, again.retry_after, again.second_hand),
        (Cause::UserNotApproved, Some(seconds(9)), Some(4))
    );
}

#[test]
fn a_pause_is_over_when_more_of_it_is_left_than_there_ever_was() {
    let one = replica(Pair::of_this_process(), None);
    let of = |retry_at: u64| {
        let form = json!({"cause": "user_not_approved", "detail": "status 400", "streak": 3, "retry_at_us": retry_at,
            "pause_ms": 4_000, "keys": keys(&one)});
        only(&one).read_failure(form.to_string().as_bytes(), Duration::from_micros).unwrap()
    };
    assert_eq!(of(4_000_000).retry_after, Some(seconds(4)));
    // The clock of the store was set back by an hour: whoever waited for it would wait that long.
    let error = of(3_604_000_000);
    assert_eq!((error.retry_after, error.second_hand), (Some(Duration::ZERO), Some(3)));
}
