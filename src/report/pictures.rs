//! Pictures on a page: images and weights as small PNGs in its text, charts as SVG.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tch::{Device, Kind, TchError, Tensor};

use super::Error;
use crate::torchvision::SIDE;

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
    png(png::ColorType::Grayscale, &paper)
}

/// 784 weights: blue above 0, red below, clear at 0, full at `largest`.
pub fn weights(weights: &Tensor, largest: f32) -> Result<String, Error> {
    const ABOVE: [u8; 3] = [31, 119, 220];
    const BELOW: [u8; 3] = [214, 39, 40];
    let values = of_tensor(weights).map_err(torch)?;
    let pixels: Vec<u8> = values
        .iter()
        .flat_map(|value| {
            let [red, green, blue] = if *value < 0.0 { BELOW } else { ABOVE };
            [red, green, blue, (255.0 * (value.abs() / largest).min(1.0)).round() as u8]
        })
        .collect();
    png(png::ColorType::Rgba, &pixels)
}

fn torch(error: TchError) -> Error {
    Error::Islp(error.into())
}

fn of_tensor(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    Vec::try_from(tensor.detach().f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_reshape(-1)?)
}

fn png(color: png::ColorType, pixels: &[u8]) -> Result<String, Error> {
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, SIDE as u32, SIDE as u32);
    encoder.set_color(color);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(pixels));
    written.map_err(|error| Error::Picture(error.to_string()))?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(bytes)))
}
