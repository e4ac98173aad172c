//! What programs print, and tolerances on everything that has numbers.

use insta::assert_snapshot;

use super::{METRICS, Pair, model};

#[test]
fn the_first_line_that_differs_is_reported() {
    // The last characters of the long lines share their first two bytes.
    let long = |last: &str| format!("{}{last}", "═".repeat(100));
    let text = |reference: &[u8], candidate: &[u8]| {
        let (report, _) = Pair::of("stdout.txt", reference, candidate).compare_file("stdout.txt", "");
        report.strip_suffix("different: 1 of 1 file, 0 of 0 tensors\n").unwrap().to_owned()
    };
    let reports = [
        text("├─Linear: 1-1\nb\nc\n".as_bytes(), "├─Linear: 1-1\nb\n".as_bytes()),
        text("ä\n".as_bytes(), b"\xff\t\r\n"),
        text(b"a\nb\n", b"a\nb \n"),
        text(long("═").as_bytes(), long("║").as_bytes()),
    ];
    assert_snapshot!(reports.concat(), @r#"
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
fn with_a_tolerance_numbers_may_differ_and_the_report_says_by_how_much() {
    let pair = Pair::of("m.safetensors", model(&[0.5, 0.25, f32::NAN]), model(&[0.5, 0.2501, f32::NAN]))
        .sides("metrics.csv", METRICS, METRICS.replace("0.39", "0.3901"))
        .sides("stdout.txt", "loss: [{'test_loss': 0.39}]\n", "loss:  [{'test_loss': 0.3901}]\n");
    assert_snapshot!(pair.compare("--rtol 1e-3").0, @"
    m.safetensors: close: 1 of 2 tensors differs
        0.bias [3]: close: 1 of 3 values differs, by 9.999e-5 at most, 3.333e-5 on average
        0.weight [2, 3]: identical
    metrics.csv: close: 1 of 4 cells differs, by 1.000e-4 at most
    stdout.txt: close: 1 number differs by 1.000e-4 at most
    close, not identical: 3 files, 2 tensors; 3 numbers differ, by 1.000e-4 at most and 1.000e-4 on average (atol 0.0, rtol 0.001)
    ");
    assert!(pair.compare("--atol 1.1e-4").0.ends_with("(atol 0.00011, rtol 0.0)\n"));
    assert_snapshot!(pair.compare("--atol 1e-5").0, @r#"
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
    let (text, _) = same.compare("--atol 1 --rtol 1");
    assert!(text.ends_with("identical: 2 files, 2 tensors, 0 differences\n"), "as without one: {text}");
}

#[test]
fn no_tolerance_covers_words_missing_values_or_values_that_are_not_finite() {
    let is_different = |file: &str, reference: &[u8], candidate: &[u8], tensors: &str| {
        let (text, _) = Pair::of(file, reference, candidate).compare_file(file, "--atol 1e9 --rtol 1e9");
        assert!(text.ends_with(&format!("different: 1 of 1 file, {tensors} tensors\n")), "{text}");
    };
    for (reference, candidate) in
        [("loss 1", "loss x"), ("loss 1", "lost 1"), ("1 2", "1"), ("1 2", "1 2 3"), ("1%", "1")]
    {
        is_different("stdout.txt", reference.as_bytes(), candidate.as_bytes(), "0 of 0");
    }
    for (left, right) in [(1.0, f32::NAN), (f32::INFINITY, 1.0), (f32::INFINITY, f32::NEG_INFINITY)] {
        is_different("m.safetensors", &model(&[left]), &model(&[right]), "1 of 2");
    }
    is_different("metrics.csv", METRICS.as_bytes(), METRICS.replace("0.39", "").as_bytes(), "0 of 0");
}

#[test]
fn white_space_alone_is_close_and_a_file_that_is_missing_hides_no_closeness() {
    let pair = Pair::of("stdout.txt", "a 1\n", "a  1\n");
    assert_snapshot!(pair.compare_file("stdout.txt", "--atol 1").0, @"
    stdout.txt: close: only the white space differs
    close, not identical: 1 file, 0 tensors; no number differs (atol 1.0, rtol 0.0)
    ");
    let (text, _) = pair.with("reference/m.safetensors", model(&[0.5])).compare("--atol 1");
    assert!(text.contains("\ncould not compare: 1 of 2 files; close, not identical: 2 files"), "{text}");
}
