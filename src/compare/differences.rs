//! How many values differ, which is the first and which the largest difference, and which of them a tolerance allows.

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

/// `D` is one difference: where it is, and both values.
pub struct Differences<D> {
    tolerance: Option<Tolerance>,
    /// How many differ.
    pub count: usize,
    /// How many of those by more than the tolerance allows; all where there is none.
    pub beyond: usize,
    /// The first of those.
    pub first: Option<D>,
    /// The largest of those; none if no two of the values are numbers.
    pub largest: Option<D>,
    largest_beyond: f64,
    /// The largest absolute difference, whatever the tolerance.
    pub max_abs: f64,
    /// The sum of the absolute differences.
    pub sum_abs: f64,
}

impl<D: Copy> Differences<D> {
    pub fn new(tolerance: Option<Tolerance>) -> Self {
        Self {
            tolerance,
            count: 0,
            beyond: 0,
            first: None,
            largest: None,
            largest_beyond: 0.0,
            max_abs: 0.0,
            sum_abs: 0.0,
        }
    }

    /// Takes in a difference, with how far the two values are apart if both are numbers.
    pub fn add(&mut self, gap: Option<Gap>, difference: D) {
        self.count += 1;
        let apart = gap.map(|gap| gap.apart);
        self.max_abs = self.max_abs.max(apart.unwrap_or_default());
        self.sum_abs += apart.unwrap_or_default();
        if let (Some(tolerance), Some(gap)) = (self.tolerance, gap)
            && tolerance.covers(gap)
        {
            return;
        }
        self.beyond += 1;
        self.first.get_or_insert(difference);
        if let Some(apart) = apart
            && (self.largest.is_none() || apart > self.largest_beyond)
        {
            (self.largest, self.largest_beyond) = (Some(difference), apart);
        }
    }
}
