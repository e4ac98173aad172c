//! Connected pieces of ink, and groups of them that may be figures.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::Rc;

use image::{GrayImage, ImageBuffer, Luma};
use imageproc::contrast::{ThresholdType, threshold};
use imageproc::region_labelling::{Connectivity, connected_components};

use super::bounds::Bounds;
use super::ink::{Ink, quantile};
use super::lines::wipe_lines;

/// Of a pattern, such as wood's, no more pieces than these are looked at.
const MAX_PIECES: usize = 100;

/// A connected piece of ink, or several that make a figure.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub bounds: Bounds,
    /// How many pixels it has.
    pub area: u32,
    pub touches_border: bool,
    labels: Vec<u32>,
    /// Sums over the pixels of x, y, x², y² and xy.
    moments: [f64; 5],
}

impl Group {
    fn empty(label: u32) -> Self {
        Self { bounds: Bounds::EMPTY, area: 0, touches_border: false, labels: vec![label], moments: [0.0; 5] }
    }

    fn add(&mut self, x: u32, y: u32) {
        self.bounds = self.bounds.with(&Bounds { left: x, top: y, right: x + 1, bottom: y + 1 });
        self.area += 1;
        let (x, y) = (f64::from(x), f64::from(y));
        let sums = self.moments.iter_mut().zip([x, y, x * x, y * y, x * y]);
        sums.for_each(|(sum, value)| *sum += value);
    }

    fn merge(&mut self, other: Self) {
        self.bounds = self.bounds.with(&other.bounds);
        self.area += other.area;
        self.touches_border |= other.touches_border;
        self.labels.extend(other.labels);
        self.moments.iter_mut().zip(other.moments).for_each(|(sum, value)| *sum += value);
    }

    /// Whether it is but a straight stroke: along its main axis more than eight times as long as across.
    pub fn is_straight(&self) -> bool {
        let [x, y, xx, yy, xy] = self.moments.map(|sum| sum / f64::from(self.area));
        let (xx, yy, xy) = (xx - x * x, yy - y * y, xy - x * y);
        let (middle, half) = ((xx + yy) / 2.0, (((xx - yy) / 2.0).powi(2) + xy * xy).sqrt());
        middle - half < 0.015 * (middle + half)
    }

    /// Whether a figure may be so small, so wide or so narrow.
    fn may_be_a_figure(&self, least_size: u32) -> bool {
        let (width, height) = (self.bounds.width(), self.bounds.height());
        self.bounds.size() >= least_size && width * 5 <= height * 9 && height <= 14 * width
    }

    /// Whether the other belongs to it: where the pen was lifted, or a line was wiped out.
    fn goes_with(&self, other: &Self) -> bool {
        let (across, down) = self.bounds.gaps(&other.bounds);
        let height = i64::from(self.bounds.height().max(other.bounds.height()));
        let narrower = i64::from(self.bounds.width().min(other.bounds.width()));
        let is_above = -across * 2 >= narrower && down * 5 <= height;
        let is_near = across * 12 <= height && down * 12 <= height;
        is_above || is_near
    }
}

/// The groups at each level of darkness, found when they are asked for.
pub(super) struct Levels<'a> {
    ink: &'a Ink,
    at_border: bool,
    /// By how many pixels are at least so dark: at other levels these are the same.
    found: RefCell<BTreeMap<usize, Rc<Groups>>>,
}

impl<'a> Levels<'a> {
    /// With `at_border` also what reaches the picture's border, which may be lines then.
    pub fn new(ink: &'a Ink, at_border: bool) -> Self {
        Self { ink, at_border, found: RefCell::default() }
    }

    pub fn at(&self, level: u8) -> Rc<Groups> {
        let count = self.ink.darkness.iter().filter(|value| **value >= level).count();
        let mut found = self.found.borrow_mut();
        found.entry(count).or_insert_with(|| Rc::new(Groups::of(self.ink, level, self.at_border))).clone()
    }
}

/// What of the ink is at least so dark, in groups that may be figures.
pub(super) struct Groups {
    pub groups: Vec<Group>,
    /// The number of each pixel's piece, 0 for paper.
    labels: ImageBuffer<Luma<u32>, Vec<u32>>,
    /// The lines that are no ink.
    lines: GrayImage,
}

impl Groups {
    fn of(ink: &Ink, level: u8, at_border: bool) -> Self {
        let mut lines = threshold(&ink.darkness, level.saturating_sub(1), ThresholdType::Binary);
        let mut mask = lines.clone();
        if !at_border {
            wipe_lines(&mut mask);
        }
        lines.iter_mut().zip(mask.iter()).for_each(|(line, mask)| *line -= mask);
        let labels = connected_components(&mask, Connectivity::Eight, Luma([0]));

        let mut pieces = pieces(&labels);
        pieces.retain(|piece| at_border || !piece.touches_border);
        pieces.sort_by_key(|piece| Reverse(piece.area));
        let largest = pieces.first().map_or(0, |piece| piece.area);
        // Specks.
        pieces.retain(|piece| piece.area * 50 >= largest);
        pieces.truncate(MAX_PIECES);
        let least_size = (ink.darkness.width().max(ink.darkness.height()) / 20).max(6);
        let is_frame =
            |piece: &Group| is_around_another(piece, &pieces, least_size) || is_margin(piece, &labels);
        let is_frame: Vec<bool> = pieces.iter().map(is_frame).collect();
        let inner =
            pieces.into_iter().zip(is_frame).filter(|(_, is_frame)| !is_frame).map(|(piece, _)| piece);
        let mut groups = merged(inner.collect());
        groups.retain(|group| group.may_be_a_figure(least_size));
        Self { groups, labels, lines }
    }

    /// How dark the group's ink is, but for the darkest quarter.
    pub fn darkness(&self, ink: &Ink, group: &Group) -> u8 {
        quantile(self.values(&ink.darkness, group), 0.75)
    }

    /// How light the paper is that the group stands on.
    pub fn paper(&self, ink: &Ink, group: &Group) -> u8 {
        quantile(self.values(&ink.paper, group), 0.5)
    }

    /// The values of the group's pixels.
    fn values(&self, image: &GrayImage, group: &Group) -> Vec<u8> {
        let width = image.width() as usize;
        let (left, right) = (group.bounds.left as usize, group.bounds.right as usize);
        let rows = group.bounds.top as usize..group.bounds.bottom as usize;
        let places = rows.flat_map(|y| y * width + left..y * width + right);
        places.filter(|&at| self.holds(group, at)).map(|at| image.as_raw()[at]).collect()
    }

    fn holds(&self, group: &Group, at: usize) -> bool {
        group.labels.contains(&self.labels.as_raw()[at])
    }

    /// The group's pixels within these bounds, as a mask.
    pub fn mask(&self, group: &Group, within: &Bounds) -> GrayImage {
        let width = self.labels.width();
        GrayImage::from_fn(within.width(), within.height(), |x, y| {
            let at = (within.top + y) * width + within.left + x;
            Luma([if self.holds(group, at as usize) { 255 } else { 0 }])
        })
    }

    pub fn is_line(&self, x: u32, y: u32) -> bool {
        self.lines.get_pixel(x, y).0[0] > 0
    }
}

/// The connected pieces.
fn pieces(labels: &ImageBuffer<Luma<u32>, Vec<u32>>) -> Vec<Group> {
    let count = labels.iter().copied().max().unwrap_or(0);
    let mut pieces: Vec<Group> = (1..=count).map(Group::empty).collect();
    for (x, y, label) in labels.enumerate_pixels().filter(|(_, _, label)| label.0[0] > 0) {
        pieces[label.0[0] as usize - 1].add(x, y);
    }
    for piece in &mut pieces {
        let Bounds { left, top, right, bottom } = piece.bounds;
        piece.touches_border = left == 0 || top == 0 || right == labels.width() || bottom == labels.height();
    }
    pieces
}

/// Whether it runs along the sides of its box, from corner to corner, and the box is large: a scan's dark margin, a frame.
fn is_margin(piece: &Group, labels: &ImageBuffer<Luma<u32>, Vec<u32>>) -> bool {
    let Bounds { left, top, right, bottom } = piece.bounds;
    let (width, height) = (piece.bounds.width(), piece.bounds.height());
    if piece.bounds.size() * 2 < labels.width().max(labels.height()) || width * 2 < height {
        return false;
    }
    let (mut at_side, mut at_corner) = (0, [false; 4]);
    for y in top..bottom {
        for x in (left..right).filter(|x| piece.labels.contains(&labels.get_pixel(*x, y).0[0])) {
            let is_beside = (x - left).min(right - 1 - x) * 7 < width;
            let is_above = (y - top).min(bottom - 1 - y) * 7 < height;
            at_side += u32::from(is_beside || is_above);
            if is_beside && is_above {
                at_corner[usize::from((x - left) * 2 > width) + 2 * usize::from((y - top) * 2 > height)] =
                    true;
            }
        }
    }
    at_corner == [true; 4] && at_side * 10 >= piece.area * 9
}

/// Whether it is little ink around something that may be a figure.
fn is_around_another(piece: &Group, pieces: &[Group], least_size: u32) -> bool {
    let is_in_it = |other: &Group| {
        other.bounds.size() >= least_size.max(piece.bounds.size() / 5)
            && other.bounds.is_within(&piece.bounds)
    };
    piece.area * 4 < piece.bounds.width() * piece.bounds.height() && pieces.iter().any(is_in_it)
}

/// Pieces that make a figure put together.
fn merged(mut groups: Vec<Group>) -> Vec<Group> {
    let pair = |groups: &[Group]| {
        let other = |a: usize| (a + 1..groups.len()).find(|&b| groups[a].goes_with(&groups[b]));
        (0..groups.len()).find_map(|a| Some((a, other(a)?)))
    };
    while let Some((a, b)) = pair(&groups) {
        let other = groups.swap_remove(b);
        groups[a].merge(other);
    }
    groups
}
