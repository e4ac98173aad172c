//! `torch.Generator`: the random numbers of libtorch's CPU generator as a value, together with CUDA's generator, because
//! `torch.manual_seed` seeds both alike.
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
//! The sources are those of [`vary`](Generator::vary).

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard};

use fearless_simd::{Level, Simd, dispatch};
use tch::{Device, Kind, TchError, Tensor};

use super::cuda_generator::{CudaGenerator, with_libtorch_seeded};
use super::error::{Error, lock};
use super::libtorch::cpu_capability;
use super::mt19937::Mt19937;

/// The generator that dropout draws from. Everything else is drawn from the CPU's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DropoutGenerator {
    /// The generator of the values' device, as in Python; for an Apple GPU the CPU's.
    #[default]
    Device,
    /// The CPU's.
    Cpu,
    /// CUDA's, even on the CPU, which then drops what a GPU would.
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

    /// Makes dropout draw from this generator from now on, in every layer that draws from a clone of this one.
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

    /// True if dropout of values on this device draws from [`cuda`](Self::cuda).
    pub(crate) fn draws_dropout_from_cuda(&self, device: Device) -> bool {
        match *lock(&self.dropout) {
            DropoutGenerator::Device => device.is_cuda(),
            DropoutGenerator::Cpu => false,
            DropoutGenerator::Cuda => true,
        }
    }

    /// Makes one source of randomness draw as with this seed, while the draws of the others stay the same. Call it before
    /// anything is drawn.
    ///
    /// PyTorch's single stream can't do that, because an additional draw shifts all that follow. So a second stream runs
    /// alongside, from which every source draws at the same places; [`randperm`](Self::randperm) and
    /// [`bernoulli`](Self::bernoulli) draw from the first alone. The generator's own seed changes nothing, except for the
    /// split, whose seed is 0 in ISLP.
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

    /// The generator that splits the data; in ISLP `torch.Generator().manual_seed(0)`.
    pub(crate) fn of_split(&self) -> Self {
        Self::new(self.streams().split_seed)
    }

    /// `torch.Generator.get_state()`: the 5056 bytes that it, or `torch.get_rng_state()`, would give in Python.
    pub fn get_state(&self) -> Vec<u8> {
        self.streams().main.to_bytes()
    }

    /// `torch.Generator.set_state(state)`, for a state from Python or from here.
    ///
    /// # Errors
    /// Fails if the bytes are not a state of this generator, which then stays unchanged.
    pub fn set_state(&self, state: &[u8]) -> Result<(), Error> {
        self.streams().main = Mt19937::from_bytes(state)?;
        Ok(())
    }

    /// The states of everything that a training on this device draws from, by their names in checkpoints and traces.
    pub(crate) fn states(&self, device: Device) -> Vec<(&'static str, Vec<u8>)> {
        let mut states = vec![(states::MAIN, self.get_state())];
        if self.draws_dropout_from_cuda(device) {
            states.push((states::CUDA, self.cuda.get_state()));
        }
        if let Some((_, stream)) = &self.streams().varied {
            states.push((states::VARIED, stream.to_bytes()));
        }
        states
    }

    /// Sets the state of this name.
    ///
    /// # Errors
    /// Fails if the bytes are not such a state, or this generator has no state of this name.
    pub(crate) fn set_state_of(&self, name: &str, state: &[u8]) -> Result<(), Error> {
        if name == states::CUDA {
            return self.cuda.set_state(state);
        }
        let stream = Mt19937::from_bytes(state)?;
        let streams = &mut *self.streams();
        match &mut streams.varied {
            Some((_, varied)) if name == states::VARIED => *varied = stream,
            _ if name == states::MAIN => streams.main = stream,
            _ => return Err(Error::GeneratorState(format!("this generator has no {name}"))),
        }
        Ok(())
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        lock(&self.streams)
    }

    /// `torch.empty((), dtype=torch.int64).random_()`: 0 to 2^63 - 1.
    pub fn random(&self) -> u64 {
        self.streams().draw(Source::Shuffle, Mt19937::next_u64) & (u64::MAX >> 1)
    }

    /// `torch.randperm(n)`, for n up to 2^32 / 20; beyond that ATen draws differently.
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

    /// `torch.empty(n).bernoulli_(keep).div_(keep)`, by which `_dropout_impl` in `ATen/native/Dropout.cpp` multiplies.
    pub fn dropout_mask(&self, n: usize, keep: f64) -> Vec<f32> {
        self.streams().draw(Source::Dropout, |stream| bernoulli(stream, n, keep, 1.0 / keep as f32))
    }

    /// Lightning's `isolate_rng`: undoes all draws of `f`, CUDA's too.
    pub fn isolate<T>(&self, f: impl FnOnce() -> T) -> T {
        let (before, cuda) = (self.streams().clone(), self.cuda.stream());
        let result = f();
        *self.streams() = before;
        self.cuda.set_stream(cuda);
        result
    }

    /// True if libtorch draws the same numbers as this type on this machine. Another build of libtorch may not, and then no
    /// result equals Python's. Seeds libtorch's global generator.
    ///
    /// # Errors
    /// Fails if libtorch cannot draw.
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

/// The names of the generators' states in checkpoints and traces.
pub(crate) mod states {
    /// In the format of `torch.get_rng_state()`.
    pub(crate) const MAIN: &str = "generator.state";
    /// In the format of `torch.cuda.get_rng_state()`; present if dropout draws from CUDA's generator.
    pub(super) const CUDA: &str = "generator.cuda.state";
    /// The second stream's; present if a source of randomness other than the split is varied.
    pub(super) const VARIED: &str = "generator.varied.state";
    pub(crate) const ALL: [&str; 3] = [MAIN, CUDA, VARIED];
}

/// A source of randomness in a training; the sources of variance of Bouthillier et al. 2021, "Accounting for variance in
/// machine learning benchmarks".
///
/// ```
/// use islp_mnist::torch::Source;
///
/// assert_eq!("init".parse(), Ok(Source::Init));
/// assert_eq!(Source::Dropout.to_string(), "dropout");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The choice of the training images that are held out for validation.
    Split,
    /// The parameters' initial values.
    Init,
    /// The order of the images in each epoch.
    Shuffle,
    /// The units that each step drops.
    Dropout,
}

impl Source {
    /// All sources.
    pub const ALL: [Self; 4] = [Self::Split, Self::Init, Self::Shuffle, Self::Dropout];
}

impl Display for Source {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Split => "split",
            Self::Init => "init",
            Self::Shuffle => "shuffle",
            Self::Dropout => "dropout",
        })
    }
}

impl FromStr for Source {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let source = Self::ALL.into_iter().find(|source| source.to_string() == text);
        source.ok_or("must be split, init, shuffle or dropout")
    }
}

/// The streams that a generator draws from.
#[derive(Clone, Debug)]
struct Streams {
    main: Mt19937,
    /// A second stream that runs alongside, and the source that takes its draws from it.
    varied: Option<(Source, Mt19937)>,
    split_seed: u64,
}

impl Streams {
    /// Draws with `f` for this source. Both streams advance.
    fn draw<T>(&mut self, source: Source, f: impl Fn(&mut Mt19937) -> T) -> T {
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

fn uniform(stream: &mut Mt19937, n: usize, from: f32, to: f32) -> Vec<f32> {
    let fused = aten_fuses_multiply_add();
    let mut draw = || {
        let u = (stream.next_u32() & ((1 << 24) - 1)) as f32 * (1.0 / (1 << 24) as f32);
        if fused { u.mul_add(to - from, from) } else { u * (to - from) + from }
    };
    (0..n).map(|_| draw()).collect()
}

/// True if the compiler has fused multiply and add in the `uniform_` kernel that ATen selects. On x86-64 it has in all
/// builds except DEFAULT.
fn aten_fuses_multiply_add() -> bool {
    cfg!(not(target_arch = "x86_64")) || cpu_capability() != "DEFAULT"
}

/// Draws `one` with probability `p`, otherwise 0.
fn bernoulli(stream: &mut Mt19937, n: usize, p: f64, one: f32) -> Vec<f32> {
    dispatch!(Level::new(), simd => vectorized_bernoulli(simd, stream, n, p, one))
}

/// Compiled for each of the vector instruction sets that a processor may have: AVX2 takes two thirds of the time that
/// SSE2 takes, AVX-512 half.
#[inline(always)]
fn vectorized_bernoulli<S: Simd>(_: S, stream: &mut Mt19937, n: usize, p: f64, one: f32) -> Vec<f32> {
    const BLOCK: usize = 512;
    // u·2^-53 < p for whole numbers u, compared in halves, because 64-bit comparisons don't vectorize.
    let bound = (p * (1u64 << 53) as f64).ceil() as u64;
    let (bound_high, bound_low) = ((bound >> 32) as u32, bound as u32);
    let mut values = Vec::with_capacity(n);
    let mut numbers = [0; 2 * BLOCK];
    while values.len() < n {
        let numbers = &mut numbers[..2 * BLOCK.min(n - values.len())];
        stream.fill(numbers);
        values.extend(numbers.as_chunks().0.iter().map(|&[high, low]| {
            let high = high & ((1 << 21) - 1);
            // A product, because a branch would not vectorize.
            f32::from((high < bound_high) | ((high == bound_high) & (low < bound_low))) * one
        }));
    }
    values
}
