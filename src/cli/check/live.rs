//! `aquila check --live`: walks the integrations, a few at once, and shows on a terminal how far it is.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt, stream};

use crate::app::Prepared;
use crate::keys::Certificate;
use crate::salesforce::Integration;
use crate::walk::{Extras, Step, Walked, walk};

/// So many integrations are walked at once: enough for ten in a minute, and no storm of logins.
const AT_ONCE: usize = 4;

/// The walks of all integrations or of one, in the order of their names.
pub(super) async fn walk_all(prepared: &Prepared, only: Option<&str>, extras: Extras) -> Vec<Walked> {
    let mut chosen = prepared.integrations();
    chosen.retain(|integration| only.is_none_or(|name| integration.name().as_str() == name));
    let progress = Progress { shown: std::io::stderr().is_terminal(), of: chosen.len(), done: AtomicUsize::new(0) };
    let walks = chosen.into_iter().map(|integration| {
        let certificates = prepared.certificates(integration.name());
        Box::pin(one(integration, certificates, extras, &progress))
    });
    let walked = stream::iter(walks).buffered(AT_ONCE).collect().await;
    progress.end();
    walked
}

async fn one(
    integration: &Integration,
    certificates: Vec<Option<Certificate>>,
    extras: Extras,
    progress: &Progress,
) -> Walked {
    let walked = walk(integration, &certificates, extras, &|step| progress.at(integration, step)).await;
    progress.done.fetch_add(1, Ordering::Relaxed);
    walked
}

/// One line on standard error, written over and over.
struct Progress {
    shown: bool,
    of: usize,
    done: AtomicUsize,
}

impl Progress {
    fn at(&self, integration: &Integration, step: Step) {
        let done = self.done.load(Ordering::Relaxed);
        self.line(&format!("{done} of {} walked; {}: {} …", self.of, integration.name(), step.title()));
    }

    fn end(&self) {
        self.line("");
    }

    fn line(&self, text: &str) {
        if self.shown {
            let mut talk = std::io::stderr().lock();
            // Nobody is worse off without it.
            let _ = write!(talk, "\r\u{1b}[2K{text}").and_then(|()| talk.flush());
        }
    }
}
