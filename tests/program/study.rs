//! `study`: the same training with many seeds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common::processes::wait_until;
use crate::common::python::Side;
use crate::common::{Lab, assert_refused, checkout, islp_mnist, python, sha256, stdout_of};
use islp_mnist::study::{
    Distribution, Summary, binomial_error, bootstrap_mean, mean, outperforms, pictures, quantile, rows_in,
    seeds_needed, standard_deviation,
};
use predicates::str::contains;
use serde_json::{Value, json};

/// 10 steps per epoch of 400 images.
const OPTIONS: &str = "--epochs 2 --batch-size 32 --device cpu";

/// Runs a study in this folder of the lab to its end and returns its stdout.
fn study(lab: &Lab, folder: &str, options: &str) -> String {
    let assert = lab.program(&format!("study {OPTIONS} --output-dir {folder} {options}")).assert().success();
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

/// Reads study.csv without the column of seconds, which differs every time.
fn csv(lab: &Lab, folder: &str) -> Vec<Vec<String>> {
    let text = String::from_utf8(lab.read(folder, "study.csv")).unwrap();
    let mut rows: Vec<Vec<String>> =
        text.lines().map(|line| line.split(',').map(String::from).collect()).collect();
    let seconds = rows[0].iter().position(|name| name == "seconds").unwrap();
    rows.iter_mut().for_each(|row| {
        row.remove(seconds);
    });
    rows
}

/// Returns the version folders of all runs.
fn versions(folder: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect::<Vec<_>>()
    };
    let models = list(&folder.join("runs"));
    let runs = models.iter().flat_map(|model| list(model));
    let files = runs.flat_map(|run| list(&run));
    files.filter(|path| path.join("run.json").exists()).collect()
}

#[test]
fn a_row_equals_the_results_of_train_and_test() {
    let lab = Lab::new();
    study(&lab, "s", "--seeds 3,7");
    study(&lab, "s", "--seeds 5 --vary init --model mlp");
    let header = "model,varied,seed,test_accuracy,test_loss,valid_accuracy,valid_loss,epochs,seconds,\
                  weights_sha256,end\n";
    assert!(String::from_utf8(lab.read("s", "study.csv")).unwrap().starts_with(header));
    let rows = rows_in(&lab.path().join("s")).unwrap();
    let what: Vec<_> =
        rows.iter().map(|row| format!("{} {}", row.model, row.key().unwrap().name())).collect();
    assert_eq!(what, ["mlp seed=3", "mlp seed=7", "mlr seed=3", "mlr seed=7", "mlp init=5"]);
    for row in &rows {
        let seed = match row.varied.to_string().as_str() {
            "seed" => format!("--seed {}", row.seed),
            source => format!("--vary {source}={}", row.seed),
        };
        let run = lab.train(&format!("{OPTIONS} --model {} {seed} --threads 1", row.model));
        let sha256 = sha256(&lab.read(&run, "model.safetensors"));
        assert_eq!(row.weights_sha256.as_ref(), Some(&sha256), "{row:?}");
        let test = format!("test --checkpoint {run} --batch-size 32 --json --device cpu");
        let assert = lab.program(&test).assert().success();
        let test: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
        assert_eq!(json!(row.test_accuracy), test["test_accuracy"], "{row:?}");
        assert_eq!(json!(row.test_loss), test["test_loss"], "{row:?}");
        let metrics = &lab.run_json(&run)["outcome"]["metrics"];
        assert_eq!(json!(row.valid_accuracy), metrics["valid_accuracy"], "{row:?}");
        assert_eq!(json!(row.valid_loss), metrics["valid_loss"], "{row:?}");
        assert_eq!((row.epochs, row.end.to_string()), (2, "max_epochs".into()));
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn a_seed_gives_the_same_weights_as_in_python() {
    let lab = Lab::new();
    study(&lab, "s", "--seeds 2,4294967303");
    for row in rows_in(&lab.path().join("s")).unwrap() {
        let options = format!("{OPTIONS} --threads 1 --model {} --seed {}", row.model, row.seed);
        let run = Side::Python.train(&lab, &options);
        let sha256 = sha256(&lab.read(&run, "model.safetensors"));
        let metrics = &lab.run_json(&run)["outcome"]["metrics"];
        assert_eq!(json!(row.valid_accuracy), metrics["valid_accuracy"], "{row:?}");
        assert_eq!(json!(row.valid_loss), metrics["valid_loss"], "{row:?}");
        assert_eq!(row.weights_sha256, Some(sha256), "{row:?}");
    }
}

fn start(lab: &Lab, options: &str) -> Child {
    let mut command = islp_mnist();
    command.current_dir(lab.path()).args(format!("study {OPTIONS} {options}").split_whitespace());
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Counts the finished runs.
fn done(folder: &Path) -> usize {
    let list = |folder: &Path| {
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let models = list(&folder.join("runs"));
    models.iter().flat_map(|model| list(model)).filter(|run| run.join("result.json").exists()).count()
}

#[test]
fn a_killed_or_stopped_study_resumes_and_trains_no_run_twice() {
    let lab = Lab::new();
    study(&lab, "whole", "--seeds 0..5");
    for (signal, code) in [("KILL", None), ("TERM", Some(143))] {
        let folder = lab.path().join(signal);
        let mut child = start(&lab, &format!("--seeds 0..5 --output-dir {signal}"));
        wait_until("the second run", || done(&folder) >= 2);
        let before = done(&folder);
        assert!(
            Command::new("kill")
                .arg(format!("-{signal}"))
                .arg(child.id().to_string())
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(child.wait().unwrap().code(), code);
        assert!(done(&folder) < 12, "the signal came too late");
        let result =
            |run: &str| fs::metadata(folder.join(run).join("result.json")).unwrap().modified().unwrap();
        let first = "runs/mlp/seed=0";
        let at = result(first);
        study(&lab, signal, "--seeds 0..5");
        assert!(before >= 2 && result(first) == at, "a finished run is not trained again");
        assert_eq!(csv(&lab, signal), csv(&lab, "whole"), "{signal}");
        assert_eq!(versions(&folder).len(), 12, "{signal}: no run started twice");
    }
}

#[test]
fn a_finished_run_whose_result_is_missing_is_not_trained_again() {
    let lab = Lab::new();
    study(&lab, "s", "--seeds 0..1 --model mlp");
    let whole = csv(&lab, "s");
    let run = lab.path().join("s/runs/mlp/seed=1");
    let weights = || fs::metadata(run.join("version_0/model.safetensors")).unwrap().modified().unwrap();
    let at = weights();
    for harm in ["gone", "damaged"] {
        fs::write(run.join("result.json"), "{").unwrap();
        if harm == "gone" {
            fs::remove_file(run.join("result.json")).unwrap();
        }
        study(&lab, "s", "--seeds 0..1 --model mlp");
        assert_eq!((csv(&lab, "s"), weights()), (whole.clone(), at), "{harm}");
        assert!(!run.join("version_0/checkpoints").exists() && run.join("result.json").exists());
    }
}

#[test]
fn two_studies_in_one_folder_share_the_seeds() {
    let lab = Lab::new();
    study(&lab, "whole", "--seeds 0..5");
    let both = [0, 1].map(|_| start(&lab, "--seeds 0..5 --output-dir shared --jobs 1"));
    for child in both {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(csv(&lab, "shared"), csv(&lab, "whole"));
    assert_eq!(versions(&lab.path().join("shared")).len(), 12);
}

#[test]
fn collected_shards_equal_the_whole_study() {
    let lab = Lab::new();
    study(&lab, "whole", "--seeds 0..4");
    for shard in ["0/3", "1/3", "2/3"] {
        study(&lab, "parts", &format!("--seeds 0..4 --shard {shard}"));
    }
    let collected = lab.program("study --collect parts").assert().success();
    assert_eq!(csv(&lab, "parts"), csv(&lab, "whole"));
    let said = String::from_utf8(collected.get_output().stdout.clone()).unwrap();
    assert_eq!(said, study(&lab, "whole", "--seeds 0..4"), "with nothing left to train, it prints the same");
    assert!(said.contains("MNISTModel and MNIST_MLR, on the 5 seeds of both\n"), "{said}");
    for picture in ["accuracy", "test_accuracy_mlp", "test_accuracy_mlr"] {
        assert!(lab.read("parts", &format!("{picture}.png")).starts_with(b"\x89PNG"));
    }
}

#[test]
fn a_row_records_that_a_training_diverged_or_failed() {
    let lab = Lab::new();
    let said = study(&lab, "diverged", "--seeds 0..1 --model mlp --lr 1e30");
    assert!(said.contains("\n  2 more did not finish"), "{said}");
    for row in rows_in(&lab.path().join("diverged")).unwrap() {
        assert_eq!((row.end.to_string().as_str(), row.test_accuracy), ("diverged", None));
    }

    let spoilt = lab.path().join("failed/runs/mlr/seed=1/version_0");
    fs::create_dir_all(&spoilt).unwrap();
    fs::write(spoilt.join("run.json"), "{}").unwrap();
    let options = format!("study {OPTIONS} --model mlr --seeds 0..2 --output-dir failed");
    lab.program(&options)
        .assert()
        .code(1)
        .stderr(contains("1 of 3 runs failed, the first in failed/runs/mlr/seed=1: "));
    let ends = || -> Vec<String> {
        let rows = rows_in(&lab.path().join("failed")).unwrap();
        rows.into_iter().map(|row| row.end.to_string()).collect()
    };
    assert_eq!((ends()[0].as_str(), ends()[2].as_str()), ("max_epochs", "max_epochs"));
    assert!(ends()[1].starts_with("failed: "), "{:?}", ends());
    // Once the cause is removed, the same command trains the missing run.
    fs::remove_dir_all(spoilt).unwrap();
    lab.program(&options).assert().success();
    assert_eq!(ends(), ["max_epochs"; 3]);
    // Rows stay after their runs are deleted.
    fs::remove_dir_all(lab.path().join("failed/runs/mlr/seed=0")).unwrap();
    lab.program("study --collect failed").assert().success();
    assert_eq!(ends(), ["max_epochs"; 3]);
}

#[test]
fn a_conflicting_or_invalid_option_is_refused_by_name() {
    let lab = Lab::new();
    study(&lab, "s", "--seeds 0 --model mlr");
    let other = "study --epochs 3 --batch-size 32 --device cpu --seeds 1 --output-dir s";
    assert_refused(&mut lab.program(other), 2, &["--epochs 3", "use 2", "--output-dir"]);
    assert_refused(&mut lab.program("study --collect nowhere"), 1, &["nowhere", "--output-dir"]);
    for (option, value) in [
        ("--seeds", "5..1"),
        ("--shard", "2/2"),
        ("--vary", "luck"),
        ("--vary", "run"),
        ("--jobs", "0"),
        ("--model", "cnn"),
    ] {
        assert_refused(&mut lab.program(&format!("study {option} {value}")), 2, &[option]);
    }
    assert!(!lab.path().join("output").exists());
    let dropout = lab.program("study --model mlr --vary dropout").assert().code(2);
    dropout.stderr(contains("logistic regression has no dropout"));
}

#[test]
fn a_study_has_a_page() {
    let lab = Lab::new();
    study(&lab, "s", "--seeds 0..2");
    lab.program("report s -o s.html").assert().success();
    let html = fs::read_to_string(lab.path().join("s.html")).unwrap();
    for said in [
        "<title>MNISTModel and MNIST_MLR over 3 seeds",
        "P(MNISTModel &gt; MNIST_MLR)",
        "Validation accuracy against epoch",
    ] {
        assert!(html.contains(said), "{said}");
    }
    let whole = csv(&lab, "s");
    fs::write(lab.path().join("s/study.csv"), "model,seed\nmlp,x\n").unwrap();
    for command in ["report s -o s.html", "study --collect s"] {
        assert_refused(&mut lab.program(command), 1, &["s/study.csv", "move it elsewhere"]);
    }
    fs::remove_file(lab.path().join("s/study.csv")).unwrap();
    lab.program("study --collect s").assert().success();
    assert_eq!(csv(&lab, "s"), whole);
}

#[test]
fn the_page_shows_the_environment_as_long_as_the_runs_exist() {
    let lab = Lab::new();
    study(&lab, "s", "--seeds 0..2 --model mlr");
    let run_json = lab.path().join("s/runs/mlr/seed=1/version_0/run.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&run_json).unwrap()).unwrap();
    json["environment"]["processor"] = "<another>".into();
    fs::write(&run_json, json.to_string()).unwrap();
    let page = || {
        lab.program("report s -o s.html").assert().success();
        fs::read_to_string(lab.path().join("s.html")).unwrap()
    };
    let own = lab.run_json("s/runs/mlr/seed=0/version_0")["environment"].clone();
    let html = page();
    let mut processors = [
        format!("{} in 2 runs", own["processor"].as_str().unwrap_or("none")),
        "&#60;another&#62; in 1 run".into(),
    ];
    processors.sort_by_key(|processor| processor.replace("&#60;", "<"));
    assert!(html.contains(&format!("<dd>{}</dd>", processors.join(", "))), "{html}");
    let capability = own["cpu_capability"].as_str().unwrap();
    for (name, value) in [("cpu capability", capability), ("batch size", "32"), ("threads", "1")] {
        assert!(html.contains(&format!("<dt>{name}</dt><dd>{value}</dd>")), "no {name} {value}");
    }
    fs::remove_dir_all(lab.path().join("s/runs")).unwrap();
    let html = page();
    assert!(html.contains("<dt>batch size</dt>") && !html.contains("cpu capability"), "{html}");
}

#[test]
fn a_study_keeps_its_pictures_after_its_runs_are_deleted() {
    let lab = Lab::new();
    study(&lab, "s", "--seeds 0..3");
    let (csv, accuracy) = (lab.read("s", "study.csv"), lab.read("s", "accuracy.svg"));
    let stack = lab.read("s", "test_accuracy_mlp.svg");
    fs::remove_dir_all(lab.path().join("s/runs")).unwrap();
    fs::remove_file(lab.path().join("s/test_accuracy_mlp.svg")).unwrap();
    lab.program("study --collect s").assert().success().stdout(contains("over 4 seeds"));
    assert!(!lab.path().join("s/runs").exists());
    assert_eq!((lab.read("s", "study.csv"), lab.read("s", "accuracy.svg")), (csv, accuracy));
    assert_eq!(lab.read("s", "test_accuracy_mlp.svg"), stack, "pictures of the rows are drawn again");
    lab.program("report s -o s.html").assert().success();
    let html = fs::read_to_string(lab.path().join("s.html")).unwrap();
    let picture = "<img src=\"data:image/svg+xml;base64,";
    assert!(html.contains(picture) && html.contains("alt=\"Validation accuracy against epoch"), "{html}");
}

#[test]
fn the_tracked_pictures_match_the_tracked_rows_and_mark_the_printed_accuracies() {
    let folder = checkout().join("output/study");
    let rows = rows_in(&folder).unwrap();
    let drawn = pictures(&folder, &rows, &Summary::new(&rows), (600, 450)).unwrap();
    let names: Vec<&str> = drawn.iter().map(|picture| picture.name.as_str()).collect();
    assert_eq!(names, ["test_accuracy_mlp", "test_accuracy_mlr", "sources"]);
    for picture in &drawn {
        let tracked = fs::read_to_string(folder.join(format!("{}.svg", picture.name))).unwrap();
        assert!(picture.svg == tracked, "{}: redraw it with `study --collect output/study`", picture.name);
    }
    let pluses = |svg: &str| {
        svg.lines()
            .filter(|line| line.contains("width=\"41\" height=\"7\"") && line.contains("#000000"))
            .count()
    };
    // The legend has one more.
    assert_eq!((pluses(&drawn[0].svg), pluses(&drawn[1].svg)), (5, 4));
    for picture in &drawn[..2] {
        assert!(picture.svg.contains("the notebook prints") && picture.svg.contains("ISLP_labs prints"));
        assert!(picture.caption.contains("ISLP_labs"), "{}", picture.caption);
    }
}

/// Returns a file of the checkout as one line, without Markdown's bold marks.
fn text_of(file: &str) -> String {
    let text = fs::read_to_string(checkout().join(file)).unwrap().replace("**", "");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_numbers_in_the_readme_match_the_tracked_study_and_pages() {
    let readme = text_of("README.md");
    let summary = Summary::new(&rows_in(&checkout().join("output/study")).unwrap());
    let [mlp, mlr] = &summary.distributions[..2] else { panic!("two models expected") };
    let said =
        |model: &Distribution| format!("{:.4} ± {:.4}", model.mean.value, model.standard_deviation.value);
    let range = |model: &Distribution| {
        let [low, high] = model.range();
        format!("from {low:.4} to {high:.4}")
    };
    let below = (mlp.below_printed().unwrap(), mlr.below_printed().unwrap());
    for part in [
        format!("Of 100 seeds, {} give less with the MLP ({})", below.0, said(mlp)),
        format!("and {} with logistic regression ({})", below.1, said(mlr)),
        range(mlp),
        range(mlr),
    ] {
        assert!(readme.contains(&part), "README.md does not contain {part:?}");
    }
    for wrong in ["140 runs", "0.9327"] {
        assert!(!readme.contains(wrong), "README.md has a number of other runs: {wrong}");
    }
    let accuracies = |page: &str, cell: &str| -> Vec<String> {
        let html = fs::read_to_string(checkout().join(page)).unwrap();
        let cells = html.split(cell).skip(1).map(|rest| rest.trim_start().split(['<', ' ']).next().unwrap());
        cells.map(String::from).collect()
    };
    for accuracy in accuracies("output/report.html", "<th scope=\"row\">test_accuracy</th><td>") {
        assert_eq!(readme.matches(&accuracy).count(), 2, "{accuracy}: once for Python, once for Rust");
    }
    // The reference and the candidate of each model.
    let parity = accuracies("output/parity.html", " test_accuracy ");
    let [mlp, again, mlr, mlr_again] = &parity[..] else { panic!("four tables expected: {parity:?}") };
    assert_eq!((mlp, mlr), (again, mlr_again));
    assert!(readme.contains(&format!("both sides reach {} and {}", &mlp[..6], &mlr[..6])), "{parity:?}");
}

#[test]
#[ignore = "needs the Python reference"]
fn the_statistics_equal_numpys_and_scipys() {
    let said: Value = serde_json::from_str(&stdout_of(&mut python("tests/study.py"))).unwrap();
    for sample in said.as_array().unwrap() {
        let numbers = |name: &str| -> Vec<f64> {
            sample[name].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
        };
        let number = |name: &str| sample[name].as_f64().unwrap();
        let (values, others) = (numbers("values"), numbers("others"));
        let first = values[0];
        let close = |what: &str, ours: f64, theirs: f64, within: f64| {
            assert!((ours - theirs).abs() <= within, "{what}: {ours}, in Python {theirs}");
        };
        close("mean", mean(&values), number("mean"), 1e-15);
        if values.len() > 1 {
            let deviation = standard_deviation(&values);
            close("standard deviation", deviation, number("standard_deviation"), 1e-15);
            close("seeds needed", seeds_needed(deviation, 0.005) as f64, number("seeds_needed"), 1.0);
        }
        for (q, theirs) in [0.0, 0.05, 0.3, 0.5, 0.95, 1.0].into_iter().zip(numbers("quantiles")) {
            assert_eq!(quantile(&values, q), theirs, "quantile {q}");
        }
        let interval = bootstrap_mean(&values);
        // First from the same samples, then from SciPy's own.
        close("lower end", interval.low, numbers("bootstrap")[0], 1e-15);
        close("upper end", interval.high, numbers("bootstrap")[1], 1e-15);
        let width = interval.high - interval.low;
        close("SciPy's lower end", interval.low, numbers("scipy")[0], 0.1 * width);
        close("SciPy's upper end", interval.high, numbers("scipy")[1], 0.1 * width);
        let pairs: Vec<_> = values.into_iter().zip(others).collect();
        let interval = outperforms(&pairs);
        close("P(A > B)", interval.value, number("outperforms"), 1e-15);
        close("its lower end", interval.low, numbers("outperforms_bootstrap")[0], 1e-15);
        close("its upper end", interval.high, numbers("outperforms_bootstrap")[1], 1e-15);
        close("binomial error", binomial_error(first, 10_000), number("binomial_error"), 1e-15);
    }
}
