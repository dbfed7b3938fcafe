//! Faults of hosts, of the ways between them and the controller, and of several at once.

use super::{Deed, DeviceState, Draw, HostDeed, HostId, Kind};
use crate::deed::LinkDeed;
use mainstay_model::{Command, DeviceId, Span};

impl Draw<'_> {
    pub(super) fn on_host(&mut self, kind: Kind, host: HostId) {
        let (first, second) = match kind {
            Kind::Power => (HostDeed::PowerCut, HostDeed::PowerOn),
            Kind::Mains => {
                self.deeds.push((self.until + Span(1), Deed::Host(HostDeed::PowerOn, host.clone())));
                (HostDeed::MainsCut, HostDeed::MainsBack)
            }
            Kind::Network => (HostDeed::NetworkDown, HostDeed::NetworkUp),
            Kind::Freeze => (HostDeed::Freeze, HostDeed::Thaw),
            Kind::Management if self.random.chance(500) => (HostDeed::LibvirtdStop, HostDeed::LibvirtdContinue),
            Kind::Management if self.random.chance(300) => {
                return self.now(Deed::Host(HostDeed::LibvirtdRestart, host));
            }
            Kind::Management => (HostDeed::LibvirtdKill, HostDeed::LibvirtdStart),
            Kind::HostOwner if self.random.chance(500) => return self.now(Deed::Host(HostDeed::Reboot, host)),
            _ => (HostDeed::Shutdown, HostDeed::PowerOn),
        };
        self.pair(Deed::Host(first, host.clone()), Deed::Host(second, host));
    }

    /// One direction is lost, or the management network only.
    pub(super) fn one_way(&mut self) {
        let (first, second) = self.one_of(&[
            (HostDeed::AnswersLost, HostDeed::AnswersBack),
            (HostDeed::RequestsLost, HostDeed::RequestsBack),
            (HostDeed::ManagementNetworkDown, HostDeed::ManagementNetworkUp),
        ]);
        let host = self.host();
        self.pair(Deed::Host(first, host.clone()), Deed::Host(second, host));
    }

    /// Two hosts don't reach each other, and something is to go from one to the other meanwhile.
    pub(super) fn links(&mut self) {
        let (one, other) = (self.host(), self.host());
        self.pair(
            Deed::Link(LinkDeed::Cut, one.clone(), other.clone()),
            Deed::Link(LinkDeed::Mend, one.clone(), other.clone()),
        );
        self.at = self.within();
        if self.random.chance(500) {
            self.pair(maintenance(&one, true), maintenance(&one, false));
        } else {
            let workload = self.guest();
            self.now(Deed::Operator(Command::MoveWorkload { workload, to: Some(other), cold: false }));
        }
    }

    /// One cause, several hosts: a switch that takes the hosts' boards with it, a rack without power.
    pub(super) fn together(&mut self) {
        let kind = self.one_of(&[Kind::Network, Kind::Network, Kind::Power, Kind::Mains, Kind::Freeze]);
        let share = self.random.between(300, 1_000);
        let boards = kind == Kind::Network && self.random.chance(500);
        for name in self.cluster.hosts.clone() {
            if !self.random.chance(share) {
                continue;
            }
            let board = DeviceId::from(format!("bmc-{name}"));
            if boards && self.cluster.devices.iter().any(|device| device.as_str() == board.as_str()) {
                self.pair(Deed::Device(board.clone(), DeviceState::Dead), Deed::Device(board, DeviceState::Ok));
            }
            self.on_host(kind, HostId::from(name));
        }
    }
}

fn maintenance(host: &HostId, on: bool) -> Deed {
    Deed::Operator(Command::Maintenance { host: host.clone(), on })
}
