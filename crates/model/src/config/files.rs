//! Files that the configuration names. They are listed here and read elsewhere: this module does no I/O.

use super::problem::{Problem, Report, UNREADABLE};
use super::table::Table;
use std::{fmt, ops::Range};

/// A file that the configuration names, and where it does.
#[derive(Clone, Debug)]
pub struct NamedFile {
    /// As written.
    pub path: String,
    problem: Problem,
}

/// The files that cannot be read, by a reader that only has to try.
pub fn unreadable<E: fmt::Display>(files: &[NamedFile], read: impl Fn(&str) -> Result<(), E>) -> Vec<Problem> {
    let tried = files.iter().filter_map(|file| read(&file.path).err().map(|error| (file, error)));
    tried
        .map(|(file, error)| {
            let mut problem = file.problem.clone();
            problem.message = format!("`{}` cannot be read: {error}", file.path);
            problem
        })
        .collect()
}

/// Password and token files.
pub fn named(document: &Table, report: &Report) -> Vec<NamedFile> {
    let mut found: Vec<(String, Range<usize>)> = vec![];
    let mut note = |table: Option<&Table>, key| {
        if let Some(table) = table {
            found.extend(table.optional_text(key).map(|path| (path, table.at(key))));
        }
    };
    note(document.table("controller"), "api_token_file");
    for site in document.named("site") {
        note(site.node.table().and_then(|site| site.table("libvirt")), "password_file");
    }
    for device in document.named("fence") {
        for option in device.node.table().map(|device| device.named("options")).unwrap_or_default() {
            if option.name == "password_file" {
                found.extend(option.node.text().map(|path| (path.to_owned(), option.node.at.clone())));
            }
        }
    }
    let help = "create it, readable for the user that runs Mainstay and for nobody else";
    let problem = |at: &Range<usize>| {
        let mut problem = report.problem(UNREADABLE, false, at, String::new());
        problem.help(help);
        problem
    };
    found.into_iter().map(|(path, at)| NamedFile { problem: problem(&at), path }).collect()
}
