//! Traces from disk, step by step: they may be larger than the memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::trace::Error;
use crate::trace::format::{FORMAT, Header, Step};
use crate::trace::wrapper::Wrapper;
use crate::util::file;
use crate::util::text::excerpt;

/// Hundreds of times as much as there is to say of the file.
const MAX_HEADER: u64 = 1 << 16;
/// Fifty times as much as a step of the notebook's larger model takes with its tensors.
const MAX_LINE: u64 = 1 << 28;

/// The steps of a trace. It ends with the last whole one.
pub struct Reader<R> {
    path: PathBuf,
    input: R,
    line: usize,
    wrapper: Wrapper,
    /// Whether the last line is only a part of one, because the run was stopped while it wrote.
    pub is_cut: bool,
}

impl Reader<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// What is no trace, or one of another format.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::new(path, BufReader::new(file::open(path)?))
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line of a trace; errors name `path`.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn new(path: &Path, input: R) -> Result<Self, Error> {
        let (path_buf, wrapper) = (path.to_path_buf(), Wrapper::default());
        let mut reader = Self { path: path_buf, input, line: 0, wrapper, is_cut: false };
        let not_a_trace = |reason| Error::NotATrace { path: path.to_path_buf(), reason };
        let Some(line) = reader.next_line(MAX_HEADER)? else {
            return Err(not_a_trace("its first line is not whole".into()));
        };
        match serde_json::from_slice(&line) {
            Ok(Header { trace: FORMAT, .. }) => Ok(reader),
            Ok(Header { trace: format, .. }) => Err(Error::Format { path: path.to_path_buf(), format }),
            Err(_) => Err(not_a_trace(format!("it begins with {}", excerpt(&line, 0)))),
        }
    }

    /// The next step, if there is another whole one; the names in it without what wraps the model.
    ///
    /// # Errors
    /// A line that is no step, or two names in it that become one.
    pub fn next_step(&mut self) -> Result<Option<Step>, Error> {
        let Some(line) = self.next_line(MAX_LINE)? else { return Ok(None) };
        let step = serde_json::from_slice(&line).map_err(|error| {
            // The line number in it is always 1.
            excerpt(error.to_string().split(" at line ").next().unwrap_or_default().as_bytes(), 0)
        });
        let step = step.and_then(|mut step| {
            self.wrapper.take_off(&mut step)?;
            Ok(step)
        });
        step.map(Some).map_err(|reason| Error::Line { path: self.path.clone(), line: self.line, reason })
    }

    fn next_line(&mut self, longest: u64) -> Result<Option<Vec<u8>>, Error> {
        let mut line = vec![];
        let mut bounded = (&mut self.input).take(longest);
        bounded.read_until(b'\n', &mut line).map_err(file::Error::io("read", &self.path))?;
        self.line += 1;
        if line.pop_if(|&mut last| last == b'\n').is_some() {
            return Ok(Some(line));
        }
        if line.len() as u64 == longest {
            let reason = format!("more than {longest} bytes long");
            return Err(Error::Line { path: self.path.clone(), line: self.line, reason });
        }
        self.is_cut = !line.is_empty();
        Ok(None)
    }
}
