//! Ctrl-C, SIGTERM and SIGHUP, of a terminal that is closed: the first asks a run to stop, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{fs, io};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

/// The signal that has come, if one has.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
    /// For [`Trainer::should_stop`](crate::lightning::trainer::Trainer::should_stop).
    pub should_stop: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on the first SIGINT, SIGTERM or SIGHUP is only remembered.
    ///
    /// # Errors
    /// The system's, if it lets no signal be caught.
    pub fn catch() -> io::Result<Self> {
        let interrupt = Self::default();
        let Self { signal: come, should_stop } = &interrupt;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // `nohup` has it ignored.
            if signal == SIGHUP && hangup_is_ignored() {
                continue;
            }
            // In this order, so that the first signal does not count as the second. A terminal that is closed can send
            // SIGHUP twice.
            if signal != SIGHUP {
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

/// Whether whoever started this process wants it to outlive the terminal; not where there is no `/proc`.
fn hangup_is_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (SIGHUP - 1) & 1 == 1
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
