//! `islp-mnist predict`: which digit a picture shows.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::{UsageError, print, set_up};
use crate::cli::device::DeviceOption;
use crate::digit::{self, Digit};
use crate::notebook::weights;
use crate::torchvision::{self, SIDE};

/// Read a digit: from pictures, or from one of the test images.
///
/// A picture is a PNG or JPEG of any size with one digit, dark on light or light on dark; it is cut out, scaled and
/// centred as MNIST's digits are. Of --checkpoint, `islp-mnist test --help` says more.
///
/// Example: islp-mnist predict --checkpoint output/MNIST/version_0 --show four.png
#[derive(Args, Debug)]
pub struct Options {
    /// Pictures, each of one digit
    #[arg(value_name = "IMAGE", required_unless_present = "index")]
    images: Vec<PathBuf>,
    /// A test image instead, by its number from 0
    #[arg(long, value_name = "N", conflicts_with = "images")]
    index: Option<usize>,
    /// The weights: a .safetensors file or the folder of a run
    #[arg(long, value_name = "FILE_OR_VERSION_DIR")]
    checkpoint: PathBuf,
    /// Show the image as the model sees it
    #[arg(long)]
    show: bool,
    /// Print a JSON array instead, with the probabilities of all ten digits
    #[arg(long, conflicts_with = "show")]
    json: bool,
    /// Folder with MNIST/raw/, as torchvision lays it out, for --index
    #[arg(long, default_value = "data")]
    data_dir: PathBuf,
    /// Where to compute: auto, cpu, cuda, cuda:N or mps
    #[arg(long, default_value = "auto")]
    device: DeviceOption,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<u8> {
    let device = set_up(options.device, None)?;
    let module = weights::load(&options.checkpoint, device)?;
    let digits = match options.index {
        Some(index) => vec![test_image(options, index)?],
        None => {
            let read = |path: &PathBuf| Ok((path.display().to_string(), digit::read(path)?));
            options.images.iter().map(read).collect::<Result<Vec<_>>>()?
        }
    };

    let mut predictions = vec![];
    for (name, digit) in &digits {
        let image = Tensor::f_from_slice(digit)?.f_view([1, 1, SIDE, SIDE])?.f_to_kind(Kind::Float)?;
        // As ToTensor.
        let logits = module.forward(&image.f_div_scalar(255)?.f_to_device(device)?, false)?;
        let probabilities = logits.f_softmax(1, Kind::Float)?.f_flatten(0, -1)?.f_to_device(Device::Cpu)?;
        let probabilities = Vec::<f32>::try_from(probabilities)?;
        let mut best: Vec<usize> = (0..probabilities.len()).collect();
        best.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        if options.json {
            predictions.push(json!({ "image": name, "digit": best[0], "probabilities": probabilities }));
            continue;
        }
        let of_best = best.iter().take(3).map(|&digit| format!("{digit} {:.4}", probabilities[digit]));
        print(&format!("{name}: {}   ({})", best[0], of_best.collect::<Vec<_>>().join(", ")))?;
        if options.show {
            print(&digit::show(digit))?;
        }
    }
    if options.json {
        print(&json!(predictions).to_string())?;
    }
    Ok(0)
}

/// One of the test images, with its label in its name.
fn test_image(options: &Options, index: usize) -> Result<(String, Digit)> {
    let mnist = torchvision::load(&options.data_dir, Device::Cpu)?;
    let count = mnist.test_labels.numel();
    ensure!(
        index < count,
        UsageError(format!("--index {index}: there are {count} test images, 0 to {}", count - 1))
    );
    let (image, label) = (mnist.test_images.f_get(index as i64)?, mnist.test_labels.f_get(index as i64)?);
    let values = image.f_mul_scalar(255)?.f_round()?.f_to_kind(Kind::Uint8)?.f_flatten(0, -1)?;
    let mut digit = [0; (SIDE * SIDE) as usize];
    values.f_copy_data(&mut digit, values.numel())?;
    Ok((format!("test image {index}, a {}", i64::try_from(label)?), digit))
}
