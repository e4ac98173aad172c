//! `islp-mnist predict`: reads the digits in pictures.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{ArgGroup, Args};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::hints::{UsageError, explain};
use super::options::DataDir;
use super::output::{print, say_error};
use super::setup::{note_other_data, set_up};
use islp_mnist::digit::{self, Digit, Figure};
use islp_mnist::islp::SimpleModule;
use islp_mnist::notebook::weights;
use islp_mnist::run::DeviceOption;
use islp_mnist::torchvision::{self, SIDE};
use islp_mnist::util::file;
use islp_mnist::util::path::{shown_path, to_text};
use islp_mnist::util::text::shown;

/// Read a digit from pictures, or from one of the test images.
///
/// A picture is a PNG, JPEG, WebP, GIF (its first frame), BMP or TIFF of up to 8192x8192 pixels with a digit on paper, dark
/// on light or light on dark. The digit is found, cut out, scaled and centred like MNIST's; printed lines, the sheet's
/// edge and shadows are ignored. If there are several figures, the largest is read, or each of them with --all.
/// `islp-mnist test --help` says more about --checkpoint.
///
/// Reasons for doubt follow the answer, after "unsure:". If a picture can't be read, an error is printed, the others are
/// still read, and the exit code is 1.
///
/// Example: islp-mnist predict --checkpoint output/MNIST/version_0 --show docs/four.png
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, about = "Read a digit from pictures, or from one of the test images")]
#[command(group(ArgGroup::new("picture").required(true).args(["images", "index"])))]
pub struct PredictArgs {
    /// Pictures of digits
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Read this test image instead, counting from 0
    #[arg(long, value_name = "N")]
    index: Option<usize>,
    /// The weights: a .safetensors file or the folder of a run
    #[arg(long, value_name = "FILE_OR_VERSION_DIR")]
    checkpoint: PathBuf,
    /// Read every figure in a picture from left to right, not only the largest
    #[arg(long, conflicts_with = "index")]
    all: bool,
    /// Show the image as the model sees it
    #[arg(long)]
    show: bool,
    /// Write the image as the model sees it, as a PNG of 28x28 pixels
    ///
    /// Several images are placed side by side. If no picture can be read, nothing is written.
    #[arg(long, value_name = "FILE")]
    save_digit: Option<PathBuf>,
    /// Print a JSON array instead, with an object for each digit
    ///
    /// Its fields are image, the file's path, or its URL if it is not UTF-8; digit, the most probable one; probabilities,
    /// those of the digits 0 to 9 in this order; and warnings, the reasons for doubt. If a picture can't be read, they are
    /// image and error, the message.
    #[arg(long, conflicts_with = "show")]
    json: bool,
    #[command(flatten)]
    data: DataDir,
    /// Device to compute on: auto, cpu, cuda, cuda:N or mps
    #[arg(long, default_value = "auto")]
    device: DeviceOption,
}

/// Reads every picture, even after one that can't be read.
pub fn run(args: &PredictArgs) -> Result<u8> {
    if let Some(path) = &args.save_digit {
        check_free(path, &args.images)?;
    }
    let device = set_up(args.device, None)?;
    let module = weights::load(&args.checkpoint, device)?;
    let test_image = args.index.map(|index| test_image(args, index)).transpose()?;
    let pictures = args.images.iter().map(|path| ((shown_path(path), to_text(path)), read(path, args.all)));
    let images =
        test_image.into_iter().map(|(name, digit)| ((name.clone(), name), Ok(vec![(digit, vec![])])));
    let images = images.chain(pictures);

    let mut exit_code = 0;
    let (mut json, mut seen) = (vec![], vec![]);
    // `name` is for a line of output, `text` for JSON.
    for ((name, text), digits) in images {
        let predict = |(digit, warnings)| {
            Prediction::new(&module, digit, warnings, &args.checkpoint).with_context(|| name.clone())
        };
        match digits.and_then(|digits| digits.into_iter().map(predict).collect::<Result<Vec<_>>>()) {
            Ok(predictions) => {
                for prediction in predictions {
                    if args.json {
                        json.push(prediction.json(&text));
                    } else {
                        print(&prediction.line(&name))?;
                    }
                    if args.show {
                        print(&digit::show(&prediction.image))?;
                    }
                    seen.push(prediction.image);
                }
            }
            Err(error) => {
                let error = explain(&error);
                say_error(&error);
                json.push(json!({ "image": text, "error": shown(&error) }));
                exit_code = 1;
            }
        }
    }
    if args.json {
        print(&json!(json).to_string())?;
    }
    if let (Some(path), false) = (&args.save_digit, seen.is_empty()) {
        file::write(path, &digit::png(&seen))?;
    }
    Ok(exit_code)
}

/// Refuses to overwrite one of the pictures, or something other than a regular file.
fn check_free(path: &Path, images: &[PathBuf]) -> Result<()> {
    let is_same = |image: &PathBuf| {
        fs::canonicalize(image).is_ok_and(|image| fs::canonicalize(path).ok() == Some(image))
    };
    let refuse =
        |reason: &str| Err(UsageError(format!("--save-digit {}: {reason}", shown_path(path))).into());
    if images.iter().any(is_same) {
        return refuse("is one of the pictures; name another file");
    }
    if path.exists() && !path.is_file() {
        return refuse("not a regular file; name a file to write");
    }
    Ok(())
}

/// Reads the largest digit in a picture, or all of them, each with its warnings.
fn read(path: &Path, all: bool) -> Result<Vec<(Digit, Vec<String>)>> {
    let figures = digit::read(path)?;
    let several = (!all && figures.len() > 1)
        .then(|| format!("{} figures in the picture, this is the largest; --all reads each", figures.len()));
    let taken = if all { figures } else { digit::largest(&figures).cloned().into_iter().collect() };
    let with_warnings = |figure: Figure| {
        let warnings = figure.warnings.iter().map(ToString::to_string);
        (figure.digit, several.iter().cloned().chain(warnings).collect())
    };
    Ok(taken.into_iter().map(with_warnings).collect())
}

/// The model's output for an image.
struct Prediction {
    image: Digit,
    /// Those of the digits 0 to 9.
    probabilities: Vec<f32>,
    warnings: Vec<String>,
}

/// The model counts as sure if its best probability leads the second by this.
const LEAD: f32 = 0.6;

impl Prediction {
    fn new(module: &SimpleModule, image: Digit, warnings: Vec<String>, checkpoint: &Path) -> Result<Self> {
        let input = Tensor::f_from_slice(&image)?.f_view([1, 1, SIDE, SIDE])?.f_to_kind(Kind::Float)?;
        // Like ToTensor.
        let input = input.f_div_scalar(255)?.f_to_device(module.vs.device())?;
        let probabilities = probabilities(module, &input, checkpoint)?;
        let mut prediction = Self { image, probabilities, warnings };
        if weights::is_first_layer_silent(module, &input)? {
            prediction
                .warnings
                .push("the model sees nothing: its first hidden layer is zero everywhere".into());
        }
        let best = prediction.by_probability();
        let lead = prediction.probabilities[best[0]] - prediction.probabilities[best[1]];
        if lead < LEAD {
            prediction.warnings.push(format!("it may as well be a {}", best[1]));
        }
        Ok(prediction)
    }

    /// Returns the digits, the most probable first.
    fn by_probability(&self) -> Vec<usize> {
        let mut digits: Vec<usize> = (0..self.probabilities.len()).collect();
        digits.sort_by(|&a, &b| self.probabilities[b].total_cmp(&self.probabilities[a]));
        digits
    }

    /// Formats the line for the image: its digit, the three most probable ones, and the warnings.
    fn line(&self, name: &str) -> String {
        let digits = self.by_probability();
        let best = digits.iter().take(3).map(|&digit| format!("{digit} {:.4}", self.probabilities[digit]));
        let line = format!("{name}: {}   ({})", digits[0], best.collect::<Vec<_>>().join(", "));
        if self.warnings.is_empty() { line } else { format!("{line}   unsure: {}", self.warnings.join("; ")) }
    }

    fn json(&self, name: &str) -> serde_json::Value {
        let digit = self.by_probability()[0];
        json!({ "image": name, "digit": digit, "probabilities": self.probabilities, "warnings": self.warnings })
    }
}

/// The probabilities of the digits 0 to 9.
fn probabilities(module: &SimpleModule, input: &Tensor, checkpoint: &Path) -> Result<Vec<f32>> {
    let logits = module.forward(input, false)?;
    ensure!(
        bool::try_from(logits.f_isfinite()?.f_all()?)?,
        "the outputs of the model in {} are not all finite; use another checkpoint",
        checkpoint.display()
    );
    let probabilities = logits.f_softmax(1, Kind::Float)?.f_flatten(0, -1)?.f_to_device(Device::Cpu)?;
    Ok(Vec::try_from(probabilities)?)
}

/// Returns one of the test images, and a name that contains its label.
fn test_image(args: &PredictArgs, index: usize) -> Result<(String, Digit)> {
    let data_dir = args.data.or(None);
    let mnist = torchvision::load(&data_dir, Device::Cpu)?;
    let count = mnist.test_labels.numel();
    ensure!(
        index < count,
        UsageError(format!("--index {index}: there are {count} test images, 0 to {}", count - 1))
    );
    let (image, label) = (mnist.test_images.f_get(index as i64)?, mnist.test_labels.f_get(index as i64)?);
    let values = image.f_mul_scalar(255)?.f_round()?.f_to_kind(Kind::Uint8)?.f_flatten(0, -1)?;
    let mut digit = [0; (SIDE * SIDE) as usize];
    values.f_copy_data(&mut digit, values.numel())?;
    note_other_data(&data_dir)?;
    Ok((format!("test image {index}, a {}", i64::try_from(label)?), digit))
}
