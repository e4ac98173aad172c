//! metrics.csv, as `plot` reads it and as a reader does that knows nothing but lines and commas. `compare` on such files is
//! in tests/library/compare/tables.rs.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use islp_mnist::chart::{Figure, Metric, Picture, accuracy};
use predicates::str::contains;
use tempfile::tempdir;

use super::{NO_FILES, Random, Tries, Verdict, all, gzipped, limited, put_no_file, refused, replace, sample};
use crate::common::{assert_refused, checkout, program};

const COLUMNS: [&str; 2] = ["train_accuracy_epoch", "valid_accuracy"];

/// The tracked run's file: 30 epochs, CRLF.
fn good() -> Vec<u8> {
    fs::read(checkout().join("output/MNIST/version_0/metrics.csv")).unwrap()
}

/// The cells to be drawn, as a file of nothing else, for a file without quotes; none if it is not a table of numbers.
fn bare(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)).ok()?;
    let mut lines = text.split(['\r', '\n']).filter(|line| !line.is_empty());
    let header: Vec<&str> = lines.next()?.split(',').collect();
    let place = |name: &str| header.iter().position(|column| *column == name);
    let epoch = place("epoch")?;
    let columns: Vec<(&str, usize)> =
        COLUMNS.into_iter().filter_map(|name| Some((name, place(name)?))).collect();
    let names: Vec<&str> = columns.iter().map(|column| column.0).collect();
    let (mut bare, mut points) = (format!("epoch,{}\n", names.join(",")), 0);
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        if cells.len() != header.len() {
            return None;
        }
        let number = |place: usize| match cells[place].trim() {
            "" => Some(f64::NAN),
            cell => cell.parse::<f64>().ok(),
        };
        let x = number(epoch)?;
        bare += &format!("{x}");
        for &(_, place) in &columns {
            let y = number(place)?;
            points += usize::from(x.is_finite() && y.is_finite());
            bare += &format!(",{y}");
        }
        bare += "\n";
    }
    (points > 0).then_some(bare)
}

/// Right if the file is drawn as its bare cells are, or refused if it is not a table of numbers.
fn drawn_as_it_is(bytes: &[u8]) -> Verdict {
    let figure = Figure::from_csv(Metric::Accuracy, bytes);
    let Some(bare) = bare(bytes) else { return refused(figure, &[]) };
    let drawn = figure.map_err(|error| format!("refused: {error}"))?.to_svg().unwrap();
    let expected = Figure::from_csv(Metric::Accuracy, bare.as_bytes()).unwrap().to_svg().unwrap();
    if drawn == expected { Ok(()) } else { Err("its figure differs from that of its cells".into()) }
}

fn draw_as_they_are_or_refuse(tries: &mut Tries) {
    let good = good();
    let mut draw = |what: &str, bytes: &[u8]| tries.check(what, || drawn_as_it_is(bytes));
    let text = String::from_utf8(good.clone()).unwrap();
    let header = text.lines().next().unwrap();
    let table = |change: &dyn Fn(usize, &str) -> String| {
        text.lines().enumerate().map(|(row, line)| change(row, line) + "\r\n").collect::<String>()
    };
    draw("the file itself", &good);
    draw("an empty file", b"");
    for bare in ["\r\n", ",", ",,,", "\u{feff}", "\0", "epoch"] {
        draw(&format!("{bare:?} alone"), bare.as_bytes());
    }
    draw("the header alone", header.as_bytes());
    draw("no header", table(&|_, line| line.to_owned()).split_once("\r\n").unwrap().1.as_bytes());
    draw("LF", text.replace('\r', "").as_bytes());
    draw("CR", text.replace('\n', "").as_bytes());
    draw("LF and CRLF", text.replacen('\r', "", 9).as_bytes());
    draw("a BOM", format!("\u{feff}{text}").as_bytes());
    draw("two BOMs", format!("\u{feff}\u{feff}{text}").as_bytes());
    draw("blank lines", table(&|_, line| format!("\r\n{line}\r\n")).as_bytes());
    draw("semicolons", text.replace(',', ";").as_bytes());
    draw("UTF-16", &text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    draw("twice", text.repeat(2).as_bytes());
    for column in 0..header.split(',').count() {
        let without = |line: &str| {
            let mut cells: Vec<&str> = line.split(',').collect();
            cells.remove(column);
            cells.join(",")
        };
        draw(&format!("without column {column}"), table(&|_, line| without(line)).as_bytes());
        let with = |cell: &str, is_there: &dyn Fn(usize) -> bool| {
            table(&|row, line| {
                let mut cells: Vec<&str> = line.split(',').collect();
                cells[column] = if is_there(row) { cell } else { cells[column] };
                cells.join(",")
            })
        };
        for cell in ["x", "1,5", "0x10", "1 2", "--1", "½", "1e", "1_000", "true", "-", "∞", "0,", "\0"] {
            let table = with(cell, &|row| row == 40);
            draw(&format!("{cell:?} in column {column}"), table.as_bytes());
        }
        for cell in
            ["nan", "NaN", "inf", "-inf", "Infinity", "1e308", "-1e308", "1e999", "5e-324", "-0", "+.5"]
        {
            let table = with(cell, &|row| row > 0 && row % 7 == 0);
            draw(&format!("{cell} in column {column}"), table.as_bytes());
        }
    }
    for row in 0..text.lines().count() {
        let short = |i, line: &str| {
            if i == row { line.rsplit_once(',').unwrap().0.to_owned() } else { line.to_owned() }
        };
        draw(&format!("row {row} too short"), table(&short).as_bytes());
        let long = |i, line: &str| if i == row { format!("{line},") } else { line.to_owned() };
        draw(&format!("row {row} too long"), table(&long).as_bytes());
    }
    let random = Random::new(3);
    for length in (0..header.len() + 100).chain((0..200).map(|_| random.below(good.len()))) {
        draw(&format!("cut to {length} bytes"), &good[..length]);
    }
    for _ in 0..2000 {
        let (flipped, place) = random.flip(&good, 0..good.len());
        // Of quotes the reader here knows nothing.
        if flipped[place] != b'"' {
            draw(&format!("byte {place} is {:#04x}", flipped[place]), &flipped);
        }
    }
    no_files(tries);
}

/// Anything that is not a table or not a file is refused by its name.
fn no_files(tries: &mut Tries) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    let named = path.display().to_string();
    for what in NO_FILES {
        put_no_file(&path, what);
        tries.check(what, || refused(accuracy(&path), &[&named]));
    }
    replace(&path, &good());
    let packed = gzipped(&path);
    for (what, bytes) in [
        ("a gz file", &packed[..]),
        ("more than 1000 columns", format!("epoch,valid_accuracy\n0,1\n{}\n", ",".repeat(1000)).as_bytes()),
    ] {
        replace(&path, bytes);
        tries.check(what, || refused(accuracy(&path), &[&named]));
    }
    // A quote may also be one that is never closed.
    tries.check("an open quote", || {
        let figure = Figure::from_csv(Metric::Accuracy, b"epoch,valid_accuracy\n0,\"0.5\n");
        if figure.is_ok() { Ok(()) } else { refused(figure, &[]) }
    });
}

#[test]
fn metrics_are_drawn_as_they_are_or_refused() {
    sample(29, draw_as_they_are_or_refuse);
}

#[test]
#[ignore = "slow"]
fn all_metrics_are_drawn_as_they_are_or_refused() {
    all("`metrics.csv` for `plot`", draw_as_they_are_or_refuse);
}

fn write_rows(path: &Path, last: &str) {
    let block: String = (0..10_000).map(|epoch| format!("{epoch},0.{epoch},\r\n{epoch},,0.5\r\n")).collect();
    let mut file = BufWriter::new(File::create(path).unwrap());
    file.write_all(b"epoch,train_accuracy_epoch,valid_accuracy\r\n").unwrap();
    (0..250).for_each(|_| file.write_all(block.as_bytes()).unwrap());
    file.write_all(last.as_bytes()).unwrap();
}

#[test]
#[ignore = "slow"]
fn large_metrics_take_little_memory() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_rows(&path("a.csv"), "0,0.5,0.25\r\n");
    write_rows(&path("b.csv"), "0,0.5,0.75\r\n");
    let compare = limited(folder.path(), "compare a.csv b.csv").assert().code(1);
    compare.stdout(contains("first in row 5000001 (epoch 0), valid_accuracy"));
    // As cells each comma would take a hundred bytes.
    for (commas, code) in [(50_000_000, 1), (100_000_000, 2)] {
        fs::write(path("c.csv"), vec![b','; commas]).unwrap();
        limited(folder.path(), "compare a.csv c.csv").assert().code(code);
    }
    for (csv, bytes) in [("a.csv", None), ("c.csv", None), ("c.csv", Some(vec![b','; 16 << 20]))] {
        if let Some(bytes) = bytes {
            fs::write(path(csv), bytes).unwrap();
        }
        assert_refused(&mut limited(folder.path(), &format!("plot {csv} -o a.svg")), 1, &[csv]);
    }
    let rows = "0,0.5,0.25\n".repeat((16 << 20) / 11 - 4);
    fs::write(path("d.csv"), format!("epoch,train_accuracy_epoch,valid_accuracy\n{rows}")).unwrap();
    limited(folder.path(), "plot d.csv -o d.svg").assert().success();
}

#[test]
fn the_program_refuses_bad_metrics_in_one_line() {
    let folder = tempdir().unwrap();
    for text in ["", "epoch,valid_accuracy\n", "epoch,valid_accuracy\n0,1,2\n", "epoch,valid_accuracy\n0,x\n"]
    {
        fs::write(folder.path().join("metrics.csv"), text).unwrap();
        assert_refused(&mut program(&folder, "plot metrics.csv -o a.png"), 1, &["error: metrics.csv: "]);
        assert!(!folder.path().join("a.png").exists());
    }
}
