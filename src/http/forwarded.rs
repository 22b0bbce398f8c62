//! Where a request came from before it came to a proxy: `Forwarded` (RFC 7239) and `X-Forwarded-For`, believed from
//! trusted proxies only. It stands in records, and says whose a failed proof is; it proves nothing.

use std::net::IpAddr;

use axum::http::header::FORWARDED;
use axum::http::{HeaderMap, HeaderName};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The nearest address on the way here that is no trusted proxy; nothing where the peer itself is that, or where what
/// the headers say cannot be relied upon.
pub(super) fn client(headers: &HeaderMap, peer: IpAddr, is_trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    if !is_trusted(peer.to_canonical()) {
        return None;
    }
    let (one, other) = (hops(headers, &FORWARDED, by_element), hops(headers, &X_FORWARDED_FOR, by_comma));
    // A proxy writes one of the two and passes the other as it came: which of them, nobody says.
    let ((Some(hops), None) | (None, Some(hops))) = (one, other) else { return None };
    let mut nearest = None;
    for hop in hops.into_iter().rev() {
        nearest = Some(hop?);
        if !nearest.is_some_and(&is_trusted) {
            break;
        }
    }
    nearest
}

/// All hops of all headers of this name, the nearest last; one that is no address is none.
fn hops(
    headers: &HeaderMap,
    name: &HeaderName,
    split: impl Fn(&str) -> Vec<Option<IpAddr>>,
) -> Option<Vec<Option<IpAddr>>> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    Some(values.flat_map(|value| value.to_str().map_or_else(|_| vec![None], &split)).collect())
}

fn by_comma(value: &str) -> Vec<Option<IpAddr>> {
    value.split(',').map(|hop| address(hop.trim_matches([' ', '\t']))).collect()
}

/// The elements of RFC 7239 section 4. A comma or semicolon in quotes separates nothing.
fn by_element(value: &str) -> Vec<Option<IpAddr>> {
    let unquoted = |separator: char| {
        let (mut quoted, mut escaped) = (false, false);
        move |sign: char| {
            if escaped {
                escaped = false;
                return false;
            }
            match sign {
                '"' => quoted = !quoted,
                '\\' => escaped = quoted,
                _ => {}
            }
            !quoted && sign == separator
        }
    };
    let elements = value.split(unquoted(','));
    elements
        .map(|element| {
            let pairs = element.split(unquoted(';')).filter_map(|pair| pair.split_once('='));
            let mut nodes = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
            match (nodes.next(), nodes.next()) {
                (Some((_, node)), None) => inside_quotes(node.trim()).and_then(address),
                _ => None,
            }
        })
        .collect()
}

/// A value without the quotes around it.
fn inside_quotes(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"'),
        None => Some(value),
    }
}

/// An address, perhaps with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address(node: &str) -> Option<IpAddr> {
    let bare = match node.strip_prefix('[') {
        Some(rest) => rest.split_once(']').filter(|(_, port)| is_port(port)).map(|(address, _)| address)?,
        None => match node.split_once(':') {
            Some((address, port)) if !port.contains(':') => {
                is_port(node.get(address.len()..).unwrap_or_default()).then_some(address)?
            }
            _ => node,
        },
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    const PROXY: &str = "10.0.0.1";

    fn of(headers: &[(&'static str, &str)], peer: &str) -> Option<String> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        let trusted = |address: IpAddr| address.to_string().starts_with("10.") || address.to_string() == "fd00::1";
        client(&headers, peer.parse().unwrap(), trusted).map(|address| address.to_string())
    }

    #[test]
    fn the_nearest_hop_that_is_no_trusted_proxy_counts() {
        let cases = [
            ("198.51.100.7", "198.51.100.7"),
            ("198.51.100.7:4711", "198.51.100.7"),
            ("192.0.2.1, 198.51.100.7", "198.51.100.7"),
            ("192.0.2.1,198.51.100.7 , 10.0.0.2,10.0.0.3", "198.51.100.7"),
            ("10.0.0.9, 10.0.0.2", "10.0.0.9"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]:443", "2001:db8::7"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("made up, 198.51.100.7", "198.51.100.7"),
        ];
        for (value, expected) in cases {
            assert_eq!(of(&[("x-forwarded-for", value)], PROXY).as_deref(), Some(expected), "{value}");
        }
        let cases = [
            ("for=198.51.100.7", "198.51.100.7"),
            ("For=\"198.51.100.7:4711\";proto=https;by=10.0.0.1", "198.51.100.7"),
            ("for=192.0.2.1, by=\"a,b;for=1.1.1.1\";for=\"[2001:db8::7]:80\" ,for=10.0.0.2", "2001:db8::7"),
        ];
        for (value, expected) in cases {
            assert_eq!(of(&[("forwarded", value)], PROXY).as_deref(), Some(expected), "{value}");
        }
        let lines = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "198.51.100.7")];
        assert_eq!(of(&lines, PROXY).as_deref(), Some("198.51.100.7"));
        assert_eq!(of(&lines, "::ffff:10.0.0.1").as_deref(), Some("198.51.100.7"));
        assert_eq!(of(&lines, "fd00::1").as_deref(), Some("198.51.100.7"));
    }

    #[test]
    fn nothing_is_believed_of_strangers_of_garbage_and_of_two_headers_at_once() {
        assert_eq!(of(&[("x-forwarded-for", "198.51.100.7")], "192.0.2.9"), None);
        assert_eq!(of(&[], PROXY), None);
        let both = [("x-forwarded-for", "198.51.100.7"), ("forwarded", "for=198.51.100.7")];
        assert_eq!(of(&both, PROXY), None);
        for garbage in
            ["", ",", "unknown", "198.51.100", "198.51.100.7:x", "198.51.100.7:99999", "[::1", "1.1.1.1,", "'"]
        {
            assert_eq!(of(&[("x-forwarded-for", garbage)], PROXY), None, "{garbage}");
        }
        for garbage in
            ["for=_hidden", "for=unknown", "for=1.1.1.1;for=2.2.2.2", "by=1.1.1.1", "for=\"1.1.1.1", "1.1.1.1"]
        {
            assert_eq!(of(&[("forwarded", garbage)], PROXY), None, "{garbage}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(one in "[ -~\t]{0,60}", other in "[0-9a-f:.,;=\"\\\\for \\[\\]]{0,60}") {
            let _ = (by_comma(&one), by_element(&one), by_comma(&other), by_element(&other));
        }
    }
}
