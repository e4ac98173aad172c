//! The one source of randomness that draws with another seed.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::torch::Source;

/// One source of randomness that draws with a seed of its own; as text `init=7`.
///
/// ```
/// use islp_mnist::{run::Vary, torch::Source};
///
/// assert_eq!("init=7".parse(), Ok(Vary { source: Source::Init, seed: 7 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Vary {
    /// What it decides.
    pub source: Source,
    /// Its seed.
    pub seed: u64,
}

impl FromStr for Vary {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |(source, seed): (&str, &str)| {
            Some(Self { source: source.parse().ok()?, seed: seed.parse().ok()? })
        };
        // Rust reads +1 and 01 as numbers too.
        let vary = text.split_once('=').and_then(parse).filter(|vary| vary.to_string() == text);
        vary.ok_or("must be split, init, shuffle or dropout with a seed, such as init=7".into())
    }
}

impl Display for Vary {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{}={}", self.source, self.seed)
    }
}

impl TryFrom<String> for Vary {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Vary> for String {
    fn from(vary: Vary) -> Self {
        vary.to_string()
    }
}
