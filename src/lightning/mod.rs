//! `pytorch_lightning`: the trainer, its logger, its checkpoints and what it says.

pub mod checkpoint;
pub mod csv_logger;
pub mod divergence;
pub mod epoch_metrics;
pub mod error;
pub mod evaluation_loop;
pub mod limit_train_batches;
pub mod model_checkpoint;
pub mod model_summary;
pub mod progress_bar;
pub mod repr;
pub mod trainer;

pub use checkpoint::{Checkpoint, TrainerState};
pub use csv_logger::CsvLogger;
pub use divergence::Divergence;
pub use error::{CheckpointError, Error};
pub use evaluation_loop::evaluate;
pub use limit_train_batches::LimitTrainBatches;
pub use model_checkpoint::ModelCheckpoint;
pub use trainer::{Ended, Trainer};
