//! How far a study is: a progress bar on stderr where that is a terminal, else a line for each run.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use log::info;

use islp_mnist::internals::{short, time, time_left};
use islp_mnist::run::End;
use islp_mnist::study::Row;
use islp_mnist::util::text::shown;

/// A bar over all runs. Where none is drawn, each run that ends is a line of the log.
pub struct Progress {
    bar: ProgressBar,
    start: Instant,
    count: usize,
    /// Runs that are done, by whomever.
    done: usize,
    /// Those of them that ended here.
    ended: usize,
}

impl Progress {
    /// Of a study of so many runs.
    pub fn new(wanted: bool, count: usize) -> Self {
        let bar = if wanted { ProgressBar::new(count as u64) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{wide_bar} run {pos}/{len}, {eta} left");
        bar.set_style(style.expect("the template is well-formed"));
        bar.enable_steady_tick(Duration::from_secs(1));
        Self { bar, start: Instant::now(), count, done: 0, ended: 0 }
    }

    /// A run is done, but not by us: it says nothing of how long the others take.
    pub fn skip(&mut self) {
        self.done += 1;
        self.bar.inc(1);
        self.bar.reset_eta();
    }

    /// A run has ended.
    pub fn end(&mut self, row: &Row) {
        self.done += 1;
        self.ended += 1;
        self.bar.inc(1);
        if self.bar.is_hidden() {
            let Self { done, count, .. } = self;
            let left = time(time_left(self.start.elapsed(), self.ended, *count - *done));
            info!("run {done}/{count}, {} {}: {}, {left} left", row.model, row.key().name(), came_to(row));
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn came_to(row: &Row) -> String {
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
