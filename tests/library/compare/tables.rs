//! Tables: metrics.csv as Lightning, `train` and others write it.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{METRICS, Pair};

/// The report on two files metrics.csv after their name, and the exit code.
fn tables(reference: &str, candidate: impl AsRef<[u8]>, options: &str) -> (String, i32) {
    let (text, code) = Pair::of("metrics.csv", reference, candidate).compare_file("metrics.csv", options);
    (text.strip_prefix("metrics.csv: ").unwrap().to_owned(), code)
}

/// The same for [`METRICS`] and another table.
fn metrics(candidate: impl AsRef<[u8]>, options: &str) -> (String, i32) {
    tables(METRICS, candidate, options)
}

#[test]
fn the_first_and_the_largest_difference_and_missing_rows_are_reported() {
    let candidate = METRICS.replace(",1.5,", ",1.5000001,").replace("0.26", "0.27");
    assert_snapshot!(metrics(candidate.replace("1,375,0.39,0.19\r\n", ""), "").0, @"
    2 of 2 cells differ
        first in row 1 (epoch 0, step 49), train_loss: reference 1.5, candidate 1.5000001 (1.0000000005838672e-7 apart)
        largest in row 2 (epoch 0, step 187), valid_loss: reference 0.26, candidate 0.27 (0.010000000000000009 apart)
        1 row only in the reference: row 3 (epoch 1, step 375)
    different: 1 of 1 file, 0 of 0 tensors
    ");
}

#[test]
fn cells_that_are_not_numbers_differ_without_a_distance() {
    let (reference, candidate) = ("loss\nx\ninf\nnan\n1\n-inf\n", "loss\n\u{1b}y\nInfinity\nNaN\nnan\n5\n");
    assert_snapshot!(tables(reference, candidate, "").0, @r"
    5 of 5 cells differ
        first in row 1, loss: reference x, candidate \u{1b}y
        largest in row 4, loss: reference 1, candidate nan (inf apart)
    different: 1 of 1 file, 0 of 0 tensors
    ");
    assert_snapshot!(tables("loss,b\n1,2\n", "loss,b\n,\"2\"\n", "").0, @"
    1 of 2 cells differs
        first in row 1, loss: reference 1, candidate (empty)
        written differently: quotation marks
    different: 1 of 1 file, 0 of 0 tensors
    ");
    let long = tables("loss\n1\n", format!("loss\n{}\n", "9".repeat(1000)), "").0;
    assert!(long.contains(&format!("candidate {}… (inf apart)", "9".repeat(120))), "{long}");
}

#[test]
fn a_file_that_is_not_a_table_is_compared_line_by_line() {
    assert_snapshot!(metrics(METRICS.replace("0,187,,0.26", "0,187,0.26"), "").0, @r#"
    first difference in line 3, byte 7
        reference: "0,187,,0.26\r\n"
        candidate: "0,187,0.26\r\n"
    different: 1 of 1 file, 0 of 0 tensors
    "#);
}

#[test]
fn tables_that_are_only_written_differently_are_close_and_hide_no_cell() {
    let same = "all 4 cells that both have are the same\n    written differently: ";
    let header = METRICS.lines().next().unwrap();
    for (candidate, difference) in [
        (
            "step,epoch,valid_loss,train_loss\r\n49,0,,1.5\r\n187,0,0.26,\r\n375,1,0.19,0.39\r\n".to_owned(),
            "the columns are in another order",
        ),
        (
            METRICS.replace("\r\n", "\n"),
            "the lines of the reference end with CRLF, those of the candidate with LF",
        ),
        (
            METRICS.replacen("\r\n", "\n", 1),
            "the lines of the reference end with CRLF, those of the candidate with several kinds",
        ),
        (format!("\u{feff}{METRICS}"), "a byte-order mark on one side only"),
        (METRICS.replace("0.39", "\"0.39\""), "quotation marks"),
        (METRICS.replace("0,187", "\r\n0,187"), "empty lines"),
        (METRICS.trim_end().to_owned(), "the end of the last line"),
        (
            METRICS.replace("1,375,0.39,0.19", "1,375,0.39,\r\n1,375,,0.19"),
            "the rows are in another order, or split differently",
        ),
        (
            format!("{header}\r\n1,375,0.39,0.19\r\n0,49,1.5,\r\n0,187,,0.26\r\n"),
            "the rows are in another order",
        ),
    ] {
        let (text, code) = metrics(&candidate, "");
        assert!(code == 1 && text.starts_with(&format!("{same}{difference}")), "{text}");
        let (text, code) = metrics(&candidate, "--atol 0");
        assert!(code == 0 && text.starts_with(&format!("close: {same}{difference}")), "{text}");
        assert!(text.contains("; no number differs (atol 0.0"), "{text}");
        let other = candidate.replace("0.26", "0.27");
        let (text, code) = metrics(&other, "");
        assert!(code == 1 && text.starts_with("1 of 4 cells differs\n    first in row "), "{text}");
        let cell = "(epoch 0, step 187), valid_loss: reference 0.26, candidate 0.27 (0.01";
        assert!(text.contains(cell), "{text}");
        assert_eq!((metrics(&other, "--atol 0.1").1, metrics(&other, "--atol 0.001").1), (0, 1));
    }
}

#[test]
fn columns_of_one_side_are_named_and_the_others_decide() {
    // As `reproduce` writes them, beside `train`.
    let tested = "epoch,step,test_accuracy,test_loss,train_loss,valid_loss\r\n\
        0,49,,,1.5,\r\n0,187,,,,0.26\r\n1,375,,,0.39,0.19\r\n2,376,0.9,0.3,,\r\n";
    let named = "all 4 cells that both have are the same\n    columns only in the candidate: test_accuracy, test_loss\n";
    let (text, code) = metrics(tested, "");
    assert!(code == 1 && text.starts_with(named), "{text}");
    let (text, code) = metrics(tested, "--rtol 0");
    assert!(code == 0 && text.starts_with(&format!("close: {named}")), "{text}");
    assert_eq!(metrics(tested.replace("0.39", "0.4"), "--atol 1e-3").1, 1);
    // A renamed column is two columns; without any cell in common nothing is close.
    let (text, code) = metrics(METRICS.replace("valid_loss", "val_loss"), "--atol 1");
    let both = "\n    column only in the reference: valid_loss\n    column only in the candidate: val_loss\n";
    assert!(code == 0 && text.contains(both), "{text}");
    let (text, code) = metrics(METRICS.replace("train_", "a_").replace("valid_", "b_"), "--atol 1");
    assert!(code == 1 && text.starts_with("there is no cell that both have\n"), "{text}");
}

#[test]
fn rows_of_one_side_are_named_by_epoch_and_step_and_no_tolerance_covers_them() {
    let (text, code) = metrics(METRICS.replace("1,375", "1,374"), "--atol 9");
    let only = |side: &str, step| format!("\n    1 row only in the {side}: row 3 (epoch 1, step {step})");
    assert!(code == 1 && text.contains(&(only("reference", 375) + &only("candidate", 374))), "{text}");
    let (text, code) =
        metrics(format!("{METRICS}2,376,1,\r\n2,377,,\r\n").replace("0.39", "0.4"), "--atol 9");
    let first = "1 of 4 cells differs, none by more than the tolerance\n";
    let rows = "\n    2 rows only in the candidate: row 4 (epoch 2, step 376) to row 5 (epoch 2, step 377)";
    assert!(code == 1 && text.starts_with(first) && text.contains(rows), "{text}");
    // A row that is missing in the middle shifts no others.
    let without_middle = METRICS.replace("0,187,,0.26\r\n", "");
    let rows = "all 3 cells that both have are the same\n    1 row only in the reference: row 2";
    assert!(metrics(&without_middle, "").0.starts_with(rows));
    let pair = Pair::of("metrics.csv", METRICS, without_middle.replace("train", "a"));
    let json: Value = serde_json::from_str(&pair.compare("--json").0).unwrap();
    let difference = &json["files"][0]["difference"];
    assert_eq!(difference["only_rows"][0]["first"]["step"], "187");
    assert_eq!(difference["only_columns"], json!([["train_loss"], ["a_loss"]]));
}

#[test]
fn tables_without_epoch_and_step_are_compared_row_by_row() {
    let reference = "a,b\n1,2\n3,4\n";
    assert_eq!(tables(reference, "b,a\n2,1\n4,3\n", "--atol 0").1, 0);
    let (text, code) = tables(reference, "a,b\n1,2\n3,5\n5,6\n", "");
    assert!(code == 1 && text.contains("first in row 2, b: reference 4, candidate 5 (1.0 apart)"), "{text}");
    assert!(text.contains("1 row only in the candidate: row 3\n"), "{text}");
    assert_eq!(tables("step,b\n1,2\n", "step,b\n2,2\n", "--atol 9").1, 1, "a step is not a measurement");
    assert_eq!(tables("a,a\n1,2\n", "a,a\n1,3\n", "").1, 1, "the second column of one name");
}
