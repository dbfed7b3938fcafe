//! Recovery points: states a workload can be brought back to.

use crate::{HostId, PointId, PointKind, Time, WorkloadId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A recovery point on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryPoint {
    /// Its name; also the snapshot's name on the hypervisor.
    pub id: PointId,
    /// Of what.
    pub workload: WorkloadId,
    /// When it was ordered: what was written before this is in it.
    pub taken_at: Time,
    /// Host on which it was taken.
    pub host: HostId,
    /// Kind really taken.
    pub kind: PointKind,
    /// Who wanted it.
    pub by: PointBy,
    /// What is known of it.
    pub state: PointState,
    /// True if the guest's filesystems were frozen while it was taken.
    pub frozen: bool,
    /// When a restore of it was last proved by a drill.
    pub proved_at: Option<Time>,
    /// What the driver needs to find it again, opaque.
    pub handle: String,
    /// Size in bytes where known.
    pub bytes: Option<u64>,
}

/// Who wanted a recovery point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PointBy {
    /// The schedule; retention may delete it.
    Schedule,
    /// A person; only a person deletes it.
    Person,
    /// A revert, which kept what it replaced; only a person deletes it.
    Revert,
}

/// What is known of a recovery point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PointState {
    /// Ordered; may or may not exist.
    Taking,
    /// Exists, taken while the workload was well.
    Good,
    /// Exists, but the workload was sick after a revert to it, or fell sick right after it was taken.
    Bad,
    /// To be deleted; may or may not exist.
    Deleting,
    /// What the workload's disks held when it was reverted. It never counts as good, and no revert rung goes back to it.
    SetAside,
}
