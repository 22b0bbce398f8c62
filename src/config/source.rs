//! Opens the files that a configuration is made of: regular ones only, of bounded size, so that a FIFO, a device or a
//! directory is an error with a name and never a wait.
//!
//! The rule about loose permissions is here too. What the bytes mean is not.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

/// A file's content, wiped when dropped, and its permission bits.
#[derive(Debug)]
pub struct Content {
    /// The content.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Who may do what.
    pub mode: u32,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Nothing of this name.
    #[error("there is no such file")]
    Absent,
    /// A folder.
    #[error("this is a directory, not a file")]
    Directory,
    /// No right to.
    #[error("the process may not read this file")]
    Forbidden,
    /// What may never end, or never begin.
    #[error("this is not a regular file (a pipe, socket or device)")]
    NotRegular,
    /// More than is looked at.
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    /// The file system said no.
    #[error("the file cannot be read ({0})")]
    Unreadable(io::ErrorKind),
}

impl ReadError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Absent => "check the path; inside a configuration it is relative to the folder of that file",
            Self::Directory | Self::NotRegular => "name a regular file",
            Self::Forbidden => "give the user of the process the right to read it",
            Self::TooLarge(_) => "check that this is the file you mean",
            Self::Unreadable(_) => "check the file and its file system",
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Absent,
            io::ErrorKind::PermissionDenied => Self::Forbidden,
            io::ErrorKind::IsADirectory => Self::Directory,
            kind => Self::Unreadable(kind),
        }
    }
}

/// Certificates and their keys have a few kilobytes, the authorities of a whole machine a few hundred.
pub const LARGEST_PEM: u64 = 1024 * 1024;

/// Reads a whole regular file of at most `largest` bytes.
///
/// # Errors
/// Anything else, at once.
pub fn read(path: &Path, largest: u64) -> Result<Content, ReadError> {
    // Asked before opening: to open a FIFO for reading waits for a writer.
    let facts = std::fs::metadata(path)?;
    if facts.is_dir() {
        return Err(ReadError::Directory);
    }
    if !facts.is_file() {
        return Err(ReadError::NotRegular);
    }
    if facts.len() > largest {
        return Err(ReadError::TooLarge(largest));
    }
    // Room for all of it at once: a buffer that grows leaves copies behind that nobody wipes.
    let room = usize::try_from(facts.len()).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    File::open(path)?.take(largest.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > largest {
        return Err(ReadError::TooLarge(largest));
    }
    Ok(Content { bytes, mode: facts.permissions().mode() & 0o7777 })
}

/// What is wrong with the permissions of a file that holds a secret, with the mode; nothing if they are tight enough.
///
/// The group may read: Kubernetes mounts the secrets of a pod with `fsGroup` as 0440 or 0640, and nobody else is in
/// that group. Others may do nothing, and the group may not write.
pub fn loose_permissions(mode: u32) -> Option<String> {
    let others = mode & 0o007;
    let who = if others & 0o004 != 0 {
        "others can read it"
    } else if others & 0o002 != 0 {
        "others can change it"
    } else if others != 0 {
        "others have rights on it"
    } else if mode & 0o020 != 0 {
        "its group can change it"
    } else {
        return None;
    };
    Some(format!("this file holds a secret and has mode {:04o}: {who}", mode & 0o7777))
}

/// What to do about [`loose_permissions`].
pub const TIGHTEN: &str = "chmod 0600; in Kubernetes give the volume `defaultMode: 0400`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_loose_when_others_can_do_anything_or_the_group_can_write() {
        for tight in [0o600, 0o400, 0o440, 0o640, 0o700] {
            assert_eq!(loose_permissions(tight), None, "{tight:o}");
        }
        let cases = [(0o644, "0644: others can read"), (0o602, "others can change"), (0o660, "0660: its group")];
        for (loose, told) in cases {
            assert!(loose_permissions(loose).unwrap().contains(told), "{loose:o}");
        }
    }

    #[test]
    fn what_is_not_a_regular_file_of_bounded_size_is_named_and_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let large = folder.path().join("large");
        std::fs::write(&large, [0; 11]).unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, [0; 10]).unwrap();
        assert!(matches!(read(folder.path(), 10), Err(ReadError::Directory)));
        assert!(matches!(read(&fifo, 10), Err(ReadError::NotRegular)));
        assert!(matches!(read(&folder.path().join("none"), 10), Err(ReadError::Absent)));
        assert!(matches!(read(&file.join("below"), 10), Err(ReadError::Absent)));
        assert!(matches!(read(&large, 10), Err(ReadError::TooLarge(10))));
        assert!(matches!(read(Path::new("/dev/zero"), 10), Err(ReadError::NotRegular)));
        assert_eq!(read(&file, 10).unwrap().bytes.len(), 10);
    }
}
