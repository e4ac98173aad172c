//! Writing a file so that a reader finds the old content or the new, whole, whatever happens in between.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Replaces the file at `path`, which must have a parent folder, by `bytes`: a temporary file beside it,
/// synchronised, renamed, and the folder synchronised.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let replace = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".tmp-")
            // As for any other new file the umask decides; a temporary file would be the owner's alone.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(folder)?.sync_all()
    };
    replace().with_context(|| format!("cannot write {}", path.display()))
}
