//! `pytorch_lightning`: the trainer, its logger, its checkpoints, the evaluation, and what Lightning prints.

pub(crate) mod checkpoint;
mod csv_logger;
pub(crate) mod epoch;
mod error;
mod evaluation_loop;
mod limit_train_batches;
pub(crate) mod metrics;
mod model_checkpoint;
mod model_summary;
pub(crate) mod progress_bar;
mod trainer;

pub use checkpoint::{Checkpoint, TrainerState};
pub use csv_logger::CsvLogger;
pub use epoch::{BatchProgress, ResultMetric};
pub use error::{CheckpointError, Error};
pub use evaluation_loop::{evaluate, evaluate_test, terminal_width, test_list, test_table};
pub use limit_train_batches::LimitTrainBatches;
pub use metrics::Divergence;
#[cfg(feature = "report")]
pub(crate) use metrics::repr;
pub use model_checkpoint::ModelCheckpoint;
pub use trainer::{Callback, Ended, Trainer};
