//! `ISLP.torch`: the data module, the module and the error tracker of the lab.

pub(crate) mod data_module;
mod error;
pub(crate) mod error_tracker;
pub(crate) mod module;

pub use data_module::SimpleDataModule;
pub use error::Error;
pub use error_tracker::{ErrorTracker, Metrics};
pub use module::SimpleModule;
