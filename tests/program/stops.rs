//! Runs that a signal, a kill or an error stops: what was on disk stays, and the resumed run leaves the bytes of one that
//! was never stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crate::common::processes::{self, Running, run, start_as_it_is, wait_for, wait_until, wrapped};
use crate::common::{Lab, command, data_dir, names, tally};
use islp_mnist::islp::{SimpleDataModule, SimpleModule};
use islp_mnist::lightning::{self, Checkpoint, CsvLogger, ModelCheckpoint, Trainer};
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::Generator;
use islp_mnist::torchvision;
use tch::Device;
use tch::nn::VarStore;

const RUN: &str = "output/MNIST/version_0";
const LAST: &str = "checkpoints/last.safetensors";
const BEST: &str = "checkpoints/best.safetensors";

/// Some hundred steps in about a second; no checkpoint is due in the last epoch.
const SHORT: &str = "--epochs 8 --batch-size 8 --checkpoint-every 3";
/// Long enough that a signal comes before the end, also on a busy machine.
const LONG: &str = "--epochs 24 --batch-size 8 --checkpoint-every 7 --data-dir elsewhere";
const ENDLESS: &str = "--epochs 1000000 --batch-size 8";

fn start(lab: &Lab, options: &str) -> Running {
    processes::start(&command(lab.path(), &format!("train {options}")))
}

/// The file that last.safetensors points at.
fn last(lab: &Lab, run: &str) -> PathBuf {
    fs::read_link(lab.path().join(run).join(LAST)).unwrap()
}

/// Fails unless the newest checkpoint is of the last epoch that run.json counts.
fn assert_saved(lab: &Lab, run: &str) {
    let outcome = &lab.run_json(run)["outcome"];
    assert_eq!(outcome["end"], "interrupted");
    if let Some(epoch) = outcome["epochs"].as_u64().unwrap().checked_sub(1) {
        let last = last(lab, run);
        assert!(last.to_str().unwrap().starts_with(&format!("epoch={epoch}-")), "{last:?}: {outcome}");
    }
}

fn assert_no_temporaries(folder: &Path) {
    for name in names(folder) {
        let path = folder.join(&name);
        assert!(!name.starts_with(".tmp"), "{path:?} stays behind");
        if path.is_dir() {
            assert_no_temporaries(&path);
        }
    }
}

/// Resumes a run, which must then equal the undisturbed one.
fn assert_resumes(lab: &Lab, run: &str, whole: &str, what: &str) {
    assert_eq!(lab.train(&format!("--resume {run}")), run);
    lab.assert_same(run, whole, what);
    assert_no_temporaries(&lab.path().join(run));
}

#[test]
fn a_killed_run_resumes_to_the_same_bytes() {
    let lab = Lab::new();
    let whole = lab.train(&format!("{SHORT} --name whole"));
    let within = "--checkpoint-every-n-steps 3";
    let kills = [("run.json", ""), ("metrics.csv", ""), (LAST, ""), (LAST, within), ("metrics.csv", within)];
    for (i, (until, options)) in kills.into_iter().enumerate() {
        let run = format!("output/{i}/version_0");
        let child = start(&lab, &format!("{SHORT} {options} --name {i}"));
        wait_for(&lab.path().join(&run).join(until));
        assert!(child.kill(), "it ended before it was killed");
        assert_resumes(&lab, &run, &whole, &format!("killed at {until} {options}"));
    }
}

/// Kills a run at this moment, or earlier if it has ended by then, and resumes it.
fn kill_at(lab: &Lab, whole: &str, name: &str, mut moment: Duration) {
    let folder = lab.path().join("output").join(name);
    let start = || start(lab, &format!("{SHORT} --name {name}"));
    let is_killed = |moment| {
        let child = start();
        sleep(moment);
        child.kill()
    };
    while !is_killed(moment) {
        fs::remove_dir_all(&folder).unwrap();
        moment /= 2;
    }
    let (run, what) = (format!("output/{name}/version_0"), format!("killed after {moment:?}"));
    if lab.exists(&format!("{run}/run.json")) {
        assert_resumes(lab, &run, whole, &what);
    } else {
        // There is nothing yet to resume.
        let _ = fs::remove_dir_all(folder);
        assert_eq!(lab.train(&format!("{SHORT} --name {name}")), run);
        lab.assert_same(&run, whole, &what);
    }
}

#[test]
#[ignore = "slow"]
fn a_run_that_is_killed_at_any_moment_resumes_to_the_same_bytes() {
    const TRIES: usize = 50;
    let lab = Lab::new();
    let start = Instant::now();
    let whole = lab.train(&format!("{SHORT} --name whole"));
    let time = start.elapsed();
    let moments = Mutex::new(Generator::new(4).uniform(TRIES, 0.0, 1.0).into_iter().enumerate());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((i, moment)) = { moments.lock().unwrap().next() } {
                    kill_at(&lab, &whole, &format!("killed_{i}"), time.mul_f32(moment));
                }
            });
        }
    });
    tally("`train` killed (SIGKILL) at a random moment, resumed to the same bytes", TRIES, TRIES);
}

/// Stops runs by signals, each once it has made a file, and resumes them as they say: without their --data-dir.
fn assert_signals_stop(stops: &[(&str, i32, &str)]) {
    let lab = Lab::new();
    fs::rename(lab.path().join("data"), lab.path().join("elsewhere")).unwrap();
    let whole = lab.train(&format!("{LONG} --name whole"));
    for (i, (signal, code, until)) in stops.iter().enumerate() {
        let run = format!("output/{signal}_{i}/version_0");
        let child = start(&lab, &format!("{LONG} --name {signal}_{i}"));
        wait_for(&lab.path().join(&run).join(until));
        child.signal(signal);
        let resume = format!("train --resume {run}");
        assert_eq!(child.last_words(*code), format!("interrupted; resume with islp-mnist {resume}"));
        // The finished epochs are saved, also those in which no checkpoint was due.
        assert_saved(&lab, &run);
        assert_resumes(&lab, &run, &whole, &format!("{signal} at {until}"));
    }
}

#[test]
fn the_first_signal_stops_a_run_which_then_resumes_to_the_same_bytes() {
    // USR1 is Slurm's --signal, HUP a terminal that is closed.
    assert_signals_stop(&[
        ("INT", 130, "run.json"),
        ("TERM", 143, BEST),
        ("USR1", 138, "metrics.csv"),
        ("HUP", 129, LAST),
    ]);
}

#[test]
fn a_signal_loses_no_step_if_checkpoints_are_saved_within_epochs() {
    const STEPS_PER_EPOCH: u64 = 40;
    let lab = Lab::new();
    let child = start(&lab, &format!("{ENDLESS} --checkpoint-every-n-steps 1000000"));
    wait_for(&lab.path().join(RUN).join(LAST));
    child.signal("TERM");
    child.last_words(143);
    let outcome = &lab.run_json(RUN)["outcome"];
    let [epochs, steps] = ["epochs", "global_step"].map(|count| outcome[count].as_u64().unwrap());
    // The last step of an epoch, before its validation, is the exception.
    let (epoch, saved) = match steps % STEPS_PER_EPOCH {
        0 => (epochs - 1, epochs * STEPS_PER_EPOCH),
        _ => (epochs, steps),
    };
    assert_eq!(last(&lab, RUN), Path::new(&format!("epoch={epoch}-step={saved}.safetensors")), "{outcome}");
    lab.train(&format!("--resume {RUN} --max-time 0s --checkpoint-every-n-steps 7"));
    let whole = lab.train(&format!("--batch-size 8 --epochs {}", lab.run_json(RUN)["outcome"]["epochs"]));
    lab.assert_same(RUN, &whole, "stopped within an epoch");
}

#[test]
#[ignore = "slow"]
fn the_first_signal_stops_a_run_at_any_file_and_it_then_resumes_to_the_same_bytes() {
    let files = ["run.json", "metrics.csv", BEST, LAST];
    let stops = [("INT", 130), ("TERM", 143)].map(|(name, code)| files.map(|until| (name, code, until)));
    assert_signals_stop(stops.as_flattened());
    tally("SIGINT or SIGTERM, resumed to the same bytes", 8, 8);
}

/// Signals a run twice within a step; its last words, and whether its run.json is as before.
fn signalled_twice(lab: &Lab, signal: &str, code: i32) -> (String, bool) {
    // A step takes a good part of a second.
    let mnist = data_dir();
    let child = start(
        lab,
        &format!("--epochs 1000 --batch-size 48000 --name {signal} --data-dir {}", mnist.display()),
    );
    let run = format!("output/{signal}/version_0");
    wait_for(&lab.path().join(&run).join("run.json"));
    let before = lab.read(&run, "run.json");
    child.signal_twice(signal);
    (child.last_words(code), lab.read(&run, "run.json") == before)
}

#[test]
fn a_second_signal_of_a_closed_terminal_or_of_slurm_changes_nothing() {
    let lab = Lab::new();
    for (signal, code) in [("HUP", 129), ("USR1", 138)] {
        let (last_words, _) = signalled_twice(&lab, signal, code);
        let run = format!("output/{signal}/version_0");
        assert_eq!(last_words, format!("interrupted; resume with islp-mnist train --resume {run}"));
        assert_saved(&lab, &run);
    }
}

#[test]
#[ignore = "slow"]
fn a_second_sigint_or_sigterm_ends_a_run_at_once() {
    let lab = Lab::new();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        assert!(signalled_twice(&lab, signal, code).1, "{signal}: it ended as after the first signal");
    }
}

#[test]
fn under_nohup_a_run_outlives_its_terminal() {
    let lab = Lab::new();
    let child = start_as_it_is(&mut wrapped("nohup", &command(lab.path(), &format!("train {ENDLESS}"))));
    wait_for(&lab.path().join(RUN).join(LAST));
    child.signal("HUP");
    // The epoch that is under way at a signal would be the last to be saved.
    for _ in 0..3 {
        let before = last(&lab, RUN);
        wait_until("the next checkpoint", || last(&lab, RUN) != before);
    }
    child.signal("TERM");
    child.last_words(143);
}

#[test]
fn run_json_records_how_a_run_ended() {
    let lab = Lab::new();
    let end = |options: &str, code: i32| {
        let last_words = start(&lab, &format!("--batch-size 8 {options}")).last_words(code);
        (lab.run_json(RUN)["outcome"]["end"].clone(), last_words)
    };
    let (diverged, error) = end("--lr 1e30", 3);
    assert_eq!(diverged, "diverged");
    // As Python writes it, not with its 31 digits.
    assert!(error.starts_with("error: ") && error.contains("--lr") && error.contains("1e+30"), "{error}");
    assert!(!lab.exists(&format!("{RUN}/model.safetensors")));
    for (options, expected) in [("--epochs 1", "max_epochs"), ("--max-time 0s", "max_time")] {
        fs::remove_dir_all(lab.path().join("output")).unwrap();
        assert_eq!(end(options, 0).0, expected);
    }
}

#[test]
fn a_training_that_diverges_later_names_its_best_checkpoint_which_stays_as_it_was() {
    let lab = Lab::new();
    let version_dir = lab.path().join(lab.train("--epochs 2 --batch-size 16"));
    let best = fs::canonicalize(version_dir.join(BEST)).unwrap();
    let before = fs::read(&best).unwrap();

    // The same run with a higher learning rate.
    let checkpoint = Checkpoint::last(&version_dir).unwrap().unwrap();
    let generator = Generator::new(0);
    let mnist = torchvision::load(lab.path().join("data"), Device::Cpu).unwrap();
    let data = SimpleDataModule::new(&mnist, 0.2, 4, 16, &generator).unwrap();
    let vs = VarStore::new(Device::Cpu);
    let model = Model::Mlp.build(&vs.root(), &generator).unwrap();
    let mut module = SimpleModule::classification(model, vs, 1e30).unwrap();
    let logger = CsvLogger::resume(&version_dir, Some(&checkpoint.state)).unwrap();
    let mut trainer = Trainer::new(9, logger, &generator);
    trainer.resume(&checkpoint, &mut module).unwrap();
    trainer.terminate_on_nan = true;
    trainer.checkpoint = Some(ModelCheckpoint::new(&version_dir, 1, &checkpoint.hyper_parameters).unwrap());
    let error = trainer.fit(&mut module, &data).unwrap_err();
    let lightning::Error::Divergence(divergence) = &error else { panic!("{error}") };
    assert_eq!((divergence.epoch, divergence.step, divergence.lr), (2, 41, 1e30));
    assert!(divergence.last_finite_loss.unwrap().is_finite());
    assert_eq!(fs::canonicalize(divergence.best.as_ref().unwrap()).unwrap(), best);
    assert!(error.to_string().contains(best.file_name().unwrap().to_str().unwrap()), "{error}");
    assert!(fs::read(&best).unwrap() == before);
    // The metrics of the finished epochs are there as well.
    let csv = lab.text(&format!("{RUN}/metrics.csv"));
    assert!(csv.lines().any(|line| line.starts_with("1,39,")), "{csv}");
}

/// The error line of a run to which something happens once it has a checkpoint.
fn failing(lab: &Lab, name: &str, wrapper: &str, harm: impl FnOnce(&Running, &Path)) -> String {
    let train = command(lab.path(), &format!("train {ENDLESS} --name {name}"));
    let child = processes::start(&wrapped(wrapper, &train));
    let version_dir = lab.path().join(format!("output/{name}/version_0"));
    wait_for(&version_dir.join(LAST));
    harm(&child, &version_dir);
    let error = child.last_words(1);
    assert!(error.starts_with("error: "), "{error}");
    error
}

/// Fails unless the error names what could not be written and where to resume; and unless that works.
fn assert_loses_nothing(lab: &Lab, name: &str, error: &str) {
    let run = format!("output/{name}/version_0");
    assert!(error.starts_with(&format!("error: cannot write {run}/")), "{error}");
    assert!(error.ends_with(&format!("resume with islp-mnist train --resume {run}")), "{error}");
    let last = error.split([' ', ';']).rfind(|word| word.contains("/epoch=")).expect(error);
    assert!(lab.path().join(last).is_file(), "{last} is not there");
    assert_no_temporaries(&lab.path().join(&run));
    let done: usize = last.split_once("epoch=").unwrap().1.split_once('-').unwrap().0.parse().unwrap();
    let epochs = done + 3;
    lab.train(&format!("--resume {run} --epochs {epochs}"));
    let whole = lab.train(&format!("--batch-size 8 --epochs {epochs} --name undisturbed"));
    lab.assert_same(&run, &whole, name);
}

#[test]
fn a_file_size_limit_is_an_error_that_loses_nothing() {
    let lab = Lab::new();
    let error = failing(&lab, "limited", "env", |child, _| {
        run("prlimit", &["--fsize=100000", "--pid", &child.id().to_string()]);
    });
    assert_loses_nothing(&lab, "limited", &error);
}

/// A small disk that is unmounted when the value is dropped.
struct Disk(PathBuf);

impl Disk {
    /// Needs root; scripts/test.sh skips the test without.
    fn mount(path: PathBuf) -> Self {
        fs::create_dir(&path).unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=12m", "none", path.to_str().unwrap()]);
        Self(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
#[ignore = "needs root, to mount a small disk"]
fn a_full_disk_is_an_error_that_loses_nothing_needs_root() {
    let lab = Lab::new();
    let disk = Disk::mount(lab.path().join("output"));
    let other = disk.0.join("other");
    let error = failing(&lab, "full", "env", |_, _| {
        // As another program might.
        assert!(fs::write(&other, vec![1; 12 << 20]).is_err(), "the disk is larger than it should be");
    });
    fs::remove_file(&other).unwrap();
    assert_loses_nothing(&lab, "full", &error);
}

#[test]
fn a_folder_that_is_deleted_under_a_run_is_an_error() {
    let lab = Lab::new();
    let error = failing(&lab, "deleted", "env", |_, version_dir| {
        // The run may be writing there.
        while version_dir.exists() {
            let _ = fs::remove_dir_all(version_dir);
        }
    });
    assert!(error.contains(" output/deleted/version_0/"), "{error}");
    assert!(!error.contains("--resume"), "there is nothing to resume: {error}");
    assert!(!lab.exists("output/deleted/version_0"));
}

#[test]
fn a_folder_that_loses_its_write_permission_is_an_error_that_loses_nothing() {
    let lab = Lab::new();
    // Permissions do not bind root.
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let wrapper =
        if is_root { "setpriv --bounding-set=-dac_override --inh-caps=-dac_override" } else { "env" };
    let chmod = |mode: &str, folder: &Path| run("chmod", &["-R", mode, folder.to_str().unwrap()]);
    let error = failing(&lab, "MNIST", wrapper, |_, version_dir| chmod("a-w", version_dir));
    chmod("u+w", &lab.path().join(RUN));
    assert_loses_nothing(&lab, "MNIST", &error);
}

/// Fails unless runs that start at the same moment get a version each and leave the same.
fn assert_runs_at_once(count: usize, command_line: &str, models: &[&str]) {
    let lab = Lab::new();
    let children: Vec<_> = (0..count).map(|_| processes::start(&command(lab.path(), command_line))).collect();
    for child in children {
        child.last_words(0);
    }
    for model in models {
        assert_eq!(names(lab.path().join("output").join(model)).len(), count);
        let run = |version: usize| format!("output/{model}/version_{version}");
        for version in 1..count {
            lab.assert_same(&run(version), &run(0), &run(version));
        }
    }
}

#[test]
fn runs_that_start_at_the_same_moment_get_a_version_each_and_are_the_same() {
    assert_runs_at_once(2, "train --epochs 2 --batch-size 16", &["MNIST"]);
    assert_runs_at_once(2, "reproduce --epochs 1 --device cpu", &["MNIST", "MNIST_MLR"]);
}

#[test]
#[ignore = "slow"]
fn eight_runs_that_start_at_the_same_moment_get_a_version_each_and_are_the_same() {
    assert_runs_at_once(8, "train --epochs 2 --batch-size 16", &["MNIST"]);
    tally("8 runs started at the same moment, each its own version_N", 8, 8);
}

#[test]
fn a_run_that_is_still_under_way_cannot_be_resumed() {
    let lab = Lab::new();
    let child = start(&lab, ENDLESS);
    wait_for(&lab.path().join(RUN).join(LAST));
    lab.assert_refused(&format!("train --resume {RUN}"), 1, &[RUN]);
    assert!(child.kill());
    // Its lock ended with the process.
    lab.train(&format!("--resume {RUN} --max-time 0s"));
}
