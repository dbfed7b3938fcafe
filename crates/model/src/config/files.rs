//! Files that the configuration names. They are listed here and looked at elsewhere: this module does no I/O.

use super::problem::{OPEN_TO_OTHERS, Place, Problem, Report, UNREADABLE};
use super::table::Table;
use std::{fmt, ops::Range};

/// A file that the configuration names, and where it does.
#[derive(Clone, Debug)]
pub struct NamedFile {
    /// As written.
    pub path: String,
    /// What it holds.
    pub holds: FileUse,
    place: Place,
}

/// What a named file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileUse {
    /// A password.
    Password,
    /// A token of the API.
    Token,
    /// A private key.
    Key,
    /// Certificates, which are no secret.
    Certificates,
}

impl FileUse {
    /// True if others must not read it.
    pub fn is_secret(self) -> bool {
        self != FileUse::Certificates
    }
}

impl NamedFile {
    /// The problem that it cannot be read.
    pub fn unreadable(&self, error: impl fmt::Display) -> Problem {
        let help = match self.holds.is_secret() {
            true => "create it, readable for the user that runs Mainstay alone",
            false => "create it, readable for the user that runs Mainstay",
        };
        self.place.error(UNREADABLE, format!("`{}` cannot be read: {error}", self.path), help)
    }

    /// The problem that others can read or write it.
    pub fn open_to_others(&self, mode: u32) -> Problem {
        let message =
            format!("`{}` holds a secret, and every user of this machine can reach it (mode {mode:04o})", self.path);
        self.place.error(OPEN_TO_OTHERS, message, format!("chmod 0600 {}", self.path))
    }

    /// Another problem with it.
    pub fn wrong(&self, message: impl Into<String>, help: impl Into<String>) -> Problem {
        self.place.error(super::problem::WRONG_VALUE, message, help)
    }
}

/// Password, token, key and certificate files.
pub fn named(document: &Table, report: &Report) -> Vec<NamedFile> {
    let mut found: Vec<(String, FileUse, Range<usize>)> = vec![];
    let mut note = |table: Option<&Table>, key, holds| {
        if let Some(table) = table {
            found.extend(table.optional_text(key).map(|path| (path, holds, table.at(key))));
        }
    };
    let controller = document.table("controller");
    note(controller, "api_token_file", FileUse::Token);
    note(controller, "api_certificate_file", FileUse::Certificates);
    note(controller, "api_key_file", FileUse::Key);
    for token in controller.map(|table| table.named("token")).unwrap_or_default() {
        note(token.node.table(), "file", FileUse::Token);
    }
    for site in document.named("site") {
        note(site.node.table().and_then(|site| site.table("libvirt")), "password_file", FileUse::Password);
    }
    for device in document.named("fence") {
        for option in device.node.table().map(|device| device.named("options")).unwrap_or_default() {
            if option.name == "password_file" {
                let path = option.node.text().map(str::to_owned);
                found.extend(path.map(|path| (path, FileUse::Password, option.node.at.clone())));
            }
        }
    }
    found.into_iter().map(|(path, holds, at)| NamedFile { path, holds, place: report.place(&at) }).collect()
}
