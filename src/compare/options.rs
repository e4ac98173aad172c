//! With which options two runs were started, and on what: what `run.json` says and the results don't.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::util::file;
use crate::util::json;
use crate::util::text::shown;

/// Hundreds of times as much as there is to say of a run.
const MAX_BYTES: u64 = 1 << 20;

/// What of it may explain another result.
const SECTIONS: [&str; 3] = ["options", "data", "environment"];
/// Of the environment the versions that are the program's own, not of what it computes with.
pub const OWN_VERSIONS: [&str; 5] = ["islp_mnist", "tch", "python", "pytorch_lightning", "islp"];
/// The commit of its source likewise.
pub const GIT_COMMIT: &str = "git_commit";

const COMMAND: &str = "command";
/// The command of a run.json that says none.
const TRAIN: &str = "train";
/// Why runs of `train` and `reproduce` differ, whatever the options.
const DRAWS: &str = "with one seed and the same options they differ from the first weight on, because the notebook looks at \
    two batches before it makes a model, and draws random numbers for that";

/// Something in which two runs differ that are compared.
#[derive(Debug, Serialize)]
pub struct OptionDifference {
    /// Where it stands, such as `MNIST/version_0/run.json`.
    file: String,
    section: String,
    name: String,
    /// None where it is not said.
    reference: Option<String>,
    candidate: Option<String>,
}

/// The differences of two run.json. Empty if one of them can't be read: the results are compared anyway.
pub fn differences(name: &Path, reference: &Path, candidate: &Path) -> Vec<OptionDifference> {
    let (Some(left), Some(right)) = (read(reference), read(candidate)) else { return vec![] };
    let mut differences = vec![];
    let [a, b] = [&left, &right].map(|run| run["command"].as_str().unwrap_or(TRAIN));
    if a != b {
        differences.push(OptionDifference {
            file: shown(&name.to_string_lossy()),
            section: COMMAND.to_owned(),
            name: COMMAND.to_owned(),
            reference: Some(shown(a)),
            candidate: Some(shown(b)),
        });
    }
    // What only one of two commands takes is no option in which they differ.
    let is_of_both = |left: &Map<String, Value>, right: &Map<String, Value>, field: &String| {
        a == b || left.contains_key(field) && right.contains_key(field)
    };
    for section in SECTIONS {
        let (left, right) = (fields(&left, section), fields(&right, section));
        let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
        let is_own = |field: &str| OWN_VERSIONS.contains(&field) || field == GIT_COMMIT;
        let is_passed_over = |field: &String| match section {
            "environment" => is_own(field),
            "options" => !is_of_both(&left, &right, field),
            _ => false,
        };
        for field in names.into_iter().filter(|field| !is_passed_over(field)) {
            let [reference, candidate] =
                [left.get(field), right.get(field)].map(|value| value.and_then(text));
            if reference != candidate {
                differences.push(OptionDifference {
                    file: shown(&name.to_string_lossy()),
                    section: section.to_owned(),
                    name: shown(field),
                    reference,
                    candidate,
                });
            }
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
