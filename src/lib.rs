#![doc = include_str!("../README.md")]
#![deny(unsafe_code)] // device::cuda has the one exception
#![warn(missing_docs)]

pub mod checkpoint;
pub mod commands;
pub mod compare;
pub mod csv_logger;
pub mod cuda;
pub mod data;
pub mod data_module;
pub mod device;
pub mod digit;
pub mod divergence;
pub mod epoch_metrics;
pub mod error_tracker;
pub mod figure;
pub mod file;
pub mod generator;
pub mod interrupt;
pub mod islp_error;
pub mod layers;
pub mod libtorch;
pub mod lightning_error;
pub mod limit_train_batches;
pub mod mnist;
pub mod model;
pub mod model_checkpoint;
pub mod model_summary;
pub mod module;
pub mod options;
pub mod print;
pub mod progress;
pub mod repr;
pub mod rmsprop;
pub mod run;
mod shown;
pub mod state_dict;
pub mod summary;
pub mod test_table;
pub mod torch_error;
pub mod trainer;
pub mod weights;
