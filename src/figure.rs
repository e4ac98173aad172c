//! Accuracy against epoch: the notebook's matplotlib cell, from `metrics.csv` alone.
//!
//! Mirrors `mnist_results.plot(x='epoch', y=…, marker=…, color=…)` on `plt.subplots(figsize=(6, 6))`:
//! matplotlib's axes box, 5 % data margins, `MaxNLocator` ticks and DejaVu Sans at 10 pt, so that the two
//! pictures can be laid side by side. No line joins the marks: `metrics.csv` has empty cells between them,
//! and pandas breaks its lines there. Only the legend shows the line.

mod canvas;

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context, Result, ensure};
use plotters::style::{BLACK, RED, RGBColor};

use canvas::{Align, Marker, Point, Shape};

/// The pixel columns and rows of the axes' frame: 0.125, 0.9, 1 - 0.88 and 1 - 0.11 of the figure.
const LEFT: f64 = 75.0;
const RIGHT: f64 = 540.0;
const TOP: f64 = 72.0;
const BOTTOM: f64 = 534.0;

/// A picture with one pair of axes; the x axis is the epoch.
#[derive(Clone, Debug)]
pub struct Figure {
    y_label: String,
    series: Vec<Series>,
}

#[derive(Clone, Debug)]
struct Series {
    label: String,
    marker: Marker,
    color: RGBColor,
    /// (epoch, value), finite.
    points: Vec<(f64, f64)>,
}

/// The notebook's figure: training accuracy as black dots, validation accuracy as red plus signs.
///
/// Reads what Lightning's `CSVLogger` writes. A cell that is empty or not finite gives no point.
///
/// # Errors
/// The file can't be read, lacks a column, holds a cell that is no number, or not a single point. Each names
/// the path.
pub fn accuracy(metrics_csv: &Path) -> Result<Figure> {
    let [training, validation] = File::open(metrics_csv)
        .map_err(Into::into)
        .and_then(|file| points(file, ["train_accuracy_epoch", "valid_accuracy"]))
        .with_context(|| metrics_csv.display().to_string())?;
    Ok(Figure {
        y_label: "Accuracy".into(),
        series: vec![
            Series::new("Training", Marker::Dot, BLACK, training),
            Series::new("Validation", Marker::Plus, RED, validation),
        ],
    })
}

/// For each column its values against `epoch`.
fn points<const N: usize>(csv: impl Read, columns: [&str; N]) -> Result<[Vec<(f64, f64)>; N]> {
    let mut reader = csv::Reader::from_reader(csv);
    let header = reader.headers()?.clone();
    let index = |name: &str| {
        let index = header.iter().position(|column| column == name);
        index.with_context(|| format!("no column {name}; it takes a training run's metrics.csv"))
    };
    let epoch = index("epoch")?;
    let indices: Result<Vec<_>> = columns.iter().map(|name| index(name)).collect();
    let indices = indices?;
    let mut points = [const { Vec::new() }; N];
    for record in reader.records() {
        let record = record?;
        let number = |column: usize| match record[column].trim() {
            "" => Ok(f64::NAN),
            cell => cell.parse().with_context(|| {
                let line = record.position().map_or(0, |position| position.line());
                format!("line {line}: {} is {cell:?}, not a number", &header[column])
            }),
        };
        for (points, &column) in points.iter_mut().zip(&indices) {
            let (x, y): (f64, f64) = (number(epoch)?, number(column)?);
            if x.is_finite() && y.is_finite() {
                points.push((x, y));
            }
        }
    }
    let names = columns.join(" or ");
    let found = points.iter().any(|points| !points.is_empty());
    ensure!(found, "no row holds an epoch together with {names}");
    Ok(points)
}

impl Series {
    fn new(label: &str, marker: Marker, color: RGBColor, points: Vec<(f64, f64)>) -> Self {
        let label = label.into();
        Self { label, marker, color, points }
    }

    /// One mark, on a pixel.
    fn mark(&self, pixel: Point) -> Shape {
        Shape::Mark(self.marker, pixel, self.color)
    }
}

impl Figure {
    /// The bytes of a PNG file, 600×600 RGB.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        canvas::png(&self.shapes()?)
    }

    /// The text of an SVG file.
    pub fn to_svg(&self) -> Result<String> {
        canvas::svg(&self.shapes()?)
    }

    fn shapes(&self) -> Result<Vec<Shape>> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x_limits = limits(points().map(|point| point.0));
        let y_limits = limits(points().map(|point| point.1));
        let part = |value, (low, high)| (value - low) / (high - low);
        // Whole pixels, as matplotlib snaps its marks and ticks.
        let column = |x: f64| (LEFT + (RIGHT - LEFT) * part(x, x_limits)).round();
        let row = |y: f64| (BOTTOM - (BOTTOM - TOP) * part(y, y_limits)).round();

        let mut shapes = Vec::new();
        for (value, label) in ticks(x_limits) {
            let x = column(value);
            shapes.push(Shape::Bar((x, BOTTOM), (x + 1.0, BOTTOM + 5.4), BLACK));
            shapes.push(Shape::Text(label, (x + 0.8, BOTTOM + 20.2), Align::Center));
        }
        let mut widest: f64 = 0.0;
        for (value, label) in ticks(y_limits) {
            let y = row(value);
            shapes.push(Shape::Bar((LEFT - 4.4, y), (LEFT, y + 1.0), BLACK));
            widest = widest.max(canvas::text_width(&label)?);
            shapes.push(Shape::Text(label, (LEFT - 9.2, y + 5.2), Align::Right));
        }
        let (middle_x, middle_y) = ((LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0);
        shapes.push(Shape::Text("epoch".into(), (middle_x, BOTTOM + 40.0), Align::Center));
        let beside = (LEFT - 18.6 - widest, middle_y - 1.0);
        shapes.push(Shape::Text(self.y_label.clone(), beside, Align::Upright));

        let mut marks = Vec::new();
        for series in &self.series {
            for &(x, y) in &series.points {
                marks.push((column(x), row(y)));
                shapes.push(series.mark((column(x), row(y))));
            }
        }
        for (x, y) in [(LEFT, TOP), (RIGHT, BOTTOM)] {
            shapes.push(Shape::Bar((x, TOP), (x + 1.0, BOTTOM + 1.0), BLACK));
            shapes.push(Shape::Bar((LEFT, y), (RIGHT + 1.0, y + 1.0), BLACK));
        }
        shapes.extend(self.legend(&marks)?);
        Ok(shapes)
    }

    /// Lower right, as in the notebook; in another corner if that hides fewer marks.
    fn legend(&self, marks: &[Point]) -> Result<Vec<Shape>> {
        let mut width: f64 = 0.0;
        for series in &self.series {
            width = width.max((canvas::text_width(&series.label)? + 52.0).round());
        }
        let height = (21.3 * self.series.len() as f64 + 4.2).round();
        let (right, bottom) = (RIGHT - 7.0 - width, BOTTOM - 7.0 - height);
        let (left, top) = (LEFT + 7.0, TOP + 7.0);
        let hidden = |&(x, y): &Point| {
            let near = |at, from, length| from - 5.0 <= at && at <= from + length + 5.0;
            let inside = |mark: &&Point| near(mark.0, x, width) && near(mark.1, y, height);
            marks.iter().filter(inside).count()
        };
        let corners = [(right, bottom), (right, top), (left, top), (left, bottom)];
        let (x, y) = corners.into_iter().min_by_key(hidden).unwrap_or(corners[0]);

        let mut shapes = vec![Shape::LegendBox((x, y), (x + width, y + height))];
        for (i, series) in self.series.iter().enumerate() {
            let middle = y + (12.0 + 21.3 * i as f64).round();
            let (start, end) = ((x + 5.0, middle - 1.0), (x + 34.0, middle + 1.0));
            shapes.push(Shape::Bar(start, end, series.color));
            shapes.push(series.mark((x + 20.0, middle)));
            shapes.push(Shape::Text(series.label.clone(), (x + 44.6, middle + 5.0), Align::Left));
        }
        Ok(shapes)
    }
}

/// The ends of an axis: the data's with a margin of 5 %, a single value first widened as by
/// `matplotlib.transforms.nonsingular`.
fn limits(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let ends = (f64::INFINITY, f64::NEG_INFINITY);
    let (mut low, mut high) = values.fold(ends, |(low, high), v| (low.min(v), high.max(v)));
    let largest = low.abs().max(high.abs());
    if largest < 1e-287 {
        (low, high) = (-0.05, 0.05);
    } else if high - low <= 1e-15 * largest {
        (low, high) = (low - 0.05 * low.abs(), high + 0.05 * high.abs());
    }
    let margin = 0.05 * (high - low);
    (low - margin, high + margin)
}

/// `MaxNLocator(nbins=9, steps=[1, 2, 2.5, 5, 10])`: the multiples, between the limits, of the smallest such
/// step that gives at most nine intervals; labelled with the decimals the step needs.
fn ticks((low, high): (f64, f64)) -> Vec<(f64, String)> {
    let least = (high - low) / 9.0;
    let exponent = least.log10().floor() as i32;
    let scale = 10f64.powi(exponent);
    let steps = [(1.0, 0), (2.0, 0), (2.5, 1), (5.0, 0), (10.0, -1)];
    let fits = steps.into_iter().find(|step| step.0 * scale >= least);
    let (factor, decimals) = fits.unwrap_or(steps[4]);
    let (step, decimals) = (factor * scale, (decimals - exponent).max(0) as usize);
    let multiples = (low / step).ceil() as i64..=(high / step).floor() as i64;
    let label = |tick: f64| format!("{tick:.decimals$}").replace('-', "\u{2212}");
    let ticks = multiples.map(|n| n as f64 * step);
    ticks.map(|tick| (tick, label(tick))).collect()
}
