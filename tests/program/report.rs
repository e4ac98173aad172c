//! `report`: the content of its pages, their numbers against Python's, and the arguments that it refuses.

use std::fs;
use std::os::unix::fs::symlink;

use crate::common::python::python_output;
use crate::common::{Lab, checkout, fashion_mnist, output, python, sha256, stdout_of};
use islp_mnist::islp::ErrorTracker;
use islp_mnist::report::{calibration, mcnemar, wilson};
use serde_json::Value;
use tch::{Kind, Tensor};

/// The page that these arguments give.
fn page(lab: &Lab, arguments: &str) -> String {
    assert_eq!(lab.stdout(&format!("report {arguments} -o page.html")), "page.html\n");
    lab.text("page.html")
}

fn assert_contains(html: &str, parts: &[&str]) {
    for part in parts {
        assert!(html.contains(part), "no {part:?}");
    }
}

/// The text between two others.
fn between<'a>(html: &'a str, start: &str, end: &str) -> &'a str {
    html.split_once(start).unwrap_or_else(|| panic!("no {start} in {html}")).1.split(end).next().unwrap()
}

/// Fails unless a page needs nothing else: it has no script, and only addresses within it.
fn assert_self_contained(html: &str) {
    assert!(html.len() < 2_000_000, "{} bytes", html.len());
    assert!(!html.contains("<script") && !html.contains("url(") && !html.contains("@import"));
    for attribute in ["src=\"", "href=\""] {
        for value in html.split(attribute).skip(1) {
            assert!(value.starts_with("data:") || value.starts_with('#'), "{}", &value[..60]);
        }
    }
}

#[test]
fn a_run_of_train_has_a_page_with_its_options_and_its_command() {
    let lab = Lab::new();
    let run = lab.train("--model mlr --epochs 3 --batch-size 32 --seed 7 --device cpu");
    let html = page(&lab, &run);
    assert_self_contained(&html);
    let parts = [
        "Accuracy of each digit",
        "Confusion matrix",
        "Expected calibration error",
        "The worst mistakes",
        "The weights of each digit",
        "islp-mnist train --batch-size 32",
        "--seed 7",
        "t10k-images-idx3-ubyte",
        "cpu capability",
        "duration seconds",
    ];
    assert_contains(&html, &parts);
    let json = lab.json(&format!("test --checkpoint {run} --batch-size 32 --json"));
    let accuracy = json["test_accuracy"].as_f64().unwrap();
    assert!(html.contains(&format!("<strong>{:.2} %</strong> of 100 test images", 100.0 * accuracy)));
    assert!(html.contains(&format!("<td>{accuracy:?}</td>")), "test_accuracy as the notebook's table has it");
}

#[test]
fn reproduce_leaves_one_page_of_both_models_if_asked_and_a_run_that_diverged_ends_as_without() {
    let lab = Lab::new();
    let run = |options: &str| {
        let reproduce = format!("reproduce --epochs 2 --batch-size 64 --device cpu {options}");
        output(&mut lab.program(&reproduce))
    };
    let (stdout, stderr) = run("--report");
    assert!(stderr.ends_with("the page of both runs is output/MNIST/version_0/report.html\n"), "{stderr}");
    let html = lab.text("output/MNIST/version_0/report.html");
    assert_self_contained(&html);
    let parts = ["MNIST/version_0", "MNIST_MLR/version_0", "islp-mnist reproduce --batch-size 64"];
    assert_contains(&html, &parts);
    assert_eq!(run("").0, stdout);
    assert!(!lab.exists("output/MNIST/version_1/report.html"));

    let (stdout, stderr) = run("--report --lr 1e30");
    assert!(stderr.lines().last().unwrap().starts_with("warning: no page: "), "{stderr}");
    assert_eq!(run("--lr 1e30").0, stdout);
}

#[test]
fn the_command_that_repeats_a_run_is_safe_to_paste() {
    let lab = Lab::new();
    lab.write("run/metrics.csv", "epoch,step,train_loss\n0,1,0.5\n");
    let json = r#"{"command": "x; rm y", "options": {"a; rm b": 1, "name": "", "seed": "1; rm z"}}"#;
    lab.write("run/run.json", json);
    let html = page(&lab, "run");
    let command = between(&html, "<pre class=\"command\">", "</pre>");
    assert!(command.ends_with(" --name &#39;&#39; --seed &#39;1; rm z&#39;"), "{command}");
    assert!(!command.contains("rm b") && !command.contains("rm y"), "{command}");
}

#[test]
fn two_runs_have_a_page_that_names_what_was_compared_and_where_they_differ() {
    let lab = Lab::new();
    let options = "--model mlr --epochs 2 --device cpu";
    let [left, right, other] = ["", "", "--seed 1"].map(|seed| lab.train(&format!("{options} {seed}")));
    let html = page(&lab, &format!("{left} {right}"));
    assert_self_contained(&html);
    let parts = [
        "<strong>identical: 2 files, 2 tensors, 0 differences</strong>",
        "2 files and 2 tensors of 7,850 values",
        "p = 1.0000",
    ];
    assert_contains(&html, &parts);
    assert!(!html.contains("Where they part"));
    let sha256 = sha256(&lab.read(&left, "metrics.csv"));
    assert_eq!(html.matches(&sha256).count(), 1, "the hash of metrics.csv once, as both have it");

    let html = page(&lab, &format!("{left} {other}"));
    assert_self_contained(&html);
    let parts = [
        "different: 2 of 2 files",
        "--seed: reference 0, candidate 1",
        "Where they part",
        "first in row 1",
        "Difference of the losses in metrics.csv against step, on a log axis",
        "Test images whose answer flips",
    ];
    assert_contains(&html, &parts);
}

/// The row with this name in the table of how two runs were made: true if it is marked, and its cells.
fn fact(html: &str, name: &str) -> (bool, Vec<String>) {
    let table = between(html, "<table class=\"facts\">", "</table>");
    let row = table.split("<tr").find(|row| {
        let head = row.split("<th scope=\"row\">").nth(1).unwrap_or_default();
        head.starts_with(&format!("{name}</th>")) || head.starts_with(&format!("{name} ≠</th>"))
    });
    let row = row.unwrap_or_else(|| panic!("no row {name:?} in {table}"));
    let cells: Vec<String> =
        row.split("<td").skip(1).map(|cell| cell.split(['>', '<']).nth(1).unwrap().to_owned()).collect();
    assert_eq!(row.contains("<td colspan=\"2\">"), cells.len() == 1, "{row}");
    assert_eq!(row.starts_with(" class=\"differs\""), row.contains(" ≠</th>"), "{row}");
    (row.contains(" ≠</th>"), cells)
}

#[test]
fn a_page_of_two_runs_has_the_machine_and_the_options_of_each() {
    let lab = Lab::new();
    let left = lab.train("--model mlr --epochs 2 --device cpu --threads 1");
    let right = lab.train("--model mlr --epochs 2 --device cpu --threads 2 --seed 1 --limit-train-batches 3");
    let html = page(&lab, &format!("{left} {right}"));
    let both = |value: &str| (false, vec![value.to_string()]);
    let differ = |values: [&str; 2]| (true, values.map(String::from).to_vec());
    assert_eq!(fact(&html, "seed"), differ(["0", "1"]));
    assert_eq!(fact(&html, "threads"), differ(["1", "2"]));
    assert_eq!(fact(&html, "limit train batches"), differ(["none", "3"]));
    assert_eq!(fact(&html, "epochs"), both("2"));
    assert_eq!(fact(&html, "vary"), both("none"));
    assert_eq!(fact(&html, "device"), both("cpu"));
    assert_eq!(fact(&html, "program"), both("islp-mnist train"));
    let json = lab.run_json(&left);
    let environment = |name: &str| json["environment"][name].as_str().unwrap_or("unknown").to_owned();
    for (name, field) in [
        ("processor", "processor"),
        ("cpu capability", "cpu_capability"),
        ("libtorch", "libtorch"),
        ("commit", "git_commit"),
    ] {
        assert_eq!(fact(&html, name), both(&environment(field)));
    }
    let versions = format!("islp-mnist {}, tch {}", environment("islp_mnist"), environment("tch"));
    assert_eq!(fact(&html, "versions"), both(&versions));
    let starts = [&left, &right].map(|run| lab.run_json(run)["start"].as_str().unwrap().to_owned());
    let (is_marked, mut starts_shown) = fact(&html, "start");
    starts_shown.resize(2, starts[0].clone());
    assert_eq!((is_marked, starts_shown), (false, starts.to_vec()), "another time is no reason");
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap();
    if let Some(name) = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")) {
        assert_eq!(environment("processor"), name.trim_start_matches(['\t', ' ', ':']).trim_end());
    }
}

#[test]
fn the_options_of_both_models_are_shown_once_if_they_are_the_same() {
    let lab = Lab::new();
    let options = "--epochs 1 --batch-size 64 --device cpu";
    for side in ["a", "b"] {
        lab.stdout(&format!("reproduce {options} --output-dir {side}"));
    }
    let html = page(&lab, "a b");
    assert_eq!(html.matches("<table class=\"facts\">").count(), 1);
    assert_eq!(fact(&html, "program"), (false, vec!["islp-mnist reproduce".into()]));
    let run_json = "b/MNIST_MLR/version_0/run.json";
    lab.write(run_json, lab.text(run_json).replace("\"seed\": 0", "\"seed\": 7"));
    let html = page(&lab, "a b");
    assert_eq!(
        html.matches("<table class=\"facts\">").count(),
        2,
        "different options are shown for either model"
    );
}

#[test]
fn a_fact_that_an_older_run_did_not_record_is_unknown_and_no_difference() {
    let lab = Lab::new();
    let run = lab.train("--model mlr --epochs 1 --device cpu");
    let mut json = lab.run_json(&run);
    json["environment"].as_object_mut().unwrap().retain(|name, _| name == "libtorch");
    json["command"] = "reproduce".into();
    for file in ["metrics.csv", "model.safetensors"] {
        lab.write(&format!("older/{file}"), lab.read(&run, file));
    }
    let html = page(&lab, "older older");
    assert!(html.contains("No run.json says on which machine and with which options"), "{html}");
    for (older, unknown) in [("{}".to_string(), true), (json.to_string(), false)] {
        lab.write("older/run.json", older);
        let html = page(&lab, &format!("older {run}"));
        let (is_marked, processors) = fact(&html, "processor");
        assert_eq!((is_marked, processors[0].as_str()), (false, "unknown"));
        assert_eq!(fact(&html, "libtorch").1.len(), if unknown { 2 } else { 1 });
        // With the same options the notebook gives other weights than one model alone.
        assert_eq!(fact(&html, "program").0, !unknown);
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn the_notebook_in_python_records_the_same_as_reproduce() {
    let lab = Lab::new();
    let options = "--epochs 2 --batch-size 64 --threads 1 --lr 1e-3";
    lab.stdout(&format!("reproduce {options} --device cpu --output-dir rust"));
    python_output(lab.path(), "scripts/notebook.py", &format!("{options} --output-dir python"));
    for model in ["MNIST", "MNIST_MLR"] {
        let [mut theirs, mut ours] =
            ["python", "rust"].map(|side| lab.run_json(&format!("{side}/{model}/version_0")));
        ours["outcome"].as_object_mut().unwrap().remove("duration_seconds").unwrap();
        for json in [&mut theirs, &mut ours] {
            json.as_object_mut().unwrap().remove("start").unwrap();
            let environment = json["environment"].as_object_mut().unwrap();
            environment.retain(|name, _| {
                ["processor", "cpu_capability", "libtorch", "islp_mnist"].contains(&name.as_str())
            });
        }
        assert_eq!(theirs, ours, "{model}");
    }
    let comparison = lab.stdout("compare python rust");
    assert!(!comparison.contains("run.json"), "{comparison}");
    let html = page(&lab, "python rust");
    let programs = vec!["scripts/notebook.py".into(), "islp-mnist reproduce".into()];
    assert_eq!(fact(&html, "program"), (false, programs));
    let (_, versions) = fact(&html, "versions");
    assert!(versions[0].contains("python 3.") && versions[0].contains("pytorch-lightning "), "{versions:?}");
    assert_eq!(fact(&html, "seed"), (false, vec!["0".into()]));
    let html = page(&lab, "python/MNIST_MLR/version_0");
    let command = between(&html, "<pre class=\"command\">", "</pre>");
    let again = ".venv/bin/python scripts/notebook.py --batch-size 64 --epochs 2 --lr 0.001 --num-workers 4 \
                 --seed 0 --threads 1 --validation 0.2";
    assert_eq!(command, again, "it takes no other options");
}

#[test]
fn traces_show_where_two_runs_first_differ_and_by_how_much() {
    let lab = Lab::new();
    for (folder, seed) in [("a", 0), ("b", 1)] {
        fs::create_dir(lab.path().join(folder)).unwrap();
        let options = format!("--seed {seed} --output-dir {folder} --trace {folder}/run.trace");
        lab.stdout(&format!("reproduce --epochs 2 --device cpu {options}"));
    }
    let parts =
        ["first difference in fit 0 (MNISTModel)", "Euclidean distance of all parameters against step"];
    assert_contains(&page(&lab, "a b"), &parts);
}

#[test]
fn names_and_texts_of_a_run_are_shown_as_text_whatever_they_contain() {
    let lab = Lab::new();
    let name = "<script>alert(1)</script>&\"'".replace('/', "");
    for side in ["a", "b"] {
        let run = format!("{side}/{name}/version_0");
        lab.write(&format!("{run}/metrics.csv"), "epoch,step,train_loss\n0,1,0.5\n");
        let run_json = r#"{"options": {"<b>": "<img src=x onerror=alert(1)>"}, "start": "<i>"}"#;
        lab.write(&format!("{run}/run.json"), run_json);
        lab.write(&format!("{side}/stdout.txt"), format!("<u>{side}</u>\n\u{1b}[31m\n"));
    }
    for html in [page(&lab, "a"), page(&lab, "a b")] {
        for markup in ["<script>", "<img src=x", "<b>", "<i>", "<u>", "\u{1b}"] {
            assert!(!html.contains(markup), "{markup:?} came through");
        }
        assert_self_contained(&html);
        assert!(html.contains("&#60;script&#62;alert(1)") || html.contains("&lt;script&gt;alert(1)"));
    }
    assert!(page(&lab, "a b").contains("tr class=\"differs\""));
}

#[test]
fn a_log_folder_of_lightning_without_weights_has_a_page_of_its_metrics() {
    let lab = Lab::new();
    let csv = fs::read(checkout().join("output/MNIST/version_0/metrics.csv")).unwrap();
    lab.write("logs/version_0/metrics.csv", csv);
    let parts = ["holds no safetensors file", "<svg role=\"img\" aria-label=\"Accuracy of"];
    assert_contains(&page(&lab, "logs/version_0"), &parts);
    // On a linear axis.
    lab.write("zero/metrics.csv", "epoch,step,train_loss\n0,1,0.0\n1,2,0.0\n");
    assert_contains(&page(&lab, "zero"), &["aria-label=\"Loss of "]);
}

#[test]
fn a_folder_that_is_no_run_and_a_page_that_is_no_html_are_refused() {
    let lab = Lab::new();
    fs::create_dir(lab.path().join("empty")).unwrap();
    lab.write("bad/metrics.csv", "epoch,step\n");
    lab.write("bad/run.json", "{");
    for (arguments, code, names) in [
        ("empty -o a.html", 1, &["empty", "neither metrics.csv nor weights"][..]),
        ("missing -o a.html", 1, &["missing"]),
        ("bad -o a.html", 1, &["bad/run.json"]),
        ("empty -o a.pdf", 2, &["--output"]),
    ] {
        lab.assert_refused(&format!("report {arguments}"), code, names);
    }
    assert!(!lab.exists("a.html"));
}

#[test]
#[ignore = "needs the Python reference"]
fn accuracy_confusion_calibration_and_tests_have_the_values_of_sklearn_torchmetrics_and_statsmodels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictions.safetensors");
    tch::manual_seed(0);
    let labels = Tensor::randint(10, [10_000], (Kind::Int64, tch::Device::Cpu));
    let mut all = vec![("labels".to_string(), labels.to_kind(Kind::Float))];
    let mut trackers = vec![];
    for (name, strength) in [("reference", 3.0), ("candidate", 2.9)] {
        let noise = Tensor::randn([10_000, 10], (Kind::Float, tch::Device::Cpu)) * 1.5;
        let logits = noise + labels.one_hot(10).to_kind(Kind::Float) * strength;
        all.push((name.to_string(), logits.shallow_clone()));
        let mut tracker = ErrorTracker::default();
        tracker.update(logits.shallow_clone(), labels.shallow_clone());
        trackers.push((tracker, logits));
    }
    Tensor::write_safetensors(&all, &path).unwrap();
    let json = stdout_of(python("tests/prediction_statistics.py").arg(&path));
    let python: Value = serde_json::from_str(&json).unwrap();

    let right = |logits: &Tensor| Vec::<bool>::try_from(logits.argmax(1, false).eq_tensor(&labels)).unwrap();
    for (name, (tracker, logits)) in ["reference", "candidate"].into_iter().zip(&trackers) {
        let theirs = &python[name];
        let matrix = tracker.confusion_matrix().unwrap();
        assert_eq!(serde_json::json!(matrix), theirs["confusion_matrix"], "sklearn.metrics.confusion_matrix");
        let correct = right(logits).into_iter().filter(|&right| right).count() as u64;
        let [accuracy, low, high] = wilson(correct, 10_000).unwrap();
        assert_eq!(Some(accuracy), theirs["accuracy"].as_f64(), "sklearn.metrics.accuracy_score");
        assert_eq!([Some(low), Some(high)], [theirs["wilson"][0].as_f64(), theirs["wilson"][1].as_f64()]);
        let error = f64::from(calibration(logits, &labels).unwrap().error);
        assert_eq!(Some(error), theirs["calibration_error"].as_f64(), "torchmetrics");
    }
    for edge in python["wilson"].as_array().unwrap() {
        let (count, n) = (edge[0].as_u64().unwrap(), edge[1].as_u64().unwrap());
        let [_, low, high] = wilson(count, n).unwrap();
        assert_eq!([Some(low), Some(high)], [edge[2].as_f64(), edge[3].as_f64()], "{count} of {n}");
    }
    let [left, right] = [right(&trackers[0].1), right(&trackers[1].1)];
    let only = |a: bool| left.iter().zip(&right).filter(|&(&l, &r)| l == a && r != a).count() as u64;
    let ours = mcnemar(only(true), only(false));
    let theirs = python["mcnemar"].as_f64().unwrap();
    assert!((ours - theirs).abs() <= 1e-11 * theirs, "{ours} and {theirs}");
    for edge in python["mcnemar_edges"].as_array().unwrap() {
        let (a, b, theirs) =
            (edge[0].as_u64().unwrap(), edge[1].as_u64().unwrap(), edge[2].as_f64().unwrap());
        let ours = mcnemar(a, b);
        assert!((ours - theirs).abs() <= 1e-11 * theirs, "{a} and {b}: {ours} and {theirs}");
    }
}

#[test]
fn the_pages_of_the_help_can_be_made() {
    let lab = Lab::new();
    symlink(checkout().join("output"), lab.path().join("output")).unwrap();
    let help = lab.stdout("report --help");
    let examples: Vec<_> = help.lines().filter_map(|line| line.trim().strip_prefix("islp-mnist ")).collect();
    for example in &examples {
        lab.stdout(&format!("{example} --data-dir {}", fashion_mnist().display()));
    }
    assert_eq!(examples.len(), 3);
    assert!(lab.exists("mlp_and_mlr.html"));
}
