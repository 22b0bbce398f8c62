//! Aquila, a Salesforce token broker.
//!
//! The modules stand in layers; a file imports only from lower ones (`tests/tidy.rs` holds that).

pub mod names;

pub mod config;

pub mod simulator;
