//! The certificate of a key: watched, told to whoever looks, and no reason to stop.

use aquila::clock::Clock;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::json;

use crate::support::key::Pair;
use crate::support::plan::INTEGRATION;
use crate::support::seconds;
use crate::support::stage::Stage;

const DAY: u64 = 24 * 3600;

/// A certificate of the key of this process that ends about so many days from now.
fn ending_in(days: i64) -> String {
    let end = Clock::system().timestamp() + jiff::SignedDuration::from_hours(24 * days);
    let date = end.to_zoned(jiff::tz::TimeZone::UTC).date();
    let mut params = CertificateParams::default();
    params.not_after =
        date_time_ymd(date.year().into(), u8::try_from(date.month()).unwrap(), u8::try_from(date.day()).unwrap());
    let key = KeyPair::from_pem(&Pair::of_this_process().private_key).unwrap();
    params.self_signed(&key).unwrap().pem()
}

#[tokio::test]
async fn the_end_of_a_certificate_is_told_and_its_passing_stops_nobody() {
    let line = "certificate_path = \"certificate.pem\"";
    let stage = Stage::plan().file("certificate.pem", ending_in(40)).integration_line(line).start().await;
    let left = async || stage.told(INTEGRATION, "/keys/0/certificate/days_left").await.as_i64().unwrap();
    let before = left().await;
    assert!((38..=40).contains(&before), "{before}");
    let series = format!("aquila_certificate_expiry_timestamp_seconds{{integration=\"{INTEGRATION}\"}}");
    let end = stage.metric(&series).await;
    let told = stage.told(INTEGRATION, "/keys/0/certificate/not_after").await;
    let told: jiff::Timestamp = told.as_str().unwrap().parse().unwrap();
    assert_eq!(told.as_second(), i64::try_from(end).unwrap());
    let size = stage.told(INTEGRATION, "/keys/0/certificate/size_bytes").await.as_u64().unwrap();
    assert!((500..4096).contains(&size), "{size}");
    stage.advance(seconds(10 * DAY));
    assert_eq!(left().await, before - 10);
    stage.advance(seconds(40 * DAY));
    assert!(left().await < 0, "{}", left().await);
    stage.token().await;
}

#[tokio::test]
async fn a_key_without_a_certificate_has_no_end_to_be_told() {
    let stage = Stage::usual().await;
    assert_eq!(stage.told(INTEGRATION, "/keys/0/certificate").await, json!(null));
    assert!(stage.told(INTEGRATION, "/keys/0/thumbprint").await.as_str().unwrap().len() == 64);
    let metrics = stage.ops_page("/metrics").await;
    assert!(!metrics.contains("aquila_certificate_expiry"), "{metrics}");
}
