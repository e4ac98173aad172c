//! Bounded reads and atomic writes: a reader finds the whole old content or the whole new one, whatever happens in
//! between.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Why an action on a file or folder failed; the message names its path.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum Error {
    #[error("cannot {action} {}: {reason}", path.display())]
    Io { action: &'static str, path: PathBuf, reason: io::Error },
    #[error("{}: not a regular file", path.display())]
    NotRegular { path: PathBuf },
    #[error("{}: more than {limit} bytes long", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
}

impl Error {
    /// For `map_err`: the system refused this action on this path.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |reason| Self::Io { action, path, reason }
    }

    /// True if the file does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { reason, .. } if reason.kind() == ErrorKind::NotFound)
    }
}

/// Opens a file for reading.
///
/// # Errors
/// A file that can't be read; a folder, a FIFO, which would block the reader, or a device, which might never end.
pub fn open(path: &Path) -> Result<File, Error> {
    let cannot_read = || Error::io("read", path);
    if !path.metadata().map_err(cannot_read())?.is_file() {
        return Err(Error::NotRegular { path: path.to_owned() });
    }
    File::open(path).map_err(cannot_read())
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// Those of [`open`], or a larger file.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![];
    open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// The prefix of temporary files' names.
const TEMPORARY: &str = ".tmp-";

/// Removes the temporary files that a killed process left in a folder. Nothing else may be writing there.
///
/// # Errors
/// The system's.
pub fn remove_temporaries(folder: &Path) -> Result<(), Error> {
    let remove = || -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    remove().map_err(Error::io("remove temporary files in", folder))
}

/// Atomically replaces the file at `path` by `bytes`: writes a temporary file beside it, syncs it, renames it, and syncs
/// the folder if the file system can.
///
/// # Errors
/// A full disk, a folder that is missing or not writable, or a device or a FIFO, which a file would replace.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        let reason = io::Error::other("not a regular file; name another one");
        return Err(Error::io("write", path)(reason));
    }
    replace(path, |folder, temporary| {
        // The umask applies as to any new file; by default only the owner can read a temporary file.
        let mut file = temporary.permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
        // Not through tempfile, which would add its path to the system's error.
        file.as_file_mut().write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    })
}

/// Atomically points the symlink at `path` to `target`, a file with these bytes in the same folder. If the file system has
/// no links, such as vfat, SMB, or Google Drive in Colab, writes the bytes to `path` itself.
///
/// # Errors
/// Those of [`write()`].
pub fn link(path: &Path, target: &str, bytes: &[u8]) -> Result<(), Error> {
    let linked = replace(path, |folder, temporary| temporary.make_in(folder, |link| symlink(target, link)));
    // Whatever refused the link, the error of the write is the one to report.
    linked.or_else(|_| write(path, bytes))
}

/// Makes a file by `make` under a temporary name in the same folder, and renames it to `path`.
fn replace<F>(
    path: &Path,
    make: impl FnOnce(&Path, &mut tempfile::Builder) -> io::Result<NamedTempFile<F>>,
) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let replace = || -> io::Result<()> {
        folder.metadata()?;
        make(folder, tempfile::Builder::new().prefix(TEMPORARY))?.persist(path)?;
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            Err(error) if is_loss(&error) => Err(error),
            // CIFS, vboxsf and 9p cannot sync folders; the file is whole all the same.
            _ => Ok(()),
        }
    };
    replace().map_err(without_path).map_err(Error::io("write", path))
}

/// True if a disk reports lost data, rather than an unsupported operation.
fn is_loss(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.raw_os_error() == Some(EIO)
        || matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Removes the temporary file's path, which tempfile adds and which means nothing to a user.
fn without_path(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() { error } else { error.kind().into() }
}
