//! The keys and their certificates: whether each signs, and what is known of its certificate.

use jiff::Timestamp;

use super::{Row, Step, Verdict, Walk};
use crate::config::{self, KeyHolder};
use crate::keys::{Certificate, Stage, Thumbprint};
use crate::salesforce::Setting;

/// Why a certificate row has nothing to tell.
const NONE: &str = "none is configured beside the key, so its age is unknown";

impl Walk<'_> {
    /// Whether the key signs. The next key is tried too, and stops nothing: a login falls back on it only.
    pub(super) async fn key(&mut self) -> bool {
        self.begin(Step::Key);
        let settings = self.integration.settings();
        let named: Vec<_> = settings.keys().zip(["client_key", "next_key"]).map(|(key, of)| setting(key, of)).collect();
        let asked = format!("a trial signature with {}", named.join(" and "));
        let mut tried = self.integration.try_keys().await.into_iter();
        let Some((_, first)) = tried.next() else { return false };
        let first = match first {
            Ok(thumbprint) => thumbprint,
            Err(error) => {
                self.push(Row::failed(Step::Key, asked, &error));
                self.leave_out([Step::Certificate], "the key does not sign: see key");
                return false;
            }
        };
        let seen = format!("it signs; SHA-256 of its public key: {}…", short(&first));
        let row = match tried.next() {
            None => Row::pass(Step::Key, asked, seen),
            Some((_, Ok(next))) => {
                let seen = format!(
                    "both sign; SHA-256 of their public keys: {}… and {}…; mint tries the next one if the first is refused, as \
                     the service does",
                    short(&first),
                    short(&next)
                );
                Row::pass(Step::Key, asked, seen).fact("next_public_key_sha256", next.as_str())
            }
            Some((_, Err(error))) => {
                let seen = format!("{seen}; the next one does not sign: {}", error.detail);
                Row::warn(Step::Key, asked, seen).remedy(error.cause.remedy()).help(error.cause)
            }
        };
        self.push(row.fact("public_key_sha256", first.as_str()));
        let now = self.integration.clock().timestamp();
        self.push(certificates(settings, self.certificates, &first, now));
        true
    }

    /// A login proves that the app holds the certificate of this key: nobody has to compare them by hand. `by` is the step
    /// that was granted.
    pub(super) fn certificate_proved(&mut self, by: Step) {
        let which = match self.integration.keys().into_iter().find(|key| key.in_use).map(|key| key.setting) {
            Some(Setting::NextKey) => "that of the next key",
            _ => "the right one",
        };
        let row = self.rows.iter_mut().find(|row| row.step == Step::Certificate && row.verdict == Verdict::Unknown);
        if let Some(row) = row {
            row.seen = format!("{NONE}; the app holds {which}, as {} proves", by.title());
            row.remedy = None;
        }
    }
}

/// How the configuration names the key.
fn setting(key: &config::Key, of: &str) -> String {
    match key.holder {
        KeyHolder::File(_) => format!("{of}_path"),
        KeyHolder::Token(_) => format!("{of}_pkcs11"),
    }
}

fn short(thumbprint: &Thumbprint) -> &str {
    let thumbprint = thumbprint.as_str();
    thumbprint.get(..16).unwrap_or(thumbprint)
}

/// What is known of the certificates of the keys, in their order. That each fits its key was checked when it was read.
fn certificates(
    settings: &config::Integration,
    known: &[Option<Certificate>],
    first: &Thumbprint,
    now: Timestamp,
) -> Row {
    let step = Step::Certificate;
    let both = settings.next_key.is_some();
    let asked = if both { "the certificates of the keys" } else { "the certificate of the key" };
    if known.iter().all(Option::is_none) {
        let remedy = format!(
            "to compare: `openssl x509 -in CERTIFICATE -pubkey -noout | openssl pkey -pubin -outform DER | sha256sum` is \
             to print {}",
            first.as_str()
        );
        return Row::unknown(step, asked, format!("{NONE}; whether the app holds it, a login proves")).remedy(remedy);
    }
    let mut seen = Vec::new();
    let mut row = Row::pass(step, asked, "");
    for (certificate, (name, prefix)) in known.iter().zip([("client_key", ""), ("next_key", "next_")]) {
        let told = certificate.as_ref().map_or_else(|| "none is configured".to_owned(), |known| told(known, now));
        seen.push(if both { format!("{name}: {told}") } else { told });
        let Some(certificate) = certificate else { continue };
        for finding in certificate.age(now).into_iter().chain(certificate.bulk()) {
            row.verdict = Verdict::Warn;
            row.remedy.get_or_insert_with(|| finding.remedy.to_owned());
        }
        let days = certificate.not_after.duration_since(now).as_secs().div_euclid(86_400);
        row = row.fact(&format!("{prefix}not_after"), certificate.not_after.to_string());
        row = row.fact(&format!("{prefix}days_left"), days).fact(&format!("{prefix}size_bytes"), certificate.size);
    }
    Row { seen: seen.join("; "), ..row }
}

fn told(certificate: &Certificate, now: Timestamp) -> String {
    let date = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    let days = certificate.not_after.duration_since(now).as_hours() / 24;
    let life = match certificate.stage(now) {
        Stage::NotYet => format!("begins only on {}", date(certificate.not_before)),
        Stage::Ended => format!("ended on {}", date(certificate.not_after)),
        _ if days == 1 => format!("ends on {} (in 1 day)", date(certificate.not_after)),
        _ => format!("ends on {} (in {days} days)", date(certificate.not_after)),
    };
    format!("fits the key, {life}, {} bytes of 4096", certificate.size)
}
