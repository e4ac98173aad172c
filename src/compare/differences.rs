//! How many values differ, which of them first and which most, and by how much.

use super::Tolerance;

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

    /// Takes in a difference, with the reference's and the candidate's value if both are numbers.
    pub fn add(&mut self, numbers: Option<(f64, f64)>, difference: D) {
        self.count += 1;
        let apart = numbers.map(|(reference, candidate)| apart(reference, candidate));
        self.max_abs = self.max_abs.max(apart.unwrap_or_default());
        self.sum_abs += apart.unwrap_or_default();
        if let (Some(tolerance), Some((reference, candidate))) = (self.tolerance, numbers)
            && tolerance.allows(reference, candidate)
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

/// By how much two numbers differ: infinite if only one of them is finite, or a NaN.
pub fn apart(left: f64, right: f64) -> f64 {
    if left == right || left.is_nan() && right.is_nan() {
        return 0.0;
    }
    let apart = (left - right).abs();
    if apart.is_nan() { f64::INFINITY } else { apart }
}
