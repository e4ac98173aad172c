//! Separates ink from paper: measures how much darker each pixel is than the paper around it.
//!
//! The paper's colour at a pixel is the picture's after a closing, which removes everything dark and narrow. It follows
//! light that falls off, shadows, and the edge of a sheet, beside which a desk is a paper of its own. The colour channel in
//! which ink and paper differ most counts: blue ink is darkest in red light.

use image::{GrayImage, Luma, Rgb, RgbImage, imageops};
use imageproc::filter::median_filter;

use super::thresholds::{
    BROAD_RADIUS, DESK_SIDE, FILLED_LIGHTNESS, MIDDLE_LIGHTNESS, MIN_INK, MIN_LIGHT, MIN_RADIUS,
    MIN_SIDE_CONTRAST, MIN_UNFILLED_SIDE, NOISE_STEPS, PAPER_FRACTION, Ratio, STROKE_RADIUS, scaled,
};

/// A picture's ink and paper.
pub(super) struct Ink {
    /// The amount by which each pixel is darker than the paper, from 0, the paper, to 255; lighter if the ink is light.
    pub darkness: GrayImage,
    /// The lightness of the paper around each pixel, or its darkness if the ink is light.
    pub paper: GrayImage,
    /// An upper bound of the paper's texture and a JPEG's noise.
    pub noise: u8,
}

/// Finds the ink in a picture, of strokes up to a fifth as wide as its longer side, dark on light or light on dark: the
/// likelier of the two, or with `unlikely` the other. None if strokes fill the picture.
pub(super) fn strokes(picture: &RgbImage) -> Option<impl Fn(bool) -> Ink> {
    let (radius, grey) = (scaled(STROKE_RADIUS, side(picture)), imageops::grayscale(picture));
    let lightness = lightness(&grey, radius);
    let is_filled =
        side(picture) < MIN_UNFILLED_SIDE || (FILLED_LIGHTNESS.contains(&lightness) && is_filled(&grey));
    (!is_filled).then_some(move |unlikely| ink(picture, (lightness < MIDDLE_LIGHTNESS) != unlikely, radius))
}

/// The same for strokes that may fill the picture.
pub(super) fn broad_strokes(picture: &RgbImage, unlikely: bool) -> Ink {
    let is_light_on_dark = has_dark_border(&imageops::grayscale(picture)) != unlikely;
    ink(picture, is_light_on_dark, scaled(BROAD_RADIUS, side(picture)))
}

fn side(picture: &RgbImage) -> u32 {
    picture.width().max(picture.height())
}

fn ink(picture: &RgbImage, is_light_on_dark: bool, radius: u32) -> Ink {
    let mut picture = picture.clone();
    if is_light_on_dark {
        imageops::invert(&mut picture);
    }
    let empty = GrayImage::new(picture.width(), picture.height());
    let mut ink = Ink { darkness: empty.clone(), paper: empty, noise: 0 };
    let is_grey = picture.pixels().all(|Rgb([red, green, blue])| red == green && green == blue);
    for colour in 0..if is_grey { 1 } else { 3 } {
        let values = GrayImage::from_fn(picture.width(), picture.height(), |x, y| {
            Luma([picture.get_pixel(x, y).0[colour]])
        });
        // Otherwise the lightest grain of the paper would count as its colour.
        let smooth = if radius > MIN_RADIUS { median_filter(&values, 2, 2) } else { values.clone() };
        let paper = smallest_within(&largest_within(&smooth, radius), radius);
        for ((darkness, value), paper) in ink.darkness.iter_mut().zip(values.iter()).zip(paper.iter()) {
            let darker = u32::from(paper.saturating_sub(*value)) * 255 / u32::from(*paper).max(MIN_LIGHT);
            *darkness = (*darkness).max(darker as u8);
        }
        ink.paper.iter_mut().zip(paper.iter()).for_each(|(most, paper)| *most = (*most).max(*paper));
    }
    ink.noise = noise(&ink.darkness);
    ink
}

/// The lightness wherever light and dark are near each other, from 0 to 100: there is more paper than ink.
fn lightness(picture: &GrayImage, radius: u32) -> u64 {
    let (largest, smallest) = (largest_within(picture, radius), smallest_within(picture, radius));
    let (mut lightness, mut contrast) = (0, 0);
    for ((value, most), least) in picture.iter().zip(largest.iter()).zip(smallest.iter()) {
        let range = u64::from(most - least);
        lightness += range * u64::from(value - least);
        contrast += range * range;
    }
    100 * lightness / contrast.max(1)
}

/// True if something reaches three sides of the picture and is not a desk, which covers a whole side.
fn is_filled(picture: &GrayImage) -> bool {
    let (least, most) = range(picture);
    let paper = if has_dark_border(picture) { least } else { most };
    let parts = sides(picture).map(|side| {
        let ink = side
            .iter()
            .filter(|value| Ratio::new(value.abs_diff(paper), most - least) > MIN_SIDE_CONTRAST)
            .count();
        ink as f32 / side.len() as f32
    });
    parts.iter().filter(|part| **part > 0.0).count() > 2 && parts.iter().all(|part| *part < DESK_SIDE)
}

/// True if more than half the border, or three of its corners, are dark.
fn has_dark_border(picture: &GrayImage) -> bool {
    let (least, most) = range(picture);
    let is_dark = |value: &u8| 2 * u32::from(*value) < u32::from(least) + u32::from(most);
    let sides = sides(picture);
    let border = sides.concat();
    match sides.iter().filter(|side| is_dark(&side[0])).count() {
        0 | 1 => false,
        3 | 4 => true,
        _ => border.iter().filter(|value| is_dark(value)).count() * 2 > border.len(),
    }
}

/// The smallest and the largest value.
fn range(picture: &GrayImage) -> (u8, u8) {
    picture.iter().fold((255, 0), |(least, most), &value| (value.min(least), value.max(most)))
}

/// The border's values, each side from a corner up to the next, exclusive.
fn sides(picture: &GrayImage) -> [Vec<u8>; 4] {
    let (right, bottom) = (picture.width() - 1, picture.height() - 1);
    let at = |x: u32, y: u32| picture.get_pixel(x, y).0[0];
    let top: Vec<u8> = (0..right.max(1)).map(|x| at(x, 0)).collect();
    [
        top,
        (0..bottom.max(1)).map(|y| at(right, y)).collect(),
        (0..right.max(1)).map(|x| at(right - x, bottom)).collect(),
        (0..bottom.max(1)).map(|y| at(0, bottom - y)).collect(),
    ]
}

/// An upper bound of the paper's texture and a JPEG's noise, even where there is more ink than paper. Both vary in both
/// directions, a stroke in one.
fn noise(ink: &GrayImage) -> u8 {
    let steps = |distance: usize| {
        let pairs = ink.iter().zip(ink.iter().skip(distance));
        quantile(pairs.map(|(a, b)| a.abs_diff(*b)).collect(), 0.5)
    };
    let step = steps(1).min(steps(ink.width() as usize));
    quantile(ink.to_vec(), PAPER_FRACTION).saturating_add(step.saturating_mul(NOISE_STEPS)).max(MIN_INK)
}

/// The average width of the strokes in a mask: twice their area divided by the length of their edge.
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

/// The value at this quantile, from 0 to 1; 0 if there are no values.
pub(super) fn quantile(mut values: Vec<u8>, quantile: f32) -> u8 {
    let Some(last) = values.len().checked_sub(1) else { return 0 };
    let index = (quantile * last as f32) as usize;
    *values.select_nth_unstable(index).1
}

/// The largest value in the square around each pixel. imageproc's dilation, for any mask, takes time that grows with the
/// square of the radius.
fn largest_within(image: &GrayImage, radius: u32) -> GrayImage {
    let along_rows = |mut image: GrayImage| {
        let width = image.width() as usize;
        image.chunks_mut(width).for_each(|row| largest_in_line(row, radius as usize));
        image
    };
    imageops::rotate270(&along_rows(imageops::rotate90(&along_rows(image.clone()))))
}

fn smallest_within(image: &GrayImage, radius: u32) -> GrayImage {
    let mut image = image.clone();
    imageops::invert(&mut image);
    image = largest_within(&image, radius);
    imageops::invert(&mut image);
    image
}

/// Van Herk's and Gil and Werman's algorithm: the line is divided into blocks as long as the window, so each window
/// consists of the end of one block and the beginning of the next.
fn largest_in_line(line: &mut [u8], radius: usize) {
    let window = 2 * radius + 1;
    let mut ahead = vec![0; radius];
    ahead.extend_from_slice(line);
    ahead.resize((line.len() + 2 * radius).next_multiple_of(window), 0);
    let mut back = ahead.clone();
    for block in ahead.chunks_mut(window) {
        (1..window).for_each(|i| block[i] = block[i].max(block[i - 1]));
    }
    for block in back.chunks_mut(window) {
        (0..window - 1).rev().for_each(|i| block[i] = block[i].max(block[i + 1]));
    }
    for (i, value) in line.iter_mut().enumerate() {
        *value = back[i].max(ahead[i + window - 1]);
    }
}
