//! What a generator draws from: one stream, or two of which one source of randomness takes the second.

use fearless_simd::{Level, Simd, dispatch};

use super::Source;
use crate::torch::libtorch::cpu_capability;
use crate::torch::mt19937::Mt19937;

#[derive(Clone, Debug)]
pub struct Streams {
    pub main: Mt19937,
    /// A second one that goes along, of which this source takes its draws.
    pub varied: Option<(Source, Mt19937)>,
    pub split_seed: u64,
}

impl Streams {
    /// What `f` draws for this source. Both streams advance.
    pub fn draw<T>(&mut self, source: Source, f: impl Fn(&mut Mt19937) -> T) -> T {
        let drawn = f(&mut self.main);
        match &mut self.varied {
            None => drawn,
            Some((varied, stream)) => {
                let other = f(stream);
                if *varied == source { other } else { drawn }
            }
        }
    }
}

/// From `from` to `to`.
pub fn uniform(stream: &mut Mt19937, n: usize, from: f32, to: f32) -> Vec<f32> {
    let fused = aten_fuses_multiply_add();
    let mut draw = || {
        let u = (stream.next_u32() & ((1 << 24) - 1)) as f32 * (1.0 / (1 << 24) as f32);
        if fused { u.mul_add(to - from, from) } else { u * (to - from) + from }
    };
    (0..n).map(|_| draw()).collect()
}

/// `one` with probability `p`, otherwise 0.
pub fn bernoulli(stream: &mut Mt19937, n: usize, p: f64, one: f32) -> Vec<f32> {
    dispatch!(Level::new(), simd => vectorized(simd, stream, n, p, one))
}

/// Compiled for each of the vector instruction sets that a processor may have: AVX2 takes two thirds of the time that
/// SSE2 takes, AVX-512 half.
#[inline(always)]
fn vectorized<S: Simd>(_: S, stream: &mut Mt19937, n: usize, p: f64, one: f32) -> Vec<f32> {
    const BLOCK: usize = 512;
    // u·2^-53 < p for whole numbers u, which are compared by their halves: 64-bit comparisons don't vectorise.
    let bound = (p * (1u64 << 53) as f64).ceil() as u64;
    let (bound_high, bound_low) = ((bound >> 32) as u32, bound as u32);
    let mut values = Vec::with_capacity(n);
    let mut numbers = [0; 2 * BLOCK];
    while values.len() < n {
        let numbers = &mut numbers[..2 * BLOCK.min(n - values.len())];
        stream.fill(numbers);
        values.extend(numbers.as_chunks().0.iter().map(|&[high, low]| {
            let high = high & ((1 << 21) - 1);
            // A product, where a choice would not vectorise.
            f32::from((high < bound_high) | ((high == bound_high) & (low < bound_low))) * one
        }));
    }
    values
}

/// Whether the `uniform_` kernel that ATen takes has the compiler's fused multiply-add. Of its builds for x86-64 all
/// but DEFAULT have it.
fn aten_fuses_multiply_add() -> bool {
    cfg!(not(target_arch = "x86_64")) || cpu_capability() != "DEFAULT"
}
