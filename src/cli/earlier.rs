//! The run that `--resume` goes on with.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::UsageError;
use crate::cli::options::TrainOptions;
use crate::cli::run_json::{Run, RunJson, lock};
use islp_mnist::lightning::Checkpoint;
use islp_mnist::util::path::shell_path;
use islp_mnist::util::text::count;

/// What `--resume` may change: when the run ends and what it leaves behind, not what it computes.
const CHANGEABLE: [&str; 2] = ["--epochs", "--checkpoint-every"];

/// The run to go on with.
pub struct Earlier {
    pub log_dir: PathBuf,
    pub run_json: RunJson,
    /// None if the run was stopped before its first checkpoint: then it begins anew.
    pub checkpoint: Option<Checkpoint>,
    _lock: Option<File>,
}

impl Earlier {
    /// Reads what there is of the run in a folder, and keeps the folder to this process.
    pub fn read(log_dir: &Path) -> Result<Self> {
        let name = log_dir.display();
        ensure!(log_dir.is_dir(), "--resume {name}: no such folder; name the version_N folder of a run");
        let lock = lock(log_dir)?;
        let checkpoint = Checkpoint::last(log_dir)?;
        let run_json = match &checkpoint {
            None => RunJson::read(log_dir).with_context(|| {
                format!("--resume {name}: there is no checkpoint of `train` to go on from")
            })?,
            Some(checkpoint) => {
                let run: Run = serde_json::from_str(checkpoint.hyper_parameters.get())
                    .with_context(|| format!("--resume {name}: its checkpoint is of no run of `train`"))?;
                newer(RunJson::read(log_dir).ok(), run)?
            }
        };
        let earlier = Self { log_dir: log_dir.to_path_buf(), run_json, checkpoint, _lock: lock };
        let (done, epochs) = (earlier.done(), earlier.options().run.epochs);
        ensure!(done <= epochs, "--resume {name}: damaged: {} done of {epochs}", count(done, "epoch"));
        Ok(earlier)
    }

    fn options(&self) -> &TrainOptions {
        &self.run_json.run.options
    }

    /// The epochs done.
    fn done(&self) -> usize {
        self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.state.epoch + 1)
    }

    /// Makes sure that the options are those of the run.
    pub fn check(&self, options: &TrainOptions) -> Result<()> {
        let name = self.log_dir.display();
        if let Some((flag, now, then)) = unchangeable(options, self.options())? {
            bail!(UsageError(format!(
                "{flag} {now} does not go with --resume {name}, whose run has {then}: leave it out, or start a new run \
                 with --from {}",
                shell_path(&self.log_dir.join("run.json"))
            )));
        }
        if options.run.epochs < self.done() {
            bail!(UsageError(format!(
                "--epochs {} is less than the {} that the run in {name} has done",
                options.run.epochs,
                self.done()
            )));
        }
        Ok(())
    }
}

/// run.json, which is newer than the checkpoint where a resumed run had none yet; but with the checkpoint's run in it if
/// it says otherwise what was run.
fn newer(run_json: Option<RunJson>, run: Run) -> Result<RunJson> {
    Ok(match run_json {
        Some(run_json) if unchangeable(&run_json.run.options, &run.options)?.is_none() => run_json,
        Some(run_json) => RunJson { run, ..run_json },
        None => RunJson { run, data_dir: None, data_set: None, outcome: None },
    })
}

/// The first option in which the two differ and must not: flag, our value, theirs.
fn unchangeable(options: &TrainOptions, others: &TrainOptions) -> Result<Option<(String, String, String)>> {
    let mut differences = options.differences(others)?.into_iter();
    Ok(differences.find(|(flag, ..)| !CHANGEABLE.contains(&flag.as_str())))
}
