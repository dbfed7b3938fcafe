//! Alarms: what needs a person, with severity and what to do.

use crate::{HostId, Time, WorkloadId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Well again, or for information.
    Green,
    /// Something is not as it should be; nothing is down for good.
    Yellow,
    /// Something is down, or unprotected, until a person acts.
    Red,
}

/// What something is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The whole cluster, or the controller.
    Cluster,
    /// A host.
    Host(HostId),
    /// A workload.
    Workload(WorkloadId),
}

/// An alarm: at most one per code and subject at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alarm {
    /// What it is, with a page in docs/errors.
    pub code: Code,
    /// About what.
    pub subject: Subject,
    /// How bad.
    pub severity: Severity,
    /// One sentence: what is wrong.
    pub text: String,
    /// What to do, best a command.
    pub advice: String,
    /// Since when.
    pub raised_at: Time,
    /// Acknowledged by a person (by whom, when): still there, no longer shouting.
    pub acknowledged: Option<Acknowledged>,
}

/// Who acknowledged an alarm, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledged {
    /// When.
    pub at: Time,
    /// By whom.
    pub by: String,
}

/// Codes that an operator sees; each has a page `docs/errors/MSnnnn.md`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Code(pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MS{:04}", self.0)
    }
}
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Code {
    /// The controller seems cut off from its hosts; it acts on nothing.
    pub const CUT_OFF: Code = Code(1001);
    /// A host is lost.
    pub const HOST_LOST: Code = Code(1101);
    /// A host's management does not answer although the host or its guests do.
    pub const MANAGEMENT_FAULT: Code = Code(1102);
    /// Every fence level of a host failed.
    pub const FENCE_FAILED: Code = Code(1103);
    /// A lost host has no fence device; a person has to confirm that it is off.
    pub const CONFIRM_OFF: Code = Code(1104);
    /// A host was lost too often to be powered on again.
    pub const HOST_FLAPPING: Code = Code(1105);
    /// A host is out of service.
    pub const HOST_OUT: Code = Code(1106);
    /// A host cannot be drained.
    pub const DRAIN_BLOCKED: Code = Code(1107);
    /// A workload was stopped by a person.
    pub const STOPPED_BY_PERSON: Code = Code(1201);
    /// No host fits a workload.
    pub const NO_HOST_FITS: Code = Code(1202);
    /// All ways of bringing a workload back are used up.
    pub const RECOVERY_EXHAUSTED: Code = Code(1203);
    /// A workload is seen running on two hosts.
    pub const RUNS_TWICE: Code = Code(1204);
    /// A workload waits for another that does not run.
    pub const ORDER_BLOCKED: Code = Code(1205);
    /// A workload was paused by a person.
    pub const PAUSED_BY_PERSON: Code = Code(1206);
    /// A required constraint is broken, and cannot be mended now.
    pub const CONSTRAINT_BROKEN: Code = Code(1207);
    /// A workload that should run is off, and Mainstay was told only to watch.
    pub const WATCH_ONLY_DOWN: Code = Code(1208);
    /// Recovery points cannot be taken.
    pub const POINT_FAILED: Code = Code(1301);
    /// A workload's newest good recovery point is older than twice its interval.
    pub const POINT_OVERDUE: Code = Code(1302);
    /// A recovery point on record is gone.
    pub const POINT_LOST: Code = Code(1303);
    /// A configuration reload was refused; the old one stays.
    pub const RELOAD_REFUSED: Code = Code(1401);
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Green => "green",
            Severity::Yellow => "yellow",
            Severity::Red => "red",
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Cluster => f.pad("cluster"),
            Subject::Host(host) => f.pad(host.as_str()),
            Subject::Workload(workload) => f.pad(workload.as_str()),
        }
    }
}
