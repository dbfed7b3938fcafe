//! What people do: with `virsh` behind the controller's back, and as its operators.

use super::{Deed, Draw, Span, Time};
use crate::deed::{PersonDeed, Reload};
use mainstay_model::{Command, StopHow, WorkloadId};

impl Draw<'_> {
    pub(super) fn people(&mut self) {
        let (guest, host) = (self.guest(), self.host());
        let deed = match self.random.between(0, 11) {
            0 => PersonDeed::Destroy(guest),
            1 => PersonDeed::Shutdown(guest),
            2 => PersonDeed::Start(guest, host),
            3 => {
                self.then(Deed::Person(PersonDeed::Resume(guest.clone())));
                PersonDeed::Suspend(guest)
            }
            4 => PersonDeed::Migrate(guest, host),
            5 => PersonDeed::Autostart(guest, host, self.random.chance(500)),
            6 => PersonDeed::SnapshotDelete(guest, None),
            7 => PersonDeed::SnapshotCreate(guest, "by-hand".into()),
            8 => {
                // Only what is off can be renamed; most start it again under its new name.
                let (renamed, later) = (WorkloadId::from(format!("{guest}-renamed")), self.at + Span::secs(6));
                self.deeds.push((later, Deed::Person(PersonDeed::Rename(guest.clone(), renamed.clone()))));
                self.then(Deed::Person(PersonDeed::Start(renamed, host)));
                PersonDeed::Shutdown(guest)
            }
            9 => {
                let later = self.at + Span::secs(6);
                self.deeds.push((later, Deed::Person(PersonDeed::Redefine(guest.clone(), host))));
                PersonDeed::Shutdown(guest)
            }
            10 => {
                self.then(Deed::Person(PersonDeed::UndefineNamesake(guest.clone(), host.clone())));
                PersonDeed::DefineNamesake(guest, host)
            }
            _ => PersonDeed::Undefine(guest, host),
        };
        self.now(Deed::Person(deed));
    }

    pub(super) fn operators(&mut self) {
        let (host, workload) = (self.host(), self.guest());
        let how = self.one_of(&[StopHow::Graceful, StopHow::Force]);
        let to = self.anywhere();
        let command = match self.random.between(0, 8) {
            0 => {
                self.then(Deed::Operator(Command::Maintenance { host: host.clone(), on: false }));
                Command::Maintenance { host, on: true }
            }
            1 => Command::FenceHost { host },
            2 => Command::StartWorkload { workload, host: to, leave_state: false },
            3 => {
                let within = self.random.chance(300).then_some(Span::secs(20));
                Command::StopWorkload { workload, how, within }
            }
            4 => Command::RestartWorkload { workload, how },
            5 => {
                let cold = to.is_some() && self.random.chance(300);
                Command::MoveWorkload { workload, to, cold }
            }
            6 => {
                self.then(Deed::Operator(Command::Protect { workload: workload.clone() }));
                Command::Unprotect { workload }
            }
            7 => Command::TakePoint { workload, name: None },
            _ => Command::Revert { workload, point: None },
        };
        self.now(Deed::Operator(command));
    }

    /// Somebody edits the configuration, and takes it back.
    pub(super) fn reloads(&mut self) {
        let (host, guest) = (self.host(), self.guest());
        let number = self.random.between(1, 5);
        let change = match self.random.between(0, 14) {
            0 => format!("limits = {{ starts_per_host = {number}, migrations_per_host = 1, fencings = {number} }}"),
            1 => format!("site.lab.host.{host}.spare = true"),
            2 => format!("site.lab.host.{host}.fence = []"),
            3 => format!("site.lab.host.{host}.revive = {{ within = \"{number}0s\", after_fence = \"leave-off\" }}"),
            4 => format!("detection = {{ host_lost_floor = \"{number}s\", host_lost_after = \"{}s\" }}", number + 3),
            5 => "apart = [{ match = \"web-*\", strength = \"preferred\" }]".to_owned(),
            6 => "together = [{ match = \"db-*\", strength = \"preferred\" }]".to_owned(),
            7 => format!("vm = [{{ match = \"{guest}\", priority = {number}00, on_person_stop = \"power-on\" }}]"),
            8 => format!("vm = [{{ match = \"{guest}\", probe = {{}} }}]"),
            9 => format!("recovery = [{{ match = \"{guest}\", ladder = [\"restart x{number}\", \"alarm\"] }}]"),
            10 => format!("protection = [{{ match = \"*\", every = \"{number}0s\", keep = {{ last = 1 }} }}]"),
            11 => format!("vm = [{{ match = \"{guest}\", manage = \"watch-only\" }}]"),
            12 => return self.reload_for_a_while(Reload::Refused),
            // What a rule names must be there.
            13 if !self.cluster.setup.contains(&format!("{{ {host} = ")) => {
                return self.reload_for_a_while(Reload::Without(format!("site.lab.host.{host}")));
            }
            _ => return self.reload_for_a_while(Reload::Without("vm".to_owned())),
        };
        self.reload_for_a_while(Reload::With(change));
    }

    fn reload_for_a_while(&mut self, reload: Reload) {
        self.pair(Deed::Reload(reload), Deed::Reload(Reload::File("setup.toml".to_owned())));
    }

    /// A moment while the fault lasts.
    pub(super) fn within(&mut self) -> Time {
        Time(self.random.between(self.at.0, self.until.0))
    }
}
