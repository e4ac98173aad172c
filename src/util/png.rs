//! Pixels to PNG files.

pub use png::ColorType as Color;

/// Returns the bytes of a PNG file of 8-bit pixels, row by row, `width` to a row.
///
/// # Errors
/// No pixels, or not a whole number of rows.
pub fn encode(color: Color, width: usize, pixels: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let height = pixels.len() / (color.samples() * width).max(1);
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(color);
    encoder.write_header()?.write_image_data(pixels)?;
    Ok(bytes)
}
