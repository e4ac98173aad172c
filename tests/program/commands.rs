//! The commands around a run: `test`, `summary`, `completions`, and what all of them have in common.

use std::collections::BTreeSet;
use std::fs;
use std::io::pipe;
use std::path::Path;
use std::process::Command;

use crate::common::{
    assert_refused, checkout, data_dir, fashion_mnist, islp_mnist, program, stdout_of, tensors,
};
use assert_cmd::prelude::*;
use predicates::Predicate;
use predicates::str::{contains, is_match};
use serde_json::{Map, Value};
use tch::Tensor;
use tempfile::tempdir;

/// `test` on the real test images.
fn test_of(checkpoint: &str) -> assert_cmd::Command {
    let mut command = program(checkout(), &format!("test --device cpu --checkpoint {checkpoint}"));
    command.env("COLUMNS", "60").arg("--data-dir").arg(data_dir());
    command
}

fn stdout(command: &mut assert_cmd::Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

#[test]
fn the_reference_run_tests_as_it_did_in_the_notebook_and_digit_by_digit() {
    for name in ["MNIST", "MNIST_MLR"] {
        let text = stdout(&mut test_of(&format!("output/{name}/version_0/model.safetensors")));
        let golden = fs::read_to_string(checkout().join(format!("tests/golden/test_{name}.txt"))).unwrap();
        // The loss's last digits depend on the processor; what was taken for what does not.
        let without_loss = |text: &str| -> Vec<String> {
            text.lines().filter(|line| !line.contains("loss")).map(String::from).collect()
        };
        assert_eq!(without_loss(&text), without_loss(&golden));
    }
}

#[test]
fn json_has_the_fields_that_the_help_names_and_says_what_the_text_says() {
    let text = fs::read_to_string(checkout().join("tests/golden/test_MNIST_MLR.txt")).unwrap();
    let json: Map<String, Value> =
        serde_json::from_str(&stdout(test_of("output/MNIST_MLR/version_0").arg("--json"))).unwrap();
    let help = stdout(&mut program(checkout(), "test --help"));
    let (_, fields) = help.split_once("With --json: {").expect("the help says what --json prints");
    let fields: BTreeSet<_> = fields.split_once('}').unwrap().0.split('"').skip(1).step_by(2).collect();
    assert_eq!(json.keys().map(String::as_str).collect::<BTreeSet<_>>(), fields);

    assert_eq!(json["model"], "MNIST_MLR");
    assert!((json["test_loss"].as_f64().unwrap() - 0.3437).abs() < 1e-4);
    assert!(text.contains(&format!("'test_accuracy': {}}}]", json["test_accuracy"])), "{text}");
    let matrix: Vec<Vec<u32>> = serde_json::from_value(json["confusion_matrix"].clone()).unwrap();
    let accuracies: Vec<f64> = serde_json::from_value(json["accuracy_by_digit"].clone()).unwrap();
    // A line for each digit: images, accuracy, and what they were taken for.
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
fn what_holds_no_weights_is_refused_by_name() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("state_dict.pt"), b"PK\x03\x04 and more").unwrap();
    fs::write(path("text.safetensors"), "no weights").unwrap();
    fs::create_dir(path("empty")).unwrap();
    for (name, help) in [
        ("nowhere", "nowhere"),
        ("empty", "checkpoints/last.safetensors"),
        ("state_dict.pt", "scripts/parity_checkpoint.py"),
        ("text.safetensors", "text.safetensors"),
        ("/dev/null", ".safetensors"),
    ] {
        let mut command = program(&folder, &format!("test --checkpoint {name}"));
        assert_refused(&mut command, 1, &[name, help]);
    }
}

/// Writes weights of MNIST_MLR that are all the same.
fn write_weights(path: &Path, value: f32) {
    let named = |name: &str, size: &[i64]| {
        (name.to_string(), Tensor::full(size, f64::from(value), tch::kind::FLOAT_CPU))
    };
    let weights = [named("linear.1.weight", &[10, 784]), named("linear.1.bias", &[10])];
    Tensor::write_safetensors(&weights, path).unwrap();
    assert_eq!(tensors(path).len(), 2);
}

#[test]
fn weights_whose_outputs_are_not_finite_are_refused_by_the_files_name_and_give_no_numbers() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("weights.safetensors");
    // Of the largest weights the sum over an image's pixels is infinite.
    for value in [f32::INFINITY, f32::NAN, f32::MAX] {
        write_weights(&file, value);
        let mut command = program(&folder, "test --json --checkpoint weights.safetensors --data-dir");
        assert_refused(command.arg(fashion_mnist()), 1, &["weights.safetensors"]);
    }
}

#[test]
fn a_batch_beyond_any_memory_is_refused() {
    for batch_size in ["9223372036854775807", "1500000000"] {
        let mut command = program(checkout(), &format!("summary --batch-size {batch_size}"));
        assert_refused(&mut command, 2, &[&format!("--batch-size {batch_size}")]);
    }
}

#[test]
fn a_file_size_limit_is_an_error_of_every_command() {
    let folder = tempdir().unwrap();
    let mut bash = assert_cmd::Command::new("bash");
    bash.current_dir(&folder).args(["-c", "ulimit -f 4; exec \"$0\" plot \"$1\" -o figure.png"]);
    bash.arg(env!("CARGO_BIN_EXE_islp-mnist")).arg(checkout().join("output/MNIST/version_0"));
    assert_refused(&mut bash, 1, &["figure.png"]);
}

#[test]
fn a_summary_is_torchinfos() {
    let golden = fs::read_to_string(checkout().join("tests/golden/summary_MNIST_MLR_20.txt")).unwrap();
    program(checkout(), "summary --model mlr --batch-size 20").assert().success().stdout(golden);
}

#[test]
fn output_that_nobody_reads_any_more_is_no_error() {
    let run = checkout().join("output/MNIST/version_0");
    let run = run.to_str().unwrap();
    for arguments in [&["summary"][..], &["--help"], &["completions", "zsh"], &["compare", run, run]] {
        // As behind `| head -1`, but for the time at which the reader goes.
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let output = islp_mnist().args(arguments).stdout(writer).output().unwrap();
        output.assert().code(0).stderr("");
    }
    let mut bash = Command::new("bash");
    bash.args(["-c", "set -o pipefail; \"$0\" summary | head -1", env!("CARGO_BIN_EXE_islp-mnist")]);
    bash.assert().code(0).stderr("");
}

#[test]
fn a_comparison_that_cannot_be_printed_is_no_verdict() {
    let run = checkout().join("output/MNIST/version_0");
    let mut compare = islp_mnist();
    compare.arg("compare").args([&run, &run]);
    compare.assert().code(0);
    compare.stdout(fs::File::create("/dev/full").unwrap());
    assert_eq!(compare.status().unwrap().code(), Some(2));
}

const COMMANDS: [&str; 9] =
    ["reproduce", "train", "test", "predict", "summary", "plot", "compare", "doctor", "completions"];

#[test]
fn every_command_says_how_it_is_used_with_its_defaults_and_an_example() {
    let overview = stdout(&mut program(checkout(), "--help"));
    for command in COMMANDS {
        assert!(is_match(format!(r"(?m)^ +{command} ")).unwrap().eval(&overview), "{overview}");
        let help = stdout(&mut program(checkout(), &format!("{command} --help")));
        assert!(is_match(format!("Examples?:\\s+islp-mnist {command} ")).unwrap().eval(&help), "{help}");
        // Every option that takes a value says what it is without it, unless it must be given or has no default.
        for option in
            ["--epochs", "--lr", "--threads", "--device", "--data-dir", "--batch-size", "--model", "--name"]
        {
            if let Some((_, text)) = help.split_once(&format!("\n      {option} <")) {
                let text = text.split("\n      --").next().unwrap();
                assert!(text.contains("[default: "), "{command} {option}: {help}");
            }
        }
    }
}

#[test]
fn the_version_is_printed_and_no_command_is_refused() {
    program(checkout(), "--version").assert().success().stdout(contains(env!("CARGO_PKG_VERSION")));
    assert_refused(&mut program(checkout(), ""), 2, &["--help"]);
}

#[test]
fn bash_completes_commands_and_options() {
    let folder = tempdir().unwrap();
    let script = folder.path().join("completions.bash");
    fs::write(&script, stdout(&mut program(checkout(), "completions bash"))).unwrap();
    let complete = |words: &str, count: usize| {
        let line = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={count}; _islp__mnist islp-mnist \"${{COMP_WORDS[-1]}}\" x; \
             echo \"${{COMPREPLY[*]}}\"",
            script.display()
        );
        stdout_of(Command::new("bash").args(["-c", &line]))
    };
    assert_eq!(complete("islp-mnist tr", 1).trim(), "train");
    assert!(complete("islp-mnist train --che", 2).contains("--checkpoint-every"));
}

#[test]
fn what_may_be_given_instead_of_what_is_missing_is_said() {
    for (arguments, names) in [
        ("predict --checkpoint output/MNIST/version_0", &["IMAGE", "--index"][..]),
        ("completions", &["bash", "fish", "zsh"]),
        ("train --trace-steps 1..2", &["--trace <FILE>"]),
        ("test", &["--checkpoint <FILE_OR_VERSION_DIR>"]),
        ("plot output/MNIST/version_0", &["--output <FILE>"]),
    ] {
        assert_refused(&mut program(checkout(), arguments), 2, names);
    }
    // One of the two, not both.
    let both = "predict docs/four.png --index 0 --checkpoint output/MNIST/version_0";
    assert_refused(&mut program(checkout(), both), 2, &["IMAGE", "--index"]);
}

/// Fails if an error says something twice.
fn assert_said_once(command: &mut assert_cmd::Command) {
    let assert = command.assert().failure();
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    // As errors are put together.
    let mut said = BTreeSet::new();
    for part in stderr.trim_end().split([':', ';', '(', ')']).map(str::trim).filter(|part| part.len() > 3) {
        assert!(said.insert(part), "twice {part:?}: {stderr}");
    }
}

#[test]
#[ignore = "slow"]
fn no_error_says_its_reason_twice() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("text"), "no such thing").unwrap();
    for name in ["weights.safetensors", "metrics.csv", "run.trace", "stdout.txt", "run.json"] {
        fs::create_dir_all(folder.join("version_0")).unwrap();
        fs::write(folder.join("version_0").join(name), "no such thing").unwrap();
    }
    let data = fashion_mnist();
    let data = data.to_str().unwrap();
    let weights = checkout().join("output/MNIST/version_0");
    let weights = weights.to_str().unwrap();
    for arguments in [
        "train --device cuda",
        "train --device mps",
        "train --resume version_0",
        "train --resume nowhere",
        "train --from version_0",
        "train --from nowhere",
        "train --output-dir text",
        "train --trace text",
        "reproduce --device cuda:7",
        "reproduce --output-dir text",
        "study --device cuda",
        "study --output-dir text",
        "study --collect version_0",
        "test --device cuda --checkpoint version_0",
        "test --checkpoint version_0",
        "test --checkpoint text",
        "report version_0 -o a.html",
        "report nowhere -o a.html",
    ] {
        assert_said_once(program(folder, arguments).args(["--data-dir", data]));
    }
    for arguments in [
        "plot version_0 -o a.png",
        "plot nowhere -o a.png",
        "compare version_0 nowhere",
        "compare text text",
        &format!("predict --checkpoint {weights} text"),
        &format!("predict --checkpoint {weights} nowhere.png"),
        &format!("predict --checkpoint {weights} --device cuda text"),
        &format!("test --checkpoint {weights} --data-dir nowhere"),
        &format!("train --resume {weights}"),
        &format!("train --from {weights}"),
    ] {
        assert_said_once(&mut program(folder, arguments));
    }
    let doctor = program(folder, &format!("doctor --device cuda --data-dir {data}")).output().unwrap();
    let stdout = String::from_utf8(doctor.stdout).unwrap();
    let problem = stdout.lines().find(|line| line.starts_with("CUDA")).unwrap();
    assert_eq!(problem.matches("no NVIDIA driver").count(), 1, "{problem}");
}

/// An example, as one runs it, but in a folder of its own and with a backtrace asked for.
fn example(name: &str, folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let build = ["build", "--quiet", "--release", "--example", name];
    assert!(Command::new(env!("CARGO")).current_dir(checkout()).args(build).status().unwrap().success());
    let program = Path::new(env!("CARGO_BIN_EXE_islp-mnist")).with_file_name("examples").join(name);
    let mut command = Command::new(program);
    command.current_dir(folder).args(arguments).env("RUST_BACKTRACE", "1").env("OMP_NUM_THREADS", "1");
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
#[ignore = "slow"]
fn an_example_that_lacks_something_says_so_in_a_line() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("file"), "").unwrap();
    let data = fashion_mnist();
    let data = data.to_str().unwrap();
    assert_eq!(example("trace", folder, &[]), (Some(0), String::new()));
    for (name, arguments, code, said) in [
        ("notebook", &[][..], 2, "give two folders"),
        ("notebook", &["data"], 2, "give two folders"),
        ("notebook", &["nowhere", "logs"], 1, "nowhere/MNIST/raw/train-images-idx3-ubyte"),
        ("notebook", &[data, "file"], 1, "file/MNIST"),
        ("trace", &[], 1, "rust.trace: is there already"),
    ] {
        let (ended, stderr) = example(name, folder, arguments);
        assert_eq!(ended, Some(code), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.lines().count() == 1, "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
    assert_eq!(example("circle", folder, &[]), (Some(0), String::new()));
    assert!(!folder.join("logs").exists());
}
