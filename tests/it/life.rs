//! Guarantee 12 beyond a single promise: introspection, sessions that are older than their mint, trust that is lost and
//! comes back, and tokens that are renewed or fetched with nobody asking.

use aquila::simulator::{Door, Fault, FaultAnswer, Switches};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::eyes::{in_time, raw, report};
use crate::support::plan::{CALLER, CLIENT_SECRET, INTEGRATION, Own, username};
use crate::support::reply::{Reply, Token};
use crate::support::stage::Stage;
use crate::support::{seconds, until};

fn u(stage: &Stage) -> u64 {
    stage.posts_of(&username(INTEGRATION))
}

async fn never_above_what_is_left(stage: &Stage, token: &Token, when: &str) {
    let left = stage.left_at_salesforce(&token.text).await;
    let told = i64::try_from(token.expires_in).unwrap();
    assert!(told <= left, "{when}: {told} s were promised and {left} s are left ({})", token.source);
}

#[tokio::test]
async fn introspection_tells_the_whole_life_and_is_asked_once_for_each_mint() {
    let stage = Stage::plan().integration("elf-well").client_secret(CLIENT_SECRET).start().await;
    stage.ask_for("elf-well").await.token();
    let token = stage.ask_in_time(INTEGRATION).await.token();
    // Two hours less the margin, and a second for the whole seconds of `Date`, and one for the way.
    assert_eq!(token.source, "introspection");
    assert!((7166..=7170).contains(&token.expires_in), "{token:?}");
    never_above_what_is_left(&stage, &token, "new").await;
    // The judge above asks by introspection, too.
    let asked = stage.simulator.counts().introspections;
    for _ in 0..20 {
        assert_eq!(stage.ask_in_time(INTEGRATION).await.token().text, token.text);
        stage.answers_from_memory("elf-well").await;
    }
    assert_eq!((u(&stage), stage.simulator.counts().introspections), (1, asked));
    // Nobody uses it: it lives to the last promised second, and no longer is promised.
    stage.advance(seconds(token.expires_in - 1));
    assert_eq!(stage.status_at_salesforce(&token.text).await, 200);
}

#[tokio::test]
async fn the_introspected_life_of_an_old_session_is_what_is_left_of_it() {
    for mint_counts_as_activity in [false, true] {
        for age in [1, 1800, 3500, 3599, 3602, 5400, 7000, 7150] {
            let switches = Switches { mint_counts_as_activity, ..Switches::default() };
            let plan = Stage::plan().integration("elf-well").client_secret(CLIENT_SECRET);
            let mut stage = plan.simulator(|settings| settings.switches = switches).start().await;
            let old = stage.token().await;
            stage.advance(seconds(age));
            stage.restart_broker().await;
            stage.ask_for("elf-well").await.token();
            let token = stage.ask_in_time(INTEGRATION).await.token();
            let when = format!("aged {age} s, mint counts: {mint_counts_as_activity}");
            assert_eq!((token.text.as_str(), token.source.as_str()), (old.text.as_str(), "introspection"), "{when}");
            never_above_what_is_left(&stage, &token, &when).await;
            // More than half of the timeout is never lost: that much a successful call leaves in every case.
            assert!(token.expires_in >= 3565, "{when}: {token:?}");
            assert_eq!(u(&stage), 2, "{when}");
            stage.answers_from_memory("elf-well").await;
            stage.stop_broker().await;
            stage.advance(seconds(token.expires_in));
            assert_eq!(stage.status_at_salesforce(&token.text).await, 200, "{when}");
        }
    }
}

#[tokio::test]
async fn a_told_life_beyond_what_a_confirmation_promises_is_confirmed_now_and_then_and_not_without_end() {
    // The configuration says less than Setup does, as it does where nobody set `session_timeout`.
    let plan = Stage::plan().client_secret(CLIENT_SECRET).session_timeout(seconds(900)).simulator(|settings| {
        settings.apps.iter_mut().for_each(|app| app.session_timeout = Some(seconds(7200)));
    });
    let stage = plan.start().await;
    let token = stage.token().await;
    assert_eq!((token.source.as_str(), stage.simulator.counts().confirms), ("introspection", 1));
    stage.advance(seconds(5500));
    for _ in 0..50 {
        never_above_what_is_left(&stage, &stage.token().await, "ageing").await;
    }
    until("it is confirmed", async || stage.simulator.counts().confirms >= 2).await;
    for _ in 0..50 {
        never_above_what_is_left(&stage, &stage.token().await, "confirmed").await;
    }
    let wish = stage.get("/token?min_ttl=3000").bearer_auth(stage.key(CALLER));
    Reply::of(wish).await.token();
    // The mint's, the renewal's, and one because the caller came back at once.
    let confirms = stage.simulator.counts().confirms;
    assert!(confirms <= 3 && u(&stage) == 1, "{confirms} confirm calls");
}

#[tokio::test]
async fn a_token_in_jwt_form_is_over_at_its_own_end_whatever_introspection_says() {
    let plan = Stage::plan().integration("elf-well").client_secret(CLIENT_SECRET).simulator(|settings| {
        settings.apps.iter_mut().for_each(|app| app.jwt_token_lifetime = Some(seconds(1800)));
    });
    let stage = plan.start().await;
    stage.ask_for("elf-well").await.token();
    let far = stage.simulator.now().as_second() + 80_000;
    stage.simulator.force(Fault::once(Door::Introspect, raw(200, &[], &format!("{{\"active\":true,\"exp\":{far}}}"))));
    let token = stage.ask_in_time(INTEGRATION).await.token();
    assert_eq!(token.source, "introspection");
    assert!((1760..=1770).contains(&token.expires_in), "{token:?}");
    never_above_what_is_left(&stage, &token, "a lie").await;
    stage.answers_from_memory("elf-well").await;
    assert_eq!(u(&stage), 1);
}

#[tokio::test]
async fn introspection_that_tells_nothing_leaves_the_next_rule() {
    let far = |seconds: i64| format!("{{\"active\":true,\"exp\":{seconds}}}");
    let answers = [
        FaultAnswer::Maintenance { status: 200 },
        FaultAnswer::Maintenance { status: 503 },
        FaultAnswer::HangUp,
        FaultAnswer::NeverAnswer,
        FaultAnswer::Huge { bytes: 2 << 20 },
        raw(200, &[], r#"{"active":false}"#),
        raw(200, &[], r#"{"active":true}"#),
        raw(200, &[], r#"{"active":"true","exp":1}"#),
        raw(302, &[("location", "https://a.my.salesforce.com")], &far(1)),
    ];
    for answer in answers {
        let plan = Stage::plan().integration("elf-well").client_secret(CLIENT_SECRET);
        let stage = plan.salesforce_line("request_timeout = \"2s\"").start().await;
        stage.ask_for("elf-well").await.token();
        stage.simulator.force(Fault::always(Door::Introspect, answer.clone()));
        let token = stage.ask_in_time(INTEGRATION).await.token();
        assert_eq!((token.source.as_str(), token.expires_in, u(&stage)), ("confirmed", 3570, 1), "{answer:?}");
        stage.answers_from_memory("elf-well").await;
    }
}

#[tokio::test]
async fn a_wrong_client_secret_is_told_to_the_operator_and_leaves_the_next_rule() {
    let secret = "SIMULATED_another_secret";
    let stage = Stage::plan().integration("elf-well").client_secret(secret).in_own_process().start().await;
    stage.ask_for("elf-well").await.token();
    let token = stage.ask_in_time(INTEGRATION).await.token();
    assert_eq!((token.source.as_str(), u(&stage)), ("confirmed", 1));
    stage.answers_from_memory("elf-well").await;
    let log = std::fs::read_to_string(stage.file("stderr.txt")).unwrap();
    let line = log.lines().find(|line| line.contains("introspection does not tell") && line.contains(INTEGRATION));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("WARN") && line.contains("client_secret_path") && line.contains("invalid_client"), "{line}");
    assert!(!log.contains(secret) && !log.contains(&token.text), "a secret is in the log");
}

/// The token's fingerprint and when it was minted, as `/status.json` tells them.
async fn minted(stage: &Stage) -> (Value, Value) {
    (stage.told(INTEGRATION, "/token/fingerprint").await, stage.told(INTEGRATION, "/token/minted_at").await)
}

#[tokio::test]
async fn a_mint_that_hands_the_running_session_back_is_noticed_and_never_promised_beyond_its_end() {
    for mint_counts_as_activity in [false, true] {
        let switches = Switches { mint_counts_as_activity, ..Switches::default() };
        // Without confirm calls a mint is the only way to a new promise.
        let plan = Stage::plan().integration("elf-well").integration_line("confirm_session = false");
        let stage = plan.simulator(|settings| settings.switches = switches).start().await;
        let first = stage.ask_in_time(INTEGRATION).await.token();
        let before = minted(&stage).await;
        stage.ask_for("elf-well").await.token();
        stage.advance(seconds(3570));
        let again = stage.ask_in_time(INTEGRATION).await.token();
        assert_eq!((&again.text, again.source.as_str(), u(&stage)), (&first.text, "estimate", 2));
        let after = minted(&stage).await;
        assert!(before.0 == after.0 && before.1 != after.1, "{before:?} {after:?}");
        never_above_what_is_left(&stage, &again, "minted again").await;
        let records = stage.simulator.counts().token_outcomes;
        assert_eq!(records.get("granted_running"), Some(&1), "{records:?}");
    }
}

async fn trust(stage: &Stage) -> (u64, bool) {
    let seconds = stage.told(INTEGRATION, "/session/promise_seconds").await.as_u64();
    (seconds.unwrap(), stage.told(INTEGRATION, "/session/cut_by_experience").await.as_bool().unwrap())
}

#[tokio::test]
async fn an_early_death_cuts_the_trust_in_sessions_and_lives_that_last_bring_it_back() {
    let stage = Stage::plan().integration("elf-well").start().await;
    let first = stage.token().await;
    stage.ask_for("elf-well").await.token();
    assert_eq!(trust(&stage).await, (3600, false));
    stage.advance(seconds(1000));
    stage.simulator.kill_sessions(Some(&username(INTEGRATION)));
    report(&stage, &first.text).await;
    let second = stage.ask_in_time(INTEGRATION).await.token();
    // It died 1000 s after its proof of life: that is how long the next one is promised for.
    assert_ne!(second.text, first.text);
    assert_eq!((second.expires_in, u(&stage), trust(&stage).await), (970, 2, (1000, true)));
    stage.answers_from_memory("elf-well").await;
    // Again and again, down to the floor and not below it.
    let mut last = second;
    for died in 3..=8 {
        stage.advance(seconds(31));
        stage.simulator.kill_sessions(Some(&username(INTEGRATION)));
        report(&stage, &last.text).await;
        last = stage.ask_in_time(INTEGRATION).await.token();
        assert_eq!((u(&stage), trust(&stage).await.1), (died, true));
    }
    assert_eq!((trust(&stage).await.0, last.expires_in), (120, 108));
    // From now on sessions live. Each renewal is a call, and costs no login.
    let (mut before, mut renewals) = (120, 0);
    while trust(&stage).await.1 {
        let left = stage.token().await.expires_in;
        stage.advance(seconds(left - 1));
        assert_eq!(stage.ask_in_time(INTEGRATION).await.token().text, last.text);
        until("it is renewed beside the answer", async || stage.token().await.expires_in > 1).await;
        let now = trust(&stage).await.0;
        // It grows by a half, once a session has lived through the whole of it.
        assert!(now >= before && now <= before * 3 / 2 + 1, "from {before} s to {now} s");
        (before, renewals) = (now, renewals + 1);
        assert!(renewals < 40, "{now} s");
    }
    assert!(renewals >= 9, "{renewals} renewals");
    assert_eq!((trust(&stage).await, u(&stage)), ((3600, false), 8));
}

#[tokio::test]
async fn without_confirm_calls_trust_comes_back_as_well() {
    for running_session_handed_back in [true, false] {
        let switches = Switches { running_session_handed_back, mint_counts_as_activity: true, ..Switches::default() };
        let plan = Stage::plan().integration_line("confirm_session = false");
        let stage = plan.simulator(|settings| settings.switches = switches).start().await;
        let first = stage.token().await;
        stage.advance(seconds(1000));
        stage.simulator.kill_sessions(None);
        report(&stage, &first.text).await;
        stage.token().await;
        assert_eq!(trust(&stage).await, (1000, true));
        // Nobody reports any more, and each token is renewed at its end.
        for _ in 0..12 {
            stage.advance(seconds(stage.token().await.expires_in));
        }
        assert_eq!(trust(&stage).await, (3600, false), "handed back: {running_session_handed_back}");
    }
}

#[tokio::test]
async fn a_token_kept_warm_is_renewed_and_replaced_with_nobody_asking() {
    let plan = Stage::plan().integration("elf-idle").own(INTEGRATION, warm());
    let stage = plan.start().await;
    stage.token().await;
    stage.ask_for("elf-idle").await.token();
    let confirms = |name: &str| stage.simulator.counts().by_user[&username(name)].confirms;
    for round in 2..=5 {
        stage.advance(seconds(3000));
        until("it is renewed", async || confirms(INTEGRATION) == round).await;
        until("it has landed", async || remaining(&stage).await > 3000).await;
    }
    // In use when it was due for the first time, then let go.
    assert!(confirms("elf-idle") <= 2);
    // The session dies: the next look finds out and mints, and whoever asks then is answered from memory.
    stage.simulator.kill_sessions(Some(&username(INTEGRATION)));
    stage.advance(seconds(3000));
    until("it is replaced", async || u(&stage) == 2).await;
    until("it has landed", async || remaining(&stage).await > 1000).await;
    stage.answers_from_memory(INTEGRATION).await;
    let token = stage.token().await;
    never_above_what_is_left(&stage, &token, "replaced").await;
    assert_eq!(stage.status_at_salesforce(&token.text).await, 200);
    // It is kept warm through an outage as well, at the pace of the pauses.
    stage.simulator.force(Fault::always(Door::Token, FaultAnswer::HangUp));
    stage.simulator.force(Fault::always(Door::Rest, FaultAnswer::HangUp));
    stage.advance(seconds(10_000));
    until("the outage is noticed", async || stage.cause().await == "connect").await;
    stage.simulator.clear_faults();
    stage.advance(seconds(30));
    until("it is there again", async || remaining(&stage).await > 1000).await;
    assert!(u(&stage) <= 2 + 2 + 1, "U = {}", u(&stage));
}

#[tokio::test]
async fn a_token_fetched_at_the_start_and_kept_warm_needs_no_caller_at_all() {
    let lines = vec!["prefetch = true".to_owned(), "keep_warm = true".to_owned()];
    let stage = Stage::plan().integration("elf-well").own(INTEGRATION, Own { lines, ..Own::default() }).start().await;
    stage.ask_for("elf-well").await.token();
    let confirms = || stage.simulator.counts().by_user.get(&username(INTEGRATION)).map_or(0, |user| user.confirms);
    for round in 1..=4 {
        until("it is there", async || confirms() == round && remaining(&stage).await > 3000).await;
        stage.advance(seconds(3000));
    }
    // A whole day off: the session is over, and the next look finds nothing to confirm.
    until("it is there", async || confirms() == 5 && remaining(&stage).await > 3000).await;
    stage.advance(seconds(86_400));
    until("it is fetched again", async || u(&stage) == 2 && remaining(&stage).await > 3000).await;
    stage.answers_from_memory(INTEGRATION).await;
    assert_eq!(u(&stage), 2);
}

fn warm() -> Own {
    Own { lines: vec!["keep_warm = true".to_owned()], ..Own::default() }
}

async fn remaining(stage: &Stage) -> u64 {
    stage.told(INTEGRATION, "/token/remaining_seconds").await.as_u64().unwrap_or_default()
}

#[tokio::test]
async fn tokens_are_fetched_at_the_start_eight_at_a_time_and_nobody_is_held_up() {
    let names: Vec<String> = (0..20).map(|number| format!("elf-{number:02}")).collect();
    let own = |line: &str, direct| Own { lines: vec![line.to_owned()], direct, ..Own::default() };
    let plan = Stage::plan().relayed().salesforce_line("request_timeout = \"8s\"");
    let mut plan = plan.own("elf-well", own("prefetch = false", true));
    for name in &names {
        plan = plan.own(name, own("prefetch = true", false));
    }
    let mut stage = plan.start().await;
    until("all are fetched", async || stage.simulator.counts().confirms == 20).await;
    stage.stop_broker().await;
    let before = stage.relay().assertions().len();
    assert_eq!(before, 20);

    // The same start with a Salesforce that does not answer yet.
    stage.relay().close();
    stage.start_broker().await;
    let under_way = || stage.relay().assertions().len() - before;
    until("eight are on their way", async || under_way() == 8).await;
    let ready = in_time(Reply::of(stage.http.get(format!("http://{}/readyz", stage.broker().ops)))).await;
    assert_eq!(ready.status, 200);
    stage.ask_in_time("elf-well").await.token();
    stage.answers_from_memory_so_often("elf-well", 25).await;
    assert_eq!(under_way(), 8, "more than eight at once");
    // Callers of those that wait for their turn do not queue behind them: one login each, whoever comes first.
    let mut callers = JoinSet::new();
    for name in &names {
        let request = stage.get(&format!("/token/{name}")).bearer_auth(stage.key(CALLER));
        callers.spawn(in_time(Reply::of(request)));
    }
    until("all are on their way", async || under_way() == 20).await;
    stage.relay().open();
    assert!(callers.join_all().await.iter().all(|reply| reply.status == 200));
    assert_eq!(under_way(), 20);
    for name in &names {
        stage.answers_from_memory(name).await;
    }
}
