//! Storage as it truly is: what each host meets when it reads or writes a datastore, what guests wrote, and what of it a
//! power cut takes away.

use super::{Condition, Host, Planned, StorageState, World, truth::Starter, truth::Truth};
use mainstay_model::{DomainChange, DomainState, HostId, PauseReason, PointId, Span, WorkloadId};
use std::collections::BTreeMap;

/// A guest that writes all the time meets its failing disk within this.
const MEETS_DISK_WITHIN_MS: u64 = 1_000;

/// A datastore as it truly is.
#[derive(Clone, Debug)]
pub(crate) struct Datastore {
    state: StorageState,
    /// Hosts whose own way to it is bad.
    on_host: BTreeMap<HostId, StorageState>,
    /// What is written is durable only after this long, whatever was acknowledged.
    unflushed: Span,
}

impl Datastore {
    pub fn new() -> Datastore {
        Datastore { state: StorageState::Ok, on_host: BTreeMap::new(), unflushed: Span::ZERO }
    }

    /// What this host meets on it.
    pub fn at(&self, host: &HostId) -> StorageState {
        match self.state {
            StorageState::Ok => self.on_host.get(host).copied().unwrap_or(StorageState::Ok),
            state => state,
        }
    }
}

impl World {
    /// What this host meets on the guest's datastore.
    pub fn storage_at(&self, guest: &WorkloadId, host: &HostId) -> StorageState {
        let datastore = self.guests.get(guest).and_then(|guest| self.storage.get(&guest.datastore));
        datastore.map_or(StorageState::Ok, |datastore| datastore.at(host))
    }

    pub(super) fn storage_becomes(&mut self, name: String, state: StorageState, host: Option<HostId>) {
        let datastore = self.storage.entry(name.clone()).or_insert_with(Datastore::new);
        match host {
            Some(host) => _ = datastore.on_host.insert(host, state),
            None if state == StorageState::Ok => {
                datastore.state = state;
                datastore.on_host.clear();
            }
            None => datastore.state = state,
        }
        let processes: Vec<_> = self
            .guests
            .values()
            .filter(|guest| guest.datastore == name)
            .flat_map(|guest| {
                guest.processes.iter().map(|(host, process)| (guest.name.clone(), host.clone(), process.number))
            })
            .collect();
        for (guest, host, number) in processes {
            self.meet_disk(&guest, &host, number);
        }
    }

    pub(super) fn storage_keeps_unflushed(&mut self, name: String, unflushed: Span) {
        self.storage.entry(name).or_insert_with(Datastore::new).unflushed = unflushed;
    }

    /// Every process on a failing disk meets it soon.
    pub(super) fn meet_disk(&mut self, name: &WorkloadId, on: &HostId, number: u64) {
        if !self.storage_at(name, on).stops_writers() {
            return;
        }
        let Some(guest) = self.guests.get_mut(name) else { return };
        let after = Span(guest.random.between(50, MEETS_DISK_WITHIN_MS));
        self.plan(after, Planned::DiskFails(name.clone(), on.clone(), number));
    }

    pub(super) fn disk_fails(&mut self, name: &WorkloadId, on: &HostId, number: u64) {
        let fails = self.storage_at(name, on).stops_writers();
        if fails && self.process(name, on, number).is_some_and(|process| process.writes()) {
            self.become_(name, on, Condition::Paused(PauseReason::IoError), "is paused on an I/O error");
            self.push(on, name, DomainChange::State(DomainState::Paused(PauseReason::IoError)));
        }
    }

    /// Adds up what each guest wrote since the last time; two writers spoil a disk.
    pub(super) fn settle(&mut self) {
        let passed = self.now.since(self.settled).0;
        self.settled = self.now;
        for guest in self.guests.values_mut() {
            let datastore = self.storage.get(&guest.datastore);
            let writes = |host: &HostId| {
                let lets = datastore.is_none_or(|datastore| datastore.at(host).lets_write());
                lets && self.hosts.get(host).is_some_and(Host::executes)
            };
            let writers = guest.processes.iter().filter(|(host, process)| process.writes() && writes(host)).count();
            let disk = &mut guest.disk;
            if writers > 0 {
                disk.written_ms += passed;
                let most = datastore.map_or(0, |datastore| datastore.unflushed.0);
                disk.unflushed_ms = (disk.unflushed_ms + passed).min(most);
            } else {
                disk.unflushed_ms = disk.unflushed_ms.saturating_sub(passed);
            }
            disk.corrupted |= writers > 1;
        }
    }

    /// The datastore's cache is gone with its power.
    pub(super) fn storage_power_cut(&mut self, name: &str) {
        let here: Vec<WorkloadId> =
            self.guests.values().filter(|guest| guest.datastore == name).map(|guest| guest.name.clone()).collect();
        here.iter().for_each(|guest| self.lose_unflushed(guest));
    }

    /// What the guest wrote last was acknowledged, and is not there: work, and recovery points that hold it.
    pub(super) fn lose_unflushed(&mut self, name: &WorkloadId) {
        let now = self.now;
        let Some(guest) = self.guests.get_mut(name) else { return };
        let window = self.storage.get(&guest.datastore).map_or(Span::ZERO, |datastore| datastore.unflushed);
        let lost_ms = std::mem::take(&mut guest.disk.unflushed_ms).min(guest.disk.written_ms);
        if window == Span::ZERO {
            return;
        }
        guest.disk.written_ms -= lost_ms;
        let young = guest.points.iter().filter(|(_, point)| now.since(point.taken_at) < window);
        let young: Vec<PointId> = young.map(|(id, _)| id.clone()).collect();
        self.truths.push(Truth::WorkLost { guest: name.clone(), lost_ms });
        for point in young {
            guest.points.remove(&point);
            self.truths.push(Truth::PointDeleted { guest: name.clone(), point, by: Starter::Storage });
        }
    }
}
