//! Actions: one thing to do each, with a deadline and a fencing epoch; and what came of it.
//!
//! Every action is idempotent: an executor that is told to start what runs already, or to fence what is off
//! already, answers `Done`. Whatever an executor can't tell for sure is `Unknown`, and unknown is never read as done.

use crate::{ActionId, Epoch, HostId, PointId, PointKind, PowerState, Time, WorkloadId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An action with its identity: what leaves the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Idempotency key.
    pub id: ActionId,
    /// Term of the leader who ordered it; executors refuse older ones.
    pub epoch: Epoch,
    /// What to do.
    pub action: Action,
    /// After this the outcome counts as unknown.
    pub deadline: Time,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Action {
    /// Ask the host's fence devices whether it has power.
    CheckPower {
        /// The host.
        host: HostId,
    },
    /// Switch the host off by all devices of one fence level, and verify.
    Fence {
        /// The host.
        host: HostId,
        /// Index of the level.
        level: usize,
    },
    /// Switch the host on.
    PowerOn {
        /// The host.
        host: HostId,
    },
    /// Define the workload on the host if it is not defined there, and start it from its disk.
    Start {
        /// The workload.
        workload: WorkloadId,
        /// Where.
        host: HostId,
    },
    /// Stop the workload on the host.
    Stop {
        /// The workload.
        workload: WorkloadId,
        /// Where.
        host: HostId,
        /// Asked kindly or by force.
        how: StopHow,
    },
    /// Let a paused workload go on.
    Resume {
        /// The workload.
        workload: WorkloadId,
        /// Where.
        host: HostId,
    },
    /// Remove the definition of a workload that is off on this host.
    Undefine {
        /// The workload.
        workload: WorkloadId,
        /// Where.
        host: HostId,
    },
    /// Keep the hypervisor from starting the workload by itself when the host boots.
    DisableAutostart {
        /// The workload.
        workload: WorkloadId,
        /// Where.
        host: HostId,
    },
    /// Move the running workload to another host without stopping it.
    Migrate {
        /// The workload.
        workload: WorkloadId,
        /// From where.
        from: HostId,
        /// To where.
        to: HostId,
    },
    /// Take a recovery point of a running workload.
    TakePoint {
        /// The workload.
        workload: WorkloadId,
        /// Where it runs.
        host: HostId,
        /// The point's name.
        point: PointId,
        /// Which kind.
        kind: PointKind,
        /// Freeze the guest's filesystems first, if its agent is there.
        freeze: bool,
    },
    /// Delete a recovery point.
    DeletePoint {
        /// The workload.
        workload: WorkloadId,
        /// Where it is defined.
        host: HostId,
        /// The point.
        point: PointId,
    },
    /// Bring the workload (off, or running and to be stopped) back to a recovery point, and start it.
    Revert {
        /// The workload.
        workload: WorkloadId,
        /// Where.
        host: HostId,
        /// To which point.
        point: PointId,
        /// Keep the broken state aside first, if there is space.
        keep_broken: bool,
    },
    /// Take a picture of the workload's console for the incident record.
    Screenshot {
        /// The workload.
        workload: WorkloadId,
        /// Where.
        host: HostId,
    },
}

/// How a workload is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopHow {
    /// Ask the guest to shut down.
    Graceful,
    /// Pull its plug.
    Force,
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// It is so now, proved by the executor.
    Done {
        /// What else was learned.
        detail: Detail,
    },
    /// It is certain that it was not done, or undone.
    Failed {
        /// Why.
        error: Failure,
    },
    /// It may have been done or not, now or later: deadline passed, connection lost, controller restarted.
    Unknown {
        /// Why.
        reason: String,
        /// What is certain all the same.
        #[serde(default)]
        did: Detail,
    },
}

/// What an action taught, beyond that it was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detail {
    /// Nothing.
    #[default]
    None,
    /// What the fence devices said of the host's power.
    Power(PowerState),
    /// The host is off, verified; true if it was off before.
    Fenced {
        /// True if it was off before anything was done.
        already_off: bool,
        /// For people: which device, how long.
        by: String,
    },
    /// The recovery point as taken.
    Point {
        /// Kind really taken.
        kind: PointKind,
        /// True if the guest's filesystems were frozen.
        frozen: bool,
        /// What the driver needs to find it again, opaque.
        handle: String,
        /// Size in bytes where known.
        bytes: Option<u64>,
    },
    /// A revert is done.
    Reverted {
        /// The name under which the state before the revert is kept; none: it was not to be kept, or there was no room.
        set_aside: Option<PointId>,
        /// What the driver needs to find that state again, opaque.
        handle: String,
    },
    /// The state before a revert is kept; whether the revert itself was done is another question.
    SetAside {
        /// The name under which it is kept.
        name: PointId,
        /// What the driver needs to find that state again, opaque.
        handle: String,
    },
    /// Where a picture was stored.
    File(String),
}

/// Why an action failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure, for deciding.
    pub kind: FailureKind,
    /// What the executor said, for people.
    pub message: String,
    /// What the failure proves about the workload on its host. A failed action did nothing itself; the question is what it
    /// says about orders before it.
    #[serde(default)]
    pub proves: Proof,
    /// What was done all the same: a revert that has switched the disks, and whose start failed, has reverted.
    #[serde(default)]
    pub did: Detail,
}

/// What a failed action proves about its workload on its host (of a migration: on the target).
///
/// A failure is an answer to its own call only. What an earlier call of unknown outcome comes to is as unknown as before,
/// whatever this says: that call may still wait for the domain's lock, in the socket of a daemon that hangs, or in TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Nothing: the hypervisor was not asked to do it (host unreachable, database away, definition in doubt, a namesake, the
    /// linter's refusal), or another call held the workload and it waited in vain.
    #[default]
    Nothing,
    /// The hypervisor answered this call with an error, and the workload does not run there because of it.
    Off,
    /// The workload is there already, running or held, by whatever brought it there before.
    There,
}

/// Kinds of failure that lead to different decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The host could not be reached, and nothing was sent.
    Unreachable,
    /// The workload, its definition or the point is not there.
    NotThere,
    /// The host has no room.
    NoRoom,
    /// Another process holds the disk: it may run elsewhere.
    DiskLocked,
    /// The action comes from an older epoch.
    OldEpoch,
    /// The system refuses, and would again (unsupported, misconfigured).
    Refused,
    /// The controller's own machine had no file, memory or process left to try it. It says nothing of what was to be asked,
    /// and counts as no attempt.
    Starved,
    /// Anything else; trying again may help.
    Other,
}

impl Action {
    /// The host it happens on (for a migration: where the workload comes from).
    pub fn host(&self) -> &HostId {
        match self {
            Action::CheckPower { host }
            | Action::Fence { host, .. }
            | Action::PowerOn { host }
            | Action::Start { host, .. }
            | Action::Stop { host, .. }
            | Action::Resume { host, .. }
            | Action::Undefine { host, .. }
            | Action::DisableAutostart { host, .. }
            | Action::Migrate { from: host, .. }
            | Action::TakePoint { host, .. }
            | Action::DeletePoint { host, .. }
            | Action::Revert { host, .. }
            | Action::Screenshot { host, .. } => host,
        }
    }

    /// The workload it is about, if it is about one.
    pub fn workload(&self) -> Option<&WorkloadId> {
        match self {
            Action::CheckPower { .. } | Action::Fence { .. } | Action::PowerOn { .. } => None,
            Action::Start { workload, .. }
            | Action::Stop { workload, .. }
            | Action::Resume { workload, .. }
            | Action::Undefine { workload, .. }
            | Action::DisableAutostart { workload, .. }
            | Action::Migrate { workload, .. }
            | Action::TakePoint { workload, .. }
            | Action::DeletePoint { workload, .. }
            | Action::Revert { workload, .. }
            | Action::Screenshot { workload, .. } => Some(workload),
        }
    }

    /// The host on which the workload may execute because of this action.
    pub fn may_run_on(&self) -> Option<&HostId> {
        match self {
            Action::Start { host, .. } | Action::Revert { host, .. } | Action::Resume { host, .. } => Some(host),
            Action::Migrate { to, .. } => Some(to),
            _ => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::CheckPower { host } => write!(f, "check the power of {host}"),
            Action::Fence { host, level } => write!(f, "fence {host} (level {})", level + 1),
            Action::PowerOn { host } => write!(f, "power on {host}"),
            Action::Start { workload, host } => write!(f, "start {workload} on {host}"),
            Action::Stop { workload, host, how: StopHow::Graceful } => write!(f, "shut down {workload} on {host}"),
            Action::Stop { workload, host, how: StopHow::Force } => write!(f, "stop {workload} on {host} by force"),
            Action::Resume { workload, host } => write!(f, "resume {workload} on {host}"),
            Action::Undefine { workload, host } => write!(f, "remove the definition of {workload} from {host}"),
            Action::DisableAutostart { workload, host } => write!(f, "disable autostart of {workload} on {host}"),
            Action::Migrate { workload, from, to } => write!(f, "migrate {workload} from {from} to {to}"),
            Action::TakePoint { workload, point, .. } => write!(f, "take recovery point {point} of {workload}"),
            Action::DeletePoint { workload, point, .. } => write!(f, "delete recovery point {point} of {workload}"),
            Action::Revert { workload, host, point, .. } => write!(f, "revert {workload} on {host} to {point}"),
            Action::Screenshot { workload, host } => write!(f, "take a picture of the console of {workload} on {host}"),
        }
    }
}

impl Outcome {
    /// Done, with nothing to add.
    pub fn done() -> Outcome {
        Outcome::Done { detail: Detail::None }
    }
    /// Failed, which proves nothing about what was ordered before.
    pub fn failed(kind: FailureKind, message: impl Into<String>) -> Outcome {
        Outcome::failed_with(kind, message, Proof::Nothing)
    }
    /// Failed, with what that proves.
    pub fn failed_with(kind: FailureKind, message: impl Into<String>, proves: Proof) -> Outcome {
        Outcome::Failed { error: Failure { kind, message: message.into(), proves, did: Detail::None } }
    }
    /// Unknown.
    pub fn unknown(reason: impl Into<String>) -> Outcome {
        Outcome::Unknown { reason: reason.into(), did: Detail::None }
    }
    /// The same outcome of the whole; this much was done all the same.
    pub fn having(self, did: Detail) -> Outcome {
        match self {
            Outcome::Done { .. } => self,
            Outcome::Failed { error } => Outcome::Failed { error: Failure { did, ..error } },
            Outcome::Unknown { reason, .. } => Outcome::Unknown { reason, did },
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Done { detail: Detail::Fenced { already_off: true, by } } => write!(f, "off already ({by})"),
            Outcome::Done { detail: Detail::Fenced { by, .. } } => write!(f, "off ({by})"),
            Outcome::Done { detail: Detail::Power(state) } => write!(f, "power is {state}"),
            Outcome::Done { .. } => f.write_str("done"),
            Outcome::Failed { error } => write!(f, "failed: {}", error.message),
            Outcome::Unknown { reason, .. } => write!(f, "outcome unknown: {reason}"),
        }
    }
}
