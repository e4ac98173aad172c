//! Which groups of ink are figures, and what of it belongs to each.

use std::rc::Rc;

use image::{GrayImage, Luma, RgbImage};
use imageproc::distance_transform::Norm;
use imageproc::morphology::dilate;

use super::bounds::Bounds;
use super::groups::{Group, Groups, Levels};
use super::ink::{Ink, broad_strokes, quantile, strokes};
use super::normalize::stroke_width;

/// No stroke is broader, as a part of the figure's size.
const BROADEST: f32 = 0.36;

/// A figure, cut out.
pub(super) struct Figure {
    /// Its ink alone, from 0 to 255.
    pub ink: GrayImage,
    /// How dark that is in the picture.
    pub darkness: u8,
    pub bounds: Bounds,
    pub touches_border: bool,
}

/// The figures in a picture, from left to right.
pub(super) fn figures(picture: &RgbImage) -> Vec<Figure> {
    let inside = |ink: Ink| {
        let levels = Levels::new(&ink, false);
        // A sheet is lighter than the desk.
        let sheet = quantile(ink.paper.to_vec(), 0.9) / 2;
        let search = |least_paper| Search { ink: &ink, levels: &levels, least_paper }.figures();
        search(sheet).or_else(|| search(0))
    };
    let at_border =
        |ink: Ink| Search { ink: &ink, levels: &Levels::new(&ink, true), least_paper: 0 }.figures();
    let strokes = strokes(picture);
    let search = |unlikely| {
        let found = strokes.as_ref().and_then(|strokes| inside(strokes(unlikely)));
        found.or_else(|| at_border(broad_strokes(picture, unlikely)))
    };
    [false, true].into_iter().find_map(search).unwrap_or_default()
}

/// Where to look for figures.
struct Search<'a> {
    ink: &'a Ink,
    levels: &'a Levels<'a>,
    least_paper: u8,
}

/// What was found at a level of darkness.
struct Found {
    groups: Rc<Groups>,
    /// Those of the groups that may be figures.
    figures: Vec<Group>,
    /// The figure that the others are held against.
    main: Group,
}

impl Search<'_> {
    fn figures(&self) -> Option<Vec<Figure>> {
        let levels = std::iter::successors(Some(230u8), |level| Some((u32::from(*level) * 5 / 6) as u8));
        let levels: Vec<u8> = levels.take_while(|level| *level >= self.ink.noise).collect();
        let mut below = &levels[..];
        loop {
            let (found, next) = self.darkest(below)?;
            if let Some(whole) = self.whole(found) {
                return Some(self.all(&whole));
            }
            // That was a piece of a line, which is known as one further down.
            below = &below[next..];
        }
    }

    /// The first figure from the darkest ink down, and after how many levels. A single stroke may be a piece of a line:
    /// something else that is not much fainter comes before it.
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

    /// As much more as belongs to the figure. Further down all may be one with lines and shadows. None if there is nothing
    /// of it a little further down.
    fn whole(&self, mut found: Found) -> Option<Found> {
        let darkness = f32::from(found.groups.darkness(self.ink, &found.main));
        for (step, part) in [0.72, 0.6, 0.5, 0.4].into_iter().enumerate() {
            let (groups, figures) = self.at(((darkness * part) as u8).max(self.ink.noise));
            let before = &found.main;
            let around = figures.iter().filter(|group| group.bounds.overlaps(&before.bounds));
            let Some(main) = around.max_by_key(|group| group.area).cloned() else {
                return (step > 0).then_some(found);
            };
            let is_more = |now: u32, before: u32| now > before * 4 / 3 + 4;
            let has_grown = is_more(main.bounds.width(), before.bounds.width())
                || is_more(main.bounds.height(), before.bounds.height());
            if (step > 1 && has_grown) || (step > 0 && main.area * 10 < before.area * 9) {
                break;
            }
            found = Found { groups, figures, main };
        }
        Some(found)
    }

    /// All figures that are as large, as dark and on such paper as the one, or nearly.
    fn all(&self, Found { groups, figures, main }: &Found) -> Vec<Figure> {
        let is_like = |value: u8, other: u8| {
            let (value, other) = (u32::from(value), u32::from(other));
            value * 3 >= other * 2 && other * 3 >= value * 2
        };
        let (paper, darkness) = (groups.paper(self.ink, main), groups.darkness(self.ink, main));
        let is_another = |group: &&Group| {
            let (size, main_size) = (group.bounds.size(), main.bounds.size());
            size * 5 >= main_size * 2
                && is_like(groups.paper(self.ink, group), paper)
                && is_like(groups.darkness(self.ink, group), darkness)
                && (!group.is_straight() || main.is_straight() || size * 2 <= main_size * 3)
        };
        let mut all: Vec<Figure> =
            figures.iter().filter(is_another).map(|group| self.cut_out(groups, group)).collect();
        all.sort_by_key(|figure| figure.bounds.left);
        all
    }

    /// What is at least so dark, and what of it may be figures: on light paper, and no sheet or shadow, which is broader
    /// than a stroke for its size.
    fn at(&self, level: u8) -> (Rc<Groups>, Vec<Group>) {
        let groups = self.levels.at(level);
        let may_be_a_figure = |group: &&Group| {
            let is_broad = group.bounds.width() * 2 > group.bounds.height()
                && stroke_width(&groups.mask(group, &group.bounds)) > BROADEST * group.bounds.size() as f32;
            groups.paper(self.ink, group) >= self.least_paper && !is_broad
        };
        let figures = groups.groups.iter().filter(may_be_a_figure).cloned().collect();
        (groups, figures)
    }

    /// The group's ink, with the softer ink around it.
    fn cut_out(&self, groups: &Groups, group: &Group) -> Figure {
        let (width, height) = self.ink.darkness.dimensions();
        let part = group.bounds.widened(group.bounds.size() / 4 + 2, width, height);
        let mask = groups.mask(group, &part);
        let darkness = groups.darkness(self.ink, group);
        let floor = (darkness / 4).max(self.ink.noise);
        let near = dilate(&mask, Norm::L2, (stroke_width(&mask) / 2.0 + 1.0).min(60.0) as u8);
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
