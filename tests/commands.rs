//! The commands around a run: `test`, `summary`, `completions`, and what all of them say of themselves.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{checkout, data_dir, error_of, islp_mnist, small_mnist, stdout_of};
use serde_json::Value;

fn test_of(checkpoint: &str) -> Command {
    let mut command = islp_mnist();
    command
        .current_dir(checkout())
        .args(["test", "--checkpoint", checkpoint])
        .arg("--data-dir")
        .arg(data_dir());
    command
}

#[test]
fn the_reference_run_tests_as_it_did_in_the_notebook_and_digit_by_digit() {
    for name in ["MNIST", "MNIST_MLR"] {
        let text = stdout_of(test_of(&format!("output/{name}/version_0")).env("COLUMNS", "60"));
        let golden = fs::read_to_string(checkout().join(format!("tests/golden/test_{name}.txt"))).unwrap();
        // The loss's last digits depend on the processor; what was taken for what does not.
        let without_loss =
            |text: &str| text.lines().filter(|line| !line.contains("loss")).collect::<Vec<_>>().join("\n");
        assert_eq!(without_loss(&text), without_loss(&golden), "printed:\n{text}");
    }
}

#[test]
fn json_says_what_the_text_says() {
    let text = stdout_of(&mut test_of("output/MNIST_MLR/version_0/model.safetensors"));
    let json = stdout_of(test_of("output/MNIST_MLR/version_0").arg("--json"));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["model"], "MNIST_MLR");
    let list =
        format!("[{{'test_loss': {}, 'test_accuracy': {}}}]", json["test_loss"], json["test_accuracy"]);
    assert!(text.contains(&list), "{list}:\n{text}");
    let matrix = json["confusion_matrix"].as_array().unwrap();
    let mut right = 0;
    for (digit, row) in matrix.iter().enumerate() {
        let counts: Vec<i64> = row.as_array().unwrap().iter().map(|count| count.as_i64().unwrap()).collect();
        right += counts[digit];
        let (all, accuracy) =
            (counts.iter().sum::<i64>(), json["accuracy_by_digit"][digit].as_f64().unwrap());
        assert_eq!(accuracy, counts[digit] as f64 / all as f64);
        let counts: Vec<_> = counts.iter().map(i64::to_string).collect();
        let row = format!("{digit} {all} {accuracy:.4} {}", counts.join(" "));
        assert!(
            text.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") == row),
            "{row}:\n{text}"
        );
    }
    assert_eq!(json["test_accuracy"].as_f64().unwrap() as f32, right as f32 / 10_000.0);
}

#[test]
fn what_holds_no_weights_is_one_line_that_names_it() {
    let folder = small_mnist();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("state_dict.pt"), b"PK\x03\x04 and more").unwrap();
    fs::write(path("text.safetensors"), "no weights").unwrap();
    fs::create_dir(path("empty")).unwrap();
    for (name, message) in [
        ("nowhere", "cannot read nowhere: No such file or directory (os error 2)"),
        (
            "empty",
            "empty: neither checkpoints/last.safetensors nor model.safetensors in this folder; name the folder of a \
             run, or a file",
        ),
        (
            "state_dict.pt",
            "state_dict.pt: a pickle, as torch.save and Lightning write it, which can run any program; if you trust \
             it, scripts/to_safetensors.py makes a safetensors file of it",
        ),
        (
            "text.safetensors",
            "text.safetensors: its header claims 7523097587056930670 bytes, more than 1048576",
        ),
        ("/dev/null", "/dev/null: not a regular file; name a .safetensors file or the folder of a run"),
    ] {
        let mut command = islp_mnist();
        command.current_dir(&folder).args(["test", "--checkpoint", name]);
        assert_eq!(error_of(&mut command, 1), format!("error: {message}"));
    }
}

#[test]
fn a_batch_beyond_any_memory_is_refused() {
    for batch_size in ["9223372036854775807", "1500000000"] {
        let error = error_of(islp_mnist().args(["summary", "--batch-size", batch_size]), 2);
        assert_eq!(
            error,
            format!(
                "error: --batch-size {batch_size}: an input of shape [{batch_size}, 1, 28, 28] is none that memory could \
                 hold"
            )
        );
    }
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    let folder = small_mnist();
    let file = folder.path().join("inf.safetensors");
    let mut bytes = fs::read(checkout().join("output/MNIST_MLR/version_0/model.safetensors")).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    fs::write(&file, bytes).unwrap();
    let mut command = islp_mnist();
    let error = error_of(command.args(["test", "--checkpoint"]).arg(&file), 1);
    assert_eq!(error, format!("error: {}: linear.1.weight holds an infinite value", file.display()));
}

#[test]
fn a_file_size_limit_is_an_error_of_every_command() {
    let folder = small_mnist();
    let command = "ulimit -f 4; exec \"$0\" plot \"$1\" -o figure.png";
    let mut bash = Command::new("bash");
    bash.current_dir(&folder).args(["-c", command, env!("CARGO_BIN_EXE_islp-mnist")]);
    bash.arg(checkout().join("output/MNIST/version_0"));
    assert_eq!(error_of(&mut bash, 1), "error: cannot write figure.png: File too large (os error 27)");
}

#[test]
fn summaries_are_torchinfos() {
    for (model, class_name) in [("mlp", "MNISTModel"), ("mlr", "MNIST_MLR")] {
        for batch_size in ["1", "256"] {
            let golden = checkout().join(format!("tests/golden/summary_{class_name}_{batch_size}.txt"));
            let mut command = islp_mnist();
            let summary = stdout_of(command.args(["summary", "--model", model, "--batch-size", batch_size]));
            assert_eq!(summary, fs::read_to_string(golden).unwrap());
        }
    }
}

const COMMANDS: [&str; 9] =
    ["reproduce", "train", "test", "predict", "summary", "plot", "compare", "doctor", "completions"];

#[test]
fn every_command_says_how_it_is_used_with_its_defaults_and_an_example() {
    let overview = stdout_of(islp_mnist().arg("--help"));
    for command in COMMANDS {
        assert!(
            overview.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))),
            "{overview}"
        );
        let help = stdout_of(islp_mnist().args([command, "--help"]));
        assert!(help.contains("Example"), "{help}");
        assert!(help.contains(&format!("islp-mnist {command} ")), "{help}");
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
fn completions_know_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout_of(islp_mnist().args(["completions", shell]));
        for command in COMMANDS {
            assert!(script.contains(command), "{shell} lacks {command}");
        }
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("completions.bash");
    fs::write(&script, stdout_of(islp_mnist().args(["completions", "bash"]))).unwrap();
    let complete = |script: &Path, words: &str, count: usize| {
        let line = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={count}; _islp__mnist islp-mnist \"${{COMP_WORDS[-1]}}\" x; \
             echo \"${{COMPREPLY[*]}}\"",
            script.display()
        );
        stdout_of(Command::new("bash").args(["-c", &line]))
    };
    assert_eq!(complete(&script, "islp-mnist tr", 1).trim(), "train");
    assert!(complete(&script, "islp-mnist train --che", 2).contains("--checkpoint-every"));
}
