//! What we build upon: licences we may ship, nothing that is banned, no heavy crate twice, a reason for each.
//!
//! The rules are those of deny.toml, so that `cargo deny check` and this test (which needs no network and no extra tool)
//! cannot disagree.

use crate::{
    licence::satisfied,
    tree::{metadata, report, root},
};
use std::{collections::BTreeMap, fs};

fn rules() -> toml::Table {
    let text = fs::read_to_string(root().join("deny.toml")).expect("deny.toml is there");
    text.parse().expect("deny.toml is TOML")
}

/// Name, version and licence of every package that is built.
fn packages() -> Vec<(String, String, String)> {
    let metadata = metadata();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let built: Vec<String> =
        metadata["resolve"]["nodes"].as_array().expect("nodes").iter().map(|node| text(&node["id"])).collect();
    metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter(|package| built.contains(&text(&package["id"])))
        .map(|package| (text(&package["name"]), text(&package["version"]), text(&package["license"])))
        .collect()
}

#[test]
fn every_licence_is_one_we_accept() {
    let rules = rules();
    let accepted: Vec<&str> =
        rules["licenses"]["allow"].as_array().expect("a list").iter().filter_map(toml::Value::as_str).collect();
    let findings = packages()
        .into_iter()
        .filter(|(_, _, licence)| !satisfied(licence, &accepted))
        .map(|(name, version, licence)| format!("{name} {version}: {licence:?}"))
        .collect();
    report(findings, "Take another crate, or, if the licence is as free as the others, add it to deny.toml.");
}

#[test]
fn nothing_banned_and_no_heavy_crate_twice() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, version, _) in packages() {
        versions.entry(name).or_default().push(version);
    }
    let mut findings = Vec::new();
    let rules = rules();
    for ban in rules["bans"]["deny"].as_array().expect("a list") {
        let name = ban["crate"].as_str().expect("a name");
        let once = ban.get("deny-multiple-versions").is_some();
        match versions.get(name) {
            Some(found) if once && found.len() > 1 => {
                findings.push(format!("{name} is built as {}", found.join(" and ")))
            }
            Some(_) if !once => {
                findings.push(format!("{name} is built: {}", ban["reason"].as_str().unwrap_or("banned")))
            }
            _ => {}
        }
    }
    report(findings, "`cargo tree -i NAME` says who brings it; choose other features or another crate.");
}

#[test]
fn every_direct_dependency_has_its_line() {
    let text = fs::read_to_string(root().join("docs/dependencies.md")).expect("docs/dependencies.md is there");
    let metadata = metadata();
    let mut findings: Vec<String> = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter(|package| package["source"].is_null())
        .flat_map(|package| package["dependencies"].as_array().expect("dependencies"))
        .filter(|used| !used["source"].is_null())
        .filter_map(|used| used["name"].as_str())
        .filter(|name| !text.contains(&format!("| {name} |")))
        .map(str::to_owned)
        .collect();
    findings.sort();
    findings.dedup();
    report(findings, "Add a line to docs/dependencies.md: why, who keeps it, what else there is.");
}
