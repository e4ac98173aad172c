//! The scripts before there is a program: the set-up fetches MNIST, in a checkout of its own, from mirrors that are
//! folders; and the build script finds the commit.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use crate::common::{checkout, data_dir, names, stdout_of, strace};
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
    write_program(&folder.path().join("bin/npm"), "#!/bin/sh\nexit 1\n");
    folder
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A folder with the four files of a mirror, their bytes changed by `change`.
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

/// Exit code and stderr of a command that prints nothing, because stdout belongs to the program.
fn ended(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(stdout, b"", "{stderr}");
    (status.code(), stderr)
}

fn fetch_mnist(folder: &Path, mirrors: &str) -> (Option<i32>, String) {
    ended(&mut fetching_mnist(folder, mirrors))
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
fn where_nothing_can_be_locked_the_set_up_says_so_and_continues_under_strace() {
    let folder = fresh_checkout();
    let good = mirror(folder.path(), "good", |_, _| {});
    let (code, stderr) = ended(&mut strace("flock:error=ENOSYS", fetching_mnist(folder.path(), &good)));
    assert_eq!(code, Some(0), "{stderr}");
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
    let (code, stderr) = fetch_mnist(folder.path(), &altered);
    assert_eq!(code, Some(1), "{stderr}");
    let refusal = "its t10k-labels-idx1-ubyte is not MNIST's (SHA-256 differs), refused";
    assert!(stderr.contains(&format!("{altered}: {refusal}")), "{stderr}");
    assert!(stderr.lines().last().unwrap().contains("MNIST could not be fetched"), "{stderr}");
    assert!(!folder.path().join("data").exists());
}

#[test]
fn a_mirror_that_cannot_be_reached_is_skipped() {
    let folder = fresh_checkout();
    let good = mirror(folder.path(), "good", |_, _| {});
    let (code, stderr) = fetch_mnist(folder.path(), &format!("file:///no/such/mirror {good}"));
    assert_eq!(code, Some(0), "{stderr}");
    let raw = folder.path().join("data/MNIST/raw");
    let mut expected = FILES;
    expected.sort_unstable();
    assert_eq!(names(&raw), expected);
    // A second time nothing is fetched, and a file that isn't MNIST's is named and kept.
    assert_eq!(fetch_mnist(folder.path(), "").0, Some(0));
    fs::write(raw.join(FILES[1]), "mine").unwrap();
    let (code, stderr) = fetch_mnist(folder.path(), &good);
    let refusal = "train-labels-idx1-ubyte: not MNIST's file";
    assert!(code == Some(1) && stderr.contains(refusal), "{stderr}");
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
    // Too old for everything.
    write_program(&bin.join("python3.9"), "#!/bin/bash\n[[ $* != *version_info* ]]\n");
    let mut bash = Command::new("bash");
    bash.args(["-c", line, "parity.sh"]).current_dir(&folder).env("PATH", &bin).env("PYTHON", "python3.9");
    // This checkout's, which scripts/test.sh exports, have a program already.
    for variable in ["CARGO_TARGET_DIR", "LIBTORCH", "LIBTORCH_USE_PYTORCH"] {
        bash.env_remove(variable);
    }
    let ended = ended(&mut bash);
    assert!(!folder.path().join(".libtorch.new").exists(), "nothing was begun");
    ended
}

#[test]
fn a_set_up_says_what_it_needs_before_it_fetches_anything() {
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
fn a_script_says_that_the_build_takes_minutes_and_its_help_says_what_it_needs() {
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
fn mnist_under_other_names_in_data_is_used() {
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
    let (code, stderr) = fetch_mnist(folder.path(), "file:///no/such/mirror");
    assert!(code == Some(0) && !stderr.contains("fetching"), "{stderr}");
    for file in FILES {
        let [ours, theirs] =
            [&data, &data_dir()].map(|data| fs::read(data.join("MNIST/raw").join(file)).unwrap());
        assert!(ours == theirs, "{file}");
    }
    // The others stay where they are.
    assert!(data.join(FILES[0]).join(FILES[0]).exists() && data.join("t10k-images.idx3-ubyte.gz").exists());
    assert!(!data.join("MNIST/raw/.new").exists());
}

/// The output of the build script in this folder.
fn build_script(folder: &Path, script: &Path) -> String {
    let mut command = Command::new(script);
    command.current_dir(folder).env("DEP_TCH_LIBTORCH_LIB", "lib");
    stdout_of(&mut command)
}

#[test]
fn without_a_gpu_its_check_and_parity_on_it_say_so() {
    // Where the scripts find a driver they don't say so.
    let has_driver = "source scripts/setup.sh; nvidia_driver_is_there";
    if Command::new("bash").args(["-c", has_driver]).current_dir(checkout()).status().unwrap().success() {
        return;
    }
    for (script, options, refusal) in [
        ("gpu_check.sh", &[][..], "no NVIDIA driver found"),
        ("parity.sh", &["--device", "cuda"], "--device cuda: no NVIDIA driver found"),
        ("parity.sh", &["--device", "mps"], "--device mps: must be cpu or cuda"),
        ("parity.sh", &["--generator", "cuda"], "--generator: not accepted here"),
    ] {
        let (code, stderr) = ended(Command::new(checkout().join("scripts").join(script)).args(options));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.starts_with(&format!("{script}: {refusal}")), "{stderr}");
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn the_check_of_a_gpu_rehearses_from_a_pack_without_the_checkout_and_the_network() {
    let folder = tempdir().unwrap();
    let _target_folder = crate::target_folder();
    let gpu_check = |options: &str| {
        let mut command = Command::new(checkout().join("scripts/gpu_check.sh"));
        ended(command.args(options.split_whitespace()).current_dir(&folder))
    };
    let (code, stderr) = gpu_check("--pack pack");
    assert!(code == Some(0) && stderr.contains("pack ("), "{stderr}");
    assert!(size(&folder.path().join("pack")) < 60_000_000);
    // Nothing overwrites a pack.
    let (code, stderr) = gpu_check("--pack pack");
    assert!(code == Some(2) && stderr.contains("pack is not empty"), "{stderr}");

    // The other machine: a Python with torch and the usual packages of the checkout's, and nothing else of the checkout.
    let isolated = ["--map-root-user", "--net", "--mount"];
    let mut there = Command::new("bash");
    if Command::new("unshare").args(isolated).arg("true").status().unwrap().success() {
        there = Command::new("unshare");
        there.args(isolated).arg("bash").env("ISOLATED", "1");
    } else {
        println!("not isolated from network and checkout: unshare is not allowed here");
    }
    there.args(["-c", OTHER_MACHINE]).arg(checkout());
    there.args(["pack/run.sh", "--rehearse", "--epochs", "1", "--runs", "1"]);
    let (code, stderr) = ended(there.current_dir(&folder));
    assert_eq!(code, Some(0), "{stderr}");
    let report = folder.path().join("pack/report");
    let text = fs::read_to_string(report.join("report.md")).unwrap();
    assert!(text.starts_with("# Rehearsal on the CPU: this does not test a GPU\n"), "{text}");
    let passed = text.lines().filter(|line| line.starts_with("## ") && line.ends_with(": passed"));
    assert_eq!(passed.count(), 9, "{text}");
    assert!(text.contains("\nidentical: 6 files, 8 tensors, 752 steps traced, 0 differences\n"), "{text}");
    // Another check, from the checkout, does not touch the report.
    let (code, stderr) = gpu_check("--rehearse --output-dir pack/report");
    assert!(code == Some(2) && stderr.contains("is not empty"), "{stderr}");
    assert_eq!(fs::read_to_string(report.join("report.md")).unwrap(), text);
}

/// Runs a command where PYTHON is a Python with torch and the usual packages, and the checkout, $0, is hidden.
const OTHER_MACHINE: &str = r#"
set -e
mkdir venv
"$0/.venv/bin/python" -m venv --without-pip python
packages=$("$0/.venv/bin/python" -I -c '
import sys; sys.path.insert(0, sys.argv[1])
import gpu_pack, importlib.metadata
for name in gpu_pack.packages_of(["torch", *gpu_pack.USUAL]):
    try: print(*{path.parts[0] for path in importlib.metadata.files(name)} - {".."}, sep="\n")
    except importlib.metadata.PackageNotFoundError: pass' "$0/scripts" | sort --unique)
site=$(cd "$0/.venv" && echo lib/python*/site-packages)
for package in $packages; do ln -s "$PWD/venv/$site/$package" "python/$site/$package"; done
if [[ $ISOLATED ]]; then
  mount --bind "$0/.venv" venv
  mount -t tmpfs none "$0"
  [[ ! -e $0/Cargo.toml ]]
else
  rmdir venv
  ln -s "$0/.venv" venv
fi
[[ ! -e python/$site/ISLP && ! -e python/$site/torchvision && -e python/$site/pandas ]]
PYTHON=$PWD/python/bin/python "$@"
"#;

/// The size of a folder's files.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { size(&path) } else { path.metadata().unwrap().len() }).sum()
}

#[test]
fn an_option_that_no_pack_can_be_made_with_is_refused_before_anything_is_fetched() {
    for (options, refusal) in [
        ("--pack x --torch 2.10", "--torch 2.10: must be a version of 2.11, 2.12 or 2.13"),
        ("--pack x --python 3.9", "--python 3.9: must be 3.11 or a later version such as 3.12"),
        ("--pack x --epochs 2", "--epochs: not an option of --pack"),
        ("--pack x --rehearse", "--pack: takes only --torch, --python and --packages"),
        ("--pack x --packages /none", "--packages /none: no such file"),
        ("--pack /usr", "/usr is not empty: name another folder"),
        ("--pack", "--pack: needs a value after it"),
        ("--torch 2.12", "--torch, --python and --packages: only together with --pack"),
    ] {
        let mut command = Command::new(checkout().join("scripts/gpu_check.sh"));
        let (code, stderr) = ended(command.args(options.split_whitespace()));
        assert_eq!((code, stderr), (Some(2), format!("gpu_check.sh: {refusal}\n")));
    }
}

#[test]
fn a_set_up_makes_the_package_known_to_a_python_that_an_earlier_version_set_up() {
    let folder = fresh_checkout();
    let package = folder.path().join("python/islp_mnist");
    fs::create_dir_all(&package).unwrap();
    fs::write(package.join("__init__.py"), "").unwrap();
    let earlier =
        "python3 -m venv --without-pip .venv; environment_stamp .venv requirements.txt >.venv/set-up";
    let line = format!("source scripts/setup.sh; {earlier}; set_up reference; set_up reference");
    assert_eq!(
        ended(Command::new("bash").args(["-c", &line]).current_dir(&folder)),
        (Some(0), String::new())
    );
    // It knows it after the checkout was moved too.
    let moved = folder.path().with_extension("moved");
    fs::rename(folder.path(), &moved).unwrap();
    let mut python = Command::new(moved.join(".venv/bin/python"));
    let found = stdout_of(python.args(["-I", "-c", "import islp_mnist; print(islp_mnist.__file__)"]));
    assert_eq!(Path::new(found.trim_end()), moved.join("python/islp_mnist/__init__.py"));
    fs::remove_dir_all(moved).unwrap();
}

#[test]
#[ignore = "needs the Python reference"]
fn no_script_has_the_name_of_a_module_that_python_or_a_package_imports() {
    // Beside a script, or on PYTHONPATH, it would be imported instead.
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
fn the_build_knows_its_commit_also_in_a_worktree_and_runs_again_after_the_next() {
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
        // Cargo runs it again if one of these changes.
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
