//! From the shape of the file to a [`Config`]: rules that look at more than one setting, at files and at the
//! environment.
//!
//! Every function notes what is wrong and goes on; it returns nothing only if something it needs is missing or wrong,
//! which the report then says.

mod callers;
mod doors;
mod integrations;
mod keys;
mod proofs;
mod proxy;
mod store;
mod way_out;

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::file::{self, File};
use super::hosts::Allowlist;
use super::report::{Located, Report};
use super::setting::{Field, relocated};
use super::source::{TIGHTEN, loose_permissions};
use super::values::FilePath;
use super::{Audit, AuditSink, Config, Key, Log, Proxy, Roots, Store, Tls};

/// What the builders share.
pub(super) struct Workshop<'a> {
    /// Relative paths start here.
    pub(super) folder: &'a Path,
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    pub(super) report: Report,
    /// Key files whose permissions were looked at: many integrations may share one.
    looked_at: HashSet<PathBuf>,
    /// Keys of integrations, what the doors need for TLS, and what replicas share: named here, opened by a later layer.
    pub(super) keys: Vec<Key>,
    pub(super) tls: Vec<Tls>,
    pub(super) store: Option<Store>,
    /// Every file that is named to be read, now or by a later layer.
    pub(super) files: Vec<PathBuf>,
    /// The proxy that the environment names, once somebody has asked.
    environment_proxy: Option<Option<Proxy>>,
}

impl<'a> Workshop<'a> {
    pub(super) fn new(folder: &'a Path, environment: &'a dyn Fn(&str) -> Option<String>, report: Report) -> Self {
        Self {
            folder,
            environment,
            report,
            looked_at: HashSet::new(),
            keys: Vec::new(),
            tls: Vec::new(),
            store: None,
            files: Vec::new(),
            environment_proxy: None,
        }
    }

    pub(super) fn resolve(&self, path: &FilePath) -> PathBuf {
        self.folder.join(&path.0)
    }

    /// The path of a file that a later layer opens.
    fn path(&mut self, field: Field<FilePath>) -> Option<Located<PathBuf>> {
        let path = field.located()?;
        let resolved = self.resolve(&path.value);
        self.files.push(resolved.clone());
        Some(relocated(&path, resolved))
    }

    /// [`Workshop::path`] of a private key: warns if others may read it. Whether it opens is told by who opens it.
    fn key_path(&mut self, field: Field<FilePath>) -> Option<Located<PathBuf>> {
        let path = self.path(field)?;
        if self.looked_at.insert(path.value.clone()) {
            let facts = std::fs::metadata(&path.value).ok().filter(std::fs::Metadata::is_file);
            if let Some(told) = facts.and_then(|facts| loose_permissions(facts.permissions().mode())) {
                self.report.warning(&path, told, TIGHTEN);
            }
        }
        Some(path)
    }
}

/// Builds the configuration; the workshop's report says what is missing from it.
pub(super) fn config(file: File, shop: &mut Workshop<'_>) -> Option<Config> {
    let tls = file.server.value.as_ref().and_then(|server| server.tls.value.as_ref());
    if let (false, Some(named)) = (tls.is_some_and(|tls| tls.client_ca_path.written), &file.callers.value) {
        callers::unasked(named, &mut shop.report);
    }
    let doors = doors::doors(file.server, file.ops, shop);
    // Unless its `allowed_hosts` can be read no host is called wrong.
    let added = file.salesforce.value.as_ref().and_then(|salesforce| salesforce.allowed_hosts.value.as_ref());
    let hosts = added.map(|added| Allowlist::new(added.iter().map(|pattern| pattern.0.clone())));
    let salesforce = file.salesforce.value.and_then(|salesforce| way_out::way_out(salesforce, shop));
    let names = file.integrations.value.as_ref().map(|named| callers::Names::of(&named.names));
    let public_url = proofs::public_url(doors.as_ref());
    let mut bench = proofs::Bench::new(&file.issuers, public_url.as_deref());
    let callers = callers::callers(file.callers, names.as_ref(), &mut bench, shop);
    bench.finish(&file.issuers.at, &mut shop.report);
    let issuers = proofs::issuers(file.issuers, public_url.as_deref(), shop);
    let integrations = integrations::integrations(file.integrations, hosts.as_ref(), shop);
    let log = file.log.value.and_then(log);
    let audit = file.audit.value.and_then(|audit| self::audit(audit, shop));
    let roots = salesforce.as_ref().map_or(Roots::System, |salesforce| salesforce.roots);
    let wants_store = file.store.written;
    shop.store = file.store.value.and_then(|store| store::store(store, roots, shop));
    if wants_store && shop.store.is_none() {
        return None;
    }
    let (server, ops) = doors?;
    Some(Config {
        server,
        ops,
        salesforce: salesforce?,
        integrations: integrations?,
        callers: callers?,
        issuers: issuers?,
        log: log?,
        audit: audit?,
        store: shop.store.clone(),
    })
}

fn log(file: file::Log) -> Option<Log> {
    Some(Log { format: file.format.value?.0, level: file.level.value?.0 })
}

fn audit(file: file::Audit, shop: &Workshop<'_>) -> Option<Audit> {
    let path = file.path.value?;
    let sink = if path.0 == Path::new("-") { AuditSink::Stdout } else { AuditSink::File(shop.resolve(&path)) };
    Some(Audit { sink, required: file.required.value? })
}
