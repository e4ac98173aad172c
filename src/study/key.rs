//! Which run of a study.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::RUNS;
use crate::notebook::models::Model;
use crate::torch::Source;

/// What the seeds of a study are of.
///
/// ```
/// use islp_mnist::{study::Varied, torch::Source};
///
/// assert_eq!("seed".parse(), Ok(Varied::Seed));
/// assert_eq!("init".parse(), Ok(Varied::Source(Source::Init)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
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

impl FromStr for Varied {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "seed" {
            return Ok(Self::Seed);
        }
        text.parse().map(Self::Source).map_err(|_| "must be seed, split, init, shuffle or dropout")
    }
}

impl TryFrom<String> for Varied {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Varied> for String {
    fn from(varied: Varied) -> Self {
        varied.to_string()
    }
}

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
