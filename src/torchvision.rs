//! `torchvision.datasets.MNIST` with `ToTensor`: the four IDX files of `DATA_DIR/MNIST/raw`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tch::vision::dataset::Dataset;
use tch::{Device, TchError, Tensor};

use crate::torch;
use crate::torch::error::caught;
use crate::util::file;
use crate::util::text::hex;

/// An image's height and width, in pixels.
pub const SIDE: i64 = 28;
/// The number of labels, 0 to 9.
pub const CLASSES: u8 = 10;

/// MNIST's four files and their SHA-256, the same as `scripts/setup.sh` holds what it fetches against.
pub const CHECKSUMS: [(&str, &str); 4] = [
    ("train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    ("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    ("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    ("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
];

/// No MNIST can be larger: tch's reader counts values in 32 bits.
const LARGEST: u64 = u32::MAX as u64 + 16;

/// What MNIST can't be read from.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what they are
pub enum Error {
    #[error("{}: no such file", .0.display())]
    Missing(PathBuf),
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

/// The folder of the four files.
pub fn raw_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("MNIST/raw")
}

/// The SHA-256, in hexadecimal, of each of the four files, by its name.
///
/// # Errors
/// A file that can't be read.
pub fn checksums(data_dir: &Path) -> Result<BTreeMap<&'static str, String>, file::Error> {
    CHECKSUMS.into_iter().map(|(name, _)| Ok((name, checksum(&raw_folder(data_dir).join(name))?))).collect()
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// A file that can't be read.
pub fn checksum(path: &Path) -> Result<String, file::Error> {
    Ok(hex(&Sha256::digest(file::read(path, LARGEST)?)))
}

/// Reads training and test set onto `device`: images `[N, 1, 28, 28]` of f32 in [0, 1], labels `[N]` of i64.
///
/// tch's reader believes the files' headers, so each is held against its file first.
///
/// # Errors
/// A file that is missing, or not what its name says.
pub fn load(data_dir: &Path, device: Device) -> Result<Dataset, Error> {
    let folder = raw_folder(data_dir);
    let [images, labels] = ["images-idx3-ubyte", "labels-idx1-ubyte"]
        .map(|kind| ["train", "t10k"].map(|set| folder.join(format!("{set}-{kind}"))));
    for (images, labels) in images.iter().zip(&labels) {
        check_set(images, labels)?;
    }
    let read = caught(|| tch::vision::mnist::load_dir(&folder))?;
    let mut mnist = read.map_err(file::Error::io("read the images in", &folder))?;
    for (path, labels) in labels.iter().zip([&mnist.train_labels, &mnist.test_labels]) {
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

/// Makes sure that two files' headers and lengths are those of images and of as many labels.
fn check_set(images: &Path, labels: &Path) -> Result<(), Error> {
    let [image_count, height, width] = header(images)?;
    if [height, width] != [SIDE as u32; 2] {
        let reason = format!("images of {height}x{width} pixels, the models take {SIDE}x{SIDE}");
        return Err(invalid(images, reason));
    }
    let [label_count] = header(labels)?;
    if image_count != label_count {
        let name = images.file_name().unwrap_or_default().display();
        return Err(invalid(labels, format!("{label_count} labels for the {image_count} images of {name}")));
    }
    if image_count == 0 {
        return Err(invalid(images, "holds no image".into()));
    }
    Ok(())
}

/// The dimensions of an IDX file, after making sure that it holds just the bytes they promise.
fn header<const DIMENSIONS: usize>(path: &Path) -> Result<[u32; DIMENSIONS], Error> {
    let cannot_read = || file::Error::io("read", path);
    let metadata = path.metadata().map_err(cannot_read()).map_err(|error| {
        if error.is_not_found() { Error::Missing(path.to_path_buf()) } else { error.into() }
    })?;
    if !metadata.is_file() {
        return Err(file::Error::NotRegular { path: path.to_path_buf() }.into());
    }
    let mut start = vec![];
    let file = File::open(path).map_err(cannot_read())?;
    file.take(header_length(DIMENSIONS)).read_to_end(&mut start).map_err(cannot_read())?;
    dimensions(&start, metadata.len()).map_err(|reason| invalid(path, reason))
}

fn header_length(dimensions: usize) -> u64 {
    4 * (1 + dimensions as u64)
}

/// The dimensions in an IDX file's `start`, its header at least, of a file `length` bytes long.
///
/// # Errors
/// Another magic number, or dimensions that don't make `length`, or more values than tch's reader can count.
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
