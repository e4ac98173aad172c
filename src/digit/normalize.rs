//! A grey picture made into one of MNIST's images by the rules its makers give
//! (<http://yann.lecun.com/exdb/mnist/>): the digit scaled to fit a box of 20x20 pixels, its proportions and grey
//! levels kept, and placed in the 28x28 so that its centre of mass is in the middle.
//!
//! What they leave open was measured on MNIST's 70,000 images: the longer side is 20 pixels, the darkest pixel 254 or
//! 255, and the centre of mass, counted from the middle of the first pixel, between 13.48 and 14.5.

use std::collections::VecDeque;

use image::{GrayImage, Luma};

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
    let digit = scaled(&ink, bounds(&ink)?);
    Some(centred(&digit))
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
    let side = SIDE as u32;
    let bounds = bounds(ink).filter(|_| ink.dimensions() == (side, side))?;
    let (x, y) = centre_of_mass(ink);
    let in_the_middle = |centre: f64| (centre - MIDDLE).abs() <= 0.52;
    let fits = [BOX - 1, BOX].contains(&bounds.width.max(bounds.height));
    let stretched = *ink.iter().max()? >= 254;
    let is_mnists = fits && stretched && in_the_middle(x) && in_the_middle(y);
    ink.as_raw().as_slice().try_into().ok().filter(|_| is_mnists)
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
        let stretched = (u32::from(*value) * 255 / u32::from(full)).min(255) as u8;
        *value = if *value > floor { stretched } else { 0 };
    }
    Some(())
}

/// Wipes out patches that have less than a fiftieth of the largest one's ink.
fn drop_specks(ink: &mut GrayImage) {
    let (width, height) = (ink.width() as usize, ink.height() as usize);
    let pixels: &mut [u8] = ink;
    let mut seen = vec![false; pixels.len()];
    let mut patches = vec![];
    for start in 0..pixels.len() {
        let mut mass = 0;
        flood(width, height, start, |pixel| {
            let is_new = pixels[pixel] > 0 && !seen[pixel];
            if is_new {
                seen[pixel] = true;
                mass += u64::from(pixels[pixel]);
            }
            is_new
        });
        if mass > 0 {
            patches.push((start, mass));
        }
    }
    let largest = patches.iter().map(|&(_, mass)| mass).max().unwrap_or(0);
    for (start, _) in patches.into_iter().filter(|&(_, mass)| mass < largest / 50) {
        flood(width, height, start, |pixel| std::mem::take(&mut pixels[pixel]) > 0);
    }
}

/// Goes from pixel to neighbouring pixel as long as `take`, which must take each but once, takes them.
fn flood(width: usize, height: usize, start: usize, mut take: impl FnMut(usize) -> bool) {
    let mut next: VecDeque<usize> = take(start).then_some(start).into_iter().collect();
    while let Some(pixel) = next.pop_front() {
        let (x, y) = (pixel % width, pixel / width);
        for y in y.saturating_sub(1)..(y + 2).min(height) {
            for x in x.saturating_sub(1)..(x + 2).min(width) {
                if take(y * width + x) {
                    next.push_back(y * width + x);
                }
            }
        }
    }
}

/// A box of pixels.
struct Bounds {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

/// The smallest box that holds all ink; `None` if there is none.
fn bounds(ink: &GrayImage) -> Option<Bounds> {
    let (mut left, mut right, mut top, mut bottom) = (u32::MAX, 0, u32::MAX, 0);
    for (x, y, _) in ink.enumerate_pixels().filter(|(_, _, value)| value.0[0] > 0) {
        (left, right, top, bottom) = (left.min(x), right.max(x), top.min(y), bottom.max(y));
    }
    let (width, height) = (right.checked_sub(left)? + 1, bottom.checked_sub(top)? + 1);
    Some(Bounds { left, top, width, height })
}

/// The digit within the bounds, its longer side scaled to [`BOX`] and its darkest pixel to 255.
fn scaled(ink: &GrayImage, bounds: Bounds) -> GrayImage {
    let Bounds { left, top, width, height } = bounds;
    let ratio = f64::from(BOX) / f64::from(width.max(height));
    let [new_width, new_height] =
        [width, height].map(|side| ((f64::from(side) * ratio).round() as u32).max(1));

    let value = |x: u32, y: u32| f32::from(ink.get_pixel(left + x, top + y).0[0]);
    let narrow: Vec<f32> =
        (0..height).flat_map(|y| resampled(width, new_width, move |x| value(x, y))).collect();
    let narrow = |x: u32, y: u32| narrow[y as usize * new_width as usize + x as usize];
    let columns: Vec<f32> =
        (0..new_width).flat_map(|x| resampled(height, new_height, move |y| narrow(x, y))).collect();

    let darkest = columns.iter().copied().fold(0.0, f32::max);
    GrayImage::from_fn(new_width, new_height, |x, y| {
        let value = columns[(x * new_height + y) as usize];
        Luma([(value / darkest * 255.0).round() as u8])
    })
}

/// A line of `length` values as one of `new_length`: each the mean over the stretch it covers, which is at least one
/// value long. That is area averaging for a shorter line and interpolation for a longer one.
fn resampled(length: u32, new_length: u32, value: impl Fn(u32) -> f32) -> impl Iterator<Item = f32> {
    let ratio = f64::from(length) / f64::from(new_length);
    let stretch = ratio.max(1.0);
    (0..new_length).map(move |i| {
        let middle = (f64::from(i) + 0.5) * ratio;
        let (start, end) = (middle - stretch / 2.0, middle + stretch / 2.0);
        let covered = |j: u32| end.min(f64::from(j + 1)) - start.max(f64::from(j));
        // What lies outside is paper; a cast takes what is below 0 for 0.
        let touched = start as u32..(end.ceil() as u32).min(length);
        touched.map(|j| value(j) * (covered(j) / stretch) as f32).sum()
    })
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
        (MIDDLE - centre).round().clamp(0.0, f64::from(SIDE as u32 - length)) as usize
    };
    let (left, top) = (margin(x, digit.width()), margin(y, digit.height()));
    let mut image = [0; SIDE * SIDE];
    for (x, y, value) in digit.enumerate_pixels() {
        image[(top + y as usize) * SIDE + left + x as usize] = value.0[0];
    }
    image
}
