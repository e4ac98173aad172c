//! The device to train on, and the generator that dropout draws from.

use std::fmt::{self, Display, Formatter};

use tch::Device;

use super::as_text;
use crate::torch::DropoutGenerator;
use crate::torch::cuda::{self, NoCuda};

/// A choice of device, written as `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
///
/// ```
/// use islp_mnist::run::DeviceOption;
///
/// assert_eq!("cuda:1".parse(), Ok(DeviceOption::Cuda(Some(1))));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceOption {
    /// A GPU if there is one, otherwise the CPU.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The GPU with this index, or the first.
    Cuda(Option<usize>),
    /// Apple's GPU.
    Mps,
}

impl DeviceOption {
    /// Returns the option that chooses exactly this device.
    pub fn of(device: Device) -> Self {
        match device {
            Device::Cuda(index) => Self::Cuda(Some(index)),
            Device::Mps => Self::Mps,
            _ => Self::Cpu,
        }
    }
}

impl Display for DeviceOption {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(None) => f.write_str("cuda"),
            Self::Cuda(Some(index)) => write!(f, "cuda:{index}"),
            Self::Mps => f.write_str("mps"),
        }
    }
}

as_text!(DeviceOption, "must be auto, cpu, cuda, cuda:N or mps", |text| {
    let index = text.split_once(':').and_then(|(_, index)| index.parse().ok());
    [Self::Auto, Self::Cpu, Self::Cuda(None), Self::Cuda(index), Self::Mps]
});

/// A choice of generator for dropout, written as `auto`, `cpu` or `cuda`.
///
/// ```
/// use islp_mnist::run::GeneratorOption;
/// use tch::Device;
///
/// assert_eq!(GeneratorOption::Auto.on(Device::Cpu), GeneratorOption::Cpu);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GeneratorOption {
    /// The device's, as in Python.
    #[default]
    Auto,
    /// The CPU's.
    Cpu,
    /// CUDA's, even on the CPU, which then drops what a GPU would.
    Cuda,
}

impl GeneratorOption {
    /// Replaces `auto` by the generator that a run on this device draws from.
    pub fn on(self, device: Device) -> Self {
        match self {
            Self::Auto if device.is_cuda() => Self::Cuda,
            Self::Auto => Self::Cpu,
            other => other,
        }
    }
}

impl Display for GeneratorOption {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

as_text!(GeneratorOption, "must be auto, cpu or cuda", |_| [Self::Auto, Self::Cpu, Self::Cuda]);

impl From<GeneratorOption> for DropoutGenerator {
    fn from(option: GeneratorOption) -> Self {
        match option {
            GeneratorOption::Auto => Self::Device,
            GeneratorOption::Cpu => Self::Cpu,
            GeneratorOption::Cuda => Self::Cuda,
        }
    }
}

/// Why a device can't be used.
#[derive(Debug, thiserror::Error)]
pub enum NoDevice {
    /// No NVIDIA GPU.
    #[error(transparent)]
    Cuda(#[from] NoCuda),
    /// No Apple GPU.
    #[error("libtorch sees no Apple GPU, which requires macOS on Apple silicon")]
    Mps,
}

/// Returns the device to train on. Call this before any other use of libtorch, because it loads CUDA if `option` is `cuda`,
/// or if it is `auto` and there is an NVIDIA driver.
///
/// `auto` falls back to the CPU. The reason is then also returned, unless there is no driver or the GPUs are hidden on
/// purpose.
pub fn resolve(option: DeviceOption) -> Result<(Device, Option<NoCuda>), NoDevice> {
    resolve_with(option, cuda::find)
}

fn resolve_with(
    option: DeviceOption,
    find: impl Fn(usize) -> Result<Device, NoCuda>,
) -> Result<(Device, Option<NoCuda>), NoDevice> {
    match option {
        DeviceOption::Cpu => Ok((Device::Cpu, None)),
        DeviceOption::Cuda(index) => Ok((find(index.unwrap_or(0))?, None)),
        DeviceOption::Mps if tch::utils::has_mps() => Ok((Device::Mps, None)),
        DeviceOption::Mps => Err(NoDevice::Mps),
        DeviceOption::Auto => Ok(match find(0) {
            Ok(device) => (device, None),
            Err(NoCuda::Driver(_)) if tch::utils::has_mps() => (Device::Mps, None),
            Err(NoCuda::Driver(_) | NoCuda::Hidden) => (Device::Cpu, None),
            Err(missing) => (Device::Cpu, Some(missing)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::{DeviceOption, resolve_with};
    use crate::torch::cuda::{find_gpu, tests::Fails};

    #[test]
    fn auto_takes_the_cpu_where_libtorch_has_no_code_for_the_gpu_and_cuda_fails() {
        let too_old =
            Fails(1, "CUDA error: no kernel image is available for execution on the device\nadvice");
        let find = |index| find_gpu(index, &too_old);
        let why = "libtorch has no code for GPU 0 (Tesla P100-PCIE-16GB, sm_60), only for sm_75, sm_80";
        let (device, missing) = resolve_with(DeviceOption::Auto, find).unwrap();
        assert_eq!((device, missing.unwrap().to_string()), (Device::Cpu, why.to_string()));
        assert_eq!(resolve_with(DeviceOption::Cuda(None), find).unwrap_err().to_string(), why);
        assert_eq!(resolve_with(DeviceOption::Cpu, find).unwrap().0, Device::Cpu);
    }

    #[test]
    fn only_the_text_that_a_device_displays_parses_as_one() {
        for text in ["auto", "cpu", "cuda", "cuda:0", "cuda:15", "mps"] {
            let device: DeviceOption = text.parse().unwrap();
            assert_eq!(device.to_string(), text);
        }
        for text in ["", "CPU", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:+1", "cuda:01", "cpu:0", " cpu"] {
            assert_eq!(
                text.parse::<DeviceOption>().unwrap_err(),
                "must be auto, cpu, cuda, cuda:N or mps",
                "{text:?}"
            );
        }
    }
}
