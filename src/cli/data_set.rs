//! Which data set a run is on: MNIST, or another in its form.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use log::info;

use islp_mnist::torchvision;

/// Says of data that are in MNIST's form, but not MNIST, that they are.
///
/// # Errors
/// A file that can't be read.
pub fn say_if_other(data_dir: &Path) -> Result<()> {
    note(data_dir, &torchvision::checksums(data_dir)?)?.iter().for_each(|note| info!("{note}"));
    Ok(())
}

/// What there is to say of data with these checksums, if they are in MNIST's form, but not MNIST.
///
/// # Errors
/// A file that is not there any more.
pub fn note<Name: Borrow<str> + Ord>(
    data_dir: &Path,
    checksums: &BTreeMap<Name, String>,
) -> Result<Option<String>> {
    let differing = torchvision::differing(checksums);
    if differing.is_empty() {
        return Ok(None);
    }
    let what = if differing.len() == checksums.len() {
        format!("{}: the data are", torchvision::folder(data_dir).display())
    } else {
        let paths = differing.into_iter().map(|name| torchvision::find(data_dir, name));
        let paths = paths.collect::<Result<Vec<PathBuf>, _>>()?;
        paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ") + ":"
    };
    Ok(Some(format!("note: {what} in MNIST's form, but not MNIST's by SHA-256")))
}
