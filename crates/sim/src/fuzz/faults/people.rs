//! What people do: with `virsh` behind the controller's back, and as its operators.

use super::{Deed, Draw, Span, Time};
use crate::deed::PersonDeed;
use mainstay_model::{Command, StopHow};

impl Draw<'_> {
    pub(super) fn people(&mut self) {
        let (guest, host) = (self.guest(), self.host());
        let deed = match self.random.between(0, 7) {
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
            2 => Command::StartWorkload { workload, host: to },
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

    /// A moment while the fault lasts.
    pub(super) fn within(&mut self) -> Time {
        Time(self.random.between(self.at.0, self.until.0))
    }
}
