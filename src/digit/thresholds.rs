//! The thresholds by which a picture is read, in the order of the steps. Their values were chosen on the pictures that
//! `scripts/photographs.py` makes.

use std::cmp::Ordering;
use std::ops::Range;

// Reading a file.

/// The largest file that is read; a photograph takes some megabytes.
pub(super) const MAX_BYTES: u64 = 64 << 20;
/// The largest width and height that is decoded: more would take gigabytes of memory.
pub(super) const MAX_SIDE: u32 = 8192;
/// Memory for decoding, besides the file: a picture of that size at 8 bytes per pixel.
pub(super) const MAX_DECODED: u64 = 8 * (MAX_SIDE as u64).pow(2);
/// A picture that is neither as wide nor as high has no room for a digit.
pub(super) const MIN_SIDE: u32 = 8;
/// Larger pictures are scaled down to this, which is faster: digits end at 20 pixels in any case.
pub(super) const WORKING_SIDE: u32 = 640;

// Ink.

/// The closing that removes strokes has this radius, a fraction of the picture's longer side, so it removes strokes up to
/// twice as wide. A larger radius would follow the light less well.
pub(super) const STROKE_RADIUS: (Ratio, u32) = (Ratio(1, 10), MIN_RADIUS);
/// The same for strokes that may fill the picture.
pub(super) const BROAD_RADIUS: (Ratio, u32) = (Ratio(1, 3), MIN_RADIUS);
/// The smallest of these radii. Such small pictures are not smoothed: a median would remove their thin strokes.
pub(super) const MIN_RADIUS: u32 = 8;
/// In a smaller picture a digit leaves no room around it, so strokes fill it.
pub(super) const MIN_UNFILLED_SIDE: u32 = 40;
/// Near strokes more than half the picture is paper, so a lightness below this, out of 100, means light ink on dark.
pub(super) const MIDDLE_LIGHTNESS: u64 = 50;
/// Within this range, out of 100, ink and paper are about equally frequent: strokes may fill the picture.
pub(super) const FILLED_LIGHTNESS: Range<u64> = 30..70;
/// Ink on a side of the picture differs from the paper by more than this fraction of the picture's range; less is noise.
pub(super) const MIN_SIDE_CONTRAST: Ratio = Ratio(1, 5);
/// A side with at least this fraction of ink shows a desk, which covers whole sides; a stroke only crosses them.
pub(super) const DESK_SIDE: f32 = 0.9;
/// Whatever is less dark than this against its paper, out of 255, is texture.
pub(super) const MIN_INK: u8 = 20;
/// In less light than this, out of 255, a difference is mostly a camera's noise, and is not amplified further.
pub(super) const MIN_LIGHT: u32 = 96;
/// Even where there is more ink than paper, at least this fraction of the pixels is paper.
pub(super) const PAPER_FRACTION: f32 = 0.25;
/// Noise is that paper's darkness plus this many times the median difference between neighbours: single ones differ more.
pub(super) const NOISE_STEPS: u8 = 4;

// Printed lines.

/// The steepest line against level or upright, as a tangent: 23 degrees, a little more than sheets are rotated (20).
pub(super) const MAX_SLOPE: f32 = 0.42;
/// Lines whose tangents differ by less are parallel: perspective and measurement turn them a little.
pub(super) const PARALLEL: f32 = 0.04;
/// Digits' strokes are thicker than printed lines, which are at most this thick: a fraction of the picture's longer side,
/// but at least this many pixels.
pub(super) const MAX_LINE_THICKNESS: (Ratio, u32) = (Ratio(1, 70), 3);
/// A printed line is at least this long: a fraction of the picture's width, but at least this many pixels. Strokes of a
/// digit that are as long are recognized by other thresholds.
pub(super) const MIN_LINE_LENGTH: (Ratio, u32) = (Ratio(3, 10), 12);
/// No digit's stroke is longer than this fraction of the picture's width.
pub(super) const MAX_STROKE_LENGTH: Ratio = Ratio(3, 5);
/// A line is ink in at least this fraction of its columns: printing and noise interrupt it.
pub(super) const MIN_LINE_INK: Ratio = Ratio(6, 10);
/// The longest gap in a line, such as a stroke that crosses it: a fraction of the picture's width, but at least this many
/// pixels.
pub(super) const MAX_LINE_GAP: (Ratio, u32) = (Ratio(1, 16), 3);
/// Ink this near to a line, in pixels, belongs to it: neither paper nor print is quite even.
pub(super) const LINE_TOLERANCE: f32 = 1.6;
/// An end before the first or after the second of these fractions of the picture is at its border: a blurred line ends a
/// little short of it.
pub(super) const BORDER: [f32; 2] = [0.03, 0.97];
/// Ruled lines are about equally long: each is at least this fraction of the longest.
pub(super) const MIN_LIKE_LENGTH: Ratio = Ratio(7, 10);
/// Ink that crosses a line is thicker than this many times the line's thickness plus a pixel, and stays.
pub(super) const MAX_ERASED: Ratio = Ratio(3, 2);
/// Paper with a texture has more runs of ink per column, and the search for lines would take long.
pub(super) const MAX_RUNS_PER_COLUMN: usize = 60;
/// After this many candidates that are not lines, further ones are not lines either.
pub(super) const MAX_FAILED: usize = 40;

// Groups of ink.

/// A pattern such as wood's has more components; only the largest are kept.
pub(super) const MAX_COMPONENTS: usize = 100;
/// Components smaller than this fraction of the largest are specks.
pub(super) const MIN_COMPONENT: Ratio = Ratio(1, 50);
/// Smaller groups are texture or dirt: a fraction of the picture's longer side, but at least this many pixels.
pub(super) const MIN_GROUP: (Ratio, u32) = (Ratio(1, 20), 6);
/// No digit is wider, relative to its height.
pub(super) const MAX_WIDTH: Ratio = Ratio(9, 5);
/// No digit, even a 1, is higher, relative to its width.
pub(super) const MAX_HEIGHT: Ratio = Ratio(14, 1);
/// A group is a straight stroke if its variance across is below this fraction of that along: it is over eight times as long
/// as it is wide.
pub(super) const MAX_STRAIGHT_VARIANCE: f64 = 0.015;
/// A component above another, such as a 5's bar, overlaps it across by at least this fraction of the narrower one's width,
/// and is no farther than this fraction of the higher one's height.
pub(super) const ABOVE: [Ratio; 2] = [Ratio(1, 2), Ratio(1, 5)];
/// A component beside another is no farther than this fraction of the higher one's height: the pen was lifted there.
pub(super) const NEAR: Ratio = Ratio(1, 12);
/// A frame consists of thin lines: its ink fills less than this fraction of its box.
pub(super) const MAX_FRAME_INK: Ratio = Ratio(1, 4);
/// A figure in a frame is at least this large, relative to the frame; a speck inside a 0 is smaller.
pub(super) const MIN_FRAMED: Ratio = Ratio(1, 5);
/// A scan's margin is at least this large, relative to the picture, and at least this wide, relative to its height.
pub(super) const MIN_MARGIN: Ratio = Ratio(1, 2);
/// A margin's ink is within this fraction of its box from the box's sides.
pub(super) const MARGIN_BREADTH: Ratio = Ratio(1, 7);
/// At least this fraction of a margin's ink is there.
pub(super) const MIN_MARGIN_INK: Ratio = Ratio(9, 10);

// Figures.

/// A group's darkness is its ink's at this quantile: the edges of strokes are softer, and the darkest ink varies.
pub(super) const DARKNESS_QUANTILE: f32 = 0.75;
/// A sheet is at least half as light as the paper at this quantile; a desk is darker.
pub(super) const SHEET_QUANTILE: f32 = 0.9;
/// The first level of darkness, near black, and the ratio of each level to the one before; finer steps would be slower.
pub(super) const LEVELS: (u8, Ratio) = (230, Ratio(5, 6));
/// The levels at which a figure's softer ink, such as its edges, is added, relative to its darkness.
pub(super) const SOFTER_LEVELS: [f32; 4] = [0.72, 0.6, 0.5, 0.4];
/// A figure that grows by a larger factor in a step, and by more than this many pixels besides, has merged with a line or a
/// shadow.
pub(super) const MAX_GROWTH: (Ratio, u32) = (Ratio(4, 3), 4);
/// A group with less than this fraction of the figure's area is another one.
pub(super) const MIN_KEPT: Ratio = Ratio(9, 10);
/// Figures in one picture are written with one pen on one sheet: their darkness and paper are at least this alike.
pub(super) const MIN_LIKENESS: Ratio = Ratio(2, 3);
/// Smaller figures beside the main one, relative to it, are not digits.
pub(super) const MIN_OTHER: Ratio = Ratio(2, 5);
/// A longer straight stroke, relative to the main figure, belongs to a line.
pub(super) const MAX_OTHER_STROKE: Ratio = Ratio(3, 2);
/// A sheet or a shadow has broader strokes, relative to its size; no digit has.
pub(super) const MAX_STROKE: f32 = 0.36;
/// Only figures that are wider than this, relative to their height, are checked for that: a 1 is one broad stroke.
pub(super) const MAX_NARROW: Ratio = Ratio(1, 2);
/// Softer ink around a figure is within this distance, relative to its size, and 2 pixels more.
pub(super) const CUT_MARGIN: Ratio = Ratio(1, 4);
/// Fainter ink, relative to the figure's darkness, is the paper's texture.
pub(super) const MIN_CUT_INK: Ratio = Ratio(1, 4);
/// Softer ink is within half a stroke's width of the stroke, but at most this many pixels: half of the broadest stroke.
pub(super) const MAX_SOFT_EDGE: f32 = 60.0;
/// A figure whose ink is less dark than this against the paper, out of 255 (18 %), is reported as faint.
pub(super) const FAINT: u8 = 45;
/// A figure that is neither as high nor as wide, in the file's pixels, is reported as small: MNIST's digits have more
/// pixels.
pub(super) const SMALL: u32 = 12;

// MNIST's images, measured on all 70,000.

/// The longer side of MNIST's digits, by its makers' description.
pub(super) const BOX: u32 = 20;
/// The centre of mass is as near to this as whole pixels allow.
pub(super) const MIDDLE: f64 = 14.0;
/// Counted from the middle of the first pixel, MNIST's centres of mass are between 13.48 and 14.5.
pub(super) const MIDDLE_TOLERANCE: f64 = 0.52;
/// The darkest pixel of MNIST's digits is 254 or 255.
pub(super) const MIN_DARKEST: u8 = 254;
/// MNIST's strokes are hardly thinner, in pixels of the box.
pub(super) const MIN_STROKE: f32 = 1.9;
/// Strokes are thickened by at most this many pixels on each side; the time grows with its square.
pub(super) const MAX_THICKENING: f32 = 12.0;

/// A proportion of whole numbers, compared exactly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ratio(i64, i64);

impl Ratio {
    pub fn new(part: impl Into<i64>, whole: impl Into<i64>) -> Self {
        Self(part.into(), whole.into())
    }

    /// This fraction of `whole`, rounded down.
    pub fn of(self, whole: u32) -> u32 {
        (i64::from(whole) * self.0 / self.1) as u32
    }
}

/// The fraction of `whole`, but at least this many pixels.
pub(super) fn scaled((fraction, min): (Ratio, u32), whole: u32) -> u32 {
    fraction.of(whole).max(min)
}

impl PartialEq for Ratio {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.0 * other.1).partial_cmp(&(other.0 * self.1))
    }
}
