//! The keys of an integration: the one in use, and the next one while the certificate of the app is changed.
//!
//! Salesforce takes one certificate for an app and needs minutes to apply a new one, so there is no moment at which the
//! operator could change the key. With two keys there need not be: when the one in use is refused as a bad signature, the
//! other is tried in the same flight, and remembered if it is taken. The way back is the same way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::Moment;
use crate::keys::{Signer, Thumbprint};

/// The keys of one integration, as they are configured.
#[derive(Debug, Clone)]
pub struct Keys {
    /// `client_key_…`.
    pub first: Arc<dyn Signer>,
    /// `next_key_…`, another one.
    pub next: Option<Arc<dyn Signer>>,
}

/// What configured a key. The wire names stand in `/status.json` and the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// `client_key_…`.
    ClientKey,
    /// `next_key_…`.
    NextKey,
}

/// What is told of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTold {
    /// What configured it.
    pub setting: Setting,
    /// Which one it is.
    pub thumbprint: Thumbprint,
    /// Whether the next login is tried with it first.
    pub in_use: bool,
    /// When Salesforce last took a login with it.
    pub accepted: Option<Moment>,
    /// When Salesforce last refused its signature.
    pub refused: Option<Moment>,
}

/// The keys in force, and what is known of them.
#[derive(Debug)]
pub(super) struct Rotation {
    keys: ArcSwap<Keys>,
    /// Shared with the generations before and after, as long as they have a key in common.
    known: Arc<Mutex<Known>>,
}

/// By thumbprint and not by setting: a next key that becomes the first is the same key.
#[derive(Debug, Default)]
struct Known {
    in_use: Option<Thumbprint>,
    /// When it was another one's turn.
    turned: Option<Moment>,
    /// The newest first.
    seen: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    key: Thumbprint,
    accepted: Option<Moment>,
    refused: Option<Moment>,
}

/// A key on its way to a login.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) signer: Arc<dyn Signer>,
    pub(super) setting: Setting,
}

/// The least pause after a refusal: the other key gets one try in a pause, whatever starts the flights.
const TURNS_APART: Duration = Duration::from_secs(5);
/// Two keys, and the two before them.
const MOST_SEEN: usize = 4;

impl Setting {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientKey => "client_key",
            Self::NextKey => "next_key",
        }
    }
}

impl Keys {
    pub(super) fn all(&self) -> impl Iterator<Item = Chosen> {
        let first = Chosen { signer: Arc::clone(&self.first), setting: Setting::ClientKey };
        let next = self.next.as_ref().map(|next| Chosen { signer: Arc::clone(next), setting: Setting::NextKey });
        std::iter::once(first).chain(next)
    }

    fn holds(&self, key: &Thumbprint) -> bool {
        self.all().any(|chosen| chosen.signer.thumbprint() == key)
    }
}

impl Rotation {
    pub(super) fn new(keys: Keys) -> Self {
        Self { keys: ArcSwap::from_pointee(keys), known: Arc::default() }
    }

    /// Goes on with what `previous` knows.
    pub(super) fn learn_from(&mut self, previous: &Self) {
        self.known = Arc::clone(&previous.known);
    }

    /// Whether the two have a key in common: then the operator said that the keys of both are keys of one app.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let keys = self.keys.load();
        other.keys.load().all().any(|key| keys.holds(key.signer.thumbprint()))
    }

    /// From now on these are the keys of `next`; says whether that is a change. A flight that is under way signs with
    /// none that is gone.
    pub(super) fn hand_over(&self, next: &Self) -> bool {
        let before = self.keys.swap(next.keys.load_full());
        let thumbprints = |keys: &Keys| keys.all().map(|key| key.signer.thumbprint().clone()).collect::<Vec<_>>();
        let changed = thumbprints(&before) != thumbprints(&next.keys.load());
        if changed {
            self.forgive();
        }
        changed
    }

    /// The keys in force.
    pub(super) fn keys(&self) -> Keys {
        self.keys.load().as_ref().clone()
    }

    /// Whether the key is still one of them.
    pub(super) fn holds(&self, key: &Chosen) -> bool {
        self.keys.load().holds(key.signer.thumbprint())
    }

    /// The key that the next login begins with: the one that was taken last, or the first.
    pub(super) fn current(&self) -> Chosen {
        let keys = self.keys.load();
        let in_use = self.known().in_use.clone();
        let known = keys.all().find(|key| Some(key.signer.thumbprint()) == in_use.as_ref());
        known.unwrap_or_else(|| Chosen { signer: Arc::clone(&keys.first), setting: Setting::ClientKey })
    }

    /// The other key, after `refused` was: if there is one, and it was not its turn a moment ago.
    pub(super) fn turn(&self, refused: &Chosen, now: Moment) -> Option<Chosen> {
        let other = self.keys.load().all().find(|key| key.signer.thumbprint() != refused.signer.thumbprint())?;
        let mut known = self.known();
        if known.turned.is_some_and(|at| now.since(at) < TURNS_APART) {
            return None;
        }
        known.turned = Some(now);
        Some(other)
    }

    /// Salesforce took a login with this key. Says whether that is another key than before.
    pub(super) fn accepted(&self, key: &Chosen, now: Moment) -> bool {
        let thumbprint = key.signer.thumbprint();
        let mut known = self.known();
        known.note(thumbprint, |seen| seen.accepted = Some(now));
        let before = known.in_use.replace(thumbprint.clone());
        match before {
            Some(before) => before != *thumbprint,
            None => key.setting == Setting::NextKey,
        }
    }

    /// Salesforce refused a signature of this key.
    pub(super) fn refused(&self, key: &Chosen, now: Moment) {
        self.known().note(key.signer.thumbprint(), |seen| seen.refused = Some(now));
    }

    /// The other key may be tried at once.
    pub(super) fn forgive(&self) {
        self.known().turned = None;
    }

    /// What is known of each key.
    pub(super) fn told(&self) -> Vec<KeyTold> {
        let current = self.current();
        let known = self.known();
        let told = |key: Chosen| {
            let seen = known.seen.iter().find(|seen| seen.key == *key.signer.thumbprint());
            KeyTold {
                setting: key.setting,
                thumbprint: key.signer.thumbprint().clone(),
                in_use: key.signer.thumbprint() == current.signer.thumbprint(),
                accepted: seen.and_then(|seen| seen.accepted),
                refused: seen.and_then(|seen| seen.refused),
            }
        };
        self.keys.load().all().map(told).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Changes what is known of a key.
    fn note(&mut self, key: &Thumbprint, what: impl FnOnce(&mut Seen)) {
        let at = self.seen.iter().position(|seen| seen.key == *key);
        let fresh = || Seen { key: key.clone(), accepted: None, refused: None };
        let mut seen = at.map_or_else(fresh, |at| self.seen.remove(at));
        what(&mut seen);
        self.seen.insert(0, seen);
        self.seen.truncate(MOST_SEEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use base64::prelude::*;
    use std::sync::OnceLock;

    const START: Moment = Moment::from_bits(1_000_000_000_000);

    fn at(seconds: u64) -> Moment {
        START.after(Duration::from_secs(seconds))
    }

    /// Three keys that differ.
    fn key(number: usize) -> Arc<dyn Signer> {
        static KEYS: OnceLock<[Arc<dyn Signer>; 3]> = OnceLock::new();
        let made = || -> Arc<dyn Signer> {
            let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
            let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
            let body = BASE64_STANDARD.encode(der.as_ref());
            let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
            Arc::new(keys::parse(pem.as_bytes(), &keys::Unlock::default()).unwrap().key)
        };
        Arc::clone(&KEYS.get_or_init(|| [made(), made(), made()])[number])
    }

    fn rotation(first: usize, next: Option<usize>) -> Rotation {
        Rotation::new(Keys { first: key(first), next: next.map(key) })
    }

    fn is(chosen: &Chosen, number: usize) -> bool {
        chosen.signer.thumbprint() == key(number).thumbprint()
    }

    #[test]
    fn the_other_key_has_one_turn_in_a_pause_and_the_one_that_is_taken_stays() {
        let rotation = rotation(0, Some(1));
        let first = rotation.current();
        assert!(is(&first, 0) && !rotation.accepted(&first, at(0)));
        rotation.refused(&first, at(10));
        let next = rotation.turn(&first, at(10)).unwrap();
        assert!(is(&next, 1) && rotation.turn(&first, at(14)).is_none());
        // Refused as well: the next flight begins with the same key as before.
        rotation.refused(&next, at(10));
        assert!(is(&rotation.current(), 0));
        let next = rotation.turn(&first, at(15)).unwrap();
        assert!(rotation.accepted(&next, at(15)) && !rotation.accepted(&next, at(16)));
        assert!(is(&rotation.current(), 1));
        // The way back.
        let back = rotation.turn(&next, at(100)).unwrap();
        assert!(is(&back, 0) && rotation.accepted(&back, at(100)) && is(&rotation.current(), 0));
    }

    #[test]
    fn without_another_key_there_is_no_turn() {
        let alone = rotation(0, None);
        assert!(alone.turn(&alone.current(), at(0)).is_none());
    }

    #[test]
    fn what_is_known_of_a_key_stays_with_it_when_it_is_promoted() {
        let both = rotation(0, Some(1));
        let next = both.turn(&both.current(), at(0)).unwrap();
        both.accepted(&next, at(0));
        for (first, other) in [(1, None), (1, Some(2)), (0, Some(1))] {
            let mut successor = rotation(first, other);
            assert!(successor.overlaps(&both));
            successor.learn_from(&both);
            assert!(is(&successor.current(), 1), "{first} {other:?}");
        }
        assert!(!rotation(2, None).overlaps(&both));
    }

    #[test]
    fn a_key_that_is_gone_is_held_no_more_by_flights_that_are_under_way() {
        let (both, promoted) = (rotation(0, Some(1)), rotation(1, None));
        let old = both.current();
        assert!(both.holds(&old));
        assert!(both.hand_over(&promoted));
        assert!(!both.holds(&old) && is(&both.current(), 1));
        assert!(!both.hand_over(&rotation(1, None)));
    }
}
