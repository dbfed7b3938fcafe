//! What came of fuzzing: failures with their replay, how often each rule was at stake, what was never seen.

use super::{Outcome, Profile, shrink::Texts};
use crate::{
    check::{Rule, Violation},
    sabotage::Sabotage,
    seen::Seen,
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// So many failures are told in full; more would be the same again.
const FAILURES_KEPT: usize = 20;
/// From so many seeds of the default profile on, every rule has to have been at stake.
const ALL_AT_STAKE_FROM: u64 = 300;

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct FuzzReport {
    /// From which profile seeds were drawn.
    pub profile: &'static Profile,
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
    /// In how many seeds each state and doing of the engine was seen.
    pub states: BTreeMap<String, u64>,
    /// In how many seeds a rule was at stake and a kind of deed occurred.
    #[serde(skip)]
    pub(crate) tested_by: BTreeMap<Rule, BTreeMap<String, u64>>,
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
    /// The seed as a scenario.
    #[serde(skip)]
    pub texts: Texts,
    /// The run, line by line.
    #[serde(skip)]
    pub trace: Vec<String>,
}

impl Failure {
    /// True if that rule is among what it broke.
    pub fn breaks(&self, rule: Rule) -> bool {
        self.violations.iter().any(|violation| violation.rule == rule)
    }
}

impl FuzzReport {
    /// True if no seed failed, and in a large run every rule was at stake; of a sabotaged controller: if it was found out by
    /// the rule that it breaks.
    pub fn passed(&self) -> bool {
        match self.sabotage {
            Some(sabotage) => self.broken.contains_key(&sabotage.breaks()),
            None => self.failed == 0 && !self.tested_too_little(),
        }
    }

    fn tested_too_little(&self) -> bool {
        let large = self.seeds >= ALL_AT_STAKE_FROM && self.profile.name() == "default";
        large && !self.untested().is_empty()
    }

    /// More seeds would not change the verdict.
    pub(super) fn is_settled(&self) -> bool {
        match self.sabotage {
            Some(_) => self.passed(),
            None => self.failed > 0,
        }
    }

    /// Rules that were never at stake: they were not tested.
    pub fn untested(&self) -> Vec<Rule> {
        Rule::ALL.into_iter().filter(|rule| self.at_stake.get(rule).copied().unwrap_or(0) == 0).collect()
    }

    /// States and doings of the engine that no seed saw.
    pub fn never_seen(&self) -> Vec<String> {
        Seen::all().into_iter().filter(|state| !self.states.contains_key(state)).collect()
    }

    pub(super) fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        let Outcome { seed, result, texts, verbs } = outcome;
        let (violations, trace) = match result {
            Ok(report) => {
                self.simulated_hours += report.end_s / 3600.0;
                for (rule, times) in report.at_stake {
                    *self.at_stake.entry(rule).or_default() += times;
                    let tested_by = self.tested_by.entry(rule).or_default();
                    verbs.iter().for_each(|verb| *tested_by.entry(verb.clone()).or_default() += 1);
                }
                report.seen.states().for_each(|state| *self.states.entry(state).or_default() += 1);
                (report.violations, report.trace)
            }
            Err(panic) => {
                let text = format!("the controller panicked: {panic}");
                (vec![Violation { at_s: 0.0, rule: Rule::Liveness, text }], Vec::new())
            }
        };
        verbs.into_iter().for_each(|verb| *self.coverage.entry(verb).or_default() += 1);
        if violations.is_empty() {
            return;
        }
        self.failed += 1;
        let rules: BTreeSet<Rule> = violations.iter().map(|violation| violation.rule).collect();
        rules.into_iter().for_each(|rule| *self.broken.entry(rule).or_default() += 1);
        let sabotage = self.sabotage.map(|sabotage| format!(" --sabotage {sabotage}")).unwrap_or_default();
        let profile = match self.profile.name() {
            "default" => String::new(),
            name => format!(" --profile {name}"),
        };
        let replay = format!("mainstay sim fuzz --seeds {seed}..{}{profile}{sabotage}", seed + 1);
        self.failures.push(Failure { seed, violations, replay, texts, trace });
        self.failures.sort_by_key(|failure| failure.seed);
        self.failures.truncate(FAILURES_KEPT);
    }

    /// The failures that were added since, to be kept elsewhere.
    pub(super) fn take_failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failures)
    }

    fn verdict(&self) -> String {
        match self.sabotage {
            None if self.failed > 0 => format!("{} FAILED", self.failed),
            None if self.tested_too_little() => "FAILED: a rule was never at stake".to_owned(),
            None => "no rule broken".to_owned(),
            Some(sabotage) if self.passed() => {
                let caught = self.broken.get(&sabotage.breaks()).copied().unwrap_or(1);
                format!("{sabotage} was found out by {} in {caught} seeds", sabotage.breaks())
            }
            Some(sabotage) => format!("{sabotage} was NOT FOUND OUT by {}", sabotage.breaks()),
        }
    }
}

impl fmt::Display for FuzzReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.simulated_hours * 3600.0 / self.took_s.max(0.001);
        let (hours, took) = (self.simulated_hours, self.took_s);
        writeln!(
            f,
            "{} seeds, {hours:.1} simulated hours in {took:.1} s ({rate:.0} times real time): {}",
            self.seeds,
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
        let never = self.never_seen();
        let states = Seen::all().len();
        writeln!(
            f,
            "  {} kinds of deed; {} of {states} states and doings of the engine",
            self.coverage.len(),
            states - never.len()
        )?;
        if !never.is_empty() && self.seeds >= ALL_AT_STAKE_FROM {
            writeln!(f, "  never seen: {}", never.join(", "))?;
        }
        Ok(())
    }
}
