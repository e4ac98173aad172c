//! `metrics.csv`, cell by cell: the values of each column at each epoch and step. They are compared as text, because the
//! file promises Python's `repr` of each value; as numbers only for the size of a difference.

use std::fmt;

use serde::Serialize;

use super::numbers::{Differences, Gap, Size, Tolerance};
use super::table::{Column, Groups, Place, Table, shown};
use super::text::TextDifference;
use super::verdict::{Finding, Verdict, differ};
use crate::util::text::count;

/// The result of comparing two tables.
#[derive(Debug, Serialize)]
pub struct Metrics {
    /// The reference's number of rows, without empty ones.
    rows: usize,
    difference: Option<Box<MetricsDifference>>,
    /// In place of the difference, if one of them is not a table.
    first_line: Option<TextDifference>,
}

impl Metrics {
    pub fn between(reference: &[u8], candidate: &[u8], tolerance: Option<Tolerance>) -> Self {
        let lines = reference.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| !line.is_empty());
        let rows = lines.count().saturating_sub(1);
        if reference == candidate {
            return Self { rows, difference: None, first_line: None };
        }
        let difference = MetricsDifference::between(reference, candidate, tolerance).map(Box::new);
        let first_line = difference.is_none().then(|| TextDifference::between(reference, candidate));
        Self { rows, difference, first_line }
    }
}

impl Finding for Metrics {
    fn verdict(&self) -> Verdict {
        match self {
            Self { difference: None, first_line: None, .. } => Verdict::Identical,
            Self { difference: Some(difference), .. } if difference.is_close() => Verdict::Close,
            _ => Verdict::Different,
        }
    }

    fn size(&self) -> Size {
        self.difference.as_ref().map_or(Size::default(), |difference| Size {
            count: difference.differing,
            max_abs: difference.max_abs_difference,
            sum_abs: difference.sum_abs,
        })
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self { difference: Some(difference), .. } if difference.is_close() => {
                write!(f, "close: {difference}")
            }
            Self { difference: Some(difference), .. } => write!(f, "{difference}"),
            Self { first_line: Some(text), .. } => write!(f, "{text}"),
            Self { rows, .. } => write!(f, "identical ({})", count(*rows, "row")),
        }
    }
}

/// The cells in which two tables differ, and what only one of them has.
#[derive(Debug, Serialize)]
struct MetricsDifference {
    /// The number of values in the columns and rows that both have, without epoch and step.
    cells: usize,
    differing: usize,
    /// The number of cells that differ by more than the tolerance.
    beyond_tolerance: usize,
    first: Option<Cell>,
    largest: Option<Cell>,
    /// The number of the reference's rows, and of the candidate's.
    rows: [usize; 2],
    /// The columns that only the reference has, and only the candidate.
    only_columns: [Vec<String>; 2],
    /// The rows that only the reference has, and only the candidate: those of another epoch or step, or in a table without
    /// these, those after the other's last.
    only_rows: [Option<OnlyRows>; 2],
    /// Other differences between the files, such as the line ends.
    written_otherwise: Vec<String>,
    max_abs_difference: f64,
    #[serde(skip)]
    sum_abs: f64,
    #[serde(skip)]
    is_tolerant: bool,
}

/// A cell that differs.
#[derive(Debug, Serialize)]
struct Cell {
    #[serde(flatten)]
    place: Place,
    column: String,
    reference: String,
    candidate: String,
    /// None if one of them is not a number.
    apart: Option<f64>,
}

/// Rows that only one side has.
#[derive(Debug, Serialize)]
struct OnlyRows {
    rows: usize,
    first: Place,
    last: Place,
}

/// A cell that differs, not yet as text.
#[derive(Clone, Copy)]
struct Pair<'a> {
    /// 0 and the reference's row, or 1 and the candidate's; counted from 0.
    row: (usize, usize),
    column: Column<'a>,
    values: [&'a [u8]; 2],
}

impl MetricsDifference {
    /// Compares two files that are not identical. None if one of them is not a table: a row is longer or shorter than the
    /// header.
    fn between(reference: &[u8], candidate: &[u8], tolerance: Option<Tolerance>) -> Option<Self> {
        let tables = Table::parse_both([reference, candidate])?;
        let mut common = tables[0].common(&tables[1]);
        common.retain(|column| !(tables[0].has_keys() && column.is_key()));
        let sorted = tables.each_ref().map(Table::sorted);
        let groups = Groups::new(&tables, &sorted);
        let (mut cells, mut differences) = (0, Differences::new(tolerance));
        for [a, b] in &groups.both {
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
            differing: differences.size.count,
            beyond_tolerance: differences.beyond,
            first: differences.first.map(cell),
            largest: differences.largest.map(cell),
            rows: tables.each_ref().map(Table::rows),
            only_columns: [(0, 1), (1, 0)].map(|(side, other)| tables[side].only(&tables[other])),
            only_rows: [0, 1].map(|side| OnlyRows::new(&tables[side], side, &groups, &common)),
            written_otherwise: other_differences([reference, candidate], &tables, &groups),
            max_abs_difference: differences.size.max_abs,
            sum_abs: differences.size.sum_abs,
            is_tolerant: tolerance.is_some(),
        })
    }

    /// True if a tolerance allows every difference in the common columns, and these have values at all.
    fn is_close(&self) -> bool {
        self.is_tolerant
            && self.beyond_tolerance == 0
            && self.only_rows.iter().all(Option::is_none)
            && self.cells > 0
    }
}

impl OnlyRows {
    /// The rows of a table in groups that the other lacks, except those whose values are all in columns that the other
    /// lacks.
    fn new(table: &Table, side: usize, groups: &Groups, common: &[Column]) -> Option<Self> {
        let mut rows = groups.only[side].clone();
        rows.retain(|&row| table.has_value_in(row, common.iter().map(|column| column.at[side])));
        rows.sort_unstable();
        let place = |&row: &usize| table.place(row);
        Some(Self { rows: rows.len(), first: place(rows.first()?), last: place(rows.last()?) })
    }
}

impl Pair<'_> {
    /// None if one of them is not a number, or they are epochs or steps, to which no tolerance applies.
    fn gap(&self) -> Option<Gap> {
        self.distance().filter(|_| !self.column.is_key())
    }

    fn distance(&self) -> Option<Gap> {
        let [a, b] = self.values.map(|value| str::from_utf8(value).ok());
        Gap::of_texts(a?, b?)
    }
}

impl Cell {
    fn new(tables: &[Table; 2], pair: &Pair) -> Self {
        let (side, row) = pair.row;
        let [reference, candidate] = pair.values.map(shown);
        let apart = pair.distance().map(|gap| gap.apart);
        Self { place: tables[side].place(row), column: shown(pair.column.name), reference, candidate, apart }
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
            write!(f, "\n    written differently: {}", self.written_otherwise.join("; "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { place, column, reference, candidate, .. } = self;
        write!(f, "{place}, {column}: reference {reference}, candidate {candidate}")?;
        self.apart.map_or(Ok(()), |apart| write!(f, " ({apart:?} apart)"))
    }
}

/// Describes the differences other than those of values, rows and columns. Never empty if the cells are the same.
fn other_differences(bytes: [&[u8]; 2], tables: &[Table; 2], groups: &Groups) -> Vec<String> {
    let [left, right] = tables;
    let mut sentences = vec![];
    let mut add = |differs: bool, sentence: &str| {
        if differs {
            sentences.push(sentence.to_owned());
        }
    };
    let is_in_order = left.common(right).is_sorted_by_key(|column| column.at[1]);
    add(!is_in_order, "the columns are in another order");
    add(left.has_keys() && groups.are_reordered(), "the rows are in another order, or split differently");
    let differ = |of: fn(&[u8]) -> bool| of(bytes[0]) != of(bytes[1]);
    add(differ(|bytes| bytes.starts_with(b"\xef\xbb\xbf")), "a byte-order mark on one side only");
    let [a, b] = bytes.map(line_ends);
    add(a != b, &format!("the lines of the reference end with {a}, those of the candidate with {b}"));
    add(differ(|bytes| bytes.ends_with(b"\n") || bytes.ends_with(b"\r")), "the end of the last line");
    let [a, b] = bytes.map(|bytes| bytes.iter().filter(|&&byte| byte == b'"').count());
    add(a != b, "quotation marks");
    add(differ(has_empty_line), "empty lines");
    if sentences.is_empty() && left.has_same_cells(right) {
        sentences.push("bytes outside the cells".to_owned());
    }
    sentences
}

fn line_ends(bytes: &[u8]) -> &'static str {
    let count = |end: u8| bytes.iter().filter(|&&byte| byte == end).count();
    let both = bytes.windows(2).filter(|pair| pair == b"\r\n").count();
    match (both, count(b'\n') - both, count(b'\r') - both) {
        (0, 0, 0) => "nothing",
        (_, 0, 0) => "CRLF",
        (0, _, 0) => "LF",
        (0, 0, _) => "CR",
        _ => "several kinds of line ends",
    }
}

fn has_empty_line(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    // The last piece follows the last line's end, and is not a line.
    lines.next_back();
    lines.any(<[u8]>::is_empty)
}
