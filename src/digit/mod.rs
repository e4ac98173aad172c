//! A picture file made into one of MNIST's images.
//!
//! PNG and JPEG of any colour type are read and turned as their EXIF data say; `normalize` then does with them what
//! MNIST's makers did with their digits. Pictures come from anywhere: whatever the bytes are, they give a digit or an
//! error, in less than 1 GB.
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
//! let digit = digit::read(&path)?;
//! let is_inked = |row: &&[u8]| row.iter().any(|&value| value > 0);
//! assert_eq!(digit.chunks(28).filter(is_inked).count(), 20); // as high as MNIST's digits are
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod normalize;

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::metadata::Orientation;
use image::{DynamicImage, GrayAlphaImage, GrayImage, Luma};
use image::{ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::torchvision;
use crate::util::file;
use normalize::normalize;

const SIDE: usize = torchvision::SIDE as usize;

/// An image as MNIST has them: 28 rows of 28 values from 0, the paper, to 255, full ink.
pub type Digit = [u8; SIDE * SIDE];

/// The largest width and height that is decoded, at up to 8 bytes a pixel.
const MAX_SIDE: u32 = 8192;
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
    #[error("neither PNG nor JPEG")]
    UnknownFormat,
    #[error("a {format} that is damaged, cut short or of a rare kind")]
    Unreadable { format: &'static str },
    #[error("{width}x{height} pixels, more than {MAX_SIDE} on a side")]
    TooLarge { width: u32, height: u32 },
    #[error("shows no digit, or too faint a one")]
    NoDigit,
}

/// The digit in a picture file.
///
/// # Errors
/// A file that can't be read, or that is no picture of a digit.
pub fn read(path: &Path) -> Result<Digit, Error> {
    let bytes = file::read(path, MAX_BYTES)?;
    from_bytes(&bytes).map_err(|reason| Error::Picture { path: path.to_owned(), reason })
}

/// The digit in a picture file's bytes.
///
/// # Errors
/// Bytes that are no picture of a digit.
pub fn from_bytes(bytes: &[u8]) -> Result<Digit, PictureError> {
    let (picture, orientation) = decode(bytes)?;
    // Turning makes a copy, so it comes after the colours are gone.
    let mut picture = DynamicImage::from(picture.into_luma_alpha8());
    picture.apply_orientation(orientation);
    let picture = picture.into_luma_alpha8();
    // White ink on nothing shows only on black.
    normalize(over(255, &picture)).or_else(|| normalize(over(0, &picture))).ok_or(PictureError::NoDigit)
}

/// The picture on a background of this grey value.
fn over(background: u8, picture: &GrayAlphaImage) -> GrayImage {
    GrayImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [value, alpha] = picture.get_pixel(x, y).0.map(u32::from);
        let blended = value * alpha + u32::from(background) * (255 - alpha);
        Luma([((blended + 127) / 255) as u8])
    })
}

/// The picture and how it is to be turned. Nothing is decoded before its size is known to be within bounds.
fn decode(bytes: &[u8]) -> Result<(DynamicImage, Orientation), PictureError> {
    let (format, name) = match image::guess_format(bytes) {
        Ok(format @ ImageFormat::Png) => (format, "PNG"),
        Ok(format @ ImageFormat::Jpeg) => (format, "JPEG"),
        _ => return Err(PictureError::UnknownFormat),
    };
    let unreadable = PictureError::Unreadable { format: name };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    // For what a PNG may hold beside the picture: a colour profile, texts.
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let Ok(mut decoder) = reader.into_decoder() else { return Err(unreadable) };
    let (width, height) = decoder.dimensions();
    if width.max(height) > MAX_SIDE {
        return Err(PictureError::TooLarge { width, height });
    }
    if format == ImageFormat::Jpeg && !has_end(bytes) {
        return Err(unreadable);
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((DynamicImage::from_decoder(decoder).map_err(|_| unreadable)?, orientation))
}

/// Whether an end marker follows a JPEG's data. The decoder fills what is missing with grey and says nothing.
fn has_end(jpeg: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END: [u8; 2] = [0xff, 0xd9];
    // After the start marker. Each segment is skipped whole: it may hold a thumbnail, which has an end of its own.
    let mut rest = &jpeg[2..];
    while let Some(at) = rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff)) {
        let [_, marker, high, low, ..] = rest[at..] else { return false };
        let segment = &rest[at + 2..];
        if marker == START_OF_SCAN {
            return segment.windows(2).any(|pair| pair == END);
        }
        rest = segment.get(usize::from(u16::from_be_bytes([high, low]))..).unwrap_or_default();
    }
    false
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
