//! Which values dropout on a GPU draws: the kernel of `ATen/native/cuda/Dropout.cu`, and cuRAND's `curand_init` and
//! `curand_uniform4`.
//!
//! Thread t of the kernel takes the values 4t to 4t + 3, and begins anew after as many as all threads take. Its numbers are
//! [Philox](super::philox) of the seed, of t, and of how many the generator and it have drawn before.

use fearless_simd::{Level, Simd, dispatch};

use super::philox::philox4x32_10;

/// What a thread draws at a time, and how many threads a block has.
pub const UNROLL: u64 = 4;
const BLOCK_SIZE: u64 = 256;
/// No GPU has room for so many.
pub const MAX_BLOCKS: u64 = 4096;

/// A place in a stream of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    pub seed: u64,
    pub offset: u64,
}

/// How many blocks draw at a time: as many as the values need, or the GPU has room for.
fn grid(n: u64, blocks: u64) -> u64 {
    n.div_ceil(BLOCK_SIZE).min(blocks)
}

/// How many values so many blocks draw at a time.
pub fn at_a_time(grid: u64) -> u64 {
    UNROLL * BLOCK_SIZE * grid
}

/// How many numbers each thread draws for n values, on a GPU with room for so many blocks.
pub fn increment(n: u64, blocks: u64) -> u64 {
    if n == 0 { 0 } else { UNROLL * n.div_ceil(at_a_time(grid(n, blocks))) }
}

/// What dropout of n values, a multiple of 4, multiplies them with, on a GPU with room for so many blocks.
pub fn dropout_mask(stream: Stream, n: u64, keep: f32, blocks: u64) -> Vec<f32> {
    dispatch!(Level::new(), simd => draw(simd, stream, n, keep, blocks))
}

/// Compiled for each of the vector instruction sets that a processor may have.
#[inline(always)]
fn draw<S: Simd>(_: S, Stream { seed, offset }: Stream, n: u64, keep: f32, blocks: u64) -> Vec<f32> {
    let (threads, scale) = (BLOCK_SIZE * grid(n, blocks).max(1), 1.0 / keep);
    let halves = |number: u64| [number as u32, (number >> 32) as u32];
    let key = halves(seed);
    let mut values = Vec::with_capacity(n as usize);
    for (turn, start) in (0..n / UNROLL).step_by(threads as usize).enumerate() {
        let [x, y] = halves((offset / UNROLL).wrapping_add(turn as u64));
        for thread in 0..threads.min(n / UNROLL - start) {
            let [z, w] = halves(thread);
            // cuRAND's uniform numbers leave out 0, not 1.
            let uniform =
                philox4x32_10([x, y, z, w], key).map(|u| u as f32 * 2f32.powi(-32) + 2f32.powi(-33));
            values.extend(uniform.map(|u| if u < keep { scale } else { 0.0 }));
        }
    }
    values
}

/// With how many blocks a mask of p = 0.5 was drawn that is longer than what they draw at a time.
pub fn blocks_of(drawn: &[f32], seed: u64) -> Option<u64> {
    // What the first block draws the second time follows what all draw the first time.
    let second = dropout_mask(Stream { seed, offset: UNROLL }, at_a_time(1), 0.5, 1);
    let begins = |blocks: &u64| drawn[at_a_time(*blocks) as usize..].starts_with(&second);
    let blocks = (1..MAX_BLOCKS).find(begins)?;
    (dropout_mask(Stream { seed, offset: 0 }, drawn.len() as u64, 0.5, blocks) == drawn).then_some(blocks)
}

#[cfg(test)]
mod tests {
    use super::{MAX_BLOCKS, Stream, at_a_time, blocks_of, dropout_mask, increment};

    #[test]
    fn a_gpus_room_for_blocks_is_told_from_a_mask() {
        let n = 2 * at_a_time(MAX_BLOCKS);
        for blocks in [1, 56, 160, 1056] {
            let mut mask = dropout_mask(Stream { seed: 3, offset: 0 }, n, 0.5, blocks);
            assert_eq!(blocks_of(&mask, 3), Some(blocks));
            assert_eq!(blocks_of(&mask, 4), None, "another seed");
            let last = mask.last_mut().unwrap();
            *last = 2.0 - *last;
            assert_eq!(blocks_of(&mask, 3), None, "one value otherwise");
        }
    }

    #[test]
    fn beyond_what_a_gpu_has_room_for_each_thread_draws_again() {
        // As many as 56 blocks draw at a time; and as many as they draw at four times, but for 4 values.
        let (some, many) = (at_a_time(56), 4 * at_a_time(56) - 4);
        assert_eq!([some, some + 4, many].map(|n| increment(n, 56)), [4, 8, 16]);
        let many = dropout_mask(Stream { seed: 7, offset: 8 }, many, 0.3, 56);
        let pieces = [8, 12, 16, 20].map(|offset| dropout_mask(Stream { seed: 7, offset }, some, 0.3, 56));
        assert_eq!(many, pieces.concat()[..many.len()]);
    }
}
