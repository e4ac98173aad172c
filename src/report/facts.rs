//! How a run was made: what its run.json says.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::run::Run;
use crate::compare::{GIT_COMMIT, OWN_VERSIONS};
use crate::util::path::shell_word;
use crate::util::text::shown;

/// What a null is for reading.
const NONE: &str = "none";

/// The fields of a section of run.json, such as its options, by name.
pub type Fields = Vec<(String, String)>;

/// A line of the table that says how two runs were made.
#[derive(PartialEq)]
pub struct Fact {
    pub name: String,
    /// The reference's and the candidate's; one for both where they are the same.
    pub values: Vec<String>,
    /// Whether the two differ in a way that may change the results.
    pub differs: bool,
}

/// What run.json says, for reading.
pub fn facts(run: &Run) -> Vec<(&'static str, Fields)> {
    let of = |section: &str| fields(run.run_json.get(section));
    let mut outcome = of("outcome");
    outcome.retain(|(name, _)| name != "metrics");
    if let Some(start) = run.run_json.get("start") {
        outcome.insert(0, ("start".into(), text(start)));
    }
    let mut data = of("data");
    if run.run_json.get("data_set").is_some_and(|data_set| data_set == "other") {
        data.insert(0, ("data set".into(), "in MNIST's form, but not MNIST".into()));
    }
    let facts = vec![
        ("Options", of("options")),
        ("Environment", of("environment")),
        ("Data, SHA-256", data),
        ("Outcome", outcome),
    ];
    facts.into_iter().filter(|(_, fields)| !fields.is_empty()).collect()
}

/// Every field of an object; nothing if it is none.
pub fn fields(section: Option<&Value>) -> Fields {
    let fields = section.and_then(Value::as_object).into_iter().flatten();
    fields.map(|(name, value)| (spelt(name), text(value))).collect()
}

/// What the run.json of two runs say, beside each other: program and machine first, then the options. Nothing if neither
/// of them has one.
pub fn facts_of_both(runs: &[Run; 2]) -> Vec<Fact> {
    let jsons = runs.each_ref().map(|run| &run.run_json);
    if jsons.iter().all(|json| json.is_empty()) {
        return vec![];
    }
    let fact = |name: &str, values: [Option<String>; 2], otherwise: &str, counts: bool| {
        let differs = counts && matches!(&values, [Some(left), Some(right)] if left != right);
        let mut values: Vec<_> = values.into_iter().map(|value| value.unwrap_or(otherwise.into())).collect();
        values.dedup();
        Fact { name: name.to_owned(), values, differs }
    };
    let of = |section: &'static str, name: &str| jsons.map(|json| json.get(section)?.get(name).map(text));
    // What is null there is not known, while an option of null is none.
    let of_environment =
        |name: &str| of("environment", name).map(|value| value.filter(|value| value != NONE));
    let programs = jsons.map(|json| (!json.is_empty()).then(|| program(json)));
    // With the same options the notebook and one model alone end with different weights.
    let is_other = is_of_reproduce(jsons[0]) != is_of_reproduce(jsons[1]);
    let mut facts = vec![
        fact("program", programs.map(|program| program.map(String::from)), "unknown", is_other),
        fact("versions", jsons.map(versions), "unknown", false),
        fact("commit", of_environment(GIT_COMMIT), "unknown", false),
        fact("start", jsons.map(|json| json.get("start").map(text)), "unknown", false),
    ];
    let names = |section: &str| -> BTreeSet<&String> {
        jsons.into_iter().filter_map(|json| json.get(section)?.as_object()).flat_map(Map::keys).collect()
    };
    let is_own = |name: &str| OWN_VERSIONS.contains(&name) || name == GIT_COMMIT;
    for name in names("environment").into_iter().filter(|name| !is_own(name)) {
        facts.push(fact(&spelt(name), of_environment(name), "unknown", true));
    }
    for name in names("options") {
        facts.push(fact(&spelt(name), of("options", name), NONE, true));
    }
    facts
}

fn is_of_reproduce(run_json: &Map<String, Value>) -> bool {
    run_json.get("command").is_some_and(|command| command == "reproduce")
}

fn program(run_json: &Map<String, Value>) -> &'static str {
    let tch = run_json.get("environment").and_then(|environment| environment.get("tch"));
    let is_python = tch.is_some_and(Value::is_null);
    match (is_of_reproduce(run_json), is_python) {
        (true, true) => "scripts/notebook.py",
        (false, true) => "scripts/train.py",
        (true, false) => "islp-mnist reproduce",
        (false, false) => "islp-mnist train",
    }
}

/// Of the program, and what it is written with.
fn versions(run_json: &Map<String, Value>) -> Option<String> {
    let environment = run_json.get("environment")?;
    let said = OWN_VERSIONS.into_iter().filter_map(|name| {
        let version = environment.get(name).filter(|version| !version.is_null())?;
        Some(format!("{} {}", name.replace('_', "-"), text(version)))
    });
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| said.join(", "))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => NONE.to_string(),
        Value::String(text) => shown(text),
        value => shown(&value.to_string()),
    }
}

fn spelt(name: &str) -> String {
    shown(name).replace('_', " ")
}

/// The command line that runs it again, from the folder of the checkout.
pub fn command(run: &Run) -> Option<String> {
    let options = run.run_json.get("options")?.as_object()?;
    let program = program(&run.run_json);
    let python = if program.ends_with(".py") { ".venv/bin/python " } else { "" };
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    // Lightning finds the notebook's device itself, and the device says what it draws from.
    let is_taken = |name: &str| program != "scripts/notebook.py" || !["device", "generator"].contains(&name);
    let given =
        options.iter().filter(|(name, value)| !value.is_null() && is_name(name) && is_taken(name.as_str()));
    let words = given.map(|(name, value)| {
        let value = value.as_str().map_or(value.to_string(), str::to_string);
        format!(" --{} {}", name.replace('_', "-"), shell_word(value.as_ref()))
    });
    Some(format!("{python}{program}{}", words.collect::<String>()))
}
