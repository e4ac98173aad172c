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
    #[error("no column {names}; a training run's metrics.csv has it")]
    NoColumn { names: String },
    #[error("line {line}: {column} is \"{cell}\", not a number")]
    NotANumber { line: u64, column: String, cell: String },
    #[error("no row holds an epoch together with {names}")]
    NoPoint { names: String },
}

/// For each column its values against `epoch`; none for a column that the table lacks. A cell that is empty or not
/// finite gives no point.
pub fn points<const N: usize>(csv: &[u8], columns: [&str; N]) -> Result<[Option<Points>; N], CsvError> {
    let mut reader = csv::Reader::from_reader(csv);
    let header = reader.headers()?.clone();
    let index = |name: &str| header.iter().position(|column| column == name);
    let no_column = |names: &[&str]| CsvError::NoColumn { names: names.join(" or ") };
    let epoch = index("epoch").ok_or_else(|| no_column(&["epoch"]))?;
    let indices = columns.map(index);
    if indices.iter().all(Option::is_none) {
        return Err(no_column(&columns));
    }

    let mut points = indices.map(|column| column.map(|_| vec![]));
    let mut record = StringRecord::new();
    while reader.read_record(&mut record)? {
        let x = number(&header, &record, epoch)?;
        for (points, column) in points.iter_mut().zip(indices) {
            if let (Some(points), Some(column)) = (points, column) {
                let y = number(&header, &record, column)?;
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

/// A cell's number; NaN for an empty one.
fn number(header: &StringRecord, record: &StringRecord, column: usize) -> Result<f64, CsvError> {
    let cell = record[column].trim();
    if cell.is_empty() {
        return Ok(f64::NAN);
    }
    cell.parse().map_err(|_| CsvError::NotANumber {
        line: record.position().map_or(0, |position| position.line()),
        column: header[column].to_owned(),
        cell: excerpt(cell.as_bytes(), 0),
    })
}
