//! `[store]`: where Redis is, and what is told about an address that is none.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// What a file with these lines in `[store.redis]` gives.
fn store(lines: &str) -> Result<Store, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aquila.toml");
    for name in ["seal.key", "password"] {
        let secret = folder.path().join(name);
        std::fs::write(&secret, "s3cr3t\n").unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    std::fs::write(&path, format!("[store]\nseal_key_path = 'seal.key'\n[store.redis]\n{lines}\n")).unwrap();
    let loaded = match load_with(&path, &|name| (name == "PASSWORD").then(|| "s3cr3t".to_owned())) {
        Ok(loaded) => loaded,
        refused => return Err(told(refused)),
    };
    assert!(!format!("{loaded:?}").contains("s3cr"));
    Ok(loaded.config.store.unwrap())
}

#[test]
fn an_address_has_a_host_a_port_a_database_and_tls_or_not() {
    let cases = [
        ("rediss://redis.example:6380/3", "redis.example", 6380, true, 3),
        ("rediss://Redis.Example", "redis.example", 6379, true, 0),
        ("rediss://10.0.0.7/", "10.0.0.7", 6379, true, 0),
        ("rediss://[fd00::7]:443/1", "fd00::7", 443, true, 1),
        ("redis://localhost", "localhost", 6379, false, 0),
        ("redis://127.0.0.1:1", "127.0.0.1", 1, false, 0),
    ];
    for (url, host, port, tls, database) in cases {
        let store = store(&format!("url = '{url}'")).unwrap();
        assert_eq!(store.redis.addresses, [Address { host: host.to_owned(), port, tls }], "{url}");
        assert_eq!((store.redis.database, store.redis.mode, store.max_replicas), (database, RedisMode::Single, 10));
        assert_eq!(store.redis.key_prefix, "aquila:");
    }
}

#[test]
fn what_is_no_address_is_told_without_repeating_it() {
    let cases = [
        ("http://redis.example", "does not begin with rediss://"),
        ("redis.example:6379", "does not begin with rediss://"),
        ("rediss://", "this is not one"),
        ("rediss://user:hunter2@redis.example", "password_path"),
        ("rediss://:hunter2@redis.example", "password_path"),
        ("rediss://redis.example/x", "not the number of a database"),
        ("rediss://redis.example/99999", "not the number of a database"),
        ("rediss://redis.example/0?protocol=resp3", "a query or a fragment"),
        ("rediss://redis.example:70000", "this is not one"),
        ("rediss://redis example", "characters that a URL cannot have"),
        ("redis://redis.example", "loopback only"),
        ("redis://10.0.0.7", "loopback only"),
    ];
    for (url, expected) in cases {
        let told = store(&format!("url = '{url}'")).unwrap_err();
        assert!(told.contains(expected) && told.contains("store.redis.url"), "{url}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    assert!(store("url = 'redis://10.0.0.7'\nplain_tcp = true").is_ok());
}

#[test]
fn sentinels_and_a_cluster_have_rules_of_their_own() {
    let sentinels = "urls = ['rediss://a', 'rediss://b:26379']\nmode = 'sentinel'";
    let store_of = |lines: &str| store(lines).unwrap_err();
    let good = store(&format!("{sentinels}\nmaster_name = 'mymaster'\nsentinel_password_env = 'PASSWORD'")).unwrap();
    assert_eq!((good.redis.addresses.len(), good.redis.master_name.as_deref()), (2, Some("mymaster")));
    assert!(good.redis.sentinel_credentials.password.is_some() && good.redis.credentials.password.is_none());
    assert!(store("urls = ['rediss://a', 'rediss://b']\nmode = 'cluster'").is_ok());

    assert!(store_of(sentinels).contains("add `master_name`"));
    assert!(store_of("url = 'rediss://a'\nmaster_name = 'x'").contains("only Sentinels have names"));
    assert!(store_of("url = 'rediss://a'\nsentinel_username = 'x'").contains("there are no Sentinels"));
    assert!(store_of("urls = ['rediss://a', 'rediss://b']").contains("a single Redis has one address"));
    assert!(store_of("urls = ['rediss://a', 'redis://localhost']\nmode = 'cluster'").contains("some have not"));
    assert!(store_of("url = 'rediss://a/3'\nmode = 'cluster'").contains("database 0 alone"));
    assert!(store_of("urls = ['rediss://a/1', 'rediss://b/2']\nmode = 'cluster'").contains("database"));
    assert!(store_of("mode = 'primary'").contains("write single, sentinel or cluster"));
    assert!(store_of("").contains("add `url` here"));
    assert!(store_of("urls = []").contains("at least one address"));
    assert!(store_of("url = 'rediss://a'\nurls = ['rediss://b']").contains("configured twice"));
}

#[test]
fn a_user_has_a_password_and_a_prefix_has_no_braces() {
    let url = "url = 'rediss://redis.example'\n";
    let store_of = |lines: &str| store(&format!("{url}{lines}"));
    let good = store_of("username = 'aquila'\npassword_path = 'password'\nkey_prefix = 'team/aquila:'").unwrap();
    assert_eq!(good.redis.credentials.username.as_deref(), Some("aquila"));
    assert_eq!(good.redis.key_prefix, "team/aquila:");
    assert!(store_of("username = 'aquila'").unwrap_err().contains("has no password"));
    assert!(store_of("password_path = 'nothing'").unwrap_err().contains("no such file"));
    assert!(store_of("key_prefix = '{all}'").unwrap_err().contains("one slot of a Cluster"));
    assert!(store_of("key_prefix = ''").is_err());
}

#[test]
fn without_the_section_there_is_no_store_and_a_section_without_its_key_is_told() {
    assert!(load_text("toml", "").unwrap().config.store.is_none());
    let told = told(load_text("toml", "[store]\nmax_replicas = 0\n[store.redis]\nurl = 'rediss://a'\n"));
    assert!(told.contains("store.seal_key_path: this setting is missing"), "{told}");
    assert!(told.contains("store.max_replicas: expected a whole number from 1 to 1000"), "{told}");
}
