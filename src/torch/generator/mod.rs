//! `torch.Generator`: the stream of random numbers that libtorch's CPU generator yields, as a value, and with it CUDA's,
//! which `torch.manual_seed` seeds alike.
//!
//! tch can seed libtorch's one global generator but neither read, save nor restore it. This type draws the
//! same numbers (MT19937, `ATen/core/MT19937RNGEngine.h`) and turns them into values as
//! `ATen/core/DistributionsHelper.h` does, so everything random in a run comes from one value handed along.
//!
//! | draw | stream use | source |
//! |---|---|---|
//! | [`random`](Generator::random) | one 64-bit number, modulo 2^63 | shuffle |
//! | [`randperm`](Generator::randperm) | one 32-bit number for each element but the last | |
//! | [`uniform`](Generator::uniform) | one 32-bit number for each value, its low 24 bits | init |
//! | [`bernoulli`](Generator::bernoulli) | one 64-bit number for each value, its low 53 bits | |
//! | [`dropout_mask`](Generator::dropout_mask) | as `bernoulli` | dropout |
//!
//! The sources are for [`vary`](Generator::vary).

mod source;
pub(crate) mod states;
mod streams;

use std::sync::{Arc, Mutex, MutexGuard};

use tch::{Device, Kind, TchError, Tensor};

use super::cuda_generator::{CudaGenerator, lock, with_libtorch_seeded};
use super::mt19937::Mt19937;
use crate::torch::Error;
pub use source::Source;
use streams::{Streams, bernoulli, uniform};

/// Which of PyTorch's generators dropout draws from. Everything else is drawn from the CPU's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DropoutGenerator {
    /// That of the device that the values lie on, as in Python; of an Apple GPU the CPU's.
    #[default]
    Device,
    /// The CPU's.
    Cpu,
    /// CUDA's. On the CPU too, which then drops what a GPU would.
    Cuda,
}

/// A handle to one stream of random numbers. As with two Python names of one `torch.Generator`, clones
/// share the stream: a draw from either advances both.
///
/// ```
/// use islp_mnist::torch::Generator;
///
/// let generator = Generator::new(0);
/// assert_eq!(generator.randperm(5), [4, 0, 1, 3, 2]); // torch.randperm(5)
/// let state = generator.get_state(); // what torch.set_rng_state takes
/// let drawn = generator.uniform(3, 0.0, 1.0);
/// generator.set_state(&state)?;
/// assert_eq!(generator.uniform(3, 0.0, 1.0), drawn);
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Generator {
    streams: Arc<Mutex<Streams>>,
    cuda: CudaGenerator,
    dropout: Arc<Mutex<DropoutGenerator>>,
}

impl Generator {
    /// `torch.manual_seed(seed)`. As in libtorch only the low 32 bits of the seed count, but all of them for CUDA's.
    pub fn new(seed: u64) -> Self {
        Self {
            streams: Arc::new(Mutex::new(Streams { main: Mt19937::new(seed), varied: None, split_seed: 0 })),
            cuda: CudaGenerator::new(seed),
            dropout: Arc::default(),
        }
    }

    /// CUDA's generator, `torch.cuda.default_generators`. This code trains on one GPU, so there is one.
    pub fn cuda(&self) -> &CudaGenerator {
        &self.cuda
    }

    /// Has dropout draw from this generator from now on, in every layer that draws from a clone of this one.
    pub fn draw_dropout_from(&self, which: DropoutGenerator) {
        *lock(&self.dropout) = which;
    }

    /// Runs `f`, in which dropout draws from the CPU's generator.
    pub(crate) fn with_dropout_from_cpu<T>(&self, f: impl FnOnce() -> T) -> T {
        let before = std::mem::replace(&mut *lock(&self.dropout), DropoutGenerator::Cpu);
        let result = f();
        self.draw_dropout_from(before);
        result
    }

    /// Whether dropout of values on this device draws from [`cuda`](Self::cuda).
    pub(crate) fn draws_dropout_from_cuda(&self, device: Device) -> bool {
        match *lock(&self.dropout) {
            DropoutGenerator::Device => device.is_cuda(),
            DropoutGenerator::Cpu => false,
            DropoutGenerator::Cuda => true,
        }
    }

    /// Has one source of randomness draw what it would draw with this seed, and all others what they draw in any case. To
    /// be called before anything is drawn.
    ///
    /// PyTorch's one stream can't do that: another draw moves all that follow. So a second stream goes along here, with
    /// the same draws of the sources at the same places; [`randperm`](Self::randperm) and [`bernoulli`](Self::bernoulli)
    /// draw from the first alone. With the generator's own seed nothing changes, but for the split, whose seed
    /// is 0 in ISLP.
    ///
    /// ```
    /// use islp_mnist::torch::{Generator, Source};
    ///
    /// let [base, other, varied] = [1, 2, 1].map(Generator::new);
    /// varied.vary(Source::Init, 2);
    /// assert_eq!(varied.uniform(3, -1.0, 1.0), other.uniform(3, -1.0, 1.0));
    /// base.uniform(3, -1.0, 1.0);
    /// assert_eq!(varied.random(), base.random());
    /// ```
    pub fn vary(&self, source: Source, seed: u64) {
        let mut streams = self.streams();
        match source {
            Source::Split => streams.split_seed = seed,
            Source::Init | Source::Shuffle | Source::Dropout => {
                streams.varied = Some((source, Mt19937::new(seed)));
            }
        }
        if source == Source::Dropout {
            // Nothing else draws from it.
            self.cuda.set_stream(CudaGenerator::new(seed).stream());
        }
    }

    /// The generator that data are split with; in ISLP `torch.Generator().manual_seed(0)`.
    pub(crate) fn of_split(&self) -> Self {
        Self::new(self.streams().split_seed)
    }

    /// `torch.Generator.get_state()`: the 5056 bytes that it, or `torch.get_rng_state()`, would give in Python.
    pub fn get_state(&self) -> Vec<u8> {
        self.streams().main.to_bytes()
    }

    /// `torch.Generator.set_state(state)`, for a state of either side.
    ///
    /// # Errors
    /// Bytes that are no state of this generator, which then stays as it was.
    pub fn set_state(&self, state: &[u8]) -> Result<(), Error> {
        self.streams().main = Mt19937::from_bytes(state)?;
        Ok(())
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        lock(&self.streams)
    }

    /// `torch.empty((), dtype=torch.int64).random_()`: 0 to 2^63 - 1.
    pub fn random(&self) -> u64 {
        self.streams().draw(Source::Shuffle, Mt19937::next_u64) & (u64::MAX >> 1)
    }

    /// `torch.randperm(n)`, for n up to 2^32 / 20; ATen draws otherwise beyond.
    pub fn randperm(&self, n: usize) -> Vec<i64> {
        let stream = &mut self.streams().main;
        let mut permutation: Vec<i64> = (0..n as i64).collect();
        for i in 0..n.saturating_sub(1) {
            let z = stream.next_u32() as usize % (n - i);
            permutation.swap(i, i + z);
        }
        permutation
    }

    /// `torch.empty(n).uniform_(from, to)`.
    pub fn uniform(&self, n: usize, from: f64, to: f64) -> Vec<f32> {
        self.streams().draw(Source::Init, |stream| uniform(stream, n, from as f32, to as f32))
    }

    /// `torch.empty(n).bernoulli_(p)`: 1 with probability `p`, otherwise 0.
    pub fn bernoulli(&self, n: usize, p: f64) -> Vec<f32> {
        bernoulli(&mut self.streams().main, n, p, 1.0)
    }

    /// `torch.empty(n).bernoulli_(keep).div_(keep)`, what `_dropout_impl` in `ATen/native/Dropout.cpp` multiplies with.
    pub fn dropout_mask(&self, n: usize, keep: f64) -> Vec<f32> {
        self.streams().draw(Source::Dropout, |stream| bernoulli(stream, n, keep, 1.0 / keep as f32))
    }

    /// Lightning's `isolate_rng`: whatever `f` draws is put back, CUDA's draws too.
    pub fn isolate<T>(&self, f: impl FnOnce() -> T) -> T {
        let (before, cuda) = (self.streams().clone(), self.cuda.stream());
        let result = f();
        *self.streams() = before;
        self.cuda.set_stream(cuda);
        result
    }

    /// Whether libtorch, on this machine, draws what this type draws. Another build of libtorch may not, and
    /// then no result equals Python's. Seeds libtorch's global generator.
    ///
    /// # Errors
    /// libtorch's, if it cannot draw.
    pub fn agrees_with_libtorch() -> Result<bool, Error> {
        // An odd seed and more values than one block of the state, so that each draw crosses its end.
        const SEED: u32 = 20_231_117;
        const N: usize = 1000;
        let empty = || Tensor::f_zeros([N as i64], (Kind::Float, Device::Cpu));
        let draw = || -> Result<_, TchError> {
            Ok((
                empty()?.f_uniform_(-0.1, 0.3)?,
                empty()?.f_bernoulli_float_(0.6)?,
                Tensor::f_randperm(N as i64, (Kind::Int64, Device::Cpu))?,
            ))
        };
        let (uniform, bernoulli, randperm) = with_libtorch_seeded(i64::from(SEED), draw)?;

        let ours = Generator::new(u64::from(SEED));
        Ok(uniform.f_equal(&Tensor::f_from_slice(&ours.uniform(N, -0.1, 0.3))?)?
            && bernoulli.f_equal(&Tensor::f_from_slice(&ours.bernoulli(N, 0.6))?)?
            && randperm.f_equal(&Tensor::f_from_slice(&ours.randperm(N))?)?)
    }
}
