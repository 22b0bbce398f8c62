//! The lease and what is written by it: interleavings of two replicas, forced.

use std::time::Duration;

use aquila::store::{Acquired, Away, Lease, Place, Put};

use crate::support::{Pki, Redis, Replica, plain, text, tls, until};

const KEEP: Duration = Duration::from_secs(60);

fn place() -> Place {
    Place::new("elf-prod", [7; 32])
}

async fn acquire(replica: &Replica) -> Lease {
    match acquired(replica).await {
        Acquired::Lease(lease) => lease,
        other => panic!("{other:?}"),
    }
}

async fn acquired(replica: &Replica) -> Acquired {
    let seen = replica.store.look(&place()).await.unwrap();
    replica.store.acquire(&place(), &seen).await.unwrap()
}

async fn token(replica: &Replica) -> Option<String> {
    let seen = replica.store.look(&place()).await.unwrap();
    seen.token.map(|entry| String::from_utf8(entry.content.to_vec()).unwrap())
}

/// What Redis calls a part of the place.
fn name(what: &str) -> String {
    format!("aquila:{{{}}}:{what}", place().tag().as_str())
}

#[tokio::test]
async fn over_tls_with_the_acl_rule_of_the_docs_one_writes_what_another_reads() {
    let pki = Pki::new();
    let redis = Redis::tls(&pki).await;
    let settings = tls(&redis, &pki);
    let (one, other) = (Replica::shared(&settings).await, Replica::shared(&settings).await);

    let lease = acquire(&one).await;
    assert!(lease.hold().may_post());
    assert!(matches!(acquired(&other).await, Acquired::Held { left } if left <= Duration::from_secs(3)));
    assert_eq!(lease.put_token(b"canary-token", KEEP).await, Ok(Put::Kept));
    lease.release().await;
    assert_eq!(token(&other).await.as_deref(), Some("canary-token"));
    let seen = other.store.look(&place()).await.unwrap();
    assert_eq!((seen.lease, seen.failure.is_none(), seen.dropped.is_none()), (None, true, true));

    let kept = redis.ask_tls(&pki, &["HGETALL", &name("token")]).await;
    assert!(!text(&kept).contains("canary"), "a reader of Redis learns the token");
    let left = text(&redis.ask_tls(&pki, &["PTTL", &name("token")]).await).parse::<u64>().unwrap();
    assert!(left <= 60_000, "{left}");
}

#[tokio::test]
async fn of_two_who_ask_at_once_one_has_the_lease() {
    let redis = Redis::plain(&[]).await;
    let (one, other) = (Replica::shared(&plain(&redis)).await, Replica::shared(&plain(&redis)).await);
    for round in 0..50 {
        let place = Place::new(&format!("elf-{round}"), [7; 32]);
        let (seen, also_seen) = (one.store.look(&place).await.unwrap(), other.store.look(&place).await.unwrap());
        let both = tokio::join!(one.store.acquire(&place, &seen), other.store.acquire(&place, &also_seen));
        let leases = [both.0.unwrap(), both.1.unwrap()];
        let held = leases.iter().filter(|acquired| matches!(acquired, Acquired::Lease(_))).count();
        assert_eq!(held, 1, "{leases:?}");
    }
}

#[tokio::test]
async fn who_was_overtaken_writes_nothing_and_asks_nobody() {
    let redis = Redis::plain(&[]).await;
    let (slow, fast) = (Replica::shared(&plain(&redis)).await, Replica::shared(&plain(&redis)).await);
    let old = acquire(&slow).await;
    // It ran out while its holder was stopped.
    redis.ask(&["DEL", &name("lease")]).await;
    let new = acquire(&fast).await;
    assert!(new.fence() > old.fence());

    assert_eq!(old.put_token(b"old", KEEP).await, Ok(Put::Overtaken));
    assert_eq!(old.drop_token(b"old", KEEP).await, Ok(Put::Overtaken));
    assert_eq!(old.put_failure(b"old", KEEP).await, Ok(Put::Overtaken));
    assert!(!old.hold().may_post());
    assert_eq!(token(&fast).await, None);
    assert_eq!(new.put_token(b"new", KEEP).await, Ok(Put::Kept));
    assert_eq!(old.put_token(b"old", KEEP).await, Ok(Put::Overtaken));
    assert_eq!(token(&slow).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_holder_notices_by_itself_that_another_has_its_lease() {
    let redis = Redis::plain(&[]).await;
    let (slow, fast) = (Replica::shared(&plain(&redis)).await, Replica::shared(&plain(&redis)).await);
    let old = acquire(&slow).await;
    redis.ask(&["DEL", &name("lease")]).await;
    let new = acquire(&fast).await;
    until("the old holder has noticed", async || !old.hold().may_post()).await;
    assert!(!old.hold().is_orphan() && new.hold().may_post());
}

#[tokio::test]
async fn who_gives_a_lease_back_takes_none_from_another() {
    let redis = Redis::plain(&[]).await;
    let (slow, fast) = (Replica::shared(&plain(&redis)).await, Replica::shared(&plain(&redis)).await);
    let old = acquire(&slow).await;
    redis.ask(&["DEL", &name("lease")]).await;
    let new = acquire(&fast).await;
    let owner = text(&redis.ask(&["GET", &name("lease")]).await);
    old.release().await;
    assert_eq!(text(&redis.ask(&["GET", &name("lease")]).await), owner);
    new.release().await;
    assert_eq!(text(&redis.ask(&["EXISTS", &name("lease")]).await), "0");
}

#[tokio::test]
async fn a_holder_that_lives_keeps_its_lease_beyond_its_length() {
    let redis = Redis::plain(&[]).await;
    let replica = Replica::shared(&plain(&redis)).await;
    let lease = acquire(&replica).await;
    let name = name("lease");
    // Without an end: only a beat gives it one again.
    redis.ask(&["PERSIST", &name]).await;
    let left = async || text(&redis.ask(&["PTTL", &name]).await).parse::<i64>().unwrap();
    until("a beat has given it its length again", async || left().await > 0).await;
    assert!(lease.hold().may_post());
    drop(lease);
    // Nobody beats any more: what is left only shrinks.
    redis.ask(&["PEXPIRE", &name, "100"]).await;
    until("it has run out", async || left().await < 0).await;
}

#[tokio::test]
async fn after_a_flush_the_lease_is_lost_nothing_is_written_by_it_and_fences_still_rise() {
    let redis = Redis::plain(&[]).await;
    let (one, other) = (Replica::shared(&plain(&redis)).await, Replica::shared(&plain(&redis)).await);
    let before = acquire(&one).await;
    redis.ask(&["FLUSHALL"]).await;
    // Nobody was given the right since, and still: a token that was dropped meanwhile would stand here again.
    assert_eq!(before.put_token(b"one", KEEP).await, Ok(Put::Overtaken));
    let noticed = acquire(&other).await;
    redis.ask(&["FLUSHALL"]).await;
    until("the holder has noticed", async || !noticed.hold().may_post()).await;
    assert!(!noticed.hold().is_orphan());
    let after = acquire(&one).await;
    assert!(after.fence() > noticed.fence() && noticed.fence() > before.fence());
    assert_eq!(after.put_token(b"new", KEEP).await, Ok(Put::Kept));
}

#[tokio::test]
async fn a_token_that_was_dropped_does_not_come_back_when_the_mark_of_it_is_gone() {
    let redis = Redis::plain(&[]).await;
    let (slow, fast) = (Replica::shared(&plain(&redis)).await, Replica::shared(&plain(&redis)).await);
    let old = acquire(&slow).await;
    redis.ask(&["DEL", &name("lease")]).await;
    let new = acquire(&fast).await;
    assert_eq!(new.drop_token(b"fingerprint", KEEP).await, Ok(Put::Kept));
    new.release().await;
    redis.ask(&["DEL", &name("token")]).await;
    assert_eq!(old.put_token(b"old", KEEP).await, Ok(Put::Overtaken));
    assert_eq!(token(&fast).await, None);
}

#[tokio::test]
async fn a_refusal_that_came_since_the_look_is_met_before_anybody_asks_again() {
    let redis = Redis::plain(&[]).await;
    let (one, other) = (Replica::shared(&plain(&redis)).await, Replica::shared(&plain(&redis)).await);
    let before = other.store.look(&place()).await.unwrap();
    let lease = acquire(&one).await;
    let during = other.store.look(&place()).await.unwrap();
    assert_eq!(lease.put_failure(b"invalid_grant", KEEP).await, Ok(Put::Kept));
    lease.release().await;
    assert!(matches!(other.store.acquire(&place(), &before).await, Ok(Acquired::Moved)));
    assert!(matches!(other.store.acquire(&place(), &during).await, Ok(Acquired::Held { .. })));
    assert!(other.store.look(&place()).await.unwrap().failure.is_some());
}

#[tokio::test]
async fn a_lease_is_above_what_its_holder_saw_before_redis_forgot_it_and_its_clock_was_set_back() {
    let redis = Redis::plain(&[]).await;
    let replica = Replica::shared(&plain(&redis)).await;
    let mut seen = replica.store.look(&place()).await.unwrap();
    // What a Redis gave out whose clock was an hour ahead.
    let before = seen.at.micros() + 3_600_000_000;
    seen.rise_above(before);
    let Ok(Acquired::Lease(lease)) = replica.store.acquire(&place(), &seen).await else { panic!("no lease") };
    assert_eq!(lease.fence().number(), before + 1);
}

#[tokio::test]
async fn the_lease_is_refused_when_the_token_moved_since_the_look() {
    let redis = Redis::plain(&[]).await;
    let (one, other) = (Replica::shared(&plain(&redis)).await, Replica::shared(&plain(&redis)).await);
    let stale = other.store.look(&place()).await.unwrap();
    let lease = acquire(&one).await;
    lease.put_token(b"new", KEEP).await.unwrap();
    lease.release().await;
    assert!(matches!(other.store.acquire(&place(), &stale).await, Ok(Acquired::Moved)));
    assert!(matches!(acquired(&other).await, Acquired::Lease(_)));
}

#[tokio::test]
async fn a_token_takes_the_failure_away_and_a_dropped_one_stands_in_its_place() {
    let redis = Redis::plain(&[]).await;
    let replica = Replica::shared(&plain(&redis)).await;
    let lease = acquire(&replica).await;
    lease.put_failure(b"invalid_grant", KEEP).await.unwrap();
    let seen = replica.store.look(&place()).await.unwrap();
    assert_eq!(seen.failure.unwrap().content.as_slice(), b"invalid_grant");
    lease.put_token(b"token", KEEP).await.unwrap();
    let seen = replica.store.look(&place()).await.unwrap();
    assert!(seen.failure.is_none() && seen.token.is_some());
    lease.drop_token(b"fingerprint", KEEP).await.unwrap();
    let seen = replica.store.look(&place()).await.unwrap();
    assert!(seen.token.is_none());
    assert_eq!(seen.dropped.unwrap().content.as_slice(), b"fingerprint");
    lease.put_failure(b"invalid_grant", KEEP).await.unwrap();
    replica.store.forgive(&place()).await.unwrap();
    assert!(replica.store.look(&place()).await.unwrap().failure.is_none());
}

#[tokio::test]
async fn what_anybody_else_wrote_under_our_names_gives_way() {
    let redis = Redis::plain(&[]).await;
    let replica = Replica::shared(&plain(&redis)).await;
    for what in ["token", "lease", "fence", "failure"] {
        redis.ask(&["DEL", &name(what)]).await;
        redis.ask(&["RPUSH", &name(what), "list"]).await;
    }
    assert!(replica.store.look(&place()).await.unwrap().token.is_none());
    let lease = acquire(&replica).await;
    assert_eq!(lease.put_token(b"token", KEEP).await, Ok(Put::Kept));
    lease.release().await;
    for fence in ["nan", "inf", "-1", "9e99", "9007199254740999", "x"] {
        redis.ask(&["HSET", &name("token"), "f", fence]).await;
        redis.ask(&["SET", &name("fence"), fence]).await;
        assert!(token(&replica).await.is_none(), "{fence}");
        let lease = acquire(&replica).await;
        assert_eq!(lease.put_token(b"token", KEEP).await, Ok(Put::Kept), "{fence}");
        lease.release().await;
    }
}

#[tokio::test]
async fn without_the_store_every_question_is_answered_at_once() {
    let replica = Replica::begin("url = \"redis://127.0.0.1:1/0\"");
    assert_eq!(replica.is_alone().await, "unreachable");
    for _ in 0..1000 {
        assert_eq!(replica.store.look(&place()).await.err(), Some(Away));
    }
    assert!(replica.metrics().contains("aquila_store_operations_total{operation=\"look\",outcome=\"away\"} 1000"));
    assert!(replica.metrics().contains("aquila_store_up 0"));
}

#[tokio::test]
async fn a_lease_of_one_whose_store_dies_is_an_orphan() {
    let mut redis = Redis::plain(&[]).await;
    let replica = Replica::shared(&plain(&redis)).await;
    let lease = acquire(&replica).await;
    redis.kill();
    until("it is an orphan", async || lease.hold().is_orphan()).await;
    assert!(lease.hold().may_post());
    assert_eq!(lease.put_token(b"token", KEEP).await, Err(Away));
}

#[tokio::test]
async fn a_lease_that_lasts_longer_than_leases_do_is_nobodys() {
    let redis = Redis::plain(&[]).await;
    let replica = Replica::shared(&plain(&redis)).await;
    // The clock of Redis was set back by an hour under a holder that died, or somebody planted it.
    redis.ask(&["SET", &name("lease"), "dead", "PX", "3603000"]).await;
    assert!(replica.store.look(&place()).await.unwrap().lease.is_none());
    let lease = acquire(&replica).await;
    assert_eq!(lease.put_token(b"token", KEEP).await, Ok(Put::Kept));
}

#[tokio::test]
async fn a_fence_of_the_far_future_raises_nobody_elses() {
    let redis = Redis::plain(&[]).await;
    let replica = Replica::shared(&plain(&redis)).await;
    redis.ask(&["SET", &name("fence"), "9007199254739999"]).await;
    redis.ask(&["HSET", &name("token"), "k", "token", "f", "9007199254739998", "v", "x"]).await;
    let first = acquire(&replica).await;
    assert!(first.fence().number() < 4_000_000_000_000_000, "{:?}", first.fence());
    assert_eq!(first.put_token(b"token", KEEP).await, Ok(Put::Kept));
    first.release().await;
    assert!(acquire(&replica).await.fence().number() < 4_000_000_000_000_000);
}
