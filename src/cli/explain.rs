//! `aquila explain`: who may get what, by which rule and by which credential, out of the configuration alone.
//!
//! It decides by the same rules as the service (`policy`), asks nobody, and opens no key: credentials are named by
//! their kind and the start of a digest.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::check::{Output, render_text as render_findings};
use super::paint::{Paint, number};
use super::{BAD_CONFIGURATION, complain, say};
use crate::authn::ProofKind;
use crate::config::{self, Caller, Config, JwtRule, show};
use crate::hash::short_hex;
use crate::policy::{Rights, Rule};
use crate::reload::everything_wrong;
use crate::signature::VerifyingKey;

/// Tells who may get what: each caller with its credentials, its integrations and the rules that grant them.
///
/// With --caller and --integration it answers "may CALLER get INTEGRATION, and why" in one line, and ends with 0 for yes
/// and 1 for no. What `next_integrations` would change is told beside the rule in force.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The configuration: TOML or YAML, by the ending of its name.
    #[arg(long, value_name = "PATH")]
    config: PathBuf,
    /// Tell only of this caller.
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// Tell only of this integration.
    #[arg(long, value_name = "NAME")]
    integration: Option<String>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Reads the configuration and tells what it grants.
pub(super) fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let config = match config::load(&args.config) {
        Ok(loaded) => loaded.config,
        Err(refused) => {
            let findings = everything_wrong(&refused).sorted();
            complain(render_findings(&findings, std::io::stderr().is_terminal()).trim_end());
            return Ok(ExitCode::from(BAD_CONFIGURATION));
        }
    };
    known("caller", args.caller.as_deref(), config.callers.iter().map(|it| it.name.as_str()), &args.config)?;
    known(
        "integration",
        args.integration.as_deref(),
        config.integrations.iter().map(|it| it.name.as_str()),
        &args.config,
    )?;
    let told = explain(&config, args.caller.as_deref(), args.integration.as_deref());
    let asked = args.caller.is_some() && args.integration.is_some();
    match (args.output, told.first().filter(|_| asked)) {
        (Output::Json, _) => say(&serde_json::to_string_pretty(&render_json(&told))?)?,
        (Output::Text, Some(only)) => say(&only.sentence(Paint::new(std::io::stdout().is_terminal())))?,
        (Output::Text, None) => say(render_text(&told, Paint::new(std::io::stdout().is_terminal())).trim_end())?,
    }
    let refused = asked && !told.iter().any(Explained::gets_something);
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn known<'a>(
    kind: &str,
    wanted: Option<&str>,
    names: impl Iterator<Item = &'a str> + Clone,
    path: &Path,
) -> anyhow::Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    if names.clone().any(|name| name == wanted) {
        return Ok(());
    }
    let near = show::nearest(wanted, names).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    // What was typed may be a key by mistake.
    anyhow::bail!("there is no {kind} {} in {}{near}", show::key(wanted), path.display())
}

/// One caller, and what the rules say of integrations.
struct Explained<'a> {
    caller: &'a Caller,
    credentials: Vec<Credential>,
    /// Whether other rights are being tried.
    tried: bool,
    integrations: Vec<Verdict<'a>>,
}

/// One way for a caller to prove itself: nothing in it is secret.
struct Credential {
    kind: &'static str,
    /// Which one: what stands in the audit trail as `proof_key`.
    id: String,
}

/// What the rules say of one caller and one integration.
struct Verdict<'a> {
    integration: &'a str,
    rule: Option<Rule>,
    next: Option<Rule>,
}

/// The callers by name, each with the integrations that it may get or would get; with both names the one pair, whatever
/// the rules say of it.
fn explain<'a>(config: &'a Config, caller: Option<&str>, integration: Option<&str>) -> Vec<Explained<'a>> {
    let asked = caller.is_some() && integration.is_some();
    // Without authorities for them the door asks for no certificate.
    let shown = config.server.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let callers = config.callers.iter().filter(|it| caller.is_none_or(|name| it.name.as_str() == name));
    let all = callers.map(|caller| {
        let rights = Rights::new(caller.integrations.clone());
        let next = Rights::new(caller.next_integrations.clone());
        let names = config.integrations.iter().map(|it| it.name.as_str());
        let integrations = names
            .filter(|name| integration.is_none_or(|wanted| wanted == *name))
            .map(|name| Verdict { integration: name, rule: rights.allow(name), next: next.allow(name) })
            .filter(|verdict| asked || verdict.rule.is_some() || verdict.next.is_some())
            .collect();
        let tried = !caller.next_integrations.is_empty();
        Explained { caller, credentials: credentials(caller, shown), tried, integrations }
    });
    all.filter(|explained| integration.is_none() || !explained.integrations.is_empty()).collect()
}

fn credentials(caller: &Caller, certificates_are_shown: bool) -> Vec<Credential> {
    let one = |kind: ProofKind, id: String| Credential { kind: kind.as_str(), id };
    let keys = caller.api_key_sha256.iter().map(|digest| one(ProofKind::ApiKey, short_hex(digest).to_string()));
    let names = caller.client_certificate.iter().filter(|_| certificates_are_shown);
    let names = names.map(|name| one(ProofKind::ClientCertificate, name.to_string()));
    let tokens = caller.proofs.jwt.iter().map(|rule| one(ProofKind::IssuerJwt, told(rule)));
    let kinds = [ProofKind::ClientAssertion, ProofKind::SignedRequest];
    let kinds = kinds.into_iter().take(if caller.proofs.jwt_bearer_grant { 2 } else { 1 });
    let signed = |key: &VerifyingKey| kinds.clone().map(|kind| one(kind, key.digest().to_string())).collect::<Vec<_>>();
    let own = caller.proofs.public_keys.iter().flat_map(signed);
    keys.chain(names).chain(tokens).chain(own).collect()
}

/// A rule on what a JWT says.
fn told(rule: &JwtRule) -> String {
    let sub = rule.sub.as_ref().map(|sub| sub.as_str().to_owned());
    let claims = rule.claims.iter().map(|(name, value)| format!("{name}={value}"));
    let all: Vec<String> = sub.into_iter().chain(claims).collect();
    format!("{} ({})", all.join(" "), rule.issuer)
}

impl Explained<'_> {
    fn gets_something(&self) -> bool {
        !self.credentials.is_empty() && self.integrations.iter().any(|verdict| verdict.rule.is_some())
    }

    fn proofs(&self) -> String {
        let one = |it: &Credential| format!("{} {}", it.kind, it.id);
        self.credentials.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// The answer to "may it, and why".
    fn sentence(&self, paint: Paint) -> String {
        let Some(verdict) = self.integrations.first() else { return String::new() };
        let (caller, integration) = (&self.caller.name, verdict.integration);
        let told = match &verdict.rule {
            Some(rule) if self.credentials.is_empty() => {
                let no = paint.red("no");
                format!(
                    "{no}: the rule `{}` grants {integration}, but {caller} has no way to prove itself",
                    rule.as_str()
                )
            }
            Some(rule) => {
                let (yes, proofs) = (paint.green("yes"), self.proofs());
                format!("{yes}: {caller} may get {integration} by the rule `{}`, proved by {proofs}", rule.as_str())
            }
            None => {
                let rules: Vec<String> = self.caller.integrations.iter().map(|it| format!("`{it}`")).collect();
                let no = paint.red("no");
                format!("{no}: {caller} may not get {integration}: none of its rules fits ({})", rules.join(", "))
            }
        };
        match verdict.change(self.tried) {
            None => told,
            Some(change) => format!("{told}; {}", paint.yellow(&change)),
        }
    }
}

impl Verdict<'_> {
    fn by(&self) -> String {
        self.rule.as_ref().map_or_else(|| "not granted".to_owned(), |rule| format!("by {}", rule.as_str()))
    }

    /// What the rights that are being tried would change.
    fn change(&self, tried: bool) -> Option<String> {
        match (&self.rule, &self.next) {
            _ if !tried => None,
            (Some(_), None) => Some("next_integrations would refuse it".to_owned()),
            (None, Some(rule)) => Some(format!("next_integrations would grant it by `{}`", rule.as_str())),
            _ => None,
        }
    }
}

/// A block for each caller, and a line that sums them up.
fn render_text(all: &[Explained<'_>], paint: Paint) -> String {
    let mut text = String::new();
    let verdicts = || all.iter().flat_map(|explained| &explained.integrations);
    let names = verdicts().map(|verdict| verdict.integration.len()).max().unwrap_or(0);
    let rules = verdicts().map(|verdict| verdict.by().len()).max().unwrap_or(0);
    for explained in all {
        let proofs = match explained.credentials.is_empty() {
            true => paint.red("no credential: it never gets in"),
            false => explained.proofs(),
        };
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{}  {proofs}", paint.bold(explained.caller.name.as_str()));
        for verdict in &explained.integrations {
            let rule = verdict.by();
            let line = match verdict.change(explained.tried) {
                Some(change) => format!("  {:names$}  {rule:rules$}  {}", verdict.integration, paint.yellow(&change)),
                None => format!("  {:names$}  {rule}", verdict.integration),
            };
            let _ = writeln!(text, "{line}");
        }
        text.push('\n');
    }
    let granted = verdicts().filter(|verdict| verdict.rule.is_some()).count();
    let _ = writeln!(text, "{}, {}", number(all.len(), "caller"), number(granted, "grant"));
    text
}

/// The same as one JSON document.
fn render_json(all: &[Explained<'_>]) -> Value {
    let rule = |rule: &Option<Rule>| rule.as_ref().map(|rule| rule.as_str().to_owned());
    let callers = all.iter().map(|explained| {
        let credentials: Vec<Value> =
            explained.credentials.iter().map(|it| json!({"proof": it.kind, "proof_key": it.id})).collect();
        let verdicts = explained.integrations.iter().map(|verdict| {
            let next = explained.tried.then(|| json!({"granted": verdict.next.is_some(), "rule": rule(&verdict.next)}));
            json!({
                "integration": verdict.integration,
                "granted": verdict.rule.is_some(),
                "rule": rule(&verdict.rule),
                "next": next,
            })
        });
        json!({
            "caller": explained.caller.name.as_str(),
            "credentials": credentials,
            "integrations": verdicts.collect::<Vec<_>>(),
        })
    });
    json!({"callers": callers.collect::<Vec<_>>()})
}
