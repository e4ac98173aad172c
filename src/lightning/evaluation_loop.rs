//! Lightning's `_EvaluationLoop`: predictions for validation or test images, the table that `Trainer.test` prints and the
//! list that it returns.

use tch::no_grad;
use tch::vision::dataset::Dataset;

use super::metrics::repr;
use crate::islp::{self, ErrorTracker, Metrics, SimpleModule};
use crate::torch::Generator;
use crate::torch::data::{DataLoader, Subset};

/// Predicts the loader's first `limit_batches` batches, in evaluation mode.
///
/// # Errors
/// Fails if the model does not take the data, or memory is short.
pub fn evaluate(
    module: &SimpleModule,
    dataloader: &mut DataLoader,
    limit_batches: usize,
) -> Result<ErrorTracker, islp::Error> {
    no_grad(|| {
        let mut tracker = ErrorTracker::default();
        for batch in dataloader.iter()?.take(limit_batches) {
            let (images, labels) = batch?;
            tracker.update(module.forward(&images, false)?, labels);
        }
        Ok(tracker)
    })
}

/// Predicts a data set's test images, `batch_size` at a time.
///
/// # Errors
/// Fails like [`evaluate`], or if there are not as many labels as images.
pub fn evaluate_test(
    module: &SimpleModule,
    dataset: &Dataset,
    batch_size: usize,
) -> Result<ErrorTracker, islp::Error> {
    let images = Subset::whole(&dataset.test_images, &dataset.test_labels)?;
    // Nothing is shuffled, so the generator is unused.
    let mut dataloader = DataLoader::new(&images, batch_size, &Generator::new(0));
    evaluate(module, &mut dataloader, usize::MAX)
}

/// `_EvaluationLoop._print_results` for one dataloader; `terminal_width` is at least 2.
pub fn test_table(metrics: &Metrics, terminal_width: usize) -> String {
    let half = terminal_width / 2;
    let width = 25.min(half);
    let row = |metric: &str, value: &str| format!("{metric:^width$}{value:^width$}").trim_end().to_string();
    let bar = "─".repeat(terminal_width);
    let mut lines = vec![bar.clone(), row("Test metric", "DataLoader 0"), bar.clone()];
    for (metric, value) in [("test_accuracy", metrics.accuracy), ("test_loss", metrics.loss)] {
        let value = repr(value);
        if metric.len() <= half {
            lines.push(row(metric, &value));
            continue;
        }
        // Like Lightning, splits a name that is wider than half the terminal.
        let mut rest = metric;
        while rest.len() > half {
            let (piece, tail) = rest.split_at(half);
            lines.push(row(piece, &value));
            rest = tail;
        }
        lines.push(row(rest, " "));
    }
    lines.push(bar);
    lines.join("\n")
}

/// The list that `Trainer.test` returns, in Python's notation.
pub fn test_list(metrics: &Metrics) -> String {
    format!("[{{'test_loss': {}, 'test_accuracy': {}}}]", repr(metrics.loss), repr(metrics.accuracy))
}

/// `shutil.get_terminal_size(fallback=(120, 30)).columns`: COLUMNS, or the width of stdout's terminal, or 120. Impossible
/// widths, on which Lightning fails, are ignored.
pub fn terminal_width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
    let terminal =
        || terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    let possible = |width: &usize| (2..=100_000).contains(width);
    columns.filter(possible).or_else(terminal).filter(possible).unwrap_or(120)
}
