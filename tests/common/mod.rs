//! Helpers of all test programs.
#![allow(dead_code)] // each test file is a program of its own and uses a part

pub mod processes;
pub mod python;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use predicates::prelude::predicate;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};
use tempfile::{TempDir, tempdir};

pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The real MNIST, where the set-up puts it.
pub fn data_dir() -> PathBuf {
    let data = checkout().join("data");
    assert!(
        data.join("MNIST/raw").is_dir(),
        "no MNIST in {}: run scripts/test.sh, which fetches it",
        data.display()
    );
    data
}

pub fn islp_mnist() -> Command {
    // On another machine, as in a pack of scripts/gpu_check.sh, the program is elsewhere than where it was built.
    let elsewhere = std::env::var_os("CARGO_BIN_EXE_islp-mnist");
    let mut command = Command::new(elsewhere.unwrap_or(env!("CARGO_BIN_EXE_islp-mnist").into()));
    // Whoever runs the tests may have set the one, and have a GPU, which `auto` would take.
    command.env_remove("ISLP_MNIST_DATA_DIR").env("CUDA_VISIBLE_DEVICES", "");
    // Threads that wait for a core that others use would keep it busy, which takes twenty times as long.
    command.env("OMP_WAIT_POLICY", "passive");
    command
}

/// The words of a command line; text between single quotes is one word.
pub fn words(line: &str) -> Vec<&str> {
    let parts = line.split('\'').enumerate();
    parts
        .flat_map(|(i, part)| if i % 2 == 1 { vec![part] } else { part.split_whitespace().collect() })
        .collect()
}

/// The program in a folder, with its arguments as one types them. One thread, as the tests run at the same time.
pub fn program(folder: impl AsRef<Path>, arguments: &str) -> assert_cmd::Command {
    assert_cmd::Command::from_std(command(folder, arguments))
}

/// The same, to be wrapped or started.
pub fn command(folder: impl AsRef<Path>, arguments: &str) -> Command {
    let mut command = islp_mnist();
    command.current_dir(folder).args(words(arguments)).env("OMP_NUM_THREADS", "1");
    command
}

/// Stdout and stderr of a command that must succeed.
pub fn output(command: &mut assert_cmd::Command) -> (String, String) {
    let assert = command.assert().success();
    let [stdout, stderr] = [&assert.get_output().stdout, &assert.get_output().stderr]
        .map(|bytes| String::from_utf8(bytes.clone()).unwrap());
    (stdout, stderr)
}

/// The sorted names of a folder's entries.
pub fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fails unless the program ends with this exit code, prints nothing, and reports one error line that contains each of
/// `names` and says nothing twice.
pub fn assert_refused(command: &mut assert_cmd::Command, code: i32, names: &[&str]) {
    let a_line = predicate::str::is_match(r"\Aerror: [^[:cntrl:]]+\n\z").unwrap();
    let mut assert = command.assert().code(code).stdout("").stderr(a_line);
    for name in names {
        assert = assert.stderr(predicate::str::contains(*name));
    }
    let error = str::from_utf8(&assert.get_output().stderr).unwrap();
    // The separators that errors are put together with.
    let parts = error.trim_end().split([':', ';', '(', ')']).map(str::trim).filter(|part| part.len() > 3);
    let mut said = BTreeSet::new();
    for part in parts {
        assert!(said.insert(part), "{part:?} twice: {error}");
    }
}

/// 200 real images in MNIST's format, of which each set has 100.
pub fn fashion_mnist() -> PathBuf {
    checkout().join("tests/data/fashion-mnist")
}

/// `train` in a folder, with one thread, as the tests run at the same time.
pub fn train(folder: impl AsRef<Path>, options: &[&str]) -> Command {
    let mut command = command(folder, "train");
    command.args(options).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The Python reference, running one of the checkout's scripts.
pub fn python(script: &str) -> Command {
    let python = checkout().join(".venv/bin/python");
    assert!(
        python.exists(),
        "no {}: run scripts/test.sh, which sets up the Python reference",
        python.display()
    );
    let mut command = Command::new(python);
    // Isolated, and without a GPU, as scripts/parity.sh runs it.
    command.args(["-I", "-X", "utf8"]).arg(checkout().join(script)).env("CUDA_VISIBLE_DEVICES", "");
    command.env("OMP_WAIT_POLICY", "passive");
    command
}

/// Runs a command that must succeed; its stdout.
pub fn stdout_of(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}:\n{stderr}", output.status);
    String::from_utf8(output.stdout).expect("stdout is UTF-8")
}

/// Fails unless both tensors have the same shape and bits; says how many values differ and the largest
/// difference.
pub fn assert_same_bits(what: &str, ours: &Tensor, theirs: &Tensor) {
    assert_eq!(ours.size(), theirs.size(), "{what}: shapes differ");
    assert_eq!(ours.kind(), theirs.kind(), "{what}: kinds differ");
    if ours.kind() == Kind::Float {
        let values = |tensor: &Tensor| Vec::<f32>::try_from(tensor.detach().flatten(0, -1)).unwrap();
        let pairs: Vec<_> = values(ours).into_iter().zip(values(theirs)).collect();
        let differing = pairs.iter().filter(|(a, b)| a.to_bits() != b.to_bits());
        let (count, largest) =
            differing.fold((0, 0.0f32), |(n, max), (a, b)| (n + 1, max.max((a - b).abs())));
        let total = pairs.len();
        assert_eq!(
            count, 0,
            "{what}: {count} of {total} values differ, the largest difference is {largest:e}"
        );
    } else {
        let differing = ours.ne_tensor(theirs).sum(Kind::Int64).int64_value(&[]);
        let largest = if differing > 0 { (ours - theirs).abs().max().int64_value(&[]) } else { 0 };
        assert_eq!(differing, 0, "{what}: {differing} values differ, the largest difference is {largest}");
    }
}

/// The tensors of a safetensors file by name.
pub fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

/// Writes the four IDX files of a small data set in MNIST's format below `data_dir`: blocks of light on dark
/// whose place depends on the label, under so much noise that a model makes mistakes.
pub fn write_small_mnist(data_dir: &Path, train: usize, test: usize) {
    let raw = data_dir.join("MNIST/raw");
    fs::create_dir_all(&raw).unwrap();
    for (set, count) in [("train", train), ("t10k", test)] {
        let labels: Vec<u8> = (0..count).map(|i| (i * 7 % 10) as u8).collect();
        let mut images = vec![];
        for (i, &label) in labels.iter().enumerate() {
            let (row, column) = (usize::from(label) / 4 * 9, usize::from(label) % 4 * 7);
            let light = |r: usize, c: usize| (row..row + 8).contains(&r) && (column..column + 6).contains(&c);
            let noise = |p: usize| ((i * 784 + p) as u32).wrapping_mul(2_654_435_761) >> 16;
            let pixel = |p: usize| (noise(p) % 216) as u8 + if light(p / 28, p % 28) { 40 } else { 0 };
            images.extend((0..28 * 28).map(pixel));
        }
        fs::write(raw.join(format!("{set}-images-idx3-ubyte")), idx(&[count as u32, 28, 28], &images))
            .unwrap();
        fs::write(raw.join(format!("{set}-labels-idx1-ubyte")), idx(&[count as u32], &labels)).unwrap();
    }
}

/// The bytes of an IDX file of unsigned bytes.
pub fn idx(dimensions: &[u32], values: &[u8]) -> Vec<u8> {
    let header = [&[0x800 + dimensions.len() as u32], dimensions].concat();
    header.into_iter().flat_map(u32::to_be_bytes).chain(values.iter().copied()).collect()
}

/// A folder with a small data set in data/.
pub fn small_mnist() -> TempDir {
    let folder = tempdir().unwrap();
    write_small_mnist(&folder.path().join("data"), 400, 100);
    folder
}

/// A folder with the small data set, for runs. A run is named by its folder's path below this one, as it prints it.
pub struct Lab(TempDir);

impl Lab {
    pub fn new() -> Self {
        Self(small_mnist())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn program(&self, arguments: &str) -> assert_cmd::Command {
        program(&self.0, arguments)
    }

    /// Stdout of a command that must succeed.
    pub fn stdout(&self, arguments: &str) -> String {
        output(&mut self.program(arguments)).0
    }

    pub fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.stdout(arguments)).unwrap()
    }

    /// Fails unless the command is refused, see [`assert_refused`].
    pub fn assert_refused(&self, arguments: &str, code: i32, names: &[&str]) {
        assert_refused(&mut self.program(arguments), code, names);
    }

    /// A run to its end. All that it prints is its folder.
    pub fn train(&self, options: &str) -> String {
        self.stdout(&format!("train {options}")).trim_end().to_string()
    }

    pub fn read(&self, run: &str, file: &str) -> Vec<u8> {
        let path = self.path().join(run).join(file);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn text(&self, file: &str) -> String {
        String::from_utf8(self.read("", file)).unwrap()
    }

    /// Writes a file, and creates the folders above it.
    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn exists(&self, file: &str) -> bool {
        self.path().join(file).exists()
    }

    pub fn run_json(&self, run: &str) -> Value {
        serde_json::from_slice(&self.read(run, "run.json")).unwrap()
    }

    /// Fails unless two runs have left the same bytes.
    pub fn assert_same(&self, run: &str, other: &str, what: &str) {
        self.assert_same_numbers(run, other, what);
        for file in ["accuracy.png", "accuracy.svg"] {
            assert!(self.read(run, file) == self.read(other, file), "{what}: {file} differs");
        }
    }

    /// The same for runs in Python, which draw no figure.
    pub fn assert_same_numbers(&self, run: &str, other: &str, what: &str) {
        for file in ["metrics.csv", "model.safetensors"] {
            assert!(self.read(run, file) == self.read(other, file), "{what}: {file} differs");
        }
    }
}

/// Fails unless every try of a kind came out as expected. Leaves the row that scripts/robustness.sh puts into docs/robustness.md.
pub fn tally(kind: &str, tried: usize, passed: usize) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("robustness");
    fs::create_dir_all(&folder).unwrap();
    let name = kind.replace(|c: char| !c.is_alphanumeric(), "_");
    fs::write(folder.join(name + ".md"), format!("| {kind} | {tried} | {passed} |\n")).unwrap();
    assert_eq!(passed, tried, "{kind}: only {passed} of {tried} tries came out as expected, see above");
}

/// The command, with the system refusing what is named, as strace's `inject=` has it.
pub fn strace(refused: &str, command: Command) -> Command {
    // Only these calls are looked at, so that the command is as fast as without.
    let calls = refused.split(':').next().unwrap_or_default();
    let strace = format!("strace -f --seccomp-bpf -qq -o /dev/null -e trace={calls} -e inject={refused}");
    processes::wrapped(&strace, &command)
}
