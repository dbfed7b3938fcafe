//! What an operator can ask of the engine, and its answer.

use crate::{Code, HostId, PointId, Span, StopHow, Subject, WorkloadId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A request of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Command {
    /// A person says that the host is off: as good as a fence, on that person's word.
    ConfirmOff {
        /// The host.
        host: HostId,
    },
    /// Fence the host now.
    FenceHost {
        /// The host.
        host: HostId,
    },
    /// Switch the host off through its fence devices and on again, to see that they work.
    CycleHost {
        /// The host.
        host: HostId,
        /// Also if workloads run there.
        #[serde(default)]
        busy: bool,
    },
    /// Drain the host and keep it out of service, or take it back.
    Maintenance {
        /// The host.
        host: HostId,
        /// In or out.
        on: bool,
    },
    /// Start a workload (also one that a person stopped).
    StartWorkload {
        /// Which.
        workload: WorkloadId,
        /// Where; none: the best host.
        host: Option<HostId>,
        /// Also where it starts without state that another host alone has: saved memory, a TPM's state, UEFI variables.
        #[serde(default)]
        leave_state: bool,
    },
    /// Stop a workload and keep it stopped.
    StopWorkload {
        /// Which.
        workload: WorkloadId,
        /// How.
        how: StopHow,
        /// What has not shut down within this is stopped by force; none: never by force.
        #[serde(default)]
        within: Option<Span>,
    },
    /// Stop and start again.
    RestartWorkload {
        /// Which.
        workload: WorkloadId,
        /// How it is stopped.
        how: StopHow,
    },
    /// Move a workload once; this makes no lasting rule.
    MoveWorkload {
        /// Which.
        workload: WorkloadId,
        /// Where; none: the best other host.
        to: Option<HostId>,
        /// Shut it down here and start it there, instead of a live migration. Needs `to`.
        #[serde(default)]
        cold: bool,
    },
    /// Manage a workload (again).
    Protect {
        /// Which.
        workload: WorkloadId,
    },
    /// Leave a workload alone until told otherwise.
    Unprotect {
        /// Which.
        workload: WorkloadId,
    },
    /// Take a recovery point now.
    TakePoint {
        /// Of which.
        workload: WorkloadId,
        /// Its name; none: made from the time.
        name: Option<PointId>,
    },
    /// Bring a workload back to a recovery point.
    Revert {
        /// Which.
        workload: WorkloadId,
        /// To which; none: the last good one.
        point: Option<PointId>,
    },
    /// Delete a recovery point.
    DeletePoint {
        /// Of which.
        workload: WorkloadId,
        /// Which.
        point: PointId,
    },
    /// Even out load between hosts by a few live migrations, if that is worth it.
    Rebalance,
    /// The memory was put back, and an operator answers for all VMs of which it is not known whether they should run.
    AcceptMemory {
        /// They are started; else they stay off.
        #[serde(default)]
        start: bool,
    },
    /// Acknowledge an alarm.
    Acknowledge {
        /// Its code.
        code: Code,
        /// Its subject.
        subject: Subject,
        /// Who.
        by: String,
    },
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "reply")]
pub enum Reply {
    /// It will be done; progress is seen in the subject's state.
    Accepted {
        /// One sentence.
        text: String,
    },
    /// It is so already.
    Nothing {
        /// Why nothing is to do.
        text: String,
    },
    /// It will not be done.
    Refused {
        /// Why, and what to do instead.
        text: String,
    },
}
