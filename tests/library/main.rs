//! The library, in one process with libtorch.

mod bad_input;
mod chart;
mod checkpoints;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod cuda_generator;
mod digit;
mod errors;
mod fits;
mod fixtures;
mod golden;
mod metrics_csv;
mod optimizers;
mod trace;
mod weights;
