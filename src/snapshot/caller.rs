//! One caller of a generation: what it may have, what it is to have next, and how much of it there is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::limits::Limits;
use super::{Permit, Snapshot};
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
    /// Shared with the generations before and after.
    last_seen: Arc<LastSeen>,
}

/// When a caller was last seen, to the second: a moment as bits, 0 before the first.
#[derive(Debug, Default)]
struct LastSeen(AtomicU64);

impl Snapshot {
    /// All callers in the order of their names: for those who look after them.
    pub fn callers(&self) -> impl ExactSizeIterator<Item = &Caller> {
        self.callers.iter().map(Arc::as_ref)
    }
}

impl LastSeen {
    fn note(&self, now: Moment) {
        let before = Moment::from_bits(self.0.load(Ordering::Relaxed));
        // A caller that asks all the time changes nothing, and a line that is only read is shared by all cores.
        if now.since(before) >= Duration::from_secs(1) {
            self.0.store(now.to_bits(), Ordering::Relaxed);
        }
    }

    fn when(&self) -> Option<Moment> {
        Some(self.0.load(Ordering::Relaxed)).filter(|bits| *bits != 0).map(Moment::from_bits)
    }
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
        let last_seen = previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.last_seen));
        let decisions = metrics.decisions_of_caller();
        Self { visitor: Visitor::of(&name), name, grants, next, decisions, limits, last_seen }
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

    /// Notes that it has proved itself in a request that came at `now`.
    pub fn seen(&self, now: Moment) {
        self.last_seen.note(now);
    }

    /// When it last did, as far as this process knows.
    pub fn last_seen(&self) -> Option<Moment> {
        self.last_seen.when()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_seen_to_the_second_and_never_earlier_than_it_was() {
        let (seen, start) = (LastSeen::default(), Moment::from_bits(5_000_000_000));
        let at = |millis| start.after(Duration::from_millis(millis));
        assert_eq!(seen.when(), None);
        seen.note(start);
        assert_eq!(seen.when(), Some(start));
        seen.note(at(999));
        assert_eq!(seen.when(), Some(start));
        seen.note(at(1500));
        seen.note(at(100));
        assert_eq!(seen.when(), Some(at(1500)));
    }
}
