//! `study` with few seeds, and over runs made elsewhere.

use std::fs;

use crate::common::Lab;
use islp_mnist::study::rows_in;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;

#[test]
fn lightning_logs_without_run_json_are_collected_and_have_a_page() {
    let lab = Lab::new();
    for (name, versions) in [("MNIST", 4), ("mine", 2)] {
        for version in 0..versions {
            let folder = format!("logs/{name}/version_{version}");
            let rows: String =
                (0..30).map(|epoch| format!("{epoch},{},0.9{version},0.3,,\n", epoch * 188 + 187)).collect();
            let header = "epoch,step,val_acc,val_loss,test_acc,test_loss\n";
            lab.write(
                &format!("{folder}/metrics.csv"),
                format!("{header}{rows}30,5640,,,0.96{version},0.1\n"),
            );
        }
    }
    lab.write("logs/mine/version_2/metrics.csv", "epoch,step,val_acc\n0,1,0.5\n");
    let assert = lab.program("study --collect logs").assert().success();
    let assert = assert.stderr(
        contains("mine/version_2/metrics.csv: no column test_accuracy").and(contains("1 run left out")),
    );
    let said = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    assert!(
        said.contains("MNIST, test accuracy over 4 runs") && said.contains("mine, test accuracy over 2 runs"),
        "{said}"
    );
    assert!(said.contains("the notebook's      0.966"), "a run of the notebook's length and name: {said}");
    let rows = rows_in(&lab.path().join("logs")).unwrap();
    assert_eq!(rows.len(), 6);
    let row =
        |i: usize| (rows[i].model.to_string(), rows[i].seed, rows[i].test_accuracy, rows[i].valid_accuracy);
    assert_eq!(row(3), ("MNIST".into(), 3, Some(0.963), Some(0.93)));
    assert_eq!((rows[0].epochs, rows[0].seconds), (30, None));
    lab.program("report logs -o page.html").assert().success();
    let html = fs::read_to_string(lab.path().join("page.html")).unwrap();
    for part in [
        "MNIST and mine over 4 runs",
        "MNIST, run: 4 runs, 0.9600 to 0.9630",
        "Validation accuracy against epoch",
    ] {
        assert!(html.contains(part), "no {part:?}: {html}");
    }
    // Once more, with a run that has come.
    lab.write("logs/mine/version_3/metrics.csv", "epoch,step,test_accuracy\n1,1,0.5\n");
    lab.program("study --collect logs")
        .assert()
        .success()
        .stdout(contains("mine, test accuracy over 3 runs"));
    lab.assert_refused("study --collect data", 1, &["data", "CSVLogger"]);
}

#[test]
fn few_seeds_and_one_epoch_are_drawn_as_what_they_are() {
    let lab = Lab::new();
    let assert =
        lab.program("study --seeds 0..3 --epochs 1 --batch-size 32 --device cpu --output-dir s").assert();
    let said = String::from_utf8(assert.success().get_output().stdout.clone()).unwrap();
    assert!(said.contains("caution: with fewer than 10 seeds"), "{said}");
    assert!(!said.contains("the notebook's"), "one epoch is not the notebook's thirty: {said}");
    let svg = |name: &str| String::from_utf8(lab.read("s", &format!("{name}.svg"))).unwrap();
    let texts = |svg: &str| -> Vec<String> {
        svg.split("</text>")
            .filter_map(|part| part.split('>').next_back())
            .map(|text| text.trim().to_owned())
            .collect()
    };
    let accuracy = svg("accuracy");
    assert!(
        !accuracy.contains("<polygon") && accuracy.contains("<circle"),
        "a dot within an interval: {accuracy}"
    );
    let shown = texts(&accuracy);
    assert!(shown.contains(&"0".into()) && !shown.contains(&"0.00".into()), "{shown:?}");
    assert!(shown.contains(&"validation accuracy".into()), "{shown:?}");
    let shown = texts(&svg("test_accuracy_mlp"));
    assert!(shown.contains(&"1".into()) && !shown.contains(&"0.5".into()), "{shown:?}");
    assert!(!shown.iter().any(|text| text.contains("prints")), "{shown:?}");
    lab.program("report s -o s.html").assert().success();
    let html = fs::read_to_string(lab.path().join("s.html")).unwrap();
    assert!(
        html.contains("MNISTModel (seed) has 4 seeds")
            && html.contains("1 epoch<")
            && !html.contains("1 epochs"),
        "{html}"
    );
}

#[test]
fn a_folder_of_logs_is_collected_again_and_again_with_the_same_result() {
    let lab = Lab::new();
    let log = |folder: &str, accuracy: &str| {
        lab.write(
            &format!("{folder}/metrics.csv"),
            format!("epoch,step,val_acc,test_acc\n0,1,0.5,\n1,2,,{accuracy}\n"),
        );
    };
    // Names that stand for something else, folders without a number, values that are none.
    for folder in [
        "logs/mlp/version_0",
        "logs/runs/version_0",
        "logs/mine/best",
        "logs/mine/version_0",
        "logs/mine/version_01",
    ] {
        log(folder, "0.5");
    }
    log("logs/percent/version_0", "96.5");
    log("logs/minus/version_0", "-0.0");
    std::os::unix::fs::symlink(".", lab.path().join("logs/mine/self")).unwrap();
    let collect = |folder: &str| {
        let assert = lab.program(&format!("study --collect {folder}")).assert().success();
        let said = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
        assert!(!said.contains("NaN") && !said.contains("-0.0"), "{said}");
        let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(stderr.contains("percent/version_0/metrics.csv: its test accuracy is 96.5"), "{stderr}");
        rows_in(&lab.path().join(folder)).unwrap()
    };
    let rows = collect("logs");
    let keys: Vec<String> = rows.iter().map(|row| format!("{} {}", row.model, row.seed)).collect();
    assert_eq!(keys, ["mine 0", "mine 1", "mine 2", "minus 0", "mlp 0", "runs 0"]);
    assert_eq!(collect("logs"), rows);
    fs::remove_dir_all(lab.path().join("logs/mine/best")).unwrap();
    assert_eq!(collect("logs").len(), 5, "a log that is gone leaves no row");
    let here = std::process::Command::new(env!("CARGO_BIN_EXE_islp-mnist"))
        .current_dir(lab.path().join("logs"))
        .args(["study", "--collect", "."])
        .output()
        .unwrap();
    assert!(here.status.success(), "{here:?}");
    fs::remove_dir_all(lab.path().join("logs/percent")).unwrap();
    lab.write("logs/study.csv", "name,age,city\n");
    lab.assert_refused(
        "study --collect logs",
        1,
        &["logs/study.csv", "its columns are others", "move it elsewhere"],
    );
}

#[test]
fn only_collect_looks_for_logs_and_a_training_keeps_their_rows() {
    let lab = Lab::new();
    lab.write("s/mine/version_0/metrics.csv", "epoch,step,test_acc\n1,2,0.5\n");
    let models = || -> Vec<String> {
        let rows = rows_in(&lab.path().join("s")).unwrap();
        rows.iter().map(|row| format!("{} {}={}", row.model, row.varied, row.seed)).collect()
    };
    let train = |seed: u64| {
        let options = format!("--model mlr --epochs 1 --device cpu --output-dir s --seeds {seed}");
        lab.program(&format!("study {options}")).assert().success();
    };
    train(0);
    assert_eq!(models(), ["mlr seed=0"]);
    lab.program("study --collect s").assert().success();
    assert_eq!(models(), ["mlr seed=0", "mine run=0"]);
    train(1);
    assert_eq!(models(), ["mlr seed=0", "mlr seed=1", "mine run=0"]);
}
