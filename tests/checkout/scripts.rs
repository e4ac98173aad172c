//! What happens before there is a program: the set-up's fetching of MNIST, in a checkout of its own, from mirrors that
//! are folders; and the commit that the build script finds.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use crate::common::{checkout, data_dir, stdout_of, strace};
use tempfile::{TempDir, tempdir};

const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// A checkout with nothing set up, and an npm that can't reach its registry.
fn fresh_checkout() -> TempDir {
    let folder = tempdir().unwrap();
    fs::create_dir_all(folder.path().join("scripts")).unwrap();
    fs::create_dir_all(folder.path().join("bin")).unwrap();
    for script in ["scripts/setup.sh", "scripts/requirements.txt"] {
        fs::copy(checkout().join(script), folder.path().join(script)).unwrap();
    }
    let npm = folder.path().join("bin/npm");
    fs::write(&npm, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&npm, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A folder with the four files as a mirror has them, `change` having been at the bytes of each.
fn mirror(folder: &Path, name: &str, change: impl Fn(&str, &mut Vec<u8>)) -> String {
    let mirror = folder.join(name);
    fs::create_dir(&mirror).unwrap();
    for file in FILES {
        let mut bytes = fs::read(data_dir().join("MNIST/raw").join(file)).unwrap();
        change(file, &mut bytes);
        fs::write(mirror.join(file), bytes).unwrap();
    }
    assert!(Command::new("gzip").arg("-1r").arg(&mirror).status().unwrap().success());
    format!("file://{}", mirror.display())
}

fn fetch_mnist(folder: &Path, mirrors: &str) -> Output {
    fetching_mnist(folder, mirrors).output().unwrap()
}

fn fetching_mnist(folder: &Path, mirrors: &str) -> Command {
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.args(["-c", "source scripts/setup.sh; read_options; set_up mnist"]);
    bash.current_dir(folder).env("PATH", path).env("ISLP_MNIST_MIRRORS", mirrors);
    bash
}

#[test]
#[ignore = "needs strace"]
fn where_nothing_can_be_locked_the_set_up_goes_on_and_says_so_under_strace() {
    let folder = fresh_checkout();
    let good = mirror(folder.path(), "good", |_, _| {});
    let mut set_up = strace("flock:error=ENOSYS", fetching_mnist(folder.path(), &good));
    let Output { status, stderr, .. } = set_up.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{stderr}");
    assert!(stderr.contains("locks do not work here") && !stderr.contains("another set-up"), "{stderr}");
    assert!(folder.path().join("data/MNIST/raw").join(FILES[3]).exists());
}

#[test]
fn a_file_with_another_checksum_is_refused_and_nothing_is_left_in_place() {
    let folder = fresh_checkout();
    let altered = mirror(folder.path(), "altered", |file, bytes| {
        if file == "t10k-labels-idx1-ubyte" {
            bytes[100] ^= 1;
        }
    });
    let Output { status, stderr, .. } = fetch_mnist(folder.path(), &altered);
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&format!(
        "{altered}: its t10k-labels-idx1-ubyte is not MNIST's (SHA-256 differs), refused"
    )));
    assert!(stderr.lines().last().unwrap().contains("MNIST could not be fetched"), "{stderr}");
    assert!(!folder.path().join("data").exists());
}

#[test]
fn a_mirror_that_cannot_be_reached_is_passed_over_for_the_next() {
    let folder = fresh_checkout();
    let good = mirror(folder.path(), "good", |_, _| {});
    let output = fetch_mnist(folder.path(), &format!("file:///no/such/mirror {good}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"", "stdout belongs to the program");
    let raw = folder.path().join("data/MNIST/raw");
    let mut names: Vec<_> = fs::read_dir(&raw).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let mut expected = FILES;
    expected.sort_unstable();
    assert_eq!(names, expected);
    // A second time nothing is fetched, and a file that isn't MNIST's is named and kept.
    assert!(fetch_mnist(folder.path(), "").status.success());
    fs::write(raw.join(FILES[1]), "mine").unwrap();
    let output = fetch_mnist(folder.path(), &good);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("train-labels-idx1-ubyte: not MNIST's file"));
    assert_eq!(fs::read(raw.join(FILES[1])).unwrap(), b"mine");
}

/// A script's line of bash in a fresh checkout, with only these programs to be found; exit code and stderr.
fn in_fresh_checkout(line: &str, programs: &[&str]) -> (Option<i32>, String) {
    let folder = fresh_checkout();
    let bin = folder.path().join("bin");
    fs::remove_file(bin.join("npm")).unwrap();
    for program in
        ["bash", "sed", "dirname", "rm", "rmdir", "flock", "xargs", "ldconfig", "grep"].iter().chain(programs)
    {
        let found = stdout_of(Command::new("bash").args(["-c", "type -P \"$0\" || true", program]));
        if !found.is_empty() {
            symlink(found.trim_end(), bin.join(program)).unwrap();
        }
    }
    // A Python that is too old for all of it.
    let python = bin.join("python3.9");
    fs::write(&python, "#!/bin/bash\n[[ $* != *version_info* ]]\n").unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let mut bash = Command::new("bash");
    bash.args(["-c", line, "parity.sh"]).current_dir(&folder).env("PATH", &bin).env("PYTHON", "python3.9");
    // This checkout's, which scripts/test.sh exports, have a program already.
    for variable in ["CARGO_TARGET_DIR", "LIBTORCH", "LIBTORCH_USE_PYTORCH"] {
        bash.env_remove(variable);
    }
    let output = bash.output().unwrap();
    assert!(!folder.path().join(".libtorch.new").exists(), "nothing was begun");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_a_set_up_needs_it_says_before_it_fetches_anything() {
    let set_up = |parts: &str| format!("source scripts/setup.sh; read_options; set_up {parts}");
    for (parts, programs, said) in [
        ("libtorch", &[][..], "parity.sh: the program needs cargo, which is missing: install Rust"),
        (
            "libtorch",
            &["cargo"],
            "parity.sh: the program needs c++, which is missing: install a C++ compiler",
        ),
        (
            "libtorch",
            &["cargo", "c++"],
            "needs Python 3.10 or newer, which python3.9 is not: set PYTHON to one",
        ),
        ("mnist reference", &[], "the Python reference (5.5 GB in .venv) needs Python 3.11 or newer"),
        ("peers", &[], "JAX needs Python 3.11 or newer"),
        ("pages", &[], "the check of HTML pages needs npm"),
    ] {
        let (code, stderr) = in_fresh_checkout(&set_up(parts), programs);
        assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
}

#[test]
fn a_script_says_that_the_build_takes_minutes_and_its_help_what_it_needs() {
    let build = "source scripts/setup.sh; cargo() { :; }; c++() { :; }; run() { :; }; build";
    let (code, stderr) = in_fresh_checkout(build, &[]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stderr, "parity.sh: building the program, which takes some minutes the first time\n");
    for (script, needs) in [
        ("reproduce.sh", &["Python 3.10", "2 GB", "builds the program, which takes some minutes"][..]),
        ("parity.sh", &["Python 3.11", "5.5 GB", "some five minutes"]),
        ("bench.sh", &["Python 3.11", "5.5 GB", "minutes"]),
        ("gpu_check.sh", &["Python 3.11", "12 GB", "ten minutes"]),
    ] {
        let help = stdout_of(Command::new(checkout().join("scripts").join(script)).arg("--help"));
        for needs in needs {
            assert!(help.contains(needs), "{script}: {needs} is not in {help}");
        }
    }
}

#[test]
fn mnist_that_lies_in_data_under_other_names_is_taken_from_there() {
    let folder = fresh_checkout();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    for file in FILES {
        let bytes = fs::read(data_dir().join("MNIST/raw").join(file)).unwrap();
        fs::create_dir(data.join(file)).unwrap();
        let is_kaggles = file.starts_with("train");
        let path =
            if is_kaggles { data.join(file).join(file) } else { data.join(file.replace("-idx", ".idx")) };
        fs::write(&path, bytes).unwrap();
        if !is_kaggles {
            assert!(Command::new("gzip").arg("-1").arg(&path).status().unwrap().success());
        }
    }
    let output = fetch_mnist(folder.path(), "file:///no/such/mirror");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !stderr.contains("fetching"), "{stderr}");
    for file in FILES {
        let [ours, theirs] =
            [&data, &data_dir()].map(|data| fs::read(data.join("MNIST/raw").join(file)).unwrap());
        assert!(ours == theirs, "{file}");
    }
    // Theirs stay where they are.
    assert!(data.join(FILES[0]).join(FILES[0]).exists() && data.join("t10k-images.idx3-ubyte.gz").exists());
    assert!(!data.join("MNIST/raw/.new").exists());
}

/// What the build script says in this folder, which it compiles the program with.
fn build_script(folder: &Path, script: &Path) -> String {
    let mut command = Command::new(script);
    command.current_dir(folder).env("DEP_TCH_LIBTORCH_LIB", "lib");
    stdout_of(&mut command)
}

/// scripts/gpu_check.sh with these options; exit code and stderr.
fn gpu_check(options: &[&str]) -> (Option<i32>, String) {
    let mut script = Command::new(checkout().join("scripts/gpu_check.sh"));
    let output = script.args(options).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn without_a_gpu_its_check_and_parity_on_it_say_so() {
    // With a driver that the script itself finds there is nothing to see here.
    let has_driver = "source scripts/setup.sh; nvidia_driver_is_there";
    if Command::new("bash").args(["-c", has_driver]).current_dir(checkout()).status().unwrap().success() {
        return;
    }
    let (code, stderr) = gpu_check(&[]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.starts_with("gpu_check.sh: no NVIDIA driver found"), "{stderr}");
    for (options, refusal) in [
        (["--device", "cuda"], "--device cuda: no NVIDIA driver found"),
        (["--device", "mps"], "--device mps: must be cpu or cuda"),
        (["--generator", "cuda"], "--generator: not accepted here"),
    ] {
        let output = Command::new(checkout().join("scripts/parity.sh")).args(options).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.starts_with(&format!("parity.sh: {refusal}")), "{stderr}");
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn the_check_of_a_gpu_does_on_the_cpu_all_that_it_can() {
    let folder = tempdir().unwrap();
    let _target_folder = crate::target_folder();
    let output = folder.path().join("gpu");
    let options = ["--rehearse", "--epochs", "1", "--runs", "1", "--output-dir", output.to_str().unwrap()];
    let (code, stderr) = gpu_check(&options);
    assert_eq!(code, Some(0), "{stderr}");
    let report = fs::read_to_string(output.join("report.md")).unwrap();
    assert!(report.starts_with("# Rehearsal on the CPU: this does not test a GPU\n"), "{report}");
    let passed = report.lines().filter(|line| line.starts_with("## ") && line.ends_with(": passed"));
    assert_eq!(passed.count(), 9, "{report}");
    assert!(
        report.contains("\nidentical: 6 files, 8 tensors, 752 steps traced, 0 differences\n"),
        "{report}"
    );
    // What is there stays there.
    let (code, stderr) = gpu_check(&options);
    assert!(code == Some(2) && stderr.contains("is not empty"), "{stderr}");
    assert_eq!(fs::read_to_string(output.join("report.md")).unwrap(), report);
}

#[test]
#[ignore = "needs the Python reference"]
fn no_script_has_the_name_of_a_module_that_python_or_a_package_imports() {
    // Beside a script, or on PYTHONPATH, it would be imported in that one's place.
    const NAMES: &str =
        "import importlib.metadata as m, sys; print(*sys.stdlib_module_names, *m.packages_distributions())";
    let mut python = Command::new(checkout().join(".venv/bin/python"));
    let names = stdout_of(python.args(["-I", "-c", NAMES]));
    let names: Vec<&str> = names.split_whitespace().collect();
    assert!(names.contains(&"statistics") && names.contains(&"torch"));
    for folder in ["scripts", "tests"] {
        for entry in fs::read_dir(checkout().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let module = name.strip_suffix(".py").unwrap_or_default();
            assert!(!names.contains(&module), "{folder}/{name}: {module} is another module's name");
        }
    }
}

fn git(folder: &Path, arguments: &str) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=n", "-c", "user.email=e"]);
    stdout_of(git.current_dir(folder).args(arguments.split(' '))).trim().to_string()
}

#[test]
fn the_build_knows_its_commit_in_a_worktree_too_and_is_done_again_after_the_next() {
    let folder = tempdir().unwrap();
    let script = folder.path().join("build-script");
    let mut rustc = Command::new("rustc");
    stdout_of(rustc.args(["--edition", "2024", "-o"]).arg(&script).arg(checkout().join("build.rs")));
    let (main, worktree) = (folder.path().join("main"), folder.path().join("worktree"));
    fs::create_dir_all(main.join("src")).unwrap();
    fs::write(main.join("src/main.rs"), "fn main() {}").unwrap();
    git(&main, "init --quiet");
    git(&main, "add src");
    git(&main, "commit --quiet -m first");
    git(&main, "worktree add --quiet ../worktree");
    for checkout in [&main, &worktree] {
        let said = build_script(checkout, &script);
        let commit = git(checkout, "rev-parse HEAD");
        assert!(said.lines().any(|line| line == format!("cargo::rustc-env=GIT_COMMIT={commit}")), "{said}");
        // Cargo runs it again if one of these has changed.
        let paths = said.lines().filter_map(|line| line.strip_prefix("cargo::rerun-if-changed="));
        let files: Vec<_> = paths.map(|path| checkout.join(path)).filter(|path| path.is_file()).collect();
        let contents = || files.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
        let before = contents();
        git(checkout, "commit --quiet --allow-empty -m next");
        assert!(contents() != before, "{said}");
        assert_ne!(git(checkout, "rev-parse HEAD"), commit);

        fs::write(checkout.join("src/main.rs"), "fn main() { }").unwrap();
        let commit = git(checkout, "rev-parse HEAD");
        let said = build_script(checkout, &script);
        assert!(said.contains(&format!("GIT_COMMIT={commit}-modified")), "{said}");
    }
}
