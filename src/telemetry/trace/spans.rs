//! Spans: what there is while traces are kept, and nothing at all while they are not.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use url::Url;

use super::settings::Settings;
use super::{export, parent};
use crate::config::environment;

/// Where spans go. Cheap to clone; by default nowhere.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Running>>);

#[derive(Debug)]
struct Running {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    takes_parents: bool,
}

/// A span, or none. It ends when the last one who holds it lets go.
#[derive(Debug, Clone, Default)]
pub struct Span(Option<Context>);

/// What another span may link to.
#[derive(Debug, Clone, Default)]
pub struct Mark(Option<SpanContext>);

/// What goes down from a span to those beneath it.
#[derive(Debug, Clone)]
struct Line {
    traces: Arc<Running>,
    /// Whether the caller named the trace: it may look for it, whatever is recorded here.
    named_by_caller: bool,
}

impl Traces {
    /// Traces as the environment asks for them. Mistakes in it are told and keep nothing but traces from starting.
    ///
    /// Within the runtime, whose tasks carry the spans away.
    pub fn start() -> Self {
        let (settings, mistakes) = Settings::read(&environment);
        for mistake in mistakes {
            tracing::warn!(variable = mistake.variable, remedy = mistake.remedy, "{}", mistake.message);
        }
        let Some(settings) = settings else { return Self::default() };
        let (takes_parents, host) = (settings.takes_parents, settings.endpoint.host_str().map(str::to_owned));
        match export::provider(settings) {
            Ok(provider) => {
                tracing::info!(collector.host = host, "traces are sent");
                let tracer = provider.tracer("aquila");
                Self(Some(Arc::new(Running { provider, tracer, takes_parents })))
            }
            Err(reason) => {
                tracing::warn!(reason, remedy = "see docs/tracing.md", "there are no traces");
                Self::default()
            }
        }
    }

    /// The span of a request, beneath that of its caller if it names one.
    pub fn request(&self, method: &'static str, route: &'static str, headers: &HeaderMap) -> Span {
        let Some(traces) = &self.0 else { return Span(None) };
        let parent = if traces.takes_parents { parent::read(headers) } else { None };
        let line = Line { traces: Arc::clone(traces), named_by_caller: parent.is_some() };
        let above = Context::new().with_value(line);
        let above = parent.map_or_else(|| above.clone(), |parent| above.with_remote_span_context(parent));
        let attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.route", route),
            // Not the path itself, which is text of the request.
            KeyValue::new("url.path", route),
        ];
        beneath(&above, format!("{method} {route}").into(), SpanKind::Server, attributes)
    }

    /// Runs what no request asked for: spans that begin in it begin traces of their own.
    pub async fn over<F: Future>(self, future: F) -> F::Output {
        let line = self.0.map(|traces| Line { traces, named_by_caller: false });
        Span(line.map(|line| Context::new().with_value(line))).around(pin!(future)).await
    }

    /// Sends what is left, for at most this time.
    pub async fn close(&self, within: Duration) {
        let Some(traces) = self.0.clone() else { return };
        // It waits for its own thread, and that one for a task of this runtime.
        let closed = tokio::task::spawn_blocking(move || traces.provider.shutdown_with_timeout(within)).await;
        if !matches!(closed, Ok(Ok(()))) {
            tracing::warn!(
                remedy = "see docs/tracing.md",
                "the last spans may be lost: the collector did not take them in time"
            );
        }
    }
}

impl Span {
    /// Notes a word or a name. Never a secret, and nothing that came from outside.
    pub fn set(&self, key: &'static str, value: &str) {
        if let Some(context) = &self.0
            && context.span().is_recording()
        {
            context.span().set_attribute(KeyValue::new(key, value.to_owned()));
        }
    }

    /// Notes a number.
    pub fn set_number(&self, key: &'static str, value: i64) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(key, value));
        }
    }

    /// Marks it as failed, by a word of a closed set.
    pub fn fail(&self, cause: &str) {
        self.set("error.type", cause);
        if let Some(context) = &self.0 {
            context.span().set_status(Status::error(""));
        }
    }

    /// Notes the status of an answer; it failed with one from 400 on.
    pub fn answered(&self, status: u16) {
        self.set_number("http.response.status_code", i64::from(status));
        if status >= 400 {
            self.fail(&status.to_string());
        }
    }

    /// Says that it waited for another one.
    pub fn link(&self, other: &Mark) {
        if let (Some(context), Some(other)) = (&self.0, &other.0) {
            context.span().add_link(other.clone(), Vec::new());
        }
    }

    /// What others may link to.
    pub fn mark(&self) -> Mark {
        Mark(self.0.as_ref().map(|context| context.span().span_context().clone()))
    }

    /// The id of its trace, if somebody may find it: it is recorded, or the caller named it.
    pub fn id(&self) -> Option<String> {
        self.0.as_ref().and_then(id)
    }

    /// Runs a future with this span as the current one. Pinned by the caller: a future that is handed on by value has
    /// room in each that it goes through, and a connection keeps all of it.
    pub async fn around<F: Future>(&self, mut future: Pin<&mut F>) -> F::Output {
        poll_fn(|task| {
            let _current = self.0.clone().map(Context::attach);
            future.as_mut().poll(task)
        })
        .await
    }
}

/// A span beneath the current one; none if there is none.
pub fn child(name: &'static str) -> Span {
    Context::map_current(|above| beneath(above, name.into(), SpanKind::Internal, Vec::new()))
}

/// A span for a request to another host.
pub fn call(method: &'static str, url: &Url) -> Span {
    Context::map_current(|above| {
        if above.get::<Line>().is_none() {
            return Span(None);
        }
        let path = url.path().to_owned();
        let name = format!("{method} {path}");
        let mut attributes = vec![KeyValue::new("http.request.method", method), KeyValue::new("url.template", path)];
        if let Some(host) = url.host_str() {
            // Put together from its parts: neither user nor password, neither query nor fragment.
            attributes.push(KeyValue::new("url.full", format!("{}{}", url.origin().ascii_serialization(), url.path())));
            attributes.push(KeyValue::new("server.address", host.to_owned()));
        }
        if let Some(port) = url.port_or_known_default() {
            attributes.push(KeyValue::new("server.port", i64::from(port)));
        }
        beneath(above, name.into(), SpanKind::Client, attributes)
    })
}

/// The current span.
pub fn current() -> Span {
    Context::map_current(|current| Span(current.get::<Line>().map(|_| current.clone())))
}

/// The id of the current trace, as [`Span::id`].
pub fn current_id() -> Option<String> {
    Context::map_current(id)
}

fn beneath(above: &Context, name: Cow<'static, str>, kind: SpanKind, attributes: Vec<KeyValue>) -> Span {
    let Some(line) = above.get::<Line>() else { return Span(None) };
    let tracer = &line.traces.tracer;
    let builder = tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
    Span(Some(above.with_span(tracer.build_with_context(builder, above))))
}

fn id(context: &Context) -> Option<String> {
    let line = context.get::<Line>()?;
    let (span, named) = (context.span(), line.named_by_caller);
    let known = span.span_context();
    (known.is_valid() && (known.is_sampled() || named)).then(|| known.trace_id().to_string())
}
