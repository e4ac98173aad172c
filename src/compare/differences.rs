//! How many values differ, which of them first and which most.

/// `D` is one difference: where it is, and both values.
#[derive(Default)]
pub struct Differences<D> {
    pub count: usize,
    first: Option<D>,
    /// Beside by how much; none if no two of the differing values are numbers.
    largest: Option<(f64, D)>,
}

impl<D: Copy> Differences<D> {
    pub fn add(&mut self, apart: Option<f64>, difference: D) {
        self.count += 1;
        self.first.get_or_insert(difference);
        if let Some(apart) = apart
            && self.largest.is_none_or(|(largest, _)| apart > largest)
        {
            self.largest = Some((apart, difference));
        }
    }

    /// The first and the largest, as far as there are any.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, D)> {
        let largest = self.largest.map(|(_, largest)| ("largest", largest));
        self.first.map(|first| ("first", first)).into_iter().chain(largest)
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
