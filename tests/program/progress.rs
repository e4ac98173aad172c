//! What is said while a run goes on: a bar on a terminal (tests/program/reproduce.rs), a line for each epoch elsewhere, nothing
//! with `--quiet`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{Lab, assert_refused, python, stdout_of};
use predicates::Predicate;
use predicates::str::is_match;

/// Exit code 0, stdout, and the lines of stderr, but for the one that the small data set is not MNIST.
fn run(lab: &Lab, arguments: &str) -> (String, Vec<String>) {
    let assert = lab.program(arguments).assert().success();
    let [stdout, stderr] = [&assert.get_output().stdout, &assert.get_output().stderr]
        .map(|bytes| String::from_utf8(bytes.clone()).unwrap());
    let is_quiet = arguments.contains("--quiet");
    let lines = stderr.lines().filter(|line| is_quiet || !line.starts_with("note: data"));
    (stdout, lines.map(String::from).collect())
}

/// The lines of epochs, which say this.
fn epochs(lines: &[String]) -> Vec<&String> {
    let epochs: Vec<_> = lines.iter().filter(|line| line.starts_with("epoch ")).collect();
    let number = r"\d+\.\d{4}";
    let pattern = format!(
        r"\Aepoch \d+/\d+: train_loss {number}, valid_loss {number}, train_accuracy_epoch {number}, valid_accuracy {number}, (\d+ m )?\d+ s left\z"
    );
    for line in &epochs {
        assert!(is_match(&pattern).unwrap().eval(line.as_str()), "{line}");
    }
    epochs
}

/// The values of a column of metrics.csv, as they are said.
fn said(lab: &Lab, run: &str, column: &str) -> Vec<String> {
    let csv = String::from_utf8(lab.read(run, "metrics.csv")).unwrap();
    let place = csv.lines().next().unwrap().split(',').position(|name| name == column).unwrap();
    let values = csv.lines().skip(1).filter_map(|row| row.split(',').nth(place)?.parse::<f32>().ok());
    values.map(|value| format!("{column} {value:.4},")).collect()
}

#[test]
fn where_stderr_is_no_terminal_each_epoch_is_a_line_of_what_metrics_csv_has() {
    let lab = Lab::new();
    for (options, count) in
        [("--epochs 3 --batch-size 16", 3), ("--epochs 5 --resume output/MNIST/version_0", 2)]
    {
        let (stdout, lines) = run(&lab, &format!("train {options}"));
        assert_eq!(stdout, "output/MNIST/version_0\n");
        let epochs = epochs(&lines);
        assert_eq!(epochs.len(), count, "{lines:?}");
        for column in ["train_loss", "valid_loss", "train_accuracy_epoch", "valid_accuracy"] {
            let said = said(&lab, "output/MNIST/version_0", column);
            for (line, said) in epochs.iter().zip(&said[said.len() - count..]) {
                assert!(line.contains(said), "{said} in {line}");
            }
        }
        assert!(epochs.last().unwrap().ends_with(", 0 s left"), "{epochs:?}");
        let place = |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap();
        assert!(place("0         Total Flops") < place("epoch "), "{lines:?}");
        assert!(place("epoch ") < place("`Trainer.fit` stopped"));
    }
    let (_, lines) = run(&lab, "reproduce --epochs 2 --device cpu");
    let epochs: Vec<_> = epochs(&lines).iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(epochs, ["epoch 1/2", "epoch 2/2", "epoch 1/2", "epoch 2/2"], "of each model");
}

#[test]
fn no_loss_makes_a_line_long_and_max_time_counts_in_what_is_left() {
    let lab = Lab::new();
    let (_, lines) = run(&lab, "reproduce --epochs 1 --lr 1e30 --device cpu");
    let line = lines.iter().find(|line| line.starts_with("epoch 1/1: ")).unwrap();
    assert!(line.len() < 130, "{line}");
    assert!(
        is_match(r"(train|valid)_loss (nan|inf|\d\.\d{3}e\+\d\d), ").unwrap().eval(line.as_str()),
        "{line}"
    );
    let (_, lines) = run(&lab, "train --epochs 9223372036854775807 --max-time 0s");
    assert!(lines.iter().any(|line| line.ends_with(", 0 s left")), "{lines:?}");
}

#[test]
fn quiet_leaves_warnings_and_errors_alone() {
    let lab = Lab::new();
    assert_eq!(run(&lab, "train --epochs 1 --quiet"), ("output/MNIST/version_0\n".to_string(), vec![]));
    let (stdout, _) = run(&lab, "reproduce --epochs 1 --device cpu --num-workers 0");
    assert_eq!(run(&lab, "reproduce --epochs 1 --device cpu --num-workers 0 --quiet"), (stdout, vec![]));
    let study = "study --epochs 1 --device cpu --seeds 0..1 --model mlr --quiet --output-dir s";
    let (stdout, lines) = run(&lab, study);
    assert!(stdout.starts_with("MNIST_MLR, test accuracy over 2 seeds\n"), "{stdout}");
    assert_eq!(lines, Vec::<String>::new());
    // Of run.json another processor.
    let path = lab.path().join("output/MNIST/version_0/run.json");
    let text = fs::read_to_string(&path).unwrap();
    let capability = lab.run_json("output/MNIST/version_0")["environment"]["cpu_capability"].to_string();
    fs::write(&path, text.replace(&capability, "\"Z80\\u001b[31m\"")).unwrap();
    let (_, lines) = run(&lab, "train --quiet --epochs 1 --from output/MNIST/version_0");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("warning: CPU capability was Z80\\u{1b}[31m and is "), "{lines:?}");
    assert_refused(&mut lab.program("train --quiet --lr 1e30"), 3, &["--lr"]);
}

#[test]
fn of_a_study_each_run_is_a_line_and_its_logs_are_short() {
    let lab = Lab::new();
    let study = |options: &str| run(&lab, &format!("study --epochs 1 --device cpu --output-dir {options}")).1;
    let lines = study("s --seeds 0..1");
    let pattern =
        r"\Arun \d/4, ml[pr] seed=[01]: valid_accuracy 0\.\d{4}, test_accuracy 0\.\d{4}, \d+ s left\z";
    assert_eq!(lines.len(), 5, "{lines:?}");
    for (i, line) in lines[..4].iter().enumerate() {
        assert!(is_match(pattern).unwrap().eval(line.as_str()), "{line}");
        assert!(line.starts_with(&format!("run {}/4, ", i + 1)), "{line}");
    }
    assert_eq!(lines[4], "4 runs are in s/study.csv");
    assert_eq!(lab.read("s/runs/mlp/seed=0", "log.txt"), b"");
    // What is done is counted, and no line.
    let lines = study("s --seeds 0..2 --model mlr");
    assert!(lines.len() == 2 && lines[0].starts_with("run 3/3, mlr seed=2: "), "{lines:?}");
    let lines = study("d --seeds 9 --model mlp --lr 1e30");
    assert!(lines[0].starts_with("run 1/1, mlp seed=9: diverged, 0 s left"), "{lines:?}");
}

/// What the program says on a terminal of 160 columns, which `script` makes.
fn on_a_terminal(folder: &Path, options: &str) -> String {
    let command = format!("stty cols 160; '{}' {options} >/dev/null", env!("CARGO_BIN_EXE_islp-mnist"));
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).current_dir(folder).env("CUDA_VISIBLE_DEVICES", "");
    stdout_of(script.env("TERM", "xterm").env("OMP_NUM_THREADS", "1").env_remove("ISLP_MNIST_DATA_DIR"))
}

#[test]
fn on_a_terminal_there_are_lines_only_where_there_is_no_bar() {
    let lab = Lab::new();
    let lines = |options: &str| -> usize {
        let said = on_a_terminal(lab.path(), &format!("train --epochs 2 {options}"));
        said.lines().filter(|line| line.contains("train_accuracy_epoch")).count()
    };
    assert_eq!(lines(""), 0);
    assert_eq!(lines("--no-progress"), 2);
    assert_eq!(on_a_terminal(lab.path(), "train --epochs 2 --quiet"), "");
    let study = |options: &str| {
        let options = format!("study --epochs 1 --seeds 0 --model mlr --device cpu {options}");
        on_a_terminal(lab.path(), &options)
    };
    assert!(study("--no-progress --output-dir a").contains("run 1/1, mlr seed=0: "));
    assert!(!study("--output-dir b").contains("run 1/1, mlr"));
    assert_eq!(study("--quiet --output-dir c"), "");
}

#[test]
#[ignore = "needs the Python reference"]
fn python_says_the_same_lines_and_is_as_quiet() {
    let lab = Lab::new();
    let python = |options: &str| {
        let mut train = python("scripts/train.py");
        train.current_dir(lab.path()).env("OMP_NUM_THREADS", "1").env_remove("ISLP_MNIST_DATA_DIR");
        let output = train.args(options.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap().lines().map(String::from).collect::<Vec<_>>()
    };
    let without_time = |lines: &[String]| -> Vec<String> {
        epochs(lines).into_iter().map(|line| line.rsplit_once(',').unwrap().0.to_string()).collect()
    };
    let options = "--epochs 3 --batch-size 16 --num-workers 0";
    let ours = run(&lab, &format!("train {options}")).1;
    assert_eq!(without_time(&python(options)), without_time(&ours));
    assert!(epochs(&ours).len() == 3);
    let ours = run(&lab, "train --resume output/MNIST/version_0 --epochs 5").1;
    let theirs = python("--resume output/MNIST/version_1 --epochs 5 --no-progress");
    assert_eq!(without_time(&theirs), without_time(&ours));
    assert!(epochs(&theirs).last().unwrap().ends_with(", 0 s left"), "{theirs:?}");
    // What the libraries warn of stays.
    let quiet = python("--epochs 1 --quiet --num-workers 0");
    for start in ["epoch ", "GPU available", "Seed set", "  | Name", "`Trainer.fit`", "0 "] {
        assert!(!quiet.iter().any(|line| line.starts_with(start)), "{start}: {quiet:?}");
    }
}
