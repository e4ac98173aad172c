//! `pytorch_lightning.Trainer`, an epoch at a time. Between the epochs Lightning's own loop runs, in `islp_mnist/trainer.py`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use islp_mnist::lightning::{self, Callback, CsvLogger, LimitTrainBatches};
use pyo3::prelude::*;

use crate::data::SimpleDataModule;
use crate::generator::Generator;
use crate::module::SimpleModule;
use crate::{lock, training_error};

/// Between two looks at Python's signals.
const INTERVAL: Duration = Duration::from_millis(50);

/// Metrics by name.
type Metrics = BTreeMap<&'static str, f64>;
/// Rows of metrics.csv: values by column.
type Rows = Vec<BTreeMap<String, String>>;

#[pyclass(frozen, module = "islp_mnist")]
pub struct Trainer(Mutex<lightning::Trainer>);

#[pymethods]
impl Trainer {
    /// A trainer that has finished `current_epoch` epochs in `global_step` steps.
    #[new]
    #[pyo3(signature = (generator, *, current_epoch, global_step, train_batches, log_every_n_steps))]
    fn new(
        generator: &Generator,
        current_epoch: usize,
        global_step: usize,
        train_batches: usize,
        log_every_n_steps: usize,
    ) -> Self {
        let mut trainer = lightning::Trainer::new(current_epoch, CsvLogger::in_memory(), &generator.0);
        trainer.current_epoch = current_epoch;
        trainer.global_step = global_step;
        trainer.limit_train_batches = LimitTrainBatches::Number(train_batches);
        trainer.log_every_n_steps = log_every_n_steps;
        Self(Mutex::new(trainer))
    }

    /// The steps taken so far.
    #[getter]
    fn global_step(&self) -> usize {
        lock(&self.0).global_step
    }

    /// The rows of metrics.csv so far, without the first ones.
    fn rows(&self, without: usize) -> Rows {
        lock(&self.0).logger.rows().get(without..).unwrap_or_default().to_vec()
    }

    /// Trains and validates one more epoch, in the order of this seed: the last value of every metric. Calls `on_step` with
    /// the number of steps so far, a few times a second. What it raises ends the epoch, and so does a signal.
    fn fit_epoch(
        &self,
        py: Python,
        module: &SimpleModule,
        data: &SimpleDataModule,
        sampler_seed: u64,
        on_step: PyObject,
    ) -> PyResult<Metrics> {
        let raised = Arc::default();
        let fit = py.allow_threads(|| {
            let trainer = &mut *lock(&self.0);
            let should_stop = trainer.should_stop.clone();
            should_stop.store(false, Ordering::Relaxed);
            let last = Instant::now();
            trainer.callback =
                Some(Box::new(Watch { on_step, last, should_stop, raised: Arc::clone(&raised) }));
            trainer.max_epochs = trainer.current_epoch + 1;
            trainer.start_epoch(sampler_seed);
            trainer.fit(&mut lock(&module.0), &lock(&data.0))?;
            Ok(trainer.callback_metrics.iter().map(|(&name, &value)| (name, value.into())).collect())
        });
        if let Some(error) = lock(&raised).take() {
            return Err(error);
        }
        fit.map_err(training_error)
    }
}

/// Passes Python's signals on to the training, and its progress to Python.
#[derive(Debug)]
struct Watch {
    on_step: PyObject,
    last: Instant,
    should_stop: Arc<AtomicBool>,
    raised: Arc<Mutex<Option<PyErr>>>,
}

impl Callback for Watch {
    fn on_train_batch_end(&mut self, global_step: usize) {
        if self.last.elapsed() < INTERVAL {
            return;
        }
        self.last = Instant::now();
        let answer = Python::with_gil(|py| {
            py.check_signals()?;
            self.on_step.call1(py, (global_step,))
        });
        if let Err(error) = answer {
            *lock(&self.raised) = Some(error);
            self.should_stop.store(true, Ordering::Relaxed);
        }
    }
}
