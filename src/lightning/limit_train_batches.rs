//! Lightning's option `limit_train_batches`.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Number;

/// `limit_train_batches`: a number of batches per epoch, or, with a decimal point, a fraction of them.
///
/// ```
/// use islp_mnist::lightning::LimitTrainBatches;
///
/// assert_eq!("20".parse::<LimitTrainBatches>()?.of(188), 20);
/// assert_eq!("0.5".parse::<LimitTrainBatches>()?.of(188), 94);
/// # Ok::<(), &'static str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Number")]
pub enum LimitTrainBatches {
    /// This number, or all batches if there are fewer.
    Number(usize),
    /// This fraction of all batches, rounded down.
    Fraction(f64),
}

/// All batches.
impl Default for LimitTrainBatches {
    fn default() -> Self {
        Self::Fraction(1.0)
    }
}

impl LimitTrainBatches {
    /// The number of batches to train on, of the `batches` in an epoch.
    pub fn of(self, batches: usize) -> usize {
        match self {
            Self::Number(number) => number.min(batches),
            Self::Fraction(fraction) => (fraction * batches as f64) as usize,
        }
    }
}

impl FromStr for LimitTrainBatches {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Python's integers are signed.
        let number = text.parse::<i64>().ok().filter(|number| *number > 0);
        let fraction = || text.parse().ok().filter(|fraction| *fraction > 0.0 && *fraction <= 1.0);
        number
            .map(|number| Self::Number(number as usize))
            .or_else(|| fraction().map(Self::Fraction))
            .ok_or("must be a whole number, 1 or more, or a fraction with a decimal point, up to 1.0")
    }
}

impl TryFrom<Number> for LimitTrainBatches {
    type Error = &'static str;

    fn try_from(number: Number) -> Result<Self, Self::Error> {
        number.to_string().parse()
    }
}

impl Display for LimitTrainBatches {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Fraction(fraction) => write!(f, "{fraction:?}"),
        }
    }
}
