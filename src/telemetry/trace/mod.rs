//! Traces: which request did what, and how long each part of it took, told to a collector by OpenTelemetry.
//!
//! Nothing of this runs unless the environment of the process says where spans go, by the variables of OpenTelemetry's
//! specification; without the feature `otel` it is not even there, and everything here does nothing. The current span is
//! ambient: it belongs to whatever is polled by [`Span::around`], and ends where a task ends, so what is told of a flight
//! reaches its span without the cache knowing of traces.
//!
//! An attribute is a word of a closed set, a name from the configuration, a number, or a URL without its query. Nothing
//! that a caller or Salesforce wrote is in one, and no secret.

#[cfg(feature = "otel")]
mod export;
#[cfg(not(feature = "otel"))]
mod nothing;
#[cfg(feature = "otel")]
mod parent;
#[cfg(feature = "otel")]
mod settings;
#[cfg(feature = "otel")]
mod spans;

#[cfg(not(feature = "otel"))]
pub use self::nothing::{Mark, Span, Traces, call, child, current, current_id};
#[cfg(feature = "otel")]
pub use self::spans::{Mark, Span, Traces, call, child, current, current_id};

/// Without one of these nothing is started.
const ASKING: [&str; 3] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER"];
