//! `train` interrupted in every way: what was on disk stays, and the run goes on to the same bytes.
//! tests/program/going_on.rs has the terminal that is closed.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crate::common::{Lab, tally, train, write_small_mnist};
use islp_mnist::islp::{SimpleDataModule, SimpleModule};
use islp_mnist::lightning::Checkpoint;
use islp_mnist::lightning::{self, CsvLogger, ModelCheckpoint, Trainer};
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::Generator;
use islp_mnist::torchvision;
use tch::Device;
use tch::nn::VarStore;

/// Some hundred steps in a second or so; the checkpoints' epochs are not the last one's.
const OPTIONS: &str = "--epochs 8 --batch-size 8 --checkpoint-every 3";
/// So many that a signal comes long before the end, also on a busy machine.
const LONG: &str = "--epochs 24 --batch-size 8 --checkpoint-every 7";
/// Without an end.
const ENDLESS: &str = "--epochs 1000000 --batch-size 8";

fn start(folder: &Path, options: &str) -> Child {
    train(folder, &options.split_whitespace().collect::<Vec<_>>()).spawn().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The last line said, of a run that ended with this exit code.
fn last_words(child: Child, code: i32) -> String {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    stderr(&output).lines().last().unwrap_or_default().to_string()
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits until a run has made a file.
fn wait_for(path: &Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "{} does not come", path.display());
        sleep(Duration::from_millis(1));
    }
}

/// Fails if a temporary file is left.
fn assert_no_temporaries(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(!path.file_name().unwrap().as_encoded_bytes().starts_with(b".tmp"), "{path:?} stays behind");
        if path.is_dir() {
            assert_no_temporaries(&path);
        }
    }
}

/// Resumes a run, which then must be as the undisturbed one.
fn assert_goes_on(lab: &Lab, run: &str, whole: &str, what: &str) {
    lab.train(&format!("--resume {run}"));
    lab.assert_same(run, whole, what);
    assert_no_temporaries(&lab.path().join(run));
}

/// Kills a run once it has made this file, and has it go on.
fn kill_and_resume(lab: &Lab, whole: &str, until: &str) {
    let name = until.replace('/', "_");
    let run = format!("output/{name}/version_0");
    let mut child = start(lab.path(), &format!("{OPTIONS} --name {name}"));
    wait_for(&lab.path().join(&run).join(until));
    signal(&child, "KILL");
    assert_eq!(child.wait().unwrap().signal(), Some(9), "it ended before it was killed");
    assert_goes_on(lab, &run, whole, &format!("killed at {until}"));
}

#[test]
fn a_run_that_is_killed_goes_on_to_the_same_bytes() {
    let lab = Lab::new();
    let whole = lab.train(&format!("{OPTIONS} --name whole"));
    for until in ["run.json", "metrics.csv", "checkpoints/last.safetensors"] {
        kill_and_resume(&lab, &whole, until);
    }
}

/// Kills a run after that part of the time that one takes, or earlier if it has ended by then, and has it go on.
fn kill_at(lab: &Lab, whole: &str, name: &str, mut moment: Duration) {
    let run = format!("output/{name}/version_0");
    let folder = lab.path().join("output").join(name);
    loop {
        let mut child = start(lab.path(), &format!("{OPTIONS} --name {name}"));
        sleep(moment);
        signal(&child, "KILL");
        if child.wait().unwrap().signal() == Some(9) {
            break;
        }
        fs::remove_dir_all(&folder).unwrap();
        moment /= 2;
    }
    let what = format!("killed after {moment:?}");
    if lab.path().join(&run).join("run.json").exists() {
        assert_goes_on(lab, &run, whole, &what);
    } else {
        // There is nothing yet to go on from.
        let _ = fs::remove_dir_all(folder);
        assert_eq!(lab.train(&format!("{OPTIONS} --name {name}")), run);
        lab.assert_same(&run, whole, &what);
    }
}

#[test]
#[ignore = "slow"]
fn a_run_that_is_killed_at_any_moment_goes_on_to_the_same_bytes() {
    const TRIES: usize = 50;
    let lab = Lab::new();
    let start = Instant::now();
    let whole = lab.train(&format!("{OPTIONS} --name whole"));
    let time = start.elapsed();
    let moments = Mutex::new(Generator::new(4).uniform(TRIES, 0.0, 1.0).into_iter().enumerate());
    // Two at a time, as many as the machine has cores at least.
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

/// Stops a run by a signal once it has made this file, and has it go on.
fn stop_and_resume(lab: &Lab, whole: &str, name: &str, until: &str) {
    let exit_code = match name {
        "INT" => 130,
        "USR1" => 138,
        _ => 143,
    };
    let run = format!("output/{name}_{}/version_0", until.replace('/', "_"));
    let version_dir = lab.path().join(&run);
    let child = start(lab.path(), &format!("{LONG} --name {name}_{}", until.replace('/', "_")));
    wait_for(&version_dir.join(until));
    signal(&child, name);
    let last = last_words(child, exit_code);
    assert!(last.ends_with(&format!("resume with islp-mnist train --resume {run}")), "{last}");
    // The epochs that were finished are saved, also those in which no checkpoint was due.
    let outcome = &lab.run_json(&run)["outcome"];
    assert_eq!(outcome["end"], "interrupted");
    if let Some(last) = outcome["epochs"].as_u64().unwrap().checked_sub(1) {
        let link = fs::read_link(version_dir.join("checkpoints/last.safetensors")).unwrap();
        assert!(link.to_str().unwrap().starts_with(&format!("epoch={last}-")), "{link:?}: {outcome}");
    }
    assert_goes_on(lab, &run, whole, &format!("{name} at {until}"));
}

#[test]
fn the_first_signal_stops_a_run_that_then_goes_on_to_the_same_bytes() {
    let lab = Lab::new();
    let whole = lab.train(&format!("{LONG} --name whole"));
    stop_and_resume(&lab, &whole, "INT", "run.json");
    stop_and_resume(&lab, &whole, "TERM", "checkpoints/best.safetensors");
    // Slurm's --signal.
    stop_and_resume(&lab, &whole, "USR1", "metrics.csv");
}

#[test]
#[ignore = "slow"]
fn the_first_signal_stops_a_run_at_any_file_and_it_then_goes_on_to_the_same_bytes() {
    let lab = Lab::new();
    let whole = lab.train(&format!("{LONG} --name whole"));
    let mut tried = 0;
    for name in ["INT", "TERM"] {
        for until in
            ["run.json", "metrics.csv", "checkpoints/best.safetensors", "checkpoints/last.safetensors"]
        {
            stop_and_resume(&lab, &whole, name, until);
            tried += 1;
        }
    }
    tally("SIGINT or SIGTERM, resumed to the same bytes", tried, tried);
}

#[test]
#[ignore = "slow"]
fn the_second_signal_ends_a_run_at_once() {
    let folder = tempfile::tempdir().unwrap();
    // One step takes seconds.
    write_small_mnist(&folder.path().join("data"), 60_000, 100);
    for (name, exit_code) in [("INT", 130), ("TERM", 143)] {
        let child = start(folder.path(), &format!("--batch-size 48000 --name {name}"));
        let run_json = folder.path().join(format!("output/{name}/version_0/run.json"));
        wait_for(&run_json);
        let before = fs::read(&run_json).unwrap();
        signal(&child, name);
        // Two signals that wait together are one.
        sleep(Duration::from_millis(20));
        signal(&child, name);
        last_words(child, exit_code);
        assert!(fs::read(&run_json).unwrap() == before, "the run was ended as after the first signal");
    }
}

/// Waits for a run's checkpoint, does something to it, and takes its one error line.
fn failing(lab: &Lab, name: &str, harm: impl FnOnce(&Child, &Path)) -> String {
    let child = start(lab.path(), &format!("{ENDLESS} --name {name}"));
    let version_dir = lab.path().join(format!("output/{name}/version_0"));
    wait_for(&version_dir.join("checkpoints/last.safetensors"));
    harm(&child, &version_dir);
    let error = last_words(child, 1);
    assert!(error.starts_with("error: "), "{error}");
    error
}

/// Fails unless the error names what could not be written and from where to go on; and unless that works.
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
fn a_file_size_limit_that_is_reached_is_an_error_and_no_end_by_a_signal() {
    let lab = Lab::new();
    let error = failing(&lab, "limited", |child, _| {
        let limit =
            Command::new("prlimit").args(["--fsize=100000", "--pid", &child.id().to_string()]).status();
        assert!(limit.unwrap().success());
    });
    assert_loses_nothing(&lab, "limited", &error);
}

/// A small disk, until the value goes.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: PathBuf) -> Self {
        fs::create_dir(&path).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "none"]).arg(&path).status();
        assert!(
            mount.unwrap().success(),
            "this test needs root, to mount a tmpfs; scripts/test.sh skips it without"
        );
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
    let error = failing(&lab, "full", |_, _| {
        // As another program might.
        assert!(fs::write(&other, vec![1; 12 << 20]).is_err(), "the disk holds more than it should");
    });
    fs::remove_file(&other).unwrap();
    assert_loses_nothing(&lab, "full", &error);
}

#[test]
fn a_folder_that_is_deleted_under_a_run_is_an_error() {
    let lab = Lab::new();
    let error = failing(&lab, "deleted", |_, version_dir| {
        // The run may be writing there.
        while version_dir.exists() {
            let _ = fs::remove_dir_all(version_dir);
        }
    });
    assert!(error.contains(" output/deleted/version_0/"), "{error}");
    assert!(!error.contains("--resume"), "there is nothing to go on from: {error}");
    assert!(!lab.path().join("output/deleted/version_0").exists());
}

/// The program as somebody whom permissions bind, which they don't root.
fn bound_by_permissions(program: &Command) -> Command {
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut command = Command::new(if is_root { "setpriv" } else { "env" });
    if is_root {
        command.args(["--bounding-set=-dac_override", "--inh-caps=-dac_override"]);
    }
    command.arg(program.get_program()).args(program.get_args());
    command.current_dir(program.get_current_dir().unwrap());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_folder_that_loses_its_write_permission_is_an_error_that_loses_nothing() {
    let lab = Lab::new();
    let options: Vec<&str> = ENDLESS.split_whitespace().collect();
    let child = bound_by_permissions(&train(lab.path(), &options)).spawn().unwrap();
    let version_dir = lab.path().join("output/MNIST/version_0");
    wait_for(&version_dir.join("checkpoints/last.safetensors"));
    let chmod = |mode: &str| {
        assert!(Command::new("chmod").args(["-R", mode]).arg(&version_dir).status().unwrap().success());
    };
    chmod("a-w");
    let error = last_words(child, 1);
    chmod("u+w");
    assert_loses_nothing(&lab, "MNIST", &error);
}

/// So many runs at once: each has a version of its own, and all are the same.
fn run_at_once(lab: &Lab, count: usize) {
    let options = format!("--epochs 2 --batch-size 16 --name {count}_at_once");
    let children: Vec<_> = (0..count).map(|_| start(lab.path(), &options)).collect();
    for child in children {
        last_words(child, 0);
    }
    let run = |version: usize| format!("output/{count}_at_once/version_{version}");
    assert_eq!(fs::read_dir(lab.path().join(run(0)).parent().unwrap()).unwrap().count(), count);
    for version in 1..count {
        lab.assert_same(&run(version), &run(0), &run(version));
    }
}

#[test]
fn two_runs_started_at_the_same_moment_get_a_version_each_and_are_the_same() {
    run_at_once(&Lab::new(), 2);
}

#[test]
#[ignore = "slow"]
fn eight_runs_started_at_the_same_moment_get_a_version_each_and_are_the_same() {
    run_at_once(&Lab::new(), 8);
    tally("8 runs started at the same moment, each its own version_N", 8, 8);
}

#[test]
fn a_run_that_is_still_going_cannot_be_resumed() {
    let lab = Lab::new();
    let mut child = start(lab.path(), ENDLESS);
    let run = "output/MNIST/version_0";
    wait_for(&lab.path().join(run).join("checkpoints/last.safetensors"));
    crate::common::assert_refused(&mut lab.program(&format!("train --resume {run}")), 1, &[run]);
    signal(&child, "KILL");
    child.wait().unwrap();
    // What held the run to one process went with it.
    lab.train(&format!("--resume {run} --max-time 0s"));
}

#[test]
fn a_training_that_diverges_ends_with_exit_code_3_and_without_weights() {
    let lab = Lab::new();
    let error = last_words(start(lab.path(), "--lr 1e30 --batch-size 8"), 3);
    assert!(error.starts_with("error: ") && error.contains("--lr"), "{error}");
    let version_dir = lab.path().join("output/MNIST/version_0");
    assert!(version_dir.join("run.json").exists());
    assert!(!version_dir.join("model.safetensors").exists());
}

#[test]
fn a_training_that_diverges_later_names_its_best_checkpoint_which_stays_as_it_was() {
    let lab = Lab::new();
    let version_dir = lab.path().join(lab.train("--epochs 2 --batch-size 16"));
    let best = fs::canonicalize(version_dir.join("checkpoints/best.safetensors")).unwrap();
    let before = fs::read(&best).unwrap();

    // The same run, had its learning rate been raised.
    let checkpoint = Checkpoint::last(&version_dir).unwrap().unwrap();
    let generator = Generator::new(0);
    let mnist = torchvision::load(&lab.path().join("data"), Device::Cpu).unwrap();
    let data = SimpleDataModule::new(&mnist, 0.2, 4, 16, &generator).unwrap();
    let vs = VarStore::new(Device::Cpu);
    let model = Model::Mlp.build(&vs.root(), &generator).unwrap();
    let mut module = SimpleModule::classification(model, vs, 1e30).unwrap();
    let logger = CsvLogger::resume(&version_dir, 2, &checkpoint.state.metrics_sha256).unwrap();
    let mut trainer = Trainer::new(9, logger, &generator);
    trainer.resume(&checkpoint, &mut module).unwrap();
    trainer.terminate_on_nan = true;
    let checkpoints = ModelCheckpoint::new(&version_dir, 1, &checkpoint.hyper_parameters);
    trainer.checkpoint = Some(checkpoints.unwrap());
    let error = trainer.fit(&mut module, &data).unwrap_err();
    let lightning::Error::Divergence(divergence) = &error else { panic!("{error}") };
    assert_eq!((divergence.epoch, divergence.step, divergence.lr), (2, 41, 1e30));
    assert!(divergence.last_finite_loss.unwrap().is_finite());
    assert_eq!(fs::canonicalize(divergence.best.as_ref().unwrap()).unwrap(), best);
    assert!(error.to_string().contains(best.file_name().unwrap().to_str().unwrap()), "{error}");
    assert!(fs::read(&best).unwrap() == before);
    // The metrics of the finished epochs are there as well.
    let csv = fs::read_to_string(version_dir.join("metrics.csv")).unwrap();
    assert!(csv.lines().any(|line| line.starts_with("1,39,")), "{csv}");
}
