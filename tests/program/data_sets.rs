//! The data that people have: MNIST under its other usual names and in other folders, and data in its form that are not
//! MNIST.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::common::processes::with_file_size_limit;
use crate::common::python::{python_line, python_output};
use crate::common::{
    Lab, assert_refused, checkout, command, data_dir, idx, names, output, program, stdout_of,
};
use islp_mnist::torchvision::{self, CHECKSUMS};
use predicates::Predicate;
use predicates::str::{contains, is_match};
use serde_json::Value;

const RUN: &str = "train --model mlr --epochs 1 --no-progress";
const IMAGES: &str = "train-images-idx3-ubyte";

/// Where the four files may be below a data folder: a path for each name; those that end with .gz are compressed.
type Layout = fn(&str) -> String;

fn dotted(name: &str) -> String {
    name.replace("-idx", ".idx")
}

const LAYOUTS: [(&str, Layout); 8] = [
    ("dotted", |name| format!("MNIST/raw/{}", dotted(name))),
    ("compressed", |name| format!("MNIST/raw/{name}.gz")),
    ("compressed-beside", |name| format!("{}.gz", dotted(name))),
    ("kaggle", |name| format!("{name}/{name}")),
    ("kaggle-dotted", |name| format!("raw/{}/{}", dotted(name), dotted(name))),
    ("beside", |name| name.to_string()),
    ("raw", |name| format!("raw/{name}")),
    ("mixed", |name| if name.contains("images") { format!("{}.gz", dotted(name)) } else { name.to_string() }),
];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    assert_cmd::Command::new("gzip").arg("-c").write_stdin(bytes).output().unwrap().stdout
}

/// Writes the lab's data once more, into another folder.
fn lay_out(lab: &Lab, folder: &str, layout: Layout) -> PathBuf {
    for (file, _) in CHECKSUMS {
        let bytes = lab.read("data/MNIST/raw", file);
        let path = layout(file);
        lab.write(&format!("{folder}/{path}"), if path.ends_with(".gz") { gzip(&bytes) } else { bytes });
    }
    lab.path().join(folder)
}

/// The content of every file below a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Stdout and stderr of a command that must succeed and leave no temporary file behind.
fn run(lab: &Lab, arguments: &str) -> (String, String) {
    let temporary = tempfile::tempdir().unwrap();
    let output = output(lab.program(arguments).env("TMPDIR", temporary.path()));
    assert_eq!(names(temporary.path()), [""; 0], "{arguments}");
    output
}

#[test]
fn mnist_is_read_under_its_other_usual_names_to_the_same_bytes() {
    let lab = Lab::new();
    let usual = lab.train("--model mlr --epochs 1");
    for (name, layout) in LAYOUTS {
        let folder = lay_out(&lab, name, layout);
        let before = files(&folder);
        run(&lab, &format!("{RUN} --data-dir {name} --name {name}"));
        let run = format!("output/{name}/version_0");
        lab.assert_same(&run, &usual, name);
        assert_eq!(lab.run_json(&run)["data"], lab.run_json(&usual)["data"], "{name}");
        assert_eq!(files(&folder), before, "{name}: the user's folder");
    }
}

#[test]
fn a_run_is_resumed_and_repeated_with_its_data_under_other_names() {
    let lab = Lab::new();
    let whole = lab.train("--model mlr --epochs 2 --name whole");
    lay_out(&lab, "gz", |name| format!("{name}.gz"));
    let run = lab.train("--model mlr --epochs 1 --data-dir gz");
    lab.train(&format!("--resume {run} --epochs 2 --data-dir data"));
    lab.assert_same(&run, &whole, "resumed");
    let again = lab.train(&format!("--from {whole} --name again --data-dir gz"));
    lab.assert_same(&again, &whole, "repeated");
    // The error names the file that is there.
    lab.write("gz/t10k-labels-idx1-ubyte.gz", gzip(&idx(&[100], &[3; 100])));
    let other = "gz/t10k-labels-idx1-ubyte.gz: not the file that the run was trained on";
    lab.assert_refused(&format!("train --from {whole} --data-dir gz"), 1, &[other]);
}

#[test]
fn a_run_finds_its_data_again_from_any_folder() {
    let lab = Lab::new();
    let [here, there] = ["here", "there"].map(|name| lab.path().join(name));
    fs::create_dir(&here).unwrap();
    fs::create_dir(&there).unwrap();
    // The path given is relative to `here`.
    symlink(lab.path().join("data"), here.join("images")).unwrap();
    program(&here, "train --model mlr --epochs 1 --data-dir images").assert().success();
    let run = "here/output/MNIST_MLR/version_0";
    program(&there, &format!("train --epochs 2 --resume ../{run}")).assert().success();
    assert_eq!(lab.run_json(run)["outcome"]["epochs"], 2);
    program(&there, &format!("train --from ../{run}/run.json")).assert().success();
    assert_eq!(lab.run_json("there/output/MNIST_MLR/version_0")["outcome"]["epochs"], 2);
    // An option overrides run.json.
    program(&there, &format!("train --data-dir nowhere --resume ../{run}")).assert().code(1);
}

#[test]
fn the_environment_names_the_data_folder_and_an_option_overrides_it() {
    let lab = Lab::new();
    let here = lab.path().join("here");
    fs::create_dir(&here).unwrap();
    let there = lab.path().join("data");
    let weights = checkout().join("output/MNIST_MLR/version_0");
    for arguments in
        ["train --model mlr --epochs 1", "reproduce --epochs 1", "test WEIGHTS", "predict --index 0 WEIGHTS"]
    {
        let arguments = arguments.replace("WEIGHTS", &format!("--checkpoint {}", weights.display()));
        program(&here, &arguments).env("ISLP_MNIST_DATA_DIR", &there).assert().success();
        let mut overridden = program(&here, &arguments);
        overridden.env("ISLP_MNIST_DATA_DIR", "nowhere").arg("--data-dir").arg(&there).assert().success();
    }
    // These data are not MNIST's, but the report names their folder.
    let mut doctor = program(&here, "doctor --device cpu");
    let raw = there.join("MNIST/raw");
    doctor.env("ISLP_MNIST_DATA_DIR", &there).assert().code(1).stdout(contains(raw.to_str().unwrap()));
    doctor.args(["--data-dir", "nowhere"]).assert().code(1).stdout(contains("nowhere/MNIST/raw"));
}

/// The notes on stderr.
fn notes(stderr: &str) -> Vec<&str> {
    stderr.lines().filter(|line| line.starts_with("note: ")).collect()
}

/// The note on a folder whose data are not MNIST's.
fn other(folder: &str) -> String {
    format!("note: {folder}: the data are in MNIST's format, but the SHA-256 is not MNIST's")
}

#[test]
fn every_command_reads_the_same_names_and_notes_once_that_the_data_are_not_mnist() {
    let lab = Lab::new();
    let trained = lab.train("--model mlr --epochs 1");
    lay_out(&lab, "gz", |name| format!("{}.gz", dotted(name)));
    for command in [
        format!("{RUN} --name DATA"),
        format!("train --resume {trained} --epochs 2 --no-progress"),
        format!("test --checkpoint {trained}"),
        format!("predict --checkpoint {trained} --index 7"),
        format!("report {trained} -o page.html"),
        "reproduce --epochs 1 --no-progress --output-dir DATA-reproduced".into(),
        "study --seeds 0..1 --epochs 1 --no-progress --output-dir DATA-study".into(),
    ] {
        // `data` is the default.
        let [usual, gz] = [("data", ""), ("gz", " --data-dir gz")].map(|(data, option)| {
            let (stdout, stderr) = run(&lab, &format!("{}{option}", command.replace("DATA", data)));
            // A resumed run has its data's absolute path.
            let stderr = stderr.replace(&format!("{}/", lab.path().display()), "");
            let folder = if data == "gz" { "gz" } else { "data/MNIST/raw" };
            assert_eq!(notes(&stderr), [other(folder)], "{command}: {stderr}");
            stdout.replace(&format!("output/{data}/"), "")
        });
        assert_eq!(usual, gz, "{command}");
    }
    // A study notes it once for all of its runs.
    assert_eq!(lab.text("data-study/runs/mlr/seed=0/log.txt"), "");
    for run in [&trained, "data-reproduced/MNIST/version_0", "data-study/runs/mlr/seed=0/version_0"] {
        assert_eq!(lab.run_json(run)["data_set"], "other", "{run}");
    }
    assert!(lab.text("page.html").contains("but not MNIST"), "the page");
    let doctor = lab.program("doctor --device cpu --data-dir gz").assert().code(1);
    doctor.stdout(contains("PROBLEM: gz: train-images.idx3-ubyte.gz is not MNIST's: its SHA-256 differs; "));
}

#[test]
fn links_are_followed_and_a_folder_with_all_four_files_precedes_one_with_some() {
    let lab = Lab::new();
    let (data, mixed) = (lab.path().join("data"), lab.path().join("mixed"));
    let sums = torchvision::checksums(&data).unwrap();
    lab.write(&format!("mixed/MNIST/raw/{IMAGES}"), "something else");
    for (name, _) in CHECKSUMS {
        symlink(data.join("MNIST/raw").join(name), mixed.join(dotted(name))).unwrap();
    }
    assert_eq!(torchvision::folder(&mixed), mixed);
    assert_eq!(torchvision::checksums(&mixed).unwrap(), sums);
    // Where there are two, the usual name counts.
    for (name, _) in CHECKSUMS {
        lab.write(&format!("data/MNIST/raw/{name}.gz"), "no gz");
        lab.write(&format!("data/MNIST/raw/{}", dotted(name)), "no IDX file");
    }
    assert_eq!(torchvision::checksums(&data).unwrap(), sums);
}

/// Files in the place of the training images, each with a part of the error.
fn bad_files(images: &[u8]) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let whole = gzip(images);
    let mut flipped = whole.clone();
    let checksum = whole.len() - 6;
    flipped[checksum] ^= 1;
    let huge = gzip(&[images, &vec![0; 100 << 20]].concat());
    vec![
        ("cut", whole[..whole.len() / 2].to_vec(), "cannot be decompressed"),
        ("flipped", flipped, "cannot be decompressed"),
        ("more", huge, "contains more than the 313616 bytes that its header announces"),
        ("less", gzip(&images[..images.len() - 1]), ""),
        ("no images", gzip(b"some text that is long enough"), "no IDX file"),
        ("claims", gzip(&idx(&[u32::MAX, 28, 28], &[0; 784])), "more than 4294967295"),
        ("nothing", gzip(b""), "no IDX file"),
    ]
}

#[test]
fn a_compressed_file_is_decompressed_no_further_than_its_header_announces() {
    let lab = Lab::new();
    lay_out(&lab, "gz", |name| format!("{name}.gz"));
    for (what, bytes, reason) in bad_files(&lab.read("data/MNIST/raw", IMAGES)) {
        lab.write(&format!("gz/{IMAGES}.gz"), bytes);
        let temporary = tempfile::tempdir().unwrap();
        // To write more than a MiB into a file would fail, with another error.
        let mut limited = with_file_size_limit(1024, &command(lab.path(), "train --data-dir gz"));
        limited.env("TMPDIR", temporary.path());
        let named = format!("error: gz/{IMAGES}.gz: ");
        assert_refused(&mut limited, 1, &[&named, reason, "--data-dir"]);
        assert!(!lab.exists("output") && names(temporary.path()).is_empty(), "{what}");
    }
}

#[test]
fn an_error_names_the_missing_file_and_the_names_and_folders_that_were_tried() {
    let lab = Lab::new();
    let tried = [
        "nowhere/MNIST/raw/train-images-idx3-ubyte: no such file",
        "train-images.idx3-ubyte",
        ".gz",
        "nowhere/MNIST/raw, nowhere/raw or nowhere;",
        "scripts/reproduce.sh fetches MNIST",
    ];
    lab.assert_refused("train --data-dir nowhere", 1, &tried);
    // The folder is the one that has the other files.
    let folder = lay_out(&lab, "some", |name| format!("raw/{name}.gz"));
    fs::remove_file(folder.join("raw/t10k-labels-idx1-ubyte.gz")).unwrap();
    let missing = "error: some/raw/t10k-labels-idx1-ubyte: no such file";
    lab.assert_refused("train --data-dir some", 1, &[missing]);
    fs::create_dir(folder.join("raw/t10k-labels-idx1-ubyte")).unwrap();
    let a_folder = "error: some/raw/t10k-labels-idx1-ubyte: not a regular file";
    lab.assert_refused("train --data-dir some", 1, &[a_folder]);
}

#[test]
fn mnist_is_recorded_as_mnist_and_a_single_other_file_is_named() {
    let lab = Lab::new();
    let train = |data: &Path, name: &str| {
        let (_, stderr) =
            run(&lab, &format!("{RUN} --limit-train-batches 1 --name {name} --data-dir {}", data.display()));
        let notes: Vec<_> = notes(&stderr).into_iter().map(String::from).collect();
        (notes, lab.run_json(&format!("output/{name}/version_0"))["data_set"].clone())
    };
    assert_eq!(train(&data_dir(), "mnist"), (vec![], "MNIST".into()));
    let mixed = lab.path().join("mixed");
    fs::create_dir(&mixed).unwrap();
    for (name, _) in CHECKSUMS {
        symlink(data_dir().join("MNIST/raw").join(name), mixed.join(dotted(name))).unwrap();
    }
    let labels = mixed.join("t10k-labels.idx1-ubyte");
    let mut bytes = fs::read(&labels).unwrap();
    bytes[8] = 0;
    fs::remove_file(&labels).unwrap();
    fs::write(&labels, bytes).unwrap();
    let note = format!("note: {}: in MNIST's format, but the SHA-256 is not MNIST's", labels.display());
    assert_eq!(train(&mixed, "mixed"), (vec![note], "other".into()));
}

#[test]
fn a_run_json_without_a_data_set_is_read() {
    let lab = Lab::new();
    let run = lab.train("--model mlr --epochs 1");
    let mut json = lab.run_json(&run);
    json.as_object_mut().unwrap().remove("data_set").unwrap();
    lab.write(&format!("{run}/run.json"), json.to_string());
    let again = lab.train(&format!("--from {run}"));
    lab.assert_same(&again, &run, "repeated");
}

#[test]
fn no_message_advises_to_delete_files() {
    let object = r"((it|them|what|the|that|this|those|and)\b|[.$])";
    let advice =
        format!("(remove|delete|erase) {object}|take {object}.*away|away.*take {object}|anew without");
    let advises = is_match(advice).unwrap();
    // From earlier versions.
    for line in
        ["another, or remove it", "or take it away", "or remove .libtorch and", "remove what is wrong"]
    {
        assert!(advises.eval(line), "{line}");
    }
    let mut count = 0;
    for (path, bytes) in files(&checkout().join("src")).into_iter().chain(files(&checkout().join("scripts")))
    {
        let endings = ["rs", "py", "sh", "sbatch"].map(OsStr::new);
        if !path.extension().is_some_and(|ending| endings.contains(&ending)) {
            continue;
        }
        let is_code = |line: &&str| !["//", "#"].iter().any(|mark| line.trim_start().starts_with(mark));
        for line in str::from_utf8(&bytes).unwrap().lines().filter(is_code) {
            assert!(!advises.eval(line), "{}: {line}", path.display());
            count += 1;
        }
    }
    assert!(count > 10_000, "{count} lines");
}

/// The checksums that scripts/mnist_files.py finds in a data folder, or its error.
fn python_checksums(lab: &Lab, data: &str) -> String {
    let line = format!(
        "import json, mnist_files\n\
         try: print(json.dumps(mnist_files.checksums({data:?})))\n\
         except mnist_files.Failed as error: print(error)"
    );
    stdout_of(&mut python_line(lab.path(), &line)).trim_end().to_string()
}

#[test]
#[ignore = "needs the Python reference"]
fn python_finds_and_refuses_the_same_files() {
    let lab = Lab::new();
    let sums = serde_json::to_value(torchvision::checksums(&lab.path().join("data")).unwrap()).unwrap();
    for (name, layout) in LAYOUTS {
        lay_out(&lab, name, layout);
        let found: Value = serde_json::from_str(&python_checksums(&lab, name)).unwrap();
        assert_eq!(found, sums, "{name}");
    }
    let images = format!("compressed/MNIST/raw/{IMAGES}.gz");
    for (what, bytes, reason) in bad_files(&lab.read("data/MNIST/raw", IMAGES)) {
        if what == "less" {
            // torchvision refuses it, not the checksum.
            continue;
        }
        lab.write(&images, bytes);
        let error = python_checksums(&lab, "compressed");
        assert!(error.starts_with(&format!("{images}: ")), "{what}: {error}");
        assert!(error.contains(reason) && error.contains("--data-dir"), "{what}: {error}");
    }
    let error = format!("error: {}\n", python_checksums(&lab, "nowhere"));
    lab.assert_refused("train --data-dir nowhere", 1, &[&error]);
}

#[test]
#[ignore = "needs the Python reference"]
fn a_run_moves_between_the_sides_and_between_names_of_the_data() {
    let lab = Lab::new();
    let whole = lab.train("--model mlr --epochs 2 --name whole");
    lay_out(&lab, "kaggle", |name| format!("{name}/{name}"));
    lay_out(&lab, "gz", |name| format!("raw/{}.gz", dotted(name)));
    let train = |options: &str| python_output(lab.path(), "scripts/train.py", options).1;
    let stderr = train("--model mlr --epochs 1 --data-dir gz --name python");
    assert_eq!(notes(&stderr), [other("gz/raw")], "{stderr}");
    let run = "output/python/version_0";
    let (ours, theirs) = (lab.run_json(&whole), lab.run_json(run));
    assert_eq!((&theirs["data"], &theirs["data_set"]), (&ours["data"], &ours["data_set"]));
    lab.train(&format!("--resume {run} --epochs 2 --data-dir kaggle"));
    lab.assert_same_numbers(run, &whole, "begun in Python");
    let run = lab.train("--model mlr --epochs 1 --data-dir kaggle --name rust");
    train(&format!("--resume {run} --epochs 2 --data-dir gz"));
    lab.assert_same_numbers(&run, &whole, "begun in Rust");
}

#[test]
#[ignore = "needs the Python reference"]
fn the_notebook_in_python_reads_the_same_names() {
    let lab = Lab::new();
    lay_out(&lab, "gz", |name| format!("{name}.gz"));
    let options = "--epochs 1 --data-dir gz --output-dir python --threads 1";
    let (_, stderr) = python_output(lab.path(), "scripts/notebook.py", options);
    assert_eq!(notes(&stderr), [other("gz")], "{stderr}");
    lab.stdout("reproduce --epochs 1 --data-dir data --output-dir rust --threads 1");
    for model in ["MNIST", "MNIST_MLR"] {
        let [ours, theirs] = ["rust", "python"].map(|side| format!("{side}/{model}/version_0"));
        lab.assert_same_numbers(&ours, &theirs, model);
        let [ours, theirs] = [ours, theirs].map(|run| lab.run_json(&run));
        assert_eq!((&ours["data"], &ours["data_set"]), (&theirs["data"], &theirs["data_set"]));
        assert_eq!(theirs["data_set"], "other");
    }
}
