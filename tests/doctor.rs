//! `islp-mnist doctor`, and with it what a process loads for which `--device`.

mod common;

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::{env, fs};

use common::{checkout, data_dir, islp_mnist, python, stdout_of};
use islp_mnist::torch::libtorch;
use islp_mnist::torchvision;
use tempfile::{TempDir, tempdir, tempdir_in};

/// The program in the checkout, where data/ is MNIST, with one thread.
fn doctor(options: &[&str]) -> Command {
    let mut command = islp_mnist();
    command.current_dir(checkout()).arg("doctor").args(options).env("OMP_NUM_THREADS", "1");
    command
}

/// Exit code and stdout.
fn outcome(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap())
}

/// What the line with this name finds.
fn found(stdout: &str, name: &str) -> String {
    let lines: Vec<&str> = stdout.lines().filter_map(|line| line.strip_prefix(name)).collect();
    assert_eq!(lines.len(), 1, "{stdout}");
    lines[0].trim().to_string()
}

/// A folder to put first for the loader, where a library that is no driver has the driver's name.
fn stand_in_driver() -> TempDir {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let libm = maps.lines().find(|line| line.contains("/libm.so")).expect("libtorch loads libm");
    let folder = tempdir().unwrap();
    fs::copy(&libm[libm.find('/').unwrap()..], folder.path().join("libcuda.so.1")).unwrap();
    folder
}

/// A folder to put first for the loader, where what has the driver's name is no library.
fn no_driver() -> TempDir {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("libcuda.so.1"), "no library\n".repeat(100)).unwrap();
    folder
}

/// What CUDA lacks beside a driver that sees no GPU, which depends on the libtorch here.
fn missing_beside_a_driver() -> String {
    let folder = libtorch::folder().unwrap();
    let libtorch_cuda = folder.join("libtorch_cuda.so");
    if !libtorch_cuda.exists() {
        return format!(
            "libtorch is for the CPU only, {} holds no libtorch_cuda.so; scripts/reproduce.sh --cuda fetches one with \
             CUDA, or take --device cpu",
            folder.display()
        );
    }
    let ldd = stdout_of(Command::new("ldd").arg(libtorch_cuda));
    match ldd.lines().find_map(|line| line.trim().strip_suffix(" => not found")) {
        Some(library) => format!(
            "libtorch_cuda.so cannot be loaded ({library}: cannot open shared object file: No such file or directory); \
             scripts/reproduce.sh --cuda fetches all that it needs, or take --device cpu"
        ),
        None => "no GPU with index 0, libtorch sees 0; check nvidia-smi and CUDA_VISIBLE_DEVICES, or take --device cpu"
            .into(),
    }
}

#[test]
fn where_all_is_well_every_check_has_a_line_and_the_exit_code_is_0() {
    let folder = libtorch::folder().unwrap();
    let version = libtorch::version().unwrap();
    assert!(version.starts_with("2.13.0"), "{version}");
    let (code, stdout) = outcome(&mut doctor(&["--device", "cpu"]));
    let loaded_from = found(&stdout, "loaded from");
    assert!(loaded_from.contains(&format!("{}: libc10.so", folder.display())), "{loaded_from}");
    assert!(loaded_from.contains("libtorch_cpu.so"), "{loaded_from}");
    assert_eq!(
        stdout,
        format!(
            "libtorch      {version}, as expected\n\
             loaded from   {loaded_from}\n\
             CPU           {} kernels\n\
             threads       1 within an operation, {} between operations\n\
             libraries     MKL yes, oneDNN yes, OpenMP yes\n\
             CUDA          not looked for, with --device cpu\n\
             data          data/MNIST/raw: 4 files, checksums as expected\n\
             generator     draws what libtorch draws\n\
             all is well\n",
            libtorch::cpu_capability(),
            tch::get_num_interop_threads()
        )
    );
    assert_eq!(code, Some(0));
}

#[test]
fn a_libtorch_for_the_cpu_alone_and_one_of_another_version_are_told() {
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
    // What else it needs lies where this one found it.
    let folders: Vec<_> =
        libtorch::files().unwrap().iter().map(|file| file.parent().unwrap().to_owned()).collect();
    let path = env::join_paths(folders.into_iter().chain([driver.path().to_owned()])).unwrap();

    let mut command = doctor(&["--device", "cuda"]);
    let (code, stdout) = outcome(command.env("LD_PRELOAD", &libtorch_cpu).env("LD_LIBRARY_PATH", path));
    assert_eq!(
        found(&stdout, "libtorch"),
        "PROBLEM: 2.12.1+cpu, but 2.13.0 is expected; scripts/reproduce.sh fetches that, unless LIBTORCH or \
         LIBTORCH_USE_PYTORCH is set"
    );
    assert_eq!(
        found(&stdout, "CUDA"),
        format!(
            "PROBLEM: libtorch is for the CPU only, {} holds no libtorch_cuda.so; scripts/reproduce.sh --cuda fetches \
             one with CUDA, or take --device cpu",
            lib.display()
        )
    );
    assert!(stdout.ends_with("\n2 problems: libtorch, CUDA\n"), "{stdout}");
    assert_eq!(code, Some(1));
}

#[test]
fn missing_cuda_is_named_and_a_problem_only_where_it_is_asked_for() {
    for (driver, missing) in [
        (stand_in_driver(), missing_beside_a_driver()),
        (
            no_driver(),
            "no NVIDIA driver (DIR/libcuda.so.1: invalid ELF header); install one, or take --device cpu"
                .into(),
        ),
    ] {
        let missing = missing.replace("DIR", driver.path().to_str().unwrap());
        let (code, stdout) = outcome(doctor(&[]).env("LD_LIBRARY_PATH", driver.path()));
        assert_eq!(found(&stdout, "CUDA"), format!("not used: {missing}"));
        assert!(stdout.ends_with("\nall is well\n"), "{stdout}");
        assert_eq!(code, Some(0));

        let (code, stdout) = outcome(doctor(&["--device", "cuda"]).env("LD_LIBRARY_PATH", driver.path()));
        assert_eq!(found(&stdout, "CUDA"), format!("PROBLEM: {missing}"));
        assert!(stdout.ends_with("\n1 problem: CUDA\n"), "{stdout}");
        assert_eq!(code, Some(1));
    }
}

#[test]
fn a_run_on_the_cpu_loads_nothing_of_cuda_even_where_there_is_a_driver() {
    // The loader itself says what it loads.
    let loaded = |device: &str, driver: &TempDir| {
        let mut command = doctor(&["--device", device]);
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
fn missing_and_altered_data_are_named_and_the_exit_code_is_1() {
    let folder = tempdir().unwrap();
    let raw = torchvision::raw_folder(folder.path());
    fs::create_dir_all(&raw).unwrap();
    for (name, _) in &torchvision::CHECKSUMS[..2] {
        symlink(torchvision::raw_folder(&data_dir()).join(name), raw.join(name)).unwrap();
    }
    let mut labels = fs::read(raw.join("train-labels-idx1-ubyte")).unwrap();
    labels[100] ^= 1;
    fs::remove_file(raw.join("train-labels-idx1-ubyte")).unwrap();
    fs::write(raw.join("train-labels-idx1-ubyte"), labels).unwrap();
    fs::create_dir(raw.join("t10k-labels-idx1-ubyte")).unwrap();

    let data_dir = folder.path().to_str().unwrap();
    let (code, stdout) = outcome(&mut doctor(&["--device", "cpu", "--data-dir", data_dir]));
    assert_eq!(
        found(&stdout, "data"),
        format!(
            "PROBLEM: {}: train-labels-idx1-ubyte is not MNIST's, its SHA-256 differs; t10k-images-idx3-ubyte is \
             missing; t10k-labels-idx1-ubyte cannot be read: not a regular file; remove what is wrong and run \
             scripts/reproduce.sh without --data-dir, which fetches what is missing into data/, or name another folder \
             with --data-dir",
            raw.display()
        )
    );
    assert!(stdout.ends_with("\n1 problem: data\n"), "{stdout}");
    assert_eq!(code, Some(1));
    assert_eq!(
        format!("{:#}", torchvision::checksums(folder.path()).unwrap_err()),
        format!(
            "cannot read {}/t10k-images-idx3-ubyte: No such file or directory (os error 2)",
            raw.display()
        )
    );
}

#[test]
fn the_checksums_are_those_of_the_set_up_and_of_the_data_it_fetched() {
    let setup = fs::read_to_string(checkout().join("scripts/setup.sh")).unwrap();
    for (name, checksum) in torchvision::CHECKSUMS {
        assert!(setup.contains(&format!("{checksum} {name}")), "{name}");
    }
    assert!(setup.contains(&format!("\ntorch={} ", libtorch::EXPECTED_VERSION)));
    let expected = torchvision::CHECKSUMS.map(|(name, checksum)| (name, checksum.to_string()));
    assert_eq!(torchvision::checksums(&data_dir()).unwrap(), expected.into());
}

#[test]
fn the_generator_agrees_with_whichever_kernels_libtorch_takes() {
    for (capability, name) in [("default", "DEFAULT"), ("avx2", "AVX2")] {
        let stdout = stdout_of(doctor(&["--device", "cpu"]).env("ATEN_CPU_CAPABILITY", capability));
        assert_eq!(found(&stdout, "CPU"), format!("{name} kernels"));
        assert_eq!(found(&stdout, "generator"), "draws what libtorch draws");
    }
}

#[test]
#[ignore = "needs the Python reference, which scripts/test.sh sets up and runs this with"]
fn the_kernels_taken_are_those_that_python_names() {
    let capability_in = |command: &mut Command, set: Option<&str>| match set {
        Some(capability) => stdout_of(command.env("ATEN_CPU_CAPABILITY", capability)),
        None => stdout_of(command.env_remove("ATEN_CPU_CAPABILITY")),
    };
    for set in [None, Some("default"), Some("avx2")] {
        let ours = capability_in(&mut doctor(&["--device", "cpu"]), set);
        let theirs = capability_in(&mut python("tests/cpu_capability.py"), set);
        assert_eq!(found(&ours, "CPU"), format!("{} kernels", theirs.trim()), "{set:?}");
    }
}

#[test]
fn a_device_that_is_none_is_one_line_and_exit_code_2() {
    let Output { status, stdout, stderr } = doctor(&["--device", "gpu"]).output().unwrap();
    assert_eq!(
        String::from_utf8(stderr).unwrap(),
        "error: invalid value 'gpu' for '--device <DEVICE>': must be auto, cpu, cuda, cuda:N or mps; try '--help'\n"
    );
    assert_eq!((status.code(), stdout.len()), (Some(2), 0));
}
