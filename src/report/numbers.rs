//! A run's results in a row: what the tables of two or more runs show.

use super::pictures::{percent, thousands};
use super::predictions::wilson;
use super::run::Run;
use crate::chart::{Metric, epochs, last_value, test_points, valid_points};

/// The results of one run, as far as they are known.
pub struct Numbers {
    /// From 0 to 1, of the model on the test images, or else what its metrics.csv says.
    pub test_accuracy: Option<f64>,
    /// Test images that the model reads, and all; none if only metrics.csv is known.
    pub read: Option<[u64; 2]>,
    pub test_loss: Option<f64>,
    /// After the last epoch.
    pub valid_accuracy: Option<f64>,
    pub parameters: Option<i64>,
    pub epochs: Option<usize>,
    pub seconds: Option<f64>,
}

/// A quantity of several runs: its name, and each run's value.
pub struct Quantity {
    pub name: &'static str,
    pub texts: Vec<String>,
    /// The second run's value against the first's; empty unless both are known.
    pub change: String,
}

impl Numbers {
    pub fn of(run: &Run) -> Self {
        let csv = run.metrics_csv.as_deref().unwrap_or_default();
        let logged = |metric| last_value(test_points(metric, csv));
        let is_fraction = |accuracy: &f64| (0.0..=1.0).contains(accuracy);
        let outcome = run.run_json.get("outcome");
        let field = |name: &str| outcome.and_then(|outcome| outcome.get(name));
        let model = run.model.as_ref().ok();
        let read = model.map(|(_, predictions)| {
            [predictions.right(), predictions.truths.len()].map(|count| count as u64)
        });
        Self {
            test_accuracy: read
                .map(|[right, images]| right as f64 / images as f64)
                .or_else(|| logged(Metric::Accuracy).filter(is_fraction)),
            read,
            test_loss: model
                .map(|(_, predictions)| predictions.metrics.loss.into())
                .or_else(|| logged(Metric::Loss)),
            valid_accuracy: last_value(valid_points(Metric::Accuracy, csv)).filter(is_fraction),
            parameters: model.map(|(module, _)| module.model.info().num_params()),
            epochs: field("epochs")
                .and_then(|epochs| epochs.as_u64())
                .map(|epochs| epochs as usize)
                .or_else(|| epochs(csv)),
            seconds: field("duration_seconds").and_then(|seconds| seconds.as_f64()),
        }
    }
}

/// The quantities that at least one of the runs has.
pub fn quantities(runs: &[Numbers]) -> Vec<Quantity> {
    type Value = fn(&Numbers) -> Option<f64>;
    type Text = fn(&Numbers, f64) -> String;
    type Change = fn(f64, f64) -> String;
    let points: Change = |from, to| signed(format!("{:+.2} points", 100.0 * (to - from)));
    let times: Change = |from, to| if from > 0.0 { format!("× {:.2}", to / from) } else { String::new() };
    let all: [(&str, Value, Text, Change); 6] = [
        ("Test accuracy", |run| run.test_accuracy, with_interval, points),
        (
            "Test loss",
            |run| run.test_loss,
            |_, loss| format!("{loss:.4}"),
            |from, to| signed(format!("{:+.4}", to - from)),
        ),
        ("Validation accuracy", |run| run.valid_accuracy, |_, accuracy| percent(accuracy), points),
        ("Parameters", |run| Some(run.parameters? as f64), |_, count| thousands(count as usize), times),
        ("Epochs", |run| Some(run.epochs? as f64), |_, epochs| thousands(epochs as usize), times),
        ("Seconds", |run| run.seconds, |_, seconds| format!("{seconds:.1}"), times),
    ];
    let quantity = |(name, value, text, change): (_, Value, Text, Change)| {
        let values: Vec<Option<f64>> = runs.iter().map(value).collect();
        let texts = runs.iter().zip(&values);
        let texts = texts.map(|(run, value)| value.map_or("–".into(), |value| text(run, value))).collect();
        let change = match values[..] {
            [Some(from), Some(to), ..] if from != to => change(from, to),
            _ => String::new(),
        };
        values.iter().any(Option::is_some).then_some(Quantity { name, texts, change })
    };
    all.into_iter().filter_map(quantity).collect()
}

/// With a minus sign as long as the plus.
pub fn signed(number: String) -> String {
    number.replace('-', "−")
}

/// "96.56 % (96.18 to 96.90)", with the 95 % Wilson interval.
fn with_interval(run: &Numbers, accuracy: f64) -> String {
    match run.read.and_then(|[right, images]| wilson(right, images)) {
        Some([_, low, high]) => format!("{} ({:.2} to {:.2})", percent(accuracy), 100.0 * low, 100.0 * high),
        None => percent(accuracy),
    }
}
