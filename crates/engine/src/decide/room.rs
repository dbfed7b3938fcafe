//! The hosts as placement sees them: what they have, what is taken of it, and why one may get no work now.

use crate::{
    belief::{HostPhase, Sight, WorkloadRecord},
    engine::Engine,
    health::HostHealth,
    place::{HostCandidate, Refusal},
};
use mainstay_model::{HostId, Resources};
use std::collections::BTreeMap;

impl Engine {
    /// Every host as placement sees it.
    pub(crate) fn candidates(&self) -> BTreeMap<HostId, HostCandidate> {
        self.spec.hosts.keys().filter_map(|host| Some((host.clone(), self.candidate(host)?))).collect()
    }

    pub(super) fn candidate(&self, host: &HostId) -> Option<HostCandidate> {
        let spec = self.host_spec(host)?;
        Some(HostCandidate {
            site: spec.site.clone(),
            tags: spec.tags.clone(),
            capacity: self.capacity(host),
            used: self.used(host),
            spare: self.is_idle_spare(host),
            refused: self.refusal(host),
        })
    }

    /// What a host has for workloads: its own reserve subtracted, CPU overcommitted as configured.
    pub(crate) fn capacity(&self, host: &HostId) -> Resources {
        let Some(spec) = self.host_spec(host) else { return Resources::ZERO };
        let seen = self.belief.hosts.get(host).map_or(Resources::ZERO, |record| record.capacity);
        let mut capacity = spec.capacity.unwrap_or(seen).minus(spec.reserve);
        capacity.cpu_centi = capacity.cpu_centi.saturating_mul(u64::from(spec.cpu_overcommit_percent)) / 100;
        capacity
    }

    /// What is taken on a host: by what may run there, which includes starts and migrations on their way to it.
    pub(crate) fn used(&self, host: &HostId) -> Resources {
        let known = self.belief.taken.get(host).copied();
        debug_assert!(known.is_none_or(|known| known == self.summed_up(host)), "stale: what is taken on {host}");
        known.unwrap_or_else(|| self.summed_up(host))
    }

    /// Sums up anew what is taken on the hosts where something changed.
    pub(super) fn sum_up(&mut self) {
        let unknown = self.spec.hosts.keys().filter(|host| !self.belief.taken.contains_key(*host));
        let sums: Vec<(HostId, Resources)> = unknown.map(|host| (host.clone(), self.summed_up(host))).collect();
        self.belief.taken.extend(sums);
    }

    fn summed_up(&self, host: &HostId) -> Resources {
        let there = self.belief.on_host(host).filter_map(|workload| self.belief.workloads.get(workload));
        there.fold(Resources::ZERO, |sum, record| sum.plus(self.needs(record)))
    }

    /// Why a host may not get work now.
    fn refusal(&self, host: &HostId) -> Option<Refusal> {
        let record = self.belief.hosts.get(host)?;
        if record.phase == HostPhase::Online && record.maintenance.is_some() {
            return Some(Refusal::Maintenance);
        }
        (!self.in_service(host)).then(|| Refusal::NotOnline { health: self.host_health(host).word().to_owned() })
    }

    /// True if a host is in service and has room for a workload that does not run.
    pub(crate) fn takes(&self, host: &HostId, record: &WorkloadRecord) -> bool {
        self.in_service(host) && self.capacity(host).minus(self.used(host)).lacks(self.needs(record)).is_none()
    }

    /// The host's health in one word, as people are shown it.
    pub(crate) fn host_health(&self, host: &HostId) -> HostHealth {
        let Some(record) = self.belief.hosts.get(host) else { return HostHealth::Unknown };
        let fencing = self.belief.fence_under_way(host).is_some();
        match (&record.phase, self.sight(host)) {
            _ if fencing => HostHealth::Fencing,
            (HostPhase::Lost { .. } | HostPhase::Off { .. }, _) if self.said_goodbye(host) => HostHealth::ShutDown,
            (HostPhase::Lost { .. }, _) => HostHealth::Lost,
            (HostPhase::Off { .. }, _) => HostHealth::Fenced,
            (HostPhase::Returning, _) => HostHealth::Returning,
            (HostPhase::Online, Sight::Unknown) => HostHealth::Unknown,
            (HostPhase::Online, Sight::Suspect | Sight::Silent | Sight::Hung) => HostHealth::Suspect,
            (HostPhase::Online, Sight::Unmanaged) => HostHealth::Unmanaged,
            (HostPhase::Online, Sight::Heard) if record.maintenance.is_some() => {
                if self.belief.on_host(host).any(|workload| self.manages(workload)) {
                    HostHealth::Draining
                } else {
                    HostHealth::Maintenance
                }
            }
            (HostPhase::Online, Sight::Heard) => HostHealth::Online,
        }
    }
}
