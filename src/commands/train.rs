//! `islp-mnist train`: one model, with checkpoints, so that a run can stop and go on.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use tch::nn::VarStore;

use super::{Folders, UsageError, check_generator, data_module, print, save_figure, set_up};
use crate::checkpoint::Checkpoint;
use crate::csv_logger::CsvLogger;
use crate::data::SimpleDataModule;
use crate::device::DeviceOption;
use crate::divergence::Divergence;
use crate::generator::Generator;
use crate::interrupt::Interrupt;
use crate::model_checkpoint::ModelCheckpoint;
use crate::module::SimpleModule;
use crate::options::TrainOptions;
use crate::run::{Outcome, Record, Run, lock};
use crate::torch_error::without_backtrace;
use crate::trainer::{Ended, Trainer};
use crate::{banner, file, mnist, weights};

/// What `--resume` may change: when the run ends and what it leaves behind, not what it computes.
const CHANGEABLE: [&str; 2] = ["--epochs", "--checkpoint-every"];

/// Train one model; stop, and go on as if the run had never stopped.
///
/// The run's folder OUTPUT_DIR/NAME/version_N gets metrics.csv, model.safetensors, accuracy.png and .svg, run.json, and
/// in checkpoints/ the latest and the best state by validation loss. Its path is the last line printed.
///
/// Ctrl-C or SIGTERM stops the run after the step under way; --resume then repeats the epoch it was in. Exit code: 0 at
/// the end or when --max-time is over, 130 or 143 after Ctrl-C or SIGTERM, 3 if the loss is no finite number any more,
/// 2 if an option is wrong, 1 for any other error.
///
/// Examples:
///   islp-mnist train --model mlr --epochs 5 --lr 0.001
///   islp-mnist train --max-time 10m
///   islp-mnist train --resume output/MNIST/version_1 --epochs 60
///   islp-mnist train --from output/MNIST/version_1/run.json --seed 1
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, about = "Train one model; stop, and go on as if the run had never stopped")]
pub struct Options {
    #[command(flatten)]
    train: TrainOptions,
    #[command(flatten)]
    folders: Folders,
    /// Go on with the run in this folder, after its last checkpoint; of its options only --epochs and
    /// --checkpoint-every may be changed
    #[arg(long, value_name = "VERSION_DIR", conflicts_with_all = ["from", "output_dir", "name"])]
    resume: Option<PathBuf>,
    /// Take the options that are not given here from a run.json
    #[arg(long, value_name = "RUN_JSON")]
    from: Option<PathBuf>,
    /// End with the epoch in which this time is over, such as 90s, 10m or "1h 30m" [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    max_time: Option<Duration>,
    /// No progress bar even where stderr is a terminal
    #[arg(long)]
    no_progress: bool,
    /// The names of the options that stand on the command line
    #[arg(skip)]
    pub(super) given: Vec<String>,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<u8> {
    let start = Instant::now();
    let data_dir = &options.folders.data_dir;
    let earlier = options.resume.as_deref().map(Earlier::read).transpose()?;
    let base = match (&earlier, &options.from) {
        (Some(earlier), _) => Some(earlier.run.clone()),
        (None, Some(path)) => Some(Record::read(path)?.run),
        (None, None) => None,
    };
    let mut train = options.train.clone();
    if let Some(base) = &base {
        // `auto` leaves it to the run.
        let is_auto = |name: &String| name == "device" && train.run.device == DeviceOption::Auto;
        let given: Vec<_> = options.given.iter().filter(|name| !is_auto(name)).cloned().collect();
        train = train.over(&base.options, &given)?;
    }
    if let Some(earlier) = &earlier {
        earlier.check(&train)?;
    }

    let device = set_up(train.run.device, train.run.threads)?;
    check_generator()?;
    // From here on the options say what the run really takes.
    train.run.device = DeviceOption::of(device);
    train.run.threads = Some(tch::get_num_threads());

    let mnist = mnist::load(data_dir, device)?;
    let mut run = Run::new(&train, data_dir)?;
    if let Some(base) = &base {
        base.check_same(&run, data_dir)?;
    }
    let generator = Generator::new(train.run.seed);
    let data = data_module(&mnist, &train.run, &generator)?;
    let batches = data.train_dataloader().len();
    if let Some(limit) = train.limit_train_batches
        && limit.of(batches) == 0
    {
        bail!(UsageError(format!(
            "--limit-train-batches {limit} leaves no batch of the {batches} in an epoch; take more"
        )));
    }
    let vs = VarStore::new(device);
    let model = train.model.build(&vs.root(), &generator)?;
    let mut module = SimpleModule::classification(model, vs, train.run.lr)?;

    let checkpoint = earlier.as_ref().and_then(|earlier| earlier.checkpoint.as_ref());
    let logger = match &earlier {
        Some(earlier) => {
            run.start.clone_from(&earlier.run.start);
            file::remove_temporaries(&earlier.log_dir)?;
            let progress = checkpoint.map(|checkpoint| &checkpoint.progress);
            let done =
                progress.map_or((0, ""), |progress| (progress.epoch + 1, progress.metrics_sha256.as_str()));
            CsvLogger::resume(&earlier.log_dir, done.0, done.1)?
        }
        None => {
            let name = train.name.as_deref().unwrap_or(train.model.run_name());
            CsvLogger::new(&options.folders.output_dir, name)?
        }
    };
    let log_dir = logger.log_dir().to_path_buf();
    let _lock = if earlier.is_none() { Some(lock(&log_dir)?) } else { None };
    let mut trainer = Trainer::new(train.run.epochs, logger, &generator);
    trainer.max_time = options.max_time;
    trainer.limit_train_batches = train.limit_train_batches;
    trainer.enable_progress_bar = !options.no_progress;
    trainer.terminate_on_nan = true;
    trainer.interrupt = Interrupt::catch().context("cannot catch signals")?;
    trainer.checkpoint = Some(ModelCheckpoint::new(&log_dir, train.checkpoint_every, &run)?);
    if let Some(checkpoint) = checkpoint {
        checkpoint.restore(&mut module, &generator)?;
        trainer.resume(&checkpoint.progress);
    }
    let outcome = earlier.as_ref().and_then(|earlier| earlier.outcome.clone());
    let ended = fit_and_save(&mut trainer, &mut module, &data, Record { run, outcome }, start);
    conclude(ended, &trainer, data_dir)
}

/// Trains, and leaves everything in the run's folder.
fn fit_and_save(
    trainer: &mut Trainer,
    module: &mut SimpleModule,
    data: &SimpleDataModule,
    mut record: Record,
    start: Instant,
) -> Result<Ended> {
    let log_dir = trainer.logger.log_dir().to_path_buf();
    record.write(&log_dir)?;
    let ended = trainer.fit(module, data)?;
    if ended != Ended::Interrupted {
        weights::save(&module.vs, &log_dir.join(weights::FILE))?;
        save_figure(&trainer.logger)?;
    }
    let before = record.outcome.map_or(0.0, |outcome| outcome.duration_seconds);
    record.outcome = Some(Outcome {
        epochs: trainer.current_epoch(),
        global_step: trainer.global_step(),
        duration_seconds: before + start.elapsed().as_secs_f64(),
        metrics: trainer.logger.last_metrics(),
    });
    record.write(&log_dir)?;
    Ok(ended)
}

/// Says where the run is and, if it did not come to its end, how it goes on.
fn conclude(ended: Result<Ended>, trainer: &Trainer, data_dir: &Path) -> Result<u8> {
    let log_dir = trainer.logger.log_dir();
    let data = match shell_word(data_dir) {
        data_dir if data_dir == "data" => String::new(),
        data_dir => format!(" --data-dir {data_dir}"),
    };
    let go_on = format!("islp-mnist train --resume {}{data} goes on", shell_word(log_dir));
    match ended {
        Ok(ended) => {
            print(&log_dir.display().to_string())?;
            let signal = trainer.interrupt.exit_code().filter(|_| ended == Ended::Interrupted);
            Ok(signal.map_or(0, |exit_code| {
                banner::print(&format!("interrupted; {go_on}"));
                exit_code
            }))
        }
        Err(error) if error.is::<Divergence>() => Err(error),
        Err(error) => {
            let error = format!("{error:#}");
            let error = without_backtrace(&error);
            Err(match trainer.checkpoint.as_ref().and_then(ModelCheckpoint::last) {
                Some(last) => anyhow!("{error}; the last checkpoint is {}, {go_on}", last.display()),
                None => anyhow!("{error}; there is no checkpoint"),
            })
        }
    }
}

/// The first option in which the two differ and must not.
fn unchangeable(options: &TrainOptions, others: &TrainOptions) -> Result<Option<(String, String, String)>> {
    let mut differences = options.differences(others)?.into_iter();
    Ok(differences.find(|(flag, ..)| !CHANGEABLE.contains(&flag.as_str())))
}

/// A path as one types it in a shell.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=,@%".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The run to go on with.
struct Earlier {
    log_dir: PathBuf,
    _lock: File,
    run: Run,
    /// None if the run was stopped before its first checkpoint: then it begins anew.
    checkpoint: Option<Checkpoint>,
    outcome: Option<Outcome>,
}

impl Earlier {
    fn read(log_dir: &Path) -> Result<Self> {
        let name = log_dir.display();
        ensure!(log_dir.is_dir(), "--resume {name}: no such folder; name the version_N folder of a run");
        let lock = lock(log_dir)?;
        let checkpoint = Checkpoint::last(log_dir)?;
        let record = Record::read(log_dir);
        let outcome = record.as_ref().ok().and_then(|record| record.outcome.clone());
        let run = match (&checkpoint, record) {
            (None, record) => {
                let nothing = || format!("--resume {name}: there is no checkpoint of `train` to go on from");
                record.with_context(nothing)?.run
            }
            (Some(checkpoint), Err(_)) => checkpoint.run.clone(),
            // The newer of the two: a resumed run may have had no checkpoint yet.
            (Some(checkpoint), Ok(record)) => {
                match unchangeable(&record.run.options, &checkpoint.run.options)? {
                    None => record.run,
                    Some(_) => checkpoint.run.clone(),
                }
            }
        };
        Ok(Self { log_dir: log_dir.to_path_buf(), _lock: lock, run, checkpoint, outcome })
    }

    /// Makes sure that the options are those of the run.
    fn check(&self, options: &TrainOptions) -> Result<()> {
        let name = self.log_dir.display();
        if let Some((flag, now, then)) = unchangeable(options, &self.run.options)? {
            bail!(UsageError(format!(
                "{flag} {now} does not go with --resume {name}, whose run has {then}: leave it out, or start a new run \
                 with --from {name}/run.json"
            )));
        }
        let done = self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.progress.epoch + 1);
        if options.run.epochs < done {
            bail!(UsageError(format!(
                "--epochs {} is less than the {done} that the run in {name} has done",
                options.run.epochs
            )));
        }
        Ok(())
    }
}
