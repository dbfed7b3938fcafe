//! What can go wrong while building, breaking or removing a lab, and what to do about it.

use std::path::PathBuf;

/// Result of everything the lab does.
pub type Result<T, E = LabError> = std::result::Result<T, E>;

/// An error of the lab. The message says what was tried, on what, and where it can be mended.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The lab needs root: it makes namespaces, mounts and control groups.
    #[error("the lab needs root for namespaces and mounts; run this as root (sudo -E …)")]
    NotRoot,

    /// A program or file that `script/bootstrap` installs is not there.
    #[error("{what} is missing; install what the lab needs with script/bootstrap")]
    Missing {
        /// The program or file.
        what: String,
    },

    /// The specification cannot be built.
    #[error("lab {name:?}: {problem}")]
    Spec {
        /// Name of the lab as asked for.
        name: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },

    /// No lab of this name is there.
    #[error("there is no lab {name:?}; `mainstay lab up` makes one, `mainstay lab list` names those that are there")]
    NoSuchLab {
        /// The name asked for.
        name: String,
    },

    /// The lab has no such host.
    #[error("the lab has no host {name:?}; it has {known}")]
    NoSuchHost {
        /// The name asked for.
        name: String,
        /// The hosts it has.
        known: String,
    },

    /// The lab has no such guest.
    #[error("the lab has no guest {name:?}; it has {known}")]
    NoSuchGuest {
        /// The name asked for.
        name: String,
        /// The guests it has.
        known: String,
    },

    /// A fault was asked for that this guest's disk cannot have.
    #[error("guest {guest} has no disk that can {fault}; make the lab with such a disk for it (GuestSpec::disk)")]
    WrongDisk {
        /// The guest.
        guest: String,
        /// What the disk would have to be able to do.
        fault: &'static str,
    },

    /// A host that had to be on is off.
    #[error("host {host} is off; power it on first (Lab::power_on)")]
    HostOff {
        /// The host.
        host: String,
    },

    /// A guest that had to run runs nowhere.
    #[error("guest {guest} runs on no host")]
    GuestOff {
        /// The guest.
        guest: String,
    },

    /// A command failed.
    #[error("`{command}` failed ({status}): {output}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// The end of what it printed.
        output: String,
    },

    /// Something did not happen in time.
    #[error("{what} did not happen within {limit_ms} ms{hint}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        limit_ms: u128,
        /// Where to look, beginning with "; ", or empty.
        hint: String,
    },

    /// A file of the lab could not be read or written.
    #[error("{action} {}", path.display())]
    File {
        /// What was done with it.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },

    /// The system refused something that is not about a file.
    #[error("{what}")]
    System {
        /// What was tried.
        what: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// Adds to an I/O error what was being done with which file.
pub(crate) trait AtPath<T> {
    /// `action` reads before the path: "reading", "creating".
    fn at(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T>;
}

impl<T> AtPath<T> for std::io::Result<T> {
    fn at(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T> {
        self.map_err(|source| LabError::File { action, path: path.into(), source })
    }
}
