//! What one replica hands to the others of an integration: a token with its promise, or a failure that holds for all.
//!
//! The texts live in memory that is wiped; that nobody else can read or make them is the store's job. Taken over is only
//! what this replica could have brought itself: made by a replica that has one of our keys, for a host that is trusted
//! here.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::cause::Cause;
use super::mint_error::MintError;
use super::reply::{plain, without_trimmings};
use super::{Grant, Integration, Vouched, jitter};
use crate::promise::{LifetimeSource, Promise, Terms};
use crate::token::AccessToken;

// No Debug: it holds a token in plain.
#[derive(Serialize, Deserialize)]
struct TokenForm<'a> {
    /// Without escapes, or it could not be borrowed and a copy would stay behind unwiped. No token has any.
    token: &'a str,
    #[serde(borrow)]
    instance_url: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    issued_at: Option<Cow<'a, str>>,
    #[serde(borrow)]
    site_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    site_id: Option<Cow<'a, str>>,
    minted_at: i64,
    /// By the clock that all replicas have in common.
    ends_us: u64,
    /// What was left when this was written.
    left_ms: u64,
    lasts_ms: u64,
    #[serde(borrow)]
    source: Cow<'a, str>,
    grows: bool,
    /// Of the writer, by thumbprint.
    #[serde(borrow)]
    keys: Vec<Cow<'a, str>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FailureForm<'a> {
    #[serde(borrow)]
    cause: Cow<'a, str>,
    #[serde(borrow)]
    detail: Cow<'a, str>,
    streak: u32,
    retry_at_us: u64,
    /// How long it was until then when this was written.
    pause_ms: u64,
    #[serde(borrow)]
    keys: Vec<Cow<'a, str>>,
}

impl Integration {
    /// A token as it is handed over; its promise ends at `ends_us` by the common clock.
    pub fn write_token(&self, vouched: &Vouched, ends_us: u64) -> Option<Zeroizing<Vec<u8>>> {
        let Vouched { grant, promise, minted_at } = vouched;
        let keys = self.thumbprints();
        let terms = promise.terms();
        write(&TokenForm {
            token: grant.token.expose(),
            instance_url: grant.instance_url.as_str().into(),
            id: grant.id.as_deref().map(Cow::from),
            issued_at: grant.issued_at.as_deref().map(Cow::from),
            site_url: grant.site_url.as_deref().map(Cow::from),
            site_id: grant.site_id.as_deref().map(Cow::from),
            minted_at: *minted_at,
            ends_us,
            left_ms: millis(promise.remaining(self.surroundings.clock.now())),
            lasts_ms: millis(terms.lasts),
            source: terms.source.as_str().into(),
            grows: terms.grows,
            keys: keys.iter().map(|key| key.as_str().into()).collect(),
        })
    }

    /// A token that another replica handed over, if it may be taken. `left` says what is left until a time of the common
    /// clock.
    pub fn read_token(&self, content: &[u8], left: impl FnOnce(u64) -> Duration) -> Option<Vouched> {
        let form: TokenForm<'_> = serde_json::from_slice(content).ok()?;
        let own = self.thumbprints();
        if !form.keys.iter().any(|theirs| own.iter().any(|ours| theirs == ours)) {
            return None;
        }
        let instance_url = Url::parse(&form.instance_url).ok().map(without_trimmings).filter(|url| self.trusts(url))?;
        let token = AccessToken::parse(form.token.to_owned())?;
        // By the rules of a response: these go on to callers, too.
        let text = |text: Option<Cow<'_, str>>| plain(text.map(Cow::into_owned)).ok();
        let terms = Terms {
            lasts: Duration::from_millis(form.lasts_ms),
            source: LifetimeSource::of_str(&form.source)?,
            grows: form.grows,
        };
        let left = no_more_than(form.left_ms, left(form.ends_us))?;
        let promise = Promise::taken_over(terms, left, self.surroundings.clock.now(), jitter());
        let grant = Grant {
            token,
            instance_url,
            id: self.trusted_only("id", text(form.id)?),
            issued_at: text(form.issued_at)?,
            site_url: self.trusted_only("sfdc_site_url", text(form.site_url)?),
            site_id: text(form.site_id)?,
            // The promise has it.
            expires_in: None,
        };
        Some(Vouched { grant: Arc::new(grant), promise, minted_at: form.minted_at })
    }

    /// A failure as it is handed over: the `streak`-th in a row, over after `pause`, at `retry_at_us` by the common clock.
    pub fn write_failure(
        &self,
        error: &MintError,
        streak: u32,
        (pause, retry_at_us): (Duration, u64),
    ) -> Option<Zeroizing<Vec<u8>>> {
        let keys = self.thumbprints();
        write(&FailureForm {
            cause: error.cause.code().into(),
            detail: error.detail.as_str().into(),
            streak,
            retry_at_us,
            pause_ms: millis(pause),
            keys: keys.iter().map(|key| key.as_str().into()).collect(),
        })
    }

    /// A failure that another replica handed over, which has to be kept for as long as it says. A bad signature is one for us, too, if all of our keys are among the writer's.
    pub fn read_failure(&self, content: &[u8], left: impl FnOnce(u64) -> Duration) -> Option<MintError> {
        let form: FailureForm<'_> = serde_json::from_slice(content).ok()?;
        let (cause, own) = (Cause::of_code(&form.cause)?, self.thumbprints());
        let is_theirs = |ours: &String| form.keys.iter().any(|theirs| theirs == ours);
        let concerns_us = match cause {
            Cause::BadAssertion => own.iter().all(is_theirs),
            _ => own.iter().any(is_theirs),
        };
        if !concerns_us {
            return None;
        }
        let left = no_more_than(form.pause_ms, left(form.retry_at_us)).unwrap_or_default();
        let error = MintError::new(cause, &form.detail).not_before(Some(left));
        Some(MintError { second_hand: Some(form.streak), ..error })
    }

    fn thumbprints(&self) -> Vec<String> {
        self.rotation.told().into_iter().map(|key| key.thumbprint.as_str().to_owned()).collect()
    }
}

/// `left`, unless it is more than when that was written: then the common clock was set back, and nobody knows for how long
/// it stood there.
fn no_more_than(written_ms: u64, left: Duration) -> Option<Duration> {
    (left <= Duration::from_millis(written_ms).saturating_add(ROUNDING)).then_some(left)
}

/// Clocks are read one after the other.
const ROUNDING: Duration = Duration::from_secs(1);

/// In memory that is wiped: measured first, so that it never grows and leaves nothing behind.
fn write(form: &impl Serialize) -> Option<Zeroizing<Vec<u8>>> {
    let mut length = Length(0);
    serde_json::to_writer(&mut length, form).ok()?;
    let mut content = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *content, form).ok()?;
    Some(content)
}

struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0 += text.len();
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
