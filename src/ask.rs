//! What a caller asks for: selectors that name an integration, and how much life it wants. As it came, nothing proved.

use std::fmt;
use std::time::Duration;

/// A request for a token.
#[derive(Debug, Default, Clone)]
pub struct Ask {
    /// Everything in the request that names an integration.
    pub selectors: Vec<Selector>,
    /// `min_ttl`: at least this much life, if it can be had.
    pub min_life: Duration,
}

/// One thing that names an integration.
#[derive(Clone, PartialEq, Eq)]
pub struct Selector {
    /// Where it stood.
    pub kind: SelectorKind,
    /// Its text, as the caller wrote it: looked up, never logged, never a label.
    pub text: String,
}

impl fmt::Debug for Selector {
    /// Without the text: it may be a key that was put in the wrong place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Where a selector stood, which decides how its refusal is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectorKind {
    /// `audience` in the form.
    Audience,
    /// The path, `/token/NAME`.
    Path,
    /// `integration` in the query.
    Query,
    /// `resource` in the form (RFC 8707).
    Resource,
    /// `scope` in the form.
    Scope,
    /// `sub` of a request that the caller signed: the name of an integration, or its username.
    Subject,
}

impl Ask {
    /// Adds a selector.
    pub fn select(&mut self, kind: SelectorKind, text: impl Into<String>) {
        self.selectors.push(Selector { kind, text: text.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_place_of_a_name_is_not_shown() {
        let mut ask = Ask::default();
        ask.select(SelectorKind::Scope, "aquila_key");
        let shown = format!("{ask:?}");
        assert!(shown.contains("Scope") && !shown.contains("aquila_key"), "{shown}");
    }
}
