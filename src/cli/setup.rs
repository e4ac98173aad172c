//! What most commands start with: data folder, device and threads.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use tch::Device;

use super::hints;
use super::output::say;
use islp_mnist::run::{self, DeviceOption};
use islp_mnist::torch::{Generator, libtorch};

/// The folder of the data.
#[derive(Args, Debug)]
pub struct DataDir {
    /// Folder with MNIST's four files, with or without .gz: in MNIST/raw/ (as torchvision lays them out), in raw/ or in
    /// the folder itself
    /// [default: data, or the folder that a resumed run used]
    #[arg(long, value_name = "DIR", env = "ISLP_MNIST_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

impl DataDir {
    /// The folder asked for, or else the run's, or `data`.
    pub fn or(&self, of_run: Option<PathBuf>) -> PathBuf {
        self.data_dir.clone().or(of_run).unwrap_or_else(|| "data".into())
    }
}

/// Settles device and threads, before anything else calls libtorch.
pub fn set_up(option: DeviceOption, threads: Option<i32>) -> Result<Device> {
    let (device, missing) = run::resolve(option)
        .map_err(|error| anyhow::Error::new(error).context(format!("--device {option}")))?;
    if let Some(missing) = missing {
        let missing = hints::explain(&missing.into());
        say(&format!("note: training on the CPU although there is an NVIDIA driver: {missing}"));
    }
    if let Some(threads) = threads {
        tch::set_num_threads(threads);
    }
    Ok(device)
}

/// Warns if libtorch draws other numbers than [`Generator`].
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
