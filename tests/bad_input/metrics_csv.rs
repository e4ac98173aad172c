//! metrics.csv, as `plot` and `compare` read it, held against a reader that knows nothing but lines and commas.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use islp_mnist::chart::{Figure, Metric, Name, Source};
use islp_mnist::compare::{self, compare};
use tempfile::tempdir;

use super::common::{checkout, error_of, islp_mnist};
use super::{NO_FILES, Random, Tries, Verdict, gzipped, limited, put_no_file, refused, remove, replace};

const COLUMNS: [&str; 2] = ["train_accuracy_epoch", "valid_accuracy"];

/// The tracked run's file: 30 epochs, CRLF.
fn good() -> Vec<u8> {
    fs::read(checkout().join("output/MNIST/version_0/metrics.csv")).unwrap()
}

/// What `plot` draws of a file, as SVG.
fn plotted(path: &Path) -> anyhow::Result<String> {
    let source = Source { name: Name::Given(String::new()), metrics_csv: path.to_owned() };
    Ok(Figure::new(Metric::Accuracy, &[source])?.to_svg()?)
}

/// The cells to be drawn of a file without quotes as a file of nothing else; none if it is no table of numbers.
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

/// Holds if the file is drawn as its bare cells are, or refused by its name where it is no table of numbers.
fn drawn_as_it_is(path: &Path, bytes: &[u8]) -> Verdict {
    replace(path, bytes);
    let result = plotted(path);
    let Some(bare) = bare(bytes) else { return refused(result, &[&format!("{}: ", path.display())]) };
    let drawn = result.map_err(|error| format!("refused: {error:#}"))?;
    let expected = Figure::from_csv(Metric::Accuracy, bare.as_bytes()).unwrap().to_svg().unwrap();
    if drawn == expected { Ok(()) } else { Err("drawn otherwise than its cells say".into()) }
}

/// Holds if the two files, which differ, are said to differ, or the candidate is refused by its name.
fn told_apart(reference: &Path, candidate: &Path) -> Verdict {
    let report = compare(reference, candidate).map_err(|error| format!("{error:#}"))?;
    let named = report.to_string().contains(&candidate.display().to_string());
    match report.verdict() {
        compare::Verdict::Different => Ok(()),
        compare::Verdict::Incomparable if named => Ok(()),
        verdict => Err(format!("{verdict:?}: {report}")),
    }
}

#[test]
fn metrics_are_drawn_and_compared_as_they_are_or_refused_by_name() {
    let mut tries = Tries::new("`metrics.csv` for `plot` and `compare`");
    let folder = tempdir().unwrap();
    let (path, other) = (folder.path().join("metrics.csv"), folder.path().join("reference.csv"));
    let good = good();
    fs::write(&other, &good).unwrap();
    let mut both = |what: &str, bytes: &[u8]| {
        tries.check(format!("plot, {what}"), || drawn_as_it_is(&path, bytes));
        if bytes != good {
            tries.check(format!("compare, {what}"), || told_apart(&other, &path));
        }
    };

    let text = String::from_utf8(good.clone()).unwrap();
    let header = text.lines().next().unwrap();
    let table = |change: &dyn Fn(usize, &str) -> String| {
        text.lines().enumerate().map(|(row, line)| change(row, line) + "\r\n").collect::<String>()
    };
    both("the file itself", &good);
    both("an empty file", b"");
    for bare in ["\r\n", ",", ",,,", "\u{feff}", "\0", "epoch"] {
        both(&format!("{bare:?} alone"), bare.as_bytes());
    }
    both("the header alone", header.as_bytes());
    both("no header", table(&|_, line| line.to_owned()).split_once("\r\n").unwrap().1.as_bytes());
    both("LF", text.replace('\r', "").as_bytes());
    both("CR", text.replace('\n', "").as_bytes());
    both("LF and CRLF", text.replacen('\r', "", 9).as_bytes());
    both("a BOM", format!("\u{feff}{text}").as_bytes());
    both("two BOMs", format!("\u{feff}\u{feff}{text}").as_bytes());
    both("blank lines", table(&|_, line| format!("\r\n{line}\r\n")).as_bytes());
    both("semicolons", text.replace(',', ";").as_bytes());
    both("UTF-16", &text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    both("twice", text.repeat(2).as_bytes());
    for column in 0..header.split(',').count() {
        let without = |line: &str| {
            let mut cells: Vec<&str> = line.split(',').collect();
            cells.remove(column);
            cells.join(",")
        };
        both(&format!("without column {column}"), table(&|_, line| without(line)).as_bytes());
        for cell in ["x", "1,5", "0x10", "1 2", "--1", "½", "1e", "1_000", "true", "-", "∞", "0,", "\0"] {
            let with = |row, line: &str| {
                let mut cells: Vec<&str> = line.split(',').collect();
                cells[column] = if row == 40 { cell } else { cells[column] };
                cells.join(",")
            };
            both(&format!("{cell:?} in column {column}"), table(&with).as_bytes());
        }
        for cell in
            ["nan", "NaN", "inf", "-inf", "Infinity", "1e308", "-1e308", "1e999", "5e-324", "-0", "+.5"]
        {
            let with = |row, line: &str| {
                let mut cells: Vec<&str> = line.split(',').collect();
                cells[column] = if row > 0 && row % 7 == 0 { cell } else { cells[column] };
                cells.join(",")
            };
            both(&format!("{cell} in column {column}"), table(&with).as_bytes());
        }
    }
    for row in 0..text.lines().count() {
        let short = |i, line: &str| {
            if i == row { line.rsplit_once(',').unwrap().0.to_owned() } else { line.to_owned() }
        };
        both(&format!("row {row} too short"), table(&short).as_bytes());
        let long = |i, line: &str| if i == row { format!("{line},") } else { line.to_owned() };
        both(&format!("row {row} too long"), table(&long).as_bytes());
    }
    let random = Random::new(3);
    for length in (0..header.len() + 100).chain((0..200).map(|_| random.below(good.len()))) {
        both(&format!("cut to {length} bytes"), &good[..length]);
    }
    for _ in 0..2000 {
        let (flipped, place) = random.flip(&good, 0..good.len());
        // Of quotes the reader here knows nothing.
        if flipped[place] != b'"' {
            both(&format!("byte {place} is {:#04x}", flipped[place]), &flipped);
        }
    }
    odd_ones(&mut tries, &path, &other);
    large(&mut tries);
    tries.end();
}

/// What is no table, and what is no file.
fn odd_ones(tries: &mut Tries, path: &Path, other: &Path) {
    let name = format!("{}", path.display());
    let mut refused_by_both = |what: &str| {
        tries.check(format!("plot, {what}"), || refused(plotted(path), &[&name]));
        tries.check(format!("compare, {what}"), || match compare(other, path) {
            Ok(_) => told_apart(other, path),
            // Of a folder and a file it says so.
            error => refused(error, &[&name]),
        });
    };
    for what in NO_FILES {
        put_no_file(path, what);
        refused_by_both(what);
    }
    replace(path, &gzipped(other));
    refused_by_both("a gz file");
    replace(path, format!("epoch,valid_accuracy\n0,1\n{}\n", ",".repeat(1000)).as_bytes());
    refused_by_both("a row of 1001 columns");
    replace(path, b"epoch,valid_accuracy\n0,\"0.5\n");
    tries.check("plot, an open quote", || {
        plotted(path).map(drop).or_else(|error| refused(Err::<(), _>(error), &[&name]))
    });
    tries.check("compare, an open quote", || told_apart(other, path));
    remove(path);
}

/// In little memory, whatever the files' size.
fn large(tries: &mut Tries) {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (name, last) in [("a.csv", "0,0.5,0.25\r\n"), ("b.csv", "0,0.5,0.75\r\n")] {
        let block: String =
            (0..10_000).map(|epoch| format!("{epoch},0.{epoch},\r\n{epoch},,0.5\r\n")).collect();
        let mut file = BufWriter::new(File::create(path(name)).unwrap());
        file.write_all(b"epoch,train_accuracy_epoch,valid_accuracy\r\n").unwrap();
        (0..250).for_each(|_| file.write_all(block.as_bytes()).unwrap());
        file.write_all(last.as_bytes()).unwrap();
    }
    const LARGEST: usize = 16 << 20;
    let plot =
        |csv: &str| limited().args(["plot", csv, "-o", "figure.svg"]).current_dir(&folder).output().unwrap();
    tries.check("plot, 16 MiB of rows", || {
        let row = "0,0.5,0.25\n";
        let rows =
            "epoch,train_accuracy_epoch,valid_accuracy\n".to_owned() + &row.repeat(LARGEST / row.len() - 4);
        fs::write(path("d.csv"), rows).unwrap();
        let output = plot("d.csv");
        if output.status.success() && path("figure.svg").exists() {
            Ok(())
        } else {
            Err(format!("{output:?}"))
        }
    });
    tries.check("plot, 16 MiB of commas, and more than that", || {
        fs::write(path("d.csv"), vec![b','; LARGEST]).unwrap();
        for csv in ["a.csv", "d.csv"] {
            let output = plot(csv);
            let stderr = String::from_utf8_lossy(&output.stderr);
            if output.status.code() != Some(1) || !stderr.starts_with(&format!("error: {csv}: ")) {
                return Err(format!("{output:?}"));
            }
        }
        Ok(())
    });
    tries.check("compare, 5 million rows", || {
        let output = limited().args(["compare", "a.csv", "b.csv"]).current_dir(&folder).output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        let is_told = output.status.code() == Some(1)
            && stdout.contains("first in row 5000001 (epoch 0), valid_accuracy");
        if is_told { Ok(()) } else { Err(format!("{output:?}")) }
    });
    // As cells each would take eight times its size, and more than once.
    fs::write(path("c.csv"), vec![b','; 50_000_000]).unwrap();
    tries.check("compare, 50 million commas", || {
        let output = limited().args(["compare", "a.csv", "c.csv"]).current_dir(&folder).output().unwrap();
        let says = "a.csv and c.csv: first difference in line 1, byte 1\n";
        let said = String::from_utf8_lossy(&output.stdout).contains(says);
        if output.status.code() == Some(1) && said { Ok(()) } else { Err(format!("{output:?}")) }
    });
}

#[test]
fn the_program_refuses_bad_metrics_in_one_line() {
    let folder = tempdir().unwrap();
    let bad = folder.path().join("metrics.csv");
    let plot = || {
        let mut command = islp_mnist();
        command.args(["plot", "metrics.csv", "-o", "figure.png"]).current_dir(&folder);
        command
    };
    for text in ["", "epoch,valid_accuracy\n", "epoch,valid_accuracy\n0,1,2\n", "epoch,valid_accuracy\n0,x\n"]
    {
        fs::write(&bad, text).unwrap();
        assert!(error_of(&mut plot(), 1).starts_with("error: metrics.csv: "));
        assert!(!folder.path().join("figure.png").exists());
    }
    fs::write(folder.path().join("good.csv"), good()).unwrap();
    let output =
        islp_mnist().args(["compare", "good.csv", "metrics.csv"]).current_dir(&folder).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    fs::write(&bad, "").unwrap();
    let output =
        islp_mnist().args(["compare", "good.csv", "metrics.csv"]).current_dir(&folder).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
