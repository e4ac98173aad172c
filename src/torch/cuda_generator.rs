//! CUDA's default generator (`ATen/cuda/CUDAGeneratorImpl.cpp`) and the dropout that draws from it.
//!
//! Its state is a seed and an offset. On a GPU dropout is libtorch's own kernel, which is what Python runs, and libtorch's
//! own generator is kept in step with this one: tch can seed that, but neither read nor set it, so its offset is counted
//! here. On the CPU the same mask is drawn without a GPU.

use std::sync::{Arc, Mutex};

use tch::{Cuda, Device, Kind, Tensor};

use super::cuda_dropout::{MAX_BLOCKS, Stream, UNROLL, at_a_time, blocks_of, dropout_mask, increment};
use super::error::{Error, lock};

/// A handle to CUDA's default generator. Clones share its state.
///
/// On a GPU libtorch's own generator of that GPU draws, and the process has only one. So nothing else may draw from it
/// during a training, such as `Tensor::rand` on the GPU, and two trainings at a time wait for each other at every step.
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
pub struct CudaGenerator(Arc<Mutex<Stream>>);

impl CudaGenerator {
    /// The most values whose draws don't depend on the GPU, if it has room for 64 blocks at a time; only some of the
    /// smallest have less.
    pub const MAX_WITHOUT_GPU: usize = 65_536;

    /// `torch.cuda.manual_seed(seed)`. All bits of the seed count, in contrast to the CPU's.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Stream { seed, offset: 0 })))
    }

    /// `torch.cuda.get_rng_state()`: seed and offset, 16 bytes.
    pub fn get_state(&self) -> Vec<u8> {
        let Stream { seed, offset } = self.stream();
        [seed, offset].into_iter().flat_map(u64::to_le_bytes).collect()
    }

    /// `torch.cuda.set_rng_state(state)`, for a state from Python or from here.
    ///
    /// # Errors
    /// Fails if the bytes are not a state of this generator, which then stays unchanged.
    pub fn set_state(&self, state: &[u8]) -> Result<(), Error> {
        let refuse = |reason| Err(Error::GeneratorState(reason));
        let ([seed, offset], []) = state.as_chunks() else {
            return refuse(format!("{} bytes instead of 16", state.len()));
        };
        let [seed, offset] = [seed, offset].map(|&bytes| u64::from_le_bytes(bytes));
        // As in libtorch, whose offset is signed.
        if !offset.is_multiple_of(UNROLL) || offset > i64::MAX as u64 {
            return refuse(format!("its offset is {offset}"));
        }
        self.set_stream(Stream { seed, offset });
        Ok(())
    }

    /// `torch.Generator.get_offset()`: numbers that each thread has drawn.
    pub fn get_offset(&self) -> u64 {
        self.stream().offset
    }

    pub(super) fn stream(&self) -> Stream {
        *lock(&self.0)
    }

    pub(super) fn set_stream(&self, stream: Stream) {
        *lock(&self.0) = stream;
    }

    /// The factors by which dropout on a GPU multiplies n values: 1 / `keep` with probability `keep`, otherwise 0.
    ///
    /// # Errors
    /// Fails if n is above [`MAX_WITHOUT_GPU`](Self::MAX_WITHOUT_GPU), because the number drawn at a time depends on the
    /// GPU, or is not a multiple of 4.
    pub fn dropout_mask(&self, n: usize, keep: f64) -> Result<Vec<f32>, Error> {
        // With more than 4 values for a thread, or fewer for some, the kernel distributes them differently.
        if n > Self::MAX_WITHOUT_GPU || !n.is_multiple_of(UNROLL as usize) {
            return Err(Error::CudaMask(n));
        }
        let mut stream = lock(&self.0);
        let mask = dropout_mask(*stream, n as u64, keep as f32, MAX_BLOCKS);
        stream.offset += increment(n as u64, MAX_BLOCKS);
        Ok(mask)
    }

    /// True if dropout on this GPU draws the same values as without a GPU.
    ///
    /// # Errors
    /// Fails if libtorch cannot draw.
    pub fn agrees_with_libtorch(gpu: Device) -> Result<bool, Error> {
        const SEED: u64 = 20_231_117;
        let drop = |device| -> Result<Tensor, Error> {
            let generator = Self::new(SEED);
            // Few enough to be drawn at a time on any GPU.
            let ones = Tensor::f_ones([4096], (Kind::Float, device))?;
            let first = generator.dropout(&ones, 0.4)?;
            Ok(Tensor::f_cat(&[first, generator.dropout(&ones, 0.3)?], 0)?.f_to_device(Device::Cpu)?)
        };
        match drop(gpu) {
            Err(Error::CudaDraws) => Ok(false),
            dropped => Ok(dropped?.f_equal(&drop(Device::Cpu)?)?),
        }
    }

    /// `torch.nn.functional.dropout(xs, p)`, for p above 0 and below 1. On a GPU it is asynchronous, except the first time
    /// and after the state was set.
    ///
    /// # Errors
    /// On the CPU, fails like [`dropout_mask`](Self::dropout_mask); on a GPU, if it draws differently. Also if libtorch fails.
    pub fn dropout(&self, xs: &Tensor, p: f64) -> Result<Tensor, Error> {
        if !xs.device().is_cuda() {
            let mask = Tensor::f_from_slice(&self.dropout_mask(xs.numel(), 1.0 - p)?)?;
            return Ok(xs.f_mul(&mask.f_to_device(xs.device())?.f_view(&xs.size()[..])?)?);
        }
        let (mut libtorch, mut stream) = (lock(&LIBTORCH), lock(&self.0));
        libtorch.go_to(*stream, xs.device())?;
        let dropped = xs.f_dropout(p, true)?;
        stream.offset += increment(xs.numel() as u64, libtorch.blocks);
        libtorch.place = Some((xs.device(), *stream));
        Ok(dropped)
    }
}

/// The known state of libtorch's own CUDA generator, of which the process has one.
#[derive(Debug)]
struct Libtorch {
    /// Its GPU, seed and offset; none if something else may have used it.
    place: Option<(Device, Stream)>,
    /// Blocks that the GPU has room for at a time.
    blocks: u64,
}

/// The largest offset to draw up to, which takes minutes. The notebook's training reaches it after hundreds of thousands
/// of epochs.
const MAX_OFFSET: u64 = 1 << 30;

static LIBTORCH: Mutex<Libtorch> = Mutex::new(Libtorch { place: None, blocks: 0 });

/// Runs `f` after `torch.manual_seed(seed)` of libtorch's own generators; no other code here seeds them meanwhile.
pub(super) fn with_libtorch_seeded<T>(seed: i64, f: impl FnOnce() -> T) -> T {
    let mut libtorch = lock(&LIBTORCH);
    libtorch.place = None;
    tch::manual_seed(seed);
    f()
}

impl Libtorch {
    /// Moves libtorch's generator of this device to that place.
    fn go_to(&mut self, stream: Stream, device: Device) -> Result<(), Error> {
        if self.place == Some((device, stream)) {
            return Ok(());
        }
        if stream.offset > MAX_OFFSET {
            return Err(Error::CudaOffset(stream.offset));
        }
        if self.place.take().is_none_or(|(other, _)| other != device) {
            self.blocks = blocks(device)?;
        }
        Cuda::manual_seed_all(stream.seed);
        // Each of these advances it by the numbers that a thread draws at a time.
        let few = Tensor::f_ones([UNROLL as i64], (Kind::Float, device))?;
        for _ in 0..stream.offset / UNROLL {
            let _ = few.f_dropout(0.5, true)?;
        }
        self.place = Some((device, stream));
        Ok(())
    }
}

/// Blocks that the GPU has room for at a time, inferred from its draws for more values than they take.
///
/// # Errors
/// Fails if the draws match this generator's for no number of blocks.
fn blocks(device: Device) -> Result<u64, Error> {
    const SEED: u64 = 20_231_117;
    let n = 2 * at_a_time(MAX_BLOCKS) as i64;
    Cuda::manual_seed_all(SEED);
    let drawn = Tensor::f_ones([n], (Kind::Float, device))?.f_dropout(0.5, true)?;
    let drawn = Vec::<f32>::try_from(drawn.f_to_device(Device::Cpu)?)?;
    blocks_of(&drawn, SEED).ok_or(Error::CudaDraws)
}

#[cfg(test)]
mod tests {
    use super::CudaGenerator;
    use crate::torch::Error;

    #[test]
    fn a_mask_that_depends_on_the_gpu_is_refused() {
        let generator = CudaGenerator::new(0);
        for n in [1, 65_534, 65_540, usize::MAX & !3] {
            let error = generator.dropout_mask(n, 0.5).unwrap_err();
            assert!(matches!(error, Error::CudaMask(refused) if refused == n), "{error}");
        }
        assert!(generator.dropout_mask(0, 0.5).unwrap().is_empty());
        assert_eq!(generator.get_offset(), 0);
        assert_eq!(generator.dropout_mask(65_536, 0.5).unwrap().len(), 65_536);
        assert_eq!(generator.get_offset(), 4);
    }
}
