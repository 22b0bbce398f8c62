//! All the keys of a configuration, opened at once.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use secrecy::{ExposeSecret, SecretString};

use super::error::Concern;
use super::pkcs11::fault::Part;
use super::{Certificate, HsmError, KeyError, Note, Signer, Unlock, certificate, parse, pkcs11};
use crate::config::report::{Located, Report};
use crate::config::source;
use crate::config::{Key, KeyFile, KeyHolder, TokenKey, show};
use crate::hash::sha256;

/// The keys that opened.
pub struct Opened<'a>(HashMap<Named<'a>, Open>);

/// A key that opened.
#[derive(Debug, Clone)]
struct Open {
    signer: Arc<dyn Signer>,
    certificate: Option<Certificate>,
}

/// All that a configuration says of a key: what is the same by this is opened once. It holds passwords, and has no
/// `Debug` therefore.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Named<'a> {
    holder: Holder<'a>,
    certificate: Option<&'a Path>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Holder<'a> {
    File { path: &'a Path, opening: Opening<'a> },
    Token { module: &'a Path, token: &'a str, key: &'a str, pin: &'a str },
}

/// [`Unlock`] in a form that can be compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Opening<'a> {
    password: Option<&'a str>,
    entry_password: Option<&'a str>,
    alias: Option<&'a str>,
}

impl Opened<'_> {
    /// What signs for `key`, if it is one of those that were to be opened, and opened.
    pub fn signer(&self, key: &Key) -> Option<Arc<dyn Signer>> {
        self.0.get(&Named::of(key)).map(|open| Arc::clone(&open.signer))
    }

    /// The certificate of `key`, where there is one.
    pub fn certificate(&self, key: &Key) -> Option<Certificate> {
        self.0.get(&Named::of(key)).and_then(|open| open.certificate.clone())
    }
}

impl fmt::Debug for Opened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.values()).finish()
    }
}

impl<'a> Named<'a> {
    fn of(key: &'a Key) -> Self {
        let holder = match &key.holder {
            KeyHolder::File(file) => Holder::File { path: &file.path.value, opening: Opening::of(file) },
            KeyHolder::Token(token) => {
                let TokenKey { module_path, token_label, key_label, pin } = token;
                Holder::Token {
                    module: &module_path.value,
                    token: &token_label.value,
                    key: &key_label.value,
                    pin: pin.value.expose_secret(),
                }
            }
        };
        Self { holder, certificate: key.certificate_path.as_ref().map(|located| located.value.as_path()) }
    }
}

impl<'a> Opening<'a> {
    fn of(file: &'a KeyFile) -> Self {
        let text =
            |secret: &'a Option<Located<SecretString>>| secret.as_ref().map(|located| located.value.expose_secret());
        Self {
            password: text(&file.password),
            entry_password: text(&file.entry_password),
            alias: file.alias.as_ref().map(|located| located.value.as_str()),
        }
    }
}

/// Opens keys, and reports at every place that names one whatever keeps it from opening, and what else its owner should
/// know.
///
/// Each file is read once, and each key is checked once however many files hold it (one certificate for many apps is
/// common), several at a time: checking a key costs as much as signing with it. No content is kept longer than its
/// check takes, or ten thousand of them would leave the memory in pieces.
pub fn open_all<'a>(keys: impl IntoIterator<Item = &'a Key>, report: &mut Report) -> Opened<'a> {
    let keys: Vec<(Named<'a>, &Key)> = keys.into_iter().map(|key| (Named::of(key), key)).collect();
    let mut distinct = keys.clone();
    distinct.sort_unstable_by_key(|(named, _)| *named);
    distinct.dedup_by_key(|(named, _)| *named);
    let files = Files { known: Mutex::default(), in_tokens: open_tokens(&distinct) };
    let tried = in_parallel(&distinct, |(named, key)| (*named, files.open(*named, key)));
    let tried: HashMap<Named<'a>, Tried> = tried.into_iter().collect();
    for (named, key) in keys {
        if let Some(tried) = tried.get(&named) {
            tried.tell(key, report);
        }
    }
    Opened(tried.into_iter().filter_map(|(named, tried)| Some((named, tried.open?))).collect())
}

/// Opens the keys that are in HSMs, each token by itself.
fn open_tokens<'a>(distinct: &[(Named<'a>, &'a Key)]) -> HashMap<Holder<'a>, Checked> {
    let in_tokens = |(named, key): &(Named<'a>, &'a Key)| match &key.holder {
        KeyHolder::Token(token) => Some((named.holder, token)),
        KeyHolder::File(_) => None,
    };
    let (holders, keys): (Vec<Holder<'a>>, Vec<&TokenKey>) = distinct.iter().filter_map(in_tokens).unzip();
    let opened = pkcs11::open_all(&keys).into_iter().map(|result| {
        let signer = result?;
        Ok(Held { open: Open { signer, certificate: None }, notes: Vec::new() })
    });
    holders.into_iter().zip(opened).collect()
}

/// Has what HSMs refused tried again, and their keys looked up anew: somebody says that something was changed.
pub fn forgive() {
    pkcs11::forgive();
}

/// What came of the try to open a key.
struct Tried {
    open: Option<Open>,
    errors: Vec<KeyError>,
    notes: Vec<Note>,
}

impl Tried {
    fn tell(&self, key: &Key, report: &mut Report) {
        for error in &self.errors {
            if let (KeyError::Hsm(error), KeyHolder::Token(token)) = (error, &key.holder) {
                tell_of_token(token, error, report);
                continue;
            }
            let (at, path) = place(key, error.concern());
            let message = format!("{}: {error}", show::path(&path));
            report.error(&at, message, error.remedy(&in_a_command(&path)));
        }
        for note in &self.notes {
            let (message, remedy) = note.sentence();
            report.warning(&place(key, note.concern()).0, message, remedy);
        }
    }
}

fn tell_of_token(token: &TokenKey, error: &HsmError, report: &mut Report) {
    let TokenKey { module_path, token_label, key_label, pin } = token;
    match error.part() {
        Part::Module => {
            let named = show::path(&module_path.value);
            report.error(module_path, format!("{named}: {error}"), error.remedy());
        }
        Part::Token => report.error(token_label, error.to_string(), error.remedy()),
        Part::Key => report.error(key_label, error.to_string(), error.remedy()),
        Part::Pin => report.error(pin, error.to_string(), error.remedy()),
    }
}

/// The setting that something is about, or the path of the key if it is not written; and the file that is meant.
fn place(key: &Key, concern: Concern) -> (Located<()>, Arc<Path>) {
    if let (Concern::Certificate, Some(certificate)) = (concern, &key.certificate_path) {
        return (without_value(certificate), Arc::from(certificate.value.as_path()));
    }
    let path = key.at();
    let at = match (concern, &key.holder) {
        (Concern::Alias, KeyHolder::File(file)) => file.alias.as_ref().map(without_value),
        (Concern::EntryPassword, KeyHolder::File(file)) => file.entry_password.as_ref().map(without_value),
        (Concern::Password, KeyHolder::File(file)) => file.password.as_ref().map(without_value),
        _ => None,
    };
    (at.unwrap_or_else(|| without_value(path)), Arc::from(path.value.as_path()))
}

fn without_value<T>(located: &Located<T>) -> Located<()> {
    Located { value: (), setting: located.setting.clone(), place: located.place.clone() }
}

/// The path as it can be pasted into a shell.
fn in_a_command(path: &Path) -> String {
    let shown = show::path(path);
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+@,:".contains(c);
    match path.to_str() {
        Some(text) if text == shown && text.chars().all(is_plain) => text.to_owned(),
        Some(text) if text == shown && !text.contains('\'') => format!("'{text}'"),
        _ => "FILE".to_owned(),
    }
}

/// What was found in files, by their content and by what opened them; and what was found in HSMs.
struct Files<'a> {
    known: Mutex<HashMap<Lock<'a>, Arc<OnceLock<Checked>>>>,
    in_tokens: HashMap<Holder<'a>, Checked>,
}

type Lock<'a> = (Digest, Opening<'a>);

/// Keystores may hold the certificates of a whole machine.
const LARGEST: u64 = source::LARGEST_PEM;

impl<'a> Files<'a> {
    fn open(&self, named: Named<'a>, key: &'a Key) -> Tried {
        let opened = match (named.holder, &key.holder) {
            (Holder::File { path, opening }, KeyHolder::File(file)) => self.open_file(path, opening, file),
            (holder, _) => self.in_tokens.get(&holder).cloned().unwrap_or(Err(HsmError::NotBuiltIn.into())),
        };
        let mut errors = Vec::new();
        let (mut open, notes) = match opened {
            Ok(Held { open, notes }) => (Some(open), notes),
            Err(error) => {
                errors.push(error);
                (None, Vec::new())
            }
        };
        if let Some(path) = named.certificate {
            let read = read(path).and_then(|content| match &mut open {
                Some(opened) => {
                    opened.certificate = Some(certificate::parse(&content, opened.signer.thumbprint())?);
                    Ok(())
                }
                // Whose it is nobody knows by now, and that it is one.
                None => certificate::check(&content),
            });
            errors.extend(read.map_err(KeyError::of_certificate).err());
        }
        Tried { open: open.filter(|_| errors.is_empty()), errors, notes }
    }

    fn open_file(&self, path: &Path, opening: Opening<'a>, file: &'a KeyFile) -> Checked {
        let content = read(path)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let held = Arc::clone(known.entry((sha256([content.as_slice()]), opening)).or_default());
        drop(known);
        held.get_or_init(|| {
            let unlock = Unlock {
                password: file.password.as_ref().map(|located| &located.value),
                entry_password: file.entry_password.as_ref().map(|located| &located.value),
                alias: opening.alias,
            };
            let parsed = parse(&content, &unlock)?;
            let open = Open { signer: Arc::new(parsed.key), certificate: parsed.certificate };
            Ok(Held { open, notes: parsed.notes })
        })
        .clone()
    }
}

fn read(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, KeyError> {
    let content = source::read(path, LARGEST);
    content.map(|content| content.bytes).map_err(|error| KeyError::Unreadable(error.to_string(), error.remedy()))
}

/// What one file holds.
#[derive(Clone)]
struct Held {
    open: Open,
    notes: Vec<Note>,
}

type Digest = [u8; 32];
type Checked = Result<Held, KeyError>;

/// Does `work` for each item on all cores; the results come in the order of the items.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(cores).max(1);
    std::thread::scope(|scope| {
        let work = &work;
        // Collected, so that all workers start before the first is waited for.
        let workers: Vec<_> =
            items.chunks(share).map(|part| scope.spawn(move || part.iter().map(work).collect::<Vec<_>>())).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect()
    })
}
