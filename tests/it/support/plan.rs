//! What a stage is to have, before it is built. Without orders: one integration, one caller that may have it, a session
//! timeout of two hours on both sides.

use std::collections::BTreeMap;
use std::time::Duration;

use aquila::authn::ApiKey;
use aquila::simulator::{self, Settings};

use super::key::Pair;

pub(crate) const INTEGRATION: &str = "elf-prod";
pub(crate) const CALLER: &str = "shipper";
pub(crate) const CLIENT_ID: &str = "SIMULATED_consumer_key";
pub(crate) const CLIENT_SECRET: &str = "SIMULATED_consumer_secret";

/// What one integration has of its own.
#[derive(Clone, Default)]
pub(crate) struct Own {
    /// Its user, instead of the usual one.
    pub(crate) username: Option<String>,
    /// Whether it asks the simulator itself, where the others ask the relay: another host.
    pub(crate) direct: bool,
    /// Lines for it alone.
    pub(crate) lines: Vec<String>,
}

/// The orders.
pub(crate) struct Plan {
    pub(super) own: BTreeMap<String, Own>,
    pub(super) client_secret: Option<String>,
    pub(super) integrations: Vec<String>,
    pub(super) callers: Vec<(String, Vec<String>, ApiKey)>,
    pub(super) session_timeout: Duration,
    /// Lines for every integration.
    pub(super) integration_lines: Vec<String>,
    /// Lines for `[salesforce]`.
    pub(super) salesforce_lines: Vec<String>,
    /// Lines for `[server]`.
    pub(super) server_lines: Vec<String>,
    /// Lines for `[ops]`.
    pub(super) ops_lines: Vec<String>,
    /// Issuers and the lines of each.
    pub(super) issuers: Vec<(String, String)>,
    /// Lines for single callers.
    pub(super) caller_lines: Vec<(String, String)>,
    /// Users of integrations that have not one of their own.
    pub(super) usernames: Vec<(String, String)>,
    pub(super) log_level: String,
    pub(super) simulator: Settings,
    /// Token endpoints of integrations that have one of their own; `{port}` in it is the simulator's.
    pub(super) token_urls: Vec<(String, String)>,
    /// Files beside the configuration.
    pub(super) files: Vec<(String, String)>,
    /// Variables of a process of its own.
    pub(super) environment: Vec<(String, String)>,
    pub(super) relayed: bool,
    pub(super) in_own_process: bool,
    pub(super) one_user: bool,
    pub(super) machine_clock: bool,
    /// Sections of their own.
    pub(super) sections: String,
}

impl Plan {
    pub(crate) fn new() -> Self {
        let mut app = simulator::App::new(CLIENT_ID, Pair::of_this_process().certificate.as_bytes());
        app.client_secret = Some(CLIENT_SECRET.to_owned());
        let plan = Self {
            own: BTreeMap::new(),
            client_secret: None,
            integrations: vec![INTEGRATION.to_owned()],
            callers: Vec::new(),
            session_timeout: Duration::from_secs(7200),
            integration_lines: Vec::new(),
            salesforce_lines: Vec::new(),
            server_lines: Vec::new(),
            ops_lines: Vec::new(),
            issuers: Vec::new(),
            caller_lines: Vec::new(),
            usernames: Vec::new(),
            log_level: "info".to_owned(),
            simulator: Settings { apps: vec![app], ..Settings::default() },
            token_urls: Vec::new(),
            files: Vec::new(),
            environment: Vec::new(),
            relayed: false,
            in_own_process: false,
            one_user: false,
            machine_clock: false,
            sections: String::new(),
        };
        plan.caller(CALLER, &["elf-*"])
    }

    /// One more integration.
    pub(crate) fn integration(mut self, name: &str) -> Self {
        self.integrations.push(name.to_owned());
        self
    }

    /// An integration with something of its own: one more, or the usual one.
    pub(crate) fn own(mut self, name: &str, own: Own) -> Self {
        if !self.integrations.iter().any(|known| known == name) {
            self = self.integration(name);
        }
        self.own.insert(name.to_owned(), own);
        self
    }

    /// The app's secret, for every integration.
    pub(crate) fn client_secret(mut self, text: &str) -> Self {
        self.client_secret = Some(text.to_owned());
        self.integration_line("client_secret_path = \"client_secret.txt\"")
    }

    /// The user of an integration of this plan.
    pub(super) fn user_of(&self, integration: &str) -> String {
        let own = self.own.get(integration).and_then(|own| own.username.clone());
        let named = self.usernames.iter().find(|(known, _)| known == integration).map(|(_, user)| user.clone());
        own.or(named).unwrap_or_else(|| username(integration))
    }

    /// One more caller, with a key of its own.
    pub(crate) fn caller(mut self, name: &str, rights: &[&str]) -> Self {
        let rights = rights.iter().map(|&right| right.to_owned()).collect();
        self.callers.push((name.to_owned(), rights, ApiKey::generate().unwrap()));
        self
    }

    /// The session timeout, as Setup says it and as the configuration repeats it.
    pub(crate) fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// A line for every `[integrations.NAME]`.
    pub(crate) fn integration_line(mut self, line: impl Into<String>) -> Self {
        self.integration_lines.push(line.into());
        self
    }

    /// A line for `[salesforce]`.
    pub(crate) fn salesforce_line(mut self, line: impl Into<String>) -> Self {
        self.salesforce_lines.push(line.into());
        self
    }

    /// A line for `[server]`.
    pub(crate) fn server_line(mut self, line: impl Into<String>) -> Self {
        self.server_lines.push(line.into());
        self
    }

    /// A line for `[ops]`.
    pub(crate) fn ops_line(mut self, line: impl Into<String>) -> Self {
        self.ops_lines.push(line.into());
        self
    }

    /// An issuer of JWTs, with its lines.
    pub(crate) fn issuer(mut self, name: &str, lines: impl Into<String>) -> Self {
        self.issuers.push((name.to_owned(), lines.into()));
        self
    }

    /// A line for the section of one caller.
    pub(crate) fn caller_line(mut self, caller: &str, line: impl Into<String>) -> Self {
        self.caller_lines.push((caller.to_owned(), line.into()));
        self
    }

    /// Other rights for a caller that is there.
    pub(crate) fn caller_rights(mut self, caller: &str, rights: &[&str]) -> Self {
        let rights: Vec<String> = rights.iter().map(|&right| right.to_owned()).collect();
        let place = self.callers.iter_mut().find(|(name, ..)| name == caller).unwrap();
        place.1 = rights;
        self
    }

    /// Another user for one integration.
    pub(crate) fn username_of(mut self, integration: &str, user: &str) -> Self {
        self.usernames.push((integration.to_owned(), user.to_owned()));
        self
    }

    /// The level of the log.
    pub(crate) fn log_level(mut self, level: &str) -> Self {
        level.clone_into(&mut self.log_level);
        self
    }

    /// Changes what the simulator is started with.
    pub(crate) fn simulator(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.simulator);
        self
    }

    /// Gives one integration another token endpoint than the rest; `{port}` in it is the simulator's.
    pub(crate) fn token_url(mut self, integration: &str, url: impl Into<String>) -> Self {
        self.token_urls.push((integration.to_owned(), url.into()));
        self
    }

    /// A file beside the configuration.
    pub(crate) fn file(mut self, name: &str, content: impl Into<String>) -> Self {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    /// A variable for a process of its own.
    pub(crate) fn environment(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Puts a relay between the broker and the token endpoint.
    pub(crate) fn relayed(mut self) -> Self {
        self.relayed = true;
        self
    }

    /// Runs the `aquila` binary instead of the library: its own memory, files and log, and the machine's clock.
    pub(crate) fn in_own_process(mut self) -> Self {
        self.in_own_process = true;
        self
    }

    /// All integrations log in as the user of the first one.
    pub(crate) fn one_user(mut self) -> Self {
        self.one_user = true;
        self
    }

    /// The broker goes by the machine's clock: the store has no other.
    pub(crate) fn machine_clock(mut self) -> Self {
        self.machine_clock = true;
        self
    }

    /// A section of its own.
    pub(crate) fn section(mut self, text: impl AsRef<str>) -> Self {
        self.sections.push_str(text.as_ref());
        self
    }

    /// The file that the service is started with.
    pub(super) fn configuration(&self, token_url: &str, simulator: (&str, u16), audit: &str) -> String {
        let (direct_url, port) = simulator;
        let mut file = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n{}\n\n[ops]\nlisten = \"127.0.0.1:0\"\n{}\n\n[salesforce]\n{}\n\n\
             [log]\nformat = \"json\"\nlevel = \"{}\"\n\n[audit]\npath = \"{audit}\"\n",
            self.server_lines.join("\n"),
            self.ops_lines.join("\n"),
            self.salesforce_lines.join("\n"),
            self.log_level,
        );
        for name in &self.integrations {
            let own = self.own.get(name).cloned().unwrap_or_default();
            let elsewhere = self.token_urls.iter().find(|(known, _)| known == name);
            let token_url = match elsewhere {
                Some((_, url)) => url.replace("{port}", &port.to_string()),
                None if own.direct => direct_url.to_owned(),
                None => token_url.to_owned(),
            };
            file.push_str(&format!(
                "\n[integrations.{name}]\naudience_url = \"https://login.salesforce.com\"\n\
                 client_key_path = \"key.pem\"\nusername = \"{}\"\nclient_id = \"{CLIENT_ID}\"\n\
                 token_url = \"{token_url}\"\nsession_timeout = \"{}s\"\n{}\n{}\n",
                self.user_of(if self.one_user { INTEGRATION } else { name }),
                self.session_timeout.as_secs(),
                self.integration_lines.join("\n"),
                own.lines.join("\n"),
            ));
        }
        for (name, rights, key) in &self.callers {
            let digest: String = key.digest().iter().map(|byte| format!("{byte:02x}")).collect();
            let own = self.caller_lines.iter().filter(|(caller, _)| caller == name).map(|(_, line)| line.as_str());
            file.push_str(&format!(
                "\n[callers.{name}]\nintegrations = {rights:?}\napi_key_sha256 = [\"{digest}\"]\n{}\n",
                own.collect::<Vec<_>>().join("\n"),
            ));
        }
        for (name, lines) in &self.issuers {
            file.push_str(&format!("\n[issuers.{name}]\n{lines}\n"));
        }
        file.push_str(&self.sections);
        file
    }
}

/// The user of an integration.
pub(crate) fn username(integration: &str) -> String {
    format!("{integration}@acme.example")
}
