//! Scores: which of the hosts that fit is best, and the words for it.

use super::group::Bond;
use mainstay_model::{HostId, ResourceKind, Resources, WorkloadId, spec::Origin};
use serde::{Deserialize, Serialize};
use std::{cmp::Reverse, fmt, sync::Arc};

/// Scores compare from the first field to the last; the lesser is the better host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    /// It lacks something there that it needs to start.
    pub unready: bool,
    pub spare: bool,
    pub preference: Reverse<i64>,
    pub stays: Reverse<usize>,
    /// Resulting use share when spreading, its negation when packing.
    pub balance: i64,
    /// Index in the order of names.
    pub host: usize,
}

impl Score {
    /// By what this score is better than a worse one.
    pub fn beats(&self, other: &Score) -> Criterion {
        if self.unready != other.unready {
            Criterion::Readiness
        } else if self.spare != other.spare {
            Criterion::Spare
        } else if self.preference != other.preference {
            Criterion::Preference
        } else if self.stays != other.stays {
            Criterion::Stays
        } else if self.balance != other.balance {
            if self.balance < 0 { Criterion::Packing } else { Criterion::Balance }
        } else {
            Criterion::Name
        }
    }
}

/// The use share of the scarcer resource, in hundredths of a percent, and which resource that is.
pub(super) fn share(used: Resources, capacity: Resources) -> (u64, ResourceKind) {
    let of = |used: u64, capacity: u64| match capacity {
        0 if used == 0 => 0,
        _ => used.saturating_mul(10_000) / capacity.max(1),
    };
    let memory = of(used.memory_mib, capacity.memory_mib);
    let cpu = of(used.cpu_centi, capacity.cpu_centi);
    if cpu > memory { (cpu, ResourceKind::Cpu) } else { (memory, ResourceKind::Memory) }
}

/// What tips the scales between two hosts that both fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// It lacks something on the other.
    Readiness,
    /// The other is a spare.
    Spare,
    /// The other is preferred less.
    Preference,
    /// It did not run on the other.
    Stays,
    /// The other would be fuller.
    Balance,
    /// The other is left with the larger gap, in which a big workload may fit.
    Packing,
    /// They are equal; names decide.
    Name,
}

/// One reason for a choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScorePart {
    /// It lacks something there that it needs to start.
    NotReady,
    /// It is a spare.
    Spare,
    /// A rule prefers or (below zero) avoids the host.
    Preferred {
        /// How much.
        points: i32,
        /// Where the rule stands.
        origin: Arc<Origin>,
    },
    /// Members of a preferred group are there.
    Company {
        /// Whether it is to be with them or apart.
        bond: Bond,
        /// One of them.
        workload: WorkloadId,
        /// How many more.
        more: usize,
        /// Points for all of them.
        points: i64,
        /// Where the rule stands.
        origin: Arc<Origin>,
    },
    /// It runs or ran there.
    Stays,
    /// The use share of the host's scarcer resource once all of the plan is placed.
    Share {
        /// Which resource.
        what: ResourceKind,
        /// Of its capacity.
        percent: u64,
    },
    /// The next best host, and what tipped the scales.
    RatherThan {
        /// The other.
        host: HostId,
        /// What tipped the scales.
        by: Criterion,
    },
    /// It would be better elsewhere, but there it would stand in the way of another.
    MadeRoom {
        /// The host it left to another.
        on: HostId,
    },
    /// No other host fits.
    OnlyFit,
}

impl fmt::Display for ScorePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScorePart::NotReady => write!(f, "where something that it needs is missing"),
            ScorePart::Spare => write!(f, "a spare"),
            ScorePart::Preferred { points, origin } if *points < 0 => write!(f, "avoided ({points}) by {origin}"),
            ScorePart::Preferred { points, origin } => write!(f, "preferred (+{points}) by {origin}"),
            ScorePart::Company { bond, workload, more, points, .. } => {
                match bond {
                    Bond::Together => write!(f, "together with {workload}")?,
                    Bond::Apart => write!(f, "beside {workload}")?,
                }
                if *more > 0 {
                    write!(f, " and {more} more")?;
                }
                write!(f, " ({points:+})")
            }
            ScorePart::Stays => write!(f, "where it ran"),
            ScorePart::Share { what, percent } => write!(f, "{what} then {percent} % used"),
            ScorePart::RatherThan { host, by } => {
                write!(f, "rather than {host}, ")?;
                f.write_str(match by {
                    Criterion::Readiness => "where something that it needs is missing",
                    Criterion::Spare => "a spare",
                    Criterion::Preference => "preferred less",
                    Criterion::Stays => "where it did not run",
                    Criterion::Balance => "which would be fuller",
                    Criterion::Packing => "whose larger gap another may need",
                    Criterion::Name => "its equal",
                })
            }
            ScorePart::MadeRoom { on } => write!(f, "making room on {on} for another"),
            ScorePart::OnlyFit => write!(f, "no other host fits"),
        }
    }
}
