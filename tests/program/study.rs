//! `study`: the same training with many seeds.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use crate::common::processes::{Running, wait_until};
use crate::common::python::Side;
use crate::common::{Lab, checkout, command, processes, python, sha256, stdout_of};
use islp_mnist::study::{
    Distribution, Summary, binomial_error, bootstrap_mean, mean, outperforms, pictures, quantile, rows_in,
    standard_deviation,
};
use predicates::str::contains;
use serde_json::{Value, json};

/// 400 images make 10 steps an epoch.
const OPTIONS: &str = "--epochs 2 --batch-size 32 --device cpu";
/// Three seeds of two models.
const SEEDS: &str = "--seeds 0..2";

/// A study to its end; returns what it prints.
fn study(lab: &Lab, folder: &str, options: &str) -> String {
    lab.stdout(&format!("study {OPTIONS} --output-dir {folder} {options}"))
}

fn start(lab: &Lab, folder: &str, options: &str) -> Running {
    let line = format!("study {OPTIONS} --output-dir {folder} {options}");
    processes::start(&command(lab.path(), &line))
}

/// study.csv without the column of seconds, which differs every time.
fn csv(lab: &Lab, folder: &str) -> Vec<Vec<String>> {
    let text = lab.text(&format!("{folder}/study.csv"));
    let mut rows: Vec<Vec<String>> =
        text.lines().map(|line| line.split(',').map(String::from).collect()).collect();
    let seconds = rows[0].iter().position(|name| name == "seconds").unwrap();
    rows.iter_mut().for_each(|row| {
        row.remove(seconds);
    });
    rows
}

/// The files with this path in the folders of all runs, as in runs/mlp/seed=0.
fn in_runs(lab: &Lab, folder: &str, is_it: impl Fn(&str) -> bool) -> usize {
    let list = |folder: PathBuf| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    };
    let runs = list(lab.path().join(folder).join("runs")).into_iter().flat_map(list);
    let entries = runs.flat_map(list);
    entries.filter(|path| is_it(path.file_name().unwrap().to_str().unwrap())).count()
}

fn finished_runs(lab: &Lab, folder: &str) -> usize {
    in_runs(lab, folder, |name| name == "result.json")
}

/// The version folders: more than one where a run began twice.
fn versions(lab: &Lab, folder: &str) -> usize {
    in_runs(lab, folder, |name| name.starts_with("version_"))
}

#[test]
fn a_row_has_the_results_of_train_and_test() {
    let lab = Lab::new();
    study(&lab, "s", "--seeds 3,7");
    study(&lab, "s", "--seeds 5 --vary init --model mlp");
    let header = "model,varied,seed,test_accuracy,test_loss,valid_accuracy,valid_loss,epochs,seconds,\
                  weights_sha256,end\n";
    assert!(lab.text("s/study.csv").starts_with(header));
    let rows = rows_in(&lab.path().join("s")).unwrap();
    let what: Vec<_> = rows.iter().map(|row| format!("{} {}", row.model, row.key().name())).collect();
    assert_eq!(what, ["mlp seed=3", "mlp seed=7", "mlr seed=3", "mlr seed=7", "mlp init=5"]);
    for row in &rows {
        let seed = match row.varied.to_string().as_str() {
            "seed" => format!("--seed {}", row.seed),
            source => format!("--vary {source}={}", row.seed),
        };
        let run = lab.train(&format!("{OPTIONS} --model {} {seed} --threads 1", row.model));
        let sha256 = sha256(&lab.read(&run, "model.safetensors"));
        assert_eq!(row.weights_sha256.as_ref(), Some(&sha256), "{row:?}");
        let test = lab.json(&format!("test --checkpoint {run} --batch-size 32 --json --device cpu"));
        assert_eq!(json!(row.test_accuracy), test["test_accuracy"], "{row:?}");
        assert_eq!(json!(row.test_loss), test["test_loss"], "{row:?}");
        let metrics = &lab.run_json(&run)["outcome"]["metrics"];
        assert_eq!(json!(row.valid_accuracy), metrics["valid_accuracy"], "{row:?}");
        assert_eq!(json!(row.valid_loss), metrics["valid_loss"], "{row:?}");
        assert_eq!((row.epochs, String::from(row.end.clone())), (2, "max_epochs".into()));
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn the_weights_of_a_seed_are_pythons() {
    let lab = Lab::new();
    study(&lab, "s", "--seeds 2,4294967303");
    for row in rows_in(&lab.path().join("s")).unwrap() {
        let options = format!("{OPTIONS} --threads 1 --model {} --seed {}", row.model.name(), row.seed);
        let run = Side::Python.train(&lab, &options);
        let sha256 = sha256(&lab.read(&run, "model.safetensors"));
        let metrics = &lab.run_json(&run)["outcome"]["metrics"];
        assert_eq!(json!(row.valid_accuracy), metrics["valid_accuracy"], "{row:?}");
        assert_eq!(json!(row.valid_loss), metrics["valid_loss"], "{row:?}");
        assert_eq!(row.weights_sha256, Some(sha256), "{row:?}");
    }
}

#[test]
fn a_study_that_is_killed_or_stopped_resumes_and_trains_no_run_twice() {
    let lab = Lab::new();
    study(&lab, "whole", SEEDS);
    for (signal, code) in [("KILL", None), ("TERM", Some(143))] {
        let child = start(&lab, signal, SEEDS);
        wait_until("the second run", || finished_runs(&lab, signal) >= 2);
        child.signal(signal);
        assert_eq!(child.output().status.code(), code);
        assert!(finished_runs(&lab, signal) < 6, "the signal came too late");
        let result = lab.path().join(signal).join("runs/mlp/seed=0/result.json");
        let written = || fs::metadata(&result).unwrap().modified().unwrap();
        let before = written();
        study(&lab, signal, SEEDS);
        assert_eq!(written(), before, "a finished run is not trained again");
        assert_eq!(csv(&lab, signal), csv(&lab, "whole"), "{signal}");
        assert_eq!(versions(&lab, signal), 6, "{signal}: no run began twice");
    }
}

#[test]
fn a_trained_run_without_its_result_is_not_trained_again() {
    let lab = Lab::new();
    study(&lab, "s", "--seeds 0..1 --model mlp");
    let whole = csv(&lab, "s");
    let run = lab.path().join("s/runs/mlp/seed=1");
    let weights = || fs::metadata(run.join("version_0/model.safetensors")).unwrap().modified().unwrap();
    let at = weights();
    for harm in ["gone", "damaged"] {
        match harm {
            "gone" => fs::remove_file(run.join("result.json")).unwrap(),
            _ => fs::write(run.join("result.json"), "{").unwrap(),
        }
        study(&lab, "s", "--seeds 0..1 --model mlp");
        assert_eq!((csv(&lab, "s"), weights()), (whole.clone(), at), "{harm}");
        assert!(!run.join("version_0/checkpoints").exists() && run.join("result.json").exists());
    }
}

#[test]
fn two_studies_in_one_folder_share_the_seeds_and_shards_together_are_the_study() {
    let lab = Lab::new();
    study(&lab, "whole", SEEDS);
    let both = [0, 1].map(|_| start(&lab, "shared", &format!("{SEEDS} --jobs 1")));
    for child in both {
        let Output { status, stderr, .. } = child.output();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    }
    assert_eq!(csv(&lab, "shared"), csv(&lab, "whole"));
    assert_eq!(versions(&lab, "shared"), 6);

    for shard in ["0/3", "1/3", "2/3"] {
        study(&lab, "parts", &format!("{SEEDS} --shard {shard}"));
    }
    let collected = lab.stdout("study --collect parts");
    assert_eq!(csv(&lab, "parts"), csv(&lab, "whole"));
    assert_eq!(collected, study(&lab, "whole", SEEDS), "with nothing left to train it prints the same");
    assert!(collected.contains("MNISTModel and MNIST_MLR, by the 3 seeds of both\n"), "{collected}");
    for picture in ["accuracy", "test_accuracy_mlp", "test_accuracy_mlr"] {
        assert!(lab.read("parts", &format!("{picture}.png")).starts_with(b"\x89PNG"));
    }
}

#[test]
fn a_training_that_diverges_or_fails_has_a_row_with_that_end() {
    let lab = Lab::new();
    let printed = study(&lab, "diverged", "--seeds 0..1 --model mlp --lr 1e30");
    assert!(printed.contains("\n  2 more did not come to their end"), "{printed}");
    for row in rows_in(&lab.path().join("diverged")).unwrap() {
        assert_eq!((String::from(row.end.clone()).as_str(), row.test_accuracy), ("diverged", None));
    }

    let spoilt = "failed/runs/mlr/seed=1/version_0";
    lab.write(&format!("{spoilt}/run.json"), "{}");
    let options = format!("study {OPTIONS} --model mlr --seeds 0..2 --output-dir failed");
    lab.program(&options).assert().code(1).stderr(contains("1 of them failed, failed/runs/mlr/seed=1: "));
    let ends = || -> Vec<String> {
        let rows = rows_in(&lab.path().join("failed")).unwrap();
        rows.into_iter().map(|row| String::from(row.end)).collect()
    };
    assert_eq!((ends()[0].as_str(), ends()[2].as_str()), ("max_epochs", "max_epochs"));
    assert!(ends()[1].starts_with("failed: "), "{:?}", ends());
    // Once the reason is gone, the same command trains the missing run.
    fs::remove_dir_all(lab.path().join(spoilt)).unwrap();
    lab.stdout(&options);
    assert_eq!(ends(), ["max_epochs"; 3]);
    // The rows of runs that are gone stay.
    fs::remove_dir_all(lab.path().join("failed/runs/mlr/seed=0")).unwrap();
    lab.stdout("study --collect failed");
    assert_eq!(ends(), ["max_epochs"; 3]);
}

#[test]
fn an_option_that_does_not_fit_a_study_is_refused_by_name() {
    let lab = Lab::new();
    study(&lab, "s", "--seeds 0 --model mlr");
    for (options, code, names) in [
        (
            "--epochs 3 --batch-size 32 --device cpu --seeds 1 --output-dir s",
            2,
            &["--epochs 3", "have 2", "--output-dir"][..],
        ),
        ("--collect nowhere", 1, &["nowhere", "--output-dir"]),
        ("--seeds 5..1", 2, &["--seeds"]),
        ("--shard 2/2", 2, &["--shard"]),
        ("--vary luck", 2, &["--vary"]),
        ("--jobs 0", 2, &["--jobs"]),
        ("--model cnn", 2, &["--model"]),
        ("--model mlr --vary dropout", 2, &["logistic regression has no dropout"]),
    ] {
        lab.assert_refused(&format!("study {options}"), code, names);
    }
    assert!(!lab.exists("output"));
}

fn page(lab: &Lab) -> String {
    lab.stdout("report s -o s.html");
    lab.text("s.html")
}

#[test]
fn a_study_has_a_page_and_a_damaged_table_is_named_and_made_anew() {
    let lab = Lab::new();
    study(&lab, "s", SEEDS);
    let html = page(&lab);
    for part in ["<title>Study s", "P(MNISTModel &gt; MNIST_MLR)", "Validation accuracy against epoch"] {
        assert!(html.contains(part), "{part}");
    }
    let whole = csv(&lab, "s");
    lab.write("s/study.csv", "model,seed\nmlp,x\n");
    for command in ["report s -o s.html", "study --collect s"] {
        lab.assert_refused(command, 1, &["s/study.csv", "move it elsewhere"]);
    }
    fs::remove_file(lab.path().join("s/study.csv")).unwrap();
    lab.stdout("study --collect s");
    assert_eq!(csv(&lab, "s"), whole);
}

#[test]
fn a_page_has_the_processors_and_options_of_the_runs_as_long_as_they_are_there() {
    let lab = Lab::new();
    study(&lab, "s", "--seeds 0..2 --model mlr");
    let run = "s/runs/mlr/seed=1/version_0";
    let mut json = lab.run_json(run);
    json["environment"]["processor"] = "<another>".into();
    lab.write(&format!("{run}/run.json"), json.to_string());
    let own = lab.run_json("s/runs/mlr/seed=0/version_0")["environment"].clone();
    let html = page(&lab);
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
    let html = page(&lab);
    assert!(html.contains("<dt>batch size</dt>") && !html.contains("cpu capability"), "{html}");
}

#[test]
fn a_study_without_its_runs_keeps_its_table_and_the_pictures_of_the_runs() {
    let lab = Lab::new();
    study(&lab, "s", SEEDS);
    let kept = || ["study.csv", "accuracy.svg", "test_accuracy_mlp.svg"].map(|file| lab.read("s", file));
    let before = kept();
    fs::remove_dir_all(lab.path().join("s/runs")).unwrap();
    fs::remove_file(lab.path().join("s/test_accuracy_mlp.svg")).unwrap();
    // The picture of the rows is drawn anew.
    assert!(lab.stdout("study --collect s").contains("over 3 seeds"));
    assert!(!lab.exists("s/runs") && kept() == before);
    let html = page(&lab);
    let picture = "<img src=\"data:image/svg+xml;base64,";
    assert!(html.contains(picture) && html.contains("alt=\"Validation accuracy against epoch"), "{html}");
}

#[test]
fn the_tracked_pictures_show_the_tracked_rows_and_the_accuracies_of_the_notebook_and_the_labs() {
    let folder = checkout().join("output/study");
    let rows = rows_in(&folder).unwrap();
    let drawn = pictures(&folder, &rows, &Summary::new(&rows), (600, 450)).unwrap();
    let names: Vec<&str> = drawn.iter().map(|picture| picture.name.as_str()).collect();
    assert_eq!(names, ["test_accuracy_mlp", "test_accuracy_mlr", "sources"]);
    for picture in &drawn {
        let tracked = fs::read_to_string(folder.join(format!("{}.svg", picture.name))).unwrap();
        assert!(picture.svg == tracked, "{}: `study --collect output/study` draws it anew", picture.name);
    }
    let pluses = |svg: &str| {
        svg.lines()
            .filter(|line| line.contains("width=\"41\" height=\"7\"") && line.contains("#000000"))
            .count()
    };
    // One of them is the legend's.
    assert_eq!((pluses(&drawn[0].svg), pluses(&drawn[1].svg)), (5, 4));
    for picture in &drawn[..2] {
        assert!(picture.svg.contains("notebook as printed") && picture.svg.contains("printed in ISLP_labs"));
        assert!(picture.caption.contains("ISLP_labs"), "{}", picture.caption);
    }
}

/// A file of the checkout in one line, without markdown's marks for bold.
fn text_of(file: &str) -> String {
    let text = fs::read_to_string(checkout().join(file)).unwrap().replace("**", "");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_numbers_of_the_readme_are_those_of_the_tracked_study_and_pages() {
    let readme = text_of("README.md");
    let summary = Summary::new(&rows_in(&checkout().join("output/study")).unwrap());
    let [mlp, mlr] = &summary.distributions[..2] else { panic!("two models expected") };
    let mean = |model: &Distribution| format!("{:.4} ± {:.4}", model.mean.value, model.standard_deviation);
    let range = |model: &Distribution| {
        let [low, high] = model.range();
        format!("from {low:.4} to {high:.4}")
    };
    let below = (mlp.below_printed(), mlr.below_printed());
    for part in [
        format!("Of 100 seeds, {} give less with the MLP ({})", below.0, mean(mlp)),
        format!("and {} with logistic regression ({})", below.1, mean(mlr)),
        range(mlp),
        range(mlr),
    ] {
        assert!(readme.contains(&part), "README.md does not contain {part:?}");
    }
    for wrong in ["140 runs", "0.9327"] {
        assert!(!readme.contains(wrong), "another set of runs: {wrong}");
    }
    let accuracies = |page: &str, cell: &str| -> Vec<String> {
        let html = fs::read_to_string(checkout().join(page)).unwrap();
        let cells = html.split(cell).skip(1).map(|rest| rest.trim_start().split(['<', ' ']).next().unwrap());
        cells.map(String::from).collect()
    };
    for accuracy in accuracies("output/report.html", "<th scope=\"row\">test_accuracy</th><td>") {
        assert_eq!(readme.matches(&accuracy).count(), 2, "{accuracy}: in Python and in Rust");
    }
    // Both sides of each model in a row.
    let parity = accuracies("output/parity.html", " test_accuracy ");
    let [mlp, again, mlr, mlr_again] = &parity[..] else { panic!("four tables expected: {parity:?}") };
    assert_eq!((mlp, mlr), (again, mlr_again));
    assert!(readme.contains(&format!("both sides reach {} and {}", &mlp[..6], &mlr[..6])), "{parity:?}");
}

#[test]
#[ignore = "needs the Python reference"]
fn the_statistics_are_numpys_and_scipys() {
    let samples: Value = serde_json::from_str(&stdout_of(&mut python("tests/study.py"))).unwrap();
    for sample in samples.as_array().unwrap() {
        let numbers = |name: &str| -> Vec<f64> { serde_json::from_value(sample[name].clone()).unwrap() };
        let number = |name: &str| sample[name].as_f64().unwrap();
        let (values, others) = (numbers("values"), numbers("others"));
        let first = values[0];
        let close = |what: &str, ours: f64, theirs: f64, within: f64| {
            assert!((ours - theirs).abs() <= within, "{what}: {ours}, in Python {theirs}");
        };
        close("mean", mean(&values), number("mean"), 1e-15);
        if values.len() > 1 {
            close("standard deviation", standard_deviation(&values), number("standard_deviation"), 1e-15);
        }
        for (q, theirs) in [0.0, 0.05, 0.3, 0.5, 0.95, 1.0].into_iter().zip(numbers("quantiles")) {
            assert_eq!(quantile(&values, q), theirs, "quantile {q}");
        }
        let interval = bootstrap_mean(&values);
        // The same samples, and SciPy's own.
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
