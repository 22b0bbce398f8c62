//! What one replica does, the others are told.

use std::time::Duration;

use aquila::store::{Acquired, Event, Place, What};

use crate::support::{AWAY, Redis, Replica, THERE, plain, text, until};

const KEEP: Duration = Duration::from_secs(60);

fn heard(replica: &Replica, place: &Place) -> Vec<What> {
    let events = replica.events.lock().unwrap();
    let of_place = events.iter().filter_map(|event| match event {
        Event::Changed { tag, what, .. } => (tag == place.tag()).then_some(*what),
        Event::Gap => None,
    });
    of_place.collect()
}

fn gaps(replica: &Replica) -> usize {
    replica.events.lock().unwrap().iter().filter(|event| **event == Event::Gap).count()
}

async fn listening(redis: &Redis) -> Replica {
    let replica = Replica::shared(&plain(redis)).await;
    until("it reads the stream", async || gaps(&replica) > 0).await;
    replica
}

#[tokio::test]
async fn what_one_replica_writes_the_other_hears_in_order_and_not_itself() {
    let redis = Redis::plain(&[]).await;
    let (one, other) = (listening(&redis).await, listening(&redis).await);
    let place = Place::new("elf-prod", [7; 32]);
    let seen = one.store.look(&place).await.unwrap();
    let Ok(Acquired::Lease(lease)) = one.store.acquire(&place, &seen).await else { panic!("no lease") };
    lease.put_failure(b"failure", KEEP).await.unwrap();
    lease.put_token(b"token", KEEP).await.unwrap();
    lease.drop_token(b"token", KEEP).await.unwrap();
    lease.release().await;
    let all = [What::Failure, What::Token, What::Dropped, What::Released];
    until("the other has heard it", async || heard(&other, &place) == all).await;
    assert_eq!(heard(&one, &place), []);
}

#[tokio::test]
async fn who_waits_at_a_place_is_woken_by_what_happens_there() {
    let redis = Redis::plain(&[]).await;
    let (one, other) = (listening(&redis).await, listening(&redis).await);
    let place = Place::new("elf-prod", [7; 32]);
    let seen = one.store.look(&place).await.unwrap();
    let Ok(Acquired::Lease(lease)) = one.store.acquire(&place, &seen).await else { panic!("no lease") };
    let mut changes = other.store.changes();
    let begun = tokio::time::Instant::now();
    tokio::join!(changes.at(&place, Duration::from_secs(3600)), lease.release());
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn a_flush_and_a_restart_are_a_gap_and_events_come_again() {
    let mut redis = Redis::plain(&[]).await;
    let (one, other) = (listening(&redis).await, listening(&redis).await);
    let before = gaps(&other);
    redis.ask(&["FLUSHALL"]).await;
    until("the flush is noticed", async || gaps(&other) > before).await;

    let before = gaps(&other);
    redis.kill();
    one.is_alone().await;
    other.is_alone().await;
    redis.restart().await;
    one.is_shared().await;
    other.is_shared().await;
    until("the restart is noticed", async || gaps(&other) > before).await;
    let place = Place::new("elf-prod", [7; 32]);
    let seen = one.store.look(&place).await.unwrap();
    let Ok(Acquired::Lease(lease)) = one.store.acquire(&place, &seen).await else { panic!("no lease") };
    lease.release().await;
    until("events come again", async || heard(&other, &place) == [What::Released]).await;
}

/// The connections whose last command was this.
async fn connections(redis: &Redis, command: &str) -> Vec<String> {
    let all = text(&redis.ask(&["CLIENT", "LIST"]).await);
    let asked = all.lines().filter(|line| line.contains(&format!(" cmd={command} ")));
    asked.filter_map(|line| line.split(' ').next()?.strip_prefix("id=").map(str::to_owned)).collect()
}

#[tokio::test]
async fn who_could_not_look_at_what_it_heard_looks_at_everything_although_its_stream_never_broke() {
    let redis = Redis::plain(&[]).await;
    let replica = listening(&redis).await;
    until("it waits for events", async || connections(&redis, "xread").await.len() == 1).await;
    let (stream, before) = (connections(&redis, "xread").await, gaps(&replica));
    // Each of its questions is an EVAL.
    let asks = connections(&redis, "eval").await;
    assert_eq!(asks.len(), 1);
    redis.ask(&["CLIENT", "KILL", "ID", &asks[0]]).await;
    until("it was alone, and is back", async || replica.log_lines(AWAY) == 1 && replica.log_lines(THERE) == 2).await;
    until("it looks at everything", async || gaps(&replica) > before).await;
    assert_eq!(connections(&redis, "xread").await, stream, "the stream broke as well: nothing was tried");
}

#[tokio::test]
async fn a_stream_that_was_faster_than_the_reader_is_a_gap() {
    let redis = Redis::plain(&[]).await;
    let replica = listening(&redis).await;
    let before = gaps(&replica);
    // In one step, so that nobody reads in between: more than are kept.
    let flood = "for i = 1, 30000 do redis.call('XADD', KEYS[1], 'MAXLEN', '~', 1000, '*', 'k', 'x') end return 1";
    redis.ask(&["EVAL", flood, "1", "aquila:{events}"]).await;
    until("the gap is noticed", async || gaps(&replica) > before).await;
}
