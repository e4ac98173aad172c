//! How a run was made: what its run.json says.

use serde_json::Value;

use super::run::Run;
use crate::util::path::shell_word;
use crate::util::text::shown;

/// What run.json says, for reading.
pub fn facts(run: &Run) -> Vec<(&'static str, Vec<(String, String)>)> {
    let text = |value: &Value| match value {
        Value::Null => "none".to_string(),
        Value::String(text) => shown(text),
        value => shown(&value.to_string()),
    };
    let fields = |key: &str| match run.run_json.get(key) {
        Some(Value::Object(fields)) => {
            fields.iter().map(|(name, value)| (shown(name).replace('_', " "), text(value))).collect()
        }
        _ => vec![],
    };
    let mut outcome = fields("outcome");
    outcome.retain(|(name, _)| name != "metrics");
    if let Some(start) = run.run_json.get("start") {
        outcome.insert(0, ("start".into(), text(start)));
    }
    let facts = vec![
        ("Options", fields("options")),
        ("Environment", fields("environment")),
        ("Data, SHA-256", fields("data")),
        ("Outcome", outcome),
    ];
    facts.into_iter().filter(|(_, fields)| !fields.is_empty()).collect()
}

/// The command line that runs it again, from the folder of the checkout.
pub fn command(run: &Run) -> Option<String> {
    let options = run.run_json.get("options")?.as_object()?;
    let program = match (
        run.run_json.get("command"),
        run.run_json.get("environment").is_some_and(|environment| environment["tch"].is_null()),
    ) {
        (Some(command), _) if command == "reproduce" => "islp-mnist reproduce",
        (_, true) => ".venv/bin/python scripts/train.py",
        _ => "islp-mnist train",
    };
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let given = options.iter().filter(|(name, value)| !value.is_null() && is_name(name));
    let words = given.map(|(name, value)| {
        let value = value.as_str().map_or(value.to_string(), str::to_string);
        format!(" --{} {}", name.replace('_', "-"), shell_word(value.as_ref()))
    });
    Some(program.to_owned() + &words.collect::<String>())
}
