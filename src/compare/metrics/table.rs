//! A table as `csv` reads it, and which rows of two tables stand for each other.

use csv::{ByteRecord, ReaderBuilder};

use super::{Place, shown};

/// More than any log has; comparing the names of two headers takes their product.
const MAX_COLUMNS: usize = 1000;

/// A header and the rows below it, all of one length.
pub struct Table {
    header: ByteRecord,
    /// Of all rows, one behind the other: as records of their own they would take ten times their bytes.
    cells: ByteRecord,
    /// The columns of epoch and step, where these tell the rows: both tables have them.
    keys: Option<(usize, usize)>,
}

/// A column that two tables have, and where each has it.
#[derive(Clone, Copy)]
pub struct Column<'a> {
    pub name: &'a [u8],
    pub at: [usize; 2],
}

/// The rows of two tables that stand for each other, in the order of each. Lightning writes the values of one step into one
/// row or into several.
pub type Group<'a> = [&'a [usize]; 2];

/// What two rows have in common that stand for each other.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    /// Epoch and step.
    Step(&'a [u8], &'a [u8]),
    /// The place in the table, where one of them lacks these.
    Row(usize),
}

impl Column<'_> {
    pub fn is_key(&self) -> bool {
        matches!(self.name, b"epoch" | b"step")
    }
}

impl Table {
    /// None if a row has another length than the header, or there is none.
    pub fn parse_both(files: [&[u8]; 2]) -> Option<[Self; 2]> {
        let [Some(mut left), Some(mut right)] = files.map(Self::parse) else { return None };
        if left.keys.is_none() || right.keys.is_none() {
            (left.keys, right.keys) = (None, None);
        }
        Some([left, right])
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        // Before `csv` takes many times their bytes.
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
        let at = |name: &[u8]| header.iter().position(|column| column == name);
        let keys = at(b"epoch").zip(at(b"step"));
        Some(Self { header, cells, keys })
    }

    pub fn rows(&self) -> usize {
        self.cells.len() / self.header.len()
    }

    pub fn cell(&self, row: usize, column: usize) -> &[u8] {
        &self.cells[row * self.header.len() + column]
    }

    pub fn has_same_cells(&self, other: &Self) -> bool {
        self.header == other.header && self.cells == other.cells
    }

    /// The columns by name, and by how many of that name are before.
    fn columns(&self) -> Vec<(&[u8], usize)> {
        let before = |at: usize, name| self.header.iter().take(at).filter(|other| *other == name).count();
        self.header.iter().enumerate().map(|(at, name)| (name, before(at, name))).collect()
    }

    /// The columns that another table has too, in the order of this one.
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

    /// Whether epoch and step tell the rows.
    pub fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    fn key(&self, row: usize) -> Key<'_> {
        self.keys
            .map_or(Key::Row(row), |(epoch, step)| Key::Step(self.cell(row, epoch), self.cell(row, step)))
    }

    /// The rows in the order of their keys, those of one key as they come.
    pub fn sorted(&self) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..self.rows()).collect();
        rows.sort_by(|a, b| self.key(*a).cmp(&self.key(*b)));
        rows
    }

    /// Whether a cell has a value. By epoch and step an empty one has none.
    fn has_value(&self, row: usize, column: usize) -> bool {
        !(self.has_keys() && self.cell(row, column).is_empty())
    }

    /// The values of some rows in a column, each with its row.
    pub fn values<'a>(&'a self, rows: &'a [usize], column: usize) -> impl Iterator<Item = (usize, &'a [u8])> {
        let rows = rows.iter().filter(move |row| self.has_value(**row, column));
        rows.map(move |row| (*row, self.cell(*row, column)))
    }

    /// Whether a row has a value in one of these columns, or in none but epoch and step.
    pub fn has_value_in(&self, row: usize, mut columns: impl Iterator<Item = usize>) -> bool {
        let is_key = |column| self.keys.is_some_and(|(epoch, step)| column == epoch || column == step);
        columns.any(|column| self.has_value(row, column))
            || (0..self.header.len()).all(|column| is_key(column) || !self.has_value(row, column))
    }

    /// Where a row is, which counts from 0 here.
    pub fn place(&self, row: usize) -> Place {
        let named = |name: &[u8]| Some(shown(self.cell(row, self.at(name)?)));
        Place { row: row + 1, epoch: named(b"epoch"), step: named(b"step") }
    }
}

/// The groups of two tables, given the sorted rows of each: in the reference's order, then what only the candidate has.
pub fn groups<'a>(tables: &[Table; 2], sorted: &'a [Vec<usize>; 2]) -> Vec<Group<'a>> {
    let [mut left, mut right] = [0, 1].map(|side: usize| {
        let table = &tables[side];
        sorted[side].chunk_by(|a, b| table.key(*a) == table.key(*b)).peekable()
    });
    let mut groups = vec![];
    loop {
        let [has_left, has_right] = match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(a), Some(b)) => {
                let order = tables[0].key(a[0]).cmp(&tables[1].key(b[0]));
                [order.is_le(), order.is_ge()]
            }
            (a, b) => [a.is_some(), b.is_some()],
        };
        let group = [left.next_if(|_| has_left), right.next_if(|_| has_right)];
        groups.push(group.map(Option::unwrap_or_default));
    }
    groups.sort_by_key(|[a, b]| (a.is_empty(), a.first().or(b.first()).copied()));
    groups
}
