//! A crate may use only crates below it: the floors of the house, as docs/concepts.md and the design draw them.
//!
//! Tests may also use the lab, whatever their floor: a driver is tried on real parts, and the lab uses nobody's code.

use crate::tree::{metadata, report};
use serde_json::Value;

/// From the roof to the ground. Crates on one floor do not know each other.
const FLOORS: &[&[&str]] = &[
    &["bench", "fuzzing", "scale", "soak", "tidy", "traces"],
    &["cli"],
    &["web"],
    &["daemon"],
    &["lab"],
    &["sim"],
    &["libvirt", "fence"],
    &["store"],
    &["engine"],
    &["model"],
];

/// What the pure crates may use besides each other. None of these reads a clock, a file or a socket on its own.
const PURE: &[(&str, &[&str])] = &[
    ("engine", &["schemars", "serde", "serde_json", "thiserror"]),
    ("model", &["miette", "schemars", "serde", "serde_json", "strsim", "thiserror", "toml", "toml_edit", "zeroize"]),
];

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

#[test]
fn a_crate_uses_only_crates_below_it() {
    let metadata = metadata();
    let mut findings = Vec::new();
    for package in list(&metadata, "packages") {
        let Some(user) = text(package, "name").strip_prefix("mainstay-") else { continue };
        let Some(at) = floor(user) else {
            findings.push(format!("crate {user} has no floor: add it to FLOORS, and to the design's drawing"));
            continue;
        };
        for dependency in list(package, "dependencies") {
            let Some(used) = text(dependency, "name").strip_prefix("mainstay-") else { continue };
            let for_tests = text(dependency, "kind") == "dev" && used == "lab";
            if !for_tests && floor(used).is_none_or(|below| below <= at) {
                findings.push(format!("{user} uses {used}, which is not below it"));
            }
        }
    }
    report(findings, "Move what is shared down, or turn the dependency round with a trait.");
}

#[test]
fn the_pure_crates_use_pure_crates_only() {
    let metadata = metadata();
    let mut findings = Vec::new();
    for (pure, allowed) in PURE {
        let name = format!("mainstay-{pure}");
        let package = list(&metadata, "packages").find(|package| text(package, "name") == name).expect("a member");
        for used in list(package, "dependencies").filter(|used| used["kind"].is_null()).map(|used| text(used, "name")) {
            if !used.starts_with("mainstay-") && !allowed.contains(&used) {
                findings.push(format!("{pure} uses {used}"));
            }
        }
    }
    report(findings, "Time, chance and I/O come in as values; if the crate has none of these, add it to PURE.");
}
