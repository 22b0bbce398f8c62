//! Every answer that Salesforce is known to give instead of a token: which cause it becomes, what callers get, and how
//! many requests Salesforce sees.
//!
//! `cargo test --test it causes -- --nocapture` prints the table.

use aquila::simulator::{Door, Fault, FaultAnswer, RestRow, Row, TokenRow};

use crate::support::eyes::{every_row, raw, row};
use crate::support::plan::{INTEGRATION, username};
use crate::support::reply::Reply;
use crate::support::seconds;
use crate::support::stage::Stage;

/// What an answer of Salesforce comes to.
struct Scenario {
    sent: String,
    answer: FaultAnswer,
    /// Words of Salesforce that no caller may read.
    words: &'static str,
    cause: &'static str,
    told: Told,
}

/// What callers get, and U.
#[derive(Clone, Copy)]
enum Told {
    /// 502: somebody has to change something. U = 1, a pause of 5 s.
    Refused,
    /// 503 with this `Retry-After`. U = 1.
    Later(u64),
    /// 503 with `Retry-After: 1`, after one more try at once. U = 2.
    Twice,
}

impl Told {
    fn status(self) -> u16 {
        if matches!(self, Self::Refused) { 502 } else { 503 }
    }

    fn error_of_get(self) -> &'static str {
        if matches!(self, Self::Refused) { "upstream_refused" } else { "temporarily_unavailable" }
    }

    fn error_of_post(self) -> &'static str {
        if matches!(self, Self::Refused) { "server_error" } else { "temporarily_unavailable" }
    }

    fn retry_after(self) -> Option<u64> {
        match self {
            Self::Refused => None,
            Self::Later(wait) => Some(wait),
            Self::Twice => Some(1),
        }
    }

    /// U of one flight.
    fn posts(self) -> u64 {
        if matches!(self, Self::Twice) { 2 } else { 1 }
    }

    /// After so long the next one who asks is let through.
    fn pause(self) -> u64 {
        self.retry_after().unwrap_or(5)
    }
}

/// Without a wildcard: a row that the simulator learns is a row that has to be judged here.
fn judged(row: TokenRow) -> (&'static str, Told) {
    use Told::{Later, Refused, Twice};
    match row {
        TokenRow::AppNotFound => ("app_not_in_org", Refused),
        TokenRow::AudienceIsInvalid | TokenRow::AudienceValidationFailed => ("wrong_audience", Refused),
        TokenRow::ClientIdentifierInvalid | TokenRow::InvalidClientCredentials => ("unknown_app", Refused),
        TokenRow::ExpiredAuthorizationCode => ("expired_assertion", Later(1)),
        TokenRow::InactiveOrg => ("inactive_org", Later(1)),
        TokenRow::InactiveUser | TokenRow::UserIsInactive | TokenRow::UserIsLocked => ("inactive_user", Refused),
        TokenRow::InvalidAssertion => ("bad_assertion", Refused),
        TokenRow::IpRestricted | TokenRow::IpRestrictedOrLoginHours => ("ip_or_hours", Refused),
        TokenRow::LoginRateExceeded | TokenRow::RateLimitExceeded => ("login_rate", Later(300)),
        TokenRow::NotAdminApproved => ("app_not_approved_for_user", Refused),
        TokenRow::ServerError | TokenRow::UnknownError => ("transient", Twice),
        TokenRow::UserHasNotApproved => ("user_not_approved", Refused),
        TokenRow::AuthenticationFailure
        | TokenRow::HttpsRequired
        | TokenRow::InvalidScope
        | TokenRow::InvalidToken
        | TokenRow::MissingAssertion
        | TokenRow::MissingGrantType
        | TokenRow::MissingToken
        | TokenRow::MustUsePost
        | TokenRow::RepeatedParameter
        | TokenRow::ScopeParameterNotSupported
        | TokenRow::UnsupportedGrantType => ("unknown", Refused),
    }
}

/// In every body that is made here, and in no answer of ours.
const WORDS: &str = "WRITTEN-BY-SALESFORCE";

/// What is not JSON, or not 400.
fn other_answers() -> Vec<(&'static str, FaultAnswer, &'static str, Told)> {
    use Told::{Later, Refused, Twice};
    let told = r#"{"error":"WRITTEN-BY-SALESFORCE","error_description":"WRITTEN-BY-SALESFORCE"}"#;
    let page = "<html>WRITTEN-BY-SALESFORCE</html>";
    let moved = [("location", "https://elsewhere.my.salesforce.com/WRITTEN-BY-SALESFORCE")];
    vec![
        ("200, a maintenance page", FaultAnswer::Maintenance { status: 200 }, "malformed_answer", Later(1)),
        ("503, a maintenance page", FaultAnswer::Maintenance { status: 503 }, "transient", Twice),
        ("503, nothing else", raw(503, &[], ""), "transient", Twice),
        ("503, a REST error", FaultAnswer::Row { row: Row::Rest(RestRow::ServerUnavailable) }, "transient", Twice),
        ("500, a page", raw(500, &[], page), "transient", Twice),
        ("502, an unknown `error`", raw(502, &[], told), "transient", Twice),
        ("503, `Retry-After: 20`", raw(503, &[("retry-after", "20")], page), "transient", Later(20)),
        ("429, nothing else", raw(429, &[], page), "transient", Later(1)),
        ("429, `Retry-After: 60`", raw(429, &[("retry-after", "60")], told), "transient", Later(60)),
        ("301 to another host", raw(301, &moved, page), "malformed_answer", Later(1)),
        ("302 to another host", raw(302, &moved, page), "malformed_answer", Later(1)),
        ("404, a page", raw(404, &[], page), "malformed_answer", Later(1)),
        ("400, an unknown `error`", raw(400, &[], told), "unknown", Refused),
        ("401, an unknown `error`", raw(401, &[], told), "unknown", Refused),
        ("200, an `error`", raw(200, &[], told), "unknown", Refused),
        ("the connection ends", FaultAnswer::HangUp, "connect", Later(1)),
        ("a token, and the answer is lost", FaultAnswer::LoseAnswer, "connect", Later(1)),
        ("nothing", FaultAnswer::NeverAnswer, "timeout", Later(1)),
        ("2 MiB", FaultAnswer::Huge { bytes: 2 << 20 }, "malformed_answer", Later(1)),
    ]
}

fn scenarios() -> Vec<Scenario> {
    let rows = every_row().into_iter().map(|it| {
        let ((error, words), (cause, told)) = (it.texts(), judged(it));
        Scenario { sent: format!("400 `{error}`: {words}"), answer: row(it), words, cause, told }
    });
    let others = other_answers().into_iter().map(|(sent, answer, cause, told)| {
        let words = if matches!(answer, FaultAnswer::Maintenance { .. }) { "down for maintenance" } else { WORDS };
        Scenario { sent: sent.to_owned(), answer, words, cause, told }
    });
    rows.chain(others).collect()
}

/// One of them from its first request to its cure; comes back with its line of the table.
async fn play(scenario: &Scenario) -> String {
    let mut plan = Stage::plan().integration("elf-well");
    // Only who waits for nothing gets a short time, so that a slow machine does not turn the others into timeouts.
    if scenario.cause == "timeout" {
        plan = plan.salesforce_line("request_timeout = \"700ms\"");
    }
    let stage = plan.start().await;
    stage.ask_for("elf-well").await.token();
    let before = stage.posts();
    let u = || stage.posts() - before;
    let fault = Fault { username: Some(username(INTEGRATION)), ..Fault::always(Door::Token, scenario.answer.clone()) };
    stage.simulator.force(fault);

    let (sent, told) = (&scenario.sent, scenario.told);
    let get = stage.ask_in_time(INTEGRATION).await;
    refused(&get, scenario, told.error_of_get());
    let first = u();
    assert_eq!(first, told.posts(), "U of the first request: {sent}");
    operator_reads(&stage, scenario).await;

    let post = stage.post_for(INTEGRATION).await;
    refused(&post, scenario, told.error_of_post());
    for _ in 0..4 {
        refused(&stage.ask_in_time(INTEGRATION).await, scenario, told.error_of_get());
        refused(&stage.post_for(INTEGRATION).await, scenario, told.error_of_post());
    }
    stage.answers_from_memory("elf-well").await;
    let ten = u();
    assert_eq!(ten, first, "U of ten requests during the pause: {sent}");

    stage.advance(seconds(told.pause()));
    for _ in 0..3 {
        assert_eq!(stage.ask_in_time(INTEGRATION).await.refusal().0, told.status(), "{sent}");
    }
    let after = u();
    assert_eq!(after, 2 * first, "U after the pause: {sent}");
    assert_eq!(stage.told(INTEGRATION, "/last_failure/in_a_row").await, 2, "{sent}");

    stage.simulator.clear_faults();
    stage.advance(seconds(300));
    stage.ask_in_time(INTEGRATION).await.token();
    assert_eq!((u(), stage.cause().await.as_str()), (after + 1, ""), "{sent}");
    let wait = told.retry_after().map_or_else(String::new, |wait| format!(", `Retry-After: {wait}`"));
    let [get, post] =
        [told.error_of_get(), told.error_of_post()].map(|error| format!("{} `{error}`{wait}", told.status()));
    format!("| {sent} | `{}` | {get} | {post} | {first} | {ten} | {after} |", scenario.cause)
}

fn refused(reply: &Reply, scenario: &Scenario, error: &str) {
    let (told, sent) = (scenario.told, &scenario.sent);
    assert_eq!(reply.refusal(), (told.status(), error.to_owned()), "{sent}");
    assert_eq!(reply.retry_after(), told.retry_after(), "{sent}");
    // Nothing that Salesforce wrote is in what a caller reads.
    let read = format!("{:?} {}", reply.headers, reply.body);
    assert!(!read.contains(scenario.words) && !read.contains(scenario.cause), "{sent}: {read}");
}

async fn operator_reads(stage: &Stage, scenario: &Scenario) {
    let sent = &scenario.sent;
    let says = async |member: &str| stage.failure(INTEGRATION, member).await;
    assert_eq!(
        (stage.told(INTEGRATION, "/state").await, says("cause").await),
        ("failing".into(), scenario.cause.into())
    );
    assert_eq!(says("help").await, format!("docs/troubleshooting.md#{}", scenario.cause), "{sent}");
    let (sentence, remedy) = (says("sentence").await, says("remedy").await);
    assert!(sentence.split(' ').count() > 3 && remedy.len() > 10 && sentence != remedy, "{sentence}: {remedy}");
    let next = stage.told(INTEGRATION, "/last_failure/next_try_in_seconds").await;
    assert!(next.as_u64().unwrap() <= scenario.told.pause(), "{sent}: {next}");
    // The operator does read what Salesforce said.
    if matches!(scenario.answer, FaultAnswer::Row { row: Row::Token(_) }) {
        assert!(says("detail").await.contains(scenario.words), "{sent}");
    }
}

#[tokio::test]
async fn every_answer_of_salesforce_has_its_cause_its_remedy_and_a_bounded_number_of_requests() {
    let mut table = vec![
        "| Salesforce sent | cause | GET | OAuth POST | U, first request | U, ten in the pause | U, after the pause |"
            .to_owned(),
        "| --- | --- | --- | --- | --- | --- | --- |".to_owned(),
    ];
    for scenario in scenarios() {
        table.push(play(&scenario).await);
    }
    println!("{}", table.join("\n"));
}
