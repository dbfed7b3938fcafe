//! What can go wrong, as an operator reads it, and with which exit code it ends.

use mainstay_web::Problem;
use std::path::PathBuf;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, and all is well.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Something is degraded, or the controller will not or can't do it now.
    Degraded = 3,
    /// No controller leads, or what it knows is too old.
    Stale = 4,
    /// The controller ended because another one leads. Starting it again would depose that one.
    Deposed = 5,
    /// The controller ended because its database was deleted or replaced.
    MemoryGone = 6,
}

/// Why a command failed: what, where, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody listens.
    #[error("no controller answers at {endpoint}; start one with `mainstay up`")]
    NoController {
        /// Where.
        endpoint: String,
        /// Why.
        source: std::io::Error,
    },
    /// A controller may be there, but this user may not talk to it.
    #[error(
        "you may not talk to the controller at {endpoint}: its socket is for its owner and group; run this as one of them, or with sudo"
    )]
    NotAllowed {
        /// Where.
        endpoint: String,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody listens, but does not answer properly.
    #[error("the controller at {endpoint} did not answer: {reason}; look at its log")]
    NoAnswer {
        /// Where.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// What it knows is too old.
    #[error("what the controller knows is {age} old, so it is not to be trusted; look at its log")]
    TooOld {
        /// How old.
        age: String,
    },
    /// It can make nothing durable, takes nothing in, and so knows only what was.
    #[error(
        "the controller can remember nothing ({}), so it starts nothing, and what it knows is {age} old: {trouble}; repair that, and it goes on by itself",
        mainstay_model::Code::NOTHING_REMEMBERED
    )]
    NothingRemembered {
        /// How old what it knows is.
        age: String,
        /// Why.
        trouble: String,
    },
    /// The controller says what is wrong.
    #[error("{}", .0.detail)]
    Problem(Problem),
    /// The answer is not understood.
    #[error("the controller's answer to {path} is not understood; is it of another version than this command?")]
    Answer {
        /// To what.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The command line says something that clap could not see.
    #[error("{0}")]
    Usage(String),
    /// What was waited for failed.
    #[error("{0}")]
    Undone(String),
    /// A wait ended without what was waited for.
    #[error("{0}")]
    Blocked(String),
    /// The configuration can't be used; what is wrong with it was said already.
    #[error("{0}; mend them, and try with `mainstay config check`")]
    Configuration(String),
    /// Another controller has taken over, or the database is gone.
    #[error(transparent)]
    Deposed(#[from] mainstay_daemon::Deposed),
    /// A file or the terminal.
    #[error("{what} {}", path.display())]
    File {
        /// What was done with it, such as `can't read`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Anything else, said by whoever knows.
    #[error("{what}")]
    Other {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Failure {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::NoController { .. }
            | Failure::NoAnswer { .. }
            | Failure::TooOld { .. }
            | Failure::NothingRemembered { .. } => Exit::Stale,
            Failure::Problem(problem) => match problem.status {
                503 => Exit::Stale,
                409 => Exit::Degraded,
                _ => Exit::Failed,
            },
            Failure::Usage(_) => Exit::Usage,
            Failure::Blocked(_) => Exit::Degraded,
            Failure::Deposed(why) if why.is_gone() => Exit::MemoryGone,
            // Started again, it knows, and asks.
            Failure::Deposed(why) if why.is_put_back() => Exit::Failed,
            Failure::Deposed(_) => Exit::Deposed,
            Failure::NotAllowed { .. }
            | Failure::Undone(_)
            | Failure::Answer { .. }
            | Failure::Configuration(_)
            | Failure::File { .. }
            | Failure::Other { .. } => Exit::Failed,
        }
    }

    /// Wraps whatever a library says.
    pub fn other(what: impl Into<String>, source: impl std::error::Error + Send + Sync + 'static) -> Failure {
        Failure::Other { what: what.into(), source: Box::new(source) }
    }
}
