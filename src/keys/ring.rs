//! All the keys of a configuration, opened at once.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::pkcs11::fault::Part;
use super::{KeyError, Signer, parse, pkcs11, read};
use crate::config::report::Report;
use crate::config::{Key, KeyFile, KeyHolder, TokenKey, show};
use crate::hash::sha256;

/// Signers of the keys that opened.
#[derive(Debug)]
pub struct Opened<'a>(HashMap<Named<'a>, Arc<dyn Signer>>);

/// All that a configuration says of a key: what is the same by this is opened once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Named<'a> {
    File { path: &'a Path },
    // Without the PIN: whoever knows one that is right has the same key.
    Token { module: &'a Path, token: &'a str, key: &'a str },
}

impl Opened<'_> {
    /// What signs for `key`, if it is one of those that were to be opened, and opened.
    pub fn signer(&self, key: &Key) -> Option<Arc<dyn Signer>> {
        self.0.get(&Named::of(key)).map(Arc::clone)
    }
}

impl<'a> Named<'a> {
    fn of(key: &'a Key) -> Self {
        match &key.holder {
            KeyHolder::File(file) => Self::File { path: &file.path.value },
            KeyHolder::Token(token) => {
                let TokenKey { module_path, token_label, key_label, .. } = token.as_ref();
                Self::Token { module: &module_path.value, token: &token_label.value, key: &key_label.value }
            }
        }
    }
}

/// Opens keys, and reports each that does not open at every place that names it.
///
/// Each file is read once, and each key is checked once however many files hold it (one certificate for many apps is
/// common), several at a time: checking a key costs as much as signing with it. No content is kept longer than its
/// check takes, or ten thousand of them would leave the memory in pieces.
pub fn open_all<'a>(keys: impl IntoIterator<Item = &'a Key>, report: &mut Report) -> Opened<'a> {
    let keys: Vec<&Key> = keys.into_iter().collect();
    let mut paths: Vec<&Path> = keys.iter().filter_map(|key| path(key)).collect();
    paths.sort_unstable();
    paths.dedup();
    let files = Files::default();
    let opened: HashMap<&Path, Checked> = in_parallel(&paths, |path| (*path, files.open(path))).into_iter().collect();
    for key in &keys {
        if let Some(Err(error)) = path(key).and_then(|path| opened.get(path)) {
            tell(key, error, report);
        }
    }
    let files = opened.into_iter().filter_map(|(path, signer)| Some((Named::File { path }, signer.ok()?)));
    Opened(files.chain(open_tokens(&keys, report)).collect())
}

fn path(key: &Key) -> Option<&Path> {
    match &key.holder {
        KeyHolder::File(file) => Some(&file.path.value),
        KeyHolder::Token(_) => None,
    }
}

/// Opens the keys that are in HSMs, likewise.
fn open_tokens<'a>(keys: &[&'a Key], report: &mut Report) -> Vec<(Named<'a>, Arc<dyn Signer>)> {
    let in_tokens = |key: &&'a Key| match &key.holder {
        KeyHolder::Token(token) => Some((*key, token.as_ref())),
        KeyHolder::File(_) => None,
    };
    let (keys, tokens): (Vec<&Key>, Vec<&TokenKey>) = keys.iter().filter_map(in_tokens).unzip();
    let mut opened = Vec::new();
    for (key, result) in keys.into_iter().zip(pkcs11::open_all(&tokens)) {
        match result {
            Ok(signer) => opened.push((Named::of(key), signer)),
            Err(error) => tell(key, &error.into(), report),
        }
    }
    opened
}

/// Has what HSMs refused tried again, and their keys looked up anew: somebody says that something was changed.
pub fn forgive() {
    pkcs11::forgive();
}

fn tell(key: &Key, error: &KeyError, report: &mut Report) {
    match &key.holder {
        KeyHolder::File(KeyFile { path }) => {
            report.error(path, format!("{}: {error}", show::path(&path.value)), error.remedy());
        }
        KeyHolder::Token(token) => {
            let TokenKey { module_path, token_label, key_label, pin } = token.as_ref();
            let at = match error {
                KeyError::Hsm(error) => error.part(),
                _ => Part::Key,
            };
            match at {
                Part::Module => {
                    let named = show::path(&module_path.value);
                    report.error(module_path, format!("{named}: {error}"), error.remedy());
                }
                Part::Token => report.error(token_label, error.to_string(), error.remedy()),
                Part::Key => report.error(key_label, error.to_string(), error.remedy()),
                Part::Pin => report.error(pin, error.to_string(), error.remedy()),
            }
        }
    }
}

/// What was found in files, by their content.
#[derive(Default)]
struct Files(Mutex<HashMap<Digest, Arc<OnceLock<Checked>>>>);

impl Files {
    fn open(&self, path: &Path) -> Checked {
        let content = read(path)?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Arc::clone(known.entry(sha256([content.as_slice()])).or_default());
        drop(known);
        key.get_or_init(|| parse(&content).map(|key| Arc::new(key) as Arc<dyn Signer>)).clone()
    }
}

type Digest = [u8; 32];
type Checked = Result<Arc<dyn Signer>, KeyError>;

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
