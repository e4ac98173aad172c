//! `doctor`, and the libraries that a process loads for each `--device`.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use crate::common::{Lab, checkout, command, data_dir, program, python, stdout_of};
use islp_mnist::torch::libtorch;
use islp_mnist::torchvision;
use tempfile::{TempDir, tempdir, tempdir_in};

/// The program in the checkout, where data/ is MNIST.
fn doctor(options: &str) -> assert_cmd::Command {
    let mut command = program(checkout(), &format!("doctor {options}"));
    // Other tests hide the GPUs.
    command.env("CUDA_VISIBLE_DEVICES", "0");
    command
}

/// The report of a doctor that must end with this exit code.
fn report(doctor: &mut assert_cmd::Command, code: i32) -> String {
    let assert = doctor.assert().code(code).stderr("");
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

/// The finding in the line with this name.
fn found(report: &str, name: &str) -> String {
    let lines: Vec<&str> = report.lines().filter_map(|line| line.strip_prefix(name)).collect();
    assert_eq!(lines.len(), 1, "{report}");
    lines[0].trim().to_string()
}

/// A folder for the loader in which a library that is no driver has the driver's name.
fn stand_in_driver() -> TempDir {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let libm = maps.lines().find(|line| line.contains("/libm.so")).expect("libtorch loads libm");
    let folder = tempdir().unwrap();
    fs::copy(&libm[libm.find('/').unwrap()..], folder.path().join("libcuda.so.1")).unwrap();
    folder
}

/// A folder for the loader in which a file with the driver's name is no library.
fn no_driver() -> TempDir {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("libcuda.so.1"), "no library\n".repeat(100)).unwrap();
    folder
}

/// The problem with CUDA beside a driver that sees no GPU; it depends on the libtorch here.
fn missing_beside_a_driver() -> String {
    let libtorch_cuda = libtorch::folder().unwrap().join("libtorch_cuda.so");
    if !libtorch_cuda.exists() {
        return "no libtorch_cuda.so".into();
    }
    let ldd = stdout_of(Command::new("ldd").arg(libtorch_cuda));
    match ldd.lines().find_map(|line| line.trim().strip_suffix(" => not found")) {
        Some(library) => library.to_string(),
        None => "no GPU with index 0".into(),
    }
}

#[test]
fn where_all_is_well_every_check_has_a_line_and_the_exit_code_is_0() {
    let report = report(&mut doctor("--device cpu"), 0);
    let loaded_from = found(&report, "loaded from");
    for library in ["libc10.so", "libtorch_cpu.so"] {
        assert!(loaded_from.contains(library), "{loaded_from}");
    }
    assert!(loaded_from.contains(libtorch::folder().unwrap().to_str().unwrap()), "{loaded_from}");
    // Facts of this machine.
    let report = report
        .replace(&loaded_from, "FILES")
        .replace(&libtorch::version().unwrap(), "2.13.0+BUILD")
        .replace(libtorch::cpu_capability(), "CAPABILITY")
        .replace(&format!("{} between", tch::get_num_interop_threads()), "N between");
    insta::assert_snapshot!(report, @r"
    libtorch      2.13.0+BUILD, as expected
    loaded from   FILES
    CPU           CAPABILITY kernels
    threads       1 within an operation, N between operations
    libraries     MKL yes, oneDNN yes, OpenMP yes
    CUDA          not checked, because of --device cpu
    data          data/MNIST/raw: 4 files, checksums as expected
    generator     draws what libtorch draws
    all is well
    ");
}

#[test]
fn a_libtorch_for_the_cpu_alone_and_one_of_another_version_are_reported() {
    // This libtorch from another folder, which has no CUDA half and says that it is another version.
    let folder = tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (original, lib) = (libtorch::folder().unwrap(), folder.path().join("lib"));
    let libtorch_cpu = lib.join("libtorch_cpu.so");
    fs::create_dir(&lib).unwrap();
    // On one file system a second name spares the copy; by a symbolic link the loader would see the first.
    fs::hard_link(original.join("libtorch_cpu.so"), &libtorch_cpu)
        .or_else(|_| fs::copy(original.join("libtorch_cpu.so"), &libtorch_cpu).map(drop))
        .unwrap();
    fs::write(folder.path().join("build-version"), "2.12.1+cpu\n").unwrap();
    let driver = stand_in_driver();
    // Its dependencies are where this one found them.
    let folders: Vec<_> =
        libtorch::files().unwrap().iter().map(|file| file.parent().unwrap().to_owned()).collect();
    let path = env::join_paths(folders.into_iter().chain([driver.path().to_owned()])).unwrap();

    let mut command = doctor("--device cuda");
    let report = report(command.env("LD_PRELOAD", &libtorch_cpu).env("LD_LIBRARY_PATH", path), 1);
    let version = found(&report, "libtorch");
    assert!(version.starts_with("PROBLEM: ") && version.contains("2.12.1+cpu"), "{version}");
    let cuda = found(&report, "CUDA");
    assert!(cuda.starts_with("PROBLEM: ") && cuda.contains(lib.to_str().unwrap()), "{cuda}");
    assert!(cuda.contains("scripts/reproduce.sh --cuda"), "{cuda}");
    assert!(report.ends_with("\n2 problems: libtorch, CUDA\n"), "{report}");
}

#[test]
fn missing_cuda_is_named_and_a_problem_only_where_it_is_asked_for() {
    let (beside_a_driver, stand_in, none) = (missing_beside_a_driver(), stand_in_driver(), no_driver());
    let libcuda = none.path().join("libcuda.so.1");
    for (driver, missing) in [(&stand_in, beside_a_driver.as_str()), (&none, libcuda.to_str().unwrap())] {
        for (options, code, verdict, end) in [
            ("", 0, "not used: ", "\nall is well\n"),
            ("--device cuda", 1, "PROBLEM: ", "\n1 problem: CUDA\n"),
        ] {
            let report = report(doctor(options).env("LD_LIBRARY_PATH", driver.path()), code);
            let cuda = found(&report, "CUDA");
            assert!(cuda.starts_with(verdict) && cuda.contains(missing), "{missing}: {cuda}");
            assert!(report.ends_with(end), "{report}");
        }
    }
}

#[test]
fn gpus_that_are_hidden_on_purpose_are_not_looked_for() {
    let driver = stand_in_driver();
    let hidden = |options: &str, code| {
        let mut command = doctor(options);
        command.env("LD_LIBRARY_PATH", driver.path()).env("CUDA_VISIBLE_DEVICES", "");
        found(&report(&mut command, code), "CUDA").to_string()
    };
    let reason = "CUDA_VISIBLE_DEVICES hides every GPU; unset it, or use --device cpu";
    assert_eq!(hidden("", 0), format!("not used: {reason}"));
    assert_eq!(hidden("--device cuda", 1), format!("PROBLEM: {reason}"));
}

#[test]
fn a_run_on_the_cpu_loads_nothing_of_cuda_even_where_there_is_a_driver() {
    // The loader itself says what it loads.
    let loaded = |device: &str, driver: &TempDir| {
        let mut command = doctor(&format!("--device {device}"));
        let output = command.env("LD_LIBRARY_PATH", driver.path()).env("LD_DEBUG", "files").output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let name =
            |line: &str| Some(PathBuf::from(line.split_once("calling init: ")?.1).file_name()?.to_owned());
        let names: Vec<_> = stderr.lines().filter_map(name).collect();
        ["libtorch_cpu.so", "libcuda.so.1", "libtorch_cuda.so"]
            .map(|library| names.iter().any(|name| name == library))
    };
    let loadable = missing_beside_a_driver().starts_with("no GPU");
    assert_eq!(loaded("cpu", &stand_in_driver()), [true, false, false]);
    assert_eq!(loaded("auto", &no_driver()), [true, false, false]);
    assert_eq!(loaded("auto", &stand_in_driver()), [true, true, loadable]);
}

#[test]
fn a_run_from_elsewhere_is_compared_with_this_machine() {
    let lab = Lab::new();
    let mut train =
        command(lab.path(), "train --model mlr --epochs 1 --data-dir data --threads 1 --trace there.trace");
    train.envs([("ATEN_CPU_CAPABILITY", "default"), ("MKL_CBWR", "COMPATIBLE")]);
    let run = lab.path().join(stdout_of(&mut train).trim_end());
    let against = |file: &str, settings: &[(&str, &str)], code| {
        let mut doctor = doctor("--device cpu --against");
        let report = report(doctor.arg(run.join(file)).envs(settings.iter().copied()), code);
        report.split_once("\nagainst ").unwrap().1.split_once('\n').unwrap().1.to_string()
    };
    for file in ["run.json", "../../../there.trace"] {
        let open = against(file, &[], 1);
        assert_eq!(found(&open, "  libtorch"), format!("{}, as here", libtorch::version().unwrap()));
        assert_eq!(
            found(&open, "  CPU kernels"),
            format!("DEFAULT there, {} here", libtorch::cpu_capability())
        );
        assert_eq!(found(&open, "  threads"), "1, as here");
        assert_eq!(found(&open, "  MKL_CBWR"), "COMPATIBLE there, none here");
        assert_eq!(
            found(&open, "  yes:"),
            "this machine can compute the same bits, with ATEN_CPU_CAPABILITY=default, MKL_CBWR=COMPATIBLE"
        );
        let met = against(file, &[("ATEN_CPU_CAPABILITY", "default"), ("MKL_CBWR", "COMPATIBLE")], 0);
        assert_eq!(found(&met, "  yes:"), "this machine can compute the same bits");
        let too_many =
            [("ATEN_CPU_CAPABILITY", "default"), ("MKL_CBWR", "COMPATIBLE"), ("KMP_AFFINITY", "none")];
        let surplus = against(file, &too_many, 1);
        assert_eq!(
            found(&surplus, "  yes:"),
            "this machine can compute the same bits, with KMP_AFFINITY unset"
        );
    }
    lab.write("old.json", "{}");
    lab.assert_refused("doctor --against old.json", 1, &["old.json", "version 0.2"]);
    lab.assert_refused("doctor --against no.trace", 1, &["no.trace"]);
    lab.assert_refused("doctor --against no.json", 1, &["no.json", "No such file"]);
}

#[test]
fn missing_and_altered_data_are_named_and_the_exit_code_is_1() {
    let folder = tempdir().unwrap();
    let raw = torchvision::raw_folder(folder.path());
    fs::create_dir_all(&raw).unwrap();
    let [images, labels, missing, a_folder] = torchvision::CHECKSUMS.map(|(name, _)| name);
    symlink(torchvision::raw_folder(&data_dir()).join(images), raw.join(images)).unwrap();
    let mut bytes = fs::read(torchvision::raw_folder(&data_dir()).join(labels)).unwrap();
    bytes[100] ^= 1;
    fs::write(raw.join(labels), bytes).unwrap();
    fs::create_dir(raw.join(a_folder)).unwrap();

    let report = report(doctor("--device cpu --data-dir").arg(folder.path()), 1);
    let data = found(&report, "data");
    assert!(data.starts_with(&format!("PROBLEM: {}: ", raw.display())), "{data}");
    let wrong = [
        format!("{labels} is not MNIST's"),
        format!("{missing} is missing"),
        format!("{}: not a regular file", raw.join(a_folder).display()),
    ];
    assert!(wrong.iter().all(|wrong| data.contains(wrong)) && !data.contains(images), "{data}");
    assert!(report.ends_with("\n1 problem: data\n"), "{report}");
    let error = torchvision::checksums(folder.path()).unwrap_err().to_string();
    assert!(error.contains(raw.join(missing).to_str().unwrap()), "{error}");
}

#[test]
fn the_checksums_are_those_of_the_set_up_and_of_the_data_it_fetched() {
    let setup = fs::read_to_string(checkout().join("scripts/setup.sh")).unwrap();
    for (name, checksum) in torchvision::CHECKSUMS {
        assert!(setup.contains(&format!("{checksum} {name}")), "{name}");
    }
    let expected = torchvision::CHECKSUMS.map(|(name, checksum)| (name, checksum.to_string()));
    assert_eq!(torchvision::checksums(&data_dir()).unwrap(), expected.into());
}

#[test]
fn the_generator_agrees_with_whichever_kernels_libtorch_takes() {
    for (capability, name) in [("default", "DEFAULT"), ("avx2", "AVX2")] {
        let report = report(doctor("--device cpu").env("ATEN_CPU_CAPABILITY", capability), 0);
        assert_eq!(found(&report, "CPU"), format!("{name} kernels"));
        assert_eq!(found(&report, "generator"), "draws what libtorch draws");
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn the_kernels_taken_are_those_that_python_names() {
    for capability in [None, Some("default"), Some("avx2")] {
        let (mut ours, mut theirs) = (doctor("--device cpu"), python("tests/cpu_capability.py"));
        ours.env_remove("ATEN_CPU_CAPABILITY").envs(capability.map(|name| ("ATEN_CPU_CAPABILITY", name)));
        theirs.env_remove("ATEN_CPU_CAPABILITY").envs(capability.map(|name| ("ATEN_CPU_CAPABILITY", name)));
        let (ours, theirs) = (report(&mut ours, 0), stdout_of(&mut theirs));
        assert_eq!(found(&ours, "CPU"), format!("{} kernels", theirs.trim()), "{capability:?}");
    }
}
