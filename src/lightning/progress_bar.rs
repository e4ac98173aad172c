//! The progress of a run: a bar on stderr if that is a terminal, otherwise a line of the log for each epoch.

use std::time::{Duration, Instant};

use indicatif::{ProgressFinish, ProgressStyle};
use log::info;

use super::metrics::short;
use crate::islp::Metrics;

/// A bar over all steps of a run. If none is drawn, each epoch logs a line.
#[derive(Debug)]
pub struct ProgressBar {
    bar: indicatif::ProgressBar,
    max_epochs: usize,
    /// The time at which `max_time` has elapsed.
    deadline: Option<Instant>,
    start: Instant,
    /// The step of the run at which it started.
    from: usize,
    steps_per_epoch: usize,
    train_loss: Option<f32>,
    valid_accuracy: Option<f32>,
}

impl ProgressBar {
    /// The bar of a run that starts at the step `from` and ends after `max_epochs` epochs or at the `deadline`.
    pub fn new(
        wanted: bool,
        from: usize,
        max_epochs: usize,
        steps_per_epoch: usize,
        deadline: Option<Instant>,
    ) -> Self {
        let steps = (max_epochs as u64).saturating_mul(steps_per_epoch as u64);
        // indicatif draws on stderr, and only if that is a terminal.
        let bar = if wanted { indicatif::ProgressBar::new(steps) } else { indicatif::ProgressBar::hidden() };
        // Clears the bar when it is dropped, which covers errors and stops.
        let bar = bar.with_finish(ProgressFinish::AndClear);
        let template = "{prefix} {wide_bar} step {pos}/{len}, {msg}{eta} left";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
        bar.set_position(from as u64);
        let start = Instant::now();
        Self {
            bar,
            max_epochs,
            deadline,
            start,
            from,
            steps_per_epoch,
            train_loss: None,
            valid_accuracy: None,
        }
    }

    /// Counts a training step.
    pub fn step(&self, epoch: usize) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_prefix(format!("epoch {}/{}", epoch + 1, self.max_epochs));
        self.bar.set_message(message(self.train_loss, self.valid_accuracy));
        self.bar.inc(1);
    }

    /// Sets the training loss to show. It is not read at every step, because that would stall a GPU.
    pub fn train_loss(&mut self, loss: f32) {
        self.train_loss = Some(loss);
    }

    /// Shows the metrics of the last of `epochs` finished epochs.
    pub fn epoch_end(&mut self, epochs: usize, train: Metrics, valid: Metrics) {
        self.valid_accuracy = Some(valid.accuracy);
        if self.bar.is_hidden() {
            let steps = |epochs: usize| epochs.saturating_mul(self.steps_per_epoch);
            let (done, left) = (steps(epochs).saturating_sub(self.from), steps(self.max_epochs - epochs));
            let left = time_left(self.start.elapsed(), done, left);
            let left = match self.deadline {
                Some(deadline) => left.min(deadline.saturating_duration_since(Instant::now())),
                None => left,
            };
            info!("epoch {epochs}/{}: {}, {} left", self.max_epochs, metrics(train, valid), time(left));
        }
    }

    /// Clears the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The time that `left` steps, or other pieces of work, take if `done` took `elapsed`.
pub fn time_left(elapsed: Duration, done: usize, left: usize) -> Duration {
    let seconds = elapsed.as_secs_f64() / done.max(1) as f64 * left as f64;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// Formats a time as `12 s`, `3 m 20 s`, `2 h 5 m` or `4 d 3 h`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} m {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} m", minutes % 60),
        (..1000, _, _) => format!("{days} d {} h", hours % 24),
        _ => "years".into(),
    }
}

/// An epoch's metrics by their names in metrics.csv.
fn metrics(train: Metrics, valid: Metrics) -> String {
    let metrics = [
        ("train_loss", train.loss),
        ("valid_loss", valid.loss),
        ("train_accuracy_epoch", train.accuracy),
        ("valid_accuracy", valid.accuracy),
    ];
    metrics.map(|(name, value)| format!("{name} {}", short(value))).join(", ")
}

/// The metrics known so far, each followed by a comma.
fn message(train_loss: Option<f32>, valid_accuracy: Option<f32>) -> String {
    let metric = |name: &str, value: Option<f32>| {
        value.map_or(String::new(), |value| format!("{name} {}, ", short(value)))
    };
    metric("loss", train_loss) + &metric("valid_accuracy", valid_accuracy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_shows_only_known_metrics_with_few_digits() {
        assert_eq!(message(None, None), "");
        assert_eq!(message(Some(0.25), None), "loss 0.2500, ");
        assert_eq!(message(Some(2e30), Some(0.1)), "loss 2.000e+30, valid_accuracy 0.1000, ");
        assert_eq!(message(Some(f32::NAN), None), "loss nan, ");
        let [train, valid] =
            [(f32::INFINITY, 0.90625), (-1e6, 1.0)].map(|(loss, accuracy)| Metrics { loss, accuracy });
        assert_eq!(
            metrics(train, valid),
            "train_loss inf, valid_loss -1.000e+06, train_accuracy_epoch 0.9062, valid_accuracy 1.0000"
        );
    }

    #[test]
    fn the_time_left_follows_from_the_finished_epochs_and_is_short() {
        let of_seconds = |seconds| time(Duration::from_secs_f64(seconds));
        for (seconds, text) in [
            (0.0, "0 s"),
            (59.4, "59 s"),
            (59.6, "1 m 0 s"),
            (200.0, "3 m 20 s"),
            (7500.0, "2 h 5 m"),
            (86400.0, "1 d 0 h"),
            (1e9, "years"),
        ] {
            assert_eq!(of_seconds(seconds), text);
        }
        assert_eq!(time(time_left(Duration::from_secs(6), 3, 10)), "20 s");
        assert_eq!(time(time_left(Duration::from_secs(6), 3, 0)), "0 s");
        assert_eq!(time(time_left(Duration::from_secs(6), 0, 1)), "6 s");
        assert_eq!(time(time_left(Duration::MAX, 1, usize::MAX)), "years");
    }
}
