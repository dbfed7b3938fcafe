//! Draws what goes wrong. Swarm testing: each seed allows a random subset of the kinds of fault, with random intensity, so
//! that seeds differ in kind and not only in order.

mod guests;
mod hosts;
mod mend;
mod people;

use super::{
    Profile,
    cluster::{Cluster, Drawn},
};
use crate::{
    deed::{CallFault, ClockJump, CrashPoint, Deed, DeviceState, GuestDeed, HostDeed, StorageState, Weather},
    random::Stream,
};
use mainstay_model::{Command, DeviceId, HostId, Span, Time, WorkloadId};
use std::collections::BTreeSet;

/// Kinds of fault that a seed may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Power,
    Mains,
    Network,
    OneWay,
    Links,
    Together,
    Freeze,
    Management,
    HostOwner,
    GuestDeath,
    GuestHang,
    GuestLock,
    GuestDamage,
    GuestBoot,
    GuestOwner,
    Storage,
    Unflushed,
    Devices,
    People,
    Operators,
    Reloads,
    Starts,
    Calls,
    Facts,
    Controller,
    Clock,
    Lists,
    Late,
}

/// Drawn from a stream of their own, so that seeds from before they were there are the same runs with something more.
const LATER_KINDS: [Kind; 2] = [Kind::Lists, Kind::Late];

const KINDS: [Kind; 26] = [
    Kind::Power,
    Kind::Mains,
    Kind::Network,
    Kind::OneWay,
    Kind::Links,
    Kind::Together,
    Kind::Freeze,
    Kind::Management,
    Kind::HostOwner,
    Kind::GuestDeath,
    Kind::GuestHang,
    Kind::GuestLock,
    Kind::GuestDamage,
    Kind::GuestBoot,
    Kind::GuestOwner,
    Kind::Storage,
    Kind::Unflushed,
    Kind::Devices,
    Kind::People,
    Kind::Operators,
    Kind::Reloads,
    Kind::Starts,
    Kind::Calls,
    Kind::Facts,
    Kind::Controller,
    Kind::Clock,
];

impl Kind {
    /// What profiles are about.
    pub const OF_CONTROLLER: &[Kind] = &[Kind::Controller, Kind::Reloads, Kind::Power, Kind::GuestDeath];
    pub const OF_STORAGE: &[Kind] = &[Kind::Storage, Kind::Unflushed, Kind::GuestDamage, Kind::Starts];
    pub const OF_NETWORK: &[Kind] = &[
        Kind::Network,
        Kind::OneWay,
        Kind::Links,
        Kind::Together,
        Kind::Management,
        Kind::Calls,
        Kind::Facts,
        Kind::Lists,
        Kind::Late,
    ];
    pub const OF_PEOPLE: &[Kind] = &[Kind::People, Kind::Operators, Kind::Reloads, Kind::GuestOwner, Kind::HostOwner];
}

/// The rest of the call faults belongs to a kind of its own.
const CALL_FAULTS: usize = 4;

/// Nothing goes wrong before everything has been seen once.
const BEGIN_MS: u64 = 30_000;

/// Deeds of a seed, each with its mending, all before `cease`; then everything is mended that a person would mend.
pub(super) fn draw(seed: u64, cluster: &Cluster, cease: Time, profile: &Profile) -> Vec<(Time, Deed)> {
    let mut random = Stream::new(seed, "draw/swarm");
    let (least, most) = profile.density();
    let density = random.between(least, most);
    let kinds: Vec<Kind> = KINDS.into_iter().filter(|kind| random.chance(profile.chance(*kind, density))).collect();
    let count = random.between(profile.faults.0, profile.faults.1);
    let mut deeds = Vec::new();
    for number in 0..count {
        let mut random = Stream::new(seed, &format!("draw/fault/{number}"));
        let at = Time(random.between(BEGIN_MS, cease.0 - 1_000));
        let until = Time((at.0 + lasts(&mut random)).min(cease.0));
        if let Some(kind) = random.pick(&kinds).copied() {
            Draw { cluster, random, at, until, deeds: &mut deeds }.fault(kind);
        }
    }
    put_back(seed, cluster, cease, profile, &mut deeds);
    later_kinds(seed, density, cluster, cease, profile, &mut deeds);
    boards(seed, cluster, cease, &mut deeds);
    hibernates(seed, cluster, cease, profile, &mut deeds);
    deeds.iter_mut().for_each(|(at, deed)| ends_by(*at, deed, cease));
    mend::all(cluster, cease, &mut deeds);
    deeds.sort_by_key(|(at, _)| *at);
    deeds
}

/// A controller that is away is a fault as any other: it is back when faults cease. (One that another took over from may sleep on.)
fn ends_by(at: Time, deed: &mut Deed, cease: Time) {
    let (Deed::Pause(span) | Deed::Crash(_, span) | Deed::StorePutBack(span)) = deed else { return };
    *span = (*span).min(cease.since(at).max(Span(1)));
}

/// In some seeds the controller's memory is put back from a backup, after something moved, and often while a host can't be
/// asked. A stream of its own, so that other seeds stay what they are.
fn put_back(seed: u64, cluster: &Cluster, cease: Time, profile: &Profile, deeds: &mut Vec<(Time, Deed)>) {
    let mut random = Stream::new(seed, "draw/put-back");
    let often = if profile.name() == "controller" { 200 } else { 50 };
    if !random.chance(often) {
        return;
    }
    let copied = random.between(BEGIN_MS, cease.0 * 2 / 3);
    let put_back = random.between(copied + 1_000, cease.0 - 1_000);
    let (at, until) = (Time(random.between(copied, put_back)), Time(put_back));
    let mut draw = Draw { cluster, random, at, until, deeds };
    let moves = draw.one_of(&[Kind::Power, Kind::Network, Kind::People, Kind::Operators, Kind::GuestOwner]);
    draw.fault(moves);
    if draw.random.chance(500) {
        let (guest, to) = (draw.guest(), draw.host());
        draw.now(Deed::Operator(Command::MoveWorkload { workload: guest, to: Some(to), cold: false }));
    }
    if draw.random.chance(600) {
        let (host, lasts) = (draw.host(), draw.random.between(10_000, 200_000));
        let (from, until) = (Time(put_back.saturating_sub(500)), Time((put_back + lasts).min(cease.0)));
        draw.deeds.push((from, Deed::Host(HostDeed::NetworkDown, host.clone())));
        draw.deeds.push((until, Deed::Host(HostDeed::NetworkUp, host)));
    }
    let down_for = Span(draw.random.between(100, 30_000));
    draw.deeds.push((Time(copied), Deed::StoreBackUp));
    draw.deeds.push((Time(put_back), Deed::StorePutBack(down_for)));
    // The operator answers as soon as the hosts have told; if they have not, once more.
    for after in [150, 270, 390] {
        draw.deeds.push((cease + Span::secs(after), Deed::Operator(Command::AcceptMemory { start: true })));
    }
}

fn later_kinds(
    seed: u64,
    density: u64,
    cluster: &Cluster,
    cease: Time,
    profile: &Profile,
    deeds: &mut Vec<(Time, Deed)>,
) {
    let mut random = Stream::new(seed, "draw/swarm/later");
    for kind in LATER_KINDS {
        let times = if random.chance(profile.chance(kind, density)) { random.between(1, 3) } else { 0 };
        for number in 0..times {
            let mut random = Stream::new(seed, &format!("draw/fault/{kind:?}/{number}"));
            let at = Time(random.between(BEGIN_MS, cease.0 - 1_000));
            let until = Time((at.0 + lasts(&mut random)).min(cease.0));
            Draw { cluster, random, at, until, deeds }.fault(kind);
        }
    }
}

/// In some seeds a fence device is early or confused, or cannot be asked, while what it feeds fails. A stream of its own, so that
/// other seeds stay what they are.
fn boards(seed: u64, cluster: &Cluster, cease: Time, deeds: &mut Vec<(Time, Deed)>) {
    let mut random = Stream::new(seed, "draw/boards");
    let device = random.pick(&cluster.devices).cloned().filter(|_| random.chance(120));
    let Some(device) = device else { return };
    let at = Time(random.between(BEGIN_MS, cease.0 - 1_000));
    let until = Time((at.0 + lasts(&mut random)).min(cease.0));
    let mut draw = Draw { cluster, random, at, until, deeds };
    let states = [DeviceState::Early, DeviceState::Confused, DeviceState::Starved];
    let (name, state) = (DeviceId::from(device.as_str()), draw.one_of(&states));
    draw.pair(Deed::Device(name.clone(), state), Deed::Device(name, DeviceState::Ok));
    let host = device.strip_prefix("bmc-").map_or_else(|| draw.host(), HostId::from);
    let kind = draw.one_of(&[Kind::Network, Kind::Freeze, Kind::Power]);
    draw.on_host(kind, host);
}

/// In a few seeds a host hibernates and is switched on again; in half of those its fence devices are dead until then, so that it is not
/// proved off and its guests are to be found running, or for some seconds, so that it is not fenced before it is off. A stream of its own, so that other seeds stay what they are.
fn hibernates(seed: u64, cluster: &Cluster, cease: Time, profile: &Profile, deeds: &mut Vec<(Time, Deed)>) {
    let mut random = Stream::new(seed, "draw/hibernates");
    let seldom = if ["default", "storm", "people"].contains(&profile.name()) { 40 } else { 0 };
    if !random.chance(seldom) {
        return;
    }
    let at = Time(random.between(BEGIN_MS, cease.0 - 1_000));
    let until = Time((at.0 + lasts(&mut random)).min(cease.0));
    let mut draw = Draw { cluster, random, at, until, deeds };
    let host = draw.host();
    if draw.random.chance(500) {
        let names = [format!("bmc-{host}"), "pdu".to_owned()];
        let soon = draw.at + Span(draw.random.between(4_000, 20_000));
        let back = if draw.random.chance(500) { soon.min(cease) } else { until };
        for device in cluster.devices.iter().filter(|device| names.contains(device)) {
            let device = DeviceId::from(device.as_str());
            draw.now(Deed::Device(device.clone(), DeviceState::Dead));
            draw.deeds.push((back, Deed::Device(device, DeviceState::Ok)));
        }
    }
    draw.pair(Deed::Host(HostDeed::Hibernate, host.clone()), Deed::Host(HostDeed::PowerOn, host));
}

/// Names of the kinds of deed among these, for coverage; what is mended for all in the end does not count.
pub(super) fn verbs(deeds: &[(Time, Deed)], cease: Time) -> BTreeSet<String> {
    let verb = |deed: &Deed| {
        let text = deed.to_string();
        let mut words = text.split(' ');
        let first = words.next().unwrap_or_default().to_owned();
        match first.as_str() {
            "virsh" | "operator" | "calls" | "weather" | "reload" => {
                format!("{first} {}", words.next().unwrap_or_default())
            }
            "storage" | "fence-device" => format!("{first} {}", words.nth(1).unwrap_or_default()),
            _ => first,
        }
    };
    deeds.iter().filter(|(at, _)| *at < cease).map(|(_, deed)| verb(deed)).collect()
}

/// Most faults are short, some are long.
fn lasts(random: &mut Stream) -> u64 {
    match random.between(0, 9) {
        0..=4 => random.between(200, 8_000),
        5..=7 => random.between(8_000, 60_000),
        _ => random.between(60_000, 300_000),
    }
}

/// One fault being drawn, with its own stream of chance.
struct Draw<'a> {
    cluster: &'a Cluster,
    random: Stream,
    at: Time,
    until: Time,
    deeds: &'a mut Vec<(Time, Deed)>,
}

impl Draw<'_> {
    fn fault(&mut self, kind: Kind) {
        match kind {
            Kind::Power | Kind::Mains | Kind::Network | Kind::Freeze | Kind::Management | Kind::HostOwner => {
                let host = self.host();
                self.on_host(kind, host);
            }
            Kind::OneWay => self.one_way(),
            Kind::Links => self.links(),
            Kind::Together => self.together(),
            Kind::GuestDeath
            | Kind::GuestHang
            | Kind::GuestLock
            | Kind::GuestDamage
            | Kind::GuestBoot
            | Kind::GuestOwner => self.on_guest(kind),
            Kind::Storage => self.storage(),
            Kind::Unflushed => self.unflushed(),
            Kind::Devices => self.devices(),
            Kind::People => self.people(),
            Kind::Operators => self.operators(),
            Kind::Reloads => self.reloads(),
            Kind::Starts => self.starts(),
            Kind::Lists => {
                let (most, host) = (self.random.between(500, 8_000), self.anywhere());
                self.pair(Deed::Lists(most, host.clone()), Deed::Lists(0, host));
            }
            Kind::Late => {
                let host = self.host();
                let on = Some(host.clone());
                self.pair(Deed::Calls(CallFault::Late, 700, on.clone()), Deed::Calls(CallFault::Late, 0, on));
                self.at = self.within();
                self.until =
                    Time((self.at.0 + self.random.between(1_000, 90_000)).min(self.until.0.max(self.at.0 + 1)));
                let guest = self.guest();
                self.now(Deed::Guest(GuestDeed::Kill, guest));
                self.on_host(Kind::Network, host);
            }
            Kind::Calls => {
                let known = CallFault::ALL.get(..CALL_FAULTS).unwrap_or(CallFault::ALL);
                let (fault, host) = (self.one_of(known), self.anywhere());
                let permille = self.random.between(50, 500);
                self.pair(Deed::Calls(fault, permille, host.clone()), Deed::Calls(fault, 0, host));
            }
            Kind::Facts => {
                let (weather, host) = (self.one_of(Weather::ALL), self.anywhere());
                let (low, high) = if weather == Weather::Delay { (50, 1_500) } else { (20, 300) };
                let amount = self.random.between(low, high);
                self.pair(Deed::Weather(weather, amount, host.clone()), Deed::Weather(weather, 0, host));
            }
            Kind::Controller => self.controller(),
            Kind::Clock => self.clock(),
        }
    }

    /// It dies, stands still, or is overtaken; often while it has its hands full.
    fn controller(&mut self) {
        if self.random.chance(700) {
            let busy = self.one_of(&[Kind::GuestDeath, Kind::GuestDeath, Kind::Power, Kind::Network, Kind::Operators]);
            self.fault(busy);
            self.at = self.at + Span(self.random.between(0, 10_000));
        }
        let point = self.one_of(CrashPoint::ALL);
        let deed = match self.random.between(0, 5) {
            0 => Deed::Pause(Span(self.random.between(3_000, 240_000))),
            1 | 2 => Deed::Rival(point, Span(self.random.between(1_000, 240_000))),
            _ => Deed::Crash(point, Span(self.random.between(100, 30_000))),
        };
        self.now(deed);
    }

    /// Somebody sets the wall clock of the controller's machine; it is asked only when a controller begins.
    fn clock(&mut self) {
        let way = self.one_of(ClockJump::ALL);
        let span = self.one_of(&[Span::secs(30), Span::minutes(10), Span::hours(1), Span::hours(30)]);
        self.now(Deed::ClockJump(way, span));
        self.at = self.within();
        self.controller();
    }

    /// It happens now.
    fn now(&mut self, deed: Deed) {
        self.deeds.push((self.at, deed));
    }

    /// It happens when the fault ends.
    fn then(&mut self, deed: Deed) {
        self.deeds.push((self.until, deed));
    }

    fn pair(&mut self, first: Deed, second: Deed) {
        self.now(first);
        self.then(second);
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        *self.random.pick(choices).expect("drawn from lists that are not empty")
    }

    fn host(&mut self) -> HostId {
        HostId::from(self.random.pick(&self.cluster.hosts).cloned().unwrap_or_default())
    }

    /// One host, or everywhere.
    fn anywhere(&mut self) -> Option<HostId> {
        let host = self.host();
        self.random.chance(500).then_some(host)
    }

    fn drawn_guest(&mut self) -> Drawn {
        self.random.pick(&self.cluster.guests).cloned().expect("a cluster has guests")
    }

    fn guest(&mut self) -> WorkloadId {
        WorkloadId::from(self.drawn_guest().name)
    }

    fn storage(&mut self) {
        let state = self.one_of(StorageState::ALL.get(1..).expect("the first is `ok`"));
        let name = self.datastore();
        let host = if self.random.chance(300) { Some(self.host()) } else { None };
        let ok = Deed::Storage(name.clone(), StorageState::Ok, host.clone());
        self.pair(Deed::Storage(name, state, host), ok);
    }

    /// A cache that forgets; and power cuts while it does.
    fn unflushed(&mut self) {
        let (name, host) = (self.datastore(), self.host());
        let span = Span(self.random.between(1_000, 60_000));
        let ends = Deed::StorageKeepsUnflushed(name.clone(), Span::ZERO);
        self.pair(Deed::StorageKeepsUnflushed(name.clone(), span), ends);
        let cut = self.within();
        if self.random.chance(500) {
            self.deeds.push((cut, Deed::StoragePowerCut(name)));
        } else {
            self.deeds.push((cut, Deed::Host(HostDeed::PowerCut, host.clone())));
            self.then(Deed::Host(HostDeed::PowerOn, host));
        }
    }

    fn datastore(&mut self) -> String {
        self.random.pick(&self.cluster.datastores).cloned().unwrap_or_default()
    }

    fn devices(&mut self) {
        let state = self.one_of(DeviceState::ALL.get(1..=6).expect("the first is `ok`"));
        if let Some(device) = self.random.pick(&self.cluster.devices).map(DeviceId::new) {
            self.pair(Deed::Device(device.clone(), state), Deed::Device(device, DeviceState::Ok));
        }
    }
}
