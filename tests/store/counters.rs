//! What is counted over all replicas.

use std::time::Duration;

use aquila::store::{HostGate, Patience, Room, Tag};

use crate::support::{Redis, Replica, plain, text};

const HOUR: Duration = Duration::from_secs(3600);

const PATIENCE: Patience =
    Patience { tolerated: 3, shortest: Duration::from_secs(60), longest: Duration::from_secs(120) };

#[tokio::test]
async fn logins_of_a_user_are_counted_over_all_replicas_and_never_one_too_many() {
    let redis = Redis::plain(&[]).await;
    let (one, other) = (Replica::shared(&plain(&redis)).await, Replica::shared(&plain(&redis)).await);
    let user = Tag::of_user("elf@acme.example", "https://login.example");
    for used in 0..5 {
        let replica = if used % 2 == 0 { &one } else { &other };
        assert_eq!(replica.store.count_login(&user, 5, HOUR).await, Ok(Room::Counted(4 - used)));
    }
    let Ok(Room::In(wait)) = one.store.count_login(&user, 5, HOUR).await else { panic!("a sixth") };
    assert!(wait <= HOUR && wait > HOUR - Duration::from_secs(60), "{wait:?}");
    // Renewing ahead has less room than what is needed now.
    assert!(matches!(one.store.count_login(&user, 4, HOUR).await, Ok(Room::In(_))));
    assert_eq!(one.store.count_login(&user, 6, HOUR).await, Ok(Room::Counted(0)));
    let another = Tag::of_user("crm@acme.example", "https://login.example");
    assert_eq!(one.store.count_login(&another, 5, HOUR).await, Ok(Room::Counted(4)));
}

#[tokio::test]
async fn a_login_leaves_the_span_to_the_microsecond() {
    let redis = Redis::plain(&[]).await;
    let replica = Replica::shared(&plain(&redis)).await;
    let user = Tag::of_user("elf@acme.example", "https://login.example");
    let name = format!("aquila:{{{}}}:logins", user.as_str());
    let now = async || {
        let time = text(&redis.ask(&["TIME"]).await);
        let (seconds, micros) = time.split_once(' ').unwrap();
        seconds.parse::<u64>().unwrap() * 1_000_000 + micros.parse::<u64>().unwrap()
    };
    let hour = 3_600_000_000;
    // An hour ago, and one that leaves in ten seconds.
    redis.ask(&["ZADD", &name, &(now().await - hour).to_string(), "a"]).await;
    assert_eq!(replica.store.count_login(&user, 1, HOUR).await, Ok(Room::Counted(0)));
    redis.ask(&["DEL", &name]).await;
    redis.ask(&["ZADD", &name, &(now().await - hour + 10_000_000).to_string(), "b"]).await;
    let Ok(Room::In(wait)) = replica.store.count_login(&user, 1, HOUR).await else { panic!("it counts still") };
    assert!(wait <= Duration::from_secs(10) && wait > Duration::from_secs(5), "{wait:?}");
    // The clock of Redis was set back by a day: nobody waits longer than an hour.
    redis.ask(&["DEL", &name]).await;
    redis.ask(&["ZADD", &name, &(now().await + 24 * hour).to_string(), "c"]).await;
    let Ok(Room::In(wait)) = replica.store.count_login(&user, 1, HOUR).await else { panic!("it counts as made now") };
    assert!(wait <= HOUR);
    let made = text(&redis.ask(&["ZSCORE", &name, "c"]).await).parse::<f64>().unwrap();
    assert!(made <= now().await as f64, "it counts for as long as the clock was set back");
}

#[tokio::test]
async fn one_login_too_many_is_counted_however_many_ask_at_once() {
    let redis = Redis::plain(&[]).await;
    let replicas = [Replica::shared(&plain(&redis)).await, Replica::shared(&plain(&redis)).await];
    let user = Tag::of_user("elf@acme.example", "https://login.example");
    let asked = (0..100).map(|number| replicas[number % 2].store.count_login(&user, 30, HOUR));
    let counted = futures_util::future::join_all(asked).await;
    let good = counted.iter().filter(|room| matches!(room, Ok(Room::Counted(_)))).count();
    assert_eq!(good, 30);
}

#[tokio::test]
async fn a_host_is_left_alone_by_all_when_two_replicas_failed_and_probed_by_one() {
    let redis = Redis::plain(&[]).await;
    let (one, other) = (Replica::shared(&plain(&redis)).await, Replica::shared(&plain(&redis)).await);
    let host = Tag::of_host("https://login.example");
    let enter = async |replica: &Replica| replica.store.enter_host(&host, PATIENCE).await.unwrap();
    // One that is cut off alone stops nobody, also where another one met a blip.
    for _ in 0..10 {
        assert_eq!(one.store.host_failed(&host, PATIENCE, 1.0).await, Ok(1));
    }
    assert_eq!(other.store.host_failed(&host, PATIENCE, 1.0).await, Ok(2));
    assert_eq!(enter(&other).await, HostGate::Go);
    assert_eq!(one.store.host_failed(&host, PATIENCE, 1.0).await, Ok(3));
    for replica in [&one, &other] {
        let HostGate::Wait(wait) = enter(replica).await else { panic!("it is asked") };
        assert!(wait <= Duration::from_secs(60) && wait > Duration::from_secs(30), "{wait:?}");
    }
    let name = format!("aquila:{{{}}}", host.as_str());
    redis.ask(&["HSET", &format!("{name}:circuit"), "until", "1"]).await;
    assert!(matches!(enter(&one).await, HostGate::Probe(_)));
    assert!(matches!(enter(&other).await, HostGate::Wait(wait) if wait <= Duration::from_secs(5)));
    // Longer than any pause or probe lasts: the clock was set back, or somebody planted it.
    redis.ask(&["PEXPIRE", &format!("{name}:probe"), "3600000"]).await;
    redis.ask(&["HSET", &format!("{name}:circuit"), "until", "9007199254730000"]).await;
    assert!(matches!(enter(&other).await, HostGate::Probe(_)));
    // Who was to find out was killed.
    redis.ask(&["DEL", &format!("{name}:probe")]).await;
    assert!(matches!(enter(&other).await, HostGate::Probe(_)));
    other.store.host_answered(&host).await.unwrap();
    assert_eq!((enter(&one).await, enter(&other).await), (HostGate::Go, HostGate::Go));
}

#[tokio::test]
async fn a_probe_by_which_nobody_was_asked_is_for_the_next_who_comes_unless_it_had_run_out() {
    let redis = Redis::plain(&[]).await;
    let (one, other) = (Replica::shared(&plain(&redis)).await, Replica::shared(&plain(&redis)).await);
    let host = Tag::of_host("https://login.example");
    let enter = async |replica: &Replica| replica.store.enter_host(&host, PATIENCE).await.unwrap();
    for replica in [&one, &other, &one] {
        replica.store.host_failed(&host, PATIENCE, 1.0).await.unwrap();
    }
    let name = format!("aquila:{{{}}}", host.as_str());
    redis.ask(&["HSET", &format!("{name}:circuit"), "until", "1"]).await;
    let HostGate::Probe(first) = enter(&one).await else { panic!("no probe") };
    one.store.host_not_asked(&host, first).await.unwrap();
    let HostGate::Probe(second) = enter(&one).await else { panic!("nobody has it") };
    redis.ask(&["DEL", &format!("{name}:probe")]).await;
    assert!(matches!(enter(&one).await, HostGate::Probe(_)));
    // The second one had run out: the third is not its to give back, though both are of one replica.
    one.store.host_not_asked(&host, second).await.unwrap();
    assert!(matches!(enter(&other).await, HostGate::Wait(_)));
}

#[tokio::test]
async fn the_pause_of_a_host_grows_to_its_bound() {
    let redis = Redis::plain(&[]).await;
    let (one, other) = (Replica::shared(&plain(&redis)).await, Replica::shared(&plain(&redis)).await);
    let host = Tag::of_host("https://login.example");
    let patience = Patience { tolerated: 2, shortest: Duration::from_secs(100), longest: Duration::from_secs(300) };
    one.store.host_failed(&host, patience, 1.0).await.unwrap();
    for (most, replica) in [(100, &other), (200, &one), (300, &other), (300, &one)] {
        replica.store.host_failed(&host, patience, 1.0).await.unwrap();
        let Ok(HostGate::Wait(wait)) = one.store.enter_host(&host, patience).await else { panic!("it is asked") };
        assert!(wait <= Duration::from_secs(most) && wait > Duration::from_secs(most - 60), "{wait:?} of {most}");
    }
}

#[tokio::test]
async fn what_may_be_used_once_is_used_once_by_whichever_replica() {
    let redis = Redis::plain(&[]).await;
    let (one, other) = (Replica::shared(&plain(&redis)).await, Replica::shared(&plain(&redis)).await);
    let mark = Tag::of_assertion("https://issuer.example", "0001");
    let both = tokio::join!(one.store.use_once(&mark, HOUR), other.store.use_once(&mark, HOUR));
    assert_eq!([both.0.unwrap(), both.1.unwrap()].iter().filter(|first| **first).count(), 1);
    assert_eq!(one.store.use_once(&mark, HOUR).await, Ok(false));
    let left = text(&redis.ask(&["PTTL", &format!("aquila:{{{}}}", mark.as_str())]).await);
    assert!(left.parse::<u64>().unwrap() <= 3_600_000, "{left}");
    assert_eq!(one.store.use_once(&Tag::of_assertion("https://issuer.example", "0002"), HOUR).await, Ok(true));
}
