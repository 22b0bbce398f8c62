//! The id that an answer, the log and the audit record share. Made here, never taken from a request.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::HeaderValue;
use jiff::Timestamp;
use uuid::Builder;

/// A request's id: a UUID of version 7, so that ids sort by time.
#[derive(Debug, Clone)]
pub(super) struct RequestId {
    text: [u8; 36],
}

/// Spreads the counter over the random part. Ids have to be unique, not secret, and asking the kernel for random
/// numbers costs more than the rest of an id.
static SPREAD: LazyLock<RandomState> = LazyLock::new(RandomState::new);
static COUNTER: AtomicU64 = AtomicU64::new(0);

impl RequestId {
    /// A new one.
    pub(super) fn new(now: Timestamp) -> Self {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let [a, b, c, d, e, f, g, h] = SPREAD.hash_one(count).to_be_bytes();
        let [.., i, j] = count.to_be_bytes();
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let id = Builder::from_unix_timestamp_millis(milliseconds, &[a, b, c, d, e, f, g, h, i, j]).into_uuid();
        let mut text = [0; 36];
        id.hyphenated().encode_lower(&mut text);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_of_one_moment_differ_and_are_of_version_seven() {
        let now = Timestamp::from_second(1_795_000_000).unwrap();
        let ids: HashSet<String> = (0..100_000).map(|_| RequestId::new(now).as_str().to_owned()).collect();
        assert_eq!(ids.len(), 100_000);
        assert!(ids.iter().all(|id| uuid::Uuid::parse_str(id).unwrap().get_version_num() == 7));
    }
}
