//! The lab in Jupyter, in Rust: `notebooks/mnist_rust.ipynb`, on evcxr's kernel.
//!
//! evcxr shows the value of a cell's last expression with its method `evcxr_display`, which is [`EvcxrDisplay`]'s here. It
//! compiles each cell to a library that has its own copy of this crate's statics. So a logger for the `log` crate, which is
//! such a static, would hold for one cell, and [`Trainer::in_notebook`] prints without one.
//!
//! ```
//! use islp_mnist::jupyter::*;
//! use tch::{Device, Kind, Tensor};
//!
//! let generator = seed_everything(0); // Seed set to 0
//! let images = Tensor::zeros([256, 1, 28, 28], (Kind::Float, Device::Cpu));
//! assert_eq!(images.shape().to_string(), "torch.Size([256, 1, 28, 28])");
//! images.shape().evcxr_display();
//! ```

use std::fmt::{self, Display, Formatter};
use std::io::{Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use signal_hook::consts::SIGINT;
use signal_hook::flag;
use tch::{Kind, Tensor};

use crate::chart::Picture;
use crate::islp::Metrics;
use crate::lightning::{Callback, Ended, Trainer, terminal_width, test_list, test_table};
use crate::notebook::{tensor_of_digits, torch_size};
use crate::torch::Generator;
use crate::torchinfo::Summary;

/// evcxr sends a cell's output on when the cell is done, and reads stderr in another thread. Without this time, the last line
/// of a cell can be lost.
const READ_TIME: Duration = Duration::from_millis(20);

/// `seed_everything(seed)`: the generator that everything random in the notebook comes from.
pub fn seed_everything(seed: u64) -> Generator {
    say(&format!("Seed set to {seed}"));
    Generator::new(seed)
}

/// Prints to stderr, where Lightning prints.
fn say(text: &str) {
    let _ = writeln!(stderr(), "{text}");
    thread::sleep(READ_TIME);
}

impl Trainer {
    /// This trainer, in a notebook: it prints what Lightning prints, and Jupyter's interrupt ends `fit` after the current
    /// step. SIGINT then no longer ends the process, and [`Trainer::callback`] is taken.
    ///
    /// # Panics
    /// If the system does not let SIGINT be caught.
    pub fn in_notebook(mut self) -> Self {
        self.print = say;
        flag::register(SIGINT, Arc::clone(&self.should_stop)).expect("SIGINT can be caught");
        self.callback = Some(Box::new(Interrupt(Arc::clone(&self.should_stop))));
        self
    }
}

/// Forgets the interrupts from before a training.
#[derive(Debug)]
struct Interrupt(Arc<AtomicBool>);

impl Callback for Interrupt {
    fn on_fit_start(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// A tensor's shape, with PyTorch's name for it.
pub trait Shape {
    /// `tensor.shape`
    fn shape(&self) -> Size;
}

impl Shape for Tensor {
    fn shape(&self) -> Size {
        Size(self.size())
    }
}

/// `torch.Size`; displays as Python prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size(Vec<i64>);

impl Display for Size {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(&torch_size(&self.0))
    }
}

/// An HTML page in a frame of its own, so that its styles do not reach the notebook; what [`report`](crate::report) returns.
#[derive(Clone, Debug)]
pub struct Page(pub String);

/// What evcxr calls to show a value.
pub trait EvcxrDisplay {
    /// Prints the value to stdout, between evcxr's marks, as Jupyter shows the same value in Python.
    fn evcxr_display(&self);
}

/// Shows text, or base64 for a picture.
fn show(mime_type: &str, content: &str) {
    println!("EVCXR_BEGIN_CONTENT {mime_type}\n{content}\nEVCXR_END_CONTENT");
}

impl<P: Picture> EvcxrDisplay for P {
    fn evcxr_display(&self) {
        match self.to_png() {
            Ok(png) => show("image/png", &BASE64_STANDARD.encode(png)),
            Err(error) => say(&format!("error: {error}")),
        }
    }
}

impl EvcxrDisplay for Size {
    fn evcxr_display(&self) {
        show("text/plain", &self.to_string());
    }
}

impl EvcxrDisplay for Summary {
    fn evcxr_display(&self) {
        show("text/plain", &self.to_string());
    }
}

/// A list of digits, such as MNIST's labels, as in Python, any other tensor as tch prints it.
impl EvcxrDisplay for Tensor {
    fn evcxr_display(&self) {
        let digits = Vec::<i64>::try_from(self).ok().filter(|_| self.kind() == Kind::Int64);
        let digits = digits.filter(|values| values.iter().all(|value| (0..10).contains(value)));
        show("text/plain", &digits.map_or_else(|| format!("{self}"), |values| tensor_of_digits(&values)));
    }
}

/// The table that Lightning's `test` prints, and the list that it returns.
impl EvcxrDisplay for Metrics {
    fn evcxr_display(&self) {
        println!("{}", test_table(self, terminal_width()));
        show("text/plain", &test_list(self));
    }
}

/// Nothing, like Python's None, unless the training was interrupted.
impl EvcxrDisplay for Ended {
    fn evcxr_display(&self) {
        if *self == Self::ShouldStop {
            say("interrupted; the parameters are those after the last step");
        }
    }
}

impl EvcxrDisplay for Page {
    fn evcxr_display(&self) {
        let page = self.0.replace('&', "&amp;").replace('"', "&quot;");
        show(
            "text/html",
            &format!(
                "<iframe title=\"Page of the run\" width=\"100%\" height=\"600\" srcdoc=\"{page}\"></iframe>"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lightning::CsvLogger;

    #[test]
    fn a_trainer_in_a_notebook_stops_at_an_interrupt_and_forgets_one_from_before() {
        let mut trainer = Trainer::new(1, CsvLogger::in_memory(), &Generator::new(0)).in_notebook();
        signal_hook::low_level::raise(SIGINT).unwrap();
        assert!(trainer.should_stop.load(Ordering::Relaxed));
        trainer.callback.as_mut().unwrap().on_fit_start();
        assert!(!trainer.should_stop.load(Ordering::Relaxed));
    }
}
