//! A grey picture made into one of MNIST's images by the rules its makers give
//! (<http://yann.lecun.com/exdb/mnist/>): the digit scaled to fit a box of 20x20 pixels, its proportions and grey
//! levels kept, and placed in the 28x28 so that its centre of mass is in the middle.
//!
//! What they leave open was measured on MNIST's 70,000 images: the longer side is 20 pixels, the darkest pixel 254 or
//! 255, and the centre of mass, counted from the middle of the first pixel, between 13.48 and 14.5.

use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, RgbImage};
use imageproc::morphology::{Mask, grayscale_dilate};

use super::bounds::Bounds;
use super::{Digit, SIDE};

/// The box that a digit fills.
const BOX: u32 = 20;
/// Where the centre of mass comes as near as whole pixels allow.
const MIDDLE: f64 = 14.0;
/// Strokes of MNIST's are hardly thinner than this.
const MIN_STROKE: f32 = 1.9;

/// A figure's ink as an image of MNIST's; `None` if there is none.
pub(super) fn normalize(ink: GrayImage) -> Option<Digit> {
    Some(centred(&scaled(thickened(ink)?)?))
}

/// The image itself if it is laid out as MNIST's are, or as the negative of one: scaling it once more could only blur it.
pub(super) fn mnists_own(picture: &RgbImage) -> Option<Digit> {
    if picture.dimensions() != (SIDE as u32, SIDE as u32) {
        return None;
    }
    let own = imageops::grayscale(picture);
    let mut negative = own.clone();
    imageops::invert(&mut negative);
    [own, negative].iter().find_map(laid_out)
}

fn laid_out(ink: &GrayImage) -> Option<Digit> {
    let image = Digit::try_from(ink.as_raw().as_slice()).ok()?;
    let bounds = bounds(ink)?;
    let (x, y) = centre_of_mass(ink);
    let in_the_middle = |centre: f64| (centre - MIDDLE).abs() <= 0.52;
    let fits = [BOX - 1, BOX].contains(&bounds.size());
    let stretched = *ink.iter().max()? >= 254;
    (fits && stretched && in_the_middle(x) && in_the_middle(y)).then_some(image)
}

/// The strokes of a fine pen made as thick as MNIST's are.
fn thickened(ink: GrayImage) -> Option<GrayImage> {
    let least = MIN_STROKE * bounds(&ink)?.size() as f32 / BOX as f32;
    let radius = ((least - stroke_width(&ink)) / 2.0).round().clamp(0.0, 12.0) as u8;
    Some(if radius == 0 { ink } else { grayscale_dilate(&ink, &Mask::disk(radius)) })
}

/// How thick the strokes are: twice the area by the length of its edge.
pub(super) fn stroke_width(mask: &GrayImage) -> f32 {
    let is_ink = |x: u32, y: u32| mask.get_pixel_checked(x, y).is_some_and(|value| value.0[0] > 127);
    let (mut area, mut edge) = (0, 0);
    for (x, y, _) in mask.enumerate_pixels().filter(|(x, y, _)| is_ink(*x, *y)) {
        area += 1;
        let around =
            [is_ink(x.wrapping_sub(1), y), is_ink(x + 1, y), is_ink(x, y.wrapping_sub(1)), is_ink(x, y + 1)];
        edge += u32::from(around.contains(&false));
    }
    2.0 * area as f32 / edge.max(1) as f32
}

/// The value as a part of the full one.
fn times_255(value: u8, full: u8) -> u8 {
    ((u32::from(value) * 255 + u32::from(full) / 2) / u32::from(full)).min(255) as u8
}

/// The smallest box that holds all ink; `None` if there is none.
fn bounds(ink: &GrayImage) -> Option<Bounds> {
    let inked = ink.enumerate_pixels().filter(|(_, _, value)| value.0[0] > 0);
    let boxes = inked.map(|(x, y, _)| Bounds { left: x, top: y, right: x + 1, bottom: y + 1 });
    boxes.reduce(|a, b| a.with(&b))
}

/// The digit without the paper around it, its longer side scaled to [`BOX`] and its darkest pixel to 255.
fn scaled(ink: GrayImage) -> Option<GrayImage> {
    let bounds = bounds(&ink)?;
    let digit = DynamicImage::from(ink).crop_imm(bounds.left, bounds.top, bounds.width(), bounds.height());
    let mut digit = digit.resize(BOX, BOX, FilterType::CatmullRom).into_luma8();
    let darkest = *digit.iter().max()?;
    digit.iter_mut().for_each(|value| *value = times_255(*value, darkest));
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

/// The digit moved by whole pixels, so that its centre of mass comes into the middle, as far as the image is wide.
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
