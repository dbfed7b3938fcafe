//! Why a host does not take a workload, as people read it.

use mainstay_model::{HostId, HostState, ResourceKind, SiteId, WorkloadId, spec::Origin};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// Why one host does not take one workload. Of several reasons the most lasting one is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The host is not in service; its health in one word, as the view shows it.
    NotOnline {
        /// Such as `lost` or `unknown`.
        health: String,
    },
    /// The host is in maintenance or being drained for it.
    Maintenance,
    /// The workload failed to start there lately.
    FailedThere,
    /// The host lacks what the workload needs to start.
    NotReady {
        /// What is missing, in words.
        lacks: String,
    },
    /// It is to leave this host.
    ToLeave,
    /// The host has another VM of the same name.
    NameTaken,
    /// It is to go to, or to stay on, that host.
    BoundFor {
        /// Where.
        host: HostId,
    },
    /// The storage that carries its disks is seen at another site only.
    OtherSite {
        /// The site that sees it.
        site: SiteId,
    },
    /// Its disks are on one host's own storage.
    DiskOn {
        /// That host.
        host: HostId,
    },
    /// Devices of one host are passed through to it.
    DeviceOn {
        /// That host.
        host: HostId,
        /// The devices, as people read them.
        devices: BTreeSet<String>,
    },
    /// State of it lies on another host only, and a start here would begin without it.
    StateOn {
        /// That host.
        host: HostId,
        /// Which state.
        states: BTreeSet<HostState>,
    },
    /// A rule names the hosts it may run on, and this is none of them.
    NotAmongRequired {
        /// Where the rule stands.
        origin: Arc<Origin>,
    },
    /// It is kept apart from a workload that is there.
    KeptApartFrom {
        /// The one that is there.
        workload: WorkloadId,
        /// Where the rule stands.
        origin: Arc<Origin>,
    },
    /// It must be with a workload that is elsewhere.
    MustBeWith {
        /// The one that is elsewhere.
        workload: WorkloadId,
        /// Where that one is or may be.
        on: BTreeSet<HostId>,
        /// Where the rule stands.
        origin: Arc<Origin>,
    },
    /// Too little of a resource is free.
    Lacks {
        /// Which one.
        what: ResourceKind,
        /// What it needs, in the resource's own unit.
        needed: u64,
        /// What is free.
        free: u64,
        /// Those that must start together and so need it together; empty if it starts alone.
        together: BTreeSet<WorkloadId>,
    },
}

impl Refusal {
    /// The configuration line that says so, if one does.
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Refusal::NotAmongRequired { origin }
            | Refusal::KeptApartFrom { origin, .. }
            | Refusal::MustBeWith { origin, .. } => Some(origin),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotOnline { health } => write!(f, "not online ({health})"),
            Refusal::Maintenance => write!(f, "in maintenance"),
            Refusal::FailedThere => write!(f, "failed to start there"),
            Refusal::NotReady { lacks } => write!(f, "{lacks}"),
            Refusal::NameTaken => write!(f, "another VM of that name is there"),
            Refusal::ToLeave => write!(f, "it is to leave"),
            Refusal::BoundFor { host } => write!(f, "it is to run on {host}"),
            Refusal::OtherSite { site } => write!(f, "its disks are at site {site}"),
            Refusal::DiskOn { host } => write!(f, "its disks are on {host} only"),
            Refusal::DeviceOn { host, devices } => f.write_str(&bound_words(host, devices)),
            Refusal::StateOn { host, states } => write!(f, "{} on {host} only", state_words(states)),
            Refusal::NotAmongRequired { origin } => write!(f, "not among the hosts required by {origin}"),
            Refusal::KeptApartFrom { workload, .. } => write!(f, "kept apart from {workload}"),
            Refusal::MustBeWith { workload, on, .. } => {
                write!(f, "must be with {workload} on {}", listed(on.iter(), " or "))
            }
            Refusal::Lacks { what, needed, free, together } => {
                write!(f, "{what} {} needed", what.amount(*needed))?;
                if !together.is_empty() {
                    write!(f, " by {} together", listed(together.iter(), " and "))?;
                }
                write!(f, ", {} free", what.amount(*free))
            }
        }
    }
}

/// "bound to h1 by its passthrough device 0000:3b:00.1".
pub(crate) fn bound_words(host: &HostId, devices: &BTreeSet<String>) -> String {
    let plural = if devices.len() > 1 { "s" } else { "" };
    format!("bound to {host} by its passthrough device{plural} {}", listed(devices.iter(), " and "))
}

/// "its saved memory is", "the state of its TPM and its UEFI variables are".
pub(crate) fn state_words(states: &BTreeSet<HostState>) -> String {
    let plural = states.len() > 1 || states.contains(&HostState::UefiVariables);
    format!("{} {}", listed(states.iter(), " and "), if plural { "are" } else { "is" })
}

/// "its saved memory, which is on h1 only".
pub(crate) fn state_left(states: &BTreeSet<HostState>, host: &HostId) -> String {
    let plural = states.len() > 1 || states.contains(&HostState::UefiVariables);
    format!("{}, which {} on {host} only", listed(states.iter(), " and "), if plural { "are" } else { "is" })
}

/// No host takes the workload: the reason of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoHostFits {
    /// One reason for every host there is.
    pub per_host: BTreeMap<HostId, Refusal>,
}

/// Sentences about more hosts than this say how many more there are, not each.
const HOSTS_TOLD: usize = 8;

impl fmt::Display for NoHostFits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.per_host.is_empty() {
            return write!(f, "there is no host");
        }
        let mut told: Vec<(String, Vec<&HostId>)> = Vec::new();
        for (host, refusal) in &self.per_host {
            let text = refusal.to_string();
            if let Some((_, hosts)) = told.iter_mut().find(|(known, _)| *known == text) {
                hosts.push(host);
            } else if told.len() < HOSTS_TOLD {
                told.push((text, vec![host]));
            }
        }
        for (index, (text, hosts)) in told.iter().enumerate() {
            let stop = if index == 0 { "" } else { "; " };
            write!(f, "{stop}{}: {text}", listed(hosts.iter(), " and "))?;
        }
        let silent = self.per_host.len() - told.iter().map(|(_, hosts)| hosts.len()).sum::<usize>();
        if silent > 0 { write!(f, "; and {silent} more hosts refuse") } else { Ok(()) }
    }
}

/// `h1`, `h1 or h2`, `h1, h2 or h3`, `h1, h2 and 9 more`.
pub(super) fn listed<T: fmt::Display>(items: impl ExactSizeIterator<Item = T>, last: &str) -> String {
    let total = items.len();
    let shown = if total > HOSTS_TOLD { 2 } else { total };
    let mut text = String::new();
    for (index, item) in items.take(shown).enumerate() {
        let stop = match index {
            0 => "",
            _ if index + 1 == total => last,
            _ => ", ",
        };
        text.push_str(&format!("{stop}{item}"));
    }
    if total > shown {
        text.push_str(&format!(" and {} more", total - shown));
    }
    text
}
