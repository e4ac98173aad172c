//! The sources of randomness in a training.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// What a training draws random numbers for; the sources of variance of Bouthillier et al. 2021, "Accounting for variance
/// in machine learning benchmarks".
///
/// ```
/// use islp_mnist::torch::Source;
///
/// assert_eq!("init".parse(), Ok(Source::Init));
/// assert_eq!(Source::Dropout.to_string(), "dropout");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Which training images are held back for validation.
    Split,
    /// The parameters' first values.
    Init,
    /// In which order each epoch takes the images.
    Shuffle,
    /// Which units each step drops.
    Dropout,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Split, Self::Init, Self::Shuffle, Self::Dropout];
}

impl Display for Source {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Split => "split",
            Self::Init => "init",
            Self::Shuffle => "shuffle",
            Self::Dropout => "dropout",
        })
    }
}

impl FromStr for Source {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let source = Self::ALL.into_iter().find(|source| source.to_string() == text);
        source.ok_or("must be split, init, shuffle or dropout")
    }
}
