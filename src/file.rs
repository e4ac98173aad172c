//! Writing a file so that a reader finds the old content or the new, whole, whatever happens in between.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tempfile::NamedTempFile;

/// The bytes of a file, which is not to be a folder, nor a FIFO, which would block the reader.
///
/// # Errors
/// A file that can't be read. The message names it.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let name = path.display();
    let metadata = path.metadata().with_context(|| format!("cannot read {name}"))?;
    ensure!(metadata.is_file(), "{name}: not a regular file");
    fs::read(path).with_context(|| format!("cannot read {name}"))
}

/// How the names of temporary files begin.
const TEMPORARY: &str = ".tmp-";

/// Removes from a folder the temporary files of a process that was killed. Nobody else may be writing there.
pub fn remove_temporaries(folder: &Path) -> Result<()> {
    let remove = || -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    remove().with_context(|| format!("cannot remove temporary files in {}", folder.display()))
}

/// Replaces the file at `path`, which must have a parent folder, by `bytes`: a temporary file beside it,
/// synchronised, renamed, and the folder synchronised.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, |folder, temporary| {
        // As for any other new file the umask decides; a temporary file would be the owner's alone.
        let mut file = temporary.permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    })
}

/// Has the link at `path` lead to `target` in the same folder, whatever it led to before.
pub fn link(path: &Path, target: &str) -> Result<()> {
    replace(path, |folder, temporary| temporary.make_in(folder, |link| symlink(target, link)))
}

/// Puts in place at `path` what `make` makes under another name in the same folder.
fn replace<F>(
    path: &Path,
    make: impl FnOnce(&Path, &mut tempfile::Builder) -> io::Result<NamedTempFile<F>>,
) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let replace = || -> io::Result<()> {
        make(folder, tempfile::Builder::new().prefix(TEMPORARY))?.persist(path)?;
        File::open(folder)?.sync_all()
    };
    replace().map_err(without_path).with_context(|| format!("cannot write {}", path.display()))
}

/// The error without the path of the temporary file, which tempfile adds and which means nothing to a user.
fn without_path(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path ") {
        Some((reason, _)) => io::Error::new(error.kind(), reason.to_string()),
        None => error,
    }
}
