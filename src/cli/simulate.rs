//! `aquila simulate`: the simulator alone, for people who test their own clients.
//!
//! Turns flags into the simulator's settings, tells on stdout what to point a client at, and serves until it is told
//! to stop. Each line says SIMULATED, so that nobody takes the output for an org's.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

use super::say;
use crate::simulator::{App, Flaw, Host, Running, Settings, Simulator, StartError, Switches, Tls, User};

/// Serve a SIMULATED Salesforce: token endpoint, sessions, REST resources, event log files.
///
/// It judges JWT bearer assertions as strictly as Salesforce does, answers with Salesforce's own error texts, and keeps
/// sessions by its rules. Nothing it hands out opens anything but itself. It is meant for loopback.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = switches_help())]
pub(super) struct SimulateArgs {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    pub(super) listen: SocketAddr,

    /// Allow an address that other machines can reach.
    #[arg(long)]
    pub(super) allow_remote: bool,

    /// Serve TLS with a throw-away certificate; the authority to trust is written to the file of `--ca-out`.
    #[arg(long, requires = "ca_out")]
    pub(super) tls: bool,

    /// Where to write the throw-away authority's certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub(super) ca_out: Option<PathBuf>,

    /// Make the throw-away certificate so that clients must refuse it: `expired`, `not-yet-valid` or `other-name`.
    #[arg(long, value_name = "FLAW", requires = "tls")]
    pub(super) tls_flaw: Option<Flaw>,

    /// Serve TLS with this certificate and its chain, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "tls")]
    pub(super) tls_certificate: Option<PathBuf>,

    /// The private key of the certificate, PEM without a password.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub(super) tls_key: Option<PathBuf>,

    /// Answer to this name as one of Salesforce's hosts does. KIND is `production`, `sandbox`, `my-domain` or `site`
    /// (whose name has a path). Repeatable; other names are answered as if every host were one.
    #[arg(long = "host", value_name = "KIND=NAME")]
    pub(super) hosts: Vec<Host>,

    /// The org is a sandbox.
    #[arg(long)]
    pub(super) sandbox: bool,

    /// The X.509 certificate of the app, PEM or DER, at most 4 KB: the file one would upload in Setup.
    #[arg(long, value_name = "FILE")]
    pub(super) certificate: PathBuf,

    /// The app's consumer key, which assertions name as `iss`.
    #[arg(long, value_name = "ID", default_value = "simulated-client-id")]
    pub(super) client_id: String,

    /// File with the app's consumer secret, which introspection asks for; without it nobody can introspect.
    #[arg(long, value_name = "FILE")]
    pub(super) client_secret_path: Option<PathBuf>,

    /// The app is an External Client App, which only its org's `my-domain` host finds.
    #[arg(long)]
    pub(super) external_client_app: bool,

    /// A user of the org, which assertions name as `sub`. Repeat it for more users.
    #[arg(long, value_name = "NAME", default_value = "simulated@example.com")]
    pub(super) username: Vec<String>,

    /// An `aud` to accept besides the simulator's own URL [default: Salesforce's two login hosts].
    #[arg(long, value_name = "URL")]
    pub(super) audience: Vec<String>,

    /// What answers give as `instance_url` [default: the simulator's own URL].
    #[arg(long, value_name = "URL")]
    pub(super) instance_url: Option<String>,

    /// How long a session lives without activity, such as `15m` or `2h`.
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = duration)]
    pub(super) session_timeout: Duration,

    /// How many records an answer holds; the rest is behind `nextRecordsUrl`.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) query_batch: u16,

    /// File with the secret of the control routes [default: one is made and printed].
    #[arg(long, value_name = "FILE")]
    pub(super) control_secret_path: Option<PathBuf>,

    /// Answer an open question about Salesforce the other way; `--help` lists the names. Repeatable.
    #[arg(long = "switch", value_name = "NAME=VALUE")]
    pub(super) switches: Vec<String>,
}

/// Starts the simulator, tells how to reach it, and serves until `shutdown` is cancelled.
pub(super) async fn run(args: SimulateArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let simulator = match Simulator::start(settings(&args)?).await {
        Err(error @ StartError::NotLoopback(_)) => bail!("{error}: add --allow-remote if others are meant to reach it"),
        started => started.context("the simulator did not start")?,
    };
    tell(&args, &simulator)?;
    shutdown.cancelled().await;
    simulator.stop().await;
    Ok(())
}

fn settings(args: &SimulateArgs) -> anyhow::Result<Settings> {
    let certificate = read(&args.certificate)?;
    let mut switches = Switches::default();
    for assignment in &args.switches {
        let Some((name, value)) = assignment.split_once('=') else {
            bail!("`--switch {assignment}` is not of the form NAME=VALUE");
        };
        switches = switches.with(name, value).with_context(|| format!("`--switch {assignment}`"))?;
    }
    let usual = Settings::default();
    Ok(Settings {
        listen: args.listen,
        allow_remote: args.allow_remote,
        tls: tls(args)?,
        hosts: args.hosts.clone(),
        sandbox: args.sandbox,
        instance_url: args.instance_url.clone(),
        audiences: if args.audience.is_empty() { usual.audiences } else { args.audience.clone() },
        apps: vec![App {
            external: args.external_client_app,
            client_secret: secret(args.client_secret_path.as_deref())?,
            ..App::new(&args.client_id, certificate)
        }],
        users: args.username.iter().map(User::new).collect(),
        switches,
        control_secret: secret(args.control_secret_path.as_deref())?,
        session_timeout: args.session_timeout,
        query_batch: args.query_batch,
        ..Settings::default()
    })
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn tls(args: &SimulateArgs) -> anyhow::Result<Option<Tls>> {
    if let (Some(certificate), Some(key)) = (&args.tls_certificate, &args.tls_key) {
        return Ok(Some(Tls { certificate_chain: read(certificate)?, private_key: read(key)? }));
    }
    let Some(path) = args.ca_out.as_ref().filter(|_| args.tls) else { return Ok(None) };
    let names: Vec<String> = args.hosts.iter().map(|host| host.dns_name().to_owned()).collect();
    let (tls, authority) = match args.tls_flaw {
        Some(flaw) => Tls::flawed(&names, flaw)?,
        None => Tls::throw_away(&names)?,
    };
    std::fs::write(path, authority).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(tls))
}

fn secret(path: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(path) = path else { return Ok(None) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let secret = text.trim();
    if secret.is_empty() {
        bail!("{} holds no secret", path.display());
    }
    Ok(Some(secret.to_owned()))
}

fn tell(args: &SimulateArgs, simulator: &Running) -> anyhow::Result<()> {
    lines(args, simulator).iter().try_for_each(|line| say(&format!("SIMULATED  {line}")))
}

fn lines(args: &SimulateArgs, simulator: &Running) -> Vec<String> {
    let base = simulator.base_url();
    let audience = args.audience.first().map_or("https://login.salesforce.com", String::as_str);
    let control = match &args.control_secret_path {
        // The operator's own secret is not repeated; a generated one is throw-away and of no use if nobody sees it.
        Some(path) => format!("the secret in {}", path.display()),
        None => simulator.control_secret().to_owned(),
    };
    let mut lines = vec![
        format!("Salesforce   {base}"),
        format!("token URL    {}", simulator.token_url()),
        format!("audience     {audience} (or {base})"),
        format!("client id    {}", args.client_id),
        format!("username     {}", args.username.join(", ")),
        format!("control      {base}/__simulator/counts with `Authorization: Bearer` and {control}"),
    ];
    let port = simulator.address().port();
    lines.extend(args.hosts.iter().map(|host| format!("host         {} at port {port}", host.name)));
    lines.extend(args.ca_out.iter().map(|path| format!("authority    {}", path.display())));
    lines
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| "give a time such as `90s`, `15m` or `2h`")?;
    match Duration::try_from(parsed) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("give a time longer than nothing".to_owned()),
    }
}

/// The switches with their defaults, out of the struct itself, so that the help cannot fall behind.
fn switches_help() -> String {
    let mut help = "Switches and their defaults (what each one means stands at `Switches` in the source):\n".to_owned();
    if let Ok(serde_json::Value::Object(all)) = serde_json::to_value(Switches::default()) {
        for (name, value) in all {
            help.push_str(&format!("  {name}={}\n", value.to_string().trim_matches('"')));
        }
    }
    help
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn args(more: &[&str]) -> SimulateArgs {
        Alone::parse_from(["simulate"].iter().chain(more)).args
    }

    fn certificate() -> tempfile::NamedTempFile {
        let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), certificate.pem()).unwrap();
        file
    }

    #[test]
    fn the_definition_is_sound_and_the_help_lists_every_switch() {
        Alone::command().debug_assert();
        let help = Alone::command().render_long_help().to_string();
        assert!(help.contains("mint_counts_as_activity=false") && help.contains("unknown_user_error=not_approved"));
    }

    #[test]
    fn flags_become_settings() {
        let file = certificate();
        let path = file.path().to_str().unwrap();
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "consumer secret\n").unwrap();
        let more = ["--certificate", path, "--username", "a@x", "--username", "b@x", "--session-timeout", "15m"];
        let last = ["--switch", "exp_upper_bound_seconds=180", "--client-secret-path", secret.path().to_str().unwrap()];
        let settings = settings(&args(&[&more[..], &last[..]].concat())).unwrap();
        assert_eq!(settings.apps[0].client_secret.as_deref(), Some("consumer secret"));
        assert_eq!(settings.users, [User::new("a@x"), User::new("b@x")]);
        assert_eq!(settings.session_timeout, Duration::from_secs(900));
        assert_eq!(settings.switches.exp_upper_bound_seconds, Some(180));
        assert_eq!(settings.audiences, Settings::default().audiences);
        assert!(settings.tls.is_none() && settings.hosts.is_empty() && !settings.apps[0].external);
    }

    #[tokio::test]
    async fn tls_is_served_with_a_made_certificate_or_a_given_one() {
        let (file, authority) = (certificate(), tempfile::NamedTempFile::new().unwrap());
        let usual = ["--certificate", file.path().to_str().unwrap(), "--listen", "127.0.0.1:0"];
        let out = authority.path().to_str().unwrap();
        let more = ["--tls", "--ca-out", out, "--host", "my-domain=acme.my.salesforce.com", "--external-client-app"];
        let made = args(&[&usual[..], &more].concat());
        let simulator = Simulator::start(settings(&made).unwrap()).await.unwrap();
        let told = lines(&made, &simulator).concat();
        assert!(told.contains("https://127.0.0.1:") && told.contains("acme.my.salesforce.com") && told.contains(out));
        assert!(std::fs::read_to_string(out).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));

        let (tls, _) = Tls::throw_away(&[]).unwrap();
        let files = [tls.certificate_chain, tls.private_key].map(|pem| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), pem).unwrap();
            file
        });
        let [chain, key] = files.each_ref().map(|file| file.path().to_str().unwrap());
        let given = args(&[&usual[..], &["--tls-certificate", chain, "--tls-key", key]].concat());
        let simulator = Simulator::start(settings(&given).unwrap()).await.unwrap();
        assert!(simulator.base_url().starts_with("https://"));

        for wrong in [
            &["--tls"][..],
            &["--ca-out", out],
            &["--tls-flaw", "expired"],
            &["--tls-key", key],
            &["--host", "acme.example"],
        ] {
            assert!(Alone::try_parse_from(["simulate"].iter().chain(&usual).chain(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn mistakes_are_told_with_the_flag_or_file() {
        let file = certificate();
        let path = file.path().to_str().unwrap();
        for (more, expected) in [
            (vec!["--certificate", "/nowhere/at.all"], "/nowhere/at.all"),
            (vec!["--certificate", path, "--switch", "exp"], "`--switch exp`"),
            (vec!["--certificate", path, "--switch", "exp=1"], "`--switch exp=1`"),
            (vec!["--certificate", path, "--control-secret-path", "/dev/null"], "/dev/null holds no secret"),
            (vec!["--certificate", path, "--client-secret-path", "/dev/null"], "/dev/null holds no secret"),
        ] {
            let error = settings(&args(&more)).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        }
        assert!(Alone::try_parse_from(["simulate", "--certificate", "x", "--session-timeout", "0s"]).is_err());
    }

    #[tokio::test]
    async fn a_generated_secret_is_told_and_a_given_one_is_not() {
        let file = certificate();
        let path = file.path().to_str().unwrap();
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "open sesame\n").unwrap();
        let secret_path = secret.path().to_str().unwrap();

        let generated = args(&["--certificate", path, "--listen", "127.0.0.1:0"]);
        let simulator = Simulator::start(settings(&generated).unwrap()).await.unwrap();
        assert!(lines(&generated, &simulator).concat().contains(simulator.control_secret()));

        let given = args(&["--certificate", path, "--listen", "127.0.0.1:0", "--control-secret-path", secret_path]);
        let simulator = Simulator::start(settings(&given).unwrap()).await.unwrap();
        assert_eq!(simulator.control_secret(), "open sesame");
        assert!(!lines(&given, &simulator).concat().contains("open sesame"));
    }

    #[tokio::test]
    async fn it_serves_until_it_is_told_to_stop() {
        let file = certificate();
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        run(args(&["--certificate", file.path().to_str().unwrap(), "--listen", "127.0.0.1:0"]), shutdown)
            .await
            .unwrap();
    }
}
