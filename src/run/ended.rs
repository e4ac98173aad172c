//! How a run ended.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

/// How a run ended, as `run.json` and `study.csv` spell it.
///
/// ```
/// use islp_mnist::run::End;
///
/// assert_eq!(End::try_from("failed: a full disk".to_string()), Ok(End::Failed("a full disk".into())));
/// assert_eq!(End::MaxEpochs.to_string(), "max_epochs");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum End {
    /// It trained all its epochs.
    MaxEpochs,
    /// Its time was over.
    MaxTime,
    /// A signal stopped it.
    Interrupted,
    /// Its loss became NaN or infinite.
    Diverged,
    /// It ended with this error. Only a study records that.
    Failed(String),
}

impl Display for End {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::MaxEpochs => f.write_str("max_epochs"),
            Self::MaxTime => f.write_str("max_time"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Diverged => f.write_str("diverged"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

impl From<End> for String {
    fn from(end: End) -> Self {
        end.to_string()
    }
}

impl TryFrom<String> for End {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let ends = [Self::MaxEpochs, Self::MaxTime, Self::Interrupted, Self::Diverged];
        let end = ends.into_iter().find(|end| end.to_string() == text);
        let failed = || Some(Self::Failed(text.strip_prefix("failed: ")?.into()));
        end.or_else(failed).ok_or_else(|| format!("{text}: no end of a run"))
    }
}
