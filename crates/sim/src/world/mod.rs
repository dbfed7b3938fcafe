//! The simulated world as it truly is, with virtual time: hosts, guests, storage, fence devices, and what of it reaches
//! the controller.
//!
//! ```text
//!   deeds ──▶ happen ─▶ life (true state) ──▶ sense ──▶ news to the controller
//!   orders ─▶ call ───▶      │                                  ▲
//!                            └─ truths (for checker and report) │ outcomes
//! ```
//!
//! It knows nothing of the engine's belief, and judges nothing: that is the checker's.

mod call;
mod disk;
mod fence;
mod guest;
mod happen;
mod hibernate;
mod host;
mod life;
mod migrate;
mod person;
mod queue;
mod sense;
mod truth;

pub(crate) use call::SET_ASIDE;
pub(crate) use guest::{Condition, Disk, Guest, Process};
pub(crate) use host::{Host, Power};
pub(crate) use truth::{Starter, Truth};

use crate::{
    deed::{CallFault, Deed, DeviceState, StorageState, Weather},
    random::Stream,
    scenario::setup::WorldSetup,
};
use call::Call;
use disk::Datastore;
use guest::Point;
use host::{Definition, Management};
use mainstay_model::{
    ActionId, DeviceId, DomainSeen, Epoch, Fact, HostChannel, HostId, Outcome, Span, Time, WorkloadId,
    spec::ClusterSpec,
};
use queue::Queue;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What reaches the controller.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum News {
    Fact(Fact),
    Outcome(ActionId, Outcome),
}

/// What comes of the next thing that happens, outside of the world.
#[derive(Debug)]
pub(crate) enum Happened {
    /// Nothing that reaches the controller now.
    Unheard,
    /// These reach it.
    Heard(News),
    /// The answers of a host to a heartbeat reach it: see [`ANSWERS`].
    Alive(HostId),
    /// A deed was done.
    Deed(Deed),
}

/// Where a host is heard that answers a heartbeat, in this order.
pub(crate) const ANSWERS: [HostChannel; 2] = [HostChannel::Ping, HostChannel::Hypervisor];

/// What is planned.
#[derive(Clone, Debug)]
enum Planned {
    Deed(Deed),
    /// Ask the host for a sign of life on both channels.
    Heartbeat(HostId),
    /// Ask for its list of domains.
    AskList(HostId),
    /// The question arrives; it was asked at that time.
    List(HostId, Time),
    /// A list that took long is complete; it was asked for over that connection.
    Listed(HostId, u64, Box<Fact>),
    /// Ask for statistics of its running domains.
    Statistics(HostId),
    /// Ask the host for the snapshots of its domains.
    AskPoints(HostId),
    /// Ask the host which guests it could start.
    AskReadiness(HostId),
    /// Ask the host's fence devices for its power, though nothing depends on it.
    AskDevices(HostId),
    Probe(WorkloadId),
    /// Arrives at the controller, if it is still the one that asked.
    Arrival(u64, News),
    /// Likewise both answers of a host to a heartbeat: most of all that arrives, and they come together.
    Alive(u64, HostId),
    /// A host is through with booting, if it was not cut off from power since.
    HostUp(HostId, u64),
    /// The power goes that a device said to be off, if it was not lost since.
    PowerGoes(HostId, u64),
    /// The power of a host goes that hibernates, if it was not lost since.
    HostAsleep(HostId, u64),
    /// A host goes down in good order; true: and comes up again.
    HostDown(HostId, bool),
    /// A guest answers, if its process is still that one.
    GuestUp(WorkloadId, HostId, u64),
    /// A damaged guest falls over.
    GuestFalls(WorkloadId, HostId, u64),
    /// A guest shut itself down; true: a person wanted it.
    GuestOff(WorkloadId, HostId, u64, bool),
    /// A guest meets its failing disk.
    DiskFails(WorkloadId, HostId, u64),
    /// A migration that a person began ends.
    PersonMigration(WorkloadId, HostId, HostId),
    /// An order reaches its host.
    Arrive(ActionId),
    /// An order takes effect.
    Effect(ActionId),
    /// An order's deadline passes.
    Expire(ActionId),
}

/// So many of a thousand, on one host or everywhere.
type PerHost<K> = BTreeMap<(Option<HostId>, K), u64>;

/// A fence device as it truly is.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub state: DeviceState,
    /// How long one switching takes.
    pub takes: Span,
    /// Fed by this host's mains, as many management boards are.
    pub dies_with: Option<HostId>,
}

/// The simulated world.
pub(crate) struct World {
    pub now: Time,
    /// What the sensors are told to look at.
    pub spec: Arc<ClusterSpec>,
    /// A second process is refused the disk of a running one, as qcow2's file lock does.
    pub locks: bool,
    pub hosts: BTreeMap<HostId, Host>,
    pub guests: BTreeMap<WorkloadId, Guest>,
    pub storage: BTreeMap<String, Datastore>,
    pub devices: BTreeMap<DeviceId, Device>,
    queue: Queue<Planned>,
    calls: BTreeMap<ActionId, Call>,
    /// Hosts between which nothing passes.
    cut_links: BTreeSet<(HostId, HostId)>,
    call_faults: PerHost<CallFault>,
    weather: PerHost<Weather>,
    /// Lists take up to so many milliseconds.
    slow_lists: PerHost<()>,
    list_random: Stream,
    call_random: Stream,
    weather_random: Stream,
    /// Number of the controller's present life; news for an earlier one is lost.
    session: u64,
    /// The controller stands still.
    pub asleep: bool,
    highest_epoch: Epoch,
    /// Sabotage: orders of an older epoch are carried out as well.
    pub takes_old_orders: bool,
    processes: u64,
    settled: Time,
    /// Something may be otherwise than it was when this was asked last.
    stirred: bool,
    /// What hosts have, as they told it since anything changed.
    lists: BTreeMap<HostId, Arc<BTreeMap<WorkloadId, DomainSeen>>>,
    truths: Vec<Truth>,
}

impl World {
    /// A world at its beginning: every host on, guests running where the setup says.
    pub fn new(setup: &WorldSetup, spec: Arc<ClusterSpec>, seed: u64) -> World {
        let mut world = World {
            now: Time(0),
            locks: setup.locks,
            hosts: BTreeMap::new(),
            guests: BTreeMap::new(),
            storage: BTreeMap::new(),
            devices: BTreeMap::new(),
            queue: Queue::default(),
            calls: BTreeMap::new(),
            cut_links: BTreeSet::new(),
            call_faults: BTreeMap::new(),
            weather: BTreeMap::new(),
            slow_lists: BTreeMap::new(),
            list_random: Stream::new(seed, "lists"),
            call_random: Stream::new(seed, "calls"),
            weather_random: Stream::new(seed, "weather"),
            session: 0,
            asleep: false,
            highest_epoch: Epoch(0),
            takes_old_orders: false,
            processes: 0,
            settled: Time(0),
            stirred: true,
            lists: BTreeMap::new(),
            truths: Vec::new(),
            spec,
        };
        for (name, host) in &setup.host {
            let mut made = Host::new(name.clone(), host.capacity(), host.boot_time, seed);
            made.guests_on_shutdown = host.guests_on_shutdown;
            made.guests_on_boot = host.guests_on_boot;
            made.lacks = host.lacks.clone();
            if !host.on {
                made.power = Power::Off;
            }
            world.hosts.insert(name.clone(), made);
            world.watch_host(name);
        }
        for (name, device) in &setup.fence_device {
            let device = Device { state: DeviceState::Ok, takes: device.takes, dies_with: device.dies_with.clone() };
            world.devices.insert(name.clone(), device);
        }
        for device in world.spec.fence_devices.keys() {
            let ordinary = Device { state: DeviceState::Ok, takes: Span::secs(1), dies_with: None };
            world.devices.entry(device.clone()).or_insert(ordinary);
        }
        for (name, vm) in &setup.vm {
            world.storage.entry(vm.datastore.clone()).or_insert_with(Datastore::new);
            world.guests.insert(name.clone(), vm.guest(name, seed));
            if let Some(host) = world.hosts.get_mut(&vm.on) {
                host.domains.insert(name.clone(), Definition { autostart: vm.autostart, ..Definition::new() });
            }
            if vm.running && world.hosts.get(&vm.on).is_some_and(|host| host.power == Power::On) {
                world.processes += 1;
                let process = Process::new(world.processes, Time(0), Condition::Well);
                if let Some(guest) = world.guests.get_mut(name) {
                    guest.processes.insert(vm.on.clone(), process);
                }
            }
            world.watch_guest(name);
        }
        if world.guests.values().any(|guest| !guest.bridges.is_empty()) {
            for (number, name) in setup.host.keys().enumerate() {
                world.plan(Span::secs(1 + number as u64), Planned::AskReadiness(name.clone()));
            }
        }
        for name in setup.host.keys() {
            let taken = world.memory_taken(name);
            if let Some(host) = world.hosts.get_mut(name) {
                host.holds_mib = host.holds_mib.max(taken);
            }
        }
        world
    }

    /// Plans a deed.
    pub fn plan_deed(&mut self, at: Time, deed: Deed) {
        self.queue.plan(at, Planned::Deed(deed));
    }

    /// When something happens next.
    pub fn next_at(&self) -> Option<Time> {
        self.queue.next_at()
    }

    /// Lets the next thing happen.
    pub fn advance(&mut self) -> Happened {
        let Some((at, planned)) = self.queue.pop() else { return Happened::Unheard };
        self.now = at;
        match planned {
            Planned::Arrival(session, news) if session == self.session => return Happened::Heard(news),
            Planned::Alive(session, host) if session == self.session => return Happened::Alive(host),
            Planned::Arrival(..) | Planned::Alive(..) => {}
            Planned::Heartbeat(host) => {
                self.heartbeat(&host);
                self.plan(self.spec.detection.heartbeat_every, Planned::Heartbeat(host));
            }
            Planned::AskList(host) => {
                self.ask_list(&host);
                self.plan(sense::LIST_EVERY, Planned::AskList(host));
            }
            Planned::List(host, asked_at) => self.list(&host, asked_at),
            Planned::Listed(host, number, list) => self.listed(&host, number, *list),
            Planned::Statistics(host) => {
                self.statistics(&host);
                self.plan(sense::STATISTICS_EVERY, Planned::Statistics(host));
            }
            Planned::AskPoints(host) => {
                self.points_of(&host);
                self.plan(sense::POINTS_EVERY, Planned::AskPoints(host));
            }
            Planned::AskReadiness(host) => {
                self.readiness_of(&host);
                self.plan(sense::READINESS_EVERY, Planned::AskReadiness(host));
            }
            Planned::AskDevices(host) => {
                let again = self.ask_devices(&host);
                self.plan(again, Planned::AskDevices(host));
            }
            Planned::Probe(guest) => {
                let again = self.probe(&guest);
                self.plan(again, Planned::Probe(guest));
            }
            Planned::Deed(deed) => {
                self.stir();
                self.happen(deed.clone());
                return Happened::Deed(deed);
            }
            other => {
                self.stir();
                self.live(other);
            }
        }
        Happened::Unheard
    }

    /// Something else than asking and answering goes on now.
    fn stir(&mut self) {
        self.stirred = true;
        self.lists.clear();
        self.settle();
    }

    /// The rest of what is planned: the course of things once set going.
    fn live(&mut self, planned: Planned) {
        if self.sleeps(&planned) {
            return;
        }
        match planned {
            Planned::HostUp(host, boots) => self.host_up(&host, boots),
            Planned::HostAsleep(host, boots) => self.host_asleep(&host, boots),
            Planned::HostDown(host, again) => self.host_down(&host, again),
            Planned::PowerGoes(host, boots) => self.power_goes(&host, boots),
            Planned::GuestUp(guest, host, number) => self.guest_up(&guest, &host, number),
            Planned::GuestFalls(guest, host, number) => self.guest_falls(&guest, &host, number),
            Planned::GuestOff(guest, host, number, person) => self.guest_off(&guest, &host, number, person),
            Planned::DiskFails(guest, host, number) => self.disk_fails(&guest, &host, number),
            Planned::PersonMigration(guest, from, to) => self.person_migration(&guest, &from, &to),
            Planned::Arrive(id) => self.arrive(id),
            Planned::Effect(id) => self.effect(id),
            Planned::Expire(id) => self.expire(id),
            _ => {}
        }
    }

    fn plan(&mut self, after: Span, planned: Planned) {
        self.queue.plan(self.now + after, planned);
    }

    /// A controller begins: all connections are new, and news for the one before it is lost.
    pub fn new_session(&mut self) {
        self.session += 1;
        for host in self.hosts.values_mut() {
            host.connection.open = false;
            host.connection.number += 1;
        }
        for call in self.calls.values_mut() {
            call.replied = true;
        }
    }

    /// True if anything but asking and answering went on since this was asked last.
    pub fn take_stirred(&mut self) -> bool {
        std::mem::take(&mut self.stirred)
    }

    /// What truly happened since this was asked last.
    pub fn take_truths(&mut self) -> Vec<Truth> {
        std::mem::take(&mut self.truths)
    }

    /// True if the guest's process on this host does its work now and says so.
    pub fn is_well_on(&self, guest: &Guest, host: &HostId) -> bool {
        let executes = self.hosts.get(host).is_some_and(Host::executes);
        let stalled = self.storage_at(&guest.name, host) == StorageState::Hang;
        executes && !stalled && guest.processes.get(host).is_some_and(Process::is_well)
    }
}
