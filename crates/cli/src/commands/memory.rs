//! The controller's own memory, after a backup was put back.

use super::{Change, Context};
use crate::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use mainstay_model::Command;

/// The controller's memory: answer after a backup was put back
#[derive(Debug, Args)]
#[command(after_help = "\
A memory that was copied or put back is older than the world (mainstay explain MS1005). The controller starts nothing from it until
every host has listed its VMs, or is proved off. Then it asks which of the VMs that are off should run.

Examples:
  mainstay vm start web-1              this one should run
  mainstay vm stop web-2               this one stays off
  mainstay memory accept               all others stay off
  mainstay memory accept --start       all others that ran by the old memory are started")]
pub struct Memory {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Answer for all VMs that are still in question: they stay off, or are started
    Accept {
        /// Start them
        #[arg(long)]
        start: bool,
        #[command(flatten)]
        change: Change,
    },
}

pub(super) async fn run(context: &Context<'_>, arguments: Memory) -> Result<Exit, Failure> {
    let Verb::Accept { start, change } = arguments.verb;
    let question =
        start.then(|| "Start all VMs that are in question, also those a person may have stopped?".to_owned());
    change.give(context, Command::AcceptMemory { start }, question, None).await
}
