//! clap's errors in one line.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::output::say_error;

/// Prints help to stdout as it is, an error in one line to stderr; the exit code.
pub fn report(error: &clap::Error) -> u8 {
    let text = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Behind `| head` nobody may be reading.
            let _ = error.print();
            return 0;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "no command given".to_string(),
        _ => message(error),
    };
    say_error(&format!("{text}; try '--help'"));
    2
}

/// A clap error without its "error: " and the usage below it, but with what it takes for meant.
pub fn message(error: &clap::Error) -> String {
    let text = error.render().to_string();
    // Lists, such as that of missing arguments, stand indented on lines of their own.
    let first = text.split("\n\n").next().unwrap_or_default();
    let first = first.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    match meant(error) {
        Some(meant) => format!("{first}; did you mean '{meant}'?"),
        None => first,
    }
}

fn meant(error: &clap::Error) -> Option<String> {
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(meant) => Some(meant.clone()),
        ContextValue::Strings(meant) => meant.first().cloned(),
        _ => None,
    })
}
