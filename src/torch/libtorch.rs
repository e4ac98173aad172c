//! The libtorch of this process: its version, its files, and the kernels that it selects.
//!
//! tch exposes none of these. So the version is read from a file beside the loaded libraries, and the choice of kernels
//! follows ATen's rules.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The libtorch that `scripts/setup.sh` fetches, the version of the Python reference.
pub const EXPECTED_VERSION: &str = env!("TORCH_VERSION");

/// Prefixes of the file names of libtorch's libraries and of those that affect what it computes.
const NAMES: [&str; 4] = ["libtorch", "libc10", "libgomp", "libcuda"];

/// The reason why a fact about libtorch can't be determined.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum Error {
    #[error("cannot read /proc/self/maps, which lists the loaded libraries: {0}")]
    Maps(io::Error),
    #[error("no libtorch_cpu.so is loaded: this libtorch is linked statically")]
    Static,
    #[error("{}: neither build-version nor version.py there gives libtorch's version", .0.display())]
    NoVersion(PathBuf),
}

/// The files that libtorch was loaded from, with its OpenMP and, if loaded, CUDA; sorted.
///
/// Fails on a system without `/proc`.
pub fn files() -> Result<BTreeSet<PathBuf>, Error> {
    let maps = fs::read("/proc/self/maps").map_err(Error::Maps)?;
    let path = |line: &[u8]| {
        let start = line.iter().position(|&byte| byte == b'/')?;
        Some(PathBuf::from(OsStr::from_bytes(&line[start..])))
    };
    let is_of_libtorch = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_bytes();
        NAMES.iter().any(|start| name.starts_with(start.as_bytes()))
    };
    Ok(maps.split(|&byte| byte == b'\n').filter_map(path).filter(is_of_libtorch).collect())
}

/// The folder that `libtorch_cpu.so` was loaded from. Fails if it is not among the [`files`], because it is linked
/// statically.
pub fn folder() -> Result<PathBuf, Error> {
    let files = files()?;
    let libtorch_cpu = files.iter().find(|path| path.ends_with("libtorch_cpu.so"));
    let folder = libtorch_cpu.and_then(|path| path.parent());
    folder.map(Path::to_path_buf).ok_or(Error::Static)
}

/// The version with its build, such as `2.13.0+cu130`, from a file beside libtorch's `lib/`.
///
/// Fails if there is no such file.
pub fn version() -> Result<String, Error> {
    let lib = folder()?;
    let parent = lib.parent().unwrap_or(&lib);
    version_in(parent).ok_or_else(|| Error::NoVersion(parent.to_path_buf()))
}

/// Reads the version from `build-version` of an unpacked libtorch, or `version.py` of Python's torch.
fn version_in(folder: &Path) -> Option<String> {
    if let Ok(version) = fs::read_to_string(folder.join("build-version")) {
        return Some(version.trim().to_string());
    }
    let python = fs::read_to_string(folder.join("version.py")).ok()?;
    let version = python.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
    Some(version.trim_matches('\'').to_string())
}

/// `torch.backends.cpu.get_cpu_capability()`: the builds of its kernels that libtorch selects, "AVX512", "AVX2" or
/// "DEFAULT", by `ATEN_CPU_CAPABILITY` or else by this processor. There is a choice only on x86-64.
///
/// Follows `compute_cpu_capability` in `ATen/native/DispatchStub.cpp`.
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

/// The processor's name in `/proc/cpuinfo`, such as "AMD EPYC", if the system gives it. On two processors with the same
/// [`cpu_capability`] MKL may still select different kernels.
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
