//! Replicas that share a store act as one: real services, one real Redis, and U, the requests that Salesforce sees from all
//! of them together. Then everything that can happen to the store, and how much it may cost.
//!
//! All go by the machine's clock, because the store has no other, so nothing here waits for a promise to end.

use std::time::Duration;

use aquila::simulator::{Door, Fault, TokenRow};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::eyes::row;
use crate::support::fleet::Fleet;
use crate::support::issuer::SigningKey;
use crate::support::key::Pair;
use crate::support::plan::{CALLER, INTEGRATION, Own, Plan};
use crate::support::redis::search;
use crate::support::reply::Reply;
use crate::support::stage::Stage;
use crate::support::until;

fn plan() -> Plan {
    Stage::plan()
}

fn with_integrations(plan: Plan, count: usize) -> Plan {
    (0..count).fold(plan, |plan, number| plan.integration(&format!("elf-{number}")))
}

/// So many callers ask each of these replicas, all at once; nobody is answered before all have their place.
fn crowd(fleet: &Fleet, replicas: &[usize], each: usize) -> JoinSet<Reply> {
    let mut callers = JoinSet::new();
    for replica in replicas {
        for _ in 0..each {
            callers.spawn(Reply::of(fleet.request(*replica, INTEGRATION)));
        }
    }
    callers
}

/// The one token that all of them got.
async fn one_token(crowd: JoinSet<Reply>) -> String {
    let mut tokens: Vec<String> = crowd.join_all().await.iter().map(|reply| reply.token().text).collect();
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "{} different tokens", tokens.len());
    tokens.swap_remove(0)
}

async fn refused_at(fleet: &Fleet, replica: usize) -> String {
    assert_eq!(fleet.ask(replica).await.refusal().0, 502);
    fleet.status(replica, "/integrations/0/last_failure/cause").await.as_str().unwrap_or_default().to_owned()
}

/// The user's sessions end, and somebody tells a replica.
async fn token_dies(fleet: &Fleet, token: &str, at: usize) {
    fleet.stage.simulator.kill_sessions(None);
    let request = fleet.post(at, "/revoke", &format!("token={token}")).bearer_auth(fleet.stage.key(CALLER));
    assert_eq!(Reply::of(request).await.status, 200);
}

// --- one token ---------------------------------------------------------------

#[tokio::test]
async fn ten_replicas_with_hundreds_of_cold_callers_log_in_once() {
    let fleet = Fleet::of(10, plan()).await;
    fleet.stage.relay().close();
    let callers = crowd(&fleet, &fleet.all(), 30);
    until("all but one wait for the one that has the lease", async || {
        let mut waiting = 0;
        for replica in fleet.all() {
            waiting += fleet.leases(replica, "awaited").await;
        }
        // On a busy machine a flight may have come to its end and begun again.
        waiting >= 9
    })
    .await;
    fleet.stage.relay().open();
    one_token(callers).await;
    assert_eq!(fleet.posts(), 1);
    let mut brought = 0;
    for replica in fleet.all() {
        brought += fleet
            .metric(replica, &format!("aquila_mints_total{{integration=\"{INTEGRATION}\",outcome=\"success\"}}"))
            .await;
        let taken_over = format!("aquila_store_tokens_taken_over_total{{integration=\"{INTEGRATION}\"}}");
        brought += fleet.metric(replica, &taken_over).await;
    }
    assert_eq!(brought, 10, "one was minted and nine were taken over");
    assert!(search(&fleet.redis) > 500, "the dump is that of a store that was used");
}

#[tokio::test]
async fn a_replica_that_starts_while_salesforce_is_down_has_the_token_of_the_others() {
    let mut fleet = Fleet::of(1, plan()).await;
    let token = fleet.token(0).await;
    fleet.stop(0).await;
    fleet.stage.relay().answer(Box::new(|_| (503, "down".to_owned())));
    let replica = fleet.add().await;
    fleet.shares().await;
    assert_eq!((fleet.token(replica).await, fleet.posts()), (token, 1));
    let told = fleet.status(replica, "/integrations/0/token").await;
    assert_eq!(told.get("lifetime_source"), Some(&json!("confirmed")));
    let left = told.get("remaining_seconds").and_then(serde_json::Value::as_u64).unwrap();
    assert!((3500..=3600).contains(&left), "{left} of an hour");
}

#[tokio::test]
async fn a_token_that_one_replica_finds_dead_is_handed_out_by_none() {
    let fleet = Fleet::of(3, plan()).await;
    let token = fleet.token(0).await;
    for replica in [1, 2] {
        assert_eq!(fleet.token(replica).await, token);
    }
    let kept = fleet.kept(1).await;
    token_dies(&fleet, &token, 0).await;
    until("nobody keeps the dead one", async || {
        fleet.kept(1).await != kept && fleet.kept(2).await != kept && fleet.kept(0).await != kept
    })
    .await;
    until("all have the next one, although nobody asked", async || {
        let next = fleet.kept(0).await;
        !next.is_empty() && fleet.kept(1).await == next && fleet.kept(2).await == next
    })
    .await;
    let next = fleet.token(0).await;
    assert!(next != token && fleet.token(1).await == next && fleet.token(2).await == next);
    assert_eq!(fleet.posts(), 2);
}

#[tokio::test]
async fn a_report_at_one_replica_of_what_another_has_replaced_costs_nothing() {
    let fleet = Fleet::of(2, plan()).await;
    let token = fleet.token(0).await;
    assert_eq!(fleet.token(1).await, token);
    token_dies(&fleet, &token, 0).await;
    until("the other one has the next", async || !fleet.kept(1).await.is_empty() && fleet.token(1).await != token)
        .await;
    let calls = fleet.stage.simulator.counts().rest_calls;
    let request = fleet.post(1, "/revoke", &format!("token={token}")).bearer_auth(fleet.stage.key(CALLER));
    assert_eq!(Reply::of(request).await.status, 200);
    assert_eq!((fleet.posts(), fleet.stage.simulator.counts().rest_calls), (2, calls));
}

// --- one memory --------------------------------------------------------------

#[tokio::test]
async fn a_refusal_is_remembered_by_all_until_one_of_them_is_told_to_forget_it() {
    let fleet = Fleet::of(3, plan()).await;
    fleet.stage.simulator.force(Fault::always(Door::Token, row(TokenRow::UserHasNotApproved)));
    for replica in fleet.all() {
        assert_eq!((refused_at(&fleet, replica).await.as_str(), fleet.posts()), ("user_not_approved", 1));
    }
    fleet.stage.simulator.clear_faults();
    fleet.replica(0).forgive();
    until("all have a token", async || {
        for replica in fleet.all() {
            if fleet.ask(replica).await.status != 200 {
                return false;
            }
        }
        true
    })
    .await;
    assert_eq!(fleet.posts(), 2);
}

#[tokio::test]
async fn a_cure_is_for_what_has_failed_and_not_for_what_fails_later() {
    let fleet = Fleet::of(2, plan().integration("elf-before")).await;
    let before = fleet.ask_for(1, "elf-before").await.token().text;
    // By name it is the first.
    let kept = fleet.kept(1).await;
    assert!(!kept.is_empty());
    assert_eq!(fleet.ask_for(0, "elf-before").await.token().text, before);
    until("the other one hears of events", async || fleet.answered(1, "read_events").await > 0).await;
    let told = fleet.answered(0, "tell").await;
    fleet.replica(0).forgive();
    // Nobody has asked the other one for the usual token. Events are heard in order, so what comes next is heard after that.
    until("the first one has told of the cure", async || fleet.answered(0, "tell").await == told + 2).await;
    token_dies(&fleet, &before, 0).await;
    until("the other one has heard of it, and has the next token", async || {
        let next = fleet.kept(1).await;
        next != kept && !next.is_empty()
    })
    .await;
    let refused = async |replica| {
        assert_eq!(fleet.ask(replica).await.refusal().0, 502);
        fleet.status(replica, "/integrations/1/last_failure/cause").await
    };
    fleet.stage.simulator.force(Fault::always(Door::Token, row(TokenRow::IpRestricted)));
    assert_eq!(refused(1).await, json!("ip_or_hours"));
    fleet.stage.simulator.clear_faults();
    let (looks, posts) = (fleet.answered(1, "look").await, fleet.posts());
    fleet.stage.simulator.force(Fault::always(Door::Token, row(TokenRow::UserHasNotApproved)));
    assert_eq!(refused(0).await, json!("user_not_approved"));
    until("the other one has looked what was refused", async || fleet.answered(1, "look").await > looks).await;
    assert_eq!(refused(1).await, json!("ip_or_hours"), "its own pause of 5 s is not over");
    assert_eq!(fleet.posts(), posts + 1);
}

#[tokio::test]
async fn a_refusal_outlives_a_store_that_is_emptied() {
    let fleet = Fleet::of(2, plan()).await;
    fleet.stage.simulator.force(Fault::always(Door::Token, row(TokenRow::UserHasNotApproved)));
    refused_at(&fleet, 0).await;
    refused_at(&fleet, 1).await;
    until("the pause of 5 s is over, and one of them tries", async || {
        fleet.ask(1).await;
        fleet.posts() == 2
    })
    .await;
    fleet.redis.flush();
    let before = fleet.answered(1, "look").await;
    until("the other one has looked since", async || fleet.answered(1, "look").await > before).await;
    assert_eq!((refused_at(&fleet, 1).await.as_str(), fleet.posts()), ("user_not_approved", 2));
    // And the next in a row waits longer still.
    until("the pause of 10 s is over, and one of them tries", async || {
        fleet.ask(1).await;
        fleet.posts() == 3
    })
    .await;
    let wait = fleet.status(1, "/integrations/0/last_failure/next_try_in_seconds").await.as_u64().unwrap();
    assert!((15..=20).contains(&wait), "{wait} s");
}

#[tokio::test]
async fn a_token_that_came_while_the_store_was_away_takes_the_place_of_a_refusal() {
    let fleet = Fleet::of(2, plan()).await;
    fleet.stage.simulator.force(Fault::always(Door::Token, row(TokenRow::UserHasNotApproved)));
    refused_at(&fleet, 0).await;
    refused_at(&fleet, 1).await;
    fleet.redis.freeze();
    fleet.stands("alone").await;
    fleet.stage.simulator.clear_faults();
    fleet.replica(0).forgive();
    until("it has a token of its own", async || fleet.ask(0).await.status == 200).await;
    assert_eq!(fleet.posts(), 2);
    fleet.redis.thaw();
    until("the other one has it", async || fleet.ask(1).await.status == 200).await;
    assert!(fleet.posts() <= 3);
}

#[tokio::test]
async fn the_next_refusal_pauses_longer_whoever_met_the_first() {
    let fleet = Fleet::of(2, plan()).await;
    fleet.stage.simulator.force(Fault::always(Door::Token, row(TokenRow::UserHasNotApproved)));
    refused_at(&fleet, 0).await;
    until("the pause of 5 s is over, and the other one tries", async || {
        fleet.ask(1).await;
        fleet.posts() == 2
    })
    .await;
    // Its own pause began when its own refusal had come: that is over a moment later.
    until("the first one is told of the second refusal", async || {
        refused_at(&fleet, 0).await;
        fleet.status(0, "/integrations/0/last_failure/in_a_row").await == 2
    })
    .await;
    let wait = fleet.status(0, "/integrations/0/last_failure/next_try_in_seconds").await.as_u64().unwrap();
    assert!((6..=10).contains(&wait) && fleet.posts() == 2, "{wait} s, {} requests", fleet.posts());
}

#[tokio::test]
async fn the_budget_of_a_user_is_one_for_all_replicas() {
    let plan = with_integrations(plan().integration_line("login_budget_per_hour = 5").one_user(), 9);
    let fleet = Fleet::of(3, plan).await;
    let mut statuses = Vec::new();
    for number in 0..9 {
        statuses.push(fleet.ask_for(number % 3, &format!("elf-{number}")).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 503, 503, 503, 503]);
    assert_eq!(fleet.posts(), 5);
    for replica in fleet.all() {
        let left = fleet.status(replica, "/integrations/0/login_budget/remaining").await;
        assert_eq!(left, json!(0), "at replica {replica}");
    }
}

#[tokio::test]
async fn what_a_caller_signed_counts_once_at_all_replicas_together() {
    let key = SigningKey::new("any");
    let plan = plan()
        .server_line("public_url = \"https://aquila.example\"")
        .file("caller.pem", key.public_pem())
        .caller_line(CALLER, "public_keys = [{ path = \"caller.pem\", algorithm = \"ES256\" }]")
        .caller_line(CALLER, "jwt_bearer_grant = true");
    let fleet = Fleet::of(2, plan).await;
    let now = fleet.stage.clock.timestamp().as_second();
    let proof = |jti: &str, sub: &str| {
        key.sign(&json!({"iss": CALLER, "sub": sub, "aud": "https://aquila.example", "exp": now + 60, "jti": jti}))
    };
    let authenticate = async |replica, assertion: &str| {
        let form = format!(
            "grant_type=client_credentials&client_assertion_type=\
             urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={assertion}"
        );
        Reply::of(fleet.post(replica, "/token", &form)).await.status
    };
    let one = proof("one", CALLER);
    assert_eq!((authenticate(0, &one).await, authenticate(1, &one).await), (200, 401));
    assert_eq!(authenticate(1, &proof("two", CALLER)).await, 200);
    let grant = async |replica, assertion: &str| {
        let form = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        Reply::of(fleet.post(replica, "/services/oauth2/token", &form)).await.status
    };
    let request = proof("three", INTEGRATION);
    assert_eq!((grant(1, &request).await, grant(0, &request).await), (200, 400));
}

#[tokio::test]
async fn a_token_host_of_many_integrations_is_forgiven_once() {
    let fleet = Fleet::of(1, with_integrations(plan(), 99)).await;
    fleet.replica(0).forgive();
    until("each integration is forgiven", async || fleet.answered(0, "forgive").await == 100).await;
    assert_eq!(fleet.answered(0, "host_answered").await, 1);
}

#[tokio::test]
async fn the_end_does_not_wait_until_everything_is_forgiven() {
    const ALL: usize = 640;
    let mut fleet = Fleet::of(1, with_integrations(plan(), ALL - 1)).await;
    let (near, afar) = (fleet.redis.url(), fleet.redis.seen_from_afar(Duration::from_millis(50)));
    let far = fleet.add_with(|file| file.replace(&near, &afar.url())).await;
    fleet.shares().await;
    fleet.replica(far).forgive();
    until("it has begun to tell the others", async || fleet.redis.events() > 0).await;
    fleet.stop(far).await;
    let told = fleet.redis.events();
    assert!(told < ALL, "it told of all {told} before it ended");
}

// --- apart -------------------------------------------------------------------

#[tokio::test]
async fn replicas_of_two_generations_never_answer_each_others_tokens() {
    let mut fleet = Fleet::of(1, plan()).await;
    fleet.token(0).await;
    let other = fleet.add_with(|file| file.replace("session_timeout = \"7200s\"", "session_timeout = \"3600s\"")).await;
    fleet.shares().await;
    fleet.token(other).await;
    assert_eq!(fleet.posts(), 2);
    assert_eq!(fleet.leases(other, "awaited").await, 0);
}

#[tokio::test]
async fn a_replica_whose_key_nobody_knows_gets_no_token_of_the_others() {
    let mut fleet = Fleet::of(1, plan().file("other.pem", &Pair::next().private_key)).await;
    fleet.token(0).await;
    let other = fleet.add_with(|file| file.replace("\"key.pem\"", "\"other.pem\"")).await;
    fleet.shares().await;
    assert_eq!(refused_at(&fleet, other).await, "bad_assertion");
    assert_eq!(fleet.posts(), 2);
    // Its refusal is none for those with the right key.
    fleet.stage.simulator.kill_sessions(None);
    let next = fleet.add().await;
    fleet.token(next).await;
}

// --- trouble with the store --------------------------------------------------

#[tokio::test]
async fn without_its_store_each_replica_logs_in_once_and_nobody_sees_an_error() {
    let mut fleet = Fleet::of(3, plan()).await;
    fleet.redis.kill();
    fleet.stands("alone").await;
    for replica in fleet.all() {
        for _ in 0..3 {
            fleet.token(replica).await;
        }
    }
    assert_eq!(fleet.posts(), 3);
    assert_eq!(fleet.status(0, "/store/mode").await, json!("single"));
    // It comes back by itself, and who comes anew finds what the others have.
    fleet.redis.start_again().await;
    fleet.shares().await;
    until("somebody has put its token", async || !fleet.redis.names(":token").is_empty()).await;
    let another = fleet.add().await;
    fleet.shares().await;
    fleet.token(another).await;
    assert_eq!(fleet.posts(), 3);
}

#[tokio::test]
async fn a_store_that_dies_in_the_middle_of_a_login_costs_one_login_each_and_no_error() {
    let mut fleet = Fleet::of(3, plan()).await;
    fleet.stage.relay().close();
    let callers = crowd(&fleet, &fleet.all(), 20);
    until("one logs in", async || fleet.posts() == 1).await;
    fleet.redis.kill();
    until("the others no longer wait for it", async || fleet.posts() == 3).await;
    fleet.stage.relay().open();
    callers.join_all().await.iter().for_each(|reply| assert_eq!(reply.status, 200, "{}", reply.body));
    assert_eq!(fleet.posts(), 3);
}

#[tokio::test]
async fn a_store_that_stands_still_costs_one_login_each_and_no_error() {
    let fleet = Fleet::of(3, plan()).await;
    fleet.stage.relay().close();
    let callers = crowd(&fleet, &fleet.all(), 20);
    until("one logs in", async || fleet.posts() == 1).await;
    fleet.redis.freeze();
    until("the others no longer wait for it", async || fleet.posts() == 3).await;
    fleet.stage.relay().open();
    callers.join_all().await.iter().for_each(|reply| assert_eq!(reply.status, 200, "{}", reply.body));
    assert_eq!(fleet.posts(), 3);
    fleet.redis.thaw();
    fleet.shares().await;
    until("they hand out one token again", async || {
        let kept = fleet.kept(0).await;
        kept == fleet.kept(1).await && kept == fleet.kept(2).await
    })
    .await;
}

#[tokio::test]
async fn a_store_that_is_emptied_costs_nobody_with_a_token_anything() {
    let mut fleet = Fleet::of(2, plan()).await;
    let token = fleet.token(0).await;
    assert_eq!(fleet.token(1).await, token);
    fleet.redis.flush();
    until("somebody has put its token again", async || !fleet.redis.names(":token").is_empty()).await;
    let another = fleet.add().await;
    fleet.shares().await;
    for replica in fleet.all() {
        assert_eq!(fleet.token(replica).await, token, "at replica {replica}");
    }
    assert_eq!(another, 2);
    assert_eq!(fleet.posts(), 1);
}

#[tokio::test]
async fn a_store_that_is_emptied_in_the_middle_of_a_login_costs_one_more_at_the_most() {
    let fleet = Fleet::of(3, plan()).await;
    fleet.stage.relay().close();
    let callers = crowd(&fleet, &fleet.all(), 20);
    until("one logs in", async || fleet.posts() == 1).await;
    fleet.redis.flush();
    // Without a lease in sight another one begins, or the holder took it again before that.
    until("somebody has the lease again", async || !fleet.redis.names(":lease").is_empty()).await;
    fleet.stage.relay().open();
    callers.join_all().await.iter().for_each(|reply| assert_eq!(reply.status, 200, "{}", reply.body));
    assert!(fleet.posts() <= 2, "{} logins", fleet.posts());
}

#[tokio::test]
async fn a_holder_that_was_overtaken_takes_the_newer_token_and_overwrites_nothing() {
    let fleet = Fleet::of(2, plan()).await;
    fleet.stage.relay().close();
    let slow = crowd(&fleet, &[0], 1);
    until("the first one logs in", async || fleet.posts() == 1).await;
    let fast = crowd(&fleet, &[1], 1);
    until("the second one waits for it", async || fleet.leases(1, "awaited").await == 1).await;
    assert!(fleet.redis.take_lease());
    // Whoever is first takes it: the second one, which logs in, or the first one again, which has it then.
    until("the second one has the lease, and logs in", async || {
        fleet.redis.take_lease();
        fleet.posts() == 2
    })
    .await;
    fleet.stage.relay().open();
    let (slow, fast) = (one_token(slow).await, one_token(fast).await);
    let fingerprint = fleet.kept(1).await;
    until("both hand out one token", async || fleet.kept(0).await == fingerprint).await;
    assert_eq!((fleet.posts(), slow.is_empty() || fast.is_empty()), (2, false));
    let overtaken = fleet.leases(0, "overtaken").await + fleet.leases(0, "lost").await;
    assert_eq!(overtaken, 1);
}

#[tokio::test]
async fn a_replica_that_is_ended_in_the_middle_of_a_login_lets_it_land_for_the_others() {
    let mut fleet = Fleet::of(2, plan()).await;
    fleet.stage.relay().close();
    let callers = crowd(&fleet, &[0], 1);
    until("it logs in", async || fleet.posts() == 1).await;
    drop(callers);
    let (broker, relay) = (fleet.take(0), fleet.stage.relay());
    let ready = format!("http://{}/readyz", broker.ops);
    let opens = async {
        until("it knows that it is to end", async || Reply::of(fleet.stage.http.get(&ready)).await.status == 503).await;
        relay.open();
    };
    tokio::join!(broker.stop(), opens);
    fleet.token(1).await;
    assert_eq!(fleet.posts(), 1);
    assert!(fleet.redis.names(":lease").is_empty());
}

#[tokio::test]
async fn a_host_that_fails_at_two_replicas_is_left_alone_by_a_third() {
    let fleet = Fleet::of(3, with_integrations(plan(), 5)).await;
    fleet.stage.relay().answer(Box::new(|_| (200, "a page about maintenance".to_owned())));
    for number in 0..5 {
        assert_eq!(fleet.ask_for(number % 2, &format!("elf-{number}")).await.status, 503);
    }
    until("the third one leaves it alone", async || {
        assert_eq!(fleet.ask(2).await.status, 503);
        fleet.status(2, "/integrations/5/last_failure/cause").await == json!("circuit_open")
    })
    .await;
    let is_open = async || {
        let open = fleet.status(2, "/integrations/5/circuit_open").await == json!(true);
        let series = "aquila_upstream_circuit_open{integration=\"elf-prod\"}";
        assert_eq!(fleet.metric(2, series).await == 1, open);
        open
    };
    assert!(is_open().await, "callers are told of a circuit that operators do not see");
    // By what it met itself it would not: it takes five failures in a row.
    let met = "aquila_mints_total{integration=\"elf-prod\",outcome=\"malformed_answer\"}";
    assert!(fleet.metric(2, met).await < 5);
    // SIGHUP at one of them, and the third finds the host in good health.
    fleet.stage.relay().answer_truly();
    fleet.replica(0).forgive();
    until("the third one has a token", async || fleet.ask(2).await.status == 200).await;
    assert!(!is_open().await);
}

#[tokio::test]
async fn who_has_no_login_left_keeps_nobody_from_finding_out_whether_the_host_is_back() {
    let spent = Own { lines: vec!["login_budget_per_hour = 1".to_owned()], ..Own::default() };
    let mut plan = plan().own(INTEGRATION, spent);
    for number in 0..6 {
        plan = plan.integration(&format!("elf-{number}"));
    }
    let fleet = Fleet::of(2, plan).await;
    let token = fleet.token(0).await;
    fleet.stage.relay().answer(Box::new(|_| (200, "a page about maintenance".to_owned())));
    for number in 0..5 {
        assert_eq!(fleet.ask_for(number % 2, &format!("elf-{number}")).await.status, 503);
    }
    token_dies(&fleet, &token, 0).await;
    until("it may find out, and has no login left for it", async || {
        fleet.ask(0).await;
        fleet.status(0, "/integrations/6/last_failure/cause").await == json!("login_budget")
    })
    .await;
    fleet.stage.relay().answer_truly();
    assert_eq!(fleet.ask_for(1, "elf-5").await.status, 200);
}
