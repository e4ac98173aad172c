//! Options and paths: what no run can be made of is refused before anything is done, and any path is one.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use clap::Parser;
use islp_mnist::cli::Cli;
use islp_mnist::cli::options::first_paragraph;
use tempfile::tempdir;

use super::common::{error_of, islp_mnist};
use super::{Tries, Verdict, fashion_mnist};

/// What no option takes that takes a number.
const NO_NUMBERS: [&str; 25] = [
    "",
    " ",
    "x",
    "-1",
    "-0.5",
    "-1e-3",
    "-inf",
    "NaN",
    "nan",
    "-NaN",
    "inf",
    "infinity",
    "1e400",
    "-1e400",
    "0x10",
    "1,5",
    "1_000",
    " 1",
    "1 ",
    "½",
    "١",
    "--",
    "1.2.3",
    "1e",
    "\u{1b}[31m",
];

/// Beyond what some of them take.
const TOO_MUCH: [(&str, &[&str]); 10] = [
    ("--epochs", &["0", "9223372036854775808", "18446744073709551616", "0.5", "1.0"]),
    ("--batch-size", &["0", "9223372036854775808", "1e3", "256.0"]),
    ("--validation", &["0", "1", "0.0", "1.0", "1.0000001", "1e-400", "2", "1e308"]),
    ("--seed", &["18446744073709551616", "0.0", "1e3"]),
    ("--num-workers", &["18446744073709551616", "4.0"]),
    ("--lr", &["3.5e38", "1e39", "1e308"]),
    ("--threads", &["0", "1025", "2147483648", "4294967297", "2.0"]),
    ("--limit-train-batches", &["0", "0.0", "1.1", "1e300", "9223372036854775808"]),
    ("--checkpoint-every", &["0", "9223372036854775808"]),
    ("--max-time", &["1", "10", "m", "99999999999999999999s", "99999999999999y", "1h 30x"]),
];

const RUN: [&str; 7] =
    ["--epochs", "--batch-size", "--validation", "--seed", "--num-workers", "--lr", "--threads"];

/// What `--device`, `--name`, `--model` and `--y` do not take.
const NO_NAMES: [(&str, &[&str], &[&str]); 4] = [
    (
        "--device",
        &["train", "--device"],
        &[
            "",
            "gpu",
            "CPU",
            "cuda:",
            "cuda:-1",
            "cuda:x",
            "cuda:0.5",
            "cuda:99999999999999999999",
            "cuda:1:2",
            "cpu:0",
            "mps:1",
        ],
    ),
    ("--name", &["train", "--name"], &["", ".", "..", "/", "a/b", "../a", "/a", "a/", ".a"]),
    ("--model", &["train", "--model"], &["", "MLP", "mlp ", "cnn", "mlp,mlr"]),
    ("--y", &["plot", "a.csv", "-o", "a.png", "--y"], &["", "Loss", "error", "loss,accuracy"]),
];

/// Holds if these arguments make a usage error of one line that names the option.
fn is_usage_error(arguments: &[&OsStr], option: &str) -> Verdict {
    let arguments = [OsStr::new("islp-mnist")].into_iter().chain(arguments.iter().copied());
    let Err(error) = Cli::try_parse_from(arguments) else { return Err("accepted".into()) };
    let message = first_paragraph(&error);
    if error.exit_code() != 2 || !message.contains(option) || message.contains(char::is_control) {
        return Err(format!("{message:?}"));
    }
    Ok(())
}

#[test]
fn options_and_paths_are_taken_as_given_or_refused_by_name() {
    let mut tries = Tries::new("Options and paths");
    for (command, options) in [
        ("reproduce", &RUN[..]),
        ("train", &RUN),
        ("test", &["--batch-size"]),
        ("summary", &["--batch-size"]),
    ] {
        let more = ["--limit-train-batches", "--checkpoint-every", "--max-time"];
        let more = if command == "train" { &more[..] } else { &[] };
        for option in options.iter().chain(more) {
            let too_much = TOO_MUCH.iter().find(|(name, _)| name == option).unwrap().1;
            for value in NO_NUMBERS.iter().chain(too_much) {
                let arguments = [command.to_string(), format!("{option}={value}"), "--checkpoint=x".into()];
                let needed = if command == "test" { 3 } else { 2 };
                let arguments: Vec<&OsStr> = arguments[..needed].iter().map(OsStr::new).collect();
                tries.check(format!("{command} {option}={value}"), || is_usage_error(&arguments, option));
            }
            // Of text that is no UTF-8 clap says no more than that.
            let value = OsStr::from_bytes(b"\xff1");
            let arguments = [OsStr::new(command), OsStr::new(option), value];
            tries.check(format!("{command} {option} {value:?}"), || {
                is_usage_error(&arguments, "invalid UTF-8")
            });
        }
    }
    for (option, arguments, values) in NO_NAMES {
        for value in values {
            let arguments: Vec<&OsStr> = arguments.iter().chain([value]).map(OsStr::new).collect();
            tries.check(format!("{arguments:?}"), || is_usage_error(&arguments, option));
        }
    }
    huge(&mut tries);
    paths(&mut tries);
    tries.end();
}

/// The program on 200 images; one thread, one epoch unless told otherwise.
fn train(arguments: &[&str]) -> Command {
    let mut command = islp_mnist();
    command.args(["train", "--model", "mlr", "--no-progress"]).args(arguments).env("OMP_NUM_THREADS", "1");
    command
}

fn succeeds(command: &mut Command) -> Verdict {
    let output = command.output().unwrap();
    if output.status.success() { Ok(()) } else { Err(format!("{output:?}")) }
}

/// As large as it may be.
fn huge(tries: &mut Tries) {
    let most = i64::MAX.to_string();
    for option in [
        ["--batch-size", &most],
        ["--num-workers", "18446744073709551615"],
        ["--seed", "18446744073709551615"],
        ["--checkpoint-every", &most],
        ["--limit-train-batches", &most],
        ["--validation", "0.9999999999999999"],
        ["--lr", "1e10"],
        ["--max-time", "500000000000y"],
    ] {
        let folder = tempdir().unwrap();
        let mut command = train(&["--epochs", "1", option[0], option[1], "--data-dir"]);
        command.arg(fashion_mnist()).current_dir(&folder);
        tries.check(format!("{option:?}"), || succeeds(&mut command));
    }
    let folder = tempdir().unwrap();
    let mut command = train(&["--epochs", &most, "--max-time", "50ms", "--data-dir"]);
    tries.check("--epochs", || succeeds(command.arg(fashion_mnist()).current_dir(&folder)));
}

fn paths(tries: &mut Tries) {
    let long = "ä".repeat(120);
    let names: [&[u8]; 4] =
        [b"with spaces ", "Umläute öß".as_bytes(), b"\xff\xfe no UTF-8 \x80", long.as_bytes()];
    for name in names.map(OsStr::from_bytes) {
        let folder = tempdir().unwrap();
        let path = |name: &OsStr| folder.path().join(name);
        fs::create_dir(path(name)).unwrap();
        std::os::unix::fs::symlink(fashion_mnist().join("MNIST"), path(name).join("MNIST")).unwrap();
        let arguments =
            |arguments: &[&OsStr]| -> Vec<OsString> { arguments.iter().map(OsString::from).collect() };
        let run = path(name).join("MNIST_MLR/version_0");
        let (run, figure) = (run.as_os_str(), path(name).join("a b.svg"));
        let [data_dir, epochs, two] = ["--data-dir", "--epochs", "2"].map(OsStr::new);
        for (command, arguments) in [
            (
                "train",
                arguments(&[
                    epochs,
                    "1".as_ref(),
                    data_dir,
                    name,
                    "--output-dir".as_ref(),
                    name,
                    "--model".as_ref(),
                    "mlr".as_ref(),
                ]),
            ),
            ("train", arguments(&["--resume".as_ref(), run, epochs, two, data_dir, name])),
            ("test", arguments(&["--checkpoint".as_ref(), run, data_dir, name])),
            ("plot", arguments(&[run, "-o".as_ref(), figure.as_os_str()])),
            ("compare", arguments(&[run, run])),
        ] {
            let mut program = islp_mnist();
            program.arg(command).args(arguments).current_dir(&folder).env("OMP_NUM_THREADS", "1");
            tries.check(format!("{command} in {name:?}"), || succeeds(&mut program));
        }
        let is_written = Path::new(run).join("metrics.csv").exists() && figure.exists();
        tries.check(
            format!("all is in {name:?}"),
            || if is_written { Ok(()) } else { Err("not there".into()) },
        );
    }
}

#[test]
fn the_program_refuses_bad_options_in_one_line_and_leaves_nothing_behind() {
    let folder = tempdir().unwrap();
    for [option, value] in [["--epochs", "-1"], ["--lr", "NaN"], ["--seed", "99999999999999999999"]] {
        let error = error_of(train(&[option, value]).current_dir(&folder), 2);
        assert!(error.contains(&format!("'{value}' for '{option} ")), "{error}");
    }
    let no_text = OsStr::from_bytes(b"\xff");
    let error = error_of(train(&["--seed"]).arg(no_text).current_dir(&folder), 2);
    assert_eq!(error, "error: invalid UTF-8 was detected in one or more arguments; try '--help'");
    // Where there is nothing, a path of any bytes is named as well as it can be.
    let error = error_of(train(&["--data-dir"]).arg(no_text).current_dir(&folder), 1);
    assert!(error.starts_with("error: \u{fffd}/MNIST/raw/train-images-idx3-ubyte: no such file"), "{error}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}
