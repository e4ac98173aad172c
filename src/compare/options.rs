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
const LARGEST: u64 = 1 << 20;

/// What of it may explain another result.
const SECTIONS: [&str; 3] = ["options", "data", "environment"];
/// Of the environment the versions that are the program's own, not of what it computes with.
pub const OWN_VERSIONS: [&str; 5] = ["islp_mnist", "tch", "python", "pytorch_lightning", "islp"];
/// The commit of its source likewise.
pub const GIT_COMMIT: &str = "git_commit";

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

/// How two run.json differ. Nothing if one of them can't be read: what runs come to is compared all the same.
pub fn differences(name: &Path, reference: &Path, candidate: &Path) -> Vec<OptionDifference> {
    let (Some(left), Some(right)) = (read(reference), read(candidate)) else { return vec![] };
    let mut differences = vec![];
    for section in SECTIONS {
        let (left, right) = (fields(&left, section), fields(&right, section));
        let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
        let is_own = |field: &str| OWN_VERSIONS.contains(&field) || field == GIT_COMMIT;
        for field in names.into_iter().filter(|field| section != "environment" || !is_own(field)) {
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
    json::parse(&file::read(path, LARGEST).ok()?).ok()
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
        let name = if section == "options" {
            format!("--{}", name.replace('_', "-"))
        } else {
            format!("{section} {name}")
        };
        let [reference, candidate] =
            [reference, candidate].map(|value| value.as_deref().unwrap_or("not given"));
        write!(f, "{file}: {name}: reference {reference}, candidate {candidate}")
    }
}
