//! Completion for shells.

use super::Context;
use crate::failure::{Exit, Failure};
use clap::Args;
use clap_complete::env::Shells;
use std::path::Path;

/// Print what a shell needs to complete commands and live names
#[derive(Debug, Args)]
#[command(after_help = "\
Names of hosts, VMs and incidents are asked from the controller while you type.

Examples:
  source <(mainstay completion bash)                                        this shell
  mainstay completion bash > /etc/bash_completion.d/mainstay                every shell
  mainstay completion zsh > ~/.zfunc/_mainstay
  mainstay completion fish > ~/.config/fish/completions/mainstay.fish")]
pub struct Completion {
    /// The shell
    #[arg(value_parser = ["bash", "elvish", "fish", "powershell", "zsh"])]
    shell: String,
}

pub(super) fn run(context: &Context<'_>, arguments: &Completion) -> Result<Exit, Failure> {
    let shells = Shells::builtins();
    let unknown = || {
        Failure::Usage(format!(
            "no completion for {}; there is: {}",
            arguments.shell,
            shells.names().collect::<Vec<_>>().join(", ")
        ))
    };
    let shell = shells.completer(&arguments.shell).ok_or_else(unknown)?;
    let mut script = Vec::new();
    let written = shell.write_registration("COMPLETE", "mainstay", "mainstay", "mainstay", &mut script);
    written.map_err(|source| Failure::File { what: "can't write", path: Path::new("stdout").to_owned(), source })?;
    context.output.data(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}
