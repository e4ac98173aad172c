//! Runs that change between scripts/train.py and `islp-mnist train`: either side resumes the other's folder to the bytes
//! of a run in one go, and refuses what the other refuses.

use std::fs;
use std::path::Path;

use crate::common::processes::{Running, run, start, wait_for, wait_until};
use crate::common::python::{BOTH, Side};
use crate::common::{Lab, checkout, data_dir, python, stdout_of};
use serde_json::Value;

fn assert_both_refuse(lab: &Lab, options: &str, code: i32, names: &[&str]) {
    for side in BOTH {
        side.assert_refused(lab, options, code, names);
    }
}

/// A run whose first third one side trains, the second the other, the last the first one again.
fn back_and_forth(lab: &Lab, options: &str, first: Side, [one, two, three]: [usize; 3]) -> String {
    let run = first.train(lab, &format!("{options} --epochs {one}"));
    let resume = |side: Side, epochs| {
        assert_eq!(side.train(lab, &format!("--resume {run} --epochs {epochs}")), run);
        assert_eq!(lab.run_json(&run)["outcome"]["epochs"], epochs);
    };
    resume(first.other(), two);
    resume(first, three);
    run
}

#[test]
#[ignore = "needs the Python reference"]
fn thirty_epochs_that_change_sides_after_ten_and_twenty_are_thirty_without_a_stop() {
    let lab = Lab::new();
    for options in [
        "--model mlp --num-workers 4",
        "--model mlr --num-workers 4 --checkpoint-every 4",
        "--model mlp --num-workers 0 --checkpoint-every 7 --seed 18446744073709551615",
        "--model mlr --num-workers 0 --lr 0.3 --validation 0.5 --limit-train-batches 0.75",
    ] {
        // The 50th step is within an epoch, and logs a row.
        let options = format!("{options} --batch-size 56");
        let whole = Side::Rust.train(&lab, &format!("{options} --epochs 30"));
        let wholly_python = Side::Python.train(&lab, &format!("{options} --epochs 30"));
        lab.assert_same_numbers(&wholly_python, &whole, &format!("{options}, without a stop"));
        for first in BOTH {
            let run = back_and_forth(&lab, &options, first, [10, 20, 30]);
            lab.assert_same_numbers(&run, &whole, &format!("{options}, begun by {first:?}"));
        }
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn both_sides_write_the_same_trace_also_of_a_resumed_run() {
    let lab = Lab::new();
    let options = "--batch-size 48 --num-workers 2";
    for (i, first) in BOTH.into_iter().enumerate() {
        let run =
            first.train(&lab, &format!("{options} --epochs 1 --trace begun_{i}.trace --trace-steps 3..3"));
        for (j, side) in BOTH.into_iter().enumerate() {
            let copy = format!("output/copy/version_{i}{j}");
            fs::create_dir_all(lab.path().join("output/copy")).unwrap();
            let [from, to] = [&run, &copy].map(|run| lab.path().join(run).display().to_string());
            self::run("cp", &["-a", &from, &to]);
            side.train(&lab, &format!("--resume {copy} --epochs 2 --trace rest_{i}{j}.trace"));
        }
    }
    for (reference, candidate) in
        [("begun_0", "begun_1"), ("rest_00", "rest_01"), ("rest_00", "rest_10"), ("rest_00", "rest_11")]
    {
        let [reference, candidate] = [reference, candidate].map(|name| format!("{name}.trace"));
        let report = lab.stdout(&format!("compare {reference} {candidate}"));
        assert!(report.contains("identical (7 steps)"), "{report}");
    }
    let again = format!("{options} --trace begun_0.trace");
    assert_both_refuse(&lab, &again, 1, &["begun_0.trace", "--trace"]);
}

#[test]
#[ignore = "needs the Python reference"]
fn three_epochs_of_mnist_that_change_sides_are_three_without_a_stop() {
    let lab = Lab::new();
    fs::remove_dir_all(lab.path().join("data")).unwrap();
    std::os::unix::fs::symlink(data_dir(), lab.path().join("data")).unwrap();
    let whole = Side::Rust.train(&lab, "--epochs 3");
    let run = back_and_forth(&lab, "", Side::Rust, [1, 2, 3]);
    lab.assert_same_numbers(&run, &whole, "MNIST");
}

/// A run without an end, once it is in an epoch after the one that was saved last.
fn start_endless(side: Side, lab: &Lab, options: &str, run: &str) -> Running {
    let child = start(&side.command(lab, &format!("{options} --epochs 1000000")));
    let path = lab.path().join(run);
    wait_for(&path.join("checkpoints/last.safetensors"));
    if side == Side::Python {
        // Lightning flushes its logger in the middle of an epoch too.
        wait_until("metrics of an epoch that is not finished", || unfinished_rows(&path) > 0);
    }
    child
}

fn unfinished_rows(run: &Path) -> usize {
    let link = fs::read_link(run.join("checkpoints/last.safetensors")).unwrap();
    let saved: usize =
        link.to_str().unwrap().split(['=', '-']).nth(1).and_then(|epoch| epoch.parse().ok()).unwrap();
    let csv = fs::read_to_string(run.join("metrics.csv")).unwrap();
    let epochs = csv.lines().skip(1).map(|row| row.split(',').next().unwrap().parse::<usize>().unwrap());
    epochs.filter(|&epoch| epoch > saved).count()
}

#[test]
#[ignore = "needs the Python reference"]
fn a_run_that_one_side_was_killed_in_is_resumed_by_the_other() {
    let lab = Lab::new();
    // 320 steps an epoch.
    let options = "--batch-size 1 --num-workers 2";
    for (version, side) in BOTH.into_iter().enumerate() {
        let run = format!("output/killed/version_{version}");
        let child = start_endless(side, &lab, &format!("{options} --name killed"), &run);
        assert_both_refuse(&lab, &format!("--resume {run}"), 1, &[&run]);
        assert!(child.kill());
        let done = side.other().train(&lab, &format!("--resume {run} --epochs 1000000 --max-time 0s"));
        assert_eq!(done, run);
        let epochs = lab.run_json(&run)["outcome"]["epochs"].as_u64().unwrap();
        assert_eq!(lab.run_json(&run)["outcome"]["end"], "max_time");
        let whole = Side::Rust.train(&lab, &format!("{options} --epochs {epochs}"));
        lab.assert_same_numbers(&run, &whole, &format!("{side:?} was killed"));
    }
}

/// The newest checkpoint's number of steps.
fn saved_steps(run: &Path) -> Option<u64> {
    let link = fs::read_link(run.join("checkpoints/last.safetensors")).ok()?;
    link.to_str()?.strip_suffix(".safetensors")?.rsplit('=').next()?.parse().ok()
}

#[test]
#[ignore = "needs the Python reference"]
fn a_run_that_stops_within_an_epoch_is_resumed_within_it_by_either_side() {
    const STEPS_PER_EPOCH: u64 = 320;
    let lab = Lab::new();
    let options = "--batch-size 1 --num-workers 2";
    for (version, (side, is_killed)) in
        BOTH.into_iter().flat_map(|side| [(side, false), (side, true)]).enumerate()
    {
        let what = format!("{side:?}, killed: {is_killed}");
        let run = format!("output/left/version_{version}");
        let path = lab.path().join(&run);
        let endless = format!("{options} --epochs 1000000 --checkpoint-every-n-steps 7 --name left");
        let child = start(&side.command(&lab, &endless));
        let is_within = |steps: u64| !steps.is_multiple_of(STEPS_PER_EPOCH);
        wait_until("a checkpoint within an epoch", || saved_steps(&path).is_some_and(is_within));
        if is_killed {
            assert!(child.kill());
        } else {
            child.signal("TERM");
            child.last_words(143);
            let (steps, saved) =
                (lab.run_json(&run)["outcome"]["global_step"].as_u64(), saved_steps(&path).unwrap());
            // Before the validation of a whole epoch nothing is saved.
            assert!(steps == Some(saved) || steps == Some(saved.next_multiple_of(STEPS_PER_EPOCH)), "{what}");
        }
        let steps = saved_steps(&path).unwrap();
        let epochs = (steps + 1).div_ceil(STEPS_PER_EPOCH);
        if epochs > 1 {
            let fewer = format!("--resume {run} --epochs {}", epochs - 1);
            assert_both_refuse(&lab, &fewer, 2, &["--epochs", &format!("{epochs} epochs"), "begun"]);
        }
        let whole = Side::Rust.train(&lab, &format!("{options} --epochs {epochs}"));
        for resumes in BOTH {
            let copy = format!("output/{resumes:?}/version_{version}");
            fs::create_dir_all(lab.path().join(format!("output/{resumes:?}"))).unwrap();
            let [from, to] = [&run, &copy].map(|run| lab.path().join(run).display().to_string());
            self::run("cp", &["-a", &from, &to]);
            let trace = format!("{resumes:?}_{version}.trace");
            resumes.train(&lab, &format!("--resume {copy} --max-time 0s --trace {trace}"));
            lab.assert_same_numbers(&copy, &whole, &format!("{what}, resumed by {resumes:?}"));
        }
        let report = lab.stdout(&format!("compare Rust_{version}.trace Python_{version}.trace"));
        assert!(
            report.contains(&format!("identical ({} steps)", epochs * STEPS_PER_EPOCH - steps)),
            "{report}"
        );
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn a_signal_stops_python_as_it_stops_rust() {
    let lab = Lab::new();
    let options = "--model mlr --batch-size 1 --num-workers 0 --checkpoint-every 1000";
    for (version, (name, exit_code)) in [("TERM", 143), ("USR1", 138)].into_iter().enumerate() {
        let run = format!("output/stopped/version_{version}");
        let child = start_endless(Side::Python, &lab, &format!("{options} --name stopped"), &run);
        child.signal(name);
        child.last_words(exit_code);
        let outcome = &lab.run_json(&run)["outcome"];
        assert_eq!(outcome["end"], "interrupted");
        // The epochs that were finished are saved, though no checkpoint was due.
        let epochs = outcome["epochs"].as_u64().unwrap();
        let last = fs::read_link(lab.path().join(&run).join("checkpoints/last.safetensors")).unwrap();
        assert!(last.to_str().unwrap().starts_with(&format!("epoch={}-", epochs - 1)), "{last:?}: {outcome}");
        Side::Rust.train(&lab, &format!("--resume {run} --max-time 0s"));
        let whole = Side::Rust.train(&lab, &format!("{options} --epochs {}", epochs + 1));
        lab.assert_same_numbers(&run, &whole, name);
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn a_run_json_of_one_side_is_repeated_by_the_other() {
    let lab = Lab::new();
    let options = "--model mlr --epochs 2 --batch-size 50 --lr 1e-7 --num-workers 0 --limit-train-batches 3 --name mine";
    let runs = BOTH.map(|side| side.train(&lab, options));
    let json = |run: &str| {
        let mut json = lab.run_json(run);
        for volatile in ["/start", "/outcome/duration_seconds", "/environment/git_commit", "/environment/tch"]
        {
            *json.pointer_mut(volatile).unwrap() = Value::Null;
        }
        let environment = json["environment"].as_object_mut().unwrap();
        environment
            .retain(|name, _| !["python", "pytorch_lightning", "islp", "libraries"].contains(&name.as_str()));
        json
    };
    assert_eq!(json(&runs[0]), json(&runs[1]));
    assert!(lab.run_json(&runs[0])["environment"]["tch"].is_null());
    for side in BOTH {
        for run in &runs {
            let again = side.train(&lab, &format!("--from {run}/run.json --epochs 2"));
            lab.assert_same_numbers(&again, run, &format!("{side:?} with {run}"));
        }
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn a_training_that_diverges_ends_alike() {
    let lab = Lab::new();
    assert_both_refuse(&lab, "--lr 1e30 --batch-size 8 --num-workers 0", 3, &["--lr", "1e+30"]);
    for run in ["output/MNIST/version_0", "output/MNIST/version_1"] {
        assert_eq!(lab.run_json(run)["outcome"]["end"], "diverged");
        assert!(!lab.path().join(run).join("model.safetensors").exists());
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn both_sides_refuse_the_same_options_and_files() {
    let lab = Lab::new();
    let refused = |options: &str, code: i32, names: &[&str]| assert_both_refuse(&lab, options, code, names);
    for option in [
        "--epochs 0",
        "--seed 18446744073709551616",
        "--lr NaN",
        "--lr 1_0",
        "--device gpu",
        "--limit-train-batches 0.0",
        "--name a/b",
        "--max-time 10",
        "--epoch 3",
        "--resume a --from b",
        "--limit-train-batches 0.001",
        "--validation 0.001",
    ] {
        refused(option, 2, &[option.split(' ').next().unwrap()]);
    }
    refused("--trace-steps 3..4", 2, &["--trace"]);
    refused("--resume nowhere", 1, &["nowhere"]);
    refused("--from nowhere.json", 1, &["nowhere.json"]);
    refused("--data-dir nowhere", 1, &["nowhere", "--data-dir"]);
    assert!(!lab.path().join("output").exists());

    // A run of the other side each.
    for side in BOTH {
        let run = side.train(&lab, "--epochs 2 --model mlr --num-workers 0");
        for (option, then) in
            [("--model mlp", "mlr"), ("--lr 0.02", "0.01"), ("--limit-train-batches 1.0", "none")]
        {
            refused(&format!("--resume {run} {option}"), 2, &[option, &run, then]);
        }
        refused(&format!("--resume {run} --epochs 1"), 2, &["--epochs 1", &run]);
        let path = lab.path().join(&run);
        let spoil = |file: &str, spoil: &dyn Fn(&mut Vec<u8>)| {
            let (before, run_json) = (lab.read(&run, file), lab.read(&run, "run.json"));
            let mut bytes = before.clone();
            spoil(&mut bytes);
            fs::write(path.join(file), bytes).unwrap();
            refused(&format!("--resume {run} --epochs 3"), 1, &[&format!("{run}/{file}")]);
            fs::write(path.join(file), before).unwrap();
            assert!(lab.read(&run, "run.json") == run_json, "it stays as it is");
        };
        spoil("metrics.csv", &|bytes| *bytes.last_mut().unwrap() = b'x');
        spoil("checkpoints/last.safetensors", &|bytes| *bytes.last_mut().unwrap() ^= 1);
        // Both can resume it nevertheless.
        side.other().train(&lab, &format!("--resume {run} --epochs 3"));
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn both_sides_give_the_same_reason_why_a_run_cannot_be_resumed() {
    let lab = Lab::new();
    let refused = |options: &str, names: &[&str]| assert_both_refuse(&lab, options, 1, names);
    lab.stdout("reproduce --epochs 1 --device cpu");
    let both_models = "written by `reproduce`, whose two models draw from one generator; run `reproduce` again, or start a new run";
    refused("--resume output/MNIST/version_0", &["output/MNIST/version_0/run.json: ", both_models]);
    refused(
        "--from output/MNIST_MLR/version_0/run.json",
        &["output/MNIST_MLR/version_0/run.json: ", both_models],
    );
    fs::create_dir(lab.path().join("empty")).unwrap();
    refused(
        "--resume empty",
        &["empty: no checkpoint of `train` to resume from: ", "empty/run.json", "No such file"],
    );
    refused(
        "--from empty",
        &["--from takes the run.json of a run, or its folder: ", "empty/run.json", "No such file"],
    );
    fs::write(lab.path().join("empty/run.json"), "{").unwrap();
    refused(
        "--from empty",
        &["--from takes the run.json of a run, or its folder: empty/run.json: not the run.json of a run"],
    );

    let run = lab.train("--epochs 1 --model mlr");
    let path = lab.path().join(&run);
    let resume = format!("--resume {run} --epochs 2");
    let csv = lab.read(&run, "metrics.csv");
    for spoilt in [&b"x\r\n"[..], b"\"", b""] {
        fs::write(path.join("metrics.csv"), spoilt).unwrap();
        refused(&resume, &[&format!("{run}/metrics.csv: "), "; put the file back, or start a new run"]);
    }
    fs::write(path.join("metrics.csv"), csv).unwrap();
    // A checkpoint of a module of one's own, and of a version to come.
    let last = fs::canonicalize(path.join("checkpoints/last.safetensors")).unwrap();
    let bytes = fs::read(&last).unwrap();
    let replaced = |from: &[u8], to: &[u8]| {
        assert_eq!(from.len(), to.len());
        let place = bytes.windows(from.len()).position(|window| window == from).unwrap();
        [&bytes[..place], to, &bytes[place + from.len()..]].concat()
    };
    let version = format!("islp_mnist\\\":\\\"{}", env!("CARGO_PKG_VERSION"));
    let other = version.replace(env!("CARGO_PKG_VERSION"), "9.9.9");
    let broken = replaced(version.as_bytes(), other.as_bytes());
    let place = broken.windows(8).position(|window| window == b"progress").unwrap();
    fs::write(&last, [&broken[..place], b"advances", &broken[place + 8..]].concat()).unwrap();
    refused(
        &resume,
        &["written by islp-mnist 9.9.9", "; resume with that version, or start a new run with --from"],
    );
    fs::write(&last, replaced(b"sha256", b"sha257")).unwrap();
    refused(&resume, &["last.safetensors: damaged", "; start a new run with --from and its run.json"]);
}

#[test]
#[ignore = "needs the Python reference"]
fn python_reads_the_state_of_cudas_generator_and_does_not_resume_with_it_on_the_cpu() {
    let lab = Lab::new();
    let run = lab.train("--generator cuda --batch-size 32 --epochs 1 --seed 11");
    let varied = lab.train("--vary init=2 --batch-size 32 --epochs 1 --name varied");
    for (options, code, reason) in [
        (format!("--resume {run} --epochs 2"), 2, "--generator cuda conflicts with --device cpu"),
        (format!("--resume {varied} --epochs 2"), 1, "generator.varied.state belongs to a run with --vary"),
        (format!("--from {varied}/run.json"), 2, "--vary init=2: PyTorch draws everything from one stream"),
        ("--epochs 1 --device cuda".into(), 1, "--device cuda: torch sees 0 GPUs"),
    ] {
        Side::Python.assert_refused(&lab, &options, code, &[reason]);
    }
    let checkpoint = lab.path().join(&run).join("checkpoints/last.safetensors");
    let read = stdout_of(python("tests/read_cuda_generator.py").arg(checkpoint));
    let reason = "generator.cuda.state belongs to a run whose dropout draws from CUDA's generator";
    assert_eq!(read, format!("11 80\n{reason}\ngenerator.cuda.state: its offset is 82\n"));
}

#[test]
#[ignore = "needs the Python reference"]
fn a_lightning_module_of_ones_own_resumes_to_the_same_bytes() {
    stdout_of(python("tests/own_module.py").env("OMP_NUM_THREADS", "1"));
}

#[test]
fn the_package_for_python_has_this_version_and_needs_this_torch() {
    let (version, torch) = (env!("CARGO_PKG_VERSION"), env!("TORCH_VERSION"));
    for (file, expected) in [
        ("islp_mnist/__init__.py", format!("\n__version__ = \"{version}\"\n")),
        ("Cargo.toml", format!("\nversion = \"{version}\"\n")),
        ("islp_mnist/compiled.py", format!("\nTORCH_VERSION = \"{torch}\"\n")),
        ("pyproject.toml", format!("\"torch=={torch}\"")),
    ] {
        let text = fs::read_to_string(checkout().join("python").join(file)).unwrap();
        assert!(text.contains(&expected), "python/{file} lacks {expected:?}");
    }
}
