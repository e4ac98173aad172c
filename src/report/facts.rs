//! How a run was made: what its run.json says.

use serde_json::Value;

use super::run::Run;
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
        (Some(Value::String(command)), _) => format!("islp-mnist {}", shown(command)),
        (_, true) => ".venv/bin/python scripts/train.py".into(),
        _ => "islp-mnist train".into(),
    };
    let words = options.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| {
        let value = value.as_str().map_or(value.to_string(), str::to_string);
        let is_plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "._-+:".contains(c));
        let value = if is_plain { value } else { format!("'{}'", value.replace('\'', r"'\''")) };
        shown(&format!(" --{} {value}", name.replace('_', "-")))
    });
    Some(program + &words.collect::<String>())
}
