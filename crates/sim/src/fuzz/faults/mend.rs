//! What people put right in the end: everything but the guests, which are the controller's to bring back.

use super::{
    CallFault, Deed, DeviceId, DeviceState, GuestDeed, HostDeed, HostId, Span, StorageState, Weather, WorkloadId,
};
use crate::{
    deed::{LinkDeed, PersonDeed},
    fuzz::cluster::Cluster,
};
use mainstay_model::{Command, Time};

pub(super) fn all(cluster: &Cluster, cease: Time, deeds: &mut Vec<(Time, Deed)>) {
    let mut at = |after: u64, deed| deeds.push((cease + Span(after), deed));
    for name in &cluster.hosts {
        let host = HostId::from(name.as_str());
        let mends = [
            HostDeed::MainsBack,
            HostDeed::NetworkUp,
            HostDeed::AnswersBack,
            HostDeed::RequestsBack,
            HostDeed::ManagementNetworkUp,
            HostDeed::Thaw,
            HostDeed::LibvirtdContinue,
            HostDeed::LibvirtdStart,
        ];
        for deed in mends {
            at(0, Deed::Host(deed, host.clone()));
        }
        for other in cluster.hosts.iter().filter(|other| *other > name) {
            at(0, Deed::Link(LinkDeed::Mend, host.clone(), HostId::from(other.as_str())));
        }
        at(30_000, Deed::Host(HostDeed::PowerOn, host.clone()));
        at(180_000, Deed::Host(HostDeed::PowerOn, host.clone()));
        // A host that had hibernated wakes up with the libvirtd that it had, be that stopped or dead.
        for after in [120_000, 270_000] {
            at(after, Deed::Host(HostDeed::LibvirtdContinue, host.clone()));
            at(after, Deed::Host(HostDeed::LibvirtdStart, host.clone()));
        }
        // Twice: a controller that was to die in its next step with orders may do so just then.
        at(60_000, Deed::Operator(Command::Maintenance { host: host.clone(), on: false }));
        at(120_000, Deed::Operator(Command::Maintenance { host, on: false }));
    }
    for name in &cluster.datastores {
        at(0, Deed::Storage(name.clone(), StorageState::Ok, None));
        at(0, Deed::StorageKeepsUnflushed(name.clone(), Span::ZERO));
    }
    for name in &cluster.devices {
        at(0, Deed::Device(DeviceId::from(name.as_str()), DeviceState::Ok));
    }
    for fault in CallFault::ALL {
        at(0, Deed::Calls(*fault, 0, None));
    }
    at(0, Deed::Lists(0, None));
    for weather in Weather::ALL {
        at(0, Deed::Weather(*weather, 0, None));
    }
    for guest in &cluster.guests {
        let name = WorkloadId::from(guest.name.as_str());
        at(0, Deed::Guest(GuestDeed::Mend, name.clone()));
        at(0, Deed::Guest(GuestDeed::Unlock, name.clone()));
        at(0, Deed::SlowBoot(name.clone(), 1));
        at(0, Deed::StartFails(name.clone(), 0, None));
        at(0, Deed::MigrationFails(name.clone(), 0));
        at(1_000, Deed::Person(PersonDeed::Resume(name.clone())));
        at(60_000, Deed::Operator(Command::Protect { workload: name.clone() }));
        at(120_000, Deed::Operator(Command::Protect { workload: name.clone() }));
        if !guest.probed {
            at(1_000, Deed::Guest(GuestDeed::Continue, name.clone()));
            at(1_000, Deed::Guest(GuestDeed::Wake, name));
        }
    }
}
