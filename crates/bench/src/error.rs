//! What can go wrong on the stage.

use mainstay_lab::LabError;
use std::path::PathBuf;

/// Result of everything on the stage.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, and where to look.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lab.
    #[error("{0}")]
    Lab(#[from] LabError),

    /// The controller, or the command line, could not be run.
    #[error("{what}: {source}")]
    Run {
        /// What was tried.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },

    /// A command of `mainstay` failed.
    #[error("`mainstay {command}` failed: {said}")]
    Command {
        /// Its arguments.
        command: String,
        /// What it said.
        said: String,
    },

    /// The controller ended by itself.
    #[error("the controller ended by itself ({status}); its log: {}\n{tail}", log.display())]
    Ended {
        /// How.
        status: String,
        /// Where its log is.
        log: PathBuf,
        /// The log's end.
        tail: String,
    },

    /// Something did not happen in time.
    #[error("{what} did not happen within {limit_s} s; the controller's log: {}\n{tail}", log.display())]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        limit_s: u64,
        /// Where the controller's log is.
        log: PathBuf,
        /// The log's end.
        tail: String,
    },

    /// What should not have happened did.
    #[error("{0}")]
    Wrong(String),

    /// A person or the system asked to end.
    #[error("interrupted")]
    Interrupted,
}
