"""The machine and the settings that a run's bits depend on, as src/torch/machine.rs describes them."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any, Optional

import torch

PREFIXES = "DNNL_", "KMP_", "MKL_", "OMP_", "ONEDNN_", "OPENBLAS_", "PYTORCH_", "XLA_"
NAMES = "ATEN_CPU_CAPABILITY", "NVIDIA_TF32_OVERRIDE"
HARMLESS = {"DNNL_VERBOSE", "KMP_BLOCKTIME", "MKL_VERBOSE", "OMP_DISPLAY_AFFINITY", "OMP_DISPLAY_ENV", "OMP_NUM_THREADS",
            "OMP_WAIT_POLICY", "ONEDNN_VERBOSE", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF",
            "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "PYTORCH_NVML_BASED_CUDA_CHECK", "PYTORCH_VERSION", "PYTORCH_BUILD_VERSION"}
# A machine with a driver has at least one of them.
DRIVER = "/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg"


def machine() -> dict[str, Any]:
    """Describes this machine, as this process sees it."""
    gpus, driver = _nvidia_smi() or (None, None)
    return {
        "processor": processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "libtorch": str(torch.__version__),
        "libraries": _libraries(torch.__config__.show()),
        "gpus": gpus,
        "driver": driver,
        "variables": {name: os.fsencode(value).decode(errors="replace") for name, value in sorted(os.environ.items())
                      if _matters(name, gpus is not None)},
    }


def _libraries(config: str) -> dict[str, str]:
    """Returns the versions of the libraries that this torch was built with, as far as it reports them."""
    patterns = {"mkl": r"Math Kernel Library Version ([0-9.]+)", "onednn": r"(?:MKL-DNN|oneDNN) v([0-9.]+)",
                "cuda": r"CUDA_VERSION=([0-9.]+)", "cudnn": r"CUDNN_VERSION=([0-9.]+)"}
    found = {name: re.search(pattern, config) for name, pattern in patterns.items()}
    return {name: match[1] for name, match in found.items() if match}


def processor() -> Optional[str]:
    """Returns the processor's name from /proc/cpuinfo, or None if the system does not provide it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _matters(variable: str, has_gpu: bool) -> bool:
    is_listed = variable.startswith(PREFIXES) or variable in NAMES
    # Lightning sets cuBLAS's variable everywhere.
    return is_listed and variable not in HARMLESS or has_gpu and variable == "CUBLAS_WORKSPACE_CONFIG"


def _nvidia_smi() -> Optional[tuple[list[str], str]]:
    """Returns the GPUs and the driver's version, or None if there is no driver."""
    if not any(Path(path).exists() for path in DRIVER):
        return None
    command = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    try:
        output = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    # All GPUs of a machine have the same driver.
    lines = [line.strip().rpartition(", ") for line in output.splitlines()]
    return ([gpu for gpu, _, _ in lines], lines[0][2]) if lines else None
