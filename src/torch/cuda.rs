//! libtorch's CUDA half, loaded at run time.
//!
//! A binary linked in the usual way loses `libtorch_cuda.so`, because it uses none of its symbols
//! (`--as-needed`; [pytorch#36437](https://github.com/pytorch/pytorch/issues/36437)). If it were linked by force,
//! every run on the CPU would load a gigabyte of libraries. So it is loaded when CUDA is requested and there is a
//! driver, and runs on the CPU never load it.
//!
//! **It must come first.** libtorch looks for its CUDA half only once, when it first needs it
//! (`getCUDAHooks` in `ATen/detail/CUDAHooksInterface.cpp`). `tch::manual_seed`, and with it
//! `Generator::agrees_with_libtorch`, and `backward` make it look. So [`find`] must run before them, preferably before
//! any other use of libtorch.

use std::error::Error;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use memchr::memmem;
use tch::{Cuda, Device, Kind, TchError, Tensor};

use crate::torch::{Machine, libtorch};

/// The reason why CUDA can't be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum NoCuda {
    #[error("no NVIDIA driver ({0})")]
    Driver(String),
    #[error("CUDA_VISIBLE_DEVICES hides every GPU")]
    Hidden,
    #[error("libtorch is for the CPU only: {} contains no {LIBTORCH_CUDA}", .0.display())]
    CpuOnly(PathBuf),
    #[error("{LIBTORCH_CUDA} cannot be loaded ({0})")]
    NotLoadable(String),
    #[error("libtorch was used before {LIBTORCH_CUDA} was loaded")]
    TooLate,
    #[error("no GPU with index {index}; libtorch sees {count}")]
    Index { index: usize, count: i64 },
    #[error("libtorch has no code for GPU {index} ({gpu}), only for {architectures}")]
    NoKernels { index: usize, gpu: String, architectures: String },
    #[error("GPU {index} runs nothing ({reason})")]
    Unusable { index: usize, reason: String },
}

const DRIVER: &str = "libcuda.so.1";
const LIBTORCH_CUDA: &str = "libtorch_cuda.so";
/// cuBLAS's workspace, whose size decides which of its kernels run (`ATen/cuda/CublasHandlePool.cpp`). Lightning sets it for
/// `Trainer(deterministic=True)`, overriding the user's value.
const WORKSPACE: (&str, &str) = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8");

/// Loads CUDA and returns the GPU with this index. Must run before any other use of libtorch.
pub fn find(index: usize) -> Result<Device, NoCuda> {
    // Kept until the process ends: libtorch has pointers into it.
    static LOADED: OnceLock<Library> = OnceLock::new();
    if LOADED.get().is_none() {
        find_driver(DRIVER)?;
        if hides_all(std::env::var_os("CUDA_VISIBLE_DEVICES").as_deref()) {
            return Err(NoCuda::Hidden);
        }
        let folder = libtorch::folder().map_err(|error| NoCuda::NotLoadable(error.to_string()))?;
        choose_workspace();
        let _ = LOADED.set(load_from(&folder)?);
    }
    // Only libtorch's CUDA half reports that it was compiled with CUDA's runtime.
    if !tch::utils::has_cudart() {
        return Err(NoCuda::TooLate);
    }
    find_gpu(index, &Installed)
}

/// What is asked of the driver and of libtorch's CUDA half. Tests give other answers.
pub(crate) trait Driver {
    /// The number of GPUs that libtorch sees.
    fn device_count(&self) -> i64;
    /// Runs a kernel on this GPU. The error is libtorch's message.
    fn run_kernel(&self, gpu: Device) -> Result<(), String>;
    /// This machine's GPUs with their architectures, in nvidia-smi's order.
    fn gpus(&self) -> Option<Vec<String>>;
    /// The architectures that libtorch's kernels are compiled for, such as `sm_90`.
    fn architectures(&self) -> Option<Vec<String>>;
}

/// The driver of this machine.
struct Installed;

impl Driver for Installed {
    fn device_count(&self) -> i64 {
        Cuda::device_count()
    }

    fn run_kernel(&self, gpu: Device) -> Result<(), String> {
        let ones = Tensor::f_ones([1], (Kind::Float, gpu));
        ones.and_then(|ones| ones.f_to(Device::Cpu)).map(drop).map_err(|error| match error {
            TchError::Torch(message) => message,
            other => other.to_string(),
        })
    }

    fn gpus(&self) -> Option<Vec<String>> {
        Machine::current().architectures()
    }

    fn architectures(&self) -> Option<Vec<String>> {
        architectures(&libtorch::folder().ok()?.join(LIBTORCH_CUDA)).ok().flatten()
    }
}

pub(crate) fn find_gpu(index: usize, driver: &dyn Driver) -> Result<Device, NoCuda> {
    let count = driver.device_count();
    if i64::try_from(index).map_or(true, |index| index >= count) {
        return Err(NoCuda::Index { index, count });
    }
    let gpu = Device::Cuda(index);
    let Err(message) = driver.run_kernel(gpu) else { return Ok(gpu) };
    // `cudaErrorNoKernelImageForDevice`: the GPU is older or newer than all that libtorch was compiled for.
    if message.contains("no kernel image") {
        // libtorch and nvidia-smi number them differently.
        let gpu = match driver.gpus().as_deref() {
            None => "nvidia-smi does not name it".into(),
            Some([gpu]) => gpu.clone(),
            Some(gpus) => format!("one of {}", gpus.join("; ")),
        };
        let architectures = driver.architectures().map_or("others".into(), |names| names.join(", "));
        return Err(NoCuda::NoKernels { index, gpu, architectures });
    }
    // The lines after the first are advice to programmers.
    let reason = message.lines().next().unwrap_or_default().into();
    Err(NoCuda::Unusable { index, reason })
}

/// Reads the flags with which a libtorch's CUDA half was compiled, which `torch.__config__.show()` prints in Python; none if
/// it does not contain them.
fn architectures(library: &Path) -> io::Result<Option<Vec<String>>> {
    // The flags are shorter than this. They may begin in one piece of the file and end in the next.
    const LONGEST: usize = 1 << 12;
    let mut file = File::open(library)?;
    let mut piece = vec![];
    loop {
        piece.drain(..piece.len().saturating_sub(LONGEST));
        if file.by_ref().take(1 << 20).read_to_end(&mut piece)? == 0 {
            return Ok(None);
        }
        let flags = memmem::find(&piece, b"-gencode;arch=").map(|start| &piece[start..]);
        if let Some((flags, end)) = flags.and_then(|flags| Some((flags, memchr::memchr(0, flags)?))) {
            let flags = String::from_utf8_lossy(&flags[..end]);
            let codes = flags.split(';').filter_map(|flag| flag.split_once("code="));
            return Ok(Some(codes.map(|(_, code)| code.to_string()).collect()));
        }
    }
}

#[allow(unsafe_code)]
fn choose_workspace() {
    static CHOSEN: Once = Once::new();
    // SAFETY: no other thread may read the environment meanwhile. This runs before any use of libtorch, so libtorch has no
    // threads yet, and Rust's threads take the lock of `std::env`.
    CHOSEN.call_once(|| unsafe { std::env::set_var(WORKSPACE.0, WORKSPACE.1) });
}

fn find_driver(name: &str) -> Result<(), NoCuda> {
    open(Path::new(name)).map(drop).map_err(NoCuda::Driver)
}

/// True if CUDA_VISIBLE_DEVICES is set and names no GPU.
fn hides_all(visible: Option<&OsStr>) -> bool {
    visible.is_some_and(|visible| visible.is_empty() || visible == "-1")
}

fn load_from(folder: &Path) -> Result<Library, NoCuda> {
    let path = folder.join(LIBTORCH_CUDA);
    if !path.exists() {
        return Err(NoCuda::CpuOnly(folder.to_path_buf()));
    }
    open(&path).map_err(NoCuda::NotLoadable)
}

/// Loads a library with its dependencies, as if it had been linked. The error is the loader's reason.
#[allow(unsafe_code)]
fn open(library: &Path) -> Result<Library, String> {
    // SAFETY: loading runs the initializers of a library. The two that are loaded are made for that: NVIDIA's driver,
    // which CUDA's own runtime loads in this way, and libtorch's CUDA half, from the folder of the libtorch that is
    // loaded already, whose initializers register it there. No symbol is looked up, so none is used wrongly.
    let library = unsafe { Library::open(Some(library), RTLD_NOW | RTLD_GLOBAL) };
    library.map_err(|error| error.source().unwrap_or(&error).to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use tch::Device;
    use tempfile::tempdir;

    use super::{Driver, architectures, find_driver, find_gpu, hides_all, load_from};

    /// A machine with this many GPUs of one kind, on which a kernel fails with this message.
    pub(crate) struct Fails(pub i64, pub &'static str);

    impl Driver for Fails {
        fn device_count(&self) -> i64 {
            self.0
        }

        fn run_kernel(&self, _: Device) -> Result<(), String> {
            if self.1.is_empty() { Ok(()) } else { Err(self.1.into()) }
        }

        fn gpus(&self) -> Option<Vec<String>> {
            Some(vec!["Tesla P100-PCIE-16GB, sm_60".into(); self.0 as usize])
        }

        fn architectures(&self) -> Option<Vec<String>> {
            Some(vec!["sm_75".into(), "sm_80".into()])
        }
    }

    #[test]
    fn an_empty_list_or_minus_one_hides_every_gpu() {
        let hides = |visible: Option<&str>| hides_all(visible.map(AsRef::as_ref));
        assert_eq!([None, Some("0"), Some("1,0"), Some("GPU-8932f937")].map(hides), [false; 4]);
        assert_eq!([Some(""), Some("-1")].map(hides), [true; 2]);
    }

    #[test]
    fn each_missing_part_of_cuda_is_named() {
        let folder = tempdir().unwrap();
        let path = folder.path().display();
        assert_eq!(
            find_driver("libno_such_driver.so.1").unwrap_err().to_string(),
            "no NVIDIA driver (libno_such_driver.so.1: cannot open shared object file: No such file or directory)"
        );
        assert_eq!(
            load_from(folder.path()).unwrap_err().to_string(),
            format!("libtorch is for the CPU only: {path} contains no libtorch_cuda.so")
        );
        fs::write(folder.path().join("libtorch_cuda.so"), "not a library\n".repeat(100)).unwrap();
        assert_eq!(
            load_from(folder.path()).unwrap_err().to_string(),
            format!("libtorch_cuda.so cannot be loaded ({path}/libtorch_cuda.so: invalid ELF header)")
        );
        for (index, count) in [(0, 0), (2, 2), (usize::MAX, 1)] {
            assert_eq!(
                find_gpu(index, &Fails(count, "")).unwrap_err().to_string(),
                format!("no GPU with index {index}; libtorch sees {count}")
            );
        }
        assert_eq!(find_gpu(1, &Fails(2, "")).unwrap(), Device::Cuda(1));
    }

    #[test]
    fn a_gpu_that_runs_no_kernel_is_an_error_that_says_why() {
        const ADVICE: &str = "\nCUDA kernel errors might be asynchronously reported at some other API call\n";
        for (gpus, message, expected) in [
            (
                1,
                "CUDA error: no kernel image is available for execution on the device",
                "libtorch has no code for GPU 0 (Tesla P100-PCIE-16GB, sm_60), only for sm_75, sm_80",
            ),
            (
                2,
                "CUDA error: no kernel image is available for execution on the device",
                "libtorch has no code for GPU 0 (one of Tesla P100-PCIE-16GB, sm_60; Tesla P100-PCIE-16GB, sm_60), \
                 only for sm_75, sm_80",
            ),
            (
                1,
                "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
                "GPU 0 runs nothing (CUDA error: CUDA-capable device(s) is/are busy or unavailable)",
            ),
        ] {
            let message = format!("{message}{ADVICE}").leak();
            assert_eq!(find_gpu(0, &Fails(gpus, message)).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_architectures_are_read_from_the_flags_wherever_they_stand_in_the_file() {
        const FLAGS: &[u8] =
            b"-gencode;arch=compute_75,code=sm_75;-gencode;arch=compute_90,code=compute_90\0rest";
        let folder = tempdir().unwrap();
        let library = folder.path().join("libtorch_cuda.so");
        for before in [0, 1, (1 << 20) - 20, 1 << 20, (1 << 20) + 1000, 3 << 20] {
            fs::write(&library, [vec![7; before].as_slice(), FLAGS].concat()).unwrap();
            assert_eq!(architectures(&library).unwrap().unwrap(), ["sm_75", "compute_90"], "{before}");
        }
        fs::write(&library, vec![7; 3 << 20]).unwrap();
        assert_eq!(architectures(&library).unwrap(), None);
    }

    #[test]
    #[ignore = "needs the Python reference"]
    fn the_architectures_of_pythons_libtorch_are_those_that_it_prints() {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
        const PRINT: &str =
            "import os, torch; print(os.path.dirname(torch.__file__), *torch.cuda.get_arch_list())";
        let output = Command::new(python).args(["-I", "-c", PRINT]).output().unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        let words: Vec<&str> = words.split_whitespace().collect();
        let (folder, expected) = words.split_first().unwrap();
        assert!(expected.len() > 3, "{expected:?}");
        let library = Path::new(folder).join("lib/libtorch_cuda.so");
        assert_eq!(architectures(&library).unwrap().unwrap(), expected);
    }
}
