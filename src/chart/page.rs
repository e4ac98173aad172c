//! The page that charts draw on, and its two formats, PNG and SVG.
//!
//! plotters takes only integer coordinates, too coarse for matplotlib's line widths and round dots. So charts are drawn
//! [`FINE`] times as large: the PNG averages the units of each pixel, which is its anti-aliasing; the SVG keeps the large
//! size as its `viewBox`.

use std::ops::RangeInclusive;

use ab_glyph::{Font, FontRef};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters_backend::{BackendColor, BackendCoord, BackendTextStyle};

use super::Error;
use super::style::{Drawn, FINE};
use crate::util::png;

/// A chart that can be written as PNG or SVG.
///
/// ```
/// use islp_mnist::chart::{Bars, Error, Picture};
///
/// fn sizes(picture: &impl Picture) -> Result<[usize; 2], Error> {
///     Ok([picture.to_png()?.len(), picture.to_svg()?.len()])
/// }
///
/// let bars = Bars::new("standard deviation", vec![("init".into(), [0.003, 0.002, 0.005])]);
/// assert!(sizes(&bars)?.iter().all(|&bytes| bytes > 1000));
/// # Ok::<(), Error>(())
/// ```
pub trait Picture {
    /// Returns the bytes of a PNG file, RGB.
    ///
    /// # Errors
    /// Fails if no value is above 0 on a log axis, or plotters fails.
    fn to_png(&self) -> Result<Vec<u8>, Error>;

    /// Returns the text of an SVG file.
    ///
    /// # Errors
    /// Fails like [`Self::to_png`].
    fn to_svg(&self) -> Result<String, Error>;
}

/// A chart that draws itself; private, so that [`Picture`] hides plotters' types.
pub trait Draw {
    /// Width and height in pixels.
    fn size(&self) -> (usize, usize);

    fn draw<'a, DB: DrawingBackend + 'a>(&self, page: &Page<DB>) -> Result<(), Error>;
}

impl<T: Draw> Picture for T {
    fn to_png(&self) -> Result<Vec<u8>, Error> {
        let (width, height) = self.size();
        let fine = FINE as usize;
        let mut large = vec![0; width * fine * height * fine * 3];
        let backend = BitMapBackend::with_buffer(&mut large, ((width * fine) as u32, (height * fine) as u32));
        // The bitmap draws both edges of a line wider than one unit.
        self.draw(&Page::new(Bitmap(backend), PNG_TEXT, FINE - 1)?)?;
        let mut pixels = vec![0; width * height * 3];
        for (i, value) in pixels.iter_mut().enumerate() {
            let (row, column, channel) = (i / 3 / width, i / 3 % width, i % 3);
            let units = (row * fine..(row + 1) * fine)
                .flat_map(|y| (column * fine..(column + 1) * fine).map(move |x| (x, y)));
            let sum: usize =
                units.map(|(x, y)| usize::from(large[(y * width * fine + x) * 3 + channel])).sum();
            *value = (sum / (fine * fine)) as u8;
        }
        png::encode(png::Color::Rgb, width, &pixels).map_err(Error::drawing)
    }

    fn to_svg(&self) -> Result<String, Error> {
        let (width, height) = self.size();
        let (fine_width, fine_height) = (width * FINE as usize, height * FINE as usize);
        let mut svg = String::new();
        let backend = SVGBackend::with_string(&mut svg, (fine_width as u32, fine_height as u32));
        self.draw(&Page::new(backend, SVG_TEXT, FINE)?)?;
        let dimensions = |width, height| format!(r#"width="{width}" height="{height}""#);
        Ok(svg.replacen(&dimensions(fine_width, fine_height), &dimensions(width, height), 1))
    }
}

/// SVG reads this name as a list, so a viewer without DejaVu falls back on the next font.
const FONT: &str = "DejaVu Sans, Verdana, sans-serif";
const FONT_FILE: &[u8] = include_bytes!("../fonts/DejaVuSans.ttf");

/// The backends' font sizes for matplotlib's 10 pt text, an em of 13.9 pixels. `ab_glyph` measures from ascent to
/// descent, 1.164 em (a little more here, since matplotlib's hinting widens letters); the SVG backend divides by 1.24.
const PNG_TEXT: f64 = 16.4;
const SVG_TEXT: f64 = 17.2;

/// A white area, in units of a fifth of a pixel.
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

/// A text's width in units, the same for both formats, so that their layouts agree.
pub fn text_width(text: &str) -> Result<i32, Error> {
    Ok(font(PNG_TEXT)?.box_size(text).map_err(Error::drawing)?.0 as i32)
}

/// Returns the first character that a figure can't show: the font lacks it, or its script runs from right to left or
/// joins its letters, which plotters does not support.
pub fn unsupported_char(text: &str) -> Option<char> {
    const UNSUPPORTED: [RangeInclusive<char>; 5] = [
        '\u{300}'..='\u{36f}',
        '\u{590}'..='\u{dff}',
        '\u{200b}'..='\u{200f}',
        '\u{fb1d}'..='\u{fdff}',
        '\u{fe70}'..='\u{feff}',
    ];
    let font = FontRef::try_from_slice(FONT_FILE).ok()?;
    text.chars().find(|&c| font.glyph_id(c).0 == 0 || UNSUPPORTED.iter().any(|range| range.contains(&c)))
}

fn font(size: f64) -> Result<FontDesc<'static>, Error> {
    register_font(FONT, FontStyle::Normal, FONT_FILE)
        .map_err(|_| Error::drawing("the bundled DejaVuSans.ttf is damaged"))?;
    Ok((FONT, size * f64::from(FINE)).into_font())
}

/// plotters' bitmap, but with text as far below its anchor as in the SVG backend.
pub struct Bitmap<'a>(BitMapBackend<'a>);

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
