//! Files that can be read: each begins by saying what it owns, and none holds two subjects.

use crate::tree::{files, report};

/// Past this, ask what second thing moved in.
const LINES_AT_MOST: usize = 800;

#[test]
fn no_file_is_too_long_to_read() {
    let long = files("crates", ".rs").into_iter().chain(files("script", ""));
    let findings = long
        .map(|source| (source.text.lines().count(), source.path))
        .filter(|(lines, _)| *lines > LINES_AT_MOST)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    report(findings, "150 to 400 lines is the habit; past 800 a second subject has moved in: give it its own file.");
}

#[test]
fn every_file_says_first_what_it_owns() {
    let findings = files("crates", ".rs")
        .into_iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| source.path)
        .collect();
    report(findings, "Begin the file with `//!`: what it owns, and what it does not do.");
}
