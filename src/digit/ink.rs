//! Ink told from paper: how much darker each pixel is than the paper around it.
//!
//! The paper's colour at a pixel is what a closing leaves: the picture without whatever is dark and narrow. It follows
//! light that falls off, shadows, and the edge of a sheet, beside which a desk is a paper of its own. The colour in which
//! ink and paper differ most counts: blue ink is darkest in red light.

use image::{GrayImage, Luma, RgbImage, imageops};
use imageproc::filter::median_filter;

/// Ink no darker than this against its paper is none.
const MIN_INK: u8 = 20;
/// In less light than this a camera's noise is much of what differs.
const MIN_LIGHT: u32 = 96;

/// What of a picture is ink, and on what.
pub(super) struct Ink {
    /// How much darker than the paper each pixel is, from 0, the paper, to 255; of light ink on dark paper how much lighter.
    pub darkness: GrayImage,
    /// How light the paper is around each pixel, or how dark if the ink is light.
    pub paper: GrayImage,
    /// What the paper's texture and a JPEG's noise stay below.
    pub noise: u8,
}

/// The ink in a picture, of strokes up to a fifth as wide as it, dark on light or light on dark, whichever is likelier or,
/// if it is asked for, unlikely. None if strokes fill the picture.
pub(super) fn strokes(picture: &RgbImage) -> Option<impl Fn(bool) -> Ink> {
    let (radius, grey) = ((side(picture) / 10).max(8), imageops::grayscale(picture));
    let lightness = lightness(&grey, radius);
    let is_filled = side(picture) < 40 || ((30..70).contains(&lightness) && is_filled(&grey));
    (!is_filled).then_some(move |unlikely| ink(picture, (lightness < 50) != unlikely, radius))
}

/// The ink of strokes that may fill the picture, likewise.
pub(super) fn broad_strokes(picture: &RgbImage, unlikely: bool) -> Ink {
    ink(picture, has_dark_border(&imageops::grayscale(picture)) != unlikely, side(picture) / 3)
}

fn side(picture: &RgbImage) -> usize {
    picture.width().max(picture.height()) as usize
}

fn ink(picture: &RgbImage, is_light_on_dark: bool, radius: usize) -> Ink {
    let (mut picture, radius) = (picture.clone(), radius.max(8));
    if is_light_on_dark {
        imageops::invert(&mut picture);
    }
    let empty = GrayImage::new(picture.width(), picture.height());
    let mut ink = Ink { darkness: empty.clone(), paper: empty, noise: 0 };
    for colour in 0..3 {
        let values = GrayImage::from_fn(picture.width(), picture.height(), |x, y| {
            Luma([picture.get_pixel(x, y).0[colour]])
        });
        // The lightest grain of the paper is not what it is like.
        let smooth = if radius > 8 { median_filter(&values, 2, 2) } else { values.clone() };
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

/// How light it is wherever light and dark are near each other, from 0 to 100: of paper there is more than of ink.
fn lightness(picture: &GrayImage, radius: usize) -> u64 {
    let (largest, smallest) = (largest_within(picture, radius), smallest_within(picture, radius));
    let (mut lightness, mut contrast) = (0, 0);
    for ((value, most), least) in picture.iter().zip(largest.iter()).zip(smallest.iter()) {
        let range = u64::from(most - least);
        lightness += range * u64::from(value - least);
        contrast += range * range;
    }
    100 * lightness / contrast.max(1)
}

/// Whether something reaches three sides of the picture, and is no desk, to which a side belongs as a whole.
fn is_filled(picture: &GrayImage) -> bool {
    let (least, most) = range(picture);
    let paper = if has_dark_border(picture) { least } else { most };
    let parts = sides(picture).map(|side| {
        let ink = side
            .iter()
            .filter(|value| u32::from(value.abs_diff(paper)) * 5 > u32::from(most - least))
            .count();
        ink as f32 / side.len() as f32
    });
    parts.iter().filter(|part| **part > 0.0).count() > 2 && parts.iter().all(|part| *part < 0.9)
}

/// Whether the border is more dark than light, or three of its corners are.
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

/// The least and the largest value.
fn range(picture: &GrayImage) -> (u8, u8) {
    picture.iter().fold((255, 0), |(least, most), &value| (value.min(least), value.max(most)))
}

/// The border's values, each side from a corner to before the next.
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

/// What the paper's texture and a JPEG's noise stay below, even where there is more ink than paper. Both go up and down in
/// either direction, a stroke in one.
fn noise(ink: &GrayImage) -> u8 {
    let steps = |distance: usize| {
        let pairs = ink.iter().zip(ink.iter().skip(distance));
        quantile(pairs.map(|(a, b)| a.abs_diff(*b)).collect(), 0.5)
    };
    let step = steps(1).min(steps(ink.width() as usize));
    quantile(ink.to_vec(), 0.25).saturating_add(step.saturating_mul(4)).max(MIN_INK)
}

/// The value that this part of the values is below; 0 if there are none.
pub(super) fn quantile(mut values: Vec<u8>, part: f32) -> u8 {
    let Some(last) = values.len().checked_sub(1) else { return 0 };
    let index = (part * last as f32) as usize;
    *values.select_nth_unstable(index).1
}

/// The largest value in the square around each pixel. imageproc has this for any mask, in a time that grows with the
/// square of the radius.
fn largest_within(image: &GrayImage, radius: usize) -> GrayImage {
    let along_rows = |mut image: GrayImage| {
        let width = image.width() as usize;
        image.chunks_mut(width).for_each(|row| largest_in_line(row, radius));
        image
    };
    imageops::rotate270(&along_rows(imageops::rotate90(&along_rows(image.clone()))))
}

fn smallest_within(image: &GrayImage, radius: usize) -> GrayImage {
    let mut image = image.clone();
    imageops::invert(&mut image);
    image = largest_within(&image, radius);
    imageops::invert(&mut image);
    image
}

/// By van Herk's and Gil and Werman's algorithm: the line in pieces as long as the window, of which each window holds the
/// end of one and the beginning of the next.
fn largest_in_line(line: &mut [u8], radius: usize) {
    let window = 2 * radius + 1;
    let mut ahead = vec![0; radius];
    ahead.extend_from_slice(line);
    ahead.resize((line.len() + 2 * radius).next_multiple_of(window), 0);
    let mut back = ahead.clone();
    for piece in ahead.chunks_mut(window) {
        (1..window).for_each(|i| piece[i] = piece[i].max(piece[i - 1]));
    }
    for piece in back.chunks_mut(window) {
        (0..window - 1).rev().for_each(|i| piece[i] = piece[i].max(piece[i + 1]));
    }
    for (i, value) in line.iter_mut().enumerate() {
        *value = back[i].max(ahead[i + window - 1]);
    }
}
