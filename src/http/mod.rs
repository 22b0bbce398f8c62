//! The edge: two doors, their routes, and everything that turns a request into an [`Ask`](crate::ask::Ask) and a token
//! into an answer. Nothing here knows Salesforce.

pub mod callers;
mod credentials;
mod decision;
mod error;
mod failed_proof;
mod form;
mod forwarded;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod grant;
mod head;
pub mod health;
pub mod listener;
mod metadata;
mod openapi;
pub mod ops;
mod page;
mod params;
mod report;
mod request_id;
mod route;
pub mod standing;
mod status;
mod token;
mod visit;
