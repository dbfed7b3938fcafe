//! Soaking: seeds that no run has seen before, of every profile side by side, for as long as one likes.
//!
//! Each profile is a lane with seeds of its own; the lane that had the least time so far runs next, so that cheap clusters
//! do not wait for large ones. What fails is written down at once as a scenario, and then shrunk for a while.

use super::{Failure, FuzzReport, Outcome, Profile, one, shrink::shrink};
use crate::{Rule, leader::Elect};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The first seeds of two lanes are so far apart; no run gets through as many.
pub const SEEDS_APART: u64 = 10_000_000;
/// One failure is shrunk for so long at most: seeds find more than a shorter script does.
const SHRINKS_FOR: Duration = Duration::from_secs(60);

/// What to soak.
#[derive(Debug)]
pub struct SoakSpec {
    /// The first seed of the first profile; the next one begins at [`SEEDS_APART`] more.
    pub first: u64,
    /// From which profiles seeds are drawn.
    pub profiles: Vec<&'static Profile>,
    /// It ends after this much time.
    pub lasts: Duration,
    /// It ends after so many seeds, if that is sooner.
    pub seeds: u64,
    /// How many seeds run at once.
    pub jobs: usize,
    /// Where failures are written, a folder each, with a line each in `summary.txt`.
    pub folder: PathBuf,
    /// The run in words, such as its commit, for the failures' pages.
    pub of: String,
}

/// What came of it so far.
#[derive(Debug, Serialize)]
pub struct SoakReport {
    /// The first seed of all.
    pub first: u64,
    /// Seeds run.
    pub seeds: u64,
    /// Seeds that failed.
    pub failed: u64,
    /// Simulated hours.
    pub simulated_hours: f64,
    /// Real seconds.
    pub took_s: f64,
    /// By profile.
    pub profiles: Vec<Lane>,
    /// Failures, each with where it was written.
    pub failures: Vec<Found>,
}

/// The seeds of one profile.
#[derive(Debug, Serialize)]
pub struct Lane {
    /// Which profile.
    pub profile: &'static Profile,
    /// Its first seed.
    pub first: u64,
    /// Seeds run.
    pub seeds: u64,
    /// Seeds that failed.
    pub failed: u64,
    /// In how many seeds each rule was broken.
    pub broken: BTreeMap<Rule, u64>,
    /// Real seconds, summed over the seeds.
    pub spent_s: f64,
    /// Given to a worker, whether run by now or not.
    #[serde(skip)]
    given: u64,
}

/// A failure, written down.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Of which profile.
    pub profile: &'static Profile,
    /// Which seed.
    pub seed: u64,
    /// What it broke first.
    pub rule: Rule,
    /// When, in simulated seconds.
    pub at_s: f64,
    /// How.
    pub text: String,
    /// The command that shows it again.
    pub replay: String,
    /// The folder of the scenario.
    pub folder: PathBuf,
    /// The deeds that are left of the seed's; absent: it was not shrunk.
    pub shrunk_to: Option<usize>,
}

/// Runs seeds until the time is over or `stop` is set, and shows what came of them after each. Seeds and shrinking under way
/// when it is stopped are finished or cut short, so that what was found is on disk in any case.
///
/// # Errors
/// If a failure can't be written down.
pub fn soak(spec: &SoakSpec, stop: &AtomicBool, watch: &(dyn Fn(&SoakReport) + Sync)) -> io::Result<SoakReport> {
    soak_with(spec, Elect::Real, stop, watch)
}

fn soak_with(
    spec: &SoakSpec,
    elect: Elect,
    stop: &AtomicBool,
    watch: &(dyn Fn(&SoakReport) + Sync),
) -> io::Result<SoakReport> {
    let began = Instant::now();
    let report = Mutex::new(SoakReport::of(spec));
    let unwritten = Mutex::new(None);
    let over = || stop.load(Ordering::Relaxed) || began.elapsed() >= spec.lasts;
    let work = || {
        while !over() {
            let Some((place, profile, seed)) = locked(&report).next(spec.seeds) else { return };
            let since = Instant::now();
            let outcome = one(seed, profile, elect);
            let failures = {
                let mut report = locked(&report);
                report.took_s = began.elapsed().as_secs_f64();
                let failures = report.add(place, outcome, since.elapsed());
                watch(&report);
                failures
            };
            for failure in failures {
                match write(spec, profile, &failure, elect, &|| !stop.load(Ordering::Relaxed)) {
                    Ok(found) => locked(&report).failures.push(found),
                    Err(error) => {
                        stop.store(true, Ordering::Relaxed);
                        *locked(&unwritten) = Some(error);
                    }
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..spec.jobs.max(1) {
            scope.spawn(work);
        }
    });
    if let Some(error) = unwritten.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.took_s = began.elapsed().as_secs_f64();
    report.failures.sort_by_key(|found| found.seed);
    Ok(report)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SoakReport {
    fn of(spec: &SoakSpec) -> SoakReport {
        let mut first = spec.first;
        let lane = |profile: &&'static Profile| {
            let lane = Lane { profile, first, seeds: 0, failed: 0, broken: BTreeMap::new(), spent_s: 0.0, given: 0 };
            first += SEEDS_APART;
            lane
        };
        SoakReport {
            first: spec.first,
            seeds: 0,
            failed: 0,
            simulated_hours: 0.0,
            took_s: 0.0,
            profiles: spec.profiles.iter().map(lane).collect(),
            failures: Vec::new(),
        }
    }

    /// The next seed, of the lane that had the least time; `None` if there were enough.
    fn next(&mut self, seeds: u64) -> Option<(usize, &'static Profile, u64)> {
        if self.profiles.iter().map(|lane| lane.given).sum::<u64>() >= seeds {
            return None;
        }
        // A seed that runs counts with what seeds of its lane took so far.
        let due = |lane: &Lane| lane.spent_s / lane.seeds.max(1) as f64 * lane.given as f64;
        let lanes = self.profiles.iter_mut().enumerate();
        let (place, lane) =
            lanes.min_by(|(_, one), (_, other)| due(one).total_cmp(&due(other)).then(one.given.cmp(&other.given)))?;
        lane.given += 1;
        Some((place, lane.profile, lane.first + lane.given - 1))
    }

    /// Takes an outcome in; the failures that it is.
    fn add(&mut self, place: usize, outcome: Outcome, took: Duration) -> Vec<Failure> {
        let Some(lane) = self.profiles.get_mut(place) else { return Vec::new() };
        let mut one = FuzzReport { profile: lane.profile, ..FuzzReport::default() };
        one.add(outcome);
        lane.seeds += 1;
        lane.spent_s += took.as_secs_f64();
        lane.failed += one.failed;
        self.seeds += 1;
        self.failed += one.failed;
        self.simulated_hours += one.simulated_hours;
        one.broken.iter().for_each(|(rule, seeds)| *lane.broken.entry(*rule).or_default() += seeds);
        one.take_failures()
    }
}

/// Writes a failure down as it is, shrinks it, and writes what is left in its place.
fn write(
    spec: &SoakSpec,
    profile: &'static Profile,
    failure: &Failure,
    elect: Elect,
    goes_on: &dyn Fn() -> bool,
) -> io::Result<Found> {
    let Some(first) = failure.violations.first() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let folder = spec.folder.join(format!("{profile}-{}", failure.seed));
    let found = format!("`{}` ({})", failure.replay, spec.of);
    failure.write(&folder, &found)?;
    let began = Instant::now();
    let shrunk = shrink(&failure.texts, first.rule, elect, &|| goes_on() && began.elapsed() < SHRINKS_FOR);
    if let Some(shrunk) = &shrunk {
        shrunk.write(&folder, &found)?;
    }
    let found = Found {
        profile,
        seed: failure.seed,
        rule: first.rule,
        at_s: first.at_s,
        text: first.text.clone(),
        replay: failure.replay.clone(),
        folder,
        shrunk_to: shrunk.map(|shrunk| shrunk.deeds()),
    };
    line_in(&spec.folder.join("summary.txt"), &found.to_string())?;
    Ok(found)
}

fn line_in(file: &Path, line: &str) -> io::Result<()> {
    writeln!(OpenOptions::new().create(true).append(true).open(file)?, "{line}")
}

impl Failure {
    /// Writes the seed's scenario as it was drawn.
    fn write(&self, folder: &Path, found: &str) -> io::Result<()> {
        let mut readme = format!("# Seed {}\n\nFound by {found}; not shrunk.\n\nIt broke:\n\n", self.seed);
        for violation in &self.violations {
            readme += &format!("- at {} s {}: {}\n", violation.at_s, violation.rule, violation.text);
        }
        fs::create_dir_all(folder)?;
        fs::write(folder.join("README.md"), readme)?;
        fs::write(folder.join("setup.toml"), &self.texts.setup)?;
        fs::write(folder.join("script.txt"), &self.texts.script)?;
        fs::write(folder.join("expect.txt"), "# Only the rules are held.\n")
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deeds = self.shrunk_to.map_or("not shrunk".to_owned(), |deeds| format!("{deeds} deeds"));
        let Found { profile, seed, rule, at_s, text, replay, folder, .. } = self;
        write!(f, "{profile} {seed} at {at_s} s: {rule}: {text} ({deeds}: {}; again: {replay})", folder.display())
    }
}

/// The number of a rule, or its name if it has none.
fn short(rule: Rule) -> String {
    let text = rule.to_string();
    text.split(" (").next().unwrap_or(&text).to_owned()
}

impl fmt::Display for SoakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for found in &self.failures {
            writeln!(f, "{found}")?;
        }
        let broken = |lane: &Lane| {
            let of = |(rule, seeds): (&Rule, &u64)| format!("{}: {seeds}", short(*rule));
            lane.broken.iter().map(of).collect::<Vec<_>>().join(", ")
        };
        writeln!(f, "{:<12} {:>16} {:>10} {:>8}  broken", "profile", "first seed", "seeds", "failed")?;
        for lane in &self.profiles {
            let line = format!(
                "{:<12} {:>16} {:>10} {:>8}  {}",
                lane.profile,
                lane.first,
                lane.seeds,
                lane.failed,
                broken(lane)
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        writeln!(f, "{:<12} {:>16} {:>10} {:>8}", "all", "", self.seeds, self.failed)?;
        let rate = self.simulated_hours * 3_600.0 / self.took_s.max(0.001);
        writeln!(f, "{:.1} simulated hours in {:.0} s ({rate:.0} times real time)", self.simulated_hours, self.took_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sabotage::Sabotage, scenario::Scenario};

    fn spec(name: &str, seeds: u64) -> SoakSpec {
        let folder = std::env::temp_dir().join(format!("mainstay-soak-{name}-{}", std::process::id()));
        let profiles = ["small", "calm"].into_iter().filter_map(Profile::named).collect();
        let lasts = Duration::from_secs(3_600);
        SoakSpec { first: 1_000, profiles, lasts, seeds, jobs: 1, folder, of: "a test".to_owned() }
    }

    #[test]
    fn every_profile_gets_seeds_of_its_own() {
        let spec = spec("lanes", 6);
        let report = soak(&spec, &AtomicBool::new(false), &|_| {}).expect("nothing is to be written");
        assert_eq!(report.seeds, 6);
        let firsts: Vec<u64> = report.profiles.iter().map(|lane| lane.first).collect();
        assert_eq!(firsts, [1_000, 1_000 + SEEDS_APART]);
        assert!(report.profiles.iter().all(|lane| lane.seeds > 0), "{report}");
    }

    #[test]
    fn what_fails_is_on_disk_as_a_scenario_that_fails_again() {
        let (spec, elect) = (spec("failure", 300), Elect::Sabotaged(Sabotage::StopForgotten));
        let stop = AtomicBool::new(false);
        // Stopped at the first failure, it is not shrunk, and there all the same.
        let report = soak_with(&spec, elect, &stop, &|so_far| stop.store(so_far.failed > 0, Ordering::Relaxed))
            .expect("it can be written");
        let found = report.failures.first().expect("it is found out");
        let again = Scenario::load(&found.folder).expect("it can be read").run(elect);
        let summary = fs::read_to_string(spec.folder.join("summary.txt")).expect("it was written");
        fs::remove_dir_all(&spec.folder).expect("it is there");
        assert!(again.violations.iter().any(|violation| violation.rule == found.rule), "{again}");
        assert_eq!(summary.lines().count(), report.failures.len());
        assert!(summary.contains(&format!("{} {}", found.profile, found.seed)), "{summary}");
    }
}
