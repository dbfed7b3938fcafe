//! Capacity and need, as a vector: today memory and virtual CPUs; a new kind is a new field and one line per operation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How much of each resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Resources {
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Virtual CPUs, in hundredths (one vCPU = 100), so that overcommit stays in whole numbers.
    pub cpu_centi: u64,
}

/// Which resource is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    /// Memory.
    Memory,
    /// Virtual CPUs.
    Cpu,
}

impl Resources {
    /// Nothing of anything.
    pub const ZERO: Resources = Resources { memory_mib: 0, cpu_centi: 0 };

    /// So much memory and so many whole vCPUs.
    pub const fn of(memory_mib: u64, vcpus: u64) -> Resources {
        Resources { memory_mib, cpu_centi: vcpus.saturating_mul(100) }
    }
    /// The sum.
    pub fn plus(self, other: Resources) -> Resources {
        Resources {
            memory_mib: self.memory_mib.saturating_add(other.memory_mib),
            cpu_centi: self.cpu_centi.saturating_add(other.cpu_centi),
        }
    }
    /// What is left; never below zero.
    pub fn minus(self, other: Resources) -> Resources {
        Resources {
            memory_mib: self.memory_mib.saturating_sub(other.memory_mib),
            cpu_centi: self.cpu_centi.saturating_sub(other.cpu_centi),
        }
    }
    /// The first resource of which `need` asks more than is here, with what is needed and what is here.
    pub fn lacks(self, need: Resources) -> Option<(ResourceKind, u64, u64)> {
        if need.memory_mib > self.memory_mib {
            Some((ResourceKind::Memory, need.memory_mib, self.memory_mib))
        } else if need.cpu_centi > self.cpu_centi {
            Some((ResourceKind::Cpu, need.cpu_centi, self.cpu_centi))
        } else {
            None
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ResourceKind::Memory => "memory",
            ResourceKind::Cpu => "cpu",
        })
    }
}

impl ResourceKind {
    /// An amount of this resource as people write it: `512 MiB`, `8 GiB`, `1.5 vCPU`.
    pub fn amount(self, value: u64) -> String {
        match self {
            ResourceKind::Memory if value >= 1024 && value.is_multiple_of(1024) => format!("{} GiB", value / 1024),
            ResourceKind::Memory if value >= 10 * 1024 => format!("{:.1} GiB", value as f64 / 1024.0),
            ResourceKind::Memory => format!("{value} MiB"),
            ResourceKind::Cpu if value.is_multiple_of(100) => format!("{} vCPU", value / 100),
            ResourceKind::Cpu => format!("{:.2} vCPU", value as f64 / 100.0),
        }
    }
}
