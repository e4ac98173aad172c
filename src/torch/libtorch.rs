//! The libtorch of this process: which one, from where, and which of its kernels it takes.
//!
//! libtorch knows all of that, but tch does not pass it on. So it is read from the files that are loaded, and the
//! choice of kernels is derived as ATen makes it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The libtorch that `scripts/setup.sh` fetches, the version of the Python reference.
pub const EXPECTED_VERSION: &str = env!("TORCH_VERSION");

/// Libraries that are libtorch's, or decide what it computes: the start of their file names.
const NAMES: [&str; 4] = ["libtorch", "libc10", "libgomp", "libcuda"];

/// What can't be found out about libtorch.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what they are
pub enum Error {
    #[error("cannot read /proc/self/maps, which lists what is loaded: {0}")]
    Maps(io::Error),
    #[error("no libtorch_cpu.so is loaded: this libtorch is linked statically")]
    Static,
    #[error("{}: neither build-version nor version.py there says which libtorch this is", .0.display())]
    NoVersion(PathBuf),
}

/// The files that libtorch was loaded from, with its OpenMP and, if loaded, what there is of CUDA; sorted.
///
/// An error where the system has no `/proc`.
pub fn files() -> Result<BTreeSet<PathBuf>, Error> {
    let maps = fs::read("/proc/self/maps").map_err(Error::Maps)?;
    let path = |line: &[u8]| {
        let start = line.iter().position(|&byte| byte == b'/')?;
        Some(PathBuf::from(OsStr::from_bytes(&line[start..])))
    };
    let is_libtorchs = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_bytes();
        NAMES.iter().any(|start| name.starts_with(start.as_bytes()))
    };
    Ok(maps.split(|&byte| byte == b'\n').filter_map(path).filter(is_libtorchs).collect())
}

/// The folder that `libtorch_cpu.so` was loaded from. An error if it is not among the [`files`], being linked
/// statically.
pub fn folder() -> Result<PathBuf, Error> {
    let files = files()?;
    let libtorch_cpu = files.iter().find(|path| path.ends_with("libtorch_cpu.so"));
    let folder = libtorch_cpu.and_then(|path| path.parent());
    folder.map(Path::to_path_buf).ok_or(Error::Static)
}

/// The version with its build, such as `2.13.0+cu130`, as the file beside libtorch's `lib/` says.
///
/// An error if there is no such file.
pub fn version() -> Result<String, Error> {
    let lib = folder()?;
    let parent = lib.parent().unwrap_or(&lib);
    version_in(parent).ok_or_else(|| Error::NoVersion(parent.to_path_buf()))
}

/// The version that an unpacked libtorch has in `build-version`, and Python's torch in `version.py`.
fn version_in(folder: &Path) -> Option<String> {
    if let Ok(version) = fs::read_to_string(folder.join("build-version")) {
        return Some(version.trim().to_string());
    }
    let python = fs::read_to_string(folder.join("version.py")).ok()?;
    let version = python.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
    Some(version.trim_matches('\'').to_string())
}

/// `torch.backends.cpu.get_cpu_capability()`: which of its builds of a kernel libtorch takes, "AVX512", "AVX2" or
/// "DEFAULT". `ATEN_CPU_CAPABILITY` decides, otherwise this processor. Only on x86-64 is there a choice.
///
/// As `compute_cpu_capability` in `ATen/native/DispatchStub.cpp` has it.
pub fn cpu_capability() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    match std::env::var("ATEN_CPU_CAPABILITY").as_deref() {
        Ok("avx512") => "AVX512",
        Ok("avx2") => "AVX2",
        Ok("default") => "DEFAULT",
        _ if is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("fma") =>
        {
            "AVX512"
        }
        _ if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") => "AVX2",
        _ => "DEFAULT",
    }
    #[cfg(not(target_arch = "x86_64"))]
    "DEFAULT"
}

/// The processor's name, such as "AMD EPYC", as `/proc/cpuinfo` has it; none where the system does not say. Of two
/// processors with the same [`cpu_capability`] MKL may still take other kernels.
pub fn processor() -> Option<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").ok()?;
    let (_, name) = cpuinfo.lines().find(|line| line.starts_with("model name"))?.split_once(':')?;
    Some(name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::version_in;

    #[test]
    fn the_version_is_read_from_an_unpacked_libtorch_and_from_pythons() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(version_in(folder.path()), None);
        let python =
            "from typing import Optional\n\n__version__ = '2.13.0+cu130'\ncuda: Optional[str] = '13.0'\n";
        fs::write(folder.path().join("version.py"), python).unwrap();
        assert_eq!(version_in(folder.path()).as_deref(), Some("2.13.0+cu130"));
        fs::write(folder.path().join("build-version"), "2.13.0+cpu\n").unwrap();
        assert_eq!(version_in(folder.path()).as_deref(), Some("2.13.0+cpu"));
    }
}
