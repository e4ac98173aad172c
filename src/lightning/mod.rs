//! `pytorch_lightning`: the trainer, its logger, its checkpoints and what it says.

pub(crate) mod checkpoint;
pub(crate) mod csv_logger;
pub(crate) mod divergence;
pub(crate) mod epoch_metrics;
pub(crate) mod error;
pub(crate) mod evaluation_loop;
pub(crate) mod limit_train_batches;
pub(crate) mod model_checkpoint;
pub(crate) mod model_summary;
pub(crate) mod progress_bar;
pub(crate) mod repr;
mod trace_steps;
pub(crate) mod trainer;

pub use checkpoint::{Checkpoint, TrainerState};
pub use csv_logger::CsvLogger;
pub use divergence::Divergence;
pub use error::{CheckpointError, Error};
pub use evaluation_loop::{evaluate, evaluate_test, terminal_width, test_list, test_table};
pub use limit_train_batches::LimitTrainBatches;
pub use model_checkpoint::ModelCheckpoint;
pub use trainer::{Ended, Trainer};
