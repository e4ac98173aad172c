//! The MNIST lab of *An Introduction to Statistical Learning with Python*, a PyTorch Lightning notebook, on libtorch.
//! **On the CPU the same seed gives the same bits as Python**: split, initialization, shuffling, dropout, every loss,
//! `metrics.csv` and the weights.
//!
//! Each package that the notebook imports is a module here, under the same name:
//!
//! | Python | here |
//! |---|---|
//! | `torch.Generator`, `torch.nn`, `torch.optim`, `torch.utils.data` | [`torch`] |
//! | `torchvision.datasets.MNIST` | [`torchvision`] |
//! | `torchinfo.summary` | [`torchinfo`] |
//! | `ISLP.torch` | [`islp`] |
//! | `pytorch_lightning` | [`lightning`] |
//! | `matplotlib` | [`chart`] |
//! | the notebook itself | [`notebook`] |
//!
//! Other modules have no Python counterpart: [`trace`] records every step of a training, [`compare`] compares two runs or
//! two traces, [`study`] evaluates trainings with many seeds, [`report`] makes pages of runs, [`digit`] turns a picture into
//! an image like MNIST's, [`jupyter`] is for notebooks in Rust, and [`run`] reads and writes a run's options and results.
//!
//! A training run like the notebook's, on 200 images from the tests:
//!
//! ```
//! use islp_mnist::islp::{SimpleDataModule, SimpleModule};
//! use islp_mnist::lightning::{CsvLogger, Trainer};
//! use islp_mnist::notebook::models::mnist_model;
//! use islp_mnist::torch::Generator;
//! use islp_mnist::torchvision;
//! use tch::{Device, nn::VarStore};
//!
//! let generator = Generator::new(0); // everything random comes from it
//! let mnist = torchvision::load("tests/data/fashion-mnist", Device::Cpu)?;
//! let data = SimpleDataModule::new(&mnist, 0.2, 4, 16, &generator)?;
//!
//! let vs = VarStore::new(Device::Cpu);
//! let model = mnist_model(&vs.root(), &generator)?;
//! let mut module = SimpleModule::classification(Box::new(model), vs, 0.01)?;
//!
//! let logs = tempfile::tempdir()?;
//! let mut trainer = Trainer::new(2, CsvLogger::new(logs.path(), "MNIST")?, &generator);
//! trainer.fit(&mut module, &data)?;
//! println!("{:?}", trainer.test(&module, &data)?);
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! A function that can fail returns its module's error, an enum that carries the facts. The library prints nothing except the
//! progress bar, if that is enabled. Lightning's lines before and after a training, and a line per epoch if there is no
//! bar, go to the [`log`] crate.
//!
//! `docs/library.md` describes how another project finds libtorch.
#![warn(missing_docs)]
// Without pages, parts of a comparison and a study are unused.
#![cfg_attr(not(feature = "report"), allow(dead_code, unused_imports))]

pub mod chart;
pub mod compare;
#[cfg(feature = "digit")]
pub mod digit;
pub mod islp;
#[cfg(feature = "jupyter")]
pub mod jupyter;
pub mod lightning;
pub mod notebook;
#[cfg(feature = "report")]
pub mod report;
pub mod run;
pub mod study;
pub mod torch;
pub mod torchinfo;
pub mod torchvision;
pub mod trace;
#[doc(hidden)]
pub mod util;

pub use util::file::Error as FileError;

/// For this package's program, tests, fuzz targets and benchmarks; may change without notice.
#[doc(hidden)]
pub mod internals {
    pub use crate::compare::compare_contents;
    pub use crate::lightning::epoch::EpochMetrics;
    pub use crate::lightning::metrics::{repr, short};
    pub use crate::lightning::progress_bar::{time, time_left};
    pub use crate::notebook::{tensor_of_digits, torch_size};
    pub use crate::torch::error::panic_message;
    pub use crate::torchvision::dimensions;
}
