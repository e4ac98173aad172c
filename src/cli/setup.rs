//! The first steps of most commands: device and threads, checks of the random numbers and the data, signals.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{fs, io};

use anyhow::Result;
use log::info;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::flag;
use tch::Device;

use super::hints;
use super::output::say;
use islp_mnist::run::{self, DeviceOption};
use islp_mnist::torch::{Generator, libtorch};
use islp_mnist::torchvision;

/// Chooses device and threads. Call this before anything else calls libtorch.
pub fn set_up(option: DeviceOption, threads: Option<i32>) -> Result<Device> {
    let (device, missing) = run::resolve(option)
        .map_err(|error| anyhow::Error::new(error).context(format!("--device {option}")))?;
    if let Some(missing) = missing {
        let missing = hints::explain(&missing.into());
        say(&format!("note: using the CPU although there is an NVIDIA driver: {missing}"));
    }
    if let Some(threads) = threads {
        tch::set_num_threads(threads);
    }
    Ok(device)
}

/// Warns if libtorch and [`Generator`] draw different numbers.
pub fn check_generator() -> Result<()> {
    if !Generator::agrees_with_libtorch()? {
        let torch = libtorch::EXPECTED_VERSION;
        say(&format!(
            "warning: this libtorch does not draw the random numbers of Python's torch {torch}; the results will differ from \
             Python's"
        ));
    }
    Ok(())
}

/// Logs a note if the data have MNIST's format, but are not MNIST.
///
/// # Errors
/// Fails if a file can't be read.
pub fn note_other_data(data_dir: &Path) -> Result<()> {
    note_on(data_dir, &torchvision::checksums(data_dir)?)?.iter().for_each(|note| info!("{note}"));
    Ok(())
}

/// Returns a note if the data with these checksums have MNIST's format, but are not MNIST.
///
/// # Errors
/// Fails if a file has disappeared.
pub fn note_on<Name: Borrow<str> + Ord>(
    data_dir: &Path,
    checksums: &BTreeMap<Name, String>,
) -> Result<Option<String>> {
    let differing = torchvision::differing(checksums);
    if differing.is_empty() {
        return Ok(None);
    }
    let what = if differing.len() == checksums.len() {
        format!("{}: the data are", torchvision::folder(data_dir).display())
    } else {
        let paths = differing.into_iter().map(|name| torchvision::find(data_dir, name));
        let paths = paths.collect::<Result<Vec<PathBuf>, _>>()?;
        paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ") + ":"
    };
    Ok(Some(format!("note: {what} in MNIST's format, but the SHA-256 is not MNIST's")))
}

/// The signal received, if any: Ctrl-C, SIGTERM, SIGHUP (from a terminal that is closed) or SIGUSR1 (from Slurm, before
/// a job's time is over). The first one asks a run to stop; a second Ctrl-C or SIGTERM ends the process.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
    /// For [`Trainer::should_stop`](islp_mnist::lightning::Trainer::should_stop).
    pub should_stop: Arc<AtomicBool>,
}

impl Interrupt {
    /// Makes the process record the first SIGINT, SIGTERM, SIGHUP or SIGUSR1 instead of ending.
    ///
    /// # Errors
    /// Fails if the system does not let a signal be caught.
    pub fn catch() -> io::Result<Self> {
        let interrupt = Self::default();
        let Self { signal: received, should_stop } = &interrupt;
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGUSR1] {
            // A closing terminal can send SIGHUP twice, and Slurm SIGUSR1.
            let may_repeat = [SIGHUP, SIGUSR1].contains(&signal);
            // The user wants it ignored, as under `nohup`.
            if may_repeat && is_ignored(signal) {
                continue;
            }
            // Comes before the flag is registered, so that the first signal does not count as the second.
            if !may_repeat {
                flag::register_conditional_shutdown(signal, exit_code(signal).into(), should_stop.clone())?;
            }
            flag::register_usize(signal, received.clone(), signal as usize)?;
            flag::register(signal, should_stop.clone())?;
        }
        Ok(interrupt)
    }

    /// The exit code of a process that stops because of the signal received.
    pub fn exit_code(&self) -> Option<u8> {
        match self.signal.load(Ordering::Relaxed) as i32 {
            0 => None,
            signal => Some(exit_code(signal)),
        }
    }
}

/// True if this process was started with the signal ignored; false where there is no `/proc`.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

/// Catches the signal of a file-size limit, which would end the process; a write beyond the limit still fails.
///
/// # Errors
/// Fails if the system does not let the signal be caught.
pub fn survive_file_size_limit() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// Returns the exit code that a shell reports for a process ended by this signal.
fn exit_code(signal: i32) -> u8 {
    128 + signal as u8
}
