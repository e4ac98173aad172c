//! Lets every binary of this package find libtorch without LD_LIBRARY_PATH, and passes it the versions of its sources.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_DOC_ONLY").is_none() {
        link();
    }
    println!("cargo::rustc-env=TCH_VERSION={}", tch_version());
    println!("cargo::rustc-env=TORCH_VERSION={}", torch_version());
    if let Some(commit) = git_commit() {
        println!("cargo::rustc-env=GIT_COMMIT={commit}");
    }
}

fn link() {
    // torch-sys reports where it found libtorch, but only to direct dependents.
    let Ok(lib) = env::var("DEP_TCH_LIBTORCH_LIB") else {
        println!(
            "cargo::error=torch-sys found no libtorch: run scripts/reproduce.sh, which fetches it, or set LIBTORCH"
        );
        return;
    };
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
    // DT_RPATH rather than DT_RUNPATH: a stray LD_LIBRARY_PATH must not replace the libtorch that was compiled against.
    // libtorch finds the libraries that it loads by its own $ORIGIN rpath.
    println!("cargo::rustc-link-arg=-Wl,--disable-new-dtags");
}

/// torch's version, from the Python reference's list of packages, the one place that defines it.
fn torch_version() -> String {
    println!("cargo::rerun-if-changed=scripts/requirements.txt");
    let requirements = fs::read_to_string("scripts/requirements.txt").unwrap_or_default();
    let version = requirements.lines().find_map(|line| line.strip_prefix("torch=="));
    version.unwrap_or("unknown").trim().into()
}

/// tch's version, which tch itself does not expose.
fn tch_version() -> String {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let lock = fs::read_to_string("Cargo.lock").unwrap_or_default();
    let package = lock.split("[[package]]").find(|package| package.contains("\nname = \"tch\"\n"));
    let version = package.and_then(|package| package.split("version = \"").nth(1)?.split('"').next());
    version.unwrap_or("unknown").into()
}

/// The checkout's commit, with "-modified" if the binary's sources differ from it.
fn git_commit() -> Option<String> {
    let sources = ["src", "Cargo.toml", "Cargo.lock", "build.rs"];
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("--no-optional-locks")
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success());
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    // A crate unpacked inside another project's checkout does not belong to that project's commit.
    if !Path::new(".git").exists() {
        return None;
    }
    // Every commit and checkout adds a line to that log. In a worktree it is elsewhere.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    for path in [log.as_str()].iter().chain(&sources) {
        // With a path that does not exist this would run in every build.
        if Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let commit = git(&["rev-parse", "HEAD"])?;
    let changes = git(&[&["status", "--porcelain", "--"], &sources[..]].concat())?;
    Some(if changes.is_empty() { commit } else { format!("{commit}-modified") })
}
