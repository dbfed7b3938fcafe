//! The commands, a file each, and what they share.

pub mod alarm;
pub mod completion;
pub mod config;
pub mod drill;
pub mod events;
pub mod explain;
pub mod host;
mod host_edit;
pub mod incidents;
pub mod lab;
pub mod man;
pub mod memory;
pub mod openapi;
pub mod ready;
pub mod sim;
pub mod snapshot;
pub mod stats;
pub mod status;
pub mod up;
pub mod vm;
pub mod watch;
pub mod what_if;

mod change;
mod listing;

use crate::{
    arguments::{Cli, Verb},
    client::Client,
    failure::{Exit, Failure},
    output::Output,
};
use change::Change;
use listing::{Listing, detail, listing, those};
use std::path::PathBuf;
use tokio::runtime::Builder;

/// What a command needs to run.
struct Context<'a> {
    client: Client,
    /// The socket if one was named.
    socket: Option<PathBuf>,
    output: &'a Output,
    yes: bool,
}

impl Context<'_> {
    /// Asks before something that cannot be taken back, unless told not to.
    fn confirm(&self, question: &str) -> Result<(), Failure> {
        if self.yes { Ok(()) } else { self.output.confirm(question) }
    }
}

/// Runs the command.
pub fn run(cli: Cli, output: &Output) -> Result<Exit, Failure> {
    let mut builder = match cli.command {
        Verb::Up(_) | Verb::Lab(_) => Builder::new_multi_thread(),
        _ => Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build().map_err(|error| Failure::other("the runtime does not start", error))?;
    let context = Context {
        client: Client::new(&cli.everywhere),
        socket: cli.everywhere.socket.clone(),
        output,
        yes: cli.everywhere.yes,
    };
    runtime.block_on(dispatch(&context, cli.command))
}

async fn dispatch(context: &Context<'_>, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Status(command) => status::run(context, command).await,
        Verb::Watch(command) => watch::run(context, command).await,
        Verb::Explain(command) => explain::run(context, command).await,
        Verb::Events(command) => events::run(context, command).await,
        Verb::Incidents(command) => incidents::run(context, command).await,
        Verb::Vm(command) => vm::run(context, command).await,
        Verb::Snapshot(command) => snapshot::run(context, command).await,
        Verb::Host(command) => host::run(context, command).await,
        Verb::Alarm(command) => alarm::run(context, command).await,
        Verb::Memory(command) => memory::run(context, command).await,
        Verb::Drill(command) => drill::run(context, command).await,
        Verb::WhatIf(command) => what_if::run(context, command).await,
        Verb::Ready(command) => ready::run(context, command).await,
        Verb::Stats(command) => stats::run(context, command).await,
        Verb::Config(command) => config::run(context, command).await,
        Verb::Up(command) => up::run(context, command).await,
        Verb::Sim(command) => sim::run(context, command),
        Verb::Lab(command) => lab::run(context, command).await,
        Verb::Completion(command) => completion::run(context, &command),
        Verb::Man(command) => man::run(context, &command),
        Verb::Openapi(_) => openapi::run(context),
    }
}
