//! The simulator.

use super::Context;
use crate::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;

/// The simulator: the real engine in a simulated world
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mainstay sim run scenarios                  every scenario in a folder
  mainstay sim run scenarios/host-lost --trace
  mainstay sim run scenarios --json | jq '.reports[] | select(.passed | not)'")]
pub struct Sim {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run scenarios: folders with setup.toml, script.txt and expect.txt
    Run {
        /// Scenarios, or folders of them
        #[arg(required = true)]
        folders: Vec<PathBuf>,
        /// Print the whole run, line by line
        #[arg(long)]
        trace: bool,
    },
}

pub(super) fn run(context: &Context<'_>, arguments: Sim) -> Result<Exit, Failure> {
    match arguments.verb {
        Verb::Run { folders, trace } => {
            let reports = mainstay_sim::scenario::run_all(&folders)
                .map_err(|error| Failure::other("the scenarios can't be run", error))?;
            let failed = reports.iter().filter(|report| !report.passed).count();
            if context.output.json {
                let document = json!({ "version": mainstay_web::VERSION, "failed": failed, "reports": reports });
                context.output.document(&document);
            } else {
                for report in &reports {
                    if trace {
                        report.trace.iter().for_each(|line| context.output.data(&format!("{line}\n")));
                    }
                    context.output.data(&report.to_string());
                }
                context.output.talk(&format!("{} of {} passed", reports.len() - failed, reports.len()));
            }
            Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
        }
    }
}
