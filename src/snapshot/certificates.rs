//! The certificates of keys, and telling in time that one of them ends.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::config::report::{Located, Report};
use crate::config::{self, Key};
use crate::keys::{Certificate, Opened, Stage};
use crate::names::IntegrationName;

/// Those of one generation: for each integration that has any, in the order of its keys.
#[derive(Debug)]
pub(super) struct Certificates(HashMap<IntegrationName, Vec<Option<Watched>>>);

#[derive(Debug)]
struct Watched {
    certificate: Certificate,
    /// The stage of its life that was told last.
    told: Mutex<Stage>,
}

impl Certificates {
    /// Notes in the report what is to be said of them now.
    pub(super) fn watch(
        integrations: &[config::Integration],
        opened: &Opened<'_>,
        now: Timestamp,
        report: &mut Report,
    ) -> Self {
        let mut all = HashMap::new();
        for integration in integrations {
            let watched: Vec<_> = integration
                .keys()
                .map(|key| {
                    let certificate = opened.certificate(key)?;
                    for finding in certificate.age(now).into_iter().chain(certificate.bulk()) {
                        report.warning(&place(key), finding.message, finding.remedy);
                    }
                    Some(Watched { told: Mutex::new(certificate.stage(now)), certificate })
                })
                .collect();
            if watched.iter().any(Option::is_some) {
                all.insert(integration.name.clone(), watched);
            }
        }
        Self(all)
    }

    /// Of the keys of an integration, in their order.
    pub(super) fn of(&self, integration: &IntegrationName) -> impl Iterator<Item = Option<&Certificate>> {
        let watched = self.0.get(integration).into_iter().flatten();
        watched.map(|watched| watched.as_ref().map(|watched| &watched.certificate))
    }

    /// Tells of each that has come to another stage of its life since it was told of.
    pub(super) fn look_after(&self, now: Timestamp) {
        for (name, watched) in &self.0 {
            watched.iter().flatten().for_each(|watched| watched.look_after(name, now));
        }
    }
}

impl Watched {
    fn look_after(&self, integration: &IntegrationName, now: Timestamp) {
        let stage = self.certificate.stage(now);
        let told = std::mem::replace(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner), stage);
        if stage != told
            && let Some(finding) = self.certificate.age(now)
        {
            tracing::warn!(integration = %integration, remedy = finding.remedy, "{}", finding.message);
        }
    }
}

/// The setting that names the certificate, or else the key.
fn place(key: &Key) -> Located<()> {
    let at = key.certificate_path.as_ref().unwrap_or_else(|| key.at());
    Located { value: (), setting: at.setting.clone(), place: at.place.clone() }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// The log of this thread.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Log {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn each_stage_of_an_ending_is_logged_once() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (not_before, not_after) = (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
        let certificate = Certificate { not_before, not_after, size: 768 };
        let watched = Watched { certificate, told: Mutex::new(Stage::Good) };
        let all = Certificates(HashMap::from([("elf-prod".parse().unwrap(), vec![None, Some(watched)])]));
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || {
            for day in
                ["2026-11-01", "2026-12-10", "2026-12-11", "2026-12-30", "2026-12-31", "2027-01-02", "2027-02-01"]
            {
                all.look_after(at(&format!("{day}T12:00:00Z")));
            }
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let told = ["ends in 21 days", "ends in 1 day", "ends within a day", "ended at 2027-01-01T00:00:00Z"];
        assert_eq!(lines.len(), told.len(), "{text}");
        for (line, told) in lines.iter().zip(told) {
            assert!(line.contains("WARN") && line.contains("integration=elf-prod") && line.contains(told), "{line}");
        }
    }
}
