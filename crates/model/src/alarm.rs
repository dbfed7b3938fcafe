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

/// Declares the codes of alarms, and the list of them.
macro_rules! alarms {
    ($($(#[$doc:meta])* $name:ident = Code($number:literal);)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Code = Code($number);)*
            /// All codes that alarms have, in order, each with its name.
            pub const ALARMS: &[(Code, &str)] = &[$((Code::$name, stringify!($name))),*];
        }
    };
}

alarms! {
    /// The controller seems cut off from its hosts; it acts on nothing.
    CUT_OFF = Code(1001);
    /// The controller can make nothing durable; it starts nothing.
    NOTHING_REMEMBERED = Code(1002);
    /// A part of the controller that watches hosts or guests failed or hung, and was begun anew.
    SENSOR_FAULT = Code(1003);
    /// Another controller has taken over; the one that says so does nothing any more and ends.
    TAKEN_OVER = Code(1004);
    /// The memory was copied or put back; nothing is started from it until hosts and an operator have told.
    MEMORY_RESTORED = Code(1005);
    /// The database was deleted or replaced under the controller, which ends.
    MEMORY_GONE = Code(1006);
    /// The controller's machine has no files, memory or ports left for what the controller has to ask.
    OUT_OF_FILES = Code(1007);
    /// A host is lost.
    HOST_LOST = Code(1101);
    /// A host's management does not answer although the host or its guests do.
    MANAGEMENT_FAULT = Code(1102);
    /// Every fence level of a host failed.
    FENCE_FAILED = Code(1103);
    /// A lost host has no fence device; a person has to confirm that it is off.
    CONFIRM_OFF = Code(1104);
    /// A host was lost too often to be powered on again.
    HOST_FLAPPING = Code(1105);
    /// A host is out of service.
    HOST_OUT = Code(1106);
    /// A host cannot be drained.
    DRAIN_BLOCKED = Code(1107);
    /// A host was taken out of the configuration while workloads may still run there.
    HOST_REMOVED = Code(1108);
    /// A fence device of a host can't be asked, so the host could not be fenced by it.
    FENCE_UNREACHABLE = Code(1120);
    /// A fence device says that a host is off which answers.
    FENCE_CONTRADICTED = Code(1121);
    /// A workload was stopped by a person.
    STOPPED_BY_PERSON = Code(1201);
    /// No host fits a workload.
    NO_HOST_FITS = Code(1202);
    /// All ways of bringing a workload back are used up.
    RECOVERY_EXHAUSTED = Code(1203);
    /// A workload is seen running on two hosts.
    RUNS_TWICE = Code(1204);
    /// A workload waits for another that does not run.
    ORDER_BLOCKED = Code(1205);
    /// A workload was paused by a person.
    PAUSED_BY_PERSON = Code(1206);
    /// A required constraint is broken, and cannot be mended now.
    CONSTRAINT_BROKEN = Code(1207);
    /// A workload that should run is off, and Mainstay was told only to watch.
    WATCH_ONLY_DOWN = Code(1208);
    /// A workload does not answer its probes, though it reads, writes or sends.
    UNRESPONSIVE = Code(1209);
    /// Another VM has the same name on another host.
    NAMESAKE = Code(1210);
    /// A workload that an operator wants stopped cannot be stopped.
    STOP_FAILED = Code(1216);
    /// A workload is paused because no space is left for its disk.
    DISK_FULL = Code(1220);
    /// No other host could start a workload now.
    READY_NOWHERE_ELSE = Code(1221);
    /// A workload's guest went to sleep by its own power management.
    ASLEEP = Code(1222);
    /// Recovery points cannot be taken.
    POINT_FAILED = Code(1301);
    /// A workload's newest good recovery point is older than twice its interval.
    POINT_OVERDUE = Code(1302);
    /// A recovery point on record is gone.
    POINT_LOST = Code(1303);
    /// A workload was brought back to a recovery point by its ladder; what it wrote since then is set aside, or lost.
    REVERTED = Code(1304);
    /// It is not known whether a workload was reverted as an operator asked.
    REVERT_IN_DOUBT = Code(1305);
    /// Recovery points cannot be deleted; others are.
    POINT_STUCK = Code(1310);
    /// A configuration reload was refused; the old one stays.
    RELOAD_REFUSED = Code(1401);
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
