//! The tree as the tests read it: its files, its code lines, and what cargo knows of its packages.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The folder that holds the workspace.
pub(crate) fn root() -> &'static Path {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.ancestors().nth(2).expect("this crate is two folders below the root")
}

/// A text file, its path relative to the root.
pub(crate) struct Source {
    pub path: String,
    pub text: String,
}

impl Source {
    /// Lines of code with their numbers: no comments. A test module at the end of a file is left out too.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let shipped = self.text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = shipped.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// True for a file that only tests use: in a folder `tests`, or a module that is there under `cfg(test)` only.
    pub(crate) fn is_test(&self) -> bool {
        let path = Path::new(&self.path);
        let (Some(folder), Some(name)) = (path.parent(), path.file_stem()) else { return false };
        let marks = format!("#[cfg(test)]\nmod {};", name.display());
        let declared =
            |parent: &str| fs::read_to_string(root().join(folder).join(parent)).is_ok_and(|text| text.contains(&marks));
        self.path.contains("/tests/") || ["lib.rs", "mod.rs", "main.rs"].into_iter().any(declared)
    }
}

/// All files below `folder` (relative to the root) whose name ends with `ending`, in order; build output is skipped.
pub(crate) fn files(folder: &str, ending: &str) -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root().join(folder), ending, &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| Source {
            text: fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
            path: path.strip_prefix(root()).expect("found below the root").display().to_string(),
        })
        .collect()
}

fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && !name.starts_with("target") {
                walk(&path, ending, found);
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

/// What cargo knows of all packages that are built on Linux, with the features they are built with.
pub(crate) fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .expect("cargo runs this test, so it can be run");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata failed; `cargo fetch` first if a crate is missing: {talk}");
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// Fails with every finding, one a line, and the advice.
pub(crate) fn report(findings: Vec<String>, advice: &str) {
    assert!(findings.is_empty(), "{} found:\n  {}\n{advice}", findings.len(), findings.join("\n  "));
}
