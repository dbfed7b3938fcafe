//! What can go wrong between Mainstay and a fence agent. No message carries a secret: texts that an agent said are redacted
//! before they get here.

use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

/// A call to a fence agent that did not give an answer. The host's power state is unknown after any of these.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such executable.
    #[error("no fence agent `{name}` (looked in {searched}): install it (Debian: fence-agents) or give its full path")]
    NotFound {
        /// The name or path asked for.
        name: String,
        /// The places looked at.
        searched: String,
    },
    /// The operating system refused to start it, or to tell how it ended.
    #[error("cannot run the fence agent {}", path.display())]
    NotRun {
        /// The executable.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// It did not end in time; it and all it started were killed.
    #[error("{agent} {action}: no answer within {} s, killed{}", after.as_secs_f32(), quoted(.said))]
    Deadline {
        /// The agent's name.
        agent: String,
        /// The action asked for.
        action: String,
        /// The time it was given.
        after: Duration,
        /// Its last line on stderr.
        said: String,
    },
    /// It ended with an exit code that means failure for this action.
    #[error("{agent} {action}: failed with {}{}", code.map_or("a signal".to_owned(), |code| format!("exit code {code}")), quoted(.said))]
    Failed {
        /// The agent's name.
        agent: String,
        /// The action asked for.
        action: String,
        /// The exit code; none if a signal ended it.
        code: Option<i32>,
        /// Its last line on stderr, else on stdout.
        said: String,
    },
    /// Its answer to `status` may mean anything.
    #[error("{agent} status: ended with exit code {code}, {problem}{}", quoted(.said))]
    Unclear {
        /// The agent's name.
        agent: String,
        /// The exit code.
        code: i32,
        /// Why it is no answer.
        problem: &'static str,
        /// Its last line on stderr, else on stdout.
        said: String,
    },
    /// Its metadata could not be read.
    #[error("{agent} does not describe itself as a fence agent should")]
    Metadata {
        /// The agent's name.
        agent: String,
        /// What is wrong with it.
        #[source]
        source: MetadataError,
    },
    /// An option that cannot be handed over: the protocol is one `key=value` per line.
    #[error("option `{name}` holds a line break or NUL, which a fence agent cannot be given")]
    Unspeakable {
        /// The option.
        name: String,
    },
    /// `password_file` names a file that cannot be used.
    #[error("cannot read the password from `{}` (option `password_file`)", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// True if this machine lacked a file, memory or a process for the call: it says nothing of the device, which was not asked.
    pub fn is_shortage(&self) -> bool {
        match self {
            Self::NotRun { source, .. } | Self::PasswordFile { source, .. } => {
                source.raw_os_error().is_some_and(|code| SHORTAGES.contains(&Errno::from_raw_os_error(code)))
            }
            _ => false,
        }
    }
}

/// Files of this process, files of the machine, memory, processes (`fork` fails with EAGAIN).
const SHORTAGES: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN];

/// Why a text is not the metadata of a fence agent.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// Not well-formed XML.
    #[error("not XML at byte {at}")]
    Xml {
        /// Where.
        at: u64,
        /// The parser's reason.
        #[source]
        source: quick_xml::Error,
    },
    /// Its end is missing, and with it perhaps some of the actions.
    #[error("it ends in the middle: {0} elements are not closed")]
    CutOff(usize),
    /// Well-formed, but something else.
    #[error("no <{0}> element in it")]
    Missing(&'static str),
}

fn quoted(line: &str) -> String {
    if line.is_empty() { String::new() } else { format!(": {line}") }
}
