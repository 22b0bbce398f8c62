//! What callers had used up when they were taken out of the configuration: who comes back within the hour gets no new one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Snapshot;
use crate::clock::Moment;
use crate::limits::Allowance;
use crate::names::CallerName;

/// The longest span of a limit.
const KEPT: Duration = Duration::from_secs(3600);
/// Those who had left earlier; beside them stand at most all callers of one configuration.
const MOST: usize = 10_000;

/// Allowances of callers that are gone, and since when.
#[derive(Debug, Default)]
pub(super) struct Departed(HashMap<CallerName, (Arc<Allowance>, Moment)>);

impl Departed {
    /// Everybody of the generation before and those who had left it: whoever is in the next one takes its own back.
    pub(super) fn since(previous: Option<&Snapshot>, now: Moment) -> Self {
        let Some(previous) = previous else { return Self::default() };
        let earlier = previous.departed.0.iter().filter(|(_, (_, at))| now.since(*at) < KEPT);
        let earlier = earlier.map(|(name, entry)| (name.clone(), entry.clone()));
        let present =
            previous.callers.iter().map(|caller| (caller.name.clone(), (Arc::clone(&caller.limits.allowance), now)));
        Self(earlier.take(MOST).chain(present).collect())
    }

    /// What this caller had used up, if it comes back.
    pub(super) fn take(&mut self, name: &CallerName) -> Option<Arc<Allowance>> {
        self.0.remove(name).map(|(allowance, _)| allowance)
    }
}
