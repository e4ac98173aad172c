//! `islp-mnist study`: the same training with many seeds.

mod folder;
mod pool;
mod progress;
mod seeds;

use std::collections::HashSet;
use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::{Context, Result, ensure};
use clap::Args;
use log::info;
use tch::Device;

use super::{DataDir, UsageError, check_generator, data_set, print, say, set_up};
use crate::cli::interrupt::Interrupt;
use crate::cli::options::RunArgs;
use crate::cli::options::model;
use crate::cli::progress::ProgressOptions;
use folder::{Settings, StudyFolder};
use islp_mnist::lightning::LimitTrainBatches;
use islp_mnist::notebook::models::Model;
use islp_mnist::run::AT_LEAST_ONE;
use islp_mnist::run::{End, Run, RunOptions, TrainOptions};
use islp_mnist::study::{Key, Row, Summary, Varied, pictures};
use islp_mnist::torch::Source;
use islp_mnist::torchvision;
use islp_mnist::util::file;
use islp_mnist::util::path::shell_path;
use islp_mnist::util::text::count;
use pool::Pool;
use seeds::{Seeds, Shard};

/// Width and height of the pictures, in pixels.
const SIZE: (usize, usize) = (600, 450);

/// Train with many seeds, and say what is the model and what is luck.
///
/// Every run is one of `train`, in a process of its own with one thread of libtorch, and equals it byte for byte. They lie
/// in OUTPUT_DIR/runs, and what they came to in OUTPUT_DIR/study.csv. Stopped or killed, the same command goes on with what
/// is missing; several of them in one folder share the seeds. A seed whose training diverges or fails is a row that says so.
///
/// --vary takes the seeds for one source of randomness alone: the split, the initial parameters, the shuffles or dropout.
/// All others keep the draws that --seed has them make, which PyTorch's single stream can't do. `seed` is what it is in
/// Python.
///
/// Exit code: 0, also if a training diverged; 1 if one failed, 2 if an option is wrong, 130, 143, 129 or
/// 138 after Ctrl-C, SIGTERM, SIGHUP or SIGUSR1.
///
/// Examples:
///   islp-mnist study --seeds 0..99
///   islp-mnist study --model mlp --vary init --seeds 0..29
///   islp-mnist study --seeds 0..999 --shard 3/10
///   islp-mnist study --collect output/seeds
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, about = "Train with many seeds, and say what is the model and what is luck")]
#[command(mut_arg("threads", |arg| arg.help("Threads of libtorch for each run [default: 1]")))]
#[command(mut_arg("seed", |arg| arg.help("With --vary, the seed of all that does not vary [default: 0]")))]
pub struct StudyArgs {
    /// The models: mlp, mlr
    #[arg(long = "model", value_delimiter = ',', value_parser = model(), default_value = "mlp,mlr")]
    models: Vec<Model>,
    /// The seeds: from 0 to 99 as 0..99, or some as 1,2,5..9
    #[arg(long, default_value = "0..99")]
    seeds: Seeds,
    /// What the seeds are of: seed, split, init, shuffle or dropout
    #[arg(long, default_value = "seed", value_name = "SOURCE")]
    vary: Varied,
    #[command(flatten)]
    run: RunArgs,
    /// Training batches of an epoch: a number, or with a decimal point a fraction [default: all]
    #[arg(long, value_name = "N|FRACTION")]
    limit_train_batches: Option<LimitTrainBatches>,
    /// Epochs from one checkpoint of a run to the next: what a kill can cost
    #[arg(long, value_name = "EPOCHS", default_value = "1", value_parser = |text: &str| AT_LEAST_ONE.parse(text))]
    checkpoint_every: usize,
    /// Runs at a time [default: the cores divided by --threads; on a GPU one]
    #[arg(long, value_parser = |text: &str| AT_LEAST_ONE.parse(text))]
    jobs: Option<usize>,
    /// Only every Nth seed, from the Ith on, counting from 0: a part for each machine, or for each task of an array job
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Folder of the study
    #[arg(long, value_name = "DIR", default_value = "output/seeds")]
    output_dir: PathBuf,
    /// Train nothing; put together what the runs in this folder came to
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output_dir", "shard", "seeds", "vary", "models", "jobs", "checkpoint_every"])]
    collect: Option<PathBuf>,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    progress: ProgressOptions,
}

/// Runs the command.
pub fn run(args: &StudyArgs) -> Result<u8> {
    let is_shown = args.progress.apply();
    if let Some(folder) = &args.collect {
        return conclude(&StudyFolder::open(folder)?);
    }
    let mut options = args.run.over(&RunOptions::default());
    // Where there are many runs, one thread for each is faster in all.
    options.threads = options.threads.or(Some(1));
    let device = set_up(options.device, options.threads)?;
    check_generator()?;
    let wider = if args.models.contains(&Model::Mlp) { Model::Mlp } else { Model::Mlr };
    let options = options.on(device, wider)?;
    let keys = keys(args);
    ensure!(
        !keys.is_empty(),
        UsageError(
            "--vary dropout leaves no model: logistic regression has no dropout; take --model mlp".into()
        )
    );
    let data_dir = args.data.or(None);
    let mnist = torchvision::load(&data_dir, device)?;
    let settings = Settings { run: options.clone(), limit_train_batches: args.limit_train_batches };
    let run = Run::new(&TrainOptions::default(), &data_dir)?;
    let folder = StudyFolder::create(&args.output_dir, &settings)?;
    folder.warn_without_locks()?;
    let interrupt = Interrupt::catch().context("cannot catch signals")?;
    let jobs = args.jobs.unwrap_or_else(|| {
        if device != Device::Cpu {
            return 1;
        }
        let cores = available_parallelism().map_or(1, usize::from);
        (cores / options.threads.unwrap_or(1).max(1) as usize).max(1)
    });
    let pool = Pool {
        folder: &folder,
        settings: &settings,
        run: &run,
        data_dir: &data_dir,
        mnist: &mnist,
        device,
        jobs,
        checkpoint_every: args.checkpoint_every,
        interrupt: &interrupt,
        is_shown,
    };
    data_set::say_if_other(&data_dir)?;
    pool.run(&keys)?;
    if let Some(exit_code) = interrupt.exit_code() {
        let _ = folder.write_csv();
        say("interrupted; the same command goes on with what is missing");
        return Ok(exit_code);
    }
    conclude(&folder)
}

/// The runs that are asked for: model by model for each seed, so that what is there at any moment can be compared.
fn keys(args: &StudyArgs) -> Vec<Key> {
    let mut seen = HashSet::new();
    let has_source = |model: &Model| args.vary != Varied::Source(Source::Dropout) || model.has_dropout();
    let models = args.models.iter().copied().filter(has_source);
    let models: Vec<Model> = models.filter(|model| seen.insert(model.name())).collect();
    let Shard { index, count } = args.shard.unwrap_or(Shard { index: 0, count: 1 });
    let seeds = args.seeds.iter().skip(index).step_by(count);
    seeds.flat_map(|seed| models.iter().map(move |&model| Key { model, varied: args.vary, seed })).collect()
}

/// Writes study.csv and the pictures, and prints what there is to say.
fn conclude(folder: &StudyFolder) -> Result<u8> {
    let rows = folder.write_csv()?;
    let summary = Summary::new(&rows);
    for picture in pictures(folder.path(), &rows, &summary, SIZE)? {
        file::write(&folder.path().join(format!("{}.png", picture.name)), &picture.png)?;
        file::write(&folder.path().join(format!("{}.svg", picture.name)), picture.svg.as_bytes())?;
    }
    print(&summary.to_string())?;
    let csv = folder.path().join(islp_mnist::study::STUDY_CSV);
    let (runs, verb) = (count(rows.len(), "run"), if rows.len() == 1 { "is" } else { "are" });
    info!("{runs} {verb} in {}", shell_path(&csv));
    let failed: Vec<&Row> = rows.iter().filter(|row| row.is_failed()).collect();
    if let Some(Row { end: End::Failed(reason), .. }) = failed.first() {
        let run = folder.of(failed[0].key());
        say(&format!(
            "{} of them failed, {}: {reason}; the command that trained them tries again, and anew once \
             that folder is moved elsewhere",
            failed.len(),
            run.display()
        ));
        return Ok(1);
    }
    Ok(0)
}
