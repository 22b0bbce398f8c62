//! All of one configuration generation, and the only way for a caller to reach an integration: [`Snapshot::authorize`].
//!
//! A request takes one snapshot and carries it to its end, so no answer mixes two generations. Building one opens key
//! files and asks nobody over the network.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use secrecy::SecretString;
use tokio_util::task::TaskTracker;

use crate::ask::{Ask, Selector, SelectorKind};
use crate::authn::{AuthnError, Credentials, Directory, Occasion, Proof, Tokens};
use crate::config::Config;
use crate::config::report::Report;
use crate::holding::{Holding, Visitor};
use crate::keys;
use crate::names::{CallerName, IntegrationName};
use crate::policy::{Rights, Rule};
use crate::salesforce::{Integration, Surroundings};
use crate::telemetry::metrics::Series;

/// One generation.
#[derive(Debug)]
pub struct Snapshot {
    holdings: HashMap<IntegrationName, Arc<Holding>>,
    by_instance: HashMap<String, Vec<Arc<Holding>>>,
    by_username: HashMap<String, Vec<Arc<Holding>>>,
    callers: Vec<Arc<Caller>>,
    directory: Directory,
    issuer: Option<String>,
    ops_token: Option<SecretString>,
}

/// One caller of a generation.
#[derive(Debug)]
pub struct Caller {
    name: CallerName,
    visitor: Visitor,
    rights: Rights,
    decisions: Series,
    /// What it gets when it names nothing; found out on its first such request.
    only: OnceLock<Only>,
}

#[derive(Debug)]
enum Only {
    None,
    One(Arc<Holding>),
    Several,
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

impl Caller {
    /// Its name.
    pub fn name(&self) -> &CallerName {
        &self.name
    }

    /// Its mark on the warm path.
    pub fn visitor(&self) -> Visitor {
        self.visitor
    }

    /// Counts a decision about a request of its.
    pub fn decided(&self, outcome: &'static str) {
        self.decisions.count(self.name.as_str(), outcome);
    }
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
        let named: Vec<_> = config.integrations.iter().map(|settings| &settings.client_key_path).collect();
        let signers = keys::open_all(&named, &mut report);
        if report.has_errors() {
            return Err(report);
        }
        let mut holdings = HashMap::with_capacity(config.integrations.len());
        let mut by_instance: HashMap<String, Vec<Arc<Holding>>> = HashMap::new();
        let mut by_username: HashMap<String, Vec<Arc<Holding>>> = HashMap::new();
        for settings in &config.integrations {
            let Some(signer) = signers.get(settings.client_key_path.value.as_path()) else { continue };
            let integration = Integration::new(settings.clone(), Arc::clone(signer), surroundings.clone());
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
        let mut callers = Vec::with_capacity(config.callers.len());
        for caller in &config.callers {
            directory.add(caller.name.clone(), &caller.api_key_sha256);
            let rights = Rights::new(caller.integrations.clone());
            let (name, visitor) = (caller.name.clone(), Visitor::of(&caller.name));
            let decisions = surroundings.metrics.decisions_of_caller();
            callers.push(Arc::new(Caller { name, visitor, rights, decisions, only: OnceLock::new() }));
        }
        let issuer = config.server.issuer().map(str::to_owned);
        let ops_token = config.ops.bearer_token.clone();
        Ok((Self { holdings, by_instance, by_username, callers, directory, issuer, ops_token }, report))
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
        let mut chosen: Option<Permit> = None;
        for selector in &ask.selectors {
            let permit = self.resolve(caller, selector)?;
            match &chosen {
                Some(other) if !Arc::ptr_eq(&other.holding, &permit.holding) => return Err(Denied::Contradiction),
                _ => chosen = Some(permit),
            }
        }
        match chosen {
            Some(permit) => Ok(permit),
            None => self.unnamed(caller),
        }
    }

    /// Every integration whose tokens the caller may have, with the rule that allows it.
    pub fn granted<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = Permit> + 'a {
        self.holdings.values().filter_map(|holding| permit(caller, holding))
    }

    /// The name callers know this service by: `public_url` without a trailing slash.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// What the ops door asks for before it tells metrics and status, if anything.
    pub fn ops_token(&self) -> Option<&SecretString> {
        self.ops_token.as_ref()
    }

    /// All integrations, in no order: for those who look after them, never for an answer to a caller.
    pub fn holdings(&self) -> impl ExactSizeIterator<Item = &Arc<Holding>> {
        self.holdings.values()
    }

    /// Forbids further logins to integrations that are not part of `next`, or are another one there. A flight of theirs
    /// that is under way ends without: no key signs once it is out of the configuration.
    pub fn retire_all_but(&self, next: &Self) {
        for (name, holding) in &self.holdings {
            if next.holdings.get(name).is_none_or(|successor| !successor.continues(holding)) {
                holding.integration().retire();
            }
        }
    }

    /// How many callers there are.
    pub fn caller_count(&self) -> usize {
        self.callers.len()
    }

    fn resolve(&self, caller: &Caller, selector: &Selector) -> Result<Permit, Denied> {
        if selector.kind == SelectorKind::Subject {
            return self.resolve_subject(caller, &selector.text);
        }
        let by_url = matches!(selector.kind, SelectorKind::Resource | SelectorKind::Audience);
        let found = match selector.text.contains(':') {
            true if by_url => self.resolve_url(caller, &selector.text),
            // A resource is an absolute URI (RFC 8707 section 2), never a bare name.
            false if selector.kind == SelectorKind::Resource => None,
            _ => self.holdings.get(selector.text.as_str()),
        };
        let permit = found.and_then(|holding| permit(caller, holding));
        permit.ok_or_else(|| Denied::NotGranted { by: selector.kind, integration: found.map(|it| it.name().clone()) })
    }

    /// The name of an integration, or the username of exactly one that is granted.
    fn resolve_subject(&self, caller: &Caller, subject: &str) -> Result<Permit, Denied> {
        let named = self.holdings.get(subject);
        let users = self.by_username.get(subject).into_iter().flatten();
        let mut permits = named.into_iter().chain(users).filter_map(|holding| permit(caller, holding));
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
    fn resolve_url(&self, caller: &Caller, text: &str) -> Option<&Arc<Holding>> {
        let text = without_slash(text);
        let named = self.issuer().and_then(|issuer| text.strip_prefix(issuer)?.strip_prefix("/integrations/"));
        if let Some(name) = named {
            return self.holdings.get(name);
        }
        let at_instance = self.by_instance.get(text)?;
        let mut granted = at_instance.iter().filter(|holding| permit(caller, holding).is_some());
        match (granted.next(), granted.next()) {
            (Some(holding), None) => Some(holding),
            _ => None,
        }
    }

    fn unnamed(&self, caller: &Caller) -> Result<Permit, Denied> {
        let only = caller.only.get_or_init(|| {
            let mut granted = self.holdings.values().filter(|holding| permit(caller, holding).is_some());
            match (granted.next(), granted.next()) {
                (None, _) => Only::None,
                (Some(holding), None) => Only::One(Arc::clone(holding)),
                (Some(_), Some(_)) => Only::Several,
            }
        });
        match only {
            Only::One(holding) => permit(caller, holding).ok_or(Denied::Unnamed { several: false }),
            Only::None => Err(Denied::Unnamed { several: false }),
            Only::Several => Err(Denied::Unnamed { several: true }),
        }
    }
}

fn permit(caller: &Caller, holding: &Arc<Holding>) -> Option<Permit> {
    let rule = caller.rights.allow(holding.name().as_str())?;
    Some(Permit { holding: Arc::clone(holding), rule })
}

fn without_slash(url: &str) -> &str {
    url.strip_suffix('/').unwrap_or(url)
}

/// The generation in force.
#[derive(Debug)]
pub struct Snapshots(ArcSwap<Snapshot>);

impl Snapshots {
    /// Starts with one.
    pub fn new(first: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(first))
    }

    /// The one in force now; a request calls this once.
    pub fn current(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Puts another one in force, for every request that begins from now on.
    pub fn replace(&self, next: Arc<Snapshot>) {
        self.0.store(next);
    }
}
