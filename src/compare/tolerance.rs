//! Differences that a port allows itself which does not promise the same bits.

use serde::Serialize;

use super::element::{Gap, apart};

/// What `torch.allclose` allows: |candidate - reference| ≤ atol + rtol · |reference|.
///
/// ```
/// use islp_mnist::compare::Tolerance;
///
/// let tolerance = Tolerance { atol: 0.0, rtol: 1e-5 };
/// assert!(tolerance.allows(100.0, 100.0005) && !tolerance.allows(100.0, 100.005));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Tolerance {
    /// The absolute part.
    pub atol: f64,
    /// The part relative to the reference.
    pub rtol: f64,
}

impl Tolerance {
    /// Whether a candidate's value is close enough to the reference's. Two NaNs are, and equal infinities.
    pub fn allows(self, reference: f64, candidate: f64) -> bool {
        self.covers(Gap { reference, apart: apart(reference, candidate) })
    }

    pub(super) fn covers(self, Gap { reference, apart }: Gap) -> bool {
        apart == 0.0 || apart.is_finite() && apart <= self.atol + self.rtol * reference.abs()
    }
}
