//! Shapes in pixels → PNG or SVG, through plotters.
//!
//! plotters takes whole coordinates only, too coarse for matplotlib's line widths and round dots. So
//! everything is drawn [`FINE`] times as large: the PNG is the average of that (which is its anti-aliasing),
//! the SVG keeps it as its `viewBox`.

use std::fmt::Display;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Width and height in pixels: `figsize=(6, 6)` at 100 dpi.
const SIZE: usize = 600;
/// Canvas units per pixel; odd, so that a pixel has a middle unit (0.4 from its corner) for a dot's centre.
const FINE: usize = 5;
const SIDE: usize = SIZE * FINE;

/// SVG reads this name as a list, so a viewer without DejaVu has something to fall back on.
const FONT: &str = "DejaVu Sans, Verdana, sans-serif";
const FONT_FILE: &[u8] = include_bytes!("../fonts/DejaVuSans.ttf");

/// Pixels from the left and from the top; (3.0, 4.0) is the upper left corner of the pixel in column 3, row
/// 4.
pub type Point = (f64, f64);

pub enum Shape {
    /// A filled rectangle. Lines are such too, as plotters doesn't place a wide line exactly.
    Bar(Point, Point, RGBColor),
    /// A mark on a pixel.
    Mark(Marker, Point, RGBColor),
    /// White, a little transparent, with a light grey frame and rounded corners.
    LegendBox(Point, Point),
    /// Black text whose baseline goes through the point.
    Text(String, Point, Align),
}

/// matplotlib's `o` and `+` at their default size: 6 pt, and 1 pt of outline.
#[derive(Clone, Copy, Debug)]
pub enum Marker {
    Dot,
    Plus,
}

#[derive(Clone, Copy)]
pub enum Align {
    Left,
    Center,
    Right,
    /// Read from below, centred.
    Upright,
}

/// What a backend must be told for 10 pt text (an em of 13.9 px): they disagree on what a size is, and on
/// where the anchor `VPos::Bottom` lies, `drop` pixels below the baseline.
struct TextSize {
    size: f64,
    drop: f64,
}
/// `ab_glyph` counts from ascent to descent, 1.164 em; a little more here, since matplotlib's hinting widens
/// letters.
const PNG_TEXT: TextSize = TextSize { size: 16.4, drop: 5.0 };
/// The SVG backend divides by 1.24 and anchors half an x-height below the baseline.
const SVG_TEXT: TextSize = TextSize { size: 17.2, drop: 3.8 };

/// The bytes of a PNG file, 600×600 RGB.
pub fn png(shapes: &[Shape]) -> Result<Vec<u8>> {
    let mut canvas = vec![0; SIDE * SIDE * 3];
    let backend = BitMapBackend::with_buffer(&mut canvas, (SIDE as u32, SIDE as u32));
    draw(shapes, backend, PNG_TEXT)?;
    let mut pixels = vec![0; SIZE * SIZE * 3];
    for (i, value) in pixels.iter_mut().enumerate() {
        let (row, column, channel) = (i / 3 / SIZE, i / 3 % SIZE, i % 3);
        let mut sum = 0;
        for y in row * FINE..(row + 1) * FINE {
            for x in column * FINE..(column + 1) * FINE {
                sum += usize::from(canvas[(y * SIDE + x) * 3 + channel]);
            }
        }
        *value = (sum / (FINE * FINE)) as u8;
    }
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIZE as u32, SIZE as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(bytes)
}

/// The text of an SVG file.
pub fn svg(shapes: &[Shape]) -> Result<String> {
    let mut svg = String::new();
    let backend = SVGBackend::with_string(&mut svg, (SIDE as u32, SIDE as u32));
    draw(shapes, backend, SVG_TEXT)?;
    let dimensions = |side| format!(r#"width="{side}" height="{side}""#);
    Ok(svg.replacen(&dimensions(SIDE), &dimensions(SIZE), 1))
}

/// The width in pixels; the same for both formats, so that their layout is the same.
pub fn text_width(text: &str) -> Result<f64> {
    let size = drawn(font(&PNG_TEXT)?.box_size(text))?;
    Ok(f64::from(size.0) / FINE as f64)
}

fn draw<DB: DrawingBackend>(shapes: &[Shape], backend: DB, text_size: TextSize) -> Result<()> {
    let area = backend.into_drawing_area();
    drawn(area.fill(&WHITE))?;
    let bar = |(x0, y0): Point, (x1, y1): Point, color: RGBAColor| {
        let corners = [units((x0, y0)), units((x1, y1))];
        drawn(area.draw(&Rectangle::new(corners, color.filled())))
    };
    for shape in shapes {
        match shape {
            Shape::Bar(from, to, color) => bar(*from, *to, color.to_rgba())?,
            Shape::Mark(Marker::Dot, (x, y), color) => {
                let middle = units((x + 0.4, y + 0.4));
                drawn(area.draw(&Circle::new(middle, 24, color.filled())))?;
            }
            Shape::Mark(Marker::Plus, (x, y), color) => {
                bar((x - 3.6, y - 0.2), (x + 4.6, y + 1.2), color.to_rgba())?;
                bar((x - 0.2, y - 3.6), (x + 1.2, y + 4.6), color.to_rgba())?;
            }
            Shape::LegendBox(from, to) => {
                bar(*from, *to, WHITE.mix(0.8))?;
                let (l, t, r, b) = (from.0 + 0.5, from.1 + 0.5, to.0 + 0.5, to.1 + 0.5);
                let upper = [(l, t + 2.0), (l + 2.0, t), (r - 2.0, t), (r, t + 2.0)];
                let lower = [(r, b - 2.0), (r - 2.0, b), (l + 2.0, b), (l, b - 2.0)];
                let outline = upper.into_iter().chain(lower).chain([upper[0]]);
                let outline: Vec<_> = outline.map(units).collect();
                let grey = RGBColor(204, 204, 204).mix(0.8).stroke_width(7);
                drawn(area.draw(&PathElement::new(outline, grey)))?;
            }
            Shape::Text(text, (x, y), align) => {
                let (below, beside) = ((*x, y + text_size.drop), (x + text_size.drop, *y));
                let (at, anchor, turn) = match align {
                    Align::Left => (below, HPos::Left, FontTransform::None),
                    Align::Center => (below, HPos::Center, FontTransform::None),
                    Align::Right => (below, HPos::Right, FontTransform::None),
                    Align::Upright => (beside, HPos::Center, FontTransform::Rotate270),
                };
                let style = TextStyle::from(font(&text_size)?.transform(turn));
                let style = style.pos(Pos::new(anchor, VPos::Bottom));
                drawn(area.draw(&Text::new(text.as_str(), units(at), style)))?;
            }
        }
    }
    drawn(area.present())
}

fn font(text: &TextSize) -> Result<FontDesc<'static>> {
    register_font(FONT, FontStyle::Normal, FONT_FILE)
        .map_err(|_| anyhow!("the bundled DejaVuSans.ttf is damaged"))?;
    Ok((FONT, text.size * FINE as f64).into_font())
}

fn units((x, y): Point) -> (i32, i32) {
    let unit = |pixels: f64| (pixels * FINE as f64).round() as i32;
    (unit(x), unit(y))
}

/// plotters' errors carry the backend's type; anyhow can't take them as they are.
fn drawn<T, E: Display>(result: Result<T, E>) -> Result<T> {
    result.map_err(|error| anyhow!("cannot draw the figure: {error}"))
}
