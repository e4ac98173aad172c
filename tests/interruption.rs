//! `train` interrupted in every way: what was on disk stays, and the run goes on to the same bytes.

mod common;

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::Mutex;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use common::{small_mnist, tally, train};
use islp_mnist::banner;
use islp_mnist::islp::module::SimpleModule;
use islp_mnist::lightning::checkpoint::Checkpoint;
use islp_mnist::lightning::csv_logger::CsvLogger;
use islp_mnist::lightning::divergence::Divergence;
use islp_mnist::lightning::model_checkpoint::ModelCheckpoint;
use islp_mnist::lightning::trainer::Trainer;
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::data::SimpleDataModule;
use islp_mnist::torch::generator::Generator;
use islp_mnist::torchvision;
use tch::Device;
use tch::nn::VarStore;
use tempfile::TempDir;

/// Some hundred steps in a second or so; the checkpoints' epochs are not the last one's.
const OPTIONS: [&str; 6] = ["--epochs", "8", "--batch-size", "8", "--checkpoint-every", "3"];
/// So many that a signal comes long before the end, also on a busy machine.
const LONG: [&str; 6] = ["--epochs", "40", "--batch-size", "8", "--checkpoint-every", "7"];
const FILES: [&str; 3] = ["metrics.csv", "model.safetensors", "accuracy.png"];

fn resume(folder: &Path, version_dir: &str) -> Output {
    train(folder, &["--resume", version_dir]).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
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

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

/// A folder with the small data set and an undisturbed run in output/whole/version_0, and how long that took.
fn with_whole_run(options: &[&str]) -> (TempDir, Duration) {
    let folder = small_mnist();
    let start = Instant::now();
    let output = train(folder.path(), &[options, &["--name", "whole"]].concat()).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    (folder, start.elapsed())
}

/// Fails if a temporary file is left.
fn assert_no_temporaries(version_dir: &Path, what: &str) {
    let temporary = |path: &PathBuf| path.file_name().unwrap().as_encoded_bytes().starts_with(b".tmp");
    let left: Vec<_> = files_below(version_dir).into_iter().filter(temporary).collect();
    assert!(left.is_empty(), "{what}: {left:?} stay behind");
}

/// Fails unless the run equals the undisturbed one.
fn assert_whole(folder: &Path, version_dir: &str, what: &str) {
    for file in FILES {
        let read = |run: &str| fs::read(folder.join(run).join(file)).unwrap();
        assert!(read(version_dir) == read("output/whole/version_0"), "{what}: {file} differs");
    }
    assert_no_temporaries(&folder.join(version_dir), what);
}

#[test]
fn a_run_killed_at_any_moment_goes_on_to_the_same_bytes() {
    const TRIES: usize = 50;
    let (folder, time) = with_whole_run(&OPTIONS);
    let moments = Mutex::new(Generator::new(4).uniform(TRIES, 0.0, 1.1).into_iter().enumerate());
    let killed = Mutex::new(0);
    // Two at a time, as many as the machine has cores at least.
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((i, moment)) = { moments.lock().unwrap().next() } {
                    let name = format!("killed_{i}");
                    let version_dir = format!("output/{name}/version_0");
                    let mut child =
                        train(folder.path(), &[&OPTIONS[..], &["--name", &name]].concat()).spawn().unwrap();
                    let moment = time.mul_f32(moment);
                    sleep(moment);
                    signal(&child, "KILL");
                    let status = child.wait().unwrap();
                    *killed.lock().unwrap() += usize::from(status.signal() == Some(9));
                    let what = format!("killed after {moment:?} of {time:?}");
                    let output = if folder.path().join(&version_dir).join("run.json").exists() {
                        resume(folder.path(), &version_dir)
                    } else {
                        // There is nothing yet to go on from.
                        let _ = fs::remove_dir_all(folder.path().join("output").join(&name));
                        train(folder.path(), &[&OPTIONS[..], &["--name", &name]].concat()).output().unwrap()
                    };
                    assert!(output.status.success(), "{what}: {}", stderr(&output));
                    assert_whole(folder.path(), &version_dir, &what);
                }
            });
        }
    });
    // With two at once a run takes longer than alone, so most moments lie within one.
    let killed = killed.into_inner().unwrap();
    assert!(killed > TRIES / 2, "only {killed} of {TRIES} runs were killed before their end");
    tally("`train` killed (SIGKILL) at a random moment, resumed to the same bytes", TRIES, TRIES);
}

#[test]
fn the_first_signal_stops_a_run_that_then_goes_on_to_the_same_bytes() {
    let (folder, _) = with_whole_run(&LONG);
    let mut tried = 0;
    for (name, exit_code) in [("INT", 130), ("TERM", 143)] {
        for until in ["metrics.csv", "checkpoints/best.safetensors", "checkpoints/last.safetensors"] {
            tried += 1;
            let run = format!("{name}_{tried}");
            let version_dir = format!("output/{run}/version_0");
            let child = train(folder.path(), &[&LONG[..], &["--name", &run]].concat()).spawn().unwrap();
            wait_for(&folder.path().join(&version_dir).join(until));
            signal(&child, name);
            let output = child.wait_with_output().unwrap();
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(exit_code), "{said}");
            assert_eq!(
                said.lines().last().unwrap(),
                format!("interrupted; islp-mnist train --resume {version_dir} goes on")
            );
            // The epochs that were finished are saved, also those in which no checkpoint was due.
            let record = fs::read_to_string(folder.path().join(&version_dir).join("run.json")).unwrap();
            let record: serde_json::Value = serde_json::from_str(&record).unwrap();
            let epochs = record["outcome"]["epochs"].as_u64().unwrap();
            assert!(epochs < 40, "{record}");
            let last =
                fs::read_link(folder.path().join(&version_dir).join("checkpoints/last.safetensors")).unwrap();
            assert!(
                last.to_str().unwrap().starts_with(&format!("epoch={}-", epochs - 1)),
                "{last:?} after {epochs}"
            );
            let output = resume(folder.path(), &version_dir);
            assert!(output.status.success(), "{}", stderr(&output));
            assert_whole(folder.path(), &version_dir, &format!("{name} at {until}"));
        }
    }
    tally("SIGINT or SIGTERM, resumed to the same bytes", tried, tried);
}

#[test]
fn a_signal_before_the_first_epoch_is_done_loses_nothing_either() {
    let (folder, _) = with_whole_run(&LONG);
    let version_dir = "output/early/version_0";
    let child = train(folder.path(), &[&LONG[..], &["--name", "early"]].concat()).spawn().unwrap();
    wait_for(&folder.path().join(version_dir).join("run.json"));
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let output = resume(folder.path(), version_dir);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_whole(folder.path(), version_dir, "SIGINT at the start");
}

#[test]
fn the_second_signal_ends_a_run_at_once() {
    let folder = tempfile::tempdir().unwrap();
    // One step takes seconds.
    common::write_small_mnist(&folder.path().join("data"), 60_000, 100);
    for (name, exit_code) in [("INT", 130), ("TERM", 143)] {
        let child = train(folder.path(), &["--batch-size", "48000", "--name", name]).spawn().unwrap();
        wait_for(&folder.path().join(format!("output/{name}/version_0/run.json")));
        signal(&child, name);
        // Two signals that wait together are one.
        sleep(Duration::from_millis(20));
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(exit_code), "{}", stderr(&output));
        assert!(!stderr(&output).contains("interrupted"), "{}", stderr(&output));
    }
}

/// Waits for a run's checkpoint, does something to it, and takes its one error line.
fn failing(folder: &Path, name: &str, harm: impl FnOnce(&Child, &Path)) -> String {
    let child = train(folder, &["--epochs", "100000", "--batch-size", "8", "--name", name]).spawn().unwrap();
    let version_dir = folder.join(format!("output/{name}/version_0"));
    wait_for(&version_dir.join("checkpoints/last.safetensors"));
    harm(&child, &version_dir);
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    errors[0].to_string()
}

/// Fails unless the error says what could not be written, why, and from where to go on; and unless that works.
fn assert_goes_on(folder: &Path, name: &str, error: &str, why: &str) {
    let version_dir = format!("output/{name}/version_0");
    assert!(error.starts_with(&format!("error: cannot write {version_dir}/")), "{error}");
    assert!(error.contains(why), "{error}");
    let (_, last) = error.split_once("; the last checkpoint is ").expect(error);
    let (last, rest) = last.split_once(", ").unwrap();
    assert_eq!(rest, format!("islp-mnist train --resume {version_dir} goes on"));
    assert!(folder.join(last).is_file(), "{last} is not there");
    assert_no_temporaries(&folder.join(&version_dir), name);
    let done: usize = last.split_once("epoch=").unwrap().1.split_once('-').unwrap().0.parse().unwrap();
    let (epochs, more) = (done + 1, (done + 3).to_string());
    let output = train(folder, &["--resume", &version_dir, "--epochs", &more]).output().unwrap();
    assert!(output.status.success(), "{epochs}: {}", stderr(&output));
    let whole = ["--epochs", &more, "--batch-size", "8", "--name", "undisturbed"];
    let output = train(folder, &whole).output().unwrap();
    let whole = folder.join(String::from_utf8(output.stdout).unwrap().trim_end());
    for file in FILES {
        let read = |run: &Path| fs::read(run.join(file)).unwrap();
        assert!(read(&folder.join(&version_dir)) == read(&whole), "{name}: {file} differs");
    }
}

#[test]
fn a_file_size_limit_that_is_reached_is_an_error_and_no_end_by_a_signal() {
    let folder = small_mnist();
    let error = failing(folder.path(), "limited", |child, _| {
        let limit =
            Command::new("prlimit").args(["--fsize=100000", "--pid", &child.id().to_string()]).status();
        assert!(limit.unwrap().success());
    });
    assert_goes_on(folder.path(), "limited", &error, "File too large (os error 27)");
}

#[test]
fn a_full_disk_is_an_error_that_loses_nothing() {
    let folder = small_mnist();
    let disk = folder.path().join("output");
    fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "none"]).arg(&disk).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        banner::print(
            "skipped: a_full_disk_is_an_error_that_loses_nothing: needs root, to mount a small tmpfs",
        );
        return;
    }
    let error = failing(folder.path(), "full", |_, _| {
        // As another program might.
        let filled = fs::write(disk.join("other"), vec![1; 12 << 20]);
        assert!(filled.is_err(), "the disk holds more than it should");
    });
    fs::remove_file(disk.join("other")).unwrap();
    assert_goes_on(folder.path(), "full", &error, "No space left on device (os error 28)");
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
}

#[test]
fn a_folder_that_is_deleted_under_a_run_is_an_error() {
    let folder = small_mnist();
    let error = failing(folder.path(), "deleted", |_, version_dir| {
        // The run may be writing there.
        while version_dir.exists() {
            let _ = fs::remove_dir_all(version_dir);
        }
    });
    assert!(error.starts_with("error: cannot "), "{error}");
    assert!(error.contains(" output/deleted/version_0/"), "{error}");
    assert!(error.ends_with("No such file or directory (os error 2); there is no checkpoint"), "{error}");
    assert!(!folder.path().join("output/deleted/version_0").exists());
}

#[test]
fn a_folder_that_loses_its_write_permission_is_an_error_that_loses_nothing() {
    const NOBODY: u32 = 65534;
    let test = "a_folder_that_loses_its_write_permission_is_an_error_that_loses_nothing";
    let folder = small_mnist();
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let output = folder.path().join("output");
    fs::create_dir(&output).unwrap();
    let chmod = |mode: &str, path: &Path| {
        assert!(Command::new("chmod").args(["-R", mode]).arg(path).status().unwrap().success());
    };
    // Permissions don't bind root, so the run is somebody else's.
    let mut command = train(folder.path(), &["--epochs", "100000", "--batch-size", "8"]);
    if is_root {
        chmod("a+rX", folder.path());
        chmod("a+w", &output);
        command.uid(NOBODY);
    }
    let Ok(child) = command.spawn() else {
        banner::print(&format!("skipped: {test}: another user may not run the program from where it is"));
        return;
    };
    let version_dir = output.join("MNIST/version_0");
    wait_for(&version_dir.join("checkpoints/last.safetensors"));
    chmod("a-w", &version_dir);
    let ended = child.wait_with_output().unwrap();
    let error = stderr(&ended).lines().last().unwrap().to_string();
    assert_eq!(ended.status.code(), Some(1), "{error}");
    assert!(error.starts_with("error: cannot write output/MNIST/version_0/"), "{error}");
    assert!(error.contains("Permission denied (os error 13); the last checkpoint is "), "{error}");
    chmod("u+w", &version_dir);
    assert!(error.ends_with(", islp-mnist train --resume output/MNIST/version_0 goes on"), "{error}");
}

#[test]
fn eight_runs_started_at_the_same_moment_get_a_version_each_and_are_the_same() {
    let folder = small_mnist();
    for count in [2, 8] {
        let name = format!("{count}_at_once");
        let options = ["--epochs", "2", "--batch-size", "16", "--name", &name];
        let children: Vec<_> = (0..count).map(|_| train(folder.path(), &options).spawn().unwrap()).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
        }
        let runs = folder.path().join("output").join(&name);
        assert_eq!(fs::read_dir(&runs).unwrap().count(), count);
        for version in 0..count {
            for file in FILES {
                let read =
                    |version: usize| fs::read(runs.join(format!("version_{version}")).join(file)).unwrap();
                assert!(read(version) == read(0), "{file} of version_{version} differs");
            }
        }
        tally(&format!("{count} runs started at the same moment, each its own version_N"), count, count);
    }
}

#[test]
fn a_run_that_is_still_going_cannot_be_resumed() {
    let folder = small_mnist();
    let options = ["--epochs", "100000", "--batch-size", "8"];
    let mut child = train(folder.path(), &options).spawn().unwrap();
    let version_dir = "output/MNIST/version_0";
    wait_for(&folder.path().join(version_dir).join("checkpoints/last.safetensors"));
    let output = resume(folder.path(), version_dir);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        format!("error: {version_dir}: this run is still going; wait for its end, or stop it\n")
    );
    signal(&child, "KILL");
    child.wait().unwrap();
    // What held the run to one process went with it.
    let output = train(folder.path(), &["--resume", version_dir, "--max-time", "0s"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_training_that_diverges_ends_with_exit_code_3_and_keeps_its_best_checkpoint() {
    let folder = small_mnist();
    let output = train(folder.path(), &["--lr", "1e30", "--batch-size", "8"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let error = stderr(&output).lines().last().unwrap().to_string();
    let start = "error: the training diverged: in epoch 0 at step 1 the loss became nan after 2.";
    assert!(error.starts_with(start), "{error}");
    let end = ", with a learning rate of 1000000000000000000000000000000; take a smaller --lr";
    assert!(error.ends_with(end), "{error}");
    let version_dir = folder.path().join("output/MNIST/version_0");
    assert!(version_dir.join("run.json").exists());
    assert!(!version_dir.join("model.safetensors").exists());
}

#[test]
fn a_training_that_diverges_later_names_its_best_checkpoint_which_stays_as_it_was() {
    let folder = small_mnist();
    let output = train(folder.path(), &["--epochs", "2", "--batch-size", "16"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let version_dir = folder.path().join("output/MNIST/version_0");
    let best = fs::canonicalize(version_dir.join("checkpoints/best.safetensors")).unwrap();
    let before = fs::read(&best).unwrap();

    // The same run, had its learning rate been raised.
    let checkpoint = Checkpoint::last(&version_dir).unwrap().unwrap();
    let generator = Generator::new(0);
    let mnist = torchvision::load(&folder.path().join("data"), Device::Cpu).unwrap();
    let data = SimpleDataModule::new(&mnist, 0.2, 4, 16, &generator).unwrap();
    let vs = VarStore::new(Device::Cpu);
    let model = Model::Mlp.build(&vs.root(), &generator).unwrap();
    let mut module = SimpleModule::classification(model, vs, 1e30).unwrap();
    checkpoint.restore(&mut module, &generator).unwrap();
    let mut trainer = Trainer::new(
        9,
        CsvLogger::resume(&version_dir, 2, &checkpoint.progress.metrics_sha256).unwrap(),
        &generator,
    );
    trainer.resume(&checkpoint.progress);
    trainer.terminate_on_nan = true;
    trainer.checkpoint = Some(ModelCheckpoint::new(&version_dir, 1, &checkpoint.run).unwrap());
    let error = trainer.fit(&mut module, &data).unwrap_err();
    let divergence: &Divergence = error.downcast_ref().expect("a divergence");
    assert_eq!((divergence.epoch, divergence.step, divergence.lr), (2, 41, 1e30));
    assert!(divergence.last_finite_loss.unwrap().is_finite());
    assert_eq!(fs::canonicalize(divergence.best.as_ref().unwrap()).unwrap(), best);
    assert!(error.to_string().contains("; the best checkpoint is "), "{error}");
    assert!(fs::read(&best).unwrap() == before);
    // The metrics of the finished epochs are there as well.
    let csv = fs::read_to_string(version_dir.join("metrics.csv")).unwrap();
    assert!(csv.lines().any(|line| line.starts_with("1,39,")), "{csv}");
}
