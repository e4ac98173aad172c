//! `compare` on folders and files made here: whole reports, every verdict, and files that nobody should trust.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;
use islp_mnist::compare::{Options, Tolerance, Verdict, compare};
use islp_mnist::internals::compare_contents;
use safetensors::Dtype;

use crate::common::pair::{METRICS, Pair, f32s, model, safetensors, with_header};
use crate::common::{checkout, islp_mnist, program};

#[test]
fn equal_output_folders_are_identical_whatever_their_pictures_and_checkpoints() {
    let pair = Pair::new()
        .both("MNIST/version_0/metrics.csv", METRICS)
        .both("MNIST/version_0/model.safetensors", model(&[0.5, 0.25]))
        .both("MNIST/version_1/metrics.csv", "epoch,step\r\n")
        .both("MNIST/version_1/model.safetensors", model(&[2.0]))
        .both("MNIST_MLR/version_0/model.safetensors", model(&[f32::NAN]))
        .both("stdout.txt", "2\n5\n")
        .with("reference/MNIST/version_0/checkpoints/epoch=1-step=376.ckpt", "a pickle")
        .with("candidate/MNIST/version_0/checkpoints/last.safetensors", model(&[0.5, 0.25]))
        .with("candidate/MNIST/version_0/accuracy.svg", "<svg/>");
    assert_snapshot!(pair.report(), @"
    MNIST/version_0/metrics.csv: identical (3 rows)
    MNIST/version_0/model.safetensors: identical (2 tensors)
        0.bias [2]: identical
        0.weight [2, 3]: identical
    MNIST/version_1/metrics.csv: identical (0 rows)
    MNIST/version_1/model.safetensors: identical (2 tensors)
        0.bias [1]: identical
        0.weight [2, 3]: identical
    MNIST_MLR/version_0/model.safetensors: identical (2 tensors)
        0.bias [1]: identical
        0.weight [2, 3]: identical
    stdout.txt: identical (2 lines)
    identical: 6 files, 6 tensors, 0 differences
    ");
    let checkpoints = "candidate/MNIST/version_0/checkpoints";
    let named = pair.report_on(checkpoints, checkpoints);
    assert!(named.ends_with("identical: 1 file, 2 tensors, 0 differences\n"), "{named}");
}

#[test]
fn version_folders_of_different_numbers_and_single_files_are_compared_where_they_are_named() {
    let pair = Pair::new()
        .with("reference/version_0/metrics.csv", METRICS)
        .with("candidate/version_3/metrics.csv", METRICS)
        .with("b.csv", METRICS.replace("0.39", "0.4"));
    assert_snapshot!(pair.report_on("reference/version_0", "candidate/version_3"), @"
    metrics.csv: identical (3 rows)
    could not compare: no weights were compared; identical: 1 of 1 file, 0 tensors
    ");
    assert_snapshot!(pair.report_on("reference/version_0/metrics.csv", "b.csv"), @"
    DIR/reference/version_0/metrics.csv and DIR/b.csv: 1 of 4 cells differs
        first in row 3 (epoch 1, step 375), train_loss: reference 0.39, candidate 0.4 (0.010000000000000009 apart)
        largest in row 3 (epoch 1, step 375), train_loss: reference 0.39, candidate 0.4 (0.010000000000000009 apart)
    different: 1 of 1 file, 0 of 0 tensors
    ");
}

#[test]
fn a_file_that_is_broken_or_on_one_side_only_hides_no_difference_in_another() {
    let pair = Pair::of("stdout.txt", "a\n", "b\n")
        .with("reference/MNIST/version_0/metrics.csv", METRICS)
        .with("candidate/MNIST/version_1/metrics.csv", METRICS)
        .both("m.safetensors", model(&[1.0]))
        .with("reference/metrics.csv", "")
        .with("candidate/metrics.csv", "\r\n");
    assert_snapshot!(pair.report(), @r#"
    MNIST/version_0/metrics.csv: could not compare: only in the reference
    MNIST/version_1/metrics.csv: could not compare: only in the candidate
    m.safetensors: identical (2 tensors)
        0.bias [1]: identical
        0.weight [2, 3]: identical
    metrics.csv: could not compare: DIR/reference/metrics.csv: the file is empty, without even a header; DIR/candidate/metrics.csv: the file is empty, without even a header
    stdout.txt: first difference in line 1, byte 1
        reference: "a\n"
        candidate: "b\n"
    could not compare: 3 of 5 files; different: 1 of 5 files, 0 of 2 tensors
    "#);
}

#[test]
fn tensors_report_the_first_and_the_largest_difference_with_index_values_and_distance() {
    let up = |value: f32, ulps: u32| f32::from_bits(value.to_bits() + ulps);
    let reference = model(&[0.5, 0.25, 1.0, 0.5]);
    let mut candidate = model(&[0.5, up(0.25, 1), 1.0, up(0.5, 4)]);
    let last_but_one = candidate.len() - 8..candidate.len() - 4;
    candidate[last_but_one].copy_from_slice(&(-4f32).to_le_bytes());
    assert_snapshot!(Pair::of("m.safetensors", reference, candidate).report(), @"
    m.safetensors: 2 of 2 tensors differ
        0.bias [4]: 2 of 4 values differ, by 4 ULPs at most; first at [1]: reference 0.25, candidate 0.25000003 (1 ULP); largest at [3]: reference 0.5, candidate 0.50000024 (4 ULPs)
        0.weight [2, 3]: 1 of 6 values differs; first at [1, 1]: reference 4.0, candidate -4.0 (relative difference 2.0e0)
    different: 1 of 1 file, 2 of 2 tensors
    ");
}

#[test]
fn a_distance_is_in_ulps_up_to_four_digits_and_relative_beyond() {
    let distance = |left, right| {
        let report = Pair::of("m.safetensors", model(&[left]), model(&[right])).report();
        let line = report.lines().find(|line| line.contains("0.bias")).unwrap();
        line.rsplit_once("candidate ").unwrap().1.to_owned()
    };
    assert_eq!(distance(1.0, f32::from_bits(1f32.to_bits() + 9999)), "1.001192 (9999 ULPs)");
    assert_eq!(
        distance(1.0, f32::from_bits(1f32.to_bits() + 10000)),
        "1.0011921 (relative difference 1.2e-3)"
    );
    assert_eq!(distance(-1.0, 1e-30), "1e-30 (relative difference 1.0e0)");
    assert_eq!(distance(0.0, 3.0), "3.0 (relative difference 1.0e0)");
    assert_eq!(distance(f32::MAX, f32::MIN), "-3.4028235e38 (relative difference 2.0e0)");
    assert_eq!(distance(f32::MAX, f32::INFINITY), "inf");
}

#[test]
fn bits_decide_about_zeros_and_nans() {
    let other_nan = f32::from_bits(0x7fc0_0001);
    let reference = model(&[f32::NAN, 0.0, f32::NAN, f32::NAN, 1.0]);
    let candidate = model(&[f32::NAN, -0.0, other_nan, 1.0, f32::INFINITY]);
    assert_snapshot!(Pair::of("m.safetensors", reference, candidate).report(), @"
    m.safetensors: 1 of 2 tensors differs
        0.bias [5]: 4 of 5 values differ; first at [1]: reference 0.0, candidate -0.0 (1 ULP); largest at [3]: reference NaN 0x7fc00000, candidate 1.0
        0.weight [2, 3]: identical
    different: 1 of 1 file, 1 of 2 tensors
    ");
    let report = Pair::of("m.safetensors", model(&[f32::NAN]), model(&[other_nan])).report();
    assert!(report.ends_with("different: 1 of 1 file, 1 of 2 tensors\n"), "{report}");
}

#[test]
fn surplus_tensors_other_layouts_and_bytes_of_every_dtype_are_told() {
    let (four, eight) = (vec![0; 4], vec![0; 8]);
    let reference = safetensors(&[
        ("bytes", Dtype::U8, &[2, 2], four.clone()),
        ("dtype", Dtype::F32, &[2], eight.clone()),
        ("f4", Dtype::F4, &[4], vec![0, 0]),
        ("missing", Dtype::F32, &[1, 1], four.clone()),
        ("none", Dtype::F32, &[3, 0], vec![]),
        ("shape", Dtype::F32, &[2, 1], eight.clone()),
    ]);
    let candidate = safetensors(&[
        ("bytes", Dtype::U8, &[2, 2], vec![0, 0, 0, 1]),
        ("dtype", Dtype::F64, &[1], eight.clone()),
        ("f4", Dtype::F4, &[4], vec![0, 0x80]),
        ("none", Dtype::F32, &[3, 0], vec![]),
        ("shape", Dtype::F32, &[1, 2], eight),
        ("surplus\u{1b}", Dtype::F32, &[], four),
    ]);
    assert_snapshot!(Pair::of("m.safetensors", reference, candidate).report(), @r"
    m.safetensors: 6 of 7 tensors differ
        bytes [2, 2]: 1 of 4 values differs; first at [1, 1]: reference 0, candidate 1
        dtype [2]: reference F32 [2], candidate F64 [1]
        f4 [4]: the bytes differ, first at byte 1
        missing [1, 1]: only in the reference
        none [3, 0]: identical
        shape [2, 1]: reference F32 [2, 1], candidate F32 [1, 2]
        surplus\u{1b} []: only in the candidate
    different: 1 of 1 file, 6 of 7 tensors
    ");
}

#[test]
fn the_same_tensors_under_another_header_are_identical() {
    let plain = with_header(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[1, 2, 3, 4]);
    // A long number inside a string is a string.
    let header = r#"{"__metadata__":{"state \" \\":"1234567890123456789012345"},
        "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  "#;
    assert_snapshot!(Pair::of("m.safetensors", plain, with_header(header, &[1, 2, 3, 4])).report(), @"
    m.safetensors: identical (1 tensor; same tensors, another header)
        a [1]: identical
    identical: 1 file, 1 tensor, 0 differences
    ");
}

/// The report on two files `metrics.csv`, which differ.
fn metrics(reference: impl AsRef<[u8]>, candidate: impl AsRef<[u8]>) -> String {
    let pair = Pair::of("metrics.csv", reference, candidate);
    let report = pair.report_on("reference/metrics.csv", "candidate/metrics.csv");
    report.strip_suffix("different: 1 of 1 file, 0 of 0 tensors\n").unwrap().to_owned()
}

#[test]
fn metrics_report_the_first_and_the_largest_difference_and_missing_rows() {
    let candidate = METRICS.replace(",1.5,", ",1.5000001,").replace("0.26", "0.27");
    assert_snapshot!(metrics(METRICS, candidate.replace("1,375,0.39,0.19\r\n", "")), @"
    metrics.csv: 2 of 2 cells differ
        first in row 1 (epoch 0, step 49), train_loss: reference 1.5, candidate 1.5000001 (1.0000000005838672e-7 apart)
        largest in row 2 (epoch 0, step 187), valid_loss: reference 0.26, candidate 0.27 (0.010000000000000009 apart)
        1 row only in the reference: row 3 (epoch 1, step 375)
    ");
    assert_snapshot!(metrics(METRICS, format!("{METRICS}2,376,,\r\n2,377,,\r\n")), @"
    metrics.csv: all 4 cells that both have are the same
        2 rows only in the candidate: row 4 (epoch 2, step 376) to row 5 (epoch 2, step 377)
    ");
}

#[test]
fn cells_that_are_no_numbers_differ_without_a_distance() {
    assert_snapshot!(metrics("loss\nx\ninf\nnan\n1\n-inf\n", "loss\n\u{1b}y\nInfinity\nNaN\nnan\n5\n"), @r"
    metrics.csv: 5 of 5 cells differ
        first in row 1, loss: reference x, candidate \u{1b}y
        largest in row 4, loss: reference 1, candidate nan (inf apart)
    ");
    assert_snapshot!(metrics("loss,b\n1,2\n", "loss,b\n,\"2\"\n"), @"
    metrics.csv: 1 of 2 cells differs
        first in row 1, loss: reference 1, candidate (empty)
        written differently: quotation marks
    ");
    let long = metrics("loss\n1\n", format!("loss\n{}\n", "9".repeat(1000)));
    assert!(long.contains(&format!("candidate {}… (inf apart)", "9".repeat(120))), "{long}");
}

#[test]
fn what_is_no_table_differs_where_its_lines_do() {
    assert_snapshot!(metrics(METRICS, METRICS.replace("0,187,,0.26", "0,187,0.26")), @r#"
    metrics.csv: first difference in line 3, byte 7
        reference: "0,187,,0.26\r\n"
        candidate: "0,187,0.26\r\n"
    "#);
}

#[test]
fn texts_report_their_first_differing_line() {
    // The last characters of the long lines share their first two bytes.
    let long = |last: &str| format!("{}{last}", "═".repeat(100));
    let text = |reference: &[u8], candidate: &[u8]| {
        let pair = Pair::of("stdout.txt", reference, candidate);
        let report = pair.report_on("reference/stdout.txt", "candidate/stdout.txt");
        report.strip_suffix("different: 1 of 1 file, 0 of 0 tensors\n").unwrap().to_owned()
    };
    let told = [
        text("├─Linear: 1-1\nb\nc\n".as_bytes(), "├─Linear: 1-1\nb\n".as_bytes()),
        text("ä\n".as_bytes(), b"\xff\t\r\n"),
        text(b"a\nb\n", b"a\nb \n"),
        text(long("═").as_bytes(), long("║").as_bytes()),
    ];
    assert_snapshot!(told.concat(), @r#"
    stdout.txt: first difference in line 3, byte 1
        reference: "c\n"
        candidate: (ends before this line)
    stdout.txt: first difference in line 1, byte 1
        reference: "ä\n"
        candidate: "\xff\t\r\n"
    stdout.txt: first difference in line 2, byte 2
        reference: "b\n"
        candidate: "b \n"
    stdout.txt: first difference in line 1, byte 303
        reference: "…═══════════"
        candidate: "…══════════║"
    "#);
}

#[test]
fn what_cannot_be_compared_at_all_is_an_error_that_names_the_paths() {
    let pair = Pair::new()
        .with("a.csv", METRICS)
        .with("a.safetensors", model(&[1.0]))
        .with("a.png", "")
        .with("candidate/accuracy.png", "")
        .with("deep/1/2/3/4/5/6/7/8/9/stdout.txt", "");
    let pairs = [
        ("reference", "nowhere"),
        ("reference", "a.csv"),
        ("a.csv", "reference"),
        ("a.csv", "a.safetensors"),
        ("a.png", "a.png"),
        ("reference", "candidate"),
        ("reference", "deep"),
    ];
    let errors = pairs.map(|(reference, candidate)| {
        let error = compare(&pair.path(reference), &pair.path(candidate), &Options::default()).unwrap_err();
        error.to_string().replace(pair.0.path().to_str().unwrap(), "DIR")
    });
    // What follows is the system's.
    let errors = errors.map(|error| error.split(": No such file").next().unwrap().to_string());
    assert_snapshot!(errors.join("\n"), @"
    cannot read DIR/nowhere
    DIR/reference and DIR/a.csv are different file types
    DIR/a.csv and DIR/reference are different file types
    DIR/a.csv and DIR/a.safetensors are different file types
    DIR/a.png: expected a .csv, a .safetensors, a .trace or a .txt file
    no metrics.csv, *.safetensors, *.trace or stdout.txt in DIR/reference and DIR/candidate
    DIR/deep/1/2/3/4/5/6/7/8/9 lies more than 8 folders deep
    ");
}

/// Fails unless the report on one file says, with its name, that it can't be read.
fn assert_refused(pair: &Pair, file: &str) {
    let report = pair.report();
    let start = format!("{file}: could not compare: ");
    // Metrics are of a run, and this one has no weights.
    let and = if file == "metrics.csv" { ", and no weights were compared" } else { "" };
    let end = format!("could not compare: 1 of 1 file{and}; different: 0 of 1 file, 0 of 0 tensors");
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!((lines.len(), *lines.last().unwrap()), (2, end.as_str()), "{report}");
    assert!(lines[0].starts_with(&start) && lines[0].contains(&format!("DIR/candidate/{file}")), "{report}");
}

#[test]
fn broken_safetensors_are_refused_by_name() {
    let good = model(&[1.0, 2.0]);
    let lying = |info: &str| with_header(&format!(r#"{{"a":{{"dtype":"F32",{info}}}}}"#), &[0; 8]);
    // Eight tensors of 2^61 - 1 bytes each: every one is consistent, and together they end 8 bytes before 2^64, so that
    // adding the header's length overflows.
    let size = (1u64 << 61) - 1;
    let info = |i: u64| {
        let (start, end) = (i * size, (i + 1) * size);
        format!(r#""{i}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{start},{end}]}}"#)
    };
    let overflowing = format!("{{{}}}", (0..8).map(info).collect::<Vec<_>>().join(","));
    for bad in [
        vec![],
        [&u64::MAX.to_le_bytes()[..], b"{}"].concat(),
        lying(r#""shape":[2],"data_offsets":[0,4]"#),
        lying(r#""shape":[2],"data_offsets":[4,8]"#),
        lying(r#""shape":[999999999999,999999999999],"data_offsets":[0,8]"#),
        with_header(&overflowing, &[]),
        with_header(&"[".repeat(1000), &[]),
    ] {
        assert_refused(&Pair::of("m.safetensors", &good, bad), "m.safetensors");
    }
}

#[test]
fn a_folder_a_pipe_or_too_large_a_file_in_place_of_a_file_is_refused() {
    for file in ["metrics.csv", "m.safetensors", "stdout.txt", "run.trace"] {
        let good = if file == "run.trace" { "{\"trace\":1}\n" } else { "" };
        let pair = Pair::new().with(&format!("reference/{file}"), good);
        let candidate = pair.path("candidate").join(file);
        fs::create_dir(&candidate).unwrap();
        fs::write(candidate.join("metrics.csv"), METRICS).unwrap();
        assert_refused(&pair, file);
        fs::remove_dir_all(&candidate).unwrap();
        assert!(Command::new("mkfifo").arg(&candidate).status().unwrap().success());
        assert_refused(&pair, file);
    }
    let pair = Pair::new().both("stdout.txt", "");
    // Of zeros that take no room on the disk.
    File::create(pair.path("candidate/stdout.txt")).unwrap().set_len((64 << 20) + 1).unwrap();
    assert_refused(&pair, "stdout.txt");
}

#[test]
fn the_program_prints_the_report_and_says_the_verdict_by_its_exit_code() {
    let pair = Pair::of("stdout.txt", "a\n", "b\n").both("m.safetensors", model(&[1.0])).with("a.csv", "");
    // Two empty tables prove nothing.
    for (reference, candidate, code) in
        [("reference", "reference", 0), ("reference", "candidate", 1), ("a.csv", "a.csv", 2)]
    {
        let mut command = islp_mnist();
        let output =
            command.arg("compare").args([reference, candidate]).current_dir(&pair.0).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{reference} and {candidate}");
        let report =
            compare(&pair.path(reference), &pair.path(candidate), &Options::default()).unwrap().to_string();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(stdout, report.replace(&format!("{}/", pair.0.path().display()), ""));
    }
    crate::common::assert_refused(&mut program(checkout(), "compare nowhere nowhere"), 2, &["nowhere"]);
}

#[test]
fn no_truncated_or_altered_file_passes_for_the_original_or_crashes() {
    let model = model(&[0.5, 0.25]);
    let mut random = 1u32;
    for (file, good) in [("metrics.csv", METRICS.as_bytes()), ("m.safetensors", &model)] {
        let is_identical = |bad: &[u8]| {
            let report = compare_contents(Path::new(file), good, bad).unwrap();
            report.verdict() == Verdict::Identical
        };
        for length in 0..good.len() {
            assert!(!is_identical(&good[..length]), "{file} cut to {length} bytes");
        }
        for _ in 0..2000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (place, bit) = (random as usize / 8 % good.len(), 1 << (random >> 29));
            let mut bad = good.to_vec();
            bad[place] ^= bit;
            // One bit in the header's padding or letters can leave the tensors as they are, and only there.
            let header = 8 + u64::from_le_bytes(model[..8].try_into().unwrap()) as usize;
            let may_pass = file == "m.safetensors" && place < header;
            assert!(!is_identical(&bad) || may_pass, "{file}, byte {place}, bit {bit:#x}");
        }
        assert!(is_identical(good), "{file} itself");
    }
}

/// The report with a tolerance.
fn within(pair: &Pair, atol: f64, rtol: f64) -> String {
    within_file(pair, "", atol, rtol)
}

/// The same on a file of both folders alone.
fn within_file(pair: &Pair, file: &str, atol: f64, rtol: f64) -> String {
    let options = Options { tolerance: Some(Tolerance { atol, rtol }), ..Options::default() };
    let [left, right] = ["reference", "candidate"].map(|side| pair.path(side).join(file));
    compare(&left, &right, &options).unwrap().to_string()
}

#[test]
fn with_a_tolerance_numbers_may_differ_and_the_report_says_by_how_much() {
    let pair = Pair::of("m.safetensors", model(&[0.5, 0.25, f32::NAN]), model(&[0.5, 0.2501, f32::NAN]))
        .with("reference/metrics.csv", METRICS)
        .with("candidate/metrics.csv", METRICS.replace("0.39", "0.3901"))
        .with("reference/stdout.txt", "loss: [{'test_loss': 0.39}]\n")
        .with("candidate/stdout.txt", "loss:  [{'test_loss': 0.3901}]\n");
    assert_snapshot!(within(&pair, 0.0, 1e-3), @"
    m.safetensors: close: 1 of 2 tensors differs
        0.bias [3]: close: 1 of 3 values differs, by 9.999e-5 at most, 3.333e-5 on average
        0.weight [2, 3]: identical
    metrics.csv: close: 1 of 4 cells differs, by 1.000e-4 at most
    stdout.txt: close: 1 number differs by 1.000e-4 at most
    close, not identical: 3 files, 2 tensors; 3 numbers differ, by 1.000e-4 at most and 1.000e-4 on average (atol 0.0, rtol 0.001)
    ");
    assert!(within(&pair, 1.1e-4, 0.0).ends_with("(atol 0.00011, rtol 0.0)\n"));
    assert_snapshot!(within(&pair, 1e-5, 0.0), @r#"
    m.safetensors: 1 of 2 tensors differs
        0.bias [3]: 1 of 3 values differs, by 9.999e-5 at most, 3.333e-5 on average, 1 by more than the tolerance; first at [1]: reference 0.25, candidate 0.2501 (3355 ULPs)
        0.weight [2, 3]: identical
    metrics.csv: 1 of 4 cells differs
        first in row 3 (epoch 1, step 375), train_loss: reference 0.39, candidate 0.3901 (9.999999999998899e-5 apart)
        largest in row 3 (epoch 1, step 375), train_loss: reference 0.39, candidate 0.3901 (9.999999999998899e-5 apart)
    stdout.txt: first difference in line 1, byte 7
        reference: "loss: [{'test_loss': 0.39}]\n"
        candidate: "loss:  [{'test_loss': 0.3901}]\n"
    different: 3 of 3 files, 1 of 2 tensors
    "#);
    let same = Pair::new().both("metrics.csv", METRICS).both("m.safetensors", model(&[1.0]));
    assert!(
        within(&same, 1.0, 1.0).ends_with("identical: 2 files, 2 tensors, 0 differences\n"),
        "as without one"
    );
}

#[test]
fn no_tolerance_covers_words_missing_values_or_what_is_not_finite() {
    for (reference, candidate) in
        [("loss 1", "loss x"), ("loss 1", "lost 1"), ("1 2", "1"), ("1 2", "1 2 3"), ("1%", "1")]
    {
        let told = within_file(&Pair::of("stdout.txt", reference, candidate), "stdout.txt", 1e9, 1e9);
        assert!(told.ends_with("different: 1 of 1 file, 0 of 0 tensors\n"), "{told}");
    }
    for (left, right) in [(1.0, f32::NAN), (f32::INFINITY, 1.0), (f32::INFINITY, f32::NEG_INFINITY)] {
        let told = within(&Pair::of("m.safetensors", model(&[left]), model(&[right])), 1e9, 1e9);
        assert!(told.ends_with("different: 1 of 1 file, 1 of 2 tensors\n"), "{told}");
    }
    for other in [METRICS.replace("0.39", ""), METRICS.replace("1,375", "1,374")] {
        let told = within_file(&Pair::of("metrics.csv", METRICS, other), "metrics.csv", 1e9, 1e9);
        assert!(told.ends_with("different: 1 of 1 file, 0 of 0 tensors\n"), "{told}");
    }
    let pair = Pair::of("metrics.csv", METRICS, METRICS.replace("0.39", "0.4") + "2,376,,\r\n");
    let rows = within_file(&pair, "metrics.csv", 1.0, 0.0);
    assert!(
        rows.starts_with("metrics.csv: 1 of 4 cells differs, none by more than the tolerance\n"),
        "{rows}"
    );
}

#[test]
fn white_space_alone_is_close_and_a_file_that_is_missing_hides_no_closeness() {
    let pair = Pair::of("stdout.txt", "a 1\n", "a  1\n");
    assert_snapshot!(within_file(&pair, "stdout.txt", 1.0, 0.0), @"
    stdout.txt: close: only the white space differs
    close, not identical: 1 file, 0 tensors; no number differs (atol 1.0, rtol 0.0)
    ");
    let pair = pair.with("reference/m.safetensors", model(&[0.5]));
    assert!(
        within(&pair, 1.0, 0.0).contains("\ncould not compare: 1 of 2 files; close, not identical: 2 files")
    );
}

#[test]
fn values_of_other_kinds_are_told_too() {
    let longs = |values: [i64; 2]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let doubles = |value: f64| value.to_le_bytes().to_vec();
    let reference =
        safetensors(&[("i", Dtype::I64, &[2], longs([1, -7])), ("d", Dtype::F64, &[1], doubles(0.1))]);
    let candidate = safetensors(&[
        ("i", Dtype::I64, &[2], longs([1, 5])),
        ("d", Dtype::F64, &[1], doubles(0.1 + 1e-17 + 2e-17)),
    ]);
    assert_snapshot!(Pair::of("m.safetensors", reference, candidate).report(), @"
    m.safetensors: 2 of 2 tensors differ
        d [1]: 1 of 1 value differs; first at [0]: reference 0.1, candidate 0.10000000000000003 (2 ULPs)
        i [2]: 1 of 2 values differs; first at [1]: reference -7, candidate 5
    different: 1 of 1 file, 2 of 2 tensors
    ");
}

#[test]
fn options_in_which_two_runs_differ_are_told_and_decide_nothing() {
    let run = |seed: u64, capability: &str, commit: &str| {
        format!(
            r#"{{"options":{{"model":"mlp","seed":{seed},"num_workers":4,"name":null}},"data":{{"train-labels":"0f"}},
            "environment":{{"cpu_capability":"{capability}","git_commit":"{commit}"}},"start":"{commit}"}}"#
        )
    };
    let pair = Pair::new()
        .both("MNIST/version_0/metrics.csv", METRICS)
        .both("MNIST/version_0/model.safetensors", safetensors(&[("w", Dtype::U8, &[1], vec![1])]))
        .with("reference/MNIST/version_0/run.json", run(0, "AVX512", "a"))
        .with("candidate/MNIST/version_0/run.json", run(1, "AVX2", "b"));
    assert_snapshot!(pair.report(), @"
    MNIST/version_0/metrics.csv: identical (3 rows)
    MNIST/version_0/model.safetensors: identical (1 tensor)
        w [1]: identical
    MNIST/version_0/run.json: --seed: reference 0, candidate 1
    MNIST/version_0/run.json: environment cpu_capability: reference AVX512, candidate AVX2
    identical: 2 files, 1 tensor, 0 differences
    ");
    let broken = pair.with("candidate/MNIST/version_0/run.json", "{");
    assert!(broken.report().ends_with("w [1]: identical\nidentical: 2 files, 1 tensor, 0 differences\n"));
}

#[test]
fn the_versions_of_either_side_are_no_difference_but_the_processor_is_told() {
    let run = |environment: &str| format!(r#"{{"options":{{"seed":0}},"environment":{{{environment}}}}}"#);
    let python = r#""processor":"A","tch":null,"python":"3.11.7","pytorch_lightning":"2.6.6","islp":"0.6.0""#;
    let pair = |candidate: &str| {
        Pair::new()
            .both("MNIST/version_0/metrics.csv", METRICS)
            .both("MNIST/version_0/model.safetensors", safetensors(&[("w", Dtype::U8, &[1], vec![1])]))
            .with("reference/MNIST/version_0/run.json", run(python))
            .with("candidate/MNIST/version_0/run.json", run(candidate))
            .report()
    };
    assert_snapshot!(pair(r#""processor":"A","tch":"0.26.0""#), @"
    MNIST/version_0/metrics.csv: identical (3 rows)
    MNIST/version_0/model.safetensors: identical (1 tensor)
        w [1]: identical
    identical: 2 files, 1 tensor, 0 differences
    ");
    assert_snapshot!(pair(r#""processor":"B","tch":"0.26.0""#), @"
    MNIST/version_0/metrics.csv: identical (3 rows)
    MNIST/version_0/model.safetensors: identical (1 tensor)
        w [1]: identical
    MNIST/version_0/run.json: environment processor: reference A, candidate B
    identical: 2 files, 1 tensor, 0 differences
    ");
}

#[test]
fn a_log_folder_of_lightning_is_compared_as_far_as_it_goes() {
    let pair = Pair::new()
        .both("metrics.csv", METRICS)
        .with("reference/checkpoints/epoch=1-step=376.ckpt", "PK")
        .with("reference/hparams.yaml", "{}")
        .with("candidate/model.safetensors", model(&[1.0]));
    assert_snapshot!(pair.report(), @"
    metrics.csv: identical (3 rows)
    model.safetensors: could not compare: only in the candidate; the other's weights are in checkpoints/epoch=1-step=376.ckpt, a pickle
    could not compare: 1 of 2 files; identical: 1 of 2 files, 0 tensors
    ");
    let mut command = islp_mnist();
    command.arg("compare").args([pair.path("reference"), pair.path("candidate")]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let hint = String::from_utf8(output.stderr).unwrap();
    assert!(hint.contains("scripts/parity_checkpoint.py RUN.ckpt") && hint.lines().count() == 1, "{hint}");
}

#[test]
fn weights_under_pythons_other_names_are_the_same_weights() {
    let values = || f32s(&[1.0, 2.0]);
    let ours = safetensors(&[("layer1.1.bias", Dtype::F32, &[2], values())]);
    let aliased = safetensors(&[("_forward.0.1.bias", Dtype::F32, &[2], values())]);
    let both = safetensors(&[
        ("_forward.0.1.bias", Dtype::F32, &[2], values()),
        ("layer1.1.bias", Dtype::F32, &[2], values()),
    ]);
    let other = safetensors(&[
        ("_forward.0.1.bias", Dtype::F32, &[2], f32s(&[1.0, 3.0])),
        ("layer1.1.bias", Dtype::F32, &[2], values()),
    ]);
    let code = |reference: &[u8], candidate: &[u8]| {
        let pair = Pair::of("m.safetensors", reference, candidate);
        let mut command = islp_mnist();
        command.arg("compare").args([pair.path("reference"), pair.path("candidate")]);
        command.output().unwrap().status.code()
    };
    assert_eq!(code(&ours, &aliased), Some(0));
    assert_eq!(code(&both, &ours), Some(0));
    assert_eq!(code(&aliased, &both), Some(0));
    assert_eq!(code(&ours, &other), Some(1), "two names, two tensors");
}

#[test]
fn json_has_all_that_the_text_has() {
    let candidate = METRICS.replace("0.26", "0.27");
    let pair = Pair::of("metrics.csv", METRICS, candidate)
        .both("stdout.txt", "a\n")
        .with("reference/m.safetensors", model(&[0.5, 0.25]))
        .with("candidate/m.safetensors", model(&[0.5, f32::NAN]));
    let mut command = islp_mnist();
    command.args(["compare", "--json"]).args([pair.path("reference"), pair.path("candidate")]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_snapshot!(String::from_utf8(output.stdout).unwrap(), @r#"
    {
      "verdict": "different",
      "tolerance": null,
      "options": [],
      "steps_to_keep": null,
      "without_weights": [],
      "files": [
        {
          "name": "m.safetensors",
          "verdict": "different",
          "kind": "tensors",
          "is_other_header": true,
          "tensors": [
            {
              "name": "0.bias",
              "shape": [
                2
              ],
              "difference": {
                "values": {
                  "values": 2,
                  "differing": 1,
                  "beyond_tolerance": 1,
                  "max_ulps": null,
                  "first": {
                    "index": [
                      1
                    ],
                    "reference": 0.25,
                    "candidate": null
                  },
                  "largest": {
                    "index": [
                      1
                    ],
                    "reference": 0.25,
                    "candidate": null
                  },
                  "max_abs_difference": null,
                  "mean_abs_difference": null
                }
              }
            },
            {
              "name": "0.weight",
              "shape": [
                2,
                3
              ],
              "difference": null
            }
          ]
        },
        {
          "name": "metrics.csv",
          "verdict": "different",
          "kind": "metrics",
          "rows": 3,
          "difference": {
            "cells": 4,
            "differing": 1,
            "beyond_tolerance": 1,
            "first": {
              "row": 2,
              "epoch": "0",
              "step": "187",
              "column": "valid_loss",
              "reference": "0.26",
              "candidate": "0.27",
              "apart": 0.010000000000000009
            },
            "largest": {
              "row": 2,
              "epoch": "0",
              "step": "187",
              "column": "valid_loss",
              "reference": "0.26",
              "candidate": "0.27",
              "apart": 0.010000000000000009
            },
            "rows": [
              3,
              3
            ],
            "only_columns": [
              [],
              []
            ],
            "only_rows": [
              null,
              null
            ],
            "written_otherwise": [],
            "max_abs_difference": 0.010000000000000009
          },
          "first_line": null
        },
        {
          "name": "stdout.txt",
          "verdict": "identical",
          "kind": "text",
          "lines": 1,
          "close": null,
          "first_line": null
        }
      ]
    }
    "#);
}
