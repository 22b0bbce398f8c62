//! What the environment says of traces, by the variables of OpenTelemetry's specification.
//!
//! A mistake here never keeps the service from starting: tokens matter more than traces. It is told, with a remedy, and
//! either the default holds (numbers, samplers) or there are no traces (what cannot be done as it was asked for). Values
//! are not repeated: a secret may have been pasted in their place. The names of the service and of its resource the SDK
//! reads by itself, and the headers of a delivery once more.

use std::path::Path;
use std::time::Duration;

use opentelemetry_sdk::trace::{BatchConfig, BatchConfigBuilder, Sampler};
use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderName, HeaderValue};
use url::Url;

use super::ASKING;
use crate::config::{hosts, source};

/// Where and how spans go.
#[derive(Debug)]
pub(super) struct Settings {
    /// Where, with the path.
    pub(super) endpoint: Url,
    /// For how long one delivery may take, its repetitions together.
    pub(super) timeout: Duration,
    /// The only authorities that are believed, in PEM.
    pub(super) authorities: Option<Vec<u8>>,
    /// How many spans wait, for how long, and how many go at once.
    pub(super) gathering: BatchConfig,
    /// Which traces are recorded.
    pub(super) sampler: Sampler,
    /// Whether callers may name the trace that they belong to.
    pub(super) takes_parents: bool,
}

/// A variable that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) variable: &'static str,
    pub(super) message: &'static str,
    pub(super) remedy: &'static str,
}

type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

const ENDPOINT: [&str; 2] = [ASKING[1], ASKING[0]];
const EXPORTER: &str = ASKING[2];
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const COMPRESSION: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
const TIMEOUT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const CERTIFICATE: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
const CLIENT_CERTIFICATE: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"];
const DISABLED: &str = "OTEL_SDK_DISABLED";
const DELAY: &str = "OTEL_BSP_SCHEDULE_DELAY";
const QUEUE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
const BATCH: &str = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
const EXPORT_TIMEOUT: &str = "OTEL_BSP_EXPORT_TIMEOUT";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const RATIO: &str = "OTEL_TRACES_SAMPLER_ARG";
const PROPAGATORS: &str = "OTEL_PROPAGATORS";

const DEFAULT_ENDPOINT: &str = "http://localhost:4318";
/// Room for what waits is taken at the start, so no number may be as large as somebody likes.
const LARGEST: u32 = 1_000_000;

impl Settings {
    /// What is asked for, if traces are; and every mistake, told or tolerated.
    pub(super) fn read(variables: Variables<'_>) -> (Option<Self>, Vec<Mistake>) {
        // As the specification has it: an empty variable is none.
        let variables = |name: &str| variables(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let mut mistakes = Vec::new();
        let settings = read(&variables, &mut mistakes).unwrap_or_else(|mistake| {
            mistakes.push(mistake);
            None
        });
        (settings, mistakes)
    }
}

fn read(variables: Variables<'_>, mistakes: &mut Vec<Mistake>) -> Result<Option<Settings>, Mistake> {
    if is_disabled(variables, mistakes) || !is_asked_for(variables)? {
        return Ok(None);
    }
    refuse_what_is_not_spoken(variables)?;
    if let Some((variable, text)) = first(variables, COMPRESSION)
        && text != "none"
    {
        mistakes.push(Mistake { variable, message: "traces are not compressed", remedy: "`none`, or leave it out" });
    }
    let endpoint = endpoint(variables)?;
    let authorities = authorities(variables)?;
    look_at_headers(variables, &endpoint, mistakes)?;
    Ok(Some(Settings {
        endpoint,
        timeout: timeout(variables, mistakes),
        authorities,
        gathering: gathering(variables, mistakes),
        sampler: sampler(variables, mistakes),
        takes_parents: takes_parents(variables, mistakes),
    }))
}

fn first(variables: Variables<'_>, names: [&'static str; 2]) -> Option<(&'static str, String)> {
    names.into_iter().find_map(|name| Some((name, variables(name)?)))
}

fn is_disabled(variables: Variables<'_>, mistakes: &mut Vec<Mistake>) -> bool {
    let Some(text) = variables(DISABLED) else { return false };
    let disabled = text.eq_ignore_ascii_case("true");
    if !disabled && !text.eq_ignore_ascii_case("false") {
        let message = "neither true nor false; false holds";
        mistakes.push(Mistake { variable: DISABLED, message, remedy: "`true` turns traces off" });
    }
    disabled
}

fn is_asked_for(variables: Variables<'_>) -> Result<bool, Mistake> {
    match variables(EXPORTER).as_deref() {
        None => Ok(first(variables, ENDPOINT).is_some()),
        Some("otlp") => Ok(true),
        Some("none") => Ok(false),
        Some(_) => Err(Mistake {
            variable: EXPORTER,
            message: "there are no traces: this exporter is not known here",
            remedy: "`otlp` or `none`",
        }),
    }
}

/// Rather no traces, said aloud, than a collector that is spoken to in a way that it does not expect.
fn refuse_what_is_not_spoken(variables: Variables<'_>) -> Result<(), Mistake> {
    let unspoken = |names, spoken: &str, message, remedy| match first(variables, names) {
        Some((variable, text)) if text != spoken => Err(Mistake { variable, message, remedy }),
        _ => Ok(()),
    };
    let protocol = "there are no traces: they can be sent by http/protobuf alone";
    unspoken(PROTOCOL, "http/protobuf", protocol, "`http/protobuf`, and the collector's port for it, usually 4318")?;
    let certificate = "there are no traces: they cannot be sent with a client certificate";
    unspoken(
        CLIENT_CERTIFICATE,
        "",
        certificate,
        "leave it out, and send a header instead (OTEL_EXPORTER_OTLP_HEADERS)",
    )
}

fn endpoint(variables: Variables<'_>) -> Result<Url, Mistake> {
    let (variable, text) = first(variables, ENDPOINT).unwrap_or_else(|| (ENDPOINT[1], DEFAULT_ENDPOINT.to_owned()));
    // Only the one for all signals is a folder.
    let text = if variable == ENDPOINT[1] { format!("{}/v1/traces", text.trim_end_matches('/')) } else { text };
    let usable = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty();
    Url::parse(&text).ok().filter(usable).ok_or(Mistake {
        variable,
        message: "there are no traces: this is no URL that they could be sent to",
        remedy: "http:// or https://, a host, and no user in it",
    })
}

/// The SDK reads them again by itself: it says nothing of what is no header, and lets one of these break each delivery.
fn look_at_headers(variables: Variables<'_>, endpoint: &Url, mistakes: &mut Vec<Mistake>) -> Result<(), Mistake> {
    let Some((variable, text)) = first(variables, HEADERS) else { return Ok(()) };
    if endpoint.scheme() == "http" && !hosts::is_loopback(endpoint) {
        let (message, remedy) = ("these headers go out in clear text", "send traces by https");
        mistakes.push(Mistake { variable, message, remedy });
    }
    let headers = || text.split(',').filter(|pair| !pair.trim().is_empty()).map(header);
    if headers().any(|header| header.is_none()) {
        let (message, remedy) =
            ("a part of it is no header, and is left out", "name=value,name=value, percent-encoded");
        mistakes.push(Mistake { variable, message, remedy });
    }
    let framing = |name: HeaderName| {
        matches!(name.as_str(), "host" | "connection" | "transfer-encoding") || name.as_str().starts_with("content-")
    };
    match headers().flatten().any(framing) {
        false => Ok(()),
        true => Err(Mistake {
            variable,
            message: "there are no traces: one of these headers belongs to the delivery itself",
            remedy: "leave out `host`, `connection`, `transfer-encoding` and what begins with `content-`",
        }),
    }
}

/// The name, if this is a header to the SDK.
fn header(pair: &str) -> Option<HeaderName> {
    let (name, value) = pair.split_once('=')?;
    let value = value.trim();
    let decoded = percent_decode_str(value).decode_utf8().unwrap_or_else(|_| value.into());
    HeaderValue::from_str(&decoded).ok().filter(|value| !value.is_empty())?;
    name.trim().parse().ok()
}

fn authorities(variables: Variables<'_>) -> Result<Option<Vec<u8>>, Mistake> {
    let Some((variable, path)) = first(variables, CERTIFICATE) else { return Ok(None) };
    let read = source::read(Path::new(&path), source::LARGEST_PEM).ok().map(|content| content.bytes.to_vec());
    let certificates = |bytes: &Vec<u8>| reqwest::Certificate::from_pem_bundle(bytes).is_ok_and(|all| !all.is_empty());
    read.filter(certificates).map(Some).ok_or(Mistake {
        variable,
        message: "there are no traces: this file has no certificates in PEM, or cannot be read",
        remedy: "the path of a file with the authorities of the collector",
    })
}

/// The specification has two bounds for one delivery; the shorter one holds.
fn timeout(variables: Variables<'_>, mistakes: &mut Vec<Mistake>) -> Duration {
    let name = first(variables, TIMEOUT).map_or(TIMEOUT[1], |(variable, _)| variable);
    let delivery = number(variables, (name, 10_000), mistakes);
    let whole = number(variables, (EXPORT_TIMEOUT, 30_000), mistakes);
    Duration::from_millis(u64::from(delivery.min(whole)))
}

fn gathering(variables: Variables<'_>, mistakes: &mut Vec<Mistake>) -> BatchConfig {
    let mut number = |name, default| number(variables, (name, default), mistakes);
    let (delay, queue, batch) = (number(DELAY, 5_000), number(QUEUE, 2_048), number(BATCH, 512));
    let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
    BatchConfigBuilder::default()
        .with_scheduled_delay(Duration::from_millis(u64::from(delay)))
        .with_max_queue_size(size(queue))
        .with_max_export_batch_size(size(batch))
        .build()
}

fn number(variables: Variables<'_>, (variable, default): (&'static str, u32), mistakes: &mut Vec<Mistake>) -> u32 {
    let Some(text) = variables(variable) else { return default };
    text.parse().ok().filter(|number| (1..=LARGEST).contains(number)).unwrap_or_else(|| {
        let message = "not a whole number from 1 to 1000000; the default holds";
        mistakes.push(Mistake { variable, message, remedy: "digits alone; times are in milliseconds" });
        default
    })
}

fn sampler(variables: Variables<'_>, mistakes: &mut Vec<Mistake>) -> Sampler {
    let name = variables(SAMPLER).unwrap_or_else(|| "parentbased_always_on".to_owned());
    let beneath = |root| Sampler::ParentBased(Box::new(root));
    match name.as_str() {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(ratio(variables, mistakes)),
        "parentbased_always_on" => beneath(Sampler::AlwaysOn),
        "parentbased_always_off" => beneath(Sampler::AlwaysOff),
        "parentbased_traceidratio" => beneath(Sampler::TraceIdRatioBased(ratio(variables, mistakes))),
        _ => {
            mistakes.push(Mistake {
                variable: SAMPLER,
                message: "this sampler is not known; parentbased_always_on holds",
                remedy: "always_on, always_off or traceidratio, or one of these after `parentbased_`",
            });
            beneath(Sampler::AlwaysOn)
        }
    }
}

fn ratio(variables: Variables<'_>, mistakes: &mut Vec<Mistake>) -> f64 {
    let Some(text) = variables(RATIO) else { return 1.0 };
    text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio)).unwrap_or_else(|| {
        let message = "not a number from 0 to 1; everything is recorded";
        mistakes.push(Mistake { variable: RATIO, message, remedy: "such as 0.1" });
        1.0
    })
}

fn takes_parents(variables: Variables<'_>, mistakes: &mut Vec<Mistake>) -> bool {
    let Some(text) = variables(PROPAGATORS) else { return true };
    let mut names = text.split(',').map(str::trim);
    let known = names.clone().all(|name| matches!(name, "tracecontext" | "baggage" | "none"));
    if !known {
        let message = "of these only tracecontext is known";
        mistakes.push(Mistake { variable: PROPAGATORS, message, remedy: "`tracecontext` or `none`" });
    }
    names.any(|name| name == "tracecontext")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Option<Settings>, Vec<&'static str>) {
        let lookup =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        let (settings, mistakes) = Settings::read(&lookup);
        (settings, mistakes.into_iter().map(|mistake| mistake.variable).collect())
    }

    const ON: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    fn sampled_by(variables: &[(&str, &str)]) -> (String, Vec<&'static str>) {
        let (settings, mistakes) = read(&[&[ON], variables].concat());
        (format!("{:?}", settings.unwrap().sampler), mistakes)
    }

    #[test]
    fn nothing_is_started_unless_it_is_asked_for() {
        for variables in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "aquila"), ("OTEL_TRACES_SAMPLER", "always_on")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[ON, ("OTEL_SDK_DISABLED", "True")],
            &[ON, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            let (settings, mistakes) = read(variables);
            assert!(settings.is_none() && mistakes.is_empty(), "{variables:?}");
        }
    }

    #[test]
    fn spans_go_where_the_specification_says() {
        for (variables, url) in [
            (&[ON][..], "http://127.0.0.1:4318/v1/traces"),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://acme.example/otlp/")], "https://acme.example/otlp/v1/traces"),
            (&[ON, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://acme.example/t")], "https://acme.example/t"),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], "http://localhost:4318/v1/traces"),
            (&[ON, ("OTEL_SDK_DISABLED", "false")], "http://127.0.0.1:4318/v1/traces"),
        ] {
            let (settings, mistakes) = read(variables);
            assert_eq!(settings.unwrap().endpoint.as_str(), url);
            assert!(mistakes.is_empty(), "{variables:?}");
        }
    }

    #[test]
    fn what_cannot_be_done_as_asked_is_told_and_leaves_no_traces() {
        for wrong in [
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://user:secret@acme.example"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "Cargo.toml"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "client.pem"),
        ] {
            let (settings, mistakes) = read(&[ON, wrong]);
            assert!(settings.is_none(), "{wrong:?}");
            assert_eq!(mistakes, [wrong.0]);
        }
    }

    #[test]
    fn compression_is_a_wish_that_is_told_to_be_in_vain() {
        let (settings, mistakes) = read(&[ON, ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]);
        assert!(settings.is_some());
        assert_eq!(mistakes, ["OTEL_EXPORTER_OTLP_COMPRESSION"]);
        assert!(read(&[ON, ("OTEL_EXPORTER_OTLP_COMPRESSION", "none")]).1.is_empty());
    }

    #[test]
    fn a_number_that_is_none_is_told_and_the_default_holds() {
        let usual = format!("{:?}", read(&[ON]).0.unwrap().gathering);
        for variable in ["OTEL_EXPORTER_OTLP_TIMEOUT", EXPORT_TIMEOUT, QUEUE, BATCH, DELAY] {
            for text in ["soon", "0", "-1", "1000001"] {
                let (settings, mistakes) = read(&[ON, (variable, text)]);
                let settings = settings.unwrap();
                assert_eq!(
                    (settings.timeout, format!("{:?}", settings.gathering)),
                    (Duration::from_secs(10), usual.clone())
                );
                assert_eq!(mistakes, [variable]);
            }
        }
        let gathered = read(&[ON, (QUEUE, "7"), (BATCH, "9"), (DELAY, "11")]).0.unwrap().gathering;
        let gathered = format!("{gathered:?}");
        assert!(gathered.contains("max_queue_size: 7") && gathered.contains("11ms"), "{gathered}");
    }

    #[test]
    fn the_shortest_time_for_a_delivery_holds() {
        let times = [ON, ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250")];
        assert_eq!(read(&times).0.unwrap().timeout, Duration::from_millis(250));
        assert_eq!(read(&[ON, (EXPORT_TIMEOUT, "90")]).0.unwrap().timeout, Duration::from_millis(90));
    }

    #[test]
    fn every_sampler_of_the_specification_that_asks_nobody_is_known() {
        for (name, sampler) in [
            ("always_on", "AlwaysOn"),
            ("always_off", "AlwaysOff"),
            ("traceidratio", "TraceIdRatioBased(0.25)"),
            ("parentbased_always_on", "ParentBased(AlwaysOn)"),
            ("parentbased_always_off", "ParentBased(AlwaysOff)"),
            ("parentbased_traceidratio", "ParentBased(TraceIdRatioBased(0.25))"),
        ] {
            let (is, mistakes) = sampled_by(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", "0.25")]);
            assert_eq!(is, sampler);
            assert!(mistakes.is_empty());
        }
        assert_eq!(sampled_by(&[]).0, "ParentBased(AlwaysOn)");
        assert_eq!(sampled_by(&[("OTEL_TRACES_SAMPLER", "xray")]).1, ["OTEL_TRACES_SAMPLER"]);
        for ratio in ["1.5", "-1", "half", "NaN"] {
            let told = sampled_by(&[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", ratio)]);
            assert_eq!(told, ("TraceIdRatioBased(1.0)".to_owned(), vec!["OTEL_TRACES_SAMPLER_ARG"]));
        }
    }

    #[test]
    fn callers_name_their_trace_unless_the_environment_says_no() {
        for (propagators, taken, mistakes) in [
            ("tracecontext,baggage", true, &[][..]),
            ("none", false, &[]),
            ("baggage", false, &[]),
            ("b3, tracecontext", true, &["OTEL_PROPAGATORS"]),
        ] {
            let (settings, told) = read(&[ON, ("OTEL_PROPAGATORS", propagators)]);
            assert_eq!((settings.unwrap().takes_parents, told.as_slice()), (taken, mistakes));
        }
    }

    #[test]
    fn headers_in_clear_text_are_told_unless_they_stay_on_this_machine() {
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret");
        assert!(read(&[ON, headers]).1.is_empty());
        assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://acme.example"), headers]).1.is_empty());
        let (settings, mistakes) = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://acme.example"), headers]);
        assert!(settings.is_some());
        assert_eq!(mistakes, ["OTEL_EXPORTER_OTLP_HEADERS"]);
    }

    #[test]
    fn a_header_that_is_none_is_told() {
        for (text, told) in [
            ("a b=X,=x,foo", true),
            ("x-key=1,foo", true),
            ("x-key=", true),
            ("x-key=a%0Ab", true),
            ("x-key=a=b%2C+/, authorization = Basic%20eA==,", false),
        ] {
            for variable in HEADERS {
                let (settings, mistakes) = read(&[ON, (variable, text)]);
                assert!(settings.is_some());
                assert_eq!(mistakes, [variable][..usize::from(told)], "{text}");
            }
        }
    }

    #[test]
    fn a_header_that_is_the_delivery_s_own_leaves_no_traces() {
        for name in ["Host", "content-length", "Content-Type", "content-encoding", "transfer-encoding", "Connection"] {
            let (settings, mistakes) = read(&[ON, ("OTEL_EXPORTER_OTLP_HEADERS", &format!("x-key=1, {name} = 5"))]);
            assert!(settings.is_none(), "{name}");
            assert_eq!(mistakes, ["OTEL_EXPORTER_OTLP_HEADERS"]);
        }
    }

    #[test]
    fn a_switch_that_is_neither_on_nor_off_is_told_and_is_off() {
        let (settings, mistakes) = read(&[ON, ("OTEL_SDK_DISABLED", "banana")]);
        assert!(settings.is_some());
        assert_eq!(mistakes, ["OTEL_SDK_DISABLED"]);
        assert!(read(&[ON, ("OTEL_SDK_DISABLED", "False")]).1.is_empty());
    }
}
