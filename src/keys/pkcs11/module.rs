//! The PKCS#11 library of an HSM: loaded and initialized once in a process, whoever names it.
//!
//! Initializing one twice is undefined, and so is finalizing it while a call is under way, so every call goes through
//! here. Nothing is finalized at the end of the process or on a reload, only to find again what a library has lost.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use tokio::time::Instant;

use super::fault::HsmError;
use super::token::Token;

/// A library that is in use.
pub(super) struct Module {
    context: Pkcs11,
    calls: Mutex<Calls>,
    idle: Condvar,
    /// By label.
    tokens: Mutex<HashMap<String, Arc<Token>>>,
}

#[derive(Default)]
struct Calls {
    under_way: usize,
    /// Counts its lives: what was opened in an earlier one is gone.
    life: u64,
    restarted: Option<Instant>,
}

/// A call that is under way.
pub(super) struct Call<'a> {
    module: &'a Module,
    life: u64,
}

/// Between two restarts: a token that is really gone must not disturb the others of its library all the time.
const RESTARTS_APART: Duration = Duration::from_secs(10);

/// One for each library and process, however many generations and tests there are: that is what the library itself is.
static LOADED: Mutex<Option<HashMap<PathBuf, Place>>> = Mutex::new(None);

type Place = Arc<Mutex<Option<Arc<Module>>>>;

impl Module {
    /// The library at `path`.
    pub(super) fn at(path: &Path) -> Result<Arc<Self>, HsmError> {
        let path = path.canonicalize().map_err(|_| HsmError::ModuleMissing)?;
        if !path.is_file() {
            return Err(HsmError::ModuleMissing);
        }
        let place = {
            let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(loaded.get_or_insert_default().entry(path.clone()).or_default())
        };
        // A library that takes its time keeps only those waiting who want that one.
        let mut module = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = &*module {
            return Ok(Arc::clone(module));
        }
        let context = Pkcs11::new(&path).map_err(|error| match error {
            Error::LibraryLoading(reason) => HsmError::ModuleUnloadable(reason.to_string()),
            Error::MissingSymbol(_) => HsmError::NotAModule,
            other => HsmError::from(other),
        })?;
        initialize(&context)?;
        let fresh = Arc::new(Self { context, calls: Mutex::default(), idle: Condvar::new(), tokens: Mutex::default() });
        *module = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    /// All that are loaded.
    pub(super) fn all() -> Vec<Arc<Self>> {
        let loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let places: Vec<Place> = loaded.iter().flat_map(HashMap::values).map(Arc::clone).collect();
        drop(loaded);
        // One that is being loaded has nothing yet.
        places.iter().filter_map(|place| place.try_lock().ok()?.as_ref().map(Arc::clone)).collect()
    }

    /// Its token of this label.
    pub(super) fn token(self: &Arc<Self>, label: &str) -> Arc<Token> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tokens.entry(label.to_owned()).or_insert_with(|| Arc::new(Token::new(Arc::clone(self), label))))
    }

    /// The tokens that were in use.
    pub(super) fn tokens(&self) -> Vec<Arc<Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }

    /// Tokens that no key needs any more; they are forgotten here. Those that let nobody in are not: what they refused is
    /// not to be tried again.
    pub(super) fn needless(&self) -> Vec<Arc<Token>> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let needless = tokens.extract_if(|_, token| Arc::strong_count(token) == 1 && token.is_logged_in());
        needless.map(|(_, token)| token).collect()
    }

    /// The right to call it.
    pub(super) fn call(&self) -> Call<'_> {
        let mut calls = self.lock();
        calls.under_way += 1;
        Call { module: self, life: calls.life }
    }

    /// Does `work` while nobody calls it, or nothing when calls do not end `within` that time.
    pub(super) fn alone<T>(&self, within: Duration, work: impl FnOnce(&Pkcs11, u64) -> T) -> Option<T> {
        let calls = self.quiet(within)?;
        let (context, life) = (&self.context, calls.life);
        Some(work(context, life))
    }

    /// Finalizes and initializes it, which has some libraries find again what they had lost. Says whether that was done:
    /// not while somebody calls it, and not all the time.
    pub(super) fn restart(&self) -> bool {
        let Some(mut calls) = self.quiet(Duration::from_millis(100)) else { return false };
        let now = Instant::now();
        if calls.restarted.is_some_and(|at| now.duration_since(at) < RESTARTS_APART) {
            return false;
        }
        (calls.restarted, calls.life) = (Some(now), calls.life + 1);
        let ended = self.context.clone().finalize();
        let begun = initialize(&self.context);
        tracing::debug!(?ended, ?begun, "a PKCS#11 library was initialized anew");
        begun.is_ok()
    }

    fn quiet(&self, within: Duration) -> Option<MutexGuard<'_, Calls>> {
        let waited = self.idle.wait_timeout_while(self.lock(), within, |calls| calls.under_way > 0);
        let (calls, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        (!timeout.timed_out()).then_some(calls)
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn initialize(context: &Pkcs11) -> Result<(), HsmError> {
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // By another part of this process: it is ours to use all the same.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Call<'_> {
    /// The library.
    pub(super) fn context(&self) -> &Pkcs11 {
        &self.module.context
    }

    /// Which life of the library it belongs to.
    pub(super) fn life(&self) -> u64 {
        self.life
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.module.lock().under_way -= 1;
        self.module.idle.notify_all();
    }
}
