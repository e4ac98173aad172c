//! A grey picture made into one of MNIST's images by the rules its makers give
//! (<http://yann.lecun.com/exdb/mnist/>): the digit scaled to fit a box of 20x20 pixels, its proportions and grey
//! levels kept, and placed in the 28x28 so that its centre of mass is in the middle.
//!
//! What they leave open was measured on MNIST's 70,000 images: the longer side is 20 pixels, the darkest pixel 254 or
//! 255, and the centre of mass, counted from the middle of the first pixel, between 13.48 and 14.5.

use std::collections::VecDeque;

use image::imageops::{self, FilterType};
use image::math::Rect;
use image::{DynamicImage, GrayImage};

use super::{Digit, SIDE};

/// The box that a digit fills.
const BOX: u32 = 20;
/// Where the centre of mass comes as near as whole pixels allow.
const MIDDLE: f64 = 14.0;
/// A digit no darker than this against its paper is none.
const MIN_CONTRAST: u8 = 24;

/// The digit in a picture of any size, dark on light or light on dark; `None` if nothing stands out.
pub(super) fn normalize(picture: GrayImage) -> Option<Digit> {
    let paper = Paper::of(&picture)?;
    let mut ink = paper.ink(picture);
    if let Some(digit) = mnists_own(&ink) {
        return Some(digit);
    }
    stretch(&mut ink, paper.noise)?;
    drop_specks(&mut ink);
    Some(centred(&scaled(ink)?))
}

/// What the digit is written on, judged by the picture's border.
struct Paper {
    value: u8,
    /// How far a pixel is from its neighbour. Light that falls off across the paper counts little, and so does a
    /// digit that reaches the border.
    noise: u8,
}

impl Paper {
    fn of(picture: &GrayImage) -> Option<Self> {
        let (right, bottom) = (picture.width().checked_sub(1)?, picture.height().checked_sub(1)?);
        let around = (0..=right).map(|x| (x, 0)).chain((0..=bottom).map(|y| (right, y)));
        let back = (0..=right).rev().map(|x| (x, bottom)).chain((0..=bottom).rev().map(|y| (0, y)));
        let border: Vec<u8> = around.chain(back).map(|(x, y)| picture.get_pixel(x, y).0[0]).collect();
        let steps = border.windows(2).map(|pair| pair[0].abs_diff(pair[1])).collect();
        Some(Self { noise: quantile(steps, 0.5)?, value: quantile(border, 0.5)? })
    }

    /// How far each pixel is from the paper, on the side of it, lighter or darker, on which more lies.
    fn ink(&self, mut picture: GrayImage) -> GrayImage {
        let lighter = |value: u8| value.saturating_sub(self.value);
        let darker = |value: u8| self.value.saturating_sub(value);
        let square = |distance: u8| u64::from(distance).pow(2);
        let light: u64 = picture.iter().map(|&value| square(lighter(value))).sum();
        let dark: u64 = picture.iter().map(|&value| square(darker(value))).sum();
        for value in picture.iter_mut() {
            *value = if light > dark { lighter(*value) } else { darker(*value) };
        }
        picture
    }
}

/// The value below which this part of the values lies.
fn quantile(mut values: Vec<u8>, part: f64) -> Option<u8> {
    let index = (part * values.len().checked_sub(1)? as f64) as usize;
    Some(*values.select_nth_unstable(index).1)
}

/// The image itself if it is laid out as MNIST's are: scaling it once more could only blur it.
fn mnists_own(ink: &GrayImage) -> Option<Digit> {
    let image = Digit::try_from(ink.as_raw().as_slice()).ok().filter(|_| ink.width() == ink.height())?;
    let bounds = bounds(ink)?;
    let (x, y) = centre_of_mass(ink);
    let in_the_middle = |centre: f64| (centre - MIDDLE).abs() <= 0.52;
    let fits = [BOX - 1, BOX].contains(&bounds.width.max(bounds.height));
    let stretched = *ink.iter().max()? >= 254;
    (fits && stretched && in_the_middle(x) && in_the_middle(y)).then_some(image)
}

/// Stretches the ink to 0..=255, with 0 for whatever may be the paper's texture, shade or a JPEG's noise.
fn stretch(ink: &mut GrayImage, noise: u8) -> Option<()> {
    let darkest = *ink.iter().max()?;
    let floor = (darkest / 4).max(noise.saturating_mul(3));
    if darkest < MIN_CONTRAST || darkest <= floor {
        return None;
    }
    // Most of the ink, not the darkest speck, decides what is full ink.
    let full = quantile(ink.iter().copied().filter(|&value| value > floor).collect(), 0.75)?;
    for value in ink.iter_mut() {
        *value = if *value > floor { times_255(*value, full) } else { 0 };
    }
    Some(())
}

/// The value as a part of the full one.
fn times_255(value: u8, full: u8) -> u8 {
    ((u32::from(value) * 255 + u32::from(full) / 2) / u32::from(full)).min(255) as u8
}

/// Wipes out patches that have less than a fiftieth of the largest one's ink.
fn drop_specks(ink: &mut GrayImage) {
    let (width, height) = (ink.width() as usize, ink.height() as usize);
    let ink: &mut [u8] = ink;
    // The number of each pixel's patch. 0 stands for the paper, and for ink that was not reached yet.
    let mut patch_of = vec![0u32; ink.len()];
    let mut masses = vec![0u64];
    let mut reached = VecDeque::new();
    for start in 0..ink.len() {
        if ink[start] == 0 || patch_of[start] > 0 {
            continue;
        }
        let patch = masses.len();
        masses.push(0);
        patch_of[start] = patch as u32;
        reached.push_back(start);
        while let Some(pixel) = reached.pop_front() {
            masses[patch] += u64::from(ink[pixel]);
            let (x, y) = (pixel % width, pixel / width);
            for y in y.saturating_sub(1)..(y + 2).min(height) {
                for pixel in y * width + x.saturating_sub(1)..y * width + (x + 2).min(width) {
                    if ink[pixel] > 0 && patch_of[pixel] == 0 {
                        patch_of[pixel] = patch as u32;
                        reached.push_back(pixel);
                    }
                }
            }
        }
    }
    let largest = masses.iter().copied().max().unwrap_or(0);
    for (value, patch) in ink.iter_mut().zip(patch_of) {
        if masses[patch as usize] < largest / 50 {
            *value = 0;
        }
    }
}

/// The smallest box that holds all ink; `None` if there is none.
fn bounds(ink: &GrayImage) -> Option<Rect> {
    let (mut left, mut right, mut top, mut bottom) = (u32::MAX, 0, u32::MAX, 0);
    for (x, y, _) in ink.enumerate_pixels().filter(|(_, _, value)| value.0[0] > 0) {
        (left, right, top, bottom) = (left.min(x), right.max(x), top.min(y), bottom.max(y));
    }
    let (width, height) = (right.checked_sub(left)? + 1, bottom.checked_sub(top)? + 1);
    Some(Rect { x: left, y: top, width, height })
}

/// The digit without the paper around it, its longer side scaled to [`BOX`] and its darkest pixel to 255.
fn scaled(ink: GrayImage) -> Option<GrayImage> {
    let Rect { x, y, width, height } = bounds(&ink)?;
    let digit = DynamicImage::from(ink).crop_imm(x, y, width, height);
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
