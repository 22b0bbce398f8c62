//! What authors are told: the place, the setting, what was expected and the remedy, in both syntaxes.

use super::*;

/// Asserts that the report holds exactly these lines: each expected one is a beginning, up to ` … `, and something
/// that follows in it.
fn assert_told(told: &str, expected: &[&str], context: &str) {
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{context}\n{told}");
    for (line, expected) in lines.iter().zip(expected) {
        let (start, rest) = expected.split_once(" … ").unwrap_or((expected, ""));
        assert!(line.starts_with(start) && line.contains(rest), "{context}\nexpected {expected}\nfound    {line}");
    }
}

const EVERYTHING_WRONG: &str = r#"
lgo = 1
[server]
listen = "0.0.0.0:80"
public_url = "https://user:canary@aquila.example"
shutdown_grace = 20
shutdown_delay = "soon"
trusted_proxies = ["10.0.0.1/8", "0.0.0.0/0", "x", "fd00::/8"]
[ops]
listen = "0.0.0.0:80"
[ops.tls]
certificate_path = "a"
[salesforce]
allowed_hosts = ["*.com", "*.example.com", 7]
request_timeout = "9s"
proxy_url = "socks5://x"
[integrations.Elf]
client_id = "a b"
[integrations.elf-prod]
clientid = "c"
client_key_path = ""
username = 5
client_id = "c"
token_url = "https://evilsalesforce.com"
instance_url = "https://acme.my.salesforce.com/x"
pin_instance_url = "yes"
session_timeout = "2500ms"
next_key_alias = "k"
[integrations.two]
client_key_path = "k"
username = "u"
client_id = "c"
token_url = "http://acme.my.salesforce.com"
pin_instance_url = true
[callers.a]
integrations = ["elf-pord", "zzz*", "Bad", "elf-prod"]
api_key_sha256 = ["aquila_canary", "12", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
[callers.b]
integrations = []
api_key_sha256 = ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaA"]
[callers.c]
integrations = "elf-prod"
[log]
format = "xml"
level = "info,,=="
[audit]
required = 1
"#;

#[test]
fn every_mistake_is_told_at_once_in_the_order_of_the_file() {
    let expected = [
        "error 2:1 lgo: … did you mean `log`?",
        "error 4:10 server.listen: without TLS … plain_http",
        "error 5:14 server.public_url: … user or a password",
        "error 6:18 server.shutdown_grace: this time has no unit … \"20s\"",
        "error 7:18 server.shutdown_delay: `soon` is not a time",
        "error 8:20 server.trusted_proxies[0]: this address is inside its network … \"10.0.0.0/8\"",
        "error 8:34 server.trusted_proxies[1]: this is every address",
        "error 8:47 server.trusted_proxies[2]: `x` is no address and no network",
        "warning 10:10 ops.listen: metrics and status are open … bearer_token_path",
        "error 11:6 ops.tls.private_key_path: this setting is missing",
        "error 14:18 salesforce.allowed_hosts[0]: expected a host name",
        "error 14:44 salesforce.allowed_hosts[2]: expected text, found a number",
        "error 15:19 salesforce.request_timeout: `9s` is not within 100ms and 8s",
        "error 16:13 salesforce.proxy_url: … another scheme",
        "error 17:15 integrations.Elf: this is not a name … lower-case",
        "error 17:15 integrations.Elf.token_url: this setting is missing",
        "error 17:15 integrations.Elf.username: this setting is missing",
        "error 18:13 integrations.Elf.client_id: expected a consumer key",
        "error 20:1 integrations.elf-prod.clientid: … did you mean `client_id`?",
        "error 21:19 integrations.elf-prod.client_key_path: expected the path",
        "error 22:12 integrations.elf-prod.username: expected text, found a number",
        "error 24:13 integrations.elf-prod.token_url: `evilsalesforce.com` is not … allowed_hosts",
        "error 25:16 integrations.elf-prod.instance_url: … this one has a path",
        "error 26:20 integrations.elf-prod.pin_instance_url: expected true or false, found text",
        "warning 27:19 integrations.elf-prod.session_timeout: Salesforce offers no such",
        "warning 27:19 integrations.elf-prod.session_timeout: half of this … no whole second",
        "error 28:18 integrations.elf-prod.next_key_alias: there is no next key",
        "error 33:13 integrations.two.token_url: plain http is for loopback only",
        "error 34:20 integrations.two.pin_instance_url: there is no `instance_url`",
        "error 36:17 callers.a.integrations[0]: there is no integration … did you mean `elf-prod`?",
        "warning 36:29 callers.a.integrations[1]: no integration has a name like this",
        "error 36:37 callers.a.integrations[2]: expected the name of an integration",
        "error 37:19 callers.a.api_key_sha256[0]: this is a key, not its digest",
        "error 37:36 callers.a.api_key_sha256[1]: expected a SHA-256 digest",
        "error 39:16 callers.b.integrations: the list is empty",
        "error 40:19 callers.b.api_key_sha256[0]: caller `a` has the same digest",
        "warning 41:10 callers.c: this caller has no way to prove itself … aquila new-key c",
        "error 42:16 callers.c.integrations: expected a list, found text",
        "error 44:10 log.format: `xml` is not a format … auto, json or text",
        "error 45:9 log.level: expected a log level or filter",
        "error 47:12 audit.required: expected true or false, found a number",
    ];
    assert_told(&told(load_text("toml", EVERYTHING_WRONG)), &expected, "");
}

/// A mistake in TOML and in YAML: the text, then the lines of the report.
type Case = (&'static str, &'static str, &'static [&'static str]);

/// Both texts begin with what keeps the report free of other findings.
const QUIET_TOML: &str = "[integrations.i]\nclient_key_path='k'\nusername='u'\nclient_id='c'\n\
                          token_url='https://login.salesforce.com'\n[callers.c]\nintegrations=['*']\n\
                          api_key_sha256=['aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa']\n";
const QUIET_YAML: &str = "integrations:\n  i: {client_key_path: k, username: u, client_id: c, \
                          token_url: 'https://login.salesforce.com'}\n\ncallers:\n  c: {integrations: ['*'], \
                          api_key_sha256: [aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]}\n\n\n\n";

#[test]
fn a_mistake_has_its_line_and_column_in_both_syntaxes() {
    // The quiet part has eight lines, so these begin in line 9.
    let cases: &[Case] = &[
        (
            "[server]\nlisten = 1",
            "server:\n  listen: 1",
            &["error 10:10|11 server.listen: expected text, found a number"],
        ),
        ("[server]\nlisten = 'x:1'", "server:\n  listen: x:1", &["error 10:10|11 server.listen: `x:1` is not an IP"]),
        ("[server]\nlisen = 1", "server:\n  lisen: 1", &["error 10:1|3 server.lisen: … did you mean `listen`?"]),
        (
            "[server.tls]",
            "server: {tls: {}}",
            &[
                "error 9:9|10 server.tls.certificate_path: this setting is missing",
                "error 9:9|10 server.tls.private_key_path: this setting is missing",
            ],
        ),
        (
            "[server]\nplain_http = true\ntls = {certificate_path='c',private_key_path='k'}",
            "server:\n  plain_http: true\n  tls: {certificate_path: c, private_key_path: k}",
            &["error 10:14|15 server.plain_http: `tls` and"],
        ),
        ("[server]\npublic_url = 'é'", "server:\n  public_url: é", &["error 10:14|15 server.public_url: … characters"]),
        (
            "[server]\npublic_url = 'https://a`id`.example'",
            "server:\n  public_url: https://a`id`.example",
            &["error 10:14|15 server.public_url: … host"],
        ),
        (
            "[server]\npublic_url = 'https://a..example'",
            "server:\n  public_url: https://a..example",
            &["error 10:14|15 server.public_url: … host"],
        ),
        (
            "[ops]\nlisten = '127.0.0.1:8080'",
            "ops:\n  listen: 127.0.0.1:8080",
            &["error 10:10|11 ops.listen: `server.listen` has"],
        ),
        (
            "[ops]\nbearer_token_env = 'NONE'",
            "ops:\n  bearer_token_env: NONE",
            &["error 10:20|21 ops.bearer_token_env: … not set"],
        ),
        (
            "[ops]\nbearer_token_env = 'NO'\nbearer_token_path = 'x'",
            "ops:\n  bearer_token_env: 'NO'\n  bearer_token_path: x",
            &["error 10:20|21 ops.bearer_token_env: the secret is configured twice"],
        ),
        ("['é é']\nx = 1", "'é é':\n  x: 1", &["error 9:2|1 \"é é\": there is no setting of this name"]),
    ];
    for (toml, yaml, expected) in cases {
        for (ending, text, which) in
            [("toml", format!("{QUIET_TOML}{toml}\n"), 0), ("yaml", format!("{QUIET_YAML}{yaml}\n"), 1)]
        {
            let expected: Vec<String> = expected.iter().map(|line| choose(line, which)).collect();
            let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            assert_told(&told(load_text(ending, &text)), &expected, &text);
        }
    }
}

/// `10:8|9` is column 8 in TOML and 9 in YAML.
fn choose(expected: &str, which: usize) -> String {
    let words = expected.split(' ').map(|word| match word.split_once('|') {
        Some((toml, _)) if which == 0 => toml.to_owned(),
        Some((toml, yaml)) => format!("{}:{yaml}", toml.split(':').next().unwrap()),
        None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn wrong_syntax_is_told_where_it_is() {
    let cases: &[(&str, &[u8], &[&str])] = &[
        (
            "toml",
            b"a =\n[x\nb = 1",
            &["error 1:4 : this is not TOML: … quoted", "error 2:3 : this is not TOML: unclosed table"],
        ),
        ("toml", b"[log]\n[log]", &["error 2:2 : this is not TOML: duplicate key"]),
        ("yaml", b"a: &x 1", &["error 1:4 : anchors and tags are not taken"]),
        ("yaml", b"log: !!map {}", &["error 1:6 : anchors and tags are not taken"]),
        ("yaml", b"a: *x", &["error 1:4 : this is not YAML"]),
        (
            "yaml",
            b"a: 1\na: 2\nb: 1\nb: 3",
            &["error 2:1 : this key stands twice", "error 4:1 : this key stands twice"],
        ),
        ("yaml", b"log:\n  format: [1", &["error 3:1 : this is not YAML"]),
        ("yaml", b"---\na: 1\n---\nb: 2", &["error 3:1 : a second document"]),
        ("yaml", b"? [a]\n: 1", &["error 1:3 : a key must be text"]),
        ("yaml", b"[1, 2]", &["error 1:1 : expected a table, found a list"]),
        ("yaml", b"server:\n  x: \xff", &["error 2:6 : this is not UTF-8"]),
        ("json", b"{}", &["error - : … does not end in .toml, .yaml or .yml"]),
    ];
    for (ending, text, expected) in cases {
        assert_told(&told(load_text(ending, text)), expected, &String::from_utf8_lossy(text));
    }
    let deep = format!("a: {}", "[".repeat(200));
    assert_told(&told(load_text("yaml", deep)), &["error 1:35 : this is nested too deeply"], "");
}

#[test]
fn yaml_words_of_old_are_text() {
    let told = told(load_text("yaml", format!("{QUIET_YAML}audit:\n  required: yes\nlog:\n  level: ~\n")));
    let expected =
        ["error 10:13 audit.required: expected true or false, found text", "error 12:3 log.level: … no value"];
    assert_told(&told, &expected, "");
}

#[test]
fn what_is_no_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aquila.toml");
    assert!(told(load_with(&path, &|_| None)).contains("aquila.toml`: there is no such file"));
    std::fs::create_dir(&path).unwrap();
    assert!(told(load_with(&path, &|_| None)).contains("aquila.toml`: this is a directory"));
}

#[test]
fn what_a_certificate_is_called_is_whole_exact_and_of_one_caller() {
    let text = format!(
        "{QUIET_TOML}[callers.d]\nintegrations=['*']\n\
         client_certificate=[\n{{dns_name='a.example'}},\n{{dns_name='*.b.example'}},\n\
         {{dns_name='x.example',subject='CN=x'}},\n{{}},\n{{spiffe_id='spiffe://a'}},\n{{subject='/CN=x'}},\n\
         {{subject='CN=x,O=y'}},\n{{email='x@y'}}]\n\
         [callers.e]\nintegrations=['*']\nclient_certificate=[\n{{dns_name='A.example'}},\n\
         {{subject='cn=x,2.5.4.10=y'}},\n{{dns_name='b.example'}},\n{{dns_name='b.example'}}]\n\
         [callers.f]\nintegrations=['*']\n"
    );
    let expected = [
        "warning 11:20 callers.d.client_certificate: the callers' door takes no … server.tls.client_ca_path",
        "error 13:11 callers.d.client_certificate[1].dns_name: expected a DNS name",
        "error 14:1 callers.d.client_certificate[2]: expected exactly one of",
        "error 15:1 callers.d.client_certificate[3]: expected exactly one of",
        "error 16:12 callers.d.client_certificate[4].spiffe_id: expected a SPIFFE id with a path",
        "error 17:10 callers.d.client_certificate[5].subject: expected a whole subject … openssl x509",
        "error 19:1 callers.d.client_certificate[7]: expected exactly one of",
        "error 19:2 callers.d.client_certificate[7].email: there is no setting of this name … known here: spiffe_id",
        "error 23:1 callers.e.client_certificate[0]: caller `d` has the same certificate name, in line 12",
        "error 24:1 callers.e.client_certificate[1]: caller `d` has the same certificate name, in line 18",
        "warning 26:1 callers.e.client_certificate[3]: this name stands twice",
        "warning 27:10 callers.f: this caller has no way to prove itself",
    ];
    assert_told(&told(load_text("toml", &text)), &expected, &text);
}

#[test]
fn a_door_says_whose_certificates_it_takes_and_a_caller_cannot_have_one_where_none_are_taken() {
    let tls = "tls={certificate_path='c',private_key_path='k',";
    let cases = [
        (
            format!("[server]\n{tls}client_certificate='required'}}"),
            "error 10:67 server.tls.client_certificate: nobody's",
        ),
        (
            format!("[server]\n{tls}client_ca_path='a',client_certificate='always'}}"),
            "error 10:86 server.tls.client_certificate: `always` is neither",
        ),
        (
            format!("[ops]\n{tls}client_ca_path='a'}}"),
            "warning 10:63 ops.tls.client_ca_path: this door … lets everybody in",
        ),
        (
            "[callers.d]\nintegrations=['*']\nclient_certificate=[{dns_name='a.example'}]".to_owned(),
            "warning 11:20 callers.d.client_certificate: the callers' door takes no … server.tls.client_ca_path",
        ),
    ];
    for (text, expected) in cases {
        let text = format!("{QUIET_TOML}{text}\n");
        let found = match load_text("toml", &text) {
            Ok(loaded) => loaded.warnings,
            Err(refused) => refused.report,
        };
        let lines = found.sorted().into_iter().map(|it| {
            let place = it.place.unwrap();
            format!("{}:{} {}: {} {}", place.line, place.column, it.setting, it.message, it.remedy)
        });
        let lines: Vec<String> = lines.collect();
        let (_, expected) = expected.split_once(' ').unwrap();
        let (start, rest) = expected.split_once(" … ").unwrap_or((expected, ""));
        assert!(lines.iter().any(|line| line.starts_with(start) && line.contains(rest)), "{expected}\n{lines:#?}");
    }
}
