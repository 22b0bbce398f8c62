//! Questions that are asked twice: the client of a Cluster asks again when a connection breaks before the answer. Redis may
//! have done what was asked by then, and nobody is to be refused by a trace of his own.

use std::time::Duration;

use aquila::store::{Acquired, HostGate, Patience, Place, Put, Room, Tag};

use crate::ports::free_port;
use crate::support::{Redis, Replica, text, until};
use crate::way::Way;

const HOUR: Duration = Duration::from_secs(3600);

/// A Cluster of one node that everybody reaches by a way on which answers can be lost, and a replica there.
struct Scene {
    way: Way,
    node: Redis,
    replica: Replica,
}

impl Scene {
    async fn begin() -> Self {
        let (port, bus) = (free_port(), free_port());
        let way = Way::to(port);
        let lines = [
            format!("port {port}"),
            format!("cluster-port {bus}"),
            "cluster-enabled yes".to_owned(),
            "cluster-announce-ip 127.0.0.1".to_owned(),
            format!("cluster-announce-port {}", way.port),
        ];
        let node = Redis::start(port, &lines.each_ref().map(String::as_str), &[]).await;
        node.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
        until("the Cluster is whole", async || {
            text(&node.ask(&["CLUSTER", "INFO"]).await).contains("cluster_state:ok")
        })
        .await;
        let settings = format!("mode = \"cluster\"\nurl = \"redis://127.0.0.1:{}\"", way.port);
        let replica = Replica::shared(&settings).await;
        Self { way, node, replica }
    }

    /// Asks, and loses the answer of a Redis that did what was asked, as `name` shows: what comes is another answer.
    async fn twice<T>(&self, question: impl Future<Output = T>, name: &str, entries: &str) -> T {
        let count = async || {
            let kind = text(&self.node.ask(&["TYPE", name]).await);
            text(&self.node.ask(&[if kind == "zset" { "ZCARD" } else { "EXISTS" }, name]).await)
        };
        self.way.hold();
        let lose = async {
            until("Redis has done it", async || count().await == entries).await;
            self.way.cut();
        };
        tokio::join!(question, lose).0
    }
}

#[tokio::test]
async fn what_is_used_for_the_first_time_is_not_refused_because_the_answer_was_lost() {
    let scene = Scene::begin().await;
    let (store, mark) = (&scene.replica.store, Tag::of_assertion("https://issuer.example", "0001"));
    let name = format!("aquila:{{{}}}", mark.as_str());
    assert_eq!(scene.twice(store.use_once(&mark, HOUR), &name, "1").await, Ok(true));
    assert_eq!(store.use_once(&mark, HOUR).await, Ok(false));
    let planted = Tag::of_assertion("https://issuer.example", "0002");
    scene.node.ask(&["RPUSH", &format!("aquila:{{{}}}", planted.as_str()), "list"]).await;
    assert_eq!(store.use_once(&planted, HOUR).await, Ok(false));
}

#[tokio::test]
async fn the_last_login_of_an_hour_is_counted_once_and_not_refused_because_the_answer_was_lost() {
    let scene = Scene::begin().await;
    let (store, user) = (&scene.replica.store, Tag::of_user("elf@acme.example", "https://login.example"));
    let name = format!("aquila:{{{}}}:logins", user.as_str());
    assert_eq!(scene.twice(store.count_login(&user, 2, HOUR), &name, "1").await, Ok(Room::Counted(1)));
    assert_eq!(scene.twice(store.count_login(&user, 2, HOUR), &name, "2").await, Ok(Room::Counted(0)));
    assert!(matches!(store.count_login(&user, 2, HOUR).await, Ok(Room::In(_))));
}

#[tokio::test]
async fn who_finds_out_whether_a_host_is_back_does_not_wait_for_himself() {
    let scene = Scene::begin().await;
    let (store, host) = (&scene.replica.store, Tag::of_host("https://login.example"));
    let name = format!("aquila:{{{}}}", host.as_str());
    scene.node.ask(&["HSET", &format!("{name}:circuit"), "n", "5", "until", "1"]).await;
    let patience = Patience { tolerated: 5, shortest: Duration::from_secs(1), longest: Duration::from_secs(30) };
    let gate = scene.twice(store.enter_host(&host, patience), &format!("{name}:probe"), "1").await;
    assert!(matches!(gate, Ok(HostGate::Probe(_))), "{gate:?}");
    assert!(matches!(store.enter_host(&host, patience).await, Ok(HostGate::Wait(_))));
}

#[tokio::test]
async fn who_was_given_a_lease_has_it_although_the_answer_was_lost() {
    let scene = Scene::begin().await;
    let (store, place) = (&scene.replica.store, Place::new("elf-prod", [7; 32]));
    let seen = store.look(&place).await.unwrap();
    let name = format!("aquila:{{{}}}:lease", place.tag().as_str());
    let acquired = scene.twice(store.acquire(&place, &seen), &name, "1").await;
    let Ok(Acquired::Lease(lease)) = acquired else { panic!("{acquired:?}") };
    assert_eq!(lease.put_token(b"token", HOUR).await, Ok(Put::Kept));
    assert!(matches!(store.acquire(&place, &seen).await, Ok(Acquired::Moved)), "it is the lease of one");
}
