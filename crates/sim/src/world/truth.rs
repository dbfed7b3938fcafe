//! What truly happened, told to the checker and to the report; the controller never sees it.

use mainstay_model::{HostId, OffReason, PointId, WorkloadId};
use std::fmt;

/// Something that truly happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    /// A process began to execute a guest.
    Started { guest: WorkloadId, host: HostId, by: Starter },
    /// A guest answers.
    Answers { guest: WorkloadId, host: HostId },
    /// A process is gone.
    Ended { guest: WorkloadId, host: HostId, why: OffReason },
    /// A running guest went over to another host.
    Moved { guest: WorkloadId, from: HostId, to: HostId, by: Starter },
    /// A host lost its power.
    PowerLost { host: HostId },
    /// A host hibernates: its power is off, and what ran on it will go on.
    Hibernated { host: HostId },
    /// It goes on where it was.
    WokeUp { host: HostId },
    /// A guest on it goes on where it was.
    Resumed { guest: WorkloadId, host: HostId },
    /// A host is up.
    HostUp { host: HostId },
    /// A person stopped a guest.
    PersonStopped { guest: WorkloadId },
    /// A person took the definition of a guest that is off to another host.
    Redefined { guest: WorkloadId, host: HostId },
    /// A recovery point was made.
    PointTaken { guest: WorkloadId, point: PointId, sick: bool },
    /// A recovery point is gone.
    PointDeleted { guest: WorkloadId, point: PointId, by: Starter },
    /// A guest was brought back to a recovery point.
    Reverted { guest: WorkloadId, point: PointId, lost_ms: u64 },
    /// What a guest had written last was not durable, and is lost with power.
    WorkLost { guest: WorkloadId, lost_ms: u64 },
    /// A start woke memory that was saved before its disk went on elsewhere: the disk is spoilt.
    StaleMemory { guest: WorkloadId, host: HostId, lost_ms: u64 },
    /// A host was given more than it has room for.
    NoRoom { guest: WorkloadId, host: HostId },
    /// A guest fell into trouble by itself.
    Trouble { guest: WorkloadId, host: HostId, what: &'static str },
}

/// Who set something going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Starter {
    Controller,
    Person,
    Autostart,
    /// Storage that forgot what it had acknowledged.
    Storage,
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Truth::Started { guest, host, by } => write!(f, "{guest} executes on {host} (by {by})"),
            Truth::Answers { guest, host } => write!(f, "{guest} answers on {host}"),
            Truth::Ended { guest, host, why } => write!(f, "{guest} no longer executes on {host}: {why:?}"),
            Truth::Moved { guest, from, to, by } => write!(f, "{guest} went from {from} to {to} (by {by})"),
            Truth::PowerLost { host } => write!(f, "{host} has no power"),
            Truth::Hibernated { host } => write!(f, "{host} hibernates, and has no power"),
            Truth::WokeUp { host } => write!(f, "{host} wakes up where it was"),
            Truth::Resumed { guest, host } => write!(f, "{guest} goes on executing on {host}"),
            Truth::HostUp { host } => write!(f, "{host} is up"),
            Truth::PersonStopped { guest } => write!(f, "a person stopped {guest}"),
            Truth::Redefined { guest, host } => write!(f, "a person defined {guest} on {host} instead"),
            Truth::PointTaken { guest, point, sick: false } => write!(f, "recovery point {point} of {guest} is made"),
            Truth::PointTaken { guest, point, sick: true } => {
                write!(f, "recovery point {point} of SICK {guest} is made")
            }
            Truth::PointDeleted { guest, point, by } => {
                write!(f, "recovery point {point} of {guest} is gone (by {by})")
            }
            Truth::Reverted { guest, point, lost_ms } => write!(f, "{guest} is back at {point}, {lost_ms} ms are lost"),
            Truth::WorkLost { guest, lost_ms } => write!(f, "{guest} lost {lost_ms} ms that its storage had not kept"),
            Truth::StaleMemory { guest, host, lost_ms } => {
                write!(f, "{guest} wakes on {host} with memory that its disk is {lost_ms} ms ahead of")
            }
            Truth::NoRoom { guest, host } => write!(f, "{host} has no room for {guest}"),
            Truth::Trouble { guest, host, what } => write!(f, "{guest} on {host} {what}"),
        }
    }
}

impl fmt::Display for Starter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Starter::Controller => "the controller",
            Starter::Person => "a person",
            Starter::Autostart => "autostart",
            Starter::Storage => "the storage",
        })
    }
}
