//! `aquila.toml`: what the broker is told of the org. Pure.

use serde_json::Value;

use super::facts::Facts;

/// The consumer key that `aquila simulate` knows when nobody says another.
const SIMULATED_CLIENT_ID: &str = "simulated-client-id";

/// The consumer key, if it is known. An empty one in the file is refused by `check`, with the remedy.
pub(super) fn client_id(facts: &Facts) -> Option<String> {
    let simulated = facts.org.simulated().map(|_| SIMULATED_CLIENT_ID.to_owned());
    facts.client_id.as_ref().map(ToString::to_string).or(simulated)
}

/// The text of the file.
pub(super) fn text(facts: &Facts) -> String {
    let Facts { integration, org, username, session, app, .. } = facts;
    let (key, certificate) = (quoted(facts.key_file()), quoted(facts.certificate_file()));
    let (username, org) = (quoted(username), quoted(org));
    let client_id = match client_id(facts) {
        Some(known) => quoted(known),
        None => format!("\"\" # the consumer key of {}; `aquila check` refuses the file until it is here", app.name),
    };
    format!(
        r#"# Made by `aquila setup`. What is left to do stands in STEPS.md beside this file.

[integrations.{integration}]
client_key_path  = {key}
certificate_path = {certificate} # its end is told weeks before
username         = {username}
client_id        = {client_id}
token_url        = {org}
instance_url     = {org}
session_timeout  = "{session}" # the app's policy says the same
# When Salesforce answers `audience is invalid`; without this line it is the login host, or the test host for a sandbox:
# audience_url   = {org}

# Who may ask for tokens. `aquila new-key log-shipper` makes a key and prints the line with its digest.
# [callers.log-shipper]
# integrations   = ["{integration}"]
# api_key_sha256 = ["…"]
"#
    )
}

/// A TOML string. JSON's escapes are TOML's too, for text without control characters.
fn quoted(text: impl ToString) -> String {
    Value::from(text.to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::testing::facts;
    use super::*;
    use crate::config;
    use crate::config::report::Severity;

    fn loaded(text: &str) -> Result<config::Loaded, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aquila.toml");
        std::fs::write(&path, text).unwrap();
        config::load_with(&path, &|_| None).map_err(|refused| {
            let errors = refused.report.sorted().into_iter().filter(|it| it.severity == Severity::Error);
            errors.map(|it| format!("{}: {}", it.setting, it.remedy)).collect::<Vec<_>>().join("\n")
        })
    }

    #[test]
    fn the_file_is_refused_until_the_consumer_key_is_in_it_and_then_it_is_the_integration() {
        let text = text(&facts());
        let refused = loaded(&text).map(|_| ()).unwrap_err();
        assert_eq!(
            refused,
            "integrations.elf-prod.client_id: copy the consumer key from the app's settings in Salesforce"
        );

        let filled = text.replace("client_id        = \"\"", "client_id = \"3MVG9.key\"");
        let config = loaded(&filled).unwrap().config;
        let integration = config.integrations.first().unwrap();
        assert_eq!(integration.name.as_str(), "elf-prod");
        assert_eq!(integration.username, "o'brien@acme.example");
        assert_eq!(integration.token_url.as_str(), "https://acme.my.salesforce.com/services/oauth2/token");
        assert_eq!(integration.audience_url, "https://login.salesforce.com");
        assert_eq!(integration.instance_url.as_deref(), Some("https://acme.my.salesforce.com"));
        assert_eq!(integration.session_timeout.as_secs(), 7200);
        let certificate = integration.key.certificate_path.as_ref().unwrap();
        assert!(certificate.value.ends_with("elf-prod.crt"));
    }

    #[test]
    fn what_is_known_is_filled_in() {
        let mut known = facts();
        known.client_id = Some("3MVG9\"odd\\key".parse().unwrap());
        assert_eq!(loaded(&text(&known)).unwrap().config.integrations.first().unwrap().client_id, "3MVG9\"odd\\key");
        let mut simulated = facts();
        simulated.org = "http://127.0.0.1:8081".parse().unwrap();
        let config = loaded(&text(&simulated)).unwrap().config;
        assert_eq!(config.integrations.first().unwrap().client_id, "simulated-client-id");
    }
}
