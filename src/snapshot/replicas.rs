//! What a generation has to do with the other replicas, where they share a store.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Authenticated, Snapshot};
use crate::authn::AuthnError;
use crate::holding::Holding;
use crate::store::Tag;

impl Snapshot {
    /// The same caller, once what counts once in its proof is settled among the replicas. Nothing is waited for where there
    /// is nothing of the kind.
    ///
    /// # Errors
    /// It was not proved, or what counts once was used at another replica.
    pub async fn settled(
        &self,
        proved: Result<Authenticated, AuthnError>,
        now: Timestamp,
    ) -> Result<Authenticated, AuthnError> {
        let authenticated = proved?;
        if authenticated.proof.counts_once() {
            // Boxed: it is rare, and each connection keeps room for what is not.
            Box::pin(self.directory.settle(&authenticated.proof, now)).await?;
        }
        Ok(authenticated)
    }

    /// The integration whose place this is, if it is one of this generation.
    pub fn at(&self, tag: &Tag) -> Option<&Arc<Holding>> {
        let (_, rest) = tag.as_str().split_once(':')?;
        let (name, _) = rest.split_once(':')?;
        self.holdings.get(name).filter(|holding| holding.is_at(tag))
    }
}
