//! Sentinels and a Cluster, with a failover and the loss of a node.

use std::time::Duration;

use aquila::store::{Acquired, Place, Put, Secrets};

use crate::ports::free_port;
use crate::support::{PASSWORD, Redis, Replica, cli, seal_key, settings, text, until};

const KEEP: Duration = Duration::from_secs(60);

async fn put(replica: &Replica, place: &Place) {
    let seen = replica.store.look(place).await.unwrap();
    let Acquired::Lease(lease) = replica.store.acquire(place, &seen).await.unwrap() else { panic!("no lease") };
    assert_eq!(lease.put_token(b"token", KEEP).await, Ok(Put::Kept));
    lease.release().await;
}

async fn reads(replica: &Replica, place: &Place) -> bool {
    replica.store.look(place).await.is_ok_and(|seen| seen.token.is_some())
}

#[tokio::test]
async fn sentinels_say_where_the_master_is_and_after_a_failover_where_it_went() {
    let master = Redis::plain(&[]).await;
    let copy = Redis::plain(&[&format!("replicaof 127.0.0.1 {}", master.port)]).await;
    let port = free_port();
    let lines = [
        format!("port {port}"),
        format!("requirepass {PASSWORD}"),
        format!("sentinel monitor the-master 127.0.0.1 {} 1", master.port),
        "sentinel down-after-milliseconds the-master 1000".to_owned(),
        "sentinel failover-timeout the-master 5000".to_owned(),
    ];
    let sentinel = Redis::start(port, &lines.each_ref().map(String::as_str), &["--sentinel"]).await;
    // The first one is not there: the next is asked.
    let settings = format!(
        "mode = \"sentinel\"\nmaster_name = \"the-master\"\nsentinel_password_path = \"password\"\n\
         urls = [\"redis://127.0.0.1:1\", \"redis://127.0.0.1:{port}\"]"
    );
    let replica = Replica::shared(&settings).await;
    let place = Place::new("elf-prod", [7; 32]);
    put(&replica, &place).await;
    until("the copy has it", async || text(&copy.ask(&["DBSIZE"]).await) != "0").await;

    let ask_sentinel = |words: &[&str]| {
        let port = sentinel.port.to_string();
        cli(&[&["--no-auth-warning", "-a", PASSWORD, "-p", &port], words].concat())
    };
    until("the Sentinel knows the copy", async || {
        ask_sentinel(&["SENTINEL", "REPLICAS", "the-master"]).contains("slave")
    })
    .await;
    // One that begins may be given up; then it is asked for again.
    until("the copy is the master", async || {
        ask_sentinel(&["SENTINEL", "FAILOVER", "the-master"]);
        copy.is("master").await
    })
    .await;
    until("the token is found there", async || reads(&replica, &place).await).await;
    until("the old master is a copy", async || master.is("slave").await).await;
    until("and is written there", async || {
        matches!(replica.store.standing(), aquila::store::Standing::Shared { .. }) && reads(&replica, &place).await
    })
    .await;
    put(&replica, &place).await;
}

#[tokio::test]
async fn a_master_that_no_sentinel_knows_is_told() {
    let port = free_port();
    let _sentinel = Redis::start(port, &[&format!("port {port}")], &["--sentinel"]).await;
    let settings = format!("mode = \"sentinel\"\nmaster_name = \"nobody\"\nurl = \"redis://127.0.0.1:{port}\"");
    assert_eq!(Replica::begin(&settings).is_alone().await, "no_master");
}

#[tokio::test]
async fn another_user_at_the_sentinels_is_taken_by_a_reload() {
    let master = Redis::plain(&[]).await;
    let port = free_port();
    let lines = [format!("port {port}"), format!("sentinel monitor the-master 127.0.0.1 {} 1", master.port)];
    let sentinel = Redis::start(port, &lines.each_ref().map(String::as_str), &["--sentinel"]).await;
    sentinel.ask(&["ACL", "SETUSER", "watcher", "on", &format!(">{PASSWORD}"), "~*", "&*", "+@all"]).await;
    let with_user = |user: &str| {
        format!(
            "mode = \"sentinel\"\nmaster_name = \"the-master\"\nsentinel_username = \"{user}\"\n\
             sentinel_password_path = \"password\"\nurl = \"redis://127.0.0.1:{port}\""
        )
    };
    let replica = Replica::begin(&with_user("nobody"));
    assert_eq!(replica.is_alone().await, "password");
    let settings = settings(&replica.folder, &with_user("watcher"), &seal_key());
    replica.store.replace_secrets(Secrets::open(&settings).unwrap());
    replica.is_shared().await;
}

async fn cluster() -> Vec<Redis> {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let (port, bus) = (free_port(), free_port());
        let lines = [
            format!("port {port}"),
            format!("cluster-port {bus}"),
            "cluster-enabled yes".to_owned(),
            "cluster-node-timeout 2000".to_owned(),
        ];
        nodes.push(Redis::start(port, &lines.each_ref().map(String::as_str), &[]).await);
    }
    let addresses = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect::<Vec<_>>();
    let addresses = addresses.iter().map(String::as_str).collect::<Vec<_>>();
    cli(&[&["--cluster", "create"], addresses.as_slice(), &["--cluster-yes"]].concat());
    for node in &nodes {
        until("the Cluster is whole", async || {
            text(&node.ask(&["CLUSTER", "INFO"]).await).contains("cluster_state:ok")
        })
        .await;
    }
    nodes
}

#[tokio::test]
async fn in_a_cluster_every_place_has_its_slot_and_a_node_that_is_lost_is_noticed() {
    let mut nodes = cluster().await;
    let settings = format!("mode = \"cluster\"\nurl = \"redis://127.0.0.1:{}\"", nodes[1].port);
    let (one, other) = (Replica::shared(&settings).await, Replica::shared(&settings).await);
    until("it reads the stream", async || !other.events.lock().unwrap().is_empty()).await;
    let places = (0..30).map(|number| Place::new(&format!("elf-{number}"), [7; 32])).collect::<Vec<_>>();
    for place in &places {
        put(&one, place).await;
        assert!(reads(&other, place).await, "{place:?}");
    }
    for node in &nodes {
        assert_ne!(text(&node.ask(&["DBSIZE"]).await), "0", "one node has everything");
    }
    until("the other heard it", async || other.events.lock().unwrap().len() > 30).await;

    nodes[2].kill();
    one.is_alone().await;
    nodes[2].restart().await;
    one.is_shared().await;
    put(&one, &places[0]).await;
}

#[tokio::test]
async fn a_node_of_a_cluster_that_is_taken_for_a_single_redis_is_told() {
    let nodes = cluster().await;
    let replica = Replica::begin(&format!("url = \"redis://127.0.0.1:{}\"", nodes[0].port));
    assert_eq!(replica.is_alone().await, "cluster");
}
