//! The login, and, where that is asked for, other pairs of token host and audience.

use url::Url;

use super::{MOST_PAIRS, Row, Step, Walk};
use crate::config::{self, hosts};
use crate::salesforce::{Cause, Grant, Integration, MintError};

const PRODUCTION: &str = "https://login.salesforce.com";
const SANDBOX: &str = "https://test.salesforce.com";

/// The rest of a token endpoint's URL.
const TOKEN_PATH: &str = "/services/oauth2/token";

impl Walk<'_> {
    /// The token, if there is one by the configured pair of token host and audience or, where that is asked for, by
    /// another one.
    pub(super) async fn login(&mut self, reached: bool, signs: bool) -> Option<Grant> {
        let why = match (reached, signs) {
            (false, _) => "the token host does not answer: see above",
            (true, false) => "the key does not sign: see key",
            (true, true) => return self.mint().await,
        };
        self.leave_out([Step::Mint, Step::Audiences], why);
        None
    }

    async fn mint(&mut self) -> Option<Grant> {
        self.begin(Step::Mint);
        let settings = self.integration.settings();
        let asked = format!("POST {} as {}, aud {}", settings.token_url, settings.username, settings.audience_url);
        let started = self.integration.clock().now();
        let minted = self.integration.log_in(self.deadline).await;
        let took = self.integration.clock().now().since(started).as_millis();
        match minted {
            Ok(grant) => {
                let next_key = self.integration.is_next_key_in_use() == Some(true);
                self.push(granted(settings, &grant, asked, (took, next_key)));
                self.certificate_proved(Step::Mint);
                if self.extras.try_audiences {
                    self.push(Row::pass(Step::Audiences, "not asked", "the configured pair works"));
                }
                Some(grant)
            }
            Err(error) => {
                self.push(Row::failed(Step::Mint, asked, &error));
                match error.cause {
                    _ if !self.extras.try_audiences => None,
                    cause if another_pair_may_cure(cause) => self.other_pairs(error).await,
                    _ => {
                        self.leave_out([Step::Audiences], "another pair does not cure this: see mint");
                        None
                    }
                }
            }
        }
    }

    /// Tries other pairs, each a login, until one is granted or is refused for a reason that more logins make worse.
    async fn other_pairs(&mut self, first: MintError) -> Option<Grant> {
        self.begin(Step::Audiences);
        let asked = format!("other pairs of token host and audience, {MOST_PAIRS} at most, each a login");
        let mut seen = Vec::new();
        for (token_url, audience) in pairs(self.integration) {
            let pair = format!("{} with aud {audience}", token_url.origin().ascii_serialization());
            let other = self.integration.with_pair(token_url.clone(), audience.clone());
            let outcome = other.log_in_once(self.deadline).await;
            self.pair_logins += other.logins_made();
            let error = match outcome {
                Ok(grant) => {
                    self.certificate_proved(Step::Audiences);
                    self.other = Some(other);
                    seen.push(format!("{pair}: granted"));
                    let remedy = format!("set token_url = \"{}\" and audience_url = \"{audience}\"", short(&token_url));
                    let row = Row::pass(Step::Audiences, asked, seen.join("; ")).remedy(remedy);
                    self.push(row.fact("token_url", token_url.as_str()).fact("audience_url", audience));
                    return Some(grant);
                }
                Err(error) => error,
            };
            seen.push(format!("{pair}: {}", error.cause.code()));
            if !another_pair_may_cure(error.cause) {
                break;
            }
        }
        let remedy = "the pair is not what is wrong: mend what the row of mint says";
        self.push(Row::fail(Step::Audiences, asked, seen.join("; ")).remedy(remedy).help(first.cause));
        None
    }
}

fn granted(settings: &config::Integration, grant: &Grant, asked: String, (took, next_key): (u128, bool)) -> Row {
    let instance = grant.instance_url.origin().ascii_serialization();
    let by = if next_key { ", with the next key: the first was refused" } else { "" };
    let seen = format!("a token for {instance} after {took} ms{by}");
    let expected = settings.instance_url.as_deref().and_then(|url| Url::parse(url).ok());
    let row = match expected {
        Some(expected) if expected.origin() != grant.instance_url.origin() => {
            let seen = format!("{seen}, and instance_url says {}", expected.origin().ascii_serialization());
            Row::warn(Step::Mint, asked, seen)
                .remedy("correct instance_url, or the username")
                .help(Cause::InstanceMismatch)
        }
        _ => Row::pass(Step::Mint, asked, seen),
    };
    row.fact("instance_url", instance)
}

/// Whether the refusal can be one of the wrong host or audience. Nothing else is worth a login.
fn another_pair_may_cure(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::WrongAudience
            | Cause::AppNotInOrg
            | Cause::UnknownApp
            | Cause::BadAssertion
            | Cause::UserNotApproved
            | Cause::Malformed
            | Cause::Unknown
    )
}

/// The likeliest first: the configured host with the other audiences, then the host of `instance_url`, then the login
/// hosts. From loopback nothing goes out to the network.
fn pairs(integration: &Integration) -> Vec<(Url, String)> {
    let settings = integration.settings();
    let configured = (settings.token_url.clone(), settings.audience_url.clone());
    let own = |url: &Url| url.origin().ascii_serialization();
    let mut hosts = vec![settings.token_url.clone()];
    hosts.extend(settings.instance_url.as_deref().and_then(endpoint));
    hosts.extend([PRODUCTION, SANDBOX].into_iter().filter_map(endpoint));
    let mut pairs: Vec<(Url, String)> = Vec::new();
    for host in hosts {
        let login_host = [PRODUCTION, SANDBOX].contains(&own(&host).as_str());
        let audiences = match login_host {
            true => vec![own(&host)],
            false => vec![PRODUCTION.to_owned(), SANDBOX.to_owned(), own(&host)],
        };
        for audience in audiences {
            let pair = (host.clone(), audience);
            let may_go = !hosts::is_loopback(&settings.token_url) || hosts::is_loopback(&host);
            if pair != configured && may_go && !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
    }
    pairs.truncate(MOST_PAIRS);
    pairs
}

fn endpoint(origin: &str) -> Option<Url> {
    let mut url = Url::parse(origin).ok()?;
    url.set_path(TOKEN_PATH);
    Some(url)
}

/// As it is written in the configuration.
fn short(token_url: &Url) -> String {
    match token_url.path() {
        TOKEN_PATH => token_url.origin().ascii_serialization(),
        _ => token_url.to_string(),
    }
}
