//! A picture file made into MNIST's images, one for each figure in it.
//!
//! PNG, JPEG, WebP, GIF, BMP and TIFF are read and turned as their EXIF data say (`picture`). What is darker than the
//! paper around it is ink (`ink`), but for printed lines (`lines`); connected pieces of it (`groups`) make figures
//! (`figures`). With each `normalize` does what MNIST's makers did with their digits. Pictures come from anywhere:
//! whatever the bytes are, they give digits or an error, in less than 1 GB.
//!
//! ```
//! use image::{GrayImage, Luma};
//! use islp_mnist::digit;
//!
//! // A stroke from top to bottom, dark on light.
//! let picture = GrayImage::from_fn(90, 90, |x, y| {
//!     Luma([if (42..48).contains(&x) && (15..75).contains(&y) { 30 } else { 230 }])
//! });
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("one.png");
//! picture.save(&path)?;
//!
//! let figures = digit::read(&path)?;
//! let [digit::Figure { digit, warnings, .. }] = &figures[..] else { panic!("one stroke") };
//! assert!(warnings.is_empty());
//! let is_inked = |row: &&[u8]| row.iter().any(|&value| value > 0);
//! assert_eq!(digit.chunks(28).filter(is_inked).count(), 20); // as high as MNIST's digits are
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bounds;
mod figures;
mod groups;
mod hough;
mod ink;
mod lines;
mod normalize;
mod picture;

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use crate::torchvision;
use crate::util::{file, png};
use picture::{MAX_SIDE, Picture};

const SIDE: usize = torchvision::SIDE as usize;

/// An image as MNIST has them: 28 rows of 28 values from 0, the paper, to 255, full ink.
pub type Digit = [u8; SIDE * SIDE];

/// The largest file that is read.
const MAX_BYTES: u64 = 64 << 20;

/// Why a file gives no digit.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what they are
pub enum Error {
    #[error(transparent)]
    File(#[from] file::Error),
    #[error("{}: {reason}", path.display())]
    Picture { path: PathBuf, reason: PictureError },
}

/// Why bytes are no picture of a digit. What the decoder says is left out: it may be several lines, with bytes of the file.
#[derive(Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // the messages say what they are
pub enum PictureError {
    #[error("neither PNG, JPEG, WebP, GIF, BMP nor TIFF")]
    UnknownFormat,
    #[error("a {format} that is damaged, cut short or of a rare kind")]
    Unreadable { format: &'static str },
    #[error("{width}x{height} pixels, more than {MAX_SIDE} on a side")]
    TooLarge { width: u32, height: u32 },
    #[error("{width}x{height} pixels, too few to show a digit")]
    TooSmall { width: u32, height: u32 },
    #[error("shows no digit, or too faint a one")]
    NoDigit,
}

/// What looks like a digit in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// As MNIST's images are.
    pub digit: Digit,
    /// How high or wide it is in the picture, whichever is more, in pixels.
    pub size: u32,
    /// Why it may be no digit, or not be cut out well.
    pub warnings: Vec<Warning>,
}

/// Why what was found in a picture is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Its ink reaches the border of the picture, so some of it may be missing.
    TouchesBorder,
    /// Its ink is hardly darker than the paper.
    Faint,
    /// It is only a few pixels high and wide.
    Small,
}

impl Display for Warning {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::TouchesBorder => "the ink touches the border of the picture",
            Self::Faint => "the ink is faint",
            Self::Small => "the figure is small",
        })
    }
}

/// Ink less dark than this is faint, of 255.
const FAINT: u8 = 45;
/// A figure that is neither as high nor as wide is small.
const SMALL: u32 = 12;

/// The figures in a picture file, from left to right; one at least.
///
/// # Errors
/// A file that can't be read, or that is no picture of a digit.
pub fn read(path: &Path) -> Result<Vec<Figure>, Error> {
    let bytes = file::read(path, MAX_BYTES)?;
    from_bytes(&bytes).map_err(|reason| Error::Picture { path: path.to_owned(), reason })
}

/// The figures in a picture file's bytes, from left to right; one at least.
///
/// # Errors
/// Bytes that are no picture of a digit.
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<Figure>, PictureError> {
    let picture = picture::decode(bytes)?;
    // White ink on nothing shows only on black.
    let backgrounds = if picture.is_opaque() { &[255][..] } else { &[255, 0] };
    let mut found = backgrounds.iter().map(|background| figures(&picture, *background));
    found.find(|figures| !figures.is_empty()).ok_or(PictureError::NoDigit)
}

fn figures(picture: &Picture, background: u8) -> Vec<Figure> {
    let pixels = picture.over(background);
    if let Some(digit) = normalize::mnists_own(&pixels) {
        return vec![Figure { digit, size: 20, warnings: vec![] }];
    }
    let figure = |found: figures::Figure| {
        let size = found.bounds.size() as f32 * picture.scale;
        let warnings = [
            (found.touches_border, Warning::TouchesBorder),
            (found.darkness < FAINT, Warning::Faint),
            (size < SMALL as f32, Warning::Small),
        ];
        let warnings = warnings.into_iter().filter_map(|(is_so, warning)| is_so.then_some(warning)).collect();
        Some(Figure { digit: normalize::normalize(found.ink)?, size: size as u32, warnings })
    };
    figures::figures(&pixels).into_iter().filter_map(figure).collect()
}

/// The largest of the figures in a picture; of several equally large ones the rightmost.
pub fn largest(figures: &[Figure]) -> Option<&Figure> {
    figures.iter().max_by_key(|figure| figure.size)
}

/// The images side by side as a PNG, light ink on black, as MNIST has them.
pub fn png(digits: &[Digit]) -> Vec<u8> {
    let rows = (0..SIDE).flat_map(|y| digits.iter().map(move |digit| &digit[y * SIDE..][..SIDE]));
    let pixels: Vec<u8> = rows.flatten().copied().collect();
    png::encode(png::Color::Grayscale, digits.len() * SIDE, &pixels).expect("there are digits")
}

/// The image as text for a terminal: 28 lines, two characters a pixel, denser for more ink, without the spaces at
/// their ends.
pub fn show(digit: &Digit) -> String {
    const SHADES: &[u8] = b" .:-=+*#%@";
    let shade = |&value: &u8| char::from(SHADES[usize::from(value) * SHADES.len() / 256]);
    let line = |row: &[u8]| {
        let line: String = row.iter().flat_map(|value| [shade(value); 2]).collect();
        line.trim_end().to_string()
    };
    digit.chunks(SIDE).map(line).collect::<Vec<_>>().join("\n")
}
