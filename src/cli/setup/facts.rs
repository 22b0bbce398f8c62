//! What `setup` needs to know, each fact in a type that cannot be wrong. Flags and answers are parsed by the same code.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

use super::super::key_pair::{Bits, Subject, is_printable};
use crate::config::hosts::{self, Allowlist};
use crate::names::IntegrationName;

/// Everything that shapes the files.
pub(super) struct Facts {
    pub(super) folder: Folder,
    pub(super) integration: IntegrationName,
    pub(super) org: MyDomain,
    pub(super) username: Username,
    pub(super) email: Email,
    pub(super) app: App,
    pub(super) bits: Bits,
    pub(super) days: Days,
    pub(super) subject: Subject,
    /// Of the app's policy, and so of the promise.
    pub(super) session: SessionTimeout,
    pub(super) view_all_data: bool,
    /// The consumer key, where the app exists already.
    pub(super) client_id: Option<ConsumerKey>,
}

/// Where the files go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The path.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl FromStr for Folder {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = match text.trim_end_matches('/') {
            "" => text,
            path => path,
        };
        if text.is_empty() || !is_printable(text) {
            return Err("this is no path of a folder");
        }
        // A shell would have replaced it; taken as it is, it would be a folder of this name.
        if text.starts_with('~') {
            return Err("no shell reads this: write the path without ~");
        }
        Ok(Self(PathBuf::from(text)))
    }
}

/// The app in Salesforce.
pub(super) struct App {
    pub(super) name: ApiName,
    pub(super) label: Label,
    pub(super) kind: Kind,
}

/// The two kinds of app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ExternalClientApp,
    ConnectedApp,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ExternalClientApp => "External Client App",
            Self::ConnectedApp => "Connected App",
        })
    }
}

impl Facts {
    /// The name of the key file, beside `aquila.toml`.
    pub(super) fn key_file(&self) -> String {
        key_file(&self.integration)
    }

    /// The name of the certificate's PEM file.
    pub(super) fn certificate_file(&self) -> String {
        format!("{}.crt", self.integration)
    }

    /// The permission set that opens event log files.
    pub(super) fn event_logs_set(&self) -> String {
        format!("{}_Event_Logs", self.app.name)
    }

    /// The permission set that lets its users into the app.
    pub(super) fn access_set(&self) -> String {
        format!("{}_Access", self.app.name)
    }
}

/// The name of the key file of an integration.
pub(super) fn key_file(integration: &IntegrationName) -> String {
    format!("{integration}.pem")
}

/// The origin of an org: its My Domain, or a simulator on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MyDomain(Url);

impl MyDomain {
    /// Where a simulator has to listen to be it, if this is no org but this machine.
    pub(super) fn simulated(&self) -> Option<String> {
        let port = self.0.port_or_known_default().filter(|_| hosts::is_loopback(&self.0))?;
        Some(match self.0.host_str()? {
            "localhost" => format!("127.0.0.1:{port}"),
            address => format!("{address}:{port}"),
        })
    }
}

impl fmt::Display for MyDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl FromStr for MyDomain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let example = "write the host of Setup > My Domain, like acme.my.salesforce.com";
        let text = text.trim();
        let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = Url::parse(&whole).map_err(|_| format!("this is no host: {example}"))?;
        let bare = url.username().is_empty() && url.password().is_none() && url.path() == "/";
        if !bare || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("there is more than a host: {example}"));
        }
        if hosts::is_loopback(&url) {
            let simulator = "a simulator on this machine is asked by plain http, like http://127.0.0.1:8081";
            return if url.scheme() == "http" { Ok(Self(url)) } else { Err(simulator.to_owned()) };
        }
        let host = url.host_str().unwrap_or_default();
        // It goes into commands that people paste.
        if !hosts::is_name(host) {
            return Err(format!("this is no host: {example}"));
        }
        let name = host.split('.').next().unwrap_or_default();
        if url.scheme() != "https" || url.port().is_some() {
            return Err(format!("Salesforce is asked by https at the usual port: {example}"));
        }
        if host.ends_with(".lightning.force.com") || host.ends_with(".my.salesforce-setup.com") {
            return Err(format!("this host serves pages, not tokens: is it {name}.my.salesforce.com?"));
        }
        if matches!(host, "login.salesforce.com" | "test.salesforce.com") {
            return Err(format!(
                "this is the login host of all orgs, where an External Client App is unknown: {example}"
            ));
        }
        let my_domain = host.split('.').skip(1).any(|label| label == "my") && !host.ends_with(".site.com");
        if !my_domain || !Allowlist::new([]).permits(&url) {
            return Err(format!("this is not a My Domain host: {example}"));
        }
        Ok(Self(url))
    }
}

/// A Salesforce username, which has the form of an e-mail address and need not be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Username(String);

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Username {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found =
            address(text).ok_or("a username of Salesforce has the form name@acme.example, whether it gets mail or not");
        found.map(Self)
    }
}

/// An e-mail address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Email(String);

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Email {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        address(text).map(Self).ok_or("this is no e-mail address: write it like name@acme.example")
    }
}

/// A text in the form of an address, of at most the 80 characters that a username can have, and a contact's address too.
fn address(text: &str) -> Option<String> {
    let text = text.trim();
    let (user, domain) = text.split_once('@')?;
    let labels = domain.split('.').collect::<Vec<_>>();
    let of_a_user = |c: char| c.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c);
    let of_a_domain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let sound = !user.is_empty()
        && user.chars().all(of_a_user)
        && labels.len() >= 2
        && labels.iter().all(|label| !label.is_empty() && label.chars().all(of_a_domain));
    (sound && text.len() <= 80).then(|| text.to_owned())
}

/// The name by which metadata refer to a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiName(String);

/// So that the names that are made of it stay below Salesforce's 80.
const LONGEST_API_NAME: usize = 40;

impl ApiName {
    /// The usual name of the app of an integration.
    pub(super) fn of(integration: &IntegrationName) -> Self {
        let words = integration.as_str().split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>();
        let name: String = format!("Aquila_{}", words.join("_")).chars().take(LONGEST_API_NAME).collect();
        Self(name.trim_end_matches('_').to_owned())
    }
}

impl fmt::Display for ApiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ApiName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sound = text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !text.contains("__")
            && !text.ends_with('_')
            && text.len() <= LONGEST_API_NAME;
        if !sound {
            return Err(format!(
                "an API name has 1 to {LONGEST_API_NAME} letters, digits and single underscores, begins with a letter and \
                 does not end with an underscore"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// What people see in Setup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label(String);

impl Label {
    /// The usual label of the app of an integration.
    pub(super) fn of(integration: &IntegrationName) -> Self {
        Self(format!("Aquila {integration}").chars().take(LONGEST_LABEL).collect())
    }
}

/// So that the labels that are made of it stay below Salesforce's 80.
const LONGEST_LABEL: usize = 60;

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > LONGEST_LABEL || !is_printable(text) {
            return Err(format!("a label has 1 to {LONGEST_LABEL} printable characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// For how many days a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Days(pub(super) u16);

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Days {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let days = text.parse().ok().filter(|days| (1..=3650).contains(days));
        days.map(Self).ok_or("a certificate is good for 1 to 3650 days")
    }
}

/// A session timeout that Salesforce offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionTimeout {
    pub(super) minutes: u16,
    /// As `aquila.toml` has it.
    pub(super) text: &'static str,
}

const OFFERED: [(u16, &str); 9] = [
    (15, "15m"),
    (30, "30m"),
    (60, "1h"),
    (90, "90m"),
    (120, "2h"),
    (240, "4h"),
    (480, "8h"),
    (720, "12h"),
    (1440, "24h"),
];

impl FromStr for SessionTimeout {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = OFFERED.into_iter().find(|(minutes, offered)| {
            // `120m` and `2h` are the same, in the words of the configuration.
            text == *offered || text.strip_suffix('m') == Some(minutes.to_string().as_str())
        });
        found
            .map(|(minutes, text)| Self { minutes, text })
            .ok_or("Salesforce offers 15m, 30m, 1h, 90m, 2h, 4h, 8h, 12h and 24h")
    }
}

impl fmt::Display for SessionTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// The consumer key of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConsumerKey(String);

impl fmt::Display for ConsumerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ConsumerKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Self(text.to_owned())),
            false => Err("a consumer key is printable ASCII without spaces"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orgs_host_is_taken_in_the_forms_in_which_people_have_it() {
        for (text, origin, simulated) in [
            ("acme.my.salesforce.com", "https://acme.my.salesforce.com", None),
            (" https://Acme.my.salesforce.com/ ", "https://acme.my.salesforce.com", None),
            ("acme--uat.sandbox.my.salesforce.com", "https://acme--uat.sandbox.my.salesforce.com", None),
            ("acme-dev-ed.develop.my.salesforce.com", "https://acme-dev-ed.develop.my.salesforce.com", None),
            ("acme.my.salesforce.mil", "https://acme.my.salesforce.mil", None),
            ("acme.my.sfcrmproducts.cn", "https://acme.my.sfcrmproducts.cn", None),
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081", Some("127.0.0.1:8081")),
            ("http://localhost/", "http://localhost", Some("127.0.0.1:80")),
            ("http://[::1]:9", "http://[::1]:9", Some("[::1]:9")),
        ] {
            let org: MyDomain = text.parse().unwrap();
            assert_eq!((org.to_string().as_str(), org.simulated().as_deref()), (origin, simulated), "{text}");
        }
    }

    #[test]
    fn a_host_that_gives_no_tokens_is_refused_with_what_it_is() {
        for (text, told) in [
            ("", "this is no host"),
            ("a b", "this is no host"),
            ("acme", "not a My Domain host"),
            ("acme.salesforce.com", "not a My Domain host"),
            ("acme.my.salesforce.com.evil.example", "not a My Domain host"),
            ("acme.my.site.com", "not a My Domain host"),
            ("login.salesforce.com", "login host of all orgs"),
            ("https://test.salesforce.com", "login host of all orgs"),
            ("acme.lightning.force.com", "is it acme.my.salesforce.com?"),
            ("https://acme.my.salesforce-setup.com", "is it acme.my.salesforce.com?"),
            ("https://acme.my.salesforce.com/lightning/setup", "more than a host"),
            ("https://user:pw@acme.my.salesforce.com", "more than a host"),
            ("http://acme.my.salesforce.com", "by https at the usual port"),
            ("acme.my.salesforce.com:8443", "by https at the usual port"),
            ("ftp://acme.my.salesforce.com", "by https"),
            ("https://127.0.0.1:8443", "by plain http"),
        ] {
            let error = text.parse::<MyDomain>().unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_host_has_no_letters_that_mean_something_to_a_shell() {
        let names = "a`id`|a;id;|a$(id)|a&id&|a'|*|a!b|{a,b}|a(b)|a~|a_b|a,b||a.|-a|a-|a\"b|a=b|a+b|a|".split('|');
        for name in names.filter(|name| *name != "a") {
            let text = format!("{name}.my.salesforce.com");
            assert!(text.parse::<MyDomain>().is_err(), "{text}");
        }
        let long = format!("{}.my.salesforce.com", "a".repeat(64));
        assert!(long.parse::<MyDomain>().is_err());
    }

    #[test]
    fn what_nobody_sees_is_no_text() {
        for hidden in ["\u{202e}", "\u{2066}", "\u{200b}", "\u{feff}", "\u{ad}", "\u{2028}", "\u{e0041}", "\u{9b}"] {
            let text = format!("a{hidden}b");
            assert!(text.parse::<Label>().is_err(), "{hidden:?}");
            assert!(text.parse::<Folder>().is_err(), "{hidden:?}");
            assert!(format!("CN={text}").parse::<Subject>().is_err(), "{hidden:?}");
        }
        for seen in ["Müller \"&\" Söhne's \\ \u{2713}", "e\u{301}", "\u{301}e", "ログ", "سجل", "लॉग"] {
            assert!(seen.parse::<Label>().is_ok(), "{seen}");
        }
    }

    #[test]
    fn a_username_has_the_form_of_an_address() {
        for good in ["elastic-log@acme.example", "o'brien+elf@mail.acme.example", "a@b.co"] {
            assert_eq!(good.parse::<Username>().unwrap().to_string(), good);
            assert_eq!(good.parse::<Email>().unwrap().to_string(), good);
        }
        let long = format!("{}@acme.example", "x".repeat(80));
        for wrong in ["", "acme", "@acme.example", "a@", "a@acme", "a@b@c.example", "a b@acme.example", "a@.example"] {
            assert!(wrong.parse::<Username>().is_err() && wrong.parse::<Email>().is_err(), "{wrong}");
        }
        for wrong in [long.as_str(), "a@acme..example", "a\"@acme.example", "<a>@acme.example", "ü@acme.example"] {
            assert!(wrong.parse::<Username>().is_err() && wrong.parse::<Email>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_of_an_app_are_names_that_salesforce_takes() {
        for (integration, name) in [
            ("elf-prod", "Aquila_elf_prod"),
            ("7-eleven--x-", "Aquila_7_eleven_x"),
            ("abcdefghij-abcdefghij-abcdefghij-abcdefghij", "Aquila_abcdefghij_abcdefghij_abcdefghij"),
        ] {
            let made = ApiName::of(&integration.parse().unwrap());
            assert_eq!(made.to_string(), name);
            assert_eq!(name.parse::<ApiName>().unwrap(), made);
        }
        for wrong in ["", "7up", "_a", "a_", "a__b", "a-b", "a b", "Müller", &"a".repeat(41)] {
            assert!(wrong.parse::<ApiName>().is_err(), "{wrong}");
        }
        for wrong in ["", "  ", "a\tb", &"a".repeat(61)] {
            assert!(wrong.parse::<Label>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_folder_is_a_path_and_no_abbreviation() {
        for (text, path) in [("elf", "elf"), ("./elf-prod/", "./elf-prod"), ("/", "/"), ("my folder", "my folder")] {
            assert_eq!(text.parse::<Folder>().unwrap().to_string(), path);
        }
        for wrong in ["", "~", "~/elf", "a\nb"] {
            assert!(wrong.parse::<Folder>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_and_days_are_those_that_make_sense() {
        for (text, minutes, told) in [("2h", 120, "2h"), ("120m", 120, "2h"), ("15m", 15, "15m"), ("24h", 1440, "24h")]
        {
            let timeout: SessionTimeout = text.parse().unwrap();
            assert_eq!((timeout.minutes, timeout.to_string().as_str()), (minutes, told));
        }
        for wrong in ["", "2", "2H", "45m", "1d", "90 m"] {
            assert!(wrong.parse::<SessionTimeout>().is_err(), "{wrong}");
        }
        assert_eq!("1".parse(), Ok(Days(1)));
        for wrong in ["", "0", "3651", "-1", "730d"] {
            assert!(wrong.parse::<Days>().is_err(), "{wrong}");
        }
    }
}
