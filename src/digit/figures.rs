//! Finds figures and cuts them out: connected components of ink form groups, and some groups are figures.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::iter::successors;
use std::rc::Rc;

use image::{GrayImage, ImageBuffer, Luma, RgbImage};
use imageproc::contrast::{ThresholdType, threshold};
use imageproc::distance_transform::Norm;
use imageproc::morphology::dilate;
use imageproc::region_labelling::{Connectivity, connected_components};

use super::ink::{Ink, broad_strokes, quantile, stroke_width, strokes};
use super::lines::erase_lines;
use super::thresholds::{
    ABOVE, CUT_MARGIN, DARKNESS_QUANTILE, LEVELS, MARGIN_BREADTH, MAX_COMPONENTS, MAX_FRAME_INK, MAX_GROWTH,
    MAX_HEIGHT, MAX_NARROW, MAX_OTHER_STROKE, MAX_SOFT_EDGE, MAX_STRAIGHT_VARIANCE, MAX_STROKE, MAX_WIDTH,
    MIN_COMPONENT, MIN_CUT_INK, MIN_FRAMED, MIN_GROUP, MIN_KEPT, MIN_LIKENESS, MIN_MARGIN, MIN_MARGIN_INK,
    MIN_OTHER, NEAR, Ratio, SHEET_QUANTILE, SOFTER_LEVELS, scaled,
};

/// A figure, cut out.
pub(super) struct Figure {
    /// Its ink alone, from 0 to 255.
    pub ink: GrayImage,
    /// The darkness of that ink in the picture.
    pub darkness: u8,
    pub bounds: Bounds,
    pub touches_border: bool,
}

/// Finds the figures in a picture, from left to right.
pub(super) fn figures(picture: &RgbImage) -> Vec<Figure> {
    let inside = |ink: Ink| {
        let levels = Levels::new(&ink, false);
        let sheet = quantile(ink.paper.to_vec(), SHEET_QUANTILE) / 2;
        let search = |min_paper| Search { ink: &ink, levels: &levels, min_paper }.figures();
        search(sheet).or_else(|| search(0))
    };
    let at_border = |ink: Ink| Search { ink: &ink, levels: &Levels::new(&ink, true), min_paper: 0 }.figures();
    let strokes = strokes(picture);
    let search = |unlikely| {
        let found = strokes.as_ref().and_then(|strokes| inside(strokes(unlikely)));
        found.or_else(|| at_border(broad_strokes(picture, unlikely)))
    };
    [false, true].into_iter().find_map(search).unwrap_or_default()
}

/// The ink in which to search for figures.
struct Search<'a> {
    ink: &'a Ink,
    levels: &'a Levels<'a>,
    /// Figures are on paper that is at least this light.
    min_paper: u8,
}

/// The figures found at a level of darkness.
struct Found {
    groups: Rc<Groups>,
    /// The groups that may be figures.
    figures: Vec<Group>,
    /// The figure with which the others are compared.
    main: Group,
}

impl Search<'_> {
    fn figures(&self) -> Option<Vec<Figure>> {
        let (darkest, next) = LEVELS;
        let levels = successors(Some(darkest), |level| Some(next.of(u32::from(*level)) as u8));
        let levels: Vec<u8> = levels.take_while(|level| *level >= self.ink.noise).collect();
        let mut below = &levels[..];
        loop {
            let (found, next) = self.darkest(below)?;
            if let Some(whole) = self.whole(found) {
                return Some(self.all(&whole));
            }
            // The figure was a piece of a line, which is recognized at fainter levels.
            below = &below[next..];
        }
    }

    /// The first figure from the darkest ink down, and the number of levels searched. A single stroke may be a piece of a
    /// line, so another figure that is not much fainter is preferred.
    fn darkest(&self, levels: &[u8]) -> Option<(Found, usize)> {
        let mut first: Option<(Found, usize)> = None;
        for (number, &level) in levels.iter().enumerate() {
            if first.as_ref().is_some_and(|(_, next)| level < levels[next - 1] / 2) {
                break;
            }
            let (groups, figures) = self.at(level);
            let Some(main) = figures.iter().max_by_key(|group| (!group.is_straight(), group.bounds.size()))
            else {
                continue;
            };
            let (is_straight, main) = (main.is_straight(), main.clone());
            if first.is_none() || !is_straight {
                first = Some((Found { groups, figures, main }, number + 1));
            }
            if !is_straight {
                break;
            }
        }
        first
    }

    /// Adds the softer ink of the figure, until it merges with lines and shadows. None if the figure is gone at the first,
    /// slightly fainter level.
    fn whole(&self, mut found: Found) -> Option<Found> {
        let darkness = f32::from(found.groups.darkness(self.ink, &found.main));
        for (step, part) in SOFTER_LEVELS.into_iter().enumerate() {
            let (groups, figures) = self.at(((darkness * part) as u8).max(self.ink.noise));
            let before = &found.main;
            let around = figures.iter().filter(|group| group.bounds.overlaps(&before.bounds));
            let Some(main) = around.max_by_key(|group| group.area).cloned() else {
                return (step > 0).then_some(found);
            };
            let is_more = |now: u32, before: u32| now > MAX_GROWTH.0.of(before) + MAX_GROWTH.1;
            let has_grown = is_more(main.bounds.width(), before.bounds.width())
                || is_more(main.bounds.height(), before.bounds.height());
            if (step > 1 && has_grown) || (step > 0 && Ratio::new(main.area, before.area) < MIN_KEPT) {
                break;
            }
            found = Found { groups, figures, main };
        }
        Some(found)
    }

    /// All figures that resemble the main one in size, darkness and paper.
    fn all(&self, Found { groups, figures, main }: &Found) -> Vec<Figure> {
        let is_like = |a: u8, b: u8| Ratio::new(a, b) >= MIN_LIKENESS && Ratio::new(b, a) >= MIN_LIKENESS;
        let (paper, darkness) = (groups.paper(self.ink, main), groups.darkness(self.ink, main));
        let is_another = |group: &&Group| {
            let size = Ratio::new(group.bounds.size(), main.bounds.size());
            size >= MIN_OTHER
                && is_like(groups.paper(self.ink, group), paper)
                && is_like(groups.darkness(self.ink, group), darkness)
                && (!group.is_straight() || main.is_straight() || size <= MAX_OTHER_STROKE)
        };
        let mut all: Vec<Figure> =
            figures.iter().filter(is_another).map(|group| self.cut_out(groups, group)).collect();
        all.sort_by_key(|figure| figure.bounds.left);
        all
    }

    /// The groups at a level of darkness, and those that may be figures: on light paper, and not a sheet or a shadow, which
    /// is broader than a stroke for its size.
    fn at(&self, level: u8) -> (Rc<Groups>, Vec<Group>) {
        let groups = self.levels.at(level);
        let may_be_a_figure = |group: &&Group| {
            let is_broad = Ratio::new(group.bounds.width(), group.bounds.height()) > MAX_NARROW
                && stroke_width(&groups.mask(group, &group.bounds)) > MAX_STROKE * group.bounds.size() as f32;
            groups.paper(self.ink, group) >= self.min_paper && !is_broad
        };
        let figures = groups.groups.iter().filter(may_be_a_figure).cloned().collect();
        (groups, figures)
    }

    /// Cuts out the group's ink with the softer ink around it.
    fn cut_out(&self, groups: &Groups, group: &Group) -> Figure {
        let (width, height) = self.ink.darkness.dimensions();
        let part = group.bounds.widened(CUT_MARGIN.of(group.bounds.size()) + 2, width, height);
        let mask = groups.mask(group, &part);
        let darkness = groups.darkness(self.ink, group);
        let floor = (MIN_CUT_INK.of(u32::from(darkness)) as u8).max(self.ink.noise);
        let near = dilate(&mask, Norm::L2, (stroke_width(&mask) / 2.0 + 1.0).min(MAX_SOFT_EDGE) as u8);
        let ink = GrayImage::from_fn(mask.width(), mask.height(), |x, y| {
            let is_near = near.get_pixel(x, y).0[0] > 0;
            let (x, y) = (part.left + x, part.top + y);
            let value = self.ink.darkness.get_pixel(x, y).0[0];
            let is_ink = is_near && value > floor && !groups.is_line(x, y);
            Luma([if is_ink { (u32::from(value) * 255 / u32::from(darkness)).min(255) as u8 } else { 0 }])
        });
        Figure { ink, darkness, bounds: group.bounds, touches_border: group.touches_border }
    }
}

/// A connected component of ink, or several that form a figure.
#[derive(Clone, Debug)]
struct Group {
    bounds: Bounds,
    /// Its number of pixels.
    area: u32,
    touches_border: bool,
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

    /// True if it is a single straight stroke.
    fn is_straight(&self) -> bool {
        let [x, y, xx, yy, xy] = self.moments.map(|sum| sum / f64::from(self.area));
        let (xx, yy, xy) = (xx - x * x, yy - y * y, xy - x * y);
        let (middle, half) = ((xx + yy) / 2.0, (((xx - yy) / 2.0).powi(2) + xy * xy).sqrt());
        middle - half < MAX_STRAIGHT_VARIANCE * (middle + half)
    }

    /// True if a figure may have its size and proportions.
    fn may_be_a_figure(&self, min_size: u32) -> bool {
        let (width, height) = (self.bounds.width(), self.bounds.height());
        self.bounds.size() >= min_size
            && Ratio::new(width, height) <= MAX_WIDTH
            && Ratio::new(height, width) <= MAX_HEIGHT
    }

    /// True if the other belongs to it: the pen was lifted between them, or a line was removed there.
    fn goes_with(&self, other: &Self) -> bool {
        let (across, down) = self.bounds.gaps(&other.bounds);
        let height = i64::from(self.bounds.height().max(other.bounds.height()));
        let narrower = i64::from(self.bounds.width().min(other.bounds.width()));
        let is_above = Ratio::new(-across, narrower) >= ABOVE[0] && Ratio::new(down, height) <= ABOVE[1];
        let is_near = Ratio::new(across.max(down), height) <= NEAR;
        is_above || is_near
    }
}

/// The groups at each level of darkness, found on demand.
struct Levels<'a> {
    ink: &'a Ink,
    at_border: bool,
    /// By the number of pixels that are at least as dark: levels with the same number have the same pixels.
    found: RefCell<BTreeMap<usize, Rc<Groups>>>,
}

impl<'a> Levels<'a> {
    /// With `at_border`, groups may reach the picture's border, and lines are not removed.
    fn new(ink: &'a Ink, at_border: bool) -> Self {
        Self { ink, at_border, found: RefCell::default() }
    }

    fn at(&self, level: u8) -> Rc<Groups> {
        let count = self.ink.darkness.iter().filter(|value| **value >= level).count();
        let mut found = self.found.borrow_mut();
        found.entry(count).or_insert_with(|| Rc::new(Groups::of(self.ink, level, self.at_border))).clone()
    }
}

/// The groups that may be figures at a level of darkness.
struct Groups {
    groups: Vec<Group>,
    /// The number of each pixel's component, 0 for paper.
    labels: ImageBuffer<Luma<u32>, Vec<u32>>,
    /// The lines that were removed from the ink.
    lines: GrayImage,
}

impl Groups {
    fn of(ink: &Ink, level: u8, at_border: bool) -> Self {
        let mut lines = threshold(&ink.darkness, level.saturating_sub(1), ThresholdType::Binary);
        let mut mask = lines.clone();
        if !at_border {
            erase_lines(&mut mask);
        }
        lines.iter_mut().zip(mask.iter()).for_each(|(line, mask)| *line -= mask);
        let labels = connected_components(&mask, Connectivity::Eight, Luma([0]));

        let mut components = components(&labels);
        components.retain(|component| at_border || !component.touches_border);
        components.sort_by_key(|component| Reverse(component.area));
        let largest = components.first().map_or(0, |component| component.area);
        components.retain(|component| Ratio::new(component.area, largest) >= MIN_COMPONENT);
        components.truncate(MAX_COMPONENTS);
        let min_size = scaled(MIN_GROUP, ink.darkness.width().max(ink.darkness.height()));
        let is_frame = |component: &Group| {
            is_around_another(component, &components, min_size) || is_margin(component, &labels)
        };
        let is_frame: Vec<bool> = components.iter().map(is_frame).collect();
        let inner = components
            .into_iter()
            .zip(is_frame)
            .filter(|(_, is_frame)| !is_frame)
            .map(|(component, _)| component);
        let mut groups = merged(inner.collect());
        groups.retain(|group| group.may_be_a_figure(min_size));
        Self { groups, labels, lines }
    }

    /// The darkness of the group's ink, except the darkest quarter.
    fn darkness(&self, ink: &Ink, group: &Group) -> u8 {
        quantile(self.values(&ink.darkness, group), DARKNESS_QUANTILE)
    }

    /// The lightness of the paper under the group.
    fn paper(&self, ink: &Ink, group: &Group) -> u8 {
        quantile(self.values(&ink.paper, group), 0.5)
    }

    /// The values of the group's pixels.
    fn values(&self, image: &GrayImage, group: &Group) -> Vec<u8> {
        let width = image.width() as usize;
        let (left, right) = (group.bounds.left as usize, group.bounds.right as usize);
        let rows = group.bounds.top as usize..group.bounds.bottom as usize;
        let places = rows.flat_map(|y| y * width + left..y * width + right);
        places.filter(|&at| self.contains(group, at)).map(|at| image.as_raw()[at]).collect()
    }

    fn contains(&self, group: &Group, at: usize) -> bool {
        group.labels.contains(&self.labels.as_raw()[at])
    }

    /// The group's pixels within these bounds, as a mask.
    fn mask(&self, group: &Group, within: &Bounds) -> GrayImage {
        let width = self.labels.width();
        GrayImage::from_fn(within.width(), within.height(), |x, y| {
            let at = (within.top + y) * width + within.left + x;
            Luma([if self.contains(group, at as usize) { 255 } else { 0 }])
        })
    }

    fn is_line(&self, x: u32, y: u32) -> bool {
        self.lines.get_pixel(x, y).0[0] > 0
    }
}

/// The connected components of ink.
fn components(labels: &ImageBuffer<Luma<u32>, Vec<u32>>) -> Vec<Group> {
    let count = labels.iter().copied().max().unwrap_or(0);
    let mut components: Vec<Group> = (1..=count).map(Group::empty).collect();
    for (x, y, label) in labels.enumerate_pixels().filter(|(_, _, label)| label.0[0] > 0) {
        components[label.0[0] as usize - 1].add(x, y);
    }
    for component in &mut components {
        let Bounds { left, top, right, bottom } = component.bounds;
        component.touches_border =
            left == 0 || top == 0 || right == labels.width() || bottom == labels.height();
    }
    components
}

/// True for a scan's dark margin or a frame: the component runs along the sides of its large box, from corner to corner.
fn is_margin(component: &Group, labels: &ImageBuffer<Luma<u32>, Vec<u32>>) -> bool {
    let Bounds { left, top, right, bottom } = component.bounds;
    let (width, height) = (component.bounds.width(), component.bounds.height());
    let size = Ratio::new(component.bounds.size(), labels.width().max(labels.height()));
    if size < MIN_MARGIN || Ratio::new(width, height) < MIN_MARGIN {
        return false;
    }
    let (mut at_side, mut at_corner) = (0, [false; 4]);
    for y in top..bottom {
        for x in (left..right).filter(|x| component.labels.contains(&labels.get_pixel(*x, y).0[0])) {
            let is_beside = Ratio::new((x - left).min(right - 1 - x), width) < MARGIN_BREADTH;
            let is_above = Ratio::new((y - top).min(bottom - 1 - y), height) < MARGIN_BREADTH;
            at_side += u32::from(is_beside || is_above);
            if is_beside && is_above {
                at_corner[usize::from((x - left) * 2 > width) + 2 * usize::from((y - top) * 2 > height)] =
                    true;
            }
        }
    }
    at_corner == [true; 4] && Ratio::new(at_side, component.area) >= MIN_MARGIN_INK
}

/// True if it is little ink around something that may be a figure.
fn is_around_another(component: &Group, components: &[Group], min_size: u32) -> bool {
    let is_in_it = |other: &Group| {
        other.bounds.size() >= min_size.max(MIN_FRAMED.of(component.bounds.size()))
            && other.bounds.is_within(&component.bounds)
    };
    let box_area = component.bounds.width() * component.bounds.height();
    Ratio::new(component.area, box_area) < MAX_FRAME_INK && components.iter().any(is_in_it)
}

/// Merges the components that form a figure.
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

/// An upright box, from `left` and `top` up to `right` and `bottom`, exclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    pub left: u32,
    pub top: u32,
    pub right: u32,
    pub bottom: u32,
}

impl Bounds {
    /// The box of no pixels, whose union with another is the other.
    const EMPTY: Self = Self { left: u32::MAX, top: u32::MAX, right: 0, bottom: 0 };

    pub fn width(&self) -> u32 {
        self.right - self.left
    }

    pub fn height(&self) -> u32 {
        self.bottom - self.top
    }

    /// The longer side.
    pub fn size(&self) -> u32 {
        self.width().max(self.height())
    }

    /// The smallest box around both.
    pub fn with(&self, other: &Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    /// Grows each side by this many pixels, within a picture of this size.
    fn widened(&self, by: u32, width: u32, height: u32) -> Self {
        Self {
            left: self.left.saturating_sub(by),
            top: self.top.saturating_sub(by),
            right: (self.right + by).min(width),
            bottom: (self.bottom + by).min(height),
        }
    }

    fn is_within(&self, outer: &Self) -> bool {
        self.left > outer.left
            && self.top > outer.top
            && self.right < outer.right
            && self.bottom < outer.bottom
    }

    fn overlaps(&self, other: &Self) -> bool {
        let (across, down) = self.gaps(other);
        across < 0 && down < 0
    }

    /// The distances between them, across and down; negative where they overlap.
    fn gaps(&self, other: &Self) -> (i64, i64) {
        let gap = |start: u32, end: u32| i64::from(start) - i64::from(end);
        (
            gap(self.left.max(other.left), self.right.min(other.right)),
            gap(self.top.max(other.top), self.bottom.min(other.bottom)),
        )
    }
}
