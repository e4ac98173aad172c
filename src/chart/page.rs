//! A page to draw on → PNG or SVG.
//!
//! plotters takes whole coordinates only, too coarse for matplotlib's line widths and round dots. So everything is drawn
//! [`FINE`] times as large: the PNG is the average of that (which is its anti-aliasing), the SVG keeps it as its
//! `viewBox`.

use std::ops::RangeInclusive;

use ab_glyph::{Font, FontRef};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters_backend::{BackendColor, BackendCoord, BackendTextStyle, DrawingErrorKind};

use super::Error;

/// Units of a page per pixel; odd, so that a pixel has a middle unit.
pub const FINE: i32 = 5;

/// The middle of the pixel that a unit belongs to; matplotlib snaps marks and ticks to pixels.
pub fn whole_pixel(unit: i32) -> i32 {
    unit.div_euclid(FINE) * FINE + FINE / 2
}

/// SVG reads this name as a list, so a viewer without DejaVu has something to fall back on.
const FONT: &str = "DejaVu Sans, Verdana, sans-serif";
const FONT_FILE: &[u8] = include_bytes!("../fonts/DejaVuSans.ttf");

/// What the backends must be told for matplotlib's 10 pt text, an em of 13.9 pixels. `ab_glyph` counts from ascent to
/// descent, 1.164 em (a little more here, since matplotlib's hinting widens letters); the SVG backend divides by 1.24.
const PNG_TEXT: f64 = 16.4;
const SVG_TEXT: f64 = 17.2;

/// White, to be drawn on in units of a fifth of a pixel.
pub struct Page<DB: DrawingBackend> {
    pub area: DrawingArea<DB, Shift>,
    /// Black, 10 pt.
    pub text: TextStyle<'static>,
    /// Black, a pixel wide.
    pub line: ShapeStyle,
}

impl<DB: DrawingBackend> Page<DB> {
    fn new(backend: DB, text: f64, line: i32) -> Result<Self, Error> {
        let area = backend.into_drawing_area();
        area.fill(&WHITE)?;
        Ok(Self { area, text: font(text)?.into(), line: BLACK.stroke_width(line as u32) })
    }
}

/// The bytes of a PNG file, RGB, of so many pixels in width and height.
pub fn png(
    (width, height): (usize, usize),
    draw: impl FnOnce(&Page<Bitmap>) -> Result<(), Error>,
) -> Result<Vec<u8>, Error> {
    let fine = FINE as usize;
    let mut large = vec![0; width * fine * height * fine * 3];
    let backend = BitMapBackend::with_buffer(&mut large, ((width * fine) as u32, (height * fine) as u32));
    // Of a line wider than one unit the bitmap has both edges.
    draw(&Page::new(Bitmap(backend), PNG_TEXT, FINE - 1)?)?;
    let mut pixels = vec![0; width * height * 3];
    for (i, value) in pixels.iter_mut().enumerate() {
        let (row, column, channel) = (i / 3 / width, i / 3 % width, i % 3);
        let units = (row * fine..(row + 1) * fine)
            .flat_map(|y| (column * fine..(column + 1) * fine).map(move |x| (x, y)));
        let sum: usize = units.map(|(x, y)| usize::from(large[(y * width * fine + x) * 3 + channel])).sum();
        *value = (sum / (fine * fine)) as u8;
    }
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
    written.map_err(Error::drawing)?;
    Ok(bytes)
}

/// The text of an SVG file of so many pixels in width and height.
pub fn svg(
    (width, height): (usize, usize),
    draw: impl FnOnce(&Page<SVGBackend>) -> Result<(), Error>,
) -> Result<String, Error> {
    let (fine_width, fine_height) = (width * FINE as usize, height * FINE as usize);
    let mut svg = String::new();
    let backend = SVGBackend::with_string(&mut svg, (fine_width as u32, fine_height as u32));
    draw(&Page::new(backend, SVG_TEXT, FINE)?)?;
    let dimensions = |width, height| format!(r#"width="{width}" height="{height}""#);
    Ok(svg.replacen(&dimensions(fine_width, fine_height), &dimensions(width, height), 1))
}

/// The width in units, the same for both formats, so that they are laid out the same.
pub fn text_width(text: &str) -> Result<i32, Error> {
    Ok(font(PNG_TEXT)?.box_size(text).map_err(Error::drawing)?.0 as i32)
}

/// The first character of a text that a figure can't show: the font has none, or it stands in a script that is written
/// from the right or joined, which plotters does not do.
pub fn unset(text: &str) -> Option<char> {
    const LEFT_OUT: [RangeInclusive<char>; 5] = [
        '\u{300}'..='\u{36f}',
        '\u{590}'..='\u{dff}',
        '\u{200b}'..='\u{200f}',
        '\u{fb1d}'..='\u{fdff}',
        '\u{fe70}'..='\u{feff}',
    ];
    let font = FontRef::try_from_slice(FONT_FILE).ok()?;
    text.chars().find(|&c| font.glyph_id(c).0 == 0 || LEFT_OUT.iter().any(|range| range.contains(&c)))
}

fn font(size: f64) -> Result<FontDesc<'static>, Error> {
    register_font(FONT, FontStyle::Normal, FONT_FILE)
        .map_err(|_| Error::drawing("the bundled DejaVuSans.ttf is damaged"))?;
    Ok((FONT, size * f64::from(FINE)).into_font())
}

/// plotters' bitmap, with text as far below its anchor as the SVG backend has it.
pub struct Bitmap<'a>(BitMapBackend<'a>);

/// What a method of a backend returns.
pub type Drawn<DB> = Result<(), DrawingErrorKind<<DB as DrawingBackend>::ErrorType>>;

impl<'a> DrawingBackend for Bitmap<'a> {
    type ErrorType = <BitMapBackend<'a> as DrawingBackend>::ErrorType;

    fn get_size(&self) -> (u32, u32) {
        self.0.get_size()
    }

    fn ensure_prepared(&mut self) -> Drawn<Self> {
        self.0.ensure_prepared()
    }

    fn present(&mut self) -> Drawn<Self> {
        self.0.present()
    }

    fn draw_pixel(&mut self, at: BackendCoord, color: BackendColor) -> Drawn<Self> {
        self.0.draw_pixel(at, color)
    }

    fn draw_rect<S: plotters_backend::BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn<Self> {
        self.0.draw_rect(from, to, style, fill)
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): BackendCoord) -> Drawn<Self> {
        let (right, down) = style.transform().transform(0, (0.15 * style.size()) as i32);
        self.0.draw_text(text, style, (x + right, y + down))
    }
}
