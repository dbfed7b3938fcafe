//! What can go wrong, typed: the server said no, time ran out, the connection ended, or bytes made no sense.

use std::{sync::Arc, time::Duration};

use rustix::io::Errno;
use thiserror::Error;

use crate::procedures::Procedure;
pub use crate::{error_code::ErrorCode, uri::UriError, xdr::XdrError};

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call, or opening a connection, failed.
#[derive(Debug, Error)]
pub enum Error {
    /// The URI can't be understood.
    #[error("libvirt URI {uri:?} can't be used")]
    Uri {
        /// The URI as given.
        uri: String,
        /// What is wrong with it.
        source: UriError,
    },
    /// The transport did not come up: nobody listens, no route, ssh failed.
    #[error("can't reach libvirt at {target}: {why}")]
    Connect {
        /// Address, socket path or host.
        target: String,
        /// The step that failed and what to check.
        why: String,
        /// The system's error, if it was one.
        source: Option<std::io::Error>,
    },
    /// Nobody was asked: the name does not resolve, or a file that is needed can't be used.
    #[error("can't ask libvirt at {target}: {why}")]
    Unasked {
        /// Address, socket path or host.
        target: String,
        /// What is missing and what to check.
        why: String,
        /// The system's error, if it was one.
        source: Option<std::io::Error>,
    },
    /// Somebody is there, and the server does not let us in, or we do not trust it.
    #[error("no way in at libvirt on {target}: {why}")]
    Auth {
        /// Address, socket path or host.
        target: String,
        /// Mechanism and reason.
        why: String,
    },
    /// libvirt answered a call with an error.
    #[error("{procedure}: {message} ({code})")]
    Libvirt {
        /// The call that failed.
        procedure: Procedure,
        /// libvirt's error code.
        code: ErrorCode,
        /// The part of libvirt that raised it (`virErrorDomain`).
        domain: i32,
        /// libvirt's own words.
        message: String,
    },
    /// No answer came in time. Whether the call took effect is **unknown**.
    #[error("{procedure}: no answer within {limit:?}; whether it took effect is not known")]
    Deadline {
        /// The call.
        procedure: Procedure,
        /// The deadline it was given.
        limit: Duration,
    },
    /// The call never left: too many earlier calls of this connection are still unanswered (a stuck QEMU). It had no
    /// effect. Open a fresh connection if this stays.
    #[error("{procedure}: not sent within {limit:?}, {unanswered} earlier calls are still unanswered by libvirtd")]
    Busy {
        /// The call.
        procedure: Procedure,
        /// The deadline it was given.
        limit: Duration,
        /// Calls that libvirtd still owes an answer.
        unanswered: usize,
    },
    /// The connection had ended, or ended before the answer. Whether the call took effect is **unknown**.
    #[error("{procedure}: connection closed: {reason}")]
    Closed {
        /// The call.
        procedure: Procedure,
        /// Why the connection ended.
        reason: Arc<CloseReason>,
    },
    /// The server's answer, or our arguments, do not fit the protocol.
    #[error("{procedure}: malformed message")]
    Malformed {
        /// The call.
        procedure: Procedure,
        /// What did not fit.
        source: XdrError,
    },
    /// The domain is not in the state, or not of the shape, that the verb needs.
    #[error("{what}")]
    Unfit {
        /// What was found, what was needed, what to do.
        what: String,
    },
    /// XML that libvirt sent, or that we were given, can't be read.
    #[error("XML of {subject} can't be read: {why}")]
    Xml {
        /// What the XML describes.
        subject: String,
        /// What is wrong.
        why: String,
    },
}

impl Error {
    /// True if this is libvirt's error with `code`.
    pub fn is(&self, code: ErrorCode) -> bool {
        matches!(self, Self::Libvirt { code: found, .. } if *found == code)
    }

    /// True if the call may have taken effect although it failed for us.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Deadline { .. } | Self::Closed { .. } | Self::Malformed { .. })
    }

    /// True if an attempt to connect says nothing about whether the other side lives: it ended on our side, before anybody
    /// was asked, or there was somebody who turned us away.
    pub fn says_nothing_of_the_host(&self) -> bool {
        matches!(self, Self::Uri { .. } | Self::Unasked { .. } | Self::Auth { .. }) || is_shortage(self)
    }

    pub(crate) fn unfit(what: impl Into<String>) -> Self {
        Self::Unfit { what: what.into() }
    }
}

/// True if this machine had no file, memory or port left for what was tried: the error, or one behind it, says so. It tells
/// nothing of the other side.
pub fn is_shortage(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        if let Some(shared) = error.downcast_ref::<Arc<std::io::Error>>() {
            return is_shortage(shared.as_ref());
        }
        if let Some(Error::Closed { reason, .. }) = error.downcast_ref::<Error>() {
            return is_shortage(reason.as_ref());
        }
        match error.downcast_ref::<std::io::Error>() {
            Some(error) => {
                error.raw_os_error().is_some_and(|code| SHORTAGES.contains(&Errno::from_raw_os_error(code)))
                    || error.get_ref().is_some_and(|within| is_shortage(within))
            }
            None => false,
        }
    })
}

/// Files of this process, files of the machine, memory, buffers of the network, local ports.
const SHORTAGES: [Errno; 5] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::ADDRNOTAVAIL];

/// Why a connection ended.
#[derive(Debug, Error)]
pub enum CloseReason {
    /// The other side closed it: libvirtd stopped or was killed.
    #[error("libvirtd closed it")]
    EndOfFile,
    /// Nothing was heard for the keepalive's whole time.
    #[error("nothing heard for {silence:.0?}, {pings} keepalives unanswered")]
    Silent {
        /// How long nothing was heard.
        silence: Duration,
        /// Keepalives sent in vain.
        pings: u32,
    },
    /// Reading or writing failed.
    #[error("transport failed: {0}")]
    Transport(#[from] std::io::Error),
    /// The server sent bytes that are no message.
    #[error("libvirtd sent nonsense: {0}")]
    Malformed(#[from] XdrError),
    /// We closed it.
    #[error("closed by us")]
    Local,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn connect(source: io::Error) -> Error {
        Error::Connect { target: "h1:16509".to_owned(), why: "TCP connection failed".to_owned(), source: Some(source) }
    }

    #[test]
    fn what_this_machine_lacks_is_no_silence_of_a_host() {
        for code in SHORTAGES {
            let told = || io::Error::from_raw_os_error(code.raw_os_error());
            assert!(connect(told()).says_nothing_of_the_host(), "{code}");
            // As it comes through a shared lookup, and through others' errors.
            assert!(is_shortage(&io::Error::new(told().kind(), Arc::new(told()))), "{code}");
            assert!(is_shortage(&io::Error::other(CloseReason::Transport(told()))), "{code}");
        }
        for code in [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::TIMEDOUT, Errno::AGAIN] {
            let error = connect(io::Error::from_raw_os_error(code.raw_os_error()));
            assert!(!error.says_nothing_of_the_host(), "{code}");
        }
    }
}
