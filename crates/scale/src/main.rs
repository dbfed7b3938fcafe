//! How fast the engine decides, in CPU time, and how that grows with the cluster: the controller core as the daemon drives
//! it, on made-up clusters, without any I/O; how fast the simulator is; and what the real controller takes as a process.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // to print is its purpose

mod cases;
mod clock;
mod cluster;
mod daemon;
mod hypervisors;
mod peer;
mod report;
mod simulator;

use clap::{Parser, ValueEnum};
use cluster::Size;
use report::Row;
use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

/// Measures the engine on made-up clusters.
#[derive(Debug, Parser)]
struct Arguments {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// How often each step is measured
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u8).range(1..))]
    runs: u8,
    /// Leave the cluster of 2,000 hosts out
    #[arg(long)]
    quick: bool,
    /// Only these
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Memory, Part::Loss, Part::Fact, Part::Steady, Part::Simulator, Part::Peer])]
    only: Vec<Part>,
    /// The controller's program, for the part `daemon`
    #[arg(long)]
    mainstay: Option<PathBuf>,
    /// How long the process is watched while nothing happens, in seconds
    #[arg(long, default_value_t = 600)]
    steady: u64,
    /// The process does not ask where guests could start
    #[arg(long)]
    no_readiness: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Memory of the controller core
    Memory,
    /// The loss of one host, and of a tenth of them
    Loss,
    /// One step on one fact
    Fact,
    /// The share of a core that sensors' facts take
    Steady,
    /// The simulator: hours of a small cluster
    Simulator,
    /// Pacemaker's scheduler on clusters of the same shape, up to the size that it finishes
    Peer,
    /// The real controller process over simulated hypervisors
    Daemon,
}

/// Set once in a network namespace of its own.
const APART: &str = "MAINSTAY_SCALE_APART";

const TINY: Size = Size { hosts: 16, workloads: 250 };
const HALF: Size = Size { hosts: 32, workloads: 1_000 };
const SMALL: Size = Size { hosts: 64, workloads: 2_000 };
const MIDDLE: Size = Size { hosts: 500, workloads: 10_000 };
const WIDE: Size = Size { hosts: 1_000, workloads: 10_000 };
const LARGE: Size = Size { hosts: 2_000, workloads: 50_000 };

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.only.contains(&Part::Daemon) && std::env::var_os(APART).is_none() {
        return in_own_network();
    }
    let rows = measure(&arguments);
    let text = if arguments.json { report::json(&rows) } else { report::table(&rows) + &report::plot(&rows) };
    print!("{text}");
    if rows.iter().all(Row::met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// This program again, in a network namespace of its own, whose addresses are the simulated hosts'.
fn in_own_network() -> ExitCode {
    let own = std::env::current_exe().expect("this program runs from a file");
    let status =
        Command::new("unshare").arg("--net").arg(own).args(std::env::args_os().skip(1)).env(APART, "1").status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("unshare can't be run: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Vec<Row> {
    let runs = usize::from(arguments.runs);
    let millis = |millis| Some(Duration::from_millis(millis));
    let fact = Duration::from_micros(20);
    let mut rows = Vec::new();
    let wanted = |part| arguments.only.contains(&part);
    if wanted(Part::Memory) {
        rows.extend(cases::memory(WIDE)); // first, while nothing was freed yet
    }
    if wanted(Part::Loss) {
        rows.extend(cases::loss(TINY, 1, runs, None));
        rows.extend(cases::loss(HALF, 1, runs, None));
        rows.extend(cases::loss(SMALL, 1, runs, millis(5)));
        rows.extend(cases::loss(MIDDLE, 1, runs, millis(60)));
        if !arguments.quick {
            rows.extend(cases::loss(LARGE, 1, runs, None));
        }
        rows.extend(cases::loss(WIDE, WIDE.hosts / 10, runs, millis(300)));
    }
    if wanted(Part::Fact) {
        for size in [SMALL, WIDE] {
            rows.extend(cases::facts(size, runs * 4, fact));
        }
        rows.push(cases::outcomes(WIDE, WIDE.hosts / 10));
    }
    if wanted(Part::Steady) {
        rows.extend(cases::steady(WIDE, 21));
    }
    if wanted(Part::Simulator) {
        match simulator::rows() {
            Ok(measured) => rows.extend(measured),
            Err(error) => rows.push(Row::failed("the simulator", Size { hosts: 5, workloads: 30 }, &error)),
        }
    }
    if let (true, Some(mainstay)) = (wanted(Part::Daemon), &arguments.mainstay) {
        match daemon::rows(mainstay, WIDE, Duration::from_secs(arguments.steady), !arguments.no_readiness) {
            Ok(measured) => rows.extend(measured),
            Err(error) => rows.push(Row::failed("the process", WIDE, &error)),
        }
    }
    if wanted(Part::Peer) {
        for size in [TINY, HALF, SMALL, MIDDLE] {
            match peer::loss(size) {
                Ok(Some(row)) => rows.push(row),
                Ok(None) => break, // larger ones will not finish either
                Err(error) => {
                    eprintln!("crm_simulate can't be run: {error}");
                    break;
                }
            }
        }
    }
    rows
}
