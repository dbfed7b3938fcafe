//! How the true state changes: processes begin and end, guests boot and fall over, hosts lose power and come up.

use super::{Condition, Definition, Management, Planned, Power, Process, StorageState, Truth, World, truth::Starter};
use crate::scenario::setup::{GuestsOnBoot, GuestsOnShutdown};
use mainstay_model::{DomainChange, DomainState, FailureKind, HostId, OffReason, Span, Time, WorkloadId};

/// From booting to answering takes as long as the setup says, more or less by a fifth.
const BOOT_JITTER_PERCENT: u64 = 20;
/// A damaged guest falls over this long after it answered.
const FALLS_WITHIN_MS: (u64, u64) = (500, 4_000);
/// How long a guest takes to shut itself down.
const SHUTDOWN_MS: (u64, u64) = (1_000, 3_000);
/// How long a host takes to shut down in good order, and how long it waits for guests that do not end.
const HOST_SHUTDOWN: Span = Span::secs(4);
const GUESTS_SHUTDOWN: Span = Span::secs(30);

/// Why a start did not happen.
pub(super) type Refusal = (FailureKind, String);

impl World {
    /// Starts a guest on a host, as its hypervisor would. True: it runs there already.
    pub(super) fn start(&mut self, name: &WorkloadId, on: &HostId, by: Starter) -> Result<(), Refusal> {
        let other = |message: &str| Err((FailureKind::Other, message.to_owned()));
        let locks = self.locks;
        let storage = self.storage_at(name, on);
        let in_the_way = self.twin_in_the_way(name, on);
        let taken = self.memory_taken(on);
        let lacks = self.hosts.get(on).map(|host| host.lacks.clone()).unwrap_or_default();
        let Some(guest) = self.guests.get_mut(name) else {
            return Err((FailureKind::NotThere, format!("no domain {name}")));
        };
        if let Some(process) = guest.processes.get(on) {
            return match process.state() {
                DomainState::Running => Ok(()),
                state => Err((FailureKind::Refused, format!("domain is active already ({state})"))),
            };
        }
        if let Some(what) = in_the_way {
            return Err((FailureKind::Refused, what.to_owned()));
        }
        if let Some(bridge) = guest.bridges.intersection(&lacks).next() {
            return other(&format!("Cannot get interface MTU on '{bridge}': No such device"));
        }
        if let Some(failing) = guest.failing_starts.iter_mut().find(|failing| failing.applies_to(on)) {
            failing.times -= 1;
            return other("internal error: process exited while connecting to monitor");
        }
        match storage {
            StorageState::IoError => return other("could not open disk image: Input/output error"),
            StorageState::ReadOnly => return other("could not open disk image: Read-only file system"),
            _ => {}
        }
        if locks && !guest.processes.is_empty() {
            return Err((
                FailureKind::DiskLocked,
                "failed to get \"write\" lock: another process holds the image".into(),
            ));
        }
        let needs = guest.needs;
        let Some(host) = self.hosts.get_mut(on) else {
            return Err((FailureKind::NotThere, format!("no host {on}")));
        };
        if taken + needs.memory_mib > host.holds_mib {
            self.truths.push(Truth::NoRoom { guest: name.clone(), host: on.clone() });
            return Err((FailureKind::NoRoom, "cannot set up guest memory: Cannot allocate memory".into()));
        }
        let fresh = !host.domains.contains_key(name);
        host.domains.entry(name.clone()).or_insert_with(Definition::new);
        self.wake(name, on);
        self.begin_process(name, on, by);
        if fresh {
            self.push(on, name, DomainChange::Defined);
        }
        self.push(on, name, DomainChange::State(DomainState::Running));
        Ok(())
    }

    /// A process that boots its guest.
    pub(super) fn begin_process(&mut self, name: &WorkloadId, on: &HostId, by: Starter) {
        self.processes += 1;
        let (number, now) = (self.processes, self.now);
        let Some(guest) = self.guests.get_mut(name) else { return };
        if by != Starter::Controller {
            guest.stopped_by_person = None;
        }
        let mut process = Process::new(number, now, Condition::Booting);
        process.unannounced = by != Starter::Controller;
        guest.processes.insert(on.clone(), process);
        let percent = guest.random.between(100 - BOOT_JITTER_PERCENT, 100 + BOOT_JITTER_PERCENT);
        let boot_time = Span(guest.boot_time.0 * guest.slowness * percent / 100);
        self.truths.push(Truth::Started { guest: name.clone(), host: on.clone(), by });
        self.plan(boot_time, Planned::GuestUp(name.clone(), on.clone(), number));
        self.meet_disk(name, on, number);
    }

    /// The process is gone. Whoever listens to its hypervisor hears why, if the hypervisor was there to see it.
    pub(super) fn end_process(&mut self, name: &WorkloadId, on: &HostId, why: OffReason) {
        let ended = self.guests.get_mut(name).and_then(|guest| guest.processes.remove(on));
        let Some(ended) = ended else { return };
        if ended.condition == Condition::Incoming {
            return;
        }
        self.truths.push(Truth::Ended { guest: name.clone(), host: on.clone(), why });
        let Some(host) = self.hosts.get_mut(on) else { return };
        let seen = host.management == Management::Runs && host.executes();
        let mut vanished = false;
        if let Some(definition) = host.domains.get_mut(name) {
            definition.off = if seen { why } else { OffReason::Unknown };
            vanished = !definition.persistent;
        }
        if vanished {
            host.domains.remove(name);
        }
        if seen {
            self.push(on, name, DomainChange::State(DomainState::Off(why)));
        }
        if seen && vanished {
            self.push(on, name, DomainChange::Undefined);
        }
        self.drop_incoming(name);
    }

    /// The guest's process, if it is still that one.
    pub(super) fn process(&mut self, name: &WorkloadId, on: &HostId, number: u64) -> Option<&mut Process> {
        let process = self.guests.get_mut(name)?.processes.get_mut(on)?;
        (process.number == number).then_some(process)
    }

    pub(super) fn guest_up(&mut self, name: &WorkloadId, on: &HostId, number: u64) {
        let now = self.now;
        let held =
            !self.hosts.get(on).is_some_and(|host| host.executes()) || self.storage_at(name, on) == StorageState::Hang;
        let Some(process) = self.process(name, on, number) else { return };
        if process.condition != Condition::Booting {
            return;
        }
        if held || process.halted {
            self.plan(Span::secs(1), Planned::GuestUp(name.clone(), on.clone(), number));
            return;
        }
        if self.guests.get(name).is_some_and(|guest| guest.disk.loops) {
            return self.reboot(name, on, number);
        }
        let Some(process) = self.process(name, on, number) else { return };
        process.become_(Condition::Well, now);
        self.truths.push(Truth::Answers { guest: name.clone(), host: on.clone() });
        self.doom_if_damaged(name, on, number);
    }

    /// The guest boots again within its process.
    pub(super) fn reboot(&mut self, name: &WorkloadId, on: &HostId, number: u64) {
        let now = self.now;
        let Some(process) = self.process(name, on, number) else { return };
        process.become_(Condition::Booting, now);
        let boot_time = self.guests.get(name).map_or(Span::ZERO, |guest| guest.boot_time.times(guest.slowness));
        self.plan(boot_time, Planned::GuestUp(name.clone(), on.clone(), number));
        self.push(on, name, DomainChange::Rebooted);
    }

    /// A guest on a damaged disk will not stand for long.
    pub(super) fn doom_if_damaged(&mut self, name: &WorkloadId, on: &HostId, number: u64) {
        let Some(guest) = self.guests.get_mut(name).filter(|guest| guest.disk.damaged) else { return };
        let after = Span(guest.random.between(FALLS_WITHIN_MS.0, FALLS_WITHIN_MS.1));
        self.plan(after, Planned::GuestFalls(name.clone(), on.clone(), number));
    }

    pub(super) fn guest_falls(&mut self, name: &WorkloadId, on: &HostId, number: u64) {
        let damaged = self.guests.get(name).is_some_and(|guest| guest.disk.damaged);
        if damaged && self.process(name, on, number).is_some_and(|process| process.condition == Condition::Well) {
            self.panic(name, on);
        }
    }

    /// The guest's kernel panics; its hypervisor keeps it for inspection.
    pub(super) fn panic(&mut self, name: &WorkloadId, on: &HostId) {
        self.become_(name, on, Condition::Panicked, "panics");
        self.push(on, name, DomainChange::State(DomainState::Panicked));
    }

    pub(super) fn become_(&mut self, name: &WorkloadId, on: &HostId, condition: Condition, what: &'static str) {
        let now = self.now;
        let Some(process) = self.guests.get_mut(name).and_then(|guest| guest.processes.get_mut(on)) else { return };
        process.become_(condition, now);
        self.truths.push(Truth::Trouble { guest: name.clone(), host: on.clone(), what });
    }

    /// The guest begins to shut itself down.
    pub(super) fn begin_shutdown(&mut self, name: &WorkloadId, on: &HostId, by_person: bool) {
        let Some(guest) = self.guests.get_mut(name) else { return };
        let Some(number) = guest.processes.get(on).map(|process| process.number) else { return };
        let after = Span(guest.random.between(SHUTDOWN_MS.0, SHUTDOWN_MS.1));
        self.plan(after, Planned::GuestOff(name.clone(), on.clone(), number, by_person));
    }

    pub(super) fn guest_off(&mut self, name: &WorkloadId, on: &HostId, number: u64, by_person: bool) {
        let executes = self.hosts.get(on).is_some_and(|host| host.executes());
        let able = self.process(name, on, number).is_some_and(|process| process.writes());
        if executes && able {
            if by_person {
                self.person_stopped(name, on);
            }
            self.end_process(name, on, OffReason::Shutdown);
        }
    }

    /// A person ends it on that host. If it executes on another one too, one of two is ended, and it is as wanted as before
    /// (scenario 580).
    pub(super) fn person_stopped(&mut self, name: &WorkloadId, on: &HostId) {
        if self.guests.get(name).is_some_and(|guest| !guest.runs_on().any(|other| other != on)) {
            self.wanted_off(name);
        }
    }

    /// A person wants it off.
    pub(super) fn wanted_off(&mut self, name: &WorkloadId) {
        let now = self.now;
        if let Some(guest) = self.guests.get_mut(name) {
            guest.stopped_by_person = Some(now);
            self.truths.push(Truth::PersonStopped { guest: name.clone() });
        }
    }

    /// A paused guest goes on; on a failing disk not for long.
    pub(super) fn resume(&mut self, name: &WorkloadId, on: &HostId) {
        let now = self.now;
        let Some(guest) = self.guests.get_mut(name) else { return };
        let Some(process) = guest.processes.get_mut(on) else { return };
        if matches!(process.condition, Condition::Paused(_)) {
            process.become_(Condition::Well, now);
            let number = process.number;
            self.truths.push(Truth::Answers { guest: name.clone(), host: on.clone() });
            self.push(on, name, DomainChange::State(DomainState::Running));
            self.meet_disk(name, on, number);
            self.doom_if_damaged(name, on, number);
        }
    }

    /// The host's power is gone, and all that ran on it. Nobody says goodbye.
    pub(super) fn power_off(&mut self, name: &HostId) {
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.power != Power::Off) else { return };
        host.power = Power::Off;
        if host.hibernated {
            return; // while it boots: the memory on its disk is not read yet
        }
        host.going_down = None;
        host.power_goes = false;
        host.boots += 1;
        host.frozen = false;
        host.management = Management::Dead;
        host.backlog.clear();
        self.truths.push(Truth::PowerLost { host: name.clone() });
        for guest in self.guests_on(name) {
            self.end_process(&guest, name, OffReason::Unknown);
            self.lose_unflushed(&guest);
        }
        if let Some(host) = self.hosts.get_mut(name) {
            host.domains.values_mut().for_each(|definition| definition.off = OffReason::Unknown);
        }
    }

    /// Power comes; the host boots. False: it has no mains.
    pub(super) fn power_on(&mut self, name: &HostId) -> bool {
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.mains) else { return false };
        if host.power == Power::Off {
            host.power = Power::Booting;
            let (boots, boot_time) = (host.boots, host.boot_time);
            self.plan(boot_time, Planned::HostUp(name.clone(), boots));
        }
        true
    }

    /// The host is up: its management runs and starts what is marked for autostart, and libvirt-guests what ran before it shut
    /// the host down, if it is to.
    pub(super) fn host_up(&mut self, name: &HostId, boots: u64) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.boots != boots || host.power != Power::Booting {
            return;
        }
        if host.hibernated {
            return self.host_awake(name);
        }
        host.power = Power::On;
        host.booted_at = self.now;
        host.management = Management::Runs;
        host.touched_at = self.now;
        let by_host = std::mem::take(&mut host.ran_at_shutdown);
        let starts = host.guests_on_boot == GuestsOnBoot::Start;
        let by_host = by_host.into_iter().filter(|guest| starts && host.domains.contains_key(guest));
        let autostart: Vec<WorkloadId> = host
            .domains
            .iter()
            .filter(|(_, definition)| definition.autostart)
            .map(|(guest, _)| guest.clone())
            .chain(by_host)
            .collect();
        self.truths.push(Truth::HostUp { host: name.clone() });
        for guest in autostart {
            // What can't be started here is not this host's trouble.
            let _ = self.start(&guest, name, Starter::Autostart);
        }
    }

    /// The host's owner shuts it down: first its guests end as it is set up, then its connections are closed.
    pub(super) fn begin_host_shutdown(&mut self, name: &HostId, again: bool) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.going_down.is_none()) else { return };
        host.going_down = Some(now);
        let how = host.guests_on_shutdown;
        // What is only arriving is neither asked, nor saved, nor started again: it has no definition there yet.
        let arrives = |guest: &WorkloadId| {
            let process = self.guests.get(guest).and_then(|guest| guest.processes.get(name));
            process.is_some_and(|process| process.condition == Condition::Incoming)
        };
        let guests: Vec<WorkloadId> = self.guests_on(name).into_iter().filter(|guest| !arrives(guest)).collect();
        if how != GuestsOnShutdown::Signal
            && let Some(host) = self.hosts.get_mut(name)
        {
            host.ran_at_shutdown.clone_from(&guests);
        }
        for guest in guests {
            match how {
                GuestsOnShutdown::Shutdown => self.begin_shutdown(&guest, name, false),
                GuestsOnShutdown::Save => self.save(&guest, name),
                GuestsOnShutdown::Signal => self.end_process(&guest, name, OffReason::Signalled),
            }
        }
        self.plan(HOST_SHUTDOWN, Planned::HostDown(name.clone(), again));
    }

    /// The guest's memory goes into a file of its host, from which the next start there wakes it.
    fn save(&mut self, name: &WorkloadId, on: &HostId) {
        self.end_process(name, on, OffReason::Saved);
        if let Some(guest) = self.guests.get_mut(name) {
            guest.saved_on.insert(on.clone(), guest.disk.written_ms);
        }
    }

    /// A start where its memory is saved wakes that memory. If the disk has moved on since, what it knows of it is wrong, and
    /// it spoils it.
    fn wake(&mut self, name: &WorkloadId, on: &HostId) {
        let Some(guest) = self.guests.get_mut(name) else { return };
        let Some(written_ms) = guest.saved_on.remove(on).filter(|saved| *saved != guest.disk.written_ms) else {
            return;
        };
        guest.disk.corrupted = true;
        let lost_ms = guest.disk.written_ms.saturating_sub(written_ms);
        self.truths.push(Truth::StaleMemory { guest: name.clone(), host: on.clone(), lost_ms });
    }

    pub(super) fn host_down(&mut self, name: &HostId, again: bool) {
        let Some(host) = self.hosts.get(name) else { return };
        let Some(since) = host.going_down else { return };
        let waits = host.guests_on_shutdown == GuestsOnShutdown::Shutdown && !self.guests_on(name).is_empty();
        if host.frozen || host.hibernated || waits && self.now.since(since) < GUESTS_SHUTDOWN {
            return self.plan(Span::secs(1), Planned::HostDown(name.clone(), again));
        }
        self.hang_up(name, "the host shuts down");
        self.power_off(name);
        if again {
            self.power_on(name);
        }
    }

    /// Memory that the host's processes hold.
    pub(super) fn memory_taken(&self, host: &HostId) -> u64 {
        let here = self.guests.values().filter(|guest| guest.processes.contains_key(host));
        here.map(|guest| guest.needs.memory_mib).sum()
    }

    pub(super) fn guests_on(&self, host: &HostId) -> Vec<WorkloadId> {
        self.guests
            .values()
            .filter(|guest| guest.processes.contains_key(host))
            .map(|guest| guest.name.clone())
            .collect()
    }

    /// Since when the guest has not been well where it runs; `None`: it is well, or does not run.
    pub fn sick_since(&self, name: &WorkloadId) -> Option<Time> {
        let guest = self.guests.get(name)?;
        let process = guest.processes.get(&guest.host()?)?;
        let well = matches!(process.condition, Condition::Well | Condition::Booting | Condition::Deaf);
        (!well).then_some(process.condition_since)
    }
}
