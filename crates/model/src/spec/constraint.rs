//! Constraints on where workloads run and in which order they start.

use super::Selector;
use crate::HostId;
use serde::{Deserialize, Serialize};

/// How strongly a constraint binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strength {
    /// Never broken; the workload rather waits.
    Required,
    /// A score, positive for attraction, negative for avoidance.
    Preferred(i32),
}

/// A location constraint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRule {
    /// Hosts by name.
    pub hosts: Vec<HostId>,
    /// Hosts by tag.
    pub host_tags: Vec<String>,
    /// `Required`: only these hosts. `Preferred(n)`: these hosts score n more.
    pub strength: Strength,
}

/// Keep the chosen workloads on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Together {
    /// How strongly.
    pub strength: Strength,
}

/// Keep the chosen workloads on different hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apart {
    /// How strongly.
    pub strength: Strength,
}

/// The chosen workloads start only when all of `after` are running (and answer, if they are probed).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Who must run before.
    pub after: Selector,
    /// `Required`: wait for ever. `Preferred(_)`: only when both start at the same time.
    pub strength: Strength,
}
