//! Can this machine compute the bits of a run from elsewhere, and with which settings?

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::Error;
use super::run_json::{parse, path_of};
use crate::torch::Machine;
use crate::trace;

/// The kernels of libtorch, each of which a processor with the next ones has too.
const CAPABILITIES: [&str; 3] = ["AVX512", "AVX2", "DEFAULT"];
/// Selects the kernels.
const ATEN_CPU_CAPABILITY: &str = "ATEN_CPU_CAPABILITY";

/// A fact that a run's bits depend on, there and here.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    /// Such as `libtorch`.
    pub name: String,
    /// In the run; none if it was not set.
    pub there: Option<String>,
    /// On this machine.
    pub here: Option<String>,
    /// What to do if they differ.
    pub remedy: Remedy,
}

/// What makes this machine meet a requirement.
#[derive(Clone, Debug, PartialEq)]
pub enum Remedy {
    /// Nothing is needed.
    Met,
    /// This environment variable needs this value.
    Set(String, String),
    /// This environment variable must not be set.
    Unset(String),
    /// The run needs this number of threads, `--threads`.
    Threads(u64),
    /// The bits may differ, for this reason.
    Perhaps(&'static str),
    /// The bits will differ, for this reason.
    Never(&'static str),
}

/// What the run of a run.json or a trace depends on, compared with this machine.
///
/// # Errors
/// Fails if the file can't be read, or does not say on what machine it was made.
pub fn against(path: &Path) -> Result<Vec<Requirement>, Error> {
    let settings = settings(path)?;
    let unknown = || Error::NoMachine(path.to_path_buf());
    let there: Machine = serde_json::from_value(settings["environment"].clone()).map_err(|_| unknown())?;
    let threads = settings["options"]["threads"].as_u64();
    let on_gpu = settings["options"]["device"].as_str().map(|device| device.starts_with("cuda"));
    Ok(requirements(&there, threads, on_gpu, &Machine::current(), tch::get_num_threads() as u64))
}

fn settings(path: &Path) -> Result<Value, Error> {
    if path.extension().is_some_and(|extension| extension == "trace") {
        return Ok(trace::Reader::open(path)?.settings);
    }
    parse(&path_of(path))
}

fn requirements(
    there: &Machine,
    threads: Option<u64>,
    on_gpu: Option<bool>,
    here: &Machine,
    threads_here: u64,
) -> Vec<Requirement> {
    let requirement = |name: &str, there: Option<String>, here: Option<String>, remedy: Remedy| {
        let remedy = if there == here { Remedy::Met } else { remedy };
        Requirement { name: name.into(), there, here, remedy }
    };
    let capability = |machine: &Machine| Some(machine.cpu_capability.clone());
    let mut requirements = vec![
        requirement(
            "libtorch",
            there.libtorch.clone(),
            here.libtorch.clone(),
            Remedy::Never("another libtorch has other kernels"),
        ),
        requirement("CPU kernels", capability(there), capability(here), kernels(there, here)),
        requirement(
            "processor",
            there.processor.clone(),
            here.processor.clone(),
            Remedy::Perhaps("MKL may select other kernels"),
        ),
    ];
    if let Some(threads) = threads {
        let [there, here] = [threads, threads_here].map(|threads| Some(threads.to_string()));
        requirements.push(requirement("threads", there, here, Remedy::Threads(threads)));
    }
    if on_gpu == Some(true) {
        let gpus = |machine: &Machine| machine.gpus.as_ref().map(|gpus| gpus.join("; "));
        let remedy = Remedy::Never("another GPU has other kernels");
        requirements.push(requirement("GPUs", gpus(there), gpus(here), remedy));
        let remedy = Remedy::Perhaps("another driver may compile other kernels");
        requirements.push(requirement("driver", there.driver.clone(), here.driver.clone(), remedy));
    }
    if on_gpu.is_none() && there.gpus.is_some() {
        let remedy = Remedy::Perhaps("the trace does not say whether it used the GPU");
        requirements.push(Requirement { name: "device".into(), there: None, here: None, remedy });
    }
    requirements.extend(variables(there, here));
    requirements
}

/// A processor has the kernels of older ones, which a variable selects.
fn kernels(there: &Machine, here: &Machine) -> Remedy {
    let place = |machine: &Machine| CAPABILITIES.iter().position(|name| *name == machine.cpu_capability);
    match (place(there), place(here)) {
        (Some(wanted), Some(have)) if wanted > have => {
            Remedy::Set(ATEN_CPU_CAPABILITY.into(), there.cpu_capability.to_lowercase())
        }
        // It may only be the variable that hides them.
        (Some(_), Some(_)) if here.is_set(ATEN_CPU_CAPABILITY) => {
            Remedy::Perhaps("ATEN_CPU_CAPABILITY hides the processor's own; unset it and ask again")
        }
        _ => Remedy::Never("this processor lacks them"),
    }
}

/// The variables that either side has set.
fn variables(there: &Machine, here: &Machine) -> Vec<Requirement> {
    let none = BTreeMap::new();
    let here = here.variables.as_ref().unwrap_or(&none);
    let Some(there) = &there.variables else {
        let unknown = |(name, value): (&String, &String)| Requirement {
            name: name.clone(),
            there: None,
            here: Some(value.clone()),
            remedy: Remedy::Perhaps("the run does not say what it had"),
        };
        return here.iter().map(unknown).collect();
    };
    let names: BTreeSet<&String> = there.keys().chain(here.keys()).collect();
    // The kernels say more of it: what it selects depends on the processor.
    let names = names.into_iter().filter(|name| *name != ATEN_CPU_CAPABILITY);
    names
        .map(|name| {
            let [there, here] = [there, here].map(|variables| variables.get(name).cloned());
            let remedy = match &there {
                _ if there == here => Remedy::Met,
                Some(value) => Remedy::Set(name.clone(), value.clone()),
                None => Remedy::Unset(name.clone()),
            };
            Requirement { name: name.clone(), there, here, remedy }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Machine, Remedy, requirements};

    fn machine(processor: &str, cpu_capability: &str, variables: &[(&str, &str)]) -> Machine {
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Machine {
            processor: Some(processor.into()),
            cpu_capability: cpu_capability.into(),
            libtorch: Some("2.13.0+cpu".into()),
            libraries: None,
            gpus: None,
            driver: None,
            variables: Some(variables.collect::<BTreeMap<_, _>>()),
        }
    }

    #[test]
    fn what_differs_has_a_remedy_if_there_is_one() {
        let remedies = |there: &Machine, here: &Machine, on_gpu: bool| {
            let mut there = there.clone();
            if on_gpu {
                there.gpus = Some(vec!["NVIDIA H200, 9.0".into()]);
            }
            let requirements = requirements(&there, Some(1), Some(on_gpu), here, 2);
            let open = requirements.into_iter().filter(|requirement| requirement.remedy != Remedy::Met);
            open.map(|requirement| (requirement.name, requirement.remedy)).collect::<Vec<_>>()
        };
        let threads = || ("threads".to_string(), Remedy::Threads(1));
        let set = |name: &str, value: &str| Remedy::Set(name.into(), value.into());
        let [avx512, avx2] = [machine("A", "AVX512", &[]), machine("B", "AVX2", &[])];
        assert_eq!(remedies(&avx512, &avx512, false), [threads()]);
        assert_eq!(
            remedies(&avx2, &avx512, false),
            [
                ("CPU kernels".into(), set("ATEN_CPU_CAPABILITY", "avx2")),
                ("processor".into(), Remedy::Perhaps("MKL may select other kernels")),
                threads(),
            ]
        );
        assert_eq!(
            remedies(&avx512, &avx2, false)[0],
            ("CPU kernels".into(), Remedy::Never("this processor lacks them"))
        );
        let chosen = machine("A", "AVX2", &[("ATEN_CPU_CAPABILITY", "avx2"), ("MKL_CBWR", "AVX2")]);
        assert_eq!(
            remedies(&chosen, &avx512, false),
            [
                ("CPU kernels".into(), set("ATEN_CPU_CAPABILITY", "avx2")),
                threads(),
                ("MKL_CBWR".into(), set("MKL_CBWR", "AVX2")),
            ]
        );
        assert_eq!(
            remedies(&avx512, &chosen, false),
            [
                (
                    "CPU kernels".into(),
                    Remedy::Perhaps("ATEN_CPU_CAPABILITY hides the processor's own; unset it and ask again")
                ),
                threads(),
                ("MKL_CBWR".into(), Remedy::Unset("MKL_CBWR".into())),
            ]
        );
        assert_eq!(
            remedies(&avx512, &avx512, true)[1],
            ("GPUs".into(), Remedy::Never("another GPU has other kernels"))
        );
    }
}
