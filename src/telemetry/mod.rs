//! What operators see: logs, metrics, the audit trail.

pub mod metrics;
