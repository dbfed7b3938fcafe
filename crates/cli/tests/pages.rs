//! Every code that an operator can meet has a page, and every page has a code.
#![allow(clippy::unwrap_used, reason = "a helper that fails ends the test")]

mod common;

use common::mainstay;
use std::{collections::BTreeSet, fs, path::Path};

/// The codes in the sources: `Code(1234)`, as alarms, configuration problems and the API declare them.
fn codes_in_the_sources() -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files =
        ["model/src/alarm.rs", "model/src/config/problem.rs", "web/src/problem.rs", "cli/src/commands/config.rs"];
    let text: String = files.map(|file| fs::read_to_string(crates.join(file)).unwrap()).concat();
    let declared = text.split("= Code(").skip(1).filter_map(|rest| rest.split_once(')'));
    let numbers = declared.filter_map(|(number, _)| number.parse::<u16>().ok());
    numbers.map(|number| format!("MS{number:04}")).collect()
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    let pages = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let pages: BTreeSet<_> = pages.map(|page| page.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(pages, codes_in_the_sources());
}

#[test]
fn a_page_says_meaning_causes_and_what_to_do_without_a_controller() {
    for code in codes_in_the_sources() {
        let ran = mainstay(&["explain", &code.to_lowercase()], &[("MAINSTAY_SOCKET", "/nowhere")]);
        assert_eq!(ran.exit, 0, "{ran:?}");
        assert!(ran.stdout.starts_with(&format!("# {code}: ")), "{code}");
        assert!(ran.stdout.contains("## Likely causes\n\n- ") && ran.stdout.contains("## What to do\n\n1. "), "{code}");
    }
}

#[test]
fn a_code_that_does_not_exist_is_a_usage_error_that_names_those_that_do() {
    let ran = mainstay(&["explain", "MS9999"], &[("MAINSTAY_SOCKET", "/nowhere")]);
    assert_eq!(ran.exit, 2);
    assert!(ran.stderr.contains("MS1001"), "{ran:?}");
}
