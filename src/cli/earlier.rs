//! The run that `--resume` goes on with.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::UsageError;
use crate::cli::options::TrainOptions;
use crate::cli::run_json::{Outcome, Run, RunJson, lock};
use crate::lightning::checkpoint::Checkpoint;

/// What `--resume` may change: when the run ends and what it leaves behind, not what it computes.
const CHANGEABLE: [&str; 2] = ["--epochs", "--checkpoint-every"];

/// The run to go on with.
pub struct Earlier {
    pub log_dir: PathBuf,
    pub run: Run,
    /// Where its data lay.
    pub data_dir: Option<String>,
    /// None if the run was stopped before its first checkpoint: then it begins anew.
    pub checkpoint: Option<Checkpoint>,
    pub outcome: Option<Outcome>,
    _lock: File,
}

impl Earlier {
    /// Reads what there is of the run in a folder, and keeps the folder to this process.
    pub fn read(log_dir: &Path) -> Result<Self> {
        let name = log_dir.display();
        ensure!(log_dir.is_dir(), "--resume {name}: no such folder; name the version_N folder of a run");
        let lock = lock(log_dir)?;
        let checkpoint = Checkpoint::last(log_dir)?;
        let run_json = RunJson::read(log_dir);
        let (data_dir, outcome) = match &run_json {
            Ok(RunJson { data_dir, outcome, .. }) => (data_dir.clone(), outcome.clone()),
            Err(_) => (None, None),
        };
        let run = match &checkpoint {
            None => {
                let nothing = || format!("--resume {name}: there is no checkpoint of `train` to go on from");
                run_json.with_context(nothing)?.run
            }
            Some(checkpoint) => {
                let of_checkpoint: Run = serde_json::from_str(checkpoint.hyper_parameters.get())
                    .with_context(|| format!("--resume {name}: its checkpoint is of no run of `train`"))?;
                newer(run_json.ok().map(|run_json| run_json.run), of_checkpoint)?
            }
        };
        let earlier =
            Self { log_dir: log_dir.to_path_buf(), run, data_dir, checkpoint, outcome, _lock: lock };
        ensure!(
            earlier.done() <= earlier.run.options.run.epochs,
            "--resume {name}: damaged: {} epochs done of {}",
            earlier.done(),
            earlier.run.options.run.epochs
        );
        Ok(earlier)
    }

    /// The epochs done.
    fn done(&self) -> usize {
        self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.state.epoch + 1)
    }

    /// Makes sure that the options are those of the run.
    pub fn check(&self, options: &TrainOptions) -> Result<()> {
        let name = self.log_dir.display();
        if let Some((flag, now, then)) = unchangeable(options, &self.run.options)? {
            bail!(UsageError(format!(
                "{flag} {now} does not go with --resume {name}, whose run has {then}: leave it out, or start a new run \
                 with --from {name}/run.json"
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

/// The run of run.json, which is the newer one where a resumed run had no checkpoint yet, unless it is another run's.
fn newer(of_run_json: Option<Run>, of_checkpoint: Run) -> Result<Run> {
    Ok(match of_run_json {
        Some(run) if unchangeable(&run.options, &of_checkpoint.options)?.is_none() => run,
        _ => of_checkpoint,
    })
}

/// The first option in which the two differ and must not: flag, our value, theirs.
fn unchangeable(options: &TrainOptions, others: &TrainOptions) -> Result<Option<(String, String, String)>> {
    let mut differences = options.differences(others)?.into_iter();
    Ok(differences.find(|(flag, ..)| !CHANGEABLE.contains(&flag.as_str())))
}
