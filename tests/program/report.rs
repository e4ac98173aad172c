//! The command `report`: the contents of its pages, checked against Python's values, and its refusals.

use std::fs;
use std::path::Path;

use crate::common::python::python_output;
use crate::common::{Lab, assert_refused, checkout, fashion_mnist, islp_mnist, program, python, stdout_of};
use islp_mnist::islp::{ErrorTracker, SimpleDataModule, SimpleModule};
use islp_mnist::lightning::{ModelCheckpoint, TrainerState, evaluate};
use islp_mnist::notebook::weights;
use islp_mnist::report::{calibration, mcnemar, paired_difference, wilson};
use islp_mnist::torch::{Generator, nn::linear};
use islp_mnist::torchvision;
use serde_json::Value;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

/// Runs `report` with these arguments and returns the page.
pub fn page(lab: &Lab, arguments: &str) -> String {
    lab.program(&format!("report {arguments} -o page.html")).assert().success().stdout("page.html\n");
    fs::read_to_string(lab.path().join("page.html")).unwrap()
}

/// Fails if a page has a script or refers to another file.
pub fn assert_self_contained(html: &str) {
    assert!(html.len() < 2_000_000, "{} bytes", html.len());
    // Only the script that sorts tables.
    let sort = fs::read_to_string(checkout().join("templates/sort.html")).unwrap();
    let without = html.replace(sort.trim_end(), "");
    assert!(!without.contains("<script") && !html.contains("url(") && !html.contains("@import"));
    for attribute in ["src=\"", "href=\""] {
        for value in html.split(attribute).skip(1) {
            assert!(value.starts_with("data:") || value.starts_with('#'), "{}", &value[..60]);
        }
    }
}

/// Returns the row of this name in the table of facts about two runs: true if it is marked as different, and its cells.
pub fn fact(html: &str, name: &str) -> (bool, Vec<String>) {
    let table = html.split("<table class=\"facts\">").nth(1).unwrap().split("</table>").next().unwrap();
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
fn the_page_of_a_training_shows_its_options_and_its_command() {
    let lab = Lab::new();
    let run = lab.train("--model mlr --epochs 3 --batch-size 32 --seed 7 --device cpu");
    let html = page(&lab, &run);
    assert_self_contained(&html);
    for part in [
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
    ] {
        assert!(html.contains(part), "no {part:?}");
    }
    let json = lab.program(&format!("test --checkpoint {run} --batch-size 32 --json")).assert().success();
    let json: Value = serde_json::from_slice(&json.get_output().stdout).unwrap();
    let accuracy = json["test_accuracy"].as_f64().unwrap();
    assert!(html.contains(&format!("<strong>{:.2} %</strong> of 100 test images", 100.0 * accuracy)));
    assert!(
        html.contains(&format!("<td>{accuracy:?}</td>")),
        "test_accuracy is printed as in the notebook's table"
    );
}

#[test]
fn reproduce_with_report_writes_one_page_for_both_models() {
    let lab = Lab::new();
    let options = "--epochs 2 --batch-size 64 --device cpu";
    let assert = lab.program(&format!("reproduce --report {options}")).assert().success();
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(stderr.ends_with("the page of both runs is output/MNIST/version_0/report.html\n"), "{stderr}");
    let html = String::from_utf8(lab.read("output/MNIST/version_0", "report.html")).unwrap();
    assert_self_contained(&html);
    for name in ["MNIST/version_0", "MNIST_MLR/version_0", "islp-mnist reproduce --batch-size 64"] {
        assert!(html.contains(name), "no {name}");
    }
    let plain = lab.program(&format!("reproduce {options}")).assert().success();
    assert_eq!(plain.get_output().stdout, assert.get_output().stdout);
    assert!(!lab.path().join("output/MNIST/version_1/report.html").exists());
}

#[test]
fn a_diverged_run_succeeds_without_a_page() {
    let lab = Lab::new();
    let options = "--epochs 2 --batch-size 64 --device cpu --lr 1e30";
    let plain = lab.program(&format!("reproduce {options}")).assert().success();
    let assert = lab.program(&format!("reproduce --report {options}")).assert().success();
    assert_eq!(plain.get_output().stdout, assert.get_output().stdout);
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(stderr.lines().last().unwrap().starts_with("warning: no page: "), "{stderr}");
}

#[test]
fn the_command_that_repeats_a_run_is_safe_to_paste() {
    let lab = Lab::new();
    fs::create_dir_all(lab.path().join("run")).unwrap();
    fs::write(lab.path().join("run/metrics.csv"), "epoch,step,train_loss\n0,1,0.5\n").unwrap();
    let json = r#"{"command": "x; rm y", "options": {"a; rm b": 1, "name": "", "seed": "1; rm z"}}"#;
    fs::write(lab.path().join("run/run.json"), json).unwrap();
    let html = page(&lab, "run");
    let command = html.split("<pre class=\"command\">").nth(1).unwrap().split("</pre>").next().unwrap();
    assert!(command.ends_with(" --name &#39;&#39; --seed &#39;1; rm z&#39;"), "{command}");
    assert!(!command.contains("rm b") && !command.contains("rm y"), "{command}");
}

#[test]
fn train_does_not_continue_a_run_of_reproduce() {
    let lab = Lab::new();
    lab.program("reproduce --epochs 1 --device cpu").assert().success();
    for option in ["--resume", "--from"] {
        assert_refused(
            &mut lab.program(&format!("train {option} output/MNIST/version_0")),
            1,
            &["`reproduce`"],
        );
    }
}

#[test]
fn the_page_of_a_model_with_dropout_says_why_validation_is_above_training() {
    let lab = Lab::new();
    let why = "Why is validation above training?";
    let mlp = lab.train("--model mlp --epochs 4 --device cpu --batch-size 20");
    // Too few images to be sure of it.
    let csv = "epoch,step,train_accuracy_epoch,valid_accuracy\n0,1,0.5,\n0,1,,0.75\n";
    lab.write(&format!("{mlp}/metrics.csv"), csv);
    let html = page(&lab, &mlp);
    assert!(html.contains(why) && html.contains("75.00 % in validation and 50.00 % in training"), "{html}");
    let mnist = torchvision::load(lab.path().join("data"), Device::Cpu).unwrap();
    let data = SimpleDataModule::new(&mnist, 0.2, 0, 20, &Generator::new(0)).unwrap();
    let module = weights::load(&lab.path().join(&mlp), Device::Cpu).unwrap();
    let trained =
        evaluate(&module, &mut data.train_dataloader(), usize::MAX).unwrap().compute(&module).unwrap();
    let said = format!("Without dropout, the final model reads {:.2} % of", 100.0 * trained.accuracy);
    assert!(html.contains(&said), "{said}: {html}");
    let below = csv.replace("0.75", "0.25");
    lab.write(&format!("{mlp}/metrics.csv"), below);
    assert!(!page(&lab, &mlp).contains(why));
    let mlr = lab.train("--model mlr --epochs 1 --device cpu");
    lab.write(&format!("{mlr}/metrics.csv"), csv);
    assert!(!page(&lab, &mlr).contains(why), "logistic regression has no dropout");
}

#[test]
#[ignore = "needs the Python reference"]
fn the_notebook_in_python_writes_the_same_run_json_as_reproduce() {
    let lab = Lab::new();
    let options = "--epochs 2 --batch-size 64 --threads 1 --lr 1e-3";
    lab.program(&format!("reproduce {options} --device cpu --output-dir rust")).assert().success();
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
    let compare = lab.program("compare python rust").assert().success();
    let said = String::from_utf8(compare.get_output().stdout.clone()).unwrap();
    assert!(!said.contains("run.json"), "{said}");
    let html = page(&lab, "python rust");
    let (is_marked, programs) = fact(&html, "program");
    assert_eq!(
        (is_marked, programs),
        (false, vec!["scripts/notebook.py".into(), "islp-mnist reproduce".into()])
    );
    let (_, versions) = fact(&html, "versions");
    assert!(versions[0].contains("python 3.") && versions[0].contains("pytorch-lightning "), "{versions:?}");
    assert_eq!(fact(&html, "seed"), (false, vec!["0".into()]));
    let html = page(&lab, "python/MNIST_MLR/version_0");
    let command = html.split("<pre class=\"command\">").nth(1).unwrap().split("</pre>").next().unwrap();
    let again = ".venv/bin/python scripts/notebook.py --batch-size 64 --epochs 2 --lr 0.001 --num-workers 4 \
                 --seed 0 --threads 1 --validation 0.2";
    assert_eq!(command, again, "scripts/notebook.py has no other options");
}

#[test]
fn everything_that_comes_from_a_run_is_escaped() {
    let lab = Lab::new();
    let name = "<script>alert(1)</script>&\"'".replace('/', "");
    for side in ["a", "b"] {
        let folder = lab.path().join(side).join(&name).join("version_0");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("metrics.csv"), "epoch,step,train_loss\n0,1,0.5\n").unwrap();
        fs::write(
            folder.join("run.json"),
            r#"{"options": {"<b>": "<img src=x onerror=alert(1)>"}, "start": "<i>"}"#,
        )
        .unwrap();
        fs::write(lab.path().join(side).join("stdout.txt"), format!("<u>{side}</u>\n\u{1b}[31m\n")).unwrap();
    }
    for html in [page(&lab, "a"), page(&lab, "a b")] {
        assert_self_contained(&html);
        let (html, _) = html.split_once("</footer>").unwrap();
        for markup in ["<script>", "<img src=x", "<b>", "<i>", "<u>", "\u{1b}"] {
            assert!(!html.contains(markup), "{markup:?} is not escaped");
        }
        assert!(html.contains("&#60;script&#62;alert(1)") || html.contains("&lt;script&gt;alert(1)"));
    }
    assert!(page(&lab, "a b").contains("tr class=\"differs\""));
}

#[test]
fn a_lightning_log_folder_without_weights_has_a_page_of_its_metrics() {
    let lab = Lab::new();
    fs::create_dir_all(lab.path().join("logs/version_0")).unwrap();
    fs::copy(
        checkout().join("output/MNIST/version_0/metrics.csv"),
        lab.path().join("logs/version_0/metrics.csv"),
    )
    .unwrap();
    let html = page(&lab, "logs/version_0");
    assert!(
        html.contains("contains no safetensors file")
            && html.contains("<svg role=\"img\" aria-label=\"Accuracy of")
    );
}

/// Writes the run of a model that the program does not know, in a folder where it finds no data.
fn write_circle(lab: &Lab, run: &str, seed: u64) {
    let (vs, generator) = (VarStore::new(Device::Cpu), Generator::new(seed));
    let layer = linear(vs.root() / "net" / "0", 2, 16, &generator).unwrap();
    let module = SimpleModule::classification(Box::new(layer), vs, 0.01).unwrap();
    let hyper_parameters = serde_json::json!({"lr": 0.01, "hidden_units": 16});
    let mut checkpoints = ModelCheckpoint::new(&lab.path().join(run), 1, &hyper_parameters).unwrap();
    let state = TrainerState { global_step: 20, ..TrainerState::default() };
    checkpoints.epoch_end(&module, &generator, state, true).unwrap();
    let rows = "epoch,step,train_mae_epoch,valid_loss,valid_mae\n0,19,0.5,0.7,0.4\n1,39,0.25,0.6,0.2\n";
    lab.write(&format!("{run}/metrics.csv"), rows);
}

#[test]
fn runs_of_an_unknown_model_have_pages_of_how_they_were_trained_without_any_data() {
    let lab = Lab::new();
    write_circle(&lab, "circle/a", 1);
    write_circle(&lab, "circle/b", 2);
    fs::rename(lab.path().join("data"), lab.path().join("elsewhere")).unwrap();
    let html = page(&lab, "circle/a");
    for part in [
        "The weights in checkpoints/last.safetensors are those of a model that this program does not know, so this section",
        "aria-label=\"Loss, on a log axis, of circle/a",
        "aria-label=\"train_mae_epoch and valid_mae of circle/a",
        "<dt>hidden units</dt><dd>16</dd>",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert!(!html.contains("Confusion matrix"));
    let html = page(&lab, "circle/a circle/b");
    assert!(
        html.contains("net.0.weight") && html.contains("training and validation, the same in both runs"),
        "{html}"
    );
    assert_eq!(fact(&html, "hidden units"), (false, vec!["16".to_string()]));

    // Lightning's log has its options in a file of its own.
    lab.write("log/metrics.csv", "epoch,step,train_loss\n0,1,0.5\n1,2,0.25\n");
    lab.write("log/hparams.yaml", "lr: 0.05\nbetas:\n- 0.9\nname: <b>mine</b>\n");
    let html = page(&lab, "log");
    assert!(html.contains("<dt>lr</dt><dd>0.05</dd>") && html.contains("&#60;b&#62;mine"), "{html}");
    // Weights of a known model still need the data.
    lab.train("--epochs 1 --data-dir elsewhere");
    lab.assert_refused("report output/MNIST/version_0 -o a.html", 1, &["data/MNIST/raw", "--data-dir"]);
}

#[test]
fn losses_that_are_all_0_are_drawn_on_a_linear_axis() {
    let lab = Lab::new();
    fs::create_dir_all(lab.path().join("zero")).unwrap();
    fs::write(lab.path().join("zero/metrics.csv"), "epoch,step,train_loss\n0,1,0.0\n1,2,0.0\n").unwrap();
    let html = page(&lab, "zero");
    assert!(html.contains("aria-label=\"Loss of "), "{html}");
}

#[test]
fn a_folder_without_runs_and_an_output_that_is_not_html_are_refused() {
    let lab = Lab::new();
    fs::create_dir_all(lab.path().join("empty")).unwrap();
    assert_refused(
        &mut lab.program("report empty -o a.html"),
        1,
        &["empty", "neither metrics.csv nor weights"],
    );
    assert_refused(&mut lab.program("report missing -o a.html"), 1, &["missing"]);
    assert_refused(&mut lab.program("report empty -o a.pdf"), 2, &["--output"]);
    fs::create_dir_all(lab.path().join("bad")).unwrap();
    fs::write(lab.path().join("bad/metrics.csv"), "epoch,step\n").unwrap();
    fs::write(lab.path().join("bad/run.json"), "{").unwrap();
    assert_refused(&mut lab.program("report bad -o a.html"), 1, &["bad/run.json"]);
    assert!(!lab.path().join("a.html").exists());
}

#[test]
#[ignore = "needs the Python reference"]
fn the_statistics_of_predictions_equal_sklearns_torchmetrics_and_statsmodels() {
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
    for case in python["paired"].as_array().unwrap() {
        let [first, second, images] = [0, 1, 2].map(|i| case[i].as_u64().unwrap() as usize);
        for (ours, theirs) in paired_difference(first, second, images).into_iter().zip([3, 4, 5]) {
            let theirs = case[theirs].as_f64().unwrap();
            assert!((ours - theirs).abs() <= 1e-12 * theirs.abs().max(1.0), "{case}: {ours} and {theirs}");
        }
    }
}

#[test]
fn the_examples_in_the_help_succeed() {
    let help = stdout_of(islp_mnist().args(["report", "--help"]));
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(checkout().join("output"), folder.path().join("output")).unwrap();
    let examples = help.lines().filter_map(|line| line.trim().strip_prefix("islp-mnist "));
    let data = format!(" --data-dir {}", fashion_mnist().display());
    let mut made = 0;
    for example in examples {
        program(&folder, &(example.to_owned() + &data)).assert().success();
        made += 1;
    }
    assert_eq!(made, 3);
    assert!(Path::new(folder.path()).join("mlp_and_mlr.html").exists());
}
