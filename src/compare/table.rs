//! A `metrics.csv` as a table, and the rows of two tables that correspond.

use std::fmt;

use csv::{ByteRecord, ReaderBuilder};
use serde::Serialize;

use crate::util::text::excerpt;

/// More than any log has. Comparing the names of two headers takes quadratic time.
const MAX_COLUMNS: usize = 1000;

/// A header and the rows below it, all of one length.
pub struct Table {
    header: ByteRecord,
    /// The cells of all rows in sequence: a record per row would take ten times their bytes.
    cells: ByteRecord,
    /// The columns of epoch and step, if both tables have them; they then identify the rows.
    keys: Option<(usize, usize)>,
}

/// A column that two tables have, with its index in each.
#[derive(Clone, Copy)]
pub struct Column<'a> {
    pub name: &'a [u8],
    pub at: [usize; 2],
}

impl Column<'_> {
    pub fn is_key(&self) -> bool {
        matches!(self.name, b"epoch" | b"step")
    }
}

/// A row's key: rows of two tables with the same key correspond.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    /// Epoch and step.
    Step(&'a [u8], &'a [u8]),
    /// The row's index, if one of the tables lacks these.
    Row(usize),
}

impl Table {
    /// None if a row has another length than the header, or there is no header.
    pub fn parse_both(files: [&[u8]; 2]) -> Option<[Self; 2]> {
        let [Some(mut left), Some(mut right)] = files.map(Self::parse) else { return None };
        if left.keys.is_none() || right.keys.is_none() {
            (left.keys, right.keys) = (None, None);
        }
        Some([left, right])
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        // Checked first, because `csv` takes many times the line's bytes.
        let first_line = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).find(|line| !line.is_empty())?;
        if first_line.iter().filter(|&&byte| byte == b',').count() >= MAX_COLUMNS {
            return None;
        }
        let mut reader = ReaderBuilder::new().has_headers(false).from_reader(bytes);
        let (mut header, mut row, mut cells) = (ByteRecord::new(), ByteRecord::new(), ByteRecord::new());
        if !reader.read_byte_record(&mut header).ok()? || header.len() > MAX_COLUMNS {
            return None;
        }
        while reader.read_byte_record(&mut row).ok()? {
            cells.extend(&row);
        }
        let mut table = Self { header, cells, keys: None };
        table.keys = table.at(b"epoch").zip(table.at(b"step"));
        Some(table)
    }

    pub fn rows(&self) -> usize {
        self.cells.len() / self.header.len()
    }

    fn cell(&self, row: usize, column: usize) -> &[u8] {
        &self.cells[row * self.header.len() + column]
    }

    pub fn has_same_cells(&self, other: &Self) -> bool {
        self.header == other.header && self.cells == other.cells
    }

    /// The columns, each by its name and the number of earlier columns with that name.
    fn columns(&self) -> Vec<(&[u8], usize)> {
        let before = |at: usize, name| self.header.iter().take(at).filter(|other| *other == name).count();
        self.header.iter().enumerate().map(|(at, name)| (name, before(at, name))).collect()
    }

    /// The columns that another table also has, in the order of this one.
    pub fn common(&self, other: &Self) -> Vec<Column<'_>> {
        let others = other.columns();
        let columns = self.columns().into_iter().enumerate();
        let both = columns.filter_map(|(at, column)| {
            let other = others.iter().position(|other| *other == column)?;
            Some(Column { name: column.0, at: [at, other] })
        });
        both.collect()
    }

    /// The names of the columns that another table lacks.
    pub fn only(&self, other: &Self) -> Vec<String> {
        let others = other.columns();
        let only = self.columns().into_iter().filter(|column| !others.contains(column));
        only.map(|column| shown(column.0)).collect()
    }

    fn at(&self, name: &[u8]) -> Option<usize> {
        self.header.iter().position(|column| column == name)
    }

    /// True if epoch and step identify the rows.
    pub fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    fn key(&self, row: usize) -> Key<'_> {
        self.keys
            .map_or(Key::Row(row), |(epoch, step)| Key::Step(self.cell(row, epoch), self.cell(row, step)))
    }

    /// The rows sorted by key; rows with the same key stay in order.
    pub fn sorted(&self) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..self.rows()).collect();
        rows.sort_by(|a, b| self.key(*a).cmp(&self.key(*b)));
        rows
    }

    /// True if a cell has a value. In a table with epoch and step an empty cell has none.
    fn has_value(&self, row: usize, column: usize) -> bool {
        !(self.has_keys() && self.cell(row, column).is_empty())
    }

    /// The values of some rows in a column, each with its row.
    pub fn values<'a>(&'a self, rows: &'a [usize], column: usize) -> impl Iterator<Item = (usize, &'a [u8])> {
        let rows = rows.iter().filter(move |row| self.has_value(**row, column));
        rows.map(move |row| (*row, self.cell(*row, column)))
    }

    /// True if a row has a value in one of these columns, or in none but epoch and step.
    pub fn has_value_in(&self, row: usize, mut columns: impl Iterator<Item = usize>) -> bool {
        let is_key = |column| self.keys.is_some_and(|(epoch, step)| column == epoch || column == step);
        columns.any(|column| self.has_value(row, column))
            || (0..self.header.len()).all(|column| is_key(column) || !self.has_value(row, column))
    }

    pub fn place(&self, row: usize) -> Place {
        let named = |name: &[u8]| Some(shown(self.cell(row, self.at(name)?)));
        Place { row: row + 1, epoch: named(b"epoch"), step: named(b"step") }
    }
}

/// The rows of two tables, grouped by key. A group has several rows where Lightning writes the values of one step into
/// several.
#[derive(Default)]
pub struct Groups<'a> {
    /// The rows of each group that both tables have, in the reference's order.
    pub both: Vec<[&'a [usize]; 2]>,
    /// The rows whose groups only one of the tables has.
    pub only: [Vec<usize>; 2],
}

impl<'a> Groups<'a> {
    /// Groups the sorted rows of two tables.
    pub fn new(tables: &[Table; 2], sorted: &'a [Vec<usize>; 2]) -> Self {
        let mut groups = Self::default();
        let [mut left, mut right] = [0, 1].map(|side: usize| {
            let table = &tables[side];
            sorted[side].chunk_by(|a, b| table.key(*a) == table.key(*b)).peekable()
        });
        loop {
            let [has_left, has_right] = match (left.peek(), right.peek()) {
                (Some(a), Some(b)) => {
                    let order = tables[0].key(a[0]).cmp(&tables[1].key(b[0]));
                    [order.is_le(), order.is_ge()]
                }
                (a, b) => [a.is_some(), b.is_some()],
            };
            match (left.next_if(|_| has_left), right.next_if(|_| has_right)) {
                (Some(a), Some(b)) => groups.both.push([a, b]),
                (Some(a), None) => groups.only[0].extend(a),
                (None, Some(b)) => groups.only[1].extend(b),
                (None, None) => break,
            }
        }
        groups.both.sort_by_key(|[a, _]| a[0]);
        groups
    }

    /// True if the groups that both have are in another order, or have other numbers of rows.
    pub fn are_reordered(&self) -> bool {
        !self.both.is_sorted_by_key(|[_, b]| b[0]) || self.both.iter().any(|[a, b]| a.len() != b.len())
    }
}

/// A row, counted from 1 in the reference, or in the candidate if only that has it, with its epoch and step if the table
/// has them.
#[derive(Clone, Debug, Serialize)]
pub struct Place {
    row: usize,
    epoch: Option<String>,
    step: Option<String>,
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

pub fn shown(cell: &[u8]) -> String {
    if cell.is_empty() { "(empty)".to_owned() } else { excerpt(cell, 0) }
}
