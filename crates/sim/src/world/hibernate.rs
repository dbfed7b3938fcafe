//! A host that hibernates: its kernel freezes all that runs, writes the memory to the host's disk and switches the power off. At the
//! next power on it reads that image, and all of it goes on where it was: the same boot, the same processes.
//!
//! ```text
//!   hibernate ──▶ frozen (4 s, has power) ──▶ asleep (power reads off, guests kept aside) ──power on──▶ awake
//! ```
//!
//! While it is asleep nothing executes and no lock of its guests is left on shared storage, so they can be started elsewhere. What
//! wakes up after that is a second run that no controller can prevent.

use super::{Management, Planned, Power, Process, World, guest::Guest, truth::Starter, truth::Truth};
use mainstay_model::{HostId, Span, WorkloadId};

/// How long a host takes to write its memory to its disk.
const WRITES_FOR: Span = Span::secs(4);
/// What was planned of a guest that is asleep is looked at again after this.
const LOOKS_AGAIN: Span = Span::secs(1);

/// A process whose memory lies on the disk of its host.
#[derive(Clone, Debug)]
pub(crate) struct Asleep {
    process: Process,
    /// What had been written to the guest's disk by then.
    written_ms: u64,
}

impl World {
    /// Everything on the host stands still from now on; a moment later its power goes.
    pub(super) fn hibernate(&mut self, name: &HostId) {
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.executes()) else { return };
        host.frozen = true;
        let boots = host.boots;
        self.plan(WRITES_FOR, Planned::HostAsleep(name.clone(), boots));
    }

    /// The memory is on the disk: the power goes, in good order. Not if the host was thawed or lost its power meanwhile.
    pub(super) fn host_asleep(&mut self, name: &HostId, boots: u64) {
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.boots == boots && host.frozen) else { return };
        (host.power, host.frozen, host.hibernated, host.power_goes) = (Power::Off, false, true, false);
        self.truths.push(Truth::Hibernated { host: name.clone() });
        for guest in self.guests_on(name) {
            let incoming = |guest: &Guest| guest.processes.get(name).is_some_and(Process::is_incoming);
            let Some(guest) = self.guests.get_mut(&guest).filter(|guest| !incoming(guest)) else { continue };
            if let Some(process) = guest.processes.remove(name) {
                guest.asleep.insert(name.clone(), Asleep { process, written_ms: guest.disk.written_ms });
                let guest = guest.name.clone();
                self.drop_incoming(&guest);
            }
        }
    }

    /// The host has read its memory: it goes on where it was, and so do its guests, whatever became of them elsewhere meanwhile.
    pub(super) fn host_awake(&mut self, name: &HostId) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        (host.power, host.hibernated, host.touched_at) = (Power::On, false, self.now);
        self.truths.push(Truth::WokeUp { host: name.clone() });
        let guests: Vec<WorkloadId> = self
            .guests
            .values()
            .filter(|guest| guest.asleep.contains_key(name))
            .map(|guest| guest.name.clone())
            .collect();
        for guest in guests {
            self.guest_awake(&guest, name);
        }
        if self.hosts.get(name).is_some_and(|host| host.management == Management::Runs) {
            self.work_off(name);
        }
    }

    fn guest_awake(&mut self, name: &WorkloadId, on: &HostId) {
        let Some(guest) = self.guests.get_mut(name) else { return };
        let Some(Asleep { process, written_ms }) = guest.asleep.remove(on) else { return };
        let (number, alone) = (process.number, guest.processes.is_empty());
        guest.processes.insert(on.clone(), process);
        let moved_on = guest.disk.written_ms != written_ms;
        let lost_ms = guest.disk.written_ms.saturating_sub(written_ms);
        let (guest_id, host) = (name.clone(), on.clone());
        if moved_on {
            // Its memory knows an older disk, and what it writes spoils this one.
            guest.disk.corrupted = true;
            self.truths.push(Truth::StaleMemory { guest: name.clone(), host: host.clone(), lost_ms });
        }
        if moved_on && alone {
            // It ran elsewhere and ended: this is a new run, which its host began by itself.
            guest.stopped_by_person = None;
            self.truths.push(Truth::Started { guest: guest_id.clone(), host: host.clone(), by: Starter::Autostart });
        }
        self.truths.push(Truth::Resumed { guest: guest_id, host });
        self.meet_disk(name, on, number);
    }

    /// What is planned of a process that is asleep happens when it is awake.
    pub(super) fn sleeps(&mut self, planned: &Planned) -> bool {
        let (Planned::GuestUp(guest, host, number)
        | Planned::GuestFalls(guest, host, number)
        | Planned::GuestOff(guest, host, number, _)
        | Planned::DiskFails(guest, host, number)) = planned
        else {
            return false;
        };
        let asleep = self.guests.get(guest).and_then(|guest| guest.asleep.get(host));
        let sleeps = asleep.is_some_and(|asleep| asleep.process.number == *number);
        if sleeps {
            self.plan(LOOKS_AGAIN, planned.clone());
        }
        sleeps
    }
}
