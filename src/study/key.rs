//! Which run of a study.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};

use super::RUNS;
use crate::notebook::models::Model;
use crate::run::as_text;
use crate::torch::Source;

/// What the seeds of a study are of.
///
/// ```
/// use islp_mnist::{study::Varied, torch::Source};
///
/// assert_eq!("seed".parse(), Ok(Varied::Seed));
/// assert_eq!("init".parse(), Ok(Varied::Source(Source::Init)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Varied {
    /// All that `seed_everything` seeds, as Python's seed does.
    Seed,
    /// One source of randomness; all others keep their draws.
    Source(Source),
}

impl Display for Varied {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::Seed => f.write_str("seed"),
            Self::Source(source) => source.fmt(f),
        }
    }
}

as_text!(Varied, "must be seed, split, init, shuffle or dropout", |_| {
    [Self::Seed].into_iter().chain(Source::ALL.map(Self::Source))
});

/// One run of a study.
///
/// ```
/// use islp_mnist::{notebook::models::Model, study::{Key, Varied}};
///
/// let key = Key { model: Model::Mlp, varied: Varied::Seed, seed: 7 };
/// assert_eq!(key.folder().to_str(), Some("runs/mlp/seed=7"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The model that is trained.
    pub model: Model,
    /// What the seed is of.
    pub varied: Varied,
    /// The seed.
    pub seed: u64,
}

impl Key {
    /// The name of its folder, such as `init=7`.
    pub fn name(&self) -> String {
        format!("{}={}", self.varied, self.seed)
    }

    /// Its folder within the study's, `runs/mlp/init=7`.
    pub fn folder(&self) -> PathBuf {
        [RUNS, self.model.name(), &self.name()].iter().collect()
    }
}

/// The newest version folder with a run.json in a run's folder.
pub fn newest_version(folder: &Path) -> Option<PathBuf> {
    let number = |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix("version_")?.parse::<u64>().ok();
    let versions = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let begun = versions.filter(|path| number(path).is_some() && path.join("run.json").exists());
    begun.max_by_key(number)
}
