//! CUDA's default generator (`ATen/cuda/CUDAGeneratorImpl.cpp`) and the dropout that draws from it
//! (`ATen/native/cuda/Dropout.cu`).
//!
//! Its state is a seed and an offset, and a draw is [Philox](super::philox) of both. On a GPU dropout is libtorch's own
//! kernel, which is what Python runs; tch can seed libtorch's generator, but neither read nor set it, so the offset is
//! counted here. On the CPU the same mask is drawn without a GPU.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fearless_simd::{Level, Simd, dispatch};
use tch::{Cuda, Device, Kind, Tensor};

use super::philox::philox4x32_10;
use crate::torch::Error;

/// What a thread draws at a time, and how many threads a block has.
const UNROLL: u64 = 4;
const BLOCK_SIZE: u64 = 256;
/// Every GPU has room for so many blocks at a time, but for some of the smallest.
const LEAST_BLOCKS: u64 = 64;
/// No GPU has room for so many.
const MOST_BLOCKS: u64 = 4096;

/// A handle to CUDA's default generator. Clones share its state.
///
/// ```
/// use islp_mnist::torch::CudaGenerator;
///
/// let generator = CudaGenerator::new(0); // torch.cuda.manual_seed(0)
/// let state = generator.get_state(); // torch.cuda.get_rng_state()
/// let mask = generator.dropout_mask(65_536, 0.6)?;
/// assert!(mask.iter().all(|&value| value == 0.0 || value == 1.0 / 0.6f32));
/// assert_eq!(generator.get_offset(), 4); // torch.cuda.default_generators[0].get_offset()
/// generator.set_state(&state)?;
/// assert_eq!(generator.dropout_mask(65_536, 0.6)?, mask);
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CudaGenerator(Arc<Mutex<State>>);

#[derive(Clone, Debug)]
struct State {
    stream: Stream,
    /// How many blocks the GPU has room for at a time, once that is known.
    blocks: Option<u64>,
    /// Where libtorch's own generator is, once it has been used.
    libtorch: Option<Stream>,
}

/// A place in a stream of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    seed: u64,
    offset: u64,
}

impl CudaGenerator {
    /// `torch.cuda.manual_seed(seed)`. All bits of the seed count, in contrast to the CPU's.
    pub fn new(seed: u64) -> Self {
        let state = State { stream: Stream { seed, offset: 0 }, blocks: None, libtorch: None };
        Self(Arc::new(Mutex::new(state)))
    }

    /// `torch.cuda.get_rng_state()`: seed and offset, 16 bytes.
    pub fn get_state(&self) -> Vec<u8> {
        let Stream { seed, offset } = self.stream();
        [seed, offset].into_iter().flat_map(u64::to_le_bytes).collect()
    }

    /// `torch.cuda.set_rng_state(state)`, for a state of either side.
    ///
    /// # Errors
    /// Bytes that are no state of this generator, which then stays as it was.
    pub fn set_state(&self, state: &[u8]) -> Result<(), Error> {
        let refuse = |reason| Err(Error::GeneratorState(reason));
        let ([seed, offset], []) = state.as_chunks() else {
            return refuse(format!("{} bytes where 16 belong", state.len()));
        };
        let [seed, offset] = [seed, offset].map(|&bytes| u64::from_le_bytes(bytes));
        // As libtorch, whose offset is signed.
        if !offset.is_multiple_of(UNROLL) || offset > i64::MAX as u64 {
            return refuse(format!("its offset is {offset}"));
        }
        self.set_stream(Stream { seed, offset });
        Ok(())
    }

    /// `torch.Generator.get_offset()`: how many numbers each thread has drawn.
    pub fn get_offset(&self) -> u64 {
        self.stream().offset
    }

    pub(super) fn stream(&self) -> Stream {
        self.state().stream
    }

    pub(super) fn set_stream(&self, stream: Stream) {
        self.state().stream = stream;
    }

    // The state is valid after every single draw, so a panic elsewhere while it was locked does no harm.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What dropout on a GPU multiplies n values with: 1 / `keep` with probability `keep`, otherwise 0.
    ///
    /// # Errors
    /// How many are drawn at a time depends on the GPU. What any GPU draws alike is up to 65,536 values, a multiple of 4.
    pub fn dropout_mask(&self, n: usize, keep: f64) -> Result<Vec<f32>, Error> {
        let mut state = self.state();
        let State { stream, blocks, .. } = &mut *state;
        let n = n as u64;
        if n == 0 {
            return Ok(vec![]);
        }
        if !n.is_multiple_of(UNROLL) {
            // The kernel then gives its threads other values.
            return Err(Error::CudaMask(n));
        }
        let grid = grid(n, *blocks)?;
        let mask = dispatch!(Level::new(), simd => mask(simd, *stream, n, grid, keep as f32));
        stream.offset += increment(n, grid);
        Ok(mask)
    }

    /// `torch.nn.functional.dropout(xs, p)`, for p above 0 and below 1. On a GPU it does not wait for it, but for the
    /// first time.
    ///
    /// # Errors
    /// As [`dropout_mask`](Self::dropout_mask) on the CPU; a GPU that draws otherwise; libtorch's.
    pub fn dropout(&self, xs: &Tensor, p: f64) -> Result<Tensor, Error> {
        if !xs.device().is_cuda() {
            let mask = Tensor::f_from_slice(&self.dropout_mask(xs.numel(), 1.0 - p)?)?;
            return Ok(xs.f_mul(&mask.f_to_device(xs.device())?.f_view(&xs.size()[..])?)?);
        }
        let mut state = self.state();
        state.take_to(xs.device())?;
        let dropped = xs.f_dropout(p, true)?;
        if xs.numel() > 0 {
            let n = xs.numel() as u64;
            state.stream.offset += increment(n, grid(n, state.blocks)?);
        }
        state.libtorch = Some(state.stream);
        Ok(dropped)
    }
}

impl State {
    /// Puts libtorch's own generator where this one is.
    fn take_to(&mut self, device: Device) -> Result<(), Error> {
        if self.libtorch == Some(self.stream) {
            return Ok(());
        }
        if self.blocks.is_none() {
            self.blocks = Some(blocks(device)?);
        }
        Cuda::manual_seed_all(self.stream.seed);
        // Each of these moves it by what one thread draws.
        let few = Tensor::f_ones([UNROLL as i64], (Kind::Float, device))?;
        for _ in 0..self.stream.offset / UNROLL {
            let _ = few.f_dropout(0.5, true)?;
        }
        self.libtorch = Some(self.stream);
        Ok(())
    }
}

/// How many blocks draw at a time: as many as the values need, or the GPU has room for.
fn grid(n: u64, blocks: Option<u64>) -> Result<u64, Error> {
    let needed = n.div_ceil(BLOCK_SIZE);
    match blocks {
        Some(blocks) => Ok(needed.min(blocks)),
        None if n <= at_a_time(LEAST_BLOCKS) => Ok(needed),
        None => Err(Error::CudaMask(n)),
    }
}

/// How many values so many blocks draw at a time.
fn at_a_time(grid: u64) -> u64 {
    UNROLL * BLOCK_SIZE * grid
}

/// How many numbers each thread draws for n values, n not being 0.
fn increment(n: u64, grid: u64) -> u64 {
    UNROLL * ((n - 1) / at_a_time(grid) + 1)
}

/// Compiled for each of the vector instruction sets that a processor may have.
#[inline(always)]
fn mask<S: Simd>(_: S, Stream { seed, offset }: Stream, n: u64, grid: u64, keep: f32) -> Vec<f32> {
    let (threads, scale) = (BLOCK_SIZE * grid, 1.0 / keep);
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

/// How many blocks the GPU has room for at a time, told from what it draws for more values than that.
///
/// # Errors
/// It draws otherwise than this generator does for any number of blocks.
fn blocks(device: Device) -> Result<u64, Error> {
    const SEED: u64 = 20_231_117;
    const KEEP: f64 = 0.5;
    let n = 2 * at_a_time(MOST_BLOCKS);
    Cuda::manual_seed_all(SEED);
    let drawn = Tensor::f_ones([n as i64], (Kind::Float, device))?.f_dropout(1.0 - KEEP, true)?;
    let drawn = Vec::<f32>::try_from(drawn.f_to_device(Device::Cpu)?)?;
    blocks_of(&drawn, SEED, KEEP).ok_or(Error::CudaDraws)
}

/// With how many blocks a mask was drawn that is longer than what they draw at a time.
fn blocks_of(drawn: &[f32], seed: u64, keep: f64) -> Option<u64> {
    let draw = |offset, n, grid| dispatch!(Level::new(), simd => mask(simd, Stream { seed, offset }, n, grid, keep as f32));
    // What the first block draws the second time follows what all draw the first time.
    let second = draw(UNROLL, at_a_time(1), 1);
    let begins = |blocks: &u64| drawn[at_a_time(*blocks) as usize..].starts_with(&second);
    let blocks = (1..MOST_BLOCKS).find(begins)?;
    (draw(0, drawn.len() as u64, blocks) == drawn).then_some(blocks)
}

#[cfg(test)]
mod tests {
    use super::{CudaGenerator, MOST_BLOCKS, at_a_time, blocks_of};
    use crate::torch::Error;

    fn with_blocks(seed: u64, blocks: u64) -> CudaGenerator {
        let generator = CudaGenerator::new(seed);
        generator.state().blocks = Some(blocks);
        generator
    }

    #[test]
    fn a_gpus_room_for_blocks_is_told_from_a_mask() {
        let n = 2 * at_a_time(MOST_BLOCKS) as usize;
        for blocks in [1, 56, 160, 1056] {
            let mut mask = with_blocks(3, blocks).dropout_mask(n, 0.5).unwrap();
            assert_eq!(blocks_of(&mask, 3, 0.5), Some(blocks));
            assert_eq!(blocks_of(&mask, 4, 0.5), None, "another seed");
            mask[n - 1] = 2.0 - mask[n - 1];
            assert_eq!(blocks_of(&mask, 3, 0.5), None, "one value otherwise");
        }
    }

    #[test]
    fn beyond_what_a_gpu_has_room_for_each_thread_draws_again() {
        // As many as 56 blocks draw at a time, and as many as they draw at four times, but for 4 values.
        let (n, more) = (56 * 1024, 4 * 56 * 1024 - 4);
        let small = with_blocks(7, 56);
        let large = small.dropout_mask(more, 0.3).unwrap();
        assert_eq!(small.get_offset(), 16);
        let piecewise = with_blocks(7, 1000);
        let pieces: Vec<f32> = (0..4).flat_map(|_| piecewise.dropout_mask(n, 0.3).unwrap()).collect();
        assert_eq!(large, pieces[..more]);
    }

    #[test]
    fn a_mask_that_depends_on_the_gpu_is_refused() {
        let generator = CudaGenerator::new(0);
        for n in [1, 65_534, 65_540, usize::MAX & !3] {
            let error = generator.dropout_mask(n, 0.5).unwrap_err();
            assert!(matches!(error, Error::CudaMask(refused) if refused == n as u64), "{error}");
        }
        assert_eq!(generator.get_offset(), 0);
        assert!(generator.dropout_mask(0, 0.5).unwrap().is_empty());
        assert_eq!(generator.dropout_mask(65_536, 0.5).unwrap().len(), 65_536);
        assert_eq!(generator.get_offset(), 4);
    }
}
