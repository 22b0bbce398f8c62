//! Where the egress proxy comes from: the file, or the environment as other programs read it.

use secrecy::ExposeSecret;

use super::*;

/// What a file with these lines in `[salesforce]` and this environment give: URL, credentials, exceptions, variable.
fn proxy(lines: &str, environment: &[(&str, &str)]) -> Result<Option<(String, String, String, &'static str)>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aquila.toml");
    std::fs::write(&path, format!("[salesforce]\n{lines}")).unwrap();
    let ask = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
    let loaded = match load_with(&path, &ask) {
        Ok(loaded) => loaded,
        refused => return Err(told(refused)),
    };
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("s3cr"), "{shown}");
    Ok(loaded.config.salesforce.proxy.map(|proxy| {
        let credentials = proxy.credentials.map_or_else(String::new, |secret| secret.expose_secret().to_owned());
        (proxy.url.to_string(), credentials, proxy.exceptions, proxy.variable.unwrap_or_default())
    }))
}

fn from(
    url: &str,
    credentials: &str,
    exceptions: &str,
    variable: &'static str,
) -> Option<(String, String, String, &'static str)> {
    Some((url.to_owned(), credentials.to_owned(), exceptions.to_owned(), variable))
}

#[test]
fn the_environment_names_the_proxy_when_the_file_does_not() {
    let cases: [(&[(&str, &str)], _); 8] = [
        (&[], None),
        (&[("HTTPS_PROXY", "")], None),
        (&[("HTTP_PROXY", "http://p:1"), ("ALL_PROXY", "http://p:1"), ("NO_PROXY", "a")], None),
        (&[("HTTPS_PROXY", "http://p:1")], from("http://p:1/", "", "", "HTTPS_PROXY")),
        (&[("https_proxy", "p:1"), ("no_proxy", "a,b")], from("http://p:1/", "", "a,b", "https_proxy")),
        (&[("HTTPS_PROXY", ""), ("https_proxy", "p")], from("http://p/", "", "", "https_proxy")),
        (
            &[("HTTPS_PROXY", "https://u:s3cr%40t@p"), ("https_proxy", "q"), ("NO_PROXY", "*")],
            from("https://p/", "u:s3cr@t", "*", "HTTPS_PROXY"),
        ),
        (&[("HTTPS_PROXY", "http://s3cr@p:1/")], from("http://p:1/", "s3cr:", "", "HTTPS_PROXY")),
    ];
    for (environment, expected) in cases {
        assert_eq!(proxy("", environment).unwrap(), expected, "{environment:?}");
    }
}

#[test]
fn what_the_file_says_of_the_proxy_counts_alone() {
    let environment = [
        ("HTTPS_PROXY", "http://u:s3cr@env:1"),
        ("NO_PROXY", "*"),
        ("PROXY_LOGIN", "user:s3cr:et"),
        ("PROXY_WORD", "s3cret"),
        ("PROXY_LINES", "user:s3cr\net"),
    ];
    let url = "proxy_url = 'http://file:1'\n";
    assert_eq!(proxy(url, &environment).unwrap(), from("http://file:1/", "", "", ""));
    let with = format!("{url}proxy_credentials_env = 'PROXY_LOGIN'");
    assert_eq!(proxy(&with, &environment).unwrap(), from("http://file:1/", "user:s3cr:et", "", ""));
    for variable in ["PROXY_WORD", "PROXY_LINES"] {
        let told = proxy(&format!("{url}proxy_credentials_env = '{variable}'"), &environment).unwrap_err();
        assert!(told.contains("salesforce.proxy_credentials_env: these are no credentials"), "{told}");
        assert!(!told.contains("s3cr"), "{told}");
    }
    let told = proxy("proxy_credentials_env = 'PROXY_LOGIN'", &environment).unwrap_err();
    assert!(told.contains("there is no `proxy_url`"), "{told}");
}

#[test]
fn a_proxy_of_the_environment_that_cannot_be_used_is_an_error_that_does_not_repeat_it() {
    for text in [
        "socks5://u:s3cr@p:1",
        "http://p:1/s3cr",
        "http://u:s3cr@",
        "http://p:s3cr",
        "http://p?s3cr",
        "http://u:s3cr%0d%0a@p",
        "http://u:s3cr%ff@p",
    ] {
        let told = proxy("", &[("https_proxy", text)]).unwrap_err();
        assert!(told.contains("salesforce.proxy_url: https_proxy in the environment is no proxy"), "{text}: {told}");
        assert!(!told.contains("s3cr"), "{told}");
    }
}

/// What two issuers with these lines, and this environment, give: of each the URL of its proxy, or what is told.
fn of_issuers(lines: &str, environment: &[(&str, &str)]) -> Result<Vec<Option<String>>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aquila.toml");
    let issuer = |name: &str, lines: &str| {
        format!("[issuers.{name}]\nissuer = 'https://{name}.example'\naudience = 'a'\n{lines}\n")
    };
    let salesforce = "[salesforce]\nproxy_url = 'http://salesforce:1'\n";
    std::fs::write(&path, format!("{salesforce}{}{}", issuer("one", lines), issuer("two", ""))).unwrap();
    let ask = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
    let loaded = match load_with(&path, &ask) {
        Ok(loaded) => loaded,
        refused => return Err(told(refused)),
    };
    let proxy = |issuer: &Issuer| match &issuer.keys {
        KeySource::Fetched(server) => server.proxy.as_ref().map(|proxy| proxy.url.to_string()),
        KeySource::File { .. } => None,
    };
    Ok(loaded.config.issuers.iter().map(proxy).collect())
}

#[test]
fn an_issuer_has_a_proxy_of_its_own_or_that_of_the_environment_and_never_that_of_salesforce() {
    let own = "proxy_url = 'http://own:1'";
    let environment = [("HTTPS_PROXY", "http://env:1"), ("LOGIN", "u:s3cr")];
    let url = |text: &str| Some(format!("http://{text}:1/"));
    assert_eq!(of_issuers("", &[]).unwrap(), [None, None]);
    assert_eq!(of_issuers(own, &[]).unwrap(), [url("own"), None]);
    assert_eq!(of_issuers(own, &environment).unwrap(), [url("own"), url("env")]);
    let told = of_issuers("proxy_credentials_env = 'LOGIN'", &environment).unwrap_err();
    assert!(told.contains("issuers.one.proxy_credentials_env: there is no `proxy_url`"), "{told}");
    // Two issuers ask for it, and its author reads of it once.
    let told = of_issuers("", &[("HTTPS_PROXY", "socks5://p:1")]).unwrap_err();
    assert_eq!(told.matches("is no proxy that can be used").count(), 1, "{told}");
}
