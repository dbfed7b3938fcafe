//! The scenarios and some hundred seeds, against the controller that ships; and the checker against one that is careless.

use crate::{
    Report, Rule,
    fuzz::{FuzzSpec, Profile, fuzz, fuzz_with, replay},
    leader::Elect,
    sabotage::Sabotage,
    scenario::{self, Scenario},
};
use std::{collections::BTreeSet, path::PathBuf};

fn scenarios() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
}

/// Two hosts, a guest on each, and disks without locks.
const SETUP: &str = r#"
[world]
lasts = "2m"
locks = false
[world.host.h1]
memory = "8GiB"
[world.host.h2]
memory = "8GiB"
[world.vm.web-1]
on = "h1"
[world.vm.web-2]
on = "h2"
[site.lab]
shared_storage = true
[site.lab.libvirt]
[site.lab.host.h1]
fence = "power"
[site.lab.host.h2]
fence = "power"
[fence.power]
agent = "fence_sim"
[[vm]]
match = "*"
probe = { ping = true, address = "192.0.2.1" }
"#;

fn run(script: &str, elect: Elect) -> Report {
    Scenario::from_texts("test", SETUP, script, "").unwrap().run(elect)
}

#[test]
fn every_scenario_passes() {
    let reports = scenario::run_all(&[scenarios()]).expect("scenarios can be read");
    let failed: Vec<_> = reports.iter().filter(|report| !report.passed).map(|report| report.to_string()).collect();
    let folders = std::fs::read_dir(scenarios()).expect("it is there");
    let folders = folders.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().is_dir())).count();
    assert_eq!(reports.len(), folders, "every folder is a scenario");
    assert!(folders > 150, "only {folders} scenarios are left");
    assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), reports.len(), failed.join(""));
}

#[test]
fn five_hundred_seeds() {
    let report = fuzz(&FuzzSpec::of(0..500));
    assert!(report.passed(), "{report}");
    assert_eq!(report.untested(), [], "rules never at stake are not tested\n{report}");
    assert!(report.coverage.len() > 85, "few kinds of deed occurred: {:?}", report.coverage);
}

/// Each profile draws what can be run, and breaks no rule.
#[test]
fn some_seeds_of_every_profile() {
    for profile in Profile::ALL {
        let report = fuzz(&FuzzSpec { profile, ..FuzzSpec::of(0..5) });
        assert!(report.passed(), "{profile}: {report}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..5 {
        assert_eq!(
            replay(seed, Default::default(), None).trace,
            replay(seed, Default::default(), None).trace,
            "seed {seed}"
        );
    }
}

#[test]
fn a_careless_controller_is_caught() {
    let report = run("at 30s network-down h1", Elect::Careless);
    let broken: Vec<_> = report.violations.iter().map(|violation| violation.rule).collect();
    assert_eq!(broken, [Rule::ProofBeforeStart, Rule::NeverTwice], "{report}");
    assert_eq!(report.workloads["web-1"].running_on, ["h1".into(), "h2".into()]);
    assert!(!report.passed);
}

/// The same controller with one duty taken from it each: the checker sees it, by the rule that it breaks.
#[test]
fn each_sabotage_is_found_out_within_300_seeds() {
    for sabotage in Sabotage::ALL.iter().copied() {
        let profile = sabotage.profile();
        let spec = FuzzSpec { stop_at_first: true, profile, sabotage: Some(sabotage), ..FuzzSpec::of(0..300) };
        let report = fuzz(&spec);
        assert!(report.passed(), "{report}");
    }
}

/// An unknown outcome that counts as done is found in the journal, which says done where no answer was, and without the journal: the
/// record of the VM forgets where it may run.
#[test]
fn unknown_as_done_is_found_in_two_ways() {
    let profile = Profile::named("storm").expect("it is one of them");
    let mut ways = BTreeSet::from(["is on record as done", "is on record as not running on"]);
    let mut seeds = 0..300;
    while let Some(seed) = seeds.next().filter(|_| !ways.is_empty()) {
        let report = replay(seed, profile, Some(Sabotage::UnknownIsDone));
        ways.retain(|way| !report.violations.iter().any(|violation| violation.text.contains(way)));
    }
    assert!(ways.is_empty(), "never found in 300 seeds: {ways:?}");
}

#[test]
fn fuzzing_finds_a_careless_controller_and_says_how_to_see_it_again() {
    let report = fuzz_with(&FuzzSpec { stop_at_first: true, ..FuzzSpec::of(0..50) }, Elect::Careless, &|_| {});
    let failure = &report.failures[0];
    assert_eq!(failure.replay, format!("mainstay sim fuzz --seeds {}..{}", failure.seed, failure.seed + 1));
    let again =
        Scenario::from_texts("again", &failure.texts.setup, &failure.texts.script, "").unwrap().run(Elect::Careless);
    assert!(!again.violations.is_empty(), "the seed's texts are a scenario that fails as well");
}

#[test]
fn a_report_is_written_as_documented() {
    let report = run("at 30s power-cut h1", Elect::Real);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["workloads"]["web-1"]["running_on"], serde_json::json!(["h2"]));
    assert_eq!(json["fenced"][0]["host"], "h1");
    let [decided, off, confirmed] =
        ["decided_s", "off_s", "confirmed_s"].map(|key| json["fenced"][0][key].as_f64().unwrap());
    assert!(off <= decided && decided < confirmed, "it was off before it was fenced: {off} {decided} {confirmed}");
    assert_eq!(json["recoveries"][0]["from"], "h1");
    assert!(json["recoveries"][0]["at_s"].as_f64().unwrap() > confirmed);
    for key in ["end_s", "hosts", "moves", "violations", "events"] {
        assert!(!json[key].is_null(), "{key}");
    }
}
