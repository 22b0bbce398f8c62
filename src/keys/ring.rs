//! All the keys of a configuration, opened at once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{KeyError, Signer, parse, read};
use crate::config::report::{Located, Report};
use crate::config::show;
use crate::hash::sha256;

/// Keys by the path of their file.
pub type Opened<'a> = HashMap<&'a Path, Arc<dyn Signer>>;

/// Opens the key files and reports each that does not open at every place that names it.
///
/// Each file is read once, and each key is checked once however many files hold it (one certificate for many apps is
/// common), several at a time: checking a key costs as much as signing with it. No content is kept longer than its
/// check takes, or ten thousand of them would leave the memory in pieces.
pub fn open_all<'a>(named: &[&'a Located<PathBuf>], report: &mut Report) -> Opened<'a> {
    let mut paths: Vec<&Path> = named.iter().map(|located| located.value.as_path()).collect();
    paths.sort_unstable();
    paths.dedup();
    let known = Mutex::new(HashMap::<Digest, Arc<OnceLock<Checked>>>::new());
    let open = |path: &&'a Path| {
        let content = read(path)?;
        let mut keys = known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Arc::clone(keys.entry(sha256([content.as_slice()])).or_default());
        drop(keys);
        key.get_or_init(|| parse(&content).map(|key| Arc::new(key) as Arc<dyn Signer>)).clone()
    };
    let opened: HashMap<&Path, Checked> = in_parallel(&paths, |path| (*path, open(path))).into_iter().collect();
    for located in named {
        if let Some(Err(error)) = opened.get(located.value.as_path()) {
            report.error(*located, format!("{}: {error}", show::path(&located.value)), error.remedy());
        }
    }
    opened.into_iter().filter_map(|(path, signer)| signer.ok().map(|signer| (path, signer))).collect()
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
