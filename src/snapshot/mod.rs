//! All of one configuration generation, and the only way for a caller to reach an integration: [`Snapshot::authorize`].
//!
//! A request takes one snapshot and carries it to its end, so no answer mixes two generations. Building one opens key
//! files and asks nobody over the network.

mod caller;
mod certificates;
mod departed;
mod in_force;
mod limits;
mod replicas;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio_util::task::TaskTracker;

pub use self::caller::Caller;
use self::caller::{Grants, Only};
use self::certificates::Certificates;
use self::departed::Departed;
pub use self::in_force::Snapshots;
use self::limits::MINTS_FOR_EACH;
use crate::ask::{Ask, Selector, SelectorKind};
use crate::authn::{AuthnError, Credentials, Directory, Occasion, Proof, Tokens};
use crate::clock::Moment;
use crate::config::report::Report;
use crate::config::{self, Config};
use crate::holding::Holding;
use crate::keys::{self, Certificate, Signer};
use crate::limits::Kind;
use crate::names::{CallerName, IntegrationName};
use crate::policy::Rule;
use crate::salesforce::{Integration, Keys, Surroundings};

/// One generation.
#[derive(Debug)]
pub struct Snapshot {
    holdings: HashMap<IntegrationName, Arc<Holding>>,
    by_instance: HashMap<String, Vec<Arc<Holding>>>,
    by_username: HashMap<String, Vec<Arc<Holding>>>,
    certificates: Certificates,
    callers: Vec<Arc<Caller>>,
    departed: Departed,
    directory: Directory,
    issuer: Option<String>,
    ops_token: Option<SecretString>,
    failed_proofs_per_minute: u32,
    takes_certificates: bool,
    trusted_proxies: Vec<IpNet>,
}

/// A caller that has proved itself.
#[derive(Debug, Clone)]
pub struct Authenticated {
    /// The caller.
    pub caller: Arc<Caller>,
    /// How.
    pub proof: Proof,
}

/// The proof that a caller may have an integration's token; nothing else opens a [`Holding`].
#[derive(Debug)]
pub struct Permit {
    /// The integration.
    pub holding: Arc<Holding>,
    /// The rule that allowed it.
    pub rule: Rule,
}

/// Why there is no permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// Unknown or not granted, told apart only for the operator: a name is given when the integration exists.
    NotGranted {
        /// The selector that did not resolve.
        by: SelectorKind,
        /// The integration, if there is one of that name.
        integration: Option<IntegrationName>,
    },
    /// Two selectors name different integrations.
    Contradiction,
    /// Nothing was named, and the caller has none or several.
    Unnamed {
        /// Whether it has any.
        several: bool,
    },
}

impl Snapshot {
    /// Builds a generation; `previous` lends the warm tokens of integrations that did not change.
    ///
    /// The report holds every key that does not open, and warnings.
    pub fn build(
        config: &Config,
        surroundings: &Surroundings,
        flights: &TaskTracker,
        previous: Option<&Self>,
        tokens: Tokens,
    ) -> Result<(Self, Report), Report> {
        let mut report = Report::default();
        let opened = keys::open_all(config.integrations.iter().flat_map(config::Integration::keys), &mut report);
        let now = surroundings.clock.timestamp();
        let certificates = Certificates::watch(&config.integrations, &opened, now, &mut report);
        if report.has_errors() {
            return Err(report);
        }
        let mut holdings = HashMap::with_capacity(config.integrations.len());
        let mut by_instance: HashMap<String, Vec<Arc<Holding>>> = HashMap::new();
        let mut by_username: HashMap<String, Vec<Arc<Holding>>> = HashMap::new();
        for settings in &config.integrations {
            let Some(first) = opened.signer(&settings.key) else { continue };
            let next = settings.next_key.as_ref().and_then(|key| opened.signer(key).zip(Some(key)));
            let next = next.and_then(|(next, key)| another(next, &first, key, &mut report));
            let integration =
                Integration::new(settings.clone().without_passwords(), Keys { first, next }, surroundings.clone());
            let before = previous.and_then(|previous| previous.holdings.get(&settings.name)).map(Arc::as_ref);
            let holding = Arc::new(Holding::succeed(integration, before, flights.clone()));
            if let Some(instance_url) = &settings.instance_url {
                by_instance.entry(without_slash(instance_url).to_owned()).or_default().push(Arc::clone(&holding));
            }
            // Only a request that a caller signed names a user.
            if tokens.offer_grant() {
                by_username.entry(settings.username.clone()).or_default().push(Arc::clone(&holding));
            }
            holdings.insert(settings.name.clone(), holding);
        }
        let mut directory = Directory::new(tokens);
        let mut departed = Departed::since(previous, surroundings.clock.now());
        let mut callers = Vec::with_capacity(config.callers.len());
        for caller in &config.callers {
            let position = directory.add(caller.name.clone(), &caller.api_key_sha256);
            directory.add_certificates(position, &caller.client_certificate);
            let before = previous.and_then(|previous| previous.caller(&caller.name));
            let allowance = departed.take(&caller.name).unwrap_or_default();
            callers.push(Arc::new(Caller::new(caller, &surroundings.metrics, allowance, before)));
        }
        let snapshot = Self {
            holdings,
            by_instance,
            by_username,
            certificates,
            callers,
            departed,
            directory,
            issuer: config.server.issuer().map(str::to_owned),
            ops_token: config.ops.bearer_token.clone(),
            failed_proofs_per_minute: config.server.failed_proofs_per_minute,
            takes_certificates: config.server.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
            trusted_proxies: config.server.trusted_proxies.clone(),
        };
        Ok((snapshot, report))
    }

    /// Who calls.
    pub fn authenticate(
        &self,
        credentials: &Credentials,
        occasion: &Occasion<'_>,
    ) -> Result<Authenticated, AuthnError> {
        self.authenticated(self.directory.authenticate(credentials, occasion)?)
    }

    /// Who signed a whole request for a token, and what it names in `sub`. What else came along must not prove another.
    pub fn accept(
        &self,
        assertion: &str,
        others: &Credentials,
        occasion: &Occasion<'_>,
    ) -> Result<(Authenticated, Selector), AuthnError> {
        let signed = self.directory.accept(assertion, others, occasion)?;
        let subject = Selector { kind: SelectorKind::Subject, text: signed.subject.to_string() };
        Ok((self.authenticated(signed.proof)?, subject))
    }

    fn authenticated(&self, proof: Proof) -> Result<Authenticated, AuthnError> {
        let caller = self.callers.get(proof.caller).map(Arc::clone).ok_or(AuthnError::Unknown)?;
        Ok(Authenticated { caller, proof })
    }

    /// How callers prove themselves here.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Whether the caller may have what it asks for, and what that is. Asked on every request, before the cache.
    pub fn authorize(&self, caller: &Caller, ask: &Ask) -> Result<Permit, Denied> {
        let decided = self.decide(&caller.grants, ask);
        if let Some(next) = &caller.next {
            let would = self.decide(&next.grants, ask);
            match (&decided, would) {
                (Ok(permit), Ok(other)) if Arc::ptr_eq(&permit.holding, &other.holding) => {}
                (Ok(permit), _) => next.trial.would_deny(permit.holding.name()),
                (Err(_), Ok(permit)) => next.trial.would_grant(permit.holding.name()),
                (Err(_), Err(_)) => {}
            }
        }
        decided
    }

    fn decide(&self, grants: &Grants, ask: &Ask) -> Result<Permit, Denied> {
        let mut chosen: Option<Permit> = None;
        for selector in &ask.selectors {
            let permit = self.resolve(grants, selector)?;
            match &chosen {
                Some(other) if !Arc::ptr_eq(&other.holding, &permit.holding) => return Err(Denied::Contradiction),
                _ => chosen = Some(permit),
            }
        }
        match chosen {
            Some(permit) => Ok(permit),
            None => self.unnamed(grants),
        }
    }

    /// Notes that the caller made use of its right to an integration otherwise than by asking for a token.
    pub fn used(&self, caller: &Caller, holding: &Holding) {
        if let Some(next) = &caller.next
            && next.grants.rights.allow(holding.name().as_str()).is_none()
        {
            next.trial.would_deny(holding.name());
        }
    }

    /// Every integration whose tokens the caller may have, with the rule that allows it.
    pub fn granted<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = Permit> + 'a {
        self.holdings.values().filter_map(|holding| caller.grants.permit(holding))
    }

    /// Who lets the caller cause a flight, or not.
    pub fn gate<'a>(&'a self, caller: &'a Caller, now: Moment) -> impl Fn() -> Result<(), Duration> + Sync + 'a {
        move || caller.limits.take(&caller.name, Kind::Mints, self.mints_per_hour(caller), now)
    }

    /// Callers that were refused because of a limit, which it is, and for how long they are from now.
    pub fn limited(&self, now: Moment) -> impl Iterator<Item = (&CallerName, Kind, Duration)> {
        let of = move |caller: &'_ Arc<Caller>, kind, most| caller.limits.allowance.refused_for(kind, most, now);
        self.callers.iter().flat_map(move |caller| {
            let mints =
                of(caller, Kind::Mints, self.mints_per_hour(caller)).map(|wait| (&caller.name, Kind::Mints, wait));
            let most = caller.limits.reports_per_minute;
            let reports = of(caller, Kind::Reports, most).map(|wait| (&caller.name, Kind::Reports, wait));
            [mints, reports].into_iter().flatten()
        })
    }

    /// How many proofs from one address may fail within a minute.
    pub fn failed_proofs_per_minute(&self) -> u32 {
        self.failed_proofs_per_minute
    }

    fn mints_per_hour(&self, caller: &Caller) -> u32 {
        *caller.limits.mints_per_hour.get_or_init(|| {
            let granted = u32::try_from(self.granted(caller).count()).unwrap_or(u32::MAX);
            granted.saturating_mul(MINTS_FOR_EACH).max(MINTS_FOR_EACH)
        })
    }

    /// The name callers know this service by: `public_url` without a trailing slash.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Whether callers may prove themselves by certificate.
    pub fn takes_certificates(&self) -> bool {
        self.takes_certificates
    }

    /// What the ops door asks for before it tells metrics and status, if anything.
    pub fn ops_token(&self) -> Option<&SecretString> {
        self.ops_token.as_ref()
    }

    /// All integrations, in no order: for those who look after them, never for an answer to a caller.
    pub fn holdings(&self) -> impl ExactSizeIterator<Item = &Arc<Holding>> {
        self.holdings.values()
    }

    /// The certificates of an integration's keys, in the order of the keys.
    pub fn certificates(&self, integration: &IntegrationName) -> impl Iterator<Item = Option<&Certificate>> {
        self.certificates.of(integration)
    }

    /// Tells of certificates that have come closer to their end.
    pub fn look_after_certificates(&self, now: Timestamp) {
        self.certificates.look_after(now);
    }

    /// Hands what goes on over to `next`, which is in force, and forbids further logins to integrations that are not part
    /// of it, or are another one there. A flight of theirs that is under way ends without: no key signs once it is out of
    /// the configuration. Comes back with those that go on with other keys.
    pub fn give_way_to(&self, next: &Self) -> Vec<Arc<Holding>> {
        let handed_over = self.holdings.iter().filter_map(|(name, holding)| match next.holdings.get(name) {
            Some(successor) if successor.continues(holding) => {
                holding.hand_over(successor).then(|| Arc::clone(successor))
            }
            _ => {
                holding.integration().retire();
                None
            }
        });
        handed_over.collect()
    }

    /// How many callers there are.
    pub fn caller_count(&self) -> usize {
        self.callers.len()
    }

    /// Callers stand in the order of their names, as the configuration has them.
    fn caller(&self, name: &CallerName) -> Option<&Caller> {
        let place = self.callers.binary_search_by(|caller| caller.name.cmp(name)).ok()?;
        self.callers.get(place).map(Arc::as_ref)
    }

    fn resolve(&self, grants: &Grants, selector: &Selector) -> Result<Permit, Denied> {
        if selector.kind == SelectorKind::Subject {
            return self.resolve_subject(grants, &selector.text);
        }
        let by_url = matches!(selector.kind, SelectorKind::Resource | SelectorKind::Audience);
        let found = match selector.text.contains(':') {
            true if by_url => self.resolve_url(grants, &selector.text),
            // A resource is an absolute URI (RFC 8707 section 2), never a bare name.
            false if selector.kind == SelectorKind::Resource => None,
            _ => self.holdings.get(selector.text.as_str()),
        };
        let permit = found.and_then(|holding| grants.permit(holding));
        permit.ok_or_else(|| Denied::NotGranted { by: selector.kind, integration: found.map(|it| it.name().clone()) })
    }

    /// The name of an integration, or the username of exactly one that is granted.
    fn resolve_subject(&self, grants: &Grants, subject: &str) -> Result<Permit, Denied> {
        let named = self.holdings.get(subject);
        let users = self.by_username.get(subject).into_iter().flatten();
        // One whose user has its own name counts once.
        let users = users.filter(|user| named.is_none_or(|named| !Arc::ptr_eq(named, user)));
        let mut permits = named.into_iter().chain(users).filter_map(|holding| grants.permit(holding));
        match (permits.next(), permits.next()) {
            (Some(permit), None) => Ok(permit),
            _ => {
                let known = named.or_else(|| self.by_username.get(subject)?.first());
                let integration = known.map(|holding| holding.name().clone());
                Err(Denied::NotGranted { by: SelectorKind::Subject, integration })
            }
        }
    }

    /// `public_url/integrations/NAME`, or the instance of exactly one granted integration.
    fn resolve_url(&self, grants: &Grants, text: &str) -> Option<&Arc<Holding>> {
        let text = without_slash(text);
        let named = self.issuer().and_then(|issuer| text.strip_prefix(issuer)?.strip_prefix("/integrations/"));
        if let Some(name) = named {
            return self.holdings.get(name);
        }
        let at_instance = self.by_instance.get(text)?;
        let mut granted = at_instance.iter().filter(|holding| grants.permit(holding).is_some());
        match (granted.next(), granted.next()) {
            (Some(holding), None) => Some(holding),
            _ => None,
        }
    }

    fn unnamed(&self, grants: &Grants) -> Result<Permit, Denied> {
        let only = grants.only.get_or_init(|| {
            let mut granted = self.holdings.values().filter(|holding| grants.permit(holding).is_some());
            match (granted.next(), granted.next()) {
                (None, _) => Only::None,
                (Some(holding), None) => Only::One(Arc::clone(holding)),
                (Some(_), Some(_)) => Only::Several,
            }
        });
        match only {
            Only::One(holding) => grants.permit(holding).ok_or(Denied::Unnamed { several: false }),
            Only::None => Err(Denied::Unnamed { several: false }),
            Only::Several => Err(Denied::Unnamed { several: true }),
        }
    }
}

/// The next key, unless it is the first one again.
fn another(
    next: Arc<dyn Signer>,
    first: &Arc<dyn Signer>,
    key: &config::Key,
    report: &mut Report,
) -> Option<Arc<dyn Signer>> {
    if next.thumbprint() != first.thumbprint() {
        return Some(next);
    }
    report.warning(key.at(), "this is the key that is in use already", "remove it, or name the next one");
    None
}

fn without_slash(url: &str) -> &str {
    url.strip_suffix('/').unwrap_or(url)
}
