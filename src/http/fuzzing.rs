//! What must hold for whatever a caller writes into a request, as properties of bytes. A property that is broken panics.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::header::{AUTHORIZATION, FORWARDED, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Version};
use base64::prelude::{BASE64_STANDARD, Engine};
use percent_encoding::percent_decode;

use super::params::Params;
use super::route::Route;
use super::{credentials, forwarded, head};
use crate::authn::ApiKey;

/// A name and what panics for bytes that break it.
type Property = (&'static str, fn(&[u8]));

/// By the names of their folders in `fuzz/seeds`.
pub(crate) const PROPERTIES: &[Property] =
    &[("form", form), ("credentials", credentials), ("path", path), ("forwarded", forwarded), ("host", host)];

/// A form or a query is read as the simplest reader there is reads it, or refused; what was read and is written anew is
/// read the same.
fn form(bytes: &[u8]) {
    let simple = simply_read(bytes);
    let Ok(params) = Params::parse(bytes) else {
        let unreadable = |text: &Option<String>| text.as_ref().is_none_or(|text| text.contains('\u{FFFD}'));
        let strange = simple.iter().any(|(name, value)| unreadable(name) || unreadable(value));
        assert!(strange || simple.len() > 128, "refused without a reason");
        return;
    };
    let pairs: Vec<(String, String)> = simple.into_iter().filter_map(|(name, value)| Some((name?, value?))).collect();
    for (name, _) in &pairs {
        let sent: Vec<&str> = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect();
        let full: Vec<&str> = sent.iter().copied().filter(|value| !value.is_empty()).collect();
        assert!(params.has(name) && params.all(name).eq(full.iter().copied()));
        assert_eq!(params.get(name), full.first().copied());
        assert_eq!(params.once(&[name]).is_ok(), sent.len() == 1);
        if let Ok(seconds) = params.seconds(name) {
            let digits = full.first().copied().unwrap_or("0");
            assert_eq!(digits.parse(), Ok(seconds.as_secs()));
        }
    }
    let mut again = url::form_urlencoded::Serializer::new(String::new());
    again.extend_pairs(&pairs);
    let again = Params::parse(again.finish().as_bytes());
    assert!(again.is_ok_and(|again| pairs.iter().all(|(name, _)| again.all(name).eq(params.all(name)))));
}

/// `name=value&…` as the URL standard reads it; nothing for what is not UTF-8.
fn simply_read(bytes: &[u8]) -> Vec<(Option<String>, Option<String>)> {
    let decode = |part: &[u8]| {
        let spaced: Vec<u8> = part.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
        String::from_utf8(percent_decode(&spaced).collect()).ok()
    };
    let parts = bytes.split(|&byte| byte == b'&').filter(|part| !part.is_empty());
    parts
        .map(|part| match part.iter().position(|&byte| byte == b'=') {
            Some(at) => {
                let (name, value) = part.split_at(at);
                (decode(name), decode(value.get(1..).unwrap_or_default()))
            }
            None => (decode(part), Some(String::new())),
        })
        .collect()
}

/// The first line is an `Authorization` header, the rest a form. At most one proof is read out of both, nothing of it is
/// printed, and a key that comes as a bearer is the same key under HTTP Basic and in a form.
fn credentials(bytes: &[u8]) {
    let (line, rest) = first_line(bytes);
    let Ok(value) = HeaderValue::from_bytes(line) else { return };
    let headers: HeaderMap = [(AUTHORIZATION, value)].into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let form = Params::parse(rest).ok();
    let bearer = credentials::is_bearer(&headers);
    let Ok(read) = credentials::read(&headers, form.as_ref()) else { return };
    assert!(read.keys.len() + read.tokens.len() <= 1, "two proofs at once");
    let printed = format!("{read:?}");
    let named = read.keys.iter().filter_map(|key| key.unverified_name.as_ref());
    let secrets = named.map(|name| name.as_str()).chain(read.tokens.iter().map(|token| token.text.as_str()));
    assert!(secrets.filter(|secret| secret.len() > 16).all(|secret| !printed.contains(secret)), "a secret is printed");
    let digest = read.keys.iter().find_map(|offered| offered.key);
    let text = std::str::from_utf8(line).ok().and_then(|line| line.split_once(' '));
    if let (true, Some(digest), Some((_, key))) = (bearer, digest, text) {
        let key = key.trim_matches(' ');
        assert_eq!(ApiKey::digest_of(key), Some(digest));
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("name:{key}")));
        let header = HeaderValue::try_from(basic).into_iter().map(|value| (AUTHORIZATION, value)).collect();
        let form = Params::parse(format!("client_id=name&client_secret={key}").as_bytes()).ok();
        for (headers, form) in [(header, None), (HeaderMap::new(), form)] {
            let same = credentials::read(&headers, form.as_ref()).ok().and_then(|read| read.keys.first()?.key);
            assert_eq!(same, Some(digest));
        }
    }
}

/// A path is of one route, the one whose pattern it fits; what it names is one segment.
fn path(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    let route = Route::of_callers(path);
    let segments: Vec<&str> = path.split('/').collect();
    let expected = match segments.as_slice() {
        ["", "token", name] if !name.is_empty() => Some(*name),
        ["", "integrations", name, "services", "oauth2", "token"] if !name.is_empty() => Some(*name),
        _ => None,
    };
    assert_eq!(route.integration_in(path), expected);
    let fixed = !route.pattern().contains('{');
    assert!(!fixed || route == Route::Unmatched || route.pattern() == path, "{route:?}");
    assert!(!route.issues() || route.decides());
    let behind = path.strip_prefix("/.well-known/oauth-authorization-server/");
    assert_eq!(route == Route::IssuerMetadata, behind.is_some_and(|rest| !rest.is_empty()));
}

/// Each line is one header of the kind that the first byte says. Nobody but a trusted proxy is believed, and what a
/// trusted proxy adds at the end is what counts.
fn forwarded(bytes: &[u8]) {
    const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    let Some((kind, text)) = bytes.split_first() else { return };
    let standard = kind % 2 == 0;
    let name = if standard { FORWARDED } else { X_FORWARDED_FOR };
    let lines = text.split(|&byte| byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let mut headers: HeaderMap = HeaderMap::new();
    lines.for_each(|line| {
        headers.append(name.clone(), line);
    });
    let proxy = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let trusted = |address: IpAddr| matches!(address, IpAddr::V4(it) if it.octets().starts_with(&[10]));
    let outside = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    assert_eq!(forwarded::client(&headers, outside, trusted), None, "an untrusted peer is believed");
    let told = forwarded::client(&headers, proxy, trusted);
    assert!(told.is_none_or(|told| told == told.to_canonical()));
    // In text, an address stands in one of a few spellings; in canonical form it is at most respelt, never made up.
    let digits = headers.values().any(|value| value.as_bytes().iter().any(u8::is_ascii_hexdigit));
    assert!(told.is_none() || digits || headers.values().any(|value| value.as_bytes().contains(&b':')));
    let client = "203.0.113.9";
    let element = if standard { format!("for=\"{client}:8080\";proto=https") } else { format!("{client}:8080") };
    headers.extend(HeaderValue::try_from(element).into_iter().map(|value| (name.clone(), value)));
    let expected = client.parse().ok();
    assert_eq!(forwarded::client(&headers, proxy, trusted), expected, "what a proxy adds does not count");
    let other = if standard { X_FORWARDED_FOR } else { FORWARDED };
    headers.insert(other, HeaderValue::from_static(""));
    assert_eq!(forwarded::client(&headers, proxy, trusted), None, "one of two headers is believed");
}

/// Each line is one `Host`. There is one at most, and it is a host as a URL has one, perhaps with a port: the quick look
/// and the thorough one agree.
fn host(bytes: &[u8]) {
    let lines = bytes.split(|&byte| byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let mut request = Request::new(());
    lines.for_each(|line| {
        request.headers_mut().append(HOST, line);
    });
    let sound = head::sound(&request).is_ok();
    let hosts: Vec<&[u8]> = request.headers().get_all(HOST).iter().map(HeaderValue::as_bytes).collect();
    let expected = match hosts.as_slice() {
        [host] => host.is_empty() || (!host.contains(&b'@') && Authority::try_from(*host).is_ok()),
        _ => false,
    };
    assert_eq!(sound, expected);
    let by_second_version = expected || hosts.is_empty();
    *request.version_mut() = Version::HTTP_2;
    assert_eq!(head::sound(&request).is_ok(), by_second_version);
}

fn first_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = bytes.splitn(2, |&byte| byte == b'\n');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}
