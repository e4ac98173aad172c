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
//! Besides there are [`trace`], which writes down what every step of a training comes to, [`compare`], which holds two runs
//! or two traces against each other, [`report`], which makes pages of them, and [`digit`], which makes one of MNIST's images
//! of a picture.
//!
//! A training run, as the notebook has it, on the 200 images that the tests bring along:
//!
//! ```
//! use islp_mnist::islp::{SimpleDataModule, SimpleModule};
//! use islp_mnist::lightning::{CsvLogger, Trainer};
//! use islp_mnist::notebook::models::MnistModel;
//! use islp_mnist::torch::Generator;
//! use islp_mnist::torchvision;
//! use tch::{Device, nn::VarStore};
//!
//! let generator = Generator::new(0); // everything random comes from it
//! let mnist = torchvision::load("tests/data/fashion-mnist".as_ref(), Device::Cpu)?;
//! let data = SimpleDataModule::new(&mnist, 0.2, 4, 16, &generator)?;
//!
//! let vs = VarStore::new(Device::Cpu);
//! let model = MnistModel::new(&vs.root(), &generator)?;
//! let mut module = SimpleModule::classification(Box::new(model), vs, 0.01)?;
//!
//! let logs = tempfile::tempdir()?;
//! let mut trainer = Trainer::new(2, CsvLogger::new(logs.path(), "MNIST")?, &generator);
//! trainer.fit(&mut module, &data)?;
//! println!("{:?}", trainer.test(&module, &data)?);
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! Functions that can fail return the error of their module, an enum with the facts in it. Nothing is printed but the
//! progress bar, where it is asked for; what Lightning says around a run, and a line for each epoch where there is no
//! bar, goes to the [`log`] crate.
//!
//! `docs/library.md` says what a project of its own needs to find libtorch.
#![warn(missing_docs)]
// Pages read more of a comparison and of a study than their own reports do.
#![cfg_attr(not(feature = "report"), allow(dead_code, unused_imports))]

pub mod chart;
pub mod compare;
#[cfg(feature = "digit")]
pub mod digit;
pub mod islp;
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

/// For the program, the tests, the fuzz targets and the benchmarks of this package; it may change without notice.
#[doc(hidden)]
pub mod internals {
    pub use crate::compare::compare_contents;
    pub use crate::lightning::metrics::{EpochMetrics, repr, short};
    pub use crate::lightning::progress_bar::{time, time_left};
    pub use crate::notebook::{tensor_of_digits, torch_size};
    pub use crate::torch::error::panic_message;
    pub use crate::torchvision::dimensions;
}
