//! Values that cannot be read: changed in Redis bit by bit, moved, sealed with other keys.

use std::time::Duration;

use aquila::store::{Acquired, Place, Put, SealKeys, Secrets};

use crate::support::{Redis, Replica, log, plain, seal_key, settings, text};

const KEEP: Duration = Duration::from_secs(60);

fn name(place: &Place) -> String {
    format!("aquila:{{{}}}:token", place.tag().as_str())
}

async fn put(replica: &Replica, place: &Place, content: &[u8]) {
    let seen = replica.store.look(place).await.unwrap();
    let Acquired::Lease(lease) = replica.store.acquire(place, &seen).await.unwrap() else { panic!("no lease") };
    assert_eq!(lease.put_token(content, KEEP).await, Ok(Put::Kept));
    lease.release().await;
}

async fn reads(replica: &Replica, place: &Place) -> bool {
    replica.store.look(place).await.unwrap().token.is_some()
}

#[tokio::test]
async fn a_value_that_was_changed_in_any_part_counts_as_absent_and_is_told_once() {
    let redis = Redis::plain(&[]).await;
    let replica = Replica::shared(&plain(&redis)).await;
    let place = Place::new("elf-flipped", [7; 32]);
    put(&replica, &place, b"token").await;
    let key = name(&place);
    let redis::Value::BulkString(sealed) = redis.ask(&["HGET", &key, "v"]).await else { panic!("no value") };
    assert!(sealed.len() > 37);
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut write = async |bytes: &[u8]| {
        let _: () = redis::cmd("HSET").arg(&key).arg("v").arg(bytes).query_async(&mut connection).await.unwrap();
    };
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        write(&changed).await;
        assert!(!reads(&replica, &place).await, "byte {at}");
    }
    for wrong in [&b""[..], &sealed[..20], &vec![1; 64 * 1024], &vec![1; 64 * 1024 + 1]] {
        write(wrong).await;
        assert!(!reads(&replica, &place).await, "{} bytes", wrong.len());
    }
    let told = log().lines().filter(|line| line.contains("cannot be read") && line.contains("elf-flipped")).count();
    assert_eq!(told, 1);
    let metrics = replica.metrics();
    for reason in ["form", "key", "seal"] {
        assert!(metrics.contains(&format!("aquila_store_unreadable_total{{reason=\"{reason}\"}}")), "{reason}");
    }
    write(&sealed).await;
    assert!(reads(&replica, &place).await, "what was sealed is still the same");
}

#[tokio::test]
async fn a_value_opens_only_where_it_was_put_and_by_its_own_fence_and_kind() {
    let redis = Redis::plain(&[]).await;
    let replica = Replica::shared(&plain(&redis)).await;
    let place = Place::new("elf-prod", [7; 32]);
    // The same name with another digest of settings, and another name.
    let others = [Place::new("elf-prod", [8; 32]), Place::new("elf-test", [7; 32])];
    put(&replica, &place, b"token").await;
    for other in &others {
        redis.ask(&["COPY", &name(&place), &name(other), "REPLACE"]).await;
        assert!(!reads(&replica, other).await, "{other:?}");
    }
    let fence = text(&redis.ask(&["HGET", &name(&place), "f"]).await);
    let raised = (fence.parse::<u64>().unwrap() + 1).to_string();
    redis.ask(&["HSET", &name(&place), "f", &raised]).await;
    assert!(!reads(&replica, &place).await);
    redis.ask(&["HSET", &name(&place), "f", &fence]).await;
    assert!(reads(&replica, &place).await);
    for kind in ["dropped", "failure", "x", ""] {
        redis.ask(&["HSET", &name(&place), "k", kind]).await;
        let seen = replica.store.look(&place).await.unwrap();
        assert!(seen.dropped.is_none(), "{kind}");
    }
}

#[tokio::test]
async fn the_digest_is_sealed_whole_though_the_name_has_half_of_it() {
    let redis = Redis::plain(&[]).await;
    let replica = Replica::shared(&plain(&redis)).await;
    let (mut one, mut other) = ([7; 32], [7; 32]);
    (one[31], other[31]) = (1, 2);
    let (one, other) = (Place::new("elf-prod", one), Place::new("elf-prod", other));
    assert_eq!(one.tag(), other.tag());
    put(&replica, &one, b"token").await;
    assert!(reads(&replica, &one).await);
    assert!(!reads(&replica, &other).await);
}

#[tokio::test]
async fn seal_keys_are_changed_without_a_gap_by_a_reload() {
    let redis = Redis::plain(&[]).await;
    let (old, new) = (seal_key(), SealKeys::generate().unwrap().to_string());
    let place = Place::new("elf-rotated", [7; 32]);
    let (one, other) = (Replica::shared(&plain(&redis)).await, Replica::shared(&plain(&redis)).await);
    let turn = |replica: &Replica, keys: &[&str]| {
        let settings = settings(&replica.folder, &plain(&redis), &keys.join("\n"));
        replica.store.replace_secrets(Secrets::open(&settings).unwrap());
    };
    let steps: [&[&str]; 4] = [&[&old], &[&old, &new], &[&new, &old], &[&new]];
    for pair in steps.windows(2) {
        // One replica is a step ahead of the other.
        turn(&one, pair[0]);
        turn(&other, pair[1]);
        for (writer, reader) in [(&one, &other), (&other, &one)] {
            put(writer, &place, b"token").await;
            assert!(reads(reader, &place).await);
        }
    }
    // Without the step between nothing is shared, and nothing breaks.
    turn(&one, &[&old]);
    put(&one, &place, b"token").await;
    assert!(!reads(&other, &place).await);
}
