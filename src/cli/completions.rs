//! `islp-mnist completions`: what a shell needs to complete the command line.

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::Cli;
use super::output::print;

/// Print the completions for a shell.
///
/// Example: islp-mnist completions bash > ~/.local/share/bash-completion/completions/islp-mnist
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "bash|elvish|fish|powershell|zsh", hide_possible_values = true)]
    shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> Result<u8> {
    let mut script = vec![];
    generate(args.shell, &mut Cli::command(), "islp-mnist", &mut script);
    // For bash it spells a hyphen in the program's name in two ways, and no option completes: clap-rs/clap#6421.
    let script = String::from_utf8_lossy(&script).replace("islp__subcmd__mnist", "islp__mnist");
    print(script.trim_end())?;
    Ok(0)
}
