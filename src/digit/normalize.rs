//! Turns a figure's ink into one of MNIST's images by the rules of its makers
//! (<http://yann.lecun.com/exdb/mnist/>): the digit is scaled to fit a box of 20x20 pixels, keeping its proportions and
//! grey levels, and placed in the 28x28 pixels so that its centre of mass is in the middle.
//!
//! The details that they leave open were measured on MNIST's 70,000 images (`thresholds`).

use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, RgbImage};
use imageproc::morphology::{Mask, grayscale_dilate};

use super::figures::Bounds;
use super::ink::stroke_width;
use super::thresholds::{BOX, MAX_THICKENING, MIDDLE, MIDDLE_TOLERANCE, MIN_DARKEST, MIN_STROKE};
use crate::torchvision;

pub(super) const SIDE: usize = torchvision::SIDE as usize;

/// An image in MNIST's format: 28 rows of 28 values from 0, the paper, to 255, full ink.
pub type Digit = [u8; SIDE * SIDE];

/// A figure's ink as one of MNIST's images; `None` if there is no ink.
pub(super) fn normalize(ink: GrayImage) -> Option<Digit> {
    Some(centred(&scaled(thickened(ink)?)?))
}

/// The picture itself if it has MNIST's layout, or its negative does: scaling it once more could only blur it.
pub(super) fn mnists_own(picture: &RgbImage) -> Option<Digit> {
    if picture.dimensions() != (SIDE as u32, SIDE as u32) {
        return None;
    }
    let own = imageops::grayscale(picture);
    let mut negative = own.clone();
    imageops::invert(&mut negative);
    [own, negative].iter().find_map(laid_out)
}

/// The image, if it has MNIST's layout.
fn laid_out(ink: &GrayImage) -> Option<Digit> {
    let image = Digit::try_from(ink.as_raw().as_slice()).ok()?;
    let bounds = bounds(ink)?;
    let (x, y) = centre_of_mass(ink);
    let in_the_middle = |centre: f64| (centre - MIDDLE).abs() <= MIDDLE_TOLERANCE;
    let fits = [BOX - 1, BOX].contains(&bounds.size());
    let stretched = *ink.iter().max()? >= MIN_DARKEST;
    (fits && stretched && in_the_middle(x) && in_the_middle(y)).then_some(image)
}

/// Thickens the strokes of a fine pen to MNIST's.
fn thickened(ink: GrayImage) -> Option<GrayImage> {
    let least = MIN_STROKE * bounds(&ink)?.size() as f32 / BOX as f32;
    let radius = ((least - stroke_width(&ink)) / 2.0).round().clamp(0.0, MAX_THICKENING) as u8;
    Some(if radius == 0 { ink } else { grayscale_dilate(&ink, &Mask::disk(radius)) })
}

/// The smallest box around all ink; `None` if there is no ink.
fn bounds(ink: &GrayImage) -> Option<Bounds> {
    let inked = ink.enumerate_pixels().filter(|(_, _, value)| value.0[0] > 0);
    let boxes = inked.map(|(x, y, _)| Bounds { left: x, top: y, right: x + 1, bottom: y + 1 });
    boxes.reduce(|a, b| a.with(&b))
}

/// Crops the digit and scales its longer side to [`BOX`] and its darkest pixel to 255.
fn scaled(ink: GrayImage) -> Option<GrayImage> {
    let bounds = bounds(&ink)?;
    let digit = DynamicImage::from(ink).crop_imm(bounds.left, bounds.top, bounds.width(), bounds.height());
    let mut digit = digit.resize(BOX, BOX, FilterType::CatmullRom).into_luma8();
    let darkest = u32::from(*digit.iter().max()?);
    let stretched = |value: u8| (u32::from(value) * 255 + darkest / 2) / darkest;
    digit.iter_mut().for_each(|value| *value = stretched(*value) as u8);
    Some(digit)
}

/// Column and row of the centre of mass, counted from the middle of the first pixel.
fn centre_of_mass(ink: &GrayImage) -> (f64, f64) {
    let (mut mass, mut x_sum, mut y_sum) = (0.0, 0.0, 0.0);
    for (x, y, value) in ink.enumerate_pixels() {
        let value = f64::from(value.0[0]);
        (mass, x_sum, y_sum) = (mass + value, x_sum + f64::from(x) * value, y_sum + f64::from(y) * value);
    }
    (x_sum / mass, y_sum / mass)
}

/// Places the digit in the image, by whole pixels, so that its centre of mass is in the middle, or as near as fits.
fn centred(digit: &GrayImage) -> Digit {
    let (x, y) = centre_of_mass(digit);
    let margin = |centre: f64, length: u32| {
        (MIDDLE - centre).round().clamp(0.0, f64::from(SIDE as u32 - length)) as i64
    };
    let mut image = GrayImage::new(SIDE as u32, SIDE as u32);
    imageops::replace(&mut image, digit, margin(x, digit.width()), margin(y, digit.height()));
    let mut values = [0; SIDE * SIDE];
    values.copy_from_slice(&image);
    values
}
