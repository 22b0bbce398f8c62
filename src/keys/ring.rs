//! All the keys of a configuration, opened at once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{KeyError, Signer, parse, read};
use crate::config::report::{Located, Report};
use crate::config::show;
use crate::hash::sha256;

/// Keys by the path of their file.
pub type Opened<'a> = HashMap<&'a Path, Arc<dyn Signer>>;

/// Opens the key files and reports each that does not open at every place that names it.
///
/// Each file is read once, and each key is checked once however many files hold it (one certificate for many apps is
/// common), several at a time: checking a key costs as much as signing with it.
pub fn open_all<'a>(named: &[&'a Located<PathBuf>], report: &mut Report) -> Opened<'a> {
    let mut paths: Vec<&Path> = named.iter().map(|located| located.value.as_path()).collect();
    paths.sort_unstable();
    paths.dedup();
    let contents: Vec<Content> =
        in_parallel(&paths, |path| read(path).map(|bytes| (sha256([bytes.as_slice()]), bytes)));
    let mut unlike: Vec<&(Digest, Zeroizing<Vec<u8>>)> = contents.iter().flatten().collect();
    unlike.sort_unstable_by_key(|(digest, _)| *digest);
    unlike.dedup_by_key(|(digest, _)| *digest);
    let parsed = in_parallel(&unlike, |(digest, bytes)| (*digest, parse(bytes)));
    let signers: HashMap<Digest, Result<Arc<dyn Signer>, KeyError>> =
        parsed.into_iter().map(|(digest, key)| (digest, key.map(|key| Arc::new(key) as Arc<dyn Signer>))).collect();
    let opened: HashMap<&Path, Result<Arc<dyn Signer>, KeyError>> = paths
        .iter()
        .zip(contents)
        .filter_map(|(path, content)| match content {
            Ok((digest, _)) => signers.get(&digest).map(|signer| (*path, signer.clone())),
            Err(error) => Some((*path, Err(error))),
        })
        .collect();
    for located in named {
        if let Some(Err(error)) = opened.get(located.value.as_path()) {
            report.error(*located, format!("{}: {error}", show::path(&located.value)), error.remedy());
        }
    }
    opened.into_iter().filter_map(|(path, signer)| signer.ok().map(|signer| (path, signer))).collect()
}

type Digest = [u8; 32];
type Content = Result<(Digest, Zeroizing<Vec<u8>>), KeyError>;

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
