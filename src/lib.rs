//! Aquila, a Salesforce token broker.
//!
//! The story of one request. [`http`] accepts a connection and gives the request an id. It reads what the caller offers
//! as proof, and what it asks for, an [`ask::Ask`]; nothing of it is trusted yet. The request takes the
//! [`snapshot::Snapshot`] in force and keeps it to its end. The snapshot says who calls, by [`authn`], and, asked by the
//! [`broker`], whether that caller may have what it asks for, by [`policy`]. The answer is a [`snapshot::Permit`]: it
//! names a [`holding::Holding`], which is an integration with the place of its token. If the [`cache`] has a token whose
//! [`promise`] still holds, that is the answer. If not, one flight goes to [`salesforce`] for all who wait: it signs an
//! assertion with a key of [`keys`], trades it for a token, and makes one REST call that proves the session alive. The
//! answer tells what is left of the promise; the refusal tells nothing that Salesforce wrote. Last, [`telemetry`]
//! records the decision.
//!
//! The modules stand in layers; a file imports only from lower ones (`tests/tidy.rs` holds that). In reading order:
//!
//! - words: [`clock`] tells the time, [`hash`] is SHA-256, [`names`] are valid once parsed, [`promise`] is how long a token is vouched for,
//!   [`signature`] verifies, [`token`] cannot be printed, [`window`] counts what happened lately, [`ask`] is what a caller asks for
//! - facts: [`config`] is valid or a report of every mistake, [`telemetry`] is log, metrics and audit trail
//! - skills: [`authn`] finds out who calls, [`cache`] keeps one value that ages, [`keys`] sign,
//!   [`limits`] bound what one caller causes, [`policy`] grants,
//!   [`salesforce`] mints and confirms, [`store`] is what replicas share, [`tls`] protects a door
//! - core: [`holding`] joins integration and slot, [`snapshot`] is one generation of the configuration, [`broker`]
//!   issues tokens from it; [`walk`] asks an org about everything that a token needs
//! - edge: [`http`] is both doors
//! - assembly: [`app`] joins the parts, runs and drains them, [`reload`] puts a new configuration in force
//! - shell: [`cli`] is the command line
//! - aside: [`simulator`] is a strict Salesforce that shares no code with the rest

pub mod clock;
pub mod hash;
pub mod names;
pub mod promise;
pub mod signature;
pub mod token;
pub mod window;

pub mod config;
pub mod telemetry;

pub mod authn;
pub mod cache;
pub mod keys;
pub mod limits;
pub mod policy;
pub mod salesforce;
pub mod store;
pub mod tls;

pub mod ask;
pub mod broker;
pub mod holding;
pub mod snapshot;
pub mod walk;

pub mod http;

pub mod app;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod reload;

pub mod cli;

pub mod simulator;
