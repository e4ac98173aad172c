//! What `compare` must not call identical, or close, and what it says of what it did not compare.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::pair::{METRICS, Pair, f32s, model, safetensors};
use crate::common::{Lab, checkout, islp_mnist, python, stdout_of, train};
use islp_mnist::compare::{Options, Tolerance, Verdict, compare};
use islp_mnist::notebook::weights;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

const LAST: &str = "checkpoints/last.safetensors";

/// A checkpoint of [`model`] with its states, the names of its parameters behind `wrapper`.
fn checkpoint_of(wrapper: &str, bias: f32, square_avg: f32, generator: u8) -> Vec<u8> {
    let [weight, state] = ["0.bias", "0.weight"].map(|name| format!("{wrapper}{name}")).map(|name| {
        let state = format!("optimizer.square_avg.{name}");
        (name, state)
    });
    safetensors(&[
        (&weight.0, Dtype::F32, &[1], f32s(&[bias])),
        (&state.0, Dtype::F32, &[2, 3], f32s(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])),
        ("generator.state", Dtype::U8, &[1], vec![generator]),
        (&weight.1, Dtype::F32, &[1], f32s(&[square_avg])),
        (&state.1, Dtype::F32, &[2, 3], f32s(&[0.0; 6])),
    ])
}

fn checkpoint(bias: f32, square_avg: f32, generator: u8) -> Vec<u8> {
    checkpoint_of("", bias, square_avg, generator)
}

/// What `compare` says of the two folders, and the exit code that goes with it.
fn told(pair: &Pair, options: &[&str]) -> (String, i32) {
    of(&pair.path("reference"), &pair.path("candidate"), options)
}

/// As the program does it with these options, but in this process, which is a hundred times as fast.
fn of(reference: &Path, candidate: &Path, options: &[&str]) -> (String, i32) {
    let value = |name: &str| {
        options.iter().position(|option| *option == name).map(|i| options[i + 1].parse().unwrap())
    };
    let (atol, rtol) = (value("--atol"), value("--rtol"));
    let tolerance =
        atol.or(rtol).map(|_| Tolerance { atol: atol.unwrap_or_default(), rtol: rtol.unwrap_or_default() });
    let allow_no_weights = options.contains(&"--allow-no-weights");
    let with = Options { tolerance, rename: weights::canonical_name, allow_no_weights };
    let report = compare(reference, candidate, &with).unwrap();
    let text = if options.contains(&"--json") { report.to_json() } else { report.to_string() };
    let code = match report.verdict() {
        Verdict::Identical | Verdict::Close => 0,
        Verdict::Different => 1,
        Verdict::Incomparable => 2,
    };
    (text, code)
}

/// What the program prints of the two folders, its exit code, and its hints.
fn program(pair: &Pair, options: &[&str]) -> (String, i32, String) {
    let mut command = islp_mnist();
    let output =
        command.arg("compare").args(options).args([pair.path("reference"), pair.path("candidate")]).output();
    let output = output.unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (stdout, output.status.code().unwrap(), stderr)
}

fn runs() -> Pair {
    Pair::new().both("run/metrics.csv", METRICS)
}

#[test]
fn runs_that_were_stopped_are_compared_by_their_last_checkpoints() {
    let good = checkpoint(0.5, 0.25, 1);
    for (other, code, differing) in [
        (checkpoint(0.5, 0.25, 1), 0, "0 differences"),
        (checkpoint(0.0, 0.25, 1), 1, "1 of 5 tensors"),
        (checkpoint(0.5, 0.0, 1), 1, "1 of 5 tensors"),
        (checkpoint(0.5, 0.25, 2), 1, "1 of 5 tensors"),
    ] {
        let file = |side: &str| format!("{side}/run/{LAST}");
        let (text, ended) =
            told(&runs().with(&file("reference"), &good).with(&file("candidate"), other), &[]);
        assert!(ended == code && text.trim_end().ends_with(differing), "{text}");
        let note = "    the last checkpoints are compared, because neither side has a model.safetensors\n";
        assert!(text.starts_with("run/checkpoints/last.safetensors: ") && text.contains(note), "{text}");
    }
}

#[test]
fn a_last_checkpoint_is_a_link_or_a_copy_and_one_that_cannot_be_read_is_no_proof() {
    let pair = runs()
        .with(&format!("reference/run/{LAST}"), checkpoint(0.5, 0.25, 1))
        .with("candidate/run/checkpoints/epoch=0-step=9.safetensors", checkpoint(0.5, 0.25, 1));
    let link = pair.path("candidate").join("run").join(LAST);
    symlink("epoch=0-step=9.safetensors", &link).unwrap();
    assert_eq!(told(&pair, &[]).1, 0);
    fs::remove_file(pair.path("candidate/run/checkpoints/epoch=0-step=9.safetensors")).unwrap();
    assert_eq!(told(&pair, &[]).1, 2, "the link leads nowhere");
    fs::remove_file(&link).unwrap();
    let (text, code) = told(&pair, &[]);
    assert!(
        code == 2 && text.contains("last.safetensors: could not compare: only in the reference"),
        "{text}"
    );
}

#[test]
fn weights_alone_are_compared_with_those_in_a_checkpoint() {
    let weights = model(&[0.5]);
    for (bias, code) in [(0.5, 0), (0.25, 1)] {
        let pair = runs()
            .with("reference/run/model.safetensors", &weights)
            .with(&format!("candidate/run/{LAST}"), checkpoint(bias, 0.25, 1));
        let (text, ended) = told(&pair, &[]);
        assert_eq!(ended, code, "{text}");
        let name = "run/model.safetensors and run/checkpoints/last.safetensors: ";
        let note = "only the weights in these are compared, because the candidate has no model.safetensors";
        assert!(text.contains(name) && text.contains(note), "{text}");
        assert!(!text.contains("optimizer.") && !text.contains("could not compare"), "{text}");
    }
}

#[test]
fn a_checkpoint_that_is_newer_than_the_weights_beside_it_counts() {
    // A run that came to its end, was resumed, and then stopped.
    let went_on = |last: Vec<u8>| {
        let file = |side: &str| format!("{side}/run/{LAST}");
        let pair = runs().both("run/model.safetensors", model(&[0.5]));
        pair.with(&file("reference"), checkpoint(1.5, 0.25, 1)).with(&file("candidate"), last)
    };
    let (text, code) = told(&went_on(checkpoint(1.5, 0.25, 1)), &[]);
    assert!(code == 0 && text.contains("was resumed after it wrote its model.safetensors"), "{text}");
    assert_eq!(told(&went_on(checkpoint(2.5, 0.25, 1)), &[]).1, 1);
    assert_eq!(told(&went_on(checkpoint(0.5, 0.25, 1)), &[]).1, 1, "only one of them went on");
    assert_eq!(told(&went_on(b"damaged".to_vec()), &[]).1, 2);
}

#[test]
fn without_weights_nothing_is_proved_unless_that_is_asked_for() {
    let with_weights = || {
        let pair = Pair::new().both("MNIST/version_0/metrics.csv", METRICS);
        pair.both("MNIST/version_0/model.safetensors", model(&[0.5])).both("stdout.txt", "2\n")
    };
    let no_tensor = safetensors(&[]);
    let no_value = safetensors(&[("w", Dtype::F32, &[0, 3], vec![])]);
    for (pair, words) in [
        (runs(), "no weights were compared in run; identical: 1 of 1 file, 0 tensors\n"),
        (
            Pair::new().both("metrics.csv", METRICS),
            "no weights were compared; identical: 1 of 1 file, 0 tensors\n",
        ),
        (
            Pair::new().both("stdout.txt", "2\n"),
            "no weights were compared; identical: 1 of 1 file, 0 tensors\n",
        ),
        (runs().both("run/model.safetensors", no_tensor), "no weights were compared in run; "),
        (runs().both("run/model.safetensors", no_value), "no weights were compared in run; "),
        (
            with_weights().both("MNIST/version_1/metrics.csv", METRICS),
            "no weights were compared in MNIST/version_1; identical: 4 of 4 files, 2 tensors\n",
        ),
    ] {
        let (text, code) = told(&pair, &[]);
        let words = format!("\ncould not compare: {words}");
        assert!(code == 2 && text.contains(&words), "{text}");
        let (text, code) = told(&pair, &["--allow-no-weights"]);
        assert!(code == 0 && text.contains("0 differences; no weights were compared"), "{text}");
        let json: Value = serde_json::from_str(&told(&pair, &["--json"]).0).unwrap();
        assert_eq!(
            (&json["verdict"], json["without_weights"].as_array().unwrap().len()),
            (&"incomparable".into(), 1)
        );
    }
    assert_eq!(told(&with_weights(), &[]).1, 0);
    let different = runs().with("candidate/run/metrics.csv", METRICS.replace("0.39", "0.4"));
    let (text, code) = told(&different, &["--allow-no-weights"]);
    assert!(
        code == 1
            && text.ends_with("different: 1 of 1 file, 0 of 0 tensors; no weights were compared in run\n")
    );
    // Two files are just what was asked for.
    let files = runs();
    let [a, b] = ["reference", "candidate"].map(|side| files.path(side).join("run/metrics.csv"));
    assert_eq!(of(&a, &b, &[]).1, 0);
}

#[test]
fn the_program_ends_as_the_verdict_says_and_hints_at_what_helps() {
    let (text, code, hint) = program(&runs(), &[]);
    assert!(code == 2 && text.contains("no weights were compared in run"), "{text}");
    assert!(hint.contains("--allow-no-weights") && hint.lines().count() == 1, "{hint}");
    let (text, code, hint) = program(&runs(), &["--allow-no-weights"]);
    assert!(code == 0 && text.contains("no weights were compared in run") && hint.is_empty(), "{text}{hint}");
    let lightning = runs().both("run/checkpoints/epoch=1-step=376.ckpt", "PK");
    let (_, code, hint) = program(&lightning, &[]);
    assert!(
        code == 2 && hint.contains("scripts/parity_checkpoint.py RUN.ckpt"),
        "both sides' weights are pickles"
    );
}

#[test]
fn a_trace_in_the_runs_folder_holds_its_weights_by_their_hashes() {
    let line =
        r#"{"fit":0,"model":"M","epoch":0,"step":0,"before":[],"quantities":[{"name":"w","kind":"float32",
        "shape":[1],"xxh3":"0","min":0,"max":0,"mean":0}],"sketch":""}"#
            .replace('\n', " ");
    let trace = |lines: &str| format!("{{\"trace\":1}}\n{lines}");
    let (text, code) = told(&runs().both("run/a.trace", trace(&format!("{line}\n"))), &[]);
    assert!(
        code == 0 && text.ends_with("identical: 2 files, 0 tensors, 1 step traced, 0 differences\n"),
        "{text}"
    );
    assert_eq!(told(&runs().both("run/a.trace", trace("")), &[]).1, 2, "no step");
    let beside = runs().both("other/a.trace", trace(&format!("{line}\n")));
    assert_eq!(told(&beside, &[]).1, 2, "a trace of another run");
    let other = runs().with("reference/run/a.trace", trace(&format!("{line}\n"))).with(
        "candidate/run/a.trace",
        trace(&format!("{}\n", line.replace("\"xxh3\":\"0\"", "\"xxh3\":\"1\""))),
    );
    let (text, code) = told(&other, &["--atol", "9"]);
    assert!(code == 1 && text.contains("\nthe tolerance does not apply to traces"), "{text}");
}

/// A training whose process was killed after its first epoch, by its folder.
fn killed_run(lab: &Lab) -> String {
    let mut child =
        train(lab.path(), &["--model", "mlr", "--epochs", "1000000", "--device", "cpu"]).spawn().unwrap();
    let run = "output/MNIST_MLR/version_0".to_owned();
    let start = Instant::now();
    while !lab.path().join(&run).join(LAST).exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "no checkpoint");
        sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    run
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// Writes a file again with other tensors, the same metadata.
fn rewrite(file: &Path, change: impl Fn(&str, &mut Vec<u8>)) {
    let bytes = fs::read(file).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, view)| {
            let mut data = view.data().to_vec();
            change(name, &mut data);
            (name.to_owned(), view.dtype(), view.shape().to_vec(), data)
        })
        .collect();
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    let bytes = safetensors::serialize(views, metadata.metadata().clone()).unwrap();
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_real_run_that_was_killed_differs_from_its_copy_with_other_weights() {
    let lab = Lab::new();
    let run = lab.path().join(killed_run(&lab));
    let other = lab.path().join("other");
    copy(&run, &other);
    let (text, code) = of(&run, &other, &[]);
    assert!(code == 0 && text.contains("the last checkpoints are compared"), "{text}");
    rewrite(&other.join(LAST).canonicalize().unwrap(), |name, data| {
        if !name.starts_with("optimizer.") && !name.starts_with("generator.") {
            data.fill(0);
        }
    });
    let (text, code) = of(&run, &other, &[]);
    assert!(code == 1 && text.contains("\ndifferent: 1 of 2 files, 2 of 5 tensors"), "{text}");
    fs::remove_dir_all(other.join("checkpoints")).unwrap();
    assert_eq!(of(&run, &other, &[]).1, 2);
}

#[test]
#[ignore = "needs the Python reference"]
fn the_circle_of_the_docs_differs_from_its_copy_with_other_weights() {
    let page = fs::read_to_string(checkout().join("docs/parity.md")).unwrap();
    let recipe = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(recipe.contains("class Circle"));
    let folder = tempfile::tempdir().unwrap();
    let scripts = checkout().join("scripts");
    fs::write(folder.path().join("circle.py"), recipe.replace("\"scripts\"", &format!("{scripts:?}")))
        .unwrap();
    let circle = folder.path().join("circle.py");
    stdout_of(python(circle.to_str().unwrap()).args(["out", "2"]).current_dir(&folder));
    let (run, other) = (folder.path().join("out"), folder.path().join("other"));
    copy(&run, &other);
    assert_eq!(of(&run, &other, &[]).1, 0);
    rewrite(&other.join(LAST).canonicalize().unwrap(), |name, data| {
        if name.starts_with("net.") {
            data.fill(0);
        }
    });
    let (text, code) = of(&run, &other, &[]);
    assert!(code == 1 && text.contains("\ndifferent: 1 of 2 files, 4 of 9 tensors"), "{text}");
}

/// What is said of two files `metrics.csv`, and the exit code.
fn tables(candidate: impl AsRef<[u8]>, options: &[&str]) -> (String, i32) {
    let pair = Pair::new().with("reference.csv", METRICS).with("candidate.csv", candidate);
    let (text, code) = of(&pair.path("reference.csv"), &pair.path("candidate.csv"), options);
    (text.split_once(".csv: ").unwrap().1.replace(&format!("{}/", pair.0.path().display()), ""), code)
}

#[test]
fn metrics_written_in_another_way_differ_by_that_alone_and_are_close() {
    let same = "all 4 cells that both have are the same\n    written differently: ";
    for (candidate, what) in [
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
            "epoch,step,train_loss,valid_loss\r\n1,375,0.39,0.19\r\n0,49,1.5,\r\n0,187,,0.26\r\n".to_owned(),
            "the rows are in another order",
        ),
    ] {
        let (text, code) = tables(&candidate, &[]);
        assert!(code == 1 && text.starts_with(&format!("{same}{what}")), "{text}");
        let (text, code) = tables(&candidate, &["--atol", "0"]);
        assert!(code == 0 && text.starts_with(&format!("close: {same}{what}")), "{text}");
        assert!(text.contains("; no number differs (atol 0.0"), "{text}");
        // It hides no cell.
        let other = candidate.replace("0.26", "0.27");
        let (text, code) = tables(&other, &[]);
        assert!(code == 1 && text.starts_with("1 of 4 cells differs\n    first in row "), "{text}");
        assert!(
            text.contains("(epoch 0, step 187), valid_loss: reference 0.26, candidate 0.27 (0.01"),
            "{text}"
        );
        assert_eq!(tables(&other, &["--atol", "0.1"]).1, 0);
        assert_eq!(tables(&other, &["--atol", "0.001"]).1, 1);
    }
}

#[test]
fn columns_of_one_side_are_named_and_the_others_decide() {
    // As `reproduce` has them, beside `train`.
    let tested = "epoch,step,test_accuracy,test_loss,train_loss,valid_loss\r\n\
        0,49,,,1.5,\r\n0,187,,,,0.26\r\n1,375,,,0.39,0.19\r\n2,376,0.9,0.3,,\r\n";
    let (text, code) = tables(tested, &[]);
    let named = "all 4 cells that both have are the same\n    columns only in the candidate: test_accuracy, test_loss\n";
    assert!(code == 1 && text.starts_with(named), "{text}");
    let (text, code) = tables(tested, &["--rtol", "0"]);
    assert!(code == 0 && text.starts_with(&format!("close: {named}")), "{text}");
    assert_eq!(tables(tested.replace("0.39", "0.4"), &["--atol", "1e-3"]).1, 1);
    // Another name of a column is two columns; without any cell in common nothing is close.
    let (text, code) = tables(METRICS.replace("valid_loss", "val_loss"), &["--atol", "1"]);
    assert!(text.contains(
        "\n    column only in the reference: valid_loss\n    column only in the candidate: val_loss\n"
    ));
    assert_eq!(code, 0);
    let (text, code) = tables(METRICS.replace("train_", "a_").replace("valid_", "b_"), &["--atol", "1"]);
    assert!(code == 1 && text.starts_with("there is no cell that both have\n"), "{text}");
}

#[test]
fn rows_of_one_side_are_named_by_epoch_and_step_which_no_tolerance_covers() {
    let (text, code) = tables(METRICS.replace("1,375", "1,374"), &["--atol", "9"]);
    let only = |side: &str, step| format!("\n    1 row only in the {side}: row 3 (epoch 1, step {step})");
    assert!(code == 1 && text.contains(&(only("reference", 375) + &only("candidate", 374))), "{text}");
    let (text, code) = tables(format!("{METRICS}2,376,1,\r\n2,377,,\r\n"), &["--atol", "9"]);
    let rows = "\n    2 rows only in the candidate: row 4 (epoch 2, step 376) to row 5 (epoch 2, step 377)";
    assert!(code == 1 && text.contains(rows), "{text}");
    // A row that is missing in the middle shifts no others.
    let (text, _) = tables(METRICS.replace("0,187,,0.26\r\n", ""), &[]);
    assert!(
        text.starts_with("all 3 cells that both have are the same\n    1 row only in the reference: row 2"),
        "{text}"
    );
    let json: Value = serde_json::from_str(&{
        let pair =
            Pair::of("metrics.csv", METRICS, METRICS.replace("0,187,,0.26\r\n", "").replace("train", "a"));
        told(&pair, &["--json"]).0
    })
    .unwrap();
    let difference = &json["files"][0]["difference"];
    assert_eq!(difference["only_rows"][0]["first"]["step"], "187");
    assert_eq!(difference["only_columns"], serde_json::json!([["train_loss"], ["a_loss"]]));
}

#[test]
fn tables_without_epoch_and_step_are_compared_row_by_row() {
    let pair = |a: &str, b: &str| Pair::new().with("reference.csv", a).with("candidate.csv", b);
    let of =
        |pair: Pair, options: &[&str]| of(&pair.path("reference.csv"), &pair.path("candidate.csv"), options);
    assert_eq!(of(pair("a,b\n1,2\n3,4\n", "b,a\n2,1\n4,3\n"), &["--atol", "0"]).1, 0);
    let (text, code) = of(pair("a,b\n1,2\n3,4\n", "a,b\n1,2\n3,5\n5,6\n"), &[]);
    assert!(code == 1 && text.contains("first in row 2, b: reference 4, candidate 5 (1.0 apart)"), "{text}");
    assert!(text.contains("1 row only in the candidate: row 3\n"), "{text}");
    assert_eq!(of(pair("step,b\n1,2\n", "step,b\n2,2\n"), &["--atol", "9"]).1, 1, "a step is no measurement");
    assert_eq!(of(pair("a,a\n1,2\n", "a,a\n1,3\n"), &[]).1, 1, "the second column of one name");
}

fn bf16s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| ((value.to_bits() >> 16) as u16).to_le_bytes()).collect()
}

/// What is said of two tensors of one kind, and the exit code.
fn tensors(dtype: Dtype, reference: Vec<u8>, candidate: Vec<u8>, options: &[&str]) -> (String, i32) {
    let length = reference.len() * 8 / dtype.bitsize();
    let file = |data| safetensors(&[("x", dtype, &[length], data)]);
    told(&Pair::of("m.safetensors", file(reference), file(candidate)), options)
}

#[test]
fn numbers_of_16_bits_have_ulps_and_a_tolerance() {
    let f16s = |bits: [u16; 2]| bits.map(u16::to_le_bytes).concat();
    for (dtype, reference, candidate, first) in [
        (
            Dtype::BF16,
            bf16s(&[1.0, 2.0]),
            bf16s(&[1.0, 2.03125]),
            "reference 2.0, candidate 2.03125 (2 ULPs)",
        ),
        (
            Dtype::F16,
            f16s([0x3c00, 0x4000]),
            f16s([0x3c00, 0x4003]),
            "reference 2.0, candidate 2.0058594 (3 ULPs)",
        ),
        (Dtype::F16, f16s([0x3c00, 0x8000]), f16s([0x3c00, 0x0000]), "reference -0.0, candidate 0.0 (1 ULP)"),
    ] {
        let (text, code) = tensors(dtype, reference.clone(), candidate.clone(), &[]);
        assert!(code == 1 && text.contains(&format!("first at [1]: {first}")), "{text}");
        assert_eq!(tensors(dtype, reference.clone(), candidate.clone(), &["--atol", "0.1"]).1, 0);
        assert_eq!(tensors(dtype, reference.clone(), bf16s(&[9.0, 9.0]), &["--atol", "0.1"]).1, 1);
    }
    let nan = tensors(Dtype::F16, f16s([0x7e00, 0]), f16s([0x7e01, 0]), &[]);
    assert!(nan.0.contains("reference NaN 0x7e00, candidate NaN 0x7e01"), "{}", nan.0);
    let (text, code) = tensors(Dtype::F8_E4M3, vec![1, 2], vec![1, 3], &["--atol", "9"]);
    assert!(
        code == 1 && text.contains("the tolerance does not apply: values of F8_E4M3 are not read as numbers"),
        "{text}"
    );
}

#[test]
fn whole_numbers_are_compared_exactly() {
    let large = 1i64 << 53;
    let bytes = |value: i64| value.to_le_bytes().to_vec();
    let (text, code) = tensors(Dtype::I64, bytes(large), bytes(large + 1), &["--atol", "0.5"]);
    assert!(code == 1 && text.contains("by 1.000e0 at most"), "{text}");
    let (text, code) = tensors(Dtype::I64, bytes(large), bytes(large + 1), &["--atol", "1"]);
    assert!(code == 0 && text.contains("; 1 number differs, by 1.000e0 at most"), "{text}");
    let (text, _) =
        tensors(Dtype::U64, u64::MAX.to_le_bytes().to_vec(), 0u64.to_le_bytes().to_vec(), &["--json"]);
    assert!(text.contains("\"reference\": 18446744073709551615,"), "{text}");
    for (dtype, size) in [(Dtype::I8, 1), (Dtype::I16, 2), (Dtype::I32, 4), (Dtype::I64, 8)] {
        let (text, _) = tensors(dtype, vec![0xff; size], vec![0; size], &["--atol", "1"]);
        assert!(
            text.contains("close, not identical") && text.contains("by 1.000e0 at most"),
            "{dtype}: {text}"
        );
    }
    for (dtype, size) in [(Dtype::BOOL, 1), (Dtype::U8, 1), (Dtype::U16, 2), (Dtype::U32, 4), (Dtype::U64, 8)]
    {
        let one: Vec<u8> = (0..size).map(|byte| u8::from(byte == 0)).collect();
        let (text, _) = tensors(dtype, one, vec![0; size], &["--atol", "1"]);
        assert!(
            text.contains("close, not identical") && text.contains("by 1.000e0 at most"),
            "{dtype}: {text}"
        );
    }
    // In texts and tables too.
    for (file, before) in [("stdout.txt", "loss: "), ("metrics.csv", "loss\n")] {
        let text = |number: i64| format!("{before}{number}\n");
        let pair = Pair::of(file, text(large), text(large + 1));
        let of = |atol| {
            of(&pair.path("reference").join(file), &pair.path("candidate").join(file), &["--atol", atol])
        };
        assert_eq!((of("0.5").1, of("1").1), (1, 0), "{file}");
    }
}

#[test]
fn what_wraps_a_model_does_not_count_in_weights_and_checkpoints() {
    let plain = checkpoint(0.5, 0.25, 1);
    for wrapper in ["_orig_mod.", "module.", "model.", "model._orig_mod.", "module._orig_mod."] {
        let of = |bias, square_avg| {
            let candidate = checkpoint_of(wrapper, bias, square_avg, 1);
            let file = |side: &str| format!("{side}/run/{LAST}");
            told(&runs().with(&file("reference"), &plain).with(&file("candidate"), candidate), &[]).1
        };
        assert_eq!((of(0.5, 0.25), of(0.75, 0.25), of(0.5, 0.75)), (0, 1, 1), "{wrapper}");
    }
    let file = |names: [&str; 2]| {
        let [a, b] = names;
        safetensors(&[(a, Dtype::F32, &[1], f32s(&[1.0])), (b, Dtype::F32, &[1], f32s(&[2.0]))])
    };
    let code = |left, right| told(&Pair::of("m.safetensors", file(left), file(right)), &[]).1;
    assert_eq!(code(["a", "b"], ["module.a", "module.b"]), 0);
    assert_eq!(code(["model.a", "model.b"], ["module.a", "module.b"]), 0);
    assert_eq!(code(["a", "b"], ["module.a", "b"]), 1, "not before every name");
    assert_eq!(code(["a", "module.a"], ["a", "module.a"]), 0, "both stay");
    // A state of the optimizer's under two names that become one.
    let states = ["module.a", "optimizer.square_avg.module.a", "module.optimizer.square_avg.a"];
    let tensors = states.map(|name| (name, Dtype::F32, &[1][..], f32s(&[1.0])));
    let (text, code) = told(&Pair::new().both("m.safetensors", safetensors(&tensors)), &[]);
    assert!(code == 2 && text.contains(states[1]) && text.contains(states[2]), "{text}");
}

#[test]
fn test_and_predict_take_wrapped_weights() {
    let lab = Lab::new();
    let run = lab.train("--model mlp --epochs 1 --device cpu");
    let test = |checkpoint: &str| {
        lab.program(&format!("test --json --device cpu --checkpoint {checkpoint}")).assert()
    };
    let plain = test(&format!("{run}/model.safetensors")).success().get_output().stdout.clone();
    let bytes = lab.read(&run, "model.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let write = |rename: &dyn Fn(&str) -> String| {
        let renamed = tensors.iter().map(|(name, view)| (rename(name), view));
        fs::write(lab.path().join("w.safetensors"), safetensors::serialize(renamed, None).unwrap()).unwrap();
    };
    for wrapper in ["_orig_mod.", "module.", "model._orig_mod."] {
        write(&|name| format!("{wrapper}{name}"));
        assert_eq!(test("w.safetensors").success().get_output().stdout, plain, "{wrapper}");
        lab.program("predict --device cpu --checkpoint w.safetensors --index 0").assert().success();
    }
    // With Python's other names for two of the layers.
    write(&|name| {
        format!("module.{}", name.replace("layer1.", "_forward.0.").replace("layer2.", "_forward.1."))
    });
    assert_eq!(test("w.safetensors").success().get_output().stdout, plain);
    write(&|name| if name.starts_with("layer1.") { format!("module.{name}") } else { name.to_owned() });
    test("w.safetensors").failure();
}

#[test]
#[ignore = "slow"]
fn train_and_reproduce_of_one_seed_differ_for_a_reason_that_is_said() {
    let lab = Lab::new();
    lab.program("reproduce --epochs 1 --device cpu --threads 1").assert().success();
    let run = lab.train("--epochs 1 --device cpu --threads 1");
    let (reproduced, trained) = (lab.path().join("output/MNIST/version_0"), lab.path().join(&run));
    for (reference, candidate, sides) in [
        (&reproduced, &trained, "command: reference reproduce, candidate train; "),
        (&trained, &reproduced, "command: reference train, candidate reproduce; "),
    ] {
        let (text, code) = of(reference, candidate, &[]);
        assert_eq!(code, 1);
        let reasons: Vec<_> = text.lines().filter(|line| line.starts_with("run.json: ")).collect();
        assert_eq!(reasons.len(), 1, "{text}");
        assert!(reasons[0].contains(sides) && reasons[0].contains("two batches"), "{text}");
        assert!(!text.contains("--model") && !text.contains("--checkpoint-every"), "{text}");
        assert!(
            text.contains("test_accuracy, test_loss"),
            "cells were compared, beside the columns of one: {text}"
        );
    }
    let json: Value = serde_json::from_str(&of(&trained, &reproduced, &["--json"]).0).unwrap();
    assert_eq!(
        (&json["options"][0]["section"], &json["options"][0]["reference"]),
        (&"command".into(), &"train".into())
    );
    // What else is otherwise is told behind it.
    let other = lab.train("--epochs 1 --device cpu --threads 1 --seed 1");
    let (text, _) = of(&reproduced, &lab.path().join(other), &[]);
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part}: {text}"));
    assert!(at("run.json: command: ") < at("run.json: --seed: "), "{text}");
    let help = String::from_utf8(lab.program("train --help").assert().get_output().stdout.clone()).unwrap();
    assert!(help.contains("differ from the first weight on"), "{help}");
}
