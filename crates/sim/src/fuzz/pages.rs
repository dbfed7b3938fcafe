//! The figures of the safety case: for each rule a page that says how often it was at stake in a run, which faults tested
//! it, and which sabotage it finds out. Written by `mainstay sim fuzz --safety-case DIR`, never by hand.

use super::{FuzzReport, FuzzSpec, fuzz};
use crate::{Rule, sabotage::Sabotage};
use std::{collections::BTreeMap, fmt::Write};

/// Seeds per sabotage.
const SABOTAGE_SEEDS: u64 = 300;
/// Faults in fewer seeds say little.
const SELDOM: u64 = 10;
/// Kinds of fault that are named.
const NAMED: usize = 15;

/// Pages by file name. `of`: the run in words, such as its seeds, commit and date. Runs 300 seeds per sabotage.
pub fn pages(report: &FuzzReport, jobs: usize, of: &str) -> BTreeMap<String, String> {
    let mut found_out: BTreeMap<Rule, Vec<(Sabotage, u64)>> = BTreeMap::new();
    for sabotage in Sabotage::ALL.iter().copied() {
        let profile = sabotage.profile();
        let spec = FuzzSpec { jobs, profile, sabotage: Some(sabotage), ..FuzzSpec::of(0..SABOTAGE_SEEDS) };
        let seeds = fuzz(&spec).broken.get(&sabotage.breaks()).copied().unwrap_or(0);
        found_out.entry(sabotage.breaks()).or_default().push((sabotage, seeds));
    }
    let page = |rule: Rule| (format!("{}.md", file(rule)), page(report, rule, found_out.get(&rule), of));
    Rule::ALL.into_iter().map(page).collect()
}

fn file(rule: Rule) -> String {
    let text = rule.to_string();
    text.split(" (").next().unwrap_or(&text).replace(' ', "-")
}

fn page(report: &FuzzReport, rule: Rule, found_out: Option<&Vec<(Sabotage, u64)>>, of: &str) -> String {
    let times = report.at_stake.get(&rule).copied().unwrap_or(0);
    let mut text = format!(
        "# Figures: {rule}\n\nWritten by `mainstay sim fuzz --safety-case`, not by hand: {of}.\n\
         [The safety case](../safety-case.md) says how the rule is kept.\n\n\
         In {} seeds, {:.0} simulated hours, it was at stake **{times}** times and broken in {} seeds.\n\n## Sabotage\n\n",
        report.seeds,
        report.simulated_hours,
        report.broken.get(&rule).copied().unwrap_or(0)
    );
    // Writing into a string can't fail.
    match found_out {
        None => text.push_str("None of its own: what breaks it breaks another rule before.\n"),
        Some(list) => {
            text.push_str("| sabotage | profile | found by this rule | seeds until then, mean |\n|---|---|---|---|\n");
            for (sabotage, seeds) in list {
                let mean = SABOTAGE_SEEDS as f64 / (*seeds).max(1) as f64;
                let _ = writeln!(
                    text,
                    "| `{sabotage}` | {} | in {seeds} of {SABOTAGE_SEEDS} seeds | {mean:.1} |",
                    sabotage.profile()
                );
            }
        }
    }
    text.push_str("\n## Faults that tested it\n\nThose whose seeds put it at stake most often.\n\n| fault | at stake, of the seeds that have it |\n|---|---|\n");
    // What occurs in every seed mends something.
    let fault = |(verb, _): &(&String, &u64)| {
        let seeds = report.coverage.get(*verb).copied().unwrap_or(0);
        (SELDOM..report.seeds).contains(&seeds)
    };
    let mut faults: Vec<_> = report.tested_by.get(&rule).into_iter().flatten().filter(fault).collect();
    let share =
        |(verb, seeds): &(&String, &u64)| **seeds * 1000 / report.coverage.get(*verb).copied().unwrap_or(1).max(1);
    faults.sort_by_key(|fault| (std::cmp::Reverse(share(fault)), fault.0.clone()));
    for (verb, seeds) in faults.iter().take(NAMED) {
        let of = report.coverage.get(*verb).copied().unwrap_or(0);
        let _ = writeln!(text, "| {verb} | {seeds} of {of} |");
    }
    let _ = writeln!(text, "\n{} kinds of fault in all.", faults.len());
    text
}
