//! `metrics.csv` → the points of a figure.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use csv::{Reader, StringRecord};
use plotters::style::RGBColor;

use super::canvas::{Marker, Point, Shape};

/// The marks of one kind and color.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the legend calls the run; empty where there is only one.
    pub run: String,
    /// "Training" or "Validation".
    pub set: &'static str,
    pub marker: Marker,
    pub color: RGBColor,
    pub points: Points,
}

impl Series {
    /// One mark, on a pixel.
    pub fn mark(&self, pixel: Point) -> Shape {
        Shape::Mark(self.marker, pixel, self.color)
    }
}

/// (epoch, value), finite, in the order of the rows.
pub type Points = Vec<(f64, f64)>;

/// Lightning's table has 9. A row of commas alone would need many times its size in memory.
const MOST_COLUMNS: usize = 1000;

/// For each column its values against `epoch`; none for a column that the file lacks.
///
/// Reads row by row, since a file may be larger than memory. A cell that is empty or not finite gives no point.
///
/// # Errors
/// The file can't be read, lacks `epoch` or all columns, has rows of different lengths, holds a cell in these
/// columns that is no number, or not a single point. Each names the path, and the line where there is one.
pub fn read<const N: usize>(metrics_csv: &Path, columns: [&str; N]) -> Result<[Option<Points>; N]> {
    let read = || {
        // A FIFO might block the reader, and a device might never end.
        ensure!(metrics_csv.metadata()?.is_file(), "not a regular file");
        points(File::open(metrics_csv)?, columns)
    };
    read().with_context(|| metrics_csv.display().to_string())
}

/// What is wrong with a file that lacks a column, or several.
pub fn no_column(names: &str) -> String {
    format!("no column {names}; it takes a training run's metrics.csv")
}

/// As [`read`], from a file's bytes.
pub fn points<const N: usize>(bytes: impl Read, columns: [&str; N]) -> Result<[Option<Points>; N]> {
    let mut reader = Reader::from_reader(Narrow { bytes, commas: 0 });
    let header = reader.headers()?.clone();
    let index = |name: &str| header.iter().position(|column| column == name);
    let epoch = index("epoch").with_context(|| no_column("epoch"))?;
    let indices = columns.map(index);
    ensure!(indices.iter().any(Option::is_some), no_column(&columns.join(" or ")));

    let mut points = indices.map(|column| column.map(|_| Vec::new()));
    let mut record = StringRecord::new();
    while reader.read_record(&mut record)? {
        let number = |column: usize| match record[column].trim() {
            "" => Ok(f64::NAN),
            cell => cell.parse().with_context(|| {
                let line = record.position().map_or(0, |position| position.line());
                format!("line {line}: {} is {cell:?}, not a number", &header[column])
            }),
        };
        let x: f64 = number(epoch)?;
        for (points, column) in points.iter_mut().zip(indices) {
            if let (Some(points), Some(column)) = (points, column) {
                let y: f64 = number(column)?;
                if x.is_finite() && y.is_finite() {
                    points.push((x, y));
                }
            }
        }
    }
    let names: Vec<_> = indices.iter().flatten().map(|&column| &header[column]).collect();
    let found = points.iter().flatten().any(|points| !points.is_empty());
    ensure!(found, "no row holds an epoch together with {}", names.join(" or "));
    Ok(points)
}

/// Reads lines of so few columns that cells and their places take no more memory than the file is long.
struct Narrow<R> {
    bytes: R,
    commas: usize,
}

impl<R: Read> Read for Narrow<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.bytes.read(buffer)?;
        for byte in &buffer[..length] {
            match byte {
                b',' => self.commas += 1,
                b'\n' | b'\r' => self.commas = 0,
                _ => {}
            }
            if self.commas >= MOST_COLUMNS {
                return Err(io::Error::other(format!("more than {MOST_COLUMNS} columns")));
            }
        }
        Ok(length)
    }
}
