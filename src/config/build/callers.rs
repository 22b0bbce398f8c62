//! `[callers.NAME]`: what each may ask for and how it proves itself.
//!
//! Ten thousand callers beside ten thousand integrations must load in a blink, so nothing here compares all with all.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Bound;

use super::Workshop;
use super::proofs::{Bench, CallersProofs};
use crate::config::report::{Located, Report};
use crate::config::setting::{Field, relocated};
use crate::config::values::{Digest, Named};
use crate::config::{Caller, file, show};
use crate::names::{CallerName, IntegrationPattern};

/// Mistakes that get a nearest name; each costs a comparison with every name.
const SUGGESTIONS: usize = 20;

/// Names that the search for useless patterns looks at, over the whole file. Behind it stands only a warning.
const LOOKS: usize = 2_000_000;

/// The names of all integrations, also of those whose settings are wrong: a caller is not to blame for these.
pub(super) struct Names<'a> {
    sorted: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    pub(super) fn of(names: &'a [String]) -> Self {
        Self { sorted: names.iter().map(String::as_str).collect() }
    }

    /// The names that begin as the pattern does.
    fn candidates(&self, pattern: &'a IntegrationPattern) -> impl Iterator<Item = &'a str> {
        let prefix = pattern.as_str().split('*').next().unwrap_or_default();
        self.sorted
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .copied()
            .take_while(move |name| name.starts_with(prefix))
    }
}

pub(super) fn callers(
    field: Field<Named<CallerName, Located<file::Caller>>>,
    names: Option<&Names<'_>>,
    bench: &mut Bench<'_>,
    shop: &mut Workshop<'_>,
) -> Option<Vec<Caller>> {
    let named = field.value?;
    if named.names.is_empty() {
        shop.report.warning(&field.at, "there are no callers: nobody can ask for a token", "add `[callers.NAME]`");
    }
    if let Some(names) = names {
        let patterns = named.sections.iter().filter_map(|(_, file)| file.value.integrations.value.as_ref()).flatten();
        grants(patterns, names, &mut shop.report);
    }
    let mut digests = HashMap::new();
    let built = named.sections.into_iter().map(|(name, file)| caller(name, file, &mut digests, (bench, shop)));
    // All are looked at before one that is wrong empties the whole.
    let mut callers = built.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()?;
    callers.sort_by(|a, b| a.name.cmp(&b.name));
    Some(callers)
}

/// What is granted must exist: a literal name as an integration, a pattern as the name of at least one.
fn grants<'a>(patterns: impl Iterator<Item = &'a Located<IntegrationPattern>>, names: &Names<'a>, report: &mut Report) {
    let mut suggestions = SUGGESTIONS;
    let mut looks = LOOKS;
    let mut useful = HashSet::new();
    for pattern in patterns {
        if let Some(name) = pattern.value.literal() {
            if !names.sorted.contains(name) {
                let near = if suggestions > 0 { show::nearest(name, names.sorted.iter().copied()) } else { None };
                suggestions = suggestions.saturating_sub(1);
                unknown(pattern, name, near, report);
            }
        } else if looks > 0 && !useful.contains(&pattern.value) {
            let mut candidates = names.candidates(&pattern.value).inspect(|_| looks = looks.saturating_sub(1));
            if candidates.any(|name| pattern.value.matches(name)) {
                useful.insert(&pattern.value);
            } else {
                report.warning(pattern, "no integration has a name like this", "correct the pattern, or remove it");
            }
        }
    }
}

fn unknown(at: &Located<IntegrationPattern>, name: &str, near: Option<&str>, report: &mut Report) {
    let remedy = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add `[integrations.{}]`, or remove the name here", show::key(name)),
    };
    report.error(at, "there is no integration of this name", remedy);
}

fn caller(
    name: CallerName,
    caller: Located<file::Caller>,
    digests: &mut HashMap<[u8; 32], CallerName>,
    (bench, shop): (&mut Bench<'_>, &mut Workshop<'_>),
) -> Option<Caller> {
    let at = relocated(&caller, ());
    let file = caller.value;
    let report = &mut shop.report;
    if file.integrations.value.as_ref().is_some_and(Vec::is_empty) {
        let remedy = "name at least one integration, or remove the caller";
        report.error(&file.integrations.at, "the list is empty: this caller could ask for nothing", remedy);
    }
    let proofs = CallersProofs {
        jwt: file.jwt,
        kubernetes: file.kubernetes,
        public_keys: file.public_keys,
        jwt_bearer_grant: file.jwt_bearer_grant,
    };
    if file.api_key_sha256.value.as_ref().is_some_and(Vec::is_empty) && !proofs.any() {
        let remedy = format!("make a key with `aquila new-key {name}`");
        report.warning(&at, "this caller has no way to prove itself, so it never gets in", remedy);
    }
    let keys = file.api_key_sha256.value.map(|keys| own_keys(&name, keys, digests, report));
    let proofs = bench.proofs(&name, proofs, shop);
    let integrations = file.integrations.value?.into_iter().map(|pattern| pattern.value).collect();
    Some(Caller { name, integrations, api_key_sha256: keys?, proofs: proofs? })
}

/// The caller's digests, each once. A digest tells who calls, so it belongs to one caller only.
fn own_keys(
    name: &CallerName,
    keys: Vec<Located<Digest>>,
    digests: &mut HashMap<[u8; 32], CallerName>,
    report: &mut Report,
) -> Vec<[u8; 32]> {
    let mut own = Vec::with_capacity(keys.len());
    for key in keys {
        match digests.entry(key.value.0) {
            Entry::Vacant(free) => {
                free.insert(name.clone());
                own.push(key.value.0);
            }
            Entry::Occupied(taken) if taken.get() == name => {
                report.warning(&key, "this digest stands twice in the list", "remove one of the two");
            }
            Entry::Occupied(taken) => {
                let message = format!("caller `{}` has the same digest", taken.get());
                report.error(&key, message, format!("make a key of its own with `aquila new-key {name}`"));
            }
        }
    }
    own
}
