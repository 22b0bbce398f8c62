//! Questions that nobody asks while tokens are handed out: what `aquila check --live` wants to know of an integration.
//!
//! They go the same way out, under the same bounds, and a login among them passes the gates of every login. What the
//! answers mean is not here but in `walk/`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::time::Instant;
use url::Url;

use super::endpoint::Reply;
use super::errand::Terms;
use super::mint_error::MintError;
use super::printable::blot_out;
use super::{Grant, Integration, Setting};
use crate::config;
use crate::keys::Thumbprint;

/// The versions of the API: a small resource that Salesforce shows to everybody.
const OPEN_PATH: &str = "/services/data/";

/// What a login may take; more time is not given to its signature alone.
const TRIAL: Duration = Duration::from_secs(9);

impl Integration {
    /// Asks the host of the token endpoint for what it shows to everybody, and measures its clock by the answer. No
    /// login, no token.
    pub async fn knock(&self, deadline: Instant) -> Result<Reply, MintError> {
        let reply =
            self.surroundings.way_out.look(elsewhere(&self.settings.token_url, OPEN_PATH, None), deadline).await?;
        self.skew.measure(reply.date, self.surroundings.clock.timestamp());
        Ok(reply)
    }

    /// Whether the token host is asked through the egress proxy, unless its exceptions name it.
    pub fn asks_by_proxy(&self) -> bool {
        self.surroundings.way_out.goes_by_proxy(&self.settings.token_url)
    }

    /// Signs a text that is no assertion with each key: proof that it can be used.
    pub async fn try_keys(&self) -> Vec<(Setting, Result<Thumbprint, MintError>)> {
        let mut tried = Vec::new();
        for key in self.rotation.keys().all() {
            let signed = self.signature(&key, b"aquila: a trial signature", Instant::now() + TRIAL).await;
            tried.push((key.setting, signed.map(|_| key.signer.thumbprint().clone())));
        }
        tried
    }

    /// One login, as the service makes it: within circuit and budget, and with one more try where that may help.
    pub async fn log_in(&self, deadline: Instant) -> Result<Grant, MintError> {
        self.mint(Terms::alone(deadline)).await
    }

    /// The same without another try.
    pub async fn log_in_once(&self, deadline: Instant) -> Result<Grant, MintError> {
        self.attempt(&self.rotation.current(), Terms::alone(deadline)).await
    }

    /// The same integration with another token endpoint and audience. Whoever names them has to have checked the host.
    pub fn with_pair(&self, token_url: Url, audience_url: String) -> Self {
        let settings = config::Integration { token_url, audience_url, ..self.settings.clone() };
        Self::new(settings, self.rotation.keys(), self.surroundings.clone())
    }

    /// Requests to the token endpoint so far, by this value.
    pub fn logins_made(&self) -> u32 {
        self.logins.load(Ordering::Relaxed)
    }

    /// Asks the org with a token. `path` and `query` stay on the host that the token was granted for.
    pub async fn ask(
        &self,
        grant: &Grant,
        path: &str,
        query: Option<(&str, &str)>,
        deadline: Instant,
    ) -> Result<Reply, MintError> {
        let url = elsewhere(&grant.instance_url, path, query);
        let reply = self.surroundings.way_out.get(url, &grant.token, deadline).await?;
        Ok(self.discreet(reply))
    }

    /// The same for what may be long: its first `most` bytes.
    pub async fn ask_for_begin(
        &self,
        grant: &Grant,
        path: &str,
        most: usize,
        deadline: Instant,
    ) -> Result<Reply, MintError> {
        let url = elsewhere(&grant.instance_url, path, None);
        let reply = self.surroundings.way_out.get_begin(url, &grant.token, most, deadline).await?;
        Ok(self.discreet(reply))
    }

    /// An answer without the app's secret, should the other side repeat it: of answers, words come into logs and tables.
    pub(super) fn discreet(&self, mut reply: Reply) -> Reply {
        if let Some(secret) = &self.settings.client_secret {
            blot_out(&mut reply.body, secret.expose_secret());
        }
        reply
    }
}

/// Another resource of the same host.
fn elsewhere(url: &Url, path: &str, query: Option<(&str, &str)>) -> Url {
    let mut url = url.clone();
    url.set_path(path);
    url.set_query(None);
    if let Some((name, value)) = query {
        url.query_pairs_mut().append_pair(name, value);
    }
    url
}
