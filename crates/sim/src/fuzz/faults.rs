//! Draws what goes wrong. Swarm testing: each seed allows a random subset of the kinds of fault, with random intensity, so
//! that seeds differ in kind and not only in order.

use super::cluster::{Cluster, Drawn};
use crate::{
    deed::{CallFault, CrashPoint, Deed, DeviceState, GuestDeed, HostDeed, PersonDeed, StorageState, Weather},
    random::Stream,
};
use mainstay_model::{Command, DeviceId, HostId, Span, StopHow, Time, WorkloadId};
use std::collections::BTreeSet;

/// Kinds of fault that a seed may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Power,
    Mains,
    Network,
    Freeze,
    Management,
    HostOwner,
    GuestDeath,
    GuestHang,
    GuestDamage,
    GuestOwner,
    Storage,
    Devices,
    People,
    Operators,
    Starts,
    Calls,
    Facts,
    Controller,
}

const KINDS: [Kind; 18] = [
    Kind::Power,
    Kind::Mains,
    Kind::Network,
    Kind::Freeze,
    Kind::Management,
    Kind::HostOwner,
    Kind::GuestDeath,
    Kind::GuestHang,
    Kind::GuestDamage,
    Kind::GuestOwner,
    Kind::Storage,
    Kind::Devices,
    Kind::People,
    Kind::Operators,
    Kind::Starts,
    Kind::Calls,
    Kind::Facts,
    Kind::Controller,
];

/// Nothing goes wrong before everything has been seen once.
const BEGIN_MS: u64 = 30_000;

/// Deeds of a seed, each with its mending, all before `cease`; then everything is mended that a person would mend.
pub(super) fn draw(seed: u64, cluster: &Cluster, cease: Time) -> Vec<(Time, Deed)> {
    let mut random = Stream::new(seed, "draw/swarm");
    let density = random.between(100, 600);
    let kinds: Vec<Kind> = KINDS.into_iter().filter(|_| random.chance(density)).collect();
    let count = random.between(2, 25);
    let mut deeds = Vec::new();
    for number in 0..count {
        let mut one = Stream::new(seed, &format!("draw/fault/{number}"));
        let at = Time(one.between(BEGIN_MS, cease.0 - 1_000));
        let until = Time((at.0 + lasts(&mut one)).min(cease.0));
        if let Some(kind) = one.pick(&kinds).copied() {
            fault(kind, &mut one, cluster, at, until, &mut deeds);
        }
    }
    mend(cluster, cease, &mut deeds);
    deeds.sort_by_key(|(at, _)| *at);
    deeds
}

/// Names of the kinds of deed among these, for coverage.
pub(super) fn verbs(deeds: &[(Time, Deed)]) -> BTreeSet<String> {
    let verb = |deed: &Deed| {
        let text = deed.to_string();
        let mut words = text.split(' ');
        let first = words.next().unwrap_or_default().to_owned();
        match first.as_str() {
            "virsh" | "operator" | "calls" | "weather" => format!("{first} {}", words.next().unwrap_or_default()),
            "storage" | "fence-device" => format!("{first} {}", words.nth(1).unwrap_or_default()),
            _ => first,
        }
    };
    deeds.iter().map(|(_, deed)| verb(deed)).collect()
}

/// Most faults are short, some are long.
fn lasts(random: &mut Stream) -> u64 {
    match random.between(0, 9) {
        0..=4 => random.between(200, 8_000),
        5..=7 => random.between(8_000, 60_000),
        _ => random.between(60_000, 300_000),
    }
}

fn fault(kind: Kind, random: &mut Stream, cluster: &Cluster, at: Time, until: Time, deeds: &mut Vec<(Time, Deed)>) {
    let host = HostId::from(random.pick(&cluster.hosts).cloned().unwrap_or_default());
    let other = HostId::from(random.pick(&cluster.hosts).cloned().unwrap_or_default());
    let Some(Drawn { name, probed }) = random.pick(&cluster.guests).cloned() else { return };
    let guest = WorkloadId::from(name);
    let on_host = |deed| Deed::Host(deed, host.clone());
    let on_guest = |deed| Deed::Guest(deed, guest.clone());
    let mut pair = |first: Deed, second: Deed| deeds.extend([(at, first), (until, second)]);
    match kind {
        Kind::Power => pair(on_host(HostDeed::PowerCut), on_host(HostDeed::PowerOn)),
        Kind::Mains => {
            pair(on_host(HostDeed::MainsCut), on_host(HostDeed::MainsBack));
            deeds.push((until + Span(1), on_host(HostDeed::PowerOn)));
        }
        Kind::Network => pair(on_host(HostDeed::NetworkDown), on_host(HostDeed::NetworkUp)),
        Kind::Freeze => pair(on_host(HostDeed::Freeze), on_host(HostDeed::Thaw)),
        Kind::Management if random.chance(500) => {
            pair(on_host(HostDeed::LibvirtdStop), on_host(HostDeed::LibvirtdContinue));
        }
        Kind::Management => pair(on_host(HostDeed::LibvirtdKill), on_host(HostDeed::LibvirtdStart)),
        Kind::HostOwner if random.chance(500) => deeds.push((at, on_host(HostDeed::Reboot))),
        Kind::HostOwner => pair(on_host(HostDeed::Shutdown), on_host(HostDeed::PowerOn)),
        Kind::GuestDeath => {
            let deaths = [GuestDeed::Kill, GuestDeed::Signal, GuestDeed::Panic, GuestDeed::Kill];
            deeds.push((at, on_guest(random.pick(&deaths).copied().unwrap_or(GuestDeed::Kill))));
        }
        Kind::GuestHang if !probed => pair(on_guest(GuestDeed::Hang), on_guest(GuestDeed::Wake)),
        Kind::GuestHang => match random.between(0, 3) {
            0 => deeds.push((at, on_guest(GuestDeed::Hang))),
            1 => deeds.push((at, on_guest(GuestDeed::Stop))),
            2 => pair(on_guest(GuestDeed::Stop), on_guest(GuestDeed::Continue)),
            _ => pair(on_guest(GuestDeed::Deaf), on_guest(GuestDeed::Wake)),
        },
        Kind::GuestDamage => pair(on_guest(GuestDeed::Damage), on_guest(GuestDeed::Mend)),
        Kind::GuestOwner => {
            let deed = if random.chance(500) { GuestDeed::Shutdown } else { GuestDeed::Reboot };
            deeds.push((at, on_guest(deed)));
        }
        Kind::Storage => {
            let states = [StorageState::Slow, StorageState::Hang, StorageState::IoError, StorageState::Full];
            let state = random.pick(&states).copied().unwrap_or(StorageState::Hang);
            let name = random.pick(&cluster.datastores).cloned().unwrap_or_default();
            pair(Deed::Storage(name.clone(), state), Deed::Storage(name, StorageState::Ok));
        }
        Kind::Devices => {
            let states = [DeviceState::Slow, DeviceState::Fails, DeviceState::Dead, DeviceState::Hangs];
            let state = random.pick(&states).copied().unwrap_or(DeviceState::Dead);
            if let Some(device) = random.pick(&cluster.devices).map(DeviceId::new) {
                pair(Deed::Device(device.clone(), state), Deed::Device(device, DeviceState::Ok));
            }
        }
        Kind::People => {
            let deed = match random.between(0, 7) {
                0 => PersonDeed::Destroy(guest),
                1 => PersonDeed::Shutdown(guest),
                2 => PersonDeed::Start(guest, host),
                3 => {
                    deeds.push((until, Deed::Person(PersonDeed::Resume(guest.clone()))));
                    PersonDeed::Suspend(guest)
                }
                4 => PersonDeed::Migrate(guest, host),
                5 => PersonDeed::Autostart(guest, host, random.chance(500)),
                6 => PersonDeed::SnapshotDelete(guest, None),
                _ => PersonDeed::Undefine(guest, host),
            };
            deeds.push((at, Deed::Person(deed)));
        }
        Kind::Operators => operator(random, at, until, host, other, guest, deeds),
        Kind::Starts if random.chance(700) => {
            let times = u32::try_from(random.between(1, 3)).unwrap_or(1);
            deeds.push((at, Deed::StartFails(guest, times, random.chance(500).then_some(host))));
        }
        Kind::Starts => deeds.push((at, Deed::MigrationFails(guest, 1))),
        Kind::Calls => {
            let fault = random.pick(CallFault::ALL).copied().unwrap_or(CallFault::Fail);
            pair(Deed::Calls(fault, random.between(50, 500)), Deed::Calls(fault, 0));
        }
        Kind::Facts => {
            let weather = random.pick(Weather::ALL).copied().unwrap_or(Weather::Drop);
            let amount = if weather == Weather::Delay { random.between(50, 1_500) } else { random.between(20, 300) };
            pair(Deed::Weather(weather, amount), Deed::Weather(weather, 0));
        }
        Kind::Controller => {
            let point = random.pick(CrashPoint::ALL).copied().unwrap_or(CrashPoint::Now);
            deeds.push((at, Deed::Crash(point, Span(random.between(100, 30_000)))));
        }
    }
}

fn operator(
    random: &mut Stream,
    at: Time,
    until: Time,
    host: HostId,
    other: HostId,
    workload: WorkloadId,
    deeds: &mut Vec<(Time, Deed)>,
) {
    let how = if random.chance(500) { StopHow::Graceful } else { StopHow::Force };
    let to = random.chance(500).then_some(other);
    let command = match random.between(0, 8) {
        0 => {
            deeds.push((until, Deed::Operator(Command::Maintenance { host: host.clone(), on: false })));
            Command::Maintenance { host, on: true }
        }
        1 => Command::FenceHost { host },
        2 => Command::StartWorkload { workload, host: to },
        3 => Command::StopWorkload { workload, how, within: random.chance(300).then_some(Span::secs(20)) },
        4 => Command::RestartWorkload { workload, how },
        5 => {
            let cold = to.is_some() && random.chance(300);
            Command::MoveWorkload { workload, to, cold }
        }
        6 => {
            deeds.push((until, Deed::Operator(Command::Protect { workload: workload.clone() })));
            Command::Unprotect { workload }
        }
        7 => Command::TakePoint { workload, name: None },
        _ => Command::Revert { workload, point: None },
    };
    deeds.push((at, Deed::Operator(command)));
}

/// What people put right in the end: everything but the guests, which are the controller's to bring back.
fn mend(cluster: &Cluster, cease: Time, deeds: &mut Vec<(Time, Deed)>) {
    let mut at = |after: u64, deed| deeds.push((cease + Span(after), deed));
    for name in &cluster.hosts {
        let host = HostId::from(name.as_str());
        let mends = [
            HostDeed::MainsBack,
            HostDeed::NetworkUp,
            HostDeed::Thaw,
            HostDeed::LibvirtdContinue,
            HostDeed::LibvirtdStart,
        ];
        for deed in mends {
            at(0, Deed::Host(deed, host.clone()));
        }
        at(30_000, Deed::Host(HostDeed::PowerOn, host.clone()));
        at(180_000, Deed::Host(HostDeed::PowerOn, host.clone()));
        at(60_000, Deed::Operator(Command::Maintenance { host, on: false }));
    }
    for name in &cluster.datastores {
        at(0, Deed::Storage(name.clone(), StorageState::Ok));
    }
    for name in &cluster.devices {
        at(0, Deed::Device(DeviceId::from(name.as_str()), DeviceState::Ok));
    }
    for fault in CallFault::ALL {
        at(0, Deed::Calls(*fault, 0));
    }
    for weather in Weather::ALL {
        at(0, Deed::Weather(*weather, 0));
    }
    for guest in &cluster.guests {
        let name = WorkloadId::from(guest.name.as_str());
        at(0, Deed::Guest(GuestDeed::Mend, name.clone()));
        at(0, Deed::StartFails(name.clone(), 0, None));
        at(1_000, Deed::Person(PersonDeed::Resume(name.clone())));
        at(60_000, Deed::Operator(Command::Protect { workload: name.clone() }));
        if !guest.probed {
            at(1_000, Deed::Guest(GuestDeed::Continue, name.clone()));
            at(1_000, Deed::Guest(GuestDeed::Wake, name));
        }
    }
}
