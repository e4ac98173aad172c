//! The runs of a study, some at a time, each a process of `train`.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tch::Device;
use tch::vision::dataset::Dataset;

use super::folder::{Settings, State, StudyFolder};
use super::progress::Progress;
use crate::cli::interrupt::Interrupt;
use islp_mnist::lightning::evaluate_test;
use islp_mnist::notebook::weights;
use islp_mnist::run::{End, Outcome, Run, RunJson};
use islp_mnist::study::{Key, Row, newest_version};
use islp_mnist::util::file;
use islp_mnist::util::text::hex;

/// Interval between checks for ended processes.
const POLL: Duration = Duration::from_millis(20);
/// Interval between checks of runs that other processes train.
const WAIT: Duration = Duration::from_millis(500);
/// A model's weights have less than a hundredth of it.
const MAX_WEIGHTS: u64 = 1 << 30;
/// A run's messages have less.
const MAX_LOG: u64 = 1 << 20;
const LOG: &str = "log.txt";

/// What the runs of a study need.
pub struct Pool<'a> {
    pub folder: &'a StudyFolder,
    pub settings: &'a Settings,
    /// Data, environment and start that the runs share; each has its own options.
    pub run: &'a Run,
    pub data_dir: &'a Path,
    pub mnist: &'a Dataset,
    pub device: Device,
    pub jobs: usize,
    pub checkpoint_every: usize,
    pub interrupt: &'a Interrupt,
    /// Whether there is a progress bar on stderr, where that is a terminal.
    pub is_shown: bool,
}

/// A run under way. It ends with this, as the same command goes on with it.
struct Running {
    key: Key,
    child: Child,
    /// Keeps others from it, also if this process dies before the child: the child's stdin is the same open file.
    _lock: File,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pool<'_> {
    /// Trains all runs that are missing, until they are done or a signal arrives.
    ///
    /// # Errors
    /// A folder that can't be written to. What goes wrong with a run is its row.
    pub fn run(&self, keys: &[Key]) -> Result<()> {
        let mut progress = Progress::new(self.is_shown, keys.len());
        let (mut waiting, mut taken) = (VecDeque::from(keys.to_vec()), VecDeque::new());
        let mut looked = Instant::now();
        let mut running: Vec<Running> = vec![];
        loop {
            if self.interrupt.should_stop.load(Ordering::Relaxed) {
                progress.finish();
                return Ok(());
            }
            let mut ended = None;
            for (place, run) in running.iter_mut().enumerate() {
                if run.child.try_wait().context("cannot wait for a run")?.is_some() {
                    ended = Some(place);
                    break;
                }
            }
            if let Some(place) = ended {
                let Running { key, child, .. } = &mut running[place];
                let status = child.wait().context("cannot wait for a run")?;
                let row = self.result(*key, &format!("it ended with {status}"));
                self.finish(&row)?;
                running.swap_remove(place);
                progress.end(&row);
            } else if running.len() < self.jobs && !waiting.is_empty() {
                let Some(key) = waiting.pop_front() else { continue };
                match self.folder.state(key)? {
                    State::Done => progress.skip(),
                    State::Taken => taken.push_back(key),
                    State::Free(lock) => match self.trained(key) {
                        // Whoever trained it died before writing the row.
                        Some(row) => {
                            self.finish(&row)?;
                            progress.end(&row);
                        }
                        None => running.push(self.start(key, lock)?),
                    },
                }
            } else if running.is_empty() && taken.is_empty() {
                progress.finish();
                return Ok(());
            } else if !taken.is_empty() && looked.elapsed() > WAIT {
                // Somebody else has them. If that one dies, they are ours.
                waiting.append(&mut taken);
                looked = Instant::now();
            } else {
                sleep(POLL);
            }
        }
    }

    /// Starts or resumes a run.
    fn start(&self, key: Key, lock: File) -> Result<Running> {
        let folder = self.folder.of(key);
        let log_path = folder.join(LOG);
        let log = File::create(&log_path).map_err(file::Error::io("write", &log_path))?;
        // The same file, also if another was built in its place meanwhile.
        let mut command = Command::new("/proc/self/exe");
        // With "=", as a path may begin with "-".
        let option = |name: &str, path: &Path| [name.as_ref(), path.as_os_str()].join("=".as_ref());
        command.args(["train", "--quiet"]).arg(option("--data-dir", self.data_dir));
        match newest_version(&folder) {
            Some(version) => command.arg(option("--resume", &version)),
            None => {
                let options = self.settings.of(key, self.checkpoint_every);
                RunJson::new(Run { options, ..self.run.clone() }, self.data_dir, None).write(&folder)?;
                // The run's folder is that of its name there.
                let output_dir = option("--output-dir", folder.parent().unwrap_or(&folder));
                command.arg(option("--from", &folder)).arg(output_dir)
            }
        };
        let threads = self.settings.run.threads.unwrap_or(1);
        // libtorch would else start a thread for each core before it hears of --threads.
        command.env("OMP_NUM_THREADS", threads.to_string());
        let stdin = lock.try_clone().context("cannot hand on a lock")?;
        command.stdin(stdin).stdout(Stdio::null()).stderr(log);
        Ok(Running { key, child: command.spawn().context("cannot start a run")?, _lock: lock })
    }

    /// Writes a run's row to disk, then removes the checkpoints it would resume from.
    fn finish(&self, row: &Row) -> Result<()> {
        self.folder.write_result(row)?;
        if !row.is_failed()
            && let Some(version) = newest_version(&self.folder.of(row.key()))
        {
            let _ = fs::remove_dir_all(version.join("checkpoints"));
        }
        Ok(())
    }

    /// The row of a run that ended.
    fn trained(&self, key: Key) -> Option<Row> {
        let version = newest_version(&self.folder.of(key))?;
        let outcome = RunJson::read(&version).ok()?.outcome?;
        self.row(key, &version, &outcome).ok()
    }

    /// The row of a run whose process has ended.
    fn result(&self, key: Key, ended: &str) -> Row {
        self.trained(key).unwrap_or_else(|| {
            let log = self.folder.of(key).join(LOG);
            let said = file::read(&log, MAX_LOG).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            let reason = said.lines().rev().find_map(|line| line.strip_prefix("error: "));
            Row::failed(key, reason.map_or_else(|| format!("{ended}, see {}", log.display()), str::to_string))
        })
    }

    fn row(&self, key: Key, version: &Path, outcome: &Outcome) -> Result<Row> {
        let Some(end @ (End::MaxEpochs | End::Diverged)) = outcome.end.clone() else {
            anyhow::bail!("it did not end");
        };
        let metric = |name: &str| outcome.metrics.get(name).copied().flatten();
        let mut row = Row {
            epochs: outcome.epochs,
            seconds: outcome.duration_seconds,
            valid_accuracy: metric("valid_accuracy"),
            valid_loss: metric("valid_loss"),
            end,
            ..Row::failed(key, String::new())
        };
        if row.end == End::MaxEpochs {
            let path = version.join(weights::FILE);
            let module = weights::load(&path, self.device)?;
            let batch_size = self.settings.run.batch_size;
            let test = evaluate_test(&module, self.mnist, batch_size)?.compute(&module)?;
            row.test_accuracy = Some(test.accuracy.into());
            row.test_loss = Some(test.loss.into());
            row.weights_sha256 = Some(hex(&Sha256::digest(file::read(&path, MAX_WEIGHTS)?)));
        }
        Ok(row)
    }
}
