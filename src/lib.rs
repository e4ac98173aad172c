#![doc = include_str!("../README.md")]
#![deny(unsafe_code)] // device::cuda has the one exception
#![warn(missing_docs)]

pub mod banner;
pub mod chart;
pub mod checkpoint;
pub mod commands;
pub mod compare;
pub mod csv_logger;
pub mod data;
pub mod device;
pub mod digit;
pub mod divergence;
pub mod epoch_metrics;
pub mod error_tracker;

pub mod file;
pub mod generator;
pub mod interrupt;
pub mod layers;
pub mod libtorch;
pub mod mnist;
pub mod model;
pub mod model_checkpoint;
pub mod module;
pub mod options;
pub mod progress;
pub mod python;
pub mod rmsprop;
pub mod run;
mod shown;
pub mod summary;
mod tensor_file;
pub mod test_table;
pub mod torch_error;
pub mod trainer;
pub mod weights;
