//! Writes all files or none, and never over one that is there.
//!
//! Each file is written whole under another name beside its place, and takes its name only when all are written. A file
//! that appears meanwhile wins; what had its name already is taken away again. Only a kill between two names leaves a part.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// A file to be.
pub(super) struct File {
    /// Below the folder.
    pub(super) path: String,
    pub(super) content: Zeroizing<Vec<u8>>,
    /// Whether only its owner may read it.
    pub(super) private: bool,
}

impl File {
    /// A file that anybody may read.
    pub(super) fn open(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), content: Zeroizing::new(content.into()), private: false }
    }
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// A file is there already.
    #[error(
        "{} is there already, and nothing is ever overwritten: nothing was written. Name another --dir: each integration has a \
         folder of its own, and what aquila.toml says of it can be copied into another one, with its paths. Or move the old \
         files away; a key that is in use must not be lost", .0.display()
    )]
    Exists(PathBuf),
    /// A folder below the one that was named is a link.
    #[error(
        "{} is a link, and nothing is written to where it leads: nothing was written. Name another --dir, or take the link \
         away", .0.display()
    )]
    Link(PathBuf),
    /// The file system said no.
    #[error("{} cannot be written: {reason}; nothing was left behind", path.display())]
    Refused { path: PathBuf, reason: io::Error },
}

/// Whether no name is taken, and none leads out of the folder. A link that leads nowhere takes its name too.
pub(super) fn vacant<'a>(folder: &Path, paths: impl IntoIterator<Item = &'a str>) -> Result<(), WriteError> {
    for path in paths {
        let above = Path::new(path).ancestors().skip(1).filter(|inner| !inner.as_os_str().is_empty());
        if let Some(link) = above.map(|inner| folder.join(inner)).find(|inner| inner.is_symlink()) {
            return Err(WriteError::Link(link));
        }
        let place = folder.join(path);
        if place.symlink_metadata().is_ok() {
            return Err(WriteError::Exists(place));
        }
    }
    Ok(())
}

/// Writes all files below the folder, which is made if it is not there.
pub(super) fn write(folder: &Path, files: &[File]) -> Result<(), WriteError> {
    vacant(folder, files.iter().map(|file| file.path.as_str()))?;
    let mut made = Made::default();
    let mut staged = Vec::new();
    for file in files {
        let place = folder.join(&file.path);
        let written = stage(&place, file, &mut made).map_err(|reason| refused(&place, reason))?;
        staged.push((written, place));
    }
    for (written, place) in staged {
        written.persist_noclobber(&place).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => WriteError::Exists(place.clone()),
            _ => refused(&place, error.error),
        })?;
        made.files.push(place);
    }
    made.keep();
    Ok(())
}

fn refused(path: &Path, reason: io::Error) -> WriteError {
    WriteError::Refused { path: path.to_owned(), reason }
}

/// The file under another name, in the folder where it belongs.
fn stage(place: &Path, file: &File, made: &mut Made) -> io::Result<NamedTempFile> {
    let folder = place.parent().unwrap_or_else(|| Path::new("."));
    made.folder(folder)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".aquila-setup-");
    #[cfg(unix)]
    {
        let mode = if file.private { 0o600 } else { 0o644 };
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    }
    let mut written = builder.tempfile_in(folder)?;
    #[cfg(unix)]
    if file.private {
        // The umask may have taken more than others' rights.
        written.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    }
    written.write_all(&file.content)?;
    written.as_file().sync_all()?;
    Ok(written)
}

/// What was made so far; it is taken away again unless it is kept.
#[derive(Default)]
struct Made {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Made {
    /// Makes a folder and those above it, as far as they are missing.
    fn folder(&mut self, folder: &Path) -> io::Result<()> {
        if folder.as_os_str().is_empty() || folder.is_dir() {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.folder(above)?;
        }
        fs::create_dir(folder)?;
        self.folders.push(folder.to_owned());
        Ok(())
    }

    fn keep(mut self) {
        self.folders.clear();
        self.files.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        // The innermost first; one in which somebody else has put something stays.
        for folder in self.folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(path: &str, private: bool) -> File {
        File { private, ..File::open(path, format!("content of {path}")) }
    }

    /// Everything below a folder, files with their content.
    fn all(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(all(&path));
            }
            found.push(path.display().to_string());
        }
        found
    }

    #[test]
    fn all_files_are_written_with_their_modes_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let within = folder.path().join("new/inner");
        write(&within, &[file("a.pem", true), file("b/c/d.xml", false)]).unwrap();
        let mode = |path: &str| within.join(path).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode("a.pem"), 0o600);
        assert_eq!(mode("b/c/d.xml") & 0o600, 0o600);
        assert_eq!(fs::read_to_string(within.join("b/c/d.xml")).unwrap(), "content of b/c/d.xml");
        assert_eq!(all(&within).len(), 4);
    }

    #[test]
    fn a_taken_name_is_refused_and_nothing_else_is_written() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b"), "old").unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("c")).unwrap();
        for taken in ["b", "c"] {
            let error = write(folder.path(), &[file("a", true), file(taken, false)]).unwrap_err();
            assert!(matches!(&error, WriteError::Exists(path) if path.ends_with(taken)), "{error}");
        }
        assert_eq!(fs::read_to_string(folder.path().join("b")).unwrap(), "old");
        assert_eq!(all(folder.path()).len(), 2);
    }

    #[test]
    fn a_link_is_not_followed_out_of_the_folder() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), folder.path().join("b")).unwrap();
        let error = write(folder.path(), &[file("a", true), file("b/c/d", false)]).unwrap_err();
        assert!(error.to_string().contains("b is a link"), "{error}");
        assert!(all(outside.path()).is_empty() && all(folder.path()).len() == 1);
        // The folder itself may be one: that is what was named.
        std::os::unix::fs::symlink(outside.path(), folder.path().join("named")).unwrap();
        write(&folder.path().join("named"), &[file("b/c", false)]).unwrap();
        assert!(outside.path().join("b/c").exists());
    }

    #[test]
    fn what_fails_on_the_way_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let within = folder.path().join("new");
        // A folder that cannot be made, when others are staged; a name that somebody took between the look and the end.
        let cases = [(folder.path(), "file/x"), (within.as_path(), "a/first")];
        for (into, last) in cases {
            assert!(write(into, &[file("a/first", true), file("b", false), file(last, false)]).is_err(), "{last}");
            assert_eq!(all(folder.path()), [folder.path().join("file").display().to_string()], "{last}");
        }
    }
}
