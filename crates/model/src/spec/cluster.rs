//! The cluster as a whole: sites, hosts, detection, limits, and the policies in order.

use super::*;
use crate::{DeviceId, HostId, Network, SiteId, Span, WorkloadId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// All that should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// Name shown to people.
    pub name: String,
    /// Sites by name.
    pub sites: BTreeMap<SiteId, SiteSpec>,
    /// Hosts by name, over all sites.
    pub hosts: BTreeMap<HostId, HostSpec>,
    /// Fence devices by name; hosts refer to them.
    pub fence_devices: BTreeMap<DeviceId, FenceDevice>,
    /// Where guests are probed at addresses that they give themselves.
    #[serde(default)]
    pub guest_networks: Vec<Network>,
    /// When silence becomes loss.
    pub detection: Detection,
    /// How much may be under way at once.
    pub limits: Limits,
    /// Per workload: management, priority, placement. First match wins; no match: observed, not managed.
    pub workloads: Vec<Rule<WorkloadPolicy>>,
    /// Per workload: how it is brought back. First match wins; none: the default policy.
    pub recovery: Vec<Rule<RecoveryPolicy>>,
    /// Per workload: recovery points. First match wins; none: no recovery points.
    pub protection: Vec<Rule<ProtectionPolicy>>,
    /// Workloads to keep on one host.
    pub together: Vec<Rule<Together>>,
    /// Workloads to keep on different hosts.
    pub apart: Vec<Rule<Apart>>,
    /// Workloads that wait for others.
    pub order: Vec<Rule<Order>>,
    /// Times in which hosts are in maintenance.
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// Which alarms are raised, and how bad they are.
    pub alarms: AlarmPolicy,
}

/// A set of hosts under one management.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteSpec {
    /// True if the site's hosts see the same storage at the same paths: then a VM can start on any of them from its disk.
    pub shared_storage: bool,
    /// Where that is written.
    pub origin: Origin,
}

/// When silence becomes loss. Phi accrual (Hayashibara 2004) between a floor and a hard bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detection {
    /// How often a host's hypervisor and address are asked for a sign of life.
    pub heartbeat_every: Span,
    /// No channel heard for this long: lost, whatever the jitter says (hard bound).
    pub host_lost_after: Span,
    /// Silence below this is never loss (floor for phi accrual).
    pub host_lost_floor: Span,
    /// Phi at which silence counts as loss, in hundredths (800 = 8.0: one false suspicion in 10^8 intervals).
    pub phi_centi: u32,
    /// Hypervisor unreachable and all formerly answering guests silent, though the host's address answers ping: hung after this long.
    pub host_hung_after: Span,
    /// Hypervisor unreachable although host or guests answer: alarm after this long.
    pub management_fault_after: Span,
    /// If more than this share of hosts (percent) falls silent within `host_lost_after` of each other, the controller is cut off.
    pub cut_off_percent: u32,
    /// A host that came back must be well for this long before it gets work again.
    pub host_stable_for: Span,
}

impl Default for Detection {
    fn default() -> Detection {
        Detection {
            heartbeat_every: Span::millis(500),
            host_lost_after: Span::secs(3),
            host_lost_floor: Span::secs(2),
            phi_centi: 800,
            host_hung_after: Span::secs(30),
            management_fault_after: Span::secs(10),
            cut_off_percent: 50,
            host_stable_for: Span::secs(5),
        }
    }
}

/// How much may be under way at once, so that recovery does not become the next disaster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Starts under way per host.
    pub starts_per_host: u32,
    /// Live migrations under way per host, as source or target.
    pub migrations_per_host: u32,
    /// Recovery points being taken per host.
    pub points_per_host: u32,
    /// Recovery points being taken per datastore.
    pub points_per_datastore: u32,
    /// Fencings under way in the cluster.
    pub fencings: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { starts_per_host: 4, migrations_per_host: 2, points_per_host: 1, points_per_datastore: 2, fencings: 4 }
    }
}

/// Hosts that are in maintenance between two times of each week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceWindow {
    /// Which hosts.
    pub hosts: Vec<HostId>,
    /// Days of the week, 0 = Monday; empty: every day.
    pub days: BTreeSet<u8>,
    /// Minute of the day (UTC) at which it begins.
    pub from_minute: u32,
    /// How long it lasts.
    pub lasts: Span,
    /// Where it is written.
    pub origin: Origin,
}

impl ClusterSpec {
    /// The workload's own policy, if it is managed at all.
    pub fn workload_rule(&self, id: &WorkloadId, tags: &BTreeSet<String>) -> Option<&Rule<WorkloadPolicy>> {
        self.workloads.iter().find(|rule| rule.selector.chooses(id, tags))
    }
    /// How the workload is brought back; `None`: by the default policy.
    pub fn recovery_rule(&self, id: &WorkloadId, tags: &BTreeSet<String>) -> Option<&Rule<RecoveryPolicy>> {
        self.recovery.iter().find(|rule| rule.selector.chooses(id, tags))
    }
    /// How the workload is protected; `None`: not at all.
    pub fn protection_rule(&self, id: &WorkloadId, tags: &BTreeSet<String>) -> Option<&Rule<ProtectionPolicy>> {
        self.protection.iter().find(|rule| rule.selector.chooses(id, tags))
    }
}
