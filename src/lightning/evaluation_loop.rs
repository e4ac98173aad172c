//! Lightning's `_EvaluationLoop`: what a module predicts for validation or test images, and what `Trainer.test` prints
//! and returns of it in the notebook, the table of test metrics and the list with the dictionary.

use tch::no_grad;
use tch::vision::dataset::Dataset;

use crate::islp;
use crate::islp::error_tracker::{ErrorTracker, Metrics};
use crate::islp::module::SimpleModule;
use crate::lightning::repr::repr;
use crate::torch::data::{DataLoader, Subset};
use crate::torch::generator::Generator;

/// What the module predicts for the loader's first batches, in evaluation mode.
///
/// # Errors
/// Data that the model does not take, or short memory.
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

/// What the module predicts for a data set's test images, so many at a time.
///
/// # Errors
/// Images and labels that don't go together, or as [`evaluate`].
pub fn evaluate_test(
    module: &SimpleModule,
    dataset: &Dataset,
    batch_size: usize,
) -> Result<ErrorTracker, islp::Error> {
    let images = Subset::whole(&dataset.test_images, &dataset.test_labels)?;
    // Nothing is shuffled, so the generator does not matter.
    let mut dataloader = DataLoader::new(&images, batch_size, &Generator::new(0));
    evaluate(module, &mut dataloader, usize::MAX)
}

/// `_EvaluationLoop._print_results` for one dataloader, for a terminal of so many columns (at least 2).
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
        // A name too long for half the terminal is cut into pieces, as Lightning does.
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

/// The list that `Trainer.test` returns, as Python prints it.
pub fn test_list(metrics: &Metrics) -> String {
    format!("[{{'test_loss': {}, 'test_accuracy': {}}}]", repr(metrics.loss), repr(metrics.accuracy))
}

/// `shutil.get_terminal_size(fallback=(120, 30)).columns`: COLUMNS, or the width of the terminal that stdout
/// is, or 120. Widths that no terminal has, on which Lightning fails, count as none.
pub fn terminal_width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
    let terminal =
        || terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    let possible = |width: &usize| (2..=100_000).contains(width);
    columns.filter(possible).or_else(terminal).filter(possible).unwrap_or(120)
}
