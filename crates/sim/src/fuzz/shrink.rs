//! Shrinking: of a scenario that breaks a rule as much is taken away as can be while it still breaks that rule: deeds,
//! guests, hosts, lines of the configuration, time. What is left is written down as a folder that a person can read.

use super::RECOVERS_WITHIN;
use crate::{Rule, Violation, leader::Elect, report::Report, scenario::Scenario};
use mainstay_model::{Span, Time};
use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

/// Runs at most, since each costs as much as the seed itself.
const TRIES: usize = 1_500;
/// Lines of the trace that are shown before the violation.
const SHOWN: usize = 30;

/// A scenario as its two texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// `setup.toml`.
    pub setup: String,
    /// `script.txt`.
    pub script: String,
}

/// A scenario that was shrunk.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What is left.
    pub texts: Texts,
    /// How it breaks the rule.
    pub violation: Violation,
    /// The end of its trace.
    trace: Vec<String>,
    /// Deeds that it had before.
    deeds_before: usize,
}

/// How long before all has to be well people have mended what is theirs to mend: these deeds stay, or it would not run for
/// want of a repair.
const MENDED_BEFORE: Span = RECOVERS_WITHIN;

/// Shrinks what breaks `rule` under this leader while `goes_on` says so; `None` if it does not break it at all.
pub(crate) fn shrink(texts: &Texts, rule: Rule, elect: Elect, goes_on: &dyn Fn() -> bool) -> Option<Shrunk> {
    let (first, _) = broken(texts, rule, elect)?;
    let mended = all_well_by(&texts.setup).filter(|_| rule == Rule::Liveness).map(|at| at - MENDED_BEFORE);
    let mut shrinker =
        Shrinker { rule, elect, tries: TRIES, goes_on, believed: believed(&first), mended, best: texts.clone() };
    shrinker.deeds();
    shrinker.names("world.vm.");
    shrinker.names("world.host.");
    shrinker.ends_after(&first);
    shrinker.tables();
    shrinker.lines();
    shrinker.deeds();
    shrinker.rounded();
    shrinker.mends();
    let (violation, report) = broken(&shrinker.best, rule, elect)?;
    let until = format!("{:>10.3}", violation.at_s);
    let mut trace: Vec<String> = report.trace.into_iter().take_while(|line| line[..10] <= *until).collect();
    trace.drain(..trace.len().saturating_sub(SHOWN));
    Some(Shrunk { texts: shrinker.best, violation, trace, deeds_before: texts.script.lines().count() })
}

struct Shrinker<'a> {
    rule: Rule,
    elect: Elect,
    tries: usize,
    goes_on: &'a dyn Fn() -> bool,
    /// What was believed of what does not run: another belief would be another fault.
    believed: Option<String>,
    /// Deeds from then on stay.
    mended: Option<Time>,
    best: Texts,
}

impl Shrinker<'_> {
    fn breaks(&mut self, texts: &Texts) -> Option<Violation> {
        self.tries = self.tries.checked_sub(1).filter(|_| (self.goes_on)())?;
        let (violation, _) = broken(texts, self.rule, self.elect)?;
        (believed(&violation) == self.believed).then_some(violation)
    }

    /// Keeps what still breaks the rule.
    fn try_this(&mut self, texts: Texts) -> bool {
        let better = texts != self.best && self.breaks(&texts).is_some();
        if better {
            self.best = texts;
        }
        better
    }

    /// Delta debugging: ever smaller runs of deeds are left out.
    fn deeds(&mut self) {
        let mut length = self.best.script.lines().count().div_ceil(2);
        while length > 0 {
            let mut from = 0;
            while from < self.best.script.lines().count() {
                let stays = |line: &str| self.mended.is_some_and(|mended| time_of(line).is_some_and(|at| at >= mended));
                let kept = |(index, line): &(usize, &str)| !(from..from + length).contains(index) || stays(line);
                let script = joined(self.best.script.lines().enumerate().filter(kept).map(|(_, line)| line));
                if !self.try_this(Texts { script, ..self.best.clone() }) {
                    from += length;
                }
            }
            length /= 2;
        }
    }

    /// Leaves out guests or hosts: their tables, and the deeds that name them. Guests of a host that goes move to another.
    fn names(&mut self, prefix: &str) {
        let tables = tables(&self.best.setup);
        let names = tables.iter().filter_map(|table| Some(table.header().strip_prefix(prefix)?.to_owned()));
        for name in names.collect::<Vec<_>>() {
            let other = names_of(&self.best.setup, prefix).into_iter().find(|other| *other != name);
            let Some(other) = other else { return };
            let about = |table: &Table| {
                let matched = table.lines.iter().any(|line| *line == format!("match = \"{name}\""));
                table.header().rsplit('.').next() == Some(&name) || (table.header() == "vm" && matched)
            };
            let kept = self::tables(&self.best.setup);
            let kept = kept.iter().filter(|table| !about(table)).flat_map(|table| table.lines.iter().copied());
            let moved = joined(kept).replace(&format!("on = \"{name}\""), &format!("on = \"{other}\""));
            let unnamed = |line: &&str| !line.split_whitespace().any(|word| word == name);
            let script = joined(self.best.script.lines().filter(unnamed));
            self.try_this(Texts { setup: moved, script });
        }
    }

    /// Nothing after the violation matters.
    fn ends_after(&mut self, violation: &Violation) {
        let ends = format!("lasts = \"{}s\"", violation.at_s.ceil() as u64 + 1);
        let lines = self.best.setup.lines().filter(|line| !line.starts_with("all_well_by"));
        let setup = joined(lines.map(|line| if line.starts_with("lasts = ") { ends.as_str() } else { line }));
        self.try_this(Texts { setup, ..self.best.clone() });
    }

    fn tables(&mut self) {
        let mut index = 0;
        while index < tables(&self.best.setup).len() {
            let mut kept = tables(&self.best.setup);
            kept.remove(index);
            let setup = joined(kept.iter().flat_map(|table| table.lines.iter().copied()));
            if !self.try_this(Texts { setup, ..self.best.clone() }) {
                index += 1;
            }
        }
    }

    fn lines(&mut self) {
        let mut index = 0;
        while index < self.best.setup.lines().count() {
            let kept = self.best.setup.lines().enumerate().filter(|(number, _)| *number != index);
            let setup = joined(kept.map(|(_, line)| line));
            if !self.try_this(Texts { setup, ..self.best.clone() }) {
                index += 1;
            }
        }
    }

    /// Mends that mend nothing: without them all goes the same way.
    fn mends(&mut self) {
        let told = |texts: &Texts| broken(texts, self.rule, self.elect).map(|(_, report)| what_happened(report));
        let Some(before) = self.mended.and_then(|_| told(&self.best)) else { return };
        let mut index = 0;
        let mut best = self.best.clone();
        while index < best.script.lines().count() && (self.goes_on)() {
            let kept = best.script.lines().enumerate().filter(|(number, _)| *number != index);
            let script = joined(kept.map(|(_, line)| line));
            let without = Texts { script, ..best.clone() };
            if told(&without).as_ref() == Some(&before) {
                best = without;
            } else {
                index += 1;
            }
        }
        self.best = best;
    }

    /// Whole seconds read better.
    fn rounded(&mut self) {
        for index in 0..self.best.script.lines().count() {
            let lines = self.best.script.lines().enumerate();
            let script =
                joined(lines.map(|(number, line)| if number == index { round(line) } else { line.to_owned() }));
            self.try_this(Texts { script, ..self.best.clone() });
        }
    }
}

/// Runs it; the first violation of the rule, and the report.
fn broken(texts: &Texts, rule: Rule, elect: Elect) -> Option<(Violation, Report)> {
    let scenario = Scenario::from_texts("shrinking", &texts.setup, &texts.script, "").ok()?;
    let report = catch_unwind(AssertUnwindSafe(|| scenario.run(elect))).ok()?;
    let violation = report.violations.iter().find(|violation| violation.rule == rule).cloned()?;
    Some((violation, report))
}

/// The word for what was believed of a workload that does not run.
fn believed(violation: &Violation) -> Option<String> {
    let (_, believed) = violation.text.split_once("believed: ")?;
    Some(believed.split(' ').next().unwrap_or_default().to_owned())
}

/// The trace without the deeds.
fn what_happened(report: Report) -> Vec<String> {
    report.trace.into_iter().filter(|line| !line.contains('»')).collect()
}

fn all_well_by(setup: &str) -> Option<Time> {
    let line = setup.lines().find_map(|line| line.strip_prefix("all_well_by = "))?;
    Some(Time(line.trim_matches('"').parse::<Span>().ok()?.0))
}

fn time_of(line: &str) -> Option<Time> {
    let (at, _) = line.strip_prefix("at ")?.split_once(' ')?;
    Some(Time(at.parse::<Span>().ok()?.0))
}

/// A table of a setup: its header and what follows.
struct Table<'a> {
    lines: Vec<&'a str>,
}

impl Table<'_> {
    fn header(&self) -> &str {
        self.lines.first().map_or("", |line| line.trim_matches(['[', ']']))
    }
}

fn tables(setup: &str) -> Vec<Table<'_>> {
    let mut tables: Vec<Table<'_>> = Vec::new();
    for line in setup.lines() {
        match tables.last_mut() {
            Some(table) if !line.starts_with('[') => table.lines.push(line),
            _ => tables.push(Table { lines: vec![line] }),
        }
    }
    tables
}

fn names_of(setup: &str, prefix: &str) -> Vec<String> {
    tables(setup).iter().filter_map(|table| Some(table.header().strip_prefix(prefix)?.to_owned())).collect()
}

fn joined<S: AsRef<str>>(lines: impl Iterator<Item = S>) -> String {
    lines.fold(String::new(), |text, line| text + line.as_ref() + "\n")
}

/// `at 61s437ms power-cut h1` as `at 1m1s power-cut h1`.
fn round(line: &str) -> String {
    let rounded = line.strip_prefix("at ").and_then(|rest| rest.split_once(' ')).and_then(|(at, deed)| {
        let at = at.parse::<Span>().ok()?;
        Some(format!("at {} {deed}", Span::secs(at.0 / 1000)))
    });
    rounded.unwrap_or_else(|| line.to_owned())
}

impl Shrunk {
    /// Deeds that are left.
    pub fn deeds(&self) -> usize {
        self.texts.script.lines().count()
    }

    /// Writes the scenario's folder. `found`: how it was found, such as a command and a commit.
    ///
    /// # Errors
    /// If the folder or a file can't be written.
    pub fn write(&self, folder: &Path, found: &str) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("README.md"), self.readme(found))?;
        fs::write(folder.join("setup.toml"), &self.texts.setup)?;
        fs::write(folder.join("script.txt"), &self.texts.script)?;
        let rule = format!("# {} is held in every run; what else should come of it goes here.\n", self.violation.rule);
        fs::write(folder.join("expect.txt"), rule)
    }

    fn readme(&self, found: &str) -> String {
        let Violation { at_s, rule, text } = &self.violation;
        format!(
            "# {text}\n\nAt {at_s} s this broke {rule}.\n\nFound by {found}; shrunk from {} deeds to {}.\n\n\
             The last that happened before:\n\n```text\n{}\n```\n",
            self.deeds_before,
            self.deeds(),
            self.trace.join("\n")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fuzz, sabotage::Sabotage};

    #[test]
    fn a_failing_seed_is_shrunk_to_a_few_deeds_that_still_break_the_rule() {
        let sabotage = Sabotage::StopForgotten;
        let elect = Elect::Sabotaged(sabotage);
        let spec = fuzz::FuzzSpec { stop_at_first: true, sabotage: Some(sabotage), ..fuzz::FuzzSpec::of(0..300) };
        let report = fuzz::fuzz(&spec);
        let failure =
            report.failures.iter().find(|failure| failure.breaks(sabotage.breaks())).expect("it is found out");
        let shrunk = shrink(&failure.texts, sabotage.breaks(), elect, &|| true)
            .expect("the seed's texts break the rule as well");
        assert!(shrunk.deeds() <= 2, "{}", shrunk.texts.script);
        assert!(names_of(&shrunk.texts.setup, "world.vm.").len() <= 2, "{}", shrunk.texts.setup);
        let folder = std::env::temp_dir().join(format!("mainstay-shrunk-{}", std::process::id()));
        shrunk.write(&folder, "a test").expect("it can be written");
        let again = Scenario::load(&folder).expect("it can be read").run(elect);
        fs::remove_dir_all(&folder).expect("it is there");
        assert_eq!(again.violations.first().map(|violation| violation.rule), Some(sabotage.breaks()));
        assert!(
            Scenario::from_texts("real", &shrunk.texts.setup, &shrunk.texts.script, "")
                .unwrap()
                .run(Elect::Real)
                .passed
        );
    }
}
