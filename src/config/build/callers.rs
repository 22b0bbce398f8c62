//! `[callers.NAME]`: what each may ask for and how it proves itself.
//!
//! Ten thousand callers beside ten thousand integrations must load in a blink, so nothing here compares all with all.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Bound;

use super::Workshop;
use super::proofs::{Bench, CallersProofs};
use crate::config::certificate::CertificateName;
use crate::config::report::{Located, Place, Report};
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
        let files = named.sections.iter().map(|(_, file)| &file.value);
        let lists = files.flat_map(|file| [&file.integrations, &file.next_integrations]);
        let patterns = lists.filter_map(|list| list.value.as_ref()).flatten();
        grants(patterns, names, &mut shop.report);
    }
    let mut owned = Owned::default();
    let built = named.sections.into_iter().map(|(name, file)| caller(name, file, &mut owned, (bench, shop)));
    // All are looked at before one that is wrong empties the whole.
    let mut callers = built.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()?;
    callers.sort_by(|a, b| a.name.cmp(&b.name));
    Some(callers)
}

/// At a door that takes no certificates their names prove nobody.
pub(super) fn unasked(named: &Named<CallerName, Located<file::Caller>>, report: &mut Report) {
    let mut written = named.sections.iter().map(|(_, file)| &file.value.client_certificate);
    if let Some(first) = written.find(|names| names.written) {
        let told = "the callers' door takes no client certificates, so these names prove nobody";
        report.warning(&first.at, told, "set `server.tls.client_ca_path`");
    }
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

/// What tells who calls belongs to one caller only.
#[derive(Default)]
struct Owned {
    digests: HashMap<[u8; 32], CallerName>,
    names: HashMap<CertificateName, (CallerName, Place)>,
}

fn caller(
    name: CallerName,
    caller: Located<file::Caller>,
    owned: &mut Owned,
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
    let keyless = file.api_key_sha256.value.as_ref().is_some_and(Vec::is_empty);
    let nameless = file.client_certificate.value.as_ref().is_some_and(Vec::is_empty);
    if keyless && nameless && !proofs.any() {
        let remedy = format!("make a key with `aquila new-key {name}`");
        report.warning(&at, "this caller has no way to prove itself, so it never gets in", remedy);
    }
    let keys = file.api_key_sha256.value.map(|keys| own_keys(&name, keys, &mut owned.digests, report));
    let names = file.client_certificate.value.map(|names| own_names(&name, names, &mut owned.names, report));
    let proofs = bench.proofs(&name, proofs, shop);
    let patterns = |list: Vec<Located<IntegrationPattern>>| list.into_iter().map(|pattern| pattern.value).collect();
    let (integrations, next_integrations) = (file.integrations.value?, file.next_integrations.value?);
    Some(Caller {
        name,
        integrations: patterns(integrations),
        next_integrations: patterns(next_integrations),
        mints_per_hour: file.mints_per_hour.value.map(|limit| limit.0),
        reports_per_minute: file.reports_per_minute.value?.0,
        api_key_sha256: keys?,
        client_certificate: names?,
        proofs: proofs?,
    })
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

/// The names of the caller's certificates, each once.
fn own_names(
    name: &CallerName,
    names: Vec<Located<CertificateName>>,
    known: &mut HashMap<CertificateName, (CallerName, Place)>,
    report: &mut Report,
) -> Vec<CertificateName> {
    let mut own = Vec::with_capacity(names.len());
    for rule in names {
        match known.entry(rule.value.clone()) {
            Entry::Vacant(free) => {
                free.insert((name.clone(), rule.place.clone()));
                own.push(rule.value);
            }
            Entry::Occupied(taken) if taken.get().0 == *name => {
                report.warning(&rule, "this name stands twice in the list", "remove one of the two");
            }
            Entry::Occupied(taken) => {
                let (other, place) = taken.get();
                let message = format!("caller `{other}` has the same certificate name, in line {}", place.line);
                report.error(&rule, message, "leave it to one of the two: a certificate proves one caller");
            }
        }
    }
    own
}
