//! Fuzzing: a cluster, its policies and what goes wrong are drawn from a seed; the safety rules are checked after every
//! step, and when faults have ceased everything has to run again and come to rest.

mod cluster;
mod faults;

use crate::{
    check::{Rule, Violation},
    leader::Elect,
    report::Report,
    sabotage::Sabotage,
    scenario::Scenario,
};
use cluster::Cluster;
use mainstay_model::{Span, Time};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

/// Faults cease after this, at the latest.
const FAULTS_LAST_MS: (u64, u64) = (120_000, 600_000);
/// Then everything has to run again within this: the longest back-off, stability and boot times, and once more.
const RECOVERS_WITHIN: Span = Span::minutes(8);
/// And nothing may move any more in this time.
const RESTS_FOR: Span = Span::minutes(3);
/// So many failures are told in full; more would be the same again.
const FAILURES_KEPT: usize = 20;

/// What to fuzz.
#[derive(Clone, Debug)]
pub struct FuzzSpec {
    /// Which seeds.
    pub seeds: Range<u64>,
    /// How many at once.
    pub jobs: usize,
    /// End at the first failure; under sabotage: as soon as it was found out.
    pub stop_at_first: bool,
    /// With a controller that is sabotaged like this, and has to be found out.
    pub sabotage: Option<Sabotage>,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FuzzReport {
    /// Seeds run.
    pub seeds: u64,
    /// Seeds that failed, with what they broke; no more than 20 are kept.
    pub failures: Vec<Failure>,
    /// How many failed in all.
    pub failed: u64,
    /// In how many seeds each rule was broken.
    pub broken: BTreeMap<Rule, u64>,
    /// How the controller was sabotaged, if it was.
    pub sabotage: Option<Sabotage>,
    /// Simulated hours.
    pub simulated_hours: f64,
    /// Real seconds.
    pub took_s: f64,
    /// How often each rule was at stake.
    pub at_stake: BTreeMap<Rule, u64>,
    /// In how many seeds each kind of deed occurred.
    pub coverage: BTreeMap<String, u64>,
}

/// A seed that failed.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// What it broke.
    pub violations: Vec<Violation>,
    /// The command that shows it again.
    pub replay: String,
    /// The seed as a scenario: its setup and its script.
    #[serde(skip)]
    pub scenario: (String, String),
    /// The run, line by line.
    #[serde(skip)]
    pub trace: Vec<String>,
}

/// Runs seeds.
pub fn fuzz(spec: &FuzzSpec) -> FuzzReport {
    fuzz_with(spec, elected(spec.sabotage))
}

pub(crate) fn fuzz_with(spec: &FuzzSpec, elect: Elect) -> FuzzReport {
    let began = Instant::now();
    let next = AtomicU64::new(spec.seeds.start);
    let total = Mutex::new(FuzzReport { sabotage: spec.sabotage, ..FuzzReport::default() });
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let enough = spec.stop_at_first && total.lock().is_ok_and(|total| total.is_settled());
            if seed >= spec.seeds.end || enough {
                return;
            }
            let outcome = one(seed, elect);
            if let Ok(mut total) = total.lock() {
                total.add(outcome);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..spec.jobs.max(1) {
            scope.spawn(work);
        }
    });
    let mut report = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    report.failures.sort_by_key(|failure| failure.seed);
    report.failures.truncate(FAILURES_KEPT);
    report.took_s = began.elapsed().as_secs_f64();
    report
}

/// Runs one seed and gives its report, with its whole trace.
pub fn replay(seed: u64, sabotage: Option<Sabotage>) -> Report {
    let drawn = draw(seed);
    drawn.scenario.run_until_quiet(elected(sabotage), drawn.phases)
}

fn elected(sabotage: Option<Sabotage>) -> Elect {
    sabotage.map_or(Elect::Real, Elect::Sabotaged)
}

/// When what is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    pub should_run: Time,
    pub end: Time,
    /// Any host has room for all: that none fits is no excuse.
    pub roomy: bool,
}

struct DrawnSeed {
    scenario: Scenario,
    phases: Phases,
    texts: (String, String),
    verbs: BTreeSet<String>,
}

struct Outcome {
    seed: u64,
    result: Result<Report, String>,
    texts: (String, String),
    verbs: BTreeSet<String>,
}

fn draw(seed: u64) -> DrawnSeed {
    let cease = crate::random::Stream::new(seed, "draw/length").between(FAULTS_LAST_MS.0, FAULTS_LAST_MS.1);
    let cease = Time(cease);
    let should_run = cease + RECOVERS_WITHIN;
    let end = should_run + RESTS_FOR;
    let cluster = Cluster::draw(seed, Span(end.0));
    let deeds = faults::draw(seed, &cluster, cease);
    let script: String = deeds.iter().map(|(at, deed)| format!("at {} {deed}\n", Span(at.0))).collect();
    let scenario = Scenario::from_texts(&format!("seed {seed}"), &cluster.setup, &script, "")
        .unwrap_or_else(|error| panic!("seed {seed} drew what is no scenario: {error}\n{}", cluster.setup));
    let phases = Phases { should_run, end, roomy: cluster.roomy };
    DrawnSeed { scenario, phases, verbs: faults::verbs(&deeds, cease), texts: (cluster.setup, script) }
}

fn one(seed: u64, elect: Elect) -> Outcome {
    let DrawnSeed { scenario, phases, texts, verbs } = draw(seed);
    let run = AssertUnwindSafe(|| scenario.run_until_quiet(elect, phases));
    let result = catch_unwind(run).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    });
    Outcome { seed, result, texts, verbs }
}

impl FuzzReport {
    /// True if no seed failed; of a sabotaged controller: if it was found out by the rule that it breaks.
    pub fn passed(&self) -> bool {
        match self.sabotage {
            Some(sabotage) => self.broken.contains_key(&sabotage.breaks()),
            None => self.failed == 0,
        }
    }

    /// More seeds would not change the verdict.
    fn is_settled(&self) -> bool {
        self.passed() == self.sabotage.is_some()
    }

    /// Rules that were never at stake: they were not tested.
    pub fn untested(&self) -> Vec<Rule> {
        Rule::ALL.into_iter().filter(|rule| self.at_stake.get(rule).copied().unwrap_or(0) == 0).collect()
    }

    fn verdict(&self) -> String {
        match self.sabotage {
            None if self.passed() => "no rule broken".to_owned(),
            None => format!("{} FAILED", self.failed),
            Some(sabotage) if self.passed() => {
                let caught = self.broken.get(&sabotage.breaks()).copied().unwrap_or(1);
                format!("{sabotage} was found out by {} in {caught} seeds", sabotage.breaks())
            }
            Some(sabotage) => format!("{sabotage} was NOT FOUND OUT by {}", sabotage.breaks()),
        }
    }

    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        for verb in outcome.verbs {
            *self.coverage.entry(verb).or_default() += 1;
        }
        let (violations, trace) = match outcome.result {
            Ok(report) => {
                self.simulated_hours += report.end_s / 3600.0;
                for (rule, times) in report.at_stake {
                    *self.at_stake.entry(rule).or_default() += times;
                }
                (report.violations, report.trace)
            }
            Err(panic) => {
                let text = format!("the controller panicked: {panic}");
                (vec![Violation { at_s: 0.0, rule: Rule::Liveness, text }], Vec::new())
            }
        };
        if !violations.is_empty() {
            self.failed += 1;
            let seed = outcome.seed;
            let sabotage = self.sabotage.map(|sabotage| format!(" --sabotage {sabotage}")).unwrap_or_default();
            let replay = format!("mainstay sim fuzz --seeds {seed}..{}{sabotage}", seed + 1);
            let rules: BTreeSet<Rule> = violations.iter().map(|violation| violation.rule).collect();
            rules.into_iter().for_each(|rule| *self.broken.entry(rule).or_default() += 1);
            self.failures.push(Failure { seed, violations, replay, scenario: outcome.texts, trace });
        }
    }
}

impl fmt::Display for FuzzReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.simulated_hours * 3600.0 / self.took_s.max(0.001);
        writeln!(
            f,
            "{} seeds, {:.1} simulated hours in {:.1} s ({rate:.0} times real time): {}",
            self.seeds,
            self.simulated_hours,
            self.took_s,
            self.verdict()
        )?;
        for failure in &self.failures {
            for violation in failure.violations.iter().take(3) {
                writeln!(f, "  seed {} at {} s: {}: {}", failure.seed, violation.at_s, violation.rule, violation.text)?;
            }
            writeln!(f, "    again: {}", failure.replay)?;
        }
        for rule in Rule::ALL {
            writeln!(f, "  {:>8} times at stake: {rule}", self.at_stake.get(&rule).copied().unwrap_or(0))?;
        }
        Ok(())
    }
}
