//! The values that dropout on a GPU draws: the kernel of `ATen/native/cuda/Dropout.cu`, cuRAND's `curand_init` and
//! `curand_uniform4`, and Philox4x32-10 below them.
//!
//! Thread t of the kernel takes the values 4t to 4t + 3, then the four that lie ahead by as many as all threads take at a
//! time, and so on. Its numbers are Philox of the seed, of t, and of the count of numbers that the generator and the thread
//! have drawn before.

use fearless_simd::{Level, Simd, dispatch};

/// Numbers that a thread draws at a time.
pub const UNROLL: u64 = 4;
/// Threads in a block.
const BLOCK_SIZE: u64 = 256;
/// More than any GPU has room for.
pub const MAX_BLOCKS: u64 = 4096;

/// A place in a stream of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    pub seed: u64,
    pub offset: u64,
}

/// Blocks that draw at a time: as many as n values need, at most those that the GPU has room for.
fn grid(n: u64, blocks: u64) -> u64 {
    n.div_ceil(BLOCK_SIZE).min(blocks)
}

/// Values that this many blocks draw at a time.
pub fn at_a_time(grid: u64) -> u64 {
    UNROLL * BLOCK_SIZE * grid
}

/// Numbers that each thread draws for n values, on a GPU with room for `blocks` blocks.
pub fn increment(n: u64, blocks: u64) -> u64 {
    if n == 0 { 0 } else { UNROLL * n.div_ceil(at_a_time(grid(n, blocks))) }
}

/// The factors by which dropout multiplies n values, a multiple of 4, on a GPU with room for `blocks` blocks.
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
            // cuRAND's uniform numbers exclude 0, not 1.
            let uniform =
                philox4x32_10([x, y, z, w], key).map(|u| u as f32 * 2f32.powi(-32) + 2f32.powi(-33));
            values.extend(uniform.map(|u| if u < keep { scale } else { 0.0 }));
        }
    }
    values
}

/// Finds the number of blocks that drew this mask of p = 0.5, which is longer than they draw at a time.
pub fn blocks_of(drawn: &[f32], seed: u64) -> Option<u64> {
    // The first block's second draw follows the first draw of all blocks.
    let second = dropout_mask(Stream { seed, offset: UNROLL }, at_a_time(1), 0.5, 1);
    let begins = |blocks: &u64| drawn[at_a_time(*blocks) as usize..].starts_with(&second);
    let blocks = (1..MAX_BLOCKS).find(begins)?;
    (dropout_mask(Stream { seed, offset: 0 }, drawn.len() as u64, 0.5, blocks) == drawn).then_some(blocks)
}

/// The four numbers of a counter and a key by Philox4x32-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2,
/// 3", and cuRAND's `curand_philox4x32_x.h`. Inlined, so that it is vectorized like its caller.
#[inline(always)]
fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    const ROUNDS: usize = 10;
    const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    for _ in 0..ROUNDS {
        let [x, y, z, w] = counter;
        let [a, b] = [(MULTIPLIERS[0], x), (MULTIPLIERS[1], z)].map(|(m, n)| u64::from(m) * u64::from(n));
        counter = [(b >> 32) as u32 ^ y ^ key[0], b as u32, (a >> 32) as u32 ^ w ^ key[1], a as u32];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::{MAX_BLOCKS, Stream, at_a_time, blocks_of, dropout_mask, increment, philox4x32_10};

    #[test]
    fn a_gpus_room_for_blocks_is_inferred_from_a_mask() {
        let n = 2 * at_a_time(MAX_BLOCKS);
        for blocks in [1, 56, 160, 1056] {
            let mut mask = dropout_mask(Stream { seed: 3, offset: 0 }, n, 0.5, blocks);
            assert_eq!(blocks_of(&mask, 3), Some(blocks));
            assert_eq!(blocks_of(&mask, 4), None, "another seed");
            let last = mask.last_mut().unwrap();
            *last = 2.0 - *last;
            assert_eq!(blocks_of(&mask, 3), None, "one value differs");
        }
    }

    #[test]
    fn beyond_what_a_gpu_has_room_for_each_thread_draws_again() {
        // As many values as 56 blocks draw at a time, and 4 fewer than they draw in four times.
        let (some, many) = (at_a_time(56), 4 * at_a_time(56) - 4);
        assert_eq!([some, some + 4, many].map(|n| increment(n, 56)), [4, 8, 16]);
        let many = dropout_mask(Stream { seed: 7, offset: 8 }, many, 0.3, 56);
        let pieces = [8, 12, 16, 20].map(|offset| dropout_mask(Stream { seed: 7, offset }, some, 0.3, 56));
        assert_eq!(many, pieces.concat()[..many.len()]);
    }

    #[test]
    fn philox_gives_the_known_answers_of_random123() {
        // The lines `philox4x32 10` of its kat_vectors.
        for (counter, key, numbers) in [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            assert_eq!(philox4x32_10(counter, key), numbers, "{counter:x?} {key:x?}");
        }
    }
}
