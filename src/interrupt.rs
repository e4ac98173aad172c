//! Ctrl-C and SIGTERM: the first asks a run to stop, the second ends the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

/// The signal that has come, if one has.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// From now on the first SIGINT or SIGTERM is only remembered.
    ///
    /// # Errors
    /// The system's, if it lets no signal be caught.
    pub fn catch() -> io::Result<Self> {
        let interrupt = Self::default();
        let again = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order, so that the first signal does not count as the second.
            flag::register_conditional_shutdown(signal, exit_code(signal).into(), again.clone())?;
            flag::register(signal, again.clone())?;
            flag::register_usize(signal, interrupt.0.clone(), signal as usize)?;
        }
        Ok(interrupt)
    }

    /// The exit code of a process that stops because of the signal that has come.
    pub fn exit_code(&self) -> Option<u8> {
        match self.0.load(Ordering::Relaxed) as i32 {
            0 => None,
            signal => Some(exit_code(signal)),
        }
    }
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
