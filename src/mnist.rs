//! `torchvision.datasets.MNIST` with `ToTensor`: the four IDX files of `DATA_DIR/MNIST/raw`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use sha2::{Digest, Sha256};
use tch::Device;
use tch::vision::dataset::Dataset;

use crate::shown::hex;
use crate::torch_error::caught;

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

/// The folder of the four files.
pub fn raw_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("MNIST/raw")
}

/// The SHA-256, in hexadecimal, of each of the four files, by its name. An error names the file.
pub fn checksums(data_dir: &Path) -> Result<BTreeMap<&'static str, String>> {
    let of_file = |(name, _)| {
        let path = raw_folder(data_dir).join(name);
        Ok((name, checksum(&path).with_context(|| format!("cannot read {}", path.display()))?))
    };
    CHECKSUMS.into_iter().map(of_file).collect()
}

/// The SHA-256 of a file, in hexadecimal.
pub fn checksum(path: &Path) -> io::Result<String> {
    // A FIFO would block the reader.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(hex(&Sha256::digest(fs::read(path)?)))
}

/// Reads training and test set onto `device`: images `[N, 1, 28, 28]` of f32 in [0, 1], labels `[N]` of i64.
///
/// tch's reader believes the files' headers, so each is held against its file first.
///
/// # Errors
/// A file that is missing, or not what its name says. The message names it and says what to do.
pub fn load(data_dir: &Path, device: Device) -> Result<Dataset> {
    let folder = raw_folder(data_dir);
    for set in ["train", "t10k"] {
        let images = folder.join(format!("{set}-images-idx3-ubyte"));
        let labels = folder.join(format!("{set}-labels-idx1-ubyte"));
        let [image_count, height, width] = header(&images)?;
        ensure!(
            [height, width] == [SIDE as u32; 2],
            "{}: images of {height}x{width} pixels, the models take {SIDE}x{SIDE}; {REFETCH}",
            images.display()
        );
        let [label_count] = header(&labels)?;
        ensure!(
            image_count == label_count,
            "{}: {label_count} labels for the {image_count} images of {set}-images-idx3-ubyte; {REFETCH}",
            labels.display()
        );
        ensure!(image_count > 0, "{}: holds no image; {REFETCH}", images.display());
    }
    let mut mnist = caught(|| tch::vision::mnist::load_dir(&folder))?
        .with_context(|| format!("cannot read the images in {}", folder.display()))?;
    for (set, labels) in [("train", &mnist.train_labels), ("t10k", &mnist.test_labels)] {
        let largest = i64::try_from(labels.f_max()?)?;
        ensure!(
            largest < i64::from(CLASSES),
            "{}: has the label {largest}, labels go from 0 to {}; {REFETCH}",
            folder.join(format!("{set}-labels-idx1-ubyte")).display(),
            CLASSES - 1
        );
    }
    for images in [&mut mnist.train_images, &mut mnist.test_images] {
        *images = images.f_view([-1, 1, SIDE, SIDE])?.f_to_device(device)?;
    }
    for labels in [&mut mnist.train_labels, &mut mnist.test_labels] {
        *labels = labels.f_to_device(device)?;
    }
    Ok(mnist)
}

const REFETCH: &str = "remove it and run scripts/reproduce.sh without --data-dir, which fetches MNIST into data/, or name \
                       another folder with --data-dir";

/// The dimensions of an IDX file, after making sure that it holds just the bytes they promise.
fn header<const DIMENSIONS: usize>(path: &Path) -> Result<[u32; DIMENSIONS]> {
    let name = path.display();
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{name}: no such file; scripts/reproduce.sh fetches MNIST, --data-dir names another folder")
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
    };
    // A folder, or a FIFO, which would block the reader.
    ensure!(metadata.is_file(), "{name}: not a regular file; {REFETCH}");
    let mut start = vec![];
    File::open(path)
        .and_then(|file| file.take(header_length(DIMENSIONS)).read_to_end(&mut start))
        .with_context(|| format!("cannot read {name}"))?;
    dimensions(&start, metadata.len()).map_err(|error| anyhow!("{name}: {error}; {REFETCH}"))
}

fn header_length(dimensions: usize) -> u64 {
    4 * (1 + dimensions as u64)
}

/// The dimensions in an IDX file's `start`, its header at least, of a file `length` bytes long.
///
/// # Errors
/// Another magic number, or dimensions that don't make `length`, or more values than tch's reader can count.
pub fn dimensions<const DIMENSIONS: usize>(start: &[u8], length: u64) -> Result<[u32; DIMENSIONS]> {
    let (words, _) = start.as_chunks();
    let mut words = words.iter().map(|&word| u32::from_be_bytes(word));
    let mut next = || words.next().context("shorter than an IDX header");
    let magic = next()?;
    let mut dimensions = [0; DIMENSIONS];
    for dimension in &mut dimensions {
        *dimension = next()?;
    }
    let expected_magic = 0x800 + DIMENSIONS as u32;
    ensure!(
        magic == expected_magic,
        "magic number {magic:#010x} instead of {expected_magic:#010x}, so not the IDX file its name says"
    );
    let values = dimensions.iter().try_fold(1u64, |product, &d| product.checked_mul(u64::from(d)));
    ensure!(
        values.and_then(|values| values.checked_add(header_length(DIMENSIONS))) == Some(length),
        "its header announces {dimensions:?} values, but the file is {length} bytes long"
    );
    ensure!(values <= Some(u32::MAX.into()), "{dimensions:?} values, more than {}", u32::MAX);
    Ok(dimensions)
}
