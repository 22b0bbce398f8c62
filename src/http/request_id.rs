//! The id that an answer, the log and the audit record share. Made here, never taken from a request.

use axum::http::HeaderValue;
use uuid::Uuid;

/// A request's id: a UUID of version 7, so that ids sort by time.
#[derive(Debug, Clone)]
pub(super) struct RequestId {
    text: [u8; 36],
}

impl RequestId {
    /// A new one.
    pub(super) fn new() -> Self {
        let mut text = [0; 36];
        Uuid::now_v7().hyphenated().encode_lower(&mut text);
        Self { text }
    }

    /// Its text.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// Its text as a header.
    pub(super) fn to_header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}
