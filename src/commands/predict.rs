//! `islp-mnist predict`: which digit a picture shows.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::{UsageError, print, set_up};
use crate::device::DeviceOption;
use crate::digit::{self, Digit, Error, PictureError};
use crate::mnist::{self, SIDE};
use crate::module::SimpleModule;
use crate::shown::shown;
use crate::torch_error::without_backtrace;
use crate::{banner, file, weights};

/// Read a digit: from pictures, or from one of the test images.
///
/// A picture is a PNG or JPEG of any size with one digit, dark on light or light on dark; it is cut out, scaled and
/// centred as MNIST's digits are. Of --checkpoint, `islp-mnist test --help` says more.
///
/// A picture that can't be read is an error line, the rest goes on, and the exit code is 1.
///
/// Example: islp-mnist predict --checkpoint output/MNIST/version_0 --show docs/four.png
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
    /// Print a JSON array instead, an object for each image
    ///
    /// Its fields: image, the file's name; digit, the most probable one; probabilities, ten numbers, of the digits 0 to
    /// 9 in this order. If the image can't be read: image and error, the message.
    #[arg(long, conflicts_with = "show")]
    json: bool,
    /// Folder with MNIST/raw/, as torchvision lays it out, for --index
    #[arg(long, default_value = "data")]
    data_dir: PathBuf,
    /// Where to compute: auto, cpu, cuda, cuda:N or mps
    #[arg(long, default_value = "auto")]
    device: DeviceOption,
}

/// Runs the command. A picture that fails keeps none of the others from being read.
pub fn run(options: &Options) -> Result<u8> {
    let device = set_up(options.device, None)?;
    let module = weights::load(&options.checkpoint, device)?;
    let test_image = options.index.map(|index| test_image(options, index)).transpose()?;
    let read = |path: &PathBuf| (path.display().to_string(), digit::read(path).map_err(with_hint));
    let pictures = options.images.iter().map(read);

    let mut exit_code = 0;
    let mut json = vec![];
    for (name, digit) in test_image.into_iter().map(|(name, digit)| (name, Ok(digit))).chain(pictures) {
        let predicted = digit.and_then(|digit| {
            let probabilities = probabilities(&module, &digit, &options.checkpoint)
                .map_err(|error| anyhow!("{name}: {}", without_backtrace(&format!("{error:#}"))))?;
            Ok((digit, probabilities))
        });
        match predicted {
            Ok((_, probabilities)) if options.json => {
                let digit = by_probability(&probabilities)[0];
                json.push(json!({ "image": name, "digit": digit, "probabilities": probabilities }));
            }
            Ok((digit, probabilities)) => {
                print(&line(&name, &probabilities))?;
                if options.show {
                    print(&digit::show(&digit))?;
                }
            }
            Err(error) => {
                let error = shown(&format!("{error:#}"));
                banner::print(&format!("error: {error}"));
                json.push(json!({ "image": name, "error": error }));
                exit_code = 1;
            }
        }
    }
    if options.json {
        print(&json!(json).to_string())?;
    }
    Ok(exit_code)
}

/// The probabilities of the digits 0 to 9.
fn probabilities(module: &SimpleModule, digit: &Digit, checkpoint: &Path) -> Result<Vec<f32>> {
    let image = Tensor::f_from_slice(digit)?.f_view([1, 1, SIDE, SIDE])?.f_to_kind(Kind::Float)?;
    // As ToTensor.
    let image = image.f_div_scalar(255)?.f_to_device(module.vs.device())?;
    let logits = module.forward(&image, false)?;
    ensure!(
        bool::try_from(logits.f_isfinite()?.f_all()?)?,
        "the outputs of the model in {} are not finite",
        checkpoint.display()
    );
    let probabilities = logits.f_softmax(1, Kind::Float)?.f_flatten(0, -1)?.f_to_device(Device::Cpu)?;
    Ok(Vec::try_from(probabilities)?)
}

/// The digits, the most probable first.
fn by_probability(probabilities: &[f32]) -> Vec<usize> {
    let mut digits: Vec<usize> = (0..probabilities.len()).collect();
    digits.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    digits
}

/// The image's digit, with the three most probable ones.
fn line(name: &str, probabilities: &[f32]) -> String {
    let digits = by_probability(probabilities);
    let best = digits.iter().take(3).map(|&digit| format!("{digit} {:.4}", probabilities[digit]));
    format!("{}: {}   ({})", shown(name), digits[0], best.collect::<Vec<_>>().join(", "))
}

/// The error with what to do about it.
fn with_hint(error: digit::Error) -> anyhow::Error {
    let hint = hint(&error).map(|hint| format!("; {hint}")).unwrap_or_default();
    anyhow!("{:#}{hint}", anyhow::Error::from(error))
}

/// What to do about a picture that can't be read.
fn hint(error: &digit::Error) -> Option<&'static str> {
    const SMALLER: &str = "take a smaller picture, a few hundred pixels will do";
    match error {
        Error::File(file::Error::TooLarge { .. }) => Some(SMALLER),
        Error::File(file::Error::NotRegular { .. }) => Some("name a PNG or JPEG picture of a digit"),
        Error::File(error) => error.is_not_found().then_some("name a PNG or JPEG picture of a digit"),
        Error::Picture { source, .. } => Some(match source {
            PictureError::UnknownFormat => "convert it to one of them",
            PictureError::Unreadable { .. } => "save the picture again as a plain PNG or JPEG",
            PictureError::TooLarge { .. } => SMALLER,
            PictureError::NoDigit => "take a picture with more contrast",
        }),
    }
}

/// One of the test images, with its label in its name.
fn test_image(options: &Options, index: usize) -> Result<(String, Digit)> {
    let mnist = mnist::load(&options.data_dir, Device::Cpu)?;
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
