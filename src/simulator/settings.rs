//! What a simulated Salesforce is made of: an org, its apps and its users.
//!
//! Plain values that the caller fills in; `org.rs` turns them into something that cannot be wrong. Nothing here reads
//! a file or the environment.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use super::switches::Switches;
use super::tls::Tls;

/// Everything a simulator is started with. `Settings::default()` listens on a free loopback port and knows nobody.
///
/// Its `Debug` output leaves the secrets out.
#[derive(Clone)]
pub struct Settings {
    /// Where to listen; loopback unless `allow_remote`. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether an address other machines can reach is allowed.
    pub allow_remote: bool,
    /// Serves TLS with this certificate, and nothing else.
    pub tls: Option<Tls>,
    /// Names that the simulator answers to as Salesforce's hosts do. All other requests, and without names all there
    /// are, are answered as if every host were one.
    pub hosts: Vec<Host>,
    /// What answers give as `instance_url`; the named My Domain when absent, or else the simulator's own base URL.
    pub instance_url: Option<String>,
    /// The org's id in its 15-character form.
    pub organization_id: String,
    /// Whether the org is a sandbox, whose users the production login host does not know (and the other way round).
    pub sandbox: bool,
    /// Audiences accepted besides the simulator's own base URL, where no named host has its own.
    pub audiences: Vec<String>,
    /// API Access Control: whether users reach the API only through apps on the allowlist ([`App::allowlisted`]).
    pub api_access_control: bool,
    /// The registered apps.
    pub apps: Vec<App>,
    /// The org's users.
    pub users: Vec<User>,
    /// The open questions about Salesforce.
    pub switches: Switches,
    /// What the control routes want as bearer; made at random when absent.
    pub control_secret: Option<String>,
    /// The org's session timeout, for apps and users without their own.
    pub session_timeout: Duration,
    /// Logins a user may make in an hour before Salesforce refuses.
    pub logins_per_hour: u32,
    /// API calls the org may make in 24 hours, as told by `Sforce-Limit-Info`.
    pub api_calls_per_day: u64,
    /// Which event log files the org has.
    pub event_logs: EventLogs,
    /// How many records a query's answer holds at most; the rest is behind `nextRecordsUrl`.
    pub query_batch: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allow_remote: false,
            tls: None,
            hosts: Vec::new(),
            instance_url: None,
            organization_id: "00D5g00000SIMU1".to_owned(),
            sandbox: false,
            audiences: vec!["https://login.salesforce.com".to_owned(), "https://test.salesforce.com".to_owned()],
            api_access_control: false,
            apps: Vec::new(),
            users: Vec::new(),
            switches: Switches::default(),
            control_secret: None,
            session_timeout: Duration::from_secs(2 * 60 * 60),
            logins_per_hour: 3_600,
            // Far above a developer org's allocation, so that a benchmark does not run into it by accident.
            api_calls_per_day: 5_000_000,
            event_logs: EventLogs::default(),
            query_batch: 2_000,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, apps, users, switches, .. } = self;
        let mut shown = f.debug_struct("Settings");
        shown.field("listen", listen).field("apps", apps).field("users", users).field("switches", switches);
        shown.finish_non_exhaustive()
    }
}

/// An app (connected app or External Client App) that has a certificate.
///
/// Its `Debug` output leaves the secret out.
#[derive(Clone)]
pub struct App {
    /// The consumer key; the assertion's `iss`.
    pub client_id: String,
    /// The uploaded X.509 certificate, PEM or DER.
    pub certificate: Vec<u8>,
    /// Whether the app is installed in this org; if not, `app_not_found`.
    pub installed: bool,
    /// Whether it is an External Client App, which only its org's My Domain finds; elsewhere `app_not_found`.
    pub external: bool,
    /// Whether the app is on the allowlist of API Access Control; of no effect where that is off.
    pub allowlisted: bool,
    /// Who may use the app.
    pub permitted_users: PermittedUsers,
    /// The app's own session timeout, which goes before the user's and the org's.
    pub session_timeout: Option<Duration>,
    /// The app's scopes, as answers list them.
    pub scopes: Vec<String>,
    /// The consumer secret, which only introspection asks for.
    pub client_secret: Option<String>,
    /// If set, the app gets access tokens in JWT form that live just so long. Whether Salesforce hands those out again
    /// to later mints is not known; here each mint makes a new one.
    pub jwt_token_lifetime: Option<Duration>,
}

impl App {
    /// An installed app with the usual scopes that everybody is pre-authorised for.
    pub fn new(client_id: impl Into<String>, certificate: impl Into<Vec<u8>>) -> Self {
        Self {
            client_id: client_id.into(),
            certificate: certificate.into(),
            installed: true,
            external: false,
            allowlisted: true,
            permitted_users: PermittedUsers::AdminApproved { assigned: Users::Everyone },
            session_timeout: None,
            scopes: vec!["api".to_owned(), "id".to_owned()],
            client_secret: None,
            jwt_token_lifetime: None,
        }
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// A name under which the simulator is also asked, told apart by the `Host` header.
///
/// As text it is `KIND=NAME`: `production=login.salesforce.com`, `sandbox=test.salesforce.com`,
/// `my-domain=acme.my.salesforce.com`, `site=acme.my.site.com/customers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// What is found there.
    pub kind: HostKind,
    /// The name without a port; for a site with its path.
    pub name: String,
}

impl Host {
    /// The name alone, as a certificate has it.
    pub fn dns_name(&self) -> &str {
        self.parts().0
    }

    /// The host's name, and the path with a slash before it or nothing.
    pub(super) fn parts(&self) -> (&str, &str) {
        self.name.split_at_checked(self.name.find('/').unwrap_or(self.name.len())).unwrap_or((&self.name, ""))
    }
}

impl FromStr for Host {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, name) = text.split_once('=').ok_or("write KIND=NAME, such as my-domain=acme.my.salesforce.com")?;
        let kind = match kind {
            "production" => HostKind::Production,
            "sandbox" => HostKind::Sandbox,
            "my-domain" => HostKind::MyDomain,
            "site" => HostKind::Site,
            _ => return Err("the kinds of hosts are production, sandbox, my-domain and site"),
        };
        let host = Self { kind, name: name.trim_end_matches('/').to_lowercase() };
        match (kind, host.parts()) {
            (_, ("", _)) => Err("a host has a name"),
            (HostKind::Site, (_, "")) => Err("a site has a path, such as site=acme.my.site.com/customers"),
            (HostKind::Site, _) | (_, (_, "")) => Ok(host),
            _ => Err("only a site has a path"),
        }
    }
}

/// What stands behind a host's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKind {
    /// The login host of production and developer orgs: their users only, no data, no External Client App.
    Production,
    /// The login host of sandboxes: the same for them.
    Sandbox,
    /// The org's own host: its users, its data, its External Client Apps.
    MyDomain,
    /// An Experience Cloud site: its own audience, and members who exist nowhere else.
    Site,
}

/// The app's policy *Permitted Users*.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case", deny_unknown_fields)]
pub enum PermittedUsers {
    /// *Admin approved users are pre-authorized*: others get `invalid_app_access`.
    AdminApproved {
        /// Users with a profile or permission set that the app is assigned to.
        assigned: Users,
    },
    /// *All users may self-authorize*: the scopes are those of earlier approvals that came with a refresh token; users
    /// without one get `user hasn't approved this consumer`.
    SelfAuthorize {
        /// What users approved before, in another flow.
        approvals: Vec<Approval>,
    },
}

/// A user's consent to an app, given in a flow with a browser.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Who approved.
    pub username: String,
    /// What was approved. A refresh token came of it if `refresh_token` or `offline_access` is among the scopes.
    pub scopes: Vec<String>,
}

impl Approval {
    /// An approval of scopes with blanks between.
    pub fn new(username: impl Into<String>, scopes: &str) -> Self {
        Self { username: username.into(), scopes: scopes.split_whitespace().map(str::to_owned).collect() }
    }
}

/// A set of users.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Users {
    /// All of them.
    Everyone,
    /// Those with one of these profiles or permission sets.
    Holding(Vec<String>),
    /// These usernames.
    Only(Vec<String>),
}

impl Users {
    pub(super) fn contains(&self, user: &User) -> bool {
        match self {
            Self::Everyone => true,
            Self::Holding(names) => {
                names.contains(&user.profile) || names.iter().any(|name| user.permission_sets.contains(name))
            }
            Self::Only(names) => names.iter().any(|name| name.eq_ignore_ascii_case(&user.username)),
        }
    }
}

/// A user of the org.
///
/// As JSON everything but `username` may be left out and is then as in [`User::new`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The username; the assertion's `sub`.
    pub username: String,
    /// Whether the user may log in at all.
    #[serde(default)]
    pub standing: Standing,
    /// The profile.
    #[serde(default = "integration_profile")]
    pub profile: String,
    /// The assigned permission sets.
    #[serde(default)]
    pub permission_sets: Vec<String>,
    /// The name of the site, with its path, at which alone this user exists: an external user. Not settable as JSON.
    #[serde(skip)]
    pub site: Option<String>,
    /// The profile's session timeout, which goes before the org's. Not settable as JSON.
    #[serde(skip)]
    pub session_timeout: Option<Duration>,
    /// *API Enabled*.
    #[serde(default = "granted")]
    pub api_enabled: bool,
    /// *View Event Log Files*.
    #[serde(default = "granted")]
    pub view_event_log_files: bool,
    /// *View All Data*, which also opens the event log files.
    #[serde(default)]
    pub view_all_data: bool,
}

fn granted() -> bool {
    true
}

fn integration_profile() -> String {
    "Minimum Access - API Only Integrations".to_owned()
}

impl User {
    /// An active integration user with the least rights that read event log files.
    pub fn new(username: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            standing: Standing::Active,
            profile: integration_profile(),
            permission_sets: Vec::new(),
            site: None,
            session_timeout: None,
            api_enabled: true,
            view_event_log_files: true,
            view_all_data: false,
        }
    }
}

/// Whether a user may log in, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// May log in.
    #[default]
    Active,
    /// Deactivated or frozen; running sessions end with it.
    Inactive,
    /// Locked out after failed logins.
    Locked,
    /// Outside the profile's login IP ranges.
    IpRestricted,
    /// Outside the profile's login hours.
    OutsideLoginHours,
}

/// Which event log files the simulated org offers. The same settings and the same date always give the same files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLogs {
    /// How many days back there are files.
    pub days: u16,
    /// Whether the org has hourly files; without them the columns `Interval` and `Sequence` do not exist.
    pub hourly: bool,
    /// Events of each type in an hour: so many in an hourly file, and those of its hours in a daily one.
    pub events_per_hour: u16,
}

impl Default for EventLogs {
    fn default() -> Self {
        Self { days: 2, hourly: true, events_per_hour: 5 }
    }
}
