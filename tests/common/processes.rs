//! Processes that a test starts, watches and stops.

use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{command, stdout_of, words};

/// The command with a limit, in KiB, on the size of the files that it writes.
pub fn with_file_size_limit(limit: u32, command: &Command) -> assert_cmd::Command {
    let bash = format!("bash -c 'ulimit -f {limit}; exec \"$0\" \"$@\"'");
    assert_cmd::Command::from_std(wrapped(&bash, command))
}

/// The command as the arguments of another, in the same folder and environment.
pub fn wrapped(wrapper: &str, command: &Command) -> Command {
    let wrapper = words(wrapper);
    let mut outer = Command::new(wrapper[0]);
    outer.args(&wrapper[1..]).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        outer.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}

/// A process that is killed if the test fails.
pub struct Running(Option<Child>);

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts a command with the signals as a terminal sets them: whoever runs the tests may ignore SIGHUP, as `nohup` does.
pub fn start(command: &Command) -> Running {
    start_as_it_is(&mut wrapped("env --default-signal=HUP", command))
}

pub fn start_as_it_is(command: &mut Command) -> Running {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    Running(Some(child.unwrap()))
}

impl Running {
    pub fn signal(&self, name: &str) {
        run("kill", &["-s", name, &self.id().to_string()]);
    }

    /// Sends a signal twice. Two signals that are pending at the same time count as one.
    pub fn signal_twice(&self, name: &str) {
        self.signal(name);
        sleep(Duration::from_millis(20));
        self.signal(name);
    }

    pub fn output(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }

    /// Kills the process; false if it had ended before.
    pub fn kill(self) -> bool {
        self.signal("KILL");
        self.output().status.signal() == Some(9)
    }

    /// The last line on stderr of a process that ends with this exit code.
    pub fn last_words(self, code: i32) -> String {
        let Output { status, stderr, .. } = self.output();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{stderr}");
        stderr.lines().last().unwrap_or_default().to_string()
    }
}

/// Runs a tool of the system, which must succeed.
pub fn run(tool: &str, arguments: &[&str]) {
    assert!(Command::new(tool).args(arguments).status().unwrap().success(), "{tool} {arguments:?}");
}

pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what}: not within two minutes");
        sleep(Duration::from_millis(1));
    }
}

pub fn wait_for(path: &Path) {
    wait_until(&path.display().to_string(), || path.exists());
}

/// The stderr of the program on a terminal of 160 columns, which `script` makes.
pub fn on_a_terminal(folder: &Path, arguments: &str) -> String {
    let line = format!("stty cols 160; '{}' {arguments} >/dev/null", env!("CARGO_BIN_EXE_islp-mnist"));
    let mut script = Command::new("script");
    script
        .args(["-qec", &line, "/dev/null"])
        .current_dir(folder)
        .envs(command(folder, "").get_envs().filter_map(|(name, value)| Some((name, value?))));
    // Where TERM says nothing, indicatif draws nothing.
    stdout_of(script.env("TERM", "xterm").env_remove("ISLP_MNIST_DATA_DIR"))
}
