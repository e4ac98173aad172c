//! Reads traces step by step, because they may be larger than memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::format::{Error, FORMAT, Header, Quantity, Step};
use crate::torch::state_dict::names;
use crate::util::file;
use crate::util::text::{excerpt, shown};

/// Hundreds of times the length of a header.
const MAX_HEADER: u64 = 1 << 16;
/// Fifty times the length of a step of the notebook's larger model with its tensors.
const MAX_LINE: u64 = 1 << 28;
/// The prefix of gradients.
const GRADIENT: &str = "grad.";
/// The prefix of layers' outputs. No parameter of a PyTorch module begins with it, because `forward` is a method.
const OUTPUT: &str = "forward.";

/// The steps of a trace, up to the last whole one.
pub struct Reader<R> {
    path: PathBuf,
    input: R,
    line: usize,
    /// What the trace was computed with, under the names of run.json; null if it does not say.
    pub settings: Value,
    wrapper: Wrapper,
    /// True if the last line is cut off, because the run was killed while writing it.
    pub is_cut: bool,
}

impl Reader<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// Fails if it is not a trace or has another format.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::new(path, BufReader::new(file::open(path)?))
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line of a trace; errors name `path`.
    ///
    /// # Errors
    /// Fails like [`Reader::open`].
    pub fn new(path: &Path, input: R) -> Result<Self, Error> {
        let (path_buf, settings, wrapper) = (path.to_path_buf(), Value::Null, Wrapper::default());
        let mut reader = Self { path: path_buf, input, line: 0, settings, wrapper, is_cut: false };
        let not_a_trace = |reason| Error::NotATrace { path: path.to_path_buf(), reason };
        let Some(line) = reader.next_line(MAX_HEADER)? else {
            return Err(not_a_trace("its first line is incomplete".into()));
        };
        match serde_json::from_slice(&line) {
            Ok(Header { trace: 1..=FORMAT, threads, environment, .. }) => {
                if environment.is_object() {
                    reader.settings = json!({"options": {"threads": threads}, "environment": environment});
                }
                Ok(reader)
            }
            Ok(Header { trace: format, .. }) => Err(Error::Format { path: path.to_path_buf(), format }),
            Err(_) => Err(not_a_trace(format!("it begins with {}", excerpt(&line, 0)))),
        }
    }

    /// Reads the next whole step, if there is one. Its names lose the prefix of the model's wrapper.
    ///
    /// # Errors
    /// Fails if the line is not a step, or two names in it become the same.
    pub fn next_step(&mut self) -> Result<Option<Step>, Error> {
        let Some(line) = self.next_line(MAX_LINE)? else { return Ok(None) };
        let step = serde_json::from_slice(&line).map_err(|error| {
            // serde_json's line number is always 1.
            excerpt(error.to_string().split(" at line ").next().unwrap_or_default().as_bytes(), 0)
        });
        let step = step.and_then(|mut step| {
            self.wrapper.strip(&mut step)?;
            Ok(step)
        });
        step.map(Some).map_err(|reason| Error::Line { path: self.path.clone(), line: self.line, reason })
    }

    fn next_line(&mut self, max: u64) -> Result<Option<Vec<u8>>, Error> {
        let mut line = vec![];
        let mut bounded = (&mut self.input).take(max);
        bounded.read_until(b'\n', &mut line).map_err(file::Error::io("read", &self.path))?;
        self.line += 1;
        if line.pop_if(|&mut last| last == b'\n').is_some() {
            return Ok(Some(line));
        }
        if line.len() as u64 == max {
            let reason = format!("more than {max} bytes long");
            return Err(Error::Line { path: self.path.clone(), line: self.line, reason });
        }
        self.is_cut = !line.is_empty();
        Ok(None)
    }
}

/// The prefix that a wrapper puts before all parameter names of the current training, see [`names`].
#[derive(Default)]
struct Wrapper {
    fit: Option<usize>,
    prefix: String,
}

impl Wrapper {
    /// Strips the prefix from the names of a step's quantities.
    ///
    /// # Errors
    /// Fails if two names become the same; the message names both.
    fn strip(&mut self, step: &mut Step) -> Result<(), String> {
        if self.fit != Some(step.fit) && !step.is_end() {
            (self.fit, self.prefix) = (Some(step.fit), wrapper_of(step));
        }
        if self.prefix.is_empty() || self.fit != Some(step.fit) {
            return Ok(());
        }
        let mut written: BTreeMap<String, String> = BTreeMap::new();
        for quantity in step.before.iter_mut().chain(&mut step.quantities) {
            let (kind, parameter) = quantity.name.split_at(parameter(&quantity.name));
            let name = format!("{kind}{}", parameter.strip_prefix(&self.prefix).unwrap_or(parameter));
            let other = written.entry(name.clone()).or_insert_with(|| quantity.name.clone());
            if *other != quantity.name {
                let [left, right, name] = [other, &quantity.name, &name].map(|name| shown(name));
                return Err(format!("{left} and {right} both become {name} without the wrapper's prefix"));
            }
            quantity.name = name;
        }
        Ok(())
    }
}

/// The index at which the parameter's or the layer's name starts in a quantity's name.
pub fn parameter(name: &str) -> usize {
    let gradient = if name.starts_with(GRADIENT) { GRADIENT.len() } else { 0 };
    match name[gradient..].starts_with(OUTPUT) {
        true => gradient + OUTPUT.len(),
        false if gradient == 0 => names::parameter(name),
        false => gradient,
    }
}

impl Step {
    /// The parameters after the step: a quantity is a parameter if it has a gradient or an optimizer's state.
    pub fn parameters(&self) -> impl Iterator<Item = &Quantity> {
        let of_parameter = |quantity: &Quantity| {
            let start = parameter(&quantity.name);
            (start > 0).then(|| quantity.name[start..].to_owned())
        };
        let parameters: BTreeSet<String> = self.quantities.iter().filter_map(of_parameter).collect();
        self.quantities.iter().filter(move |quantity| parameters.contains(&quantity.name))
    }
}

/// The prefix of all parameter names. A quantity is a parameter if it has a gradient or an optimizer's state.
fn wrapper_of(step: &Step) -> String {
    let all: BTreeSet<&String> =
        step.before.iter().chain(&step.quantities).map(|quantity| &quantity.name).collect();
    let parameters = all.iter().filter_map(|name| {
        let start = parameter(name);
        all.get(&name[start..].to_owned()).filter(|_| start > 0).copied()
    });
    names::wrapper(parameters).to_owned()
}
