//! What people and other tools do with `virsh` on the hosts themselves: nobody asks the controller.

use super::{Condition, Host, Management, Planned, World, guest::Point, truth::Starter, truth::Truth};
use crate::deed::PersonDeed;
use mainstay_model::{DomainChange, DomainState, HostId, OffReason, PauseReason, PointId, Span, WorkloadId};

impl World {
    /// People use libvirt on the host itself; where that does not run they can do nothing.
    pub(super) fn person(&mut self, deed: PersonDeed) {
        match deed {
            PersonDeed::Destroy(guest) => {
                if let Some(host) = self.manageable(&guest) {
                    self.person_stopped(&guest, &host);
                    self.end_process(&guest, &host, OffReason::Destroyed);
                }
            }
            PersonDeed::Shutdown(guest) => {
                if let Some(host) = self.manageable(&guest) {
                    self.begin_shutdown(&guest, &host, true);
                }
            }
            PersonDeed::Start(guest, host) => {
                if self.hosts.get(&host).is_some_and(|host| host.executes() && host.management == Management::Runs) {
                    // A person whose start is refused sees that.
                    let _ = self.start(&guest, &host, Starter::Person);
                }
            }
            PersonDeed::Suspend(guest) => {
                if let Some(host) = self.manageable(&guest) {
                    let paused = PauseReason::Person;
                    self.become_(&guest, &host, Condition::Paused(paused), "is suspended by a person");
                    self.push(&host, &guest, DomainChange::State(DomainState::Paused(paused)));
                }
            }
            PersonDeed::Resume(guest) => {
                if let Some(host) = self.manageable(&guest) {
                    self.resume(&guest, &host);
                }
            }
            PersonDeed::Undefine(name, host) => {
                self.undefine(&name, &host);
                if let Some(guest) = self.guests.get_mut(&name) {
                    guest.undefined_by_person = true;
                }
            }
            PersonDeed::Migrate(guest, to) => {
                if let Some(from) = self.manageable(&guest)
                    && self.begin_migration(&guest, &from, &to).is_ok()
                {
                    self.plan(Span::millis(800), Planned::PersonMigration(guest, from, to));
                }
            }
            PersonDeed::Autostart(guest, host, on) => {
                let locked = self.guests.get(&guest).is_some_and(|guest| guest.locked);
                if locked {
                    return; // refused, as it is to the controller
                }
                if let Some(definition) = self.hosts.get_mut(&host).and_then(|host| host.domains.get_mut(&guest)) {
                    definition.autostart = on;
                }
            }
            PersonDeed::SnapshotDelete(name, point) => {
                let Some(guest) = self.guests.get_mut(&name) else { return };
                let newest = || guest.points.iter().max_by_key(|(_, point)| point.taken_at).map(|(id, _)| id.clone());
                let point = point.or_else(newest);
                if let Some(point) = point.filter(|point| guest.points.remove(point).is_some()) {
                    self.truths.push(Truth::PointDeleted { guest: name, point, by: Starter::Person });
                }
            }
            PersonDeed::SnapshotCreate(name, point) => self.person_takes_point(&name, point),
            PersonDeed::Rename(name, new) => self.rename(&name, &new),
            PersonDeed::Redefine(name, to) => self.redefine(&name, &to),
            PersonDeed::DefineNamesake(name, on) => self.define_namesake(name, &on),
            PersonDeed::UndefineNamesake(name, on) => {
                if let Some(host) = self.hosts.get_mut(&on).filter(|host| host.runs_libvirt()) {
                    host.namesakes.remove(&name);
                }
            }
        }
    }

    fn person_takes_point(&mut self, name: &WorkloadId, point: PointId) {
        if self.manageable(name).is_none() {
            return;
        }
        let taken_at = self.now;
        let Some(guest) = self.guests.get_mut(name) else { return };
        let made = Point { disk: guest.disk, taken_at };
        if guest.points.insert(point.clone(), made).is_none() {
            self.truths.push(Truth::PointTaken { guest: name.clone(), point, sick: false });
        }
    }

    /// `virsh domrename`, which libvirt does only with what is off: same uuid, same disks, another name.
    fn rename(&mut self, old: &WorkloadId, new: &WorkloadId) {
        let off = self.guests.get(old).is_some_and(|guest| guest.processes.is_empty() && guest.asleep.is_empty());
        let known = |host: &&Host| host.runs_libvirt() && host.domains.contains_key(old);
        let at = self.hosts.values().find(known).map(|host| host.name.clone());
        let Some(at) = at.filter(|_| off && !self.guests.contains_key(new)) else { return };
        let Some(guest) = self.guests.get_mut(old) else { return };
        guest.twin = Some(new.clone());
        guest.undefined_by_person = true;
        let mut renamed = guest.clone();
        (renamed.name, renamed.twin, renamed.asked_on) = (new.clone(), Some(old.clone()), None);
        renamed.stopped_by_person.get_or_insert(self.now);
        self.guests.insert(new.clone(), renamed);
        if let Some(host) = self.hosts.get_mut(&at)
            && let Some(definition) = host.domains.remove(old)
        {
            host.domains.insert(new.clone(), definition);
        }
        self.push(&at, old, DomainChange::Undefined);
        self.push(&at, new, DomainChange::Defined);
        self.watch_guest(new);
    }

    /// Somebody takes the definition of what is off to another host.
    fn redefine(&mut self, name: &WorkloadId, to: &HostId) {
        let off = self.guests.get(name).is_some_and(|guest| guest.processes.is_empty());
        let takes = |host: &Host| host.runs_libvirt() && !host.namesakes.contains(name);
        if !off || !self.hosts.get(to).is_some_and(takes) {
            return;
        }
        let hosts: Vec<HostId> =
            self.hosts.values().filter(|host| host.runs_libvirt()).map(|host| host.name.clone()).collect();
        for host in hosts.iter().filter(|host| *host != to) {
            self.undefine(name, host);
        }
        self.define(name, to);
        self.truths.push(Truth::Redefined { guest: name.clone(), host: to.clone() });
    }

    /// Somebody gives another VM the name of a guest that is defined elsewhere.
    fn define_namesake(&mut self, name: WorkloadId, on: &HostId) {
        let elsewhere = self.hosts.values().any(|host| host.name != *on && host.domains.contains_key(&name));
        let host = self.hosts.get_mut(on).filter(|host| host.runs_libvirt() && !host.domains.contains_key(&name));
        if let Some(host) = host.filter(|_| elsewhere) {
            host.namesakes.insert(name);
        }
    }

    /// Why this guest can't be defined or started here, if a disk of it is in use under its other name, or a name or uuid of
    /// it is taken.
    pub(super) fn twin_in_the_way(&self, name: &WorkloadId, on: &HostId) -> Option<&'static str> {
        if self.hosts.get(on).is_some_and(|host| host.namesakes.contains(name)) {
            return Some("domain is already defined with another uuid");
        }
        let twin = self.guests.get(name)?.twin.as_ref()?;
        if self.hosts.get(on).is_some_and(|host| host.domains.contains_key(twin)) {
            return Some("another domain is already defined with that uuid");
        }
        let runs = self.guests.get(twin).is_some_and(|twin| !twin.processes.is_empty());
        (runs && self.locks).then_some("failed to get \"write\" lock: another process holds the image")
    }

    /// Where the guest runs, if its hypervisor can be spoken to there.
    fn manageable(&self, guest: &WorkloadId) -> Option<HostId> {
        let name = self.guests.get(guest)?.host()?;
        let host = self.hosts.get(&name)?;
        (host.executes() && host.management == Management::Runs).then_some(name)
    }
}
