//! `limits`: the org's allocations and what is left of them.
//!
//! Only the API calls are counted; the other rows stand full, for clients that want to find them.

use serde_json::{Map, Value, json};

/// Allocations of a developer org, apart from the API calls.
const OTHERS: [(&str, u64); 12] = [
    ("ConcurrentAsyncGetReportInstances", 200),
    ("ConcurrentSyncReportRuns", 20),
    ("DailyAsyncApexExecutions", 250_000),
    ("DailyBulkApiBatches", 15_000),
    ("DailyBulkV2QueryJobs", 10_000),
    ("DailyGenericStreamingApiEvents", 10_000),
    ("DailyStreamingApiEvents", 10_000),
    ("DataStorageMB", 5),
    ("FileStorageMB", 20),
    ("HourlyAsyncReportRuns", 1_200),
    ("HourlyPublishedPlatformEvents", 50_000),
    ("SingleEmail", 15),
];

pub(super) fn told(api_calls: u64, api_calls_per_day: u64) -> Value {
    let row = |max: u64, left: u64| json!({"Max": max, "Remaining": left});
    let mut limits: Map<String, Value> =
        OTHERS.iter().map(|(name, max)| ((*name).to_owned(), row(*max, *max))).collect();
    let left = api_calls_per_day.saturating_sub(api_calls);
    limits.insert("DailyApiRequests".to_owned(), row(api_calls_per_day, left));
    Value::Object(limits)
}
