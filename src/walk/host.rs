//! The token host: its name, a connection, its certificate, its clock. One request tells all four, without a login.

use url::{Host, Url};

use super::{Row, Step, Verdict, Walk};
use crate::salesforce::{Cause, MintError, Reply};

/// Below this a clock is right: `Date` has whole seconds, and an answer takes a few.
const NOTABLE: i64 = 60;
/// An assertion lives for so long, in seconds. If Salesforce's clock is further ahead, each is expired when it comes.
const FATAL: i64 = 150;

const BY_NTP: &str = "set this machine's clock by NTP";

impl Walk<'_> {
    /// Whether the host answers.
    pub(super) async fn host(&mut self) -> bool {
        self.begin(Step::Dns);
        let started = self.integration.clock().now();
        let knocked = self.integration.knock(self.deadline).await;
        let took = self.integration.clock().now().since(started).as_millis();
        let url = &self.integration.settings().token_url;
        let mut rows = match &knocked {
            Ok(reply) => answered(url, reply, took),
            Err(error) => not_answered(url, error),
        };
        if self.integration.asks_by_proxy() {
            by_proxy(&mut rows);
        }
        self.rows.extend(rows);
        let skew = self.integration.clock_skew().filter(|_| knocked.is_ok());
        self.push(clock(skew));
        knocked.is_ok()
    }
}

/// The host as people know it, with the port if it is not the usual one.
pub(super) fn name(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn answered(url: &Url, reply: &Reply, took: u128) -> [Row; 3] {
    let seen = format!("status {} after {took} ms", reply.status);
    let (step, asked) = (Step::Connection, asked(url));
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&reply.body).is_ok();
    let connection = match reply.status {
        200 if !is_json => Row::warn(step, asked, format!("{seen}, with what is no JSON: a page of somebody else?"))
            .remedy(Cause::Malformed.remedy()),
        // A login host may have no such resource; it is up all the same.
        200 | 404 => Row::pass(step, asked, seen),
        300..400 => Row::warn(step, asked, format!("{seen}: a redirect, which is not followed"))
            .remedy("Setup > My Domain: take the host from there for token_url"),
        _ => Row::warn(step, asked, seen).remedy(Cause::Malformed.remedy()),
    };
    [dns(url, "it resolves"), connection.fact("status", reply.status), tls(url)]
}

/// Through a proxy the name is the proxy's to resolve: nothing here has asked for it.
fn by_proxy([dns, connection, _]: &mut [Row; 3]) {
    match dns.verdict {
        Verdict::Pass if connection.verdict == Verdict::Fail => {
            dns.verdict = Verdict::Unknown;
            "the egress proxy resolves it, and no answer shows that it does".clone_into(&mut dns.seen);
        }
        Verdict::Pass => {
            "asked through the egress proxy, which resolves it, unless no_proxy names the host"
                .clone_into(&mut dns.seen);
        }
        Verdict::Fail => dns.asked.push_str(", or that of the egress proxy"),
        Verdict::Warn | Verdict::Unknown => {}
    }
}

/// How far it came, by the cause.
fn not_answered(url: &Url, error: &MintError) -> [Row; 3] {
    let resolves = || dns(url, "it resolves");
    let opens = || Row::pass(Step::Connection, asked(url), "a connection opens");
    let unasked = |step, why| Row::unknown(step, "not asked", why);
    match error.cause {
        Cause::Dns => [
            Row::failed(Step::Dns, asked_name(url), error),
            unasked(Step::Connection, "the name does not resolve: see DNS"),
            unasked(Step::Tls, "the name does not resolve: see DNS"),
        ],
        Cause::Tls => [resolves(), opens(), Row::failed(Step::Tls, asked_certificate(url), error)],
        cause => {
            // Whoever waits in vain, or whose proxy opens no tunnel, does not learn whether there is such a host.
            let unclear = cause == Cause::Timeout || error.detail.contains("tunnel");
            let name = if unclear && url.domain().is_some() {
                Row::unknown(Step::Dns, asked_name(url), "no connection shows it")
            } else {
                resolves()
            };
            let connection = Row::failed(Step::Connection, asked(url), error);
            [name, connection, unasked(Step::Tls, "there is no answer: see connection")]
        }
    }
}

fn asked(url: &Url) -> String {
    format!("GET {}/services/data/", url.origin().ascii_serialization())
}

fn asked_name(url: &Url) -> String {
    format!("the name {}", url.host_str().unwrap_or_default())
}

fn asked_certificate(url: &Url) -> String {
    format!("the certificate of {}", url.host_str().unwrap_or_default())
}

fn dns(url: &Url, seen: &str) -> Row {
    let seen =
        if matches!(url.host(), Some(Host::Domain(_))) { seen } else { "an address, which needs no name service" };
    Row::pass(Step::Dns, asked_name(url), seen)
}

fn tls(url: &Url) -> Row {
    let seen = match url.scheme() {
        "https" => "it holds, by the authorities that are trusted here",
        // The configuration takes plain HTTP for no other.
        _ => "plain HTTP to this machine, which needs none",
    };
    Row::pass(Step::Tls, asked_certificate(url), seen)
}

/// Salesforce's clock less ours, in seconds.
fn clock(skew: Option<i64>) -> Row {
    let asked = "the Date of its answer, against this machine's clock";
    let Some(skew) = skew else {
        return Row::unknown(Step::Clock, asked, "there is no answer with a Date: see connection");
    };
    let off = skew.unsigned_abs();
    let row = match () {
        () if skew.abs() < NOTABLE => Row::pass(Step::Clock, asked, format!("{off} s apart")),
        () if skew >= FATAL => {
            let seen = format!("this machine is {off} s behind: assertions come expired");
            Row::fail(Step::Clock, asked, seen).remedy(BY_NTP).help(Cause::ExpiredAssertion)
        }
        () if skew <= -FATAL => {
            let seen = format!("this machine is {off} s ahead: assertions may be refused as dated too far ahead");
            Row::fail(Step::Clock, asked, seen).remedy(BY_NTP).help(Cause::BadAssertion)
        }
        () => {
            let (seen, side) = (off, if skew > 0 { "behind" } else { "ahead" });
            Row::warn(Step::Clock, asked, format!("this machine is {seen} s {side}")).remedy(BY_NTP)
        }
    };
    row.fact("skew_seconds", skew)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_judged_by_the_life_of_an_assertion() {
        let cases = [
            (0, Verdict::Pass),
            (59, Verdict::Pass),
            (-59, Verdict::Pass),
            (60, Verdict::Warn),
            (-149, Verdict::Warn),
            (150, Verdict::Fail),
            (-150, Verdict::Fail),
        ];
        for (skew, verdict) in cases {
            let row = clock(Some(skew));
            assert_eq!((row.verdict, row.facts["skew_seconds"].as_i64()), (verdict, Some(skew)));
            assert_eq!(row.remedy.is_some(), verdict != Verdict::Pass, "{skew}");
        }
        assert_eq!(clock(None).verdict, Verdict::Unknown);
    }

    #[test]
    fn an_error_is_told_at_the_step_where_it_stopped() {
        use Verdict::{Fail, Pass, Unknown};
        let url = Url::parse("https://acme.my.salesforce.com/services/oauth2/token").unwrap();
        let cases = [
            (Cause::Dns, "no such host", [Fail, Unknown, Unknown]),
            (Cause::Connect, "connection refused", [Pass, Fail, Unknown]),
            (Cause::Connect, "the egress proxy opens no tunnel: unsuccessful", [Unknown, Fail, Unknown]),
            (Cause::Timeout, "no connection in time", [Unknown, Fail, Unknown]),
            (Cause::Malformed, "no readable head of an HTTP answer", [Pass, Fail, Unknown]),
            (Cause::Tls, "the certificate has expired", [Pass, Pass, Fail]),
        ];
        for (cause, detail, expected) in cases {
            let rows = not_answered(&url, &MintError::new(cause, detail));
            assert_eq!(rows.each_ref().map(|row| row.verdict), expected, "{detail}");
            let failed = rows.iter().find(|row| row.verdict == Fail).unwrap();
            assert!(failed.seen.contains(detail) && failed.remedy.as_deref() == Some(cause.remedy()));
            assert_eq!(failed.help.as_deref(), Some(cause.help().as_str()));
        }
    }
}
