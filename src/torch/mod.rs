//! The parts of `torch` that tch lacks: its random generator as a value, layers with PyTorch's initialization and forward
//! hooks, optimizers with a readable state, data sets and their loaders, tensors in files.

pub mod cuda;
mod cuda_dropout;
mod cuda_generator;
pub mod data;
pub(crate) mod error;
pub(crate) mod generator;
pub mod libtorch;
mod machine;
mod mt19937;
pub mod nn;
pub mod optim;
pub mod outputs;
pub mod state_dict;

pub use cuda_generator::CudaGenerator;
pub use error::Error;
pub use generator::{DropoutGenerator, Generator, Source};
pub use machine::Machine;
