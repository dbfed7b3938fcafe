//! `script/soak`: fresh seeds at every run, of all profiles side by side. What fails is written down, shrunk, as scenarios.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // to print is its purpose

use clap::Parser;
use mainstay_sim::fuzz::{Profile, SoakReport, SoakSpec, soak};
use std::{
    io::{IsTerminal, stderr},
    path::PathBuf,
    process::{Command, ExitCode},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

// A run allocates all the time, for facts on their way.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs of one second and the next, or of two machines, share no seeds: each takes so many for itself.
const SEEDS_A_RUN: u64 = 100_000_000;
/// Seeds stay short enough to be read.
const RUNS: u64 = 10_000_000;

/// Set when it is to end.
static STOP: AtomicBool = AtomicBool::new(false);

/// Runs fresh seeds of the simulator, all profiles side by side
#[derive(Debug, Parser)]
struct Arguments {
    /// End after so many minutes
    #[arg(long, default_value_t = 10.0, value_name = "M")]
    minutes: f64,
    /// End after so many seeds, if that is sooner
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true, value_name = "N")]
    seeds: u64,
    /// Only this profile: default, calm, storm, controller, storage, network, people, small or large; can be repeated
    #[arg(long, value_name = "P", value_parser = profile)]
    profile: Vec<&'static Profile>,
    /// Begin at this seed instead of a fresh one, to repeat a run
    #[arg(long, value_name = "SEED")]
    first: Option<u64>,
    /// How many at once; as many as there are processors if not given
    #[arg(long, short)]
    jobs: Option<usize>,
    /// Where failures are written; the first seed's name below target/soak if not given
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

fn profile(name: &str) -> Result<&'static Profile, String> {
    let names = || Profile::ALL.iter().map(|profile| profile.name()).collect::<Vec<_>>().join(", ");
    Profile::named(name).ok_or_else(|| format!("there are: {}", names()))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let first = arguments.first.unwrap_or_else(fresh);
    let profiles = if arguments.profile.is_empty() { Profile::ALL.iter().collect() } else { arguments.profile.clone() };
    let names = profiles.iter().map(|profile| profile.name()).collect::<Vec<_>>().join(", ");
    let commit = commit().map(|commit| format!(", commit {commit}")).unwrap_or_default();
    let of = format!("first seed {first}{commit}, profiles {names}");
    let spec = SoakSpec {
        first,
        profiles,
        lasts: Duration::from_secs_f64(arguments.minutes.max(0.0) * 60.0),
        seeds: arguments.seeds,
        jobs: arguments.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)),
        folder: arguments.to.unwrap_or_else(|| PathBuf::from(format!("target/soak/{first}"))),
        of,
    };
    eprintln!("soak: {}, {} min", spec.of, arguments.minutes);
    end_on_signals();
    let said = Mutex::new(Instant::now());
    // A log gets a line a minute, a terminal more.
    let every = Duration::from_secs(if stderr().is_terminal() { 2 } else { 60 });
    let report = soak(&spec, &STOP, &|so_far| {
        if let Ok(mut said) = said.lock()
            && said.elapsed() >= every
        {
            *said = Instant::now();
            eprintln!("soak: {}", progress(so_far, &spec));
        }
    });
    match report {
        Ok(report) => {
            if arguments.json {
                println!("{:#}", serde_json::json!({ "version": 1, "of": spec.of, "report": report }));
            } else {
                print!("{report}");
            }
            if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("soak: failures can't be written to {}: {error}", spec.folder.display());
            ExitCode::FAILURE
        }
    }
}

/// A seed from which on no other run has drawn: the clock is asked for chance here, and only here.
fn fresh() -> u64 {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let mixed = (clock ^ u64::from(std::process::id()).rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (1 + (mixed >> 20) % RUNS) * SEEDS_A_RUN
}

/// The first Ctrl-C or SIGTERM lets seeds under way finish and shows the table; the second ends at once.
fn end_on_signals() {
    let listen = async {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        for _ in 0..2 {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            eprintln!("soak: ends when the seeds under way have; once more ends it at once");
        }
    };
    thread::spawn(move || {
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
            runtime.block_on(listen);
        }
    });
}

fn progress(so_far: &SoakReport, spec: &SoakSpec) -> String {
    let rate = so_far.seeds as f64 / so_far.took_s.max(0.001);
    let left = (spec.lasts.as_secs_f64() - so_far.took_s).min((spec.seeds - so_far.seeds) as f64 / rate);
    format!("{} seeds, {rate:.1} a second, {} failed, {:.0} s left", so_far.seeds, so_far.failed, left.max(0.0))
}

/// The commit of the sources that this was built from, while they are where they were.
fn commit() -> Option<String> {
    let git = ["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty=-changed", "--exclude=*"];
    let answer = Command::new("git").args(git).output().ok().filter(|answer| answer.status.success())?;
    Some(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_sim::fuzz::SEEDS_APART;

    #[test]
    fn a_run_has_room_for_the_seeds_of_every_profile() {
        assert!(Profile::ALL.len() as u64 * SEEDS_APART <= SEEDS_A_RUN);
        assert_eq!(fresh() % SEEDS_A_RUN, 0);
    }
}
