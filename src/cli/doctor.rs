//! `islp-mnist doctor`: checks that this machine can reproduce Python's results, in a line for each check.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use tch::{Cuda, Device};

use super::hints::{REFETCH_LIBTORCH, explain};
use super::options::DataDir;
use super::output::print;
use islp_mnist::run::{DeviceOption, Remedy, Requirement, against, resolve};
use islp_mnist::torch::{self, CudaGenerator, Generator, Machine, cuda, libtorch};
use islp_mnist::torchvision;
use islp_mnist::util::path::shell_word;
use islp_mnist::util::text::shown;

/// Check what a run depends on: libtorch, processor, GPU, data, random numbers.
///
/// With --against, also check whether this machine can compute the same bits as a run from elsewhere, and print what that
/// needs.
///
/// Exit code: 0 if all is well, otherwise 1. A missing GPU is a problem only with --device cuda or mps.
///
/// Examples:
///   islp-mnist doctor --device cuda
///   islp-mnist doctor --against their/run.json
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Device to check for: auto, cpu, cuda, cuda:N or mps
    #[arg(long, default_value_t)]
    device: DeviceOption,
    #[command(flatten)]
    data: DataDir,
    /// A run.json or a trace of the run whose bits this machine is to compute
    #[arg(long, value_name = "RUN_JSON|TRACE")]
    against: Option<PathBuf>,
}

pub fn run(args: &DoctorArgs) -> Result<u8> {
    // Must come before any other use of libtorch, and before the loaded files are listed.
    let found = device(args.device);
    // Refused before anything is printed.
    let requirements = args.against.as_deref().map(against).transpose()?;
    let gpu = found.as_ref().ok().and_then(|(_, device)| *device);
    let of_machine = [
        ("libtorch", version()),
        ("loaded from", files()),
        ("CPU", Ok(format!("{} kernels", libtorch::cpu_capability()))),
        ("threads", Ok(threads())),
        ("libraries", Ok(libraries())),
    ];
    let of_run = [
        (if args.device == DeviceOption::Mps { "MPS" } else { "CUDA" }, found.map(|(text, _)| text)),
        ("data", data(&args.data.or(None))),
        ("generator", generator(gpu)),
    ];
    let gpus = gpus(&Machine::current()).map(|gpus| ("GPU", Ok(gpus)));
    let checks: Vec<_> = of_machine.into_iter().chain(gpus).chain(of_run).collect();
    for (name, found) in &checks {
        let text = match found {
            Ok(text) => text.clone(),
            Err(problem) => format!("PROBLEM: {}", explain(problem)),
        };
        print(&format!("{name:<13} {}", shown(&text)))?;
    }
    let mut problems: Vec<&str> =
        checks.iter().filter(|(_, found)| found.is_err()).map(|(name, _)| *name).collect();
    if let (Some(requirements), Some(path)) = (requirements, &args.against)
        && !print_requirements(&requirements, path)?
    {
        problems.push("against");
    }
    if problems.is_empty() {
        print("all is well")?;
        return Ok(0);
    }
    let plural = if problems.len() == 1 { "" } else { "s" };
    print(&format!("{} problem{plural}: {}", problems.len(), problems.join(", ")))?;
    Ok(1)
}

/// Prints what a run depends on, there and here, and what this machine needs to compute its bits. True if nothing is needed.
fn print_requirements(requirements: &[Requirement], path: &Path) -> Result<bool> {
    print(&format!("against {}:", shown(&path.to_string_lossy())))?;
    for requirement in requirements {
        let Requirement { name, there, here, remedy } = requirement;
        let [there, here] = [there, here].map(|value| value.as_deref().unwrap_or("none"));
        let differs = format!("{there} there, {here} here");
        let text = match remedy {
            Remedy::Met => format!("{there}, as here"),
            Remedy::Set(..) | Remedy::Unset(_) | Remedy::Threads(_) => differs,
            Remedy::Perhaps(reason) | Remedy::Never(reason) => format!("{differs}: {reason}"),
        };
        print(&format!("  {:<13} {}", shown(name), shown(&text)))?;
    }
    let remedies = || requirements.iter().map(|requirement| &requirement.remedy);
    // A run takes its threads from its run.json.
    let is_met = remedies().all(|remedy| matches!(remedy, Remedy::Met | Remedy::Threads(_)));
    let needed: Vec<String> = remedies()
        .filter_map(|remedy| match remedy {
            Remedy::Set(name, value) => Some(format!("{name}={}", shell_word(OsStr::new(value)))),
            Remedy::Unset(name) => Some(format!("{name} unset")),
            Remedy::Threads(threads) => Some(format!("--threads {threads}")),
            _ => None,
        })
        .collect();
    let verdict = if remedies().any(|remedy| matches!(remedy, Remedy::Never(_))) {
        "no: this machine cannot compute the same bits"
    } else if remedies().any(|remedy| matches!(remedy, Remedy::Perhaps(_))) {
        "perhaps: this machine may compute the same bits"
    } else {
        "yes: this machine can compute the same bits"
    };
    let with =
        if needed.is_empty() { String::new() } else { format!(", with {}", shown(&needed.join(", "))) };
    print(&format!("  {verdict}{with}"))?;
    Ok(is_met)
}

fn version() -> Result<String> {
    let version = libtorch::version()?;
    let expected = libtorch::EXPECTED_VERSION;
    ensure!(
        // The build follows the plus sign.
        version.split('+').next() == Some(expected),
        "{version}, but {expected} is expected; {REFETCH_LIBTORCH}"
    );
    Ok(format!("{version}, as expected"))
}

/// The loaded files of libtorch, by folder.
fn files() -> Result<String> {
    let mut folders: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for path in libtorch::files()? {
        let name = path.file_name().unwrap_or_default().display().to_string();
        folders.entry(path.parent().unwrap_or(&path).to_path_buf()).or_default().push(name);
    }
    let of_folder =
        |(folder, names): (&PathBuf, &Vec<String>)| format!("{}: {}", folder.display(), names.join(", "));
    Ok(folders.iter().map(of_folder).collect::<Vec<_>>().join("; "))
}

fn threads() -> String {
    format!(
        "{} within an operation, {} between operations",
        tch::get_num_threads(),
        tch::get_num_interop_threads()
    )
}

fn libraries() -> String {
    let yes_no = |is_there| if is_there { "yes" } else { "no" };
    format!(
        "MKL {}, oneDNN {}, OpenMP {}",
        yes_no(tch::utils::has_mkl()),
        yes_no(tch::utils::has_mkldnn()),
        yes_no(tch::utils::has_openmp())
    )
}

/// The machine's NVIDIA GPUs with their architectures, and the driver that they share, if `nvidia-smi` lists any.
fn gpus(machine: &Machine) -> Option<String> {
    let driver = machine.driver.as_deref().unwrap_or("unknown");
    Some(format!("{}; driver {driver}", machine.architectures()?.join("; ")))
}

/// Describes the device, and returns the NVIDIA GPU if one was found.
fn device(option: DeviceOption) -> Result<(String, Option<Device>)> {
    let index = match option {
        DeviceOption::Cpu => return Ok(("not checked, because of --device cpu".into(), None)),
        DeviceOption::Mps => return Ok(resolve(option).map(|_| ("an Apple GPU".into(), None))?),
        DeviceOption::Auto => 0,
        DeviceOption::Cuda(index) => index.unwrap_or(0),
    };
    match cuda::find(index) {
        Ok(gpu) => Ok((format!("GPU {index} of {}", Cuda::device_count()), Some(gpu))),
        Err(missing) if option == DeviceOption::Auto => {
            Ok((format!("not used: {}", explain(&missing.into())), None))
        }
        Err(missing) => Err(missing.into()),
    }
}

fn data(data_dir: &Path) -> Result<String> {
    let folder = torchvision::folder(data_dir);
    let checksum = |name| {
        let path = torchvision::find(data_dir, name)?;
        let checksum = torchvision::checksum(&path)?;
        Ok((path, checksum))
    };
    let fault = |(name, expected)| match checksum(name) {
        Ok((_, checksum)) if checksum == expected => None,
        Ok((path, _)) => {
            let name = path.strip_prefix(&folder).unwrap_or(&path).display();
            Some(format!("{name} is not MNIST's: its SHA-256 differs"))
        }
        Err(torchvision::Error::Missing { .. }) => Some(format!("{name} is missing")),
        Err(error) => Some(error.to_string()),
    };
    let faults: Vec<String> = torchvision::CHECKSUMS.into_iter().filter_map(fault).collect();
    ensure!(
        faults.is_empty(),
        "{}: {}; move wrong files elsewhere and run scripts/reproduce.sh without --data-dir to fetch what is missing \
         into data/, or name another folder with --data-dir",
        folder.display(),
        faults.join("; ")
    );
    Ok(format!("{}: 4 files, checksums as expected", folder.display()))
}

fn generator(gpu: Option<Device>) -> Result<String> {
    ensure!(
        Generator::agrees_with_libtorch()?,
        "the random numbers differ from those of Python's torch {}, so no result will equal Python's; {REFETCH_LIBTORCH}",
        libtorch::EXPECTED_VERSION
    );
    let Some(gpu) = gpu else { return Ok("draws what libtorch draws".into()) };
    if !CudaGenerator::agrees_with_libtorch(gpu)? {
        return Err(torch::Error::CudaDraws.into());
    }
    Ok("draws what libtorch draws, dropout on the GPU too".into())
}

#[cfg(test)]
mod tests {
    use islp_mnist::torch::Machine;

    use super::gpus;

    #[test]
    fn every_gpu_is_named_with_its_architecture_and_the_driver_once() {
        let mut machine = Machine { gpus: None, driver: None, ..Machine::current() };
        assert_eq!(gpus(&machine), None);
        machine.gpus =
            Some(["NVIDIA H200, 9.0", "Tesla P100-PCIE-16GB, 6.0", "[N/A]"].map(String::from).to_vec());
        machine.driver = Some("580.65.06".into());
        let expected = "NVIDIA H200, sm_90; Tesla P100-PCIE-16GB, sm_60; [N/A]; driver 580.65.06";
        assert_eq!(gpus(&machine).as_deref(), Some(expected));
    }
}
