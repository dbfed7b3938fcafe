//! Recovery points: how often, how many are kept, of which kind.

use crate::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a workload is protected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectionPolicy {
    /// Interval between recovery points (the recovery point objective).
    pub every: Span,
    /// What is kept.
    pub keep: Keep,
    /// Which kind is taken.
    pub kind: PointKind,
    /// Freeze the guest's filesystems through its agent, when it has one, for disk-only points.
    pub freeze: bool,
    /// Bound for taking one.
    pub timeout: Span,
    /// Programs run around it.
    pub hooks: Hooks,
    /// Before a revert, keep the broken state aside if there is space.
    pub keep_broken: bool,
}

impl Default for ProtectionPolicy {
    fn default() -> ProtectionPolicy {
        ProtectionPolicy {
            every: Span::minutes(10),
            keep: Keep::default(),
            kind: PointKind::Auto,
            freeze: true,
            timeout: Span::minutes(5),
            hooks: Hooks::default(),
            keep_broken: true,
        }
    }
}

/// Retention by count and by age ladder: the newest `last`, then the newest of each of the last `hourly` hours, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// The newest so many.
    pub last: u32,
    /// One per hour for so many hours.
    pub hourly: u32,
    /// One per day for so many days.
    pub daily: u32,
    /// One per week for so many weeks.
    pub weekly: u32,
}

impl Default for Keep {
    fn default() -> Keep {
        Keep { last: 3, hourly: 0, daily: 0, weekly: 0 }
    }
}

/// Kinds of recovery points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PointKind {
    /// Memory and disk where the disk allows, disk only otherwise.
    Auto,
    /// Memory and disk inside the qcow2 image (libvirt's internal snapshot): the guest goes on where it was.
    Memory,
    /// Disk only, as an overlay file: the guest boots from it.
    Disk,
}

/// Programs run around a recovery point, on the controller, with the workload's name in `MAINSTAY_VM`. Empty: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// Before; if it fails no point is taken.
    pub before: Vec<String>,
    /// After, whatever came of it.
    pub after: Vec<String>,
}
