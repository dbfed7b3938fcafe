//! Fuzzing: a cluster, its policies and what goes wrong are drawn from a seed; the safety rules are checked after every
//! step, and when faults have ceased everything has to run again and come to rest.

mod cluster;
mod faults;
mod pages;
mod profile;
mod report;
mod shrink;
mod soak;

pub use pages::pages;
pub use profile::Profile;
pub use report::{Failure, FuzzReport};
pub use shrink::{Shrunk, Texts};
pub use soak::{Found, Lane, SEEDS_APART, SoakReport, SoakSpec, soak};

use crate::{check::Rule, leader::Elect, report::Report, sabotage::Sabotage, scenario::Scenario};
use cluster::Cluster;
use mainstay_model::{Span, Time};
use std::{
    collections::BTreeSet,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Faults cease after this, at the latest.
const FAULTS_LAST_MS: (u64, u64) = (120_000, 600_000);
/// Then everything has to run again within this: the longest back-off, stability and boot times, and once more.
const RECOVERS_WITHIN: Span = Span::minutes(8);
/// And nothing may move any more in this time.
const RESTS_FOR: Span = Span::minutes(3);

/// What to fuzz.
#[derive(Clone, Debug)]
pub struct FuzzSpec {
    /// Which seeds.
    pub seeds: Range<u64>,
    /// Seeds go on beyond the last until this much time has passed.
    pub lasts: Option<Duration>,
    /// What they are drawn from.
    pub profile: &'static Profile,
    /// How many at once.
    pub jobs: usize,
    /// End at the first failure; under sabotage: as soon as it was found out.
    pub stop_at_first: bool,
    /// With a controller that is sabotaged like this, and has to be found out.
    pub sabotage: Option<Sabotage>,
}

impl FuzzSpec {
    /// These seeds of the default profile, two at once.
    pub fn of(seeds: Range<u64>) -> FuzzSpec {
        FuzzSpec { seeds, lasts: None, profile: Default::default(), jobs: 2, stop_at_first: false, sabotage: None }
    }

    fn elect(&self) -> Elect {
        self.sabotage.map_or(Elect::Real, Elect::Sabotaged)
    }
}

/// Runs seeds.
pub fn fuzz(spec: &FuzzSpec) -> FuzzReport {
    fuzz_watched(spec, &|_| {})
}

/// Runs seeds, and shows what came of them so far after each.
pub fn fuzz_watched(spec: &FuzzSpec, watch: &(dyn Fn(&FuzzReport) + Sync)) -> FuzzReport {
    fuzz_with(spec, spec.elect(), watch)
}

pub(crate) fn fuzz_with(spec: &FuzzSpec, elect: Elect, watch: &(dyn Fn(&FuzzReport) + Sync)) -> FuzzReport {
    let began = Instant::now();
    let next = AtomicU64::new(spec.seeds.start);
    let total = FuzzReport { profile: spec.profile, sabotage: spec.sabotage, ..FuzzReport::default() };
    let total = Mutex::new(total);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let settled = spec.stop_at_first && total.lock().is_ok_and(|total| total.is_settled());
            let over = match spec.lasts {
                Some(lasts) => began.elapsed() >= lasts,
                None => seed >= spec.seeds.end,
            };
            if over || settled {
                return;
            }
            let outcome = one(seed, spec.profile, elect);
            if let Ok(mut total) = total.lock() {
                total.add(outcome);
                total.took_s = began.elapsed().as_secs_f64();
                watch(&total);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..spec.jobs.max(1) {
            scope.spawn(work);
        }
    });
    total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs one seed and gives its report, with its whole trace.
pub fn replay(seed: u64, profile: &Profile, sabotage: Option<Sabotage>) -> Report {
    draw(seed, profile).scenario.run(sabotage.map_or(Elect::Real, Elect::Sabotaged))
}

/// Shrinks what a seed broke first; `None` if its texts as a scenario break nothing, as when the controller panicked.
pub fn shrink(failure: &Failure, sabotage: Option<Sabotage>) -> Option<Shrunk> {
    let first: Rule = sabotage
        .map(Sabotage::breaks)
        .filter(|rule| failure.breaks(*rule))
        .or_else(|| failure.violations.first().map(|violation| violation.rule))?;
    shrink::shrink(&failure.texts, first, sabotage.map_or(Elect::Real, Elect::Sabotaged), &|| true)
}

struct DrawnSeed {
    scenario: Scenario,
    texts: Texts,
    verbs: BTreeSet<String>,
}

struct Outcome {
    seed: u64,
    result: Result<Report, String>,
    texts: Texts,
    verbs: BTreeSet<String>,
}

fn draw(seed: u64, profile: &Profile) -> DrawnSeed {
    let cease = crate::random::Stream::new(seed, "draw/length").between(FAULTS_LAST_MS.0, FAULTS_LAST_MS.1);
    let cease = Time(cease);
    let all_well_by = cease + RECOVERS_WITHIN;
    let lasts = all_well_by + RESTS_FOR;
    let cluster = Cluster::draw(seed, Span(lasts.0), Span(all_well_by.0), profile);
    let deeds = faults::draw(seed, &cluster, cease, profile);
    let script: String = deeds.iter().map(|(at, deed)| format!("at {} {deed}\n", Span(at.0))).collect();
    let scenario = Scenario::from_texts(&format!("seed {seed}"), &cluster.setup, &script, "")
        .unwrap_or_else(|error| panic!("seed {seed} drew what is no scenario: {error}\n{}", cluster.setup));
    DrawnSeed { scenario, verbs: faults::verbs(&deeds, cease), texts: Texts { setup: cluster.setup, script } }
}

fn one(seed: u64, profile: &Profile, elect: Elect) -> Outcome {
    let DrawnSeed { scenario, texts, verbs } = draw(seed, profile);
    // What breaks a rule is played once more, with its trace.
    let run = AssertUnwindSafe(|| match scenario.run_untraced(elect) {
        report if report.violations.is_empty() => report,
        _ => scenario.run(elect),
    });
    let result = catch_unwind(run).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    });
    Outcome { seed, result, texts, verbs }
}
