//! The simulator.

use super::Context;
use crate::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use mainstay_sim::{
    Report,
    fuzz::{FuzzSpec, fuzz, replay},
    sabotage::Sabotage,
};
use serde_json::{Value, json};
use std::{ops::Range, path::PathBuf};

/// The simulator: the real engine in a simulated world
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mainstay sim run scenarios                  every scenario in a folder
  mainstay sim run scenarios/host-lost --trace
  mainstay sim fuzz --seeds 0..500
  mainstay sim fuzz --seeds 17..18 --trace       one failure again, line by line
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
    /// Draw clusters, policies and faults from seeds; check every safety rule after every step
    Fuzz {
        /// Which seeds: from A up to, not including, B
        #[arg(long, default_value = "0..100", value_name = "A..B", value_parser = seeds)]
        seeds: Range<u64>,
        /// How many at once; as many as there are processors if not given
        #[arg(long, short)]
        jobs: Option<usize>,
        /// End at the first failure
        #[arg(long)]
        stop: bool,
        /// Take one duty from the controller, and see whether the checker finds it out
        #[arg(long, value_name = "NAME", value_parser = sabotage)]
        sabotage: Option<Sabotage>,
        /// Print the whole run, line by line; for one seed
        #[arg(long)]
        trace: bool,
    },
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is no seed; write for example 0..500"));
    let (first, end) = text.split_once("..").ok_or("write for example 0..500")?;
    let (first, end) = (number(first)?, number(end)?);
    if first < end { Ok(first..end) } else { Err(format!("no seed is in {text}")) }
}

fn sabotage(name: &str) -> Result<Sabotage, String> {
    let names = Sabotage::ALL.map(|sabotage| sabotage.to_string()).join(", ");
    Sabotage::named(name).ok_or_else(|| format!("there are: {names}"))
}

/// All reports; and what is in the report of a single scenario stands at the top as well.
fn document(failed: usize, reports: &[Report]) -> Value {
    let mut document = json!({ "version": mainstay_web::VERSION, "failed": failed, "reports": reports });
    if let ([report], Value::Object(fields)) = (reports, &mut document)
        && let Value::Object(own) = json!(report)
    {
        fields.extend(own);
    }
    document
}

pub(super) fn run(context: &Context<'_>, arguments: Sim) -> Result<Exit, Failure> {
    match arguments.verb {
        Verb::Run { folders, trace } => {
            let reports = mainstay_sim::scenario::run_all(&folders)
                .map_err(|error| Failure::other("the scenarios can't be run", error))?;
            let failed = reports.iter().filter(|report| !report.passed).count();
            if context.output.json {
                context.output.document(&document(failed, &reports));
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
        Verb::Fuzz { seeds, sabotage, trace: true, .. } => {
            let report = replay(seeds.start, sabotage);
            report.trace.iter().for_each(|line| context.output.data(&format!("{line}\n")));
            context.output.data(&report.to_string());
            Ok(if report.passed { Exit::Done } else { Exit::Failed })
        }
        Verb::Fuzz { seeds, jobs, stop, sabotage, .. } => {
            let processors = || std::thread::available_parallelism().map_or(1, usize::from);
            let spec = FuzzSpec { seeds, jobs: jobs.unwrap_or_else(processors), stop_at_first: stop, sabotage };
            let report = fuzz(&spec);
            match context.output.json {
                true => context.output.document(&json!({ "version": mainstay_web::VERSION, "report": report })),
                false => context.output.data(&report.to_string()),
            }
            Ok(if report.passed() { Exit::Done } else { Exit::Failed })
        }
    }
}
