//! Elements of a page: charts as SVG, images and weights as small PNGs, numbers as text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tch::vision::dataset::Dataset;
use tch::{Device, Kind, TchError, Tensor};

use super::Error;
use super::predictions::{Predictions, floats};
use crate::islp::{self, SimpleModule};
use crate::torchvision::SIDE;
use crate::util::png;

/// Width and height of a page's charts, in pixels.
pub const CHART: (usize, usize) = (480, 360);
/// Units of a layer that a page shows.
const MAX_UNITS: usize = 20;

/// A chart as HTML, with its description.
pub struct Chart {
    pub svg: String,
    pub caption: String,
}

impl Chart {
    /// Embeds an SVG of [`crate::chart`] and labels it for screen readers.
    pub fn new(svg: &str, caption: String) -> Self {
        let labelled = format!("<svg role=\"img\" aria-label=\"{}\" ", escaped(&caption));
        Self { svg: svg.replacen("<svg ", &labelled, 1), caption }
    }

    /// Embeds an SVG file of unknown origin as an image, in which no script can run.
    pub fn of_file(svg: &[u8], caption: String) -> Self {
        let source = STANDARD.encode(svg);
        let image = format!("<img src=\"data:image/svg+xml;base64,{source}\" alt=\"{}\">", escaped(&caption));
        Self { svg: image, caption }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

/// A picture with its descriptions.
pub struct Picture {
    /// A PNG as a data: URL.
    pub source: String,
    pub alt: String,
    pub caption: String,
}

/// Draws one of a data set's images `[N, 1, 28, 28]`, dark on light, as a data: URL.
pub fn digit(images: &Tensor, index: usize) -> Result<String, Error> {
    let ink = floats(&images.f_get(index as i64).map_err(torch)?).map_err(torch)?;
    let paper: Vec<u8> = ink.iter().map(|&value| 255 - (value * 255.0).round() as u8).collect();
    png_url(png::Color::Grayscale, &paper)
}

/// Draws 784 weights: positive ones blue, negative ones red, transparent at 0 and opaque at `largest`.
fn weights_picture(weights: &Tensor, largest: f32) -> Result<String, Error> {
    const ABOVE: [u8; 3] = [31, 119, 220];
    const BELOW: [u8; 3] = [214, 39, 40];
    let values = floats(weights).map_err(torch)?;
    let pixels: Vec<u8> = values
        .iter()
        .flat_map(|value| {
            let [red, green, blue] = if *value < 0.0 { BELOW } else { ABOVE };
            [
                red,
                green,
                blue,
                (255.0 * (value.abs() / largest.max(f32::MIN_POSITIVE)).min(1.0)).round() as u8,
            ]
        })
        .collect();
    png_url(png::Color::Rgba, &pixels)
}

/// Draws a misclassified test image.
pub fn mistake(predictions: &Predictions, mnist: &Dataset, image: usize) -> Result<Picture, Error> {
    let (truth, guess) = (predictions.truths[image], predictions.guesses[image]);
    let confidence = percent(predictions.probability(image, guess).into());
    Ok(Picture {
        source: digit(&mnist.test_images, image)?,
        alt: format!("Test image {image}: {truth}, predicted {guess} with {confidence}"),
        caption: format!("{truth}, predicted {guess} with {confidence}"),
    })
}

/// Draws the weights of each digit (logistic regression) or of the first layer's units with the largest norms
/// (perceptron). Also returns a description of the weights.
pub fn weight_pictures(module: &SimpleModule) -> Result<(Vec<Picture>, &'static str), Error> {
    let state = module.state_dict();
    let (name, what, sentence) = match state.contains_key("linear.1.weight") {
        true => ("linear.1.weight", "Digit", "The weights of each digit"),
        false => (
            "layer1.1.weight",
            "Unit",
            "The weights of the first layer's units with the largest Euclidean norm",
        ),
    };
    let Some(weights) = state.get(name) else { return Ok((vec![], sentence)) };
    let weights = weights.detach();
    let norms = weights.f_square().and_then(|squares| squares.f_sum_dim_intlist(1, false, Kind::Float));
    let norms: Vec<f32> = norms
        .and_then(|sums| sums.f_to_device(Device::Cpu))
        .and_then(Vec::try_from)
        .map_err(islp::Error::from)?;
    let mut rows: Vec<usize> = (0..norms.len()).collect();
    if what == "Unit" {
        rows.sort_by(|&a, &b| norms[b].total_cmp(&norms[a]));
        rows.truncate(MAX_UNITS);
    }
    let picture = |&row: &usize| {
        let weights = weights.get(row as i64);
        let largest = f32::try_from(weights.abs().max()).map_err(islp::Error::from)?;
        Ok(Picture {
            source: weights_picture(&weights, largest)?,
            alt: format!(
                "{what} {row}: its 784 weights, from {:.3} in blue to {:.3} in red",
                largest, -largest
            ),
            caption: format!("{what} {row}"),
        })
    };
    Ok((rows.iter().map(picture).collect::<Result<_, Error>>()?, sentence))
}

fn torch(error: TchError) -> Error {
    Error::Islp(error.into())
}

/// An image of 28 by 28 pixels as a data: URL.
fn png_url(color: png::Color, pixels: &[u8]) -> Result<String, Error> {
    let bytes =
        png::encode(color, SIDE as usize, pixels).map_err(|error| Error::Picture(error.to_string()))?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(bytes)))
}

/// Formats 0.9725 as 97.25 %.
pub fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

/// Formats 10000 as 10,000.
pub fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}
