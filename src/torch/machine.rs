//! The machine and the settings that a run's bits depend on.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::libtorch;

/// Beginnings of the names of environment variables that can change what a library computes: its kernels, its threads or its
/// order of summation.
const PREFIXES: [&str; 8] = ["DNNL_", "KMP_", "MKL_", "OMP_", "ONEDNN_", "OPENBLAS_", "PYTORCH_", "XLA_"];
/// The same, whole names.
const NAMES: [&str; 2] = ["ATEN_CPU_CAPABILITY", "NVIDIA_TF32_OVERRIDE"];
/// Matters on a GPU only. Lightning sets it everywhere.
const CUBLAS: &str = "CUBLAS_WORKSPACE_CONFIG";
/// These change how threads wait or what is printed, or are recorded as the number of threads. scikit-learn, Lightning
/// and NVIDIA's containers set the last five.
const HARMLESS: [&str; 15] = [
    "DNNL_VERBOSE",
    "KMP_BLOCKTIME",
    "MKL_VERBOSE",
    "OMP_DISPLAY_AFFINITY",
    "OMP_DISPLAY_ENV",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "ONEDNN_VERBOSE",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "KMP_DUPLICATE_LIB_OK",
    "KMP_INIT_AT_FORK",
    "PYTORCH_NVML_BASED_CUDA_CHECK",
    "PYTORCH_VERSION",
    "PYTORCH_BUILD_VERSION",
];
/// A machine with a driver has at least one of them: gVisor only the second, WSL only the third.
const DRIVER: [&str; 3] = ["/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg"];

/// What a run computes with, beyond the program itself. `python/islp_mnist/machine.py` describes a machine in the same way.
///
/// ```
/// use islp_mnist::torch::Machine;
///
/// let machine = Machine::current();
/// assert!(["AVX512", "AVX2", "DEFAULT"].contains(&machine.cpu_capability.as_str()));
/// assert!(machine.variables.unwrap().keys().all(|name| name != "PATH"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name; none if the system does not report it, or an older version wrote this.
    pub processor: Option<String>,
    /// libtorch's kernels for this processor, as `torch.backends.cpu.get_cpu_capability()`.
    pub cpu_capability: String,
    /// The version of libtorch with its build, such as `2.13.0+cu130`; none if it does not report one.
    pub libtorch: Option<String>,
    /// The versions of the libraries that libtorch was built with, such as `mkl`; none if this program wrote this, because
    /// libtorch tells them to Python only. Two builds of one version can differ in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libraries: Option<BTreeMap<String, String>>,
    /// The NVIDIA GPUs with their compute capabilities; none if `nvidia-smi` lists none.
    #[serde(default)]
    pub gpus: Option<Vec<String>>,
    /// The version of NVIDIA's driver; none if there is none.
    #[serde(default)]
    pub driver: Option<String>,
    /// The environment variables that can change what a library computes; none if an older version wrote this.
    #[serde(default)]
    pub variables: Option<BTreeMap<String, String>>,
}

impl Machine {
    /// This machine, as this process sees it.
    pub fn current() -> Self {
        let (gpus, driver) = nvidia_smi().unzip();
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| matters(name, gpus.is_some()))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        Self {
            processor: libtorch::processor(),
            cpu_capability: libtorch::cpu_capability().into(),
            libtorch: libtorch::version().ok(),
            libraries: None,
            variables: Some(variables.collect()),
            gpus,
            driver,
        }
    }

    /// The NVIDIA GPUs with their architectures, such as `NVIDIA H200, sm_90`; none if `nvidia-smi` lists none.
    pub fn architectures(&self) -> Option<Vec<String>> {
        let architecture = |gpu: &String| match gpu.rsplit_once(", ") {
            Some((name, capability)) => format!("{name}, sm_{}", capability.replace('.', "")),
            None => gpu.clone(),
        };
        Some(self.gpus.as_ref()?.iter().map(architecture).collect())
    }

    /// True if this environment variable is set.
    pub(crate) fn is_set(&self, variable: &str) -> bool {
        self.variables.as_ref().is_some_and(|variables| variables.contains_key(variable))
    }
}

fn matters(variable: &str, has_gpu: bool) -> bool {
    let is_listed = PREFIXES.iter().any(|prefix| variable.starts_with(prefix)) || NAMES.contains(&variable);
    is_listed && !HARMLESS.contains(&variable) || has_gpu && variable == CUBLAS
}

/// The GPUs and the driver's version; none if there is no driver.
fn nvidia_smi() -> Option<(Vec<String>, String)> {
    // Without a driver the program may exist, and take a second to fail.
    DRIVER.iter().find(|path| Path::new(path).exists())?;
    let mut nvidia_smi = Command::new("nvidia-smi");
    nvidia_smi.args(["--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]);
    let output = nvidia_smi.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    gpus_and_driver(&text)
}

/// Parses the lines of `nvidia-smi`, such as `NVIDIA H200, 9.0, 580.65.06`. All GPUs of a machine have the same driver.
fn gpus_and_driver(lines: &str) -> Option<(Vec<String>, String)> {
    let lines: Vec<_> = lines.lines().filter_map(|line| line.trim().rsplit_once(", ")).collect();
    let (_, driver) = lines.first()?;
    Some((lines.iter().map(|(gpu, _)| gpu.to_string()).collect(), driver.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{gpus_and_driver, matters};

    #[test]
    fn every_gpu_is_listed_with_its_compute_capability_and_the_driver_once() {
        let gpus = ["NVIDIA H200, 9.0", "NVIDIA L4, 8.9"];
        let lines = gpus.map(|gpu| format!("{gpu}, 580.65.06\n")).concat();
        let expected = (gpus.map(String::from).to_vec(), "580.65.06".to_string());
        assert_eq!(gpus_and_driver(&lines), Some(expected));
        assert_eq!(gpus_and_driver(""), None);
    }

    #[test]
    fn a_variable_matters_if_it_changes_arithmetic() {
        for (variable, expected) in [
            ("MKL_ENABLE_INSTRUCTIONS", true),
            ("ATEN_CPU_CAPABILITY", true),
            ("OMP_DYNAMIC", true),
            ("OMP_NUM_THREADS", false),
            ("OMP_WAIT_POLICY", false),
            ("ATEN_CPU_CAPABILITY_2", false),
            ("CUBLAS_WORKSPACE_CONFIG", false),
            ("PATH", false),
        ] {
            assert_eq!(matters(variable, false), expected, "{variable}");
        }
        assert!(matters("CUBLAS_WORKSPACE_CONFIG", true));
    }
}
