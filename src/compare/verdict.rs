//! The verdict of a comparison.

use serde::Serialize;

/// The verdict of a comparison, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Bit for bit.
    Identical,
    /// Not bit for bit, but within the tolerance that was asked for.
    Close,
    /// In one place at least.
    Different,
    /// Something could not be read.
    Incomparable,
}
