//! The options with which two runs were started, their data and their environment, from `run.json`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::util::file;
use crate::util::json;
use crate::util::text::shown;

/// Hundreds of times the size of a run.json.
const MAX_BYTES: u64 = 1 << 20;

/// The sections that can explain a different result.
const SECTIONS: [&str; 3] = ["options", "data", ENVIRONMENT];
const ENVIRONMENT: &str = "environment";
/// The environment variables, in the environment.
const VARIABLES: &str = "variables";
/// The versions of libtorch's libraries, in the environment.
const LIBRARIES: &str = "libraries";
/// The facts of the environment that older files lack.
const NEWER: [&str; 2] = ["gpus", "driver"];
/// Sections, and facts of the environment, the likeliest cause of another result first.
const RANKS: [&str; 10] = [
    COMMAND,
    "options",
    "data",
    "libtorch",
    LIBRARIES,
    "cpu_capability",
    VARIABLES,
    "processor",
    "gpus",
    "driver",
];

/// The environment's versions of the program itself, not of the libraries it computes with.
pub const OWN_VERSIONS: [&str; 5] = ["islp_mnist", "tch", "python", "pytorch_lightning", "islp"];
/// The commit of the program's source, also in the environment.
pub const GIT_COMMIT: &str = "git_commit";

const COMMAND: &str = "command";
/// The command of a run.json without one.
const TRAIN: &str = "train";
/// The reason why runs of `train` and `reproduce` differ, whatever the options.
const DRAWS: &str = "with the same seed and options they differ from the first weight on, because the notebook draws random \
    numbers for two batches before it creates a model";

/// An option, or another fact in run.json, in which two runs differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OptionDifference {
    /// For example `MNIST/version_0/run.json`.
    file: String,
    section: String,
    name: String,
    /// None if it is not given.
    reference: Option<String>,
    candidate: Option<String>,
}

/// The differences between two run.json. Empty if one of them can't be read: the results are compared anyway.
pub fn differences(name: &Path, reference: &Path, candidate: &Path) -> Vec<OptionDifference> {
    match (read(reference), read(candidate)) {
        (Some(left), Some(right)) => between(&name.to_string_lossy(), &left, &right),
        _ => vec![],
    }
}

/// The differences between two objects with fields of run.json, most likely causes of another result first; none if one is
/// null.
pub fn between(file: &str, left: &Value, right: &Value) -> Vec<OptionDifference> {
    if left.is_null() || right.is_null() {
        return vec![];
    }
    let mut differences = vec![];
    let mut compare = |section: &str, field: &str, reference: Option<String>, candidate: Option<String>| {
        if reference != candidate {
            let (file, section) = (shown(file), section.to_owned());
            differences.push(OptionDifference { file, section, name: shown(field), reference, candidate });
        }
    };
    let [a, b] = [left, right].map(|run| run[COMMAND].as_str().unwrap_or(TRAIN));
    compare(COMMAND, COMMAND, Some(shown(a)), Some(shown(b)));
    for section in SECTIONS {
        let (left, right) = (fields(left, section), fields(right, section));
        let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
        let is_of_one = |field: &str| !(left.contains_key(field) && right.contains_key(field));
        let is_skipped = |field: &str| match section {
            ENVIRONMENT => {
                let is_own = OWN_VERSIONS.contains(&field) || field == GIT_COMMIT;
                is_own
                    || [VARIABLES, LIBRARIES].contains(&field)
                    || NEWER.contains(&field) && is_of_one(field)
            }
            // An option that only one of two commands has is not a difference.
            "options" => a != b && is_of_one(field),
            _ => false,
        };
        for field in names.into_iter().filter(|field| !is_skipped(field)) {
            let [reference, candidate] = [&left, &right].map(|fields| fields.get(field).and_then(text));
            compare(section, field, reference, candidate);
        }
    }
    // Older files do not say which variables were set, and only Python knows the libraries.
    for section in [LIBRARIES, VARIABLES] {
        let [left, right] = [left, right].map(|run| run[ENVIRONMENT][section].as_object());
        let (Some(left), Some(right)) = (left, right) else { continue };
        for field in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
            let [reference, candidate] = [left, right].map(|fields| fields.get(field).and_then(text));
            compare(section, field, reference, candidate);
        }
    }
    differences.sort_by_key(OptionDifference::rank);
    differences
}

impl OptionDifference {
    /// Differences of a lower rank are more likely causes. Options keep their order.
    pub fn rank(&self) -> usize {
        let name = if self.section == ENVIRONMENT { &self.name } else { &self.section };
        RANKS.iter().position(|ranked| ranked == name).unwrap_or(RANKS.len())
    }

    /// True if it is what the machine computes with: libraries, kernels, threads.
    pub fn is_of_machine(&self) -> bool {
        [ENVIRONMENT, LIBRARIES, VARIABLES].contains(&self.section.as_str()) || self.name == "threads"
    }

    /// The same in another file.
    pub fn of_file(&self, file: &str) -> Self {
        Self { file: file.into(), ..self.clone() }
    }

    /// True if the other says the same of another file.
    pub fn is_same(&self, other: &Self) -> bool {
        *self == other.of_file(&self.file)
    }

    /// The name, for an option as it is typed.
    pub fn name(&self) -> String {
        match self.section.as_str() {
            "options" => format!("--{}", self.name.replace('_', "-")),
            _ => self.name.clone(),
        }
    }

    fn title(&self) -> String {
        match self.section.as_str() {
            section @ (ENVIRONMENT | LIBRARIES | "data") => format!("{section} {}", self.name()),
            _ => self.name(),
        }
    }
}

fn read(path: &Path) -> Option<Value> {
    json::parse(&file::read(path, MAX_BYTES).ok()?).ok()
}

fn fields(run: &Value, section: &str) -> Map<String, Value> {
    run[section].as_object().cloned().unwrap_or_default()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(shown(text)),
        other => Some(shown(&other.to_string())),
    }
}

impl fmt::Display for OptionDifference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let sides = [&self.reference, &self.candidate].map(|side| side.as_deref().unwrap_or("not given"));
        let [reference, candidate] = sides;
        write!(f, "{}: {}: reference {reference}, candidate {candidate}", self.file, self.title())?;
        if self.section == COMMAND && ["train", "reproduce"].iter().all(|command| sides.contains(command)) {
            write!(f, "; {DRAWS}")?;
        }
        Ok(())
    }
}
