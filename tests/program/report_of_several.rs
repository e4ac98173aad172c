//! The command `report` for two and more runs.

use std::fs;

use crate::common::{Lab, sha256};
use crate::report::{assert_self_contained, fact, page};
use serde_json::Value;

#[test]
fn the_page_of_identical_runs_lists_what_was_compared() {
    let lab = Lab::new();
    let options = "--model mlr --epochs 2 --device cpu --seed 3";
    let (left, right) = (lab.train(options), lab.train(options));
    let html = page(&lab, &format!("{left} {right}"));
    assert_self_contained(&html);
    assert!(html.contains("<strong>identical: 2 files, 2 tensors, 0 differences</strong>"), "{html}");
    assert!(html.contains("2 files and 2 tensors of 7,850 values"));
    assert!(!html.contains("McNemar"), "nothing has to be explained");
    assert!(!html.contains("Where they differ"));
    let json = lab.run_json(&left);
    for (name, section, field) in
        [("Processor", "environment", "processor"), ("Threads", "options", "threads")]
    {
        let value = json[section][field].to_string();
        assert!(html.contains(&format!("<dt>{name}</dt><dd>{}</dd>", value.trim_matches('"'))), "{name}");
    }
    let command = html.split("<pre class=\"command\">").nth(1).unwrap().split("</pre>").next().unwrap();
    assert!(command.starts_with("islp-mnist train ") && command.contains(" --seed 3"), "{command}");
    let hash = sha256(&lab.read(&left, "metrics.csv"));
    assert_eq!(
        html.matches(&hash).count(),
        1,
        "metrics.csv is the same on both sides, so its hash is shown once"
    );
}

#[test]
fn the_page_of_different_runs_shows_where_they_differ_and_which_predictions_change() {
    let lab = Lab::new();
    let (left, right) = (
        lab.train("--model mlr --epochs 2 --device cpu"),
        lab.train("--model mlr --epochs 2 --device cpu --seed 1"),
    );
    let html = page(&lab, &format!("{left} {right}"));
    assert_self_contained(&html);
    for part in [
        "different: 2 of 2 files",
        "--seed: reference 0, candidate 1",
        "Where they differ",
        "first in row 1",
        "Difference between the losses in metrics.csv against step, on a log axis",
        "Digit by digit",
    ] {
        assert!(html.contains(part), "no {part:?}");
    }
    // The answer comes before the files.
    let place = |part: &str| html.find(part).unwrap_or_else(|| panic!("no {part:?}"));
    assert!(place("which is better?") < place("McNemar") && place("McNemar") < place("Where they differ"));
    let reads: Vec<f64> = [&left, &right]
        .map(|run| {
            let json = lab.program(&format!("test --checkpoint {run} --json")).assert().success();
            let json: Value = serde_json::from_slice(&json.get_output().stdout).unwrap();
            100.0 * json["test_accuracy"].as_f64().unwrap()
        })
        .to_vec();
    for read in reads {
        assert!(html.contains(&format!("<td>{read:.2} % (")), "{read}");
    }
}

#[test]
fn the_page_of_several_runs_is_one_table_with_the_options_that_differ() {
    let lab = Lab::new();
    let options = "--model mlr --epochs 2 --device cpu --batch-size 50";
    let runs = ["", "--seed 1", "--lr 0.1"].map(|option| lab.train(&format!("{options} {option}")));
    let html = page(&lab, &runs.join(" "));
    assert_self_contained(&html);
    let table = html.split("Options that differ</h2>").nth(1).unwrap();
    assert!(table.contains(">lr<") && table.contains(">seed<") && !table.contains(">batch size<"), "{table}");
    for version in 0..3 {
        assert_eq!(html.matches(&format!("<th scope=\"row\">MNIST_MLR/version_{version}</th>")).count(), 2);
    }
    assert!(html.contains("aria-label=\"Accuracy against epoch, validation\""), "{html}");
    let eleven = [runs.join(" ").as_str(); 4].join(" ");
    lab.assert_refused(&format!("report {eleven} -o a.html"), 1, &["12 runs", "too many"]);
    // Runs without validation are drawn too.
    for run in ["a", "b", "c"] {
        lab.write(
            &format!("{run}/metrics.csv"),
            "epoch,step,train_loss,lr-RMSprop\n0,1,0.5,0.1\n1,2,0.25,0.1\n",
        );
    }
    let html = page(&lab, "a b c");
    assert!(
        html.contains("aria-label=\"Loss, on a log axis, against epoch, training and validation\""),
        "{html}"
    );
}

#[test]
fn the_page_of_two_runs_shows_the_machine_and_the_options_of_each() {
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
    assert_eq!((is_marked, starts_shown), (false, starts.to_vec()), "a different start time is not marked");
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap();
    if let Some(name) = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")) {
        assert_eq!(environment("processor"), name.trim_start_matches(['\t', ' ', ':']).trim_end());
    }
}

#[test]
fn options_that_both_models_share_are_shown_once() {
    let lab = Lab::new();
    let options = "--epochs 1 --batch-size 64 --device cpu";
    for side in ["a", "b"] {
        lab.program(&format!("reproduce {options} --output-dir {side}")).assert().success();
    }
    let html = page(&lab, "a b");
    assert_eq!(html.matches("<table class=\"facts\">").count(), 1);
    assert_eq!(fact(&html, "program"), (false, vec!["islp-mnist reproduce".into()]));
    let run_json = lab.path().join("b/MNIST_MLR/version_0/run.json");
    let changed = fs::read_to_string(&run_json).unwrap().replace("\"seed\": 0", "\"seed\": 7");
    fs::write(run_json, changed).unwrap();
    let html = page(&lab, "a b");
    assert_eq!(
        html.matches("<table class=\"facts\">").count(),
        2,
        "each model has a table of its own if the options differ"
    );
}

#[test]
fn a_fact_that_an_older_run_did_not_record_is_unknown_and_not_a_difference() {
    let lab = Lab::new();
    let run = lab.train("--model mlr --epochs 1 --device cpu");
    let mut json = lab.run_json(&run);
    json["environment"].as_object_mut().unwrap().retain(|name, _| name == "libtorch");
    json["command"] = "reproduce".into();
    fs::create_dir(lab.path().join("older")).unwrap();
    for file in ["metrics.csv", "model.safetensors"] {
        fs::copy(lab.path().join(&run).join(file), lab.path().join("older").join(file)).unwrap();
    }
    let html = page(&lab, "older older");
    assert!(html.contains("There is no run.json, so machine and options are unknown"), "{html}");
    for (older, unknown) in [("{}".to_string(), true), (json.to_string(), false)] {
        fs::write(lab.path().join("older/run.json"), older).unwrap();
        let html = page(&lab, &format!("older {run}"));
        let (is_marked, processors) = fact(&html, "processor");
        assert_eq!((is_marked, processors[0].as_str()), (false, "unknown"));
        assert_eq!(fact(&html, "libtorch").1.len(), if unknown { 2 } else { 1 });
        // With the same options, `reproduce` and `train` end with different weights.
        assert_eq!(fact(&html, "program").0, !unknown);
    }
}

#[test]
fn the_page_of_two_traces_shows_the_first_difference_and_the_distance_over_time() {
    let lab = Lab::new();
    for (folder, seed) in [("a", 0), ("b", 1)] {
        fs::create_dir(lab.path().join(folder)).unwrap();
        lab.program(&format!(
            "reproduce --epochs 2 --device cpu --seed {seed} --output-dir {folder} --trace {folder}/run.trace"
        ))
        .assert()
        .success();
    }
    let html = page(&lab, "a b");
    for part in
        ["first difference in fit 0 (MNISTModel)", "Euclidean distance between the parameters against step"]
    {
        assert!(html.contains(part), "no {part:?}");
    }
}
