//! `metrics.csv` by cells: of each epoch and step the values of each column. They are compared as they are written, because
//! the file promises Python's `repr` of each value; as numbers only for the size of a difference.

mod how;
mod table;

use std::fmt;

use serde::Serialize;

use super::differences::Differences;
use super::element::Gap;
use super::{Tolerance, count, differ};
use crate::util::text::excerpt;
use table::{Column, Group, Table};

/// In which cells two tables differ, and what only one of them has.
#[derive(Debug, Serialize)]
pub struct MetricsDifference {
    /// The values in the columns and rows that both have, those of epoch and step not counted.
    pub cells: usize,
    pub differing: usize,
    /// By more than the tolerance allows.
    pub beyond_tolerance: usize,
    pub first: Option<Cell>,
    pub largest: Option<Cell>,
    /// The rows of the reference, and of the candidate.
    pub rows: [usize; 2],
    /// The columns that only the reference has, and only the candidate.
    pub only_columns: [Vec<String>; 2],
    /// The rows that only the reference has, and only the candidate: those of another epoch or step, or without these the
    /// ones behind the other's last.
    pub only_rows: [Option<OnlyRows>; 2],
    /// What besides is written in another way, such as the line ends.
    pub written_otherwise: Vec<String>,
    pub max_abs_difference: f64,
    #[serde(skip)]
    pub sum_abs: f64,
    #[serde(skip)]
    is_tolerant: bool,
}

/// A cell by its row, counted from 1, and its column; with the row's epoch and step, where the table has them.
#[derive(Debug, Serialize)]
pub struct Cell {
    #[serde(flatten)]
    pub place: Place,
    pub column: String,
    pub reference: String,
    pub candidate: String,
    /// None if one of them is no number.
    pub apart: Option<f64>,
}

/// A row, counted from 1 in the reference, or in the candidate if only that has it.
#[derive(Clone, Debug, Serialize)]
pub struct Place {
    pub row: usize,
    pub epoch: Option<String>,
    pub step: Option<String>,
}

/// Rows that only one side has.
#[derive(Debug, Serialize)]
pub struct OnlyRows {
    pub rows: usize,
    pub first: Place,
    pub last: Place,
}

/// A cell that differs, before it is known whether it is told.
#[derive(Clone, Copy)]
struct Pair<'a> {
    /// The reference's row, or the candidate's; counted from 0.
    row: (usize, usize),
    column: Column<'a>,
    values: [&'a [u8]; 2],
}

impl MetricsDifference {
    /// Of two files that are not the same. None if one of them is no table: a row has more or fewer cells than the header.
    pub fn between(reference: &[u8], candidate: &[u8], tolerance: Option<Tolerance>) -> Option<Self> {
        let tables = Table::parse_both([reference, candidate])?;
        let mut common = tables[0].common(&tables[1]);
        common.retain(|column| !(tables[0].has_keys() && column.is_key()));
        let sorted = tables.each_ref().map(Table::sorted);
        let groups = table::groups(&tables, &sorted);
        let (mut cells, mut differences) = (0, Differences::new(tolerance));
        for [a, b] in groups.iter().filter(|[a, b]| !a.is_empty() && !b.is_empty()) {
            let mut pairs = vec![];
            for column in &common {
                let mut left = tables[0].values(a, column.at[0]);
                let mut right = tables[1].values(b, column.at[1]);
                loop {
                    let both = [left.next(), right.next()];
                    let row = match both {
                        [Some((row, _)), _] => (0, row),
                        [None, Some((row, _))] => (1, row),
                        [None, None] => break,
                    };
                    cells += 1;
                    let values = both.map(|value| value.map_or(&[][..], |(_, value)| value));
                    if values[0] != values[1] {
                        pairs.push(Pair { row, column: *column, values });
                    }
                }
            }
            // A step may have several rows: the first difference is that of the first row.
            pairs.sort_by_key(|pair| pair.row);
            pairs.into_iter().for_each(|pair| differences.add(pair.gap(), pair));
        }
        let cell = |pair| Cell::new(&tables, &pair);
        Some(Self {
            cells,
            differing: differences.count,
            beyond_tolerance: differences.beyond,
            first: differences.first.map(cell),
            largest: differences.largest.map(cell),
            rows: tables.each_ref().map(Table::rows),
            only_columns: [(0, 1), (1, 0)].map(|(side, other)| tables[side].only(&tables[other])),
            only_rows: [0, 1].map(|side| only_rows(&tables[side], side, &groups, &common)),
            written_otherwise: how::written_otherwise([reference, candidate], &tables, &groups),
            max_abs_difference: differences.max_abs,
            sum_abs: differences.sum_abs,
            is_tolerant: tolerance.is_some(),
        })
    }

    /// Whether a tolerance allows for every difference in the columns that both have, if these have values at all.
    pub fn is_close(&self) -> bool {
        self.is_tolerant
            && self.beyond_tolerance == 0
            && self.only_rows.iter().all(Option::is_none)
            && self.cells > 0
    }
}

/// The rows of a table that stand for none of the other's, but for those whose values are all in columns that the other
/// lacks.
fn only_rows(table: &Table, side: usize, groups: &[Group], common: &[Column]) -> Option<OnlyRows> {
    let groups = groups.iter().filter(|group| group[1 - side].is_empty());
    let rows = groups.flat_map(|group| group[side]);
    let mut only: Vec<usize> = rows
        .copied()
        .filter(|row| table.has_value_in(*row, common.iter().map(|column| column.at[side])))
        .collect();
    only.sort_unstable();
    let place = |row: &usize| table.place(*row);
    Some(OnlyRows { rows: only.len(), first: place(only.first()?), last: place(only.last()?) })
}
impl Pair<'_> {
    /// None if one of them is no number, or they are an epoch or a step: no tolerance covers another count of these.
    fn gap(&self) -> Option<Gap> {
        let [a, b] = self.values.map(|value| str::from_utf8(value).ok());
        Gap::of_texts(a?, b?).filter(|_| !self.column.is_key())
    }
}

impl Cell {
    fn new(tables: &[Table; 2], pair: &Pair) -> Self {
        let (side, row) = pair.row;
        let [reference, candidate] = pair.values.map(shown);
        let [a, b] = pair.values.map(|value| str::from_utf8(value).ok());
        let gap = a.zip(b).and_then(|(a, b)| Gap::of_texts(a, b));
        let column = shown(pair.column.name);
        Self { place: tables[side].place(row), column, reference, candidate, apart: gap.map(|gap| gap.apart) }
    }
}

impl fmt::Display for MetricsDifference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { cells, differing, beyond_tolerance: beyond, .. } = *self;
        match (differing, cells) {
            (0, 0) => f.write_str("there is no cell that both have")?,
            (0, 1) => f.write_str("the one cell that both have is the same")?,
            (0, _) => write!(f, "all {cells} cells that both have are the same")?,
            _ => f.write_str(&differ(differing, cells, "cell"))?,
        }
        match beyond {
            _ if beyond == differing => {}
            0 if self.is_close() => write!(f, ", by {:.3e} at most", self.max_abs_difference)?,
            0 => f.write_str(", none by more than the tolerance")?,
            _ => write!(f, ", {beyond} by more than the tolerance")?,
        }
        for (which, cell) in [("first", &self.first), ("largest", &self.largest)] {
            if let Some(cell) = cell {
                write!(f, "\n    {which} in {cell}")?;
            }
        }
        for (side, columns) in ["reference", "candidate"].into_iter().zip(&self.only_columns) {
            if !columns.is_empty() {
                let noun = if columns.len() == 1 { "column" } else { "columns" };
                write!(f, "\n    {noun} only in the {side}: {}", columns.join(", "))?;
            }
        }
        for (side, rows) in ["reference", "candidate"].into_iter().zip(&self.only_rows) {
            if let Some(OnlyRows { rows, first, last }) = rows {
                write!(f, "\n    {} only in the {side}: {first}", count(*rows, "row"))?;
                if *rows > 1 {
                    write!(f, " to {last}")?;
                }
            }
        }
        if !self.written_otherwise.is_empty() {
            write!(f, "\n    written otherwise: {}", self.written_otherwise.join("; "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "row {}", self.row)?;
        let place = [("epoch", &self.epoch), ("step", &self.step)];
        let place: Vec<_> =
            place.iter().filter_map(|(name, cell)| Some(format!("{name} {}", (*cell).as_ref()?))).collect();
        if place.is_empty() { Ok(()) } else { write!(f, " ({})", place.join(", ")) }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { place, column, reference, candidate, .. } = self;
        write!(f, "{place}, {column}: reference {reference}, candidate {candidate}")?;
        self.apart.map_or(Ok(()), |apart| write!(f, " ({apart:?} apart)"))
    }
}

/// How many rows a table has below its header, without those that are empty.
pub fn rows(table: &[u8]) -> usize {
    table
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .filter(|line| !line.is_empty())
        .count()
        .saturating_sub(1)
}

fn shown(cell: &[u8]) -> String {
    if cell.is_empty() { "(empty)".to_owned() } else { excerpt(cell, 0) }
}
