//! `metrics.csv`, by bytes first and by cells where those differ. Cells are compared as they are written, because
//! the file promises Python's `repr` of each value; as numbers only to find the largest difference.

use std::collections::HashMap;
use std::fmt;

use anyhow::{Result, ensure};
use csv::{Reader, ReaderBuilder, StringRecord};

use super::text::{self, BOM};
use super::{Side, count, differ};
use crate::util::text::excerpt;

/// Lightning's table has 9. A row of commas alone would need many times the file's size as cells.
const MOST_COLUMNS: usize = 1000;

#[derive(Debug)]
pub struct Metrics {
    /// Rows below the header.
    rows: usize,
    candidate_rows: usize,
    cells: usize,
    differing: usize,
    /// What differs beside the cells, such as the line ends.
    form: Vec<String>,
    first: Option<CellDifference>,
    largest: Option<CellDifference>,
}

#[derive(Clone, Debug)]
struct CellDifference {
    row: usize,
    /// The epoch and step of the row, where the file has them: what one searches the log for.
    place: String,
    column: String,
    reference: String,
    candidate: String,
    /// Infinite if only one of two numbers is finite; none if one cell is no number, an empty one for instance.
    apart: Option<f64>,
}

/// Refuses what is no table of numbers: an empty file, ragged rows, other encodings than UTF-8.
pub fn check(bytes: &[u8]) -> Result<()> {
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
    let columns = lines.map(|line| line.iter().filter(|&&byte| byte == b',').count() + 1).max();
    ensure!(columns <= Some(MOST_COLUMNS), "more than {MOST_COLUMNS} columns");
    let (mut table, mut record) = (reader(bytes), StringRecord::new());
    ensure!(table.read_record(&mut record)?, "the file is empty, without even a header");
    while table.read_record(&mut record)? {}
    Ok(())
}

fn reader(bytes: &[u8]) -> Reader<&[u8]> {
    ReaderBuilder::new().has_headers(false).from_reader(bytes.strip_prefix(BOM).unwrap_or(bytes))
}

impl Metrics {
    /// Both tables have passed [`check`], or are equal.
    pub fn compare(reference: &[u8], candidate: &[u8]) -> Result<Metrics> {
        let mut compared = Metrics {
            rows: 0,
            candidate_rows: 0,
            cells: 0,
            differing: 0,
            form: Vec::new(),
            first: None,
            largest: None,
        };
        if reference == candidate {
            let lines = reference.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            compared.rows = lines.count().saturating_sub(1);
            compared.candidate_rows = compared.rows;
            return Ok(compared);
        }
        compared.form = text::differences_in_form(reference, candidate);
        let (mut left, mut right) = (reader(reference), reader(candidate));
        let (mut header, mut other_header) = (StringRecord::new(), StringRecord::new());
        left.read_record(&mut header)?;
        right.read_record(&mut other_header)?;
        let pairs = compared.pair_columns(&header, &other_header);

        let (mut a, mut b) = (StringRecord::new(), StringRecord::new());
        loop {
            let (has_left, has_right) = (left.read_record(&mut a)?, right.read_record(&mut b)?);
            compared.rows += usize::from(has_left);
            compared.candidate_rows += usize::from(has_right);
            match (has_left, has_right) {
                (true, true) => compared.add_row(&header, &pairs, &a, &b),
                (false, false) => break,
                _ => {}
            }
        }
        if compared.is_identical() {
            compared.form.push("the quotes, the blank lines or mixed line ends".to_owned());
        }
        Ok(compared)
    }

    /// Which columns belong together: those of one name, or if there are as many on both sides but not of the same
    /// names, those of one position, so that the numbers under a misspelt name are still compared.
    fn pair_columns(&mut self, header: &StringRecord, other: &StringRecord) -> Vec<(usize, usize)> {
        let in_order = (0..header.len()).map(|column| (column, column)).collect();
        if header == other {
            return in_order;
        }
        let positions: HashMap<&str, usize> = other.iter().enumerate().map(|(i, name)| (name, i)).collect();
        let by_name: Vec<_> =
            header.iter().enumerate().filter_map(|(i, name)| Some((i, *positions.get(name)?))).collect();
        let same = header.iter().zip(other).take_while(|(a, b)| a == b).count();
        let name = |header: &StringRecord| header.get(same).map_or("nothing".to_owned(), shown);
        let (n, other_n) = (header.len(), other.len());
        let reordered = n == other_n && by_name.len() == n;
        let what = if reordered { "the order of the columns" } else { "the header" };
        let numbers = if n == other_n { String::new() } else { format!("{n} and {other_n} columns, ") };
        let (column, left, right) = (same + 1, name(header), name(other));
        self.form.push(format!(
            "{what}: {numbers}column {column} is {left} in the reference, {right} in the candidate"
        ));
        if n == other_n && !reordered { in_order } else { by_name }
    }

    fn add_row(
        &mut self,
        header: &StringRecord,
        pairs: &[(usize, usize)],
        a: &StringRecord,
        b: &StringRecord,
    ) {
        self.cells += pairs.len();
        for &(column, other_column) in pairs {
            let (left, right) = (a.get(column).unwrap_or_default(), b.get(other_column).unwrap_or_default());
            if left == right {
                continue;
            }
            self.differing += 1;
            let apart = apart(left, right);
            let is_largest = match &self.largest {
                None => apart.is_some(),
                Some(largest) => apart > largest.apart,
            };
            if self.first.is_none() || is_largest {
                let difference = CellDifference {
                    row: self.rows,
                    place: place(header, a),
                    column: shown(header.get(column).unwrap_or_default()),
                    reference: shown(left),
                    candidate: shown(right),
                    apart,
                };
                if is_largest {
                    self.largest = Some(difference.clone());
                }
                self.first.get_or_insert(difference);
            }
        }
    }

    pub fn is_identical(&self) -> bool {
        self.form.is_empty() && self.differing == 0 && self.rows == self.candidate_rows
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, candidate_rows) = (self.rows, self.candidate_rows);
        let longer = if rows > candidate_rows { Side::Reference } else { Side::Candidate };
        match (self.differing, rows == candidate_rows) {
            (0, true) if self.form.is_empty() => return write!(f, "identical ({})", count(rows, "row")),
            (0, true) => return write!(f, "differs only in {}", self.form.join("; in ")),
            (0, false) => write!(f, "no difference in the rows that both have")?,
            (differing, _) => {
                write!(f, "{differing} of {} {}", count(self.cells, "cell"), differ(differing))?
            }
        }
        for (which, difference) in [("first", &self.first), ("largest", &self.largest)] {
            if let Some(difference) = difference {
                write!(f, "\n    {which} in {difference}")?;
            }
        }
        if rows != candidate_rows {
            let row = rows.min(candidate_rows) + 1;
            write!(f, "\n    from row {row} on only in the {longer}: {rows} and {candidate_rows} rows")?;
        }
        self.form.iter().try_for_each(|form| write!(f, "\n    also differs in {form}"))
    }
}

impl fmt::Display for CellDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CellDifference { row, place, column, reference, candidate, apart } = self;
        write!(f, "row {row}{place}, {column}: reference {reference}, candidate {candidate}")?;
        apart.map_or(Ok(()), |apart| write!(f, " ({apart:?} apart)"))
    }
}

fn apart(reference: &str, candidate: &str) -> Option<f64> {
    let (left, right): (f64, f64) = (reference.parse().ok()?, candidate.parse().ok()?);
    if left == right || (left.is_nan() && right.is_nan()) {
        return Some(0.0);
    }
    let apart = (left - right).abs();
    Some(if apart.is_nan() { f64::INFINITY } else { apart })
}

fn place(header: &StringRecord, row: &StringRecord) -> String {
    let cell = |name| {
        let column = header.iter().position(|column| column == name)?;
        Some(format!("{name} {}", shown(row.get(column)?)))
    };
    let cells: Vec<_> = ["epoch", "step"].into_iter().filter_map(cell).collect();
    if cells.is_empty() { String::new() } else { format!(" ({})", cells.join(", ")) }
}

fn shown(cell: &str) -> String {
    if cell.is_empty() { "(empty)".to_owned() } else { excerpt(cell.as_bytes(), 0) }
}
