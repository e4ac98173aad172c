//! `compare` on folders and files made here: whole reports, every outcome, and files that nobody should trust.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use islp_mnist::compare::{Outcome, compare};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use tempfile::TempDir;

const METRICS: &str = "epoch,step,train_loss,valid_loss\r\n\
    0,49,1.5,\r\n\
    0,187,,0.26\r\n\
    1,375,0.39,0.19\r\n";

/// Two folders, `reference` and `candidate`, that vanish with the value.
struct Pair {
    dir: TempDir,
}

impl Pair {
    fn new() -> Self {
        let pair = Pair { dir: TempDir::new().unwrap() };
        fs::create_dir(pair.path("reference")).unwrap();
        fs::create_dir(pair.path("candidate")).unwrap();
        pair
    }

    /// The same path on both sides.
    fn of(file: &str, reference: impl AsRef<[u8]>, candidate: impl AsRef<[u8]>) -> Self {
        Pair::new()
            .with(&format!("reference/{file}"), reference)
            .with(&format!("candidate/{file}"), candidate)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn with(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn both(self, file: &str, content: impl AsRef<[u8]>) -> Self {
        self.with(&format!("reference/{file}"), &content).with(&format!("candidate/{file}"), &content)
    }

    /// The report, or the error, with `DIR` for the temporary folder.
    fn compare(&self, reference: &str, candidate: &str) -> (Outcome, String) {
        let (outcome, text) = match compare(&self.path(reference), &self.path(candidate)) {
            Ok(report) => (report.outcome(), report.to_string()),
            Err(error) => (Outcome::Incomparable, format!("{error:#}")),
        };
        (outcome, text.replace(self.dir.path().to_str().unwrap(), "DIR"))
    }

    #[track_caller]
    fn says(&self, outcome: Outcome, report: &str) {
        let found = self.compare("reference", "candidate");
        assert_eq!(found.1, report);
        assert_eq!(found.0, outcome);
    }
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn safetensors(tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Vec<u8> {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.to_vec(), data).unwrap()));
    serialize(views.collect::<Vec<_>>(), None).unwrap()
}

fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// A model of two tensors, `0.bias` with the given values.
fn model(bias: &[f32]) -> Vec<u8> {
    let weight = f32s(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    safetensors(&[
        ("0.bias", Dtype::F32, &[bias.len()], f32s(bias)),
        ("0.weight", Dtype::F32, &[2, 3], weight),
    ])
}

fn up(value: f32, ulps: u32) -> f32 {
    f32::from_bits(value.to_bits() + ulps)
}

#[test]
fn equal_output_folders_are_identical_whatever_their_pictures_and_checkpoints() {
    let pair = Pair::new()
        .both("MNIST/version_0/metrics.csv", METRICS)
        .both("MNIST/version_0/model.safetensors", model(&[0.5, 0.25]))
        .both("MNIST/version_1/metrics.csv", METRICS)
        .both("MNIST_MLR/version_0/model.safetensors", model(&[f32::NAN]))
        .both("stdout.txt", "2\n5\n")
        .with("reference/MNIST/version_0/checkpoints/epoch=1-step=376.ckpt", "a pickle")
        .with("candidate/MNIST/version_0/checkpoints/last.safetensors", model(&[0.5]))
        .with("candidate/MNIST/version_0/accuracy.svg", "<svg/>");
    let checkpoints = "candidate/MNIST/version_0/checkpoints";
    assert_eq!(pair.compare(checkpoints, checkpoints).0, Outcome::Identical, "named, they are compared");
    pair.says(
        Outcome::Identical,
        "\
MNIST/version_0/metrics.csv: identical (3 rows)
MNIST/version_0/model.safetensors: identical (2 tensors)
    0.bias [2]: identical
    0.weight [2, 3]: identical
MNIST/version_1/metrics.csv: identical (3 rows)
MNIST_MLR/version_0/model.safetensors: identical (2 tensors)
    0.bias [1]: identical
    0.weight [2, 3]: identical
stdout.txt: identical (2 lines)
identical: 5 files, 4 tensors, 0 differences
",
    );
}

#[test]
fn two_version_folders_of_different_numbers_are_compared_file_by_file() {
    let pair = Pair::new()
        .with("reference/MNIST/version_0/metrics.csv", METRICS)
        .with("candidate/MNIST/version_3/metrics.csv", METRICS);
    let (outcome, report) = pair.compare("reference/MNIST/version_0", "candidate/MNIST/version_3");
    assert_eq!(report, "metrics.csv: identical (3 rows)\nidentical: 1 file, 0 tensors, 0 differences\n");
    assert_eq!(outcome, Outcome::Identical);
}

#[test]
fn two_single_files_of_one_kind_are_compared_under_both_names() {
    let pair = Pair::new().with("a.csv", METRICS).with("b.csv", METRICS.replace("0.39", "0.4"));
    let (outcome, report) = pair.compare("a.csv", "b.csv");
    let expected = "\
DIR/a.csv and DIR/b.csv: 1 of 12 cells differs
    first in row 3 (epoch 1, step 375), train_loss: reference 0.39, candidate 0.4 (0.010000000000000009 apart)
    largest in row 3 (epoch 1, step 375), train_loss: reference 0.39, candidate 0.4 (0.010000000000000009 apart)
different: 1 of 1 file, 0 of 0 tensors
";
    assert_eq!(report, expected);
    assert_eq!(outcome, Outcome::Different);
}

#[test]
fn a_file_on_one_side_only_cannot_be_compared_but_the_others_are() {
    let pair = Pair::of("stdout.txt", "a\n", "b\n").with("reference/MNIST/version_0/metrics.csv", METRICS);
    pair.says(
        Outcome::Incomparable,
        "\
MNIST/version_0/metrics.csv: could not compare: only in the reference
stdout.txt: first difference in line 1
    reference: \"a\"
    candidate: \"b\"
could not compare: 1 of 2 files; different: 1 of 2 files, 0 of 0 tensors
",
    );
    pair.with("candidate/MNIST/version_1/metrics.csv", METRICS).says(
        Outcome::Incomparable,
        "\
MNIST/version_0/metrics.csv: could not compare: only in the reference
MNIST/version_1/metrics.csv: could not compare: only in the candidate
stdout.txt: first difference in line 1
    reference: \"a\"
    candidate: \"b\"
could not compare: 2 of 3 files; different: 1 of 3 files, 0 of 0 tensors
(to compare runs of different version numbers, name their two version folders)
",
    );
}

#[test]
fn tensors_report_the_first_and_the_largest_difference_with_index_values_and_ulps() {
    let mut candidate = model(&[0.5, up(0.25, 1), 1.0, up(0.5, 4)]);
    let last_but_one = candidate.len() - 8..candidate.len() - 4;
    candidate[last_but_one].copy_from_slice(&(-4f32).to_le_bytes());
    Pair::of("m.safetensors", model(&[0.5, 0.25, 1.0, 0.5]), candidate).says(
        Outcome::Different,
        "\
m.safetensors: 2 of 2 tensors differ
    0.bias [4]: 2 of 4 values differ; first at [1]: reference 0.25, candidate 0.25000003 (1 ULP); \
largest at [3]: reference 0.5, candidate 0.50000024 (4 ULPs)
    0.weight [2, 3]: 1 of 6 values differs; first at [1, 1]: reference 4.0, candidate -4.0 (2164260865 ULPs); \
largest at [1, 1]: reference 4.0, candidate -4.0 (2164260865 ULPs)
different: 1 of 1 file, 2 of 2 tensors
",
    );
}

#[test]
fn bits_decide_about_zeros_and_nans() {
    let other_nan = f32::from_bits(0x7fc0_0001);
    let candidate = model(&[f32::NAN, -0.0, other_nan, 1.0, f32::INFINITY]);
    Pair::of("m.safetensors", model(&[f32::NAN, 0.0, f32::NAN, f32::NAN, 1.0]), candidate).says(
        Outcome::Different,
        "\
m.safetensors: 1 of 2 tensors differs
    0.bias [5]: 4 of 5 values differ; first at [1]: reference 0.0, candidate -0.0 (1 ULP); \
largest at [2]: reference NaN 0x7fc00000, candidate NaN 0x7fc00001
    0.weight [2, 3]: identical
different: 1 of 1 file, 1 of 2 tensors
",
    );
}

#[test]
fn missing_and_surplus_tensors_and_other_shapes_and_dtypes_are_named() {
    let (four, eight) = (vec![0; 4], vec![0; 8]);
    let reference = safetensors(&[
        ("dtype", Dtype::F32, &[2], eight.clone()),
        ("missing", Dtype::F32, &[1, 1], four.clone()),
        ("shape", Dtype::F32, &[2, 1], eight.clone()),
    ]);
    let candidate = safetensors(&[
        ("dtype", Dtype::F64, &[1], eight.clone()),
        ("shape", Dtype::F32, &[1, 2], eight),
        ("surplus\u{1b}", Dtype::F32, &[], four),
    ]);
    Pair::of("m.safetensors", reference, candidate).says(
        Outcome::Different,
        "\
m.safetensors: 4 of 4 tensors differ
    dtype [2]: reference F32, candidate F64
    missing [1, 1]: only in the reference
    shape [2, 1]: reference [2, 1], candidate [1, 2]
    surplus\\u{1b} []: only in the candidate
different: 1 of 1 file, 4 of 4 tensors
",
    );
}

#[test]
fn every_dtype_is_compared() {
    let file = |f64: f64, i64: i64, u8: u8, bits: u8| {
        safetensors(&[
            ("bf16", Dtype::BF16, &[2], vec![0, 0, 0, bits]),
            ("f4", Dtype::F4, &[4], vec![0, bits]),
            ("f64", Dtype::F64, &[], f64.to_le_bytes().to_vec()),
            ("i64", Dtype::I64, &[1], i64.to_le_bytes().to_vec()),
            ("none", Dtype::F32, &[3, 0], vec![]),
            ("u8", Dtype::U8, &[1, 1, 2], vec![7, u8]),
        ])
    };
    Pair::of("m.safetensors", file(0.1, -1, 255, 0), file(0.2, i64::MAX, 1, 0x80)).says(
        Outcome::Different,
        "\
m.safetensors: 5 of 6 tensors differ
    bf16 [2]: 1 of 2 values differs; first at [1]: reference bits 0x0, candidate bits 0x8000; \
largest at [1]: reference bits 0x0, candidate bits 0x8000
    f4 [4]: 1 of 2 values differs; first at [1]: reference bits 0x0, candidate bits 0x80; \
largest at [1]: reference bits 0x0, candidate bits 0x80
    f64 []: 1 of 1 value differs; first at []: reference 0.1, candidate 0.2; \
largest at []: reference 0.1, candidate 0.2
    i64 [1]: 1 of 1 value differs; first at [0]: reference -1, candidate 9223372036854775807; \
largest at [0]: reference -1, candidate 9223372036854775807
    none [3, 0]: identical
    u8 [1, 1, 2]: 1 of 2 values differs; first at [0, 0, 1]: reference 255, candidate 1; \
largest at [0, 0, 1]: reference 255, candidate 1
different: 1 of 1 file, 5 of 6 tensors
",
    );
}

#[test]
fn the_same_tensors_under_another_header_are_identical() {
    let plain = with_header(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[1, 2, 3, 4]);
    let header =
        r#"{"__metadata__":{"format":"pt"}, "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  "#;
    Pair::of("m.safetensors", plain, with_header(header, &[1, 2, 3, 4])).says(
        Outcome::Identical,
        "\
m.safetensors: identical (1 tensor; same tensors, another header)
    a [1]: identical
identical: 1 file, 1 tensor, 0 differences
",
    );
}

#[test]
fn metrics_report_the_first_and_the_largest_difference_and_missing_rows() {
    let candidate = METRICS.replace(",1.5,", ",1.5000001,").replace("0.26", "0.27");
    let candidate = candidate.replace("1,375,0.39,0.19\r\n", "");
    Pair::of("metrics.csv", METRICS, candidate).says(
        Outcome::Different,
        "\
metrics.csv: 2 of 8 cells differ
    first in row 1 (epoch 0, step 49), train_loss: reference 1.5, candidate 1.5000001 (1.0000000005838672e-7 apart)
    largest in row 2 (epoch 0, step 187), valid_loss: reference 0.26, candidate 0.27 (0.010000000000000009 apart)
    from row 3 on only in the reference: 3 and 2 rows
different: 1 of 1 file, 0 of 0 tensors
",
    );
}

/// The part of the report that speaks of `metrics.csv`, whose name is left out.
fn metrics(reference: impl AsRef<[u8]>, candidate: impl AsRef<[u8]>) -> String {
    let (outcome, report) = Pair::of("metrics.csv", reference, candidate).compare("reference", "candidate");
    assert_eq!(outcome, Outcome::Different);
    let report = report.strip_suffix("different: 1 of 1 file, 0 of 0 tensors\n").unwrap();
    report.strip_prefix("metrics.csv: ").unwrap().to_owned()
}

#[test]
fn a_difference_in_form_alone_is_called_by_its_name() {
    let bom = format!("\u{feff}{METRICS}");
    let lf = METRICS.replace("\r\n", "\n");
    let with_lf_first = METRICS.replacen("\r\n", "\n", 1);
    let with_lf_last = format!("{}\n", METRICS.trim_end());
    let cases = [
        (&lf, "the line ends: reference CRLF, candidate LF"),
        (&bom, "the byte order mark, which only the candidate has"),
        (&METRICS.trim_end().to_owned(), "the end of the last line, which only the reference has"),
        (&with_lf_first, "the line ends: reference CRLF, candidate 3 CRLF and 1 LF"),
        (&METRICS.replace("1.5", "\"1.5\""), "the quotes, the blank lines or mixed line ends"),
        (
            &METRICS.replace("train", "fit"),
            "the header: column 3 is train_loss in the reference, fit_loss in the candidate",
        ),
        (
            &format!("\u{feff}{lf}"),
            "the byte order mark, which only the candidate has; in the line ends: reference CRLF, candidate LF",
        ),
    ];
    for (candidate, form) in cases {
        assert_eq!(metrics(METRICS, candidate), format!("differs only in {form}\n"));
    }
    let mixed = "differs only in the quotes, the blank lines or mixed line ends\n";
    assert_eq!(metrics(with_lf_first, with_lf_last), mixed);
}

#[test]
fn columns_are_compared_by_name_and_misnamed_ones_by_position() {
    let reference = "epoch,step,a,b\n0,1,2,3\n";
    assert_eq!(
        metrics(reference, "epoch,step,b,a\n0,1,3,2\n"),
        "differs only in the order of the columns: column 3 is a in the reference, b in the candidate\n"
    );
    assert_eq!(
        metrics(reference, "epoch,step,b\n0,1,4\n"),
        "\
1 of 3 cells differs
    first in row 1 (epoch 0, step 1), b: reference 3, candidate 4 (1.0 apart)
    largest in row 1 (epoch 0, step 1), b: reference 3, candidate 4 (1.0 apart)
    also differs in the header: 4 and 3 columns, column 3 is a in the reference, b in the candidate
"
    );
    assert_eq!(
        metrics(reference, "epoch,step,a,c\n0,1,2,5\n"),
        "\
1 of 4 cells differs
    first in row 1 (epoch 0, step 1), b: reference 3, candidate 5 (2.0 apart)
    largest in row 1 (epoch 0, step 1), b: reference 3, candidate 5 (2.0 apart)
    also differs in the header: column 4 is b in the reference, c in the candidate
"
    );
    assert_eq!(
        metrics(reference, "epoch,step,a\n0,1,2\n"),
        "differs only in the header: 4 and 3 columns, column 4 is b in the reference, nothing in the candidate\n"
    );
}

#[test]
fn cells_that_are_no_numbers_differ_without_a_distance() {
    assert_eq!(
        metrics("loss\nx\ninf\nnan\n1\n-inf\n", "loss\n\u{1b}y\nInfinity\nNaN\nnan\n5\n"),
        "\
5 of 5 cells differ
    first in row 1, loss: reference x, candidate \\u{1b}y
    largest in row 4, loss: reference 1, candidate nan (inf apart)
"
    );
    assert_eq!(
        metrics("loss,b\n1,2\n", "loss,b\n,2\n"),
        "1 of 2 cells differs\n    first in row 1, loss: reference 1, candidate (empty)\n"
    );
    let long = metrics("loss\n1\n", format!("loss\n{}\n", "9".repeat(1000)));
    let nines = "9".repeat(120);
    assert!(long.contains(&format!("reference 1, candidate {nines}… (inf apart)")), "{long}");
}

#[test]
fn metrics_with_equal_rows_and_more_of_them_differ() {
    assert_eq!(
        metrics(METRICS, format!("{METRICS}2,376,,\r\n2,377,,\r\n")),
        "no difference in the rows that both have\n    from row 4 on only in the candidate: 3 and 5 rows\n"
    );
}

#[test]
fn a_header_alone_equal_on_both_sides_is_identical_with_no_rows() {
    Pair::of("metrics.csv", "epoch,step\r\n", "epoch,step\r\n").says(
        Outcome::Identical,
        "metrics.csv: identical (0 rows)\nidentical: 1 file, 0 tensors, 0 differences\n",
    );
}

#[test]
fn texts_report_their_first_differing_line() {
    let shown = |reference: &[u8], candidate: &[u8]| {
        let (outcome, report) =
            Pair::of("stdout.txt", reference, candidate).compare("reference", "candidate");
        assert_eq!(outcome, Outcome::Different);
        let report = report.strip_suffix("different: 1 of 1 file, 0 of 0 tensors\n").unwrap();
        report.strip_prefix("stdout.txt: ").unwrap().to_owned()
    };
    assert_eq!(
        shown("├─Linear: 1-1\nb\nc\n".as_bytes(), "├─Linear: 1-1\nb\n".as_bytes()),
        "first difference in line 3\n    reference: \"c\"\n    candidate: (ends before this line)\n"
    );
    assert_eq!(
        shown("ä\n".as_bytes(), b"\xff\t\r\n"),
        "first difference in line 1\n    reference: \"ä\"\n    candidate: \"\\xff\\t\"\n    \
         also differs in the line ends: reference LF, candidate CRLF\n"
    );
    assert_eq!(
        shown(b"a\n", b"a \n"),
        "first difference in line 1\n    reference: \"a\"\n    candidate: \"a \"\n"
    );
    assert_eq!(shown(b"a\n", b"a\r\n"), "differs only in the line ends: reference LF, candidate CRLF\n");
    assert_eq!(shown(b"a\r\nb\n", b"a\nb\r\n"), "differs only in the line ends, which are mixed\n");
    assert_eq!(
        shown(b"a", b"a\n"),
        "differs only in the end of the last line, which only the candidate has\n"
    );
    // The last characters share their first two bytes.
    let long = |last: &str| format!("{}{last}", "═".repeat(100));
    let cut = |last: &str| format!("\"…{}{last}\"", "═".repeat(10));
    assert_eq!(
        shown(long("═").as_bytes(), long("║").as_bytes()),
        format!("first difference in line 1\n    reference: {}\n    candidate: {}\n", cut("═"), cut("║"))
    );
}

#[test]
fn what_cannot_be_compared_at_all_is_an_error_that_says_what_to_name() {
    let pair = Pair::new()
        .with("a.csv", METRICS)
        .with("a.safetensors", model(&[1.0]))
        .with("a.png", "")
        .with("candidate/accuracy.png", "");
    let cases = [
        ("reference", "nowhere", "cannot read DIR/nowhere: No such file or directory (os error 2)"),
        (
            "reference",
            "a.csv",
            "DIR/reference is a folder and DIR/a.csv is not: name two folders or two files",
        ),
        (
            "a.csv",
            "reference",
            "DIR/reference is a folder and DIR/a.csv is not: name two folders or two files",
        ),
        (
            "a.csv",
            "a.safetensors",
            "DIR/a.csv and DIR/a.safetensors are of two kinds: name two files of one kind",
        ),
        ("a.png", "a.png", "DIR/a.png: expected a .csv, a .safetensors or a .txt file"),
        (
            "reference",
            "candidate",
            "no metrics.csv, *.safetensors or stdout.txt in DIR/reference and DIR/candidate: \
             name two folders that `reproduce` wrote to",
        ),
    ];
    for (reference, candidate, message) in cases {
        assert_eq!(pair.compare(reference, candidate), (Outcome::Incomparable, message.to_owned()));
    }
    let pair = pair.both("1/2/3/4/5/6/7/8/9/stdout.txt", "");
    let too_deep = "DIR/reference/1/2/3/4/5/6/7/8/9 lies too deep: name the output folder itself";
    pair.says(Outcome::Incomparable, too_deep);
}

/// Says why `candidate` could not be compared with the good `reference`.
fn refused(file: &str, reference: &[u8], candidate: &[u8]) -> String {
    let (outcome, report) = Pair::of(file, reference, candidate).compare("reference", "candidate");
    assert_eq!(outcome, Outcome::Incomparable, "{report}");
    let closing = "\ncould not compare: 1 of 1 file; different: 0 of 1 file, 0 of 0 tensors\n";
    let report = report.strip_suffix(closing).unwrap();
    report.strip_prefix(&format!("{file}: could not compare: DIR/candidate/{file}")).unwrap().to_owned()
}

#[test]
fn broken_metrics_are_refused_by_name() {
    let refused = |candidate: &[u8]| refused("metrics.csv", METRICS.as_bytes(), candidate);
    assert_eq!(refused(b""), ": the file is empty, without even a header");
    assert_eq!(refused(b"\xEF\xBB\xBF\r\n"), ": the file is empty, without even a header");
    assert_eq!(
        refused(b"epoch,step\n0,49\n1\n"),
        ": CSV error: record 2 (line: 3, byte: 16): found record with 1 fields, but the previous record has 2 fields"
    );
    assert_eq!(
        refused(b"epoch,step\n0,\xff\n"),
        ": CSV parse error: record 1 (line 2, field: 1, byte: 11): invalid utf-8: invalid UTF-8 in field 1 near byte index 0"
    );
    assert_eq!(refused(&[b','; 1 << 20]), ": more than 1000 columns");
}

#[test]
fn two_empty_metrics_prove_nothing() {
    Pair::of("metrics.csv", "", "").says(
        Outcome::Incomparable,
        "\
metrics.csv: could not compare: DIR/reference/metrics.csv: the file is empty, without even a header; \
DIR/candidate/metrics.csv: the file is empty, without even a header
could not compare: 1 of 1 file; different: 0 of 1 file, 0 of 0 tensors
",
    );
}

#[test]
fn broken_safetensors_are_refused_by_name() {
    let good = model(&[1.0, 2.0]);
    let refused = |candidate: &[u8]| refused("m.safetensors", &good, candidate);
    let lying = |info: &str| with_header(&format!(r#"{{"a":{{"dtype":"F32",{info}}}}}"#), &[0; 8]);
    let invalid = ": not a valid safetensors file:";
    assert_eq!(refused(b""), format!("{invalid} header too small"));
    assert_eq!(refused(&good[..100]), format!("{invalid} invalid header length"));
    let short = refused(&good[..good.len() - 1]);
    assert_eq!(short, format!("{invalid} incomplete metadata, file not fully covered"));
    assert_eq!(
        refused(&[&u64::MAX.to_le_bytes()[..], b"{}"].concat()),
        ": its header claims 18446744073709551615 bytes, more than 1048576"
    );
    assert_eq!(
        refused(&lying(r#""shape":[2],"data_offsets":[0,4]"#)),
        format!("{invalid} a: invalid shape, data type, or offset for tensor")
    );
    assert_eq!(
        refused(&lying(r#""shape":[2],"data_offsets":[4,8]"#)),
        format!("{invalid} invalid offset for tensor `a`")
    );
    assert_eq!(
        refused(&lying(r#""shape":[999999999999,999999999999],"data_offsets":[0,8]"#)),
        format!("{invalid} a: overflow computing buffer size from shape and/or element type")
    );
    assert!(refused(&with_header(&"[".repeat(1000), &[])).starts_with(&format!("{invalid} invalid JSON")));
    assert!(refused(&with_header("\u{1}", &[])).starts_with(&format!("{invalid} invalid JSON")));
}

#[test]
fn offsets_whose_sum_overflows_are_refused_before_the_parser_adds_them() {
    // Eight tensors of 2^61 - 1 bytes each: every one is consistent, and together they end 8 bytes before 2^64.
    let size = (1u64 << 61) - 1;
    let info = |i: u64| {
        let (start, end) = (i * size, (i + 1) * size);
        format!(r#""{i}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{start},{end}]}}"#)
    };
    let header = format!("{{{}}}", (0..8).map(info).collect::<Vec<_>>().join(","));
    let message = refused("m.safetensors", &model(&[1.0]), &with_header(&header, &[]));
    assert_eq!(message, ": its header names an offset or a size beyond any file");
    // A long number inside a string is a string.
    let header = r#"{"__metadata__":{"state \" \\":"1234567890123456789012345"}}"#;
    let file = with_header(header, &[]);
    let (outcome, _) = Pair::of("m.safetensors", &file, &file).compare("reference", "candidate");
    assert_eq!(outcome, Outcome::Identical);
}

#[test]
fn a_folder_or_a_pipe_in_place_of_a_file_is_refused() {
    for file in ["metrics.csv", "m.safetensors", "stdout.txt"] {
        let pair = Pair::new()
            .with(&format!("reference/{file}"), "")
            .with(&format!("candidate/{file}/metrics.csv"), METRICS);
        let expected = format!(
            "{file}: could not compare: DIR/candidate/{file} is a folder, not a file\n\
             could not compare: 1 of 1 file; different: 0 of 1 file, 0 of 0 tensors\n"
        );
        pair.says(Outcome::Incomparable, &expected);
    }
    let pair = Pair::new().with("reference/stdout.txt", "");
    let pipe = pair.path("candidate/stdout.txt");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    pair.says(
        Outcome::Incomparable,
        "\
stdout.txt: could not compare: DIR/candidate/stdout.txt is not a regular file
could not compare: 1 of 1 file; different: 0 of 1 file, 0 of 0 tensors
",
    );
}

#[test]
fn one_broken_file_hides_no_difference_in_another() {
    Pair::of("metrics.csv", METRICS, METRICS.replace("0.39", "0.4"))
        .with("reference/m.safetensors", model(&[1.0]))
        .with("candidate/m.safetensors", "junk")
        .both("n.safetensors", model(&[1.0]))
        .says(
            Outcome::Incomparable,
            "\
m.safetensors: could not compare: DIR/candidate/m.safetensors: not a valid safetensors file: header too small
metrics.csv: 1 of 12 cells differs
    first in row 3 (epoch 1, step 375), train_loss: reference 0.39, candidate 0.4 (0.010000000000000009 apart)
    largest in row 3 (epoch 1, step 375), train_loss: reference 0.39, candidate 0.4 (0.010000000000000009 apart)
n.safetensors: identical (2 tensors)
    0.bias [1]: identical
    0.weight [2, 3]: identical
could not compare: 1 of 3 files; different: 1 of 3 files, 0 of 2 tensors
",
        );
}

#[test]
fn no_truncated_or_altered_file_passes_for_the_original_or_crashes() {
    let model = model(&[0.5, 0.25]);
    let mut random = 1u32;
    for (file, good) in [("metrics.csv", METRICS.as_bytes()), ("m.safetensors", &model)] {
        let pair = Pair::of(file, good, good);
        let (reference, candidate) = (pair.path("reference").join(file), pair.path("candidate").join(file));
        let pair_of = |bad: &[u8]| {
            // ext4 flushes a file that is overwritten, but not a new one: seconds for these thousands.
            fs::remove_file(&candidate).unwrap();
            fs::write(&candidate, bad).unwrap();
            outcome(&reference, &candidate)
        };
        for length in 0..good.len() {
            assert_ne!(pair_of(&good[..length]), Outcome::Identical, "{file} cut to {length} bytes");
        }
        for _ in 0..2000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (place, bit) = (random as usize / 8 % good.len(), 1 << (random >> 29));
            let mut bad = good.to_vec();
            bad[place] ^= bit;
            // One bit in the header's padding or letters can leave the tensors as they are, and only there.
            let header = 8 + u64::from_le_bytes(model[..8].try_into().unwrap()) as usize;
            let may_pass = file == "m.safetensors" && place < header;
            assert!(pair_of(&bad) != Outcome::Identical || may_pass, "{file}, byte {place}, bit {bit:#x}");
        }
    }
}

fn outcome(reference: &Path, candidate: &Path) -> Outcome {
    let report = compare(reference, candidate).unwrap();
    let outcome = report.outcome();
    assert_eq!(report.is_identical(), outcome == Outcome::Identical);
    assert!(!report.to_string().is_empty());
    outcome
}
