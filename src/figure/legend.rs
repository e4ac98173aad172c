//! The legend, inside the axes.

use anyhow::{Result, bail};
use plotters::style::{BLACK, RGBColor};

use super::canvas::{self, Align, Marker, Point, Shape};
use super::series::Series;
use super::{BOTTOM, RIGHT, SETS, TOP};

/// The most lines that name run and set both; twice as many would cover the axes from top to bottom.
const MOST_LINES: usize = 10;

/// The most pixels a run's name takes, a good third of the axes' width.
const NAME_ROOM: f64 = 170.0;

/// A sample and what it stands for.
struct Line {
    color: RGBColor,
    /// None for a line that says only what the color means.
    marker: Option<Marker>,
    text: String,
}

/// Lower right, as in the notebook; in another corner if that hides fewer of the `marks`. `left` is the pixel
/// column of the axes' frame.
pub fn legend(series: &[Series], marks: &[Point], left: f64) -> Result<Vec<Shape>> {
    tell_apart(series)?;
    let lines = if series.len() <= MOST_LINES { line_by_series(series) } else { sets_and_runs(series) };
    let mut width: f64 = 0.0;
    for line in &lines {
        width = width.max((canvas::text_width(&line.text)? + 52.0).round());
    }
    let height = (21.3 * lines.len() as f64 + 4.2).round();
    let (right, bottom) = (RIGHT - 7.0 - width, BOTTOM - 7.0 - height);
    let (left, top) = (left + 7.0, TOP + 7.0);
    let hidden = |&(x, y): &Point| {
        let near = |at, from, length| from - 5.0 <= at && at <= from + length + 5.0;
        let inside = |mark: &&Point| near(mark.0, x, width) && near(mark.1, y, height);
        marks.iter().filter(inside).count()
    };
    let corners = [(right, bottom), (right, top), (left, top), (left, bottom)];
    let (x, y) = corners.into_iter().min_by_key(hidden).unwrap_or(corners[0]);

    let mut shapes = vec![Shape::LegendBox((x, y), (x + width, y + height))];
    for (i, Line { color, marker, text }) in lines.into_iter().enumerate() {
        let middle = y + (12.0 + 21.3 * i as f64).round();
        // Without a mark on it a line needs more ink to show its color.
        let half = if marker.is_some() { 1.0 } else { 3.0 };
        shapes.push(Shape::Bar((x + 5.0, middle - half), (x + 34.0, middle + half), color));
        shapes.extend(marker.map(|marker| Shape::Mark(marker, (x + 20.0, middle), color)));
        shapes.push(Shape::Text(text, (x + 44.6, middle + 5.0), Align::Left));
    }
    Ok(shapes)
}

/// "MNIST/version_0 Training", "MNIST/version_0 Validation", …
fn line_by_series(series: &[Series]) -> Vec<Line> {
    let line = |&Series { ref run, set, marker, color, .. }: &Series| {
        let text = format!("{} {set}", shortened(run)).trim_start().to_owned();
        Line { color, marker: Some(marker), text }
    };
    series.iter().map(line).collect()
}

/// "Training", "Validation", "MNIST/version_0", …
fn sets_and_runs(series: &[Series]) -> Vec<Line> {
    let drawn = SETS.iter().filter(|(set, _)| series.iter().any(|series| series.set == *set));
    let sets = drawn.map(|&(set, marker)| Line { color: BLACK, marker: Some(marker), text: set.into() });
    let runs = series.chunk_by(|a, b| a.color == b.color);
    let runs = runs.map(|run| Line { color: run[0].color, marker: None, text: shortened(&run[0].run) });
    sets.chain(runs).collect()
}

/// Refuses names that differ only where they are cut off.
fn tell_apart(series: &[Series]) -> Result<()> {
    for (i, Series { run, .. }) in series.iter().enumerate() {
        let short = shortened(run);
        let same = series[..i].iter().find(|other| other.run != *run && shortened(&other.run) == short);
        if let Some(Series { run: other, .. }) = same {
            bail!("the legend has to cut {other} and {run} to the same {short}; name the runs with --label");
        }
    }
    Ok(())
}

/// Of a long name as much of its end as there is room for.
fn shortened(name: &str) -> String {
    let fits = |text: &str| canvas::text_width(text).is_ok_and(|width| width <= NAME_ROOM);
    if fits(name) {
        return name.to_owned();
    }
    let ends = name.char_indices().rev().map(|(start, _)| format!("…{}", &name[start..]));
    ends.take_while(|end| fits(end)).last().unwrap_or_default()
}
