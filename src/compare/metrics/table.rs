//! A table as `csv` reads it, and its values by epoch and step.

use std::collections::{BTreeMap, HashMap};

use csv::{ByteRecord, ReaderBuilder};

use super::{Place, shown};

/// A header and the rows below it, all of one length.
pub struct Table {
    pub header: ByteRecord,
    pub rows: Vec<ByteRecord>,
}

/// A column by its name, and by how many of that name are before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column<'a> {
    pub name: &'a [u8],
    nth: usize,
}

/// What two rows have in common that stand for each other: epoch and step, or their place in the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    Step(&'a [u8], &'a [u8]),
    Row(usize),
}

/// The values of a key by column, each with its row. Lightning writes those of one step into one row or into several.
type OfKey<'a> = BTreeMap<Column<'a>, Vec<(usize, &'a [u8])>>;

pub struct Values<'a> {
    /// The keys as they first come.
    pub order: Vec<Key<'a>>,
    pub by_key: HashMap<Key<'a>, OfKey<'a>>,
    pub rows_of: HashMap<Key<'a>, Vec<usize>>,
}

impl Column<'_> {
    pub fn is_key(&self) -> bool {
        matches!(self.name, b"epoch" | b"step")
    }
}

impl Table {
    /// None if a row has another length than the header, or there is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = ReaderBuilder::new().has_headers(false).from_reader(bytes);
        let mut rows = reader.byte_records();
        let header = rows.next()?.ok()?;
        Some(Self { header, rows: rows.collect::<Result<_, _>>().ok()? })
    }

    pub fn columns(&self) -> Vec<Column<'_>> {
        let mut seen: HashMap<&[u8], usize> = HashMap::new();
        let columns = self.header.iter().map(|name| {
            let nth = seen.entry(name).or_default();
            *nth += 1;
            Column { name, nth: *nth - 1 }
        });
        columns.collect()
    }

    /// The columns that another table has too, in the order of this one.
    pub fn common<'a>(&'a self, other: &Self) -> Vec<Column<'a>> {
        let others = other.columns();
        self.columns().into_iter().filter(|column| others.contains(column)).collect()
    }

    /// The names of the columns that another table lacks.
    pub fn only(&self, other: &Self) -> Vec<String> {
        let others = other.columns();
        let only = self.columns().into_iter().filter(|column| !others.contains(column));
        only.map(|column| shown(column.name)).collect()
    }

    fn at(&self, name: &[u8]) -> Option<usize> {
        self.header.iter().position(|column| column == name)
    }

    /// Whether epoch and step tell the rows.
    pub fn has_keys(&self) -> bool {
        self.at(b"epoch").is_some() && self.at(b"step").is_some()
    }

    /// By epoch and step, or by row. By epoch and step an empty cell is no value; by row it is one.
    pub fn values(&self, has_keys: bool) -> Values<'_> {
        let mut values = Values { order: vec![], by_key: HashMap::new(), rows_of: HashMap::new() };
        let columns = self.columns();
        let keys = self.at(b"epoch").zip(self.at(b"step")).filter(|_| has_keys);
        for (number, row) in self.rows.iter().enumerate() {
            let key = match keys {
                Some((epoch, step)) => Key::Step(&row[epoch], &row[step]),
                None => Key::Row(number),
            };
            let rows = values.rows_of.entry(key.clone()).or_default();
            if rows.is_empty() {
                values.order.push(key.clone());
            }
            rows.push(number);
            let of_key = values.by_key.entry(key).or_default();
            for (column, value) in columns.iter().zip(row) {
                if !has_keys || !value.is_empty() {
                    of_key.entry(*column).or_default().push((number, value));
                }
            }
        }
        values
    }

    /// Where a row is, which counts from 0 here.
    pub fn place(&self, row: usize) -> Place {
        let named = |name: &[u8]| self.rows.get(row)?.get(self.at(name)?).map(shown);
        Place { row: row + 1, epoch: named(b"epoch"), step: named(b"step") }
    }
}
