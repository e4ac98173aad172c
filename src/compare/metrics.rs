//! `metrics.csv` by cells. They are compared as they are written, because the file promises Python's `repr` of each
//! value; as numbers only to find the largest difference.

use super::differ;
use super::differences::{Differences, apart};
use crate::util::text::excerpt;

/// In which cells two tables differ, and in how many rows. None if that does not tell them apart: the header is another
/// one, rows are ragged, or only line ends differ.
pub fn difference(reference: &[u8], candidate: &[u8]) -> Option<String> {
    let (mut left, mut right) = (rows(reference), rows(candidate));
    let header = left.next()?;
    let columns = cells(header).count();
    if right.next()? != header {
        return None;
    }
    let (mut both, mut differences) = (0, Differences::default());
    let surplus = loop {
        match (left.next(), right.next()) {
            (Some(a), Some(b)) if [a, b].iter().all(|row| cells(row).count() == columns) => {
                both += 1;
                compare_rows(both, [a, b], &mut differences);
            }
            (Some(_), Some(_)) => return None,
            (Some(_), None) => break Some(("reference", both + 1 + left.count(), both)),
            (None, Some(_)) => break Some(("candidate", both, both + 1 + right.count())),
            (None, None) => break None,
        }
    };
    let mut told = match (differences.count, surplus) {
        (0, None) => return None,
        (0, _) => "no difference in the rows that both have".to_owned(),
        (count, _) => differ(count, both * columns, "cell"),
    };
    for (which, cell) in differences.named() {
        told += &format!("\n    {which} in {}", tell(header, cell));
    }
    if let Some((side, rows, others)) = surplus {
        told += &format!("\n    from row {} on only in the {side}: {rows} and {others} rows", both + 1);
    }
    Some(told)
}

/// A cell by the number and the content of its row, on either side, and by its column.
type Cell<'a> = (usize, [&'a [u8]; 2], usize);

fn compare_rows<'a>(number: usize, rows: [&'a [u8]; 2], differences: &mut Differences<Cell<'a>>) {
    let pairs = cells(rows[0]).zip(cells(rows[1])).enumerate();
    for (column, (left, right)) in pairs.filter(|(_, (left, right))| left != right) {
        differences.add(distance(left, right), (number, rows, column));
    }
}

fn tell(header: &[u8], (number, rows, column): Cell) -> String {
    let cell = |row| cells(row).nth(column).unwrap_or_default();
    let [left, right] = rows.map(cell);
    let apart = distance(left, right).map_or(String::new(), |apart| format!(" ({apart:?} apart)"));
    let (place, column) = (place(header, rows[0]), shown(cell(header)));
    let (left, right) = (shown(left), shown(right));
    format!("row {number}{place}, {column}: reference {left}, candidate {right}{apart}")
}

/// None if one of the cells is no number, an empty one for instance.
fn distance(left: &[u8], right: &[u8]) -> Option<f64> {
    let number = |cell| str::from_utf8(cell).ok()?.parse().ok();
    Some(apart(number(left)?, number(right)?))
}

/// The header and the rows below it, all without their line ends.
pub fn rows(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    let rows = table.strip_suffix(b"\n").unwrap_or(table).split(|&byte| byte == b'\n');
    rows.map(|row| row.strip_suffix(b"\r").unwrap_or(row))
}

fn cells(row: &[u8]) -> impl Iterator<Item = &[u8]> {
    row.split(|&byte| byte == b',')
}

/// The epoch and step of a row, where the table has them: what one searches the log for.
fn place(header: &[u8], row: &[u8]) -> String {
    let named = cells(header).zip(cells(row)).filter(|(name, _)| [&b"epoch"[..], b"step"].contains(name));
    let place: Vec<_> =
        named.take(2).map(|(name, cell)| format!("{} {}", shown(name), shown(cell))).collect();
    if place.is_empty() { String::new() } else { format!(" ({})", place.join(", ")) }
}

fn shown(cell: &[u8]) -> String {
    if cell.is_empty() { "(empty)".to_owned() } else { excerpt(cell, 0) }
}
