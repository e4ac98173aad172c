//! What a training run is: its options, what it runs on, where it starts and how it ended. `run.json` records them.

mod device;
mod ended;
mod environment;
mod error;
mod options;
mod run_json;
mod start;
mod vary;

pub use device::{DeviceOption, GeneratorOption, NoDevice, resolve};
pub use ended::End;
pub use environment::{Changed, Environment};
pub use error::Error;
pub use options::{
    AT_LEAST_ONE, AT_LEAST_ZERO, FRACTION, LEARNING_RATE, NAME, Rule, RunOptions, SEED, THREADS, TrainOptions,
};
pub use run_json::{Lock, Outcome, Run, RunJson, write_of_reproduce};
pub use start::{Earlier, Start};
pub use vary::Vary;
