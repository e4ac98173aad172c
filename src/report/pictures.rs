//! Pictures on a page: images and weights as small PNGs in its text, charts as SVG.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tch::vision::dataset::Dataset;
use tch::{Device, Kind, TchError, Tensor};

use super::Error;
use super::format::percent;
use super::predictions::Predictions;
use crate::islp;
use crate::islp::module::SimpleModule;
use crate::torchvision::SIDE;
use crate::util::png;

/// How many units of a layer a page shows.
const MAX_UNITS: usize = 20;

/// A picture and what it shows in words, for those who can't see it, and below it for all.
pub struct Picture {
    /// A PNG as a data: URL.
    pub source: String,
    pub alt: String,
    pub caption: String,
}

/// One of a data set's images `[N, 1, 28, 28]`, as ink on paper.
pub fn digit(images: &Tensor, index: usize) -> Result<String, Error> {
    let ink = of_tensor(&images.f_get(index as i64).map_err(torch)?).map_err(torch)?;
    let paper: Vec<u8> = ink.iter().map(|&value| 255 - (value * 255.0).round() as u8).collect();
    png_url(png::Color::Grayscale, &paper)
}

/// 784 weights: blue above 0, red below, clear at 0, full at `largest`.
fn weights_picture(weights: &Tensor, largest: f32) -> Result<String, Error> {
    const ABOVE: [u8; 3] = [31, 119, 220];
    const BELOW: [u8; 3] = [214, 39, 40];
    let values = of_tensor(weights).map_err(torch)?;
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

/// A test image that is taken for another digit.
pub fn mistake(predictions: &Predictions, mnist: &Dataset, image: usize) -> Result<Picture, Error> {
    let (truth, guess) = (predictions.truths[image], predictions.guesses[image]);
    let sure = percent(predictions.probability(image, guess).into());
    Ok(Picture {
        source: digit(&mnist.test_images, image)?,
        alt: format!("Test image {image}: {truth}, taken for {guess} with {sure}"),
        caption: format!("{truth}, taken for {guess} with {sure}"),
    })
}

/// Of a logistic regression the weights of each digit, of the perceptron those of its first layer's strongest units.
pub fn weight_pictures(module: &SimpleModule) -> Result<(Vec<Picture>, &'static str), Error> {
    let state = module.state_dict();
    let (name, what, say) = match state.contains_key("linear.1.weight") {
        true => ("linear.1.weight", "Digit", "The weights of each digit"),
        false => (
            "layer1.1.weight",
            "Unit",
            "The first layer's units with the largest weights (by their Euclidean norm)",
        ),
    };
    let Some(weights) = state.get(name) else { return Ok((vec![], say)) };
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
    Ok((rows.iter().map(picture).collect::<Result<_, Error>>()?, say))
}

fn torch(error: TchError) -> Error {
    Error::Islp(error.into())
}

fn of_tensor(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    Vec::try_from(tensor.detach().f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_reshape(-1)?)
}

/// An image of 28 by 28 pixels as a data: URL.
fn png_url(color: png::Color, pixels: &[u8]) -> Result<String, Error> {
    let bytes =
        png::encode(color, SIDE as usize, pixels).map_err(|error| Error::Picture(error.to_string()))?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(bytes)))
}
