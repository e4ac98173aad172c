//! `islp-mnist predict`: which digit a picture shows.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::hints::explain;
use super::{DataDir, UsageError, print, say, set_up};
use crate::cli::device::DeviceOption;
use crate::digit::{self, Digit};
use crate::islp::module::SimpleModule;
use crate::notebook::weights;
use crate::torchvision::{self, SIDE};
use crate::util::text::shown;

/// Read a digit: from pictures, or from one of the test images.
///
/// A picture is a PNG or JPEG of any size with one digit, dark on light or light on dark; it is cut out, scaled and
/// centred as MNIST's digits are. Of --checkpoint, `islp-mnist test --help` says more.
///
/// A picture that can't be read is an error line, the rest goes on, and the exit code is 1.
///
/// Example: islp-mnist predict --checkpoint output/MNIST/version_0 --show docs/four.png
#[derive(Args, Debug)]
pub struct PredictArgs {
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
    #[command(flatten)]
    data: DataDir,
    /// Where to compute: auto, cpu, cuda, cuda:N or mps
    #[arg(long, default_value = "auto")]
    device: DeviceOption,
}

/// Runs the command. A picture that fails keeps none of the others from being read.
pub fn run(args: &PredictArgs) -> Result<u8> {
    let device = set_up(args.device, None)?;
    let module = weights::load(&args.checkpoint, device)?;
    let test_image = args.index.map(|index| test_image(args, index)).transpose()?;
    let read = |path: &PathBuf| (path.display().to_string(), digit::read(path).map_err(anyhow::Error::from));
    let pictures = args.images.iter().map(read);

    let mut exit_code = 0;
    let mut json = vec![];
    for (name, digit) in test_image.into_iter().map(|(name, digit)| (name, Ok(digit))).chain(pictures) {
        let predicted = digit.and_then(|digit| {
            let probabilities =
                probabilities(&module, &digit, &args.checkpoint).with_context(|| name.clone())?;
            Ok((digit, probabilities))
        });
        match predicted {
            Ok((_, probabilities)) if args.json => {
                let digit = by_probability(&probabilities)[0];
                json.push(json!({ "image": name, "digit": digit, "probabilities": probabilities }));
            }
            Ok((digit, probabilities)) => {
                print(&line(&name, &probabilities))?;
                if args.show {
                    print(&digit::show(&digit))?;
                }
            }
            Err(error) => {
                let error = shown(&explain(&error));
                say(&format!("error: {error}"));
                json.push(json!({ "image": name, "error": error }));
                exit_code = 1;
            }
        }
    }
    if args.json {
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
        "the outputs of the model in {} are not all finite; take another checkpoint",
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

/// One of the test images, with its label in its name.
fn test_image(args: &PredictArgs, index: usize) -> Result<(String, Digit)> {
    let mnist = torchvision::load(&args.data.or(None), Device::Cpu)?;
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
