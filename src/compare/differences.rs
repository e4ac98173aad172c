//! How many values differ, which of them first and which most, and by how much.

use super::Tolerance;
use super::element::Gap;

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
