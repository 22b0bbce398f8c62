//! Aquila, a Salesforce token broker.
//!
//! The modules stand in layers; a file imports only from lower ones (`tests/tidy.rs` holds that).

pub mod clock;
pub mod names;
pub mod promise;
pub mod token;

pub mod config;
pub mod telemetry;

pub mod authn;
pub mod cache;
pub mod keys;
pub mod policy;
pub mod salesforce;
pub mod tls;

pub mod ask;
pub mod broker;
pub mod holding;
pub mod snapshot;

pub mod http;

pub mod app;

pub mod cli;

pub mod simulator;
