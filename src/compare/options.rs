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
const SECTIONS: [&str; 3] = ["options", "data", "environment"];
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
#[derive(Debug, Serialize)]
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
    let (Some(left), Some(right)) = (read(reference), read(candidate)) else { return vec![] };
    let mut differences = vec![];
    let mut compare = |section: &str, field: &str, reference: Option<String>, candidate: Option<String>| {
        if reference != candidate {
            let (file, section) = (shown(&name.to_string_lossy()), section.to_owned());
            differences.push(OptionDifference { file, section, name: shown(field), reference, candidate });
        }
    };
    let [a, b] = [&left, &right].map(|run| run[COMMAND].as_str().unwrap_or(TRAIN));
    compare(COMMAND, COMMAND, Some(shown(a)), Some(shown(b)));
    for section in SECTIONS {
        let (left, right) = (fields(&left, section), fields(&right, section));
        let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
        let is_skipped = |field: &str| match section {
            "environment" => OWN_VERSIONS.contains(&field) || field == GIT_COMMIT,
            // An option that only one of two commands has is not a difference.
            "options" => a != b && !(left.contains_key(field) && right.contains_key(field)),
            _ => false,
        };
        for field in names.into_iter().filter(|field| !is_skipped(field)) {
            let [reference, candidate] = [&left, &right].map(|fields| fields.get(field).and_then(text));
            compare(section, field, reference, candidate);
        }
    }
    differences
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
        let Self { file, section, name, reference, candidate } = self;
        let name = match section.as_str() {
            "options" => format!("--{}", name.replace('_', "-")),
            COMMAND => name.clone(),
            _ => format!("{section} {name}"),
        };
        let [reference, candidate] =
            [reference, candidate].map(|value| value.as_deref().unwrap_or("not given"));
        write!(f, "{file}: {name}: reference {reference}, candidate {candidate}")?;
        if section == COMMAND
            && ["train", "reproduce"].iter().all(|command| [reference, candidate].contains(command))
        {
            write!(f, "; {DRAWS}")?;
        }
        Ok(())
    }
}
