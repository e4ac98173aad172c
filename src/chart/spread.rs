//! The spread of many runs: bands around a line, bars, and stacks of dots.

use plotters::prelude::*;

use super::axis::{Axes, Axis};
use super::legend::{Entry, Legend, Name, ROOM, Sample, shortened};
use super::lines::draw_path;
use super::page::{Draw, Page};
use super::style::{FINE, Mark, Marker, SIZE, TAB10, TINT};
use super::{Error, Points};

/// Half the height of a bar, as a fraction of its space.
const HALF: f64 = 0.3;

/// Pixels from one stack of dots to the next, a little more than a dot's.
const STACK: f64 = 11.0;
/// Height of the axes above the highest stack, as a fraction of its height; there the legend has room.
const HEADROOM: f64 = 0.5;

/// A line within a band, for each name; with one x only, a dot within an interval.
///
/// ```
/// use islp_mnist::chart::{Bands, Picture};
///
/// let mut bands = Bands::new("epoch", "accuracy", "central 90 %");
/// bands.add("Mine", vec![(0.0, [0.8, 0.85, 0.9]), (1.0, [0.9, 0.92, 0.94])]);
/// assert!(bands.to_svg()?.contains("<polygon"));
/// # Ok::<(), islp_mnist::chart::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bands {
    /// Width and height in pixels.
    pub size: (usize, usize),
    names: [String; 2],
    band: String,
    bands: Vec<Band>,
}

#[derive(Clone, Debug)]
struct Band {
    name: String,
    color: RGBColor,
    points: Vec<(f64, [f64; 3])>,
}

impl Bands {
    /// Creates a chart without bands, with these names of the axes, and of a band in the legend.
    pub fn new(x_name: &str, y_name: &str, band: &str) -> Self {
        let names = [x_name.to_owned(), y_name.to_owned()];
        Self { size: SIZE, names, band: band.to_owned(), bands: vec![] }
    }

    /// Adds a band: for each x, in order, its lower end, the line and its upper end, all finite.
    pub fn add(&mut self, name: &str, points: Vec<(f64, [f64; 3])>) {
        let color = TAB10[self.bands.len() % TAB10.len()];
        let name = shortened(&Name::Path(name.to_owned()), ROOM);
        self.bands.push(Band { name, color, points });
    }
}

impl Draw for Bands {
    fn size(&self) -> (usize, usize) {
        self.size
    }

    fn draw<'a, DB: DrawingBackend + 'a>(&self, page: &Page<DB>) -> Result<(), Error> {
        let points = || self.bands.iter().flat_map(|band| &band.points);
        let x_axis = Axis::of_counts(points().map(|(x, _)| *x));
        let y_axis = Axis::new(points().flat_map(|(_, ends)| *ends));
        let is_single = self.bands.iter().all(|band| band.points.len() < 2);
        let line = if is_single { Sample::MarkerOnLine(Marker::Dot) } else { Sample::Line };
        let mut entries: Vec<_> =
            self.bands.iter().map(|band| Entry::new(&band.name, band.color, line)).collect();
        if !is_single {
            entries.push(Entry::new(&self.band, TAB10[7], Sample::Band));
        }
        // A legend over a band's middle would hide its ends too.
        let paths = points().map(|(x, ends)| ends.map(|y| (*x, y)).to_vec()).collect();
        let legend = Legend::new(page, entries)?;
        let axes = Axes { size: self.size, x: (x_axis, &self.names[0]), y: (y_axis, &self.names[1]), paths };
        let (mut chart, at) = axes.draw(page, legend.as_ref())?;
        for Band { color, points, .. } in self.bands.iter().filter(|band| band.points.len() > 1) {
            let lower = points.iter().map(|(x, ends)| (*x, ends[0]));
            let upper = points.iter().rev().map(|(x, ends)| (*x, ends[2]));
            let edge: Vec<_> = lower.chain(upper).collect();
            chart.draw_series([Polygon::new(edge, color.mix(TINT))])?;
        }
        for Band { color, points, .. } in &self.bands {
            let line: Points = points.iter().map(|(x, ends)| (*x, ends[1])).collect();
            draw_path(&mut chart, &line, *color, 2 * FINE)?;
            if let [(x, [low, middle, high])] = points[..] {
                draw_path(&mut chart, &[(x, low), (x, high)], *color, 2 * FINE)?;
                chart.draw_series([Mark::new((x, middle), *color, Marker::Dot)])?;
            }
        }
        legend.map_or(Ok(()), |legend| legend.draw(page, at))
    }
}

/// Horizontal bars with intervals, the first at the top.
///
/// ```
/// use islp_mnist::chart::{Bars, Picture};
///
/// let (init, shuffle) = ([0.003, 0.002, 0.005], [0.004, 0.003, 0.006]);
/// let bars = Bars::new("standard deviation", vec![("init".into(), init), ("shuffle".into(), shuffle)]);
/// assert!(bars.to_svg()?.contains("shuffle"));
/// # Ok::<(), islp_mnist::chart::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bars {
    /// Width and height in pixels.
    pub size: (usize, usize),
    x_name: String,
    bars: Vec<(String, [f64; 3])>,
}

impl Bars {
    /// Takes the x axis' name, and of each bar, at least one, its name, its length and the ends of its interval, all finite.
    pub fn new(x_name: &str, bars: Vec<(String, [f64; 3])>) -> Self {
        let bars = bars.into_iter().map(|(name, ends)| (shortened(&Name::Path(name), ROOM), ends)).collect();
        Self { size: SIZE, x_name: x_name.to_owned(), bars }
    }
}

impl Draw for Bars {
    fn size(&self) -> (usize, usize) {
        self.size
    }

    fn draw<'a, DB: DrawingBackend + 'a>(&self, page: &Page<DB>) -> Result<(), Error> {
        let x_axis = Axis::new(self.bars.iter().flat_map(|bar| bar.1).chain([0.0]));
        // The axis counts from the bottom.
        let names = self.bars.iter().rev().map(|bar| bar.0.clone()).collect();
        let axes =
            Axes { size: self.size, x: (x_axis, &self.x_name), y: (Axis::names(names), ""), paths: vec![] };
        let (mut chart, _) = axes.draw(page, None)?;
        for (place, (_, [length, low, high])) in self.bars.iter().rev().enumerate() {
            let at = |offset: f64| place as f64 + offset * HALF;
            chart.draw_series([Rectangle::new([(0.0, at(-1.0)), (*length, at(1.0))], TAB10[0].filled())])?;
            let caps = [low, high].map(|end| [(*end, at(-0.3)), (*end, at(0.3))]);
            for line in [[(*low, at(0.0)), (*high, at(0.0))], caps[0], caps[1]] {
                draw_path(&mut chart, &line, BLACK, 2 * FINE)?;
            }
        }
        Ok(())
    }
}

/// A dot for each value, stacked where values are close, with a range, and perhaps a line at a reference value.
///
/// ```
/// use islp_mnist::chart::{Picture, Stack};
///
/// let mut stack = Stack::new(["accuracy", "seeds"], "a seed", vec![0.96, 0.961, 0.965], ("error", [0.96, 0.964]));
/// stack.line("printed", 0.966);
/// stack.mark("of another version", vec![0.962, 0.968]);
/// assert!(stack.to_svg()?.contains("of another version"));
/// # Ok::<(), islp_mnist::chart::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stack {
    /// Width and height in pixels.
    pub size: (usize, usize),
    names: [String; 2],
    dot: String,
    values: Vec<f64>,
    range: (String, [f64; 2]),
    line: Option<(String, f64)>,
    marks: Option<(String, Vec<f64>)>,
}

impl Stack {
    /// Takes the axes' names, finite values and a range; values and range with their names in the legend.
    pub fn new(names: [&str; 2], dot: &str, values: Vec<f64>, (range, ends): (&str, [f64; 2])) -> Self {
        let range = (range.to_owned(), ends);
        Self {
            size: SIZE,
            names: names.map(str::to_owned),
            dot: dot.to_owned(),
            values,
            range,
            line: None,
            marks: None,
        }
    }

    /// Adds a line at this value, with its name in the legend. As many dots are on its left as values are below it.
    pub fn line(&mut self, name: &str, at: f64) {
        self.line = Some((name.to_owned(), at));
    }

    /// Adds plus signs below the dots at these finite values, with their name in the legend.
    pub fn mark(&mut self, name: &str, values: Vec<f64>) {
        self.marks = Some((name.to_owned(), values));
    }

    /// The ends of everything on the x axis.
    fn ends(&self) -> [f64; 2] {
        let marked = self.marks.iter().flat_map(|(_, values)| values);
        let shown =
            self.values.iter().chain(marked).chain(&self.range.1).chain(self.line.iter().map(|line| &line.1));
        shown.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &x| [low.min(x), high.max(x)])
    }

    /// The place of each dot.
    fn dots(&self) -> Points {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let [low, high] = self.ends();
        let width = ((high - low) * STACK / (0.7 * self.size.0 as f64)).max(f64::MIN_POSITIVE);
        // The line is the edge between two stacks. Accuracies are computed in f32.
        let edge = self.line.as_ref().map_or(low, |line| line.1);
        let stack = |value: &f64| {
            let place = ((value - edge) / width).floor();
            if (*value as f32) < edge as f32 { place.min(-1.0) } else { place.max(0.0) }
        };
        let stacks = sorted.chunk_by(|a, b| stack(a) == stack(b));
        let dots = stacks.flat_map(|values| {
            let x = edge + (stack(&values[0]) + 0.5) * width;
            (1..=values.len()).map(move |height| (x, height as f64))
        });
        dots.collect()
    }
}

impl Draw for Stack {
    fn size(&self) -> (usize, usize) {
        self.size
    }

    fn draw<'a, DB: DrawingBackend + 'a>(&self, page: &Page<DB>) -> Result<(), Error> {
        let (dots, (range, [low, high])) = (self.dots(), &self.range);
        let highest = dots.iter().map(|dot| dot.1).fold(1.0, f64::max);
        let marked = self.marks.iter().flat_map(|(_, values)| values);
        let marks: Points = marked.map(|&value| (value, 0.0)).collect();
        let line: Points = self.line.iter().flat_map(|&(_, at)| [(at, 0.0), (at, highest)]).collect();
        let [dot_color, range_color] = [TAB10[0], TAB10[1]];
        let mut entries = vec![
            Entry::new(&self.dot, dot_color, Sample::Marker(Marker::Dot)),
            Entry::new(range, range_color, Sample::Band),
        ];
        entries.extend(self.line.iter().map(|(name, _)| Entry::new(name, RED, Sample::Line)));
        entries
            .extend(self.marks.iter().map(|(name, _)| Entry::new(name, BLACK, Sample::Marker(Marker::Plus))));
        let legend = Legend::new(page, entries)?;
        let mut paths = vec![line.clone(), vec![(*low, highest), (*high, highest)]];
        paths.extend(dots.iter().chain(&marks).map(|&point| vec![point]));
        let x_axis = Axis::new(self.ends().into_iter().chain(dots.iter().map(|dot| dot.0)));
        let y_axis = Axis::of_counts([0.0, (highest * (1.0 + HEADROOM)).ceil()].into_iter());
        let axes = Axes { size: self.size, x: (x_axis, &self.names[0]), y: (y_axis, &self.names[1]), paths };
        let (mut chart, at) = axes.draw(page, legend.as_ref())?;
        let range = Rectangle::new([(*low, 0.0), (*high, highest)], range_color.mix(TINT).filled());
        chart.draw_series([range])?;
        draw_path(&mut chart, &line, RED, 2 * FINE)?;
        let dot = |&at| Mark::new(at, dot_color, Marker::Dot);
        let plus = |&at| Mark::new(at, BLACK, Marker::Plus);
        chart.draw_series(dots.iter().map(dot).chain(marks.iter().map(plus)).collect::<Vec<_>>())?;
        legend.map_or(Ok(()), |legend| legend.draw(page, at))
    }
}
