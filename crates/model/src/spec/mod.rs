//! What should be: the resolved configuration, as the engine reads it. It names no file format;
//! `config` turns `mainstay.toml` into it, scenarios and tests may build it by hand.
//!
//! Policies are lists of rules, first match wins; every rule remembers where it was written ([`Origin`]),
//! so that `explain` can say which line is the reason.

mod alarm;
mod cluster;
mod constraint;
pub mod fencing;
mod host;
mod protection;
mod recovery;
mod selector;
mod workload;

pub use alarm::AlarmPolicy;
pub use cluster::{ClusterSpec, Detection, Limits, MaintenanceWindow, SiteSpec};
pub use constraint::{Apart, HostRule, Order, Strength, Together};
pub use host::{AfterFence, FenceDevice, HostSpec, Revive};
pub use protection::{Hooks, Keep, PointKind, ProtectionPolicy};
pub use recovery::{Cause, Ladder, LadderStep, RecoveryPolicy, Rung};
pub use selector::{Origin, Rule, Selector};
pub use workload::{FailBack, HostShutdown, Managed, PersonStop, Probes, WorkloadPolicy};
