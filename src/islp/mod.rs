//! `ISLP.torch`: the data module, the module and the error tracker of the lab.

pub mod data_module;
pub mod error;
pub mod error_tracker;
pub mod module;

pub use data_module::SimpleDataModule;
pub use error::Error;
pub use error_tracker::{ErrorTracker, Metrics};
pub use module::SimpleModule;
