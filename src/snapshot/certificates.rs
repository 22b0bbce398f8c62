//! The certificates of keys, and telling in time that one of them ends.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::config::report::{Located, Report};
use crate::config::{self, Key, KeyHolder};
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
    let KeyHolder::File(file) = &key.holder;
    let at = key.certificate_path.as_ref().unwrap_or(&file.path);
    Located { value: (), setting: at.setting.clone(), place: at.place.clone() }
}
