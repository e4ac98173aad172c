//! Bytes of a picture file made into a picture.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, Rgb, RgbImage, RgbaImage};
use image::{ImageDecoder, ImageFormat, ImageReader, Limits};

use super::{MAX_BYTES, PictureError};

/// The largest width and height that is decoded, at up to 8 bytes a pixel.
pub(super) const MAX_SIDE: u32 = 8192;
/// What decoding may take, beside the file.
const MAX_DECODED: u64 = 8 * (MAX_SIDE as u64).pow(2);
/// A digit is higher, or wider.
const MIN_SIDE: u32 = 8;
/// Larger pictures are scaled down to this: digits come down to 20 pixels in any case.
const WORKING_SIDE: u32 = 640;

/// A picture as it is looked at.
pub(super) struct Picture {
    pub pixels: RgbaImage,
    /// How many pixels of the file a pixel is wide.
    pub scale: f32,
}

/// The picture in these bytes, turned as it says; of several, such as a GIF's frames, the first. Nothing is decoded
/// before its size is known to be within bounds.
pub(super) fn decode(bytes: &[u8]) -> Result<Picture, PictureError> {
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
    // For what a PNG may hold beside the picture: a colour profile, texts.
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
        // These decode into a buffer of their own first, and count it.
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

/// A WebP without what follows it, if each of its chunks is there. The decoder takes as much memory as a chunk says
/// that it has bytes.
fn whole_webp(bytes: &[u8]) -> Option<&[u8]> {
    // Before the chunks are "RIFF", a size and "WEBP".
    let size = |chunk: &[u8]| Some(u32::from_le_bytes(chunk.get(4..8)?.try_into().ok()?) as usize);
    let webp = bytes.get(..8 + size(bytes)?)?;
    let mut rest = webp.get(12..)?;
    while !rest.is_empty() {
        let end = 8 + size(rest)?;
        // An odd number of bytes is followed by one more, which the last chunk may lack.
        let next = (end + end % 2).min(rest.len().max(end));
        rest = rest.get(next..)?;
    }
    Some(webp)
}

impl Picture {
    /// Whether no background shows through.
    pub fn is_opaque(&self) -> bool {
        self.pixels.pixels().all(|pixel| pixel.0[3] == 255)
    }

    /// The picture on a background of this grey value.
    pub fn over(&self, background: u8) -> RgbImage {
        RgbImage::from_fn(self.pixels.width(), self.pixels.height(), |x, y| {
            let [red, green, blue, alpha] = self.pixels.get_pixel(x, y).0.map(u32::from);
            let blend = |value: u32| (value * alpha + u32::from(background) * (255 - alpha) + 127) / 255;
            Rgb([red, green, blue].map(|value| blend(value) as u8))
        })
    }
}
