//! Rights that are tried beside those in force: what they would change is counted on each request, and told once.
//!
//! They let nothing through: nobody asks a trial for leave.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::Rights;
use crate::names::{CallerName, IntegrationName};
use crate::telemetry::metrics::Metrics;

/// The rights that one caller is to have next.
#[derive(Debug)]
pub struct Trial {
    caller: CallerName,
    rights: Rights,
    /// What the log has been told. It outlives a change of the configuration that leaves these rights alone.
    told: Arc<Mutex<HashSet<IntegrationName>>>,
    metrics: Arc<Metrics>,
}

impl Trial {
    /// A trial of `rights`; it goes on where `previous` was if that tried the same.
    pub fn new(caller: CallerName, rights: Rights, metrics: Arc<Metrics>, previous: Option<&Self>) -> Self {
        let told = previous.filter(|previous| previous.rights == rights).map(|previous| Arc::clone(&previous.told));
        Self { caller, rights, told: told.unwrap_or_default(), metrics }
    }

    /// The rights that are tried.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Notes a request that is allowed, and would be refused.
    pub fn would_deny(&self, integration: &IntegrationName) {
        self.metrics.next_would_deny(&self.caller, integration);
        if self.is_news(integration) {
            let remedy = "add the integration to next_integrations, or move the caller off it before they take effect";
            tracing::warn!(
                caller.name = %self.caller,
                integration.name = %integration,
                remedy,
                "next_integrations would refuse what this caller asks for"
            );
        }
    }

    /// Notes a request that is refused, and would be allowed.
    pub fn would_grant(&self, integration: &IntegrationName) {
        self.metrics.next_would_grant(&self.caller, integration);
    }

    fn is_news(&self, integration: &IntegrationName) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked up first: a name is copied once, and not for each request.
        !told.contains(integration) && told.insert(integration.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(patterns: &[&str], previous: Option<&Trial>) -> Trial {
        let rights = Rights::new(patterns.iter().map(|pattern| pattern.parse().unwrap()).collect());
        Trial::new("sync".parse().unwrap(), rights, Arc::new(Metrics::new().unwrap()), previous)
    }

    #[test]
    fn each_integration_is_news_once_for_as_long_as_the_same_rights_are_tried() {
        let (elf, crm) = ("elf".parse().unwrap(), "crm".parse().unwrap());
        let first = trial(&["sales-*"], None);
        assert_eq!([&elf, &elf, &crm, &elf].map(|name| first.is_news(name)), [true, false, true, false]);
        let reloaded = trial(&["sales-*"], Some(&first));
        assert!(!reloaded.is_news(&elf), "a reload changed nothing here");
        assert!(trial(&["sales-*", "crm"], Some(&reloaded)).is_news(&elf), "other rights are tried now");
    }
}
