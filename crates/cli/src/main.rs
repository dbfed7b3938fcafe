//! `mainstay`: the one binary. Commands parse, call the controller over its HTTP API, and print; they decide nothing.
//!
//! Data goes to stdout, talk to stderr. How it ended is the exit code: see [`failure::Exit`].

mod arguments;
mod broken;
mod client;
mod commands;
mod completion;
mod difference;
mod failure;
mod follow;
mod output;
mod pages;
mod render;

use clap::{CommandFactory, Parser};
use std::process::ExitCode;

/// The controller allocates all the time, and gives back on one thread what another took: with glibc's own allocator the whole
/// process took a sixth more CPU time (docs/scale.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    clap_complete::CompleteEnv::with_factory(arguments::Cli::command).complete();
    let cli = arguments::Cli::parse();
    let output = output::Output::new(cli.everywhere.json);
    let result = commands::run(cli, &output);
    let exit = result.unwrap_or_else(|failure| output.failure(&failure));
    ExitCode::from(exit as u8)
}
