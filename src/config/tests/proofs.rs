//! Issuers, rules and callers' keys: every mistake is told at its line, before anybody is asked.

use super::*;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

/// A file with these parts, beside two key pairs and a certificate.
fn told_with(server: &str, issuer: &str, caller: &str, more: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&pair).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("private.pem", &pair.serialize_pem());
    write("public.pem", &pair.public_key_pem());
    write("cert.pem", &certificate.pem());
    write("both.pem", &format!("{}{}", pair.public_key_pem(), pair.public_key_pem()));
    write("text.pem", "no key at all");
    let text = format!(
        "[server]\n{server}\n[integrations.elf]\nclient_key_path = \"k\"\nusername = \"u\"\nclient_id = \"i\"\n\
         token_url = \"https://login.salesforce.com\"\n[issuers.corp]\n{issuer}\n\
         [callers.one]\nintegrations = [\"elf\"]\n{caller}\n{more}\n"
    );
    write("aquila.toml", &text);
    told(load_with(&folder.path().join("aquila.toml"), &|_| None))
}

const URL: &str = "public_url = \"https://aquila.example\"";
const ISSUER: &str = "issuer = \"https://corp.example\"";
const RULE: &str = "jwt = [{ issuer = \"corp\", sub = \"me\" }]";

#[test]
fn what_is_right_is_taken_without_a_word() {
    for (issuer, caller) in [
        (ISSUER, RULE),
        ("issuer = \"legacy\"\njwks_url = \"https://corp.example/keys\"\nalgorithms = [\"EdDSA\"]", RULE),
        (ISSUER, "kubernetes = { issuer = \"corp\", namespace = \"logs\", service_account = \"filebeat\" }"),
        (ISSUER, "kubernetes = [{ issuer = \"corp\", namespace = \"a\", service_account = \"b\" }]"),
        (ISSUER, "jwt = [{ issuer = \"corp\", claims = { team = \"logs\", level = 3, admin = false } }]"),
    ] {
        assert_eq!(told_with(URL, issuer, caller, ""), "", "{issuer} {caller}");
    }
    let keys = "public_keys = [{ path = \"public.pem\", algorithm = \"ES256\" }, { path = \"cert.pem\", algorithm = \"ES256\" }]";
    assert_eq!(told_with(URL, ISSUER, &format!("{RULE}\n{keys}\njwt_bearer_grant = true"), ""), "");
}

#[test]
fn an_issuer_that_cannot_be_used_is_told_with_its_line() {
    let cases = [
        ("", ISSUER, "error 8:10 issuers.corp: nothing says which `aud`"),
        (URL, "issuer = \"corp\"", "error 9:10 issuers.corp.issuer: this is no https URL"),
        (URL, "issuer = \"http://corp.example\"", "this is no https URL"),
        (URL, "issuer = \"https://u:p@corp.example\"", "this is no https URL"),
        (URL, "jwks_url = \"https://corp.example/keys\"", "issuers.corp.issuer: this setting is missing"),
        (URL, "issuer = \"a\"\njwks_url = \"http://corp.example/keys\"", "plain http is for loopback only"),
        (URL, "issuer = \"a\"\njwks_url = \"https://c.example/k\"\njwks_path = \"k\"", "configured twice"),
        (URL, "issuer = \"a\"\njwks_path = \"gone.json\"", "issuers.corp.jwks_path: there is no such file"),
        (URL, "issuer = \"https://a.example\"\nca_path = \"gone.pem\"", "there is no such file"),
        (URL, "issuer = \"https://a.example\"\nbearer_token_path = \"gone\"", "there is no such file"),
        (URL, "issuer = \"https://a.example\"\nalgorithms = [\"HS256\"]", "algorithms[0]: expected an algorithm"),
        (URL, "issuer = \"https://a.example\"\nalgorithms = [\"none\"]", "expected an algorithm"),
        (URL, "issuer = \"https://a.example\"\naudience = \"\"", "expected 1 to 512 printable"),
    ];
    for (server, issuer, expected) in cases {
        let told = told_with(server, issuer, RULE, "");
        assert!(told.contains(expected), "{issuer}\n{told}");
    }
    let idle = told_with(URL, ISSUER, "", "");
    assert!(idle.contains("no caller has a rule for the issuer `corp`"), "{idle}");
}

#[test]
fn a_rule_that_lets_in_everybody_or_nobody_is_told() {
    let kubernetes = |namespace: &str| {
        format!("kubernetes = {{ issuer = \"corp\", namespace = \"{namespace}\", service_account = \"b\" }}")
    };
    let cases = [
        ("jwt = [{ issuer = \"corp\" }]".to_owned(), "this rule lets in everybody"),
        ("jwt = [{ issuer = \"corp\", sub = \"**\" }]".to_owned(), "this rule lets in everybody"),
        ("jwt = [{ issuer = \"crop\", sub = \"a\" }]".to_owned(), "did you mean `corp`?"),
        ("jwt = [{ sub = \"a\" }]".to_owned(), "callers.one.jwt[0].issuer: this setting is missing"),
        ("jwt = [{ issuer = \"corp\", claims = { aud = \"x\" } }]".to_owned(), "this claim is not for a rule"),
        ("jwt = [{ issuer = \"corp\", claims = { a = [1] } }]".to_owned(), "expected text, a whole number"),
        (kubernetes("*"), "expected the name of a namespace"),
        (kubernetes("logs:filebeat"), "expected the name of a namespace"),
        (kubernetes("Logs"), "expected the name of a namespace"),
        (
            "kubernetes = { namespace = \"a\", service_account = \"b\" }".to_owned(),
            "kubernetes.issuer: this setting is missing",
        ),
    ];
    for (caller, expected) in cases {
        let told = told_with(URL, ISSUER, &caller, "");
        assert!(told.contains(expected) && told.contains("error 1"), "{caller}\n{told}");
    }
}

#[test]
fn a_rule_that_two_callers_have_is_told_and_one_that_differs_is_not() {
    let account = "kubernetes = { issuer = \"corp\", namespace = \"a\", service_account = \"b\" }";
    let written_out = "jwt = [{ issuer = \"corp\", sub = \"system:serviceaccount:a:b\" }]";
    let claims = |text: &str| format!("jwt = [{{ issuer = \"corp\", claims = {{ {text} }} }}]");
    let two = |rule: &str| format!("[callers.two]\nintegrations = [\"elf\"]\n{rule}");
    let told = |one: &str, other: &str| told_with(URL, ISSUER, one, &two(other));
    for (one, other) in [
        (RULE.to_owned(), RULE.to_owned()),
        (account.to_owned(), written_out.to_owned()),
        (claims("a = 1, b = 2"), claims("b = 2, a = 1")),
    ] {
        let told = told(&one, &other);
        assert!(told.contains("caller `one` has the same rule for the issuer `corp`"), "{other}\n{told}");
    }
    assert_eq!(told(RULE, account), "");
    assert_eq!(told(&claims("a = 1"), &claims("a = \"1\"")), "");
}

#[test]
fn a_public_key_that_is_none_or_not_the_callers_own_is_told() {
    let key =
        |path: &str, algorithm: &str| format!("public_keys = [{{ path = \"{path}\", algorithm = \"{algorithm}\" }}]");
    let other = format!("[callers.two]\nintegrations = [\"elf\"]\n{}", key("cert.pem", "ES256"));
    let cases = [
        (key("gone.pem", "ES256"), String::new(), "there is no such file"),
        (key("text.pem", "ES256"), String::new(), "this is no PEM file with a public key"),
        (key("private.pem", "ES256"), String::new(), "this file holds a private key"),
        (key("both.pem", "ES256"), String::new(), "more than one public key"),
        (key("public.pem", "RS256"), String::new(), "this is a key on the curve P-256, and RS256 takes an RSA key"),
        (key("public.pem", "HS256"), String::new(), "expected an algorithm"),
        (key("public.pem", "ES256"), other, "caller `one` has the same public key"),
        ("jwt_bearer_grant = true".to_owned(), String::new(), "this caller has no key to sign a grant with"),
    ];
    for (caller, more, expected) in cases {
        let told = told_with(URL, ISSUER, &format!("{RULE}\n{caller}"), &more);
        assert!(told.contains(expected), "{caller}\n{told}");
    }
    let nameless =
        told_with("", &format!("{ISSUER}\naudience = \"a\""), &format!("{RULE}\n{}", key("public.pem", "ES256")), "");
    assert!(nameless.contains("without `server.public_url` no assertion"), "{nameless}");
}
