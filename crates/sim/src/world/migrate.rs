//! Live migration: the target holds an incoming process that does not execute until the source has stopped.

use super::{Condition, Process, World, happen::link, life::Refusal, truth::Starter, truth::Truth};
use mainstay_model::{DomainChange, DomainState, FailureKind, HostId, OffReason, PauseReason, Span, Time, WorkloadId};

/// What is sent from host to host without an answer is given up after this (libvirt's keepalive).
const GIVES_UP_AFTER: Span = Span::secs(30);

impl World {
    /// Begins a migration: the target gets its incoming process.
    pub(super) fn begin_migration(&mut self, name: &WorkloadId, from: &HostId, to: &HostId) -> Result<(), Refusal> {
        let lets_write = [from, to].iter().all(|host| self.storage_at(name, host).lets_write());
        let taken = self.memory_taken(to);
        let Some(guest) = self.guests.get_mut(name) else {
            return Err((FailureKind::NotThere, format!("no domain {name}")));
        };
        let Some(process) = guest.processes.get(from) else {
            return Err((FailureKind::NotThere, format!("{name} does not run on {from}")));
        };
        if guest.locked {
            return Err((FailureKind::Other, "cannot acquire state change lock".into()));
        }
        if process.halted || process.state() != DomainState::Running {
            return Err((FailureKind::Refused, format!("{name} can't be migrated: it is {}", process.state())));
        }
        if !guest.movable {
            return Err((FailureKind::Refused, format!("{name} has a disk of its host")));
        }
        if guest.failing_migrations > 0 {
            guest.failing_migrations -= 1;
            return Err((FailureKind::Other, "operation failed: migration job: unexpectedly failed".into()));
        }
        if from == to || guest.processes.contains_key(to) {
            return Err((FailureKind::Refused, format!("{name} is on {to} already")));
        }
        if !lets_write {
            return Err((FailureKind::Other, "migration job: Input/output error".into()));
        }
        let Some(host) = self.hosts.get(to).filter(|host| host.answers_management()) else {
            return Err((FailureKind::Unreachable, format!("unable to connect to {to}")));
        };
        if let Some(bridge) = guest.bridges.intersection(&host.lacks).next() {
            let text = format!("Cannot get interface MTU on '{bridge}': No such device");
            return Err((FailureKind::Other, text));
        }
        if host.namesakes.contains(name) {
            return Err((FailureKind::Refused, "domain is already defined with another uuid".into()));
        }
        if taken + guest.needs.memory_mib > host.holds_mib {
            self.truths.push(Truth::NoRoom { guest: name.clone(), host: to.clone() });
            return Err((FailureKind::NoRoom, "cannot set up guest memory: Cannot allocate memory".into()));
        }
        if self.cut_links.contains(&link(from, to)) {
            return Ok(()); // it tries to connect, and will fail
        }
        self.processes += 1;
        guest.processes.insert(to.clone(), Process::new(self.processes, self.now, Condition::Incoming));
        self.define(name, to);
        self.push(to, name, DomainChange::State(DomainState::Paused(PauseReason::Busy)));
        Ok(())
    }

    /// The migration ends: the target goes on where the source stopped, or, if either is gone, it never was.
    pub(super) fn finish_migration(
        &mut self,
        name: &WorkloadId,
        from: &HostId,
        to: &HostId,
        by: Starter,
    ) -> Result<(), Refusal> {
        let both_up = [from, to].iter().all(|host| self.hosts.get(*host).is_some_and(|host| host.executes()));
        let failed = |message: &str| Err((FailureKind::Other, message.to_owned()));
        let Some(guest) = self.guests.get_mut(name) else { return failed("no such domain") };
        let target = guest.processes.get(to).is_some_and(|process| process.condition == Condition::Incoming);
        let source = guest.processes.get(from).filter(|process| process.state() == DomainState::Running);
        let linked = !self.cut_links.contains(&link(from, to));
        let Some(source) = source.filter(|process| target && both_up && linked && !process.halted).cloned() else {
            self.drop_incoming(name);
            return failed("migration job: unexpectedly failed");
        };
        let number = guest.processes.get(to).map_or(0, |process| process.number);
        let unannounced = by != Starter::Controller;
        let arrived = Process { number, began: self.now, unannounced, ..source };
        let booting = arrived.condition == Condition::Booting;
        guest.processes.insert(to.clone(), arrived);
        guest.processes.remove(from);
        let (guest, from_id, to_id) = (name.clone(), from.clone(), to.clone());
        self.truths.push(Truth::Moved { guest, from: from_id, to: to_id, by });
        if let Some(host) = self.hosts.get_mut(from) {
            host.domains.remove(name);
        }
        self.push(from, name, DomainChange::State(DomainState::Off(OffReason::Migrated)));
        self.push(from, name, DomainChange::Undefined);
        self.push(to, name, DomainChange::State(DomainState::Running));
        self.meet_disk(name, to, number);
        if booting {
            self.plan(mainstay_model::Span::secs(1), super::Planned::GuestUp(name.clone(), to.clone(), number));
        }
        self.doom_if_damaged(name, to, number);
        Ok(())
    }

    /// True while a migration waits for a host that does not answer the other.
    pub(super) fn hangs_on_link(&self, from: &HostId, to: &HostId, since: Option<Time>) -> bool {
        let patient = since.is_some_and(|since| self.now.since(since) < GIVES_UP_AFTER);
        patient && self.cut_links.contains(&link(from, to))
    }

    /// The source is gone or will not go on: what waited for it ends.
    pub(super) fn drop_incoming(&mut self, name: &WorkloadId) {
        let Some(guest) = self.guests.get_mut(name) else { return };
        let waiting = guest.processes.iter().find(|(_, process)| process.condition == Condition::Incoming);
        let Some(to) = waiting.map(|(host, _)| host.clone()) else { return };
        guest.processes.remove(&to);
        if let Some(host) = self.hosts.get_mut(&to) {
            host.domains.remove(name);
        }
        self.push(&to, name, DomainChange::State(DomainState::Off(OffReason::Destroyed)));
        self.push(&to, name, DomainChange::Undefined);
    }

    pub(super) fn person_migration(&mut self, name: &WorkloadId, from: &HostId, to: &HostId) {
        // A person whose migration fails sees that.
        let _ = self.finish_migration(name, from, to, Starter::Person);
    }
}
