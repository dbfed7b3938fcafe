//! The scenarios and a few hundred seeds, against the controller that ships.

use crate::scenario;
use std::path::PathBuf;

fn scenarios() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
}

#[test]
fn every_scenario_passes() {
    let reports = scenario::run_all(&[scenarios()]).expect("scenarios can be read");
    let failed: Vec<_> = reports.iter().filter(|report| !report.passed).map(|report| report.to_string()).collect();
    assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), reports.len(), failed.join(""));
}

/// A controller that starts guests of a silent host elsewhere without a fence.
fn careless_run(setup: &str, script: &[&str]) -> crate::Report {
    let folder = tempfile_folder(setup, script);
    let report = scenario::Scenario::load(&folder).unwrap().run(crate::toy::careless);
    std::fs::remove_dir_all(folder).unwrap();
    report
}

fn tempfile_folder(setup: &str, script: &[&str]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("mainstay-sim-{}-{}", std::process::id(), script.join("-").len()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("setup.toml"), setup).unwrap();
    std::fs::write(folder.join("script.txt"), script.join("\n")).unwrap();
    std::fs::write(folder.join("expect.txt"), "").unwrap();
    folder
}

#[test]
fn a_careless_controller_is_caught() {
    let setup = std::fs::read_to_string(scenarios().join("01-crash-restart/setup.toml")).unwrap();
    let report = careless_run(&setup.replace("[world]", "[world]\nlocks = false"), &["at 30s network-down h1"]);
    let broken: Vec<_> = report.violations.iter().map(|violation| violation.rule).collect();
    println!("{}", report.trace.join("\n"));
    assert_eq!(broken, [crate::Rule::ProofBeforeStart, crate::Rule::NeverTwice], "{report}");
    assert_eq!(report.workloads["web-1"].running_on, ["h1".into(), "h2".into()]);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let folder = scenarios().join("01-crash-restart");
    let trace = || scenario::run(&folder).unwrap().trace;
    assert_eq!(trace(), trace());
}
