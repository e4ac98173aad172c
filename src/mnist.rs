//! `torchvision.datasets.MNIST` with `ToTensor`: the four IDX files of `DATA_DIR/MNIST/raw`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use tch::vision::dataset::Dataset;

/// An image's height and width, in pixels.
pub const SIDE: i64 = 28;
/// The number of labels, 0 to 9.
pub const CLASSES: u8 = 10;

/// Reads training and test set: images `[N, 1, 28, 28]` of f32 in [0, 1], labels `[N]` of i64.
///
/// tch's reader believes the files' headers, so each is held against its file first. An error names the
/// file and says what to do.
pub fn load(data_dir: &Path) -> Result<Dataset> {
    let folder = data_dir.join("MNIST/raw");
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
    let mut mnist = tch::vision::mnist::load_dir(&folder)
        .with_context(|| format!("cannot read the images in {}", folder.display()))?;
    for (set, labels) in [("train", &mnist.train_labels), ("t10k", &mnist.test_labels)] {
        let largest = labels.max().int64_value(&[]);
        ensure!(
            largest < i64::from(CLASSES),
            "{}: has the label {largest}, labels go from 0 to {}; {REFETCH}",
            folder.join(format!("{set}-labels-idx1-ubyte")).display(),
            CLASSES - 1
        );
    }
    for images in [&mut mnist.train_images, &mut mnist.test_images] {
        *images = images.view([-1, 1, SIDE, SIDE]);
    }
    Ok(mnist)
}

const REFETCH: &str = "remove it and run scripts/reproduce.sh without --data-dir, which fetches MNIST into data/, or name \
                       another folder with --data-dir";

/// An IDX header's dimensions, after making sure that the file holds just the bytes they promise.
fn header<const DIMENSIONS: usize>(path: &Path) -> Result<[u32; DIMENSIONS]> {
    let name = path.display();
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("{name}: no such file; scripts/reproduce.sh fetches MNIST, --data-dir names another folder")
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
    };
    // A folder, or a FIFO, which would block the reader.
    ensure!(metadata.is_file(), "{name}: not a regular file; {REFETCH}");
    let expected = 4 * (1 + DIMENSIONS as u64);
    ensure!(metadata.len() >= expected, "{name}: shorter than an IDX header; {REFETCH}");

    let mut file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let mut word = || -> std::io::Result<u32> {
        let mut bytes = [0; 4];
        file.read_exact(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    };
    let magic = word().with_context(|| format!("cannot read {name}"))?;
    let expected_magic = 0x800 + DIMENSIONS as u32;
    ensure!(
        magic == expected_magic,
        "{name}: magic number {magic:#010x} instead of {expected_magic:#010x}, so not the IDX file its name says; \
         {REFETCH}"
    );
    let mut dimensions = [0; DIMENSIONS];
    for dimension in &mut dimensions {
        *dimension = word().with_context(|| format!("cannot read {name}"))?;
    }
    let values = dimensions.iter().try_fold(1u64, |product, &d| product.checked_mul(u64::from(d)));
    ensure!(
        values.and_then(|values| values.checked_add(expected)) == Some(metadata.len()),
        "{name}: its header announces {dimensions:?} values, but the file is {} bytes long; {REFETCH}",
        metadata.len()
    );
    Ok(dimensions)
}
