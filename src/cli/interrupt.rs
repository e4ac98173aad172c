//! Ctrl-C, SIGTERM, SIGHUP, of a terminal that is closed, and SIGUSR1, which Slurm sends before a job's time is over: the
//! first asks a run to stop, a second Ctrl-C or SIGTERM ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{fs, io};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::flag;

/// The signal that has come, if one has.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
    /// For [`Trainer::should_stop`](islp_mnist::lightning::Trainer::should_stop).
    pub should_stop: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on the first SIGINT, SIGTERM, SIGHUP or SIGUSR1 is only remembered.
    ///
    /// # Errors
    /// The system's, if it lets no signal be caught.
    pub fn catch() -> io::Result<Self> {
        let interrupt = Self::default();
        let Self { signal: come, should_stop } = &interrupt;
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGUSR1] {
            // A terminal that is closed can send SIGHUP twice, and Slurm SIGUSR1.
            let may_come_twice = [SIGHUP, SIGUSR1].contains(&signal);
            // `nohup` has SIGHUP ignored.
            if may_come_twice && is_ignored(signal) {
                continue;
            }
            // In this order, so that the first signal does not count as the second.
            if !may_come_twice {
                flag::register_conditional_shutdown(signal, exit_code(signal).into(), should_stop.clone())?;
            }
            flag::register_usize(signal, come.clone(), signal as usize)?;
            flag::register(signal, should_stop.clone())?;
        }
        Ok(interrupt)
    }

    /// The exit code of a process that stops because of the signal that has come.
    pub fn exit_code(&self) -> Option<u8> {
        match self.signal.load(Ordering::Relaxed) as i32 {
            0 => None,
            signal => Some(exit_code(signal)),
        }
    }
}

/// Whether whoever started this process wants it to pass over a signal; not where there is no `/proc`.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

/// Makes a file-size limit an error of the write that reaches it: the signal that comes too would end the process.
///
/// # Errors
/// The system's, if it lets the signal not be caught.
pub fn survive_file_size_limit() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// As shells have it.
fn exit_code(signal: i32) -> u8 {
    128 + signal as u8
}
