//! Deeds take effect: what a script or a seed does to the world.

use super::{
    Condition, Definition, Management, PerHost, Planned, World, guest::FailingStart, guest::Guest, truth::Truth,
};
use crate::deed::{BridgeDeed, Deed, GuestDeed, HostDeed, LinkDeed};
use mainstay_model::{Command, DomainChange, DomainState, HostId, OffReason, Span, WorkloadId};

/// From the end of a management daemon to the answers of the next.
const LIBVIRTD_RESTARTS: Span = Span::millis(1_500);

impl World {
    /// Does a deed; what is the controller's and the operator's is not the world's to do.
    pub(super) fn happen(&mut self, deed: Deed) {
        match deed {
            Deed::Host(deed, host) => self.host_deed(deed, &host),
            Deed::Guest(deed, guest) => self.guest_deed(deed, &guest),
            Deed::Storage(name, state, host) => self.storage_becomes(name, state, host),
            Deed::StorageKeepsUnflushed(name, span) => self.storage_keeps_unflushed(name, span),
            Deed::StoragePowerCut(name) => self.storage_power_cut(&name),
            Deed::SlowBoot(guest, times) => {
                if let Some(guest) = self.guests.get_mut(&guest) {
                    guest.slowness = times;
                }
            }
            Deed::Device(name, state) => {
                if let Some(device) = self.devices.get_mut(&name) {
                    device.state = state;
                }
            }
            Deed::Person(deed) => self.person(deed),
            Deed::StartFails(guest, times, host) => {
                if let Some(guest) = self.guests.get_mut(&guest) {
                    guest.failing_starts.retain(|failing| failing.times > 0 && times > 0);
                    guest.failing_starts.push(FailingStart { host, times });
                }
            }
            Deed::MigrationFails(guest, times) => {
                if let Some(guest) = self.guests.get_mut(&guest) {
                    guest.failing_migrations = times;
                }
            }
            Deed::Link(deed, one, other) => {
                let link = link(&one, &other);
                let _ = if deed == LinkDeed::Cut { self.cut_links.insert(link) } else { self.cut_links.remove(&link) };
            }
            Deed::Bridge(deed, host, bridge) => {
                if let Some(host) = self.hosts.get_mut(&host) {
                    let _ =
                        if deed == BridgeDeed::Gone { host.lacks.insert(bridge) } else { host.lacks.remove(&bridge) };
                }
            }
            Deed::Calls(fault, permille, host) => set(&mut self.call_faults, host, fault, permille),
            Deed::Lists(most, host) => set(&mut self.slow_lists, host, (), most),
            Deed::Weather(kind, amount, host) => set(&mut self.weather, host, kind, amount),
            Deed::Crash(..)
            | Deed::Pause(_)
            | Deed::Rival(..)
            | Deed::ClockJump(..)
            | Deed::StoreBackUp
            | Deed::StorePutBack(_)
            | Deed::Operator(_)
            | Deed::Reload(_) => {}
        }
    }

    fn host_deed(&mut self, deed: HostDeed, name: &HostId) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        host.touched_at = self.now;
        match deed {
            HostDeed::PowerCut => self.power_off(name),
            HostDeed::MainsCut => {
                host.mains = false;
                self.power_off(name);
            }
            HostDeed::MainsBack => host.mains = true,
            HostDeed::PowerOn => {
                self.power_on(name);
            }
            HostDeed::Shutdown | HostDeed::Reboot if host.executes() => {
                self.begin_host_shutdown(name, deed == HostDeed::Reboot);
            }
            HostDeed::Shutdown | HostDeed::Reboot => {}
            HostDeed::NetworkDown | HostDeed::NetworkUp => host.path.cut = deed == HostDeed::NetworkDown,
            HostDeed::AnswersLost | HostDeed::AnswersBack => host.path.answers_lost = deed == HostDeed::AnswersLost,
            HostDeed::RequestsLost | HostDeed::RequestsBack => {
                host.path.requests_lost = deed == HostDeed::RequestsLost;
            }
            HostDeed::ManagementNetworkDown | HostDeed::ManagementNetworkUp => {
                host.path.management_cut = deed == HostDeed::ManagementNetworkDown;
            }
            HostDeed::Freeze => host.frozen = true,
            HostDeed::Hibernate => self.hibernate(name),
            HostDeed::Thaw => {
                host.frozen = false;
                self.work_off(name);
            }
            HostDeed::LibvirtdStop if host.management == Management::Runs => host.management = Management::Stopped,
            HostDeed::LibvirtdContinue if host.management == Management::Stopped => {
                host.management = Management::Runs;
                self.work_off(name);
            }
            HostDeed::LibvirtdKill if host.executes() => {
                host.management = Management::Dead;
                host.backlog.clear();
                self.hang_up(name, "connection reset");
            }
            HostDeed::LibvirtdStart if host.executes() && host.management == Management::Dead => {
                host.management = Management::Runs;
            }
            HostDeed::LibvirtdRestart if host.executes() => {
                self.host_deed(HostDeed::LibvirtdKill, name);
                self.plan(LIBVIRTD_RESTARTS, Planned::Deed(Deed::Host(HostDeed::LibvirtdStart, name.clone())));
            }
            _ => {}
        }
    }

    fn guest_deed(&mut self, deed: GuestDeed, name: &WorkloadId) {
        let now = self.now;
        let Some(guest) = self.guests.get_mut(name) else { return };
        match deed {
            GuestDeed::Damage => guest.disk.damaged = true,
            GuestDeed::BootLoop => guest.disk.loops = true,
            GuestDeed::Mend => (guest.disk.damaged, guest.disk.loops) = (false, false),
            GuestDeed::Lock => guest.locked = true,
            GuestDeed::Unlock => (guest.locked, guest.unlocked_at) = (false, now),
            _ => {}
        }
        let Some(host) = guest.host() else { return };
        let executes = self.hosts.get(&host).is_some_and(|host| host.executes());
        let Some(process) = guest.processes.get_mut(&host) else { return };
        let (running, number) = (process.state() == DomainState::Running, process.number);
        match deed {
            GuestDeed::Kill if executes => self.end_process(name, &host, OffReason::Crashed),
            GuestDeed::Signal if executes && !process.halted => self.end_process(name, &host, OffReason::Signalled),
            GuestDeed::Stop if !process.halted => {
                process.halted = true;
                process.condition_since = now;
                self.truths.push(Truth::Trouble { guest: name.clone(), host, what: "is stopped by a signal" });
            }
            GuestDeed::Continue => process.halted = false,
            GuestDeed::Panic if running && executes => self.panic(name, &host),
            GuestDeed::Hang if running => self.become_(name, &host, Condition::Hung, "hangs"),
            GuestDeed::Deaf if running => self.become_(name, &host, Condition::Deaf, "answers nobody, but works"),
            GuestDeed::Wake if matches!(process.condition, Condition::Hung | Condition::Deaf) => {
                process.become_(Condition::Well, now);
                self.doom_if_damaged(name, &host, number);
            }
            GuestDeed::Damage => self.doom_if_damaged(name, &host, number),
            GuestDeed::Shutdown if executes => self.begin_shutdown(name, &host, true),
            GuestDeed::Reboot | GuestDeed::BootLoop if running && executes => self.reboot(name, &host, number),
            _ => {}
        }
    }

    /// A command that the controller accepted says what a person wants.
    pub fn person_commands(&mut self, command: &Command) {
        match command {
            Command::StopWorkload { workload, .. } => self.wanted_off(workload),
            Command::StartWorkload { workload, .. }
            | Command::RestartWorkload { workload, .. }
            | Command::Revert { workload, .. } => {
                if let Some(guest) = self.guests.get_mut(workload) {
                    guest.stopped_by_person = None;
                }
            }
            _ => {}
        }
    }

    /// The definition goes; a running process goes on without one.
    pub(super) fn undefine(&mut self, guest: &WorkloadId, host: &HostId) {
        let here = |guest: &Guest| guest.processes.contains_key(host) || guest.asleep.contains_key(host);
        let runs = self.guests.get(guest).is_some_and(here);
        let Some(on) = self.hosts.get_mut(host) else { return };
        let known = match runs {
            true => on.domains.get_mut(guest).map(|definition| definition.persistent = false).is_some(),
            false => on.domains.remove(guest).is_some(),
        };
        if let Some(guest) = self.guests.get_mut(guest).filter(|_| !runs) {
            guest.saved_on.remove(host); // as with `--managed-save`
        }
        if known {
            self.push(host, guest, DomainChange::Undefined);
        }
    }

    /// Defines the domain on a host that does not know it yet.
    pub(super) fn define(&mut self, guest: &WorkloadId, host: &HostId) {
        if let Some(on) = self.hosts.get_mut(host)
            && !on.domains.contains_key(guest)
        {
            on.domains.insert(guest.clone(), Definition::new());
            self.push(host, guest, DomainChange::Defined);
        }
    }
}

/// A link by its ends, whichever is named first.
pub(super) fn link(one: &HostId, other: &HostId) -> (HostId, HostId) {
    if one < other { (one.clone(), other.clone()) } else { (other.clone(), one.clone()) }
}

/// So many of a thousand, on one host or everywhere; none everywhere ends it on every host.
fn set<K: Ord>(faults: &mut PerHost<K>, host: Option<HostId>, kind: K, amount: u64) {
    if amount > 0 {
        faults.insert((host, kind), amount);
    } else {
        faults.retain(|(on, of), _| *of != kind || (host.is_some() && *on != host));
    }
}
