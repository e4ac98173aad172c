//! The data that people have: MNIST under its other usual names, and data in its form that are not MNIST.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Lab, assert_refused, checkout, data_dir, idx, program, python, stdout_of, train};
use islp_mnist::torchvision::{self, CHECKSUMS};
use predicates::str::contains;

const RUN: &str = "train --model mlr --epochs 1 --no-progress";

/// How the four files may lie in a data folder: where, and whether compressed.
type Layout = fn(&str) -> (String, bool);

fn dotted(name: &str) -> String {
    name.replace("-idx", ".idx")
}

const LAYOUTS: [(&str, Layout); 8] = [
    ("dotted", |name| (format!("MNIST/raw/{}", dotted(name)), false)),
    ("compressed", |name| (format!("MNIST/raw/{name}.gz"), true)),
    ("compressed-beside", |name| (format!("{}.gz", dotted(name)), true)),
    ("kaggle", |name| (format!("{name}/{name}"), false)),
    ("kaggle-dotted", |name| (format!("raw/{}/{}", dotted(name), dotted(name)), false)),
    ("beside", |name| (name.to_string(), false)),
    ("raw", |name| (format!("raw/{name}"), false)),
    ("mixed", |name| {
        if name.contains("images") {
            (format!("{}.gz", dotted(name)), true)
        } else {
            (name.to_string(), false)
        }
    }),
];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    assert_cmd::Command::new("gzip").arg("-c").write_stdin(bytes).output().unwrap().stdout
}

/// Lays the lab's data out anew.
fn lay_out(lab: &Lab, name: &str, layout: Layout) -> PathBuf {
    let folder = lab.path().join(name);
    for (file, _) in CHECKSUMS {
        let bytes = lab.read("data/MNIST/raw", file);
        let (path, is_compressed) = layout(file);
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, if is_compressed { gzip(&bytes) } else { bytes }).unwrap();
    }
    folder
}

/// Every file below a folder, with its content.
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

/// A folder for temporary files, where none of the data are left. Python's packages leave some of their own.
fn temporary(lab: &Lab) -> PathBuf {
    let folder = lab.path().join("temporary");
    fs::create_dir_all(&folder).unwrap();
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("islp-mnist-")).count(), 0);
    folder
}

#[test]
fn mnist_is_read_under_its_other_usual_names_to_the_same_bytes() {
    let lab = Lab::new();
    let usual = lab.train("--model mlr --epochs 1");
    for (name, layout) in LAYOUTS {
        let folder = lay_out(&lab, name, layout);
        let before = files(&folder);
        let mut command = lab.program(&format!("{RUN} --data-dir {name} --name {name}"));
        command.env("TMPDIR", temporary(&lab)).assert().success();
        let run = format!("output/{name}/version_0");
        lab.assert_same(&run, &usual, name);
        assert_eq!(lab.run_json(&run)["data"], lab.run_json(&usual)["data"], "{name}");
        assert_eq!(files(&folder), before, "{name}: the user's folder");
        temporary(&lab);
    }
}

#[test]
fn a_run_goes_on_and_is_repeated_with_its_data_under_other_names() {
    let lab = Lab::new();
    let whole = lab.train("--model mlr --epochs 2 --name whole");
    lay_out(&lab, "gz", |name| (format!("{name}.gz"), true));
    let run = lab.train("--model mlr --epochs 1 --data-dir gz");
    lab.train(&format!("--resume {run} --epochs 2 --data-dir data"));
    lab.assert_same(&run, &whole, "resumed");
    let again = lab.train(&format!("--from {whole} --name again --data-dir gz"));
    lab.assert_same(&again, &whole, "repeated");
    // Other data are named as they lie there.
    fs::write(lab.path().join("gz/t10k-labels-idx1-ubyte.gz"), gzip(&idx(&[100], &[3; 100]))).unwrap();
    let mut other = lab.program(&format!("train --from {whole} --data-dir gz"));
    assert_refused(
        &mut other,
        1,
        &["gz/t10k-labels-idx1-ubyte.gz: not the file that the run was trained on"],
    );
}

#[test]
fn every_command_reads_the_same_names() {
    let lab = Lab::new();
    let run = lab.train("--model mlr --epochs 1");
    lay_out(&lab, "gz", |name| (format!("{}.gz", dotted(name)), true));
    for command in [
        format!("test --checkpoint {run}"),
        format!("predict --checkpoint {run} --index 7"),
        format!("report {run} -o page.html"),
        "reproduce --epochs 1 --no-progress".into(),
        "study --seeds 0 --epochs 1 --no-progress".into(),
    ] {
        let said = ["data", "gz"].map(|data| {
            let command = command.replace("reproduce", &format!("reproduce --output-dir {data}-reproduced"));
            let command = command.replace("study", &format!("study --output-dir {data}-study"));
            let mut command = lab.program(&format!("{command} --data-dir {data}"));
            let output =
                command.env("TMPDIR", temporary(&lab)).assert().success().get_output().stdout.clone();
            String::from_utf8(output).unwrap()
        });
        assert_eq!(said[0], said[1], "{command}");
    }
    temporary(&lab);
    let doctor = lab.program("doctor --device cpu --data-dir gz").assert().code(1);
    doctor.stdout(contains("PROBLEM: gz: train-images.idx3-ubyte.gz is not MNIST's, its SHA-256 differs; "));
}

#[test]
fn a_link_is_followed_and_a_folder_with_all_four_files_comes_before_one_with_some() {
    let lab = Lab::new();
    let sums = torchvision::checksums(&lab.path().join("data")).unwrap();
    let mixed = lab.path().join("mixed");
    fs::create_dir_all(mixed.join("MNIST/raw")).unwrap();
    for (name, _) in CHECKSUMS {
        symlink(lab.path().join("data/MNIST/raw").join(name), mixed.join(dotted(name))).unwrap();
    }
    fs::write(mixed.join("MNIST/raw").join(CHECKSUMS[0].0), "something else").unwrap();
    assert_eq!(torchvision::folder(&mixed), mixed);
    assert_eq!(torchvision::checksums(&mixed).unwrap(), sums);
    // Where there are two, the usual name counts.
    let raw = lab.path().join("data/MNIST/raw");
    for (name, _) in CHECKSUMS {
        fs::write(raw.join(format!("{name}.gz")), "no gz").unwrap();
        fs::write(raw.join(dotted(name)), "no IDX file").unwrap();
    }
    assert_eq!(torchvision::checksums(&lab.path().join("data")).unwrap(), sums);
}

/// Files in the place of the training images, each with what is said of it.
fn bad_files(images: &[u8]) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let whole = gzip(images);
    let mut flipped = whole.clone();
    let checksum = whole.len() - 6;
    flipped[checksum] ^= 1;
    let huge = gzip(&[images, &vec![0; 100 << 20]].concat());
    vec![
        ("cut", whole[..whole.len() / 2].to_vec(), "cannot be decompressed"),
        ("flipped", flipped, "cannot be decompressed"),
        ("more", huge, "holds more than the 313616 bytes that its header announces"),
        ("less", gzip(&images[..images.len() - 1]), ""),
        ("no images", gzip(b"some text that is long enough"), "no IDX file"),
        ("claims", gzip(&idx(&[u32::MAX, 28, 28], &[0; 784])), "more than 4294967295"),
        ("nothing", gzip(b""), "no IDX file"),
    ]
}

#[test]
fn a_compressed_file_is_decompressed_no_further_than_it_announces_and_named_as_it_lies_there() {
    let lab = Lab::new();
    let folder = lay_out(&lab, "gz", |name| (format!("{name}.gz"), true));
    let images = folder.join("train-images-idx3-ubyte.gz");
    for (what, bytes, said) in bad_files(&lab.read("data/MNIST/raw", "train-images-idx3-ubyte")) {
        fs::write(&images, bytes).unwrap();
        // Who writes more than a MiB into a file is killed.
        let mut command = assert_cmd::Command::new("bash");
        let arguments =
            ["-c", "ulimit -f 1024 && exec \"$0\" train --data-dir gz", env!("CARGO_BIN_EXE_islp-mnist")];
        command.args(arguments).current_dir(lab.path()).env("TMPDIR", temporary(&lab));
        command.env("OMP_NUM_THREADS", "1").env("CUDA_VISIBLE_DEVICES", "").env_remove("ISLP_MNIST_DATA_DIR");
        assert_refused(&mut command, 1, &["error: gz/train-images-idx3-ubyte.gz: ", said, "--data-dir"]);
        assert!(!lab.path().join("output").exists(), "{what}");
        temporary(&lab);
    }
}

#[test]
fn what_is_missing_is_said_with_what_was_looked_for() {
    let lab = Lab::new();
    let looked = [
        "nowhere/MNIST/raw/train-images-idx3-ubyte: no such file",
        "train-images.idx3-ubyte",
        ".gz",
        "nowhere/MNIST/raw, nowhere/raw or nowhere;",
        "scripts/reproduce.sh fetches MNIST",
    ];
    assert_refused(&mut lab.program("train --data-dir nowhere"), 1, &looked);
    // Of the folder that has the others.
    let folder = lay_out(&lab, "some", |name| (format!("raw/{name}.gz"), true));
    fs::remove_file(folder.join("raw/t10k-labels-idx1-ubyte.gz")).unwrap();
    assert_refused(
        &mut lab.program("train --data-dir some"),
        1,
        &["error: some/raw/t10k-labels-idx1-ubyte: no such file"],
    );
    fs::create_dir(folder.join("raw/t10k-labels-idx1-ubyte")).unwrap();
    assert_refused(
        &mut lab.program("train --data-dir some"),
        1,
        &["error: some/raw/t10k-labels-idx1-ubyte: not a regular file"],
    );
}

/// The notes in what a command says.
fn notes(stderr: &str) -> Vec<&str> {
    stderr.lines().filter(|line| line.starts_with("note: ")).collect()
}

const OTHER: &str = "note: data/MNIST/raw: the data are in MNIST's form, but not MNIST's by SHA-256";

#[test]
fn data_in_mnists_form_that_are_not_mnist_are_said_to_be_once_in_every_command() {
    let lab = Lab::new();
    let run = lab.train("--model mlr --epochs 1");
    for command in [
        RUN.to_string(),
        format!("train --resume {run} --epochs 2 --no-progress --data-dir data"),
        "reproduce --epochs 1 --no-progress".into(),
        "study --seeds 0..1 --epochs 1 --no-progress".into(),
        format!("test --checkpoint {run}"),
        format!("predict --checkpoint {run} --index 7"),
        format!("report {run} -o page.html"),
    ] {
        let output = lab.program(&command).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{command}: {stderr}");
        assert_eq!(notes(&stderr), [OTHER], "{command}: {stderr}");
    }
    // A study says it once for all of its runs.
    let log = lab.read("output/seeds/runs/mlr/seed=0", "log.txt");
    assert_eq!(String::from_utf8(log).unwrap(), "");
    for run in [&run, "output/MNIST/version_0", "output/seeds/runs/mlr/seed=0/version_0"] {
        assert_eq!(lab.run_json(run)["data_set"], "other", "{run}");
    }
    let page = String::from_utf8(lab.read("", "page.html")).unwrap();
    assert!(page.contains("but not MNIST"), "the page");
}

#[test]
fn mnist_is_said_to_be_mnist_and_a_single_other_file_is_named() {
    let lab = Lab::new();
    let options = "--model mlr --epochs 1 --limit-train-batches 1 --no-progress";
    let run = |data: &Path, name: &str| {
        let mut command = lab.program(&format!("train {options} --name {name}"));
        let output = command.arg("--data-dir").arg(data).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        let said = notes(&stderr).iter().map(|note| note.to_string()).collect::<Vec<_>>();
        (said, lab.run_json(&format!("output/{name}/version_0"))["data_set"].clone())
    };
    assert_eq!(run(&data_dir(), "mnist"), (vec![], "MNIST".into()));
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
    let note = format!("note: {}: in MNIST's form, but not MNIST's by SHA-256", labels.display());
    assert_eq!(run(&mixed, "mixed"), (vec![note], "other".into()));
}

#[test]
fn a_run_json_without_a_data_set_is_read() {
    let lab = Lab::new();
    let run = lab.train("--model mlr --epochs 1");
    let mut json = lab.run_json(&run);
    json.as_object_mut().unwrap().remove("data_set").unwrap();
    fs::write(lab.path().join(&run).join("run.json"), json.to_string()).unwrap();
    let again = lab.train(&format!("--from {run}"));
    lab.assert_same(&again, &run, "repeated");
}

/// The lines of a source that say something: comments aside, those with a text in them.
fn texts(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let is_code = |line: &&str| !["//", "#"].iter().any(|comment| line.trim_start().starts_with(comment));
    text.lines().filter(is_code).map(String::from).collect()
}

#[test]
fn no_message_advises_to_delete_files() {
    let advises = |line: &str| {
        let words = ["remove", "delete", "erase", "take"];
        let objects = ["it", "them", "what", "the", "that", "this", "those", ".", "and", "$"];
        let words =
            words.iter().flat_map(|word| objects.iter().map(move |object| format!("{word} {object}")));
        let mut found = words.filter(|advice| {
            let is_whole = |after: &str| {
                !advice.ends_with(char::is_alphanumeric) || !after.starts_with(char::is_alphanumeric)
            };
            line.match_indices(advice.as_str()).any(|(place, _)| is_whole(&line[place + advice.len()..]))
        });
        found.any(|advice| !advice.starts_with("take") || line.contains("away"))
            || line.contains("anew without")
    };
    // What was said once.
    for line in [
        "--trace names another, or remove it",
        "or take it away",
        "or remove .libtorch and",
        "remove what is wrong",
    ] {
        assert!(advises(line), "{line}");
    }
    let sources =
        files(&checkout().join("src")).into_keys().chain(files(&checkout().join("scripts")).into_keys());
    let sources =
        sources.filter(|path| path.extension().is_some_and(|ending| ending != "txt" && ending != "pyc"));
    let mut count = 0;
    for path in sources.filter(|path| !path.starts_with(checkout().join("src/fonts"))) {
        for line in texts(&path) {
            assert!(!advises(&line), "{}: {line}", path.display());
            count += 1;
        }
    }
    assert!(count > 10_000, "{count} lines");
}

// In Python.

/// What scripts/mnist_files.py says of a data folder, or why not.
fn python_checksums(lab: &Lab, data: &str) -> String {
    const CODE: &str = "import json, sys; sys.path.insert(0, sys.argv[1]); import mnist_files\n\
        try: print(json.dumps(mnist_files.checksums(sys.argv[2])))\n\
        except mnist_files.Failed as error: print(error)";
    let mut python = Command::new(checkout().join(".venv/bin/python"));
    python.args(["-I", "-B", "-c", CODE]).arg(checkout().join("scripts")).arg(data).current_dir(lab.path());
    stdout_of(&mut python).trim_end().to_string()
}

#[test]
#[ignore = "needs the Python reference"]
fn python_finds_and_refuses_the_same_files() {
    let lab = Lab::new();
    let sums = serde_json::to_value(torchvision::checksums(&lab.path().join("data")).unwrap()).unwrap();
    for (name, layout) in LAYOUTS {
        lay_out(&lab, name, layout);
        let found: serde_json::Value = serde_json::from_str(&python_checksums(&lab, name)).unwrap();
        assert_eq!(found, sums, "{name}");
    }
    let images = lab.path().join("compressed/MNIST/raw/train-images-idx3-ubyte.gz");
    for (what, bytes, said) in bad_files(&lab.read("data/MNIST/raw", "train-images-idx3-ubyte")) {
        if what == "less" {
            // The checksum does not say so, torchvision does.
            continue;
        }
        fs::write(&images, bytes).unwrap();
        let error = python_checksums(&lab, "compressed");
        assert!(error.starts_with("compressed/MNIST/raw/train-images-idx3-ubyte.gz: "), "{what}: {error}");
        assert!(error.contains(said) && error.contains("--data-dir"), "{what}: {error}");
    }
    let ours = train(lab.path(), &["--data-dir", "nowhere"]).output().unwrap().stderr;
    let ours = String::from_utf8(ours).unwrap();
    assert_eq!(ours.trim_end(), format!("error: {}", python_checksums(&lab, "nowhere")));
}

/// One of the checkout's Python scripts in the lab; its stderr.
fn run_python(lab: &Lab, script: &str, options: &str) -> String {
    let mut command = python(script);
    command.args(options.split_whitespace()).current_dir(lab.path()).env("OMP_NUM_THREADS", "1");
    let output = command.env_remove("ISLP_MNIST_DATA_DIR").env("TMPDIR", temporary(lab)).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{script} {options}: {stderr}");
    stderr
}

#[test]
#[ignore = "needs the Python reference"]
fn a_run_goes_from_one_side_to_the_other_and_from_one_name_of_the_data_to_another() {
    let lab = Lab::new();
    let whole = lab.train("--model mlr --epochs 2 --name whole");
    lay_out(&lab, "kaggle", |name| (format!("{name}/{name}"), false));
    lay_out(&lab, "gz", |name| (format!("raw/{}.gz", dotted(name)), true));
    let stderr = run_python(&lab, "scripts/train.py", "--model mlr --epochs 1 --data-dir gz --name python");
    assert_eq!(notes(&stderr), [OTHER.replace("data/MNIST/raw", "gz/raw")], "{stderr}");
    let run = "output/python/version_0";
    let (ours, theirs) = (lab.run_json(&whole), lab.run_json(run));
    assert_eq!((&theirs["data"], &theirs["data_set"]), (&ours["data"], &ours["data_set"]));
    lab.train(&format!("--resume {run} --epochs 2 --data-dir kaggle"));
    for file in ["metrics.csv", "model.safetensors"] {
        assert!(lab.read(run, file) == lab.read(&whole, file), "{file}");
    }
    let run = lab.train("--model mlr --epochs 1 --data-dir kaggle --name rust");
    run_python(&lab, "scripts/train.py", &format!("--resume {run} --epochs 2 --data-dir gz"));
    assert!(lab.read(&run, "model.safetensors") == lab.read(&whole, "model.safetensors"));
    temporary(&lab);
}

#[test]
#[ignore = "needs the Python reference"]
fn the_notebook_in_python_reads_the_same_names() {
    let lab = Lab::new();
    lay_out(&lab, "gz", |name| (format!("{name}.gz"), true));
    let stderr =
        run_python(&lab, "scripts/notebook.py", "--epochs 1 --data-dir gz --output-dir python --threads 1");
    assert_eq!(notes(&stderr), [OTHER.replace("data/MNIST/raw", "gz")], "{stderr}");
    program(lab.path(), "reproduce --epochs 1 --data-dir data --output-dir rust --threads 1")
        .assert()
        .success();
    for model in ["MNIST", "MNIST_MLR"] {
        let [ours, theirs] = ["rust", "python"].map(|side| format!("{side}/{model}/version_0"));
        assert!(lab.read(&ours, "model.safetensors") == lab.read(&theirs, "model.safetensors"), "{model}");
        let [ours, theirs] = [ours, theirs].map(|run| lab.run_json(&run));
        assert_eq!((&ours["data"], &ours["data_set"]), (&theirs["data"], &theirs["data_set"]));
        assert_eq!(theirs["data_set"], "other");
    }
    temporary(&lab);
}
