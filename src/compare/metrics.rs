//! `metrics.csv`, cell by cell: the values of each column at each epoch and step. They are compared as text, because the
//! file promises Python's `repr` of each value; as numbers only for the size of a difference.

use std::fmt;

use csv::{ByteRecord, ReaderBuilder};
use serde::Serialize;

use super::numbers::{Differences, Gap, Size, Tolerance};
use super::text::TextDifference;
use super::verdict::{Finding, Verdict, differ};
use crate::util::text::{count, excerpt};

/// More than any log has; comparing the names of two headers takes quadratic time.
const MAX_COLUMNS: usize = 1000;

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

/// A row, counted from 1 in the reference, or in the candidate if only that has it; with the row's epoch and step, where
/// the table has them.
#[derive(Clone, Debug, Serialize)]
struct Place {
    row: usize,
    epoch: Option<String>,
    step: Option<String>,
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

    /// True if a tolerance allows every difference in the columns that both have, and these have values at all.
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
    /// None if one of them is not a number, or they are an epoch or a step, to which no tolerance applies.
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

fn shown(cell: &[u8]) -> String {
    if cell.is_empty() { "(empty)".to_owned() } else { excerpt(cell, 0) }
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

/// The differences beyond values, rows and columns, as sentences. Never empty if the cells are the same.
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

/// A header and the rows below it, all of one length.
struct Table {
    header: ByteRecord,
    /// The cells of all rows in sequence: a record per row would take ten times their bytes.
    cells: ByteRecord,
    /// The columns of epoch and step, if both tables have them; they then identify the rows.
    keys: Option<(usize, usize)>,
}

/// A column that two tables have, with its index in each.
#[derive(Clone, Copy)]
struct Column<'a> {
    name: &'a [u8],
    at: [usize; 2],
}

impl Column<'_> {
    fn is_key(&self) -> bool {
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
    fn parse_both(files: [&[u8]; 2]) -> Option<[Self; 2]> {
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

    fn rows(&self) -> usize {
        self.cells.len() / self.header.len()
    }

    fn cell(&self, row: usize, column: usize) -> &[u8] {
        &self.cells[row * self.header.len() + column]
    }

    fn has_same_cells(&self, other: &Self) -> bool {
        self.header == other.header && self.cells == other.cells
    }

    /// The columns by name, and by how many with that name precede.
    fn columns(&self) -> Vec<(&[u8], usize)> {
        let before = |at: usize, name| self.header.iter().take(at).filter(|other| *other == name).count();
        self.header.iter().enumerate().map(|(at, name)| (name, before(at, name))).collect()
    }

    /// The columns that another table has too, in the order of this one.
    fn common(&self, other: &Self) -> Vec<Column<'_>> {
        let others = other.columns();
        let columns = self.columns().into_iter().enumerate();
        let both = columns.filter_map(|(at, column)| {
            let other = others.iter().position(|other| *other == column)?;
            Some(Column { name: column.0, at: [at, other] })
        });
        both.collect()
    }

    /// The names of the columns that another table lacks.
    fn only(&self, other: &Self) -> Vec<String> {
        let others = other.columns();
        let only = self.columns().into_iter().filter(|column| !others.contains(column));
        only.map(|column| shown(column.0)).collect()
    }

    fn at(&self, name: &[u8]) -> Option<usize> {
        self.header.iter().position(|column| column == name)
    }

    /// True if epoch and step identify the rows.
    fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    fn key(&self, row: usize) -> Key<'_> {
        self.keys
            .map_or(Key::Row(row), |(epoch, step)| Key::Step(self.cell(row, epoch), self.cell(row, step)))
    }

    /// The rows sorted by key; rows with the same key stay in order.
    fn sorted(&self) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..self.rows()).collect();
        rows.sort_by(|a, b| self.key(*a).cmp(&self.key(*b)));
        rows
    }

    /// True if a cell has a value. In a table with epoch and step an empty cell has none.
    fn has_value(&self, row: usize, column: usize) -> bool {
        !(self.has_keys() && self.cell(row, column).is_empty())
    }

    /// The values of some rows in a column, each with its row.
    fn values<'a>(&'a self, rows: &'a [usize], column: usize) -> impl Iterator<Item = (usize, &'a [u8])> {
        let rows = rows.iter().filter(move |row| self.has_value(**row, column));
        rows.map(move |row| (*row, self.cell(*row, column)))
    }

    /// True if a row has a value in one of these columns, or in none but epoch and step.
    fn has_value_in(&self, row: usize, mut columns: impl Iterator<Item = usize>) -> bool {
        let is_key = |column| self.keys.is_some_and(|(epoch, step)| column == epoch || column == step);
        columns.any(|column| self.has_value(row, column))
            || (0..self.header.len()).all(|column| is_key(column) || !self.has_value(row, column))
    }

    fn place(&self, row: usize) -> Place {
        let named = |name: &[u8]| Some(shown(self.cell(row, self.at(name)?)));
        Place { row: row + 1, epoch: named(b"epoch"), step: named(b"step") }
    }
}

/// The rows of two tables, grouped by key. A group has several rows where Lightning writes the values of one step into
/// several.
#[derive(Default)]
struct Groups<'a> {
    /// The rows of each group that both tables have, in the reference's order.
    both: Vec<[&'a [usize]; 2]>,
    /// The rows whose groups only one of the tables has.
    only: [Vec<usize>; 2],
}

impl<'a> Groups<'a> {
    /// Groups the sorted rows of two tables.
    fn new(tables: &[Table; 2], sorted: &'a [Vec<usize>; 2]) -> Self {
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
    fn are_reordered(&self) -> bool {
        !self.both.is_sorted_by_key(|[_, b]| b[0]) || self.both.iter().any(|[a, b]| a.len() != b.len())
    }
}
