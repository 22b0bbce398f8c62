//! One caller of a generation: what it may have, what it is to have next, and how much of it there is.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Permit;
use super::limits::Limits;
use crate::clock::Moment;
use crate::config;
use crate::holding::{Holding, Visitor};
use crate::limits::{Allowance, Kind};
use crate::names::CallerName;
use crate::policy::{Rights, Trial};
use crate::telemetry::metrics::{Metrics, Series};

/// One caller of a generation.
#[derive(Debug)]
pub struct Caller {
    pub(super) name: CallerName,
    pub(super) visitor: Visitor,
    pub(super) grants: Grants,
    /// What it is to have next, if that is being tried.
    pub(super) next: Option<Box<Next>>,
    pub(super) decisions: Series,
    pub(super) limits: Limits,
}

/// What a caller may have of a generation.
#[derive(Debug)]
pub(super) struct Grants {
    pub(super) rights: Rights,
    /// What it gets when it names nothing; found out on its first such request.
    pub(super) only: OnceLock<Only>,
}

#[derive(Debug)]
pub(super) struct Next {
    pub(super) grants: Grants,
    pub(super) trial: Trial,
}

#[derive(Debug)]
pub(super) enum Only {
    None,
    One(Arc<Holding>),
    Several,
}

impl Caller {
    pub(super) fn new(
        settings: &config::Caller,
        metrics: &Arc<Metrics>,
        allowance: Arc<Allowance>,
        previous: Option<&Self>,
    ) -> Self {
        let name = settings.name.clone();
        let next = (!settings.next_integrations.is_empty()).then(|| {
            let rights = Rights::new(settings.next_integrations.clone());
            let before = previous.and_then(|previous| previous.next.as_deref()).map(|next| &next.trial);
            let trial = Trial::new(name.clone(), rights.clone(), Arc::clone(metrics), before);
            Box::new(Next { grants: Grants::of(rights), trial })
        });
        let grants = Grants::of(Rights::new(settings.integrations.clone()));
        let limits = Limits::new(settings, metrics, allowance);
        Self { visitor: Visitor::of(&name), name, grants, next, decisions: metrics.decisions_of_caller(), limits }
    }

    /// Its name.
    pub fn name(&self) -> &CallerName {
        &self.name
    }

    /// Its mark on the warm path.
    pub fn visitor(&self) -> Visitor {
        self.visitor
    }

    /// Counts a report of a token.
    ///
    /// # Errors
    /// There were too many: the time after which it may go on.
    pub fn may_report(&self, now: Moment) -> Result<(), Duration> {
        self.limits.take(&self.name, Kind::Reports, self.limits.reports_per_minute, now)
    }

    /// Counts a decision about a request of its.
    pub fn decided(&self, outcome: &'static str) {
        self.decisions.count(self.name.as_str(), outcome);
    }
}

impl Grants {
    pub(super) fn of(rights: Rights) -> Self {
        Self { rights, only: OnceLock::new() }
    }

    pub(super) fn permit(&self, holding: &Arc<Holding>) -> Option<Permit> {
        let rule = self.rights.allow(holding.name().as_str())?;
        Some(Permit { holding: Arc::clone(holding), rule })
    }
}
