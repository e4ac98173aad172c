//! What tch lacks of `torch`.

pub mod cuda;
pub mod data;
pub mod error;
pub mod generator;
mod layer;
pub mod libtorch;
mod mt19937;
pub mod nn;
pub mod optim;
pub mod state_dict;

pub use error::Error;
pub use generator::Generator;
