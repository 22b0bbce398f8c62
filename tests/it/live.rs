//! The walk of `aquila check --live` beside a running broker: a healthy org, and one org for each step that can fail.
//!
//! Verdicts are told as one letter for each row, in the order of the steps: P pass, W warn, F fail, U unknown.

use std::net::SocketAddr;
use std::time::Duration;

use aquila::app::Prepared;
use aquila::config;
use aquila::simulator::{
    App, Door, EventLogs, Fault, FaultAnswer, Flaw, RestRow, Row, Settings, Simulator, Switches, Tls, TokenRow, User,
};
use aquila::walk::{Extras, LONGEST, MOST_PAIRS, Step, Verdict, Walked, walk};
use jiff::SignedDuration;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd};
use serde_json::{Map, Value, json};

use crate::canary;
use crate::ports::free_port;
use crate::support::eyes::raw;
use crate::support::key::Pair;
use crate::support::plan::{CLIENT_ID, CLIENT_SECRET, INTEGRATION, Plan, username};
use crate::support::proxy::Proxy;
use crate::support::stage::Stage;
use crate::support::{client, seconds};

/// The rows without the two that are only asked for by a flag: host, key, mint, org.
const HEALTHY: &str = "PPPP PU P PPPPPPPUU";

const PLAIN: Extras = Extras { try_audiences: false, read_one_log: false, skip_event_logs: false, within: LONGEST };
const TRY_AUDIENCES: Extras = Extras { try_audiences: true, ..PLAIN };
const READ_ONE_LOG: Extras = Extras { read_one_log: true, ..PLAIN };

/// What the walk of the usual integration says, searched for secrets.
async fn walked(stage: &Stage, extras: Extras) -> Walked {
    let loaded = config::load_with(&stage.file("aquila.toml"), &|_| None).unwrap();
    let (prepared, _) = Prepared::new(loaded, stage.clock.clone()).unwrap();
    let all = prepared.integrations();
    let integration = all.into_iter().find(|it| it.name().as_str() == INTEGRATION).unwrap();
    let certificates = prepared.certificates(integration.name());
    let walked = walk(integration, &certificates, extras, &|_| ()).await;
    for row in &walked.rows {
        let said = [&row.asked, &row.seen, row.remedy.as_ref().unwrap_or(&row.asked)].map(String::as_str).join("\n");
        canary::search(row.step.title(), &format!("{said}\n{}", Value::Object(row.facts.clone())));
    }
    walked
}

async fn usual(stage: &Stage) -> Walked {
    walked(stage, Extras::default()).await
}

/// The verdicts, with blanks where `like` has them.
fn letters(walked: &Walked, like: &str) -> String {
    let mut rows = walked.rows.iter().map(|row| match row.verdict {
        Verdict::Pass => 'P',
        Verdict::Warn => 'W',
        Verdict::Fail => 'F',
        Verdict::Unknown => 'U',
    });
    let spread: String = like.chars().map_while(|c| if c == ' ' { Some(' ') } else { rows.next() }).collect();
    spread + &rows.collect::<String>()
}

fn is(walked: &Walked, expected: &str) {
    assert_eq!(letters(walked, expected), expected, "{:#?}", walked.rows);
    assert_eq!(walked.is_good(), !expected.contains('F'));
}

/// A row that has this verdict, these words in what came back, and these in its remedy.
fn says(walked: &Walked, step: Step, seen: &str, remedy: &str) {
    let row = walked.rows.iter().find(|row| row.step == step).unwrap();
    assert!(row.seen.contains(seen), "{step:?}: {}", row.seen);
    let told = row.remedy.as_deref().unwrap_or("nothing to do");
    assert!(told.contains(remedy), "{step:?}: {told}");
}

fn fact(walked: &Walked, step: Step, name: &str) -> Value {
    walked.rows.iter().find(|row| row.step == step).unwrap().facts.get(name).unwrap().clone()
}

fn users(change: impl Fn(&mut User)) -> User {
    let mut user = User::new(username(INTEGRATION));
    change(&mut user);
    user
}

#[tokio::test]
async fn a_healthy_org_passes_with_one_login_and_the_running_service_does_not_notice() {
    let stage = Stage::usual().await;
    let token = stage.token().await;
    stage.simulator.reset_counts();
    let walked = walked(&stage, Extras { read_one_log: true, ..TRY_AUDIENCES }).await;
    is(&walked, "PPPP PU PP PPPPPPPPUU");
    assert_eq!((walked.logins, stage.simulator.counts().token_posts), (1, 1));
    let steps: Vec<Step> = walked.rows.iter().map(|row| row.step).collect();
    assert_eq!(steps, Step::ALL);
    says(&walked, Step::UserAndOrg, "elf-prod@acme.example (0055g", "nothing");
    says(&walked, Step::Certificate, "as mint proves", "nothing");
    says(&walked, Step::EventLogFiles, "hourly and daily, newest of 20", "nothing");
    says(&walked, Step::LogFile, "5 rows of", "nothing");
    says(&walked, Step::LogFile, "EVENT_TYPE, TIMESTAMP", "nothing");
    says(&walked, Step::IpLock, "not seen from here", "Setup > Session Settings");
    assert_eq!(fact(&walked, Step::EventLogFiles, "hourly"), json!(true));
    assert_eq!(fact(&walked, Step::LogFile, "rows"), json!(5));
    assert_eq!(stage.token().await.text, token.text);
    assert_eq!(stage.metric("aquila_mints_total{integration=\"elf-prod\",outcome=\"success\"}").await, 1);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_stops_the_walk_there() {
    let proxy = format!("proxy_url = \"http://{}.example:3128\"", "x".repeat(64));
    let plan = Stage::plan().salesforce_line(proxy).token_url(INTEGRATION, "https://acme.my.salesforce.com");
    let walked = usual(&plan.start().await).await;
    is(&walked, "FUUU PU U UUUUUUUUU");
    says(&walked, Step::Dns, "does not resolve", "check token_url and the name server");
    says(&walked, Step::Mint, "the token host does not answer", "");
    says(&walked, Step::ApiEnabled, "there is no token", "");
    assert_eq!(walked.logins, 0);
}

#[tokio::test]
async fn a_port_where_nobody_listens_fails_at_the_connection() {
    let address = format!("http://127.0.0.1:{}", free_port());
    let walked = usual(&Stage::plan().token_url(INTEGRATION, address).start().await).await;
    is(&walked, "PFUU PU U UUUUUUUUU");
    says(&walked, Step::Connection, "refused", "firewall");
}

#[tokio::test]
async fn a_certificate_that_must_be_refused_fails_at_tls_and_no_assertion_leaves() {
    let (tls, authority) = Tls::flawed(&[], Flaw::Expired).unwrap();
    let other = Simulator::start(Settings { tls: Some(tls), ..Settings::default() }).await.unwrap();
    let plan = Stage::plan().file("ca.pem", authority).salesforce_line("ca_path = \"ca.pem\"");
    let walked = usual(&plan.token_url(INTEGRATION, other.base_url()).start().await).await;
    is(&walked, "PPFU PU U UUUUUUUUU");
    says(&walked, Step::Tls, "the certificate has expired", "no proxy opens TLS");
    assert_eq!(other.counts().token_posts, 0);
}

#[tokio::test]
async fn a_healthy_org_behind_tls_passes() {
    let (tls, authority) = Tls::throw_away(&[]).unwrap();
    let plan = Stage::plan().file("ca.pem", authority).salesforce_line("ca_path = \"ca.pem\"");
    let walked = usual(&plan.simulator(|settings| settings.tls = Some(tls)).start().await).await;
    is(&walked, HEALTHY);
    says(&walked, Step::Tls, "it holds", "nothing");
}

#[tokio::test]
async fn a_wrong_clock_fails_and_the_login_is_dated_by_salesforces() {
    for hours in [-3, 3] {
        let switches = Switches { exp_upper_bound_seconds: Some(180), ..Switches::default() };
        let stage = Stage::plan().simulator(|settings| settings.switches = switches).start().await;
        stage.clock.jump(SignedDuration::from_hours(hours));
        // The broker's clock stands still while the other goes on; a `Date` has whole seconds.
        let skew = || stage.simulator.now().duration_since(stage.clock.timestamp()).as_secs();
        let before = skew();
        let walked = usual(&stage).await;
        is(&walked, "PPPF PU P PPPPPPPUU");
        let told = fact(&walked, Step::Clock, "skew_seconds").as_i64().unwrap();
        assert!((before - 1..=skew() + 1).contains(&told), "{told}");
        says(&walked, Step::Clock, if hours < 0 { "s behind" } else { "s ahead" }, "by NTP");
        assert_eq!(walked.logins, 2, "one refused, and one more at once");
    }
}

#[tokio::test]
async fn a_certificate_of_another_key_fails_at_the_mint() {
    let stage = Stage::usual().await;
    let other = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::default().self_signed(&other).unwrap();
    stage.simulator.put_app(App::new(CLIENT_ID, certificate.pem())).unwrap();
    let walked = usual(&stage).await;
    is(&walked, "PPPP PU F UUUUUUUUU");
    says(&walked, Step::Mint, "invalid assertion", "compare the certificate of the app with the key");
    says(&walked, Step::Certificate, "none is configured", "openssl x509");
    assert_eq!(fact(&walked, Step::Mint, "cause"), "bad_assertion");
}

#[tokio::test]
async fn each_refusal_is_told_with_its_cause_its_remedy_and_its_section() {
    let cases = [
        (TokenRow::UserHasNotApproved, "user_not_approved", "Admin approved users are pre-authorized"),
        (TokenRow::InvalidAssertion, "bad_assertion", "client_key_path"),
        (TokenRow::AudienceIsInvalid, "wrong_audience", "set audience_url"),
        (TokenRow::AudienceValidationFailed, "wrong_audience", "set audience_url"),
        (TokenRow::ExpiredAuthorizationCode, "expired_assertion", "NTP"),
        (TokenRow::IpRestricted, "ip_or_hours", "Login IP Ranges"),
        (TokenRow::IpRestrictedOrLoginHours, "ip_or_hours", "Login Hours"),
        (TokenRow::InactiveUser, "inactive_user", "tick Active"),
        (TokenRow::UserIsLocked, "inactive_user", "unlock"),
        (TokenRow::UserIsInactive, "inactive_user", "tick Active"),
        (TokenRow::LoginRateExceeded, "login_rate", "Login History"),
        (TokenRow::RateLimitExceeded, "login_rate", "Login History"),
        (TokenRow::AuthenticationFailure, "unknown", "Login History"),
        (TokenRow::NotAdminApproved, "app_not_approved_for_user", "permission set that the user has"),
        (TokenRow::ClientIdentifierInvalid, "unknown_app", "consumer key"),
        (TokenRow::InvalidClientCredentials, "unknown_app", "consumer key"),
        (TokenRow::AppNotFound, "app_not_in_org", "My Domain"),
        (TokenRow::UnsupportedGrantType, "unknown", "Login History"),
        (TokenRow::InactiveOrg, "inactive_org", "support"),
        (TokenRow::InvalidScope, "unknown", "Login History"),
        (TokenRow::UnknownError, "transient", "run the check again"),
        (TokenRow::ServerError, "transient", "run the check again"),
    ];
    let stage = Stage::usual().await;
    for (row, cause, remedy) in cases {
        let answer = FaultAnswer::Row { row: Row::Token(row) };
        stage.simulator.force(Fault::always(Door::Token, answer));
        let walked = usual(&stage).await;
        is(&walked, "PPPP PU F UUUUUUUUU");
        says(&walked, Step::Mint, row.texts().1, remedy);
        assert_eq!(fact(&walked, Step::Mint, "cause"), cause);
        let mint = walked.rows.iter().find(|row| row.step == Step::Mint).unwrap();
        assert_eq!(mint.help.as_deref(), Some(format!("docs/troubleshooting.md#{cause}").as_str()));
        stage.simulator.clear_faults();
    }
}

/// An org that takes these audiences, and its own URL or not.
async fn taking(audiences: &[&str], own: bool) -> Stage {
    let audiences = audiences.iter().map(|&text| text.to_owned()).collect();
    let switches = Switches { aud_own_url_accepted: own, ..Switches::default() };
    let change = |settings: &mut Settings| (settings.audiences, settings.switches) = (audiences, switches);
    Stage::plan().simulator(change).start().await
}

#[tokio::test]
async fn other_pairs_are_tried_only_when_asked_for_and_the_one_that_works_is_named() {
    let stage = taking(&["https://test.salesforce.com"], false).await;
    let alone = usual(&stage).await;
    is(&alone, "PPPP PU F UUUUUUUUU");
    assert_eq!(alone.logins, 1);
    says(&alone, Step::Mint, "audience is invalid", "set audience_url");

    let tried = walked(&stage, TRY_AUDIENCES).await;
    is(&tried, "PPPP PU FP PPPPPPPUU");
    let url = stage.simulator.base_url();
    let set = format!("set token_url = \"{url}\" and audience_url = \"https://test.salesforce.com\"");
    says(&tried, Step::Audiences, "aud https://test.salesforce.com: granted", &set);
    says(&tried, Step::Certificate, "as audiences proves", "nothing");
    assert_eq!((tried.logins, stage.simulator.counts().token_posts), (2, 3));

    let stage = taking(&[], true).await;
    let tried = walked(&stage, TRY_AUDIENCES).await;
    let url = stage.simulator.base_url();
    says(&tried, Step::Audiences, &format!("aud {url}: granted"), &format!("audience_url = \"{url}\""));
    assert_eq!(tried.logins, 3);
}

#[tokio::test]
async fn when_no_pair_works_the_tries_end_and_what_another_pair_cannot_cure_is_not_tried() {
    let stage = taking(&[], false).await;
    let tried = walked(&stage, TRY_AUDIENCES).await;
    is(&tried, "PPPP PU FF UUUUUUUUU");
    says(&tried, Step::Audiences, "wrong_audience", "the pair is not what is wrong");
    assert!(tried.logins <= 1 + u32::try_from(MOST_PAIRS).unwrap());
    assert_eq!(u64::from(tried.logins), stage.simulator.counts().token_posts);

    let row = Row::Token(TokenRow::InactiveUser);
    stage.simulator.force(Fault::always(Door::Token, FaultAnswer::Row { row }));
    let tried = walked(&stage, TRY_AUDIENCES).await;
    is(&tried, "PPPP PU FU UUUUUUUUU");
    assert_eq!(tried.logins, 1);
}

const MY_DOMAIN: &str = "acme.my.salesforce.com";
const LOGIN: &str = "login.salesforce.com";

/// An org with the names of Salesforce, which only a proxy finds, asked at the login host.
async fn named_org(change: fn(&mut App)) -> (Stage, Proxy) {
    let names = [MY_DOMAIN, LOGIN, "test.salesforce.com"].map(str::to_owned);
    let (tls, authority) = Tls::throw_away(&names).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let proxy = Proxy::to(address, None).await;
    let plan = Stage::plan().file("ca.pem", authority).salesforce_line("ca_path = \"ca.pem\"");
    let plan = plan.salesforce_line(format!("proxy_url = \"{}\"", proxy.url()));
    let plan = plan.token_url(INTEGRATION, format!("https://{LOGIN}"));
    let plan = plan.integration_line(format!("instance_url = \"https://{MY_DOMAIN}\""));
    let plan = plan.simulator(|settings| {
        settings.listen = address;
        settings.tls = Some(tls);
        let hosts = [("my-domain", MY_DOMAIN), ("production", LOGIN), ("sandbox", "test.salesforce.com")];
        settings.hosts = hosts.map(|(kind, name)| format!("{kind}={name}").parse().unwrap()).to_vec();
        settings.instance_url = Some(format!("https://{MY_DOMAIN}"));
        settings.apps.iter_mut().for_each(change);
    });
    (plan.start().await, proxy)
}

#[tokio::test]
async fn an_external_client_app_is_found_at_its_my_domain_by_the_way_out_of_the_service() {
    let (stage, proxy) = named_org(|app| app.external = true).await;
    let tried = walked(&stage, TRY_AUDIENCES).await;
    is(&tried, "PPPP PU FP PPPPPPPUU");
    assert_eq!(fact(&tried, Step::Mint, "cause"), "app_not_in_org");
    says(&tried, Step::Dns, "through the egress proxy, which resolves it", "nothing");
    let set = format!("set token_url = \"https://{MY_DOMAIN}\" and audience_url = \"https://{LOGIN}\"");
    says(&tried, Step::Audiences, "granted", &set);
    assert_eq!((tried.logins, stage.simulator.counts().token_posts), (2, 2));
    let book = proxy.book();
    let asked = |host: &str| book.heads.iter().any(|head| head.starts_with(&format!("CONNECT {host}:443 ")));
    assert!(asked(LOGIN) && asked(MY_DOMAIN) && !asked("test.salesforce.com"), "{:?}", book.heads);
}

#[tokio::test]
async fn no_more_pairs_are_tried_than_is_promised_and_none_at_a_host_that_the_service_would_not_ask() {
    let (stage, proxy) = named_org(|app| app.installed = false).await;
    let tried = walked(&stage, TRY_AUDIENCES).await;
    is(&tried, "PPPP PU FF UUUUUUUUU");
    assert!(tried.logins > 3 && tried.logins <= 1 + u32::try_from(MOST_PAIRS).unwrap(), "{}", tried.logins);
    assert_eq!(u64::from(tried.logins), stage.simulator.counts().token_posts);
    let known = |head: &String| [LOGIN, MY_DOMAIN, "test.salesforce.com"].iter().any(|host| head.contains(host));
    assert!(proxy.book().heads.iter().all(known));
}

#[tokio::test]
async fn a_token_for_another_instance_is_a_warning_and_one_for_a_strange_host_goes_nowhere() {
    let plan = Stage::plan().integration_line("instance_url = \"https://acme.my.salesforce.com\"");
    let walked = usual(&plan.start().await).await;
    is(&walked, "PPPP PU W PPPPPPPUU");
    says(&walked, Step::Mint, "instance_url says https://acme.my.salesforce.com", "correct instance_url");
    let mint = walked.rows.iter().find(|row| row.step == Step::Mint).unwrap();
    assert!(!mint.remedy.as_ref().unwrap().contains("pin_instance_url"), "{:?}", mint.remedy);

    let strange = |settings: &mut Settings| settings.instance_url = Some("https://acme.example".to_owned());
    let stage = Stage::plan().simulator(strange).start().await;
    let walked = usual(&stage).await;
    is(&walked, "PPPP PU F UUUUUUUUU");
    says(&walked, Step::Mint, "instance_url names acme.example", "allowed_hosts");
    assert_eq!(stage.simulator.counts().rest_calls, 0);
}

#[tokio::test]
async fn a_user_without_api_enabled_is_told_so_and_the_rest_is_not_asked() {
    let stage = Stage::usual().await;
    stage.simulator.put_user(users(|user| user.api_enabled = false));
    let walked = usual(&stage).await;
    is(&walked, "PPPP PU P PUFUUUUUU");
    says(&walked, Step::ApiEnabled, "API_DISABLED_FOR_ORG", "tick API Enabled");
    says(&walked, Step::ViewEventLogFiles, "see session", "");
}

#[tokio::test]
async fn a_user_without_view_event_log_files_does_not_see_the_object() {
    let stage = Stage::usual().await;
    stage.simulator.put_user(users(|user| user.view_event_log_files = false));
    let walked = walked(&stage, READ_ONE_LOG).await;
    is(&walked, "PPPP PU P PPPFPFUPUU");
    says(&walked, Step::ViewEventLogFiles, "not granted", "tick View Event Log Files");
    says(&walked, Step::EventLogFiles, "INVALID_TYPE", "tick View Event Log Files");
    says(&walked, Step::LogFile, "see event log files", "");
}

#[tokio::test]
async fn an_org_that_does_not_know_a_permission_leaves_it_unknown() {
    let stage = Stage::usual().await;
    stage.simulator.force(Fault::once(Door::Rest, FaultAnswer::AsUsual));
    let refusal = r#"[{"message":"No such column 'PermissionsViewEventLogFiles'","errorCode":"INVALID_FIELD"}]"#;
    stage.simulator.force(Fault::once(Door::Rest, raw(400, &[], refusal)));
    let walked = usual(&stage).await;
    is(&walked, "PPPP PU P PPPUUPPUU");
    says(&walked, Step::ViewEventLogFiles, "INVALID_FIELD", "View Summary");
}

#[tokio::test]
async fn view_all_data_is_told_as_more_than_is_needed() {
    let stage = Stage::usual().await;
    stage.simulator.put_user(users(|user| user.view_all_data = true));
    let walked = usual(&stage).await;
    is(&walked, "PPPP PU P PPPPWPPUU");
    says(&walked, Step::ViewAllData, "more than is needed", "untick View All Data");
    stage.simulator.put_user(users(|user| (user.view_all_data, user.view_event_log_files) = (true, false)));
    let walked = usual(&stage).await;
    is(&walked, "PPPP PU P PPPWWPPUU");
    says(&walked, Step::ViewEventLogFiles, "all the same", "tick View Event Log Files");
}

#[tokio::test]
async fn an_org_without_event_log_files_fails_there() {
    let none = EventLogs { days: 0, hourly: false, ..EventLogs::default() };
    let stage = Stage::plan().simulator(|settings| settings.event_logs = none).start().await;
    let walked = walked(&stage, READ_ONE_LOG).await;
    is(&walked, "PPPP PU P PPPPPFUPUU");
    says(&walked, Step::EventLogFiles, "no file at all", "Setup > Event Manager");
    says(&walked, Step::LogFile, "no file to read", "");
}

#[tokio::test]
async fn an_org_without_hourly_files_is_told_as_daily_only() {
    let daily = EventLogs { hourly: false, ..EventLogs::default() };
    let stage = Stage::plan().simulator(|settings| settings.event_logs = daily).start().await;
    let walked = walked(&stage, READ_ONE_LOG).await;
    is(&walked, "PPPP PU P PPPPPPPPUU");
    says(&walked, Step::EventLogFiles, "daily only", "nothing");
    assert_eq!(fact(&walked, Step::EventLogFiles, "hourly"), json!(false));
    says(&walked, Step::LogFile, "120 rows of", "nothing");
}

#[tokio::test]
async fn of_a_long_log_file_the_beginning_is_read() {
    let long = EventLogs { days: 2, hourly: false, events_per_hour: 60 };
    let stage = Stage::plan().simulator(|settings| settings.event_logs = long).start().await;
    let walked = walked(&stage, READ_ONE_LOG).await;
    is(&walked, "PPPP PU P PPPPPPPPUU");
    let path = walked.rows.iter().find(|row| row.step == Step::LogFile).unwrap().asked.clone();
    let path = path.split_whitespace().nth(1).unwrap().trim_end_matches(',').to_owned();
    let url = format!("{}/services/data/v60.0/sobjects/{path}", stage.simulator.base_url());
    let whole = client().get(url).bearer_auth(stage.token().await.text).send().await.unwrap().text().await.unwrap();
    assert!(whole.len() > 256 * 1024, "{}", whole.len());
    says(&walked, Step::LogFile, "it begins with ", "nothing");
    let rows = fact(&walked, Step::LogFile, "rows").as_u64().unwrap();
    assert!((100..1440).contains(&rows), "{rows}");
    assert_eq!(fact(&walked, Step::LogFile, "whole"), json!(false));
}

#[tokio::test]
async fn a_walk_ends_within_its_time_whatever_hangs() {
    let stage = Stage::usual().await;
    for door in [Door::Rest, Door::Userinfo] {
        stage.simulator.force(Fault::always(door, FaultAnswer::NeverAnswer));
    }
    let started = tokio::time::Instant::now();
    let walked = walked(&stage, Extras { within: seconds(2), ..Extras::default() }).await;
    is(&walked, "PPPP PU P UFUUUUUUU");
    says(&walked, Step::Session, "no answer in time", "");
    // One call alone may take five seconds by request_timeout.
    assert!(started.elapsed() < seconds(4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn api_requests_that_are_used_up_are_told_whichever_call_meets_it() {
    for (per_day, expected) in [(0, "PPPP PU P PUUUUUFUU"), (3, "PPPP PU P PPPPPPFUU")] {
        let stage = Stage::plan().simulator(|settings| settings.api_calls_per_day = per_day).start().await;
        let walked = usual(&stage).await;
        is(&walked, expected);
        says(&walked, Step::ApiRequests, "", "Setup > Company Information");
    }
    let switches = Switches { limits_need_view_setup: true, ..Switches::default() };
    let stage = Stage::plan().simulator(|settings| settings.switches = switches).start().await;
    let walked = usual(&stage).await;
    is(&walked, HEALTHY);
    says(&walked, Step::ApiRequests, "left for 24 hours", "nothing");
    assert_eq!(fact(&walked, Step::ApiRequests, "max"), json!(5_000_000));
}

#[tokio::test]
async fn introspection_tells_a_life_a_short_one_or_that_the_secret_is_wrong() {
    let walked = usual(&Stage::plan().client_secret(CLIENT_SECRET).start().await).await;
    is(&walked, "PPPP PU P PPPPPPPPU");
    let left = fact(&walked, Step::Lifetime, "seconds_left").as_u64().unwrap();
    assert!((7190..=7200).contains(&left), "{left}");

    let shorter = |settings: &mut Settings| {
        settings.apps.iter_mut().for_each(|app| app.session_timeout = Some(Duration::from_secs(900)));
    };
    let walked = usual(&Stage::plan().client_secret(CLIENT_SECRET).simulator(shorter).start().await).await;
    is(&walked, "PPPP PU P PPPPPPPWU");
    says(&walked, Step::Lifetime, "less than half", "set session_timeout");

    let other = "SIMULATED_secret_of_another_app";
    canary::note("the secret of another app", other);
    let walked = usual(&Stage::plan().client_secret(other).start().await).await;
    is(&walked, "PPPP PU P PPPPPPPFU");
    says(&walked, Step::Lifetime, "invalid_client", "Consumer Key and Secret");
}

#[tokio::test]
async fn a_new_token_that_gets_401_is_told_as_a_lock() {
    let stage = Stage::usual().await;
    for (door, row) in [(Door::Rest, RestRow::InvalidSessionId), (Door::Userinfo, RestRow::BadOauthToken)] {
        stage.simulator.force(Fault::always(door, FaultAnswer::Row { row: Row::Rest(row) }));
    }
    let walked = usual(&stage).await;
    is(&walked, "PPPP PU P FFUUUUUUF");
    says(&walked, Step::Session, "INVALID_SESSION_ID", "IP locking");
    says(&walked, Step::IpLock, "401", "Lock sessions to the IP address");
    says(&walked, Step::UserAndOrg, "bad token", "see session");
    assert_eq!(walked.logins, 1);
}

#[tokio::test]
async fn a_session_that_may_not_use_the_rest_api_is_no_lock() {
    let scopes = |settings: &mut Settings| {
        settings.apps.iter_mut().for_each(|app| app.scopes = vec!["id".to_owned(), "web".to_owned()]);
    };
    let walked = usual(&Stage::plan().simulator(scopes).start().await).await;
    is(&walked, "PPPP PU P PFUUUUUUU");
    says(&walked, Step::Session, "not valid for use with the REST API", "the scope api");
    says(&walked, Step::IpLock, "not seen from here", "");
}

#[tokio::test]
async fn a_token_without_identity_scopes_is_a_warning_and_still_known_by_its_login() {
    let narrow = |settings: &mut Settings| {
        settings.switches = Switches { userinfo_needs_identity_scope: true, ..Switches::default() };
        settings.apps.iter_mut().for_each(|app| app.scopes = vec!["api".to_owned()]);
    };
    let walked = usual(&Stage::plan().simulator(narrow).start().await).await;
    is(&walked, "PPPP PU P WPPPPPPUU");
    says(&walked, Step::UserAndOrg, "by the login it is user 0055g", "scope openid");
}

#[tokio::test]
async fn an_integration_for_something_else_is_not_asked_about_event_log_files() {
    let stage = Stage::usual().await;
    stage.simulator.put_user(users(|user| user.view_event_log_files = false));
    let walked = walked(&stage, Extras { skip_event_logs: true, ..PLAIN }).await;
    is(&walked, "PPPP PU P PPPUPUPUU");
    says(&walked, Step::EventLogFiles, "--skip-event-logs", "nothing");
}

#[tokio::test]
async fn an_org_that_is_down_or_hostile_ends_no_walk_and_shows_no_token() {
    let impatient = || Stage::plan().salesforce_line("request_timeout = \"500ms\"");
    let answers = [
        FaultAnswer::Maintenance { status: 503 },
        FaultAnswer::Maintenance { status: 200 },
        FaultAnswer::NeverAnswer,
        FaultAnswer::EndlessBody,
        FaultAnswer::Reset,
    ];
    let long = raw(200, &[], &"x".repeat(1024 * 1024 + 1));
    for (answer, seen) in [(long, "a body of more than 1 MiB"), (FaultAnswer::NeverAnswer, "no answer in time")] {
        let stage = impatient().client_secret(CLIENT_SECRET).start().await;
        for door in [Door::Rest, Door::Introspect] {
            stage.simulator.force(Fault::always(door, answer.clone()));
        }
        let walked = usual(&stage).await;
        for step in [Step::Session, Step::Lifetime] {
            says(&walked, step, seen, "");
            let told = &walked.rows.iter().find(|row| row.step == step).unwrap().seen;
            assert!(!told.contains("token"), "{told}");
        }
    }
    for answer in answers {
        let stage = impatient().start().await;
        stage.simulator.force(Fault::always(Door::Rest, answer.clone()));
        let walked = usual(&stage).await;
        is(&walked, "PPPP PU P PFUUUUUUU");
        says(&walked, Step::Session, "", "trust.salesforce.com");
    }
    let stage = Plan::new().start().await;
    let token = stage.token().await.text;
    let members = ["preferred_username", "organization_id", "user_id"].map(|name| (name.to_owned(), json!(token)));
    let answer = FaultAnswer::Altered { members: Map::from_iter(members) };
    stage.simulator.force(Fault::always(Door::Userinfo, answer));
    is(&usual(&stage).await, "PPPP PU P WPPPPPPUU");
}

#[tokio::test]
async fn the_consumer_secret_is_told_to_nobody_though_the_host_repeats_it() {
    canary::note("the consumer secret", CLIENT_SECRET);
    let stage = Stage::plan().client_secret(CLIENT_SECRET).start().await;
    let body =
        format!(r#"{{"error":"invalid_client","error_description":"no client with {CLIENT_SECRET} \u202ehere"}}"#);
    stage.simulator.force(Fault::always(Door::Token, raw(400, &[], &body)));
    let checked = usual(&stage).await;
    says(&checked, Step::Mint, "no client with *********", "consumer key");
    says(&checked, Step::Mint, " here)", "consumer key");
    stage.post_for(INTEGRATION).await;
    let told = stage.told(INTEGRATION, "/last_failure/detail").await;
    assert!(told.as_str().unwrap().ends_with("** here") && !told.to_string().contains("SIMULATED"), "{told}");

    stage.simulator.clear_faults();
    let error = format!(r#"{{"error":"{CLIENT_SECRET}"}}"#);
    stage.simulator.force(Fault::always(Door::Introspect, raw(401, &[], &error)));
    let refusal = format!(r#"[{{"message":"no {CLIENT_SECRET}","errorCode":"{CLIENT_SECRET}"}}]"#);
    stage.simulator.force(Fault::always(Door::Rest, raw(400, &[], &refusal)));
    let checked = usual(&stage).await;
    says(&checked, Step::Lifetime, "status 401 ****", "Consumer Key and Secret");
    says(&checked, Step::Session, "status 400, ****", "trust");
}

/// A certificate of the key of this process that ends in this year, with so many names in it.
fn certificate(year: i32, names: usize) -> String {
    let names: Vec<_> = (0..names).map(|number| format!("{}{number}.acme.example", "n".repeat(50))).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_after = date_time_ymd(year, 1, 1);
    params.self_signed(&KeyPair::from_pem(&Pair::of_this_process().private_key).unwrap()).unwrap().pem()
}

#[tokio::test]
async fn the_certificate_is_told_with_its_end_and_its_size_and_warns_in_time() {
    let cases = [
        (2100, 0, "PPPP PP P PPPPPPPUU", "fits the key, ends on 2100-01-01 (in ", "nothing"),
        (2020, 0, "PPPP PW P PPPPPPPUU", "fits the key, ended on 2020-01-01, ", "make a new certificate"),
        (2100, 80, "PPPP PW P PPPPPPPUU", " bytes of 4096", "without extras"),
    ];
    for (year, names, expected, seen, remedy) in cases {
        let line = "certificate_path = \"certificate.pem\"";
        let plan = Stage::plan().file("certificate.pem", certificate(year, names)).integration_line(line);
        let walked = usual(&plan.start().await).await;
        is(&walked, expected);
        says(&walked, Step::Certificate, seen, remedy);
        assert_eq!(fact(&walked, Step::Certificate, "not_after"), format!("{year}-01-01T00:00:00Z"));
        let size = fact(&walked, Step::Certificate, "size_bytes").as_u64().unwrap();
        assert_eq!(size > 4096, names > 0, "{size}");
    }
}

#[tokio::test]
async fn with_a_next_key_one_row_speaks_of_both_and_mint_tries_it_as_the_service_does() {
    let next = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let app_has = CertificateParams::default().self_signed(&next).unwrap().pem();
    let plan = Stage::plan().file("next.pem", next.serialize_pem()).file("certificate.pem", certificate(2100, 0));
    let plan = plan.integration_line("certificate_path = \"certificate.pem\"");
    let stage = plan.integration_line("next_key_path = \"next.pem\"").start().await;
    stage.simulator.put_app(App::new(CLIENT_ID, app_has)).unwrap();
    let walked = usual(&stage).await;
    is(&walked, "PPPP PP P PPPPPPPUU");
    says(&walked, Step::Key, "both sign", "nothing");
    says(&walked, Step::Certificate, "client_key: fits the key, ends on 2100-01-01", "nothing");
    says(&walked, Step::Certificate, "; next_key: none is configured", "nothing");
    says(&walked, Step::Mint, "with the next key: the first was refused", "nothing");
    assert_eq!(walked.logins, 2);
}
