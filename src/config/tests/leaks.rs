//! Secrets of a configuration: where they come from, and that no report shows what could be one.

use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;

/// Looks like nothing that a message quotes, and like everything people paste.
const CANARY: &str = "aquila_CanaryCanaryCanaryCanaryCanaryCanaryCanary0";

/// Every key of the file, as a path through the schema; `x` for a name that the operator chooses.
fn paths(prefix: &str, schema: &serde_json::Value, found: &mut Vec<String>) {
    for (key, setting) in schema["properties"].as_object().into_iter().flatten() {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        paths(&path, setting, found);
        paths(&format!("{path}.x"), &setting["additionalProperties"], found);
        found.push(path);
    }
}

#[test]
fn no_report_shows_what_could_be_a_secret() {
    let mut all = Vec::new();
    paths("", &schema(), &mut all);
    for unknown in ["x", "server.password", "callers.x.api_key", "integrations.x.client_secret"] {
        all.push(unknown.to_owned());
    }
    assert!(all.len() > 35, "{all:?}");
    for path in all {
        let values = [
            "'C'",
            "['C']",
            "{ C = 'C' }",
            "[['C']]",
            "'https://u:C@login.salesforce.com'",
            "'https://C/C'",
            "C",
            "\"C",
        ];
        for value in values {
            let toml = format!("{path} = {value}\n").replace('C', CANARY);
            let (depth, last) = (path.matches('.').count(), path.rsplit('.').next().unwrap());
            let mut yaml = String::new();
            for (level, key) in path.split('.').take(depth).enumerate() {
                writeln!(yaml, "{}{key}:", " ".repeat(level)).unwrap();
            }
            writeln!(yaml, "{}{last}: {}", " ".repeat(depth), value.replace(" = ", ": ").replace('C', CANARY)).unwrap();
            for (ending, text) in [("toml", toml), ("yaml", yaml)] {
                let result = load_text(ending, &text);
                let debug = result
                    .as_ref()
                    .map_or_else(|report| format!("{report:?}"), |loaded| format!("{:?}", loaded.warnings));
                let shown = debug + &told(result);
                assert!(!shown.to_lowercase().contains("canary"), "{text}\n{shown}");
            }
        }
    }
}

#[test]
fn the_ops_token_comes_from_a_file_or_the_environment_and_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("aquila.toml");
    let secret = folder.path().join("token");
    std::fs::write(&secret, format!("{CANARY}\r\n")).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let environment = |name: &str| (name == "OPS_TOKEN").then(|| CANARY.to_owned());

    for (setting, warnings) in [("path = 'token'", 3), ("env = 'OPS_TOKEN'", 2)] {
        std::fs::write(&config, format!("[ops]\nlisten = '0.0.0.0:9090'\nbearer_token_{setting}")).unwrap();
        let loaded = load_with(&config, &environment).unwrap();
        assert!(!format!("{loaded:?}").contains(CANARY));
        assert_eq!(loaded.config.ops.bearer_token.as_ref().unwrap().expose_secret(), CANARY);
        let told = told(Ok(loaded));
        assert_eq!(told.lines().count(), warnings, "{told}");
        assert_eq!(
            told.contains("3:21 ops.bearer_token_path: this file holds a secret and has mode 0644: others can read it"),
            warnings == 3
        );
    }
    for (content, expected) in [("", "the secret is empty"), ("\n", "the secret is empty"), ("a b", "no HTTP header")] {
        std::fs::write(&secret, content).unwrap();
        std::fs::write(&config, "[ops]\nbearer_token_path = 'token'").unwrap();
        let told = told(load_with(&config, &environment));
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn a_private_key_that_others_can_read_is_a_warning_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("aquila.toml");
    std::fs::write(folder.path().join("k"), "").unwrap();
    let rest = "client_key_path='k'\nusername='u'\nclient_id='c'\ntoken_url='https://login.salesforce.com'\n";
    std::fs::write(&config, format!("[integrations.a]\n{rest}[integrations.b]\n{rest}")).unwrap();
    for (mode, expected) in [(0o644, 1), (0o640, 0), (0o600, 0), (0o660, 1)] {
        std::fs::set_permissions(folder.path().join("k"), std::fs::Permissions::from_mode(mode)).unwrap();
        let told = told(load_with(&config, &|_| None));
        assert_eq!(told.matches("a.client_key_path: this file holds a secret").count(), expected, "{told}");
        assert!(!told.contains("b.client_key_path"), "{told}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_loader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = told(load_text("toml", &bytes));
        let _ = told(load_text("yaml", &bytes));
    }

    #[test]
    fn no_text_of_the_syntax_makes_the_loader_panic(
        text in "([a-z_]{1,3}|server|listen|callers|[\\[\\]{}:=#&*!|>'\"%@`,.?\\\\-]|\n| |\t|é|\u{feff}|[0-9]{1,3}){0,60}",
    ) {
        let _ = told(load_text("toml", &text));
        let _ = told(load_text("yaml", &text));
    }
}
