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
use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::{Cuda, Device};

use crate::torch::libtorch;

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
    find_gpu(index, Cuda::device_count())
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

fn find_gpu(index: usize, count: i64) -> Result<Device, NoCuda> {
    if i64::try_from(index).is_ok_and(|index| index < count) {
        Ok(Device::Cuda(index))
    } else {
        Err(NoCuda::Index { index, count })
    }
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
mod tests {
    use std::fs;

    use tch::Device;
    use tempfile::tempdir;

    use super::{find_driver, find_gpu, hides_all, load_from};

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
                find_gpu(index, count).unwrap_err().to_string(),
                format!("no GPU with index {index}; libtorch sees {count}")
            );
        }
        assert_eq!(find_gpu(1, 2).unwrap(), Device::Cuda(1));
    }
}
