//! `torch.Generator`: the stream of random numbers that libtorch's CPU generator yields, as a value, and with it CUDA's,
//! which `torch.manual_seed` seeds alike.
//!
//! tch can seed libtorch's one global generator but neither read, save nor restore it. This type draws the
//! same numbers (MT19937, `ATen/core/MT19937RNGEngine.h`) and turns them into values as
//! `ATen/core/DistributionsHelper.h` does, so everything random in a run comes from one value handed along.
//!
//! | draw | stream use |
//! |---|---|
//! | [`random`](Generator::random) | one 64-bit number, modulo 2^63 |
//! | [`randperm`](Generator::randperm) | one 32-bit number for each element but the last |
//! | [`uniform`](Generator::uniform) | one 32-bit number for each value, its low 24 bits |
//! | [`bernoulli`](Generator::bernoulli), [`dropout_mask`](Generator::dropout_mask) | one 64-bit number for each value, its low 53 bits |

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fearless_simd::{Level, Simd, dispatch};
use tch::{Device, Kind, Tensor};

use super::cuda_generator::{CudaGenerator, seed_libtorch};
use super::mt19937::Mt19937;
use crate::torch::Error;
use crate::torch::libtorch::cpu_capability;

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
    stream: Arc<Mutex<Mt19937>>,
    cuda: CudaGenerator,
    dropout: Arc<Mutex<DropoutGenerator>>,
}

impl Generator {
    /// `torch.manual_seed(seed)`. As in libtorch only the low 32 bits of the seed count, but all of them for CUDA's.
    pub fn new(seed: u64) -> Self {
        Self {
            stream: Arc::new(Mutex::new(Mt19937::new(seed))),
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

    /// `torch.Generator.get_state()`: the 5056 bytes that it, or `torch.get_rng_state()`, would give in Python.
    pub fn get_state(&self) -> Vec<u8> {
        self.stream().to_bytes()
    }

    /// `torch.Generator.set_state(state)`, for a state of either side.
    ///
    /// # Errors
    /// Bytes that are no state of this generator, which then stays as it was.
    pub fn set_state(&self, state: &[u8]) -> Result<(), Error> {
        *self.stream() = Mt19937::from_bytes(state)?;
        Ok(())
    }

    fn stream(&self) -> MutexGuard<'_, Mt19937> {
        lock(&self.stream)
    }

    /// `torch.empty((), dtype=torch.int64).random_()`: 0 to 2^63 - 1.
    pub fn random(&self) -> u64 {
        self.stream().next_u64() & (u64::MAX >> 1)
    }

    /// `torch.randperm(n)`, for n up to 2^32 / 20; ATen draws otherwise beyond.
    pub fn randperm(&self, n: usize) -> Vec<i64> {
        let mut stream = self.stream();
        let mut permutation: Vec<i64> = (0..n as i64).collect();
        for i in 0..n.saturating_sub(1) {
            let z = stream.next_u32() as usize % (n - i);
            permutation.swap(i, i + z);
        }
        permutation
    }

    /// `torch.empty(n).uniform_(from, to)`.
    pub fn uniform(&self, n: usize, from: f64, to: f64) -> Vec<f32> {
        let (from, to) = (from as f32, to as f32);
        let fused = aten_fuses_multiply_add();
        let mut stream = self.stream();
        let mut draw = || {
            let u = (stream.next_u32() & ((1 << 24) - 1)) as f32 * (1.0 / (1 << 24) as f32);
            if fused { u.mul_add(to - from, from) } else { u * (to - from) + from }
        };
        (0..n).map(|_| draw()).collect()
    }

    /// `torch.empty(n).bernoulli_(p)`: 1 with probability `p`, otherwise 0.
    pub fn bernoulli(&self, n: usize, p: f64) -> Vec<f32> {
        dispatch!(Level::new(), simd => bernoulli(simd, &mut self.stream(), n, p, 1.0))
    }

    /// `torch.empty(n).bernoulli_(keep).div_(keep)`, what `_dropout_impl` in `ATen/native/Dropout.cpp` multiplies with.
    pub fn dropout_mask(&self, n: usize, keep: f64) -> Vec<f32> {
        dispatch!(Level::new(), simd => bernoulli(simd, &mut self.stream(), n, keep, 1.0 / keep as f32))
    }

    /// Lightning's `isolate_rng`: whatever `f` draws is put back, CUDA's draws too.
    pub fn isolate<T>(&self, f: impl FnOnce() -> T) -> T {
        let (before, cuda) = (self.stream().clone(), self.cuda.stream());
        let result = f();
        *self.stream() = before;
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
        seed_libtorch(i64::from(SEED));
        let empty = || Tensor::f_zeros([N as i64], (Kind::Float, Device::Cpu));
        let uniform = empty()?.f_uniform_(-0.1, 0.3)?;
        let bernoulli = empty()?.f_bernoulli_float_(0.6)?;
        let randperm = Tensor::f_randperm(N as i64, (Kind::Int64, Device::Cpu))?;

        let ours = Generator::new(u64::from(SEED));
        Ok(uniform.f_equal(&Tensor::f_from_slice(&ours.uniform(N, -0.1, 0.3))?)?
            && bernoulli.f_equal(&Tensor::f_from_slice(&ours.bernoulli(N, 0.6))?)?
            && randperm.f_equal(&Tensor::f_from_slice(&ours.randperm(N))?)?)
    }
}

// What is locked is valid after every single draw, so a panic elsewhere in between does no harm.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `one` with probability `p`, otherwise 0. Compiled for each of the vector instruction sets that a processor may have:
/// AVX2 takes two thirds of the time that SSE2 takes, AVX-512 half.
#[inline(always)]
fn bernoulli<S: Simd>(_: S, stream: &mut Mt19937, n: usize, p: f64, one: f32) -> Vec<f32> {
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
