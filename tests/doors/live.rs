//! `aquila check --live` as people and programs meet it: the real binary beside a running service.

use aquila::simulator::User;
use serde_json::{Value, json};

use crate::support::house::{House, Plan};
use crate::support::process::{Ended, run};

const STEPS: [&str; 16] = [
    "dns",
    "connection",
    "tls",
    "clock",
    "key",
    "certificate",
    "mint",
    "user_and_org",
    "session",
    "api_enabled",
    "view_event_log_files",
    "view_all_data",
    "event_log_files",
    "api_requests",
    "lifetime",
    "ip_lock",
];

async fn check(house: &House, more: &[&str]) -> Ended {
    let config = house.config();
    let args = ["check", "--config", config.to_str().unwrap(), "--live"];
    run(args.iter().chain(more)).await
}

fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("no JSON: {ended:?}"))
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_healthy_walk_ends_with_0_and_tells_every_integration_in_the_order_of_their_names() {
    let house = House::open().await;
    let ended = check(&house, &["--read-one-log"]).await;
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    let text = &ended.stdout;
    assert!(text.contains("\ngood: 0 errors, 1 warning\n\ncrm: "), "{text}");
    let places: Vec<_> = ["crm: ", "elf-prod: ", "elf-test: "].map(|name| text.find(&format!("\n{name}"))).into();
    assert!(places.is_sorted() && !places.contains(&None), "{text}");
    assert!(text.contains("elf-prod: good: 14 passed, 0 warnings, 0 failed, 3 unknown\n"), "{text}");
    assert!(text.contains("1 login at Salesforce as elf-prod@acme.example, which the budget"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100 || !line.contains(' ')), "{text}");
    // Of the log file there are the names of the columns, and no cell.
    assert!(text.contains("EVENT_TYPE") && !text.contains("simulated.example") && !text.contains("192.0.2."), "{text}");
    assert_eq!(house.simulator.counts().token_posts, 3);
}

/// What programs read stays as it is: members may be added, none may go or change its meaning.
#[tokio::test]
async fn the_json_form_is_frozen() {
    let house = House::open().await;
    let ended = check(&house, &["--integration", "elf-prod", "--output", "json"]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stdout);
    let json = json_of(&ended);
    assert_eq!(members(&json), ["errors", "findings", "live", "ok", "warnings"]);
    assert_eq!((&json["ok"], json["live"].as_array().unwrap().len()), (&json!(true), 1));
    let walk = &json["live"][0];
    let expected = ["fail", "integration", "logins", "ok", "pass", "rows", "token_host", "unknown", "username", "warn"];
    assert_eq!(members(walk), expected);
    let numbers = ["pass", "warn", "fail", "unknown", "logins"].map(|name| walk[name].as_u64().unwrap());
    assert_eq!((numbers, &walk["integration"], &walk["ok"]), ([13, 0, 0, 3, 1], &json!("elf-prod"), &json!(true)));
    let rows = walk["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["step"].as_str().unwrap()).collect::<Vec<_>>(), STEPS);
    for row in rows {
        assert_eq!(members(row), ["asked", "facts", "guide", "help", "remedy", "seen", "step", "verdict"]);
        assert!(["pass", "warn", "fail", "unknown"].contains(&row["verdict"].as_str().unwrap()));
        assert!(row["guide"].as_str().unwrap().starts_with("docs/salesforce-setup.md#"));
        assert!(row["asked"].is_string() && row["seen"].is_string() && row["facts"].is_object(), "{row}");
    }
    let facts = |step: &str| rows.iter().find(|row| row["step"] == step).map(|row| members(&row["facts"])).unwrap();
    for (step, expected) in [
        ("clock", &["skew_seconds"][..]),
        ("key", &["public_key_sha256"]),
        ("mint", &["instance_url"]),
        ("user_and_org", &["organization_id", "user_id", "username"]),
        ("api_enabled", &["granted"]),
        ("event_log_files", &["files", "hourly", "newest", "types"]),
        ("api_requests", &["max", "remaining"]),
    ] {
        assert_eq!(facts(step), expected);
    }
}

#[tokio::test]
async fn a_step_that_fails_ends_the_check_with_1_and_its_remedy() {
    let house = House::open().await;
    house.simulator.put_user(User { view_event_log_files: false, ..User::new("elf-prod@acme.example") });
    let ended = check(&house, &["--integration", "elf-prod"]).await;
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(1), ""), "{}", ended.stdout);
    for told in [
        "  FAIL     View Event Log Files  ",
        "           = help: Setup > Permission Sets",
        "           = see docs/salesforce-setup.md#view-event-log-files\n",
        "elf-prod: failed: 11 passed, 0 warnings, 2 failed, 3 unknown\n",
    ] {
        assert!(ended.stdout.contains(told), "{told} in {}", ended.stdout);
    }
    let ended = check(&house, &["--integration", "elf-prod", "--output", "json"]).await;
    assert_eq!((ended.code(), &json_of(&ended)["ok"]), (Some(1), &json!(false)));
}

#[tokio::test]
async fn a_bad_configuration_is_a_78_and_nobody_is_asked() {
    let house = House::open().await;
    let text = std::fs::read_to_string(house.config()).unwrap();
    std::fs::write(house.config(), text.replace("client_id", "client")).unwrap();
    house.simulator.reset_counts();
    let ended = check(&house, &["--output", "json"]).await;
    assert_eq!(ended.code(), Some(78), "{}", ended.stdout);
    let json = json_of(&ended);
    assert_eq!((&json["ok"], &json["live"]), (&json!(false), &json!([])));
    assert!(json["errors"].as_u64() >= Some(3));
    assert_eq!((house.simulator.counts().token_posts, house.simulator.counts().rest_calls), (0, 0));
}

#[tokio::test]
async fn an_integration_that_is_not_there_is_no_login() {
    let house = House::with(Plan::default()).await;
    let ended = check(&house, &["--integration", "elf-prd"]).await;
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("there is no integration elf-prd"), "{}", ended.stderr);
    assert_eq!(house.simulator.counts().token_posts, 0);
}
