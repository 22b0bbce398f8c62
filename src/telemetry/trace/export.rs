//! Spans on their way to the collector: gathered by a thread of the SDK, carried by a client of ours, and never a reason
//! for a request to wait. What finds the queue full is lost.

use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{self, BatchSpanProcessor, SdkTracerProvider, SpanData};
use reqwest::header::RETRY_AFTER;
use reqwest::{Certificate, Client, redirect};
use tokio::runtime::Handle;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use super::settings::Settings;
use crate::config::environment;

/// The SDK with its queue, its thread and our client.
pub(super) fn provider(settings: Settings) -> Result<SdkTracerProvider, String> {
    let client = client(settings.authorities.as_deref(), settings.timeout)?;
    let runtime = Handle::try_current().map_err(|error| error.to_string())?;
    let last = Arc::new(Mutex::new(String::new()));
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Carrier { client, runtime, last: Arc::clone(&last) })
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(settings.endpoint.as_str())
        .with_timeout(settings.timeout)
        .build()
        .map_err(|error| error.to_string())?;
    let exporter = Watched { exporter, last, failing: AtomicBool::new(false) };
    Ok(SdkTracerProvider::builder()
        .with_resource(resource())
        .with_sampler(settings.sampler)
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(settings.gathering).build())
        .build())
}

/// Who speaks: as the environment says, else by our own name.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let named = ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"].into_iter().filter_map(environment);
    let is_named = named.zip([true, false]).any(|(text, is_name)| {
        if is_name { !text.is_empty() } else { text.split(',').any(|pair| pair.trim().starts_with("service.name=")) }
    });
    let resource = Resource::builder();
    let resource = if is_named { resource } else { resource.with_service_name("aquila") };
    resource.with_attribute(version).build()
}

fn client(authorities: Option<&[u8]>, timeout: Duration) -> Result<Client, String> {
    let build = |authorities: Option<Vec<Certificate>>| {
        #[expect(clippy::disallowed_methods, reason = "this client carries spans, and no assertion")]
        let builder = Client::builder()
            .user_agent(concat!("aquila/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .timeout(timeout)
            .connect_timeout(timeout);
        match authorities {
            Some(authorities) => builder.tls_certs_only(authorities).build(),
            None => builder.build(),
        }
        .map_err(|error| innermost(&error))
    };
    let bundled = || TLS_SERVER_ROOT_CERTS.iter().filter_map(|certificate| Certificate::from_der(certificate).ok());
    match authorities {
        Some(pem) => build(Some(Certificate::from_pem_bundle(pem).map_err(|error| innermost(&error))?)),
        // A machine without authorities of its own has those that came along.
        None => build(None).or_else(|_| build(Some(bundled().collect()))),
    }
}

/// Our client as the exporter wants it. The exporter runs on a thread that has no reactor, so each request is a task of
/// the service's own runtime: a second client with a runtime of its own would be the alternative.
#[derive(Debug)]
struct Carrier {
    client: Client,
    runtime: Handle,
    /// Why the last delivery failed.
    last: Arc<Mutex<String>>,
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

/// More than any answer of a collector has to say.
const LARGEST_ANSWER: usize = 64 * 1024;

impl HttpClient for Carrier {
    fn send_bytes<'own, 'sent>(&'own self, request: Request<Bytes>) -> Sent<'sent>
    where
        'own: 'sent,
        Self: 'sent,
    {
        let sent = self.runtime.spawn(send(self.client.clone(), request));
        Box::pin(async move {
            let answer = sent.await.map_err(|_| "the service ends".to_owned()).flatten();
            let trouble = match &answer {
                Err(reason) => reason.clone(),
                Ok(response) => format!("the collector answers with status {}", response.status().as_u16()),
            };
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
            answer.map_err(HttpError::from)
        })
    }
}

async fn send(client: Client, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
    let request = reqwest::Request::try_from(request).map_err(|error| innermost(&error))?;
    let mut answer = client.execute(request).await.map_err(|error| innermost(&error))?;
    let mut response = Response::builder().status(answer.status());
    if let Some(wait) = answer.headers().get(RETRY_AFTER) {
        response = response.header(RETRY_AFTER, wait);
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| innermost(&error))? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err("the answer of the collector is longer than 64 KiB".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    response.body(Bytes::from(body)).map_err(|error| error.to_string())
}

/// The first cause, which says most; the URL is in none of them.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The exporter, and one line in the log when it begins to fail and one when it works again.
#[derive(Debug)]
struct Watched {
    exporter: SpanExporter,
    last: Arc<Mutex<String>>,
    failing: AtomicBool,
}

impl trace::SpanExporter for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let outcome = self.exporter.export(batch).await;
        match (&outcome, self.failing.swap(outcome.is_err(), Ordering::Relaxed)) {
            (Err(_), false) => {
                let reason = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let remedy = "see that the collector takes OTLP over HTTP at OTEL_EXPORTER_OTLP_ENDPOINT; requests are served all the same";
                let help = "docs/tracing.md#when-spans-do-not-arrive";
                tracing::warn!(
                    reason,
                    spans,
                    remedy,
                    help,
                    "spans cannot be delivered, and are lost until this is told to be over"
                );
            }
            (Ok(()), true) => tracing::info!("spans are delivered again"),
            _ => {}
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
