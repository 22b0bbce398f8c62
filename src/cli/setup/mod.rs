//! `aquila setup`: key, certificate, the metadata of the org, and the integration's part of the configuration.
//!
//! Facts come from flags, or from answers on a terminal. Everything is made in memory and then written, all or nothing;
//! no network is used. The private key goes into its file and nowhere else.

mod ask;
mod disk;
mod facts;
mod metadata;
mod stanza;
mod steps;
#[cfg(test)]
mod testing;
mod xml;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::json;
use zeroize::Zeroizing;

use super::key_pair::{self, Bits, KeyPair, Subject, Validity};
use super::{complain, say};
use crate::clock::Clock;
use crate::names::IntegrationName;
use ask::{Answers, Question};
use disk::File;
use facts::{ApiName, App, ConsumerKey, Days, Email, Facts, Folder, Kind, Label, MyDomain, SessionTimeout, Username};

/// What is told by flags; the rest is asked, or has a default.
#[derive(Debug, Args)]
#[command(after_help = "\
It writes an RSA key, its certificate, a Salesforce DX project (an app that knows the certificate, its policies, two \
permission sets) and the integration's part of aquila.toml, and tells what is left to do. Nothing is sent anywhere, and \
no file is overwritten.\n\n\
--dir, --my-domain, --username and --email are what it has to know. If one of them is left out it asks, on a terminal, \
for these and for --integration, --session-timeout, --key-bits and --days, as far as no flag says them. The others are \
never asked for.")]
pub(super) struct SetupArgs {
    /// The folder for the files; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    dir: Option<Folder>,
    /// The org's host, from Setup > My Domain, like acme.my.salesforce.com. For a trial without an org:
    /// `http://127.0.0.1:8081`, where `aquila simulate` listens.
    #[arg(long, value_name = "HOST")]
    my_domain: Option<MyDomain>,
    /// The username of the integration user.
    #[arg(long, value_name = "USERNAME")]
    username: Option<Username>,
    /// The address at which Salesforce reaches whoever answers for the app.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<Email>,
    /// What the integration is called here; files are named after it [default: elf-prod].
    #[arg(long, value_name = "NAME")]
    integration: Option<IntegrationName>,
    /// How long a session lives without use: 15m, 30m, 1h, 90m, 2h, 4h, 8h, 12h or 24h [default: 2h].
    #[arg(long, value_name = "TIME")]
    session_timeout: Option<SessionTimeout>,
    /// The size of the RSA key: 2048, 3072 or 4096 [default: 2048].
    #[arg(long, value_name = "BITS")]
    key_bits: Option<Bits>,
    /// For how many days the certificate is good [default: 730].
    #[arg(long, value_name = "N")]
    days: Option<Days>,
    /// Who the certificate says it is, like CN=aquila,O=Acme [default: CN=aquila-NAME].
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<Subject>,
    /// The API name of the app [default: Aquila_ and the integration's name].
    #[arg(long, value_name = "API_NAME")]
    app_name: Option<ApiName>,
    /// What people read in Setup [default: Aquila and the integration's name].
    #[arg(long, value_name = "TEXT")]
    label: Option<Label>,
    /// Grant View All Data too. Event log files do not need it.
    #[arg(long)]
    view_all_data: bool,
    /// Make a Connected App, for orgs that may still create them.
    #[arg(long)]
    connected_app: bool,
    /// The app's consumer key, where the app exists already; otherwise it is filled in after the deployment.
    #[arg(long, value_name = "ID")]
    client_id: Option<ConsumerKey>,
}

impl SetupArgs {
    /// Whether anything is left out for which there is no default.
    fn lacks_something(&self) -> bool {
        self.dir.is_none() || self.my_domain.is_none() || self.username.is_none() || self.email.is_none()
    }
}

/// What Salesforce takes as a certificate, in bytes.
const LARGEST_CERTIFICATE: usize = 4096;

/// Makes everything and tells what is left to do.
pub(super) fn run(args: SetupArgs) -> anyhow::Result<ExitCode> {
    // Questions are talk and go to standard error; where nobody sees them nobody is asked.
    let (mut typed, mut shown) = (std::io::stdin().lock(), std::io::stderr());
    let terminal = typed.is_terminal() && shown.is_terminal() && std::io::stdout().is_terminal();
    // A command that says all it has to is obeyed as it stands.
    let ask = terminal && args.lacks_something();
    if let Some(folder) = args.dir.as_ref().filter(|_| ask) {
        disk::vacant(folder.path(), ALWAYS_MADE)?;
    }
    let mut answers = Answers::new(ask.then_some((&mut typed, &mut shown)));
    let Some(facts) = facts_of(args, &mut answers)? else { return Ok(wrong_usage(&answers.missing)) };
    // Before the key, which takes a while.
    vacant(&facts.folder, &facts.integration)?;
    if !answers.confirm(&summary(&facts))? {
        bail!("nothing was made");
    }
    if terminal {
        complain(&format!("\nMaking an RSA key of {} bits …\n", facts.bits));
    }
    let validity = Validity::days(Clock::system().timestamp(), facts.days.0)?;
    let pair = key_pair::make(facts.bits, &facts.subject, validity)?;
    if pair.certificate.len() > LARGEST_CERTIFICATE {
        let size = pair.certificate.len();
        bail!("the certificate has {size} bytes, and Salesforce takes {LARGEST_CERTIFICATE}: shorten the --subject");
    }
    let components = metadata::components(&facts, &pair.certificate);
    let told = told(&facts, &pair, validity, components.len());
    disk::write(facts.folder.path(), &files(&facts, pair, components))?;
    say(&told)?;
    Ok(ExitCode::SUCCESS)
}

/// What has the same name for every integration.
const ALWAYS_MADE: [&str; 3] = ["aquila.toml", "STEPS.md", "salesforce/sfdx-project.json"];

/// Whether the folder has room for an integration.
fn vacant(folder: &Folder, integration: &IntegrationName) -> Result<(), disk::WriteError> {
    let key = facts::key_file(integration);
    disk::vacant(folder.path(), ALWAYS_MADE.into_iter().chain([key.as_str()]))
}

/// Every fact, or nothing when some are missing; then their flags are noted in `answers`.
fn facts_of(args: SetupArgs, answers: &mut Answers<'_>) -> anyhow::Result<Option<Facts>> {
    let ask = |text, default: Option<&str>, flag| Question { text, default: default.map(str::to_owned), flag };
    let integration = answers
        .take(args.integration, ask("Name of the integration here", Some("elf-prod"), "--integration <NAME>"))?;
    // Only on a terminal is there a default: a folder that nobody named is no place for a key.
    let folder = integration.as_ref().filter(|_| answers.has_somebody()).map(ToString::to_string);
    let folder = answers.take(args.dir, ask("Folder for the files", folder.as_deref(), "--dir <DIR>"))?;
    if let (true, Some(folder), Some(integration)) = (answers.has_somebody(), &folder, &integration) {
        // Before anybody answers the rest for nothing.
        vacant(folder, integration)?;
    }
    let org =
        answers.take(args.my_domain, ask("My Domain of the org (Setup > My Domain)", None, "--my-domain <HOST>"))?;
    let username =
        answers.take(args.username, ask("Username of the integration user", None, "--username <USERNAME>"))?;
    let email = answers.take(args.email, ask("E-mail of whoever answers for the app", None, "--email <ADDRESS>"))?;
    let session = answers.take(args.session_timeout, ask("Session timeout", Some("2h"), "--session-timeout <TIME>"))?;
    let bits = answers.take(args.key_bits, ask("Bits of the RSA key", Some("2048"), "--key-bits <BITS>"))?;
    let days = answers.take(args.days, ask("Days of the certificate", Some("730"), "--days <N>"))?;
    let (Some(folder), Some(org), Some(username), Some(email)) = (folder, org, username, email) else {
        return Ok(None);
    };
    let (Some(integration), Some(session), Some(bits), Some(days)) = (integration, session, bits, days) else {
        return Ok(None);
    };
    let app = App {
        name: args.app_name.unwrap_or_else(|| ApiName::of(&integration)),
        label: args.label.unwrap_or_else(|| Label::of(&integration)),
        kind: if args.connected_app { Kind::ConnectedApp } else { Kind::ExternalClientApp },
    };
    Ok(Some(Facts {
        subject: args.subject.unwrap_or_else(|| Subject::common_name(format!("aquila-{integration}"))),
        folder,
        integration,
        org,
        username,
        email,
        app,
        bits,
        days,
        session,
        view_all_data: args.view_all_data,
        client_id: args.client_id,
    }))
}

fn wrong_usage(missing: &[&str]) -> ExitCode {
    let list = missing.iter().map(|flag| format!("\n  {flag}")).collect::<String>();
    complain(&format!(
        "error: these are missing, and there is no terminal to ask on (standard input, output and error have to be one):{list}\n\n\
         For more information, try 'aquila setup --help'."
    ));
    ExitCode::from(2)
}

fn summary(facts: &Facts) -> String {
    let Facts { org, username, email, app, bits, days, subject, session, .. } = facts;
    let data = if facts.view_all_data { ", View All Data" } else { "" };
    format!(
        "  org            {org}
  user           {username}
  app            {} {} \"{}\", contact {email}
  permissions    API Enabled, View Event Log Files{data}
  session        {session}
  key            RSA, {bits} bits
  certificate    {subject}, {days} days
  folder         {}
",
        app.kind, app.name, app.label, facts.folder
    )
}

/// What was made, and what is left to do.
fn told(facts: &Facts, pair: &KeyPair, validity: Validity, components: usize) -> String {
    let (folder, name) = (facts.folder.to_string(), &facts.integration);
    let client_id = match stanza::client_id(facts) {
        Some(_) => "whole but for a caller",
        None => "its client_id is still empty",
    };
    let size = pair.certificate.len();
    let made = [
        (format!("{name}.pem"), format!("the private key: RSA, {} bits, mode 0600; it stays here", facts.bits)),
        (format!("{name}.crt"), format!("its certificate until {}: {size} bytes of at most 4096", validity.last_day())),
        (format!("{name}.der"), format!("the same in DER, {} bytes", pair.certificate_der.len())),
        ("aquila.toml".to_owned(), format!("the integration; {client_id}")),
        ("salesforce/".to_owned(), format!("a DX project of {components} components, nothing secret in it")),
        ("STEPS.md".to_owned(), "the steps that follow here".to_owned()),
    ];
    let width = made.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let made = made.map(|(name, what)| format!("  {name:width$}  {what}\n")).concat();
    format!("Made in {folder}:\n\n{made}\nWhat no file can do:\n\n{}", steps::text(facts, &folder).trim_end())
}

/// Everything that is written, the key first: there is never a certificate without its key.
fn files(facts: &Facts, pair: KeyPair, components: Vec<metadata::Component>) -> Vec<File> {
    let KeyPair { mut private_key, certificate, certificate_der } = pair;
    let key = Zeroizing::new(std::mem::take(&mut *private_key).into_bytes());
    let project = json!({
        "name": format!("aquila-{}", facts.integration),
        "namespace": "",
        "packageDirectories": [{"path": "force-app", "default": true}],
        "sfdcLoginUrl": facts.org.to_string(),
        "sourceApiVersion": metadata::API_VERSION,
    });
    let steps = format!("# What is left to do for {}\n\n{}", facts.integration, steps::text(facts, "."));
    let mut files = vec![
        File { path: facts.key_file(), content: key, private: true },
        File::open(facts.certificate_file(), certificate),
        File::open(format!("{}.der", facts.integration), certificate_der),
        File::open("aquila.toml", stanza::text(facts)),
        File::open("STEPS.md", steps),
        File::open("salesforce/sfdx-project.json", format!("{project:#}\n")),
        File::open("salesforce/manifest/package.xml", metadata::manifest(&components)),
    ];
    let place = |path| format!("salesforce/force-app/main/default/{path}");
    files.extend(components.into_iter().map(|component| File::open(place(component.path), component.text)));
    files
}
