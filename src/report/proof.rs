//! What a parity run proves, and how to repeat it: when, on what machine, with which options and commits.

use serde_json::Value;

use super::run::{Fields, Run, command, program, text};
use crate::util::text::distinct;

/// What proves that two runs were made with the same options.
pub struct Proof {
    /// Names and values; empty without a run.json.
    pub facts: Fields,
    /// The commands that repeat both sides.
    pub commands: Vec<String>,
}

/// Collects the proof from the run.json of pairs of runs.
pub fn proof(runs: &[(String, [Run; 2])]) -> Proof {
    let both = || runs.iter().flat_map(|(_, pair)| pair);
    let mut facts: Fields = vec![];
    let mut add = |name: &str, values: Vec<String>| {
        if !values.is_empty() {
            facts.push((name.into(), values.join("; ")));
        }
    };
    let of = |section: &str, name: &str| {
        distinct(both().filter_map(|run| known(run.run_json.get(section)?.get(name)?)))
    };
    let started: Vec<String> = both().filter_map(|run| known(run.run_json.get("start")?)).collect();
    add("When", started.into_iter().take(2).collect());
    add("Processor", of("environment", "processor"));
    add("Instructions", of("environment", "cpu_capability"));
    add("Threads", of("options", "threads"));
    add("libtorch", of("environment", "libtorch"));
    let libraries =
        both().filter_map(|run| known(run.run_json.get("environment")?.get("libraries")?.get("mkl")?));
    add("MKL", distinct(libraries));
    add("Seed", of("options", "seed"));
    let commits = runs.first().map(|(_, pair)| pair).into_iter().flatten().filter_map(|run| {
        let commit = known(run.run_json.get("environment")?.get("git_commit")?)?;
        Some(format!("{commit} ({})", program(&run.run_json)))
    });
    add("Commits", distinct(commits));
    Proof { facts, commands: commands(runs) }
}

fn known(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| text(value))
}

/// scripts/parity.sh runs both sides of the notebook; other runs have a command each.
fn commands(runs: &[(String, [Run; 2])]) -> Vec<String> {
    let [python, rust] = ["scripts/notebook.py", "islp-mnist reproduce"];
    let mut commands: Vec<String> = vec![];
    for (_, pair) in runs {
        let of_pair: Vec<String> = pair.iter().filter_map(command).collect();
        let is_of_notebook = pair.each_ref().map(|run| program(&run.run_json)) == [python, rust];
        let options =
            of_pair.first().and_then(|command| command.split_once(python)).filter(|_| is_of_notebook);
        match options {
            Some((_, options)) => commands.push(format!("scripts/parity.sh{options}")),
            None => commands.extend(of_pair),
        }
    }
    commands.dedup();
    commands
}
