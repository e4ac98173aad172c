//! Paths that are not UTF-8, or need quotes, from end to end: written into run.json, printed, pasted and read again, here
//! and by Python's scripts.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::processes::{start, wait_for};
use crate::common::python::{python_in, python_line};
use crate::common::{Lab, assert_refused, checkout, command, fashion_mnist, islp_mnist};
use predicates::str::contains;
use serde_json::{Value, json};
use tch::Tensor;

const NAME: &[u8] = b"o\xff";
const TRAIN: &[u8] = b"train --model mlr --epochs 1 --batch-size 50 --data-dir o\xff";

fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// A lab with 200 images in `o\xff/`.
fn lab() -> Lab {
    let lab = Lab::new();
    link_data(&lab, NAME);
    lab
}

fn link_data(lab: &Lab, folder: &[u8]) {
    let folder = lab.path().join(name(folder));
    fs::create_dir_all(&folder).unwrap();
    symlink(fashion_mnist().join("MNIST"), folder.join("MNIST")).unwrap();
}

/// The stdout of a command in a folder, which must succeed.
fn stdout_in(folder: &Path, command: &mut Command) -> Vec<u8> {
    let output = command.current_dir(folder).env("OMP_NUM_THREADS", "1").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}:\n{stderr}", output.status);
    output.stdout
}

/// The line that the program prints, without its end. Words are separated by blanks.
fn line(folder: &Path, arguments: &[u8]) -> Vec<u8> {
    let words = arguments.split(|&byte| byte == b' ').map(name);
    let mut stdout = stdout_in(folder, islp_mnist().args(words));
    assert_eq!(stdout.pop(), Some(b'\n'));
    stdout
}

/// The stdout of a script of bash in which `islp-mnist` is the program.
fn bash(folder: &Path, script: &str) -> Vec<u8> {
    let bin = Path::new(env!("CARGO_BIN_EXE_islp-mnist")).parent().unwrap().display();
    let script = format!("set -e; PATH={bin}:$PATH; {script}");
    let mut command = Command::new("bash");
    command.env_remove("ISLP_MNIST_DATA_DIR").env("CUDA_VISIBLE_DEVICES", "");
    stdout_in(folder, command.args(["-c", &script]))
}

fn run_json(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap()
}

/// The data folder as run.json names it.
fn url(lab: &Lab) -> String {
    format!("file://{}/o%FF", lab.path().display())
}

#[test]
fn a_printed_path_has_the_bytes_of_the_path_for_scripts_to_use() {
    let lab = lab();
    let folder = lab.path();
    let run = line(folder, &[TRAIN, b" --output-dir o\xff"].concat());
    assert_eq!(run, b"o\xff/MNIST_MLR/version_0");
    for (command, file) in
        [(&b"plot "[..], &b"o\xff/\xfe.svg"[..]), (b"report --data-dir o\xff ", b"o\xff/\xfe.html")]
    {
        assert_eq!(line(folder, &[command, &run, b" -o ", file].concat()), file);
        assert!(folder.join(name(file)).exists());
    }
    // In a script, and the data are found by themselves.
    let script = r#"run=$(islp-mnist train --resume o?/MNIST_MLR/version_0 --epochs 2 --trace $'t\xff')
        cd / && islp-mnist train --resume "$OLDPWD/$run" --epochs 3
        islp-mnist train --from "$OLDPWD/$run/run.json" --epochs 1 --output-dir "$OLDPWD/"$'again\xff'"#;
    let printed = bash(folder, script);
    let runs =
        [&b"o\xff"[..], b"again\xff"].map(|output| folder.join(name(output)).join("MNIST_MLR/version_0"));
    let paths = runs.each_ref().map(|run| [run.as_os_str().as_bytes(), b"\n"].concat());
    assert_eq!(printed, paths.concat());
    assert!(folder.join(name(b"t\xff")).exists());
    for run in runs {
        assert_eq!(run_json(&run)["data_dir"], json!(url(&lab)));
    }
    let test =
        r"ISLP_MNIST_DATA_DIR=$'o\xff' islp-mnist test --json --checkpoint $'o\xff/MNIST_MLR/version_0'";
    let json: Value = serde_json::from_slice(&bash(folder, test)).unwrap();
    assert!(json["test_accuracy"].is_number());
}

#[test]
fn any_path_is_accepted() {
    let lab = Lab::new();
    for folder in [&b"with spaces and \xff\xfe no UTF-8"[..], b"two\nlines"] {
        link_data(&lab, folder);
        let (folder, path) = (name(folder), lab.path().join(name(folder)));
        let (run, figure) = (path.join("MNIST_MLR/version_0"), path.join("a b.svg"));
        let (run_word, data) = (run.as_os_str(), "--data-dir".as_ref());
        for (arguments, paths) in [
            ("train --model mlr --epochs 1", &[data, folder, "--output-dir".as_ref(), folder][..]),
            ("train --epochs 2 --resume", &[run_word, data, folder]),
            ("test --checkpoint", &[run_word, data, folder]),
            ("plot", &[run_word, "-o".as_ref(), figure.as_ref()]),
            ("compare", &[run_word, run_word]),
        ] {
            lab.program(arguments).args(paths).assert().success();
        }
        assert!(run.join("metrics.csv").exists() && figure.exists());
    }
    // A study, of folders that look like options.
    link_data(&lab, b"-data");
    let study = lab
        .program("study --seeds 0 --model mlr --epochs 1 --data-dir=-data")
        .arg(name(b"--output-dir=-s\xff"))
        .assert();
    let assert = study.success();
    let stderr = str::from_utf8(&assert.get_output().stderr).unwrap();
    assert!(stderr.ends_with("1 run is in $'./-s\\xff/study.csv'\n"), "{stderr}");
    assert!(lab.path().join(name(b"-s\xff")).join("study.csv").exists());
}

#[test]
fn json_that_names_a_path_is_json_whatever_the_path() {
    let lab = Lab::new();
    let folder = lab.path();
    for picture in [&b"4\xff.png"[..], b"4.png"] {
        fs::copy(checkout().join("docs/four.png"), folder.join(name(picture))).unwrap();
    }
    let weights = checkout().join("output/MNIST/version_0");
    let checkpoint = weights.as_os_str().as_bytes();
    let predict = [b"predict 4\xff.png 4.png --save-digit 28\xff.png --checkpoint ", checkpoint].concat();
    let json: Value = serde_json::from_slice(&line(folder, &[&predict[..], b" --json"].concat())).unwrap();
    assert_eq!(json[0]["image"], json!(format!("file://{}/4%FF.png", folder.display())));
    assert_eq!(json[1]["image"], json!("4.png"));
    let lines = String::from_utf8(line(folder, &predict)).unwrap();
    assert!(lines.starts_with("4\\xff.png: 4 "), "{lines}");
    assert!(folder.join(name(b"28\xff.png")).exists());
    for file in [&b"a\xff.txt"[..], b"b\xff.txt"] {
        fs::write(folder.join(name(file)), "1\n").unwrap();
    }
    let json: Value = serde_json::from_slice(&line(folder, b"compare --json a\xff.txt b\xff.txt")).unwrap();
    assert_eq!(json["verdict"], "identical");
}

/// Writes run.json as json.dumps writes it where a path is handed to it as it is.
fn write_lone_surrogates(run: &Path, lab: &Lab) {
    let text = fs::read_to_string(run.join("run.json")).unwrap();
    let earlier = text.replace(&url(lab), &format!("{}/o\\udcff", lab.path().display()));
    assert!(earlier != text);
    fs::write(run.join("run.json"), earlier).unwrap();
}

#[test]
fn a_run_json_with_lone_surrogates_is_read_by_every_command() {
    let lab = lab();
    let folder = lab.path();
    for epochs in ["1", "2"] {
        let train = [b"train --model mlr --data-dir o\xff --epochs ", epochs.as_bytes()].concat();
        write_lone_surrogates(&folder.join(name(&line(folder, &train))), &lab);
    }
    let runs = ["output/MNIST_MLR/version_0", "output/MNIST_MLR/version_1"];
    let compare = lab.program(&format!("compare {} {}", runs[0], runs[1])).assert();
    compare.stdout(contains("--epochs: reference 1, candidate 2"));
    line(folder, b"report output/MNIST_MLR/version_0 -o run.html --data-dir o\xff");
    assert!(lab.text("run.html").contains("--epochs 1"));
    assert_eq!(lab.train(&format!("--from {}", runs[0])), "output/MNIST_MLR/version_2");
    // The data are found from any folder.
    let resumed = folder.join(runs[0]);
    let words = [b"train --epochs 2 --resume ", resumed.as_os_str().as_bytes()].concat();
    assert_eq!(line(Path::new("/"), &words), resumed.as_os_str().as_bytes());
    assert_eq!(run_json(&resumed)["data_dir"], json!(url(&lab)), "it is written anew as a URL");
}

/// Stops a run in a folder of that name; the line that says how to resume.
fn interrupted(lab: &Lab, output_dir: &[u8]) -> String {
    let mut train = command(lab.path(), "train --model mlr --epochs 1000000 --data-dir");
    train.arg(name(NAME)).arg(name(&[b"--output-dir=", output_dir].concat()));
    let child = start(&train);
    let folder = lab.path().join(".").join(name(output_dir));
    wait_for(&folder.join("MNIST_MLR/version_0/checkpoints/last.safetensors"));
    child.signal("TERM");
    let Output { status, stdout, stderr } = child.output();
    assert_eq!(status.code(), Some(143));
    assert_eq!(stdout, [output_dir, b"/MNIST_MLR/version_0\n"].concat());
    let stderr = String::from_utf8(stderr).expect("messages are text");
    stderr.lines().last().unwrap().to_string()
}

#[test]
#[ignore = "slow"]
fn the_command_to_resume_can_be_pasted_whatever_the_folder_is_called() {
    let lab = lab();
    for output_dir in [
        &b"o\xff"[..],
        b"-o",
        b"it's here",
        b"two\nlines\x1b[31m",
        b"\\ \xff \"'$HOME'\"",
        "grüße~".as_bytes(),
    ] {
        let line = interrupted(&lab, output_dir);
        assert!(!line.contains(char::is_control), "{line:?}");
        let command = line.strip_prefix("interrupted; resume with ").unwrap();
        let printed = bash(lab.path(), &format!("{command} --max-time 0s"));
        let printed = printed.strip_prefix(b"./").unwrap_or(&printed);
        assert_eq!(printed, [output_dir, b"/MNIST_MLR/version_0\n"].concat(), "{command}");
    }
}

/// Fails unless each command refuses the path in a line that contains `shown`; `compare` is given another as well.
fn assert_named(lab: &Lab, path: &[u8], shown: &str, other: &str) {
    let weights = checkout().join("output/MNIST_MLR/version_0");
    for (words, code) in [
        ("reproduce --data-dir", 1),
        ("train --data-dir", 1),
        ("train --resume", 1),
        ("train --from", 1),
        ("test --checkpoint", 1),
        ("predict --checkpoint WEIGHTS", 1),
        ("plot -o a.png", 1),
        ("plot a.csv -o", 2),
        ("report -o a.html", 1),
        ("report WEIGHTS -o a.html --data-dir", 1),
        ("compare OTHER", 2),
        ("study --collect", 1),
    ] {
        let words = words.replace("WEIGHTS", weights.to_str().unwrap()).replace("OTHER", other);
        assert_refused(lab.program(&words).arg(name(path)), code, &[shown]);
    }
}

#[test]
fn an_error_names_a_path_with_a_backslash_whole() {
    let lab = Lab::new();
    let path = r"C:\new";
    assert_named(&lab, path.as_bytes(), path, ".");
    let weights = checkout().join("output/MNIST_MLR/version_0");
    lab.assert_refused(&format!("plot {} -o {path}/a.png", weights.display()), 1, &[path]);
    lab.write(path, "no such thing");
    for (words, code) in [("test --checkpoint", 1), ("plot -o a.png", 1), ("compare .", 2)] {
        lab.assert_refused(&format!("{words} {path}"), code, &[path]);
    }
}

#[test]
#[ignore = "slow"]
fn an_error_names_any_path_in_a_line_where_there_is_nothing_or_something_else() {
    for (path, shown) in [
        (&b"version_0"[..], "version_0"),
        (b"no\n\x07\x1b[31mthing\x7f", "thing"),
        (b"nothing\xff", "nothing"),
    ] {
        let lab = Lab::new();
        let there = lab.path().join(name(path));
        assert_named(&lab, path, shown, ".");
        fs::write(&there, "no such thing").unwrap();
        assert_named(&lab, path, shown, ".");
        fs::remove_file(&there).unwrap();
        fs::create_dir(&there).unwrap();
        for file in ["weights.safetensors", "metrics.csv", "run.trace", "stdout.txt", "run.json"] {
            fs::write(there.join(file), "no such thing").unwrap();
        }
        assert_named(&lab, path, shown, "data/MNIST/raw/train-labels-idx1-ubyte");
    }
}

#[test]
fn an_error_names_a_tensor_with_a_backslash_whole() {
    let lab = Lab::new();
    let tensor = r"layer\new\nframe #0";
    for (file, value) in [("a.safetensors", 1.0), ("b.safetensors", 2.0)] {
        let tensors = [(tensor, Tensor::from_slice(&[value]))];
        Tensor::write_safetensors(&tensors, lab.path().join(file)).unwrap();
    }
    lab.assert_refused("test --checkpoint a.safetensors", 1, &["a.safetensors", tensor]);
    lab.program("compare a.safetensors b.safetensors").assert().code(1).stdout(contains(tensor));
}

#[test]
fn runs_whose_names_are_not_utf_8_are_told_apart_in_a_figure() {
    let lab = Lab::new();
    for run in [b"\xfe", b"\xff"] {
        let run = lab.path().join(name(run));
        fs::create_dir(&run).unwrap();
        fs::copy(checkout().join("output/MNIST/version_0/metrics.csv"), run.join("metrics.csv")).unwrap();
    }
    line(lab.path(), b"plot \xfe \xff -o both.svg");
    let svg = lab.text("both.svg");
    assert!(svg.contains("\\xfe Training") && svg.contains("\\xff Training"), "{svg}");
}

#[test]
#[ignore = "needs the Python reference"]
fn python_writes_reads_and_prints_such_paths_as_rust_does() {
    let lab = lab();
    let (folder, root) = (lab.path(), Path::new("/"));
    // In the most awkward of locales: such a path is no ASCII, and stdout takes nothing else.
    let mut train = Command::new(checkout().join(".venv/bin/python"));
    train.args(["-I", "-X", "utf8=0"]).arg(checkout().join("scripts/train.py")).env("LC_ALL", "C");
    train.args(TRAIN.split(|&byte| byte == b' ').skip(1).map(name));
    train.args([b"--output-dir", NAME, b"--trace", b"t\xff"].map(name));
    let run = stdout_in(folder, train.env("CUDA_VISIBLE_DEVICES", "").env_remove("ISLP_MNIST_DATA_DIR"));
    assert_eq!(run, b"o\xff/MNIST_MLR/version_0\n");
    assert!(folder.join(name(b"t\xff")).exists());
    let run = folder.join(name(run.trim_ascii_end()));
    assert_eq!(run_json(&run)["data_dir"], json!(url(&lab)));

    // Here, and there again; the data are found from any folder.
    let python = || python_in(root, "scripts/train.py", "");
    let rust = || command(root, "train");
    for (mut command, epochs) in [(rust(), 2), (python(), 3)] {
        let stdout = stdout_in(root, command.arg(format!("--epochs={epochs}")).arg("--resume").arg(&run));
        assert_eq!(stdout, [run.as_os_str().as_bytes(), b"\n"].concat());
        assert_eq!(run_json(&run)["outcome"]["epochs"], epochs);
    }
    let again = folder.join(name(b"again\xff"));
    let from = |mut command: Command, run: &Path| {
        let stdout = stdout_in(root, command.arg("--from").arg(run).arg("--output-dir").arg(&again));
        PathBuf::from(std::ffi::OsString::from_vec(stdout.trim_ascii_end().to_vec()))
    };
    // As an earlier version wrote it.
    write_lone_surrogates(&run, &lab);
    let first = from(python(), &run);
    assert_eq!(first, again.join("MNIST_MLR/version_0"));
    let second = from(rust(), &first);
    for again in [first, second] {
        assert!(fs::read(again.join("metrics.csv")).unwrap() == fs::read(run.join("metrics.csv")).unwrap());
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn the_command_that_python_prints_can_be_pasted_and_other_scripts_accept_such_paths() {
    let lab = lab();
    let folder = lab.path();
    for path in [&b"o\xff"[..], b"-o", b"it's", b"two\nlines\x1b", b"'\\\xff", "grüße\u{85}".as_bytes(), b""]
    {
        let mut python = python_line(folder, "import paths; sys.stdout.write(paths.shell_word(sys.argv[1]))");
        let word = String::from_utf8(stdout_in(folder, python.arg(name(path)))).unwrap();
        assert!(!word.contains(char::is_control), "{word:?}");
        let pasted = bash(folder, &format!("printf '%s' {word}"));
        let expected = if path.starts_with(b"-") { [b"./", path].concat() } else { path.to_vec() };
        assert_eq!(pasted, expected, "{word}");
    }
    let mut notebook = python_in(folder, "scripts/notebook.py", "--epochs 1 --quiet --batch-size 50");
    let output_dir = name(b"it's \n\xff");
    notebook.args([OsStr::new("--data-dir"), name(NAME), OsStr::new("--output-dir"), output_dir]);
    stdout_in(folder, &mut notebook);
    let run = folder.join(output_dir).join("MNIST/version_0");
    assert!(run.join("model.safetensors").exists());
    let mut convert = python_in(folder, "scripts/parity_checkpoint.py", "");
    let refused = convert.arg(run.join("metrics.csv")).arg(run.join("out.safetensors")).output().unwrap();
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(stderr.starts_with("error: ") && stderr.lines().count() == 1, "{stderr:?}");
}
