//! `islp-mnist train`: trains one model, with checkpoints, so that a run can stop and resume.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use log::info;
use tch::nn::VarStore;
use tch::vision::dataset::Dataset;

use super::hints::{self, UsageError, explain};
use super::options::{DataDir, ModelArgs, ProgressOptions, TraceOptions, flag};
use super::output::{print_path, say};
use super::setup::{Interrupt, check_generator, note_on, set_up};
use islp_mnist::islp::{SimpleDataModule, SimpleModule};
use islp_mnist::lightning::{CsvLogger, Ended, ModelCheckpoint, Trainer};
use islp_mnist::notebook::{save_figure, weights};
use islp_mnist::run::{self, Earlier, End, Lock, Outcome, Run, RunJson, RunOptions, Start, TrainOptions};
use islp_mnist::torch::Generator;
use islp_mnist::torchvision;
use islp_mnist::util::{file, path::shell_path};

/// Train one model, with checkpoints; a stopped run can be resumed bit for bit.
///
/// The run's folder is OUTPUT_DIR/NAME/version_N; its path is the last line printed. It contains metrics.csv,
/// model.safetensors, accuracy.png and .svg, run.json, and in checkpoints/ the latest state and the one with the lowest
/// validation loss.
///
/// The defaults below are those of a new run; --resume and --from use the options and the data folder of their run instead.
///
/// With the same seed and options, `train` and `reproduce` differ from the first weight on, because the notebook draws
/// random numbers for two batches before it creates a model.
///
/// Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 stop the run after the current step; --resume then repeats the current epoch, or,
/// with --checkpoint-every-n-steps, continues with the next step.
///
/// Exit code: 0 at the end or after --max-time; 130, 143, 129 or 138 after these signals; 3 if the loss becomes NaN or
/// infinite; 2 if an option is wrong; 1 for any other error.
///
/// Examples:
///   islp-mnist train --model mlr --epochs 5 --lr 0.001
///   islp-mnist train --max-time 10m
///   islp-mnist train --resume output/MNIST/version_1 --epochs 60
///   islp-mnist train --from output/MNIST/version_1/run.json --seed 1
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    about = "Train one model, with checkpoints; a stopped run can be resumed bit for bit"
)]
pub struct TrainArgs {
    #[command(flatten)]
    train: ModelArgs,
    #[command(flatten)]
    data: DataDir,
    /// Folder for the run's files
    #[arg(long, value_name = "DIR", default_value = "output")]
    output_dir: PathBuf,
    /// Resume the run in this folder after its last checkpoint; only --epochs and the checkpoint options may
    /// change
    #[arg(long, value_name = "VERSION_DIR", conflicts_with_all = ["from", "output_dir", "name"])]
    resume: Option<PathBuf>,
    /// Start a new run with the options in this run.json, except those that are given
    #[arg(long, value_name = "RUN_JSON")]
    from: Option<PathBuf>,
    /// Stop after the epoch in which TIME, such as 90s, 10m or "1h 30m", elapses [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    max_time: Option<Duration>,
    #[command(flatten)]
    trace: TraceOptions,
    #[command(flatten)]
    progress: ProgressOptions,
}

pub fn run(args: &TrainArgs) -> Result<u8> {
    let began = Instant::now();
    let start = start(args)?;
    let mut options = args.train.over(&start.options());
    if let Some(earlier) = start.resumed() {
        earlier.check(&options).map_err(by_flag)?;
    }
    let device = set_up(options.run.device, options.run.threads)?;
    check_generator()?;
    options.run = options.run.on(device, options.model)?;

    let data_dir = args.data.or(start.run_json().and_then(RunJson::data_dir));
    let mnist = torchvision::load(&data_dir, device)?;
    let run = describe(&options, &data_dir, &start)?;
    let generator = options.generator();
    let data = load(&mnist, &options, &generator)?;
    let vs = VarStore::new(device);
    let model = options.model.build(&vs.root(), &generator)?;
    let mut module = SimpleModule::classification(model, vs, options.run.lr)?;

    let trace = args.trace.create()?;
    let logger = open_logger(args, &options, start.resumed())?;
    let log_dir = logger.log_dir().to_path_buf();
    let _folder = RemoveIfEmpty(log_dir.clone());
    let lock = if start.resumed().is_none() { Some(Lock::of(&log_dir)?) } else { None };
    lock.iter().for_each(|lock| warn_without_lock(lock, &log_dir));
    let interrupt = Interrupt::catch().context("cannot catch signals")?;
    let mut trainer = build_trainer(args, &options, logger, &generator);
    trainer.trace = trace;
    trainer.should_stop = interrupt.should_stop.clone();
    let mut checkpoint = ModelCheckpoint::new(&log_dir, options.checkpoint_every, &run)?;
    checkpoint.every_n_train_steps = options.checkpoint_every_n_steps;
    trainer.checkpoint = Some(checkpoint);
    if let Some(checkpoint) = start.resumed().and_then(|earlier| earlier.checkpoint.as_ref()) {
        trainer.resume(checkpoint, &mut module)?;
    }
    let outcome = start.resumed().and_then(|earlier| earlier.run_json.outcome.clone());
    note_on(&data_dir, &run.data)?.iter().for_each(|note| info!("{note}"));
    let run_json = RunJson::new(run, &data_dir, outcome);
    let ended = fit_and_save(&mut trainer, &mut module, &data, run_json, began);
    conclude(ended, &trainer, &interrupt)
}

/// Returns the start of the run that --resume or --from asks for.
fn start(args: &TrainArgs) -> Result<Start> {
    if let Some(log_dir) = &args.resume {
        let earlier = Earlier::read(log_dir)?;
        warn_without_lock(&earlier.lock, log_dir);
        return Ok(Start::Resume(Box::new(earlier)));
    }
    let Some(path) = &args.from else { return Ok(Start::New) };
    let run_json = RunJson::read(path).context("--from takes the run.json of a run, or its folder")?;
    Ok(Start::From(Box::new(run_json)))
}

/// Words the error with options as typed on the command line.
fn by_flag(error: run::Error) -> anyhow::Error {
    let message = match error {
        run::Error::Conflict { folder, name, now, then } => format!(
            "{} {now} conflicts with --resume {} (its run used {then}): leave it out, or start a new run with --from {}",
            flag(&name),
            folder.display(),
            shell_path(&folder.join("run.json"))
        ),
        run::Error::FewerEpochs { folder, epochs, begun } => {
            format!(
                "--epochs {epochs} is less than the {begun} epochs that the run in {} has begun",
                folder.display()
            )
        }
        error => return error.into(),
    };
    anyhow!(UsageError(message))
}

/// Warns if a second process could train the same run.
fn warn_without_lock(lock: &Lock, log_dir: &Path) {
    if let Lock::Unavailable(error) = lock {
        say(&format!(
            "warning: {}: cannot be locked here ({error}), so do not start a second process on this run",
            log_dir.display()
        ));
    }
}

/// Removes the run's folder if the run fails to start and leaves it empty.
struct RemoveIfEmpty(PathBuf);

impl Drop for RemoveIfEmpty {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Describes the run for run.json. Warns of changes since the run that it resumes or repeats.
fn describe(options: &TrainOptions, data_dir: &Path, start: &Start) -> Result<Run> {
    let mut run = Run::new(options, data_dir)?;
    if let Some(base) = start.run_json() {
        for changed in base.run.check_same(&run, data_dir)? {
            say(&format!("warning: {changed}"));
        }
    }
    if let Some(earlier) = start.resumed() {
        run.start.clone_from(&earlier.run_json.run.start);
    }
    Ok(run)
}

/// Splits the data and creates their loaders.
fn load(mnist: &Dataset, options: &TrainOptions, generator: &Generator) -> Result<SimpleDataModule> {
    let RunOptions { validation, num_workers, batch_size, .. } = options.run;
    let data = SimpleDataModule::new(mnist, validation, num_workers, batch_size, generator)?;
    let batches = data.train_dataloader().len();
    if let Some(limit) = options.limit_train_batches
        && limit.of(batches) == 0
    {
        bail!(UsageError(format!(
            "--limit-train-batches {limit} leaves none of the {batches} batches per epoch; use a larger one"
        )));
    }
    Ok(data)
}

/// Opens a new run folder, or continues the metrics of a resumed run.
fn open_logger(args: &TrainArgs, options: &TrainOptions, earlier: Option<&Earlier>) -> Result<CsvLogger> {
    let Some(Earlier { log_dir, checkpoint, .. }) = earlier else {
        let name = options.name.as_deref().unwrap_or(options.model.run_name());
        return Ok(CsvLogger::new(&args.output_dir, name)?);
    };
    file::remove_temporaries(log_dir)?;
    Ok(CsvLogger::resume(log_dir, checkpoint.as_ref().map(|checkpoint| &checkpoint.state))?)
}

fn build_trainer(
    args: &TrainArgs,
    options: &TrainOptions,
    logger: CsvLogger,
    generator: &Generator,
) -> Trainer {
    let mut trainer = Trainer::new(options.run.epochs, logger, generator);
    trainer.max_time = args.max_time;
    trainer.limit_train_batches = options.limit_train_batches.unwrap_or_default();
    trainer.enable_progress_bar = args.progress.apply();
    trainer.terminate_on_nan = true;
    trainer
}

/// Trains, and writes all files to the run's folder.
fn fit_and_save(
    trainer: &mut Trainer,
    module: &mut SimpleModule,
    data: &SimpleDataModule,
    mut run_json: RunJson,
    began: Instant,
) -> Result<Ended> {
    let log_dir = trainer.logger.log_dir().to_path_buf();
    run_json.write(&log_dir)?;
    let ended = trainer.fit(module, data).map_err(anyhow::Error::from);
    let end = match &ended {
        Ok(Ended::MaxEpochs) => End::MaxEpochs,
        Ok(Ended::MaxTime) => End::MaxTime,
        Ok(Ended::ShouldStop) => End::Interrupted,
        Err(error) if hints::is_divergence(error) => End::Diverged,
        Err(_) => return ended,
    };
    if matches!(end, End::MaxEpochs | End::MaxTime) {
        weights::save(module, &log_dir.join(weights::FILE))?;
        save_figure(&trainer.logger)?;
    }
    let before = run_json.outcome.map_or(0.0, |outcome| outcome.duration_seconds);
    run_json.outcome = Some(Outcome {
        end: Some(end),
        epochs: trainer.current_epoch,
        global_step: trainer.global_step,
        duration_seconds: before + began.elapsed().as_secs_f64(),
        metrics: trainer.logger.last_metrics(),
    });
    run_json.write(&log_dir)?;
    ended
}

/// Prints the run's folder and, if the run did not end, how to resume it.
fn conclude(ended: Result<Ended>, trainer: &Trainer, interrupt: &Interrupt) -> Result<u8> {
    let log_dir = trainer.logger.log_dir();
    let resume = format!("resume with islp-mnist train --resume {}", shell_path(log_dir));
    match ended {
        Ok(ended) => {
            print_path(log_dir)?;
            let signal = interrupt.exit_code().filter(|_| ended == Ended::ShouldStop);
            Ok(signal.map_or(0, |exit_code| {
                say(&format!("interrupted; {resume}"));
                exit_code
            }))
        }
        Err(error) if hints::is_divergence(&error) => Err(error),
        Err(error) => {
            let error = explain(&error);
            Err(match trainer.checkpoint.as_ref().and_then(ModelCheckpoint::last) {
                Some(last) => anyhow!("{error}; the last checkpoint is {}; {resume}", shell_path(&last)),
                None => anyhow!("{error}; there is no checkpoint"),
            })
        }
    }
}
