//! What is left to do when the files are there: the steps that no file can take. Pure.

use std::fmt::Write as _;

use self::Part::{Lines, Prose};
use super::facts::{Facts, Kind};
use super::stanza;

/// What Salesforce's CLI is to call the administrator's login.
const ALIAS: &str = "aquila";

/// The page with every step and the clicks instead of files.
const PAGE: &str = "docs/salesforce-setup.md";

/// What a step is made of.
enum Part {
    /// Sentences, broken into lines where they have to be.
    Prose(String),
    /// Lines as they are: commands, or what to fill in.
    Lines(Vec<String>),
}

/// What fits beside the number of a step on the narrowest of usual terminals.
const WIDTH: usize = 75;

/// The steps, numbered, with commands that work from where `folder` is a path to the files.
pub(super) fn text(facts: &Facts, folder: &str) -> String {
    let file = |name: &str| match folder {
        "." => word(name.to_owned()),
        // A path that begins like an option would be taken for one.
        _ if folder.starts_with('-') => word(format!("./{folder}/{name}")),
        _ => word(format!("{folder}/{name}")),
    };
    let configuration = file("aquila.toml");
    let mut steps = match facts.org.simulated() {
        Some(listen) => {
            vec![
                simulator(facts, &listen, &file(&facts.certificate_file())),
                proof(facts, "The proof:", &configuration),
            ]
        }
        None => vec![
            user(facts),
            deployment(facts, &file("salesforce")),
            assignment(facts),
            consumer_key(facts, &configuration),
            proof(facts, "A new app, or a change of one, takes 2 to 10 minutes to work. Then:", &configuration),
        ],
    };
    steps.push(caller(&configuration));
    let mut text = String::new();
    for (number, parts) in (1..).zip(steps) {
        let mut mark = format!("{number}. ");
        for part in parts {
            let (lines, indent) = match part {
                Prose(sentences) => (broken(&sentences), "   "),
                Lines(lines) => (lines, "       "),
            };
            for line in lines {
                // Writing to a `String` cannot fail.
                let _ = writeln!(text, "{}{line}", if mark.is_empty() { indent } else { mark.as_str() });
                mark.clear();
            }
            text.push('\n');
        }
    }
    if facts.org.simulated().is_none() {
        let _ = writeln!(text, "Each step at length, and by clicks instead of files: {PAGE}");
    }
    text
}

fn user(facts: &Facts) -> Vec<Part> {
    let fields = [
        "User License   Salesforce Integration".to_owned(),
        "Profile        Minimum Access - API Only Integrations".to_owned(),
        format!("Username       {}", facts.username),
    ];
    vec![
        Prose("The integration user, unless it is there. Setup > Users > New User:".to_owned()),
        Lines(fields.into()),
        Prose("Then on its page, Permission Set License Assignments: Salesforce API Integration.".to_owned()),
    ]
}

fn deployment(facts: &Facts, project: &str) -> Vec<Part> {
    let refused = match facts.app.kind {
        Kind::ExternalClientApp => {
            "If the OAuth settings are refused: Setup > External Client App Settings, allow access to OAuth consumer secrets \
             via Metadata API, deploy, and take it back."
        }
        Kind::ConnectedApp => {
            "If the app is refused: since Spring '26 Salesforce Support has to allow new Connected Apps. Without \
             --connected-app this command makes an External Client App, which needs no such permission."
        }
    };
    let commands = [
        format!("sf org login web --alias {ALIAS} {}", option("instance-url", &facts.org)),
        format!("(cd {project} &&"),
        format!(" sf project deploy start --source-dir force-app --target-org {ALIAS})"),
    ];
    vec![
        Prose(
            "The app and the permission sets, by an administrator with Salesforce's CLI (npm package @salesforce/cli):"
                .to_owned(),
        ),
        Lines(commands.into()),
        Prose(refused.to_owned()),
    ]
}

fn assignment(facts: &Facts) -> Vec<Part> {
    let commands = [
        format!("sf org assign permset {} \\", option("on-behalf-of", &facts.username)),
        format!("  --name {} --name {} \\", facts.event_logs_set(), facts.access_set()),
        format!("  --target-org {ALIAS}"),
    ];
    vec![
        Prose("Both permission sets for the user, one to read event log files, one to be let into the app:".to_owned()),
        Lines(commands.into()),
    ]
}

fn consumer_key(facts: &Facts, configuration: &str) -> Vec<Part> {
    let (label, set) = (&facts.app.label, facts.access_set());
    let (key, policies) = match facts.app.kind {
        Kind::ExternalClientApp => (
            format!(
                "Setup > External Client App Manager > {label} > Settings > OAuth Settings > Consumer Key and Secret"
            ),
            "At Policies".to_owned(),
        ),
        Kind::ConnectedApp => (
            format!("Setup > App Manager > {label} > View > Manage Consumer Details"),
            format!("At Setup > Manage Connected Apps > {label}"),
        ),
    };
    let what = match stanza::client_id(facts) {
        Some(_) => "Compare the consumer key with",
        None => "Copy the consumer key, not the secret, into",
    };
    vec![
        Prose(format!("{what} `client_id` in {configuration}. {key}.")),
        Prose(format!(
            "{policies} see that Permitted Users is \"Admin approved users are pre-authorized\" and that {set} is among the \
             permission sets."
        )),
    ]
}

fn proof(facts: &Facts, before: &str, configuration: &str) -> Vec<Part> {
    let check = format!("aquila check --config {configuration}");
    let end = format!(
        "The certificate is good for {} days. aquila.toml names it, so that `aquila check` and the log tell its end from 30 \
         days before.",
        facts.days
    );
    vec![Prose(before.to_owned()), Lines(vec![check.clone(), format!("{check} --live")]), Prose(end)]
}

fn simulator(facts: &Facts, listen: &str, certificate: &str) -> Vec<Part> {
    let client_id = option("client-id", stanza::client_id(facts).unwrap_or_default());
    let commands = [
        format!("aquila simulate {} --certificate {certificate} \\", option("listen", listen)),
        format!("  {client_id} {}", option("username", &facts.username)),
    ];
    vec![
        Prose("This is a trial without an org: start the SIMULATED one, which knows the certificate.".to_owned()),
        Lines(commands.into()),
    ]
}

fn caller(configuration: &str) -> Vec<Part> {
    vec![
        Prose(format!("Somebody who may ask. Put the lines that this prints into {configuration}, as its end shows:")),
        Lines(vec!["aquila new-key log-shipper".to_owned(), format!("aquila serve --config {configuration}")]),
    ]
}

/// Lines of at most [`WIDTH`] characters, broken between words; a longer word stands alone.
fn broken(sentences: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in sentences.split(' ') {
        match lines.last_mut() {
            // Markdown would take a `>` at the beginning of a line for a quotation.
            Some(line) if word == ">" || line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// An option of a command. A value that begins like an option itself has to be joined to its name.
fn option(name: &str, value: impl ToString) -> String {
    let value = value.to_string();
    let joint = if value.starts_with('-') { '=' } else { ' ' };
    format!("--{name}{joint}{}", word(value))
}

/// A word of a shell's command line.
fn word(text: String) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::facts;
    use super::*;

    #[test]
    fn every_step_names_what_it_is_about_and_commands_survive_a_shell() {
        let text = text(&facts(), "my folder");
        let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for told in [
            "1. The integration user",
            "sf org login web --alias aquila --instance-url https://acme.my.salesforce.com",
            "(cd 'my folder/salesforce' && sf project deploy start --source-dir force-app",
            "--name Aquila_elf_prod_Event_Logs --name Aquila_elf_prod_Access",
            r"--on-behalf-of 'o'\''brien@acme.example'",
            "`client_id` in 'my folder/aquila.toml'",
            "External Client App Manager > Aquila <elf> & \"prod\" > Settings",
            "2 to 10 minutes",
            "The certificate is good for 730 days. aquila.toml names it",
            "aquila check --config 'my folder/aquila.toml' --live",
            "6. Somebody who may ask",
        ] {
            assert!(one_line.contains(told), "{told} in\n{text}");
        }
        assert!(!text.contains("simulate"), "{text}");
        let prose = text.lines().filter(|line| !line.starts_with("       "));
        assert!(prose.clone().count() > 15 && prose.clone().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn what_begins_like_an_option_is_none() {
        let mut facts = facts();
        (facts.folder, facts.username) = ("-dash".parse().unwrap(), "-x@acme.example".parse().unwrap());
        let steps = text(&facts, "-dash");
        for told in ["(cd ./-dash/salesforce &&", "--on-behalf-of=-x@acme.example", "--config ./-dash/aquila.toml"] {
            assert!(steps.contains(told), "{told} in\n{steps}");
        }
        facts.client_id = Some("-id".parse().unwrap());
        facts.org = "http://[::1]:8081".parse().unwrap();
        let steps = text(&facts, "-dash");
        for told in
            ["--listen '[::1]:8081' --certificate ./-dash/elf-prod.crt", "--client-id=-id --username=-x@acme.example"]
        {
            assert!(steps.contains(told), "{told} in\n{steps}");
        }
    }

    #[test]
    fn lines_are_broken_between_words_and_none_begins_with_a_mark_of_quotation() {
        let long = "x".repeat(WIDTH);
        assert_eq!(broken(&format!("a {long} > Setup > b")), ["a", &format!("{long} >"), "Setup > b"]);
    }

    #[test]
    fn a_connected_app_is_found_where_connected_apps_are() {
        let mut facts = facts();
        facts.app.kind = Kind::ConnectedApp;
        facts.client_id = Some("3MVG9".parse().unwrap());
        let text = text(&facts, ".").split_whitespace().collect::<Vec<_>>().join(" ");
        for told in
            ["Manage Consumer Details", "Compare the consumer key", "Salesforce Support", "(cd salesforce && sf"]
        {
            assert!(text.contains(told), "{told} in\n{text}");
        }
    }

    #[test]
    fn a_trial_needs_no_org() {
        let mut facts = facts();
        facts.org = "http://localhost:8081".parse().unwrap();
        let text = text(&facts, "try");
        assert!(text.contains("aquila simulate --listen 127.0.0.1:8081 --certificate try/elf-prod.crt"), "{text}");
        assert!(text.contains("--client-id simulated-client-id"), "{text}");
        assert!(text.contains("3. Somebody who may ask") && !text.contains("Setup >"), "{text}");
    }
}
