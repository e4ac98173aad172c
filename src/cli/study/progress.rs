//! The progress of a study.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use log::info;

use islp_mnist::internals::{short, time, time_left};
use islp_mnist::run::End;
use islp_mnist::study::Row;
use islp_mnist::util::text::shown;

/// The progress of a study: a bar if stderr is a terminal, otherwise a line of the log for each run that ends.
pub struct Progress {
    bar: ProgressBar,
    start: Instant,
    count: usize,
    /// Runs that are done, here or elsewhere.
    done: usize,
    /// Runs that ended here.
    ended: usize,
}

impl Progress {
    /// Starts the progress of `count` runs, with a bar if `wanted`.
    pub fn new(wanted: bool, count: usize) -> Self {
        let bar = if wanted { ProgressBar::new(count as u64) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{wide_bar} run {pos}/{len}, {eta} left");
        bar.set_style(style.expect("the template is well-formed"));
        bar.enable_steady_tick(Duration::from_secs(1));
        Self { bar, start: Instant::now(), count, done: 0, ended: 0 }
    }

    /// Counts a run that another process has done, which gives no information on the time left.
    pub fn skip(&mut self) {
        self.done += 1;
        self.bar.inc(1);
        self.bar.reset_eta();
    }

    /// Counts a run that has ended here.
    pub fn end(&mut self, row: &Row) {
        self.done += 1;
        self.ended += 1;
        self.bar.inc(1);
        if self.bar.is_hidden() {
            let Self { done, count, .. } = self;
            let left = time(time_left(self.start.elapsed(), self.ended, *count - *done));
            let Row { model, varied, seed, .. } = row;
            info!("run {done}/{count}, {model} {varied}={seed}: {}, {left} left", results(row));
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn results(row: &Row) -> String {
    let accuracy = |name: &str, value: Option<f64>| {
        format!("{name} {}", value.map_or("none".into(), |value| short(value as f32)))
    };
    match &row.end {
        End::MaxEpochs => {
            let valid = accuracy("valid_accuracy", row.valid_accuracy);
            format!("{valid}, {}", accuracy("test_accuracy", row.test_accuracy))
        }
        End::Failed(reason) => format!("failed: {}", shown(reason)),
        end => end.to_string(),
    }
}
