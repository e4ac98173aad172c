//! Paths that are not UTF-8, or need quotes, from end to end: written into run.json, printed, pasted, and read again, here
//! and by scripts/train.py.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::{assert_refused, checkout, fashion_mnist, islp_mnist, python};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

const NAME: &[u8] = b"o\xff";

fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// A folder with 200 images in `o\xff/`.
fn lab() -> TempDir {
    let folder = tempdir().unwrap();
    link_data(&folder.path().join(name(NAME)));
    folder
}

fn link_data(data_dir: &Path) {
    fs::create_dir_all(data_dir).unwrap();
    symlink(fashion_mnist().join("MNIST"), data_dir.join("MNIST")).unwrap();
}

fn output_of(command: &mut Command, folder: &Path) -> Output {
    let output = command.current_dir(folder).env("OMP_NUM_THREADS", "1").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}:\n{stderr}", output.status);
    output
}

/// What the program prints, without the line's end.
fn said(folder: &Path, arguments: &[&[u8]]) -> Vec<u8> {
    let words = arguments.iter().map(|word| name(word));
    let mut stdout = output_of(islp_mnist().args(words), folder).stdout;
    assert_eq!(stdout.pop(), Some(b'\n'));
    stdout
}

/// A line of bash in a folder, in which `islp-mnist` is the program; its stdout.
fn bash(folder: &Path, line: &str) -> Vec<u8> {
    let bin = Path::new(env!("CARGO_BIN_EXE_islp-mnist")).parent().unwrap().display();
    let line = format!("set -e; PATH={bin}:$PATH; {line}");
    let mut command = Command::new("bash");
    command.env_remove("ISLP_MNIST_DATA_DIR").env("CUDA_VISIBLE_DEVICES", "");
    output_of(command.args(["-c", &line]), folder).stdout
}

fn run_json(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap()
}

/// The folder below a real one, as run.json has it.
fn url(folder: &Path) -> String {
    format!("file://{}/o%FF", folder.display())
}

const TRAIN: [&[u8]; 7] = [b"train", b"--model", b"mlr", b"--epochs", b"1", b"--batch-size", b"50"];

#[test]
fn what_is_printed_is_the_path_byte_for_byte_for_scripts_to_use() {
    let folder = lab();
    let folder = folder.path();
    let run = said(folder, &[&TRAIN[..], &[b"--data-dir", NAME, b"--output-dir", NAME]].concat());
    assert_eq!(run, b"o\xff/MNIST_MLR/version_0");
    let of = |file: &[u8]| [NAME, b"/", file].concat();
    for (command, file) in [(&b"plot"[..], &b"\xfe.svg"[..]), (b"report", b"\xfe.html")] {
        let options: &[&[u8]] = if command == b"report" { &[b"--data-dir", NAME] } else { &[] };
        let printed = said(folder, &[&[command, &run, b"-o", &of(file)], options].concat());
        assert_eq!(printed, of(file));
        assert!(folder.join(name(&printed)).exists());
    }
    // In a script, and the data are found by themselves.
    let line = r#"run=$(islp-mnist train --resume o?/MNIST_MLR/version_0 --epochs 2 --trace $'t\xff')
        cd / && islp-mnist train --resume "$OLDPWD/$run" --epochs 3
        islp-mnist train --from "$OLDPWD/$run/run.json" --epochs 1 --output-dir "$OLDPWD/"$'again\xff'"#;
    let printed = bash(folder, line);
    let path = |name: &[u8]| [folder.as_os_str().as_bytes(), name, b"/MNIST_MLR/version_0\n"].concat();
    assert_eq!(printed, [path(b"/o\xff"), path(b"/again\xff")].concat());
    assert!(folder.join(name(b"t\xff")).exists());
    for run in [printed.split(|&byte| byte == b'\n').next().unwrap(), &printed[path(b"/o\xff").len()..]] {
        let run = PathBuf::from(name(run.strip_suffix(b"\n").unwrap_or(run)));
        assert_eq!(run_json(&run)["data_dir"], json!(url(folder)));
    }
    let test = bash(
        folder,
        "ISLP_MNIST_DATA_DIR=$'o\\xff' islp-mnist test --json --checkpoint $'o\\xff/MNIST_MLR/version_0'",
    );
    assert!(serde_json::from_slice::<Value>(&test).unwrap()["test_accuracy"].is_number());
}

#[test]
fn json_that_names_a_path_is_json_whatever_the_path() {
    let folder = lab();
    let folder = folder.path();
    for picture in [&b"4\xff.png"[..], b"4.png"] {
        fs::copy(checkout().join("docs/four.png"), folder.join(name(picture))).unwrap();
    }
    let weights = checkout().join("output/MNIST/version_0");
    let checkpoint = weights.as_os_str().as_bytes();
    let words = [
        &b"predict"[..],
        b"--checkpoint",
        checkpoint,
        b"4\xff.png",
        b"4.png",
        b"--save-digit",
        b"28\xff.png",
    ];
    let json: Value = serde_json::from_slice(&said(folder, &[&words[..], &[b"--json"]].concat())).unwrap();
    assert_eq!(json[0]["image"], json!(format!("file://{}/4%FF.png", folder.display())));
    assert_eq!(json[1]["image"], json!("4.png"));
    let lines = String::from_utf8(said(folder, &words)).unwrap();
    assert!(lines.starts_with("4\\xff.png: 4 "), "{lines}");
    assert!(folder.join(name(b"28\xff.png")).exists());
    let (left, right) = (folder.join(name(b"a\xff.txt")), folder.join(name(b"b\xff.txt")));
    fs::write(&left, "1\n").unwrap();
    fs::write(&right, "1\n").unwrap();
    let compare = [&b"compare"[..], b"--json", left.as_os_str().as_bytes(), right.as_os_str().as_bytes()];
    assert_eq!(serde_json::from_slice::<Value>(&said(folder, &compare)).unwrap()["verdict"], "identical");
}

/// As json.dumps writes it where a path is handed to it as it is.
fn with_lone_surrogates(run: &Path, folder: &Path) {
    let text = fs::read_to_string(run.join("run.json")).unwrap();
    let earlier = text.replace(&url(folder), &format!("{}/o\\udcff", folder.display()));
    assert!(earlier != text);
    fs::write(run.join("run.json"), earlier).unwrap();
}

#[test]
fn a_run_json_with_lone_surrogates_is_read_by_every_command() {
    let folder = lab();
    let folder = folder.path();
    for epochs in [b"1", b"2"] {
        said(folder, &[&TRAIN[..4], &[epochs], &TRAIN[5..], &[b"--data-dir", NAME]].concat());
    }
    let runs = ["output/MNIST_MLR/version_0", "output/MNIST_MLR/version_1"];
    for run in runs {
        with_lone_surrogates(&folder.join(run), folder);
    }
    let compare = islp_mnist().current_dir(folder).arg("compare").args(runs).output().unwrap();
    let told = String::from_utf8(compare.stdout).unwrap();
    assert!(told.contains("--epochs: reference 1, candidate 2"), "{told}");
    let page = [&b"report"[..], runs[0].as_bytes(), b"-o", b"run.html", b"--data-dir", NAME];
    said(folder, &page);
    assert!(fs::read_to_string(folder.join("run.html")).unwrap().contains("--epochs 1"));
    let again = said(folder, &[b"train", b"--from", runs[0].as_bytes()]);
    assert_eq!(again, b"output/MNIST_MLR/version_2");
    // From any folder, the data are found.
    let resumed = folder.join(runs[0]);
    let words = [&b"train"[..], b"--epochs", b"2", b"--resume", resumed.as_os_str().as_bytes()];
    assert_eq!(said(Path::new("/"), &words), resumed.as_os_str().as_bytes());
    assert_eq!(run_json(&resumed)["data_dir"], json!(url(folder)), "written anew, it is as we write it");
}

/// Stops a run in a folder of that name; the line that says how it goes on.
fn interrupted(folder: &Path, output_dir: &OsStr) -> String {
    let mut command = islp_mnist();
    command
        .current_dir(folder)
        .env("OMP_NUM_THREADS", "1")
        .args(["train", "--model", "mlr", "--epochs", "1000000"]);
    let mut option = "--output-dir=".to_string().into_bytes();
    option.extend(output_dir.as_bytes());
    command
        .args([OsStr::new("--data-dir"), name(NAME), name(&option)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let run = folder.join(Path::new(".").join(output_dir)).join("MNIST_MLR/version_0");
    let start = Instant::now();
    while !run.join("checkpoints/last.safetensors").exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "no checkpoint within a minute");
        sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap().success());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    assert_eq!(status.code(), Some(143));
    assert_eq!(stdout, [output_dir.as_bytes(), b"/MNIST_MLR/version_0\n"].concat());
    let stderr = String::from_utf8(stderr).expect("what is said is text");
    stderr.lines().last().unwrap().to_string()
}

#[test]
#[ignore = "slow"]
fn the_command_that_goes_on_can_be_pasted_whatever_the_folder_is_called() {
    let folder = lab();
    let folder = folder.path();
    for output_dir in [
        &b"o\xff"[..],
        b"-o",
        b"it's here",
        b"two\nlines\x1b[31m",
        b"\\ \xff \"'$HOME'\"",
        "grüße~".as_bytes(),
    ] {
        let line = interrupted(folder, name(output_dir));
        assert!(!line.contains(char::is_control), "{line:?}");
        let command = line.strip_prefix("interrupted; resume with ").unwrap();
        let printed = bash(folder, &format!("{command} --max-time 0s"));
        let printed = printed.strip_prefix(b"./").unwrap_or(&printed);
        assert_eq!(printed, [output_dir, b"/MNIST_MLR/version_0\n"].concat(), "{command}");
    }
}

#[test]
#[ignore = "slow"]
fn an_error_that_names_a_path_is_a_line_whatever_the_path() {
    let folder = tempdir().unwrap();
    for (words, code) in [
        (&["train", "--resume"][..], 1),
        (&["train", "--from"], 1),
        (&["train", "--data-dir"], 1),
        (&["test", "--checkpoint"], 1),
        (&["plot", "-o", "a.png"], 1),
        (&["plot", "a.csv", "-o"], 2),
        (&["report", "run", "-o", "a.html", "--data-dir"], 1),
        (&["compare", "."], 2),
        (&["study", "--collect"], 1),
    ] {
        for path in [&b"no\n\x07\x1b[31mthing\x7f"[..], b"nothing\xff"] {
            let mut command = islp_mnist();
            command.current_dir(&folder).args(words).arg(name(path));
            assert_refused(&mut assert_cmd::Command::from_std(command), code, &["thing"]);
        }
    }
}

#[test]
fn a_study_takes_any_path_too() {
    let folder = lab();
    let folder = folder.path();
    link_data(&folder.join("-data"));
    let options: [&[u8]; 8] =
        [b"study", b"--seeds", b"0", b"--model", b"mlr", b"--epochs", b"1", b"--output-dir=-s\xff"];
    let study =
        islp_mnist().current_dir(folder).args(options.map(name)).arg("--data-dir=-data").output().unwrap();
    let stderr = String::from_utf8(study.stderr).unwrap();
    assert!(study.status.success(), "{stderr}");
    assert!(stderr.ends_with("1 run is in $'./-s\\xff/study.csv'\n"), "{stderr}");
    assert!(folder.join(name(b"-s\xff")).join("study.csv").exists());
}

#[test]
fn runs_whose_names_are_not_utf_8_are_told_apart_in_a_figure() {
    let folder = tempdir().unwrap();
    for run in [b"\xfe", b"\xff"] {
        let run = folder.path().join(name(run));
        fs::create_dir(&run).unwrap();
        fs::copy(checkout().join("output/MNIST/version_0/metrics.csv"), run.join("metrics.csv")).unwrap();
    }
    said(folder.path(), &[b"plot", b"\xfe", b"\xff", b"-o", b"both.svg"]);
    let svg = fs::read_to_string(folder.path().join("both.svg")).unwrap();
    assert!(svg.contains("\\xfe Training") && svg.contains("\\xff Training"), "{svg}");
}

/// scripts/train.py, or another script, in a folder.
fn python_in(folder: &Path, script: &str) -> Command {
    let mut command = python(script);
    command.current_dir(folder).env("OMP_NUM_THREADS", "1").env_remove("ISLP_MNIST_DATA_DIR");
    command
}

#[test]
#[ignore = "needs the Python reference"]
fn python_writes_reads_and_prints_such_paths_as_rust_does() {
    let folder = lab();
    let folder = folder.path();
    let options: Vec<&OsStr> = TRAIN[1..].iter().map(|word| name(word)).collect();
    let folders = [b"--data-dir", NAME, b"--output-dir", NAME, b"--trace", b"t\xff"].map(name);
    // With the most awkward of locales: a path is then no ASCII, and stdout takes nothing else.
    let mut train = Command::new(checkout().join(".venv/bin/python"));
    train.args(["-I", "-X", "utf8=0"]).arg(checkout().join("scripts/train.py")).env("LC_ALL", "C");
    train.env("CUDA_VISIBLE_DEVICES", "").env_remove("ISLP_MNIST_DATA_DIR").args(&options).args(folders);
    let run = output_of(&mut train, folder).stdout;
    assert_eq!(run, b"o\xff/MNIST_MLR/version_0\n");
    assert!(folder.join(name(b"t\xff")).exists());
    let run = folder.join(name(run.trim_ascii_end()));
    assert_eq!(run_json(&run)["data_dir"], json!(url(folder)));

    // Here, and there again; the data are found from any folder.
    let root = Path::new("/");
    let go_on = |command: &mut Command, epochs: &str| {
        let stdout = output_of(command.args(["--epochs", epochs, "--resume"]).arg(&run), root).stdout;
        assert_eq!(stdout, [run.as_os_str().as_bytes(), b"\n"].concat());
        assert_eq!(run_json(&run)["outcome"]["epochs"], epochs.parse::<u64>().unwrap());
    };
    go_on(islp_mnist().arg("train"), "2");
    go_on(&mut python_in(root, "scripts/train.py"), "3");
    let from = |command: &mut Command, run: &Path| {
        let output_dir = folder.join(name(b"again\xff"));
        output_of(command.arg("--from").arg(run).arg("--output-dir").arg(output_dir), root).stdout
    };
    // As an earlier version wrote it.
    with_lone_surrogates(&run, folder);
    let again = from(&mut python_in(root, "scripts/train.py"), &run);
    assert_eq!(again, [folder.as_os_str().as_bytes(), b"/again\xff/MNIST_MLR/version_0\n"].concat());
    from(islp_mnist().arg("train"), Path::new(name(again.trim_ascii_end())));
    let metrics = |run: &Path| fs::read(run.join("metrics.csv")).unwrap();
    for version in 0..2 {
        let again = folder.join(name(b"again\xff")).join(format!("MNIST_MLR/version_{version}"));
        assert!(metrics(&again) == metrics(&run), "version_{version}");
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn what_python_says_to_go_on_with_can_be_pasted_and_other_scripts_take_such_paths() {
    let folder = lab();
    let folder = folder.path();
    let output_dir = name(b"it's \n\xff");
    let script = "import sys; sys.path.insert(0, sys.argv[1]); import paths; sys.stdout.write(paths.shell_word(sys.argv[2]))";
    for path in [&b"o\xff"[..], b"-o", b"it's", b"two\nlines\x1b", b"'\\\xff", "grüße\u{85}".as_bytes(), b""]
    {
        let mut command = Command::new(checkout().join(".venv/bin/python"));
        command.args(["-I", "-X", "utf8", "-c", script]).arg(checkout().join("scripts")).arg(name(path));
        let word = String::from_utf8(output_of(&mut command, folder).stdout).unwrap();
        assert!(!word.contains(char::is_control), "{word:?}");
        let pasted = bash(folder, &format!("printf '%s' {word}"));
        let expected = if path.starts_with(b"-") { [b"./", path].concat() } else { path.to_vec() };
        assert_eq!(pasted, expected, "{word}");
    }
    let mut notebook = python_in(folder, "scripts/notebook.py");
    notebook.args(["--epochs", "1", "--quiet", "--batch-size", "50"]);
    output_of(
        notebook.args([OsStr::new("--data-dir"), name(NAME), OsStr::new("--output-dir"), output_dir]),
        folder,
    );
    let run = folder.join(output_dir).join("MNIST/version_0");
    assert!(run.join("model.safetensors").exists());
    let mut convert = python_in(folder, "scripts/parity_checkpoint.py");
    let refused = convert.arg(run.join("metrics.csv")).arg(run.join("out.safetensors")).output().unwrap();
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(stderr.starts_with("error: ") && stderr.lines().count() == 1, "{stderr:?}");
}
