//! The loader through its door: whole files in both syntaxes, and what their authors are told.

mod leaks;
mod mistakes;
mod proofs;
mod proxy;
mod store;

use std::fmt::Write as _;
use std::path::Path;

use super::report::Mistake;
use super::*;

/// Writes the file into a folder of its own and loads it with an empty environment.
fn load_text(ending: &str, text: impl AsRef<[u8]>) -> Result<Loaded, Refused> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("aquila.{ending}"));
    std::fs::write(&path, text).unwrap();
    load_with(&path, &|_| None)
}

fn findings(result: Result<Loaded, Refused>) -> Vec<Mistake> {
    match result {
        Ok(loaded) => loaded.warnings.sorted(),
        Err(refused) => refused.report.sorted(),
    }
}

/// One line a finding: `error 3:5 server.listen: message | remedy`.
fn told(result: Result<Loaded, Refused>) -> String {
    let mut told = String::new();
    for Mistake { severity, place, setting, message, remedy } in findings(result) {
        let at = place.map_or_else(|| "-".to_owned(), |place| format!("{}:{}", place.line, place.column));
        let severity = if severity == Severity::Error { "error" } else { "warning" };
        writeln!(told, "{severity} {at} {setting}: {message} | {remedy}").unwrap();
    }
    told
}

const GOOD_TOML: &str = r#"
[server]
listen = "0.0.0.0:8443"
public_url = "https://aquila.example/broker/"
tls = { certificate_path = "tls.crt", private_key_path = "/nowhere/tls.key" }
shutdown_grace = "1m 30s"

[ops]
listen = "[::1]:9090"

[salesforce]
allowed_hosts = ["*.corp.example"]
request_timeout = "500ms"
proxy_url = "http://proxy.example:3128"
roots = "bundled"
ca_path = "ca.pem"

[integrations.elf-prod]
client_key_path = "keys/elf.pem"
username = "elastic-log@acme.example"
client_id = "3MVG9abc"
instance_url = "https://acme.my.salesforce.com/"
pin_instance_url = true
token_url = "https://acme.my.salesforce.com"
session_timeout = "2h"

[integrations.a-sandbox]
audience_url = "https://login.corp.example/"
client_key_path = "keys/elf.pem"
username = "elastic-log@acme.example.uat"
client_id = "3MVG9def"
token_url = "https://login.corp.example/services/oauth2/token"
confirm_session = false

[callers.log-shipper]
integrations = ["elf-*", "a-sandbox"]
api_key_sha256 = ["AAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]

[log]
format = "json"
level = "info,aquila=debug"

[audit]
path = "audit.log"
required = true
"#;

const GOOD_YAML: &str = r#"
server:
  listen: 0.0.0.0:8443
  public_url: "https://aquila.example/broker/"
  tls: { certificate_path: tls.crt, private_key_path: /nowhere/tls.key }
  shutdown_grace: 1m 30s
ops:
  listen: "[::1]:9090"
salesforce:
  allowed_hosts:
    - "*.corp.example"
  request_timeout: 500ms
  proxy_url: http://proxy.example:3128
  roots: bundled
  ca_path: ca.pem
integrations:
  elf-prod:
    client_key_path: keys/elf.pem
    username: elastic-log@acme.example
    client_id: 3MVG9abc
    instance_url: https://acme.my.salesforce.com/
    pin_instance_url: true
    token_url: https://acme.my.salesforce.com
    session_timeout: 2h
  a-sandbox:
    audience_url: https://login.corp.example/
    client_key_path: keys/elf.pem
    username: elastic-log@acme.example.uat
    client_id: 3MVG9def
    token_url: https://login.corp.example/services/oauth2/token
    confirm_session: false
callers:
  log-shipper:
    integrations: ["elf-*", a-sandbox]
    api_key_sha256:
      - AAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
log:
  format: json
  level: info,aquila=debug
audit:
  path: audit.log
  required: true
"#;

#[test]
fn both_syntaxes_mean_the_same() {
    for (ending, text) in [("toml", GOOD_TOML), ("yaml", GOOD_YAML), ("yml", GOOD_YAML)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("aquila.{ending}"));
        std::fs::write(&path, text).unwrap();
        let Loaded { config, warnings, .. } = load_with(&path, &|_| None).unwrap();
        assert_eq!(warnings, Report::default(), "{ending}");

        assert_eq!(config.server.issuer(), Some("https://aquila.example/broker"));
        let Server { listen, tls, shutdown_grace, shutdown_delay, .. } = config.server;
        assert_eq!(listen.to_string(), "0.0.0.0:8443");
        let tls = tls.unwrap();
        assert_eq!(tls.certificate_path.value, folder.path().join("tls.crt"));
        assert_eq!(tls.private_key_path.value, Path::new("/nowhere/tls.key"));
        assert_eq!(tls.private_key_path.setting, "server.tls.private_key_path");
        assert_eq!((shutdown_grace.as_secs(), shutdown_delay.as_secs()), (90, 0));
        assert_eq!(config.ops.listen.to_string(), "[::1]:9090");
        assert!(config.ops.bearer_token.is_none());
        assert_eq!(config.salesforce.allowed_hosts, ["*.corp.example"]);
        assert_eq!(config.salesforce.request_timeout.as_millis(), 500);
        let proxy = config.salesforce.proxy.unwrap();
        assert_eq!((proxy.url.as_str(), proxy.variable), ("http://proxy.example:3128/", None));
        assert_eq!(config.salesforce.roots, Roots::Bundled);
        assert_eq!(config.salesforce.ca_path.unwrap().value, folder.path().join("ca.pem"));

        let [sandbox, prod] = &config.integrations[..] else { panic!("{:?}", config.integrations) };
        assert_eq!((sandbox.name.as_str(), prod.name.as_str()), ("a-sandbox", "elf-prod"));
        assert_eq!(sandbox.audience_url, "https://login.corp.example/");
        assert_eq!(prod.audience_url, "https://login.salesforce.com");
        assert_eq!(prod.token_url.as_str(), "https://acme.my.salesforce.com/services/oauth2/token");
        assert_eq!(prod.instance_url.as_deref(), Some("https://acme.my.salesforce.com"));
        let KeyHolder::File(key) = &prod.key.holder else { panic!("{:?}", prod.key) };
        assert_eq!(key.path.value, folder.path().join("keys/elf.pem"));
        assert_eq!((prod.session_timeout.as_secs(), sandbox.session_timeout.as_secs()), (7200, 900));
        assert_eq!((prod.confirm_session, sandbox.confirm_session), (true, false));
        assert!(prod.pin_instance_url);

        let [caller] = &config.callers[..] else { panic!("{:?}", config.callers) };
        assert_eq!(
            caller.integrations.iter().map(IntegrationPattern::as_str).collect::<Vec<_>>(),
            ["elf-*", "a-sandbox"]
        );
        assert_eq!(caller.api_key_sha256, [[0xAA; 32]]);
        assert_eq!((config.log.format, config.log.level.as_str()), (LogFormat::Json, "info,aquila=debug"));
        assert_eq!(config.audit.sink, AuditSink::File(folder.path().join("audit.log")));
        assert!(config.audit.required);
    }
}

#[test]
fn an_empty_file_loads_with_the_defaults() {
    for (ending, text) in [("toml", ""), ("yaml", ""), ("yaml", "---\n"), ("yaml", "integrations:\ncallers:\n")] {
        let Loaded { config, warnings, .. } = load_text(ending, text).unwrap();
        assert_eq!(
            warnings.iter().map(|warning| warning.setting.as_str()).collect::<Vec<_>>(),
            ["callers", "integrations"]
        );
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
        assert_eq!((config.server.shutdown_grace.as_secs(), config.server.issuer()), (20, None));
        assert_eq!(config.ops.listen.to_string(), "127.0.0.1:9090");
        assert_eq!(config.salesforce.request_timeout.as_secs(), 5);
        assert_eq!((config.log.format, config.log.level.as_str()), (LogFormat::Auto, "info"));
        assert_eq!(config.audit.sink, AuditSink::Stdout);
    }
}

#[test]
fn the_issuer_of_a_bare_origin_has_no_slash() {
    for url in ["https://aquila.example", "https://aquila.example/"] {
        let Loaded { config, .. } = load_text("toml", format!("[server]\npublic_url = '{url}'")).unwrap();
        assert_eq!(config.server.issuer(), Some("https://aquila.example"));
    }
}

#[test]
fn the_committed_schema_is_the_one_of_the_code() {
    let committed =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/aquila.schema.json")).unwrap_or_default();
    let current = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    assert!(committed == current, "out of date; regenerate: cargo run -- check --schema > aquila.schema.json");
}

#[test]
fn every_setting_is_described_and_every_section_closed() {
    fn visit(path: &str, schema: &serde_json::Value) {
        let Some(properties) = schema.get("properties").and_then(|properties| properties.as_object()) else { return };
        assert_eq!(schema["additionalProperties"], false, "{path}");
        for (key, setting) in properties {
            let path = format!("{path}.{key}");
            assert!(setting["description"].as_str().is_some_and(|text| text.len() > 10), "{path}");
            visit(&path, setting);
            visit(&format!("{path}.NAME"), &setting["additionalProperties"]);
        }
    }
    let schema = schema();
    visit("", &schema);
    let integration = &schema["properties"]["integrations"]["additionalProperties"];
    assert_eq!(integration["required"], serde_json::json!(["username", "client_id", "token_url"]));
    assert_eq!(integration["properties"]["session_timeout"]["default"], "15m");
}

#[test]
fn ten_thousand_integrations_and_callers_load() {
    let count = 10_000;
    let mut text = String::new();
    for i in 0..count {
        write!(
            text,
            "[integrations.org-{i}]\nclient_key_path = \"k.pem\"\nusername = \"u{i}\"\nclient_id = \"c\"\n\
             token_url = \"https://login.salesforce.com\"\n\
             [callers.svc-{i}]\nintegrations = [{}]\napi_key_sha256 = [\"{i:064x}\"]\n",
            match i % 3 {
                0 => format!("\"org-{i}\""),
                1 => format!("\"*-{i}\""),
                _ => "\"*\"".to_owned(),
            }
        )
        .unwrap();
    }
    let Loaded { config, warnings, .. } = load_text("toml", text).unwrap();
    assert_eq!(warnings, Report::default());
    assert_eq!((config.integrations.len(), config.callers.len()), (count, count));
    assert!(config.integrations.is_sorted_by_key(|integration| integration.name.clone()));
}
