//! The description of the keys agrees with the readers, the spec's own defaults, the example and the reference.

use super::super::key::{Kind, Section};
use super::super::{check, example, keys, reference, schema};
use super::loaded;
use crate::spec::{
    AlarmPolicy, Cause, ClusterSpec, Detection, Limits, ProtectionPolicy, RecoveryPolicy, Revive, WorkloadPolicy,
};
use std::{cell::RefCell, collections::BTreeSet};

thread_local! {
    static READ: RefCell<BTreeSet<(&'static str, String)>> = const { RefCell::new(BTreeSet::new()) };
}

/// Remembers that a key was read.
pub fn note_read(section: &'static Section, key: &str) {
    READ.with_borrow_mut(|read| read.insert((section.header, key.to_owned())));
}

#[test]
fn every_key_is_read() {
    READ.take();
    loaded(&format!("{}\n[[recovery]]\ntags = ['x']\nladder = [{{ rung = 'alarm' }}]", example()));
    let read = READ.take();
    for section in keys::FILE.all() {
        for key in section.keys {
            assert!(read.contains(&(section.header, key.name.to_owned())), "{} {}", section.header, key.name);
        }
    }
}

#[test]
fn every_default_fits_its_key() {
    for section in keys::FILE.all() {
        for key in section.keys {
            check::stand_in(key, 0..0);
        }
    }
}

#[test]
fn every_cause_has_a_key() {
    let on = keys::FILE.all().into_iter().find(|section| section.header.starts_with("on =")).unwrap();
    let described: BTreeSet<String> = on.keys.iter().map(|key| key.name.to_owned()).collect();
    let causes = Cause::ALL.map(|cause| serde_json::to_value(cause).unwrap().as_str().unwrap().to_owned());
    assert_eq!(described, BTreeSet::from(causes));
}

#[test]
fn every_choice_is_understood() {
    let write = |section: &Section, key: &str, word: &str| match section.header {
        "[[vm]]" => format!("[[vm]]\nmatch = '*'\n{key} = '{word}'"),
        "[[protection]]" => format!("[[protection]]\nmatch = '*'\n{key} = '{word}'"),
        "revive = { … }" => format!("[site.b]\nlibvirt = {{}}\nhost.x.revive.{key} = '{word}'"),
        "{ rung = …, attempts = … }" => format!("[[recovery]]\nmatch = '*'\nladder = [{{ {key} = '{word}' }}]"),
        "[[maintenance_window]]" => String::new(),
        "[controller.token.NAME]" => format!("[controller.token.ci]\nfile = 'x'\n{key} = '{word}'"),
        "[alarms]" => format!("[alarms]\n{key} = '{word}'"),
        other => panic!("write here how {other} is written"),
    };
    for section in keys::FILE.all() {
        for key in section.keys {
            if let Kind::Choice(words) = key.kind {
                for word in words {
                    loaded(&format!("[site.a]\nlibvirt = {{}}\nhost.h1 = {{}}\n{}", write(section, key.name, word)));
                }
            }
        }
    }
}

#[test]
fn defaults_are_those_of_the_spec() {
    let loaded = loaded(
        "[site.a]\nlibvirt = {}\nhost.h1 = {}\n[[vm]]\nmatch = '*'\n[[recovery]]\nmatch = '*'\n[[protection]]\nmatch = '*'",
    );
    let spec = loaded.spec;
    assert_eq!(spec.detection, Detection::default());
    assert_eq!(spec.limits, Limits::default());
    assert_eq!(spec.alarms, AlarmPolicy::default());
    assert_eq!(spec.workloads[0].policy, WorkloadPolicy::default());
    assert_eq!(spec.recovery[0].policy, RecoveryPolicy::default());
    assert_eq!(spec.protection[0].policy, ProtectionPolicy::default());
    assert_eq!(spec.hosts["h1"].revive, Revive::default());
}

#[test]
fn the_example_loads_without_warnings() {
    let loaded = loaded(example());
    assert!(loaded.warnings.is_empty(), "{:#?}", loaded.warnings);
}

#[test]
fn what_the_example_comments_out_states_the_defaults() {
    let uncommented: Vec<String> = example()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => key.to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    let uncommented = uncommented.join("\n");
    let count = example().lines().filter(|line| line.starts_with('#') && !line.starts_with("# ")).count();
    assert!(count > 50, "only {count} lines");
    let spec = |text: &str| -> ClusterSpec { loaded(text).spec };
    assert_eq!(spec(&uncommented), spec(example()));
    assert_eq!(loaded(&uncommented).controller, loaded(example()).controller);
    assert_eq!(loaded(&uncommented).notify, loaded(example()).notify);
    assert_eq!(loaded(&uncommented).drivers, loaded(example()).drivers);
}

#[test]
fn the_example_shows_every_key() {
    for section in keys::FILE.all().into_iter().filter(|section| section.header != "on = { … }") {
        for key in section.keys {
            let shown =
                example().contains(&format!("{} = ", key.name)) || example().contains(&format!("{}]", key.name));
            let by_name = matches!(key.kind, Kind::Named(..)) && example().contains(&format!("{}.", key.name));
            assert!(shown || by_name || NOT_SHOWN.contains(&key.name), "{} {}", section.header, key.name);
        }
    }
}

/// Other ways to write what the example shows.
const NOT_SHOWN: [&str; 3] = ["rung", "attempts", "after_tags"];

#[test]
fn the_reference_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, reference()).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == reference(), "write it anew with UPDATE=1 cargo test -p mainstay-model");
}

#[test]
fn the_schema_describes_what_the_parser_takes() {
    let schema = schema();
    let host = &schema["properties"]["site"]["additionalProperties"]["properties"]["host"]["additionalProperties"];
    assert_eq!(host["additionalProperties"], false);
    assert_eq!(host["properties"]["cpu_overcommit"]["default"], 4.0);
    assert_eq!(schema["properties"]["vm"]["items"]["properties"]["manage"]["enum"][1], "watch-only");
    assert_eq!(schema["required"], serde_json::json!(["site"]));
}
