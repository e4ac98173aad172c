//! The thresholds by which a picture is read, in the order of the steps. Their values were chosen on the pictures that
//! `scripts/photographs.py` makes.

use std::cmp::Ordering;
use std::ops::Range;

// Reading a file.

/// The largest file that is read.
pub(super) const MAX_BYTES: u64 = 64 << 20;
/// The largest width and height that is decoded, at up to 8 bytes a pixel.
pub(super) const MAX_SIDE: u32 = 8192;
/// Memory for decoding, besides the file.
pub(super) const MAX_DECODED: u64 = 8 * (MAX_SIDE as u64).pow(2);
/// A picture that is neither as wide nor as high has no room for a digit.
pub(super) const MIN_SIDE: u32 = 8;
/// Larger pictures are scaled down to this: digits end at 20 pixels in any case.
pub(super) const WORKING_SIDE: u32 = 640;

// Ink.

/// Strokes are up to twice this wide, relative to the picture: the closing that removes them has this radius.
pub(super) const STROKE_RADIUS: Ratio = Ratio(1, 10);
/// The same for strokes that may fill the picture.
pub(super) const BROAD_RADIUS: Ratio = Ratio(1, 3);
/// The smallest of these radii. Such pictures are not smoothed: a median would remove their thin strokes.
pub(super) const MIN_RADIUS: usize = 8;
/// In a smaller picture a digit leaves no room around it, so strokes fill it.
pub(super) const MIN_UNFILLED_SIDE: u32 = 40;
/// Near strokes more than half the picture is paper, so a lightness below this, of 100, means light ink on dark.
pub(super) const MIDDLE_LIGHTNESS: u64 = 50;
/// Within this range, of 100, ink and paper are about equally frequent: strokes may fill the picture.
pub(super) const FILLED_LIGHTNESS: Range<u64> = 30..70;
/// Ink on a side of the picture differs from the paper by more than this, relative to the picture's range.
pub(super) const MIN_SIDE_CONTRAST: Ratio = Ratio(1, 5);
/// A side that is ink to this part belongs to a desk.
pub(super) const DESK_SIDE: f32 = 0.9;
/// Ink that is no darker than this against its paper, of 255, is texture.
pub(super) const MIN_INK: u8 = 20;
/// In less light than this, of 255, a difference is mostly a camera's noise.
pub(super) const MIN_LIGHT: u32 = 96;
/// Even where there is more ink than paper, this part of the pixels is paper.
pub(super) const PAPER_PART: f32 = 0.25;
/// Noise is that paper's darkness and this many times the median difference of neighbours.
pub(super) const NOISE_STEPS: u8 = 4;

// Printed lines.

/// The largest angle from level or upright, as a tangent.
pub(super) const MAX_SLOPE: f32 = 0.42;
/// Lines whose tangents differ by less are parallel.
pub(super) const PARALLEL: f32 = 0.04;
/// Digits' strokes are thicker than printed lines, relative to the picture's side; and at least, in pixels.
pub(super) const MAX_LINE_THICKNESS: (Ratio, u32) = (Ratio(1, 70), 3);
/// Digits' strokes are shorter than printed lines, relative to the picture's width; and at least, in pixels.
pub(super) const MIN_LINE_LENGTH: (Ratio, u32) = (Ratio(3, 10), 12);
/// No digit's stroke is longer than this, relative to the picture's width.
pub(super) const MAX_STROKE_LENGTH: Ratio = Ratio(3, 5);
/// A line is ink in at least this part of its columns.
pub(super) const MIN_LINE_INK: Ratio = Ratio(6, 10);
/// The longest gap in a line, relative to the picture's width; and at least, in pixels.
pub(super) const MAX_LINE_GAP: (Ratio, u32) = (Ratio(1, 16), 3);
/// Ink as far from a line, in pixels, belongs to it.
pub(super) const LINE_TOLERANCE: f32 = 1.6;
/// An end before the first or after the second, relative to the picture, is at its border.
pub(super) const BORDER: [f32; 2] = [0.03, 0.97];
/// Ruled lines are about equally long: at least as long as this part of the longest.
pub(super) const MIN_LIKE_LENGTH: Ratio = Ratio(7, 10);
/// Ink that crosses a line is thicker than this many times the line, plus a pixel.
pub(super) const MAX_WIPED: Ratio = Ratio(3, 2);
/// Paper with a texture has more runs of ink per column, and looking for lines in it would take long.
pub(super) const MAX_RUNS_PER_COLUMN: usize = 60;
/// After this many candidates that were no line, there are no more lines.
pub(super) const MAX_FAILED: usize = 40;

// Groups of ink.

/// A pattern such as wood's has more pieces; only the largest are kept.
pub(super) const MAX_PIECES: usize = 100;
/// Pieces smaller than this, relative to the largest, are specks.
pub(super) const MIN_PIECE: Ratio = Ratio(1, 50);
/// Smaller pieces are no digits, relative to the picture's side; and at least, in pixels.
pub(super) const MIN_GROUP: (Ratio, u32) = (Ratio(1, 20), 6);
/// A digit is no wider, relative to its height.
pub(super) const MAX_WIDTH: Ratio = Ratio(9, 5);
/// A digit, such as a 1, is no higher, relative to its width.
pub(super) const MAX_HEIGHT: Ratio = Ratio(14, 1);
/// A group is a straight stroke if its variance across is below this part of that along: it is over eight times as long as
/// it is wide.
pub(super) const MAX_STRAIGHT_VARIANCE: f64 = 0.015;
/// A piece above another overlaps it across by this part of the narrower one, and is no farther than this part of the
/// higher one.
pub(super) const ABOVE: [Ratio; 2] = [Ratio(1, 2), Ratio(1, 5)];
/// A piece beside another is no farther than this part of the higher one.
pub(super) const NEAR: Ratio = Ratio(1, 12);
/// A frame's or a margin's ink fills less of its box than this.
pub(super) const MAX_FRAME_INK: Ratio = Ratio(1, 4);
/// What a frame surrounds is at least this large, relative to the frame.
pub(super) const MIN_FRAMED: Ratio = Ratio(1, 5);
/// A scan's margin is at least this large, relative to the picture, and at least this wide, relative to its height.
pub(super) const MIN_MARGIN: Ratio = Ratio(1, 2);
/// A margin's ink is this near to its box's sides, relative to the box.
pub(super) const MARGIN_BREADTH: Ratio = Ratio(1, 7);
/// At least this part of a margin's ink is there.
pub(super) const MIN_MARGIN_INK: Ratio = Ratio(9, 10);

// Figures.

/// The darkest ink of a group varies; its darkness is the value that this part of its pixels is below.
pub(super) const DARKNESS_QUANTILE: f32 = 0.75;
/// A sheet is lighter than half the paper at this quantile; a desk is darker.
pub(super) const SHEET_QUANTILE: f32 = 0.9;
/// The first level of darkness, and the proportion from one level to the next.
pub(super) const LEVELS: (u8, Ratio) = (230, Ratio(5, 6));
/// The levels at which a figure's softer ink is added, relative to its darkness.
pub(super) const SOFTER_LEVELS: [f32; 4] = [0.72, 0.6, 0.5, 0.4];
/// A figure that grows by more in a step, and by this many pixels, has merged with a line or a shadow.
pub(super) const MAX_GROWTH: (Ratio, u32) = (Ratio(4, 3), 4);
/// A group that keeps less of the figure's area in a step is another.
pub(super) const MIN_KEPT: Ratio = Ratio(9, 10);
/// Figures of one picture are at least this alike in darkness and paper.
pub(super) const MIN_LIKENESS: Ratio = Ratio(2, 3);
/// The smallest figure beside the main one, relative to it.
pub(super) const MIN_OTHER: Ratio = Ratio(2, 5);
/// A longer straight stroke, relative to the main figure, is part of a line.
pub(super) const MAX_OTHER_STROKE: Ratio = Ratio(3, 2);
/// A sheet or a shadow has broader strokes, relative to its size.
pub(super) const MAX_STROKE: f32 = 0.36;
/// Only figures that are wider than this, relative to their height, are checked for that: a 1 is one broad stroke.
pub(super) const MAX_NARROW: Ratio = Ratio(1, 2);
/// Ink around a figure is looked for within this distance, relative to its size, and 2 pixels more.
pub(super) const CUT_MARGIN: Ratio = Ratio(1, 4);
/// Ink that is fainter than this, relative to the figure's darkness, is the paper's.
pub(super) const MIN_CUT_INK: Ratio = Ratio(1, 4);
/// Softer ink is no farther from a stroke than this, in pixels.
pub(super) const MAX_SOFT_EDGE: f32 = 60.0;
/// Ink of lower darkness, of 255, is reported as faint.
pub(super) const FAINT: u8 = 45;
/// A figure that is neither as high nor as wide, in the file's pixels, is reported as small.
pub(super) const SMALL: u32 = 12;

// MNIST's images, measured on all 70,000.

/// The longer side of MNIST's digits, which its makers give.
pub(super) const BOX: u32 = 20;
/// The centre of mass is as near to this as whole pixels allow.
pub(super) const MIDDLE: f64 = 14.0;
/// Counted from the middle of the first pixel, MNIST's centres of mass are between 13.48 and 14.5.
pub(super) const MIDDLE_TOLERANCE: f64 = 0.52;
/// The darkest pixel of MNIST's digits is 254 or 255.
pub(super) const MIN_DARKEST: u8 = 254;
/// MNIST's strokes are hardly thinner, in pixels of the box.
pub(super) const MIN_STROKE: f32 = 1.9;
/// The most by which strokes are thickened, on each side.
pub(super) const MAX_THICKENING: f32 = 12.0;

/// A proportion of whole numbers, compared exactly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ratio(i64, i64);

impl Ratio {
    pub fn new(part: impl Into<i64>, whole: impl Into<i64>) -> Self {
        Self(part.into(), whole.into())
    }

    /// This part of the whole, rounded down.
    pub fn of(self, whole: u32) -> u32 {
        (i64::from(whole) * self.0 / self.1) as u32
    }
}

/// The part of the whole, but at least this many pixels.
pub(super) fn scaled((part, least): (Ratio, u32), whole: u32) -> u32 {
    part.of(whole).max(least)
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
