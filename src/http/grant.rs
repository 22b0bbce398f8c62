//! `grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523 section 2.1): a caller signs the whole request with
//! a key of its own, and names the integration in `sub`.
//!
//! Salesforce's own clients speak so. They work here unchanged, and hold a key that opens only what is granted to them.

use std::sync::Arc;

use super::credentials;
use super::decision::Outcome;
use super::error::{Refusal, Shape};
use super::failed_proof;
use super::params::Params;
use super::token::{Inquiry, broker_issues, select};
use crate::ask::Ask;
use crate::authn::{AuthnError, Credentials, Occasion, ProofKind};
use crate::broker::Issued;
use crate::snapshot::Snapshot;

/// The grant type.
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Whether the form asks for this grant, and some caller may.
pub(super) fn is_one(inquiry: &Inquiry<'_>, form: &Params) -> bool {
    form.get("grant_type") == Some(JWT_BEARER) && inquiry.door.snapshots.current().directory().tokens().offer_grant()
}

/// Who and what by the assertion, then whether.
pub(super) async fn issue(inquiry: &Inquiry<'_>, form: &Params) -> Result<Issued, Refusal> {
    let snapshot = inquiry.door.snapshots.current();
    inquiry.note_outcome(Outcome::InvalidRequest);
    form.once(&["grant_type", "assertion", "client_id", "scope", "audience"])?;
    let assertion = form.get("assertion").ok_or(Refusal::invalid_request("assertion is missing"))?;
    let others = credentials::read(&inquiry.head.headers, Some(form))?;
    let others = Credentials { certificate: inquiry.certificate.map(Arc::clone), ..others };
    let refuse = |error| refuse(inquiry, &snapshot, &others, error);
    let mut accepted = snapshot.accept(assertion, &others, &inquiry.occasion());
    if accepted.as_ref().err() == Some(&AuthnError::Stale) {
        // Boxed: it is rare, and each connection keeps room for what is not.
        Box::pin(snapshot.directory().renew_keys(&others, inquiry.context.deadline())).await;
        accepted = snapshot.accept(assertion, &others, &Occasion { renewed: true, ..inquiry.occasion() });
    }
    let (authenticated, subject) = accepted.map_err(refuse)?;
    let authenticated = snapshot.settled(Ok(authenticated), inquiry.occasion().now).await.map_err(refuse)?;
    inquiry.note(|decision| decision.authenticated(&authenticated));
    let mut ask = Ask::default();
    ask.select(subject.kind, subject.text);
    select(&mut ask, inquiry, form)?;
    broker_issues(inquiry, &snapshot, &authenticated, (&ask, Shape::OAuth)).await
}

/// One answer for whatever is wrong with the assertion (RFC 7521 section 4.1.1), unless it is one of too many.
fn refuse(inquiry: &Inquiry<'_>, snapshot: &Snapshot, others: &Credentials, error: AuthnError) -> Refusal {
    inquiry.note_failed_proof(ProofKind::SignedRequest, error);
    match failed_proof::wait(inquiry, snapshot, others) {
        Some(wait) => Refusal::slow_down(wait),
        None => Refusal::invalid_grant(),
    }
}
