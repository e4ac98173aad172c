//! What tch lacks of `torch`: its random generator as a value, layers with PyTorch's initialization, RMSprop with a state
//! one can read, data sets and their loaders, tensors in files.

pub mod cuda;
mod cuda_dropout;
mod cuda_generator;
pub mod data;
mod decay;
pub(crate) mod error;
pub(crate) mod generator;
mod layer;
pub mod libtorch;
mod mt19937;
pub mod nn;
pub mod optim;
mod philox;
pub mod state_dict;

pub use cuda_generator::CudaGenerator;
pub use error::Error;
pub use generator::{DropoutGenerator, Generator, Source};
