//! The simulator.

use super::Context;
use crate::{
    failure::{Exit, Failure},
    output::Output,
};
use clap::{Args, Subcommand};
use mainstay_sim::{
    Report,
    fuzz::{self, FuzzReport, FuzzSpec, Profile, fuzz_watched, replay},
    sabotage::Sabotage,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{IsTerminal, stderr},
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::{Duration, Instant},
};

/// So many failures are shrunk; more are mostly the same.
const SHRUNK: usize = 3;
/// Progress is said this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// The simulator: the real engine in a simulated world
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mainstay sim run scenarios                  every scenario in a folder
  mainstay sim run scenarios/12-power-on-again-policy --trace
  mainstay sim fuzz --seeds 0..500
  mainstay sim fuzz --minutes 30 --profile storm
  mainstay sim fuzz --seeds 17..18 --trace       one failure again, line by line
  mainstay sim fuzz --sabotage fencing-skipped   does the checker find it out?
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
    Fuzz(Fuzz),
}

#[derive(Debug, Args)]
struct Fuzz {
    /// Which seeds: from A up to, not including, B
    #[arg(long, default_value = "0..100", value_name = "A..B", value_parser = seeds)]
    seeds: Range<u64>,
    /// Go on with further seeds until so many minutes have passed
    #[arg(long, value_name = "M")]
    minutes: Option<u64>,
    /// What seeds are drawn from: default, calm, storm, controller, storage, network, people, small or large; under sabotage
    /// what finds it, if not given
    #[arg(long, value_name = "NAME", value_parser = profile)]
    profile: Option<&'static Profile>,
    /// How many at once; as many as there are processors if not given
    #[arg(long, short)]
    jobs: Option<usize>,
    /// End at the first failure
    #[arg(long)]
    stop: bool,
    /// Take one duty from the controller, and see whether the checker finds it out
    #[arg(long, value_name = "NAME", value_parser = sabotage)]
    sabotage: Option<Sabotage>,
    /// Where the first failures are written, shrunk, each as the folder of a scenario
    #[arg(long, default_value = "target/sim-failures", value_name = "DIR")]
    shrink_to: PathBuf,
    /// Write the figures of the safety case into this folder
    #[arg(long, value_name = "DIR")]
    safety_case: Option<PathBuf>,
    /// Say how far it is, also if standard error is no terminal
    #[arg(long)]
    progress: bool,
    /// Print the whole run, line by line; for one seed
    #[arg(long)]
    trace: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is no seed; write for example 0..500"));
    let (first, end) = text.split_once("..").ok_or("write for example 0..500")?;
    let (first, end) = (number(first)?, number(end)?);
    if first < end { Ok(first..end) } else { Err(format!("no seed is in {text}")) }
}

fn profile(name: &str) -> Result<&'static Profile, String> {
    let about = || Profile::ALL.iter().map(|profile| format!("{profile} ({})", profile.about)).collect::<Vec<_>>();
    Profile::named(name).ok_or_else(|| format!("there are: {}", about().join(", ")))
}

fn drawn_from(arguments: &Fuzz) -> &'static Profile {
    arguments.profile.or(arguments.sabotage.map(Sabotage::profile)).unwrap_or_default()
}

fn sabotage(name: &str) -> Result<Sabotage, String> {
    let names: Vec<_> = Sabotage::ALL.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    Sabotage::named(name).ok_or_else(|| format!("there are: {names}"))
}

pub(super) fn run(context: &Context<'_>, arguments: Sim) -> Result<Exit, Failure> {
    match arguments.verb {
        Verb::Run { folders, trace } => scenarios(context, &folders, trace),
        Verb::Fuzz(arguments) if arguments.trace => {
            let report = replay(arguments.seeds.start, drawn_from(&arguments), arguments.sabotage);
            report.trace.iter().for_each(|line| context.output.data(&format!("{line}\n")));
            context.output.data(&report.to_string());
            Ok(if report.passed { Exit::Done } else { Exit::Failed })
        }
        Verb::Fuzz(arguments) => fuzzing(context.output, &arguments),
    }
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

fn scenarios(context: &Context<'_>, folders: &[PathBuf], trace: bool) -> Result<Exit, Failure> {
    let reports = mainstay_sim::scenario::run_all(folders)
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

fn fuzzing(output: &Output, arguments: &Fuzz) -> Result<Exit, Failure> {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let spec = FuzzSpec {
        seeds: arguments.seeds.clone(),
        lasts: arguments.minutes.map(|minutes| Duration::from_secs(minutes * 60)),
        profile: drawn_from(arguments),
        jobs: arguments.jobs.unwrap_or_else(processors),
        stop_at_first: arguments.stop,
        sabotage: arguments.sabotage,
    };
    let headline = headline(&spec);
    output.talk(&headline);
    let talks = arguments.progress || stderr().is_terminal();
    let said = Mutex::new(Instant::now());
    let report = fuzz_watched(&spec, &|so_far| {
        if let Ok(mut said) = said.lock()
            && talks
            && said.elapsed() >= PROGRESS_EVERY
        {
            *said = Instant::now();
            output.talk(&progress(&spec, so_far));
        }
    });
    if output.json {
        let never_seen = report.never_seen();
        let document = json!({ "version": mainstay_web::VERSION, "report": report, "never_seen": never_seen });
        output.document(&document);
    } else {
        output.data(&report.to_string());
    }
    if spec.sabotage.is_none() || !report.passed() {
        for failure in report.failures.iter().take(SHRUNK) {
            let folder = arguments.shrink_to.join(format!("seed-{}", failure.seed));
            match fuzz::shrink(failure, spec.sabotage) {
                Some(shrunk) => {
                    let found = format!("`{}` ({headline})", failure.replay);
                    shrunk
                        .write(&folder, &found)
                        .map_err(|error| Failure::other("the scenario can't be written", error))?;
                    output.talk(&format!(
                        "seed {} shrunk to {} deeds: {}",
                        failure.seed,
                        shrunk.deeds(),
                        folder.display()
                    ));
                }
                None => output.talk(&format!("seed {} can't be shrunk; again: {}", failure.seed, failure.replay)),
            }
        }
    }
    if let Some(folder) = &arguments.safety_case {
        let of = format!("{headline}, {} seeds", report.seeds);
        write_pages(folder, &fuzz::pages(&report, spec.jobs, &of))?;
    }
    Ok(if report.passed() { Exit::Done } else { Exit::Failed })
}

fn write_pages(folder: &Path, pages: &std::collections::BTreeMap<String, String>) -> Result<(), Failure> {
    let wrong = |error| Failure::other("the figures can't be written", error);
    fs::create_dir_all(folder).map_err(wrong)?;
    pages.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text)).map_err(wrong)
}

/// What is run, of which commit, when.
fn headline(spec: &FuzzSpec) -> String {
    let seeds = match spec.lasts {
        Some(lasts) => format!("seeds from {} on for {} min", spec.seeds.start, lasts.as_secs() / 60),
        None => format!("seeds {}..{}", spec.seeds.start, spec.seeds.end),
    };
    let commit = commit().map(|commit| format!(", commit {commit}")).unwrap_or_default();
    let sabotage = spec.sabotage.map(|sabotage| format!(", sabotage {sabotage}")).unwrap_or_default();
    let date = jiff::Zoned::now().date();
    format!("{seeds}, profile {}: {}{sabotage}{commit}, {date}", spec.profile, spec.profile.about)
}

/// The commit of the sources that this was built from, while they are where they were.
fn commit() -> Option<String> {
    let git = ["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short", "HEAD"];
    let answer = Command::new("git").args(git).output().ok().filter(|answer| answer.status.success())?;
    Some(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
}

fn progress(spec: &FuzzSpec, so_far: &FuzzReport) -> String {
    let rate = so_far.seeds as f64 / so_far.took_s.max(0.001);
    let left = match spec.lasts {
        Some(lasts) => lasts.as_secs_f64() - so_far.took_s,
        None => (spec.seeds.end - spec.seeds.start - so_far.seeds) as f64 / rate,
    };
    let years = so_far.simulated_hours / 8766.0;
    format!(
        "{} seeds, {rate:.0} a second, {years:.3} simulated years, {} failed, {:.0} s left",
        so_far.seeds,
        so_far.failed,
        left.max(0.0)
    )
}
