//! Turns a picture file into images in MNIST's format, one for each figure in it.
//!
//! PNG, JPEG, WebP, GIF, BMP and TIFF are decoded, and turned by their EXIF data. Ink is darker than the paper around it
//! (`ink`) and not a printed line (`lines`). Its connected components form figures (`figures`), which `normalize` processes
//! as MNIST's makers did their digits. The thresholds are in `thresholds`. Pictures may come from anywhere: any bytes give
//! digits or an error, in less than 1 GB.
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
//! assert_eq!(digit.chunks(28).filter(is_inked).count(), 20); // as high as MNIST's digits
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod figures;
mod ink;
mod lines;
mod normalize;
mod thresholds;

use std::fmt::{self, Display, Formatter};
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, Rgb, RgbImage, RgbaImage};

use crate::util::{file, png};
pub use normalize::Digit;
use normalize::{SIDE, mnists_own, normalize};
use thresholds::{BOX, FAINT, MAX_BYTES, MAX_DECODED, MAX_SIDE, MIN_SIDE, SMALL, WORKING_SIDE};

/// Why no digit can be read from a file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum Error {
    #[error(transparent)]
    File(#[from] file::Error),
    #[error("{}: {reason}", path.display())]
    Picture { path: PathBuf, reason: PictureError },
}

/// Why bytes are not a picture of a digit. The decoder's message is left out: it may be several lines, with bytes of the
/// file.
#[derive(Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
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

/// Something in a picture that looks like a digit.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The figure as one of MNIST's images.
    pub digit: Digit,
    /// The larger of its height and width in the picture, in pixels.
    pub size: u32,
    /// Reasons why it may not be a digit, or not cut out well.
    pub warnings: Vec<Warning>,
}

/// A reason to doubt a figure.
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

/// Reads the figures in a picture file, from left to right; at least one.
///
/// # Errors
/// A file that can't be read, or that is not a picture of a digit.
pub fn read(path: &Path) -> Result<Vec<Figure>, Error> {
    let bytes = file::read(path, MAX_BYTES)?;
    from_bytes(&bytes).map_err(|reason| Error::Picture { path: path.to_owned(), reason })
}

/// Reads the figures in a picture file's bytes, from left to right; at least one.
///
/// # Errors
/// Bytes that are not a picture of a digit.
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<Figure>, PictureError> {
    let picture = decode(bytes)?;
    // White ink on a transparent background shows only on black.
    let backgrounds = if picture.is_opaque() { &[255][..] } else { &[255, 0] };
    let mut found = backgrounds.iter().map(|background| figures(&picture, *background));
    found.find(|figures| !figures.is_empty()).ok_or(PictureError::NoDigit)
}

fn figures(picture: &Picture, background: u8) -> Vec<Figure> {
    let pixels = picture.over(background);
    if let Some(digit) = mnists_own(&pixels) {
        return vec![Figure { digit, size: BOX, warnings: vec![] }];
    }
    let figure = |found: figures::Figure| {
        let size = found.bounds.size() as f32 * picture.scale;
        let warnings = [
            (found.touches_border, Warning::TouchesBorder),
            (found.darkness < FAINT, Warning::Faint),
            (size < SMALL as f32, Warning::Small),
        ];
        let warnings = warnings.into_iter().filter_map(|(is_so, warning)| is_so.then_some(warning)).collect();
        Some(Figure { digit: normalize(found.ink)?, size: size as u32, warnings })
    };
    figures::figures(&pixels).into_iter().filter_map(figure).collect()
}

/// The largest figure of a picture; the rightmost of several equally large ones.
pub fn largest(figures: &[Figure]) -> Option<&Figure> {
    figures.iter().max_by_key(|figure| figure.size)
}

/// A PNG of the images side by side, light ink on black, as in MNIST.
pub fn png(digits: &[Digit]) -> Vec<u8> {
    let rows = (0..SIDE).flat_map(|y| digits.iter().map(move |digit| &digit[y * SIDE..][..SIDE]));
    let pixels: Vec<u8> = rows.flatten().copied().collect();
    png::encode(png::Color::Grayscale, digits.len() * SIDE, &pixels).expect("there are digits")
}

/// The image as text for a terminal: 28 lines, two characters per pixel, denser for more ink, without trailing spaces.
pub fn show(digit: &Digit) -> String {
    const SHADES: &[u8] = b" .:-=+*#%@";
    let shade = |&value: &u8| char::from(SHADES[usize::from(value) * SHADES.len() / 256]);
    let line = |row: &[u8]| {
        let line: String = row.iter().flat_map(|value| [shade(value); 2]).collect();
        line.trim_end().to_string()
    };
    digit.chunks(SIDE).map(line).collect::<Vec<_>>().join("\n")
}

/// A decoded picture.
struct Picture {
    pixels: RgbaImage,
    /// The width of a pixel in pixels of the file.
    scale: f32,
}

impl Picture {
    /// True if no background shows through.
    fn is_opaque(&self) -> bool {
        self.pixels.pixels().all(|pixel| pixel.0[3] == 255)
    }

    /// The picture on a background of this grey value.
    fn over(&self, background: u8) -> RgbImage {
        RgbImage::from_fn(self.pixels.width(), self.pixels.height(), |x, y| {
            let [red, green, blue, alpha] = self.pixels.get_pixel(x, y).0.map(u32::from);
            let blend = |value: u32| (value * alpha + u32::from(background) * (255 - alpha) + 127) / 255;
            Rgb([red, green, blue].map(|value| blend(value) as u8))
        })
    }
}

/// Decodes the picture, or the first of several, such as a GIF's frames, and turns it by its EXIF data. Nothing is decoded
/// before its size is known to be within bounds.
fn decode(bytes: &[u8]) -> Result<Picture, PictureError> {
    let (format, name) = match image::guess_format(bytes) {
        Ok(format @ ImageFormat::Png) => (format, "PNG"),
        Ok(format @ ImageFormat::Jpeg) => (format, "JPEG"),
        Ok(format @ ImageFormat::WebP) => (format, "WebP"),
        Ok(format @ ImageFormat::Gif) => (format, "GIF"),
        Ok(format @ ImageFormat::Bmp) => (format, "BMP"),
        Ok(format @ ImageFormat::Tiff) => (format, "TIFF"),
        _ => return Err(PictureError::UnknownFormat),
    };
    let unreadable = PictureError::Unreadable { format: name };
    let bytes = if format == ImageFormat::WebP { whole_webp(bytes) } else { Some(bytes) };
    let Some(bytes) = bytes else { return Err(unreadable) };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    // For the other contents of a PNG: a colour profile, texts.
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits.clone());
    let Ok(mut decoder) = reader.into_decoder() else { return Err(unreadable) };
    let (width, height) = decoder.dimensions();
    if width.max(height) > MAX_SIDE {
        return Err(PictureError::TooLarge { width, height });
    }
    if width.max(height) < MIN_SIDE {
        return Err(PictureError::TooSmall { width, height });
    }
    if format == ImageFormat::Jpeg && !has_end(bytes) {
        return Err(unreadable);
    }
    if matches!(format, ImageFormat::Gif | ImageFormat::Tiff) {
        // These decode into a buffer of their own first, which counts.
        let size = decoder.total_bytes();
        limits.max_alloc = Some(size + MAX_BYTES);
        if 2 * size > MAX_DECODED || decoder.set_limits(limits).is_err() {
            return Err(unreadable);
        }
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(|_| unreadable)?;
    let scale = (width.max(height) as f32 / WORKING_SIDE as f32).max(1.0);
    // Turning makes a copy, so it comes after the picture is small.
    let mut picture = if scale > 1.0 { picture.thumbnail(WORKING_SIDE, WORKING_SIDE) } else { picture };
    picture.apply_orientation(orientation);
    Ok(Picture { pixels: picture.into_rgba8(), scale })
}

/// True if an end marker follows a JPEG's data. The decoder silently fills missing data with grey.
fn has_end(jpeg: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END: [u8; 2] = [0xff, 0xd9];
    // After the start marker. Each segment is skipped whole: it may contain a thumbnail with an end marker of its own.
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

/// A WebP without trailing bytes, if all its chunks are complete. The decoder allocates the size that a chunk claims.
fn whole_webp(bytes: &[u8]) -> Option<&[u8]> {
    // Before the chunks are "RIFF", a size and "WEBP".
    let size = |chunk: &[u8]| Some(u32::from_le_bytes(chunk.get(4..8)?.try_into().ok()?) as usize);
    let webp = bytes.get(..8 + size(bytes)?)?;
    let mut rest = webp.get(12..)?;
    while !rest.is_empty() {
        let end = 8 + size(rest)?;
        // A chunk of odd size is padded by a byte, which the last one may lack.
        let next = (end + end % 2).min(rest.len().max(end));
        rest = rest.get(next..)?;
    }
    Some(webp)
}
