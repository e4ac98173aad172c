//! One run: its folder, and what its run.json says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::predictions::Predictions;
use super::{Error, TestImages};
use crate::compare::{GIT_COMMIT, OWN_VERSIONS};
use crate::islp::SimpleModule;
use crate::lightning::Checkpoint;
use crate::notebook::{self, weights};
use crate::run::RunJson;
use crate::util::file;
use crate::util::path::{shell_word, shown_path};
use crate::util::text::shown;

/// A hundred thousand epochs are smaller.
const MAX_CSV: u64 = 16 << 20;
/// Lightning's hparams.yaml has a line for each option.
const MAX_HPARAMS: u64 = 1 << 16;
/// More runs would make a page too long.
const MAX_RUNS_IN_FOLDER: usize = 6;
/// Version folders are two levels below an output folder.
const MAX_DEPTH: usize = 3;

/// The contents of a version folder.
pub struct Run {
    /// Name on the page: the end of its path.
    pub name: String,
    /// None if there is no such file.
    pub metrics_csv: Option<Vec<u8>>,
    /// The model and its predictions for the test images, or a sentence that says why there are none.
    pub model: Result<(SimpleModule, Predictions), String>,
    /// The whole run.json; empty if there is none.
    pub run_json: Map<String, Value>,
    /// The options of a run without run.json: those in its checkpoint, or in Lightning's hparams.yaml.
    hyper_parameters: Fields,
}

impl Run {
    /// Reads a version folder. If its model is one of the notebook's, evaluates it on the test images.
    pub fn read(folder: &Path, name: String, images: &TestImages) -> Result<Self, Error> {
        let metrics_csv = match file::read(&folder.join("metrics.csv"), MAX_CSV) {
            Err(error) if error.is_not_found() => None,
            bytes => Some(bytes?),
        };
        let run_json = RunJson::fields(folder)?.unwrap_or_default();
        let batch_size = run_json.get("options").and_then(|options| options["batch_size"].as_u64());
        let batch_size =
            batch_size.map_or(notebook::Options::default().batch_size, |size| size.max(1) as usize);
        let model = match known_model(folder, images)? {
            Ok(module) => {
                let predictions =
                    Predictions::new(&module, images.get()?, batch_size).map_err(|error| match error {
                        Error::NotFinite => Error::Outputs(folder.to_path_buf()),
                        error => error,
                    })?;
                Ok((module, predictions))
            }
            Err(reason) => Err(format!("{reason}, so this section shows only how it was trained.")),
        };
        let hyper_parameters = if run_json.is_empty() { hyper_parameters(folder) } else { vec![] };
        Ok(Self { name, metrics_csv, model, run_json, hyper_parameters })
    }
}

/// Loads the model in a folder; the inner error says why there is none that this program knows.
fn known_model(folder: &Path, images: &TestImages) -> Result<Result<SimpleModule, String>, Error> {
    let Some(path) = weights_in(folder) else {
        return Ok(Err("This folder contains no safetensors file with weights, or more than one".into()));
    };
    match weights::load(&path, images.device) {
        Ok(module) => Ok(Ok(module)),
        Err(error) if error.is_of_other_model() => {
            let file = shown_path(path.strip_prefix(folder).unwrap_or(&path));
            Ok(Err(format!("The weights in {file} are those of a model that this program does not know")))
        }
        Err(error) => Err(error.into()),
    }
}

/// The options of a run without run.json, as far as they are one number or text each.
fn hyper_parameters(folder: &Path) -> Fields {
    if let Ok(Some(checkpoint)) = Checkpoint::last(folder) {
        return fields(serde_json::from_str(checkpoint.hyper_parameters.get()).ok().as_ref());
    }
    let Ok(bytes) = file::read(&folder.join("hparams.yaml"), MAX_HPARAMS) else { return vec![] };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let pairs = text
        .lines()
        .filter(|line| !line.starts_with([' ', '-', '#']))
        .filter_map(|line| line.split_once(": "));
    pairs.map(|(name, value)| (readable(name), shown(value.trim()))).collect()
}

/// Finds a run's weights: the last checkpoint, model.safetensors, or the only other safetensors file.
fn weights_in(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    if let Ok(newest) = weights::find(folder) {
        return Some(newest);
    }
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files = paths.filter(|path| path.extension().is_some_and(|ending| ending == "safetensors"));
    files.next().filter(|_| files.next().is_none())
}

/// Finds the version folders in a folder, or the folder itself if it is one, each with its name on the page.
pub fn find(folder: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    if is_run(folder) {
        let path = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
        let parts: Vec<_> = path.iter().map(|part| shown_path(part.as_ref())).collect();
        return Ok(vec![(parts[parts.len().saturating_sub(2)..].join("/"), folder.to_path_buf())]);
    }
    let mut runs = vec![];
    find_below(folder, Path::new(""), &mut runs)?;
    runs.sort();
    match runs.len() {
        0 => Err(Error::NoRun(folder.to_path_buf())),
        count if count > MAX_RUNS_IN_FOLDER => Err(Error::ManyRuns { folder: folder.to_path_buf(), count }),
        _ => Ok(runs),
    }
}

fn is_run(folder: &Path) -> bool {
    folder.join("metrics.csv").exists() || weights_in(folder).is_some()
}

fn find_below(root: &Path, below: &Path, runs: &mut Vec<(String, PathBuf)>) -> Result<(), Error> {
    // Joining an empty path would add a slash.
    let folder = if below.as_os_str().is_empty() { root.to_path_buf() } else { root.join(below) };
    for entry in fs::read_dir(&folder).map_err(file::Error::io("list", &folder))? {
        let path = below.join(entry.map_err(file::Error::io("list", &folder))?.file_name());
        if !root.join(&path).is_dir() {
            continue;
        }
        if is_run(&root.join(&path)) {
            runs.push((shown_path(&path), root.join(&path)));
        } else if path.components().count() < MAX_DEPTH {
            find_below(root, &path, runs)?;
        }
    }
    Ok(())
}

/// Text for null.
const NONE: &str = "none";

/// Names and values in a section of run.json, such as its options.
pub type Fields = Vec<(String, String)>;

/// A row of the table that compares how two runs were made.
#[derive(PartialEq)]
pub struct Fact {
    pub name: String,
    /// The reference's and the candidate's value; only one if they are equal.
    pub values: Vec<String>,
    /// True if the difference can change the results.
    pub differs: bool,
    /// True for an option of the training, and for the program.
    pub is_option: bool,
}

/// Returns the sections of run.json as text, each with its title.
pub fn facts(run: &Run) -> Vec<(&'static str, Fields)> {
    let of = |section: &str| fields(run.run_json.get(section));
    let mut outcome = of("outcome");
    outcome.retain(|(name, _)| name != "metrics");
    if let Some(start) = run.run_json.get("start") {
        outcome.insert(0, ("start".into(), text(start)));
    }
    let mut data = of("data");
    if run.run_json.get("data_set").is_some_and(|data_set| data_set == "other") {
        data.insert(0, ("data set".into(), "in MNIST's format, but not MNIST".into()));
    }
    let facts = vec![
        ("Options", of("options")),
        ("Hyper-parameters", run.hyper_parameters.clone()),
        ("Environment", of("environment")),
        ("Data, SHA-256", data),
        ("Outcome", outcome),
    ];
    facts.into_iter().filter(|(_, fields)| !fields.is_empty()).collect()
}

/// Returns the fields of a JSON object as text; empty if it is not an object.
pub fn fields(section: Option<&Value>) -> Fields {
    let fields = section.and_then(Value::as_object).into_iter().flatten();
    fields.map(|(name, value)| (readable(name), text(value))).collect()
}

/// Compares the run.json of two runs: program and machine first, then the options. If neither has one, compares their
/// hyper-parameters.
pub fn facts_of_both(runs: &[Run; 2]) -> Vec<Fact> {
    let jsons = runs.each_ref().map(|run| &run.run_json);
    let fact = |name: &str, values: [Option<String>; 2], missing: &str, matters: bool, is_option: bool| {
        let differs = matters && matches!(&values, [Some(left), Some(right)] if left != right);
        let mut values: Vec<_> = values.into_iter().map(|value| value.unwrap_or(missing.into())).collect();
        values.dedup();
        Fact { name: name.to_owned(), values, differs, is_option }
    };
    if jsons.iter().all(|json| json.is_empty()) {
        let both =
            runs.each_ref().map(|run| run.hyper_parameters.iter().cloned().collect::<BTreeMap<_, _>>());
        let names: BTreeSet<&String> = both.iter().flat_map(BTreeMap::keys).collect();
        let fact =
            |name: &String| fact(name, both.each_ref().map(|side| side.get(name).cloned()), NONE, true, true);
        return names.into_iter().map(fact).collect();
    }
    let of = |section: &'static str, name: &str| jsons.map(|json| json.get(section)?.get(name).map(text));
    // In the environment null means unknown; in the options it means none.
    let of_environment =
        |name: &str| of("environment", name).map(|value| value.filter(|value| value != NONE));
    let programs = jsons.map(|json| (!json.is_empty()).then(|| program(json)));
    // With the same options, `reproduce` and `train` end with different weights.
    let is_other = is_of_reproduce(jsons[0]) != is_of_reproduce(jsons[1]);
    let mut facts = vec![
        fact("program", programs.map(|program| program.map(String::from)), "unknown", is_other, true),
        fact("versions", jsons.map(versions), "unknown", false, false),
        fact("commit", of_environment(GIT_COMMIT), "unknown", false, false),
        fact("start", jsons.map(|json| json.get("start").map(text)), "unknown", false, false),
    ];
    let names = |section: &str| -> BTreeSet<&String> {
        jsons.into_iter().filter_map(|json| json.get(section)?.as_object()).flat_map(Map::keys).collect()
    };
    let is_own = |name: &str| OWN_VERSIONS.contains(&name) || name == GIT_COMMIT;
    for name in names("environment").into_iter().filter(|name| !is_own(name)) {
        facts.push(fact(&readable(name), of_environment(name), "unknown", true, false));
    }
    for name in names("options") {
        facts.push(fact(&readable(name), of("options", name), NONE, true, true));
    }
    facts
}

fn is_of_reproduce(run_json: &Map<String, Value>) -> bool {
    run_json.get("command").is_some_and(|command| command == "reproduce")
}

/// Returns the program that made the run: only Python's has no version of tch.
pub fn program(run_json: &Map<String, Value>) -> &'static str {
    let tch = run_json.get("environment").and_then(|environment| environment.get("tch"));
    let is_python = tch.is_some_and(Value::is_null);
    match (is_of_reproduce(run_json), is_python) {
        (true, true) => "scripts/notebook.py",
        (false, true) => "scripts/train.py",
        (true, false) => "islp-mnist reproduce",
        (false, false) => "islp-mnist train",
    }
}

/// Returns the versions of the program and of its libraries.
fn versions(run_json: &Map<String, Value>) -> Option<String> {
    let environment = run_json.get("environment")?;
    let versions = OWN_VERSIONS.into_iter().filter_map(|name| {
        let version = environment.get(name).filter(|version| !version.is_null())?;
        Some(format!("{} {}", name.replace('_', "-"), text(version)))
    });
    let versions: Vec<String> = versions.collect();
    (!versions.is_empty()).then(|| versions.join(", "))
}

pub fn text(value: &Value) -> String {
    match value {
        Value::Null => NONE.to_string(),
        Value::String(text) => shown(text),
        Value::Array(values) => list(values.iter().map(text)),
        Value::Object(fields) => {
            list(fields.iter().map(|(name, value)| format!("{} {}", shown(name), text(value))))
        }
        value => shown(&value.to_string()),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { NONE.to_string() } else { items.join(", ") }
}

fn readable(name: &str) -> String {
    shown(name).replace('_', " ")
}

/// Returns the command that repeats the run from the root of the checkout; none if its options are unknown.
pub fn command(run: &Run) -> Option<String> {
    let options = run.run_json.get("options")?.as_object()?;
    let program = program(&run.run_json);
    let python = if program.ends_with(".py") { ".venv/bin/python " } else { "" };
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    // scripts/notebook.py has no such options: Lightning picks the device, and the device its generator.
    let is_option = |name: &str| program != "scripts/notebook.py" || !["device", "generator"].contains(&name);
    let given =
        options.iter().filter(|(name, value)| !value.is_null() && is_name(name) && is_option(name.as_str()));
    let words = given.map(|(name, value)| {
        let value = value.as_str().map_or(value.to_string(), str::to_string);
        format!(" --{} {}", name.replace('_', "-"), shell_word(value.as_ref()))
    });
    Some(format!("{python}{program}{}", words.collect::<String>()))
}
