//! The files that a configuration consists of, and whether they changed.
//!
//! They are looked at every second instead of being watched: a watch goes silent on the second swap of a Kubernetes
//! volume if it is on the file, sees nothing on a network or overlay file system, and runs out of handles. A look is one
//! `stat` for each file, along symbolic links. What counts in the end is the content: a file that was touched, or
//! replaced by its like, is no change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::source;
use crate::hash::sha256;

/// The files of one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files(Vec<PathBuf>);

/// What tells one state of the files from another without reading them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamps(Vec<Option<Stamp>>);

/// Device, inode, size, and the times of the last change of content and of anything: a file that is written in place
/// within a tick of the clock and keeps its size still has a new time of change.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// A look at many files on a slow disk may take this share of the time at most.
const SHARE: u32 = 20;
/// Whoever writes several files, or one in pieces, is given a moment.
const SETTLED: Duration = Duration::from_millis(200);
const UNSETTLED: Duration = Duration::from_secs(2);

impl Files {
    /// The configuration itself and what it names.
    pub(super) fn new(configuration: &Path, named: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut all: Vec<PathBuf> = named.into_iter().chain([configuration.to_owned()]).collect();
        all.sort_unstable();
        all.dedup();
        Self(all)
    }

    /// These and those: while a broken configuration waits for its mending, both it and the one in force count.
    pub(super) fn and(&self, other: &Self) -> Self {
        let mut all: Vec<PathBuf> = self.0.iter().chain(&other.0).cloned().collect();
        all.sort_unstable();
        all.dedup();
        Self(all)
    }

    /// How they look now.
    pub(super) async fn stamps(&self) -> Stamps {
        let files = self.clone();
        // A disk that hangs must hold up nobody.
        let looked = tokio::task::spawn_blocking(move || Stamps(files.0.iter().map(|path| stamp(path)).collect()));
        looked.await.unwrap_or(Stamps(Vec::new()))
    }

    /// A digest of all that is in them. A file that cannot be read counts as such.
    pub(super) fn digest(&self) -> [u8; 32] {
        let contents = self.0.iter().map(|path| {
            let content = source::read(path, source::LARGEST_PEM.max(64 * 1024 * 1024));
            let digest = content.map_or([0; 32], |content| sha256([content.bytes.as_slice()]));
            sha256([path.as_os_str().as_encoded_bytes(), b"\0", &digest])
        });
        let digests: Vec<[u8; 32]> = contents.collect();
        sha256(digests.iter().map(<[u8; 32]>::as_slice))
    }

    /// Comes back when they no longer look like `known`, and look alike for a moment.
    pub(super) async fn change(&self, known: &Stamps) {
        let mut pause = EVERY;
        loop {
            tokio::time::sleep(pause).await;
            let before = Instant::now();
            let stamps = self.stamps().await;
            pause = EVERY.max(before.elapsed() * SHARE);
            if stamps != *known {
                return self.settle(stamps).await;
            }
        }
    }

    /// Waits for them to look alike for a moment, but not for ever.
    pub(super) async fn settle(&self, mut seen: Stamps) {
        let by = Instant::now() + UNSETTLED;
        while Instant::now() < by {
            tokio::time::sleep(SETTLED).await;
            let stamps = self.stamps().await;
            if stamps == seen {
                return;
            }
            seen = stamps;
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let facts = std::fs::metadata(path).ok()?;
    let modified = (facts.mtime(), facts.mtime_nsec());
    Some((facts.dev(), facts.ino(), facts.size(), modified, (facts.ctime(), facts.ctime_nsec())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[tokio::test]
    async fn a_swapped_link_is_seen_and_a_like_content_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (version, text) in [("one", "a"), ("two", "a"), ("three", "b")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("key.pem"), text).unwrap();
        }
        symlink(at("one"), at("data")).unwrap();
        symlink(at("data").join("key.pem"), at("key.pem")).unwrap();
        let files = Files::new(&at("key.pem"), []);
        let swap = |version: &str| {
            symlink(at(version), at("new")).unwrap();
            fs::rename(at("new"), at("data")).unwrap();
        };
        let (stamps, digest) = (files.stamps().await, files.digest());
        swap("two");
        assert_ne!(files.stamps().await, stamps);
        assert_eq!(files.digest(), digest);
        swap("three");
        assert_ne!(files.digest(), digest);
        fs::remove_file(at("data")).unwrap();
        let gone = files.digest();
        assert_ne!(gone, digest);
        swap("one");
        assert_eq!(files.digest(), digest);
    }
}
