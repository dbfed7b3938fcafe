//! Nothing is sent where it does not fit: by what was told of hosts and workloads, and by who may run where. A workload
//! that goes back to where it ran last has its place there.

use super::{Checker, Rule};
use crate::world::World;
use mainstay_model::{DomainSeen, HostId, Order, Resources, WorkloadId};
use std::collections::BTreeMap;

/// What was told of sizes.
#[derive(Clone, Debug, Default)]
pub(super) struct Sizes {
    hosts: BTreeMap<HostId, Resources>,
    workloads: BTreeMap<WorkloadId, Resources>,
}

impl Sizes {
    pub fn listed(&mut self, host: &HostId, capacity: Resources, domains: &BTreeMap<WorkloadId, DomainSeen>) {
        self.hosts.insert(host.clone(), capacity);
        for (workload, seen) in domains {
            match self.workloads.get_mut(workload) {
                Some(needs) => *needs = seen.needs,
                None => _ = self.workloads.insert(workload.clone(), seen.needs),
            }
        }
    }
}

impl Checker {
    /// An order leaves that brings a workload to a host.
    pub(super) fn fits(&mut self, world: &World, order: &Order, workload: &WorkloadId, to: &HostId) {
        if self.last_ran.get(workload) == Some(to) || self.evidence.on(to).contains(workload) {
            return;
        }
        // What a person or a host started elsewhere without a report, the controller does not know.
        if self.evidence.ran_last_on(workload, to, self.memory_is_old) {
            return;
        }
        if world.spec.hosts.keys().any(|host| self.lacks(world, workload, host).is_some()) {
            self.stake(Rule::Room);
        }
        if let Some(why) = self.lacks(world, workload, to) {
            self.violate(world, Rule::Room, format!("{}: {why}", order.action));
        }
    }

    fn lacks(&self, world: &World, workload: &WorkloadId, host: &HostId) -> Option<String> {
        let spec = world.spec.hosts.get(host)?;
        let needs = |name: &WorkloadId| {
            let memory = world.guests.get(name).and_then(|guest| world.spec.workload_rule(name, &guest.tags));
            let told = self.sizes.workloads.get(name).copied().unwrap_or(Resources::ZERO);
            let memory_mib = memory.and_then(|rule| rule.policy.memory_mib).unwrap_or(told.memory_mib);
            Resources { memory_mib, ..told }
        };
        let mut has = spec.capacity.or(self.sizes.hosts.get(host).copied())?.minus(spec.reserve);
        has.cpu_centi = has.cpu_centi * u64::from(spec.cpu_overcommit_percent) / 100;
        let there = self.evidence.on(host);
        let others = there.iter().filter(|other| *other != workload);
        let wanted = others.fold(needs(workload), |sum, other| sum.plus(needs(other)));
        let (kind, wanted, has) = has.lacks(wanted)?;
        Some(format!("{host} would need {} and has {}", kind.amount(wanted), kind.amount(has)))
    }
}
