//! The org, asked with the token: whose it is, whether the REST API takes it, what the user may, and what is left.

use serde::Deserialize;
use serde_json::Value;

use super::rest::Refused;
use super::{Row, SKIPPED, Step, Walk};
use crate::salesforce::{CONFIRM_PATH, Cause, Grant, Introspection, printable};

const USERINFO: &str = "/services/oauth2/userinfo";
const RIGHTS: &str =
    "SELECT PermissionsApiEnabled, PermissionsViewEventLogFiles, PermissionsViewAllData FROM UserPermissionAccess";

const GRANT_API: &str = "Setup > Permission Sets > one that the user has > System Permissions: tick API Enabled";
const GRANT_LOGS: &str =
    "Setup > Permission Sets > one that the user has > System Permissions: tick View Event Log Files";
const NO_ALL_DATA: &str = "Setup > Permission Sets, and the user's profile: untick View All Data; View Event Log \
     Files is enough to read event log files";
const UNLOCK: &str = "Setup > Session Settings: untick Lock sessions to the IP address from which they originated, or \
     let Aquila and its callers leave by one address; see also IP Relaxation of the app, and API Access Control";
const ADD_OPENID: &str = "Setup > External Client App Manager > the app > Settings: add the scope openid, if you want to \
     see it here";
const OPEN_REST: &str = "Setup > External Client App Manager > the app: the scope api, and IP Relaxation among its \
     Policies; and API Access Control";
const MORE_REQUESTS: &str = "Setup > Company Information: API Requests, Last 24 Hours; find out who makes them, or \
     buy more. The count falls by itself";

/// Steps that need the REST API, without the two that say why it is closed.
const BY_REST: [Step; 6] = [
    Step::ApiEnabled,
    Step::ViewEventLogFiles,
    Step::ViewAllData,
    Step::EventLogFiles,
    Step::LogFile,
    Step::ApiRequests,
];

/// Of a day's API requests at least this part is to be left.
const SCARCE: u64 = 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rights {
    permissions_api_enabled: bool,
    permissions_view_event_log_files: bool,
    permissions_view_all_data: bool,
}

impl Walk<'_> {
    /// Whose token it is, asked of the org.
    pub(super) async fn who(&mut self, grant: &Grant) -> Result<Value, Refused> {
        self.begin(Step::UserAndOrg);
        let reply = self.integration.ask(grant, USERINFO, None, self.deadline).await;
        self.read(reply)
    }

    /// The row of it. `usable` says whether the REST API takes the token.
    pub(super) fn user_and_org(&self, grant: &Grant, told: Result<Value, Refused>, usable: bool) -> Row {
        let (step, asked) = (Step::UserAndOrg, format!("GET {USERINFO}"));
        match told {
            Ok(told) => self.identity(asked, &told),
            // In plain text, `Bad_OAuth_Token`; perhaps also to a token that merely lacks the scopes of identity.
            Err(refused) if refused.status == Some(403) && usable => {
                let known =
                    grant.id.as_deref().and_then(ids).map_or_else(String::new, |(org, user)| {
                        format!("; by the login it is user {user} of org {org}")
                    });
                Row::warn(step, asked, format!("status 403, although the REST API takes the token{known}"))
                    .remedy(ADD_OPENID)
            }
            Err(refused) if refused.status == Some(403) => {
                Row::fail(step, asked, "status 403: Salesforce takes this for a bad token").remedy("see session")
            }
            Err(refused) => Row::unknown(step, asked, refused.seen),
        }
    }

    fn identity(&self, asked: String, told: &Value) -> Row {
        let text = |name: &str| printable(told.get(name).and_then(Value::as_str).unwrap_or("?"));
        let (user, org) = (text("preferred_username"), text("organization_id"));
        let configured = &self.integration.settings().username;
        let seen = format!("{user} ({}) of org {org}", text("user_id"));
        let row = if user.to_lowercase() == configured.to_lowercase() {
            Row::pass(Step::UserAndOrg, asked, seen)
        } else {
            let seen = format!("{seen}, and username says {configured}");
            Row::warn(Step::UserAndOrg, asked, seen).remedy("correct username, or see who shares this app")
        };
        row.fact("username", user).fact("organization_id", org).fact("user_id", text("user_id"))
    }

    /// Whether the REST API takes the token, and the row of that.
    pub(super) async fn session(&mut self, grant: &Grant) -> (Row, Result<(), Refused>) {
        self.begin(Step::Session);
        let asked = format!("GET {CONFIRM_PATH}");
        let told = self.resource(grant, "", None).await;
        let row = match &told {
            Ok(_) => Row::pass(Step::Session, asked, "the REST API takes the token"),
            Err(refused) => session_refused(asked, refused),
        };
        (row, told.map(|_| ()))
    }

    /// The rows of a REST API that is closed.
    pub(super) fn without_rest(&mut self, refused: &Refused) {
        let asked = "the REST call of session";
        let extras = self.extras;
        for step in BY_REST.into_iter().filter(|step| extras.want(*step)) {
            let row = match (step, refused.code()) {
                (Step::ApiEnabled, "API_DISABLED_FOR_ORG") => Row::fail(step, asked, &refused.seen).remedy(GRANT_API),
                (Step::ApiRequests, "REQUEST_LIMIT_EXCEEDED") => {
                    Row::fail(step, asked, &refused.seen).remedy(MORE_REQUESTS)
                }
                _ => Row::unknown(step, "not asked", "the REST API does not take the token: see session"),
            };
            self.push(row);
        }
    }

    /// What the user may.
    pub(super) async fn permissions(&mut self, grant: &Grant) {
        self.begin(Step::ApiEnabled);
        let asked = "UserPermissionAccess of the running user";
        let told = self.query::<Rights>(grant, RIGHTS).await;
        let seen = match told.map(|told| told.records.into_iter().next()) {
            Ok(Some(rights)) => return self.rights(asked, &rights),
            Ok(None) => "no record".to_owned(),
            Err(refused) => refused.seen,
        };
        // The REST API has just answered.
        self.push(Row::pass(Step::ApiEnabled, asked, format!("the REST API answers; here {seen}")));
        let remedy = "Setup > Users > the user > View Summary: look for the permission";
        self.push(Row::unknown(Step::ViewEventLogFiles, asked, &seen).remedy(remedy));
        self.push(Row::unknown(Step::ViewAllData, asked, &seen).remedy(remedy));
    }

    fn rights(&mut self, asked: &str, rights: &Rights) {
        let Rights { permissions_view_event_log_files: logs, permissions_view_all_data: all, .. } = *rights;
        let api = rights.permissions_api_enabled;
        let row = |step, granted: bool, row: fn(Step, String, String) -> Row, seen: &str| {
            row(step, asked.to_owned(), seen.to_owned()).fact("granted", granted)
        };
        self.push(match api {
            true => row(Step::ApiEnabled, api, Row::pass, "granted"),
            false => row(Step::ApiEnabled, api, Row::fail, "not granted").remedy(GRANT_API),
        });
        self.push(match (logs, all) {
            _ if self.extras.skip_event_logs => Row::unknown(Step::ViewEventLogFiles, "not asked", SKIPPED),
            (true, _) => row(Step::ViewEventLogFiles, logs, Row::pass, "granted"),
            (false, true) => {
                let seen = "not granted; View All Data opens event log files all the same";
                row(Step::ViewEventLogFiles, logs, Row::warn, seen).remedy(GRANT_LOGS)
            }
            (false, false) => row(Step::ViewEventLogFiles, logs, Row::fail, "not granted").remedy(GRANT_LOGS),
        });
        self.push(match all {
            true => row(Step::ViewAllData, all, Row::warn, "granted, which is more than is needed").remedy(NO_ALL_DATA),
            false => row(Step::ViewAllData, all, Row::pass, "not granted, and not needed"),
        });
    }

    /// What is left of the org's API requests.
    pub(super) async fn api_requests(&mut self, grant: &Grant) {
        self.begin(Step::ApiRequests);
        let told = self.resource(grant, "limits", None).await;
        let number = |limits: &Value, name: &str| limits.pointer(&format!("/DailyApiRequests/{name}"))?.as_u64();
        let (asked, left) = match &told {
            Ok(limits) => ("GET limits", number(limits, "Remaining").zip(number(limits, "Max"))),
            // Some orgs show their limits only to who may see Setup; each answer tells the usage.
            Err(_) => ("Sforce-Limit-Info", self.api_usage.map(|(used, most)| (most.saturating_sub(used), most))),
        };
        let row = match (left, told) {
            (Some((left, most)), _) => left_of(asked, left, most),
            (None, Ok(_)) => Row::unknown(Step::ApiRequests, asked, "no DailyApiRequests in the answer"),
            (None, Err(refused)) if refused.code() == "REQUEST_LIMIT_EXCEEDED" => {
                Row::fail(Step::ApiRequests, "GET limits", refused.seen).remedy(MORE_REQUESTS)
            }
            (None, Err(refused)) => Row::unknown(Step::ApiRequests, "GET limits", refused.seen),
        };
        self.push(row);
    }

    /// How long the token lives, if the app's secret lets us ask.
    pub(super) async fn lifetime(&mut self, grant: &Grant) {
        self.begin(Step::Lifetime);
        let timeout = self.integration.settings().session_timeout;
        let asked = format!("introspection, against session_timeout of {} s", timeout.as_secs());
        let Some((told, left)) = self.granting().introspect(grant, self.deadline).await else {
            let seen = "there is no client_secret_path; the session above is the proof";
            return self.push(Row::unknown(Step::Lifetime, "not asked", seen));
        };
        let compare = "compare client_secret_path or client_secret_env with the app's consumer secret (Setup > \
                       External Client App Manager > the app > Consumer Key and Secret), or remove it";
        let seen = format!("{} s left", left.as_secs());
        let row = match told {
            // A REST call has just moved the session's clock, unless it is in the first half of its period.
            Introspection::Active { .. } if left < timeout / 2 => {
                let seen = format!("{seen}, less than half: Salesforce ends sessions sooner than session_timeout says");
                Row::warn(Step::Lifetime, asked, seen).remedy(
                    "set session_timeout to what the app's policy, the user's profile or Setup > Session Settings says",
                )
            }
            Introspection::Active { .. } => Row::pass(Step::Lifetime, asked, seen),
            Introspection::Inactive => {
                Row::fail(Step::Lifetime, asked, "it calls the new token inactive").remedy(compare)
            }
            Introspection::Unclear(seen) => Row::fail(Step::Lifetime, asked, printable(&seen)).remedy(compare),
        };
        self.push(row.fact("seconds_left", left.as_secs()));
    }

    /// Nothing on this machine can show a lock, unless the machine itself is locked out.
    pub(super) fn ip_lock(&mut self) {
        let dead = self.rows.iter().any(|row| row.step == Step::Session && row.facts.contains_key("dead"));
        let asked = "the REST call of session";
        self.push(match dead {
            true => {
                let seen = "a token of this minute gets 401: a lock to another address, or a policy";
                Row::fail(Step::IpLock, asked, seen).remedy(UNLOCK).help(Cause::FreshTokenRefused)
            }
            false => {
                let seen = "not seen from here, where the token was minted; a caller with another address may get 401";
                Row::unknown(Step::IpLock, asked, seen).remedy(UNLOCK)
            }
        });
    }
}

/// Org and user of an identity URL, `…/id/ORG/USER`.
fn ids(identity: &str) -> Option<(String, String)> {
    let mut parts = identity.rsplit('/');
    let (user, org) = (parts.next()?, parts.next()?);
    (parts.next()? == "id").then(|| (printable(org), printable(user)))
}

fn session_refused(asked: String, refused: &Refused) -> Row {
    let (step, seen) = (Step::Session, refused.seen.clone());
    match refused.code() {
        _ if refused.is_dead_session() => {
            let row = Row::fail(step, asked, format!("{seen}, of a token minted a moment ago"));
            row.remedy(Cause::FreshTokenRefused.remedy()).help(Cause::FreshTokenRefused).fact("dead", true)
        }
        "API_DISABLED_FOR_ORG" => Row::unknown(step, asked, format!("{seen}: see API Enabled")),
        "REQUEST_LIMIT_EXCEEDED" => Row::unknown(step, asked, format!("{seen}: see API requests")),
        _ if refused.status.is_some_and(|status| (401..=403).contains(&status)) => {
            Row::fail(step, asked, seen).remedy(OPEN_REST)
        }
        _ => Row::fail(step, asked, seen).remedy("look at trust.salesforce.com, and ask again"),
    }
}

fn left_of(asked: &str, left: u64, most: u64) -> Row {
    let (step, seen) = (Step::ApiRequests, format!("{left} of {most} left for 24 hours"));
    let row = match left {
        0 => Row::fail(step, asked, seen).remedy(MORE_REQUESTS),
        _ if left.saturating_mul(SCARCE) < most => Row::warn(step, asked, seen).remedy(MORE_REQUESTS),
        _ => Row::pass(step, asked, seen),
    };
    row.fact("remaining", left).fact("max", most)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn an_identity_url_ends_in_org_and_user() {
        let url = "https://login.salesforce.com/id/00Dxx0000001gPLEAY/005xx000001SwiUAAS";
        assert_eq!(ids(url), Some(("00Dxx0000001gPLEAY".to_owned(), "005xx000001SwiUAAS".to_owned())));
        assert_eq!((ids("https://login.salesforce.com/"), ids("")), (None, None));
    }

    #[test]
    fn api_requests_are_scarce_below_a_tenth() {
        for (left, verdict) in [(0, Verdict::Fail), (1, Verdict::Warn), (9, Verdict::Warn), (10, Verdict::Pass)] {
            assert_eq!(left_of("x", left, 100).verdict, verdict, "{left}");
        }
        assert_eq!(left_of("x", u64::MAX, u64::MAX).verdict, Verdict::Pass);
    }
}
