#![doc = include_str!("../README.md")]
#![deny(unsafe_code)] // device::cuda has the one exception

pub mod banner;
pub mod checkpoint;
pub mod commands;
pub mod compare;
pub mod csv_logger;
pub mod data;
pub mod device;
pub mod error_tracker;
pub mod figure;
pub mod file;
pub mod generator;
pub mod libtorch;
pub mod mnist;
pub mod model;
pub mod module;
pub mod progress;
pub mod python;
pub mod rmsprop;
pub mod summary;
pub mod test_table;
pub mod trainer;
