//! A picture file as one of MNIST's images: what `predict` hands to the model.
//!
//! PNG and JPEG of any colour type are read, turned as their EXIF data say, and the module `normalize` makes of them what
//! MNIST's makers made of their digits. Pictures come from anywhere: whatever the bytes are, they give a digit or an
//! error, in less than 1 GB.

mod normalize;

use std::fs::File;
use std::io::{Cursor, ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use image::metadata::Orientation;
use image::{DynamicImage, GrayAlphaImage, GrayImage, Luma};
use image::{ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::torchvision;
use normalize::normalize;

const SIDE: usize = torchvision::SIDE as usize;

/// An image as MNIST has them: 28 rows of 28 values from 0, the paper, to 255, full ink.
pub type Digit = [u8; SIDE * SIDE];

/// The largest picture that is decoded, at up to 8 bytes a pixel.
const MAX_PIXELS: u64 = 64_000_000;
/// The largest file that is read.
const MAX_BYTES: u64 = 64 << 20;

/// Reads the digit in a picture file. An error names the file and says what to do.
pub fn read(path: &Path) -> Result<Digit> {
    let name = path.display();
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{name}: no such file; name a PNG or JPEG picture of a digit")
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
    };
    // A folder, or a FIFO, which would block the reader.
    ensure!(metadata.is_file(), "{name}: not a regular file; name a PNG or JPEG picture of a digit");
    let mut bytes = vec![];
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {name}"))?;
    from_bytes(&bytes).with_context(|| name.to_string())
}

/// The digit in a picture file's bytes. An error says what is wrong with them and what to do; the file's name is for
/// the caller to add.
pub fn from_bytes(bytes: &[u8]) -> Result<Digit> {
    let (picture, orientation) = decode(bytes)?;
    // Turning makes a copy, so it comes after the colours are gone.
    let digit = if picture.color().has_alpha() {
        let mut picture = DynamicImage::ImageLumaA8(picture.into_luma_alpha8());
        picture.apply_orientation(orientation);
        let picture = picture.into_luma_alpha8();
        // White ink on nothing shows only on black.
        normalize(over(255, &picture)).or_else(|| normalize(over(0, &picture)))
    } else {
        let mut picture = DynamicImage::ImageLuma8(picture.into_luma8());
        picture.apply_orientation(orientation);
        normalize(picture.into_luma8())
    };
    digit.context("shows no digit, or too faint a one; take a picture with more contrast")
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
fn decode(bytes: &[u8]) -> Result<(DynamicImage, Orientation)> {
    ensure!(!bytes.is_empty(), "an empty file; save the picture again");
    ensure!(
        bytes.len() as u64 <= MAX_BYTES,
        "more than {} MiB; take a smaller picture, a few hundred pixels will do",
        MAX_BYTES >> 20
    );
    let (format, kind) = match image::guess_format(bytes) {
        Ok(format @ ImageFormat::Png) => (format, "PNG"),
        Ok(format @ ImageFormat::Jpeg) => (format, "JPEG"),
        _ => bail!("neither PNG nor JPEG; convert it to one of them"),
    };
    // The decoder's own words are left out: they may be several lines, with bytes out of the file.
    let unreadable = || {
        format!(
            "a {kind} that is damaged, cut short or of a rare kind; save the picture again as a plain {kind}"
        )
    };

    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    // For what a PNG may hold beside the picture: a colour profile, texts.
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok().with_context(unreadable)?;
    let (width, height) = decoder.dimensions();
    ensure!(
        u64::from(width) * u64::from(height) <= MAX_PIXELS,
        "{width}x{height} pixels are too many; take a smaller picture, a few hundred pixels will do"
    );
    ensure!(format != ImageFormat::Jpeg || has_end(bytes), unreadable());
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((DynamicImage::from_decoder(decoder).ok().with_context(unreadable)?, orientation))
}

/// Whether an end marker follows a JPEG's data. The decoder fills what is missing with grey and says nothing.
fn has_end(jpeg: &[u8]) -> bool {
    const START: u8 = 0xd8;
    const START_OF_SCAN: u8 = 0xda;
    const END: u8 = 0xd9;
    let mut rest = jpeg;
    while let Some(at) = rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff)) {
        let (marker, after) = (rest[at + 1], &rest[at + 2..]);
        rest = match (marker, after) {
            (START, _) => after,
            (START_OF_SCAN, _) => return after.windows(2).any(|pair| pair == [0xff, END]),
            // A segment is skipped whole: it may hold a thumbnail, which has an end of its own.
            (_, &[high, low, ..]) => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                after.get(length..).unwrap_or_default()
            }
            _ => return false,
        };
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
