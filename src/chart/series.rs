//! `metrics.csv` → the points of a figure.

use csv::StringRecord;

use crate::util::text::excerpt;

/// (epoch, value), finite, in the order of the rows.
pub type Points = Vec<(f64, f64)>;

/// What is wrong with a `metrics.csv`.
///
/// ```
/// use islp_mnist::chart::{CsvError, Figure, Metric};
///
/// let csv = b"epoch,train_loss,valid_loss\n0,1.5,\n0,,x\n";
/// let error = Figure::from_csv(Metric::Loss, csv).unwrap_err();
/// assert!(matches!(error, CsvError::NotANumber { line: 3, .. }));
/// ```
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what they are
pub enum CsvError {
    #[error(transparent)]
    Malformed(#[from] csv::Error),
    #[error("no column {names}; its columns are {columns}")]
    NoColumn { names: String, columns: String },
    #[error("line {line}: the header comes again, as in the log of a resumed run")]
    HeaderAgain { line: u64 },
    #[error("line {line}: {column} is \"{cell}\", not a number")]
    NotANumber { line: u64, column: String, cell: String },
    #[error("no row holds an epoch together with {names}")]
    NoPoint { names: String },
}

/// More columns than these an error doesn't list.
const MAX_LISTED: usize = 20;

/// "epoch, step, loss", as it may go to a terminal.
fn listed(header: &StringRecord) -> String {
    let shown = header.iter().take(MAX_LISTED).map(|column| match excerpt(column.as_bytes(), 0) {
        column if column.trim().is_empty() => format!("\"{column}\""),
        column => column,
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    match header.len().saturating_sub(MAX_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A cell that says that there is no value, as R, pandas, SQL or Python write it. `nan` is a number.
const MISSING: [&str; 5] = ["NA", "N/A", "<NA>", "null", "None"];

/// For each list of names the values against `epoch` of the first column that the table has; none if it has none of
/// them, which is an error if all must be there. A cell that is missing or not finite gives no point.
pub fn points<const N: usize>(
    csv: &[u8],
    wanted: [Vec<&str>; N],
    must_have_all: bool,
) -> Result<[Option<Points>; N], CsvError> {
    let mut reader = csv::Reader::from_reader(csv);
    let header = reader.headers()?.clone();
    let index = |name: &&str| header.iter().position(|column| column == *name);
    let no_column =
        |names: &[&str]| CsvError::NoColumn { names: names.join(" or "), columns: listed(&header) };
    let epoch = index(&"epoch").ok_or_else(|| no_column(&["epoch"]))?;
    let indices = wanted.each_ref().map(|names| names.iter().find_map(index));
    let missing = wanted.iter().zip(indices).filter(|(_, index)| index.is_none());
    let missing: Vec<&str> = missing.filter_map(|(names, _)| names.first().copied()).collect();
    if indices.iter().all(Option::is_none) || must_have_all && !missing.is_empty() {
        return Err(no_column(&missing));
    }

    let mut points = indices.map(|column| column.map(|_| vec![]));
    let mut record = StringRecord::new();
    loop {
        let read = reader.read_record(&mut record);
        // A header with more columns than the first is also an error of csv's.
        if is_header(&record) {
            return Err(CsvError::HeaderAgain { line: line(csv, &record) });
        }
        if !read? {
            break;
        }
        let x = number(csv, &header, &record, epoch)?;
        for (points, column) in points.iter_mut().zip(indices) {
            if let (Some(points), Some(column)) = (points, column) {
                let y = number(csv, &header, &record, column)?;
                if x.is_finite() && y.is_finite() {
                    points.push((x, y));
                }
            }
        }
    }
    if points.iter().flatten().all(Vec::is_empty) {
        let names: Vec<_> = indices.iter().flatten().map(|&column| &header[column]).collect();
        return Err(CsvError::NoPoint { names: names.join(" or ") });
    }
    Ok(points)
}

/// Whether a row names columns: one is `epoch`, and none is a number.
fn is_header(record: &StringRecord) -> bool {
    let mut cells = record.iter().map(|cell| cell.trim_start_matches('\u{feff}').trim());
    cells.clone().any(|cell| cell == "epoch") && cells.all(|cell| cell.parse::<f64>().is_err())
}

/// A row's line, from 1.
fn line(csv: &[u8], record: &StringRecord) -> u64 {
    let Some(position) = record.position() else { return 0 };
    // To csv the LF of a CRLF, and blank lines, belong to the row that follows.
    let rest = csv.get(position.byte() as usize..).unwrap_or_default();
    let before = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + before.filter(|&&byte| byte == b'\n').count() as u64
}

/// A cell's number; NaN for a missing one.
fn number(csv: &[u8], header: &StringRecord, record: &StringRecord, column: usize) -> Result<f64, CsvError> {
    let cell = record[column].trim();
    if cell.is_empty() || MISSING.iter().any(|missing| missing.eq_ignore_ascii_case(cell)) {
        return Ok(f64::NAN);
    }
    cell.parse().map_err(|_| CsvError::NotANumber {
        line: line(csv, record),
        column: header[column].to_owned(),
        cell: excerpt(cell.as_bytes(), 0),
    })
}
