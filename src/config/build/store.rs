//! `[store]`: rules that look at more than one of its settings.

use super::Workshop;
use crate::config::redis_values::{MasterName, RedisUrl, RedisUser};
use crate::config::report::Located;
use crate::config::setting::Field;
use crate::config::store::{Credentials, Redis, RedisMode, Store};
use crate::config::values::{EnvironmentName, FilePath};
use crate::config::{Roots, file, secret};

pub(super) fn store(file: file::Store, roots: Roots, shop: &mut Workshop<'_>) -> Option<Store> {
    // A secret: whoever has it can plant tokens.
    let seal_key_path = shop.key_path(file.seal_key_path);
    let redis = file.redis.value.and_then(|redis| self::redis(redis, roots, shop));
    Some(Store { seal_key_path: seal_key_path?, max_replicas: file.max_replicas.value?.0, redis: redis? })
}

fn redis(file: file::Redis, roots: Roots, shop: &mut Workshop<'_>) -> Option<Redis> {
    let mode = file.mode.value.map(|mode| mode.0);
    let is_plain_allowed = file.plain_tcp.value;
    let urls = urls(file.url, file.urls, shop);
    if let (Some(urls), Some(mode)) = (&urls, mode) {
        number_of(urls, mode, shop);
    }
    for url in urls.iter().flatten().filter(|url| !url.value.address.tls && !url.value.is_loopback) {
        if is_plain_allowed == Some(false) {
            let remedy = "write rediss://; where the network itself is protected, set plain_tcp = true";
            shop.report.error(url, "redis:// without TLS is for loopback only", remedy);
        }
    }
    let database = urls.as_deref().and_then(|urls| database(urls, mode, shop));
    let master_name = master_name(file.master_name, mode, shop);
    let credentials = login(file.username, (file.password_path, file.password_env), shop);
    let of_sentinels = [
        (file.sentinel_username.written, &file.sentinel_username.at),
        (file.sentinel_password_path.written, &file.sentinel_password_path.at),
        (file.sentinel_password_env.written, &file.sentinel_password_env.at),
    ];
    for (_, at) in
        of_sentinels.into_iter().filter(|(written, _)| *written && mode.is_some_and(|mode| mode != RedisMode::Sentinel))
    {
        shop.report.error(at, "there are no Sentinels", "remove it, or set mode = \"sentinel\"");
    }
    let sentinel_credentials =
        login(file.sentinel_username, (file.sentinel_password_path, file.sentinel_password_env), shop);
    let ca_path = shop.path(file.ca_path);
    let urls = urls?;
    if let (Some(ca_path), false) = (&ca_path, urls.iter().any(|url| url.value.address.tls)) {
        shop.report.warning(ca_path, "without TLS there is no certificate to check", "write rediss://, or remove it");
    }
    Some(Redis {
        addresses: urls.into_iter().map(|url| url.value.address).collect(),
        mode: mode?,
        database: database?,
        master_name: master_name?,
        credentials: credentials?,
        sentinel_credentials: sentinel_credentials?,
        roots,
        ca_path,
        key_prefix: file.key_prefix.value?.0,
    })
}

/// What `url` or `urls` says, at least one.
fn urls(
    one: Field<RedisUrl>,
    several: Field<Vec<Located<RedisUrl>>>,
    shop: &mut Workshop<'_>,
) -> Option<Vec<Located<RedisUrl>>> {
    match (one.written, several.written) {
        (true, true) => {
            shop.report.error(&several.at, "the address is configured twice", "keep `url` or `urls`, not both");
            None
        }
        (true, false) => Some(vec![one.located()?]),
        (false, true) => {
            let urls = several.value?;
            if urls.is_empty() {
                shop.report.error(&several.at, "this list is empty", "name at least one address");
                return None;
            }
            Some(urls)
        }
        (false, false) => {
            shop.report.error(
                &one.at,
                "this setting is missing",
                "add `url` here, or `urls` of Sentinels or of a Cluster",
            );
            None
        }
    }
}

fn number_of(urls: &[Located<RedisUrl>], mode: RedisMode, shop: &mut Workshop<'_>) {
    if let (RedisMode::Single, [_, second, ..]) = (mode, urls) {
        let remedy = "keep one, or set mode = \"sentinel\" or \"cluster\"";
        shop.report.error(second, "a single Redis has one address", remedy);
    }
    if let [first, rest @ ..] = urls {
        for other in rest.iter().filter(|other| other.value.address.tls != first.value.address.tls) {
            shop.report.error(other, "some of the addresses have TLS and some have not", "write rediss:// for all");
        }
    }
}

fn database(urls: &[Located<RedisUrl>], mode: Option<RedisMode>, shop: &mut Workshop<'_>) -> Option<u16> {
    let mut named = urls.iter().filter_map(|url| url.value.database.map(|database| (url, database)));
    let Some((first, database)) = named.next() else { return Some(0) };
    if mode == Some(RedisMode::Cluster) && database != 0 {
        shop.report.error(first, "a Cluster has database 0 alone", "remove the number");
        return None;
    }
    if let Some((other, _)) = named.find(|(_, other)| *other != database) {
        shop.report.error(other, "the addresses name several databases", "name one in all, or in the first alone");
        return None;
    }
    Some(database)
}

/// The outer option: whether there is a mistake.
fn master_name(field: Field<MasterName>, mode: Option<RedisMode>, shop: &mut Workshop<'_>) -> Option<Option<String>> {
    match (mode?, field.written) {
        (RedisMode::Sentinel, false) => {
            shop.report.error(
                &field.at,
                "this setting is missing",
                "add `master_name`: what the Sentinels call the master",
            );
            None
        }
        (RedisMode::Sentinel, true) => Some(Some(field.value?.0)),
        (_, true) => {
            shop.report.error(
                &field.at,
                "only Sentinels have names of masters",
                "remove it, or set mode = \"sentinel\"",
            );
            None
        }
        (_, false) => Some(None),
    }
}

/// A user without a password would come in as nobody.
fn login(
    user: Field<RedisUser>,
    (path, variable): (Field<FilePath>, Field<EnvironmentName>),
    shop: &mut Workshop<'_>,
) -> Option<Credentials> {
    let asked = path.written || variable.written;
    let password = secret::read(path, variable, shop).map(|secret| secret.value);
    if user.written && !asked {
        shop.report.error(
            &user.at,
            "this user has no password",
            "name the file with it in the setting `…password_path`",
        );
        return None;
    }
    if asked && password.is_none() || user.written && user.value.is_none() {
        return None;
    }
    Some(Credentials { username: user.value.map(|user| user.0), password })
}
