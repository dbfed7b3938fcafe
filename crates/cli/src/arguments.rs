//! The command line as a tree. Each command's own arguments stand with the command.

use crate::commands::*;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Where the controller listens unless told otherwise.
pub const SOCKET: &str = "/run/mainstay/api.sock";

/// Keeps virtual machines available: watches them, protects them by recovery points, brings them back.
#[derive(Debug, Parser)]
#[command(
    name = "mainstay",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  mainstay status                    how things are, and what needs you
  mainstay explain web-1             why web-1 is as it is
  mainstay what-if host-loss h1      what would happen, touching nothing
  mainstay up                        run the controller here

Exit codes: 0 done, 1 failed, 2 usage, 3 degraded or blocked, 4 no controller or data too old,
5 (`up` only) another controller has taken over."
)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub everywhere: Everywhere,
    /// The command.
    #[command(subcommand)]
    pub command: Verb,
}

/// What holds for every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Everywhere {
    /// Print JSON (versioned) instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Do not ask before changes
    #[arg(long, short, global = true)]
    pub yes: bool,
    /// The controller's socket [default: /run/mainstay/api.sock]
    #[arg(long, global = true, env = "MAINSTAY_SOCKET", value_name = "PATH", hide_env_values = true)]
    pub socket: Option<PathBuf>,
    /// The controller's TCP address instead of its socket, as HOST:PORT on this machine or https://HOST:PORT; the token is
    /// read from MAINSTAY_TOKEN
    #[arg(long, global = true, env = "MAINSTAY_API", value_name = "ADDRESS", hide_env_values = true)]
    pub api: Option<String>,
    /// With --api https://…: the certificates that are trusted (PEM): an authority's, or the controller's own
    #[arg(long, global = true, env = "MAINSTAY_API_CA", value_name = "FILE", hide_env_values = true)]
    pub api_ca: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Status(status::Status),
    Watch(watch::Watch),
    Explain(explain::Explain),
    Events(events::Events),
    Incidents(incidents::Incidents),
    Vm(vm::Vm),
    Snapshot(snapshot::Snapshot),
    Host(host::Host),
    Alarm(alarm::Alarm),
    Ready(ready::Ready),
    Memory(memory::Memory),
    WhatIf(what_if::WhatIf),
    Drill(drill::Drill),
    Stats(stats::Stats),
    Config(config::Config),
    Up(up::Up),
    Sim(sim::Sim),
    Lab(lab::Lab),
    Completion(completion::Completion),
    Man(man::Man),
    #[command(hide = true)]
    Openapi(openapi::Openapi),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, CommandFactory};

    /// Every command that does something, as it is typed.
    fn leaves(command: &Command, typed: &str, found: &mut Vec<String>) {
        let visible: Vec<_> =
            command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help").collect();
        if visible.is_empty() {
            found.push(typed.to_owned());
        }
        for sub in visible {
            leaves(sub, &format!("{typed} {}", sub.get_name()), found);
        }
    }

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_documented_and_has_an_example() {
        let page = include_str!("../../../docs/cli.md");
        let mut commands = Vec::new();
        leaves(&Cli::command(), "mainstay", &mut commands);
        let missing: Vec<_> = commands.iter().filter(|typed| !page.contains(*typed)).collect();
        assert!(missing.is_empty(), "not in docs/cli.md: {missing:?}");
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{} has no examples", command.get_name());
        }
    }
}
