//! What is left to do when the files are there: the steps that no file can take. Pure.

use std::fmt::Write as _;

use super::facts::{Facts, Kind};
use super::stanza;

/// The page with every step and the clicks instead of files.
const PAGE: &str = "docs/salesforce-setup.md";

/// The steps, numbered, with commands that work from where `folder` is a path to the files.
pub(super) fn text(facts: &Facts, folder: &str) -> String {
    let file = |name: &str| word(if folder == "." { name.to_owned() } else { format!("{folder}/{name}") });
    let steps = match facts.org.simulated() {
        Some(listen) => {
            vec![simulator(facts, &listen, &file(&facts.certificate_file())), proof(&file("aquila.toml"), "")]
        }
        None => vec![
            user(facts),
            deployment(facts, &file("salesforce")),
            assignment(facts),
            consumer_key(facts, &file("aquila.toml")),
            proof(&file("aquila.toml"), "A new app, or a change of one, takes 2 to 10 minutes to work. Then:"),
        ],
    };
    let mut text = String::new();
    for (number, step) in steps.iter().chain([&caller(&file("aquila.toml"))]).enumerate() {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{}. {}\n", number + 1, step.trim_end());
    }
    if facts.org.simulated().is_none() {
        let _ = writeln!(text, "Each step at length, and by clicks instead of files: {PAGE}");
    }
    text
}

fn user(facts: &Facts) -> String {
    format!(
        "The integration user, unless it is there. Setup > Users > New User:

       User License   Salesforce Integration
       Profile        Minimum Access - API Only Integrations
       Username       {}

   Then on its page, under Permission Set License Assignments: Salesforce API Integration.",
        facts.username
    )
}

fn deployment(facts: &Facts, project: &str) -> String {
    let refused = match facts.app.kind {
        Kind::ExternalClientApp => {
            "If the OAuth settings are refused: Setup > External Client App Settings, allow access to OAuth consumer
   secrets via Metadata API, deploy, and take it back."
        }
        Kind::ConnectedApp => {
            "If the app is refused: since Spring '26 Salesforce Support has to allow new Connected Apps. Without
   --connected-app this command makes an External Client App, which needs no such permission."
        }
    };
    format!(
        "The app and the permission sets, by an administrator with Salesforce's CLI
   (npm install --global @salesforce/cli):

       sf org login web --instance-url {} --alias aquila-admin
       (cd {project} && sf project deploy start --source-dir force-app --target-org aquila-admin)

   {refused}",
        facts.org
    )
}

fn assignment(facts: &Facts) -> String {
    format!(
        "Both permission sets for the user, one to read event log files, one to be let into the app:

       sf org assign permset --name {} --name {} \\
         --on-behalf-of {} --target-org aquila-admin",
        facts.event_logs_set(),
        facts.access_set(),
        word(facts.username.to_string())
    )
}

fn consumer_key(facts: &Facts, configuration: &str) -> String {
    let (label, set) = (&facts.app.label, facts.access_set());
    let (clicks, policies) = match facts.app.kind {
        Kind::ExternalClientApp => (
            format!(
                "Setup > External Client App Manager > {label} > Settings > OAuth Settings >\n   Consumer Key and Secret"
            ),
            "Policies".to_owned(),
        ),
        Kind::ConnectedApp => (
            format!("Setup > App Manager > {label} > View > Manage Consumer Details"),
            format!("Setup > Manage Connected Apps > {label}"),
        ),
    };
    let key = match stanza::client_id(facts) {
        Some(_) => format!("Compare the consumer key with `client_id` in {configuration}:\n   {clicks}."),
        None => format!("Copy the consumer key (never the secret) into `client_id` in {configuration}:\n   {clicks}."),
    };
    format!(
        "{key}
   See at {policies} that Permitted Users is \"Admin approved users are pre-authorized\" and that
   {set} is among the permission sets."
    )
}

fn proof(configuration: &str, before: &str) -> String {
    let before = if before.is_empty() { "The proof:" } else { before };
    format!(
        "{before}

       aquila check --config {configuration}
       aquila check --config {configuration} --live"
    )
}

fn simulator(facts: &Facts, listen: &str, certificate: &str) -> String {
    let client_id = stanza::client_id(facts).unwrap_or_default();
    format!(
        "This is a trial without an org: start the SIMULATED one, which knows the certificate.

       aquila simulate --listen {listen} --certificate {certificate} \\
         --client-id {} --username {}",
        word(client_id),
        word(facts.username.to_string())
    )
}

fn caller(configuration: &str) -> String {
    format!(
        "Somebody who may ask. Put the lines that this prints into {configuration}, as its end shows:

       aquila new-key log-shipper
       aquila serve --config {configuration}"
    )
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
        for told in [
            "1. The integration user",
            "--instance-url https://acme.my.salesforce.com --alias",
            "(cd 'my folder/salesforce' && sf project deploy start --source-dir force-app",
            "--name Aquila_elf_prod_Event_Logs --name Aquila_elf_prod_Access",
            r"--on-behalf-of 'o'\''brien@acme.example'",
            "`client_id` in 'my folder/aquila.toml'",
            "External Client App Manager > Aquila <elf> & \"prod\" > Settings",
            "2 to 10 minutes",
            "aquila check --config 'my folder/aquila.toml' --live",
            "6. Somebody who may ask",
        ] {
            assert!(text.contains(told), "{told} in\n{text}");
        }
        assert!(!text.contains("simulate"), "{text}");
    }

    #[test]
    fn a_connected_app_is_found_where_connected_apps_are() {
        let mut facts = facts();
        facts.app.kind = Kind::ConnectedApp;
        facts.client_id = Some("3MVG9".parse().unwrap());
        let text = text(&facts, ".");
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
