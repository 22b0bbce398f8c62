//! The context that a caller sends: `traceparent` and `tracestate` of W3C Trace Context, read strictly.
//!
//! It joins the caller's trace to ours and is believed in nothing else. What is not exactly of the form counts as not
//! sent: then the request begins a trace of its own.

use std::str::FromStr;

use axum::http::HeaderMap;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// `00-` with 32, 16 and 2 hexadecimal digits.
const LENGTH: usize = 55;
/// What the specification has everybody pass on at least; more is nobody's due.
const LONGEST_STATE: usize = 512;
const MOST_MEMBERS: usize = 32;

/// The span of the caller, if it sent one and only one.
pub(super) fn read(headers: &HeaderMap) -> Option<SpanContext> {
    let mut sent = headers.get_all(TRACEPARENT).iter();
    let (Some(only), None) = (sent.next(), sent.next()) else { return None };
    let (trace, span, flags) = parts(only.to_str().ok()?)?;
    let state = state(headers).unwrap_or_default();
    let context = SpanContext::new(trace, span, flags, true, state);
    context.is_valid().then_some(context)
}

/// Section 3.2. Of a version to come, only the part that this one knows is read, as the specification has it.
fn parts(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let mut fields = known.split('-');
    let mut field = |digits: usize| fields.next().filter(|field| field.len() == digits && is_lower_hex(field));
    let (version, trace, span, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    let is_whole = match version {
        "00" => rest.is_empty(),
        "ff" => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    if !is_whole {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    Some((TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?, flags))
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Section 3.3. With a mistake in it, or longer than anybody has to bear, all of it is left out, and the parent stays.
fn state(headers: &HeaderMap) -> Option<TraceState> {
    let lines = headers.get_all(TRACESTATE).iter().map(|value| value.to_str().ok());
    let whole = lines.collect::<Option<Vec<_>>>()?.join(",");
    let members =
        || whole.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty());
    let keys: Vec<&str> = members().filter_map(|member| Some(member.split_once('=')?.0)).collect();
    let repeated = keys.iter().enumerate().any(|(at, key)| keys.iter().take(at).any(|before| before == key));
    let well_formed = members().all(|member| member.split_once('=').is_some_and(|(key, value)| is_member(key, value)));
    if whole.len() > LONGEST_STATE || keys.len() > MOST_MEMBERS || repeated || !well_formed {
        return None;
    }
    TraceState::from_str(&whole).ok()
}

/// Keys beyond these signs are refused where the state is built.
fn is_member(key: &str, value: &str) -> bool {
    let printable = |byte: u8| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=';
    !key.is_empty() && !value.is_empty() && value.len() <= 256 && value.bytes().all(printable)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn headers(parents: &[&str], states: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, values) in [(TRACEPARENT, parents), (TRACESTATE, states)] {
            for value in values {
                headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
        }
        headers
    }

    fn of(parent: &str) -> Option<SpanContext> {
        read(&headers(&[parent], &[]))
    }

    #[test]
    fn a_parent_in_the_form_of_the_specification_is_taken_over() {
        for (flags, sampled) in [("00", false), ("01", true), ("fe", false), ("ff", true)] {
            let context = of(&format!("00-{TRACE}-{SPAN}-{flags}")).unwrap();
            assert_eq!((context.trace_id().to_string(), context.span_id().to_string()), (TRACE.into(), SPAN.into()));
            assert_eq!((context.is_sampled(), context.is_remote()), (sampled, true));
            // No other flag is passed on: what it would mean is not known.
            assert_eq!(context.trace_flags().to_u8() & !1, 0);
        }
    }

    #[test]
    fn of_a_version_to_come_the_known_part_is_read() {
        assert!(of(&format!("01-{TRACE}-{SPAN}-01")).is_some());
        assert!(of(&format!("cc-{TRACE}-{SPAN}-01-what-else")).is_some());
        assert!(of(&format!("cc-{TRACE}-{SPAN}-01what-else")).is_none());
    }

    #[test]
    fn what_is_not_quite_of_the_form_counts_as_not_sent() {
        let zeros = "0".repeat(32);
        for wrong in [
            String::new(),
            "00".into(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-001"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("00-{TRACE}{SPAN}--01"),
            format!("00-+af7651916cd43dd8448eb211c80319c-{SPAN}-01"),
        ] {
            assert!(of(&wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn two_parents_are_none() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        assert!(read(&headers(&[&parent, &parent], &[])).is_none());
    }

    #[test]
    fn a_state_is_taken_whole_or_not_at_all_and_the_parent_stays() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let many = (0..33).map(|at| format!("k{at}=v")).collect::<Vec<_>>().join(",");
        let long = format!("k={},l={},m=1", "v".repeat(250), "v".repeat(256));
        for (states, told) in [
            (&["acme=1, example@acme=a b"][..], "acme=1,example@acme=a b"),
            (&["acme=1", "other=2"], "acme=1,other=2"),
            (&["acme=1,acme=2"], ""),
            (&["acme"], ""),
            (&["acme=1=2"], ""),
            (&["Acme=1"], ""),
            (&["acme="], ""),
            (&["=1"], ""),
            (&["acme=a\tb"], ""),
            (&["acme=caf\u{e9}"], ""),
            (&[many.as_str()], ""),
            (&[long.as_str()], ""),
        ] {
            let context = read(&headers(&[&parent], states)).unwrap();
            assert_eq!(context.trace_state().header(), told, "{states:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_sent(text in "[0-9a-f-]{50,60}|[ -~]{0,70}") {
            if let Some(context) = of(&text) {
                let known = format!("{}-{}-", context.trace_id(), context.span_id());
                prop_assert_eq!(text.get(3..53), Some(known.as_str()));
            }
        }
    }
}
