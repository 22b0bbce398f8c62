//! The types of the settings of `[store]`: addresses of Redis, its modes, and names in it. An address has no password in
//! it, and messages never repeat one.

use serde_json::{Value, json};
use url::{Host, Url};

use super::RedisMode as Mode;
use super::document::{Content, Node};
use super::hosts;
use super::report::{Located, Report};
use super::setting::Setting;
use super::show;
use super::store::Address;
use super::values::{text, word};

/// Where Redis listens unless its address says otherwise.
const PORT: u16 = 6379;
/// Redis has 16 databases unless it is told otherwise.
const MOST_DATABASES: u16 = 1024;

/// An address, the database in it, and whether it stays on this machine.
#[derive(Debug)]
pub(super) struct RedisUrl {
    pub(super) address: Address,
    pub(super) database: Option<u16>,
    pub(super) is_loopback: bool,
}

impl Setting for RedisUrl {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        match parts(text(at, EXAMPLE, report)?) {
            Ok(url) => Some(url),
            Err((wrong, remedy)) => {
                report.error(at, format!("expected the address of a Redis: {wrong}"), remedy);
                None
            }
        }
    }

    fn schema() -> Value {
        json!({
            "type": "string", "format": "uri", "pattern": "^[Rr][Ee][Dd][Ii][Ss][Ss]?://",
            "description": "A rediss or redis URL without user and password.",
        })
    }
}

const EXAMPLE: &str = "rediss://redis.example:6379/0";

fn parts(text: &str) -> Result<RedisUrl, (&'static str, String)> {
    let write_it = || format!("write it like \"{EXAMPLE}\"");
    let wrong = |wrong| Err((wrong, write_it()));
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return wrong("this one has characters that a URL cannot have");
    }
    let lower = text.to_ascii_lowercase();
    let (tls, rest) = match (lower.strip_prefix("rediss://"), lower.strip_prefix("redis://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return wrong("this one does not begin with rediss:// or redis://"),
    };
    // The parser knows hosts, addresses and ports only below a scheme of the web.
    let Ok(url) = Url::parse(&format!("https://{rest}")) else { return wrong("this is not one") };
    if !url.username().is_empty() || url.password().is_some() || rest.contains('@') {
        let remedy = "remove it; set `username`, and `password_path` to a file with the password";
        return Err(("this one has a user or a password in it", remedy.to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("this one has a query or a fragment");
    }
    let host = match url.host() {
        Some(Host::Domain(name)) if name.is_empty() || name.ends_with('.') => return wrong("this is no host"),
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return wrong("this one has no host"),
    };
    let database = match url.path().trim_start_matches('/') {
        "" => None,
        digits => match digits.parse::<u16>() {
            Ok(number) if number < MOST_DATABASES && digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(number),
            _ => return wrong("what stands behind the host is not the number of a database"),
        },
    };
    let authority = rest.split('/').next().unwrap_or_default();
    // The parser drops the port of its own scheme.
    let port = url.port().unwrap_or_else(|| if authority.ends_with(":443") { 443 } else { PORT });
    if port == 0 {
        return wrong("there is no port 0");
    }
    let is_loopback = hosts::is_loopback(&url);
    Ok(RedisUrl { address: Address { host, port, tls }, database, is_loopback })
}

/// How Redis is run.
#[derive(Debug)]
pub(super) struct RedisMode(pub(super) Mode);

impl Setting for RedisMode {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        match text(at, "single", report)? {
            "single" => Some(Self(Mode::Single)),
            "sentinel" => Some(Self(Mode::Sentinel)),
            "cluster" => Some(Self(Mode::Cluster)),
            other => {
                let message = format!("{} is no way to run Redis that is known here", show::value(other));
                report.error(at, message, "write single, sentinel or cluster");
                None
            }
        }
    }

    fn schema() -> Value {
        json!({"enum": ["single", "sentinel", "cluster"]})
    }
}

/// Replicas of this service.
#[derive(Debug)]
pub(super) struct Replicas(pub(super) u32);

const MOST_REPLICAS: u32 = 1000;

impl Setting for Replicas {
    fn read(at: &Located<&Node>, report: &mut Report) -> Option<Self> {
        let number = match at.value.content {
            Content::Integer(number) => u32::try_from(number).ok(),
            _ => None,
        };
        let replicas = number.filter(|number| (1..=MOST_REPLICAS).contains(number));
        if replicas.is_none() {
            let message = format!("expected a whole number from 1 to {MOST_REPLICAS}");
            report.error(at, message, "write how many replicas there can be at most, without quotes");
        }
        replicas.map(Self)
    }

    fn schema() -> Value {
        json!({"type": "integer", "minimum": 1, "maximum": MOST_REPLICAS})
    }
}

word! {
    /// What Sentinels call a master.
    MasterName like "mymaster",
    |text| (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')),
    "the name of a master: letters, digits, dots, hyphens and underscores",
    "write it as the configuration of the Sentinels has it, behind `sentinel monitor`",
    {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"}
}
word! {
    /// A user of Redis.
    RedisUser like "aquila",
    |text| (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()),
    "the name of an ACL user: printable ASCII without spaces", "write the name as `ACL SETUSER` has it",
    {"type": "string", "pattern": "^[!-~]{1,128}$"}
}
word! {
    /// What all names begin with.
    KeyPrefix like "aquila:",
    |text| (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.' | b'-' | b'_' | b'/')),
    "1 to 64 letters, digits and : . - _ /", "write it like \"aquila:\"; braces would move everything into one slot of a Cluster",
    {"type": "string", "pattern": "^[A-Za-z0-9:._/-]{1,64}$"}
}
