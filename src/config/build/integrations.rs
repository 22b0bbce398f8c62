//! `[integrations.NAME]`: where its assertions go, whom they name, and what its org promises.

use std::time::Duration;

use url::Url;

use super::{Workshop, keys};
use crate::config::hosts::Allowlist;
use crate::config::report::{Located, Report};
use crate::config::setting::Field;
use crate::config::times::SessionTimeout;
use crate::config::urls::{InstanceUrl, TokenUrl};
use crate::config::values::Named;
use crate::config::{Integration, file, secret, show};
use crate::names::IntegrationName;

const PRODUCTION: &str = "https://login.salesforce.com";
const SANDBOX: &str = "https://test.salesforce.com";

/// The minutes that Setup > Session Settings offers.
const OFFERED_MINUTES: &[u64] = &[15, 30, 60, 90, 120, 240, 480, 720, 1440];

pub(super) fn integrations(
    field: Field<Named<IntegrationName, Located<file::Integration>>>,
    hosts: Option<&Allowlist>,
    shop: &mut Workshop<'_>,
) -> Option<Vec<Integration>> {
    let named = field.value?;
    if named.names.is_empty() {
        let remedy = "add `[integrations.NAME]`";
        shop.report.warning(&field.at, "there are no integrations: there is no token to hand out", remedy);
    }
    let built = named.sections.into_iter().map(|(name, file)| integration(name, file, hosts, shop));
    // All are looked at before one that is wrong empties the whole.
    let mut integrations = built.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()?;
    integrations.sort_by(|a, b| a.name.cmp(&b.name));
    Some(integrations)
}

fn integration(
    name: IntegrationName,
    Located { value: file, place, .. }: Located<file::Integration>,
    hosts: Option<&Allowlist>,
    shop: &mut Workshop<'_>,
) -> Option<Integration> {
    let first = keys::Source {
        path: file.client_key_path,
        pkcs11: file.client_key_pkcs11,
        password: (file.client_key_password_path, file.client_key_password_env),
        entry_password: (file.client_key_entry_password_path, file.client_key_entry_password_env),
        alias: file.client_key_alias,
        certificate_path: file.certificate_path,
    };
    let key = keys::first(first, shop);
    let next = keys::Source {
        path: file.next_key_path,
        pkcs11: file.next_key_pkcs11,
        password: (file.next_key_password_path, file.next_key_password_env),
        entry_password: (file.next_key_entry_password_path, file.next_key_entry_password_env),
        alias: file.next_key_alias,
        certificate_path: file.next_certificate_path,
    };
    let next_key = keys::next(next, shop);
    let session_timeout = file.session_timeout.located().map(|timeout| session_timeout(&timeout, &mut shop.report));
    pinning(&file.instance_url, &file.pin_instance_url, &mut shop.report);
    let instance_url = file.instance_url.located().map(|url| instance_url(&url, hosts, &mut shop.report));
    let token_url = file.token_url.located().map(|url| token_url(url, hosts, &mut shop.report));
    let client_secret = secret::read(file.client_secret_path, file.client_secret_env, shop);
    let token_url = token_url?;
    Some(Integration {
        name,
        place,
        audience_url: file.audience_url.value.map_or_else(|| audience_for(&token_url).to_owned(), |url| url.0),
        token_url,
        username: file.username.value?.0,
        client_id: file.client_id.value?.0,
        instance_url,
        pin_instance_url: file.pin_instance_url.value?,
        session_timeout: session_timeout?,
        confirm_session: file.confirm_session.value?,
        client_secret: client_secret.map(|secret| secret.value),
        keep_warm: file.keep_warm.value?,
        prefetch: file.prefetch.value?,
        login_budget_per_hour: file.login_budget_per_hour.value?.0,
        key: key?,
        next_key: next_key?,
    })
}

fn token_url(url: Located<TokenUrl>, hosts: Option<&Allowlist>, report: &mut Report) -> Url {
    permitted(&url, &url.value.0, hosts, report);
    if url.value.0.host_str().is_some_and(|host| host.ends_with(".lightning.force.com")) {
        let message = "this host serves pages, not tokens";
        report.warning(&url, message, "take the My Domain host, like \"https://acme.my.salesforce.com\"");
    }
    url.value.0
}

fn instance_url(url: &Located<InstanceUrl>, hosts: Option<&Allowlist>, report: &mut Report) -> String {
    permitted(url, &url.value.0, hosts, report);
    url.value.0.as_str().trim_end_matches('/').to_owned()
}

fn permitted<T>(at: &Located<T>, url: &Url, hosts: Option<&Allowlist>, report: &mut Report) {
    if hosts.is_none_or(|hosts| hosts.permits_or_loopback(url)) {
        return;
    }
    let (message, remedy) = match show::host(url) {
        Some(host) => (
            format!("`{host}` is not a host of Salesforce that is known here"),
            format!("correct the host; if it is right, add \"{host}\" to `salesforce.allowed_hosts`"),
        ),
        None => (
            "this is not a host of Salesforce, and none that could be allowed".to_owned(),
            "write the host's name".to_owned(),
        ),
    };
    report.error(at, message, remedy);
}

fn pinning(instance: &Field<InstanceUrl>, pin: &Field<bool>, report: &mut Report) {
    if pin.value == Some(true) && !instance.written {
        report.error(&pin.at, "there is no `instance_url` to pin", "add `instance_url`, or remove this setting");
    }
}

fn session_timeout(timeout: &Located<SessionTimeout>, report: &mut Report) -> Duration {
    let time = timeout.value.0;
    let offered = OFFERED_MINUTES.iter().any(|minutes| time == Duration::from_secs(minutes * 60));
    if !offered {
        let message = "Salesforce offers no such session timeout";
        let remedy = "copy it from Setup > Session Settings: 15m, 30m, 1h, 90m, 2h, 4h, 8h, 12h or 24h";
        report.warning(timeout, message, remedy);
    }
    time
}

/// The audience that belongs to a token endpoint whose integration names none: test for sandboxes and scratch orgs,
/// which their host tells, login for all others.
fn audience_for(token_url: &Url) -> &'static str {
    let host = token_url.host_str().unwrap_or_default();
    // A first label `sandbox` would be the name of a production org.
    let trial = host.split('.').skip(1).any(|label| matches!(label, "sandbox" | "scratch"));
    if host == "test.salesforce.com" || trial { SANDBOX } else { PRODUCTION }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audience_follows_the_host_of_the_token_endpoint() {
        let cases = [
            ("https://login.salesforce.com", PRODUCTION),
            ("https://acme.my.salesforce.com", PRODUCTION),
            ("https://sandbox.my.salesforce.com", PRODUCTION),
            ("https://test.salesforce.com", SANDBOX),
            ("https://TEST.salesforce.com", SANDBOX),
            ("https://acme--uat.sandbox.my.salesforce.com", SANDBOX),
            ("https://acme--uat.sandbox.my.site.com", SANDBOX),
            ("https://fast-1.scratch.my.salesforce.com", SANDBOX),
            ("http://127.0.0.1:9", PRODUCTION),
        ];
        for (url, audience) in cases {
            assert_eq!(audience_for(&Url::parse(url).unwrap()), audience, "{url}");
        }
    }
}
