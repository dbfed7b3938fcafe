//! Man pages.

use super::Context;
use crate::{
    arguments::Cli,
    failure::{Exit, Failure},
};
use clap::{Args, CommandFactory};
use std::{fs, path::PathBuf};

/// Write the man pages into a folder
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mainstay man /usr/local/share/man/man1
  man mainstay-vm-move")]
pub struct Man {
    /// The folder; made if it is not there
    folder: PathBuf,
}

pub(super) fn run(context: &Context<'_>, arguments: &Man) -> Result<Exit, Failure> {
    let folder = &arguments.folder;
    let failed = |source| Failure::File { what: "can't write man pages into", path: folder.clone(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
    context.output.talk(&format!("man pages are in {}", folder.display()));
    Ok(Exit::Done)
}
