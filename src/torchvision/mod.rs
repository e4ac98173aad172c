//! `torchvision.datasets.MNIST` with `ToTensor`: the four IDX files in `DATA_DIR/MNIST/raw` or the other usual places, see
//! [`find`].

mod files;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use tch::vision::dataset::Dataset;
use tch::{Device, TchError, Tensor};

use crate::torch;
use crate::torch::error::caught;
use crate::util::file;

pub use files::{checksum, find, folder, raw_folder};

/// An image's height and width, in pixels.
pub const SIDE: i64 = 28;
/// The number of labels, 0 to 9.
pub const CLASSES: u8 = 10;

/// MNIST's four files and their SHA-256, which `scripts/setup.sh` checks too.
pub const CHECKSUMS: [(&str, &str); 4] = [
    ("train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    ("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    ("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    ("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
];

/// The largest possible file: tch's reader counts values in 32 bits.
const MAX_BYTES: u64 = u32::MAX as u64 + 16;

/// An error of reading MNIST.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum Error {
    #[error(
        "{}: no such file; it may also be named {other}, with or without .gz, and be in {}, {} or {}",
        path.display(), folders[0].display(), folders[1].display(), folders[2].display()
    )]
    Missing { path: PathBuf, other: String, folders: [PathBuf; 3] },
    #[error(transparent)]
    File(#[from] file::Error),
    #[error("{}: {reason}", path.display())]
    Invalid { path: PathBuf, reason: String },
    #[error(transparent)]
    Torch(#[from] torch::Error),
}

impl From<TchError> for Error {
    fn from(error: TchError) -> Self {
        torch::Error::from(error).into()
    }
}

/// Computes the SHA-256, in hexadecimal, of the content of each of the four files, by its usual name.
///
/// # Errors
/// Fails if a file is missing or can't be read.
pub fn checksums(data_dir: &Path) -> Result<BTreeMap<&'static str, String>, Error> {
    CHECKSUMS.into_iter().map(|(name, _)| Ok((name, checksum(&find(data_dir, name)?)?))).collect()
}

/// The usual names of the files whose SHA-256 is not MNIST's: none for MNIST, all four for Fashion-MNIST.
pub fn differing<Name: Borrow<str> + Ord>(checksums: &BTreeMap<Name, String>) -> Vec<&'static str> {
    let differing =
        CHECKSUMS.into_iter().filter(|(name, sum)| checksums.get(*name).is_none_or(|ours| ours != sum));
    differing.map(|(name, _)| name).collect()
}

/// Reads training and test set onto `device`: images `[N, 1, 28, 28]` of f32 in [0, 1], labels `[N]` of i64.
///
/// tch's reader trusts the files' headers, so they are checked first.
///
/// # Errors
/// Fails if a file is missing or is not the file that its name says.
pub fn load(data_dir: impl AsRef<Path>, device: Device) -> Result<Dataset, Error> {
    let data_dir = data_dir.as_ref();
    let mut paths = [const { PathBuf::new() }; 4];
    for (path, (name, _)) in paths.iter_mut().zip(CHECKSUMS) {
        *path = find(data_dir, name)?;
    }
    let files = files::plain(&paths)?;
    let plain = CHECKSUMS.map(|(name, _)| files.folder.join(name));
    for set in [0..2, 2..4] {
        check_set(&paths[set.clone()], &plain[set])?;
    }
    let read = caught(|| tch::vision::mnist::load_dir(&files.folder))?;
    let mut mnist = read.map_err(file::Error::io("read the images in", &folder(data_dir)))?;
    for (path, labels) in [(&paths[1], &mnist.train_labels), (&paths[3], &mnist.test_labels)] {
        let largest = i64::try_from(labels.f_max()?)?;
        if largest >= i64::from(CLASSES) {
            return Err(invalid(
                path,
                format!("has the label {largest}, labels go from 0 to {}", CLASSES - 1),
            ));
        }
    }
    let to_device = |images: &Tensor, size: &[i64]| images.f_view(size)?.f_to_device(device);
    for images in [&mut mnist.train_images, &mut mnist.test_images] {
        *images = to_device(images, &[-1, 1, SIDE, SIDE])?;
    }
    for labels in [&mut mnist.train_labels, &mut mnist.test_labels] {
        *labels = to_device(labels, &[-1])?;
    }
    Ok(mnist)
}

fn invalid(path: &Path, reason: String) -> Error {
    Error::Invalid { path: path.to_path_buf(), reason }
}

/// Checks that two files contain images and as many labels. Reads them from `plain`, errors name `paths`.
fn check_set(paths: &[PathBuf], plain: &[PathBuf]) -> Result<(), Error> {
    let [images, labels] = [&paths[0], &paths[1]];
    let [image_count, height, width] = header(images, &plain[0])?;
    if [height, width] != [SIDE as u32; 2] {
        let reason = format!("images of {height}x{width} pixels, the models take {SIDE}x{SIDE}");
        return Err(invalid(images, reason));
    }
    let [label_count] = header(labels, &plain[1])?;
    if image_count != label_count {
        let name = images.file_name().unwrap_or_default().display();
        return Err(invalid(labels, format!("{label_count} labels for the {image_count} images of {name}")));
    }
    if image_count == 0 {
        return Err(invalid(images, "contains no image".into()));
    }
    Ok(())
}

/// Returns the dimensions of an IDX file, and checks that its length matches. Reads `plain`, errors name `path`.
fn header<const DIMENSIONS: usize>(path: &Path, plain: &Path) -> Result<[u32; DIMENSIONS], Error> {
    let cannot_read = || file::Error::io("read", path);
    let (file, mut start) = (File::open(plain).map_err(cannot_read())?, vec![]);
    let length = file.metadata().map_err(cannot_read())?.len();
    file.take(header_length(DIMENSIONS)).read_to_end(&mut start).map_err(cannot_read())?;
    dimensions(&start, length).map_err(|reason| invalid(path, reason))
}

fn header_length(dimensions: usize) -> u64 {
    4 * (1 + dimensions as u64)
}

/// Returns the dimensions of an IDX file of `length` bytes from its `start`, which contains at least the header.
///
/// # Errors
/// Fails if the magic number is another, the dimensions do not match `length`, or there are more values than tch's reader
/// can count.
#[doc(hidden)]
pub fn dimensions<const DIMENSIONS: usize>(start: &[u8], length: u64) -> Result<[u32; DIMENSIONS], String> {
    let (words, _) = start.as_chunks();
    let mut words = words.iter().map(|&word| u32::from_be_bytes(word));
    let mut next = || words.next().ok_or("shorter than an IDX header");
    let magic = next()?;
    let mut dimensions = [0; DIMENSIONS];
    for dimension in &mut dimensions {
        *dimension = next()?;
    }
    let expected_magic = 0x800 + DIMENSIONS as u32;
    if magic != expected_magic {
        return Err(format!(
            "magic number {magic:#010x} instead of {expected_magic:#010x}, so not the IDX file its name says"
        ));
    }
    let values = dimensions.iter().try_fold(1u64, |product, &d| product.checked_mul(u64::from(d)));
    if values.and_then(|values| values.checked_add(header_length(DIMENSIONS))) != Some(length) {
        return Err(format!(
            "its header announces {dimensions:?} values, but the file is {length} bytes long"
        ));
    }
    if values > Some(u32::MAX.into()) {
        return Err(format!("{dimensions:?} values, more than {}", u32::MAX));
    }
    Ok(dimensions)
}
