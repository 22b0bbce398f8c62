//! One token: found by its label, logged in once, with a few sessions that sign at the same time.
//!
//! The link to it may break at any time (it was pulled, a daemon restarted, somebody logged it out). Then whoever
//! notices makes a new one, once. A PIN that was refused is not tried again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use super::fault::HsmError;
use super::module::{Call, Module};
use super::object::{self, Public};
use super::open::{HsmKey, digest_info};

/// Signatures that are made at the same time, and so threads that a token can block.
const AT_ONCE: usize = 4;
/// For how long it waits for signatures to end before it logs in with another PIN.
const FOR_THE_LAST: Duration = Duration::from_secs(3);
/// PINs that were refused, remembered.
const MOST_REFUSED: usize = 8;

/// A token that keys need.
pub(super) struct Token {
    module: Arc<Module>,
    label: String,
    /// Who signs has one. Whoever waits for one blocks no thread.
    pub(super) seats: Arc<Semaphore>,
    /// Taken after the right to call the library, never before it.
    state: Mutex<State>,
    /// Keys that were opened, by label.
    keys: Mutex<HashMap<String, Weak<HsmKey>>>,
}

#[derive(Default)]
struct State {
    /// The one that is to open it.
    pin: Option<SecretString>,
    refused: Vec<(SecretString, HsmError)>,
    link: Option<Link>,
    links: u64,
}

/// A login that holds, as far as is known.
struct Link {
    number: u64,
    life: u64,
    slot: Slot,
    /// Open all the time: with the last session of a process its login ends. Keys are looked up with it.
    keeper: Session,
    idle: Vec<Session>,
    mechanism: How,
    found: HashMap<String, ObjectHandle>,
}

/// How the token makes an RS256 signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// It does all of it.
    Whole,
    /// The hash is made here, and it signs that.
    HashedHere,
}

/// What one signature needs.
struct Desk {
    link: u64,
    life: u64,
    session: Session,
    object: ObjectHandle,
    how: How,
}

impl Token {
    pub(super) fn new(module: Arc<Module>, label: &str) -> Self {
        Self {
            module,
            label: label.to_owned(),
            seats: Arc::new(Semaphore::new(AT_ONCE)),
            state: Mutex::default(),
            keys: Mutex::default(),
        }
    }

    /// Its key of this label, for who knows the PIN. One that was opened before is not asked for again: while an HSM is
    /// down, a new configuration that changes nothing about its keys can be put in force.
    pub(super) fn open(self: &Arc<Self>, pin: &SecretString, label: &str) -> Result<Arc<HsmKey>, HsmError> {
        self.admit(pin)?;
        if let Some(key) = self.keys().get(label).and_then(Weak::upgrade) {
            return Ok(key);
        }
        let public = self.over_a_link(|call, state| {
            let link = self.linked(call, state)?;
            let (object, public) = object::find(&link.keeper, label)?;
            link.found.insert(label.to_owned(), object);
            Ok(public)
        })?;
        let key = HsmKey::new(Arc::clone(self), label, public)?;
        key.prove()?;
        let key = Arc::new(key);
        self.keys().insert(label.to_owned(), Arc::downgrade(&key));
        Ok(key)
    }

    /// The signature of its key of this label, whose public half must be the one that it was.
    pub(super) fn sign(&self, label: &str, public: &Public, message: &[u8]) -> Result<Vec<u8>, HsmError> {
        let once = || {
            let desk = self.over_a_link(|call, state| self.desk(call, state, label, public))?;
            self.sign_at(desk, message)
        };
        let is_lost = |signed: &Result<_, _>| matches!(signed, Err(HsmError::Lost(_)));
        let mut signed = once();
        if is_lost(&signed) {
            signed = once();
        }
        // There are libraries that open sessions and do nothing with them, until they are made to look again.
        if is_lost(&signed) && self.module.restart() {
            signed = once();
        }
        signed
    }

    /// Forgets refused PINs and what was opened: it may be another one by now.
    pub(super) fn forgive(&self) {
        self.keys().clear();
        self.lock().refused.clear();
    }

    /// Whether it is logged in, and nobody is busy with it.
    pub(super) fn is_logged_in(&self) -> bool {
        self.state.try_lock().is_ok_and(|state| state.link.is_some())
    }

    /// Logs out: no key needs it any more. Not on drop, for whoever drops the last key may be a thread that serves, or the
    /// process may be ending, and with it the library.
    pub(super) fn leave(&self) {
        let call = self.module.call();
        if let Some(link) = self.lock().link.take().filter(|link| link.life == call.life()) {
            link.close();
        }
    }

    /// Takes note of the PIN. One that differs from the one in use is tried at once, with nobody signing: else nobody
    /// would hear of a mistake in it before the next time that the link breaks.
    fn admit(&self, pin: &SecretString) -> Result<(), HsmError> {
        {
            let mut state = self.lock();
            if let Some((_, error)) = state.refused.iter().find(|(refused, _)| same(refused, pin)) {
                return Err(error.clone());
            }
            match &state.pin {
                Some(known) if same(known, pin) => return Ok(()),
                // Nobody is logged in by the other one.
                _ if state.link.is_none() => {
                    state.pin = Some(pin.clone());
                    return Ok(());
                }
                _ => {}
            }
        }
        self.module
            .alone(FOR_THE_LAST, |context, life| self.exchange(context, life, pin))
            .unwrap_or_else(|| Err(HsmError::NoAnswer(FOR_THE_LAST.as_secs())))
    }

    fn exchange(&self, context: &Pkcs11, life: u64, pin: &SecretString) -> Result<(), HsmError> {
        let mut state = self.lock();
        let before = state.pin.replace(pin.clone());
        if let Some(link) = state.link.take().filter(|link| link.life == life) {
            let _ = link.keeper.logout();
            link.close();
        }
        let exchanged = self.connect(context, life, &mut state);
        if exchanged.is_err() {
            state.pin = before;
            // The one that was good a moment ago. If not, the next signature finds out.
            let _ = self.connect(context, life, &mut state);
        }
        exchanged
    }

    /// Does `work` with the library. If the way to the token proves lost, once more over a new one, and once more after
    /// the library was made to look again.
    fn over_a_link<T>(
        &self,
        mut work: impl FnMut(&Call<'_>, &mut State) -> Result<T, HsmError>,
    ) -> Result<T, HsmError> {
        let mut once = || {
            let call = self.module.call();
            let mut state = self.lock();
            let done = work(&call, &mut state);
            if let (Err(HsmError::Lost(_)), Some(link)) = (&done, &state.link) {
                let number = link.number;
                cut(&mut state, number, &call);
            }
            done
        };
        let mut done = once();
        if matches!(done, Err(HsmError::Lost(_))) {
            done = once();
        }
        if done.as_ref().err().is_some_and(HsmError::may_pass) && self.module.restart() {
            done = once();
        }
        done
    }

    /// The link at hand, or a new one.
    fn linked<'a>(&self, call: &Call<'_>, state: &'a mut State) -> Result<&'a mut Link, HsmError> {
        if state.link.as_ref().is_none_or(|link| link.life != call.life()) {
            state.link = None;
            self.connect(call.context(), call.life(), state)?;
        }
        state.link.as_mut().ok_or_else(|| HsmError::Lost("there is no session".to_owned()))
    }

    fn connect(&self, context: &Pkcs11, life: u64, state: &mut State) -> Result<(), HsmError> {
        let Some(pin) = state.pin.clone() else { return Err(HsmError::PinNotSet) };
        if let Some((_, error)) = state.refused.iter().find(|(refused, _)| same(refused, &pin)) {
            return Err(error.clone());
        }
        let slot = self.slot(context)?;
        let how = how(context, slot)?;
        // Closed by hand: after a restart of the library its number may be that of a new session.
        let keeper = context.open_ro_session_no_drop(slot)?;
        if let Err(error) = log_in(context, slot, &keeper, &pin) {
            let _ = keeper.close();
            if !error.may_pass() {
                tracing::error!(hsm.token = self.label, %error, remedy = error.remedy(), "the HSM does not let us in, and is not asked again with this PIN");
                state.refused.truncate(MOST_REFUSED - 1);
                state.refused.insert(0, (pin, error.clone()));
            }
            return Err(error);
        }
        state.links += 1;
        if state.links > 1 {
            tracing::info!(hsm.token = self.label, "logged in to the HSM again");
        }
        let (number, idle, found) = (state.links, Vec::new(), HashMap::new());
        state.link = Some(Link { number, life, slot, keeper, idle, mechanism: how, found });
        Ok(())
    }

    /// Where the token is now; it may be put into another slot.
    fn slot(&self, context: &Pkcs11) -> Result<Slot, HsmError> {
        let (mut labels, mut found) = (Vec::new(), Vec::new());
        for slot in context.get_slots_with_token()? {
            // One that is pulled just now is none.
            let Ok(info) = context.get_token_info(slot) else { continue };
            if !info.token_initialized() {
                continue;
            }
            if info.label() == self.label {
                found.push((slot, info));
            } else {
                labels.push(info.label().to_owned());
            }
        }
        match (found.pop(), found.len()) {
            (None, _) => Err(HsmError::NoToken(labels)),
            (Some((slot, _)), 0) => Ok(slot),
            (Some(_), others) => Err(HsmError::SeveralTokens(others + 1)),
        }
    }

    fn desk(&self, call: &Call<'_>, state: &mut State, label: &str, public: &Public) -> Result<Desk, HsmError> {
        let link = self.linked(call, state)?;
        let object = match link.found.get(label) {
            Some(object) => *object,
            None => {
                let (object, found) = object::find(&link.keeper, label)?;
                if found != *public {
                    self.keys().remove(label);
                    return Err(HsmError::KeyChanged);
                }
                link.found.insert(label.to_owned(), object);
                object
            }
        };
        let session = match link.idle.pop() {
            Some(session) => session,
            None => call.context().open_ro_session_no_drop(link.slot)?,
        };
        Ok(Desk { link: link.number, life: link.life, session, object, how: link.mechanism })
    }

    /// Without the lock: this is what takes time.
    fn sign_at(&self, desk: Desk, message: &[u8]) -> Result<Vec<u8>, HsmError> {
        let call = self.module.call();
        let Desk { link: number, life, session, object, how } = desk;
        // The library was restarted since the desk was laid out: its session is nobody's, or somebody else's.
        if life != call.life() {
            return Err(HsmError::Lost("the session is over".to_owned()));
        }
        let signed = match how {
            How::Whole => session.sign(&Mechanism::Sha256RsaPkcs, object, message),
            How::HashedHere => session.sign(&Mechanism::RsaPkcs, object, &digest_info(message)),
        };
        let signed = signed.map_err(HsmError::from);
        let mut state = self.lock();
        match (&signed, &mut state.link) {
            (Ok(_), Some(link)) if link.number == number => link.idle.push(session),
            (Err(HsmError::Lost(_)), _) => {
                drop(session.close());
                cut(&mut state, number, &call);
            }
            // An operation may have stayed open in it.
            _ => drop(session.close()),
        }
        if let Err(error @ HsmError::Lost(_)) = &signed {
            tracing::warn!(hsm.token = self.label, %error, "the session with the HSM broke off");
        }
        signed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<String, Weak<HsmKey>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives up the link of this number, if it is still in use.
fn cut(state: &mut State, number: u64, call: &Call<'_>) {
    if let Some(link) = state.link.take_if(|link| link.number == number)
        && link.life == call.life()
    {
        link.close();
    }
}

impl Link {
    fn close(self) {
        for session in self.idle {
            let _ = session.close();
        }
        let _ = self.keeper.close();
    }
}

fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

/// Logs in, but not where one more mistake would lock the token.
fn log_in(context: &Pkcs11, slot: Slot, session: &Session, pin: &SecretString) -> Result<(), HsmError> {
    let info = context.get_token_info(slot)?;
    let barred = [
        (info.user_pin_locked(), HsmError::PinLocked),
        (info.user_pin_final_try(), HsmError::PinLastTry),
        (!info.user_pin_initialized(), HsmError::PinNotSet),
    ];
    if let Some((_, error)) = barred.into_iter().find(|(is_so, _)| *is_so) {
        return Err(error);
    }
    match session.login(UserType::User, Some(pin)) {
        // All sessions of a process share one login.
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn how(context: &Pkcs11, slot: Slot) -> Result<How, HsmError> {
    let mechanisms = context.get_mechanism_list(slot)?;
    let signs = |kind: MechanismType| {
        mechanisms.contains(&kind) && context.get_mechanism_info(slot, kind).is_ok_and(|info| info.sign())
    };
    match (signs(MechanismType::SHA256_RSA_PKCS), signs(MechanismType::RSA_PKCS)) {
        (true, _) => Ok(How::Whole),
        (false, true) => Ok(How::HashedHere),
        (false, false) => Err(HsmError::NoMechanism),
    }
}
