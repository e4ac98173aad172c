//! Files that are read within bounds, and written so that a reader finds the old content or the new, whole, whatever
//! happens in between.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// What went wrong with a file or folder, which the message names.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what they are
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

    /// Whether the file is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { reason, .. } if reason.kind() == ErrorKind::NotFound)
    }
}

/// A file to be read.
///
/// # Errors
/// A file that can't be read. A folder, a FIFO, which would block the reader, or a device, which might never end.
pub fn open(path: &Path) -> Result<File, Error> {
    let cannot_read = || Error::io("read", path);
    if !path.metadata().map_err(cannot_read())?.is_file() {
        return Err(Error::NotRegular { path: path.to_owned() });
    }
    File::open(path).map_err(cannot_read())
}

/// The bytes of a file of at most `limit` bytes.
///
/// # Errors
/// As [`open`], and a file that is larger.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![];
    open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// How the names of temporary files begin.
const TEMPORARY: &str = ".tmp-";

/// Removes from a folder the temporary files of a process that was killed. Nobody else may be writing there.
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

/// Replaces the file at `path` by `bytes`: a temporary file beside it, synchronised, renamed, and the folder
/// synchronised where the file system can.
///
/// # Errors
/// A disk that is full, or a folder that is missing or can't be written to. A device or a FIFO, which a file would replace.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        let reason = io::Error::other("it is no regular file, name another one");
        return Err(Error::io("write", path)(reason));
    }
    replace(path, |folder, temporary| {
        // As for any other new file the umask decides; a temporary file would be the owner's alone.
        let mut file = temporary.permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
        // Past tempfile, which would add its path to the system's error.
        file.as_file_mut().write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    })
}

/// Points the link at `path` to `target`, a file with these bytes in the same folder. Where the file system has no links,
/// such as vfat, SMB, or Google Drive in Colab, the bytes go to `path` itself.
///
/// # Errors
/// As [`write()`].
pub fn link(path: &Path, target: &str, bytes: &[u8]) -> Result<(), Error> {
    let linked = replace(path, |folder, temporary| temporary.make_in(folder, |link| symlink(target, link)));
    // Whatever refused the link: what keeps a file from being written as well is that one's error.
    linked.or_else(|_| write(path, bytes))
}

/// Puts in place at `path` what `make` makes under another name in the same folder.
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
            // CIFS, vboxsf and 9p synchronise no folders; the file is whole all the same.
            _ => Ok(()),
        }
    };
    replace().map_err(without_path).map_err(Error::io("write", path))
}

/// Whether a disk says that it has lost something, rather than that it can't do what it is asked for.
fn is_loss(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.raw_os_error() == Some(EIO)
        || matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// The error without the path of the temporary file, which tempfile adds and which means nothing to a user.
fn without_path(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() { error } else { error.kind().into() }
}
