//! Arguments and output of every command; `test`, `summary` and `completions`.
//! src/cli/options.rs tests which values an option takes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::pipe;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use crate::common::processes::{with_file_size_limit, wrapped};
use crate::common::{
    Lab, assert_refused, checkout, command, data_dir, names, output, program, stdout_of, words,
};
use assert_cmd::prelude::*;
use predicates::prelude::*;
use predicates::str::{contains, is_match};
use serde_json::{Map, Value};

/// `test` on the real test images.
fn test_of(checkpoint: &str) -> assert_cmd::Command {
    let mut command = program(checkout(), &format!("test --device cpu --checkpoint {checkpoint}"));
    command.env("COLUMNS", "60").arg("--data-dir").arg(data_dir());
    command
}

fn stdout(arguments: &str) -> String {
    output(&mut program(checkout(), arguments)).0
}

#[test]
fn the_reference_run_has_the_accuracies_of_the_notebook_also_by_digit() {
    for name in ["MNIST", "MNIST_MLR"] {
        let text = output(&mut test_of(&format!("output/{name}/version_0/model.safetensors"))).0;
        let golden = fs::read_to_string(checkout().join(format!("tests/golden/test_{name}.txt"))).unwrap();
        // The loss's last digits depend on the processor; the answers do not.
        let without_loss = |text: &str| -> Vec<String> {
            text.lines().filter(|line| !line.contains("loss")).map(String::from).collect()
        };
        assert_eq!(without_loss(&text), without_loss(&golden));
    }
}

#[test]
fn the_json_of_test_has_the_fields_that_the_help_names_and_the_numbers_of_the_text() {
    let text = fs::read_to_string(checkout().join("tests/golden/test_MNIST_MLR.txt")).unwrap();
    let json = output(test_of("output/MNIST_MLR/version_0").arg("--json")).0;
    let json: Map<String, Value> = serde_json::from_str(&json).unwrap();
    let help = stdout("test --help");
    let (_, fields) =
        help.split_once("With --json, the object's fields are\n").expect("the help names the fields");
    let fields = fields.split("\n\n").next().unwrap().lines();
    let fields: BTreeSet<_> = fields.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(json.keys().map(String::as_str).collect::<BTreeSet<_>>(), fields);

    assert_eq!(json["model"], "MNIST_MLR");
    assert!((json["test_loss"].as_f64().unwrap() - 0.3437).abs() < 1e-4);
    assert!(text.contains(&format!("'test_accuracy': {}}}]", json["test_accuracy"])), "{text}");
    let matrix: Vec<Vec<u32>> = serde_json::from_value(json["confusion_matrix"].clone()).unwrap();
    let accuracies: Vec<f64> = serde_json::from_value(json["accuracy_by_digit"].clone()).unwrap();
    // A line for each digit: images, accuracy, and the model's answers.
    for (digit, (row, accuracy)) in matrix.iter().zip(accuracies).enumerate() {
        let all: u32 = row.iter().sum();
        assert_eq!(accuracy, f64::from(row[digit]) / f64::from(all));
        let numbers = row.iter().map(u32::to_string).collect::<Vec<_>>().join(r"\s+");
        let line = format!(r"(?m)^{digit}\s+{all}\s+{accuracy:.4}\s+{numbers}$");
        assert!(is_match(line).unwrap().eval(&text), "{text}");
    }
    let right: u32 = (0..10).map(|digit| matrix[digit][digit]).sum();
    assert_eq!(json["test_accuracy"].as_f64().unwrap() as f32, right as f32 / 10_000.0);
}

#[test]
fn a_summary_is_torchinfos() {
    let golden = fs::read_to_string(checkout().join("tests/golden/summary_MNIST_MLR_20.txt")).unwrap();
    assert_eq!(stdout("summary --model mlr --batch-size 20"), golden);
}

#[test]
fn a_checkpoint_without_weights_is_refused_by_name() {
    let lab = Lab::new();
    lab.write("state_dict.pt", b"PK\x03\x04 and more");
    lab.write("text.safetensors", "no weights");
    fs::create_dir(lab.path().join("empty")).unwrap();
    for (name, help) in [
        ("nowhere", "nowhere"),
        ("empty", "checkpoints/last.safetensors"),
        ("state_dict.pt", "scripts/parity_checkpoint.py"),
        ("text.safetensors", "text.safetensors"),
        ("/dev/null", ".safetensors"),
    ] {
        lab.assert_refused(&format!("test --checkpoint {name}"), 1, &[name, help]);
    }
}

#[test]
fn a_wrong_or_missing_argument_is_refused_by_name_and_nothing_is_left_behind() {
    let lab = Lab::new();
    for (arguments, names) in [
        ("", &["--help"][..]),
        ("reproduce --lr NaN", &["--lr", "'NaN'"]),
        ("reproduce --validation 0.001", &["--validation", "0.001"]),
        ("train --no-such 0", &["--no-such"]),
        ("train --limit-train-batches 0.1", &["--limit-train-batches", "0.1"]),
        ("train --resume a --from b", &["--resume", "--from"]),
        ("train --name 'two\nlines'", &["--name"]),
        ("doctor --device gpu", &["--device", "'gpu'"]),
        ("plot a.csv -o a.gif", &["--output", "'a.gif'"]),
        ("summary --batch-size 9223372036854775807", &["--batch-size 9223372036854775807"]),
        ("summary --batch-size 1500000000", &["--batch-size 1500000000"]),
        // The error names what is missing.
        ("test", &["--checkpoint <FILE_OR_VERSION_DIR>"]),
        ("train --trace-steps 1..2", &["--trace <FILE>"]),
        ("plot a.csv", &["--output <FILE>"]),
        ("completions", &["bash", "fish", "zsh"]),
        ("predict --checkpoint a", &["IMAGE", "--index"]),
        // One of the two, not both.
        ("predict a.png --index 0 --checkpoint a", &["IMAGE", "--index"]),
        ("train --epoch 3", &["did you mean", "'--epochs'"]),
        ("reproduce --batchsize 3", &["did you mean", "'--batch-size'"]),
        ("trian", &["did you mean", "'train'"]),
    ] {
        lab.assert_refused(arguments, 2, names);
    }
    let mut not_utf_8 = lab.program("train --seed");
    assert_refused(not_utf_8.arg(OsStr::from_bytes(b"\xff")), 2, &["UTF-8"]);
    assert_eq!(names(lab.path()), ["data"]);
}

#[test]
fn the_largest_values_of_options_make_a_run() {
    let lab = Lab::new();
    for options in [
        "--epochs 1 --batch-size 9223372036854775807 --num-workers 18446744073709551615 --seed 18446744073709551615",
        "--epochs 1 --checkpoint-every 9223372036854775807 --limit-train-batches 9223372036854775807 --lr 1e10",
        "--epochs 9223372036854775807 --validation 0.9999999999999999 --max-time 0s",
        "--epochs 1 --max-time 500000000000y",
    ] {
        lab.train(&format!("--model mlr {options}"));
    }
}

#[test]
fn every_command_has_a_help_with_its_defaults_and_an_example() {
    let overview = stdout("--help");
    let commands = overview.split_once("Commands:\n").unwrap().1.split("\n\n").next().unwrap();
    let commands: Vec<_> = commands
        .lines()
        .map(|line| line.split_whitespace().next().unwrap())
        .filter(|name| *name != "help")
        .collect();
    assert_eq!(commands.len(), 11, "{overview}");
    for command in commands {
        let help = stdout(&format!("{command} --help"));
        assert!(is_match(format!("Examples?:\\s+islp-mnist {command} ")).unwrap().eval(&help), "{help}");
        // Every option that takes a value names its default, unless it must be given or has none.
        for option in
            ["--epochs", "--lr", "--threads", "--device", "--data-dir", "--batch-size", "--model", "--name"]
        {
            if let Some((_, text)) = help.split_once(&format!("\n      {option} <")) {
                let text = text.split("\n      --").next().unwrap();
                assert!(text.contains("[default: "), "{command} {option}: {help}");
            }
        }
    }
    assert!(stdout("--version").contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn bash_completes_commands_and_options() {
    let lab = Lab::new();
    lab.write("completions.bash", stdout("completions bash"));
    let complete = |words: &str, count: usize| {
        let line = format!(
            "source completions.bash; COMP_WORDS=({words}); COMP_CWORD={count}; \
             _islp__mnist islp-mnist \"${{COMP_WORDS[-1]}}\" x; echo \"${{COMPREPLY[*]}}\""
        );
        stdout_of(Command::new("bash").args(["-c", &line]).current_dir(lab.path()))
    };
    assert_eq!(complete("islp-mnist tr", 1).trim(), "train");
    assert!(complete("islp-mnist train --che", 2).contains("--checkpoint-every"));
}

/// A run that is compared with itself.
const COMPARE: &str = "compare output/MNIST/version_0 output/MNIST/version_0";

#[test]
fn a_reader_that_closes_stdout_is_no_error_and_stops_no_run() {
    let lab = Lab::new();
    let reproduce = "reproduce --epochs 1 --device cpu";
    for arguments in ["summary", "--help", "completions zsh", COMPARE, reproduce] {
        // As behind `| head -1`, but at a known time.
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let is_run = arguments == reproduce;
        let mut command = command(if is_run { lab.path() } else { checkout() }, arguments);
        let assert = command.stdout(writer).output().unwrap().assert().code(0);
        if is_run {
            assert.stderr(contains("error").not())
        } else {
            assert.stderr("")
        };
    }
    assert!(lab.exists("output/MNIST_MLR/version_0/accuracy.svg"));
    let head = wrapped("bash -c 'set -o pipefail; \"$0\" \"$@\" | head -1'", &command(checkout(), "summary"));
    assert_cmd::Command::from_std(head).assert().code(0).stderr("");
}

#[test]
fn a_stdout_that_cannot_be_written_is_an_error() {
    let lab = Lab::new();
    let error = |folder: &Path, arguments: &str, code: i32| {
        let full = fs::File::create("/dev/full").unwrap();
        let output = command(folder, arguments).stdout(full).output().unwrap();
        output.assert().code(code).stderr(is_match(r"\Aerror: [^\n]*stdout[^\n]*\n\z").unwrap());
    };
    error(lab.path(), "reproduce --epochs 1 --device cpu", 1);
    // A comparison that can't be printed is no verdict.
    stdout(COMPARE);
    error(checkout(), COMPARE, 2);
}

#[test]
fn a_file_size_limit_is_an_error_of_every_command() {
    let lab = Lab::new();
    let csv = checkout().join("output/MNIST/version_0");
    let plot = command(lab.path(), &format!("plot {} -o figure.png", csv.display()));
    assert_refused(&mut with_file_size_limit(4, &plot), 1, &["figure.png"]);
}

#[test]
#[ignore = "slow"]
fn a_device_folder_or_run_that_cannot_be_used_is_refused_by_name() {
    let lab = Lab::new();
    lab.write("text", "no such thing");
    fs::create_dir(lab.path().join("version_0")).unwrap();
    let run = checkout().join("output/MNIST/version_0");
    for (arguments, named) in [
        ("train --device cuda", "--device cuda: no NVIDIA driver"),
        ("train --device mps", "--device mps"),
        ("train --resume RUN", "`reproduce`"),
        ("train --from RUN", "`reproduce`"),
        ("train --output-dir text", "text/MNIST: "),
        ("train --trace text", "--trace"),
        ("reproduce --device cuda:7", "--device cuda:7"),
        ("reproduce --output-dir text", "text/MNIST: "),
        ("study --device cuda", "--device cuda"),
        ("study --output-dir text", "--output-dir"),
        ("test --device cuda --checkpoint version_0", "--device cuda"),
        ("test --checkpoint RUN --data-dir nowhere", "nowhere/MNIST/raw/"),
        ("predict --checkpoint RUN --device cuda text", "--device cuda"),
    ] {
        lab.assert_refused(&arguments.replace("RUN", run.to_str().unwrap()), 1, &[named]);
    }
    lab.assert_refused("compare text text", 2, &["text: expected a .csv"]);
    let doctor = lab.program("doctor --device cuda").output().unwrap();
    let stdout = String::from_utf8(doctor.stdout).unwrap();
    let problem = stdout.lines().find(|line| line.starts_with("CUDA")).unwrap();
    assert_eq!(problem.matches("no NVIDIA driver").count(), 1, "{problem}");
}

#[test]
#[ignore = "slow"]
fn an_example_that_lacks_something_prints_an_error_of_one_line() {
    // Nothing is left to build where `cargo test` has built all targets.
    let build = "build --quiet --release --example circle --example notebook --example trace";
    assert!(
        Command::new(env!("CARGO")).current_dir(checkout()).args(words(build)).status().unwrap().success()
    );
    let lab = Lab::new();
    lab.write("file", "");
    // With a backtrace asked for.
    let example = |line: &str| {
        let (name, arguments) = line.split_once(' ').unwrap_or((line, ""));
        let folder = Path::new(env!("CARGO_BIN_EXE_islp-mnist")).with_file_name("examples");
        let mut command = assert_cmd::Command::new(folder.join(name));
        command.current_dir(lab.path()).args(words(arguments)).env("OMP_NUM_THREADS", "1");
        command.env("RUST_BACKTRACE", "1");
        command
    };
    for works in ["trace", "circle"] {
        example(works).assert().success().stderr("");
    }
    for (line, code, reason) in [
        ("notebook", 2, "give two folders"),
        ("notebook data", 2, "give two folders"),
        ("notebook nowhere logs", 1, "nowhere/MNIST/raw/train-images-idx3-ubyte"),
        ("notebook data file", 1, "file/MNIST"),
        ("trace", 1, "rust.trace: already exists"),
    ] {
        let a_line = is_match(r"\A(Seed set to 0\n)?error: [^\n]+\n\z").unwrap();
        example(line).assert().code(code).stderr(a_line).stderr(contains(reason));
    }
    assert!(!lab.exists("logs"));
}
