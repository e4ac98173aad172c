//! `islp-mnist study`: the same training with many seeds.

mod progress;
mod runs;

use std::collections::HashSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread::available_parallelism;

use anyhow::{Context, Result, ensure};
use clap::Args;
use log::info;
use tch::Device;

use super::hints::UsageError;
use super::options::{DataDir, ProgressOptions, RunArgs, model};
use super::output::{print, say};
use super::setup::{Interrupt, check_generator, note_on, set_up};
use islp_mnist::lightning::LimitTrainBatches;
use islp_mnist::notebook::models::Model;
use islp_mnist::run::{AT_LEAST_ONE, End, Run, RunOptions, TrainOptions};
use islp_mnist::study::{Key, Row, STUDY_CSV, Summary, Varied, pictures};
use islp_mnist::torch::Source;
use islp_mnist::torchvision;
use islp_mnist::util::file;
use islp_mnist::util::path::shell_path;
use islp_mnist::util::text::count;
use runs::{Pool, Settings, StudyFolder};

/// Width and height of the pictures, in pixels.
const SIZE: (usize, usize) = (600, 450);
/// No machine trains this many runs in years.
const MAX_SEEDS: u64 = 1_000_000;

/// Train with many seeds: how much is the model, and how much is luck?
///
/// Each run is a process of its own, by default with one libtorch thread, and equals a run of `train` byte for byte. The
/// runs are in OUTPUT_DIR/runs, their results in OUTPUT_DIR/study.csv; the row of a run that diverges or fails says so.
/// After a stop or a kill, the same command trains what is missing. Several commands with one folder share the seeds.
///
/// --vary uses the seeds for a single source of randomness: the split, the initial parameters, the shuffles or dropout.
/// The others draw as with --seed, which PyTorch's single stream cannot do. `seed` varies all of them except the split,
/// as in Python.
///
/// Exit code: 0, even if a run diverged; 1 if a run failed; 2 if an option is wrong; 130, 143, 129 or 138 after Ctrl-C,
/// SIGTERM, SIGHUP or SIGUSR1.
///
/// Examples:
///   islp-mnist study --seeds 0..99
///   islp-mnist study --model mlp --vary init --seeds 0..29
///   islp-mnist study --seeds 0..999 --shard 3/10
///   islp-mnist study --collect output/seeds
///   islp-mnist study --collect lightning_logs
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    about = "Train with many seeds: how much is the model, and how much is luck?"
)]
#[command(mut_arg("threads", |arg| arg.help("Threads that libtorch uses per run [default: 1]")))]
#[command(mut_arg("seed", |arg| arg.help("With --vary, the seed of everything else [default: 0]")))]
pub struct StudyArgs {
    /// Models to train, separated by commas: mlp (multilayer perceptron), mlr (multinomial logistic regression)
    #[arg(
        long = "model",
        value_delimiter = ',',
        value_parser = model(),
        hide_possible_values = true,
        default_value = "mlp,mlr"
    )]
    models: Vec<Model>,
    /// Seeds, such as 0..99 (99 included) or 1,2,5..9
    #[arg(long, default_value = "0..99")]
    seeds: Seeds,
    /// Source of randomness that the seeds vary: seed (all except the split), split, init, shuffle or dropout
    #[arg(long, default_value = "seed", value_name = "SOURCE", value_parser = vary)]
    vary: Varied,
    #[command(flatten)]
    run: RunArgs,
    /// Training batches per epoch: a number such as 20, or a fraction such as 0.5; 1 is one batch, 1.0 all [default: all]
    #[arg(long, value_name = "N|FRACTION")]
    limit_train_batches: Option<LimitTrainBatches>,
    /// Save a checkpoint of each run every EPOCHS epochs; a kill costs at most that many
    #[arg(long, value_name = "EPOCHS", default_value = "1", value_parser = |text: &str| AT_LEAST_ONE.parse(text))]
    checkpoint_every: usize,
    /// Runs to train at the same time [default: cores divided by --threads; one on a GPU]
    #[arg(long, value_parser = |text: &str| AT_LEAST_ONE.parse(text))]
    jobs: Option<usize>,
    /// Train only every Nth seed from the Ith on, counting from 0: one shard per machine or task of an array job
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Folder of the study
    #[arg(long, value_name = "DIR", default_value = "output/seeds")]
    output_dir: PathBuf,
    /// Train nothing; summarize the runs in this folder, which may also be Lightning logs: folders with a metrics.csv
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output_dir", "shard", "seeds", "vary", "models", "jobs", "checkpoint_every"])]
    collect: Option<PathBuf>,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    progress: ProgressOptions,
}

/// Parses what can be varied; runs made elsewhere are collected, not trained.
fn vary(text: &str) -> Result<Varied, &'static str> {
    let vary: Varied = text.parse()?;
    if vary == Varied::Run { Err("is only for runs made elsewhere; see --collect") } else { Ok(vary) }
}

pub fn run(args: &StudyArgs) -> Result<u8> {
    let is_shown = args.progress.apply();
    if let Some(folder) = &args.collect {
        return conclude(&StudyFolder::open(folder)?);
    }
    let mut options = args.run.over(&RunOptions::default());
    // Many runs are fastest with one thread each.
    options.threads = options.threads.or(Some(1));
    let device = set_up(options.device, options.threads)?;
    check_generator()?;
    let wider = if args.models.contains(&Model::Mlp) { Model::Mlp } else { Model::Mlr };
    let options = options.on(device, wider)?;
    let keys = keys(args);
    ensure!(
        !keys.is_empty(),
        UsageError(
            "--vary dropout leaves no model: logistic regression has no dropout; use --model mlp".into()
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
    note_on(&data_dir, &run.data)?.iter().for_each(|note| info!("{note}"));
    pool.run(&keys)?;
    if let Some(exit_code) = interrupt.exit_code() {
        let _ = folder.write_csv();
        say("interrupted; rerun the same command to train what is missing");
        return Ok(exit_code);
    }
    conclude(&folder)
}

/// Returns the runs to train: all models with one seed before the next seed, so that the models can be compared at any
/// time.
fn keys(args: &StudyArgs) -> Vec<Key> {
    let mut seen = HashSet::new();
    let has_source = |model: &Model| args.vary != Varied::Source(Source::Dropout) || model.has_dropout();
    let models = args.models.iter().copied().filter(has_source);
    let models: Vec<Model> = models.filter(|model| seen.insert(model.name())).collect();
    let Shard { index, count } = args.shard.unwrap_or(Shard { index: 0, count: 1 });
    let seeds = args.seeds.iter().skip(index).step_by(count);
    seeds.flat_map(|seed| models.iter().map(move |&model| Key { model, varied: args.vary, seed })).collect()
}

/// Writes study.csv and the pictures, and prints the summary.
fn conclude(folder: &StudyFolder) -> Result<u8> {
    let rows = folder.write_csv()?;
    let summary = Summary::new(&rows);
    for picture in pictures(folder.path(), &rows, &summary, SIZE)? {
        file::write(&folder.path().join(format!("{}.png", picture.name)), &picture.png)?;
        file::write(&folder.path().join(format!("{}.svg", picture.name)), picture.svg.as_bytes())?;
    }
    print(&summary.to_string())?;
    let csv = folder.path().join(STUDY_CSV);
    let (runs, verb) = (count(rows.len(), "run"), if rows.len() == 1 { "is" } else { "are" });
    info!("{runs} {verb} in {}", shell_path(&csv));
    let failed: Vec<&Row> = rows.iter().filter(|row| row.is_failed()).collect();
    if let Some(Row { end: End::Failed(reason), .. }) = failed.first() {
        let run = failed[0].key().map_or(folder.path().to_path_buf(), |key| folder.of(key));
        say(&format!(
            "{} of {runs} failed, the first in {}: {reason}; rerun the command to retry, or move that folder elsewhere \
             to start over",
            failed.len(),
            run.display()
        ));
        return Ok(1);
    }
    Ok(0)
}

/// The value of `--seeds`, such as `0..99` or `1,2,5..9`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(Vec<u64>);

impl Seeds {
    /// Each seed once, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule = || format!("must be seeds such as 0..99 or 1,2,5..9, at most {MAX_SEEDS}");
        let number = |text: &str| {
            let number: u64 = text.parse().ok()?;
            (number.to_string() == text).then_some(number)
        };
        let mut seeds = vec![];
        for part in text.split(',') {
            let (from, to) = part.split_once("..").unwrap_or((part, part));
            let (from, to) = number(from).zip(number(to)).ok_or_else(rule)?;
            if to < from || to - from >= MAX_SEEDS || seeds.len() as u64 + (to - from) >= MAX_SEEDS {
                return Err(rule());
            }
            seeds.extend(from..=to);
        }
        let mut seen = HashSet::new();
        seeds.retain(|seed| seen.insert(*seed));
        Ok(Self(seeds))
    }
}

/// The value of `--shard`, such as `3/10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub index: usize,
    pub count: usize,
}

impl FromStr for Shard {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |(index, count): (&str, &str)| {
            let [index, count] = [index.parse().ok()?, count.parse().ok()?];
            (index < count).then_some(Self { index, count })
        };
        text.split_once('/')
            .and_then(parse)
            .ok_or("must be an index and the number of shards, from 0/10 to 9/10")
    }
}

#[cfg(test)]
mod tests {
    use super::{Seeds, Shard};

    #[test]
    fn seeds_are_numbers_and_ranges_without_repeats() {
        let seeds = |text: &str| text.parse::<Seeds>().map(|seeds| seeds.iter().collect::<Vec<_>>());
        assert_eq!(seeds("0..3"), Ok(vec![0, 1, 2, 3]));
        assert_eq!(seeds("7,2..4,3,7"), Ok(vec![7, 2, 3, 4]));
        assert_eq!(seeds("18446744073709551615"), Ok(vec![u64::MAX]));
        for text in
            ["", "x", "4..2", "1..", "..1", "1,,2", "-1", "+1", "01", "0..1000000", "0..18446744073709551615"]
        {
            assert!(seeds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_shard_is_an_index_below_a_count() {
        assert_eq!("3/10".parse(), Ok(Shard { index: 3, count: 10 }));
        for text in ["", "3", "10/10", "0/0", "-1/2", "1/x"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
