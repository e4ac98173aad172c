//! `metrics.csv` by cells. They are compared as they are written, because the file promises Python's `repr` of each
//! value; as numbers only for the size of a difference.

use std::fmt;

use serde::Serialize;

use super::differences::{Differences, apart};
use super::{Tolerance, differ};
use crate::util::text::excerpt;

/// In which cells two tables differ, and in how many rows.
#[derive(Debug, Serialize)]
pub struct MetricsDifference {
    /// The cells of the rows that both have.
    pub cells: usize,
    pub differing: usize,
    /// By more than the tolerance allows.
    pub beyond_tolerance: usize,
    pub first: Option<Cell>,
    pub largest: Option<Cell>,
    /// The rows of the reference, and of the candidate.
    pub rows: [usize; 2],
    pub max_abs_difference: f64,
    #[serde(skip)]
    pub sum_abs: f64,
}

/// A cell by its row, counted from 1, and its column; with the row's epoch and step, where the table has them.
#[derive(Debug, Serialize)]
pub struct Cell {
    pub row: usize,
    pub epoch: Option<String>,
    pub step: Option<String>,
    pub column: String,
    pub reference: String,
    pub candidate: String,
    /// None if one of them is no number.
    pub apart: Option<f64>,
}

impl MetricsDifference {
    /// None if cells do not tell the tables apart: the header is another one, rows are ragged, or only line ends differ.
    pub fn between(reference: &[u8], candidate: &[u8], tolerance: Option<Tolerance>) -> Option<Self> {
        let (mut left, mut right) = (rows(reference), rows(candidate));
        let header = left.next()?;
        let columns = cells(header).count();
        if right.next()? != header {
            return None;
        }
        let (mut both, mut differences) = (0, Differences::new(tolerance));
        let rows = loop {
            match (left.next(), right.next()) {
                (Some(a), Some(b)) if [a, b].iter().all(|row| cells(row).count() == columns) => {
                    both += 1;
                    let pairs = cells(a).zip(cells(b)).enumerate();
                    for (column, (x, y)) in pairs.filter(|(_, (x, y))| x != y) {
                        // Counts are no measurements: no tolerance covers another epoch or step.
                        let numbers = number(x).zip(number(y)).filter(|_| !is_count(x) || !is_count(y));
                        differences.add(numbers, (both, [a, b], column));
                    }
                }
                (Some(_), Some(_)) => return None,
                (Some(_), None) => break [both + 1 + left.count(), both],
                (None, Some(_)) => break [both, both + 1 + right.count()],
                (None, None) => break [both; 2],
            }
        };
        if differences.count == 0 && rows[0] == rows[1] {
            return None;
        }
        let cell = |(row, rows, column)| Cell::new(header, row, rows, column);
        Some(Self {
            cells: both * columns,
            differing: differences.count,
            beyond_tolerance: differences.beyond,
            first: differences.first.map(cell),
            largest: differences.largest.map(cell),
            rows,
            max_abs_difference: differences.max_abs,
            sum_abs: differences.sum_abs,
        })
    }

    /// Whether the tolerance allows for every difference.
    pub fn is_close(&self) -> bool {
        self.beyond_tolerance == 0 && self.rows[0] == self.rows[1]
    }
}

impl Cell {
    fn new(header: &[u8], row: usize, rows: [&[u8]; 2], column: usize) -> Self {
        let named = |name: &[u8]| {
            let column = cells(header).position(|column| column == name)?;
            Some(shown(cells(rows[0]).nth(column)?))
        };
        let cell = |row| cells(row).nth(column).unwrap_or_default();
        let [reference, candidate] = rows.map(cell);
        Self {
            row,
            epoch: named(b"epoch"),
            step: named(b"step"),
            column: shown(cell(header)),
            reference: shown(reference),
            candidate: shown(candidate),
            apart: number(reference).zip(number(candidate)).map(|(a, b)| apart(a, b)),
        }
    }
}

impl fmt::Display for MetricsDifference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [left, right] = self.rows;
        let Self { cells, differing, beyond_tolerance: beyond, .. } = *self;
        match differing {
            0 => f.write_str("no difference in the rows that both have")?,
            _ => f.write_str(&differ(differing, cells, "cell"))?,
        }
        match beyond {
            _ if beyond == differing => {}
            0 if left == right => write!(f, ", by {:.3e} at most", self.max_abs_difference)?,
            0 => f.write_str(", none by more than the tolerance")?,
            _ => write!(f, ", {beyond} by more than the tolerance")?,
        }
        for (which, cell) in [("first", &self.first), ("largest", &self.largest)] {
            if let Some(cell) = cell {
                write!(f, "\n    {which} in {cell}")?;
            }
        }
        if left != right {
            let (both, side) = (left.min(right), if left > right { "reference" } else { "candidate" });
            write!(f, "\n    from row {} on only in the {side}: {left} and {right} rows", both + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { row, column, reference, candidate, .. } = self;
        write!(f, "row {row}")?;
        let place = [("epoch", &self.epoch), ("step", &self.step)];
        let place: Vec<_> =
            place.iter().filter_map(|(name, cell)| Some(format!("{name} {}", (*cell).as_ref()?))).collect();
        if !place.is_empty() {
            write!(f, " ({})", place.join(", "))?;
        }
        write!(f, ", {column}: reference {reference}, candidate {candidate}")?;
        self.apart.map_or(Ok(()), |apart| write!(f, " ({apart:?} apart)"))
    }
}

/// The header and the rows below it, all without their line ends.
pub fn rows(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    let rows = table.strip_suffix(b"\n").unwrap_or(table).split(|&byte| byte == b'\n');
    rows.map(|row| row.strip_suffix(b"\r").unwrap_or(row))
}

fn cells(row: &[u8]) -> impl Iterator<Item = &[u8]> {
    row.split(|&byte| byte == b',')
}

fn is_count(cell: &[u8]) -> bool {
    cell.iter().all(u8::is_ascii_digit)
}

fn number(cell: &[u8]) -> Option<f64> {
    str::from_utf8(cell).ok()?.parse().ok()
}

fn shown(cell: &[u8]) -> String {
    if cell.is_empty() { "(empty)".to_owned() } else { excerpt(cell, 0) }
}
